"""Columns of batches into the histograms of a pane, in compiled code. Its twin is `Layout.encode` with `Pane.add_encoded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.streams.kernels.grid import GRID, TOGETHER, Grid, Into, add_numbers, places_in
from driftline.streams.kernels.machine import address, compiled, entry, float64, int64, room, set_float64, set_int64
from driftline.streams.layout import Coded, KeptByLayout, Layout
from driftline.streams.panes import NOVEL, Pane
from driftline.streams.sketch import add_texts

ABSENT, NUMBERS, CODES = range(3)  # kinds of columns
TEXTS = 1_000  # of all columns, up to which it is kept what they are in the terms of a layout
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


class _Plan:
    """What columns are in the terms of a layout, wherever they lie. `told`: of each feature the texts, or its kind where it has none."""

    def __init__(self, layout: Layout, told: tuple[tuple[str, ...] | int, ...]) -> None:
        self.told = told
        self.unseen = list[tuple[str, tuple[str, ...], NDArray[np.bool_], int]]()
        about, kept = np.zeros((4, len(told)), np.int64), list[NDArray[Any]]()
        kind, place, hit, size = about
        first = 0  # of its counts among those of all codes, end to end
        for f, texts in enumerate(told):
            if isinstance(texts, int):
                kind[f] = texts
                continue
            places, unseen = layout.places(f, texts)
            kept.append(np.concatenate([places[-1:], places[:-1]]))
            kind[f], size[f], hit[f], place[f] = CODES, len(places), 8 * first, address(kept[-1])
            if unseen.any():
                self.unseen.append((layout.names[f], texts, unseen, first + 1))
            first += len(places)
        self.there, self.places, self.hits = np.flatnonzero(kind), places_in(layout), np.zeros(max(first, 1), np.int64)
        hit += address(self.hits)
        columns = [kind, kind, place, hit, size, layout.starts, layout.bins, layout.centre, layout.scale]
        self.sheet, self._kept = Sheet(len(told), *map(address, columns)), [*kept, *columns]


@KeptByLayout
def _last_plan(_: Layout) -> list[_Plan]:
    """The plan that was made last, if any: chunks of one producer have the same."""
    return []


def _plan(layout: Layout, columns: Sequence[Any]) -> _Plan:
    told = (*[ABSENT if each is None else (*each.texts,) if isinstance(each, Coded) else NUMBERS for each in columns],)
    last = _last_plan(layout)
    if last and last[0].told == told:
        return last[0]
    made = _Plan(layout, told)
    last[:] = [made] if len(made.hits) <= TEXTS else []
    return made


class Columnwise:
    """Columns as a layout takes them: numbers where its feature is numeric, `Coded` where it has categories; none where all are missing."""

    def __init__(self, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None:
        own = [columns.get(name) for name in layout.names]
        self._plan = plan = _plan(layout, own)
        self._kept = [
            np.ascontiguousarray(each.code, np.int64) if isinstance(each, Coded) else np.ascontiguousarray(each, np.float64)
            for each in own
            if each is not None
        ]
        self._data = np.zeros(len(own), np.int64)
        self._data[plan.there] = [*map(address, self._kept)]
        self._sheet = plan.sheet._replace(data=address(self._data))

    def fold(self, pane: Pane, rows: NDArray[np.int64]) -> None:
        """Add these rows of the columns to a pane of the layout."""
        rows, plan = np.ascontiguousarray(rows), self._plan
        plan.hits[:] = 0
        into = Into(address(pane.counts), address(pane.sums), address(pane.extremes))
        fold_columns(self._sheet, plan.places.grid, into, address(rows), len(rows))
        pane.n += len(rows)
        for name, texts, unseen, first in plan.unseen:
            counts = plan.hits[first : first + len(texts)]
            met = [(texts[code], int(counts[code])) for code in np.flatnonzero(unseen & (counts > 0)).tolist()]
            if met:
                add_texts(pane.novel.setdefault(name, {}), met, NOVEL)
