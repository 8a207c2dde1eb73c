"""evaluate: from panes to results. The shell around `evaluation`.

Order: results and learned references, state, commit; each waits until the broker has the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from faust.types import TP

from driftline.schemas.reference import encode_entry, entry_key
from driftline.schemas.results import Columns, Results, encode_results
from driftline.streams.agents.pace import Pace
from driftline.streams.agents.positions import Positions, state_items
from driftline.streams.agents.wiring import Wiring
from driftline.streams.evaluation import Evaluated, Evaluation
from driftline.streams.transport.state import Owned

PAUSE = 9  # times as long as an evaluation took: windows that labels trickle into are judged again and again, and ingest must go on
ENDED_S = 1.0  # without another snapshot: there is nothing to wait for
LONGEST_S = 10.0  # of such a pause: what took long because a broker was away, or the process was stopped, says nothing about the next
ROWS = 4_000  # verdicts in one record; a record stays far below the broker's limit
PANE = 4  # as how many of these a row about a pane or a reference counts: it may be kilobytes
VERDICTS = ("drift_results", "performance_results", "quality_results")
WINDOW_ROWS = 20_000  # the same for the verdicts on one window, which stay together up to here
PART_ROWS = 100  # rows about panes and references that stay together: a record is filled with such parts


class Evaluate:
    """The partitions of `panes` of this worker."""

    def __init__(self, wiring: Wiring, pace: Pace | None = None) -> None:
        self._w = wiring
        self._pace = pace or Pace(wiring.flush_s)
        self.positions = Positions(wiring, wiring.evaluate_state, (wiring.topics.panes,))
        self._owned: dict[int, Owned] = {}
        self._evaluations: dict[int, Evaluation] = {}
        self._events: dict[int, list[Any]] = {}
        self._ends: dict[int, int] = {}
        self._halfway: dict[int, list[Any]] = {}  # of evaluations under way: what comes meanwhile and is taken in afterwards
        self._evaluated_s = self._took_s = self._came_s = 0.0
        self._evaluating, self._telling = asyncio.Lock(), asyncio.Lock()  # in this order
        self._order: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # a partition's results are handed over one after another

    async def start(self, assigned: Iterable[TP]) -> None:
        """Begin anew with the partitions of an assignment."""
        async with self._evaluating, self._telling:
            await self._w.models.catch_up(0)  # what the owner before published last, it may have judged by already
            self._owned = await self.positions.start(assigned)
            self._evaluations = {
                k: Evaluation(self._w.registry, self._w.partitions, dict(state_items(owned))) for k, owned in self._owned.items()
            }
            self._events = {k: [] for k in self._owned}
            self._ends = {tp.partition: at for tp, at in self.positions.starts.items()}

    async def run(self, stream: Any) -> None:
        """Take in chunks; evaluate no more often than the worker's pace says, however many come."""
        async for event in stream.noack().events():
            chunk = event.value
            if chunk.partition not in self._evaluations:
                event.ack()
                continue
            self.positions.follow(chunk)
            if (waiting := self._halfway.get(chunk.partition)) is None:
                self._take(event)
            else:
                waiting.append(event)
            await self.tick()

    def _take(self, event: Any) -> None:
        chunk = event.value
        for key, value in zip(chunk.keys(), chunk.values(), strict=True):
            self._evaluations[chunk.partition].take(key, value)
        self._came_s = time.monotonic()
        self._events[chunk.partition].append(event)
        self._ends[chunk.partition] = chunk.end

    async def tick(self) -> None:
        """Tell of windows that have just closed, for somebody waits for them, and evaluate when it is time."""
        if not self._telling.locked():
            await self._tell_new()
        now_s = time.monotonic()
        rest_s = min(PAUSE * self._took_s, LONGEST_S) if now_s - self._came_s < ENDED_S else 0.0
        if self._evaluating.locked() or now_s - self._evaluated_s <= max(self._pace.interval_s, rest_s):
            return
        async with self._evaluating:
            due = [
                (number, each)
                for number, each in self._evaluations.items()
                if self._events[number] or each.outdated or each.waits_until_s() <= now_s
            ]
            await asyncio.gather(*(self._evaluate(number, each) for number, each in due))
            self._evaluated_s = time.monotonic()
            self._took_s = self._evaluated_s - now_s

    async def _tell_new(self) -> None:
        """Rows only: the records that they come from stay unacknowledged until the evaluation that writes the state.

        An evaluation tells what it has found first. Until the broker has that and the state, others need not wait.
        """
        async with self._telling:
            sends = []
            for number, evaluation in list(self._evaluations.items()):
                if not self._order[number].locked() and not evaluation.outdated:
                    async with self._order[number]:
                        sends += await self._send(number, evaluation.first_rows(time.monotonic()))
            await asyncio.gather(*sends)

    async def rest(self) -> None:
        """Wait for the evaluation under way, and begin no other: the producer is about to end."""
        async with self._evaluating, self._telling:
            self._evaluations.clear()

    async def _evaluate(self, number: int, evaluation: Evaluation) -> None:
        async with self._order[number]:
            events, self._events[number] = self._events[number], []
            end = self._ends[number]
            out = Evaluated()
            self._halfway[number] = []
            try:
                for _ in evaluation.steps(out, time.monotonic()):
                    await asyncio.sleep(0)  # the producer must not wait for a thousand models
                sends = await self._send(number, out.results)
                sends += [await self._w.send(self._w.topics.models, 0, entry_key(each), encode_entry(each)) for each in out.learned]
            finally:
                for event in self._halfway.pop(number):
                    self._take(event)
        await self._tell_new()
        await asyncio.gather(*sends)
        tp = TP(self._w.topics.panes, number)
        owned = self._owned[number]
        await owned.write(end, out.state | self.positions.pair(tp, end))
        await self._w.forget(owned, out.removed)
        for event in events:
            event.ack()
        self.positions.finish(owned, tp, end)

    async def _send(self, number: int, told: Mapping[str, Results]) -> list[Awaitable[Any]]:
        records = [(model.encode(), encode_results(piece)) for model, results in told.items() for piece in pieces(results)]
        return await self._w.send_all(self._w.topics.results, number, records)


