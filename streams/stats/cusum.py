"""CUSUM: the sum of deviations from the running mean, never below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class CusumState(StoredState):
    """All values so far; both sums, and the level when each was last zero."""

    whole: Level = NOTHING
    up: float = 0.0
    up_from: Level = NOTHING
    down: float = 0.0
    down_from: Level = NOTHING


@dataclass(frozen=True, slots=True)
class Cusum:
    """Cumulative sum test, for any values; finds rises, falls or both.

    `sum = max(0, sum + x - mean - delta)`, with the mean of all values so far; a change when it exceeds `lambda_`.

    Parameters
    ----------
    delta
        Change of the mean that is let pass, in the values' unit.
    lambda_
        Sum of deviations that is a change, in the values' unit.
    min_num_instances
        Values before which nothing is judged.
    mode
        "up", "down" or "both".

    Notes
    -----
    Formula: `sum = max(0, sum + x - mean - delta)`, with the mean of all values so far; a change when it exceeds `lambda_`.
    Range: (-inf, inf): any values.
    Small n: nothing is judged before `min_num_instances` values; the mean of few is itself uncertain, so early sums run high.

    Values one by one, mode "up", give the indices of `frouros` 0.9's CUSUM (reset after each drift). A batch counts as n times its
    mean, judged at its end.

    References
    ----------
    Page, Continuous inspection schemes, Biometrika 41 (1954).

    Examples
    --------
    >>> test = Cusum(lambda_=10)
    >>> state = test.start()
    >>> for i in range(600):
    ...     state, signal = test.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    525 up 25
    """

    delta: float = 0.005
    lambda_: float = 50.0
    min_num_instances: int = 30
    mode: Literal["up", "down", "both"] = "up"

    def start(self) -> CusumState:
        """The state before any value."""
        return CusumState()

    def update(self, state: CusumState, batch: tuple[int, float, float]) -> tuple[CusumState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        whole = state.whole.add(element)
        deviation = element.total / element.n - whole.mean
        up = max(0.0, state.up + element.n * (deviation - self.delta))
        down = max(0.0, state.down - element.n * (deviation + self.delta))
        up_from, down_from = state.up_from if up else whole, state.down_from if down else whole
        if whole.n >= self.min_num_instances:
            if self.mode != "down" and up > self.lambda_:
                return self.start(), signal_between(up_from, whole.since(up_from))
            if self.mode != "up" and down > self.lambda_:
                return self.start(), signal_between(down_from, whole.since(down_from))
        return CusumState(whole, up, up_from, down, down_from), None
