"""How a reference lays the histograms of all features end to end in one vector, so that merging two panes is one addition.

    ┌ feature 0 ──────────────────────────┬ feature 1 ────────────────┬ …
    │ bins … │ missing │ type errors      │ bins … │ missing │ errors  │
    └─────────────────────────────────────┴───────────────────────────┴ …

Every row adds exactly one to every feature's stretch, so each stretch sums to the pane's n.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from itertools import repeat
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.events import text_of
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference
from driftline.streams import kernels
from driftline.streams.columns import distinct

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
T = TypeVar("T")

PREDICTION, SCORE, LABEL = "(prediction)", "(score)", "(label)"
AT_A_TIME = 32_000  # bins that are looked at side by side: with fewer NumPy's calls cost more than what they do
FEATURES = 30_000  # of references whose tests are kept; they take some 10 KiB each
LIST = "\0"  # stands for a value that can be no category; in no text of an event


@dataclass(frozen=True, slots=True)
class Coded(Sequence[Any]):
    """A column of texts: row i has `texts[code[i]]`, or nothing where that is -1. `bools`: the texts stand for false and true.

    >>> Coded(["a", "b"], np.array([1, -1, 0])).list()
    ['b', None, 'a']
    """

    texts: list[str]
    code: Int64
    bools: bool = False

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, row: Any) -> Any:
        code = int(self.code[row])
        return None if code < 0 else self.texts[code]

    def take(self, rows: Int64) -> Coded:
        """The column of these rows."""
        return Coded(self.texts, self.code[rows], self.bools)

    def list(self, absent: Any = None) -> list[Any]:
        """A value for every row."""
        return np.array([*self.texts, absent], object)[self.code].tolist()  # type: ignore[no-any-return]

    def mask(self, fits: Callable[[str], bool]) -> Bool:
        """Which rows have a text that fits."""
        return np.array([*map(fits, self.texts), False], bool)[self.code]


def coded(column: Any) -> Coded:
    """A column of any kind with the texts that its values are as categories; a list of numbers is none, and told apart by `LIST`.

    >>> coded(np.array([2.0, np.nan, 1.5, 2.0])).list()
    ['2', None, '1.5', '2']
    """
    if isinstance(column, Coded):
        return column
    if isinstance(column, np.ndarray):
        known, code = numbers_in(column)  # what is infinite is refused, and in no row that is used
        return Coded([text_of(number) for number in known], code)
    return Coded([LIST], np.array([-1 if value is None else 0 for value in column], np.int64))


def numbers_in(column: Float64) -> tuple[list[float], Int64]:
    """The finite numbers of a column, ascending, and the place of each row's among them, -1 for what is none.

    >>> numbers_in(np.array([2.0, np.nan, 1.0, np.inf]))
    ([1.0, 2.0], array([ 1, -1,  0, -1]))
    """
    if (reader := kernels.current()) and (found := reader.small_numbers(column)):
        return found
    if np.abs(column).max(initial=0) <= len(column):  # all are finite
        whole = column.astype(np.int64)
        if (whole == column).all():
            codes, place = distinct(whole)
            return codes.astype(np.float64).tolist(), place
    finite = np.isfinite(column)
    numbers = np.unique(column[finite])
    return numbers.tolist(), np.where(finite, np.searchsorted(numbers, column), -1)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in the terms of a layout; arrays of shape (n, features).

    `flat` holds positions in the vector of counts; `z` the value less the reference's mean, in reference standard deviations (0
    where absent or categorical); `x` the value itself (NaN where absent). `novel` lists (row, feature, text) of unseen categories, and
    (row, -1, name) of features that the reference does not know.
    """

    flat: Int64
    z: Float64
    x: Float64
    novel: list[tuple[int, int, str]]


class KeptByLayout(Generic[T]):
    """What is made of a layout once: kept for those asked for last, as many as have `FEATURES` features together.

    A number of layouts would be no bound, and one that a worker has more models than makes everything anew at each of its rounds.

    >>> asked = []
    >>> length = KeptByLayout(lambda layout: asked.append(layout) or layout.length)
    >>> layout = Layout(Reference("m", "1", {"x": NumericProfile([0.0], [1, 1], 2, 0, 0.0, 1.0)}, 2))
    >>> length(layout), length(layout), len(asked)
    (4, 4, 1)
    """

    def __init__(self, make: Callable[[Layout], T]) -> None:
        self._make, self._features = make, 0
        self._of: dict[Layout, T] = {}  # the one asked for last is the last
        update_wrapper(self, make)

    def __call__(self, layout: Layout) -> T:
        if layout in self._of:
            found = self._of[layout] = self._of.pop(layout)
            return found
        made = self._make(layout)
        self._of[layout] = made
        self._features += len(layout.names)
        while self._features > FEATURES and len(self._of) > 1:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._features -= len(oldest.names)
        return made


