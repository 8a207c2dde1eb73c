"""HDDM_A: a mean that has left the best it was, by Hoeffding's bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class HddmAState(StoredState):
    """All values so far, and the levels they were at when the mean was surely lowest and surely highest."""

    whole: Level = NOTHING
    lowest: Level = NOTHING
    highest: Level = NOTHING
    warning: bool = False


@dataclass(frozen=True, slots=True)
class HddmA:
    """Hoeffding drift detection method with averages, for values in [0, 1]; finds rises, and falls if `two_sided_test`.

    Compares the mean since the start with the mean up to the point where it was lowest (or highest), by Hoeffding's inequality, so the
    false alarm rate needs no assumption but the range.

    Parameters
    ----------
    drift_confidence, warning_confidence
        Probability of a false signal and of a false warning (`state.warning`) in one comparison.

    Notes
    -----
    Formula: `mean - mean_lowest >= sqrt((1 / n_lowest - 1 / n) / 2 * log(2 / drift_confidence))`.
    Range: [0, 1].
    Small n: valid for any n, by Hoeffding's inequality; a handful of values can show only a change of nearly 1.

    Values one by one give the indices of `river.drift.binary.HDDMA` 0.26. A batch counts as its n values at once, so the best point
    is taken at the ends of batches only.

    References
    ----------
    Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, IEEE TKDE 27 (2015).

    Examples
    --------
    >>> hddm = HddmA()
    >>> state = hddm.start()
    >>> for i in range(600):
    ...     state, signal = hddm.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, round(signal.mean_before, 2))
    523 up 0.1
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    two_sided_test: bool = False

    def start(self) -> HddmAState:
        """The state before any value."""
        return HddmAState()

    def update(self, state: HddmAState, batch: tuple[int, float, float]) -> tuple[HddmAState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        whole = state.whole.add(element)
        lowest = state.lowest if state.lowest.n else whole
        highest = state.highest if state.highest.n else whole
        if lowest.mean + self._bound(lowest.n) >= whole.mean + self._bound(whole.n):
            lowest = whole
        if highest.mean - self._bound(highest.n) <= whole.mean - self._bound(whole.n):
            highest = whole
        if _differ(lowest, whole, whole.mean - lowest.mean, self.drift_confidence):
            return self.start(), signal_between(lowest, whole.since(lowest))
        if self.two_sided_test and _differ(highest, whole, highest.mean - whole.mean, self.drift_confidence):
            return self.start(), signal_between(highest, whole.since(highest))
        warning = _differ(lowest, whole, whole.mean - lowest.mean, self.warning_confidence) or (
            self.two_sided_test and _differ(highest, whole, highest.mean - whole.mean, self.warning_confidence)
        )
        return HddmAState(whole, lowest, highest, warning), None

    def _bound(self, n: int) -> float:
        return math.sqrt(1.0 / (2 * n) * math.log(1.0 / self.drift_confidence))


def _differ(best: Level, whole: Level, apart: float, confidence: float) -> bool:
    """Whether the mean of all lies further from the best than chance allows."""
    if best.n == whole.n:
        return False
    weight = (whole.n - best.n) / best.n * (1.0 / whole.n)
    return apart >= math.sqrt(weight / 2 * math.log(2.0 / confidence))
