"""Looking up many keys in a hash index at once, in compiled code. Its twin is in `columns.HashIndex`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import (
    AHEAD,
    address,
    as_bits,
    compiled,
    entry,
    fetch_ahead,
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


@compiled
def slot_of(slots: int, last: int, column: int, key: Any) -> Any:
    """The slot that has a key, or the free one at the end of its way."""
    at: Any = np.int64(key & np.uint64(last))
    step: Any = np.int64(key >> np.uint64(40)) | 1
    row = int32(slots, at)
    while row >= 0 and uint64(column, row) != key:
        at = (at + step) & last
        row = int32(slots, at)
    return at


@entry(types.void(*[types.int64] * 6))
def slots_of(rows: int, size: int, column: int, n: int, keys: int, slots: int) -> None:
    """`slot_of` for each of `n` keys."""
    for k in range(n):
        set_int64(slots, k, slot_of(rows, size - 1, column, uint64(keys, k)))


@entry(types.void(*[types.int64] * 5))
def take_slots(slots: int, size: int, n: int, rows: int, column: int) -> None:
    """Put `n` rows, of four bytes, into the first free slots on the ways of their keys, which are absent and differ from each other."""
    last = size - 1
    for k in range(n):
        if k + AHEAD < n:
            fetch_ahead(column + 8 * int32(rows, k + AHEAD))
        if k + AHEAD // 2 < n:
            nearer: Any = np.int64(uint64(column, int32(rows, k + AHEAD // 2)) & np.uint64(last))
            fetch_ahead(slots + 4 * nearer)
        key = uint64(column, int32(rows, k))
        at: Any = np.int64(key & np.uint64(last))
        step: Any = np.int64(key >> np.uint64(40)) | 1
        while int32(slots, at) >= 0:
            at = (at + step) & last
        set_int32(slots, at, int32(rows, k))


def place(slots: NDArray[np.int32], rows: NDArray[Any], column: NDArray[np.uint64]) -> None:
    """See `columns.HashIndex._place`."""
    rows = np.ascontiguousarray(rows, np.int32)
    take_slots(address(slots), len(slots), len(rows), address(rows), address(column))


SMALL = 256
SPANS = 512
FAR = 1 << 50  # of numbers and lengths that are nearer to 0 quotients come out right as floats


@entry(types.int64(*[types.int64] * 3))
def find_small(numbers: int, n: int, known: int) -> int:
    """Set in `known`, all 0 before, which of the numbers below `SMALL` come; whether all `n` are whole and of those."""
    for k in range(n):
        x = float64(numbers, k)
        if not 0.0 <= x < SMALL:
            return 0
        value: Any = np.int64(x)
        if np.float64(value) != x:
            return 0
        set_int64(known, value, 1)
    return 1


@entry(types.void(*[types.int64] * 4))
def take_small(numbers: int, n: int, table: int, out: int) -> None:
    """What stands in the table, of words, at each of `n` numbers that `find_small` has found."""
    for k in range(n):
        value: Any = np.int64(float64(numbers, k))
        set_uint64(out, k, uint64(table, value))


def small_numbers(numbers: NDArray[np.float64]) -> tuple[list[float], NDArray[np.int64]] | None:
    """See `layout.numbers_in`; None where a number is not whole, or not small."""
    known = known_small(numbers)
    return (known, recoded_small(numbers, known, np.arange(len(known)))) if known else None


def known_small(numbers: NDArray[np.float64]) -> list[float]:
    """The numbers of a column, ascending; none where one is not whole, or not small."""
    numbers, known = np.ascontiguousarray(numbers), np.zeros(SMALL, np.int64)
    fits = find_small(address(numbers), len(numbers), address(known))
    return np.flatnonzero(known).astype(np.float64).tolist() if fits else []


def recoded_small(numbers: NDArray[np.float64], known: Sequence[float], codes: NDArray[Any]) -> NDArray[Any]:
    """The code, of eight bytes, of each number of a column of which all are `known`."""
    numbers, table, out = np.ascontiguousarray(numbers), np.zeros(SMALL, codes.dtype), np.empty(len(numbers), codes.dtype)
    table[np.array(known, np.int64)] = codes
    take_small(address(numbers), len(numbers), address(table), address(out))
    return out


@entry(types.void(types.int64, types.int64, types.float64, types.int64))
def bin_all(scores: int, n: int, bins: float, out: int) -> None:
    """The bin of each of `n` scores, -1 where there is none. What a score beyond [0, 1] gets means nothing."""
    for k in range(n):
        x = float64(scores, k)
        at = x * bins if x > 0.0 else 0.0
        set_int64(out, k, -1 if np.isnan(x) else int(at if at < bins - 1.0 else bins - 1.0))


def score_bins(scores: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """See `arrow.score_bins`."""
    scores, out = np.ascontiguousarray(scores), np.empty(len(scores), np.int64)
    bin_all(address(scores), len(scores), float(bins), address(out))
    return out


@entry(types.int64(*[types.int64] * 6))
def place_spans(numbers: int, n: int, length: int, most: int, there: int, places: int) -> int:
    """The place of each of `n` numbers among the spans of this length that there are, and in `there`, all 0 before, which are; where the
    first of those begins is that of the least number. How many there may be; 0 where that is more than `most`."""
    least = greatest = int64(numbers, 0)
    for k in range(1, n):
        least, greatest = min(least, int64(numbers, k)), max(greatest, int64(numbers, k))
    if not -FAR < least <= greatest < FAR or length >= FAR:
        return 0
    first = least // length
    begin, spans = first * length, greatest // length - first + 1
    if spans > most:
        return 0
    for k in range(n):  # the quotient of whole numbers of so few bits does not round up to the next
        set_int64(places, k, int((int64(numbers, k) - begin) / length))
    for k in range(n):
        set_int64(there, int64(places, k), 1)
    count = 0
    for span in range(spans):
        held = int64(there, span)
        set_int64(there, span, count if held else -1)
        count += held
    if count < spans:
        for k in range(n):
            set_int64(places, k, int64(there, int64(places, k)))
    return spans


def spans_of(numbers: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """See `columns.spans_of`; None where they are too many."""
    numbers, there, places = np.ascontiguousarray(numbers), np.zeros(SPANS, np.int64), np.empty(len(numbers), np.int64)
    spans = place_spans(address(numbers), len(numbers), length, SPANS, address(there), address(places)) if len(numbers) else 0
    return (np.flatnonzero(there[:spans] >= 0) + int(numbers.min()) // length, places) if spans else None


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
