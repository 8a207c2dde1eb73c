"""HDDM_W: a moving average that has left the best it was, by McDiarmid's bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between


class Moving(NamedTuple):
    """An exponentially weighted mean of n values, and the sum of its squared weights."""

    n: int = 0
    mean: float = 0.0
    weight: float = 1.0

    def add(self, batch: Batch, rate: float) -> Moving:
        """With a batch, each of whose values counts as their mean."""
        kept = (1 - rate) ** batch.n
        value = batch.total / batch.n
        # The weights' recursion w -> rate² + (1 - rate)² w, n times.
        fixed = rate / (2 - rate)
        weight = fixed + kept**2 * (self.weight - fixed)
        return Moving(self.n + batch.n, kept * self.mean + (1 - kept) * value if self.n else value, weight)


#: The average of no values at all; its weight is that of one.
NONE_YET = Moving()


@dataclass(frozen=True, slots=True)
class HddmWState(StoredState):
    """The average of all, and on each side (rise, fall) the average up to the best point, its bound, and the average since."""

    whole: Moving = NONE_YET
    rise_before: Moving = NONE_YET
    rise_after: Moving = NONE_YET
    rise_cut: float = math.inf
    fall_before: Moving = NONE_YET
    fall_after: Moving = NONE_YET
    fall_cut: float = -math.inf
    warning: bool = False


@dataclass(frozen=True, slots=True)
class HddmW:
    """Hoeffding drift detection method with weighted averages, for values in [0, 1]; finds rises, and falls if `two_sided_test`.

    Compares the exponentially weighted mean up to its surely lowest (highest) point with the one since, by McDiarmid's inequality.
    Sooner than `HddmA` for gradual changes.

    Parameters
    ----------
    drift_confidence, warning_confidence
        Probability of a false signal and of a false warning (`state.warning`) in one comparison.
    lambda_val
        Weight of the newest value, in (0, 1].

    Notes
    -----
    Formula: `mean_since - mean_lowest >= sqrt((v_since + v_lowest) / 2 * log(1 / drift_confidence))` of exponentially weighted means with
    sums of squared weights v.
    Range: [0, 1].
    Small n: valid for any n, by McDiarmid's inequality; a handful of values can show only a change of nearly 1.

    Values one by one give the indices of `river.drift.binary.HDDMW` 0.26. Since order is lost inside a batch, each of its n values
    counts as their mean; the bound is still that of n values.

    References
    ----------
    Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, IEEE TKDE 27 (2015).

    Examples
    --------
    >>> hddm = HddmW()
    >>> state = hddm.start()
    >>> for i in range(600):
    ...     state, signal = hddm.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction)
    ...         break
    535 up
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    lambda_val: float = 0.05
    two_sided_test: bool = False

    def start(self) -> HddmWState:
        """The state before any value."""
        return HddmWState()

    def update(self, state: HddmWState, batch: tuple[int, float, float]) -> tuple[HddmWState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        rate = self.lambda_val
        whole = state.whole.add(element, rate)
        bound = _bound(whole.weight, self.drift_confidence)
        rise_before, rise_after, rise_cut = whole, NONE_YET, whole.mean + bound
        if not rise_cut < state.rise_cut:
            rise_before, rise_after, rise_cut = state.rise_before, state.rise_after.add(element, rate), state.rise_cut
        fall_before, fall_after, fall_cut = whole, NONE_YET, whole.mean - bound
        if not fall_cut > state.fall_cut:
            fall_before, fall_after, fall_cut = state.fall_before, state.fall_after.add(element, rate), state.fall_cut
        if _rose(rise_before, rise_after, self.drift_confidence):
            return self.start(), _signal(rise_before, rise_after)
        if self.two_sided_test and _rose(fall_after, fall_before, self.drift_confidence):
            return self.start(), _signal(fall_before, fall_after)
        warning = _rose(rise_before, rise_after, self.warning_confidence) or (
            self.two_sided_test and _rose(fall_after, fall_before, self.warning_confidence)
        )
        return HddmWState(whole, rise_before, rise_after, rise_cut, fall_before, fall_after, fall_cut, warning), None


def _bound(weight: float, confidence: float) -> float:
    return math.sqrt(weight * math.log(1 / confidence) / 2)


def _rose(low: Moving, high: Moving, confidence: float) -> bool:
    return bool(low.n and high.n) and high.mean - low.mean > _bound(low.weight + high.weight, confidence)


def _signal(before: Moving, after: Moving) -> Signal:
    return signal_between(Level(before.n, before.mean), Level(after.n, after.mean))
