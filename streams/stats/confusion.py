"""Accuracy, precision, recall and F1 from a confusion table: how many rows have each pair of predicted and actual class."""

from __future__ import annotations

from collections.abc import Mapping

from driftline.streams.stats.estimate import UNKNOWN, Estimate, share

#: Rows by (predicted, actual).
Confusion = Mapping[tuple[str, str], int]


def accuracy(confusion: Confusion, confidence: float = 0.95) -> Estimate:
    """Share of rows whose predicted class is the actual one, with Wilson's interval.

    Notes
    -----
    Formula: `rows on the diagonal / n`.
    Range: [0, 1].
    Small n: no rows: UNKNOWN. Wilson's interval holds its confidence from a handful of rows on.

    References
    ----------
    Agrees with `sklearn.metrics.accuracy_score`.

    Examples
    --------
    >>> tuple(round(part, 3) for part in accuracy({("1", "1"): 8, ("1", "0"): 2}))
    (0.8, 0.49, 0.943)
    """
    right = sum(n for (predicted, actual), n in confusion.items() if predicted == actual)
    return share(right, sum(confusion.values()), confidence)


def precision(confusion: Confusion, positive: str, confidence: float = 0.95) -> Estimate:
    """Share of the rows predicted `positive` that are, with Wilson's interval.

    Notes
    -----
    Formula: `TP / (TP + FP)`.
    Range: [0, 1].
    Small n: UNKNOWN when nothing was predicted positive (scikit-learn: 0 and a warning). Wilson's interval holds its confidence from a
    handful of rows on.

    References
    ----------
    Agrees with `sklearn.metrics.precision_score`.

    Examples
    --------
    >>> precision({("1", "1"): 8, ("1", "0"): 2, ("0", "1"): 5}, "1").value
    0.8
    """
    hits, false_alarms, _ = _outcomes(confusion, positive)
    return share(hits, hits + false_alarms, confidence)


def recall(confusion: Confusion, positive: str, confidence: float = 0.95) -> Estimate:
    """Share of the rows that are `positive` that were predicted so, with Wilson's interval.

    Notes
    -----
    Formula: `TP / (TP + FN)`.
    Range: [0, 1].
    Small n: UNKNOWN when there are no positives. Wilson's interval holds its confidence from a handful of rows on.

    References
    ----------
    Agrees with `sklearn.metrics.recall_score`.

    Examples
    --------
    >>> recall({("1", "1"): 8, ("1", "0"): 5, ("0", "1"): 2}, "1").value
    0.8
    """
    hits, _, misses = _outcomes(confusion, positive)
    return share(hits, hits + misses, confidence)


def f1(confusion: Confusion, positive: str, confidence: float = 0.95) -> Estimate:
    """Harmonic mean of precision and recall of one class.

    Notes
    -----
    Formula: `2 TP / (2 TP + FP + FN)`.
    Range: [0, 1].
    Small n: UNKNOWN when the class is neither predicted nor present. The interval comes from the Jaccard index `J = TP / (TP + FP + FN)`, a
    share with Wilson's interval, as `F1 = 2 J / (1 + J)`.

    References
    ----------
    van Rijsbergen, Information Retrieval (1979); agrees with `sklearn.metrics.f1_score`.

    Examples
    --------
    >>> tuple(round(part, 3) for part in f1({("1", "1"): 8, ("1", "0"): 2, ("0", "1"): 2}, "1"))
    (0.8, 0.562, 0.926)
    """
    hits, false_alarms, misses = _outcomes(confusion, positive)
    jaccard = share(hits, hits + false_alarms + misses, confidence)
    return UNKNOWN if jaccard is UNKNOWN else Estimate(*(2 * j / (1 + j) for j in jaccard))


def _outcomes(confusion: Confusion, positive: str) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    hits = confusion.get((positive, positive), 0)
    predicted = sum(n for (name, _), n in confusion.items() if name == positive)
    actual = sum(n for (_, name), n in confusion.items() if name == positive)
    return hits, predicted - hits, actual - hits
