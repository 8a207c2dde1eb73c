"""From arrays to columns of rows, as bytes (`schemas.packed`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.schemas.packed import Coded, Counts, Floats, Packed, Runs, Unfit, Wholes
from driftline.schemas.results import Columns, Row, in_runs, taken
from driftline.streams.layout import Float64, Int64

Column = list[Any] | Packed


def finite(values: Float64) -> Float64:
    """The same, NaN where there is no finite number: a store has no use for it, and told it is None."""
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, np.nan)


def floats(values: Float64) -> Floats:
    """Of each row a number, or NaN for None.

    >>> floats(np.array([0.5, np.nan])).tolist()
    [0.5, None]
    """
    return Floats(values.astype("<f8", copy=False).tobytes())


def wholes(values: Int64) -> Column:
    """Of each row a number; or the one that all have.

    >>> wholes(np.array([7, 7])), wholes(np.array([7, 8])).tolist()
    ([7], [7, 8])
    """
    data = values.astype("<i8", copy=False).tobytes()
    return [int(values[0])] if data == data[:8] * len(values) and data else Wholes(data)


def times(column: Column, many: int) -> Column:
    """A column as often as told, end to end.

    >>> times(texts(["a", "b"]), 2).tolist(), times(["a"], 2)
    (['a', 'b', 'a', 'b'], ['a'])
    """
    if isinstance(column, Coded):
        return Coded(column.words, column.codes * many)
    values = column.tolist() if isinstance(column, Packed) else column
    return values if len(values) == 1 else values * many


def rows_at(rows: Columns[Row], at: Int64) -> Columns[Row]:
    """The rows at these places, which rise; runs of rows stay runs.

    >>> from driftline.schemas.results import Orphan
    >>> rows = Columns(Orphan, 4, (["m"], Runs([0, 1], [2, 2]), Wholes(np.arange(4).tobytes()), ["h"], [5], [9], [7]))
    >>> rows_at(rows, np.array([1, 2, 3])) == rows[1:], rows_at(rows, np.array([1, 2, 3])).values[1]
    (True, Runs(values=[0, 1], sizes=[1, 2]))
    """
    return Columns(rows.kind, len(at), tuple(_at(column, at, rows.rows) for column in rows.values))


def _at(column: Column, at: Int64, rows: int) -> Column:
    match column:
        case Floats(data) | Wholes(data):
            return type(column)(np.frombuffer(data, "<i8")[at].tobytes())
        case Coded(words, codes):
            return Coded(words, np.frombuffer(codes, np.uint8)[at].tobytes())
        case Runs(values, sizes):
            left = np.bincount(np.searchsorted(np.cumsum(sizes), at, side="right"), minlength=len(sizes)).tolist()
            return in_runs([value for value, size in zip(values, left, strict=True) if size], [size for size in left if size])
    return taken(column, at.tolist(), rows)


def texts(values: Sequence[str], at: Int64 | None = None) -> Column:
    """Of each row a text, or of those at these places; or the one that all have.

    >>> texts(["a", "b"], np.array([1, 0, 0])).tolist(), texts(["a", "a"])
    (['b', 'a', 'a'], ['a'])
    """
    if not values or values.count(values[0]) == len(values):
        return [*values[:1]]
    try:
        told = Coded.of(values)
    except Unfit:
        return [*values] if at is None else [values[i] for i in at.tolist()]
    return told if at is None else Coded(told.words, np.frombuffer(told.codes, np.uint8)[at].tobytes())


def counts(values: Int64, lengths: Int64) -> Counts:
    """Of each row so many of the counts, which lie end to end.

    >>> counts(np.array([1, 2, 3]), np.array([2, 0, 1])).tolist()
    [[1, 2], [], [3]]
    """
    form = "<u4" if not len(values) or int(values.max()) < 2**32 else "<u8"
    return Counts(lengths.astype("<u4").tobytes(), values.astype(form).tobytes())
