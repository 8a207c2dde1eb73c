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

    async def send_all(self, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> list[Any]:
        assert (topic, partition) == (TOPICS.results, 0)
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


async def story(broker: SlowBroker) -> None:
    """A window closes, and another while the state of its evaluation is being written."""
    wiring: Any = SimpleNamespace(flush_s=0.0, topics=TOPICS, evaluate_state=None, send_all=broker.send_all, forget=broker.forget)
    evaluate, done = Evaluate(wiring), list[int]()
    evaluate._evaluations = {0: Evaluation(Registry({"m": MODEL}), 1, {})}
    evaluate._owned, evaluate._events, evaluate._ends = {0: broker}, {0: []}, {0: 0}  # type: ignore[dict-item]

    def come(start: int, offset: int) -> None:
        evaluate._take(SimpleNamespace(value=passed(start, offset), ack=lambda: done.append(offset)))

    come(0, 0)
    evaluating = asyncio.ensure_future(evaluate.tick())
    async with asyncio.timeout(10):
        await broker.writing.wait()
        come(20, 2)
        await evaluate.tick()
    assert broker.windows()[-1] == [20] and done == [] and broker.written == []
    broker.acknowledges.set()
    await evaluating
    assert done == [0] and broker.written


def test_a_window_that_closes_while_the_state_of_an_evaluation_is_being_written_is_told_at_once() -> None:
    asyncio.run(story(SlowBroker()))
