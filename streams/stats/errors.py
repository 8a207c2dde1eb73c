"""Mean absolute and root mean squared error from sums that merge."""

from __future__ import annotations

import math

from scipy.special import chdtri

from driftline.streams.stats.estimate import UNKNOWN, Estimate, normal_score


def mae(n: int, sum_abs: float, sum_sq: float, confidence: float = 0.95) -> Estimate:
    """Mean absolute error of `n` rows from the sums of |e| and e².

    The interval is the normal one, mean ± z · s / √n with s² = (Σe² − (Σ|e|)² / n) / (n − 1), not below 0. It is meant for 30 rows
    and more; one row gives (0, inf). In the units of the target.

    >>> tuple(round(part, 3) for part in mae(100, 80.0, 100.0))
    (0.8, 0.682, 0.918)
    """
    if n <= 0:
        return UNKNOWN
    mean = sum_abs / n
    if n == 1:
        return Estimate(mean, 0.0, math.inf)
    variance = max(0.0, sum_sq - sum_abs * mean) / (n - 1)
    half = normal_score(confidence) * math.sqrt(variance / n)
    return Estimate(mean, max(0.0, mean - half), mean + half)


def rmse(n: int, sum_sq: float, confidence: float = 0.95) -> Estimate:
    """Root mean squared error of `n` rows from the sum of e².

    The interval is √(Σe² / χ²) at both quantiles of the chi-square with n degrees of freedom: exact for normal errors around 0,
    too short for heavier tails. In the units of the target.

    >>> tuple(round(part, 3) for part in rmse(100, 100.0))
    (1.0, 0.879, 1.161)
    """
    if n <= 0:
        return UNKNOWN
    tail = (1 - confidence) / 2
    return Estimate(math.sqrt(sum_sq / n), math.sqrt(sum_sq / chdtri(n, tail)), math.sqrt(sum_sq / chdtri(n, 1 - tail)))
