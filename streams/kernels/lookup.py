"""Looking up many keys in a hash index at once, in compiled code. Its twin is in `columns.HashIndex`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import (
    address,
    as_bits,
    entry,
    float64,
    int32,
    int64,
    set_int32,
    set_int64,
    set_uint64,
    uint64,
)
from driftline.streams.kernels.numbers import place_of_number
from driftline.streams.kernels.texts import stirred


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
def take_slots(slots: int, size: int, n: int, keys: int, rows: int) -> None:
    """Put the `n` rows of keys that are absent, and differ from each other, into the first free slots on their ways."""
    last = size - 1
    for k in range(n):
        key = uint64(keys, k)
        at: Any = np.int64(key & np.uint64(last))
        step: Any = np.int64(key >> np.uint64(40)) | 1
        while int32(slots, at) >= 0:
            at = (at + step) & last
        set_int32(slots, at, int64(rows, k))


def place(slots: NDArray[np.int32], keys: NDArray[np.uint64], rows: NDArray[Any]) -> None:
    """See `columns.HashIndex._place`."""
    keys, rows = np.ascontiguousarray(keys), np.ascontiguousarray(rows, np.int64)
    take_slots(address(slots), len(slots), len(keys), address(keys), address(rows))


SMALL = 256


@entry(types.int64(*[types.int64] * 5))
def place_small(numbers: int, n: int, known: int, ranks: int, places: int) -> int:
    """The place of each of `n` numbers among those that are there, ascending, if all are whole and below `SMALL`; else 0.

    How many are there; `known`, which is all 0 before, gets them. `ranks` has room for as many.
    """
    for k in range(n):
        x = float64(numbers, k)
        if not 0.0 <= x < SMALL:
            return 0
        value: Any = np.int64(x)
        if np.float64(value) != x:
            return 0
        set_int64(known, value, 1)
        set_int64(places, k, value)
    count = 0
    for number in range(SMALL):
        if int64(known, number):
            set_int64(ranks, number, count)
            set_int64(known, count, number)
            count += 1
    for k in range(n):
        set_int64(places, k, int64(ranks, int64(places, k)))
    return count


def small_numbers(numbers: NDArray[np.float64]) -> tuple[list[float], NDArray[np.int64]] | None:
    """See `layout.numbers_in`; None where a number is not whole, or not small."""
    numbers, places, known = np.ascontiguousarray(numbers), np.empty(len(numbers), np.int64), np.zeros((2, SMALL), np.int64)
    count = place_small(address(numbers), len(numbers), address(known), address(known[1]), address(places))
    return (known[0, :count].astype(np.float64).tolist(), places) if count else None


@entry(types.void(types.int64, types.int64, types.int64, types.int64, types.uint64, types.int64))
def add_prints(kind: int, data: int, prints: int, n: int, own: Any, totals: int) -> None:
    """Add to each of `n` sums what a column says in its row; nothing where it says nothing. See `arrow._fingerprints`.

    The column holds words (kind 0, of which 0 says nothing), numbers (1) or codes (2), of which `prints` has the words, that of -1 first.
    """
    for k in range(n):
        said = np.uint64(0)
        if kind == 1:
            x = float64(data, k)
            if not np.isnan(x):
                said = as_bits(x + 0.0) + np.uint64(1)
        else:
            said = uint64(data, k) if kind == 0 else uint64(prints, int64(data, k) + 1)
        if said != np.uint64(0):
            set_uint64(totals, k, uint64(totals, k) + stirred(said + own))


def add_column(totals: NDArray[np.uint64], own: int, column: NDArray[Any], prints: NDArray[np.uint64] | None = None) -> None:
    """Add the words of a column of uint64, float64 or, with `prints`, codes to the fingerprints of its rows, in place."""
    column = np.ascontiguousarray(column)
    words = np.empty(0, np.uint64) if prints is None else np.concatenate([prints[-1:], prints[:-1]])
    kind = 2 if prints is not None else int(column.dtype == np.float64)
    add_prints(kind, address(column), address(words), len(column), own, address(totals))


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
