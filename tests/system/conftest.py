"""A place where workers run: topics of their own on real Kafka, a store over HTTP, model files, and worker processes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_gateway import Gateway
from confluent_kafka import Consumer, Producer, TopicPartition
from counted import CONFIGURATION, PARTITIONS, REFERENCE, differences, wanted

from driftline.schemas.reference import encode_entry, entry_key
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.transport import topics as administration

PATIENCE_S = 120.0
Check = Callable[[], object]


@dataclass
class Process:
    """One `driftline worker`, and what it said so far."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> Process:
        """Wait until it has its partitions and their state."""
        until(lambda: "ready:" in self.said or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.said
        return self

    @property
    def owns(self) -> int:
        """How many source partitions it said last that it is ready with; 0 before that."""
        told = re.findall(r"ready: (\d+) source partitions", self.said)
        return int(told[-1]) if told else 0

    def end(self, timeout_s: float = 30.0) -> int:
        """The exit status, after at most so many seconds."""
        return self.popen.wait(timeout_s)

    def terminate(self) -> int:
        """Ask it to end, as an orchestrator would, and wait as long as that one does."""
        self.popen.send_signal(signal.SIGTERM)
        return self.end()


@dataclass
class Site:
    """Everything one test needs; `login` holds the variables of a Kafka that wants one, `client` the properties that go with them."""

    bootstrap: str
    topics: Topics
    dsn: str
    directory: Path
    client: dict[str, str] = field(default_factory=dict)
    login: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    published: int = 0

    def __post_init__(self) -> None:
        self.client = {"bootstrap.servers": self.bootstrap, **self.client}
        models = self.directory / "models"
        models.mkdir()
        (models / "soak.toml").write_text(CONFIGURATION)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")},
            "DRIFTLINE_KAFKA": self.bootstrap, "DRIFTLINE_CLICKHOUSE": self.dsn, "DRIFTLINE_MODELS": str(models),
            "DRIFTLINE_PREFIX": self.topics.prefix, **self.login,
        }  # fmt: skip

    def prepare(self, replication: int = 1) -> Site:
        """Topics, tables and the reference are there."""
        administration.create(self.client, self.topics.table(PARTITIONS), replication=replication)
        with ClickHouse.connect(self.dsn, create=True) as store:
            store.migrate()
        producer = Producer(self.client)
        producer.produce(self.topics.models, key=entry_key(REFERENCE), value=encode_entry(REFERENCE))
        producer.flush(10)
        return self

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `driftline` and wait for it."""
        command = [sys.executable, "-m", "driftline", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def worker(self, *arguments: str) -> Process:
        """Start one more worker."""
        path = self.directory / f"worker-{len(self.processes)}.log"
        with path.open("wb") as log:
            command = [sys.executable, "-m", "driftline", "worker", "--session", "6", "--flush", "0.2", *arguments]
            process = Process(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log), path)
        self.processes.append(process)
        return process

    def publish(self, n: int, seed: int = 0) -> None:
        """`n` more predictions, some of which come twice or late, and their labels, some of which come early or are corrected."""
        rng = random.Random(seed)
        producer = Producer({**self.client, "partitioner": "murmur2_random", "linger.ms": 5})
        now = int(time.time() * 1000) - 120_000
        for number in range(self.published, self.published + n):
            ts = now + 20 * (number - self.published) - rng.choice([0, 0, 1_500, 9_000])
            identity = f"id-{number}".encode()
            about = {"id": identity.decode(), "model": "soak"}
            prediction = {
                **about, "version": "1", "ts": ts, "prediction": rng.randrange(2), "score": rng.random(),
                "features": {"x": rng.choice([rng.random(), None]), "c": rng.choice("abz")},
                "segments": {"region": rng.choice(["eu", "us"])},
            }  # fmt: skip
            label: dict[str, Any] = {**about, "ts": ts + 1_000, "label": rng.randrange(2)}
            events = [(self.topics.predictions, prediction)] * rng.choice([1] * 9 + [2])
            events += rng.choice([[], [(self.topics.outcomes, label)], [(self.topics.outcomes, label)] * 2])
            if rng.random() < 0.1:
                events.append((self.topics.outcomes, {**label, "ts": ts + 2_000, "label": 1 - label["label"], "kind": "correction"}))
            rng.shuffle(events)
            for topic, event in events:
                producer.produce(topic, key=identity, value=json.dumps(event).encode())
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0
        self.published += n

    @contextmanager
    def flowing(self, seed: int) -> Iterator[None]:
        """Events keep coming meanwhile."""
        stop = threading.Event()

        def flow() -> None:
            for number in count():
                if stop.wait(0.2):
                    return
                self.publish(60, seed + 1_000 * number)

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def written(self, ending: str) -> int:
        """How many records the topics whose names end so have had."""
        consumer = Consumer({**self.client, "group.id": "look"})
        names = [topic.name for topic in self.topics.table(PARTITIONS) if topic.name.endswith(ending)]
        ends = [consumer.get_watermark_offsets(TopicPartition(name, k), timeout=10)[1] for name in names for k in range(PARTITIONS)]
        consumer.close()
        return sum(ends)

    def differences(self) -> list[str]:
        """What the tables say otherwise than a recount of the topics."""
        with ClickHouse.connect(self.dsn) as store:
            return differences(store, wanted(self.bootstrap, self.topics))

    def settle(self) -> None:
        """Wait until the tables say what the topics say."""
        try:
            until(lambda: not self.differences())
        except TimeoutError:
            told = self.differences()
            logs = "\n".join(f"{process.log.name}: {process.said[-2000:]}" for process in self.processes)
            pytest.fail(f"{len(told)} differences:\n" + "\n".join(told[:10]) + f"\n{logs}", pytrace=False)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Ask the store."""
        with ClickHouse.connect(self.dsn) as store:
            return list(store.query(sql).to_pylist())

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait(10)


def until(check: Check, seconds: float = PATIENCE_S) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., None]:
    """Wait for something to become true."""
    return until


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One engine for all tests; each has a database of its own in it."""
    server = Gateway(tmp_path_factory.mktemp("gateway") / "store", "system").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def make_site(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Makes sites on any Kafka; their processes end with the module."""
    with ExitStack() as stack:

        def make(bootstrap: str, **options: Any) -> Site:
            prefix = f"t{uuid4().hex[:10]}"
            site = Site(bootstrap, Topics(prefix), **{"dsn": gateway.dsn(prefix), "directory": tmp_path_factory.mktemp(prefix), **options})
            stack.callback(site.close)
            return site

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site], kafka: Any) -> Site:
    """A site on the session's Kafka, with nothing in place yet."""
    return make_site(kafka.bootstrap)
