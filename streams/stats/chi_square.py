"""Pearson's chi-square test that two histograms come from one distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, chdtri

from driftline.streams.stats.counts import Floats


class ChiSquare(NamedTuple):
    """Statistic (0 and up), its p-value, and the degrees of freedom (pooled bins less one)."""

    statistic: float
    p_value: float
    dof: int


def chi_square(reference: ArrayLike, current: ArrayLike, *, min_expected: float = 5.0) -> ChiSquare:
    """Two-sample homogeneity test from counts over the same bins.

    `sum((observed - expected)**2 / expected)` over both rows of the 2 × bins table, without Yates' correction.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    min_expected
        Neighbouring bins are pooled, from the first one on, until both sides expect at least this many rows in each; what is left over
        joins the last pool. 0 pools only the bins that are empty on both sides.

    Returns
    -------
    ChiSquare
        `p_value` is uniform when nothing drifted. With a single pool left (constant data, or too few rows to tell) the statistic is 0,
        the p-value 1 and `dof` 0. A side without rows gives NaN: nothing was tested.

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


def chi_square_null_quantile(reference: ArrayLike, n_current: int, quantile: float = 0.95, *, min_expected: float = 5.0) -> float:
    """The statistic that stays below with probability `quantile` when nothing drifted, at the degrees of freedom left after pooling.

    >>> round(chi_square_null_quantile([100, 100, 100], 200), 3)
    5.991
    """
    counts = np.asarray(reference, dtype=np.float64)
    expected = np.stack([counts, counts * (n_current / counts.sum())])
    dof = pool_small(expected, min_expected).shape[1] - 1
    return float(chdtri(dof, 1 - quantile)) if dof else 0.0


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
