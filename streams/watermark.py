"""How far a model's event time has come over all source partitions. Pure: progress in, milliseconds out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from driftline.schemas.config import Model
from driftline.schemas.progress import Progress
from driftline.streams.join import NEVER

FOREVER = -NEVER


class Watermark(NamedTuple):
    """Event times below which nothing more is expected, but for late events within the grace.

    `predictions`, `outcomes` are milliseconds. `everything` says that every partition has been quiet for the model's `max_wait_ms`
    with no lag: what was seen may then be judged, provisionally. `slowest` are the same two times over idle partitions too: one that
    comes back may bring events that are old for the others, and on time for itself.
    """

    predictions: int = NEVER
    outcomes: int = NEVER
    everything: bool = False
    slowest: tuple[int, int] = (NEVER, NEVER)

    def final(self, model: Model) -> int:
        """Windows that end at or before this can change no more."""
        predictions, outcomes = self.slowest
        return min(predictions - model.grace_ms, outcomes - model.grace_ms - model.horizon_ms)


def watermark(model: Model, progress: Mapping[int, Progress], partitions: int) -> Watermark:
    """The minimum over the partitions that are not idle.

    A partition is idle for a model when it has no lag and either never saw the model or had no record of it for `max_wait_ms`. A
    partition that has not reported yet, or that lags and has not met the model, holds everything back.

    >>> ahead = Progress(0, (9, 0), {"m": (60_000, NEVER)}, [], True, {})
    >>> watermark(Model("m", disorder_ms=0), {0: ahead}, 1).predictions
    60000
    >>> watermark(Model("m", disorder_ms=0), {0: ahead}, 2).predictions == NEVER
    True
    """
    if any(k not in progress for k in range(partitions)):
        return Watermark()
    newest: list[tuple[int, int]] = []
    idle = 0
    for k in range(partitions):
        told = progress[k]
        seen = told.newest.get(model.model)
        if seen is None:
            if not told.caught_up:
                return Watermark()
            idle += 1
        elif model.model in told.quiet:
            idle += 1
        else:
            newest.append(seen)
    met = [seen for k in range(partitions) if (seen := progress[k].newest.get(model.model))]
    if idle == partitions:
        newest = [(max(p for p, _ in met), max(o for _, o in met))] if met else []
    return Watermark(*_least(newest, model), everything=idle == partitions and bool(met), slowest=_least(met, model))


def _least(newest: list[tuple[int, int]], model: Model) -> tuple[int, int]:
    """The least of each topic, less the allowed disorder; a topic without any event stays at NEVER."""
    if not newest:
        return NEVER, NEVER
    p, o = min(p for p, _ in newest), min(o for _, o in newest)
    return p - model.disorder_ms if p > NEVER else NEVER, o - model.disorder_ms if o > NEVER else NEVER


@dataclass
class Patience:
    """Waits, after a lull, for the partitions that were idle in it: all go on when events come again, but one is told of first.

    Until none is idle any more, or `max_wait_ms` have passed in which each might have gone on, idle partitions count once more.

    >>> model, told = Model("m", disorder_ms=0, max_wait_ms=10_000), Watermark(60_000, 60_000, False, (20_000, 20_000))
    >>> patience = Patience()
    >>> held = patience.limit(told, newest=[60_000, 20_000], model=model, now_s=100.0)
    >>> held.predictions, patience.until_s, patience.limit(told, [60_000, 20_000], model, now_s=110.0).predictions
    (20000, 110.0, 60000)
    """

    until_s: float = math.inf  # when what is held back is to be looked at again
    _newest: object = None
    _moved_s: float = -math.inf
    _resumed_s: float = -math.inf
    _held: Watermark = field(default_factory=Watermark)
    _last: Watermark = field(default_factory=Watermark)

    def limit(self, told: Watermark, newest: object, model: Model, now_s: float) -> Watermark:
        """`told` as far as it can be trusted. `newest` is equal as long as no partition brings anything; `now_s` is any clock."""
        max_wait_s = model.max_wait_ms / 1000
        if newest != self._newest:
            # Some may have become idle a little before the others. Who waits already waits no longer for this.
            if now_s - self._moved_s >= max_wait_s / 2 and math.isinf(self.until_s):
                self._resumed_s, self._held = now_s, self._last
            self._newest, self._moved_s = newest, now_s
        self.until_s = math.inf
        if now_s < self._resumed_s + max_wait_s and not told.everything:
            predictions, outcomes = (
                min(now, max(held, slowest)) for now, held, slowest in zip(told[:2], self._held[:2], told.slowest, strict=True)
            )
            if (predictions, outcomes) != told[:2]:
                self.until_s = self._resumed_s + max_wait_s
                told = told._replace(predictions=predictions, outcomes=outcomes)
        self._last = told
        return told
