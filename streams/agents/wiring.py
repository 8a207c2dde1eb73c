"""What every agent is given: names, clients and state. No agent makes its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faust

from driftline.schemas.topics import Topics
from driftline.streams.registry import Registry
from driftline.streams.tiers import HOT_ROWS
from driftline.streams.transport.consumer import LaneConsumer
from driftline.streams.transport.models import ModelsReader
from driftline.streams.transport.state import Owned, State

LOOK_S = 0.5  # between two questions whether this worker is a member of the group


def _unheard(action: str, subject: str, detail: str) -> None:
    """Nobody keeps an audit log."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Shared by the agents of one worker.

    `partitions` is the partition count of every keyed topic; `flush_s` seconds of processing time between two flushes; `breaker` whether
    a topic of which too many records are dead letters waits for a person; `audit` is told an action, what it was done to, and more of it;
    `identities` asks the broker for the topics' ids, by name, and leaves out what it does not tell; `hot_rows` how many predictions and
    outcomes of a source partition may wait for each other in memory.
    """

    app: faust.App
    topics: Topics
    partitions: int
    registry: Registry
    models: ModelsReader
    ingest_state: State
    evaluate_state: State
    decide_state: State
    store_state: State
    flush_s: float = 0.2
    breaker: bool = True
    audit: Callable[[str, str, str], object] = _unheard
    identities: Callable[[], Mapping[str, str]] = dict
    hot_rows: int = HOT_ROWS

    @property
    def consumer(self) -> LaneConsumer:
        consumer: Any = self.app.consumer
        assert isinstance(consumer, LaneConsumer)
        return consumer

    @property
    def generation(self) -> int:
        """Of the group, as of the last assignment."""
        return self.app.consumer_generation_id

    @property
    def states(self) -> tuple[State, ...]:
        """The tables of all verbs."""
        return self.ingest_state, self.evaluate_state, self.decide_state, self.store_state

    def is_behind(self) -> bool:
        """Whether somebody of this worker's generation or a later one has written already: a successor, or the group began anew."""
        partitions = {tp.partition for tp in self.consumer.assignment()}
        return any(state.is_behind(k, self.generation) for state in self.states for k in partitions)

    async def is_owner(self) -> bool:
        """Whether the partitions of the last assignment are this worker's still; its group's coordinator knows."""
        generation = self.generation
        while generation == self.generation:
            if await self.consumer.is_member(generation):
                return generation == self.generation
            await asyncio.sleep(LOOK_S)
        return False

    async def forget(self, owned: Owned, keys: Collection[bytes]) -> None:
        """Delete keys from a table, once nothing in it speaks of them any more.

        Whoever is a member still has no successor that began before that. A late owner leaves them: its successor may have begun
        where they were needed, and drops them itself when they are not.
        """
        if keys and await self.consumer.is_member(owned.generation):
            await owned.remove(keys)

    async def topic_ids(self) -> Mapping[str, str]:
        """Name → id of the topics; a topic that is deleted and made anew has another."""
        return await asyncio.to_thread(self.identities)

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Awaitable[Any]:
        """Hand a record to the producer; what comes back can be awaited, and is done when the broker has it."""
        return await self.app.producer.send(topic, key, value, partition, None, list(headers))

    async def send_all(self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Awaitable[Any]]:
        """Hand (key, value) records of one partition to the producer, in order; the broker has them when all that comes back is done."""
        producer: Any = self.app.producer
        sent: list[Awaitable[Any]] = await producer.send_all(topic, partition, records)
        return sent
