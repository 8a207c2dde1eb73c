"""What every agent is given: names, clients and state. No agent makes its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faust

from driftline.schemas.topics import Topics
from driftline.streams.registry import Registry
from driftline.streams.transport.consumer import LaneConsumer
from driftline.streams.transport.models import ModelsReader
from driftline.streams.transport.state import State


def _unheard(action: str, subject: str, detail: str) -> None:
    """Nobody keeps an audit log."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Shared by the agents of one worker.

    `partitions` is the partition count of every keyed topic; `flush_s` seconds of processing time between two flushes; `breaker` whether
    a topic of which too many records are dead letters waits for a person; `audit` is told an action, what it was done to, and more of it.
    """

    app: faust.App
    topics: Topics
    partitions: int
    registry: Registry
    models: ModelsReader
    ingest_state: State
    evaluate_state: State
    decide_state: State
    flush_s: float = 0.5
    breaker: bool = True
    audit: Callable[[str, str, str], object] = _unheard

    @property
    def consumer(self) -> LaneConsumer:
        consumer: Any = self.app.consumer
        assert isinstance(consumer, LaneConsumer)
        return consumer

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Awaitable[Any]:
        """Hand a record to the producer; what comes back can be awaited, and is done when the broker has it."""
        return await self.app.producer.send(topic, key, value, partition, None, list(headers))
