"""Page–Hinkley: the sum of deviations from the running mean, above its own minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class PageHinkleyState(StoredState):
    """All values so far; the two sums, their extremes, and the level at each extreme."""

    whole: Level = NOTHING
    up_sum: float = 0.0
    up_least: float = math.inf
    up_from: Level = NOTHING
    down_sum: float = 0.0
    down_most: float = -1.0
    down_from: Level = NOTHING


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """Page–Hinkley test, for any values; finds rises, falls or both.

    Parameters
    ----------
    min_instances
        Values before which nothing is judged.
    delta
        Change of the mean that is let pass, in the values' unit.
    threshold
        Sum of deviations that is a change, in the values' unit: for errors, `threshold` more errors than expected.
    alpha
        What a sum keeps from one value to the next.
    mode
        "up", "down" or "both".

    Notes
    -----
    Formula: `sum = alpha * sum + x - mean - delta`; a change when `sum - min(sum) > threshold`.
    Range: (-inf, inf): any values.
    Small n: nothing is judged before `min_instances` values.

    Values one by one give the indices of `river.drift.PageHinkley` 0.26. A batch counts as n times its mean, judged at its end: the
    sums differ from one by one by the movement of the running mean inside the batch, about `n / seen` of them.

    References
    ----------
    Page, Continuous inspection schemes, Biometrika 41 (1954); Hinkley, Biometrika 58 (1971).

    Examples
    --------
    >>> test = PageHinkley(threshold=10)
    >>> state = test.start()
    >>> for i in range(600):
    ...     state, signal = test.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    525 up 25
    """

    min_instances: int = 30
    delta: float = 0.005
    threshold: float = 50.0
    alpha: float = 1 - 0.0001
    mode: Literal["up", "down", "both"] = "both"

    def start(self) -> PageHinkleyState:
        """The state before any value."""
        return PageHinkleyState()

    def update(self, state: PageHinkleyState, batch: tuple[int, float, float]) -> tuple[PageHinkleyState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        whole = state.whole.add(element)
        deviation = element.total / element.n - whole.mean
        up_sum = self._fold(state.up_sum, deviation - self.delta, element.n)
        down_sum = self._fold(state.down_sum, deviation + self.delta, element.n)
        up_least, up_from = (up_sum, whole) if up_sum < state.up_least else (state.up_least, state.up_from)
        down_most, down_from = (down_sum, whole) if down_sum > state.down_most else (state.down_most, state.down_from)
        if whole.n >= self.min_instances:
            if self.mode != "down" and up_sum - up_least > self.threshold:
                return self.start(), signal_between(up_from, whole.since(up_from))
            if self.mode != "up" and down_most - down_sum > self.threshold:
                return self.start(), signal_between(down_from, whole.since(down_from))
        return PageHinkleyState(whole, up_sum, up_least, up_from, down_sum, down_most, down_from), None

    def _fold(self, total: float, step: float, n: int) -> float:
        """`total -> alpha * total + step`, n times."""
        if n == 1 or self.alpha == 1:
            return self.alpha * total + n * step
        kept = self.alpha**n
        return kept * total + step * (1 - kept) / (1 - self.alpha)
