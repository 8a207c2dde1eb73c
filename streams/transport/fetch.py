"""From a fetched block of Kafka record batches to chunks. The one place that knows how aiokafka keeps what it fetched.

A block is all that one fetch brought of one partition. aiokafka's own readers check its CRCs, decompress it and find its
records; only the last step, an object per record, is replaced by columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

import numpy as np
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from driftline.streams.transport.chunk import Chunk, Headers

CHUNK_BYTES = 4 << 20
_STEP = 256  # records read between two looks at the size, at most
_FIELDS = attrgetter("offset", "timestamp", "key", "value", "headers")

Row = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def chunk_lanes(fetcher: Fetcher, topics: frozenset[str], chunk_records: int) -> None:
    """From now on `fetcher` hands out chunks of `topics`; other topics stay as they are. Call it before the first fetch."""
    fetcher._records = _Blocks(topics, chunk_records)


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
    for batch in _readable_batches(records):
        for rows in _steps(batch, min(_STEP, chunk_records)):
            if rows[0][0] < records.next_fetch_offset:  # the fetch began inside the batch
                rows = [row for row in rows if row[0] >= records.next_fetch_offset]  # noqa: PLW2901
            if not rows:
                continue
            part.add(rows)
            records.next_fetch_offset = rows[-1][0] + 1
            if part.n >= chunk_records or part.size >= chunk_bytes:
                chunk = part.chunk(records.next_fetch_offset)
                part = _Part(records._tp, chunk.end)
                yield chunk
        # Offsets at the end of a batch may have been compacted away.
        records.next_fetch_offset = batch.next_offset
    if part.first < records.next_fetch_offset:
        yield part.chunk(records.next_fetch_offset)


def _readable_batches(records: PartitionRecords) -> Iterator[Any]:
    """The batches of a block, without control batches and, when reading committed records only, aborted transactions.

    The rules are those of `PartitionRecords._unpack_records`, whose place this takes.
    """
    blocks, committed_only = records._records, records._isolation_level == READ_COMMITTED
    while blocks.has_next():
        batch = blocks.next_batch()
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
            yield batch


def _steps(batch: Any, size: int) -> Iterator[list[Row]]:
    """The records of a batch, `size` at a time."""
    rows: Iterator[Row] = map(_FIELDS, batch)
    while len(step := list(islice(rows, size))) == size:
        yield step
    if step:  # a batch that has ended must not be asked again: its reader would run past the end
        yield step


@dataclass(slots=True)
class _Part:
    """The columns of a chunk in the making."""

    tp: TopicPartition
    first: int
    n: int = 0
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # of key, value, key, value …; -1 is null
    data: bytearray = field(default_factory=bytearray)
    headers: list[Headers] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.data)

    def add(self, rows: list[Row]) -> None:
        offsets, timestamps, keys, values, headers = zip(*rows, strict=True)
        parts: list[bytes | None] = [part for pair in zip(keys, values, strict=True) for part in pair]
        if None in parts:
            self.lengths += [-1 if part is None else len(part) for part in parts]
            self.data += b"".join([part or b"" for part in parts])
        else:
            self.lengths += map(len, parts)  # type: ignore[arg-type]  # no part is None
            self.data += b"".join(parts)  # type: ignore[arg-type]
        self.n += len(rows)
        self.offsets += offsets
        self.timestamps += timestamps
        self.headers += [tuple((name, value or b"") for name, value in row) if row else () for row in headers]

    def chunk(self, end: int) -> Chunk:
        lengths = np.array(self.lengths, np.int64)
        ends = np.cumsum(np.maximum(lengths, 0))
        starts = np.where(lengths < 0, -1, ends - lengths)
        ends = np.where(lengths < 0, -1, ends)
        return Chunk(
            self.tp.topic, self.tp.partition, self.first, end,
            np.array(self.offsets, np.int64), np.array(self.timestamps, np.int64), bytes(self.data),
            starts[0::2].copy(), ends[0::2].copy(), starts[1::2].copy(), ends[1::2].copy(), self.headers,
        )  # fmt: skip
