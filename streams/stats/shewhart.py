"""Shewhart's control chart with the Western Electric rules: batch means against a learned level."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between
from driftline.streams.stats.moments import Moments

#: A rule is broken when `wanted` of the last `among` points lie on one side, more than `beyond` standard errors from the level.
RULES = {1: (1, 1, 3.0), 2: (2, 3, 2.0), 3: (4, 5, 1.0), 4: (8, 8, 0.0)}


UNKNOWN_LEVEL = Moments(0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ShewhartState(StoredState):
    """The level learned, and the latest batches (eight at most), oldest first."""

    level: Moments = UNKNOWN_LEVEL
    latest: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True)
class Shewhart:
    """Control chart of batch means, for any values; finds rises and falls.

    Learns mean and variance from the first `warm_up` values, then judges the mean of each batch in its standard errors: one point
    beyond 3, two of three beyond 2, four of five beyond 1, eight in a row on one side.

    Parameters
    ----------
    warm_up
        Values the level is learned from.
    rules
        Which of the rules 1 to 4 apply. All four: a false alarm every 92 points of a level known exactly; rule 1 alone: every 370.

    Notes
    -----
    Formula: `z = (mean - level) / sqrt(variance * (1 / n + 1 / n_level))` for each batch, by the rules named.
    Range: (-inf, inf): any values whose batch means are near to normal.
    Small n: the first `warm_up` values are learned from; batches of a few values have no normal mean.

    Meant for batches (panes) of some dozens of values or more: single errors are not normal, and rule 3 would break at once. The error
    of the learned level is part of each point's standard error, but it is the same for all points: learn from ten times a batch.

    References
    ----------
    Western Electric, Statistical Quality Control Handbook (1956); Champ and Woodall, Technometrics 29 (1987) for the run lengths.

    Examples
    --------
    >>> chart = Shewhart(warm_up=500)
    >>> state = chart.start()
    >>> for i, errors in enumerate([10, 12, 9, 8, 11, 10, 11, 9, 24]):
    ...     state, signal = chart.update(state, (100, errors, errors * (1 - errors / 100)))
    ...     if signal:
    ...         print(i, signal.direction, signal.mean_after)
    8 up 0.24
    """

    warm_up: int = 1000
    rules: tuple[int, ...] = (1, 2, 3, 4)

    def start(self) -> ShewhartState:
        """The state before any value."""
        return ShewhartState()

    def update(self, state: ShewhartState, batch: tuple[int, float, float]) -> tuple[ShewhartState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        level = state.level
        if level.n < self.warm_up:
            return ShewhartState(level.merge(Moments(element.n, element.total / element.n, element.m2))), None
        latest = (*state.latest, element)[-8:]
        points = [_standard(level, part) for part in latest]
        for wanted, among, beyond in (RULES[rule] for rule in self.rules):
            if len(points) < among:
                continue
            for side in (1, -1):
                # The newest point must be one of those that break the rule.
                if side * points[-1] > beyond and sum(side * point > beyond for point in points[-among:]) >= wanted:
                    run = Level()
                    for part in latest[-among:]:
                        run = run.add(part)
                    return self.start(), signal_between(Level(int(level.n), level.mean), run)
        return ShewhartState(level, latest), None


def _standard(level: Moments, part: Batch) -> float:
    """The batch's mean, in standard errors from the level; none apart is 0, even of a constant."""
    apart = part.total / part.n - level.mean
    # A mean of equal values may differ from them in the last bits.
    if abs(apart) <= 1e-12 * max(1.0, abs(level.mean)):
        return 0.0
    error = math.sqrt(level.variance * (1 / part.n + 1 / level.n))
    return apart / error if error > 0 else math.copysign(math.inf, apart)
