"""STEPD: the latest errors against all earlier ones, by a test of two proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr

from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class StepdState(StoredState):
    """All errors so far, and the latest batches, oldest first."""

    n: int = 0
    errors: float = 0.0
    recent: tuple[Batch, ...] = ()
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Stepd:
    """Statistical test of equal proportions, for errors (1 or 0); finds rises and falls.

    Parameters
    ----------
    alpha_d, alpha_w
        Significance of a change and of a warning (`state.warning`) in one comparison.
    min_num_instances
        Values in the latest part; nothing is judged before twice as many.

    Notes
    -----
    Formula: `z = (|p_old - p_new| - (1 / n_old + 1 / n_new) / 2) / sqrt(p (1 - p) * (1 / n_old + 1 / n_new))`.
    Range: [0, 1]: errors.
    Small n: nothing is judged before twice `min_num_instances` values; the continuity correction keeps few values calm.

    Values one by one give the indices of `frouros` 0.9's STEPD (reset after each drift). The paper itself signals rises only:
    look at `signal.direction`. Batches are never cut: the latest part is the shortest run of whole batches with enough values.

    References
    ----------
    Nishida and Yamauchi, Detecting concept drift using statistical testing, Discovery Science 2007.

    Examples
    --------
    >>> stepd = Stepd()
    >>> state = stepd.start()
    >>> for i in range(600):
    ...     state, signal = stepd.update(state, Batch.one(i % 10 == 0 if i < 500 else i % 2))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    ...         break
    515 up 30
    """

    alpha_d: float = 0.003
    alpha_w: float = 0.05
    min_num_instances: int = 30

    def start(self) -> StepdState:
        """The state before any value."""
        return StepdState()

    def update(self, state: StepdState, batch: tuple[int, float, float]) -> tuple[StepdState, Signal | None]:
        """The state after a batch `(n, errors, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        n, errors, recent = state.n + element.n, state.errors + element.total, (*state.recent, element)
        while sum(part.n for part in recent[1:]) >= self.min_num_instances:
            recent = recent[1:]
        late_n, late_errors = sum(part.n for part in recent), sum(part.total for part in recent)
        if n < 2 * self.min_num_instances or n == late_n:
            return StepdState(n, errors, recent), None
        before, after = Level(n - late_n, (errors - late_errors) / (n - late_n)), Level(late_n, late_errors / late_n)
        p_value = _p_value(before, after, errors / n)
        if p_value < self.alpha_d:
            return self.start(), signal_between(before, after)
        return StepdState(n, errors, recent, p_value < self.alpha_w), None


def _p_value(before: Level, after: Level, rate: float) -> float:
    """One-sided, with the correction for continuity; 1 where every value so far was the same."""
    unit = 1 / before.n + 1 / after.n
    variance = rate * (1 - rate) * unit
    return float(ndtr(-abs(abs(before.mean - after.mean) - 0.5 * unit) / math.sqrt(variance))) if variance > 0 else 1.0
