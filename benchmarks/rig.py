"""Where the benchmarks run: a broker, a store, and `driftline worker` processes whose processor time is read from outside.

The worker is pinned to the first core; the broker, ClickHouse and the producer are on the others. What is measured waits in the
topics before the clock starts: the worker first works on a warm-up, is then frozen (SIGSTOP) while the events are published, and
let go. From that moment until nothing is left to do its processor time is counted, that of the kernel and of all threads included.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import uuid4

import kafka_node
import workload
from clickhouse_gateway import Gateway
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from workload import Shape, Source

from driftline import registry
from driftline.schemas.reference import Reference
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams import kernels
from driftline.streams.profile import reference_from_frame
from driftline.streams.transport import topics as administration
from driftline.streams.transport.embedded import EmbeddedBroker

CORES = sorted(os.sched_getaffinity(0))
WORKER_CORE, OTHER_CORES = CORES[0], CORES[1:] or CORES
SESSION_S = 900  # a worker is frozen for as long as its events are being published
LOOK_S = 0.2
IDLE = 0.2  # cores; a worker that takes less has nothing left to warm up
PATIENCE_S = 3_600.0
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A measurement that would be worth nothing: the worker ended, stood still, or counted wrongly."""


class Broker(Protocol):
    """A Kafka that topics can be made on."""

    name: str
    bootstrap: str

    def prepare(self, topics: Topics, partitions: int) -> None: ...
    def drop(self, topics: Topics) -> None: ...


@dataclass
class RealKafka:
    """Apache Kafka on the JVM."""

    bootstrap: str
    name: str = "Apache Kafka"

    def prepare(self, topics: Topics, partitions: int) -> None:
        administration.create({"bootstrap.servers": self.bootstrap}, topics.table(partitions), replication=1)

    def drop(self, topics: Topics) -> None:
        names = [topic.name for topic in topics.table(1)]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # it must outlive its futures
        for future in admin.delete_topics(names).values():
            future.result()


@dataclass
class Embedded:
    """The mock cluster of librdkafka."""

    broker: EmbeddedBroker
    name: str = "embedded broker"

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    def prepare(self, topics: Topics, partitions: int) -> None:
        self.broker.create_topics(topics.table(partitions))

    def drop(self, topics: Topics) -> None:
        """It forgets everything when it ends."""


