"""Rows of several columns read and written at once, in compiled code. Its twin is in `columns.Columns`.

A column is told by seven numbers: where its data lies, in which form, the base that is added to whole numbers, the least and the greatest
whole number it can hold, and the least and the greatest it has held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.cold import OUTCOME
from driftline.streams.kernels.machine import (
    AHEAD,
    address,
    as_bits,
    as_double,
    byte,
    compiled,
    entry,
    fetch_ahead,
    float32,
    int32,
    int64,
    move,
    set_byte,
    set_float32,
    set_int32,
    set_int64,
    set_uint16,
    uint16,
)

SAME, BYTES, SHORTS, INTS, WORDS = 0, 1, 2, 4, 8  # forms of whole numbers: bytes of each
CODES, SINGLES, DOUBLES = 11, 14, 18  # of floats: in one byte, four and eight
PRINTS = 24  # of whole numbers of four bytes, of which the rest is of no matter
NO_CODE: Final = 255  # stands for NaN among codes
TOLD = 7


@compiled
def value_at(data: int, form: int, base: int, row: int) -> Any:
    """A value; of a float its bits."""
    if form == SAME:
        return base
    if form == BYTES:
        return byte(data, row) + base
    if form == SHORTS:
        return uint16(data, row) + base
    if form in (INTS, PRINTS):
        return (int32(data, row) & 0xFFFFFFFF) + base
    if form == CODES:
        code = byte(data, row)
        return np.int64(as_bits(np.nan if code == NO_CODE else np.float64(code)))
    if form == SINGLES:
        return np.int64(as_bits(np.float64(float32(data, row))))
    return int64(data, row) + base


@compiled
def value_in(column: int, row: int) -> Any:
    """The value of a column of which seven numbers tell."""
    return value_at(int64(column, 0), int64(column, 1), int64(column, 2), row)


@compiled
def width_of(column: int) -> Any:
    """How many bytes a value has of a column of which seven numbers tell."""
    form = int64(column, 1)
    return BYTES if form == CODES else INTS if form in (PRINTS, SINGLES) else WORDS if form == DOUBLES else form


@compiled
def fetch_value(column: int, row: int) -> None:
    """Have the value of a row, which may be any, on its way."""
    fetch_ahead(int64(column, 0) + width_of(column) * row)


@compiled
def set_value(data: int, form: int, base: int, row: int, value: int) -> None:
    """The opposite of `value_at`; the value must fit."""
    if form == BYTES:
        set_byte(data, row, value - base)
    elif form == SHORTS:
        set_uint16(data, row, value - base)
    elif form in (INTS, PRINTS):
        set_int32(data, row, value - base)
    elif form == CODES:
        x = as_double(np.uint64(value))
        set_byte(data, row, NO_CODE if np.isnan(x) else np.int64(x))
    elif form == SINGLES:
        set_float32(data, row, np.float32(as_double(np.uint64(value))))
    elif form != SAME:
        set_int64(data, row, value - base)


@compiled
def holds(form: int, value: int) -> Any:
    """Whether a form of floats holds this one, given by its bits, without loss."""
    x = as_double(np.uint64(value))
    if form == DOUBLES or np.isnan(x):
        return True
    if form == SINGLES:
        return np.float64(np.float32(x)) == x
    return value >= 0 and x < NO_CODE and np.floor(x) == x  # minus zero is no code


@compiled
def beyond(rows: int, n: int, size: int) -> Any:
    """How many of `n` numbers of rows are none below `size`."""
    strange = 0
    for i in range(n):
        strange += not 0 <= int64(rows, i) < size
    return strange


@entry(types.int64(*[types.int64] * 7))
def take_values(columns: int, which: int, n_columns: int, rows: int, n: int, size: int, found: int) -> int:
    """The values of some columns in these `n` rows, column after column; how many rows are none below `size`."""
    strange: int = beyond(rows, n, size)
    if strange:
        return strange
    for j in range(n_columns):
        column, to = columns + 8 * TOLD * int64(which, j), found + 8 * n * j
        data, form, base = int64(column, 0), int64(column, 1), int64(column, 2)
        for i in range(n):
            set_int64(to, i, value_at(data, form, base, int64(rows, i)))
    return 0


@entry(types.int64(*[types.int64] * 7))
def follow(columns: int, which: int, rows: int, n: int, size: int, horizon: int, found: int) -> int:
    """What the outcomes behind each of `n` predictions in its chain say, see `labels_of`; how many rows are none below `size`."""
    strange: int = beyond(rows, n, size)
    if strange:
        return strange
    width = 8 * TOLD
    times, chain, versions = columns + width * int64(which, 0), columns + width * int64(which, 1), columns + width * int64(which, 2)
    offsets, values = columns + width * int64(which, 3), columns + width * int64(which, 4)
    for i in range(n):
        if i + AHEAD < n:
            fetch_value(chain, int64(rows, i + AHEAD))
        if i + AHEAD // 2 < n:
            near = value_in(chain, int64(rows, i + AHEAD // 2))
            fetch_value(times, near)
            fetch_value(chain, near)
            fetch_value(versions, near)
            fetch_value(offsets, near)
            fetch_value(values, near)
        row, count, value, last, at, first, known = int64(rows, i), 0, 0, 0, 0, 0, 0
        own = value_in(times, row)
        row = value_in(chain, row)
        while 0 <= row < size:
            ts = value_in(times, row)
            if value_in(versions, row) == OUTCOME and abs(ts - own) <= horizon:
                offset = value_in(offsets, row)
                if count == 0 or ts > last or (ts == last and offset > at):
                    last, at, value = ts, offset, value_in(values, row)
                first = ts if count == 0 else min(first, ts)
                known = max(known, offset)
                count += 1
            row = value_in(chain, row)
        set_int64(found, i, count)
        set_int64(found, n + i, value)
        set_int64(found, 2 * n + i, last)
        set_int64(found, 3 * n + i, at)
        set_int64(found, 4 * n + i, first)
        set_int64(found, 5 * n + i, known)
    return 0


@entry(types.int64(*[types.int64] * 5))
def append_values(columns: int, n_columns: int, values: int, first: int, n: int) -> int:
    """Write `n` rows from row `first` on, where there is room for them; 0, and nothing is written, if a column cannot hold its values.

    `values` has for each column where they lie, and how far apart: 0 where all are the same.
    """
    for c in range(n_columns):
        column, source, step = columns + 8 * TOLD * c, int64(values, 2 * c), int64(values, 2 * c + 1)
        form = int64(column, 1)
        if form in (CODES, SINGLES, DOUBLES):
            for i in range(n if step else 1):
                if not holds(form, int64(source, i)):
                    return 0
        elif form <= WORDS:
            low = high = int64(source, 0)
            for i in range(n if step else 1):
                low, high = min(low, int64(source, i)), max(high, int64(source, i))
            if low < int64(column, 3) or high > int64(column, 4):
                return 0
            set_int64(column, 5, min(low, int64(column, 5)))
            set_int64(column, 6, max(high, int64(column, 6)))
    for c in range(n_columns):
        column, source, step = columns + 8 * TOLD * c, int64(values, 2 * c), int64(values, 2 * c + 1)
        data, form, base = int64(column, 0), int64(column, 1), int64(column, 2)
        if form == SAME:
            continue
        if step and form == BYTES:
            for i in range(n):
                set_byte(data, first + i, int64(source, i) - base)
        elif step and form == SHORTS:
            for i in range(n):
                set_uint16(data, first + i, int64(source, i) - base)
        elif step and form in (INTS, PRINTS):
            for i in range(n):
                set_int32(data, first + i, int64(source, i) - base)
        elif step and form in (WORDS, DOUBLES):
            move(data + 8 * first, source, 8 * n)
        else:
            for i in range(n):
                set_value(data, form, base, first + i, int64(source, i * step))
    return 1


@entry(types.void(*[types.int64] * 4))
def keep_values(columns: int, n_columns: int, mask: int, n: int) -> None:
    """Of the first `n` rows those under the mask move up in order. Mostly those that go are among the first: the others move as one."""
    first, last = 0, n
    while first < n and byte(mask, first):
        first += 1
    while last > first and byte(mask, last - 1):
        last -= 1
    for c in range(n_columns):
        data, form, to = int64(columns, TOLD * c), int64(columns, TOLD * c + 1), first
        # Each row is written, and the next one over it if it does not stay.
        if form in (BYTES, CODES):
            for i in range(first, last):
                set_byte(data, to, byte(data, i))
                to += byte(mask, i)
        elif form == SHORTS:
            for i in range(first, last):
                set_uint16(data, to, uint16(data, i))
                to += byte(mask, i)
        elif form in (INTS, PRINTS, SINGLES):
            for i in range(first, last):
                set_int32(data, to, int32(data, i))
                to += byte(mask, i)
        elif form != SAME:
            for i in range(first, last):
                set_int64(data, to, int64(data, i))
                to += byte(mask, i)
        if form != SAME:
            size = width_of(columns + 8 * TOLD * c)
            move(data + size * to, data + size * last, size * (n - last))


def take_rows(columns: NDArray[np.int64], which: NDArray[np.int64], rows: NDArray[Any], size: int) -> NDArray[np.int64]:
    """The values of the columns of these numbers in some rows, of floats their bits; shape (columns, rows)."""
    rows, found = np.ascontiguousarray(rows, np.int64), np.empty((len(which), len(rows)), np.int64)
    if take_values(address(columns), address(which), len(which), address(rows), len(rows), size, address(found)):
        raise IndexError(f"rows beyond the {size} that are there")
    return found


def labels_of(columns: NDArray[np.int64], which: NDArray[np.int64], rows: NDArray[Any], size: int, horizon_ms: int) -> NDArray[np.int64]:
    """See `join.Join._labels_behind`; `which`: the columns of time, next, version, offset and value.

    How many outcomes pair with each, the bits of the value, time and offset of the last one, the least of their times and the highest of
    their offsets; shape (6, rows).
    """
    rows, found = np.ascontiguousarray(rows, np.int64), np.empty((6, len(rows)), np.int64)
    if follow(address(columns), address(which), address(rows), len(rows), size, horizon_ms, address(found)):
        raise IndexError(f"rows beyond the {size} that are there")
    return found


def append_rows(columns: NDArray[np.int64], values: Sequence[NDArray[Any]], first: int, n: int) -> bool:
    """Write rows, of eight bytes a value, or one value for all; False, and nothing is written, if a column cannot hold its own."""
    sources = np.array([(address(each), len(each) > 1) for each in values], np.int64)
    return bool(append_values(address(columns), len(values), address(sources), first, n))


def keep_rows(columns: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
    """Of the first rows, as many as the mask has elements, those under it move up in order."""
    mask = np.ascontiguousarray(mask)
    keep_values(address(columns), len(columns), address(mask), len(mask))


@entry(types.int64(*[types.int64] * 4))
def all_new(keys: int, n: int, slots: int, size: int) -> int:
    """Whether `n` keys differ from each other; `slots` are `size` zeros of four bytes, a power of two above `n`."""
    for k in range(n):
        key = int64(keys, k)
        at: Any = key & (size - 1)
        while int32(slots, at):
            if int64(keys, int32(slots, at) - 1) == key:
                return 0
            at = (at + 1) & (size - 1)
        set_int32(slots, at, k + 1)
    return 1


def all_differ(keys: NDArray[np.uint64]) -> bool:
    """Whether no key comes twice."""
    keys, size = np.ascontiguousarray(keys), 1 << (2 * len(keys)).bit_length()
    slots = np.zeros(size, np.int32)
    return bool(all_new(address(keys), len(keys), address(slots), size))
