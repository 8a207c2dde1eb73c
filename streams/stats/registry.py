"""Every univariate drift test by name. To add one: write its file, add its line to `TESTS`; the law suite then tests it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.anderson_darling import anderson_darling, anderson_darling_pvalue
from driftline.streams.stats.bootstrap import null_draws, quantile_of_draws, tail_probability
from driftline.streams.stats.chi_square import ChiSquare, chi_square, chi_square_null_quantile
from driftline.streams.stats.chi_square_like import ChiSquareLike, expected_rows
from driftline.streams.stats.counts import Floats, Measure
from driftline.streams.stats.cramer_von_mises import cramer_von_mises, cramer_von_mises_pvalue
from driftline.streams.stats.cramers_v import cramers_v
from driftline.streams.stats.energy import energy
from driftline.streams.stats.g_test import g_test
from driftline.streams.stats.hellinger import hellinger
from driftline.streams.stats.jensen_shannon import jensen_shannon
from driftline.streams.stats.kl import kl
from driftline.streams.stats.ks import ks, ks_pvalue, ks_quantile
from driftline.streams.stats.l_infinity import l_infinity
from driftline.streams.stats.mean_shift import mean_shift, mean_shift_null_quantile
from driftline.streams.stats.moments import moments_of_bins
from driftline.streams.stats.psi import psi
from driftline.streams.stats.total_variation import total_variation
from driftline.streams.stats.variance_shift import levene, levene_null_quantile
from driftline.streams.stats.wasserstein import wasserstein, wasserstein_normalised

#: What a test reads besides the counts: nothing, the order of the bins, or the value each bin stands for.
Needs = Literal["bins", "order", "positions"]


class Measured(NamedTuple):
    """What a test says of one histogram against another. NaN: it cannot tell (a side without rows)."""

    value: float
    p_value: float
    null_quantile: float


@dataclass(frozen=True, slots=True)
class DriftTest:
    """A drift test: its figure, how probable that is with no drift, and what it would be with none.

    `measure` takes (reference, current, positions) and returns the value and its p-value. `null_quantile` takes (reference, n_current,
    quantile, positions). `distance` is the value alone, where it is a `Measure`: then what it is with no drift is drawn, except where the
    `limit` of many rows holds. `p_value` is what it is worth, where that is known better: it takes (value, reference, current).
    """

    name: str
    needs: Needs
    measure: Callable[[Floats, Floats, Floats], tuple[float, float]]
    null_quantile: Callable[[Floats, int, float, Floats], float]
    symmetric: bool = True
    distance: Measure[...] | None = None
    limit: ChiSquareLike | None = None
    p_value: Callable[[float, Floats, Floats], float] | None = None

    def run(self, reference: ArrayLike, current: ArrayLike, positions: ArrayLike | None = None, quantile: float = 0.95) -> Measured:
        """The test on two histograms over the same bins.

        Parameters
        ----------
        reference, current
            Counts, shape (bins,).
        positions
            The value each bin stands for, ascending, shape (bins,); 0, 1, 2 … when left out.

        Examples
        --------
        >>> tuple(round(part, 3) for part in TESTS["psi"].run([500, 500], [70, 30]))
        (0.168, 0.0, 0.042)
        """
        before, after = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
        at = np.arange(before.size, dtype=np.float64) if positions is None else np.asarray(positions, dtype=np.float64)
        if not before.sum() or not after.sum():
            return Measured(math.nan, math.nan, math.nan)
        return Measured(*self.measure(before, after, at), self.null_quantile(before, int(after.sum()), quantile, at))


def null_quantile(test: str, reference: ArrayLike, n_current: int, quantile: float = 0.95, positions: ArrayLike | None = None) -> float:
    """The value that a test's figure stays below with probability `quantile` when nothing drifted.

    Parameters
    ----------
    test
        A name in `TESTS`.
    reference
        Counts of the reference, shape (bins,).
    n_current
        Rows of the window, independent of each other (else give the effective number).

    Returns
    -------
    float
        In the units of the test; NaN when either side has no rows. Closed forms where the file of the test has one, else `null_draws`.

    Examples
    --------
    >>> round(null_quantile("psi", [100] * 10, 500), 3), round(null_quantile("ks", [100] * 10, 500), 3)
    (0.05, 0.074)
    """
    counts = np.asarray(reference, dtype=np.float64)
    if not counts.sum() or n_current <= 0:
        return math.nan
    at = np.arange(counts.size, dtype=np.float64) if positions is None else np.asarray(positions, dtype=np.float64)
    return TESTS[test].null_quantile(counts, n_current, quantile, at)


def _arguments(needs: Needs, at: Floats) -> tuple[Floats, ...]:
    return (at,) if needs == "positions" else ()


def _drawn_p_value(distance: Measure[...], value: float, f: Floats, g: Floats, *at: Floats) -> float:
    return tail_probability(null_draws(distance.each, f, int(g.sum()), *at), value)


def _drawn_quantile(distance: Measure[...], f: Floats, m: int, quantile: float, *at: Floats) -> float:
    return quantile_of_draws(null_draws(distance.each, f, m, *at), quantile)


def _drawn(
    name: str, needs: Needs, distance: Measure[...], p_value: Callable[[float, Floats, Floats], float] | None = None, symmetric: bool = True
) -> DriftTest:
    """A distance whose null distribution is drawn; `p_value` where that is known better."""

    def measure(f: Floats, g: Floats, at: Floats) -> tuple[float, float]:
        value = distance(f, g, *_arguments(needs, at))
        return value, p_value(value, f, g) if p_value else _drawn_p_value(distance, value, f, g, *_arguments(needs, at))

    def quantile_of(f: Floats, m: int, quantile: float, at: Floats) -> float:
        return _drawn_quantile(distance, f, m, quantile, *_arguments(needs, at))

    return DriftTest(name, needs, measure, quantile_of, symmetric, distance, None, p_value)


def _like_chi_square(name: str, distance: Measure[[ArrayLike, ArrayLike]], null: ChiSquareLike, symmetric: bool = True) -> DriftTest:
    """A divergence that is a known multiple of chi-square near 0; drawn where some bin expects too few rows for that."""

    def measure(f: Floats, g: Floats, at: Floats) -> tuple[float, float]:
        value = distance(f, g)
        return value, float(null.p_value(value, f, g)) if null.holds(f, g) else _drawn_p_value(distance, value, f, g)

    def quantile_of(f: Floats, m: int, quantile: float, at: Floats) -> float:
        known = null.holds(f, expected_rows(f, m))
        return float(null.quantile(f, m, quantile)) if known else _drawn_quantile(distance, f, m, quantile)

    return DriftTest(name, "bins", measure, quantile_of, symmetric, distance, null)


def _from_table(name: str, test: Callable[[ArrayLike, ArrayLike], ChiSquare]) -> DriftTest:
    """A test of the 2 × bins table."""
    return DriftTest(
        name, "bins", lambda f, g, at: test(f, g)[:2], lambda f, m, quantile, at: chi_square_null_quantile(f, m, quantile)
    )  # fmt: skip


def _ks(f: Floats, g: Floats, at: Floats) -> tuple[float, float]:
    distance = ks(f, g)
    return distance, ks_pvalue(distance, f.sum(), g.sum())


def _mean_shift(f: Floats, g: Floats, at: Floats) -> tuple[float, float]:
    shift = mean_shift(moments_of_bins(f, at), moments_of_bins(g, at))
    return abs(shift.effect), shift.p_value


def _levene(f: Floats, g: Floats, at: Floats) -> tuple[float, float]:
    shift = levene(f, g, at)
    return abs(shift.effect), shift.p_value


TESTS: dict[str, DriftTest] = {
    test.name: test
    for test in (
        _like_chi_square("psi", psi, ChiSquareLike(lambda n, m: 1.0, smoothed=True)),
        _like_chi_square("kl", kl, ChiSquareLike(lambda n, m: 2.0, smoothed=True), symmetric=False),
        _like_chi_square("jensen_shannon", jensen_shannon, ChiSquareLike(lambda n, m: 8 * math.log(2), power=2)),
        _like_chi_square("hellinger", hellinger, ChiSquareLike(lambda n, m: 8.0, power=2)),
        _like_chi_square("cramers_v", cramers_v, ChiSquareLike(lambda n, m: (n + m) ** 2 / (n * m), power=2)),
        _from_table("chi_square", chi_square),
        _from_table("g_test", g_test),
        _drawn("total_variation", "bins", total_variation),
        _drawn("l_infinity", "bins", l_infinity),
        DriftTest("ks", "order", _ks, lambda f, m, quantile, at: float(ks_quantile(quantile, f.sum(), m))),
        _drawn("cramer_von_mises", "order", cramer_von_mises, cramer_von_mises_pvalue),
        _drawn("anderson_darling", "order", anderson_darling, anderson_darling_pvalue),
        _drawn("wasserstein", "positions", wasserstein),
        _drawn("wasserstein_normalised", "positions", wasserstein_normalised, symmetric=False),
        _drawn("energy", "positions", energy),
        DriftTest("mean_shift", "positions", _mean_shift, lambda f, m, q, at: mean_shift_null_quantile(f.sum(), m, q), symmetric=False),
        DriftTest("levene", "positions", _levene, lambda f, m, q, at: levene_null_quantile(f, at, m, q)),
    )
}
