"""Area under the ROC curve from score histograms of the two classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.estimate import wilson


class Auc(NamedTuple):
    """The area, how far the exact one may lie from it because scores share bins, and its confidence interval."""

    value: float
    bound: float
    lower: float
    upper: float


def auc_from_scores(negative: ArrayLike, positive: ArrayLike, confidence: float = 0.95) -> Auc:
    """Probability that a positive row has the higher score, ties counting half.

    Parameters
    ----------
    negative, positive
        Counts of the rows of each class by score, shape (bins,), bins in ascending order of the score.

    Notes
    -----
    Formula: `(wins + ties / 2) / (n_negative * n_positive)`, over pairs of a negative and a positive row.
    Range: [0, 1]; the area of the unbinned scores is within `value ± bound`, and equal to it when every distinct score has its own bin.
    Small n: all NaN without rows of both classes. The interval is about the sampling error alone: DeLong's variance, as Wilson's interval
    of a share known from as many rows as would have that variance (the rarer class's number when it is 0).

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); agrees with `sklearn.metrics.roc_auc_score` on the binned scores.

    Examples
    --------
    >>> result = auc_from_scores([60, 30, 10], [10, 30, 60])
    >>> round(result.value, 3), round(result.bound, 3), round(result.lower, 3), round(result.upper, 3)
    (0.825, 0.105, 0.764, 0.873)
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    n, m = float(low.sum()), float(high.sum())
    if n == 0 or m == 0:
        return Auc(np.nan, np.nan, np.nan, np.nan)
    # For a row in each bin: the share of the other class that it is ranked right against.
    placed_high = (np.cumsum(low) - low / 2) / n
    placed_low = 1 - (np.cumsum(high) - high / 2) / m
    value = float(high @ placed_high / m)
    variance = float(high @ (placed_high - value) ** 2 / m**2 + low @ (placed_low - value) ** 2 / n**2)
    effective = value * (1 - value) / variance if variance > 0 and 0 < value < 1 else min(n, m)
    return Auc(value, float(low @ high / (2 * n * m)), *wilson(value * effective, effective, confidence))