@contextmanager
def brokers(embedded: bool = False) -> Iterator[Any]:
    """A broker beside the worker's core, for as long as the block lasts; a polite end of this process ends it too, and the workers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kernels.load()  # what is compiled once for a machine is there before anything is measured
    os.sched_setaffinity(0, OTHER_CORES)
    if embedded:
        with EmbeddedBroker() as broker:
            yield Embedded(broker)
        return
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as directory:
        node = kafka_node.start(Path(directory))
        try:
            yield RealKafka(node.bootstrap)
        finally:
            node.stop()


@dataclass
class Process:
    """One `driftline worker`, seen from outside."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time so far, of all threads, in the kernel too."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, name: str) -> int:
        """Bytes: VmRSS is what it has in memory now, VmHWM the most it ever had."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text("utf-8")
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def require(self) -> None:
        if self.popen.poll() is not None:
            raise Failed(f"the worker ended with status {self.popen.returncode}:\n{self.said[-3000:]}")

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        try:
            self.popen.wait(60)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass(frozen=True)
class Mark:
    """One look at the workers."""

    at: float  # seconds, monotonic
    cpu_s: float
    unread: int


@dataclass
class Site:
    """Topics, tables, model files and workers of one measurement; everything ends with the `with` block."""

    broker: Broker
    shape: Shape
    options: tuple[str, ...] = ()  # further options of `driftline worker`
    environment: dict[str, str] = field(default_factory=dict)
    prefix: str = field(default_factory=lambda: f"bench-{uuid4().hex[:10]}")
    workers: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self.directory = Path(tempfile.mkdtemp(prefix="driftline-bench-"))
            ends.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.topics = Topics(self.prefix)
            self.broker.prepare(self.topics, self.shape.partitions)
            ends.callback(self.broker.drop, self.topics)
            self.gateway = Gateway(self.directory / "store", "bench").start()
            ends.callback(self.gateway.stop)
            self.dsn = self.gateway.dsn("bench")
            self.store = ends.enter_context(ClickHouse.connect(self.dsn, create=True))
            self.store.migrate()
            self._configure()
            self._client: dict[str, Any] = {"bootstrap.servers": self.broker.bootstrap, "log_level": 0}
            self._group = Consumer({**self._client, "group.id": self.prefix, "enable.auto.commit": False})
            ends.callback(self._group.close)
            self._admin = AdminClient(self._client)
            ends.callback(self.stop_workers)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _configure(self) -> None:
        models = self.directory / "models"
        models.mkdir()
        for number in range(self.shape.models):
            (models / f"{self.shape.model(number)}.toml").write_text(self.shape.configuration(number))
        registry.publish({"bootstrap.servers": self.broker.bootstrap}, self.topics.models, references(self.shape))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DRIFTLINE_", "PYTHONDONTWRITE"))},
            "DRIFTLINE_KAFKA": self.broker.bootstrap, "DRIFTLINE_CLICKHOUSE": self.dsn, "DRIFTLINE_MODELS": str(models),
            "DRIFTLINE_PREFIX": self.prefix, **self.environment,
        }  # fmt: skip

    # -- workers

    def start_worker(self) -> Process:
        """Start one more, on a core of its own as far as there are any, and wait until it has its partitions."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "driftline", "worker", "--session", str(SESSION_S), *self.options]
            process = Process(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out), log)
        os.sched_setaffinity(process.popen.pid, {CORES[len(self.workers) % len(CORES)]})
        self.workers.append(process)
        self.wait(lambda: "ready:" in process.said, "the worker did not become ready", 900)
        return process

    def stop_workers(self) -> None:
        """End those that run, and forget them."""
        for process in self.workers:
            process.stop()
        self.workers.clear()

    def signal(self, number: signal.Signals) -> None:
        for process in self.workers:
            process.popen.send_signal(number)

    def wait(self, done: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_S) -> None:
        """Look until `done`; raises `Failed` when a worker ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not done():
            for process in self.workers:
                process.require()
            if time.monotonic() > deadline:
                said = self.workers[-1].said[-2000:] if self.workers else ""
                raise Failed(f"{otherwise} in {seconds:.0f} s\n{said}")
            time.sleep(LOOK_S)

    # -- progress

    def unread(self, *names: str) -> int:
        """Records of these topics, or of all, that the workers have not committed yet."""
        t = self.topics
        names = names or (t.predictions, t.outcomes, t.panes, t.results, t.alerts, t.retrain, t.dead_letters)
        wanted = [TopicPartition(name, k) for name in names for k in range(self.shape.partitions)]
        ends = self._ends_of(wanted)
        committed = self._group.committed(wanted, timeout=30)
        return sum(max(ends[tp] - max(tp.offset, 0), 0) for tp in committed)

    def mark(self) -> Mark:
        return Mark(time.monotonic(), sum(process.cpu_s for process in self.workers), self.unread())

    def catch_up(self) -> Mark:
        """Wait until nothing is unread, two looks in a row; the mark is the first of the two."""
        seen: list[Mark] = []

        def done() -> bool:
            seen.append(self.mark())
            return len(seen) > 1 and seen[-1].unread == seen[-2].unread == 0

        self.wait(done, "the worker did not catch up")
        return seen[-2]

    def come_to_rest(self) -> None:
        """Wait until the workers have caught up and take next to no processor time: nothing is compiled or written any more."""
        seen = [self.catch_up()]

        def done() -> bool:
            time.sleep(1)
            seen.append(self.mark())
            return seen[-1].cpu_s - seen[-2].cpu_s < IDLE * len(self.workers) * (seen[-1].at - seen[-2].at)

        self.wait(done, "the worker did not come to rest", 600)

    # -- events

    def publish(self, source: Source, events: int, last: bool = False) -> int:
        """Publish the next events, and with `last` all labels that are still to come; returns the bytes of the predictions."""
        size = workload.publish(self.broker.bootstrap, self.topics, source.records(events), source.format)
        if last:
            workload.publish(self.broker.bootstrap, self.topics, source.last_labels(), source.format)
        return size

    def dead_letters(self) -> int:
        """Records that the worker could not use."""
        return sum(self._ends_of([TopicPartition(self.topics.dead_letters, k) for k in range(self.shape.partitions)]).values())

    def _ends_of(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            return self._listed(partitions)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.FENCED_LEADER_EPOCH:
                raise
        # A broker that was starved of its core leads its partitions anew, and this client remembers when they were led before.
        self._admin = AdminClient(self._client)
        return self._listed(partitions)

    def _listed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        latest: Any = OffsetSpec.latest  # without annotations
        futures = self._admin.list_offsets({tp: latest() for tp in partitions})
        return {tp: future.result().offset for tp, future in futures.items()}

    def check(self, expected: Mapping[int, Mapping[str, int]]) -> None:
        """Compare what the store counts in each closed window with what was made; raises `Failed` on the first difference."""
        sql = "SELECT toUnixTimestamp64Milli(pane_start) AS start, sum(n) AS n, sum(n_labelled) AS labelled FROM performance_panes FINAL"
        rows = self.store.query(f"{sql} WHERE segment = '' GROUP BY start").to_pylist()
        found = {row["start"]: {"n": row["n"], "labelled": row["labelled"]} for row in rows}
        closed = sorted(expected)[:-1]  # the watermark stays behind the newest event, so the last window is open
        wrong = [start for start in closed if found.get(start) != dict(expected[start])]
        if wrong:
            first = wrong[0]
            raise Failed(f"{len(wrong)} of {len(closed)} windows are wrong; {first}: {found.get(first)} instead of {dict(expected[first])}")


def references(shape: Shape) -> list[Reference]:
    """The same profile under the name of each model."""
    made = reference_from_frame(
        workload.training(shape, min(workload.TRAINING_ROWS, 5 * shape.block)), shape.as_model(), workload.VERSION,
        prediction="prediction", score="score", label="label",
    )  # fmt: skip
    return [_named(made, shape.model(number)) for number in range(shape.models)]


def _named(reference: Reference, model: str) -> Reference:
    import msgspec

    return msgspec.structs.replace(reference, model=model)


@dataclass(frozen=True)
class Throughput:
    """What one run over a backlog took."""

    events: int
    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    rss_bytes: int
    bytes_per_prediction: float

    @property
    def predictions_per_core_second(self) -> float:
        return self.events / self.cpu_s


def throughput(site: Site, source: Source, warm_up: int, events: int, workers: int = 1) -> Throughput:
    """Warm up, then work off `events` predictions and their labels that wait in the topics. Checks every count in the store."""
    for _ in range(workers):
        site.start_worker()
    for _ in range(2):  # what the first round compiles the second one uses
        site.publish(source, warm_up // 2)
        site.come_to_rest()
    if site.dead_letters():
        raise Failed(f"{site.dead_letters()} records of the warm-up are dead letters: the worker does not know {source.format} events")
    site.signal(signal.SIGSTOP)
    size = site.publish(source, events, last=True)
    begin = site.mark()
    site.signal(signal.SIGCONT)
    end = site.catch_up()
    site.check(source.expected)
    peak = max(process.memory("VmHWM") for process in site.workers)
    rss = max(process.memory("VmRSS") for process in site.workers)
    return Throughput(events, end.cpu_s - begin.cpu_s, end.at - begin.at, peak, rss, size / events)


def say(text: str) -> None:
    """Talk, apart from data."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rows(site: Site, sql: str) -> list[dict[str, Any]]:
    """What the store says."""
    found: list[dict[str, Any]] = json.loads(json.dumps(site.store.query(sql).to_pylist(), default=str))
    return found
