"""The whole pipeline in this process: broker, topics, store and a worker, for a demo, a replay or a test.

    records ──feed──► broker ──► worker (a thread) ──► store
                 ▲                  │
                 └── holds back ────┘ progress

The worker is the one that `driftline worker` runs; only the addresses are made here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, Self

from confluent_kafka import KafkaError, Message, Producer

from driftline import registry
from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Entry
from driftline.schemas.topics import Topics

if TYPE_CHECKING:
    from driftline.sinks.clickhouse import ClickHouse
    from driftline.streams.worker import Worker

#: The embedded broker cuts a partition's head at 5 MiB, read or not. All that a block brings about on any one topic stays below that:
#: panes and results of a model share a partition, and take up to about three times the bytes of their events.
BLOCK_BYTES: Final = 1024 * 1024
FLUSH_S: Final = 0.1  # a block waits for several flushes
STALLED_S: Final = 120.0
_LOOK_S: Final = 0.005


class Publishable(Protocol):
    """An event ready to be published to one of the two source topics, as JSON under its id."""

    @property
    def topic(self) -> Literal["predictions", "outcomes"]: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


class Record(NamedTuple):
    """The plainest `Publishable`."""

    topic: Literal["predictions", "outcomes"]
    key: bytes
    value: bytes


class LocalStack:
    """Runs while its `with` block does.

    Parameters
    ----------
    models
        Configuration by model name.
    references
        Entries for the `models` topic, published before the worker starts.
    kafka
        `host:port` of a running Kafka, where missing topics are made; None starts the embedded broker.
    store
        A directory for the embedded ClickHouse, or the address of any; None is a temporary directory.
    parquet
        A directory to which every row is written as Parquet files too.
    partitions
        Of each source topic, where it is made here.

    Attributes
    ----------
    kafka
        The broker's address.
    topics
        The names of the topics.
    sink
        The store, also open for queries.
    worker
        The running worker.
    """

    kafka: str
    sink: ClickHouse
    worker: Worker

    def __init__(
        self,
        models: Mapping[str, Model],
        references: Iterable[Entry] = (),
        *,
        kafka: str | None = None,
        store: str | Path | None = None,
        parquet: str | Path | None = None,
        prefix: str = "driftline",
        partitions: int = 4,
    ) -> None:
        self.topics = Topics(prefix)
        self._models, self._references = dict(models), list(references)
        self._given_kafka, self._store, self._parquet, self._partitions = kafka, store, parquet, partitions
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self.kafka = self._open_kafka(ends)
            self.sink = self._open_store(ends)
            self.publish(*self._references)
            self.worker = self._start_worker(ends)
            self._producer = Producer(
                {**self._client, "partitioner": "murmur2_random", "linger.ms": 5, "enable.idempotence": True, "log_level": 0}
            )
            self._ends = ends.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ends.close()

    def publish(self, *entries: Entry) -> None:
        """Put references or events in the life of versions on the `models` topic, and wait until they are there."""
        if entries:
            registry.publish(self._client, self.topics.models, entries)

    def feed(self, records: Iterable[Publishable], fed: Callable[[int], object] | None = None) -> int:
        """Publish records in order, no faster than the worker takes them; returns how many.

        `fed` is told the number so far, now and then. Raises `DriftlineError` when the worker or the broker fails.
        """
        count = 0
        for block in _blocks(records):
            self._produce(block)
            self._wait_until(self.worker.caught_up, STALLED_S, "feed_stalled")
            count += len(block)
            if fed:
                fed(count)
        return count

    def drain(self, timeout_s: float = STALLED_S) -> None:
        """Wait until everything fed is in the store: consumed, flushed, evaluated, written."""
        self._wait_until(self.worker.idle, timeout_s, "drain_timeout")

    @property
    def _client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.kafka}

    def _open_kafka(self, ends: ExitStack) -> str:
        from driftline.streams.transport import topics
        from driftline.streams.transport.embedded import EmbeddedBroker

        table = self.topics.table(self._partitions)
        if self._given_kafka is not None:
            client = {"bootstrap.servers": self._given_kafka}
            topics.create(client, table)
            self._partitions = topics.require(client, self.topics)
            return self._given_kafka
        broker = ends.enter_context(EmbeddedBroker())
        broker.create_topics(table)
        return broker.bootstrap

    def _open_store(self, ends: ExitStack) -> ClickHouse:
        from driftline.sinks.clickhouse import ClickHouse

        place = str(self._store or ends.enter_context(tempfile.TemporaryDirectory(prefix="driftline-", ignore_cleanup_errors=True)))
        address = place if "://" in place else f"chdb://{Path(place).resolve()}"
        sink = ends.enter_context(ClickHouse.connect(address, create=True))
        sink.migrate()
        return sink

    def _start_worker(self, ends: ExitStack) -> Worker:
        from driftline.sinks.parquet import Parquet
        from driftline.sinks.sink import Sinks
        from driftline.streams.worker import Timing, Worker

        timing = Timing(flush_s=FLUSH_S)
        sink = ends.enter_context(closing(Sinks(self.sink, *([Parquet(self._parquet)] if self._parquet else []))))
        kafka = self._client | {"compression.type": "zstd"}  # the embedded broker keeps 5 MiB a partition
        worker = Worker(
            kafka, sink, self._models, store=self.sink, prefix=self.topics.prefix, partitions=self._partitions, timing=timing,
            breaker=False,  # what is fed has an end, and is summed up there
        )  # fmt: skip
        ends.callback(worker.stop)
        worker.start()
        return worker

    def _produce(self, block: list[Publishable]) -> None:
        """Publish one block and wait until the broker has it."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        names = {"predictions": self.topics.predictions, "outcomes": self.topics.outcomes}
        for record in block:
            self._producer.produce(names[record.topic], record.value, record.key, on_delivery=delivered)
        self._producer.flush()
        if failures:
            raise DriftlineError("kafka_refused", f"{self.kafka}: {failures[0].str()}", "look at the broker, and feed again from the start")

    def _wait_until(self, ready: Callable[[], bool], timeout_s: float, code: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ask(ready):
            if time.monotonic() > deadline:
                at = self.worker.progress()
                raise DriftlineError(
                    code, f"the worker was not done after {timeout_s:.0f} s, at {at}", "look at its log, or allow more time"
                )
            time.sleep(_LOOK_S)

    def _ask(self, question: Callable[[], bool]) -> bool:
        """The worker's answer; what ended it, where it has ended."""
        try:
            return question()
        except DriftlineError:
            raise
        except Exception as error:
            fix = "see the log above; what is on Kafka is still there, so it can be run again"
            raise DriftlineError("worker_crashed", f"the worker ended: {error!r}", fix) from error


def _blocks(records: Iterable[Publishable]) -> Iterator[list[Publishable]]:
    """The records in lists of at most about `BLOCK_BYTES`.

    >>> [len(block) for block in _blocks([Record("predictions", b"a", b"x" * 600_000)] * 3)]
    [2, 1]
    """
    block: list[Publishable] = []
    size = 0
    for record in records:
        block.append(record)
        size += len(record.key) + len(record.value)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block
