"""Pearson's chi-square test that two histograms come from one distribution."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, chdtri

from driftline.streams.stats.counts import Floats

LEAST_POOLED = 5.0  # rows that a pool of bins expects on either side


class ChiSquare(NamedTuple):
    """Statistic (0 and up), its p-value, and the degrees of freedom (pooled bins less one)."""

    statistic: float
    p_value: float
    dof: int


def chi_square(reference: ArrayLike, current: ArrayLike, *, min_expected: float = LEAST_POOLED) -> ChiSquare:
    """Two-sample homogeneity test from counts over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    min_expected
        Neighbouring bins are pooled, from the first one on, until both sides expect at least this many rows in each; what is left over
        joins the last pool. 0 pools only the bins that are empty on both sides.

    Notes
    -----
    Formula: `sum((observed - expected)**2 / expected)` over both rows of the 2 × bins table, without Yates' correction.
    Range: [0, inf); 0 for equal shapes, NaN where a side has no rows: nothing was tested. The p-value is uniform when nothing drifted.
    Small n: neighbours are pooled until 5 rows are expected in each; with a single pool left (constant data, or too few rows to tell) the
    statistic is 0, the p-value 1 and `dof` 0.

    References
    ----------
    Pearson, Phil. Mag. 50 (1900); Cochran, Biometrics 10 (1954) for the rule of 5; agrees with
    `scipy.stats.chi2_contingency(correction=False)`.

    Examples
    --------
    >>> result = chi_square([500, 300, 200], [450, 350, 200])
    >>> round(result.statistic, 3), round(result.p_value, 3), result.dof
    (6.478, 0.039, 2)
    """
    table = pooled_table(reference, current, min_expected)
    if table is None:
        return ChiSquare(np.nan, np.nan, 0)
    dof = table.shape[1] - 1
    if dof == 0:
        return ChiSquare(0.0, 1.0, 0)
    expected = expected_counts(table)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return ChiSquare(statistic, float(chdtrc(dof, statistic)), dof)


def chi_squares(reference: Floats, current: Floats, min_expected: float = LEAST_POOLED) -> tuple[Floats, NDArray[np.int64]]:
    """`chi_square` of many features at once: statistics and degrees of freedom, each shape (..., features).

    Parameters
    ----------
    reference, current
        Counts, shapes (features, bins) and (..., features, bins). A bin that a feature does not have holds no rows, at the end.

    >>> [each.round(3).tolist() for each in chi_squares(np.array([[500.0, 300, 200], [9, 9, 0]]), np.array([[450.0, 350, 200], [9, 9, 0]]))]
    [[6.478, 0.0], [2, 1]]
    """
    before, after = reference.sum(-1, keepdims=True), current.sum(-1, keepdims=True)
    total = reference + current
    bins, known = total.shape[-1], (before[..., 0] > 0) & (after[..., 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        starts = pool_starts((np.minimum(before, after) * total / (before + after)).reshape(-1, bins), min_expected)
        at, row = np.flatnonzero(starts), np.nonzero(starts)[0]
        pooled, both = (np.add.reduceat(each.ravel(), at) for each in (current, total))
        expected = both * after.ravel()[row] / (before + after).ravel()[row]
        # The other side is as far from what it expects, which is `before / after` times as much.
        parts = (pooled - expected) ** 2 / expected * (1 + (after / before).ravel()[row])
    statistic = np.bincount(row, parts, len(starts)).reshape(known.shape)
    dof = starts.sum(1).reshape(known.shape) - 1
    return np.where(known, np.where(dof > 0, statistic, 0.0), np.nan), np.where(known, dof, 0)


def chi_square_tails(statistic: Floats, dof: NDArray[Any]) -> Floats:
    """The probability of statistics this large or larger when nothing drifted; 1 where there is a single pool, NaN for NaN.

    >>> chi_square_tails(np.array([5.991, 0.0, np.nan]), np.array([2, 0, 0])).round(3).tolist()
    [0.05, 1.0, nan]
    """
    return np.where((dof > 0) | np.isnan(statistic), chdtrc(np.maximum(dof, 1), statistic), 1.0)


def pool_starts(expected: Floats, least: float) -> NDArray[np.bool_]:
    """Which bins begin a pool, of many features at once: shape (features, bins) like the rows that a bin expects on the side with fewer.

    >>> pool_starts(np.array([[1.0, 6, 7, 0, 0], [3, 3, 3, 0, 0]]), 5).astype(int).tolist()
    [[1, 0, 1, 0, 0], [1, 0, 0, 0, 0]]
    """
    least = max(least, float(np.finfo(np.float64).tiny))
    many, bins = expected.shape
    width = bins - (expected[:, ::-1] > 0).argmax(1)  # of each feature, without the empty bins at its end
    begins = np.ones((bins + 1, many), bool)  # bin by bin: whether the pool before it has enough
    held, wants = np.zeros(many), np.zeros(many, bool)
    for rows, begin in zip(np.ascontiguousarray(expected.T), begins[1:], strict=True):
        held *= wants
        held += rows
        np.greater_equal(held, least, out=begin)
        np.logical_not(begin, out=wants)
    starts: NDArray[np.bool_] = np.ascontiguousarray(begins[:-1].T) & (np.arange(bins) < width[:, None])
    last = bins - 1 - starts[:, ::-1].argmax(1)
    short = np.flatnonzero(~begins[width, np.arange(many)] & (last > 0))
    starts[short, last[short]] = False  # the last pool came out too small: it joins the one before
    return starts


def chi_square_null_quantile(reference: ArrayLike, n_current: int, quantile: float = 0.95, *, min_expected: float = LEAST_POOLED) -> float:
    """The statistic that stays below with probability `quantile` when nothing drifted, at the degrees of freedom left after pooling.

    >>> round(chi_square_null_quantile([100, 100, 100], 200), 3)
    5.991
    """
    counts = np.asarray(reference, dtype=np.float64)
    n = counts.sum()
    dof = _pool_starts(counts * min(n, n_current) / n, min_expected).size - 1  # both sides of this shape, the smaller one expects least
    return float(chdtri(dof, 1 - quantile)) if dof else 0.0


def null_pools(reference: Floats, n_current: Floats, min_expected: float = LEAST_POOLED) -> NDArray[np.int64]:
    """How many pools `chi_square_null_quantile` has of many features; `reference` has shape (features, bins), the rest (..., features).

    >>> null_pools(np.array([[100.0, 100, 100], [9, 9, 0]]), np.array([200.0, 18])).tolist()
    [3, 2]
    """
    n = reference.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = reference * np.minimum(n, n_current)[..., None] / n[:, None]
    return np.asarray(pool_starts(expected.reshape(-1, reference.shape[1]), min_expected).sum(1).reshape(expected.shape[:-1]))


def chi_square_quantiles(dof: NDArray[Any], quantile: float) -> Floats:
    """Chi-square's quantile at each of these degrees of freedom, 0 where there are none; worked out once a number.

    >>> chi_square_quantiles(np.array([2, 1, 0]), 0.95).round(3).tolist()
    [5.991, 3.841, 0.0]
    """
    return _quantiles(quantile, max(int(dof.max(initial=0)).bit_length(), 6))[dof.astype(np.intp)]


@lru_cache(maxsize=64)
def _quantiles(quantile: float, bits: int) -> Floats:
    return np.concatenate([[0.0], chdtri(np.arange(1, 1 << bits), 1 - quantile)])


def pooled_table(reference: ArrayLike, current: ArrayLike, min_expected: float) -> Floats | None:
    """The 2 × bins table after pooling; None when a side has no rows.

    >>> pooled_table([30, 1, 2], [20, 0, 3], 1).tolist()
    [[30.0, 3.0], [20.0, 3.0]]
    """
    table = np.stack([np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)])
    return pool_small(table, min_expected) if table.sum(axis=1).all() else None


def expected_counts(table: Floats) -> Floats:
    """Rows each cell of a (2, bins) table would hold, were its two rows of one shape.

    >>> expected_counts(np.array([[30.0, 10.0], [10.0, 30.0]])).tolist()
    [[20.0, 20.0], [20.0, 20.0]]
    """
    return np.asarray(table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum())


def pool_small(table: Floats, min_expected: float) -> Floats:
    """The (2, bins) table with neighbours added together until every cell expects `min_expected` rows (and more than none).

    >>> pool_small(np.array([[8.0, 1, 0, 9], [9.0, 0, 2, 8]]), 5).tolist()
    [[8.0, 10.0], [9.0, 10.0]]
    """
    return np.add.reduceat(table, _pool_starts(expected_counts(table).min(axis=0), min_expected), axis=1)


def _pool_starts(expected: Floats, least: float) -> NDArray[np.intp]:
    """Where each pool of neighbours begins."""
    if expected.size and expected.min() >= max(least, np.finfo(np.float64).tiny):  # the usual case: nothing to pool
        return np.arange(expected.size)
    starts, held = [0], 0.0
    for i, value in enumerate(expected.tolist()):
        if held > 0 and held >= least:
            starts.append(i)
            held = 0.0
        held += value
    # The last pool may have come out too small: it joins the one before.
    if len(starts) > 1 and not (held > 0 and held >= least):
        starts.pop()
    return np.array(starts)
