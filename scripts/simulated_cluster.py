"""A cluster in one thread, for `simulate`: Kafka's logs and groups, producers, the store, clocks; and the product's own agents on them.

Nothing happens by itself. Every effect (a record lands, an acknowledgement comes back, a block is inserted, a chunk is fetched, an
offset committed) waits until the simulation lets it happen, so a worker can die between any two of them. The workers are the real
ones: what `topology.build` builds, its tables and the reader of `models`; only what lies behind them is made up here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import selectors
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from faust.types import TP
from shelf import Shelf

from driftline.schemas.config import Model
from driftline.schemas.topics import Topics
from driftline.sinks.tables import tables
from driftline.streams.agents.wiring import Wiring
from driftline.streams.registry import Registry
from driftline.streams.topology import build
from driftline.streams.transport import models as models_module
from driftline.streams.transport.chunk import Chunk, chunk_of
from driftline.streams.transport.consumer import WAITING_CHUNKS, LaneConsumer
from driftline.streams.transport.state import State
from driftline.streams.worker import Timing, application

CURRENT: contextvars.ContextVar[SimWorker] = contextvars.ContextVar("worker")  # whose code is running
CLOCKED = ("agents.ingest", "agents.evaluate", "agents.decide", "agents.store", "transport.models")  # modules that ask a clock
VERB_STATES = ("ingest", "evaluate", "decide", "store")
BLOCKS = 1_000  # insert tokens that a table remembers


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing else is to be done, and whose threads are effects like any other."""

    def __init__(self) -> None:
        super().__init__(_NoWaiting(self))
        self.now = 0.0
        self.set_task_factory(_task)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        return CURRENT.get().later(lambda: func(*args))


class _NoWaiting(selectors.SelectSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will never come")
        self._loop.now += max(timeout, 0.0)
        return []


def _task(loop: asyncio.AbstractEventLoop, coro: Any, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, context=context)
    worker = (context or contextvars.copy_context()).get(CURRENT)
    if worker:
        worker.tasks.add(task)
        task.add_done_callback(worker.tasks.discard)
    return task


class _Clock:
    """The `time` of a worker: its own, and not to be trusted."""

    @staticmethod
    def monotonic() -> float:
        return CURRENT.get().clock_s

    @staticmethod
    def time() -> float:
        return CURRENT.get().clock_s

    @staticmethod
    def thread_time() -> float:
        return CURRENT.get().clock_s


@contextlib.contextmanager
def simulated_time() -> Iterator[None]:
    """While this holds, the shell's modules ask the simulated worker's clock, and read `models` from the simulated broker."""
    modules = [importlib.import_module(f"driftline.streams.{name}") for name in CLOCKED]
    patched = [(module, "time", module.time) for module in modules if hasattr(module, "time")]
    patched.append((models_module, "AIOKafkaConsumer", AIOKafkaConsumer))
    try:
        for module, name, _ in patched:
            setattr(module, name, _Clock if name == "time" else _ModelsConsumer)
        yield
    finally:
        for module, name, original in patched:
            setattr(module, name, original)


# ── the broker ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Record(NamedTuple):
    """One record of a log, as `chunk_of` takes it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass
class Log:
    """One partition of a topic. Compaction leaves holes."""

    records: list[Record] = field(default_factory=list)
    end: int = 0

    def append(self, timestamp: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Record:
        record = Record(self.end, timestamp, key, value, tuple(headers))
        self.records.append(record)
        self.end += 1
        return record

    def read(self, first: int, most: int) -> list[Record]:
        at = bisect_left(self.records, first, key=lambda record: record.offset)
        return self.records[at : at + most]

    def compact(self, before: int) -> int:
        """Of each key keep only the last record below `before`; returns how many went."""
        last = {record.key: record.offset for record in self.records if record.offset < before}
        kept = [r for r in self.records if r.offset >= before or last[r.key] == r.offset]
        gone, self.records = len(self.records) - len(kept), kept
        return gone


class Broker:
    """Logs, committed offsets and the group. `watch` sees every record as it is appended."""

    def __init__(self, watch: Callable[[TP, Record], None]) -> None:
        self.logs: defaultdict[TP, Log] = defaultdict(Log)
        self.committed: dict[TP, int] = {}
        self.generation = 0
        self.owners: dict[int, SimWorker] = {}
        self.now_ms = 0
        self._watch = watch

    def append(
        self, tp: TP, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] = (), timestamp: int | None = None
    ) -> Record:
        record = self.logs[tp].append(self.now_ms if timestamp is None else timestamp, key, value, headers)
        self._watch(tp, record)
        return record


class Replacing:
    """ClickHouse's replacing tables: of the rows of a key the highest revision stays, of equal ones the last inserted."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, dict[tuple[Any, ...], Any]] = defaultdict(dict)
        self._tokens: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=BLOCKS))
        self.shelf = Shelf()  # for the ids that memory has no room for

    def insert(self, table: str, rows: Iterable[Any], token: str, *_: Any) -> None:
        if token in self._tokens[table]:
            return
        self._tokens[table].append(token)
        self.put(table, rows)

    def put(self, table: str, rows: Iterable[Any]) -> None:
        columns = tables()[table].key
        for row in rows:
            key = tuple(getattr(row, name) for name in columns)
            known = self.rows[table].get(key)
            if known is None or row.revision >= known.revision:
                self.rows[table][key] = row


