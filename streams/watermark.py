"""How far a model's event time has come over all source partitions. Pure: progress in, milliseconds out."""

from __future__ import annotations

from collections.abc import Mapping
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
