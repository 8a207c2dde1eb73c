"""From a fetched block of Kafka record batches to chunks. The one place that knows how aiokafka keeps what it fetched.

A block is all that one fetch brought of one partition. aiokafka's own readers check its CRCs and know its transactions; its records are
found by compiled code (`raw`), or by those readers where that is not ready or does not understand a batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

import aiokafka.consumer.fetcher as aiokafka_fetcher
import numpy as np
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.raw import Piece, Row, length_at, piece_of, quick_piece

CHUNK_BYTES = 4 << 20
_STEP = 256  # records read between two looks at the size, at most
_FIELDS = attrgetter("offset", "timestamp", "key", "value", "headers")

_NOTHING = np.empty(0, np.int64)
_COLUMNS = ("offset", "timestamp", "key_start", "key_end", "value_start", "value_end")


def chunk_lanes(fetcher: Fetcher, topics: frozenset[str], chunk_records: int) -> None:
    """From now on `fetcher` hands out chunks of `topics`; other topics stay as they are. Call it before the first fetch."""
    fetcher._records = _Blocks(topics, chunk_records)
    aiokafka_fetcher.MemoryRecords = _Kept


class _Kept(MemoryRecords):  # type: ignore[misc]  # compiled, without types
    """Record batches, with the bytes they are read from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _Blocks(OrderedDict[TopicPartition, Any]):
    """The blocks a fetcher holds until they are consumed. One of a lane topic is switched to chunks as it comes in."""

    def __init__(self, topics: frozenset[str], chunk_records: int) -> None:
        super().__init__()
        self._topics, self._chunk_records = topics, chunk_records

    def __setitem__(self, tp: TopicPartition, block: Any) -> None:
        if tp.topic in self._topics and isinstance(block, FetchResult):
            records = block._partition_records
            records._records_iterator = chunks(records, self._chunk_records)
        super().__setitem__(tp, block)


def chunks(records: PartitionRecords, chunk_records: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """The chunks of a block. Their spans follow one another without a hole, from the position the fetch began at.

    Control batches and aborted transactions leave offsets without records: they lie in the span of the chunk around them. A block
    without any record gives one empty chunk, so that its reader's position moves on all the same.

    `records.next_fetch_offset` is the end of the chunk whenever one is handed out: aiokafka takes the partition's position from it.
    """
    part = _Part(records._tp, records.next_fetch_offset)
    for batch, raw in _readable_batches(records):
        for whole in _pieces(batch, raw):
            piece = whole.since(records.next_fetch_offset)  # the fetch may have begun inside the batch
            while len(piece):
                head, piece = piece.cut(piece.fitting(chunk_records - part.n, chunk_bytes - part.size))
                part.add(head)
                records.next_fetch_offset = int(head.offset[-1]) + 1
                if part.n >= chunk_records or part.size >= chunk_bytes:
                    chunk = part.chunk(records.next_fetch_offset)
                    part = _Part(records._tp, chunk.end)
                    yield chunk
        # Offsets at the end of a batch may have been compacted away.
        records.next_fetch_offset = batch.next_offset
    if part.first < records.next_fetch_offset:
        yield part.chunk(records.next_fetch_offset)


def _readable_batches(records: PartitionRecords) -> Iterator[tuple[Any, tuple[bytes, int, int] | None]]:
    """The batches of a block, without control batches and, when reading committed records only, aborted transactions.

    Beside each: the bytes of the block, and where in them the batch lies, if they are known. The rules are those of
    `PartitionRecords._unpack_records`, whose place this takes.
    """
    blocks, committed_only = records._records, records._isolation_level == READ_COMMITTED
    data, end = blocks.data if isinstance(blocks, _Kept) else b"", 0
    while blocks.has_next():
        batch = blocks.next_batch()
        begin, end = end, end + length_at(data, end) if data else 0
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"a record batch of {records._tp} at offset {batch.base_offset} does not match its CRC")
        if committed_only and batch.producer_id is not None:
            records._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and records._contains_abort_marker(batch):
                records._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in records._aborted_producers
        else:
            aborted = False
        if batch.is_control_batch or aborted:
            records.next_fetch_offset = batch.next_offset
        else:
            yield batch, (data, begin, end) if data else None


def _pieces(batch: Any, raw: tuple[bytes, int, int] | None) -> Iterator[Piece]:
    """The records of a batch, by compiled code at once, or by aiokafka's reader some at a time."""
    quick = quick_piece(*raw) if raw else None
    if quick:
        yield quick
        return
    rows: Iterator[Row] = map(_FIELDS, batch)
    while len(step := list(islice(rows, _STEP))) == _STEP:
        yield piece_of(step)
    if step:  # a batch that has ended must not be asked again: its reader would run past the end
        yield piece_of(step)


@dataclass(slots=True)
class _Part:
    """A chunk in the making."""

    tp: TopicPartition
    first: int
    n: int = 0
    size: int = 0
    pieces: list[Piece] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        begin, end = piece.span
        self.pieces.append(piece.moved(self.size - begin, piece.data[begin:end]))
        self.n += len(piece)
        self.size += max(end - begin, 0)

    def chunk(self, end: int) -> Chunk:
        columns: list[Any] = [np.concatenate([_NOTHING, *(getattr(piece, name) for piece in self.pieces)]) for name in _COLUMNS]
        offset, timestamp, key_start, key_end, value_start, value_end = columns
        headers = [each for piece in self.pieces for each in piece.headers]
        data = b"".join([piece.data for piece in self.pieces])
        return Chunk(
            self.tp.topic, self.tp.partition, self.first, end, offset, timestamp, data, key_start, key_end, value_start, value_end, headers
        )
