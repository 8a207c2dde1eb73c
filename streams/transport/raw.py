"""The records of a fetched batch as columns, without an object per record. What this cannot read is left to aiokafka's reader."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np
from numpy.typing import NDArray

from driftline.streams import kernels
from driftline.streams.transport.chunk import Headers

Int64 = NDArray[np.int64]
Row = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

_HEAD = struct.Struct(">qiibIhiqqqhii")  # of a batch in format 2
_LENGTH = struct.Struct(">qi")
_APPEND_TIME = 0x08  # attribute: the broker's time is every record's
_XERIAL = b"\x82SNAPPY\0"


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records. Positions are those in `data`; `stop[i]` is where record i ends there."""

    data: bytes
    offset: Int64
    timestamp: Int64
    key_start: Int64
    key_end: Int64
    value_start: Int64
    value_end: Int64
    stop: Int64
    headers: list[Headers]

    def __len__(self) -> int:
        return len(self.offset)

    def since(self, offset: int) -> Piece:
        """The records from `offset` on."""
        return self.cut(int(np.searchsorted(self.offset, offset)))[1]

    def fitting(self, records: int, size: int) -> int:
        """How many of the first records there may be until they are `records`, or take `size` bytes."""
        begin = int(self.key_start[0]) if self.key_start[0] >= 0 else int(self.value_start[0])
        return min(records, int(np.searchsorted(self.stop, max(begin, 0) + size)) + 1)

    def cut(self, n: int) -> tuple[Piece, Piece]:
        """The first `n` records, and the rest."""
        columns: tuple[Any, ...] = (
            self.offset,
            self.timestamp,
            self.key_start,
            self.key_end,
            self.value_start,
            self.value_end,
            self.stop,
            self.headers,
        )
        return Piece(self.data, *(column[:n] for column in columns)), Piece(self.data, *(column[n:] for column in columns))

    @property
    def span(self) -> tuple[int, int]:
        """Where its first key or value begins in `data`, and where its last record ends."""
        starts = np.concatenate([self.key_start, self.value_start])
        return int(starts[starts >= 0].min(initial=len(self.data))), int(self.stop[-1])

    def moved(self, by: int, data: bytes) -> Piece:
        """The same records at places in other bytes."""
        places = (self.key_start, self.key_end, self.value_start, self.value_end)
        key_start, key_end, value_start, value_end = [np.where(at < 0, -1, at + by) for at in places]
        return Piece(data, self.offset, self.timestamp, key_start, key_end, value_start, value_end, self.stop + by, self.headers)


def piece_of(rows: list[Row]) -> Piece:
    """A piece from records that were read one by one."""
    offsets, timestamps, keys, values, headers = zip(*rows, strict=True)
    parts = [part for pair in zip(keys, values, strict=True) for part in pair]
    lengths = np.array([-1 if part is None else len(part) for part in parts], np.int64)
    ends = np.cumsum(np.maximum(lengths, 0))
    starts, places = np.where(lengths < 0, -1, ends - lengths), np.where(lengths < 0, -1, ends)
    return Piece(
        b"".join([part or b"" for part in parts]), np.array(offsets, np.int64), np.array(timestamps, np.int64),
        starts[0::2], places[0::2], starts[1::2], places[1::2], ends[1::2],
        [tuple((name, value or b"") for name, value in row) if row else () for row in headers],
    )  # fmt: skip


def length_at(data: bytes, begin: int) -> int:
    """How many bytes the batch at `begin` takes."""
    return int(_LENGTH.unpack_from(data, begin)[1]) + _LENGTH.size


def quick_piece(data: bytes, begin: int, end: int) -> Piece | None:
    """The records of the batch in these bytes, whose sum was checked; None if it is for another reader."""
    reader = kernels.current()
    if reader is None or end - begin < _HEAD.size:
        return None
    base, _, _, magic, _, attributes, _, first_ms, last_ms, _, _, _, n = _HEAD.unpack_from(data, begin)
    if magic != 2 or n < 1:
        return None
    body = _decompressed(attributes & 7, data[begin + _HEAD.size : end])
    found = None if body is None else reader.records(body, n, base, first_ms, last_ms if attributes & _APPEND_TIME else -1)
    if body is None or found is None:
        return None
    headers: list[Headers] = [()] * n
    for i in np.flatnonzero(found.header >= 0).tolist():
        told = _headers(body, int(found.header[i]), int(found.stop[i]))
        if told is None:
            return None
        headers[i] = told
    return Piece(
        body, found.offset, found.timestamp, found.key_start, found.key_end, found.value_start, found.value_end, found.stop, headers
    )


_DECOMPRESS: dict[int, Callable[[bytes], Any]] = {
    1: cramjam.gzip.decompress, 2: cramjam.snappy.decompress_raw, 3: cramjam.lz4.decompress, 4: cramjam.zstd.decompress,
}  # fmt: skip


def _decompressed(codec: int, data: bytes) -> bytes | None:
    if not codec:
        return data
    if codec not in _DECOMPRESS or data.startswith(_XERIAL):  # Java's own framing of snappy
        return None
    try:
        return bytes(_DECOMPRESS[codec](data))
    except cramjam.DecompressionError:
        return None


def _headers(body: bytes, at: int, end: int) -> Headers | None:
    """The headers at `at`, with their count before them; None if they do not end at `end`."""
    out = []
    try:
        n, at = _varint(body, at)
        for _ in range(n):
            length, at = _varint(body, at)
            name, at = body[at : at + length], at + length
            length, at = _varint(body, at)
            value, at = body[at : at + max(length, 0)], at + max(length, 0)
            out.append((name.decode(), value))
    except (IndexError, UnicodeDecodeError):
        return None
    return tuple(out) if at == end else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        b = data[at]
        at, value, shift = at + 1, value | (b & 127) << shift, shift + 7
        if b < 128:
            return (value >> 1) ^ -(value & 1), at
