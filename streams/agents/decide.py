"""decide: from results to alerts and retrain requests. The shell around `policy` and `ledger`.

Order: events, state, commit; each waits until the broker has the one before.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from faust.types import TP

from driftline.schemas.config import Model
from driftline.schemas.results import decode_verdicts
from driftline.streams.agents.positions import Positions, state_items
from driftline.streams.agents.wiring import Wiring
from driftline.streams.ledger import Event, Ledger, apply
from driftline.streams.policy import Evidence, Version, evidence_of
from driftline.streams.transport.state import Owned


class Ledgers:
    """The ledgers of all model versions whose results come to this worker.

    A caller sends the events of a chunk, waits until they are sent, and only then writes the state and commits: what crashes in
    between is done again and gives events with the same ids.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models
        self._ledgers: dict[Version, Ledger] = {}

    def load(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin anew from the (key, value) pairs of the recovered table; whatever was here before is forgotten."""
        ledgers = (Ledger.from_bytes(value) for _, value in items)
        self._ledgers = {(ledger.model, ledger.version): ledger for ledger in ledgers}

    def handle(self, values: Iterable[bytes | None]) -> tuple[list[Event], list[tuple[bytes, bytes]]]:
        """One chunk of the results topic: the events to send, in order, and the (key, value) pairs to write to the table."""
        evidence: defaultdict[Version, list[Evidence]] = defaultdict(list)
        for value in values:
            if value:
                for about, items in evidence_of(decode_verdicts(value)).items():
                    evidence[about] += items
        events: list[Event] = []
        state: list[tuple[bytes, bytes]] = []
        for (model, version), items in evidence.items():
            before = self._ledgers.get((model, version)) or Ledger(model, version)
            after, said = apply(before, items, self._models.get(model) or Model(model))
            events += said
            if after != before:
                self._ledgers[model, version] = after
                state.append((msgspec.json.encode((model, version)), after.to_bytes()))
        return events, state


class Decide:
    """The partitions of `results` of this worker."""

    def __init__(self, wiring: Wiring) -> None:
        self._w = wiring
        self.positions = Positions(wiring, wiring.decide_state, (wiring.topics.results,))
        self._ledgers: dict[int, tuple[Owned, Ledgers]] = {}

    async def start(self, assigned: Iterable[TP]) -> None:
        """Begin anew with the partitions of an assignment."""
        self._ledgers = {}
        for number, owned in (await self.positions.start(assigned)).items():
            ledgers = Ledgers(self._w.registry.configured)
            ledgers.load(state_items(owned))
            self._ledgers[number] = owned, ledgers

    async def run(self, stream: Any) -> None:
        """Decide chunk by chunk; the chunk is acknowledged when the next one is asked for."""
        async for event in stream.events():
            chunk = event.value
            mine = self._ledgers.get(chunk.partition)
            if mine is None:
                continue
            owned, ledgers = mine
            self.positions.follow(chunk)
            said, state = ledgers.handle(chunk.values())
            names = {"alerts": self._w.topics.alerts, "retrain": self._w.topics.retrain}
            await asyncio.gather(*[await self._w.send(names[e.topic], chunk.partition, e.key, e.value, e.headers) for e in said])
            await owned.write(chunk.end, dict(state) | self.positions.pair(event.message.tp, chunk.end))
            self.positions.finish(owned, event.message.tp, chunk.end)
