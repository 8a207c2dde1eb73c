"""A chunk: consecutive records of one partition, in columns. What every agent on the lane sees.

Architecture invariant: nothing behind the transport knows how a chunk was made, so transport and decoder can get faster under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Headers = tuple[tuple[str, bytes], ...]
Data = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Chunk:
    """`n` records of a partition, and the span of offsets they stand for.

    Attributes
    ----------
    first, end
        Every record of the partition with `first <= offset < end` is here. Offsets in the span without a record do not exist
        (compaction, transaction markers).
    offset, timestamp
        int64, shape (n,): ascending offsets; Kafka time stamps in milliseconds.
    data
        Keys and values, in order, and perhaps something between them. Its memory is used again when nothing refers to it any more.
    key_start, key_end, value_start, value_end
        int64, shape (n,): positions in `data`. A null key or value (a tombstone) has start -1 and end -1.
    headers
        Length n: the record's headers in order.
    """

    topic: str
    partition: int
    first: int
    end: int
    offset: Int64
    timestamp: Int64
    data: Data
    key_start: Int64
    key_end: Int64
    value_start: Int64
    value_end: Int64
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.offset)

    def key(self, i: int) -> bytes | None:
        """Key of record `i`."""
        start = int(self.key_start[i])
        return None if start < 0 else bytes(self.data[start : int(self.key_end[i])])

    def value(self, i: int) -> bytes | None:
        """Value of record `i`."""
        start = int(self.value_start[i])
        return None if start < 0 else bytes(self.data[start : int(self.value_end[i])])

    def keys(self) -> list[bytes | None]:
        """All keys, in order."""
        data = self.data
        return [None if s < 0 else bytes(data[s:e]) for s, e in zip(self.key_start.tolist(), self.key_end.tolist(), strict=True)]

    def values(self) -> list[bytes | None]:
        """All values, in order."""
        data = self.data
        return [None if s < 0 else bytes(data[s:e]) for s, e in zip(self.value_start.tolist(), self.value_end.tolist(), strict=True)]

    def since(self, offset: int) -> Chunk:
        """The part of the chunk from `offset` on."""
        if offset <= self.first:
            return self
        i = int(np.searchsorted(self.offset, offset))
        return Chunk(
            self.topic, self.partition, offset, max(self.end, offset), self.offset[i:], self.timestamp[i:], self.data,
            self.key_start[i:], self.key_end[i:], self.value_start[i:], self.value_end[i:], self.headers[i:],
        )  # fmt: skip

    @property
    def span(self) -> Chunk:
        """The offsets that it stands for, without its records: what waits to be acknowledged must not keep those in memory."""
        none = np.empty(0, np.int64)
        return Chunk(self.topic, self.partition, self.first, self.end, none, none, b"", none, none, none, none, ())


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one partition that follow one another, at least one, as one.

    >>> one, two = chunk_of("t", 0, 4, 6, [(4, 1000, b"k", b"v1", ())]), chunk_of("t", 0, 6, 9, [(7, 1001, None, b"v2", ())])
    >>> both = merged([one, two])
    >>> both.first, both.end, both.offset.tolist(), both.keys(), both.values()
    (4, 9, [4, 7], [b'k', None], [b'v1', b'v2'])
    """
    if len(chunks) == 1:
        return chunks[0]
    names = ("offset", "timestamp", "key_start", "key_end", "value_start", "value_end")
    columns = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}
    begins = np.cumsum([0, *(len(chunk.data) for chunk in chunks[:-1])])
    moved = np.repeat(begins, [len(chunk) for chunk in chunks])
    columns |= {name: columns[name] + np.where(columns[name] < 0, 0, moved) for name in names[2:]}
    data = b"".join([chunk.data for chunk in chunks])
    headers = [each for chunk in chunks for each in chunk.headers]
    return Chunk(chunks[0].topic, chunks[0].partition, chunks[0].first, chunks[-1].end, data=data, headers=headers, **columns)


def chunk_of(
    topic: str,
    partition: int,
    first: int,
    end: int,
    records: Sequence[tuple[int, int, bytes | None, bytes | None, Headers]],
) -> Chunk:
    """A chunk from (offset, timestamp, key, value, headers) rows.

    >>> chunk = chunk_of("t", 0, 4, 9, [(4, 1000, b"k", b"v1", ()), (7, 1001, None, b"v2", ())])
    >>> chunk.value(1), chunk.key(1), chunk.since(5).offset.tolist()
    (b'v2', None, [7])
    """
    n = len(records)
    lengths = np.fromiter((len(part or b"") for record in records for part in record[2:4]), np.int64, 2 * n)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    null = np.fromiter((part is None for record in records for part in record[2:4]), bool, 2 * n)
    starts[null], ends = -1, np.where(null, -1, ends)
    return Chunk(
        topic, partition, first, end,
        np.fromiter((r[0] for r in records), np.int64, n),
        np.fromiter((r[1] for r in records), np.int64, n),
        b"".join([part or b"" for record in records for part in record[2:4]]),
        starts[0::2].copy(), ends[0::2].copy(), starts[1::2].copy(), ends[1::2].copy(),
        [r[4] for r in records],
    )  # fmt: skip
