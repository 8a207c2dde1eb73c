"""EDDM: errors that come closer together than they ever were apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class EddmState(StoredState):
    """Values and errors so far, when the last error was, the distances' mean and M2, and where those were widest."""

    seen: int = 0
    errors: int = 0
    last_error: int = 0
    mean: float = 0.0
    m2: float = 0.0
    widest: float = -1.0
    at_widest: Level = NOTHING
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Eddm:
    """Early drift detection method, for errors (1 or 0); finds rises, and slow ones better than `Ddm`.

    With the mean distance between errors and its deviation s: a change when `mean + 2 s` falls below `beta` of the widest it has been,
    a warning (`state.warning`) below `alpha`.

    Parameters
    ----------
    warm_start
        Values before which the widest is not taken, and errors before which nothing is judged.

    Notes
    -----
    Formula: `(mean + 2 s) / (mean + 2 s)_max < beta`, of the distances between errors.
    Range: [0, 1]: errors.
    Small n: the widest is not taken before `warm_start` values, and nothing is judged before as many errors.

    Values one by one give the indices of `river.drift.binary.EDDM` 0.26. The sums of a batch do not tell where in it the errors were:
    its distances count as equally long on average, with the variance of errors that come at random (d² - d), and the last error as the
    last value. It is known for many false alarms at low error rates.

    References
    ----------
    Baena-García, del Campo-Ávila, Fidalgo, Bifet, Gavaldà and Morales-Bueno, Early drift detection method, 2006.

    Examples
    --------
    >>> eddm = Eddm()
    >>> state, gaps = eddm.start(), [4, 16] * 40 + [2, 4] * 40
    >>> for i, gap in enumerate(gaps):
    ...     state, _ = eddm.update(state, Batch(gap - 1, 0.0))
    ...     state, signal = eddm.update(state, Batch.one(1))
    ...     if signal:
    ...         print(i, signal.direction, round(signal.mean_before, 2))
    89 up 0.1
    """

    warm_start: int = 30
    alpha: float = 0.95
    beta: float = 0.9

    def start(self) -> EddmState:
        """The state before any value."""
        return EddmState()

    def update(self, state: EddmState, batch: tuple[int, float, float]) -> tuple[EddmState, Signal | None]:
        """The state after a batch `(n, errors, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        seen, new = state.seen + element.n, round(element.total)
        if element.n <= 0:
            return state, None
        if new <= 0:
            return EddmState(seen, state.errors, state.last_error, state.mean, state.m2, state.widest, state.at_widest, state.warning), None
        errors, distance = state.errors + new, (seen - state.last_error) / new
        apart = distance - state.mean
        mean = state.mean + apart * new / errors
        within = new * max(0.0, distance * distance - distance) if element.n > 1 else 0.0
        m2 = state.m2 + within + new * apart * (distance - mean)
        widest, at_widest, warning = state.widest, state.at_widest, state.warning
        if seen > self.warm_start:
            width = mean + 2 * (math.sqrt(m2 / (errors - 1)) if errors > 1 else 0.0)
            if width > widest:
                widest, at_widest = width, Level(seen, errors / seen)
            elif errors > self.warm_start:
                if width / widest < self.beta:
                    return self.start(), signal_between(at_widest, Level(seen, errors / seen).since(at_widest))
                warning = width / widest < self.alpha
        return EddmState(seen, errors, seen, mean, m2, widest, at_widest, warning), None
