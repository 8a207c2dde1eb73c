"""Looking up many keys in a hash index at once, in compiled code. Its twin is in `columns.HashIndex`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, entry, int32, set_int64, uint64


@entry(types.void(*[types.int64] * 6))
def slots_of(rows: int, size: int, column: int, n: int, keys: int, slots: int) -> None:
    """For each of `n` keys the slot that has it, or the free one at the end of its way."""
    last = size - 1
    for k in range(n):
        key = uint64(keys, k)
        at: Any = np.int64(key & np.uint64(last))
        step: Any = np.int64(key >> np.uint64(40)) | 1
        row = int32(rows, at)
        while row >= 0 and uint64(column, row) != key:
            at = (at + step) & last
            row = int32(rows, at)
        set_int64(slots, k, at)


def find_slots(rows: NDArray[np.int32], keys: NDArray[np.uint64], column: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The slot of each key; row r of an occupied slot has the key `column[r]`."""
    keys, slots = np.ascontiguousarray(keys), np.empty(len(keys), np.int64)
    slots_of(address(rows), len(rows), address(column), len(keys), address(keys), address(slots))
    return slots
