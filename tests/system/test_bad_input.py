"""Bad input through a whole worker on the embedded broker: what is told of it, and what a worker does that gets nothing else."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from driftline.schemas.config import Model
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.worker import Timing, Worker

PARTITIONS = 2
TOPICS = Topics()
NOW = int(time.time() * 1000)
Start = Callable[..., Worker]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ClickHouse]:
    with ClickHouse.connect(f"chdb://{tmp_path}/store", create=True) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def start(embedded_broker: EmbeddedBroker, store: ClickHouse) -> Iterator[Start]:
    """Starts the worker, in place of the one before."""
    embedded_broker.create_topics(TOPICS.table(PARTITIONS))
    workers: list[Worker] = []

    def begin(breaker: bool = True) -> Worker:
        client = {"bootstrap.servers": embedded_broker.bootstrap}
        model = Model("m", max_wait_ms=300)
        worker = Worker(
            client, store, {"m": model}, store=store, prefix=TOPICS.prefix, partitions=PARTITIONS, timing=Timing(6, 1, 0.1), breaker=breaker
        )
        workers.append(worker)
        worker.start()
        return worker

    yield begin
    for worker in workers:
        worker.stop()


@pytest.fixture
def publish(embedded_broker: EmbeddedBroker) -> Callable[..., None]:
    """Publishes predictions to one partition; every `bad`-th is no JSON."""
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap, "message.max.bytes": 2**24, "compression.type": "lz4"})

    def some(partition: int, n: int, bad: int = 0, named: str = "") -> None:
        for i in range(n):
            id = f"{named}{partition}-{i}"
            event = {"id": id, "model": "m", "version": "1", "ts": NOW, "prediction": 1}
            value = b"{" if bad and i % bad == 0 else json.dumps(event).encode()
            producer.produce(TOPICS.predictions, value, id.encode(), partition)
        producer.flush(10)

    return some


def wait(until: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def position(worker: Worker, partition: int) -> int:
    return worker.progress().get((TOPICS.predictions, partition), 0)


def dead_letters(store: ClickHouse) -> int:
    return int(store.query("SELECT count() AS n FROM dead_letters FINAL").to_pylist()[0]["n"])


def test_a_partition_of_bad_records_waits_for_a_person_and_loses_nothing(
    start: Start, publish: Callable[..., None], store: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    worker = start()
    with caplog.at_level(logging.ERROR):
        publish(0, 1_200, bad=10)
        publish(1, 1_000)
        wait(lambda: position(worker, 0) >= 1_000 and position(worker, 1) == 1_000)
        wait(lambda: "dead_letter_breaker: driftline.predictions-0 waits" in caplog.text)
        stood = position(worker, 0)
        publish(0, 3_000, named="later")  # good ones, but nobody has said that it is in order
        publish(1, 100, named="later")
        wait(lambda: position(worker, 1) == 1_100)
        wait(lambda: dead_letters(store) == sum(i % 10 == 0 for i in range(min(stood, 1_200))))
    assert position(worker, 0) == stood <= 1_200
    tripped = "SELECT subject FROM v_audit WHERE action = 'breaker.tripped'"
    wait(lambda: store.query(tripped).to_pylist() == [{"subject": "driftline.predictions-0"}])
    assert "driftline.predictions-1 waits" not in caplog.text
    worker.stop()

    worker = start(breaker=False)
    wait(lambda: position(worker, 0) == 4_200)
    wait(worker.idle)
    assert dead_letters(store) == 120
    (row,) = store.query("SELECT sum(n) AS n FROM performance_panes FINAL WHERE segment = ''").to_pylist()
    assert row["n"] == 1_080 + 3_000 + 1_100


def test_a_record_too_long_for_any_topic_of_ours_is_cut_and_the_worker_goes_on(
    start: Start, publish: Callable[..., None], embedded_broker: EmbeddedBroker, store: ClickHouse
) -> None:
    worker = start()
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap, "message.max.bytes": 2**24, "compression.type": "zstd"})
    producer.produce(TOPICS.predictions, b'{"id": "' + b"x" * 12_000_000, b"k" * 100_000, 0, headers={"trace": b"t" * 1_000})
    producer.flush(10)
    publish(0, 10)
    wait(worker.idle)
    (row,) = store.query("SELECT code, length(value) AS kept, length(key) AS key FROM dead_letters FINAL").to_pylist()
    assert (row["code"], row["kept"], row["key"]) == ("out_of_bounds", 65_536, 65_536)
    assert position(worker, 0) == 11
