"""The records of fetched batches as columns, without an object per record. What this cannot read is left to aiokafka's reader."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import cramjam
import google_crc32c
import numpy as np
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from numpy.typing import NDArray

from driftline.streams import kernels
from driftline.streams.transport.chunk import Chunk, Data, Headers

Row = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

CHUNK_BYTES: Final = 10 << 20  # each costs its reader as much as some thousand events; what one fetch brings of a partition is one or two
SPARSE: Final = 4  # a chunk that fills less than this part of its memory is copied out of it
ROOM_BYTES: Final = CHUNK_BYTES * 3 // 2 + (1 << 20)  # of a chunk that may have half as much again, and the batch that fills it
SPARE: Final = 6  # pieces of memory that are kept for the next chunks
LENGTH_BYTES, LEAST_BATCH = 12, 26  # bytes of any batch: up to its length and with it, and altogether
_HEAD = struct.Struct(">qiibIhiqqqhii")  # of a batch in format 2
_MAGIC, _SUMMED = 16, 21  # where the format stands, and from where on the sum counts
_LENGTH = struct.Struct(">qi")
_FORMAT = 2
_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x08, 0x10, 0x20  # attributes; the first: the broker's time is every record's
_BY_PROCESSOR = google_crc32c.implementation == "c"  # which has an instruction for the sum: five times as fast as aiokafka
_XERIAL = b"\x82SNAPPY\0"
_LEAST = 7  # bytes of a record
_OFFSET, _TIMESTAMP, _PLACES, _HEADER, _STOP = 0, 1, slice(2, 6), 6, 7  # rows of a room's columns

_Into = Callable[[Data, Any], int]
_DECOMPRESS: dict[int, tuple[Callable[[Data], Any], _Into]] = {
    1: (cramjam.gzip.decompress, cramjam.gzip.decompress_into),
    2: (cramjam.snappy.decompress_raw, cramjam.snappy.decompress_raw_into),
    3: (cramjam.lz4.decompress, cramjam.lz4.decompress_into),
    4: (cramjam.zstd.decompress, cramjam.zstd.decompress_into),
}


class Room:
    """Records of one partition, batch after batch, until they leave as chunks. It has memory only while something is here.

    Attributes
    ----------
    n
        How many records are here.
    """

    def __init__(self) -> None:
        self._data = _NOTHING
        self._columns = np.empty((8, 16_384), np.int64)  # those of `kernels.records.Records`
        self._headers: list[Headers] = []
        self.n = self._size = 0

    @property
    def size(self) -> int:
        """Bytes of what is here."""
        return self._size

    def full(self, records: int, size: int) -> int:
        """How many of the first records make a chunk of so many records, or of so many bytes; 0 if there are not enough.

        What is left over moves to other memory, so up to half as many bytes more go along.
        """
        if self.n < records and self._size < size:
            return 0
        if self.n <= records and self._size <= size * 3 // 2:
            return self.n
        return min(records, int(np.searchsorted(self._columns[_STOP, : self.n], size)) + 1, self.n)

    def add_batch(self, data: Data, begin: int, end: int) -> bool:
        """Add the records of the batch in these bytes, whose sum was checked; False if it is for another reader."""
        reader = kernels.current()
        if reader is None or end - begin < _HEAD.size:
            return False
        base, _, _, magic, _, attributes, _, first_ms, last_ms, _, _, _, n = _HEAD.unpack_from(data, begin)
        if magic != _FORMAT or n < 1:
            return False
        stop = self._unpack(attributes & 7, memoryview(data)[begin + _HEAD.size : end])
        if stop is None or n > (stop - self._size) // _LEAST:
            return False
        self._reserve(n, 0)
        append_time = last_ms if attributes & _APPEND_TIME else -1
        with_headers = reader.index_batch(self._data, self._size, stop, n, base, first_ms, append_time, self._columns, self.n)
        if with_headers < 0:
            return False
        headers: list[Headers] = [()] * n
        if with_headers:
            new, data_here = slice(self.n, self.n + n), self._data.data
            for i, (at, ends) in enumerate(zip(self._columns[_HEADER, new].tolist(), self._columns[_STOP, new].tolist(), strict=True)):
                if at >= 0:
                    told = (_usual_headers if ends - at <= _USUAL_BYTES else _headers)(bytes(data_here[at:ends]))
                    if told is None:
                        return False
                    headers[i] = told
        self._headers += headers
        self.n, self._size = self.n + n, stop
        return True

    def add_rows(self, rows: list[Row]) -> None:
        """Add records that were read one by one."""
        offsets, timestamps, keys, values, headers = zip(*rows, strict=True)
        parts = [part for pair in zip(keys, values, strict=True) for part in pair]
        lengths = np.array([-1 if part is None else len(part) for part in parts], np.int64)
        ends = self._size + np.cumsum(np.maximum(lengths, 0))
        starts, places = np.where(lengths < 0, -1, ends - lengths), np.where(lengths < 0, -1, ends)
        data = b"".join([part or b"" for part in parts])
        self._reserve(len(rows), len(data))
        self._data[self._size : self._size + len(data)] = np.frombuffer(data, np.uint8)
        new = slice(self.n, self.n + len(rows))
        self._columns[:, new] = (
            offsets, timestamps, starts[0::2], places[0::2], starts[1::2], places[1::2], np.full(len(rows), -1), ends[1::2],
        )  # fmt: skip
        self._headers += [tuple((name, value or b"") for name, value in row) if row else () for row in headers]
        self.n, self._size = self.n + len(rows), self._size + len(data)

    def drop_before(self, offset: int) -> None:
        """Forget the records before `offset`."""
        if self.n and self._columns[_OFFSET, 0] < offset:
            n = int(np.searchsorted(self._columns[_OFFSET, : self.n], offset))
            begin = int(self._columns[_STOP, n - 1]) if n else 0
            self._data[: self._size - begin] = self._data[begin : self._size].copy()
            self._forget(n)

    def take(self, n: int, tp: TopicPartition, first: int, end: int = -1) -> Chunk:
        """The first `n` records as the chunk of the offsets from `first` to `end`, or to their last; they are here no more."""
        offset, timestamp, key_start, key_end, value_start, value_end = self._columns[:_HEADER, :n].copy()
        data: Data = self._hand_over(n) if n else b""
        headers, end = self._headers[:n], int(offset[-1]) + 1 if end < 0 else end
        self._forget(n)
        return Chunk(tp.topic, tp.partition, first, end, offset, timestamp, data, key_start, key_end, value_start, value_end, headers)

    @property
    def nbytes(self) -> int:
        """Memory that it holds, filled or not."""
        return self._data.nbytes + self._columns.nbytes

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        _take_back(self._data)
        self._data, self._headers, self.n, self._size = _NOTHING, [], 0, 0

    def _hand_over(self, n: int) -> Data:
        """The memory of the first records, which is theirs now; the rest moves to other memory. Few are copied."""
        stop = int(self._columns[_STOP, n - 1])
        full, rest = self._data, self._data[stop : self._size]
        if stop < len(full) // SPARSE:
            data = full[:stop].tobytes()
            full[: len(rest)] = rest.copy()
            return data
        self._data = _memory(len(rest)) if len(rest) else _NOTHING
        self._data[: len(rest)] = rest
        lent = full[:stop]
        weakref.finalize(lent, _take_back, full).atexit = False
        return lent.data

    def _forget(self, n: int) -> None:
        """Forget the first records, whose bytes are gone; the others are at the front now."""
        if n == self.n:
            self.clear()
            return
        begin = int(self._columns[_STOP, n - 1]) if n else 0
        left = self._columns[:, n : self.n].copy()
        left[_PLACES] = np.where(left[_PLACES] < 0, -1, left[_PLACES] - begin)
        left[_STOP] -= begin
        self._columns[:, : self.n - n] = left
        self._headers, self.n, self._size = self._headers[n:], self.n - n, self._size - begin

    def _unpack(self, codec: int, body: Data) -> int | None:
        """Put the records of a batch behind those that are here; where they end, None if they cannot be unpacked."""
        self._reserve(0, 1)
        if codec:
            if codec not in _DECOMPRESS or body[: len(_XERIAL)] == _XERIAL:  # Java's own framing of snappy
                return None
            whole, into = _DECOMPRESS[codec]
            try:
                return self._size + int(into(body, self._data[self._size :]))
            except cramjam.DecompressionError:
                pass  # too little room is an error like any other
            try:
                body = bytes(whole(body))
            except cramjam.DecompressionError:
                return None
        self._reserve(0, len(body))
        self._data[self._size : self._size + len(body)] = np.frombuffer(body, np.uint8)
        return self._size + len(body)

    def _reserve(self, n: int, size: int) -> None:
        """Room for `n` more records and `size` more bytes."""
        if self.n + n > self._columns.shape[1]:
            columns = np.empty((8, 2 * (self.n + n)), np.int64)
            columns[:, : self.n] = self._columns[:, : self.n]
            self._columns = columns
        if self._size + size > len(self._data):
            data, old = _memory(self._size + size + (CHUNK_BYTES if self._size else 0)), self._data
            data[: self._size] = old[: self._size]
            self._data = data
            _take_back(old)


_NOTHING: Final = np.empty(0, np.uint8)
_SPARE: list[NDArray[np.uint8]] = []  # memory that was given back


def _memory(size: int) -> NDArray[np.uint8]:
    """At least so many bytes of anything."""
    try:
        return _SPARE.pop() if size <= ROOM_BYTES else np.empty(size, np.uint8)
    except IndexError:
        return np.empty(ROOM_BYTES, np.uint8)


def _take_back(data: NDArray[np.uint8]) -> None:
    """Memory that nobody refers to any more. What is touched for the first time costs more than what is written into it."""
    if len(data) == ROOM_BYTES and len(_SPARE) < SPARE:
        _SPARE.append(data)


class Head(NamedTuple):
    """What stands before the records of a batch in format 2, and the bytes that it was read from. Names are aiokafka's."""

    data: Data
    base_offset: int
    crc: int
    attributes: int
    last_offset_delta: int
    producer_id: int

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control_batch(self) -> bool:
        return bool(self.attributes & _CONTROL)

    def validate_crc(self) -> bool:
        summed = self.data[_SUMMED:]
        found = google_crc32c.value(np.frombuffer(summed, np.uint8)) if _BY_PROCESSOR else calc_crc32c(bytes(summed))
        return bool(found == self.crc)


