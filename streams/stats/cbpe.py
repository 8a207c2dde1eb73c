"""Performance without labels: what calibrated scores say of their own errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import UNKNOWN, Estimate, normal_score
from driftline.streams.stats.score_calibration import ScoreCalibration


class ExpectedConfusion(NamedTuple):
    """Expected rows of each kind, with the variance their labels would still add."""

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float
    positive_variance: float
    negative_variance: float

    @property
    def n(self) -> float:
        """All rows."""
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative


def expected_confusion(calibration: ScoreCalibration, predicted_negative: ArrayLike, predicted_positive: ArrayLike) -> ExpectedConfusion:
    """What the confusion of a window would be on average over its unknown labels.

    Parameters
    ----------
    calibration
        From labelled rows of the reference.
    predicted_negative, predicted_positive
        All rows of the window by score, shape (bins,), apart by the class that was predicted: the threshold need not be known.

    Notes
    -----
    Formula: `sum(n_bin * chance_bin)` over the bins of each predicted class; the variance is `sum(n_bin * chance_bin * (1 - chance_bin))`.
    Range: [0, rows] for each kind.
    Small n: a window of no rows gives zeros; the variance tells what few rows leave open, not the calibration's own error.

    References
    ----------
    Confidence-based performance estimation (CBPE) as in NannyML. It is right as long as the chance of a positive at a given score is what
    it was: under covariate shift, not under concept drift. The gap to the realised figure is then itself a finding.

    Examples
    --------
    >>> calibration = ScoreCalibration((0.1, 0.9))
    >>> [round(rows, 3) for rows in expected_confusion(calibration, [80, 0], [0, 20])[:4]]
    [18.0, 2.0, 8.0, 72.0]
    """
    chance, against, unsure = calibration.known
    low, high = np.asarray(predicted_negative, dtype=np.float64), np.asarray(predicted_positive, dtype=np.float64)
    return ExpectedConfusion(
        float(high @ chance), float(high @ against), float(low @ chance), float(low @ against),
        float(high @ unsure), float(low @ unsure),
    )  # fmt: skip


def estimated(expected: ExpectedConfusion, figure: Callable[[float, float, float, float], float], confidence: float = 0.95) -> Estimate:
    """A figure of (true positives, false positives, false negatives, true negatives), estimated without labels.

    Notes
    -----
    Formula: `figure(TP, FP, FN, TN)` of expected rows, with the delta method over both kinds of predictions.
    Range: that of the figure.
    Small n: UNKNOWN where the figure is. The interval is the spread that the unknown labels leave, too short where the calibration was
    learned from few rows.

    References
    ----------
    As `expected_confusion`.

    Examples
    --------
    >>> round(estimated(ExpectedConfusion(18.0, 2.0, 8.0, 72.0, 1.8, 7.2), accuracy_of).value, 3)
    0.9
    """
    if expected.n == 0:
        return UNKNOWN
    tp, fp, fn, tn = expected[:4]
    value = figure(tp, fp, fn, tn)
    if math.isnan(value):
        return UNKNOWN
    # One more positive among the predicted positives turns a false positive into a true one, and so for the negatives.
    step = 0.5 * min(1.0, max(1e-6, min(tp, fp, fn, tn)))
    by_positive = (figure(tp + step, fp - step, fn, tn) - figure(tp - step, fp + step, fn, tn)) / (2 * step)
    by_negative = (figure(tp, fp, fn + step, tn - step) - figure(tp, fp, fn - step, tn + step)) / (2 * step)
    half = normal_score(confidence) * math.sqrt(by_positive**2 * expected.positive_variance + by_negative**2 * expected.negative_variance)
    half = half if math.isfinite(half) else 0.0
    return Estimate(value, value - half, value + half)


def ratios_estimated(cells: Floats, variances: Floats, above: Floats, below: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """`estimated` of many windows and figures at once: values, and the halves of their intervals, shape (windows, figures).

    Parameters
    ----------
    cells, variances
        Fields of `ExpectedConfusion`: the first four, shape (windows, 4), and the last two, shape (windows, 2).
    above, below
        Of each figure what is above and below the line, by the four cells; shape (figures, 4).

    >>> told = ratios_estimated(np.array([[18.0, 2, 8, 72]]), np.array([[1.8, 7.2]]), np.array([[1.0, 0, 0, 1]]), np.ones((1, 4)))
    >>> [each.round(3).tolist() for each in told]
    [[[0.9]], [[0.059]]]
    """
    weights = np.concatenate([above, below])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step = 0.5 * np.minimum(np.maximum(cells.min(-1), 1e-6), 1.0)
        rows = (cells + step[:, None] * _TURNED[:, None]).reshape(-1, 1, 4)
        # Added up window by window: a product of matrices is another one in other company.
        told = (rows * weights).sum(-1).reshape(len(_TURNED), len(cells), 2, len(above))
        value, more, less, true, false = told[:, :, 0] / np.where(told[:, :, 1] > 0, told[:, :, 1], np.nan)
        by_positive, by_negative = (more - less) / (2 * step[:, None]), (true - false) / (2 * step[:, None])
        half = normal_score(confidence) * np.sqrt(by_positive**2 * variances[:, :1] + by_negative**2 * variances[:, 1:])
    return value, np.where(np.isfinite(half), half, 0.0)


#: The cells as they are. Then one more positive among the predicted positives, which turns a false positive into a true one, and one fewer;
#: and so for the negatives.
_TURNED = np.array([[0.0, 0, 0, 0], [1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]])


def accuracy_of(tp: float, fp: float, fn: float, tn: float) -> float:
    """Share of right predictions."""
    return (tp + tn) / (tp + fp + fn + tn)


def precision_of(tp: float, fp: float, fn: float, tn: float) -> float:
    """Share of predicted positives that are; NaN without any."""
    return tp / (tp + fp) if tp + fp > 0 else math.nan


def recall_of(tp: float, fp: float, fn: float, tn: float) -> float:
    """Share of positives that are predicted; NaN without any."""
    return tp / (tp + fn) if tp + fn > 0 else math.nan


def specificity_of(tp: float, fp: float, fn: float, tn: float) -> float:
    """Share of negatives that are predicted; NaN without any."""
    return tn / (tn + fp) if tn + fp > 0 else math.nan


def f1_of(tp: float, fp: float, fn: float, tn: float) -> float:
    """Harmonic mean of precision and recall; NaN where nothing is positive."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn > 0 else math.nan