class Layout:
    """The stretches of one reference's features, and how values find their place in them."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.hash = reference.hash
        self.names = list(reference.features)
        # Texts and vectors are known by the columns that are made of them.
        self.known = frozenset((*self.names, *(name.rpartition(".")[0] for name in self.names), PREDICTION, SCORE))
        self.profiles = list(reference.features.values())
        self.bins = np.array([len(p.counts) + isinstance(p, CategoricalProfile) for p in self.profiles], np.int64)
        ends = np.cumsum(self.bins + 2)
        self.starts = ends - self.bins - 2
        self.length = int(ends[-1]) if len(ends) else 0
        self.categories = [
            {text: i for i, text in enumerate(p.categories)} if isinstance(p, CategoricalProfile) else {} for p in self.profiles
        ]
        self.edges = [np.array(p.edges) if isinstance(p, NumericProfile) else np.empty(0) for p in self.profiles]
        self.centre = np.array([p.mean if isinstance(p, NumericProfile) else 0.0 for p in self.profiles])
        spread = [p.m2 / p.n if isinstance(p, NumericProfile) and p.n else 0.0 for p in self.profiles]
        self.scale = np.sqrt(np.where(np.array(spread, np.float64) > 0, spread, 1.0))

    def encode(self, columns: Mapping[str, Sequence[Any]], n: int) -> Encoded:
        """The place of every value of `n` rows; a feature without a column is missing in every row."""
        width = len(self.names)
        flat, x = np.empty((n, width), np.int64), np.full((n, width), np.nan)
        novel: list[tuple[int, int, str]] = []
        for f, (name, profile) in enumerate(zip(self.names, self.profiles, strict=True)):
            values = columns.get(name)
            if values is None:
                place = np.full(n, self.bins[f])
            elif isinstance(values, Coded):
                place = self._place_coded(f, values, novel)
            elif isinstance(profile, NumericProfile):
                place = self._place_numbers(f, values, x)
            else:
                place = self._place_categories(f, values, novel)
            flat[:, f] = self.starts[f] + place
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.nan_to_num((x - self.centre) / self.scale, nan=0.0, posinf=np.inf, neginf=-np.inf)
        return Encoded(flat, z, x, novel)

    def places(self, f: int, texts: Sequence[str]) -> tuple[Int64, Bool]:
        """The place of each text in feature `f`, and after them that of a missing value; and which texts are no category it knows."""
        codes, missing = self.categories[f], int(self.bins[f])
        if isinstance(self.profiles[f], NumericProfile) or [*texts] == [LIST]:
            return np.array([*repeat(missing + 1, len(texts)), missing], np.int64), np.zeros(len(texts), bool)
        place = np.array([*map(codes.get, texts, repeat(-1)), missing], np.int64)
        unseen = place[:-1] < 0
        place[:-1][unseen] = missing - 1
        return place, unseen

    def _place_coded(self, f: int, values: Coded, novel: list[tuple[int, int, str]]) -> Int64:
        places, unseen = self.places(f, values.texts)
        if unseen.any():
            novel += [(i, f, values[i]) for i in np.flatnonzero(np.append(unseen, False)[values.code]).tolist()]
        return places[values.code]

    def _place_numbers(self, f: int, values: Sequence[Any], x: Float64) -> Int64:
        numbers, errors = numeric_column(values)
        x[:, f] = numbers
        reader, edges = kernels.current(), self.edges[f]
        place = reader.places_of(edges, numbers) if reader else np.searchsorted(edges, numbers, side="right")
        place[np.isnan(numbers)] = self.bins[f]
        place[errors] = self.bins[f] + 1
        return place

    def _place_categories(self, f: int, values: Sequence[Any], novel: list[tuple[int, int, str]]) -> Int64:
        codes, missing, error = self.categories[f], int(self.bins[f]), int(self.bins[f]) + 1
        try:
            place = np.array(list(map(codes.get, values, repeat(-1))), np.int64)
        except TypeError:  # a list cannot be a category
            place = np.full(len(values), -1)
        for i in np.flatnonzero(place < 0).tolist():
            text = category_text(values[i])
            if isinstance(text, str):
                place[i] = codes.get(text, missing - 1)
                if place[i] == missing - 1:
                    novel.append((i, f, text))
            else:
                place[i] = error if text else missing
        return place

    def stretch(self, counts: Int64, feature: int) -> tuple[Int64, int, int]:
        """One feature's bins, missing rows and type errors out of a vector of counts."""
        start, bins = int(self.starts[feature]), int(self.bins[feature])
        return counts[start : start + bins], int(counts[start + bins]), int(counts[start + bins + 1])


_NUMBERS = frozenset({float, int, type(None)})


def numeric_column(values: Sequence[Any]) -> tuple[Float64, Bool]:
    """float64 with NaN for what is absent or not a number, and the mask of values that are present but not numbers.

    >>> numeric_column([1, None, "1.5", True])
    (array([ 1., nan, nan, nan]), array([False, False,  True,  True]))
    """
    if isinstance(values, np.ndarray):  # numbers, NaN where one is absent
        return values, np.zeros(len(values), bool)
    if _NUMBERS.issuperset(map(type, values)):
        return np.array(values, np.float64), np.zeros(len(values), bool)
    number = np.fromiter((type(v) in {float, int} for v in values), bool, len(values))
    errors = ~number & np.fromiter((v is not None for v in values), bool, len(values))
    return np.array([v if ok else np.nan for v, ok in zip(values, number.tolist(), strict=True)], np.float64), errors


def category_text(value: Any) -> str | bool:
    """The text of a category; False for a missing value, True for one that cannot be a category.

    >>> category_text("pro"), category_text(3.0), category_text(None), category_text([1.0])
    ('pro', '3', False, True)
    """
    if value is None:
        return False
    return True if isinstance(value, list) else text_of(value)


def is_added(name: str, layout: Layout, wanted: Collection[str]) -> bool:
    """Whether a feature is one that the reference does not know, though it should: of those the model's file wants, or of all."""
    return name not in layout.known and (not wanted or name in wanted)


def some_of(each: Sequence[T], layout: Layout) -> Iterator[Sequence[T]]:
    """The windows or panes of a layout, as many of them at a time as are looked at side by side."""
    many = max(AT_A_TIME // max(layout.length, 1), 1)
    return (each[at : at + many] for at in range(0, len(each), many))
