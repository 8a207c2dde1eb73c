"""Regression: MAE, RMSE, R² and quantile loss from sums that merge."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import UNKNOWN, Estimate, mean_of_sums


def mae(n: int, sum_abs: float, sum_sq: float, confidence: float = 0.95) -> Estimate:
    """Mean absolute error of `n` rows from the sums of |e| and e².

    Notes
    -----
    Formula: `Σ|e| / n`, with the normal interval, `± z * s / √n` and `s² = (Σe² - (Σ|e|)² / n) / (n - 1)`, not below 0.
    Range: [0, inf), in the units of the target.
    Small n: no rows: UNKNOWN; one row gives (0, inf). The interval is meant for 30 rows and more.

    References
    ----------
    Agrees with `sklearn.metrics.mean_absolute_error`.

    Examples
    --------
    >>> tuple(round(part, 3) for part in mae(100, 80.0, 100.0))
    (0.8, 0.682, 0.918)
    """
    estimate = mean_of_sums(n, sum_abs, sum_sq, confidence)
    return estimate if estimate is UNKNOWN else estimate._replace(lower=max(0.0, estimate.lower))


def rmse(n: int, sum_sq: float, confidence: float = 0.95) -> Estimate:
    """Root mean squared error of `n` rows from the sum of e².

    Notes
    -----
    Formula: `√(Σe² / n)`, with the interval `√(Σe² / χ²)` at both quantiles of the chi-square with n degrees of freedom.
    Range: [0, inf), in the units of the target.
    Small n: no rows: UNKNOWN. The interval is exact at any size for normal errors around 0, too short for heavier tails.

    References
    ----------
    Agrees with `sklearn.metrics.root_mean_squared_error`.

    Examples
    --------
    >>> tuple(round(part, 3) for part in rmse(100, 100.0))
    (1.0, 0.879, 1.161)
    """
    if n <= 0:
        return UNKNOWN
    tail = (1 - confidence) / 2
    return Estimate(math.sqrt(sum_sq / n), math.sqrt(sum_sq / chdtri(n, tail)), math.sqrt(sum_sq / chdtri(n, 1 - tail)))


def r2(n: int, sum_sq: float, label_m2: float, confidence: float = 0.95) -> Estimate:
    """Coefficient of determination, from the errors' squares and the labels' sum of squared deviations.

    Notes
    -----
    Formula: `1 - Σe² / Σ(y - mean)²`.
    Range: (-inf, 1], negative for a model worse than the mean.
    Small n: UNKNOWN where all labels are equal. The interval is that of `rmse`, the labels' variance taken as known.

    References
    ----------
    Agrees with `sklearn.metrics.r2_score`.

    Examples
    --------
    >>> tuple(round(part, 3) for part in r2(100, 25.0, 100.0))
    (0.75, 0.663, 0.807)
    """
    if n <= 0 or label_m2 <= 0:
        return UNKNOWN
    error = rmse(n, sum_sq, confidence)
    return Estimate(*(1 - n * part**2 / label_m2 for part in (error.value, error.upper, error.lower)))


def quantile_loss(prediction: ArrayLike, label: ArrayLike, quantile: float) -> Floats:
    """Pinball loss of each row for a predicted quantile.

    Notes
    -----
    Formula: `quantile * (y - p)` where y is above p, else `(1 - quantile) * (p - y)`.
    Range: [0, inf), in the units of the target; 0.5 gives half the absolute error.
    Small n: of each row by itself; sum it and its squares, and `mean_of_sums` gives the mean.

    References
    ----------
    Koenker and Bassett, Econometrica 46 (1978); the mean agrees with `sklearn.metrics.mean_pinball_loss`.

    Examples
    --------
    >>> quantile_loss([1.0, 1.0], [2.0, 0.0], 0.9).round(3).tolist()
    [0.9, 0.1]
    """
    apart = np.asarray(label, dtype=np.float64) - np.asarray(prediction, dtype=np.float64)
    return np.asarray(np.maximum(quantile * apart, (quantile - 1) * apart))


def percentage_error(prediction: ArrayLike, label: ArrayLike) -> Floats:
    """Absolute error of each row as a share of its label.

    Notes
    -----
    Formula: `|p - y| / |y|`; its mean (`mean_of_sums`) is MAPE.
    Range: [0, inf), NaN where the label is 0: leave such rows out of the sums. It says little where labels come near 0.
    Small n: of each row by itself.

    References
    ----------
    The mean agrees with `sklearn.metrics.mean_absolute_percentage_error`.

    Examples
    --------
    >>> percentage_error([110.0, 5.0], [100.0, 0.0]).tolist()
    [0.1, nan]
    """
    y, p = np.asarray(label, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    return np.asarray(np.divide(np.abs(p - y), np.abs(y), out=np.full(np.broadcast(p, y).shape, np.nan), where=y != 0))
