"""All tests of all features of some windows in one pass: histograms of the features below each other in one matrix. Pure.

    counts of panes, end to end ──► matrices (windows, features, bins) ──┐
                                                                         ├──► every figure as an array (windows, features) ──► `Measured`,
    the reference's, or a baseline's ──► matrix (features, bins) ────────┘                                                     one a feature

PSI, Kolmogorov–Smirnov, chi-square, the smooth test and what they are with no drift; what a model's file adds is in `distances`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import kolmogorov

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile
from driftline.streams.distances import Distances, Figures, Sample
from driftline.streams.layout import Float64, Int64
from driftline.streams.stats import TESTS, SmoothTest, null_draws, psi, without_straggler
from driftline.streams.stats.chi_square import chi_square_null_quantiles, chi_squares
from driftline.streams.stats.ks import ks, ks_quantile
from driftline.streams.stats.smooth_tests import SmoothTests

NULL_DRAWS = 199
_QUIET = 1e-9  # a direction is told only where something moved
_KEPT = 1_000  # of a battery: sizes of windows for which the PSI without drift is remembered


#: What one test says of one feature: the test, its value, the p-value of independent rows, and what 95 % of windows
#: without drift stay below.
Figure = tuple[str, float, float, float]


class Measured(NamedTuple):
    """How far apart one feature's histograms are. NaN: a side has no rows."""

    name: str
    profile: Profile
    direction: str  # up, down, wider, narrower; of categories, which one moved most
    figures: list[Figure]
    n: int
    n_reference: int
    p_value: float
    effect: float
    null: float  # of the effect
    moved: float  # standard deviations of a numeric feature; of categories the largest change of a share; 0 or more
    worth: float  # independent rows that the two sides are worth together
    lone: bool  # all rows of the reference are alike: there is nothing to score


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
        self.distances = Distances(profiles, self.bins, self.smooth.reference.shape[1])
        self._nulls: dict[bytes, Float64] = {}
        self._known = self._alike(self.smooth.reference)
        self._inside = np.arange(self.smooth.reference.shape[1]) < np.array(self.bins, np.int64)[:, None]

    def matrix(self, counts: Int64 | Float64, starts: Int64) -> Float64:
        """Histograms that lie end to end from `starts` on, below each other; shapes (…, all bins) and (…, features, bins)."""
        out = np.zeros((*counts.shape[:-1], *self._inside.shape))
        out[..., self._inside] = counts[..., (starts[:, None] + np.arange(self._inside.shape[1]))[self._inside]]
        return out

    def measured(self, counts: Float64, bounds: Float64, tests: Sequence[str], against: Float64 | None = None) -> list[list[Measured]]:
        """The figures of several windows, a feature each; those of a window are the same whatever the others are.

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
        if not self.names:
            return [[] for _ in counts]
        reference, smooth = self.smooth.reference if against is None else against, self.smooth
        n, n_reference = counts.sum(-1), reference.sum(-1)
        there = (n > 0) & (n_reference > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = counts / n[..., None] - reference / n_reference[:, None]
        apart = smooth.sums(shift)
        effect, null = np.where(there, psi.each(reference, counts), np.nan), self._null_of_psi(reference, n, n_reference, against)
        moved = np.where(self.numeric, smooth.moved(apart), np.abs(shift).max(-1))
        worth = n * n_reference / np.maximum(n + n_reference, 1) / smooth.dispersion
        p_values = smooth.p_values(without_straggler(counts, reference, smooth.dispersion), against)
        columns = (
            n.astype(np.int64), np.broadcast_to(n_reference.astype(np.int64), n.shape), p_values, effect, np.where(there, null, np.nan),
            np.where(there, moved, 0.0), worth, np.broadcast_to((smooth.degree == 0) & (smooth.blocks > 0), n.shape),
        )  # fmt: skip
        alike = self._known if against is None else self._alike(reference)
        figures = self._figures(reference, alike, counts, bounds, tests, effect, null)
        directions = [self._directions(*each) for each in zip(apart, shift, strict=True)]
        told = zip(there.tolist(), directions, figures, *(column.tolist() for column in columns), strict=True)
        return [
            [
                Measured(name, profile, direction if ok else "", figured if ok else [], *rest)
                for name, profile, ok, direction, figured, *rest in zip(self.names, self.profiles, *window, strict=True)
            ]
            for window in told
        ]

    def tails(self, measured: Sequence[Measured], effect: float) -> Float64:
        """The p-values of windows with as many rows in which a PSI of so much is all that there is; shape (features,)."""
        return self.smooth.tails(self.smooth.degree + np.array([each.worth for each in measured]) * effect)

    def _null_of_psi(self, reference: Float64, n: Float64, n_reference: Float64, against: Float64 | None) -> Float64:
        """The PSI that no drift stays below in 95 % of windows: drawn for a size near theirs, and brought to theirs."""
        alike = self.smooth.dispersion
        before, now = (np.maximum(rows / alike, 1.0) for rows in (n_reference, n))
        near = np.rint(2 ** (np.floor(2 * np.log2(now)) / 2))
        shape = (self._known if against is None else self._alike(reference)).rows
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
        self, reference: Float64, known: _Alike, counts: Float64, bounds: Float64, tests: Sequence[str], effect: Float64, null: Float64
    ) -> list[list[list[Figure]]]:
        """A figure a test that the model wants and the feature allows; always the PSI."""
        wanted = [*dict.fromkeys(("psi", *tests))]
        sizes, shape = counts.sum(-1), known.counts
        size = np.maximum(np.rint(sizes / self.smooth.dispersion), 1)
        statistic, p_value, _ = chi_squares(reference, counts)
        found = {"psi": Figures(effect, p_value, null)}
        if "chi_square" in wanted:
            found["chi_square"] = Figures(statistic, p_value, chi_square_null_quantiles(shape, size))
        if "ks" in wanted:
            n, m = reference.sum(-1), sizes
            with np.errstate(invalid="ignore", divide="ignore"):
                distance = ks.each(reference, counts)
                found["ks"] = Figures(distance, kolmogorov(distance * np.sqrt(n * m / (n + m))), ks_quantile(0.95, shape.sum(-1), size))
        others = [test for test in wanted if test not in found]
        found |= self.distances.told(others, counts, bounds, Sample(reference, sizes), Sample(shape, size))
        told = [[column.tolist() for column in found[test]] for test in wanted]
        fits = [[t for t, test in enumerate(wanted) if TESTS[test].needs == "bins"], [*range(len(wanted))]]
        return [
            [
                [(wanted[t], told[t][0][w][f], told[t][1][w][f], told[t][2][w][f]) for t in fits[numeric]]
                for f, numeric in enumerate(self.numeric.tolist())
            ]
            for w in range(len(counts))
        ]

    def _alike(self, reference: Float64) -> _Alike:
        alike = self.smooth.dispersion[:, None]
        rounded, used = np.rint(reference / alike), reference > 0
        return _Alike(np.maximum(rounded, used).astype(np.int64), np.where(alike == 1, reference, np.maximum(rounded, 1.0 * used)))

    def _directions(self, apart: Float64, shift: Float64) -> list[str]:
        """Which way each feature of a window moved, by its scores or, where there are none, by its shares."""
        most = np.abs(shift).argmax(1)
        largest, scores = shift[np.arange(len(most)), most].tolist(), apart[:, :2].tolist()
        told = zip(self.profiles, self.smooth.degree.tolist(), most.tolist(), largest, scores, shift, self.bins, strict=True)
        return [
            _category_moved(profile, place, by)
            if isinstance(profile, CategoricalProfile)
            else _scores_moved(*each[:2], *[0.0] * (2 - len(each)))
            if degree
            else _shares_moved(moved[:bins])
            for profile, degree, place, by, each, moved, bins in told
        ]


def _category_moved(profile: CategoricalProfile, place: int, by: float) -> str:
    name = profile.categories[place] if place < len(profile.categories) else "others"
    return f"{'more' if by > 0 else 'less'} {name}" if abs(by) > _QUIET else ""


def _scores_moved(place: float, spread: float) -> str:
    if not max(abs(place), abs(spread)) > _QUIET:
        return ""
    if abs(place) >= abs(spread):
        return "up" if place > 0 else "down"
    return "wider" if spread > 0 else "narrower"


def _shares_moved(moved: Float64) -> str:
    below = np.cumsum(-moved)[:-1]
    return "" if not len(below) or not np.abs(below).max() > _QUIET else "up" if below.sum() > 0 else "down"


@lru_cache(maxsize=32_768)
def _drawn_null(shape: bytes, n: int) -> float:
    return float(np.quantile(null_draws(psi.each, np.frombuffer(shape, np.int64), n, draws=NULL_DRAWS), 0.95))
