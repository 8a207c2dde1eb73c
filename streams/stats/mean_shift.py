"""Mean shift: whether the average moved, and by how many standard deviations."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import stdtr

from driftline.streams.stats.estimate import normal_score
from driftline.streams.stats.moments import Moments


class Shift(NamedTuple):
    """The test's statistic, its two-sided p-value, and the size of the change in a unit that does not grow with n."""

    statistic: float
    p_value: float
    effect: float


def mean_shift(reference: Moments, current: Moments) -> Shift:
    """Welch's test of equal means, from moments; the variances may differ.

    Parameters
    ----------
    reference, current
        Exact moments of the values, whatever the bins (merge panes with `Moments.merge`); or those of a histogram (`moments_of_bins`),
        whose means are off by at most half the mean width of the bins.

    Notes
    -----
    Formula: `t = (mean_current - mean_reference) / sqrt(var_reference / n_reference + var_current / n_current)`, with Welch's degrees of
    freedom.
    Range: (-inf, inf) for the statistic and the effect, the change of the mean in standard deviations of the reference (Glass's delta);
    where that is constant, of both sides' mean shape (±2 for two different constants). Two constants: p is 1 and the statistic 0 when they
    are equal, else 0 and infinite.
    Small n: fewer than two values on a side: all NaN. With no drift the effect is within `1.96 * sqrt(1 / n_reference + 1 / n_current)` in
    19 of 20 windows; long tails need some hundred rows for the p-value to be right.

    References
    ----------
    Welch, Biometrika 34 (1947); agrees with `scipy.stats.ttest_ind(equal_var=False)`, sign as `current - reference`.

    Examples
    --------
    >>> result = mean_shift(Moments(100, 5.0, 99.0), Moments(50, 5.5, 49.0))
    >>> round(result.statistic, 3), round(result.p_value, 4), round(result.effect, 3)
    (2.887, 0.0048, 0.503)
    """
    if min(reference.n, current.n) < 2:
        return Shift(math.nan, math.nan, math.nan)
    apart = current.mean - reference.mean
    a, b = reference.variance / reference.n, current.variance / current.n
    own, both = reference.m2 / reference.n, (reference.m2 / reference.n + current.m2 / current.n) / 2 + apart**2 / 4
    effect = apart / math.sqrt(own or both) if apart else 0.0
    if a + b == 0:
        return Shift(math.copysign(math.inf, apart) if apart else 0.0, 0.0 if apart else 1.0, effect)
    statistic = apart / math.sqrt(a + b)
    dof = (a + b) ** 2 / (a * a / (reference.n - 1) + b * b / (current.n - 1))
    return Shift(statistic, float(2 * stdtr(dof, -abs(statistic))), effect)


def mean_shift_null_quantile(n_reference: float, n_current: float, quantile: float = 0.95) -> float:
    """The absolute effect that stays below with probability `quantile` when nothing drifted (normal limit).

    >>> round(mean_shift_null_quantile(1000, 200), 3)
    0.152
    """
    return normal_score(quantile) * math.sqrt(1 / n_reference + 1 / n_current)
