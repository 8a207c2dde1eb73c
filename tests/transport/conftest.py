"""Workers on the lane as processes of their own, and what they wrote down."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

WORKER = Path(__file__).with_name("lane_worker.py")
PATIENCE_S = 90  # bounds a test that hangs; nothing is measured by it


@dataclass(frozen=True)
class Got:
    """A chunk as a worker wrote it down."""

    topic: str
    partition: int
    first: int
    end: int
    values: list[str]


@dataclass
class LaneWorker:
    """One worker process and its log."""

    process: subprocess.Popen[bytes]
    log: Path
    group: str

    def lines(self) -> list[list[Any]]:
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def chunks(self) -> list[Got]:
        return [Got(*line) for line in self.lines() if line[0] != "seek"]

    def seeks(self) -> list[int]:
        return [line[1] for line in self.lines() if line[0] == "seek"]

    def values(self) -> list[str]:
        return [value for chunk in self.chunks() for value in chunk.values]

    def wait(self, until: Callable[[LaneWorker], bool]) -> None:
        """Wait for something to stand in the log."""
        ended = time.monotonic() + PATIENCE_S
        while not until(self):
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}: {self.errors()}"
            assert time.monotonic() < ended, f"the worker got {self.lines()[-5:]}: {self.errors()}"
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()[-2000:]


@dataclass
class Lanes:
    """A Kafka cluster with topics, records and workers of one test."""

    bootstrap: str
    directory: Path
    group: str
    workers: list[LaneWorker] = field(default_factory=list)

    def produce(self, topic: str, values: Sequence[str], *, partition: int = 0, **settings: Any) -> None:
        """Produce values, one batch as far as the settings allow."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, **settings})
        for value in values:
            producer.produce(topic, value=value, key=b"k", partition=partition)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0

    def worker(self, *topics: str, partitions: int = 1, **job: Any) -> LaneWorker:
        """Start a worker; `job` is what `lane_worker.Job` names."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        told = {"bootstrap": self.bootstrap, "group": self.group, "topics": topics, "partitions": partitions, "log": str(log), **job}
        with log.with_suffix(".err").open("wb") as errors:
            process = subprocess.Popen([sys.executable, str(WORKER), json.dumps(told)], stdout=errors, stderr=errors)
        self.workers.append(LaneWorker(process, log, self.group))
        return self.workers[-1]

    def committed(self, topic: str, partition: int = 0) -> int:
        """The group's committed offset, negative when there is none."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        [found] = consumer.committed([TopicPartition(topic, partition)], timeout=10)
        consumer.close()
        return int(found.offset)

    def commit(self, topic: str, offset: int, partition: int = 0) -> None:
        """Set the group's offset, as an operator would."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
        consumer.close()

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait(PATIENCE_S)


@pytest.fixture
def start_lanes() -> type[Lanes]:
    """`Lanes`, for a test that has its own cluster."""
    return Lanes


@pytest.fixture
def lanes(embedded_broker: Any, tmp_path: Path, prefix: str) -> Iterator[Lanes]:
    """The embedded broker with a topic `lane` of one partition."""
    embedded_broker.create_topic("lane", 1)
    cluster = Lanes(embedded_broker.bootstrap, tmp_path, prefix)
    yield cluster
    cluster.close()
