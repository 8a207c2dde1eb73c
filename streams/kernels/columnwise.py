"""Columns of batches into the histograms of a pane, in compiled code. Its twin is `Layout.encode` with `Pane.add_encoded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.streams.kernels.grid import GRID, TOGETHER, Grid, Into, add_numbers, places_in
from driftline.streams.kernels.machine import address, compiled, entry, float64, int64, room, set_float64, set_int64
from driftline.streams.layout import Coded, Layout
from driftline.streams.panes import NOVEL, Pane
from driftline.streams.sketch import add_texts

ABSENT, NUMBERS, CODES = range(3)  # kinds of columns
_values = room(8 * TOGETHER)


class Sheet(NamedTuple):
    """The columns of a layout's features: addresses of arrays with one element a feature.

    `data` has the addresses of the columns: float64, NaN where there is none, or int64 codes, -1 where there is none. Of codes `place`
    has the address of the place of each, that of -1 first, `hits` where to count them, and `size` how many there are, -1 included.
    """

    features: int
    kind: int
    data: int
    place: int
    hits: int
    size: int
    starts: int
    bins: int
    centre: int
    scale: int


@compiled
def is_run(rows: int, n: int) -> bool:
    """Whether these rows follow one another."""
    holes = 0
    for i in range(1, n):
        holes |= int64(rows, i) - int64(rows, i - 1) - 1
    return holes == 0


@compiled
def add_column(sheet: Sheet, grid: Grid, to: Into, f: int, rows: int, n: int, run: bool) -> None:
    """Add `n` rows of numbers: where they lie, or copied together."""
    data, values, none, start = int64(sheet.data, f), _values(), 0, to.counts + 8 * int64(sheet.starts, f)
    own = Into(start, to.sums + 16 * f, to.extremes + 16 * f)
    for done in range(0, n, TOGETHER):
        m = min(n - done, TOGETHER)
        at = data + 8 * int64(rows, done)
        if not run:
            at = values
            for i in range(m):
                set_float64(values, i, float64(data, int64(rows, done + i)))
        none += add_numbers(grid, f, float64(sheet.centre, f), float64(sheet.scale, f), at, m, own)
    bins = int64(sheet.bins, f)
    set_int64(start, bins, int64(start, bins) + none)


@compiled
def add_codes(sheet: Sheet, to: Into, f: int, rows: int, n: int) -> None:
    data, hits = int64(sheet.data, f), int64(sheet.hits, f)
    for i in range(n):
        at = int64(data, int64(rows, i)) + 1
        set_int64(hits, at, int64(hits, at) + 1)
    start, place = int64(sheet.starts, f), int64(sheet.place, f)
    for code in range(int64(sheet.size, f)):
        at = start + int64(place, code)
        set_int64(to.counts, at, int64(to.counts, at) + int64(hits, code))


@entry(types.void(typeof(Sheet(*[0] * len(Sheet._fields))), GRID, typeof(Into(*[0] * 3)), types.int64, types.int64))
def fold_columns(sheet: Sheet, grid: Grid, to: Into, rows: int, n: int) -> None:
    """Add these `n` rows of the columns."""
    run = is_run(rows, n)
    for f in range(sheet.features):
        kind = int64(sheet.kind, f)
        if kind == NUMBERS:
            add_column(sheet, grid, to, f, rows, n, run)
        elif kind == CODES:
            add_codes(sheet, to, f, rows, n)
        else:
            at = int64(sheet.starts, f) + int64(sheet.bins, f)
            set_int64(to.counts, at, int64(to.counts, at) + n)


class Columnwise:
    """Columns as a layout takes them: numbers where its feature is numeric, `Coded` where it has categories; none where all are missing."""

    def __init__(self, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None:
        self._layout, self._coded, kept = layout, list[tuple[int, Coded, NDArray[np.bool_], int]](), list[NDArray[Any]]()
        told = np.zeros((5, len(layout.names)), np.int64)
        kind, data, place, hit, size = told
        first = 0  # of its counts among those of all codes, end to end
        for f, name in enumerate(layout.names):
            column = columns.get(name)
            if isinstance(column, Coded):
                places, unseen = layout.places(f, column.texts)
                arrays = [np.ascontiguousarray(column.code, np.int64), np.concatenate([places[-1:], places[:-1]])]
                kind[f], size[f], hit[f] = CODES, len(places), 8 * first
                data[f], place[f] = map(address, arrays)
                kept += arrays
                if unseen.any():
                    self._coded.append((f, column, unseen, first + 1))
                first += len(places)
            elif column is not None:
                kept.append(np.ascontiguousarray(column, np.float64))
                kind[f], data[f] = NUMBERS, address(kept[-1])
        self._places, self._hits = places_in(layout), np.zeros(max(first, 1), np.int64)
        hit += address(self._hits)
        about = [kind, data, place, hit, size, layout.starts, layout.bins, layout.centre, layout.scale]
        self._sheet, self._kept = Sheet(len(kind), *map(address, about)), [*kept, *about]

    def fold(self, pane: Pane, rows: NDArray[np.int64]) -> None:
        """Add these rows of the columns to a pane of the layout."""
        rows = np.ascontiguousarray(rows)
        self._hits[:] = 0
        into = Into(address(pane.counts), address(pane.sums), address(pane.extremes))
        fold_columns(self._sheet, self._places.grid, into, address(rows), len(rows))
        pane.n += len(rows)
        for f, column, unseen, first in self._coded:
            counts = self._hits[first : first + len(column.texts)]
            met = [(column.texts[code], int(counts[code])) for code in np.flatnonzero(unseen & (counts > 0)).tolist()]
            if met:
                add_texts(pane.novel.setdefault(self._layout.names[f], {}), met, NOVEL)
