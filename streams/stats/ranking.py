"""Ranking: how well a list of items is ordered, one query at a time; average queries with `mean_of_sums`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def ndcg(ranked: Sequence[Item], relevance: Mapping[Item, float], k: int | None = None) -> float:
    """Normalised discounted cumulative gain of the first `k` items.

    Notes
    -----
    Formula: `sum(rel / log2(1 + rank))` over that of the best order.
    Range: [0, 1]; items without a relevance have 0. Linear gain; for `2**rel - 1` give it as the relevance.
    Small n: of one list; NaN when nothing is relevant.

    References
    ----------
    Järvelin and Kekäläinen, ACM Trans. Inf. Syst. 20 (2002); agrees with `sklearn.metrics.ndcg_score`.

    Examples
    --------
    >>> round(ndcg(["a", "b", "c"], {"a": 1.0, "c": 3.0}), 3)
    0.689
    """
    best = _gain(sorted(relevance.values(), reverse=True)[:k])
    return _gain([relevance.get(item, 0.0) for item in ranked[:k]]) / best if best > 0 else math.nan


def average_precision_at(ranked: Sequence[Item], relevance: Mapping[Item, float], k: int | None = None) -> float:
    """Mean over the relevant items of the precision at their rank, those not among the first `k` counting 0.

    Notes
    -----
    Formula: `sum(precision at the rank of each relevant item among the first k) / min(k, relevant items)`; its mean is MAP.
    Range: [0, 1].
    Small n: of one list; NaN when nothing is relevant.

    References
    ----------
    Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8; agrees with
    `sklearn.metrics.label_ranking_average_precision_score` for a whole list.

    Examples
    --------
    >>> round(average_precision_at(["a", "b", "c"], {"a": 1.0, "c": 1.0}), 3)
    0.833
    """
    relevant = sum(value > 0 for value in relevance.values())
    hits, total = 0, 0.0
    for rank, item in enumerate(ranked[:k], 1):
        if relevance.get(item, 0.0) > 0:
            hits += 1
            total += hits / rank
    return total / min(relevant, k or relevant) if relevant else math.nan


def reciprocal_rank(ranked: Sequence[Item], relevance: Mapping[Item, float], k: int | None = None) -> float:
    """One over the rank of the first relevant item.

    Notes
    -----
    Formula: `1 / rank` of the first relevant item, 0 if it is not among the first `k`; its mean is MRR.
    Range: [0, 1].
    Small n: of one list; NaN when nothing is relevant.

    References
    ----------
    Voorhees, The TREC-8 question answering track report, TREC 1999.

    Examples
    --------
    >>> reciprocal_rank(["a", "b"], {"b": 1.0})
    0.5
    """
    if not any(value > 0 for value in relevance.values()):
        return math.nan
    return next((1 / rank for rank, item in enumerate(ranked[:k], 1) if relevance.get(item, 0.0) > 0), 0.0)


def hit(ranked: Sequence[Item], relevance: Mapping[Item, float], k: int) -> float:
    """1 if any of the first `k` items is relevant, else 0.

    Notes
    -----
    Formula: `any(rank <= k)` over relevant items, as 0 or 1; its mean is the hit rate.
    Range: [0, 1].
    Small n: of one list; NaN when nothing is relevant.

    References
    ----------
    Järvelin and Kekäläinen, ACM Trans. Inf. Syst. 20 (2002), for figures of the first k.

    Examples
    --------
    >>> hit(["a", "b", "c"], {"c": 1.0}, 2), hit(["a", "b", "c"], {"c": 1.0}, 3)
    (0.0, 1.0)
    """
    found = reciprocal_rank(ranked, relevance, k)
    return found if math.isnan(found) else float(found > 0)


def _gain(values: Sequence[float]) -> float:
    return math.fsum(value / math.log2(rank + 1) for rank, value in enumerate(values, 1))
