"""Every case of the join through a whole worker that has room for two rows in memory, so that nearly all of them are cold."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from driftline.schemas.config import Model, Window
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.worker import Timing, Worker

TOPICS = Topics()
PANE_MS, HORIZON_MS = 10_000, 3_600_000
MODEL = Model(
    "m", pane_ms=PANE_MS, windows=(Window(60_000, 60_000),), horizon_ms=HORIZON_MS, disorder_ms=600_000, grace_ms=600_000, max_wait_ms=300
)  # fmt: skip
BEGIN = (int(time.time() * 1000) - 10 * HORIZON_MS) // 60_000 * 60_000


class P(NamedTuple):
    """A prediction, so many milliseconds after the start of the pane of its case."""

    after_ms: int = 1_000
    prediction: int = 1
    version: str = "1"


class O(NamedTuple):  # noqa: E742
    """An outcome."""

    after_ms: int = 2_000
    label: int | None = 0
    kind: str = "final"


class Case(NamedTuple):
    """Events that are read one after another, the predictions that count, and (predicted, true) of those with a label."""

    steps: Sequence[P | O]
    n: int
    labelled: Sequence[tuple[int, int]] = ()


BACK = O(3_000, None, "retraction")
CASES = {
    "a label after its prediction": Case([P(), O()], 1, [(1, 0)]),
    "a label before its prediction": Case([O(), P()], 1, [(1, 0)]),
    "a label of the same time": Case([P(), O(1_000)], 1, [(1, 0)]),
    "a label that is dated before its prediction": Case([P(5_000), O()], 1, [(1, 0)]),
    "a prediction that comes twice": Case([P(), P(), O()], 1, [(1, 0)]),
    "a prediction that comes again with other content": Case([P(), P(prediction=0), O()], 1, [(1, 0)]),
    "a prediction that comes again after its label": Case([P(), O(), P()], 1, [(1, 0)]),
    "a label that comes twice": Case([P(), O(), O()], 1, [(1, 0)]),
    "a label that is corrected": Case([P(), O(), O(3_000, 1, "correction")], 1, [(1, 1)]),
    "a correction that is read before what it corrects": Case([P(), O(3_000, 1, "correction"), O()], 1, [(1, 1)]),
    "a provisional label, then the final one": Case([P(), O(2_000, 0, "provisional"), O(3_000, 1)], 1, [(1, 1)]),
    "a label that is taken back": Case([P(), O(), BACK], 1),
    "a label that is taken back before its prediction comes": Case([O(), BACK, P()], 1),
    "a label after one that was taken back": Case([P(), O(), BACK, O(4_000, 1)], 1, [(1, 1)]),
    "a label for two versions": Case([P(), P(prediction=0, version="2"), O()], 2, [(1, 0), (0, 0)]),
    "a version that comes after the label": Case([P(), O(), P(prediction=0, version="2")], 2, [(1, 0), (0, 0)]),
    "a label that never comes": Case([P()], 1),
    "a label without a prediction": Case([O()], 0),
}


def record(number: int, step: P | O) -> tuple[str, bytes, bytes]:
    """Topic, key and value."""
    about: dict[str, Any] = {"id": f"case-{number}", "model": "m", "ts": BEGIN + PANE_MS * number + step.after_ms}
    told: dict[str, Any] = {"label": step.label, "kind": step.kind} if isinstance(step, O) else {}
    if isinstance(step, P):
        told = {"version": step.version, "prediction": step.prediction, "features": {"x": 1.0}}
    return (TOPICS.predictions if isinstance(step, P) else TOPICS.outcomes), about["id"].encode(), json.dumps(about | told).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The store after all cases: first the first event of each, then, when those are stored, the second, and so on."""
    place = tmp_path_factory.mktemp("cases") / "store"
    with EmbeddedBroker() as broker, ClickHouse.connect(f"chdb://{place}", create=True) as opened:
        opened.migrate()
        broker.create_topics(TOPICS.table(1))
        client = {"bootstrap.servers": broker.bootstrap}
        producer = Producer({**client, "linger.ms": 0})
        worker = Worker(
            client,
            opened,
            {"m": MODEL},
            store=opened,
            prefix=TOPICS.prefix,
            partitions=1,
            timing=Timing(6, 1, 0.1),
            breaker=False,
            hot_rows=2,
        )
        worker.start()
        for turn in range(max(len(case.steps) for case in CASES.values())):
            due = [record(number, case.steps[turn]) for number, case in enumerate(CASES.values()) if turn < len(case.steps)]
            publish(producer, worker, due)
        for horizons in (3, 4):  # beyond these nothing can meet the events so far; what is in doubt is looked at once more
            far = horizons * HORIZON_MS // PANE_MS
            publish(producer, worker, [record(far, P()), record(far, O())])
        end = time.monotonic() + 60
        while not worker.idle():
            assert time.monotonic() < end
            time.sleep(0.05)
        worker.stop()
        yield opened


def publish(producer: Producer, worker: Worker, records: list[tuple[str, bytes, bytes]]) -> None:
    """Send, and wait until all of it was taken in."""
    for topic, key, value in records:
        producer.produce(topic, value, key, 0)
    assert producer.flush(10) == 0
    end = time.monotonic() + 60
    while not worker.caught_up():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("name", CASES)
def test_predictions_and_labels_of_each_case_are_counted_as_they_should(store: ClickHouse, name: str) -> None:
    case, number = CASES[name], [*CASES].index(name)
    rows = store.query(
        "SELECT n, confusion FROM performance_panes FINAL WHERE segment = '' AND toUnixTimestamp64Milli(pane_start) = {start:Int64}",
        {"start": BEGIN + PANE_MS * number},
    ).to_pylist()
    confusion = sum((Counter(dict(row["confusion"])) for row in rows), Counter[str]())
    assert sum(row["n"] for row in rows) == case.n
    assert confusion == Counter(f"{predicted}\x1f{true}" for predicted, true in case.labelled)


def test_other_content_under_a_known_id_is_the_only_dead_letter(store: ClickHouse) -> None:
    number = [*CASES].index("a prediction that comes again with other content")
    rows = store.query("SELECT code, key FROM dead_letters FINAL").to_pylist()
    assert rows == [{"code": "duplicate_conflict", "key": f"case-{number}"}]


def test_a_label_without_a_prediction_is_named_when_none_can_come_any_more(store: ClickHouse) -> None:
    number = [*CASES].index("a label without a prediction")
    ts = BEGIN + PANE_MS * number + 2_000
    rows = store.query(
        "SELECT model, toUnixTimestamp64Milli(label_ts) AS ts, toUnixTimestamp64Milli(timed_out) AS until FROM orphans FINAL"
    ).to_pylist()
    assert rows == [{"model": "m", "ts": ts, "until": ts + HORIZON_MS}]


def test_nearly_all_predictions_had_left_memory(store: ClickHouse) -> None:
    found = store.query("SELECT uniqExact(offset) AS n FROM waiting WHERE NOT is_outcome").to_pylist()[0]["n"]
    assert found >= sum(case.n for case in CASES.values()) - 2
