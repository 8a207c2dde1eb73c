"""decide: from results to alerts and retrain requests. The shell around `policy`: bytes in, events and bytes of state out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from driftline.schemas.config import Model
from driftline.streams.policy import Event, Evidence, Ledger, Verdicts, Version, apply, evidence_of

_decoder = msgspec.msgpack.Decoder(Verdicts)


class Decide:
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
                for about, items in evidence_of(_decoder.decode(value)).items():
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
