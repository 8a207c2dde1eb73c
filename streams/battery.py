"""All tests of all features of some windows in one pass: histograms of the features below each other in one matrix. Pure.

    counts of panes, end to end ──► matrices (windows, features, bins) ──┐
                                                                         ├──► every figure as an array (windows, features): `Measured`
    the reference's, or a baseline's ──► matrix (features, bins) ────────┘

PSI, Kolmogorov–Smirnov, chi-square, the smooth test and what they are with no drift; what a model's file adds is in `distances`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from scipy.special import kolmogorov

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile
from driftline.streams.apart import Apart, Sample, apart
from driftline.streams.distances import QUANTILE, Distances, Figures
from driftline.streams.layout import LABEL, Bool, Float64, Int64
from driftline.streams.packing import Column, texts
from driftline.streams.stats import TESTS, SmoothTest, null_draws, psi, without_straggler
from driftline.streams.stats.chi_square import chi_square_quantiles, chi_square_tails
from driftline.streams.stats.ks import ks_quantile
from driftline.streams.stats.smooth_tests import SmoothTests

NULL_DRAWS = 199
_QUIET = 1e-9  # a direction is told only where something moved
_KEPT = 1_000  # of a battery: sizes of windows for which the PSI without drift is remembered


class Measured(NamedTuple):
    """How far apart the histograms of some windows' features are, each of shape (windows, features). NaN: a side has no rows."""

    directions: list[list[str]]  # up, down, wider, narrower; of categories, which one moved most
    figures: Float64  # by test: its value, the p-value of independent rows, what 95 % of windows without drift stay below; (…, tests, 3)
    n: Int64
    n_reference: Int64
    p_value: Float64
    effect: Float64
    null: Float64  # of the effect
    moved: Float64  # standard deviations of a numeric feature; of categories the largest change of a share; 0 or more
    worth: Float64  # independent rows that the two sides are worth together

    def of_window(self, w: int) -> Measured:
        """Those of one window."""
        columns: tuple[Any, ...] = self
        return Measured(*(column[w : w + 1] for column in columns))


def side_by_side(found: Sequence[Measured]) -> Measured:
    """The figures of several windows, which were measured by themselves."""
    if len(found) == 1:
        return found[0]
    directions, *figures = zip(*found, strict=True)
    return Measured([*chain.from_iterable(directions)], *map(np.concatenate, figures))


class Rows(NamedTuple):
    """What is told of a window all of whose features have rows: of each row the feature and the test, by place and by name."""

    features: Int64
    places: Int64  # of the figures, features and tests end to end
    names: Column
    tests: Column
    always: Bool  # also of a feature without rows; labels may be taken back, down to none, so each of their rows is told then too


class _Alike(NamedTuple):
    """What windows are compared with where rows that say no more than one are counted as one, shape (features, bins): in whole rows,
    and as it is where no rows are alike.
    """

    rows: Int64
    counts: Float64


