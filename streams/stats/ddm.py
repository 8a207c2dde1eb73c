"""DDM: an error rate that rises well above the lowest it has been."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class DdmState(StoredState):
    """All errors so far, the level they were at when rate plus deviation was lowest, and that deviation."""

    whole: Level = NOTHING
    lowest: Level = NOTHING
    lowest_spread: float = math.inf
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Ddm:
    """Drift detection method, for errors (1 or 0); finds rises.

    With p the error rate since the start and `s = sqrt(p (1 - p) / n)`: a change when p + s exceeds the lowest p by `drift_threshold`
    of its s, a warning (`state.warning`) from `warning_threshold`.

    Parameters
    ----------
    warm_start
        Values before which nothing is compared.

    Notes
    -----
    Formula: `p + s > p_min + drift_threshold * s_min`, with the error rate p since the start and `s = sqrt(p (1 - p) / n)`.
    Range: [0, 1]: errors.
    Small n: nothing is compared before `warm_start` values.

    Values one by one give the indices of `river.drift.binary.DDM` 0.26. A batch counts as its n errors at once: the lowest point is
    taken at the ends of batches only, which makes it less of a lucky low and the detector a little calmer. It slows down as n grows,
    for the mean is over everything.

    References
    ----------
    Gama, Medas, Castillo and Rodrigues, Learning with drift detection, SBIA 2004.

    Examples
    --------
    >>> ddm = Ddm()
    >>> state = ddm.start()
    >>> for i in range(600):
    ...     state, signal = ddm.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, round(signal.mean_before, 2))
    535 up 0.1
    """

    warm_start: int = 30
    warning_threshold: float = 2.0
    drift_threshold: float = 3.0

    def start(self) -> DdmState:
        """The state before any value."""
        return DdmState()

    def update(self, state: DdmState, batch: tuple[int, float, float]) -> tuple[DdmState, Signal | None]:
        """The state after a batch `(n, errors, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        whole = state.whole.add(element)
        spread = math.sqrt(max(0.0, whole.mean * (1 - whole.mean)) / whole.n)
        lowest, lowest_spread = state.lowest, state.lowest_spread
        if whole.n <= self.warm_start:
            return DdmState(whole, lowest, lowest_spread), None
        if whole.mean + spread <= lowest.mean + lowest_spread:
            lowest, lowest_spread = whole, spread
        if whole.mean + spread > lowest.mean + self.drift_threshold * lowest_spread:
            return self.start(), signal_between(lowest, whole.since(lowest))
        warning = whole.mean + spread > lowest.mean + self.warning_threshold * lowest_spread
        return DdmState(whole, lowest, lowest_spread, warning), None
