"""ADWIN: a window of recent values that drops its oldest part as soon as that part's mean differs from the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between

Row = tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class AdwinState(StoredState):
    """The window: `rows[i]` holds buckets made of 2^i batches, oldest first; the highest row is the oldest.

    `seen` counts values since the start, `n`, `total` and `m2` are those of the whole window.
    """

    seen: int = 0
    n: int = 0
    total: float = 0.0
    m2: float = 0.0
    rows: tuple[Row, ...] = ((),)


@dataclass(frozen=True, slots=True)
class Adwin:
    """Adaptive windowing, for any bounded values (errors, losses, residuals); finds rises and falls.

    Parameters
    ----------
    delta
        Confidence: how probable a false cut is in one check, in (0, 1). Smaller is calmer and later.
    clock
        Values between two checks; a batch that crosses a multiple of it is followed by one check.
    max_buckets
        Buckets of one size kept before two of them are merged. More are finer cuts and more work.
    min_window_length
        Values both parts of a cut must have.
    grace_period
        No check before the window holds more values than this.

    Notes
    -----
    Formula: cut where `|mean_old - mean_new| > sqrt(2 * variance * unit * L) + 2 / 3 * unit * L`, with `unit = 1 / n_old + 1 / n_new` (of
    each part the values beyond `min_window_length - 1`) and `L = log(2 * log(n) / delta)`.
    Range: (-inf, inf): any bounded values.
    Small n: silent until the window holds more than `grace_period` values and both parts `min_window_length`.

    Batches of one value give the indices of `river.drift.ADWIN` 0.26 with the same parameters, whose way of starting afresh after a
    signal is kept too. A larger batch is one element with a weight: it is never cut, so a change is placed to within a batch, and no
    check comes sooner than the batch's end. Memory and time per check grow with the logarithm of the number of batches in the window.

    References
    ----------
    Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007.

    Examples
    --------
    >>> adwin = Adwin()
    >>> state, signals = adwin.start(), []
    >>> for i in range(400):
    ...     state, signal = adwin.update(state, Batch.one(0.1 if i < 200 else 0.9))
    ...     if signal is not None:
    ...         signals.append((i, signal.direction, signal.n_after))
    >>> signals
    [(223, 'up', 24)]
    """

    delta: float = 0.002
    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    grace_period: int = 10

    def start(self) -> AdwinState:
        """The state before any value."""
        return AdwinState()

    def update(self, state: AdwinState, batch: tuple[int, float, float]) -> tuple[AdwinState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        grown = self._grow(state, element)
        if grown.seen // self.clock == state.seen // self.clock or grown.n <= self.grace_period:
            return grown, None
        # Evidence against "one mean throughout", for each place the window can be cut at; above 1 it is a change.
        evidence, before = max(self._cuts(grown), default=(0.0, Level()))
        if evidence <= 1:
            return grown, None
        return self.start(), signal_between(before, Level(grown.n, grown.total / grown.n).since(before))

    def _grow(self, state: AdwinState, element: Batch) -> AdwinState:
        rows, i = [(*state.rows[0], element), *state.rows[1:]], 0
        while len(rows[i]) > self.max_buckets:
            if i + 1 == len(rows):
                rows.append(())
            first, second, *rest = rows[i]
            rows[i], rows[i + 1] = tuple(rest), (*rows[i + 1], _merge(first, second))
            i += 1
        whole = _merge(Batch(state.n, state.total, state.m2), element)
        return AdwinState(state.seen + element.n, *whole, tuple(rows))

    def _cuts(self, state: AdwinState) -> Iterator[tuple[float, Level]]:
        """For each cut: how far apart the means of both parts are, in units of what chance allows, and the older part."""
        log_term = math.log(2 * math.log(state.n) / self.delta) if state.n > 1 else 0.0
        spread = 2 * max(0.0, state.m2 / state.n) * log_term
        n_old, total_old = 0, 0.0
        for bucket in _oldest_first(state):
            n_old, total_old = n_old + bucket.n, total_old + bucket.total
            n_new, total_new = state.n - n_old, state.total - total_old
            if n_new < max(1, self.min_window_length):
                return
            if n_old >= self.min_window_length:
                recip = 1 / (n_old - self.min_window_length + 1) + 1 / (n_new - self.min_window_length + 1)
                allowed = math.sqrt(spread * recip) + 2 / 3 * log_term * recip
                yield abs(total_old / n_old - total_new / n_new) / allowed, Level(n_old, total_old / n_old)


def _oldest_first(state: AdwinState) -> Iterator[Batch]:
    for row in reversed(state.rows):
        yield from row


def _merge(a: Batch, b: Batch) -> Batch:
    """Both batches as one."""
    n = a.n + b.n
    apart = a.total / a.n - b.total / b.n if a.n else 0.0
    return Batch(n, a.total + b.total, a.m2 + b.m2 + a.n * b.n * apart * apart / n)
