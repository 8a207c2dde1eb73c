"""How a worker fares, in figures: for its log, for probes, and for whoever draws curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import faust
from faust.types import TP

from driftline.schemas.topics import Topics
from driftline.streams.topology import Pipeline
from driftline.streams.transport.consumer import LaneConsumer
from driftline.streams.transport.state import to_recover


@dataclass(frozen=True, slots=True)
class Status:
    """What a worker says of itself.

    Attributes
    ----------
    ready
        Whether its state is recovered: its table read back, and its source topics read again up to where they had been counted.
    progress
        One line: what it waits for or reads back, and how much of how much.
    lag
        Records of a partition that nobody has taken in yet, by topic and partition; only what this worker reads.
    counters
        Records by what became of them, over all source partitions of this worker.
    flushes, flush_seconds
        How often panes were made durable, and how long that took altogether.
    """

    ready: bool
    progress: str
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    flushes: int = 0
    flush_seconds: float = 0.0


def status_of(app: faust.App, verbs: Pipeline, topics: Topics) -> Status:
    """Of a worker, asked in its event loop."""
    if not verbs.begun:
        left, total = to_recover(app)
        return Status(False, f"reading back the tables: {total - left} of {total} records" if total else "waiting for partitions")
    done, needed = verbs.ingest.recovery()
    ready = done >= needed
    mine = len(verbs.ingest.start_positions()) // 2
    progress = f"ready: {mine} source partitions, whose tables took {verbs.read_back} records to read back"
    if not ready:
        progress = f"reading {topics.predictions} and {topics.outcomes} again: {done} of {needed} records"
    ingest = verbs.ingest
    return Status(ready, progress, _lag(app, verbs), ingest.counters(), ingest.flushes, ingest.flush_seconds)


def _lag(app: faust.App, verbs: Pipeline) -> dict[tuple[str, int], int]:
    consumer = app.consumer
    assert isinstance(consumer, LaneConsumer)
    reached: Counter[TP] = Counter(verbs.ingest.start_positions())
    for positions in (verbs.evaluate.positions, verbs.decide.positions, verbs.store.positions):
        for tp, position in positions.done.items():
            reached[tp] = min(position, reached.get(tp, position))  # of two readers of a topic the slower
    return {(tp.topic, tp.partition): max((consumer.highwater(tp) or position) - position, 0) for tp, position in reached.items()}
