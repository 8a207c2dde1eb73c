"""The pipeline on one screen. Start here.

     predictions ─┐                                                        ┌─► decide ──► alerts, retrain ─┐
                  ├─► ingest ──► panes ──► evaluate ──► results ───────────┤                               │
     outcomes ────┘     │                     │                            └─► store ──► ClickHouse ◄──────┤
                        │                     └──► models (learned)                                        │
                        └──► dead-letters ─────────────────────────────────────────────────────────────────┘

One Faust worker runs all four verbs; partitions spread over workers. Every agent reads a lane: one event is one chunk of records.
An agent's file says in which order it makes things durable; what it decides is decided in the pure modules beside `agents/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import TP

from driftline.sinks.sink import Sink
from driftline.streams.agents.archive import Archive
from driftline.streams.agents.cold import Cold
from driftline.streams.agents.decide import Decide
from driftline.streams.agents.evaluate import Evaluate
from driftline.streams.agents.ingest import Ingest
from driftline.streams.agents.pace import Pace
from driftline.streams.agents.store import Store
from driftline.streams.agents.wiring import Wiring
from driftline.streams.transport.lane import install, lane_topic


@dataclass(slots=True)
class Pipeline:
    """The four verbs of one worker.

    `begun`: whether all have begun with the partitions that it has now; `read_back`: records of their tables that were read for that.
    """

    ingest: Ingest
    evaluate: Evaluate
    decide: Decide
    store: Store
    begun: bool = False
    read_back: int = 0

    def start_positions(self) -> dict[TP, int]:
        """Where every partition of this worker must be read from: each verb knows its own table's, and the one behind counts."""
        starts = self.ingest.start_positions()
        for verb in (self.evaluate, self.decide, self.store):
            starts |= {tp: min(at, starts.get(tp, at)) for tp, at in verb.positions.starts.items()}
        return starts


def build(app: faust.App, wiring: Wiring, sink: Sink, cold: Cold, ready: Callable[[], object]) -> Pipeline:
    """Wire every agent to its topics; `ready` is called whenever all verbs have begun with the partitions of an assignment."""
    topics = wiring.topics
    pace = Pace(wiring.flush_s)
    verbs = Pipeline(Ingest(wiring, cold, Archive(wiring, sink), pace), Evaluate(wiring, pace), Decide(wiring), Store(wiring, sink))
    outputs = (topics.results, topics.alerts, topics.retrain, topics.dead_letters, topics.models)
    install(app, (topics.predictions, topics.outcomes, topics.panes, *outputs), verbs.start_positions)

    app.agent(lane_topic(app, topics.predictions, topics.outcomes), name="ingest")(verbs.ingest.run)
    app.agent(lane_topic(app, topics.panes), name="evaluate")(verbs.evaluate.run)
    app.agent(lane_topic(app, topics.results), name="decide")(verbs.decide.run)
    app.agent(lane_topic(app, *outputs), name="store")(verbs.store.run)

    @app.timer(wiring.flush_s / 2, name="tick")  # type: ignore[untyped-decorator]
    async def tick() -> None:
        await verbs.ingest.tick()
        await verbs.evaluate.tick()

    async def start(assigned: Iterable[TP]) -> None:
        for verb in (verbs.ingest, verbs.evaluate, verbs.decide, verbs.store):
            await verb.start(assigned)

    async def begin(*_: Any, **__: Any) -> None:
        verbs.read_back = sum(state.read_back for state in wiring.states)
        # A verb's start claims its partitions in its table. Who is a member of the group after that has a successor that will see it.
        if not wiring.is_behind() or await wiring.is_owner():
            await start(app.consumer.assignment())
            if await wiring.is_owner():
                verbs.begun = True
                ready()
                return
        await start(())  # others have the partitions, and the next assignment is under way

    async def give_up(*_: Any, **__: Any) -> None:
        verbs.begun = False

    app.on_partitions_revoked.connect(give_up, weak=False)
    app.on_rebalance_complete.connect(begin, weak=False)
    return verbs
