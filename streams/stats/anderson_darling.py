"""Anderson–Darling: the gap between two cumulative distributions, with the tails counted in full."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, cumulative_gap, rows, shares

#: Variance of the limit distribution, 2 (pi² - 9) / 3.
LIMIT_VARIANCE = 2 * (math.pi**2 - 9) / 3


@Measure
def anderson_darling(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Two-sample Anderson–Darling statistic, mid-rank form.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,), bins in ascending order of the value.

    Notes
    -----
    Formula: `n m (n + m - 1) / (n + m)**2 * sum(w * (F - G)**2 / (H (1 - H) - w / 4))` at the middle of each bin, with its share `w` of all
    rows and `H` the pooled cumulative share: squared gaps, each over its variance under no drift.
    Range: [0, inf); 0 for equal shapes, NaN where a side has no rows. Symmetric. It grows with the rows under drift.
    Small n: with no drift 1 on average at any sample size; the p-value is within 0.02 from 20 rows a side on.

    Bins count as ties: it is the statistic of the binned values, and exact when each distinct value has its own bin. Of two continuous
    samples the usual edges give it within 15 % of itself and 0.2 of the raw values' statistic, 256 quantile bins within 5 % and 0.1.

    References
    ----------
    Scholz and Stephens, J. Amer. Statist. Assoc. 82 (1987), equation 7; agrees with `scipy.stats.anderson_ksamp` (before its
    normalisation).

    Examples
    --------
    >>> round(anderson_darling([30, 40, 30], [20, 40, 40]), 3)
    2.778
    """
    pooled = np.asarray(reference, dtype=np.float64) + np.asarray(current, dtype=np.float64)
    gap = cumulative_gap(reference, current)
    middle = gap - (shares(reference) - shares(current)) / 2
    weight, variance = _weight_and_variance(pooled)
    # Where all rows of both sides share a bin there is no variance, and no gap; a side without rows leaves NaN.
    ratio = np.divide(middle**2, variance, out=0.0 * middle, where=variance > 1e-15)
    n, m = rows(reference), rows(current)
    with np.errstate(invalid="ignore"):
        return np.asarray((weight * ratio).sum(axis=-1) * n * m * (n + m - 1) / (n + m) ** 2)


def anderson_darling_pvalue(statistic: float, reference: ArrayLike, current: ArrayLike) -> float:
    """Probability of a statistic this large or larger when nothing drifted.

    The limit distribution, stretched to the variance that the pooled histogram gives. Within 0.02 from 20 rows a side on. 1 where all
    rows share a bin.

    References
    ----------
    Marsaglia and Marsaglia, Evaluating the Anderson–Darling distribution, J. Stat. Software 9 (2004).

    Examples
    --------
    >>> round(anderson_darling_pvalue(2.492, [5] * 60, [5] * 60), 2)
    0.05
    """
    if not statistic > 0:
        return 1.0 if statistic == 0 else float("nan")
    pooled = np.asarray(reference, dtype=np.float64) + np.asarray(current, dtype=np.float64)
    weight, variance = _weight_and_variance(pooled[pooled > 0])
    if weight.size == 1:
        return 1.0
    middle = np.cumsum(weight) - weight / 2
    bridge = np.minimum.outer(middle, middle) - np.outer(middle, middle)
    np.fill_diagonal(bridge, variance)
    of_sum = 2 * float(weight @ (bridge**2 / np.outer(variance, variance)) @ weight)
    return _beyond(1 + (statistic - 1) * math.sqrt(LIMIT_VARIANCE / of_sum))


def _weight_and_variance(pooled: Floats) -> tuple[Floats, Floats]:
    """Pooled share of each bin, and the variance of the cumulative share at its middle when nothing drifted (per row)."""
    weight = shares(pooled)
    middle = np.cumsum(weight, axis=-1) - weight / 2
    return weight, middle * (1 - middle) - weight / 4


def _beyond(z: float) -> float:
    """Probability that the limit is beyond z, to 1 % of itself up to 6 and to 5 % from there on."""
    if z <= 0:
        return 1.0
    if z < 2:
        inner = np.polyval([-0.00168691, 0.0116720, -0.0347962, 0.0649821, -0.247105, -2.00012], z)
        return float(1 + math.exp(-1.2337141 / z) / math.sqrt(z) * inner)
    if z < 6:
        return -math.expm1(-math.exp(float(np.polyval([-0.0003146, 0.008056, -0.082433, 0.43424, -2.30695, 1.0776], z))))
    # The largest of the weights 1 / (k (k + 1)) of the limit's chi-squares decides; the others make the factor.
    return math.sqrt(3) * math.erfc(math.sqrt(z))
