"""E-detector: bets against a baseline, and an average run length that holds whatever the values' distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class EDetectorState(StoredState):
    """For each bet the logarithm of its sum; and where the leading sum began to grow."""

    log_sums: tuple[float, ...] = ()
    whole: Level = NOTHING
    excess: float = 0.0
    least_excess: float = 0.0
    begun: Level = NOTHING


@dataclass(frozen=True, slots=True)
class EDetector:
    """A Shiryaev–Roberts e-detector, for values in [0, 1] whose mean should not leave a baseline; finds rises, or falls.

    Each bet of size b multiplies, for a batch, by `exp(b * sum(x - baseline) - psi(b) * sum((x - baseline)**2))` with
    `psi(b) = -log(1 - b) - b`, which no distribution with a mean at or below the baseline raises on average. A change when the mean of
    the sums `(sum + n) * factor` reaches `average_run_length`.

    Parameters
    ----------
    baseline
        The mean that is not yet a change: the reference's error rate and what is tolerated above it. In (0, 1).
    average_run_length
        Values between false alarms on average, at least, for any distribution in [0, 1], however the mean moves below the baseline.
    direction
        "up" watches for a mean above the baseline, "down" for one below it.
    bets
        Sizes, in (0, 1): small ones find small changes after many values.

    Notes
    -----
    Formula: `sum = (sum + n) * exp(b * sum(x - baseline) - psi(b) * sum((x - baseline)**2))` for each bet b, with
    `psi(b) = -log(1 - b) - b`.
    Range: [0, 1]: errors, or losses over their largest.
    Small n: valid from the first value on; nothing is assumed but the range.

    One by one and in batches the factors are the same; only the alarm is checked at the ends of batches, and values of a batch cannot
    be the change's first but all of them. The run length is kept either way.

    References
    ----------
    Shin, Ramdas and Rinaldo, E-detectors, New England J. Stat. Data Sci. 2 (2023); Howard, Ramdas, McAuliffe and Sekhon,
    Time-uniform, nonparametric, nonasymptotic confidence sequences, Ann. Statist. 49 (2021), for the bet.

    Examples
    --------
    >>> watch = EDetector(baseline=0.12)
    >>> state = watch.start()
    >>> for i in range(800):
    ...     state, signal = watch.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    ...         break
    559 up 59
    """

    baseline: float
    average_run_length: float = 10_000.0
    direction: Literal["up", "down"] = "up"
    bets: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.7)

    def start(self) -> EDetectorState:
        """The state before any value."""
        return EDetectorState((-math.inf,) * len(self.bets))

    def update(self, state: EDetectorState, batch: tuple[int, float, float]) -> tuple[EDetectorState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        apart = (element.total / element.n - self.baseline) * (1 if self.direction == "up" else -1)
        squares = element.m2 + element.n * apart * apart
        log_sums = tuple(
            _log_add(log_sum, math.log(element.n)) + bet * element.n * apart + (math.log1p(-bet) + bet) * squares
            for log_sum, bet in zip(state.log_sums, self.bets, strict=True)
        )
        whole, excess = state.whole.add(element), state.excess + element.n * apart
        evidence = max(log_sums) + math.log(sum(math.exp(each - max(log_sums)) for each in log_sums) / len(self.bets))
        if evidence >= math.log(self.average_run_length):
            after = whole.since(state.begun)
            return self.start(), signal_between(state.begun if state.begun.n else Level(0, self.baseline), after)
        least_excess, begun = (excess, whole) if excess <= state.least_excess else (state.least_excess, state.begun)
        return EDetectorState(log_sums, whole, excess, least_excess, begun), None


def _log_add(a: float, b: float) -> float:
    """`log(exp(a) + exp(b))`."""
    high, low = max(a, b), min(a, b)
    return high + math.log1p(math.exp(low - high))
