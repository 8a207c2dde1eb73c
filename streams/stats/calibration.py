"""Whether a score means what it says: reliability, calibration error, Brier score and log loss from score histograms."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import UNKNOWN, Estimate, means_of_sums, resampled


class Brier(NamedTuple):
    """The Brier score with its interval, and its parts: `score = reliability - resolution + uncertainty`, exact for the binned scores."""

    score: Estimate
    reliability: float
    resolution: float
    uncertainty: float


class _Powers(NamedTuple):
    """Of the score that each bin stands for what the losses need: the loss and its square, of rows of either class."""

    squares: Floats
    squares_of_rest: Floats
    fourths: Floats
    fourths_of_rest: Floats
    if_low: Floats
    if_high: Floats
    if_low_squared: Floats
    if_high_squared: Floats


@lru_cache(maxsize=64)
def _powers(bins: int) -> _Powers:
    at = score_positions(bins)
    if_low, if_high = -np.log1p(-at), -np.log(at)
    return _Powers(at**2, (1 - at) ** 2, at**4, (1 - at) ** 4, if_low, if_high, if_low**2, if_high**2)


def score_positions(bins: int) -> Floats:
    """The score each of `bins` equal bins on [0, 1] stands for: its middle.

    >>> score_positions(4).tolist()
    [0.125, 0.375, 0.625, 0.875]
    """
    return np.asarray((np.arange(bins) + 0.5) / bins)


def reliability(negative: ArrayLike, positive: ArrayLike, groups: int = 10) -> tuple[Floats, Floats, Floats]:
    """Mean score, share of positives and rows in each of `groups` equal ranges of the score; NaN where a range has no rows.

    Parameters
    ----------
    negative, positive
        Rows of each class by score, equal bins on [0, 1], shape (bins,); `groups` divides the bins.

    Notes
    -----
    Formula: `sum(n * score) / sum(n)` and `sum(positive) / sum(n)` over the bins of each range.
    Range: [0, 1] for scores and shares.
    Small n: NaN where a range has no rows; the share of a range of few rows is a coarse one.

    References
    ----------
    Murphy and Winkler, Appl. Statist. 26 (1977); agrees with `sklearn.calibration.calibration_curve`.

    Examples
    --------
    >>> scores, shares, rows = reliability([8, 2], [2, 8], groups=2)
    >>> scores.tolist(), shares.tolist(), rows.tolist()
    ([0.25, 0.75], [0.2, 0.8], [10.0, 10.0])
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    group = (score_positions(low.size) * groups).astype(np.intp)
    rows, ones, sums = (np.bincount(group, each, groups) for each in (low + high, high, (low + high) * score_positions(low.size)))
    with np.errstate(invalid="ignore"):
        return sums / rows, ones / rows, rows.astype(np.float64)


def ece(negative: ArrayLike, positive: ArrayLike, groups: int = 10) -> Estimate:
    """Expected calibration error: mean distance of score and share of positives over equal ranges of the score, weighted by rows.

    Notes
    -----
    Formula: `sum(n_group / n * |mean score - share of positives|)` over equal ranges of the score.
    Range: [0, 1]; off by at most half a bin from the binning (0.002 with 256).
    Small n: no rows: UNKNOWN. Never 0 for a finite sample: a calibrated model has about `sqrt(groups / (8 n))`. Interval by `resampled`.

    References
    ----------
    Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.

    Examples
    --------
    >>> round(ece([8, 2], [2, 8], groups=2).value, 3)
    0.05
    """

    def figure(table: Floats) -> float:
        score, share, rows = reliability(table[0], table[1], groups)
        return float(np.nansum(rows * np.abs(score - share)) / rows.sum())

    return resampled(figure, np.stack([np.asarray(negative), np.asarray(positive)]))  # type: ignore[arg-type]


