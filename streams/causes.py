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
    counts = np.asarray(reference, np.float64)
    groups = score_groups(counts)
    return typed_each((counts @ groups)[None], (np.asarray(window, np.float64) @ groups)[None], [drifted])[0]


def typed_each(before: Float64, now: Float64, drifted: Sequence[bool]) -> list[Typed]:
    """`typed` of several windows, each of which may have a reference of its own: both over the groups of it (`score_groups`), shape
    (windows, 2, GROUPS).
    """
    found, enough = [Typed("")] * len(now), np.flatnonzero(np.minimum(before.sum((1, 2)), now.sum((1, 2))) >= LEAST)
    criteria = _criteria(before[enough], now[enough])
    for i, each, order in zip(enough.tolist(), criteria.tolist(), criteria.argsort(kind="stable").tolist(), strict=True):
        best, second = order[:2]
        hardly = KINDS[best] == "prior shift" and each[KINDS.index("covariate drift")] - each[best] < 2 * SURELY
        change: Change = "covariate drift" if drifted[i] and (KINDS[best] == "none" or hardly) else KINDS[best]
        found[i] = Typed(change, (each[second] - each[best]) / 2)
    return found


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


def score_groups(reference: Float64) -> Float64:
    """Which bins of the score belong to each of `GROUPS` runs that hold about as many rows of the reference each; shape (bins, GROUPS)."""
    rows = reference.sum(0)
    middle = np.cumsum(rows) - rows / 2
    group = np.minimum(middle * GROUPS / max(rows.sum(), 1), GROUPS - 1).astype(np.int64)
    of: Float64 = np.equal.outer(group, np.arange(GROUPS)).astype(np.float64)
    return of


def _criteria(before: Float64, now: Float64) -> Float64:
    """Minus twice the logarithm of each kind's likelihood, and a price for each parameter that it leaves free; shape (windows, KINDS)."""
    tables = np.stack([before, now, before + now], 1)
    price, scores = np.log(now.sum((1, 2))), tables.sum(2)
    of_all, of_scores, of_labels = (_log_likelihoods(each) for each in (tables.reshape(-1, 3, 2 * GROUPS), scores, tables.sum(3)))
    # The price of P(s) where each of so many parts of the score may have become more or less frequent; with one it is as it was.
    of_parts = (_log_likelihoods(scores @ parts.T) for parts in _PARTS.values())
    freely = (of_scores[:, 2] + (each[:, 0] + each[:, 1]) - each[:, 2] for each in of_parts)
    moved = np.stack([-2 * told + (many - 1) * price for told, many in zip(freely, PARTS, strict=True)], 1)
    apart = (of_all[:, :2] - of_scores[:, :2]).sum(1)  # P(y | s), of each side by itself
    told: dict[Change, Float64] = {
        "none": -2 * of_all[:, 2],
        "covariate drift": -2 * (of_all[:, 2] - of_scores[:, 2]) + moved[:, 1:].min(1),
        "prior shift": -2 * (of_all[:, 2] - of_labels[:, 2] + of_labels[:, 0] + of_labels[:, 1]) + price,
        "concept drift": -2 * apart + (scores[:, 2] > 0).sum(1) * price + moved.min(1),
    }
    return np.stack([told[kind] for kind in KINDS], 1)


def _log_likelihoods(tables: Float64) -> Float64:
    """Of counts under their own shares, along the last axis."""
    rows = tables.sum(-1)
    return np.asarray(xlogy(tables, tables).sum(-1) - xlogy(rows, rows))
