"""evaluate: from panes to results. The shell around `evaluation`.

Order: results and learned references, state, commit; each waits until the broker has the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

from faust.types import TP

from driftline.schemas.reference import encode_entry, entry_key
from driftline.schemas.results import Results, encode_results
from driftline.streams.agents.wiring import Wiring
from driftline.streams.evaluation import Evaluation

ROWS = 1_000  # rows in one record; a record stays far below the broker's limit


class Evaluate:
    """The partitions of `panes` of this worker."""

    def __init__(self, wiring: Wiring) -> None:
        self._w = wiring
        self._evaluations: dict[int, Evaluation] = {}
        self._events: dict[int, list[Any]] = {}
        self._ends: dict[int, int] = {}
        self.done: dict[TP, int] = {}
        self._evaluated_s = 0.0
        self._evaluating = asyncio.Lock()

    async def start(self, assigned: Iterable[TP]) -> None:
        """Begin anew with the partitions of an assignment."""
        async with self._evaluating:
            mine = sorted(tp.partition for tp in assigned if tp.topic == self._w.topics.panes)
            self._evaluations = {k: Evaluation(self._w.registry, self._w.partitions, dict(self._w.evaluate_state.of(k))) for k in mine}
            self._events = {k: [] for k in mine}
            self._ends, self.done = {}, {}

    async def run(self, stream: Any) -> None:
        """Take in chunks; evaluate at most every `flush_s` seconds, however many come."""
        async for event in stream.noack().events():
            chunk = event.value
            evaluation = self._evaluations.get(chunk.partition)
            if evaluation is None:
                continue
            for i in range(len(chunk)):
                evaluation.take(chunk.key(i), chunk.value(i))
            self._events[chunk.partition].append(event)
            self._ends[chunk.partition] = chunk.end
            await self.tick()

    async def tick(self) -> None:
        """Evaluate when it is time."""
        if time.monotonic() - self._evaluated_s <= self._w.flush_s:
            return
        async with self._evaluating:
            for number, evaluation in list(self._evaluations.items()):
                if self._events[number]:
                    await self._evaluate(number, evaluation)
            self._evaluated_s = time.monotonic()

    async def _evaluate(self, number: int, evaluation: Evaluation) -> None:
        events, self._events[number] = self._events[number], []
        end = self._ends[number]
        out = evaluation.evaluate()
        topics = self._w.topics
        sends = [
            await self._w.send(topics.results, number, model.encode(), encode_results(piece))
            for model, results in out.results.items()
            for piece in pieces(results)
        ]
        sends += [await self._w.send(topics.models, 0, entry_key(reference), encode_entry(reference)) for reference in out.learned]
        await asyncio.gather(*sends)
        await self._w.evaluate_state.write(number, end, out.state, out.removed)
        for event in events:
            event.ack()
        self.done[TP(topics.panes, number)] = end


def pieces(results: Results) -> Iterator[Results]:
    """The same rows in records of bounded size, table by table.

    >>> len(list(pieces(Results())))
    0
    """
    for name in Results.__struct_fields__:
        rows = getattr(results, name)
        for i in range(0, len(rows), ROWS):
            yield Results(**{name: rows[i : i + ROWS]})