def brier(negative: ArrayLike, positive: ArrayLike) -> Brier:
    """Brier score, the mean squared distance of score and outcome, and Murphy's parts of it.

    Notes
    -----
    Formula: `sum((score - outcome)**2) / n = reliability - resolution + uncertainty`.
    Range: [0, 1], 0.25 for always 0.5; off by at most one bin's width from the binning. Reliability 0 is perfect calibration; more
    resolution is better; uncertainty is the outcomes' own variance.
    Small n: no rows: UNKNOWN and NaN. The normal interval, meant for 30 rows and more; reliability and resolution of few rows are both too
    large.

    References
    ----------
    Brier, Mon. Weather Rev. 78 (1950); Murphy, J. Appl. Meteorol. 12 (1973); agrees with `sklearn.metrics.brier_score_loss`.

    Examples
    --------
    >>> result = brier([8, 2], [2, 8])
    >>> round(result.score.value, 4), round(result.reliability - result.resolution + result.uncertainty, 4)
    (0.1625, 0.1625)
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    at, rows = score_positions(low.size), low + high
    n = rows.sum()
    if n == 0:
        return Brier(UNKNOWN, np.nan, np.nan, np.nan)
    share, base = np.divide(high, rows, out=np.zeros_like(rows), where=rows > 0), float(high.sum() / n)
    return Brier(brier_score(low, high), float(rows @ (at - share) ** 2 / n), float(rows @ (share - base) ** 2 / n), base * (1 - base))


def brier_score(negative: ArrayLike, positive: ArrayLike) -> Estimate:
    """The score of `brier`, without its parts.

    >>> round(brier_score([8, 2], [2, 8]).value, 4)
    0.1625
    """
    return brier_scores(np.asarray(negative)[None], np.asarray(positive)[None])[0]


def brier_scores(negative: ArrayLike, positive: ArrayLike) -> list[Estimate]:
    """`brier_score` of many windows at once, shapes (windows, bins).

    >>> [round(score.value, 4) for score in brier_scores([[8, 2], [5, 5]], [[2, 8], [5, 5]])]
    [0.1625, 0.3125]
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    loss = _powers(low.shape[1])
    return _mean_losses(low, high, (loss.squares, loss.squares_of_rest), (loss.fourths, loss.fourths_of_rest))


def log_loss(negative: ArrayLike, positive: ArrayLike) -> Estimate:
    """Mean of -log of the probability that the score gave the outcome, in nats.

    Notes
    -----
    Formula: `-sum(log(p)) / n` with p the score's probability of the outcome, in nats.
    Range: [0, inf), 0.693 for always 0.5. Scores count as the middle of their bin, so nothing is surer than half a bin (6.2 nats at most
    with 256); for scores that stay away from 0 and 1 by ten bins it is within 0.5 % of the raw scores'.
    Small n: no rows: UNKNOWN. The normal interval, meant for 30 rows and more.

    References
    ----------
    Good, J. R. Statist. Soc. B 14 (1952); agrees with `sklearn.metrics.log_loss` on the binned scores.

    Examples
    --------
    >>> round(log_loss([8, 2], [2, 8]).value, 4)
    0.5074
    """
    return log_losses(np.asarray(negative)[None], np.asarray(positive)[None])[0]


def log_losses(negative: ArrayLike, positive: ArrayLike) -> list[Estimate]:
    """`log_loss` of many windows at once, shapes (windows, bins).

    >>> [round(loss.value, 4) for loss in log_losses([[8, 2], [5, 5]], [[2, 8], [5, 5]])]
    [0.5074, 0.837]
    """
    low, high = np.asarray(negative, dtype=np.float64), np.asarray(positive, dtype=np.float64)
    loss = _powers(low.shape[1])
    return _mean_losses(low, high, (loss.if_low, loss.if_high), (loss.if_low_squared, loss.if_high_squared))


def _mean_losses(low: Floats, high: Floats, loss: tuple[Floats, Floats], squared: tuple[Floats, Floats]) -> list[Estimate]:
    """Means over the rows of both classes of what they lose by score."""
    total, squares = ((low * of_low).sum(-1) + (high * of_high).sum(-1) for of_low, of_high in (loss, squared))
    return means_of_sums(np.floor((low + high).sum(-1)), total, squares)
