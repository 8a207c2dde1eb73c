"""Domain classifier: whether a model can tell the window's rows from the reference's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtr

from driftline.streams.stats.counts import Floats


class DomainAuc(NamedTuple):
    """Cross-validated AUC (0.5: cannot tell), one-sided p-value, and each feature's share of what gives the window away."""

    value: float
    p_value: float
    importance: Floats


def domain_classifier(reference: ArrayLike, current: ArrayLike, *, folds: int = 5, ridge: float = 1.0, seed: int = 0) -> DomainAuc:
    """Cross-validated AUC of a logistic model that tells window from reference, on features and their squares.

    Parameters
    ----------
    reference, current
        Bounded samples of rows, shapes (n, k) and (m, k); NaN counts as the mean of both. Some thousand rows are plenty.
    folds
        Every row is scored by a model that did not see it.
    ridge
        Penalty on the standardised coefficients, so that many features do not fit noise.
    seed
        Of the split.

    Returns
    -------
    DomainAuc
        It finds moved means, changed spreads and, in part, changed shapes, not changed correlations: `correlation_change` and `mmd` do.

    Notes
    -----
    Formula: `U / (n m)`: the share of pairs of a reference's and a window's row of which the window's scores higher by a model that saw
    neither; ties count half.
    Range: [0, 1], near 0.5 with no drift, often a little below.
    Small n: all NaN with fewer rows than folds on a side. The p-value is that of the rank sum (Mann and Whitney) at these sizes; the folds
    make it right to about a factor of 1.5.

    References
    ----------
    Rabanser, Günnemann and Lipton, Failing loudly, NeurIPS 2019; NannyML's domain classifier uses gradient boosting for the same.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> before, after = rng.normal(size=(1000, 5)), rng.normal(size=(400, 5))
    >>> after[:, 2] *= 1.5
    >>> result = domain_classifier(before, after)
    >>> result.p_value < 0.001, int(result.importance.argmax())
    (True, 2)
    """
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    n, m, k = len(first), len(second), first.shape[1]
    if min(n, m) < folds:
        return DomainAuc(np.nan, np.nan, np.full(k, np.nan))
    design = _design(np.concatenate([first, second]))
    label = np.repeat([0.0, 1.0], [n, m])
    rng = np.random.default_rng(seed)
    fold = np.concatenate([rng.permutation(np.arange(side) % folds) for side in (n, m)])
    scores = np.empty(n + m)
    for left_out in range(folds):
        own = fold == left_out
        weights = _logistic(design[~own], label[~own], ridge)
        scores[own] = design[own] @ weights
    value = _auc(scores, label, n, m)
    p_value = float(ndtr(-(value - 0.5) / np.sqrt((n + m + 1) / (12 * n * m))))
    strength = np.abs(_logistic(design, label, ridge)[1:]).reshape(2, k).sum(axis=0)
    return DomainAuc(value, p_value, strength / max(strength.sum(), 1e-300))


def _design(table: Floats) -> Floats:
    """A constant, the standardised features, and their standardised squares."""

    def standardised(columns: Floats) -> Floats:
        deviation = columns.std(axis=0)
        return np.asarray((columns - columns.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))

    filled = np.where(np.isnan(table), np.nanmean(np.where(np.isnan(table).all(axis=0), 0.0, table), axis=0), table)
    plain = standardised(filled)
    return np.column_stack([np.ones(len(table)), plain, standardised(plain**2)])


def _logistic(design: Floats, label: Floats, ridge: float) -> Floats:
    """Coefficients by Newton's steps; the penalty keeps them finite even where the sides can be told perfectly."""
    penalty = ridge * np.eye(design.shape[1])
    penalty[0, 0] = 1e-8
    weights = np.zeros(design.shape[1])
    for _ in range(25):
        chance = expit(design @ weights)
        slope = design.T @ (label - chance) - penalty @ weights
        step = np.linalg.solve((design * (chance * (1 - chance))[:, None]).T @ design + penalty, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _auc(scores: Floats, label: Floats, n: int, m: int) -> float:
    order, inverse, ties = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(ties) - (ties - 1) / 2
    return float((rank[inverse][label == 1].sum() - m * (m + 1) / 2) / (n * m)) if order.size > 1 else 0.5
