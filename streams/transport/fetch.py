"""From a fetched block of Kafka record batches to chunks. The one place that knows how aiokafka keeps what it fetched.

A block is all that one fetch brought of one partition. aiokafka knows its transactions; its records are found by compiled code (`raw`),
or by aiokafka's readers where that is not ready or does not understand a batch.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from driftline.streams.transport.chunk import Chunk, Data
from driftline.streams.transport.raw import CHUNK_BYTES, LEAST_BATCH, LENGTH_BYTES, Room, Row, head_at, length_at

ENOUGH_BYTES = 2 << 20  # of one topic, that wait to be worked on
PATIENCE_S = 1.0  # a block that waits for longer is not enough: its partition may stand still, and the others of its topic go on
_STEP = 256  # records read between two looks at the size, at most
_FIELDS = attrgetter("offset", "timestamp", "key", "value", "headers")
KEPT_ROOMS, KEPT_BYTES = 2, 16 << 20  # their memory is used again, unless a batch has blown one up
_ROOMS: list[Room] = []


def chunk_lanes(fetcher: Fetcher, topics: frozenset[str], chunk_records: int) -> None:
    """From now on `fetcher` hands out chunks of `topics`; other topics stay as they are. Call it before the first fetch."""
    fetcher._records = _Blocks(topics, chunk_records)
    aiokafka_fetcher.MemoryRecords = _Kept


class _Kept:
    """Record batches in the memory they came in. It stands for aiokafka's `MemoryRecords`, which takes nothing but `bytes`."""

    def __init__(self, data: Data) -> None:
        self.data, self._next = memoryview(data), 0

    def size_in_bytes(self) -> int:
        return len(self.data)

    def has_next(self) -> bool:
        """Whether another batch is here as a whole: a fetch may end inside one."""
        left = len(self.data) - self._next
        return left >= LENGTH_BYTES and left >= length_at(self.data, self._next)

    def next_place(self) -> tuple[int, int]:
        """Where the next batch lies."""
        begin, length = self._next, length_at(self.data, self._next)
        if length < LEAST_BATCH:
            raise CorruptRecordException(f"{length} bytes are no record batch")
        self._next += length
        return begin, self._next

    def next_batch(self) -> Any:
        return self.batch(*self.next_place())

    def batch(self, begin: int, end: int) -> Any:
        """The batch in this place as aiokafka's object."""
        return MemoryRecords(bytes(self.data[begin:end])).next_batch()


class _Blocks(OrderedDict[TopicPartition, Any]):
    """The blocks a fetcher holds until they are consumed. One of a lane topic is switched to chunks as it comes in."""

    def __init__(self, topics: frozenset[str], chunk_records: int) -> None:
        super().__init__()
        self._topics, self._chunk_records = topics, chunk_records
        self.came = 0  # blocks, ever

    def enough(self) -> set[str]:
        """The lane topics of which enough is here."""
        size, since_s = Counter[str](), time.monotonic() - PATIENCE_S
        for tp, block in self.items():
            if tp.topic in self._topics and isinstance(block, FetchResult) and block.has_more() and block._created > since_s:
                size[tp.topic] += block._partition_records._records.size_in_bytes()
        return {topic for topic, n in size.items() if n >= ENOUGH_BYTES}

    def waits(self) -> bool:
        """Whether something is here that will be worked on soon. A table's partitions stand still once they are recovered."""
        since_s = time.monotonic() - PATIENCE_S
        return any([block._created > since_s for block in self.values()])

    def __setitem__(self, tp: TopicPartition, block: Any) -> None:
        self.came += 1
        if tp.topic in self._topics and isinstance(block, FetchResult):
            records = block._partition_records
            records._records_iterator = chunks(records, self._chunk_records)
        super().__setitem__(tp, block)


def chunks(records: PartitionRecords, chunk_records: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The chunks of a block. Their spans follow one another without a hole, from the position the fetch began at.

    Control batches and aborted transactions leave offsets without records: they lie in the span of the chunk around them. A block
    without any record gives one empty chunk, so that its reader's position moves on all the same.

    A chunk is closed at `chunk_bytes`, with the rest of its batch where that is little. The last one of a block may have half as much
    again, since what would be left is copied for its smallness, and costs its reader as much as a large one.

    `records.next_fetch_offset` is the end of the chunk whenever one is handed out: aiokafka takes the partition's position from it.
    """
    try:
        room = _ROOMS.pop()
    except IndexError:
        room = Room()
    try:
        yield from _chunks(records, room, chunk_records, chunk_bytes)
    finally:
        room.clear()
        if len(_ROOMS) < KEPT_ROOMS and room.nbytes <= KEPT_BYTES:
            _ROOMS.append(room)


def _chunks(records: PartitionRecords, room: Room, chunk_records: int, chunk_bytes: int) -> Iterator[Chunk]:
    tp, first, blocks = records._tp, records.next_fetch_offset, records._records
    for begin, end, after in _readable_batches(records):
        size = room.size
        for _ in _added(room, blocks, begin, end):
            to_come = (room.size - size) / (end - begin) * (len(blocks.data) - end)  # if the rest unpacks as this batch does
            room.drop_before(first)  # the fetch may have begun inside the batch
            while n := room.full(chunk_records, chunk_bytes if to_come > chunk_bytes / 2 else chunk_bytes * 3 // 2):
                chunk = room.take(n, tp, first)
                records.next_fetch_offset = first = chunk.end
                yield chunk
        # Offsets at the end of a batch may have been compacted away.
        records.next_fetch_offset = after
    if first < records.next_fetch_offset:
        yield room.take(room.n, tp, first, records.next_fetch_offset)


def _readable_batches(records: PartitionRecords) -> Iterator[tuple[int, int, int]]:
    """Where the batches of a block lie and the offset after each, without control batches and, when reading committed records only,
    aborted transactions. The rules are those of `PartitionRecords._unpack_records`, whose place this takes.
    """
    blocks, committed_only = records._records, records._isolation_level == READ_COMMITTED
    while blocks.has_next():
        begin, end = blocks.next_place()
        batch = head_at(blocks.data, begin, end) or blocks.batch(begin, end)
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"a record batch of {records._tp} at offset {batch.base_offset} does not match its CRC")
        if committed_only and batch.producer_id is not None:
            records._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and records._contains_abort_marker(blocks.batch(begin, end)):
                records._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in records._aborted_producers
        else:
            aborted = False
        if batch.is_control_batch or aborted:
            records.next_fetch_offset = batch.next_offset
        else:
            yield begin, end, batch.next_offset


def _added(room: Room, blocks: _Kept, begin: int, end: int) -> Iterator[None]:
    """Add the records of a batch to the room, by compiled code at once, or by aiokafka's reader some at a time."""
    if room.add_batch(blocks.data, begin, end):
        yield
        return
    rows: Iterator[Row] = map(_FIELDS, blocks.batch(begin, end))
    while len(step := list(islice(rows, _STEP))) == _STEP:
        room.add_rows(step)
        yield
    if step:  # a batch that has ended must not be asked again: its reader would run past the end
        room.add_rows(step)
        yield