def expected_classes(calibration: ScoreCalibration, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Expected rows of the negative and of the positive class by score: what `auc_from_scores` and `brier` take, without labels.

    Notes
    -----
    Formula: `n_bin * (1 - chance_bin)` and `n_bin * chance_bin`.
    Range: [0, rows] for each bin.
    Small n: linear in the rows, so right on average at any size.

    References
    ----------
    As `expected_confusion`.

    Examples
    --------
    >>> [each.tolist() for each in expected_classes(ScoreCalibration((0.25, 0.75)), [40, 80])]
    [[30.0, 20.0], [10.0, 60.0]]
    """
    rows, (chance, against, _) = np.asarray(scores, dtype=np.float64), calibration.known
    return rows * against, rows * chance


def estimated_accuracy(calibration: ScoreCalibration, confidences: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Accuracy of any number of classes, from the histogram of the predicted class's score.

    `calibration` is fitted on "the prediction was wrong" and "was right" by that score: the multiclass form of the estimate.

    Notes
    -----
    Formula: `sum(n_bin * chance_bin) / n` with the chance of being right.
    Range: [0, 1]; the interval of few rows may reach beyond.
    Small n: no rows: UNKNOWN. The interval is the spread that the unknown labels leave.

    References
    ----------
    As `expected_confusion`; the multiclass form.

    Examples
    --------
    >>> round(estimated_accuracy(ScoreCalibration((0.4, 0.8)), [10, 30]).value, 3)
    0.7
    """
    rows, chance = np.asarray(confidences, dtype=np.float64), calibration.chances()
    n = float(rows.sum())
    if n == 0:
        return UNKNOWN
    value, half = float(rows @ chance) / n, normal_score(confidence) * math.sqrt(float(rows @ (chance * (1 - chance)))) / n
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))
