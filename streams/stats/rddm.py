"""RDDM: DDM that forgets, so that a long calm does not make it deaf."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class RddmState(StoredState):
    """Errors of the present concept, the latest batches to begin anew from, and where rate plus deviation was lowest.

    `seen` counts from the last restart; `restart` says that the next update begins with one, `drifted` that it follows a signal.
    """

    seen: int = 0
    whole: Level = NOTHING
    lowest: Level = NOTHING
    lowest_spread: float = math.inf
    warnings: int = 0
    latest: tuple[Batch, ...] = ()
    restart: bool = False
    drifted: bool = False

    @property
    def warning(self) -> bool:
        """Whether the error rate is in its warning range."""
        return self.warnings > 0


@dataclass(frozen=True, slots=True)
class Rddm:
    """Reactive drift detection method, for errors (1 or 0); finds rises.

    `Ddm` with lower thresholds that, after a signal or after `max_concept_size` calm values, begins anew with the latest
    `min_concept_size` values, and signals when a warning lasts for `max_num_instances_warning`.

    Notes
    -----
    Formula: as `Ddm`: `p + s > p_min + drift_level * s_min`, over the present concept alone.
    Range: [0, 1]: errors.
    Small n: nothing is judged before `min_num_instances` values.

    Values one by one give the indices of `frouros` 0.9's RDDM. A batch counts as its n errors at once. The state holds up to
    `min_concept_size` values, or as many batches as hold them: with single values it is large (7 000 by default).

    References
    ----------
    Barros, Cabral, Gonçalves and Santos, RDDM: Reactive drift detection method, Expert Syst. Appl. 90 (2017).

    Examples
    --------
    >>> rddm = Rddm()
    >>> state = rddm.start()
    >>> for i in range(600):
    ...     state, signal = rddm.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction)
    ...         break
    521 up
    """

    warning_level: float = 1.773
    drift_level: float = 2.258
    max_concept_size: int = 40_000
    min_concept_size: int = 7_000
    max_num_instances_warning: int = 1_400
    min_num_instances: int = 129

    def start(self) -> RddmState:
        """The state before any value."""
        return RddmState()

    def update(self, state: RddmState, batch: tuple[int, float, float]) -> tuple[RddmState, Signal | None]:
        """The state after a batch `(n, errors, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        # On a restart the value at hand is not counted as seen; the libraries' count has it so.
        begun = self._restarted(state) if state.restart else RddmState(
            state.seen + element.n, state.whole, state.lowest, state.lowest_spread, state.warnings, state.latest
        )  # fmt: skip
        whole, latest = begun.whole.add(element), self._keep((*begun.latest, element))
        lowest, lowest_spread = begun.lowest, begun.lowest_spread
        if begun.seen < self.min_num_instances:
            return RddmState(begun.seen, whole, lowest, lowest_spread, begun.warnings, latest), None
        spread = _spread(whole.mean, begun.seen)
        if whole.mean + spread < lowest.mean + lowest_spread:
            lowest, lowest_spread = whole, spread
        high = whole.mean + spread
        if high > lowest.mean + self.drift_level * lowest_spread:
            kept = latest if begun.warnings else latest[-1:]
            return RddmState(begun.seen, whole, lowest, lowest_spread, begun.warnings, kept, True, True), _signal(lowest, whole)
        if high > lowest.mean + self.warning_level * lowest_spread:
            if begun.warnings >= self.max_num_instances_warning:
                return RddmState(begun.seen, whole, lowest, lowest_spread, begun.warnings, latest[-1:], True, True), _signal(lowest, whole)
            return RddmState(begun.seen, whole, lowest, lowest_spread, begun.warnings + element.n, latest), None
        return RddmState(begun.seen, whole, lowest, lowest_spread, 0, latest, begun.seen >= self.max_concept_size), None

    def _keep(self, latest: tuple[Batch, ...]) -> tuple[Batch, ...]:
        held = sum(part.n for part in latest) if latest[0].n > 1 or len(latest) > self.min_concept_size else len(latest)
        first = 0
        while held > self.min_concept_size and first < len(latest) - 1:
            held -= latest[first].n
            first += 1
        return latest[first:]

    def _restarted(self, state: RddmState) -> RddmState:
        """Begin anew with the latest values."""
        seen, whole, lowest, lowest_spread = 0, Level(), Level(), math.inf
        for part in state.latest:
            seen, whole = seen + part.n, whole.add(part)
            spread = _spread(whole.mean, seen)
            if state.drifted and seen >= self.min_num_instances and whole.mean + spread < lowest.mean + lowest_spread:
                lowest, lowest_spread = whole, spread
        return RddmState(seen, whole, lowest, lowest_spread, 0, state.latest)


def _spread(rate: float, n: int) -> float:
    return math.sqrt(max(0.0, rate * (1 - rate)) / n)


def _signal(lowest: Level, whole: Level) -> Signal:
    after = whole.since(lowest)
    return signal_between(lowest, after if after.n else whole)
