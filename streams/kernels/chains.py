"""What becomes of the rows of a join as time goes on, in compiled code. Its twins are in `join.Join`.

`columns` tells of columns as in `table`; `which` are the numbers of those that are named. Rows of an id are a chain: `next` of each has the
row of the one behind it, or a number that is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.cold import OUTCOME
from driftline.streams.kernels.machine import address, byte, compiled, entry, int32, int64, set_byte, set_int32, set_int64
from driftline.streams.kernels.table import SAME, TOLD, set_value, value_at, value_in

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
ASK = 2  # a mark


@compiled
def of(columns: int, which: int, k: int) -> Any:
    """Where it is told of the column of the number `which[k]`."""
    return columns + 8 * TOLD * int64(which, k)


@entry(types.void(*[types.int64] * 4))
def mark_heads(columns: int, which: int, n: int, heads: int) -> None:
    """Take the mark from each of `n` rows that another leads to. Columns: next."""
    chain = of(columns, which, 0)
    data, form, base = int64(chain, 0), int64(chain, 1), int64(chain, 2)
    if form == SAME and base < 0:
        return
    for i in range(n):
        row = value_at(data, form, base, i)
        if 0 <= row < n:
            set_byte(heads, row, 0)


@entry(types.void(*[types.int64] * 8))
def mark_past(columns: int, which: int, n: int, heads: int, predictions: int, outcomes: int, ask: int, marks: int) -> None:
    """Mark the rows of ids of which all predictions are older than one time, and all outcomes than another.

    With `ask` those with a prediction that is not stored get the mark `ASK` at their first row instead. Columns: ts, next, version, again,
    stored.
    """
    times, chain, versions = of(columns, which, 0), of(columns, which, 1), of(columns, which, 2)
    agains, stored = of(columns, which, 3), of(columns, which, 4)
    below = max(predictions, outcomes)
    for i in range(n):
        if not byte(heads, i) or value_in(times, i) >= below:
            continue
        row, past, unstored = i, True, False
        while past and 0 <= row < n:
            last = value_in(times, row) + value_in(agains, row)
            if value_in(versions, row) == OUTCOME:
                past = last < outcomes
            else:
                past = last < predictions
                unstored |= value_in(stored, row) == 0
            row = value_in(chain, row)
        if past and ask and unstored:
            set_byte(marks, i, ASK)
        elif past:
            row = i
            while 0 <= row < n:
                set_byte(marks, row, 1)
                row = value_in(chain, row)


@entry(types.int64(*[types.int64] * 7))
def find_old(columns: int, which: int, n: int, until: int, decided_ts: int, decided_offset: int, rows: int) -> int:
    """The rows of outcomes that are not stored, older than a time, and not decided; how many. Columns: ts, version, stored, offset."""
    times, versions, stored, offsets = of(columns, which, 0), of(columns, which, 1), of(columns, which, 2), of(columns, which, 3)
    count = 0
    for i in range(n):
        ts = value_in(times, i)
        due = ts < until and value_in(versions, i) == OUTCOME and value_in(stored, i) == 0
        if due and (ts >= decided_ts or value_in(offsets, i) >= decided_offset):
            set_int64(rows, count, i)
            count += 1
    return count


@entry(types.void(*[types.int64] * 4))
def find_lowest(columns: int, which: int, n: int, found: int) -> None:
    """The lowest offsets of predictions and of outcomes that are not stored, or what `found` has. Columns: version, stored, offset."""
    versions, stored, offsets = of(columns, which, 0), of(columns, which, 1), of(columns, which, 2)
    predictions, outcomes = int64(found, 0), int64(found, 1)
    for i in range(n):
        if value_in(stored, i) == 0:
            offset = value_in(offsets, i)
            if value_in(versions, i) == OUTCOME:
                outcomes = min(outcomes, offset)
            else:
                predictions = min(predictions, offset)
    set_int64(found, 0, predictions)
    set_int64(found, 1, outcomes)


@entry(types.int64(*[types.int64] * 7))
def move_pointers(columns: int, which: int, n: int, keep: int, kept: int, n_kept: int, places: int) -> int:
    """Let those of `n` rows that are kept lead to where things will be; 0, and nothing is written, if the column cannot hold that.

    They lead to rows of a table of which `kept` tells what stays; `places` has room for as many. Columns: the one that leads.
    """
    column = of(columns, which, 0)
    data, form, base = int64(column, 0), int64(column, 1), int64(column, 2)
    if form == SAME:
        return base < 0
    if int64(column, 3) > 0:
        return 0
    to = 0
    for i in range(n_kept):
        set_int32(places, i, to)
        to += byte(kept, i)
    for i in range(n):
        row = value_at(data, form, base, i)
        if 0 <= row < n_kept and byte(keep, i):
            set_value(data, form, base, i, int32(places, row))
    return 1


def heads_of(columns: Int64, which: Int64, n: int) -> Bool:
    """See `join.Join._is_head`."""
    heads = np.ones(n, bool)
    mark_heads(address(columns), address(which), n, address(heads))
    return heads


def past_of(columns: Int64, which: Int64, heads: Bool, predictions: int, outcomes: int, *, ask: bool) -> tuple[Bool, Int64]:
    """The rows of ids that are past, see `join.Join._past`, and the first rows of those that the store must be asked for."""
    marks = np.zeros(len(heads), np.uint8)
    mark_past(address(columns), address(which), len(heads), address(heads), predictions, outcomes, ask, address(marks))
    asked = np.flatnonzero(marks == ASK) if ask else np.empty(0, np.int64)
    marks[asked] = 0
    return marks.view(np.bool_), asked


def old_outcomes(columns: Int64, which: Int64, n: int, until: int, decided: tuple[int, int]) -> Int64:
    """See `join.Join._undecided`."""
    rows = np.empty(n, np.int64)
    return rows[: find_old(address(columns), address(which), n, until, *decided, address(rows))]


def lowest_offsets(columns: Int64, which: Int64, n: int, most: int) -> tuple[int, int]:
    """See `join.Join._lowest_offsets`."""
    found = np.full(2, most)
    find_lowest(address(columns), address(which), n, address(found))
    return int(found[0]), int(found[1])


def renumber(columns: Int64, which: Int64, keep: Bool, kept: Bool) -> bool:
    """See `join.Join._renumber`; False, and nothing is done, where the column cannot hold what it must."""
    places = np.empty(len(kept), np.int32)
    return bool(move_pointers(address(columns), address(which), len(keep), address(keep), address(kept), len(kept), address(places)))
