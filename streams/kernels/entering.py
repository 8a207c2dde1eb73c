"""Rows that enter a join, in one walk over its index, in compiled code. What is not plain goes the way of its twins, in `join.Join`.

`columns` tells of columns as in `table`; they have room for all rows of a batch behind the first `first`, and hold the keys of those that
were taken in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.cold import OUTCOME
from driftline.streams.kernels.chains import of
from driftline.streams.kernels.lookup import slot_of
from driftline.streams.kernels.machine import (
    AHEAD,
    address,
    byte,
    compiled,
    entry,
    fetch_ahead,
    int32,
    int64,
    set_byte,
    set_int32,
    set_int64,
    set_uint64,
    uint64,
)
from driftline.streams.kernels.table import set_value, value_in

Int64 = NDArray[np.int64]


@entry(types.int64(*[types.int64] * 5))
def mark_late(times: int, n: int, newest: int, lateness: int, late: int) -> int:
    """Say of each of `n` rows whether it is that much older than the newest before it; the newest time of all."""
    for k in range(n):
        ts = int64(times, k)
        set_byte(late, k, ts < newest - lateness)
        newest = max(newest, ts)
    return newest


@compiled
def look_ahead(slots: int, last: int, column: int, keys: int, k: int, n: int) -> None:
    """Have what the keys behind the one of the number `k` will need on its way: slots, and at half of the way the keys behind those."""
    if k + AHEAD < n:
        slot: Any = np.int64(uint64(keys, k + AHEAD) & np.uint64(last))
        fetch_ahead(slots + 4 * slot)
    if k + AHEAD // 2 < n:
        nearer: Any = np.int64(uint64(keys, k + AHEAD // 2) & np.uint64(last))
        row = int32(slots, nearer)
        if row >= 0:
            fetch_ahead(column + 8 * row)


@entry(types.int64(*[types.int64] * 11))
def enter_predictions(
    slots: int, size: int, room: int, columns: int, which: int, first: int, n: int, keys: int, late: int, taken: int, following: int
) -> int:
    """The numbers of those of `n` predictions that are taken in, and the row that follows each in its chain, -1 for none; how many.

    Not taken in are those that are late, those of an id that has a prediction, and all that follow it when `room` ids are new. Columns:
    key, version.
    """
    column, versions, count = int64(of(columns, which, 0), 0), of(columns, which, 1), 0
    for k in range(n):
        look_ahead(slots, size - 1, column, keys, k, n)
        if byte(late, k):
            continue
        key = uint64(keys, k)
        at = slot_of(slots, size - 1, column, key)
        row = int32(slots, at)
        if row >= first or (row >= 0 and value_in(versions, row) != OUTCOME) or (row < 0 and room <= 0):
            continue
        room -= row < 0
        set_int32(slots, at, first + count)
        set_uint64(column, first + count, key)
        set_int64(taken, count, k)
        set_int64(following, count, row)
        count += 1
    return count


@entry(types.int64(*[types.int64] * 14))
def enter_outcomes(
    slots: int, size: int, room: int, columns: int, which: int, first: int, n: int, keys: int, times: int, late: int, horizon: int,
    taken: int, predictions: int, end: int,
) -> int:  # fmt: skip
    """The numbers of those of `n` outcomes that are taken in, and the row of the prediction that each pairs with, -1 for none; how many.

    Not taken in are those that are late, and those of an id with an outcome or with several predictions, or with one that does not pair.
    It ends before the first of a new id for which there is no `room`: its number is in `end`, or `n`. Columns: key, version, next, ts.
    """
    column, versions = int64(of(columns, which, 0), 0), of(columns, which, 1)
    chain, own, count = of(columns, which, 2), of(columns, which, 3), 0
    data, form, base = int64(chain, 0), int64(chain, 1), int64(chain, 2)
    set_int64(end, 0, n)
    for k in range(n):
        look_ahead(slots, size - 1, column, keys, k, n)
        if byte(late, k):
            continue
        key = uint64(keys, k)
        at = slot_of(slots, size - 1, column, key)
        row = int32(slots, at)
        if row >= first:
            continue
        if row >= 0:
            if value_in(versions, row) == OUTCOME or value_in(chain, row) >= 0:
                continue
            if abs(value_in(own, row) - int64(times, k)) > horizon:
                continue
            set_value(data, form, base, row, first + count)
        else:
            if room <= 0:
                set_int64(end, 0, k)
                break
            room -= 1
            set_int32(slots, at, first + count)
            set_uint64(column, first + count, key)
        set_int64(taken, count, k)
        set_int64(predictions, count, row)
        count += 1
    return count


def late_rows(ts: Int64, newest: int, lateness_ms: int) -> tuple[NDArray[np.bool_], int]:
    """See `join._Clock.late`, and the newest time of all."""
    ts, late = np.ascontiguousarray(ts), np.empty(len(ts), np.bool_)
    return late, mark_late(address(ts), len(ts), newest, lateness_ms, address(late))


def predictions_entered(
    slots: NDArray[np.int32], room: int, columns: Int64, which: Int64, first: int, keys: NDArray[np.uint64], late: NDArray[np.bool_]
) -> tuple[Int64, Int64]:
    """See `enter_predictions`."""
    keys, late, found = np.ascontiguousarray(keys), np.ascontiguousarray(late), np.empty((2, len(keys)), np.int64)
    count = enter_predictions(
        address(slots), len(slots), room, address(columns), address(which), first, len(keys), address(keys), address(late), address(found),
        address(found[1]),
    )  # fmt: skip
    return found[0, :count], found[1, :count]


def outcomes_entered(
    slots: NDArray[np.int32], room: int, columns: Int64, which: Int64, first: int, keys: NDArray[np.uint64], ts: Int64,
    late: NDArray[np.bool_], horizon_ms: int,
) -> tuple[Int64, Int64, int]:  # fmt: skip
    """See `enter_outcomes`, and where it ended; the column of what follows can hold the rows of all of them."""
    keys, ts, late = np.ascontiguousarray(keys), np.ascontiguousarray(ts), np.ascontiguousarray(late)
    found, end = np.empty((2, len(keys)), np.int64), np.empty(1, np.int64)
    count = enter_outcomes(
        address(slots), len(slots), room, address(columns), address(which), first, len(keys), address(keys), address(ts), address(late),
        horizon_ms, address(found), address(found[1]), address(end),
    )  # fmt: skip
    return found[0, :count], found[1, :count], int(end[0])
