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
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

Float64 = NDArray[np.float64]

Change = Literal["", "none", "data fault", "covariate drift", "prior shift", "concept drift"]
GROUPS = 10  # of the score, equal in rows of the reference
PARTS = (1, 2, 5, GROUPS)  # of the score, that may become more or less frequent each
#: By number of parts, which groups belong to each; shape (parts, GROUPS).
_PARTS = {parts: np.equal.outer(np.arange(parts), np.arange(GROUPS) * parts // GROUPS).astype(np.float64) for parts in PARTS}
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
    criteria = _criteria(before, now)
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


def _criteria(before: Float64, now: Float64) -> dict[Change, float]:
    """Minus twice the logarithm of each kind's likelihood, and a price for each parameter that it leaves free."""
    both, price = before + now, math.log(now.sum())
    tables = before, now, both
    scores = [table.sum(0) for table in tables]
    # The price of P(s) where each of so many parts of the score may have become more or less frequent; with one it is as it was.
    parts = [each.T for each in (_PARTS[parts] @ np.stack(scores, 1) for parts in PARTS)]
    told = _log_likelihoods([*tables, *scores, *(table.sum(1) for table in tables), *(each for part in parts for each in part)])
    of_all, of_scores, of_labels, *of_parts = (told[at : at + 3] for at in range(0, len(told), 3))
    freely = [of_scores[2] + (one + other) - together for one, other, together in of_parts]
    moved = [-2 * told + (many - 1) * price for told, many in zip(freely, PARTS, strict=True)]
    apart = sum(of_all[i] - of_scores[i] for i in range(2))  # P(y | s), of each side by itself
    return {
        "none": -2 * of_all[2],
        "covariate drift": -2 * (of_all[2] - of_scores[2]) + min(moved[1:]),
        "prior shift": -2 * (of_all[2] - of_labels[2] + of_labels[0] + of_labels[1]) + price,
        "concept drift": -2 * apart + int((both.sum(0) > 0).sum()) * price + min(moved),
    }


def _log_likelihoods(tables: Sequence[Float64]) -> list[float]:
    """Of each table's counts under their own shares."""
    counts, rows = np.concatenate([table.ravel() for table in tables]), np.array([table.sum() for table in tables])
    ends = np.cumsum([table.size for table in tables]).tolist()
    each = np.split(xlogy(counts, counts), ends[:-1])
    return [float(logs.sum() - whole) for logs, whole in zip(each, xlogy(rows, rows).tolist(), strict=True)]