# ── a worker ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Delivery:
    """A chunk on its way through one or several agents. It is done when all of them have acknowledged it."""

    def __init__(self, worker: SimWorker, chunk: Chunk, readers: int) -> None:
        self.worker, self.chunk, self.left = worker, chunk, readers
        self.tp = TP(chunk.topic, chunk.partition)
        self.generation = worker.generation
        self.started = False

    def ack(self) -> None:
        """Counts only in the generation of the delivery, while the flow runs (`transport.consumer.ChunkMessage`)."""
        if self.generation == self.worker.generation and self.worker.flowing:
            self.left -= 1


class Event:
    """What an agent sees of a delivery."""

    def __init__(self, delivery: Delivery) -> None:
        self.value, self.message = delivery.chunk, SimpleNamespace(tp=delivery.tp)
        self._delivery, self._acked = delivery, False

    def ack(self) -> None:
        if not self._acked:
            self._acked = True
            self._delivery.ack()


class Stream:
    """An agent's stream: chunks in order, each acknowledged when the next one is asked for, or by the agent itself."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._acks = True

    def noack(self) -> Stream:
        self._acks = False
        return self

    async def events(self) -> AsyncIterator[Event]:
        while True:
            delivery = await self.queue.get()
            delivery.started = True
            event = Event(delivery)
            yield event
            if self._acks:
                event.ack()

    def clear(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


class SimConsumer(LaneConsumer):
    """What agents ask of the lane's consumer."""

    def __init__(self, worker: SimWorker) -> None:
        self._of = worker

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]
        return self._of.highwaters.get(tp)

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        ends: dict[TP, int] = await self._of.later(lambda: {tp: self._of.broker.logs[tp].end for tp in partitions})
        return ends

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        begins: dict[TP, int] = await self._of.later(lambda: dict.fromkeys(partitions, 0))
        return begins

    async def seek_back(self, tp: TP, position: int) -> int:
        def seek() -> int:
            if tp in self._of.positions:
                self._of.positions[tp] = position
            return position

        reached: int = await self._of.later(seek)
        return reached

    def assignment(self) -> set[TP]:
        return self._of.assigned

    async def is_member(self, generation: int) -> bool:
        of = self._of
        known: bool = await of.later(lambda: of.member and of.generation == generation == of.broker.generation)
        return known

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        self._of.paused.update(tps)


