"""store: what evaluate and decide said, and what nobody could use, into the store. One insert a table and block.

Chunks of a partition that come while the one before is being stored are stored together. A block is what is stored at once, or the part
of it between two multiples of `BLOCK` offsets: what is read again after a crash in much falls into the same blocks wherever it was cut.
Where it does not, the same rows are inserted under another token and replace themselves.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
from faust.types import TP

from driftline.schemas.errors import DriftlineError, Rejected
from driftline.schemas.results import Columns, Table, joined
from driftline.schemas.topics import Topics
from driftline.sinks.rows import Rows, dead_letter_rows, event_rows, model_rows, result_rows
from driftline.sinks.sink import Sink
from driftline.streams.agents.letters import bury
from driftline.streams.agents.positions import Positions
from driftline.streams.agents.wiring import Wiring
from driftline.streams.transport.chunk import Chunk, merged
from driftline.streams.transport.state import Owned

log = logging.getLogger(__name__)
BLOCK = 1_000  # offsets
TOGETHER_BYTES = 4 << 20  # of chunks that are stored together
WAITING_BYTES = 16 << 20  # of chunks that wait for those before them; the rest waits in the lane
INSERTS = 4  # at once
REMIND_S = 10.0  # between two reports of how far a partition is behind


class Store:
    """The output partitions of this worker. A chunk is acknowledged when all its rows are stored.

    Each partition waits for itself alone: a window that has just closed must not wait for the alerts of another.
    """

    def __init__(self, wiring: Wiring, sink: Sink) -> None:
        self._w, self._sink = wiring, sink
        topics = wiring.topics
        kept = (topics.results, topics.alerts, topics.retrain, topics.dead_letters)
        self.positions = Positions(wiring, wiring.store_state, kept, anew=(topics.models,))
        self._owned: dict[int, Owned] = {}
        self._waiting: dict[TP, list[Any]] = {}  # events
        self._storing: dict[TP, asyncio.Future[None]] = {}
        self._threads = ThreadPoolExecutor(INSERTS, "store")  # of its own: while the store is away they wait, and nobody else should

    async def start(self, assigned: Iterable[TP]) -> None:
        """Begin anew with the partitions of an assignment. Nothing is kept between chunks but where they ended."""
        self._owned = await self.positions.start(assigned)
        self._waiting.clear()

    async def run(self, stream: Any) -> None:
        """Store what comes, of each partition one chunk after another. While the store is away little is taken, and the lane holds the
        partitions back. When the stream ends, what is being stored is waited for; what waits is read again."""
        events = stream.noack().events()
        coming: asyncio.Future[Any] | None = None
        ended = False
        try:
            while self._storing or not ended:
                if not ended and coming is None and sum(map(_size, self._waiting.values())) < WAITING_BYTES:
                    coming = asyncio.ensure_future(anext(events, None))
                under_way = {*self._storing.values(), *filter(None, [coming])}
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for tp in [tp for tp, storing in self._storing.items() if storing.done()]:
                    self._storing.pop(tp).result()
                if coming and coming.done():
                    event, coming = coming.result(), None
                    ended = event is None
                    if event is not None:
                        self._take(event)
                for tp in () if ended else self._waiting.keys() - self._storing.keys():
                    self._storing[tp] = asyncio.ensure_future(self._store(tp, self._together(tp)))
        finally:
            for each in filter(None, [coming, *self._storing.values()]):
                each.cancel()

    def _take(self, event: Any) -> None:
        tp = event.message.tp
        if tp not in self.positions.starts:
            event.ack()
            return
        self.positions.follow(event.value)
        self._waiting.setdefault(tp, []).append(event)

    def _together(self, tp: TP) -> list[Any]:
        """What of a partition is stored next: chunks that follow one another. One that is read again may overlap the one before."""
        waiting, n = self._waiting.pop(tp), 1
        while n < len(waiting) and waiting[n].value.first == waiting[n - 1].value.end and _size(waiting[: n + 1]) <= TOGETHER_BYTES:
            n += 1
        if waiting[n:]:
            self._waiting[tp] = waiting[n:]
        return waiting[:n]

    async def _store(self, tp: TP, events: list[Any]) -> None:
        owned = self._owned.get(tp.partition) if tp.topic != self._w.topics.models else None
        chunk = merged([event.value for event in events])
        for i, why in (await self._stored(chunk, tp)).items():
            await bury(self._w, chunk, i, why)
        if owned:
            await owned.write(chunk.end, self.positions.pair(tp, chunk.end))
        self.positions.finish(owned, tp, chunk.end)
        for event in events:
            event.ack()

    async def _stored(self, chunk: Chunk, tp: TP) -> dict[int, Rejected]:
        """What `store` answers; says meanwhile how much waits."""
        storing = asyncio.ensure_future(store(chunk, self._sink, self._w.topics, self._threads))
        while not (await asyncio.wait({storing}, timeout=REMIND_S))[0]:
            end = self._w.consumer.highwater(tp) or chunk.end
            log.warning("%s-%s waits for the store; %s records are behind", tp.topic, tp.partition, end - chunk.first)
        return storing.result()


def _size(events: list[Any]) -> int:
    return sum(len(event.value.data) for event in events)


@dataclass(frozen=True, slots=True)
class Rowed:
    """Rows of one table, and the numbers of the records in their chunk that they came from, with how many rows there are up to each."""

    rows: Columns[msgspec.Struct]
    records: list[int]
    ends: list[int]

    def record(self, number: int) -> int:
        """The number of the record that a row came from."""
        return self.records[bisect_right(self.ends, number)]


async def store(chunk: Chunk, sink: Sink, topics: Topics, threads: Executor | None = None) -> dict[int, Rejected]:
    """Store one chunk of the topics results, alerts, retrain, dead-letters or models; returns when its rows are stored.

    A record that cannot be read raises `DriftlineError` before anything of the chunk is stored: what writes these topics is ours.

    Returns
    -------
    The numbers of the records of which the store refused a row, and why. The other rows are stored.
    """
    refused: dict[int, Rejected] = {}
    loop = asyncio.get_running_loop()
    for block, tables in [(block, rows_of(block, topics)) for block in blocks(chunk)]:
        digest = digest_of(block)

        def insert(table: str, found: Rowed, block: Chunk = block, digest: str = digest) -> None:
            def take(number: int, error: DriftlineError) -> None:
                if chunk.topic == topics.dead_letters:
                    raise error  # or its letter would come back here
                record = int(np.searchsorted(chunk.offset, block.offset[found.record(number)]))
                refused[record] = Rejected(error.code, error.message)

            sink.insert(table, found.rows, token(block, table, digest), take)

        await asyncio.gather(*(loop.run_in_executor(threads, insert, table, found) for table, found in tables.items()))
    return refused


def blocks(chunk: Chunk) -> Iterator[Chunk]:
    """The chunk, cut at the multiples of `BLOCK` offsets.

    >>> from driftline.streams.transport.chunk import chunk_of
    >>> chunk = chunk_of("t", 0, 997, 2_001, [(i, 0, None, b"", ()) for i in (998, 1_000, 1_999, 2_000)])
    >>> [(block.first, block.end, block.offset.tolist()) for block in blocks(chunk)]
    [(997, 1000, [998]), (1000, 2000, [1000, 1999]), (2000, 2001, [2000])]
    """
    for begin in range(chunk.first - chunk.first % BLOCK, chunk.end, BLOCK):
        part, end = chunk.since(max(begin, chunk.first)), min(begin + BLOCK, chunk.end)
        n = int(np.searchsorted(part.offset, end))
        names = ("offset", "timestamp", "key_start", "key_end", "value_start", "value_end", "headers")
        yield replace(part, end=end, **{name: getattr(part, name)[:n] for name in names})


def rows_of(chunk: Chunk, topics: Topics) -> dict[str, Rowed]:
    """All rows of a chunk, by table."""
    found: defaultdict[str, list[tuple[int, Table[Any]]]] = defaultdict(list)
    for i in range(len(chunk)):
        try:
            of_record = _rows_of_record(chunk, i, topics)
        except DriftlineError as error:
            where = f"{chunk.topic}, partition {chunk.partition}, offset {int(chunk.offset[i])}"
            raise DriftlineError(error.code, f"{where}: {error.message}", error.fix) from None
        for table, rows in of_record.items():
            found[table].append((i, Table(rows)))
    return {
        table: Rowed(
            joined([part for _, rows in told for part in rows.parts()]),
            [i for i, _ in told],
            [*accumulate(len(rows) for _, rows in told)],
        )
        for table, told in found.items()
    }


def digest_of(chunk: Chunk) -> str:
    """Of offsets and bytes: topics may begin anew at offset 0, and their blocks would else pass for those of the topic before."""
    digest = hashlib.sha1(usedforsecurity=False)  # processors have instructions for it: half of what BLAKE2 takes
    data = memoryview(chunk.data)
    for offset, start, end in zip(chunk.offset.tolist(), chunk.value_start.tolist(), chunk.value_end.tolist(), strict=True):
        digest.update(b"%d:%d:" % (offset, -1 if start < 0 else end - start))
        digest.update(data[start:end])
    return digest.hexdigest()[:16]


def token(chunk: Chunk, table: str, digest: str) -> str:
    """Names the block of a chunk's rows in one table: the same after a crash, another for other offsets or other bytes."""
    return f"{table}:{chunk.topic}:{chunk.partition}:{chunk.first}:{chunk.end - 1}:{digest}"


def _rows_of_record(chunk: Chunk, i: int, topics: Topics) -> Rows:
    value, offset, time = chunk.value(i), int(chunk.offset[i]), int(chunk.timestamp[i])
    if chunk.topic == topics.dead_letters:
        return dead_letter_rows(chunk.key(i), value, chunk.headers[i], offset)
    if value is None:
        return {}
    if chunk.topic == topics.models:
        return model_rows(value, offset, time)
    if chunk.topic == topics.results:
        return result_rows(value)
    return event_rows(chunk.headers[i], value, offset)
