"""Values of parsed events into the histograms of a pane, in compiled code. Its twin is `Layout.encode` with `Pane.add_encoded`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.schemas.events import text_of
from driftline.schemas.reference import NumericProfile
from driftline.streams.kernels.grammar import Parsed
from driftline.streams.kernels.grid import GRID, Grid, Into, add_numbers, places_in
from driftline.streams.kernels.machine import (
    address,
    byte,
    compiled,
    entry,
    float64,
    int32,
    int64,
    room,
    same,
    set_float64,
    set_int64,
)
from driftline.streams.kernels.texts import ANSWER, FEATURE, LIST, NUMBER, PREDICTED, SCORED, TABLE, Table, Texts, intern_number
from driftline.streams.layout import PREDICTION, SCORE, Layout, is_added
from driftline.streams.panes import NOVEL, Pane
from driftline.streams.sketch import add_texts

TERMS_BYTES = 32 << 20  # of the terms that are kept for one table
TOGETHER = 32  # rows that are added at once: their values fit into the nearest memory
_values = room(8 * TOGETHER)


class Plan(NamedTuple):
    """A layout for compiled code: addresses. `feature_of` and `place_of` have `size` elements, one a code: -1 for what is not known."""

    features: int
    starts: int
    bins: int
    numeric: int
    centre: int
    scale: int
    feature_of: int
    place_of: int
    size: int


class Target(NamedTuple):
    """Addresses of what is added to, and of room for one number a feature and one a value."""

    counts: int
    sums: int
    extremes: int
    seen: int
    strange: int


@compiled
def add_one(counts: int, at: int) -> None:
    set_int64(counts, at, int64(counts, at) + 1)


@compiled
def alike(p: Parsed, rows: int, n: int) -> int:
    """How many of the first of `n` rows, at least one, have values of the same names in the same order as the first one."""
    first = int64(p.first, int64(rows, 0))
    length = int64(p.first, int64(rows, 0) + 1) - first
    for i in range(1, min(n, TOGETHER)):
        r = int64(rows, i)
        own = int64(p.first, r)
        if int64(p.first, r + 1) - own != length or not same(p.name + 4 * first, p.name + 4 * own, 4 * length):
            return i
    return min(n, TOGETHER)


@compiled
def add_values(plan: Plan, grid: Grid, p: Parsed, to: Target, f: int, j: int, rows: int, n: int) -> None:
    """Add value `j` of each of `n` rows to a feature of numbers. What is no number counts apart."""
    values, start = _values(), to.counts + 8 * int64(plan.starts, f)
    for i in range(n):
        k = int64(p.first, int64(rows, i)) + j
        set_float64(values, i, float64(p.value, k) if int32(p.code, k) == NUMBER else np.nan)
    own = Into(start, to.sums + 16 * f, to.extremes + 16 * f)
    none, strange = add_numbers(grid, f, float64(plan.centre, f), float64(plan.scale, f), values, n, own), int64(plan.bins, f) + 1
    set_int64(start, strange, int64(start, strange) + none)


@compiled
def add_categories(t: Table, plan: Plan, p: Parsed, to: Target, f: int, j: int, rows: int, n: int, strange: int) -> int:
    """Add value `j` of each of `n` rows to a feature of categories; how many values could not be placed so far."""
    start = int64(plan.starts, f)
    for i in range(n):
        k = int64(p.first, int64(rows, i)) + j
        code, place = int32(p.code, k), int64(plan.bins, f) + 1
        if code != LIST:
            if code == NUMBER:
                name = int32(p.name, k)
                code = intern_number(t, float64(p.value, k), ANSWER if name == PREDICTED else name)
            place = int32(plan.place_of, code) if 0 <= code < plan.size else -1
        if place >= 0:
            add_one(to.counts, start + place)
        else:
            set_int64(to.strange, strange, k)
            strange += 1
    return strange


_SIGNATURE = types.int64(
    TABLE, typeof(Plan(*[0] * len(Plan._fields))), GRID, typeof(Parsed(*[0] * len(Parsed._fields))), typeof(Target(*[0] * 5)), types.int64,
    types.int64,
)  # fmt: skip


@entry(_SIGNATURE)
def fold(t: Table, plan: Plan, grid: Grid, p: Parsed, to: Target, rows: int, n: int) -> int:
    """Add `n` rows of `p`; how many values could not be placed: their numbers are then in `to.strange`.

    Rows with the same names are added some at a time, feature by feature, so that what is known of a feature is looked up once for
    all of them.
    """
    strange, left = 0, n
    for f in range(plan.features):
        set_int64(to.seen, f, 0)
    while left:
        m = alike(p, rows, left)
        r = int64(rows, 0)
        for k in range(int64(p.first, r), int64(p.first, r + 1)):
            name = int32(p.name, k)
            f = int32(plan.feature_of, name) if name < plan.size else -1
            if f >= 0:
                set_int64(to.seen, f, int64(to.seen, f) + m)
                if byte(plan.numeric, f):
                    add_values(plan, grid, p, to, f, k - int64(p.first, r), rows, m)
                else:
                    strange = add_categories(t, plan, p, to, f, k - int64(p.first, r), rows, m, strange)
        rows, left = rows + 8 * m, left - m
    for f in range(plan.features):
        missing = int64(plan.starts, f) + int64(plan.bins, f)
        set_int64(to.counts, missing, int64(to.counts, missing) + n - int64(to.seen, f))
    return strange


class Terms:
    """A layout in the codes of a table of texts."""

    def __init__(self, layout: Layout, texts: Texts) -> None:
        self._layout, self._texts = layout, texts
        own = {PREDICTION: PREDICTED, SCORE: SCORED}
        names = [own[name] if name in own else texts.code(name.encode(), FEATURE) for name in layout.names]
        owners = [ANSWER if name == PREDICTED else name for name in names]
        places = {
            texts.code(text.encode(), owner): place
            for owner, categories in zip(owners, layout.categories, strict=True)
            for text, place in categories.items()
        }
        for owner, categories in zip(owners, layout.categories, strict=True):
            if categories:
                places |= dict(zip(texts.codes_of_numbers([*categories], owner), categories.values(), strict=True))
        size = texts.size
        self._feature_of, self._place_of = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
        for f, name in enumerate(names):
            if name >= 0:  # the table was not full
                self._feature_of[name] = f
        for code, place in places.items():
            if code >= 0:
                self._place_of[code] = place
        numeric = np.array([isinstance(profile, NumericProfile) for profile in layout.profiles], np.uint8)
        self._kept: list[NDArray[Any]] = [
            layout.starts, layout.bins, numeric, layout.centre, layout.scale, self._feature_of, self._place_of,
        ]  # fmt: skip
        self._plan = Plan._make([len(names), *map(address, self._kept), size])
        self._places = places_in(layout)
        self._seen = np.empty(len(names), np.int64)
        self.nbytes = self._feature_of.nbytes + self._place_of.nbytes + numeric.nbytes + self._seen.nbytes

    def fold(self, pane: Pane, parsed: Parsed, rows: NDArray[np.int64], wanted: Collection[str]) -> None:
        """Add rows to a pane of this layout; of features that it does not know those `wanted` are counted, or all."""
        rows = np.ascontiguousarray(rows)
        values = int((parsed.first[rows + 1] - parsed.first[rows]).sum())
        strange = np.empty(values, np.int64)
        to = Target(*map(address, (pane.counts, pane.sums, pane.extremes, self._seen, strange)))
        pane.n += len(rows)
        n = fold(self._texts.table, self._plan, self._places.grid, parsed.addresses(), to, address(rows), len(rows))
        if n:
            self._place(pane, parsed, np.sort(strange[:n]))
        if values > int(self._seen.sum()):
            pane.add_features(self._added(parsed, rows, wanted))

    def _added(self, parsed: Parsed, rows: NDArray[np.int64], wanted: Collection[str]) -> Iterator[tuple[str, int]]:
        """Features that the layout does not know, and how many of the rows have each."""
        counts = parsed.first[rows + 1] - parsed.first[rows]
        at = np.arange(counts.sum()) + np.repeat(parsed.first[rows] - (np.cumsum(counts) - counts), counts)
        met = np.bincount(parsed.name[at])
        for code in np.flatnonzero(met).tolist():
            if code not in {PREDICTED, SCORED} and is_added(name := self._texts.text(code), self._layout, wanted):
                yield name, int(met[code])

    def standardised(self, parsed: Parsed, features: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Columns`. Its twin is `Encoded.z`."""
        counts = parsed.first[rows + 1] - parsed.first[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(len(row)) + np.repeat(parsed.first[rows] - (np.cumsum(counts) - counts), counts)
        column_of = np.full(len(self._layout.names) + 1, -1)  # the last one: of names that are no features
        column_of[features] = np.arange(len(features))
        name = parsed.name[at]
        column = column_of[np.where(name < self._feature_of.size, self._feature_of[np.minimum(name, self._feature_of.size - 1)], -1)]
        use = (column >= 0) & (parsed.code[at] == NUMBER)
        column, z = column[use], np.zeros((len(rows), len(features)))
        with np.errstate(over="ignore"):
            z[row[use], column] = (parsed.value[at[use]] - self._layout.centre[features[column]]) / self._layout.scale[features[column]]
        return z

    def _place(self, pane: Pane, parsed: Parsed, at: NDArray[np.int64]) -> None:
        """Categories without a place, and numbers that stand for one."""
        layout = self._layout
        met = Counter(zip(parsed.name[at].tolist(), parsed.code[at].tolist(), parsed.value[at].tolist(), strict=True))
        for (name, code, value), n in met.items():
            f = int(self._feature_of[name])
            text = text_of(value) if code == NUMBER else self._texts.text(code)
            place = layout.categories[f].get(text)
            if place is None:
                place = int(layout.bins[f]) - 1
                add_texts(pane.novel.setdefault(layout.names[f], {}), [(text, n)], NOVEL)
            pane.counts[layout.starts[f] + place] += n


class AllTerms:
    """The terms of layouts, for one table: of as many as `TERMS_BYTES` hold. Of models beyond them all are made anew for each chunk."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._terms: dict[str, Terms] = {}
        self._bytes = 0

    def of(self, layout: Layout) -> Terms:
        """The terms of one layout."""
        terms = self._terms.get(layout.hash)
        if terms is None:
            terms = self._terms[layout.hash] = Terms(layout, self._texts)
            self._bytes += terms.nbytes
            while self._bytes > TERMS_BYTES and len(self._terms) > 1:
                self._bytes -= self._terms.pop(next(iter(self._terms))).nbytes
        return terms