class Part(NamedTuple):
    """Rows of a table: some of those that came together."""

    table: str
    rows: Columns[Any]
    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin


def pieces(results: Results) -> Iterator[Results]:
    """The same rows in records of bounded size. Verdicts on one window stay in one record: whoever decides on half of them
    would ask for a retrain before seeing the data fault.

    >>> len(list(pieces(Results())))
    0
    """
    windows: defaultdict[tuple[Any, ...], list[Part]] = defaultdict(list)
    others: list[list[Part]] = []
    for name, table in results.tables().items():
        for rows in table.parts():
            if name in VERDICTS:
                for about, begin, end in rows.spans("version", "window_start", "window_end"):
                    windows[about].append(Part(name, rows, begin, end))
            else:
                others += [[Part(name, rows, at, min(at + PART_ROWS, len(rows)))] for at in range(0, len(rows), PART_ROWS)]
    record, size = list[Part](), 0
    for parts in chain.from_iterable(map(_cut, [*windows.values(), *others])):
        more = sum(part.size * (1 if part.table in VERDICTS else PANE) for part in parts)
        if size and size + more > ROWS:
            yield _together(record)
            record, size = [], 0
        record += parts
        size += more
    if size:
        yield _together(record)


def _together(parts: Iterable[Part]) -> Results:
    """One record of these; what came together and is next to one another stays together."""
    spans: defaultdict[int, list[Part]] = defaultdict(list)
    for part in parts:
        mine = spans[id(part.rows)]
        if mine and mine[-1].end == part.begin:
            mine[-1] = mine[-1]._replace(end=part.end)
        else:
            mine.append(part)
    record = Results()
    for part in chain.from_iterable(spans.values()):
        getattr(record, part.table).extend(part.rows[part.begin : part.end])
    return record


def _cut(parts: list[Part]) -> Iterator[list[Part]]:
    """The verdicts on one window as they are, or table by table, so many rows at a time, where they are too many for a record."""
    if sum(part.size for part in parts) <= WINDOW_ROWS:
        yield parts
        return
    for part in parts:
        for at in range(part.begin, part.end, WINDOW_ROWS):
            yield [part._replace(begin=at, end=min(at + WINDOW_ROWS, part.end))]
