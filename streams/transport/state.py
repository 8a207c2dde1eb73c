"""State in a Faust table: bytes under bytes, each value with a rank, and of two values of a key the higher rank stays.

Every snapshot is right for what it knows, so a zombie's late write does no harm as long as readers keep the value that knows more.
The first bytes of a record's key name the partition that owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from typing import Any

import faust
from faust.types import EventT

Pairs = dict[bytes, bytes]


class RankedTable(faust.Table):  # type: ignore[type-arg]
    """A table whose recovery keeps the highest rank of each key, where Faust's keeps the last."""

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        store: Any = self.data
        for event in batch:
            key, value = event.message.key, event.message.value
            old = store.data.get(key)
            if value is None:
                store.data.pop(key, None)
                store._key_partition.pop(key, None)
            elif old is None or value[:8] >= old[:8]:
                store.data[key] = value
                store._key_partition[key] = event.message.partition


class State:
    """One verb's table."""

    def __init__(self, app: faust.App, name: str, partitions: int) -> None:
        self._table: Any = RankedTable(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes, default=None)
        app.tables.add(self._table)

    def of(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """What was recovered for a partition: (key, value) without owner and rank."""
        owner = b"%d|" % partition
        for key, value in list(self._table.data.data.items()):
            if key.startswith(owner):
                yield key[len(owner) :], value[8:]

    async def write(self, partition: int, rank: int, pairs: Pairs, removed: Iterable[bytes] = ()) -> None:
        """Write values that all know what `rank` knows; returns when the broker has them all."""
        owner = b"%d|" % partition
        sends = []
        for key, value in pairs.items():
            ranked = rank.to_bytes(8) + value
            self._table.data.data[owner + key] = ranked
            sends.append(await self._send(partition, owner + key, ranked))
        for key in removed:
            self._table.data.data.pop(owner + key, None)
            sends.append(await self._send(partition, owner + key, None))
        await asyncio.gather(*sends)

    async def _send(self, partition: int, key: bytes, value: bytes | None) -> Awaitable[Any]:
        """Straight to the producer: the table's own way makes tasks and futures for each record and gives nothing that is used here."""
        topic = self._table.changelog_topic.get_topic_name()
        sent: Awaitable[Any] = await self._table.app.producer.send(topic, key, value, partition, None, [])
        return sent
