"""Where the records of a Kafka record batch (format 2) lie in its bytes, in compiled code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, byte, compiled, entry, set_int64

BAD = -1


class Records(NamedTuple):
    """Addresses of int64 columns with an element for each record.

    Positions are those in the bytes that are read; a null key or value is from -1 to -1. `header` is where the headers begin with their
    count, -1 without any; `stop` where the record ends.
    """

    offset: int
    timestamp: int
    key_start: int
    key_end: int
    value_start: int
    value_end: int
    header: int
    stop: int


@compiled
def varint(data: int, i: int, end: int) -> Any:
    """A zigzag number of at most ten bytes, and where it ends; `BAD` if it does not."""
    value, shift = np.uint64(0), np.uint64(0)
    while i < end and shift < np.uint64(70):
        b = byte(data, i)
        i += 1
        value |= np.uint64(b & 127) << shift
        shift += np.uint64(7)
        if b < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), i
    return 0, BAD


@compiled
def stretch(data: int, i: int, end: int, n: int, start: int, stop: int) -> Any:
    """Note where the bytes at `i` lie, with their length before them; where they end."""
    length, i = varint(data, i, end)
    if i < 0 or length > end - i:
        return BAD
    set_int64(start, n, i if length >= 0 else -1)
    set_int64(stop, n, i + length if length >= 0 else -1)
    return i + max(length, 0)


_SIGNATURE = types.int64(*[types.int64] * 7, typeof(Records(*[0] * 8)))


@entry(_SIGNATURE)
def index(data: int, begin: int, stop: int, n: int, base_offset: int, base_timestamp: int, append_time: int, to: Records) -> int:
    """Fill `to` from the `n` records of a batch that lie from `begin` to `stop` in `data`; how many have headers, `BAD` if they are not
    what they must be. `append_time`: of all records, or -1."""
    i, with_headers = begin, 0
    for k in range(n):
        length, i = varint(data, i, stop)
        end = i + length
        if i < 0 or length < 0 or end > stop:
            return BAD
        i += 1  # attributes, which have no meaning
        delta, i = varint(data, i, end)
        if i < 0:
            return BAD
        set_int64(to.timestamp, k, base_timestamp + delta if append_time < 0 else append_time)
        delta, i = varint(data, i, end)
        if i < 0:
            return BAD
        set_int64(to.offset, k, base_offset + delta)
        i = stretch(data, i, end, k, to.key_start, to.key_end)
        if i >= 0:
            i = stretch(data, i, end, k, to.value_start, to.value_end)
        if i < 0:
            return BAD
        headers, after = varint(data, i, end)
        if after < 0 or headers < 0 or (headers == 0 and after != end):
            return BAD
        set_int64(to.header, k, i if headers > 0 else -1)
        with_headers += headers > 0
        set_int64(to.stop, k, end)
        i = end
    return with_headers if i == stop else BAD


def index_batch(
    data: NDArray[np.uint8],
    begin: int,
    stop: int,
    n: int,
    base_offset: int,
    base_timestamp: int,
    append_time: int,
    columns: NDArray[np.int64],
    row: int,
) -> int:
    """See `index`; `columns` has the columns of `Records` one below the other, and room for `n` from `row` on."""
    first, width = address(columns) + 8 * row, 8 * columns.shape[1]
    to = Records(*range(first, first + 8 * width, width))
    return int(index(address(data), begin, stop, n, base_offset, base_timestamp, append_time, to))
