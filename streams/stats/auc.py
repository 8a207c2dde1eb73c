"""Area under the ROC curve from score histograms of the two classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import wilsons


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
    value, bound, lower, upper = (float(each[0]) for each in aucs(np.asarray(negative)[None], np.asarray(positive)[None], confidence))
    return Auc(value, bound, lower, upper)


def aucs(negative: ArrayLike, positive: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats, Floats, Floats]:
    """The fields of `auc_from_scores` of many windows at once: shapes (windows, bins), and (windows,) for each field.

    >>> [each.round(3).tolist() for each in aucs([[60, 30, 10], [1, 0, 0]], [[10, 30, 60], [0, 0, 0]])]
    [[0.825, nan], [0.105, nan], [0.764, nan], [0.873, nan]]
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    n, m = low.sum(-1), high.sum(-1)
    n, m = np.where((n > 0) & (m > 0), n, np.nan), np.where((n > 0) & (m > 0), m, np.nan)
    # For a row in each bin: the share of the other class that it is ranked right against.
    placed_high = (np.cumsum(low, -1) - low / 2) / n[:, None]
    placed_low = 1 - (np.cumsum(high, -1) - high / 2) / m[:, None]
    value = (high * placed_high).sum(-1) / m
    spread = [(rows * np.square(placed - value[:, None])).sum(-1) for rows, placed in ((high, placed_high), (low, placed_low))]
    variance = spread[0] / m**2 + spread[1] / n**2
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where((variance > 0) & (value > 0) & (value < 1), value * (1 - value) / variance, np.minimum(n, m))
    return value, (low * high).sum(-1) / (2 * n * m), *wilsons(value * effective, effective, confidence)
