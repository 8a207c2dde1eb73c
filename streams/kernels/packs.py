"""Numbers of panes packed for their snapshots, of all panes of a flush in one call, in compiled code. Its twin is `panes._packed`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, entry, int64, leading_zeros, set_byte, set_int64, uint64

Int64 = NDArray[np.int64]


@entry(types.void(*[types.int64] * 6))
def pack_numbers(arrays: int, lengths: int, counts: int, n: int, packed: int, ends: int) -> None:
    """Of each of `n` lists of arrays, of which `counts` says how many they are, the numbers as `panes._packed` has them, end to end.

    `arrays` and `lengths` are those of all lists, one after another. Where each ends in `packed` goes to `ends`.
    """
    first, at = 0, 0
    for k in range(n):
        last, together = first + int64(counts, k), np.uint64(0)
        for a in range(first, last):
            data, length = int64(arrays, a), int64(lengths, a)
            for i in range(length):
                together |= uint64(data, i)
        width = (71 - leading_zeros(together | np.uint64(1))) // 8
        for byte in range(width):
            for a in range(first, last):
                data, length = int64(arrays, a), int64(lengths, a)
                for i in range(length):
                    set_byte(packed, at + i, int64(data, i) >> 8 * byte)
                at += length
        set_byte(packed, at, width)
        at += 1
        set_int64(ends, k, at)
        first = last


def packed(each: Sequence[Sequence[Int64]]) -> list[bytes]:
    """See `panes._packed_each`."""
    arrays = [np.ascontiguousarray(array, np.int64) for some in each for array in some]
    lengths, counts = np.array([*map(len, arrays)], np.int64), np.array([*map(len, each)], np.int64)
    out, ends = np.empty(8 * int(lengths.sum()) + len(each), np.uint8), np.empty(len(each), np.int64)
    where = np.array([*map(address, arrays)], np.int64)
    pack_numbers(address(where), address(lengths), address(counts), len(each), address(out), address(ends))
    return [out[begin:end].tobytes() for begin, end in pairwise([0, *ends.tolist()])]
