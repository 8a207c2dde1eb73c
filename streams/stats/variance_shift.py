"""Variance shift: whether the spread changed, whatever the mean did."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtr, fdtrc

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import normal_score
from driftline.streams.stats.mean_shift import Shift
from driftline.streams.stats.moments import Moments


def levene(reference: ArrayLike, current: ArrayLike, positions: ArrayLike) -> Shift:
    """Levene's test of equal spread in Brown and Forsythe's form: deviations from each side's median.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    positions
        The value each bin stands for, shape (bins,), ascending (`bin_positions`).

    Notes
    -----
    Formula: `F = between / within * (n + m - 2)`, the ratio of variances of `|x - median|` between and inside of both sides; the effect is
    `(after - before) / (after + before)` of their means.
    Range: [-1, 1] for the effect, 0.33 for a spread that doubled; [0, inf) for F, with 1 and `n + m - 2` degrees of freedom. Holds its
    level for any shape of distribution. Constants on both sides: statistic 0, p 1.
    Small n: a side without rows, or fewer than three values in all: all NaN. With no drift the effect is of the order of
    `sqrt(1 / n_reference + 1 / n_current) / 2`.

    Exact when each distinct value has its own bin; otherwise either mean absolute deviation is off by at most half the mean width of its
    side's bins and half the width of the bin that holds its median.

    References
    ----------
    Brown and Forsythe, J. Amer. Statist. Assoc. 69 (1974); agrees with `scipy.stats.levene(center="median")`.

    Examples
    --------
    >>> result = levene([10, 80, 10], [30, 40, 30], [-1.0, 0.0, 1.0])
    >>> round(result.statistic, 2), round(result.p_value, 5), round(result.effect, 3)
    (39.6, 0.0, 0.5)
    """
    f, g, at = (np.asarray(each, dtype=np.float64) for each in (reference, current, positions))
    n, m = float(f.sum()), float(g.sum())
    if min(n, m) == 0 or n + m < 3:
        return Shift(math.nan, math.nan, math.nan)
    off_f, off_g = np.abs(at - _median(f, at)), np.abs(at - _median(g, at))
    before, after = float(f @ off_f / n), float(g @ off_g / m)
    both = (n * before + m * after) / (n + m)
    between = n * (before - both) ** 2 + m * (after - both) ** 2
    within = float(f @ (off_f - before) ** 2 + g @ (off_g - after) ** 2)
    effect = (after - before) / (after + before) if after + before > 0 else 0.0
    if within <= 1e-12 * between or between == 0:
        return Shift(math.inf if between else 0.0, 0.0 if between else 1.0, effect)
    statistic = between * (n + m - 2) / within
    return Shift(statistic, float(fdtrc(1, n + m - 2, statistic)), effect)


def levene_null_quantile(reference: ArrayLike, positions: ArrayLike, n_current: int, quantile: float = 0.95) -> float:
    """The absolute effect that stays below with probability `quantile` when nothing drifted (normal limit); 0 for a constant.

    >>> round(levene_null_quantile([10, 80, 10], [-1.0, 0.0, 1.0], 100), 3)
    0.277
    """
    f, at = np.asarray(reference, dtype=np.float64), np.asarray(positions, dtype=np.float64)
    off, n = np.abs(at - _median(f, at)), float(f.sum())
    mean = float(f @ off / n)
    if mean == 0:
        return 0.0
    deviation = math.sqrt(float(f @ (off - mean) ** 2 / n))
    return min(1.0, normal_score(quantile) * deviation / mean / 2 * math.sqrt(1 / n + 1 / n_current))


def variance_ratio(reference: Moments, current: Moments) -> Shift:
    """The two-sided F-test of equal variances, from moments alone.

    Notes
    -----
    Formula: `F = var_current / var_reference`; the effect is `log(F)`.
    Range: [0, inf) for the ratio, (-inf, inf) for the effect; NaN where a side is constant.
    Small n: NaN below two values on a side. Exact at any size for normal values, and for those alone: heavy tails make it cry wolf.

    References
    ----------
    Snedecor, Statistical Methods (1937). Prefer `levene` where a histogram is at hand.

    Examples
    --------
    >>> result = variance_ratio(Moments(100, 0.0, 99.0), Moments(50, 0.0, 98.0))
    >>> result.statistic, round(result.p_value, 4), round(result.effect, 3)
    (2.0, 0.0036, 0.693)
    """
    if min(reference.n, current.n) < 2 or min(reference.m2, current.m2) <= 0:
        return Shift(math.nan, math.nan, math.nan)
    ratio = current.variance / reference.variance
    tails = float(fdtr(current.n - 1, reference.n - 1, ratio)), float(fdtrc(current.n - 1, reference.n - 1, ratio))
    return Shift(ratio, min(1.0, 2 * min(tails)), math.log(ratio))


def _median(counts: Floats, at: Floats) -> float:
    """The middle value; between the two middle ones when the number of values is even."""
    reached, half = np.cumsum(counts), counts.sum() / 2
    low, high = np.searchsorted(reached, half, side="left"), np.searchsorted(reached, half, side="right")
    return float(at[low] + at[min(high, at.size - 1)]) / 2