def head_at(data: Data, begin: int, end: int) -> Head | None:
    """The head of the batch in these bytes; None if it is of an older format, or too short."""
    if end - begin < _HEAD.size or data[begin + _MAGIC] != _FORMAT:
        return None
    base, _, _, _, crc, attributes, last, _, _, producer, _, _, _ = _HEAD.unpack_from(data, begin)
    return Head(data[begin:end], base, crc, attributes, last, producer)


def length_at(data: Data, begin: int) -> int:
    """How many bytes the batch at `begin` takes."""
    return int(_LENGTH.unpack_from(data, begin)[1]) + _LENGTH.size


def _headers(data: bytes) -> Headers | None:
    """Headers with their count before them; None if they do not end where they must."""
    out, at = [], 0
    try:
        n, at = _varint(data, at)
        for _ in range(n):
            length, at = _varint(data, at)
            name, at = data[at : at + length], at + length
            length, at = _varint(data, at)
            value, at = data[at : at + max(length, 0)], at + max(length, 0)
            out.append((name.decode(), value))
    except (IndexError, UnicodeDecodeError):
        return None
    return tuple(out) if at == len(data) else None


_USUAL_BYTES: Final = 256
_usual_headers = lru_cache(64)(_headers)  # of batches of events, each has the same


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        b = data[at]
        at, value, shift = at + 1, value | (b & 127) << shift, shift + 7
        if b < 128:
            return (value >> 1) ^ -(value & 1), at
