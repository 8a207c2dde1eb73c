"""Kolmogorov–Smirnov: the largest gap between two cumulative distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import kolmogi, kolmogorov

from driftline.streams.stats.counts import Floats, Measure, cumulative_gap, shares


@Measure
def ks(reference: ArrayLike, current: ArrayLike, *, edges: ArrayLike | None = None) -> Floats:
    """Kolmogorov–Smirnov distance of two histograms over the same ordered bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,), bins in ascending order of the value.
    edges
        The bins' edges, shape (bins - 1,). Without them the gap is taken where bins end. With them, in the middle of the interval in
        which it must lie whatever the values are: bins from an edge to the next larger float hold a single value, all others may hold
        the largest gap inside.

    Notes
    -----
    Formula: `max(|F - G|)` over the cumulative shares `F` and `G` of both sides.
    Range: [0, 1]; 0 for equal shapes, NaN where a side has no rows. Symmetric.
    Small n: with no drift half of all windows are beyond `0.83 * sqrt(1 / n_reference + 1 / n_current)`, one in twenty beyond 1.36 times
    the root (`ks_quantile`).

    Without edges it is exact when every distinct value has its own bin. Otherwise it can only be too small, by at most the largest over
    the bins of the smaller of the two shares in it: with 256 bins of equal reference rows (`"quantile:256"`) by 0.004 whatever the window
    holds, with 512 by 0.002. Two continuous samples seldom come near: with 256 such bins and 2 000 rows or more on both sides 0.001 on
    average and below 0.0025, with a window of 500 rows below 0.004; with the 50 bins or so of the usual edges 0.002 on average and below
    0.007 from 2 000 rows on.

    With edges it is off by at most half of that, taken over the bins that may hold several values: with 256 bins of equal reference
    rows within 0.002 of the exact distance, whatever both sides hold. (Equal shapes are told as 0: there it is 0.004.) A side of `n` rows
    that 256 does not divide adds `1 / (2 n)`. That is nearer than without edges for windows below some 3 000 rows, and for larger ones as
    long as it is the worst case that counts; with coarse bins it is not.

    References
    ----------
    Smirnov, Table for estimating the goodness of fit of empirical distributions, Ann. Math. Statist. 19 (1948);
    agrees with `scipy.stats.ks_2samp`.

    Examples
    --------
    >>> ks([50, 50, 0], [25, 50, 25])
    0.25
    >>> round(ks([5, 5], [3, 7]), 2), round(ks([5, 5], [3, 7], edges=[1.0]), 2)  # 0.2 to 0.7, by the order of the rows inside
    (0.2, 0.45)
    """
    gap = cumulative_gap(reference, current)
    at_edges = np.abs(gap).max(axis=-1)
    if edges is None:
        return np.asarray(at_edges)
    bounds = np.concatenate(([-np.inf], np.asarray(edges, dtype=np.float64), [np.inf]))
    single = bounds[1:] <= np.nextafter(bounds[:-1], np.inf)
    # All rows of one side may come before those of the other: then the gap inside is that before the bin and this side's share.
    inside = np.maximum(gap + shares(current), shares(reference) - gap)
    largest = np.where(single, np.abs(gap), inside).max(axis=-1)
    return np.asarray(np.where(at_edges > 0, (at_edges + np.maximum(at_edges, largest)) / 2, at_edges))


@Measure
def ks_pvalue(distance: ArrayLike, n_reference: ArrayLike, n_current: ArrayLike) -> Floats:
    """Probability of a Kolmogorov–Smirnov distance this large or larger when nothing drifted.

    Notes
    -----
    Formula: `K(distance * sqrt(n m / (n + m)))` with Kolmogorov's limit `K(x) = 2 * sum((-1)**(j - 1) * exp(-2 j**2 x**2))`.
    Range: [0, 1]; NaN for NaN.
    Small n: against the exact value never too small by more than a thirtieth of itself, and from 20 rows a side on too large by 0.05 at
    most where it is below 0.2, and by 0.09 elsewhere (1000 rows a side: 0.01). It is also careful about values that repeat or share bins,
    because then the distance has fewer places to be large at.

    References
    ----------
    Smirnov, Ann. Math. Statist. 19 (1948); agrees with `scipy.stats.ks_2samp(method="asymp")` to the bounds above.

    Examples
    --------
    >>> round(ks_pvalue(0.1, 500, 500), 4)
    0.0135
    """
    return np.asarray(kolmogorov(np.asarray(distance) * _scale(n_reference, n_current)))


def ks_quantile(quantile: float, n_reference: ArrayLike, n_current: ArrayLike) -> Floats:
    """The distance that stays below with probability `quantile` when nothing drifted; the inverse of `ks_pvalue`, at most 1.

    >>> ks_quantile(0.95, 500, 500).round(4).tolist()
    0.0859
    """
    return np.asarray(np.minimum(1.0, kolmogi(1 - quantile) / _scale(n_reference, n_current)))


def _scale(n_reference: ArrayLike, n_current: ArrayLike) -> Floats:
    n, m = np.asarray(n_reference, dtype=np.float64), np.asarray(n_current, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(n * m / (n + m)))
