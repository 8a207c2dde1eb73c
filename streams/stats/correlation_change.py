"""Correlation change: whether features that went together still do."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.cross_moments import CrossMoments


class CorrelationChange(NamedTuple):
    """Jennrich's statistic, its p-value, and each pair's change of correlation, shape (k, k), in [-2, 2]."""

    statistic: float
    p_value: float
    change: Floats


def correlations(moments: CrossMoments) -> Floats:
    """Pearson correlations, shape (k, k); those of a constant feature with others are 0.

    >>> correlations(CrossMoments.of([[1.0, 2.0, 5.0], [2.0, 1.0, 5.0], [3.0, 0.0, 5.0]])).round(9).tolist()
    [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    variance = np.diag(moments.comoment)
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    matrix = moments.comoment / np.outer(scale, scale)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(np.clip(matrix, -1.0, 1.0))


def correlation_change(reference: CrossMoments, current: CrossMoments) -> CorrelationChange:
    """Jennrich's test of equal correlation matrices, from co-moments.

    Parameters
    ----------
    reference, current
        Of the same k features, in the same order.

    Notes
    -----
    Formula: `tr(Z @ Z) / 2 - diag(Z) @ inv(I + R * inv(R)) @ diag(Z)` with `Z = sqrt(n m / (n + m)) * inv(R) @ (R_current - R_reference)`
    and the pooled correlations `R`.
    Range: [0, inf); chi-square with `k (k - 1) / 2` degrees of freedom with no drift. 0 for equal correlations, NaN for one feature. Of
    features that repeat each other exactly, the common part is tested.
    Small n: all NaN below k + 2 rows on a side; right for normal values from about 10 k rows a side on, heavy tails make it larger.

    References
    ----------
    Jennrich, An asymptotic chi-square test for the equality of two correlation matrices, J. Amer. Statist. Assoc. 65 (1970).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2000, 2)), rng.normal(size=(500, 2))
    >>> together = np.column_stack([y[:, 0], 0.5 * y[:, 0] + y[:, 1]])
    >>> result = correlation_change(CrossMoments.of(x), CrossMoments.of(together))
    >>> result.p_value < 1e-6, bool(result.change[0, 1] > 0.3)
    (True, True)
    """
    k, n, m = reference.mean.size, reference.n, current.n
    if k < 2 or min(n, m) < k + 2:
        return CorrelationChange(math.nan, math.nan, np.full((k, k), np.nan))
    before, after = correlations(reference), correlations(current)
    pooled = (n * before + m * after) / (n + m)
    inverse = np.linalg.pinv(pooled, rcond=1e-10, hermitian=True)
    z = math.sqrt(n * m / (n + m)) * inverse @ (after - before)
    weight = np.eye(k) + pooled * inverse
    correction = float(np.diag(z) @ np.linalg.pinv(weight, rcond=1e-10, hermitian=True) @ np.diag(z))
    statistic = max(0.0, float(np.trace(z @ z)) / 2 - correction)
    return CorrelationChange(statistic, float(chdtrc(k * (k - 1) // 2, statistic)), after - before)
