"""Multiclass figures: precision, recall and F1 averaged over classes, Matthews' correlation, Cohen's kappa, cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.confusion import Confusion
from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import UNKNOWN, Estimate, mean_of_sums, resampled

Average = Literal["macro", "micro", "weighted"]
Table = NDArray[np.int64]


def averaged(confusion: Confusion, metric: Literal["precision", "recall", "f1", "specificity"], average: Average = "macro") -> Estimate:
    """A metric averaged over the classes that are predicted or present.

    Parameters
    ----------
    confusion
        Rows by (predicted, actual).
    average
        "macro": every class counts the same; "weighted": as much as it is present; "micro": over all rows, which is the accuracy.

    Notes
    -----
    Formula: `sum(w * metric(class))` with weights `w` of the classes that sum to 1.
    Range: [0, 1]; a class that is never predicted has precision 0, one never present has recall 0, as in scikit-learn with
    `zero_division=0`. Specificity is the recall of what is not of the class.
    Small n: no rows: UNKNOWN. Interval by `resampled`, meant for 30 rows and more.

    References
    ----------
    Agrees with `sklearn.metrics.precision_recall_fscore_support`.

    Examples
    --------
    >>> averaged({("a", "a"): 8, ("b", "a"): 2, ("b", "b"): 10}, "recall").value
    0.9
    """

    def figure(tables: Table) -> Floats:
        right, predicted, actual = np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(-1), tables.sum(-2)
        if average == "micro":
            return np.asarray(right.sum(-1) / actual.sum(-1))
        others = actual.sum(-1, keepdims=True) - actual
        base = {"precision": predicted, "recall": actual, "f1": (predicted + actual) / 2, "specificity": others}[metric]
        hits = right if metric != "specificity" else others - (predicted - right)  # of the rows of other classes
        each = np.divide(hits, base, out=np.zeros(base.shape), where=base > 0)
        weights = actual if average == "weighted" else (predicted + actual) > 0
        return np.asarray((each * weights).sum(-1) / weights.sum(-1))

    return _of_table(confusion, figure, at_once=True)


def mcc(confusion: Confusion) -> Estimate:
    """Matthews' correlation of predicted and actual class, for any number of classes.

    Notes
    -----
    Formula: `cov(predicted, actual) / sqrt(var(predicted) * var(actual))` over indicators of the classes.
    Range: [-1, 1]; 0 for guessing, also where one side names a single class.
    Small n: no rows: UNKNOWN. Interval by `resampled`, meant for 30 rows and more.

    References
    ----------
    Matthews, Biochim. Biophys. Acta 405 (1975); Gorodkin, Comput. Biol. Chem. 28 (2004); agrees with `sklearn.metrics.matthews_corrcoef`.

    Examples
    --------
    >>> round(mcc({("1", "1"): 40, ("1", "0"): 10, ("0", "1"): 20, ("0", "0"): 30}).value, 3)
    0.408
    """

    def figure(table: Table) -> float:
        n, predicted, actual = float(table.sum()), table.sum(axis=1).astype(float), table.sum(axis=0).astype(float)
        spread = (n * n - predicted @ predicted) * (n * n - actual @ actual)
        return float((n * np.trace(table) - predicted @ actual) / math.sqrt(spread)) if spread > 0 else 0.0

    return _of_table(confusion, figure)


def kappa(confusion: Confusion) -> Estimate:
    """Cohen's kappa: agreement of predicted and actual class beyond what their frequencies alone would give.

    Notes
    -----
    Formula: `(p_observed - p_chance) / (1 - p_chance)`, with `p_chance = sum(p_predicted * p_actual)` over classes.
    Range: [-1, 1]; 1 for perfect agreement, 0 for chance.
    Small n: UNKNOWN where both name a single class. Interval by `resampled`, meant for 30 rows and more.

    References
    ----------
    Cohen, Educ. Psychol. Meas. 20 (1960); agrees with `sklearn.metrics.cohen_kappa_score`.

    Examples
    --------
    >>> round(kappa({("1", "1"): 40, ("1", "0"): 10, ("0", "1"): 20, ("0", "0"): 30}).value, 3)
    0.4
    """

    def figure(table: Table) -> float:
        n = table.sum()
        by_chance = float(table.sum(axis=1) @ table.sum(axis=0)) / float(n) ** 2
        return float((np.trace(table) / n - by_chance) / (1 - by_chance)) if by_chance < 1 else math.nan

    return _of_table(confusion, figure)


def mean_cost(confusion: Confusion, costs: Mapping[tuple[str, str], float], default: float = 0.0) -> Estimate:
    """Mean cost of a row, when each pair of predicted and actual class has a price of its own.

    Parameters
    ----------
    costs
        By (predicted, actual), in any unit; gains are negative. Pairs not named cost `default`.

    Notes
    -----
    Formula: `sum(rows * cost) / n` over pairs of predicted and actual class.
    Range: (-inf, inf), in the unit of the costs.
    Small n: no rows: UNKNOWN; one row: an interval without bounds. The normal interval, meant for 30 rows and more.

    References
    ----------
    Elkan, The foundations of cost-sensitive learning, IJCAI 2001.

    Examples
    --------
    >>> round(mean_cost({("1", "1"): 90, ("0", "1"): 10}, {("0", "1"): 50.0}).value, 3)  # a miss costs 50
    5.0
    """
    priced = [(n, costs.get(pair, default)) for pair, n in confusion.items()]
    return mean_of_sums(sum(n for n, _ in priced), sum(n * cost for n, cost in priced), sum(n * cost * cost for n, cost in priced))


def _of_table(confusion: Confusion, figure: Callable[[Table], ArrayLike], *, at_once: bool = False) -> Estimate:
    classes = {name: i for i, name in enumerate(sorted({name for pair in confusion for name in pair}))}
    if not classes:
        return UNKNOWN
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for (predicted, actual), n in confusion.items():
        table[classes[predicted], classes[actual]] += n
    return resampled(figure, table, at_once=at_once)
