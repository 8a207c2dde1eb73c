"""What waits for the store is stored together, and waits for its own partition only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import QualityResult, Results, encode_results
from driftline.schemas.topics import Topics
from driftline.streams.agents import store as agent
from driftline.streams.agents.store import Store
from driftline.streams.transport.chunk import Chunk, chunk_of

TOPICS = Topics("t")


def said(first: int, end: int, partition: int = 0) -> Chunk:
    """Records from `first` to `end`, each with a row that names its offset and partition."""

    def record(i: int) -> bytes:
        row = QualityResult("m", "1", "", i, i + 1, "x", "missing_rate", 0.0, 0.0, 0.1, 9, "ok", "", "ref", "pol", True, 1.0, partition)
        return encode_results(Results(quality_results=[row]))

    return chunk_of(TOPICS.results, partition, first, end, [(i, 0, b"m", record(i), ()) for i in range(first, end)])


class Slow:
    """A store that takes in blocks when the test says so, by partition."""

    def __init__(self, breaks: bool = False) -> None:
        self.begun: list[tuple[int, list[int]]] = []
        self.goes_on = {0: threading.Event(), 1: threading.Event()}
        self._breaks = breaks

    def insert(self, table: str, rows: Sequence[Any], token: str, *_: Any) -> None:
        partition = rows[0].revision
        self.begun.append((partition, [row.window_start for row in rows]))
        self.goes_on[partition].wait(20)
        if self._breaks:
            raise DriftlineError("store_failed", "it broke", "mend it")

    def close(self) -> None:
        """Nothing is held."""


class Worker:
    """The agent on a stream that the test feeds; `acked` has the ends of what it acknowledged."""

    def __init__(self, sink: Slow) -> None:
        self.acked: list[tuple[int, int]] = []
        self.asked = 0
        self._queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        wiring: Any = SimpleNamespace(topics=TOPICS, store_state=None)
        self.store = Store(wiring, sink)
        self.store.positions.starts = {TP(TOPICS.results, k): 0 for k in (0, 1)}
        self.running = asyncio.ensure_future(self.store.run(self))

    def noack(self) -> Worker:
        return self

    async def events(self) -> AsyncIterator[Any]:
        while True:
            self.asked += 1
            chunk = await self._queue.get()
            if chunk is None:
                return
            ack = partial(self.acked.append, (chunk.partition, chunk.end))
            yield SimpleNamespace(value=chunk, message=SimpleNamespace(tp=TP(chunk.topic, chunk.partition)), ack=ack)

    async def come(self, chunks: Iterable[Chunk | None]) -> None:
        """Hand chunks over, None where the stream ends, and let the agent do what it can."""
        for chunk in chunks:
            self._queue.put_nowait(chunk)
        await self.until(self._queue.empty)
        await asyncio.sleep(0.01)

    async def until(self, done: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.001)


def told(story: Callable[[Worker, Slow], Awaitable[None]], breaks: bool = False) -> None:
    async def tell() -> None:
        sink = Slow(breaks)
        worker = Worker(sink)
        try:
            await story(worker, sink)
        finally:
            for each in sink.goes_on.values():
                each.set()
            worker.running.cancel()
            await asyncio.wait({worker.running})

    asyncio.run(tell())


def test_chunks_that_come_while_another_is_being_stored_are_stored_together() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(0, 1), said(1, 2), said(2, 4)])
        assert (sink.begun, worker.acked) == ([(0, [0])], [])
        sink.goes_on[0].set()
        await worker.until(lambda: len(worker.acked) == 3)
        assert sink.begun == [(0, [0]), (0, [1, 2, 3])]
        assert worker.acked == [(0, 1), (0, 2), (0, 4)]
        assert worker.store.positions.done == {TP(TOPICS.results, 0): 4}

    told(story)


def test_a_partition_does_not_wait_for_another() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        sink.goes_on[1].set()
        await worker.come([said(0, 1), said(0, 1, partition=1), said(1, 2, partition=1)])
        await worker.until(lambda: worker.acked == [(1, 1), (1, 2)])
        assert sink.begun[0] == (0, [0])

    told(story)


def test_a_chunk_that_is_read_again_is_not_put_to_what_it_overlaps() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(0, 1), said(1, 3), said(2, 4)])
        sink.goes_on[0].set()
        await worker.until(lambda: len(worker.acked) == 3)
        assert sink.begun == [(0, [0]), (0, [1, 2]), (0, [2, 3])]

    told(story)


def test_little_is_taken_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "WAITING_BYTES", 1)

    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(0, 1)])
        await worker.come([said(1, 2)])
        assert worker.asked == 2
        sink.goes_on[0].set()
        await worker.until(lambda: worker.asked == 3)

    told(story)


def test_what_is_stored_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "TOGETHER_BYTES", 2 * len(said(1, 2).data))

    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(i, i + 1) for i in range(6)])
        sink.goes_on[0].set()
        await worker.until(lambda: len(worker.acked) == 6)
        assert [rows for _, rows in sink.begun] == [[0], [1, 2], [3, 4], [5]]

    told(story)


def test_a_store_that_breaks_ends_the_agent_and_nothing_is_acknowledged() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(0, 1), said(1, 2)])
        sink.goes_on[0].set()
        with pytest.raises(DriftlineError, match="it broke"):
            await asyncio.wait_for(asyncio.shield(worker.running), 20)
        assert worker.acked == []

    told(story, breaks=True)


def test_when_the_stream_ends_what_is_being_stored_is_waited_for_and_the_rest_is_read_again() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([said(0, 1), said(1, 2), None])
        assert not worker.running.done()
        sink.goes_on[0].set()
        await asyncio.wait_for(worker.running, 20)
        assert (sink.begun, worker.acked) == ([(0, [0])], [(0, 1)])

    told(story)


def test_a_stream_that_ends_where_nothing_is_stored_ends_the_agent() -> None:
    async def story(worker: Worker, sink: Slow) -> None:
        await worker.come([None])
        await asyncio.wait_for(worker.running, 20)
        assert sink.begun == []

    told(story)
