"""What the top of the scores holds: average precision and lift, from score histograms of the two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import Estimate, resampled


def average_precision(negative: ArrayLike, positive: ArrayLike) -> Estimate:
    """Average precision, the area under precision over recall, from the highest score down.

    Notes
    -----
    Formula: `sum((recall_i - recall_(i-1)) * precision_i)` from the highest score down; ties share a step.
    Range: [0, 1]; the share of positives for guessing.
    Small n: UNKNOWN without positives; too high on average with few of them. Interval by `resampled`.

    References
    ----------
    Agrees with `sklearn.metrics.average_precision_score` on the binned scores.

    Examples
    --------
    >>> round(average_precision([8, 2], [2, 8]).value, 3)
    0.74
    """

    def figure(tables: NDArray[np.int64]) -> Floats:
        low, high = tables[:, 0, ::-1], tables[:, 1, ::-1]
        found = high.cumsum(-1)
        taken = found + low.cumsum(-1)
        precision = np.divide(found, taken, out=np.zeros(found.shape), where=taken > 0)
        with np.errstate(invalid="ignore"):
            return np.asarray((high * precision).sum(-1) / found[:, -1])

    table = np.stack([np.asarray(negative, np.int64), np.asarray(positive, np.int64)])
    there = table.any(0)  # scores that no row has take no part
    return resampled(figure, table[:, there] if there.any() else table, at_once=True)


def lift(negative: ArrayLike, positive: ArrayLike, share: float = 0.1) -> float:
    """How many times more positives the top `share` of the scores holds than a random choice would.

    Notes
    -----
    Formula: `positives in the top / (share * positives)`; ties at its end count in part.
    Range: [0, 1 / share]; 1 for guessing.
    Small n: NaN without positives; with few positives it takes few values.

    References
    ----------
    Ling and Li, Data mining for direct marketing, KDD 1998.

    Examples
    --------
    >>> lift([90, 0], [0, 10], share=0.1)
    10.0
    """
    low, high = np.asarray(negative, dtype=np.float64)[::-1], np.asarray(positive, dtype=np.float64)[::-1]
    n, ones = float((low + high).sum()), float(high.sum())
    if ones == 0:
        return float("nan")
    found = np.interp(share * n, np.concatenate([[0.0], np.cumsum(low + high)]), np.concatenate([[0.0], np.cumsum(high)]))
    return float(found / ones / share)
