"""The archive: accepted events into the store as they are, for models whose file asks for it. The shell around `archive`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import msgspec

from driftline.schemas.errors import DriftlineError, Rejected
from driftline.sinks.sink import Sink
from driftline.streams.agents.letters import bury
from driftline.streams.agents.wiring import Wiring
from driftline.streams.archive import archived
from driftline.streams.batch import Topic
from driftline.streams.transport.chunk import Chunk


class Archive:
    """Keeps events. What is begun must have ended before a marker is written that is past it."""

    def __init__(self, wiring: Wiring, sink: Sink) -> None:
        self._w, self._sink = wiring, sink
        self._wanted = any(model.archive != "off" for model in wiring.registry.configured.values())

    def begin(self, chunk: Chunk, topic: Topic, dead: Collection[int]) -> list[asyncio.Future[None]]:
        """Start to store what is to be kept of a chunk; what comes back ends when it is stored. `dead`: numbers of the dead letters."""
        kept = dict(archived(chunk, topic, dead, self._w.registry.model)) if self._wanted else {}
        if not kept:
            return []
        return [asyncio.ensure_future(self._store(chunk, topic, kept))]

    async def _store(self, chunk: Chunk, topic: Topic, kept: Mapping[int, msgspec.Struct]) -> None:
        numbers, refused = [*kept], dict[int, Rejected]()

        def take(row: int, error: DriftlineError) -> None:
            refused[numbers[row]] = Rejected(error.code, error.message)

        name = f"{topic}:{chunk.topic}:{chunk.partition}:{chunk.first}:{chunk.end - 1}"
        await asyncio.to_thread(self._sink.insert, topic, [*kept.values()], name, take)
        for i, why in refused.items():
            await bury(self._w, chunk, i, why)
