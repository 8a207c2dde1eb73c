"""store: what evaluate and decide said, and what nobody could use, into the store. One insert a table and chunk."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from faust.types import TP

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.rows import Rows, dead_letter_rows, event_rows, result_rows
from driftline.streams.agents.wiring import Wiring
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.contiguity import Succession


class Store:
    """The output partitions of this worker. A chunk is acknowledged when all its rows are stored."""

    def __init__(self, wiring: Wiring, sink: ClickHouse) -> None:
        self._w, self._sink = wiring, sink
        self._succession = Succession()
        self.done: dict[TP, int] = {}

    async def start(self, assigned: Iterable[TP]) -> None:
        """Nothing is kept between chunks but where they ended."""
        self.done, self._succession = {}, Succession()

    async def run(self, stream: Any) -> None:
        """Store chunk by chunk. While the store is away this waits, and the lane holds its partitions back."""
        async for event in stream.events():
            self._succession.follow(event.value)
            await store(event.value, self._sink, self._w.topics)
            self.done[event.message.tp] = event.value.end


async def store(chunk: Chunk, sink: ClickHouse, topics: Topics) -> None:
    """Store one chunk of the topics results, alerts, retrain or dead-letters; returns when its rows are stored.

    A record that cannot be read raises `DriftlineError` before anything of the chunk is stored: what writes these topics is ours.
    """
    for table, rows in rows_of(chunk, topics).items():
        await asyncio.to_thread(sink.insert, table, rows, token(chunk, table))


def rows_of(chunk: Chunk, topics: Topics) -> Rows:
    """All rows of a chunk, by table."""
    rows: Rows = defaultdict(list)
    for i in range(len(chunk)):
        try:
            of_record = _rows_of_record(chunk, i, topics)
        except DriftlineError as error:
            where = f"{chunk.topic}, partition {chunk.partition}, offset {int(chunk.offset[i])}"
            raise DriftlineError(error.code, f"{where}: {error.message}", error.fix) from None
        for table, more in of_record.items():
            rows[table] += more
    return rows


def token(chunk: Chunk, table: str) -> str:
    """Names the block of a chunk's rows in one table: the same after a crash, another for other offsets or other bytes.

    The digest is for topics that begin anew at offset 0, whose blocks would else pass for those of the topic before.
    """
    digest = hashlib.blake2b(digest_size=8)
    for i, value in enumerate(chunk.values()):
        digest.update(b"%d:%d:" % (chunk.offset[i], -1 if value is None else len(value)))
        digest.update(value or b"")
    return f"{table}:{chunk.topic}:{chunk.partition}:{chunk.first}:{chunk.end - 1}:{digest.hexdigest()}"


def _rows_of_record(chunk: Chunk, i: int, topics: Topics) -> Rows:
    value, offset = chunk.value(i), int(chunk.offset[i])
    if chunk.topic == topics.dead_letters:
        return dead_letter_rows(chunk.key(i), value, chunk.headers[i], offset)
    if value is None:
        return {}
    if chunk.topic == topics.results:
        return result_rows(value)
    return event_rows(chunk.headers[i], value, offset)
