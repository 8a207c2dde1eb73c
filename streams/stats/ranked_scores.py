"""What the top of the scores holds: average precision and lift, from score histograms of the two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import Estimate, resampled


def average_precision(negative: ArrayLike, positive: ArrayLike) -> Estimate:
    """Average precision, the area under precision over recall, from the highest score down; ties share a step.

    In [0, 1]; the share of positives for guessing. UNKNOWN without positives. Interval by `resampled`.

    References
    ----------
    Agrees with `sklearn.metrics.average_precision_score` on the binned scores.

    >>> round(average_precision([8, 2], [2, 8]).value, 3)
    0.74
    """

    def figure(table: Floats) -> float:
        found = np.cumsum(table[1][::-1])
        taken = found + np.cumsum(table[0][::-1])
        if found[-1] == 0:
            return float("nan")
        precision = np.divide(found, taken, out=np.zeros(found.size), where=taken > 0)
        return float(table[1][::-1] @ precision / found[-1])

    return resampled(figure, np.stack([np.asarray(negative), np.asarray(positive)]))  # type: ignore[arg-type]


def lift(negative: ArrayLike, positive: ArrayLike, share: float = 0.1) -> float:
    """How many times more positives the top `share` of the scores holds than a random choice would; ties at its end count in part.

    From 0 to 1 / share; 1 for guessing. NaN without positives.

    >>> lift([90, 0], [0, 10], share=0.1)
    10.0
    """
    low, high = np.asarray(negative, dtype=np.float64)[::-1], np.asarray(positive, dtype=np.float64)[::-1]
    n, ones = float((low + high).sum()), float(high.sum())
    if ones == 0:
        return float("nan")
    found = np.interp(share * n, np.concatenate([[0.0], np.cumsum(low + high)]), np.concatenate([[0.0], np.cumsum(high)]))
    return float(found / ones / share)
