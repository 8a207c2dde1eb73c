"""What kind of change it is: a data fault, covariate drift, prior shift or concept drift. Pure.

Two things are compared with the reference at once, the score s and the label y of the labelled rows, by what stays the same:

    nothing changed     P(s, y) is that of the reference
    covariate drift     P(y | s) is, P(s) is not            other rows come; an answer is worth what it was worth
    prior shift         P(s | y) is, P(y) is not            one class has become more frequent
    concept drift       neither is                          an answer is worth something else

Each is a model of the two tables with parameters of its own; the one with the least Bayesian information criterion is taken. What the
features say comes first and last: a fault of the data explains everything, and drift that the score does not show is covariate drift.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

Float64 = NDArray[np.float64]

Change = Literal["", "none", "data fault", "covariate drift", "prior shift", "concept drift"]
GROUPS = 10  # of the score, equal in rows of the reference
PARTS = (1, 2, 5, GROUPS)  # of the score, that may become more or less frequent each
KINDS: tuple[Change, ...] = ("none", "covariate drift", "prior shift", "concept drift")
LEAST = 200  # labelled rows on either side
SURELY = 5.0  # nats by which a prior shift must explain more than other rows do, where it is known that other rows come


class Typed(NamedTuple):
    """The kind of change, "" where too little is known; and how much surer it is than the next best, in nats (0 where not compared)."""

    change: Change
    margin: float = 0.0


def typed(reference: ArrayLike, window: ArrayLike, *, drifted: bool = False, fault: bool = False) -> Typed:
    """The kind of change of one window.

    Parameters
    ----------
    reference, window
        Labelled rows by outcome and score, shape (2, bins): what did not come true and what did, by equal bins of the score.
    drifted
        Whether some feature, or the prediction, has drifted.
    fault
        Whether the data of some feature are faulty.

    References
    ----------
    Schwarz, Estimating the dimension of a model, Ann. Statist. 6 (1978). The kinds are those of Moreno-Torres, Raeder,
    Alaiz-Rodríguez, Chawla and Herrera, A unifying view on dataset shift in classification, Pattern Recognit. 45 (2012).

    Examples
    --------
    >>> before = [[400, 300, 200, 100], [100, 200, 300, 400]]
    >>> typed(before, [[200, 150, 100, 50], [50, 100, 150, 200]]).change
    'none'
    >>> typed(before, [[800, 150, 100, 50], [200, 100, 150, 200]]).change, typed(before, [[80, 60, 40, 20], [150, 300, 450, 600]]).change
    ('covariate drift', 'prior shift')
    >>> typed(before, [[100, 200, 300, 400], [400, 300, 200, 100]]).change
    'concept drift'
    """
    if fault:
        return Typed("data fault")
    before, now = grouped(np.asarray(reference, np.float64), np.asarray(window, np.float64))
    if min(before.sum(), now.sum()) < LEAST:
        return Typed("")
    criteria = {change: _criterion(before, now, change) for change in KINDS}
    change, second = sorted(KINDS, key=lambda kind: criteria[kind])[:2]
    margin = (criteria[second] - criteria[change]) / 2
    hardly = change == "prior shift" and criteria["covariate drift"] - criteria[change] < 2 * SURELY
    return Typed("covariate drift" if drifted and (change == "none" or hardly) else change, margin)


def typed_by_gap(gap: float, threshold: float, *, worse: bool, drifted: bool = False, fault: bool = False) -> Typed:
    """The same where there is no score, by what was lost beyond what was expected: `worse` says that the gap is more than chance.

    >>> typed_by_gap(0.2, 0.1, worse=True, drifted=True).change, typed_by_gap(0.01, 0.1, worse=False, drifted=True).change
    ('concept drift', 'covariate drift')
    """
    if fault:
        return Typed("data fault")
    if math.isnan(gap):
        return Typed("")
    if worse and gap > threshold:
        return Typed("concept drift")
    return Typed("covariate drift" if drifted else "none")


def grouped(reference: Float64, window: Float64) -> tuple[Float64, Float64]:
    """Both tables over `GROUPS` runs of bins that hold about as many rows of the reference each."""
    rows = reference.sum(0)
    middle = np.cumsum(rows) - rows / 2
    group = np.minimum(middle * GROUPS / max(rows.sum(), 1), GROUPS - 1).astype(np.int64)
    return tuple(np.stack([np.bincount(group, each, GROUPS) for each in table]) for table in (reference, window))  # type: ignore[return-value]


def _criterion(before: Float64, now: Float64, change: Change) -> float:
    """Minus twice the logarithm of the likelihood, and a price for each parameter that the change leaves free."""
    both, price = before + now, math.log(now.sum())
    of_labels = _log_likelihood(both) - _log_likelihood(both.sum(0))  # P(y | s), as it was
    if change == "none":
        return -2 * _log_likelihood(both)
    if change == "prior shift":
        return (
            -2 * (_log_likelihood(both) - _log_likelihood(both.sum(1)) + _log_likelihood(before.sum(1)) + _log_likelihood(now.sum(1)))
            + price
        )
    if change == "covariate drift":
        return -2 * of_labels + min(_scores(before, now, parts, price) for parts in PARTS[1:])
    free = sum(_log_likelihood(table) - _log_likelihood(table.sum(0)) for table in (before, now))
    groups = int((both.sum(0) > 0).sum())
    return -2 * free + groups * price + min(_scores(before, now, parts, price) for parts in PARTS)


def _scores(before: Float64, now: Float64, parts: int, price: float) -> float:
    """The criterion of P(s) where each of so many parts of the score may have become more or less frequent; with one it is as it was."""
    part = np.arange(GROUPS) * parts // GROUPS
    told = _log_likelihood((before + now).sum(0))
    for table in (before, now):
        told += _log_likelihood(np.bincount(part, table.sum(0)).astype(np.float64))
    told -= _log_likelihood(np.bincount(part, (before + now).sum(0)).astype(np.float64))
    return -2 * told + (parts - 1) * price


def _log_likelihood(counts: Float64) -> float:
    """Of counts under their own shares."""
    n = counts.sum()
    return float(xlogy(counts, counts).sum() - xlogy(n, n))
