"""Looking up many keys in a hash index at once, in compiled code. Its twin is in `columns.HashIndex`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, entry, float64, int32, int64, set_int64, set_uint64, uint64
from driftline.streams.kernels.numbers import place_of_number
from driftline.streams.kernels.texts import hash_id


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


@entry(types.void(*[types.int64] * 5))
def hash_all(data: int, n: int, starts: int, ends: int, hashes: int) -> None:
    """`hash_id` of each stretch of `data`."""
    for k in range(n):
        set_uint64(hashes, k, hash_id(data + int64(starts, k), data + int64(ends, k)))


def hash_stretches(buffer: Any, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """See `columns.hash_stretches`."""
    data = np.frombuffer(buffer if len(buffer) else b"\0", np.uint8)
    starts, ends, hashes = np.ascontiguousarray(starts), np.ascontiguousarray(ends), np.empty(len(starts), np.uint64)
    hash_all(address(data), len(starts), address(starts), address(ends), address(hashes))
    return hashes


@entry(types.void(*[types.int64] * 5))
def all_places(edges: int, edge_count: int, numbers: int, n: int, places: int) -> None:
    """For each number how many of the edges, which ascend, are at most it."""
    for k in range(n):
        set_int64(places, k, place_of_number(edges, 0, edge_count, float64(numbers, k)))


def places_of(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """`np.searchsorted(edges, numbers, side="right")` for numbers that are none of them NaN; what NaN gets means nothing."""
    numbers, places = np.ascontiguousarray(numbers), np.empty(len(numbers), np.int64)
    all_places(address(edges), len(edges), address(numbers), len(numbers), address(places))
    return places


def find_slots(rows: NDArray[np.int32], keys: NDArray[np.uint64], column: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The slot of each key; row r of an occupied slot has the key `column[r]`."""
    keys, slots = np.ascontiguousarray(keys), np.empty(len(keys), np.int64)
    slots_of(address(rows), len(rows), address(column), len(keys), address(keys), address(slots))
    return slots