class Battery:
    """The tests of several features, made once for a reference.

    Parameters
    ----------
    names, profiles, tests
        Of each feature.
    """

    def __init__(self, names: Sequence[str], profiles: Sequence[Profile], tests: Sequence[SmoothTest]) -> None:
        self.names, self.profiles, self.smooth = [*names], [*profiles], SmoothTests(tests)
        self.bins = [test.reference.size for test in tests]
        self.numeric = np.array([isinstance(profile, NumericProfile) for profile in profiles], bool)
        self.lone = (self.smooth.degree == 0) & (self.smooth.blocks > 0)  # all rows of the reference are alike: there is nothing to score
        self.distances = Distances(profiles, self.bins, self.smooth.reference.shape[1])
        self._nulls: dict[bytes, Float64] = {}
        self._rows: dict[tuple[str, ...], Rows] = {}
        self._known = self._alike(self.smooth.reference)
        self._inside = np.arange(self.smooth.reference.shape[1]) < np.array(self.bins, np.int64)[:, None]

    def matrix(self, counts: Int64 | Float64, starts: Int64) -> Float64:
        """Histograms that lie end to end from `starts` on, below each other; shapes (…, all bins) and (…, features, bins)."""
        out = np.zeros((*counts.shape[:-1], *self._inside.shape))
        out[..., self._inside] = counts[..., (starts[:, None] + np.arange(self._inside.shape[1]))[self._inside]]
        return out

    def measured(self, counts: Float64, bounds: Float64, tests: Sequence[str], against: Float64 | None = None) -> Measured:
        """The figures of several windows; those of a window are the same whatever the others are.

        Parameters
        ----------
        counts
            Of the windows, shape (windows, features, bins).
        bounds
            Smallest and largest value of each, shape (windows, features, 2), NaN where they are not known.
        tests
            Wanted of every feature that they fit.
        against
            Counts of other rows than the reference's, shape (features, bins).
        """
        reference, smooth = self.smooth.reference if against is None else against, self.smooth
        n, n_reference = counts.sum(-1), reference.sum(-1)
        there, known = (n > 0) & (n_reference > 0), self._known if against is None else self._alike(reference)
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = counts / n[..., None] - reference / n_reference[:, None]
        wanted, alike = told_of(tests), Sample(known.counts, np.maximum(np.rint(n / smooth.dispersion), 1))
        placed = any(TESTS[test].needs == "positions" or not TESTS[test].distance for test in wanted if test not in ("ks", "chi_square"))
        places = self.distances.places(bounds) if placed else None
        told = apart(reference, counts, alike, places, "jensen_shannon" in wanted)
        moves, null = smooth.sums(shift), self._null_of_psi(known.rows, n, n_reference, against)
        moved = np.where(self.numeric, smooth.moved(moves), np.abs(shift).max(-1))
        worth = n * n_reference / np.maximum(n + n_reference, 1) / smooth.dispersion
        p_values = smooth.p_values(without_straggler(counts, reference, smooth.dispersion), against)
        figures = self._figures(wanted, told, null, Sample(reference, n), alike, counts, places)
        figures[~there] = np.nan
        return Measured(
            self._directions(moves, shift, there), figures, n.astype(np.int64), np.broadcast_to(n_reference.astype(np.int64), n.shape),
            p_values, told.psi, np.where(there, null, np.nan), np.where(there, moved, 0.0), worth,
        )  # fmt: skip

    def rows(self, tests: tuple[str, ...]) -> Rows:
        """Those of the tests that are wanted of every feature, made once."""
        if tests not in self._rows:
            wanted = told_of(tests)
            fits = self.numeric[:, None] | np.array([TESTS[test].needs == "bins" for test in wanted], bool)
            features, test = np.nonzero(fits)
            always = (test == 0) | (np.array(self.names, object) == LABEL)[features]
            self._rows[tests] = Rows(features, np.flatnonzero(fits), texts(self.names, features), texts(wanted, test), always)
        return self._rows[tests]

    def tails(self, worth: Float64, effect: float) -> Float64:
        """The p-values of windows with as many rows in which a PSI of so much is all that there is; shape (..., features)."""
        return self.smooth.tails(self.smooth.degree + worth * effect)

    def _null_of_psi(self, shape: Int64, n: Float64, n_reference: Float64, against: Float64 | None) -> Float64:
        """The PSI that no drift stays below in 95 % of windows: drawn for a size near theirs, and brought to theirs."""
        before, now = (np.maximum(rows / self.smooth.dispersion, 1.0) for rows in (n_reference, n))
        near = np.rint(2 ** (np.floor(2 * np.log2(now)) / 2))
        drawn = np.stack([self._drawn_nulls(shape, each, self._nulls if against is None else {}) for each in near])
        null: Float64 = drawn * (1 / before + 1 / now) / (1 / before + 1 / near)
        return null

    def _drawn_nulls(self, shape: Int64, sizes: Float64, known: dict[bytes, Float64]) -> Float64:
        """Of windows of these sizes, a feature each."""
        found = known.get(sizes.tobytes())
        if found is None:
            found = np.array([
                _drawn_null(row[:bins].tobytes(), int(size)) if row.any() else math.nan
                for row, bins, size in zip(shape, self.bins, sizes.tolist(), strict=True)
            ])  # fmt: skip
            if len(known) < _KEPT:
                known[sizes.tobytes()] = found
        return found

    def _figures(
        self, wanted: Sequence[str], told: Apart, null: Float64, reference: Sample, alike: Sample, counts: Float64, places: Float64 | None
    ) -> Float64:
        """Those of the tests that the model wants; always the PSI. NaN where a feature does not allow a test."""
        p_value = chi_square_tails(told.chi_square, told.freedom)
        found = {"psi": Figures(told.psi, p_value, null)}
        if "chi_square" in wanted:
            found["chi_square"] = Figures(told.chi_square, p_value, chi_square_quantiles(told.null_freedom, QUANTILE))
        if "ks" in wanted and self.numeric.any():
            n, m = reference.counts.sum(-1), reference.size
            with np.errstate(invalid="ignore", divide="ignore"):
                p_value, usual = kolmogorov(told.ks * np.sqrt(n * m / (n + m))), ks_quantile(QUANTILE, alike.counts.sum(-1), alike.size)
            found["ks"] = Figures(told.ks, p_value, usual)
        others = [test for test in wanted if test not in found and (TESTS[test].needs == "bins" or self.numeric.any())]
        found |= self.distances.told(others, counts, places, told, reference, alike)
        figures = np.full((*null.shape, len(wanted), 3), np.nan)
        for t, test in enumerate(wanted):
            for k, column in enumerate(found.get(test, ())):
                figures[..., t, k] = column
        return figures

    def _alike(self, reference: Float64) -> _Alike:
        alike = self.smooth.dispersion[:, None]
        rounded, used = np.rint(reference / alike), reference > 0
        return _Alike(np.maximum(rounded, used).astype(np.int64), np.where(alike == 1, reference, np.maximum(rounded, 1.0 * used)))

    def _directions(self, apart: Float64, shift: Float64, there: Bool) -> list[list[str]]:
        """Which way each feature moved, by its scores or, where there are none, by its shares."""
        place, spread = (apart[..., j] if j < apart.shape[-1] else np.zeros(there.shape) for j in range(2))
        far, wide = np.abs(place), np.abs(spread)
        with np.errstate(invalid="ignore"):
            way = np.where(far >= wide, np.where(place > 0, 1, 2), np.where(spread > 0, 3, 4))
            told = np.array(_WAYS, object)[np.where(there & (np.maximum(far, wide) > _QUIET), way, 0)]
        for f, profile in enumerate(self.profiles):
            if isinstance(profile, CategoricalProfile):
                most = np.abs(shift[:, f]).argmax(1)
                told[:, f] = [
                    _category_moved(profile, at, by)
                    for at, by in zip(most.tolist(), shift[range(len(most)), f, most].tolist(), strict=True)
                ]
            elif not self.smooth.degree[f]:
                told[:, f] = [_shares_moved(moved) for moved in shift[:, f, : self.bins[f]]]
        told[~there] = ""
        return told.tolist()  # type: ignore[no-any-return]


_WAYS = ("", "up", "down", "wider", "narrower")


def told_of(tests: Sequence[str]) -> list[str]:
    """The tests that are told where these are wanted.

    >>> told_of(["ks", "psi"])
    ['psi', 'ks']
    """
    return [*dict.fromkeys(("psi", *tests))]


def _category_moved(profile: CategoricalProfile, place: int, by: float) -> str:
    name = profile.categories[place] if place < len(profile.categories) else "others"
    return f"{'more' if by > 0 else 'less'} {name}" if abs(by) > _QUIET else ""


def _shares_moved(moved: Float64) -> str:
    below = np.cumsum(-moved)[:-1]
    return "" if not len(below) or not np.abs(below).max() > _QUIET else "up" if below.sum() > 0 else "down"


@lru_cache(maxsize=32_768)
def _drawn_null(shape: bytes, n: int) -> float:
    return float(np.quantile(null_draws(psi.each, np.frombuffer(shape, np.int64), n, draws=NULL_DRAWS), 0.95))
