"""When did it begin: the place where a run of batches is best cut into two levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from driftline.streams.stats.detector import Batch, Signal, signal_between


class ChangePoint(NamedTuple):
    """Batches `at` and later are after the change; it began in `earliest … latest` with the confidence asked for."""

    at: int
    earliest: int
    latest: int
    signal: Signal


def change_point(batches: Sequence[tuple[int, float, float]], confidence: float = 0.95) -> ChangePoint | None:
    """The most probable beginning of a change of the mean, from batches `(n, total, m2)` in order.

    Detectors say that a level changed, and soon; their own idea of when is rough. Given the panes up to the signal, this compares every
    cut into two levels by the likelihood of normal values with one variance, as Hinkley's estimate does.

    Parameters
    ----------
    batches
        The panes of the time in question; those without values are skipped but keep their place in the count.
    confidence
        Of the interval: the smallest run of cuts around the best that holds this share of the posterior, all cuts being equally likely
        at first.

    Returns
    -------
    ChangePoint or None
        The cut and the interval around it.

    Notes
    -----
    Formula: `likelihood(at) ∝ (within(at) / total)**(-n / 2)`, the sum of squares around two levels against that around one, over all cuts.
    Range: [1, batches) for the cut.
    Small n: None with fewer than two batches with values. Where nothing changed there is an answer all the same, with a wide interval.

    References
    ----------
    Hinkley, Inference about the change-point in a sequence of random variables, Biometrika 57 (1970).

    Examples
    --------
    >>> panes = [(100, 10, 9.0), (100, 12, 10.6), (100, 9, 8.2), (100, 30, 21.0), (100, 28, 20.2)]
    >>> found = change_point(panes)
    >>> found.at, found.earliest, found.latest, found.signal.direction
    (3, 3, 3, 'up')
    """
    table = np.array(batches, dtype=np.float64).reshape(-1, 3)
    places = np.flatnonzero(table[:, 0] > 0)
    if places.size < 2:
        return None
    n, total, m2 = table[places].T
    n_old, total_old = np.cumsum(n)[:-1], np.cumsum(total)[:-1]
    n_all, total_all = n.sum(), total.sum()
    n_new, total_new = n_all - n_old, total_all - total_old
    between = n_old * n_new / n_all * (total_old / n_old - total_new / n_new) ** 2
    around = m2.sum() + (n * (total / n - total_all / n_all) ** 2).sum()
    # What one level leaves unexplained, less what the cut explains.
    unexplained = np.maximum(around - between, 1e-12 * max(around, 1e-300))
    log_likelihood = -n_all / 2 * np.log(unexplained)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    best = int(posterior.argmax())
    low, high = _credible(posterior / posterior.sum(), best, confidence)
    signal = signal_between((int(n_old[best]), total_old[best] / n_old[best]), (int(n_new[best]), total_new[best] / n_new[best]))
    return ChangePoint(int(places[best + 1]), int(places[low + 1]), int(places[high + 1]), signal)


def _credible(posterior: np.ndarray[tuple[int], np.dtype[np.float64]], best: int, confidence: float) -> tuple[int, int]:
    """The run around the best, grown on its more probable side until it holds enough."""
    low = high = best
    while posterior[low : high + 1].sum() < confidence and (low > 0 or high < posterior.size - 1):
        if high == posterior.size - 1 or (low > 0 and posterior[low - 1] >= posterior[high + 1]):
            low -= 1
        else:
            high += 1
    return low, high


def batches_of(values: Sequence[float], size: int) -> list[Batch]:
    """Values cut into batches of `size`, in order.

    >>> batches_of([1.0, 3.0, 5.0], 2)
    [Batch(n=2, total=4.0, m2=2.0), Batch(n=1, total=5.0, m2=0.0)]
    """
    return [Batch.of(values[i : i + size]) for i in range(0, len(values), size)]
