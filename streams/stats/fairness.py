"""Fairness between the groups of a protected attribute, from each group's confusion table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from driftline.streams.stats.confusion import Confusion, precision, recall
from driftline.streams.stats.estimate import UNKNOWN, Estimate, share


class GroupRates(NamedTuple):
    """Of one group: how often it is predicted positive, and how often rightly and wrongly so among positives and negatives."""

    selection: Estimate
    true_positive: Estimate
    false_positive: Estimate
    precision: Estimate
    n: int


class Fairness(NamedTuple):
    """The worst pair of groups in each respect; difference 0 and ratio 1 are equal treatment. NaN: fewer than two groups to judge.

    `demographic_parity`: largest difference of the selection rates; `disparate_impact`: lowest over highest (0.8 is the usual bound);
    `equal_opportunity`: largest difference of the true positive rates; `equalised_odds`: the larger of that and of the false
    positive rates; `predictive_parity`: largest difference of the precisions.
    """

    demographic_parity: float
    disparate_impact: float
    equal_opportunity: float
    equalised_odds: float
    predictive_parity: float
    groups: dict[str, GroupRates]


def fairness(confusions: Mapping[str, Confusion], positive: str, least: int = 30) -> Fairness:
    """Rates of each group and their largest differences.

    Parameters
    ----------
    confusions
        For each group, rows by (predicted, actual).
    positive
        The class that is wished for.
    least
        Groups with fewer rows than this are shown but not compared: their rates would be chance.

    Notes
    -----
    Formula: `max(rate) - min(rate)` over groups, of what is predicted positive (demographic parity), rightly so among the positives (equal
    opportunity) and, the larger of that and wrongly so among the negatives, equalised odds; `min(rate) / max(rate)` for the disparate
    impact.
    Range: [0, 1]; difference 0 and ratio 1 are equal treatment.
    Small n: groups of fewer than `least` rows are shown and not compared; NaN with fewer than two groups to compare.

    References
    ----------
    Hardt, Price and Srebro, Equality of opportunity in supervised learning, NIPS 2016; the same definitions as Fairlearn.

    Examples
    --------
    >>> result = fairness(
    ...     {"a": {("1", "1"): 40, ("0", "1"): 10, ("0", "0"): 50}, "b": {("1", "1"): 20, ("0", "1"): 30, ("0", "0"): 50}}, positive="1"
    ... )
    >>> round(result.demographic_parity, 3), result.disparate_impact, round(result.equal_opportunity, 3)
    (0.2, 0.5, 0.4)
    """
    groups = {name: _rates(confusion, positive) for name, confusion in confusions.items()}
    judged = [rates for rates in groups.values() if rates.n >= least]
    selection = [rates.selection.value for rates in judged]
    true_gap, false_gap = (_gap([getattr(rates, name).value for rates in judged]) for name in ("true_positive", "false_positive"))
    known = [gap for gap in (true_gap, false_gap) if not math.isnan(gap)]
    return Fairness(
        demographic_parity=_gap(selection),
        disparate_impact=min(selection) / max(selection) if len(selection) > 1 and max(selection) > 0 else math.nan,
        equal_opportunity=true_gap,
        equalised_odds=max(known) if known else math.nan,
        predictive_parity=_gap([rates.precision.value for rates in judged]),
        groups=groups,
    )


def _rates(confusion: Confusion, positive: str) -> GroupRates:
    n = sum(confusion.values())
    selected = sum(rows for (predicted, _), rows in confusion.items() if predicted == positive)
    negatives = sum(rows for (_, actual), rows in confusion.items() if actual != positive)
    false_alarms = sum(rows for (predicted, actual), rows in confusion.items() if predicted == positive != actual)
    of_negatives = share(false_alarms, negatives) if negatives else UNKNOWN
    return GroupRates(share(selected, n), recall(confusion, positive), of_negatives, precision(confusion, positive), n)


def _gap(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return max(known) - min(known) if len(known) > 1 else math.nan
