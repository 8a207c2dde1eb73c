"""Reads the `models` topic whole before a worker starts, and follows it. No consumer group: every worker reads all of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from driftline.schemas.reference import decode_entry
from driftline.streams.registry import Registry

log = logging.getLogger(__name__)


class ModelsReader:
    """Keeps a registry as new as the topic.

    Parameters
    ----------
    connection
        Arguments of an aiokafka client: addresses and security.
    """

    def __init__(self, topic: str, registry: Registry, connection: Mapping[str, Any]) -> None:
        self._partition = TopicPartition(topic, 0)
        self._registry = registry
        registry.complete_until = 0  # nothing is read yet
        self._consumer = AIOKafkaConsumer(**connection, group_id=None, auto_offset_reset="earliest", enable_auto_commit=False)
        self._lock = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the whole topic, then follow it."""
        await self._consumer.start()
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        await self.catch_up(0)
        self._following = asyncio.create_task(self._follow(), name="models")

    @property
    def failure(self) -> BaseException | None:
        """Why it follows no longer, before anybody stopped it."""
        ended = self._following is not None and self._following.done() and not self._following.cancelled()
        return self._following.exception() if ended and self._following else None

    async def stop(self) -> None:
        """End following and close the connection."""
        if self._following:
            self._following.cancel()
            await asyncio.wait({self._following})  # whatever it ended with, `failure` tells
        await self._consumer.stop()

    async def catch_up(self, timestamp: int) -> None:
        """Read to the present end. Afterwards the registry is complete for every record up to `timestamp` that a source topic has."""
        async with self._lock:
            asked = int(time.time() * 1000)
            end = (await self._consumer.end_offsets([self._partition]))[self._partition]
            while await self._consumer.position(self._partition) < end:
                await self._read(1_000)
            self._registry.complete_until = max(self._registry.complete_until, timestamp + 1, asked - 60_000)

    async def _follow(self) -> None:
        while True:
            async with self._lock:
                await self._read(100)
            await asyncio.sleep(0.2)

    async def _read(self, timeout_ms: int) -> None:
        for records in (await self._consumer.getmany(timeout_ms=timeout_ms)).values():
            for record in records:
                if record.value is None:
                    continue
                try:
                    self._registry.add(decode_entry(record.value), record.timestamp)
                except msgspec.MsgspecError as error:
                    log.error("entry %s of %s cannot be read and is left out: %s", record.offset, self._partition.topic, error)