class _ModelsConsumer:
    """aiokafka's consumer, as far as `ModelsReader` uses it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._log, self._at = Log(), 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, partitions: list[Any]) -> None:
        self._tp = partitions[0]
        self._log = CURRENT.get().broker.logs[TP(self._tp.topic, 0)]

    async def seek_to_beginning(self, *_: Any) -> None:
        self._at = 0

    async def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {self._tp: self._log.end}

    async def position(self, _: Any) -> int:
        return self._at

    async def getmany(self, timeout_ms: int) -> dict[Any, list[Record]]:
        records = self._log.read(self._at, 5)
        if not records:
            self._at = self._log.end
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        self._at = records[-1].offset + 1
        return {self._tp: records}


class SimWorker:
    """A worker process: the product's agents, tables and registry, and the effects it waits for."""

    def __init__(self, broker: Broker, store: Replacing, models: Mapping[str, Model], topics: Topics, partitions: int, clock_s: float):
        self.broker, self.store_model, self.topics, self.partitions = broker, store, topics, partitions
        self.clock_s = clock_s
        self.name = ""
        self.alive, self.member, self.zombie, self.frozen = True, False, False, False
        self.generation, self.flowing = -1, False
        self.assigned: set[TP] = set()
        self.positions: dict[TP, int] = {}
        self.highwaters: dict[TP, int] = {}
        self.paused: set[TP] = set()
        self.harmed = False  # something was lost on its way to this worker
        self.tasks: set[asyncio.Task[Any]] = set()
        self.sends: dict[TP, deque[tuple[Any, asyncio.Future[Any]]]] = defaultdict(deque)
        self.unconfirmed: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self.calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self.deliveries: dict[TP, list[Delivery]] = defaultdict(list)
        self.held: dict[TP, Chunk] = {}
        self.beginning: asyncio.Task[None] | None = None
        self.ticking: asyncio.Task[None] | None = None
        self.agents: list[asyncio.Task[None]] = []
        self._models = models
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)
        self.booted = self.run(self._boot())

    def run(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run as this worker."""
        return asyncio.get_running_loop().create_task(coro, context=self._context)

    def ask(self, question: Callable[[], Any]) -> Any:
        """An answer of this worker."""
        return self._context.run(question)

    async def _boot(self) -> None:
        """What `worker.Worker._main`, `_run_app` and `topology.build` do."""
        self.registry = Registry(self._models)
        reader = models_module.ModelsReader(self.topics.models, self.registry, {})
        await reader.start()
        app = application({"bootstrap.servers": "127.0.0.1:1"}, self.topics.prefix, self.partitions, Timing())
        app.producer, app.consumer = self, SimConsumer(self)  # type: ignore[assignment]
        self._app, self.states = app, [State(app, name, self.partitions) for name in VERB_STATES]
        topics = {topic: topic for topic in (self.topics.predictions, self.topics.outcomes, self.topics.panes, self.topics.results)}
        ingest_state, evaluate_state, decide_state, store_state = self.states
        wiring = Wiring(
            app, self.topics, self.partitions, self.registry, reader, ingest_state, evaluate_state, decide_state, store_state,
            breaker=False, identities=lambda: topics,
        )  # fmt: skip
        self.verbs = build(app, wiring, self.store_model, self.store_model.shelf, lambda: None)  # type: ignore[arg-type]
        t, self.streams = self.topics, tuple(Stream() for _ in range(4))
        ingest, evaluate, decide, store = self.streams
        self.readers = {
            t.predictions: (ingest,), t.outcomes: (ingest,), t.panes: (evaluate,), t.results: (decide, store),
            t.alerts: (store,), t.retrain: (store,), t.dead_letters: (store,), t.models: (store,),
        }  # fmt: skip
        verbs: tuple[Any, ...] = (self.verbs.ingest, self.verbs.evaluate, self.verbs.decide, self.verbs.store)
        self.agents = [self.run(verb.run(stream)) for verb, stream in zip(verbs, self.streams, strict=True)]

    # -- effects

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, timestamp: Any, headers: list[tuple[str, bytes]]
    ) -> Awaitable[Any]:
        """The producer of this worker: records of one partition land in order."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sends[TP(topic, partition)].append(((key, value, headers), done))
        return done

    async def send_all(self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Awaitable[Any]]:
        """The same for many."""
        return [await self.send(topic, key, value, partition, None, []) for key, value in records]

    def later(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """An effect of another kind: a question to the broker, an insert."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.append((function, done))
        return done

    def land(self, tp: TP, most: int) -> int:
        """Up to `most` records of a partition reach the broker; this worker is yet to hear of it."""
        queue = self.sends[tp]
        n = min(most, len(queue))
        for _ in range(n):
            (key, value, headers), done = queue.popleft()
            self.unconfirmed.append((done, self.broker.append(tp, key, value, headers)))
        return n

    def call(self) -> None:
        """The oldest call takes effect; this worker is yet to hear of it."""
        function, done = self.calls.popleft()
        self.unconfirmed.append((done, function()))

    def confirm(self, most: int) -> None:
        """This worker hears of effects."""
        for _ in range(min(most, len(self.unconfirmed))):
            done, result = self.unconfirmed.popleft()
            if not done.done():
                done.set_result(result)

    # -- the lane

    def fetchable(self) -> list[TP]:
        """Partitions of which something can be fetched now (`LaneConsumer._held_back`)."""
        if not self.flowing:
            return []
        return [
            tp for tp, at in self.positions.items()
            if tp not in self.paused and (at < self.broker.logs[tp].end or self.highwaters.get(tp) != at)
            and sum(not d.started for d in self.deliveries[tp]) < WAITING_CHUNKS
        ]  # fmt: skip

    def fetch(self, tp: TP, most: int) -> Chunk | None:
        """The next chunk of a partition; None where there is none."""
        log, first = self.broker.logs[tp], self.positions[tp]
        self.highwaters[tp] = log.end
        if first >= log.end:
            return None
        records = log.read(first, most)
        end = records[-1].offset + 1 if len(records) == most else log.end
        self.positions[tp] = end
        return chunk_of(tp.topic, tp.partition, first, end, records)

    def deliver(self, chunk: Chunk) -> None:
        """Put a chunk into the queues of its agents."""
        streams = self.readers[chunk.topic]
        delivery = Delivery(self, chunk, len(streams))
        self.deliveries[delivery.tp].append(delivery)
        for stream in streams:
            stream.queue.put_nowait(delivery)

    def commit(self, tp: TP) -> int | None:
        """Commit what is acknowledged (`LaneConsumer._new_offset`); the position, if the broker took one."""
        deliveries = self.deliveries[tp]
        lowest = min((d.chunk.first for d in deliveries if d.left > 0), default=None)
        acked = [d.chunk.end for d in deliveries if d.left <= 0 and (lowest is None or d.chunk.end <= lowest)]
        deliveries[:] = [d for d in deliveries if d.left > 0 or (lowest is not None and d.chunk.end > lowest)]
        done = max(acked, default=0)
        if not done or self.generation != self.broker.generation or not self.member:
            return None
        self.broker.committed[tp] = done
        return done

    # -- the group

    def revoke(self, commits: bool) -> None:
        """`LaneConsumer.on_partitions_revoked`: commit what is acknowledged, then stop the flow and forget what waits."""
        if commits:
            for tp in list(self.deliveries):
                self.commit(tp)
        self.flowing = False
        self.positions, self.highwaters, self.paused, self.held = {}, {}, set(), {}
        self.deliveries.clear()
        for stream in self.streams:
            stream.clear()

    def assign(self, numbers: Iterable[int], generation: int, afresh: bool) -> None:
        """Recover the tables of the partitions, then begin. `afresh` empties the memory first; else it is a standby's."""
        t, numbers = self.topics, sorted(numbers)
        names = (t.predictions, t.outcomes, t.panes, t.results, t.alerts, t.retrain, t.dead_letters)
        self.assigned = {TP(name, k) for name in names for k in numbers} | {TP(t.models, 0) for k in numbers if k == 0}
        self.generation = self._app.consumer_generation_id = generation
        for state in self.states:
            table = state._table
            if afresh:
                table.data.data.clear()
            for k in numbers:
                changelog = TP(table.changelog_topic.get_topic_name(), k)
                records = self.broker.logs[changelog].records
                messages = [SimpleNamespace(key=r.key, value=r.value, tp=changelog, partition=k, offset=r.offset) for r in records]
                table.apply_changelog_batch([SimpleNamespace(message=message) for message in messages])
        self.beginning = self.run(self._begin(self.beginning))

    async def _begin(self, before: asyncio.Task[None] | None) -> None:
        """What is connected to the end of a rebalance, once that of the rebalance before has ended; then `LaneConsumer.perform_seek`."""
        if before and not before.done():
            await asyncio.wait({before})
        generation = self.generation
        await self._app.on_rebalance_complete.send()
        if generation == self.generation:
            self.positions = {tp: self.broker.committed.get(tp, 0) for tp in sorted(self.assigned)}
            self.positions |= {TP(*tp): at for tp, at in self.verbs.start_positions().items() if TP(*tp) in self.assigned}
            self.flowing = True

    async def tick(self) -> None:
        """`topology.build`'s timer."""
        await self.verbs.ingest.tick()
        await self.verbs.evaluate.tick()

    def die(self) -> None:
        """SIGKILL: what has not reached the broker never will."""
        self.alive = self.member = self.flowing = False
        self.sends.clear()
        self.calls.clear()
        self.unconfirmed.clear()
        for task in list(self.tasks):
            task.cancel()

    def failure(self) -> BaseException | None:
        """What an agent, the timer or the start failed with."""
        for task in [self.booted, *self.agents, self.beginning, self.ticking]:
            if task and task.done() and not task.cancelled() and task.exception():
                return task.exception()
        return None
