"""Faust's producer, with many records of a partition in one call.

Record by record Faust and aiokafka make three coroutines and a future for each, which costs more than to encode most of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver


class LaneProducer(driver.Producer):
    """See the module."""

    async def send_all(self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Awaitable[Any]]:
        """Hand over (key, value) records in order. What comes back can be awaited: when all of it is done, the broker has them all.

        The first record of a batch goes aiokafka's own way, which waits where there is no room; the others are put behind it.
        """
        batches = self._ensure_producer()._message_accumulator._batches
        tp = TopicPartition(topic, partition)
        sent: dict[asyncio.Future[Any], None] = {}
        for key, value in records:
            batch = open_ones[-1] if (open_ones := batches.get(tp)) else None
            if batch is not None and batch._builder.append(timestamp=None, key=key, value=value) is not None:
                sent[batch.future] = None
            else:
                own: Any = await self.send(topic, key, value, partition, None, None)
                sent[own] = None
        return [asyncio.shield(future) for future in sent]  # a batch is others' too: whoever gives up must not end it for them
