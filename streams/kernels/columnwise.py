"""Columns of batches into the histograms of a pane, in compiled code. Its twin is `Layout.encode` with `Pane.add_encoded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.streams.kernels.grid import GRID, Grid, grid_of, place_of, places_in, with_number
from driftline.streams.kernels.machine import address, compiled, entry, float64, int64, set_float64, set_int64
from driftline.streams.layout import Coded, Layout
from driftline.streams.panes import NOVEL, Pane
from driftline.streams.sketch import add_texts

ABSENT, NUMBERS, CODES = range(3)  # kinds of columns


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


class Into(NamedTuple):
    """Addresses of what is added to."""

    counts: int
    sums: int
    extremes: int


@compiled
def add_numbers(sheet: Sheet, grid: Grid, to: Into, f: int, rows: int, n: int) -> None:
    data, counts, missing = int64(sheet.data, f), to.counts + 8 * int64(sheet.starts, f), 0
    low, per, below, edges = grid_of(grid, f)
    centre, scale = float64(sheet.centre, f), float64(sheet.scale, f)
    total, squares = 0.0, 0.0
    least, most = float64(to.extremes, 2 * f), float64(to.extremes, 2 * f + 1)
    for i in range(n):
        x = float64(data, int64(rows, i))
        if np.isnan(x):
            missing += 1
            continue
        at = place_of(low, per, below, edges, x)
        set_int64(counts, at, int64(counts, at) + 1)
        total, squares, least, most = with_number(x, centre, scale, total, squares, least, most)
    bins = int64(sheet.bins, f)
    set_int64(counts, bins, int64(counts, bins) + missing)
    set_float64(to.sums, 2 * f, float64(to.sums, 2 * f) + total)
    set_float64(to.sums, 2 * f + 1, float64(to.sums, 2 * f + 1) + squares)
    set_float64(to.extremes, 2 * f, least)
    set_float64(to.extremes, 2 * f + 1, most)


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
    for f in range(sheet.features):
        kind = int64(sheet.kind, f)
        if kind == NUMBERS:
            add_numbers(sheet, grid, to, f, rows, n)
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
        kind, data, place, self._first, size = told
        self._size = 0  # of all counts of codes, end to end
        for f, name in enumerate(layout.names):
            column = columns.get(name)
            if isinstance(column, Coded):
                places, unseen = layout.places(f, column.texts)
                arrays = [np.ascontiguousarray(column.code, np.int64), np.concatenate([places[-1:], places[:-1]])]
                kind[f], size[f], self._first[f] = CODES, len(places), self._size
                data[f], place[f] = map(address, arrays)
                kept += arrays
                if unseen.any():
                    self._coded.append((f, column, unseen, self._size + 1))
                self._size += len(places)
            elif column is not None:
                kept.append(np.ascontiguousarray(column, np.float64))
                kind[f], data[f] = NUMBERS, address(kept[-1])
        self._places = places_in(layout)
        self._told, self._kept = told, [*kept, layout.starts, layout.bins, layout.centre, layout.scale]

    def fold(self, pane: Pane, rows: NDArray[np.int64]) -> None:
        """Add these rows of the columns to a pane of the layout."""
        rows, hits = np.ascontiguousarray(rows), np.zeros(max(self._size, 1), np.int64)
        kind, data, place, _, size = self._told
        hit = address(hits) + 8 * self._first
        about = [kind, data, place, hit, size, *self._kept[-4:]]
        into = Into(*map(address, (pane.counts, pane.sums, pane.extremes)))
        fold_columns(Sheet(len(kind), *map(address, about)), self._places.grid, into, address(rows), len(rows))
        pane.n += len(rows)
        for f, column, unseen, first in self._coded:
            counts = hits[first : first + len(column.texts)]
            met = [(column.texts[code], int(counts[code])) for code in np.flatnonzero(unseen & (counts > 0)).tolist()]
            if met:
                add_texts(pane.novel.setdefault(self._layout.names[f], {}), met, NOVEL)
