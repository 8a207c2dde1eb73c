"""ECDD: an exponentially weighted error rate on a control chart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between

#: How many deviations above the mean the chart's limit is, by the wanted average run length: polynomials of the error rate.
LIMITS = {
    100: (1002.18, 0, -312.45, 0, 18.12, 0, -6.23, 2.76),
    400: (848.18, 0, -330.13, 0, 48.73, 0, -6.56, 3.97),
    1000: (-987.23, 0, 112.12, 0, -21.24, 0, 7.56, 1.17),
}


@dataclass(frozen=True, slots=True)
class EcddState(StoredState):
    """All errors so far, and their exponentially weighted mean (from 0)."""

    whole: Level = NOTHING
    moving: float = 0.0
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Ecdd:
    """EWMA for concept drift detection, for errors (1 or 0) at rates up to 0.3; finds rises.

    A change when the moving rate exceeds the rate since the start by the chart's limit, a warning (`state.warning`) at `warning_level`
    of it.

    Parameters
    ----------
    lambda_
        Weight of the newest value, in (0, 1].
    average_run_length
        100, 400 or 1000 values between false alarms, for errors one by one and `lambda_` 0.2, as the paper fitted it.
    min_num_instances
        Values before which nothing is judged.

    Notes
    -----
    Formula: `z = (1 - lambda_) * z + lambda_ * x`; a change when
    `z > p + L * sqrt(p (1 - p) * lambda_ / (2 - lambda_) * (1 - (1 - lambda_)**(2 n)))`.
    Range: [0, 1]: errors, at rates up to 0.3.
    Small n: nothing is judged before `min_num_instances` values.

    Values one by one give the indices of `frouros` 0.9's ECDDWT (reset after each drift). In a batch each of n values counts as their
    mean: with large batches the moving rate is the batch's own, while the limit stays that of single values, so it is far calmer.

    References
    ----------
    Ross, Adams, Tasoulis and Hand, Exponentially weighted moving average charts for detecting concept drift, Pattern Recogn. Lett. 33
    (2012).

    Examples
    --------
    >>> ecdd = Ecdd()
    >>> state = ecdd.start()
    >>> for i in range(600):
    ...     state, signal = ecdd.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, round(signal.mean_before, 2))
    ...         break
    507 up 0.1
    """

    lambda_: float = 0.2
    average_run_length: Literal[100, 400, 1000] = 400
    warning_level: float = 0.5
    min_num_instances: int = 30

    def start(self) -> EcddState:
        """The state before any value."""
        return EcddState()

    def update(self, state: EcddState, batch: tuple[int, float, float]) -> tuple[EcddState, Signal | None]:
        """The state after a batch `(n, errors, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        whole, kept = state.whole.add(element), (1 - self.lambda_) ** element.n
        moving = (1 - kept) * element.total / element.n + kept * state.moving
        if whole.n < self.min_num_instances:
            return EcddState(whole, moving), None
        variance = self.lambda_ / (2 - self.lambda_) * (1 - (1 - self.lambda_) ** (2 * whole.n)) * max(0.0, whole.mean * (1 - whole.mean))
        limit = float(np.polyval(LIMITS[self.average_run_length], whole.mean)) * math.sqrt(variance)
        if moving > whole.mean + limit:
            recent = min(whole.n, max(element.n, round(1 / self.lambda_)))
            before = Level(whole.n, whole.mean).since(Level(recent, moving))
            return self.start(), signal_between(before if before.n else whole, Level(recent, moving))
        return EcddState(whole, moving, moving > whole.mean + self.warning_level * limit), None
