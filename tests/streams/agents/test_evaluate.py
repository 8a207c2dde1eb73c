"""Who waits for a window's rows waits for nothing else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import Progress, encode_progress, progress_key
from driftline.schemas.results import decode_results
from driftline.schemas.topics import Topics
from driftline.streams.agents.evaluate import Evaluate
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import Fence, PaneKey, empty_pane, encode_key, encode_pane
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, chunk_of

MODEL = Model("m", pane_ms=10, windows=(Window(20, 20),), horizon_ms=50, disorder_ms=0, grace_ms=0, policy=Policy(min_samples=1))
TOPICS = Topics("t")


class SlowBroker:
    """A producer, and a table that is written when the test says so."""

    def __init__(self) -> None:
        self.results: list[bytes] = []
        self.written: list[bytes] = []
        self.writing, self.acknowledges = asyncio.Event(), asyncio.Event()
        self.hand_overs = 0
        self.has_room = asyncio.Event()  # for the first records; later ones find room
        self.has_room.set()

    async def send_all(self, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> list[Any]:
        assert (topic, partition) == (TOPICS.results, 0)
        self.hand_overs += 1
        if self.hand_overs == 1:
            await self.has_room.wait()
        self.results += [value for _, value in records]
        return [asyncio.sleep(0) for _ in records]

    async def write(self, rank: int, pairs: dict[bytes, bytes]) -> None:
        self.writing.set()
        await self.acknowledges.wait()
        self.written += pairs

    async def forget(self, *_: object) -> None:
        """Nothing is kept."""

    def windows(self) -> list[list[int]]:
        """Of each record, the windows that it tells."""
        return [sorted({row.window_start for row in decode_results(value).drift_results}) for value in self.results]


def passed(start: int, offset: int) -> Chunk:
    """A pane that begins at `start`, and the progress that closes its window."""
    pane = empty_pane(None)
    pane.add_raw({"x": [0.25] * 2}, np.arange(2), {"x": "numeric"})
    progress = Progress(0, (start + 9, start + 9), {"m": (start + 20, start + 20)}, [], True, {})
    rows: list[tuple[bytes, bytes]] = [
        (encode_key(PaneKey("m", "1", "", start), 0), encode_pane(pane, Fence(5, 0))),
        (progress_key(0), encode_progress(progress)),
    ]
    return chunk_of(TOPICS.panes, 0, offset, offset + 2, [(offset + i, 0, *row, ()) for i, row in enumerate(rows)])


async def until(done: Any) -> None:
    while not done():
        await asyncio.sleep(0)


def beginning(broker: SlowBroker) -> tuple[Evaluate, list[int]]:
    """A worker that has no panes yet, and the offsets of what it acknowledges."""
    wiring: Any = SimpleNamespace(flush_s=0.0, topics=TOPICS, evaluate_state=None, send_all=broker.send_all, forget=broker.forget)
    evaluate = Evaluate(wiring)
    evaluate._evaluations = {0: Evaluation(Registry({"m": MODEL}), 1, {})}
    evaluate._owned, evaluate._events, evaluate._ends = {0: broker}, {0: []}, {0: 0}  # type: ignore[dict-item]
    return evaluate, []


def come(evaluate: Evaluate, start: int, offset: int, done: list[int]) -> None:
    evaluate._take(SimpleNamespace(value=passed(start, offset), ack=lambda: done.append(offset)))


async def story(broker: SlowBroker) -> None:
    """A window closes, and another while the state of its evaluation is being written."""
    evaluate, done = beginning(broker)
    come(evaluate, 0, 0, done)
    evaluating = asyncio.ensure_future(evaluate.tick())
    async with asyncio.timeout(10):
        await broker.writing.wait()
        come(evaluate, 20, 2, done)
        await evaluate.tick()
    assert broker.windows()[-1] == [20] and done == [] and broker.written == []
    broker.acknowledges.set()
    await evaluating
    assert done == [0] and broker.written


def test_a_window_that_closes_while_the_state_of_an_evaluation_is_being_written_is_told_at_once() -> None:
    asyncio.run(story(SlowBroker()))


async def no_room(broker: SlowBroker) -> None:
    """The producer has no room for what is told of a window, and has room again when it is evaluated."""
    evaluate, done = beginning(broker)
    broker.has_room.clear()
    broker.acknowledges.set()
    come(evaluate, 0, 0, done)
    first = asyncio.ensure_future(evaluate.tick())
    async with asyncio.timeout(10):
        await until(lambda: broker.hand_overs)
        come(evaluate, 20, 2, done)
        second = asyncio.ensure_future(evaluate.tick())
        for _ in range(20):
            await asyncio.sleep(0)
        told = broker.windows()
        broker.has_room.set()
        await asyncio.gather(first, second)
    assert told == []
    assert broker.windows()[0] == [0]


def test_what_is_told_of_a_partition_is_handed_over_in_order() -> None:
    asyncio.run(no_room(SlowBroker()))
