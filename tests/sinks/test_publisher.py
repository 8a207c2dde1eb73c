"""The SDK puts events where they belong, and never harms the service that calls it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import confluent_kafka
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from aiokafka.partitioner import murmur2

from driftline import Publisher
from driftline.schemas.config import Model
from driftline.schemas.errors import DEAD_LETTER_CODES
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction
from driftline.schemas.topics import Topics
from driftline.sinks import batches
from driftline.streams.arrow import CONTENT_TYPE
from driftline.streams.panes import decode_pane
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

TOPICS = Topics()
DEAD = "127.0.0.1:1"

#: Java's murmur2 of some keys, from the tests of Apache Kafka's own client (UtilsTest.testMurmur2).
JAVA_MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.fixture
def bootstrap(embedded_broker: Any) -> str:
    embedded_broker.create_topics(TOPICS.table(4))
    return str(embedded_broker.bootstrap)


def read(bootstrap: str, topic: str, n: int) -> list[confluent_kafka.Message]:
    """The first `n` records of a topic, all partitions."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "auto.offset.reset": "earliest"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, k, 0) for k in partitions])
        found: list[confluent_kafka.Message] = []
        while len(found) < n and (batch := consumer.consume(n - len(found), timeout=10)):
            found += batch
        return found
    finally:
        consumer.close()


def partitions(bootstrap: str, topic: str, n: int) -> dict[bytes | None, int | None]:
    return {message.key(): message.partition() for message in read(bootstrap, topic, n)}


def test_a_prediction_arrives_as_the_contract_says(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7") as publisher:
        id = publisher.predicted({"tenure": 12, "plan": "pro", "income": None}, 1, score=0.83, segments={"region": "eu"}, ts=1732170000000)
    (message,) = read(bootstrap, TOPICS.predictions, 1)
    assert message.key() == id.encode()
    assert decode_prediction(message.value()) == Prediction(
        id, "churn", "7", 1732170000000, 1, {"tenure": 12, "plan": "pro", "income": None}, 0.83, segments={"region": "eu"}
    )


@pytest.mark.parametrize("batch", [None, "arrow"])
def test_a_service_can_say_that_it_failed(bootstrap: str, batch: Literal["arrow"] | None) -> None:
    with Publisher(bootstrap, model="churn", version="7", batch=batch) as publisher:
        publisher.predicted({"tenure": 12}, 0, failed=True, trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        assert (publisher.errors, publisher.flush()) == (0, 0)
    (message,) = read(bootstrap, TOPICS.predictions, 1)
    if batch:
        (event,) = pa.ipc.open_stream(message.value() or b"").read_all().to_pylist()
    else:
        event = msgspec.to_builtins(decode_prediction(message.value()))
    assert (event["failed"], event["trace"]) == (True, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def test_an_outcome_arrives_as_the_contract_says(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7") as publisher:
        publisher.outcome("req-1", label=0, kind="correction", ts=datetime(2026, 1, 5, tzinfo=UTC))
    (message,) = read(bootstrap, TOPICS.outcomes, 1)
    assert message.key() == b"req-1"
    assert decode_outcome(message.value()) == Outcome("req-1", "churn", "2026-01-05T00:00:00Z", 0, "correction")


def test_a_prediction_and_its_label_meet_on_one_partition(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7") as publisher:
        for id in [publisher.predicted({}, 1) for _ in range(100)]:
            publisher.outcome(id, 1)
    found = partitions(bootstrap, TOPICS.predictions, 100)
    assert found == partitions(bootstrap, TOPICS.outcomes, 100)
    assert set(found.values()) == {0, 1, 2, 3}


def test_keys_go_to_the_partitions_that_java_chooses(embedded_broker: Any) -> None:
    embedded_broker.create_topic(TOPICS.outcomes, 7)
    with Publisher(embedded_broker.bootstrap, model="churn", version="7") as publisher:
        for id in JAVA_MURMUR2:
            publisher.outcome(id, 1)
    expected = {id.encode(): (value & 0x7FFFFFFF) % 7 for id, value in JAVA_MURMUR2.items()}
    assert partitions(embedded_broker.bootstrap, TOPICS.outcomes, len(JAVA_MURMUR2)) == expected


def test_numpy_values_are_sent_as_what_they_hold_and_nan_as_null(bootstrap: str) -> None:
    features = {
        "a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.str_("x"), "e": np.array([1.0, 2.0]),
        "f": np.float64("nan"), "g": np.float32("nan"), "h": float("inf"),
    }  # fmt: skip
    with Publisher(bootstrap, model="churn", version="7") as publisher:
        publisher.predicted(features, np.int64(1), score=np.float64(0.25))
    event = decode_prediction(read(bootstrap, TOPICS.predictions, 1)[0].value())
    assert isinstance(event, Prediction)
    assert event.features == {"a": 0.5, "b": 3, "c": True, "d": "x", "e": [1.0, 2.0], "f": None, "g": None, "h": None}
    assert (event.prediction, event.score) == (1, 0.25)


def test_the_sdk_imports_nothing_that_a_service_would_mind() -> None:
    code = "import sys; from driftline import Publisher; print(sorted({'numpy', 'faust', 'pandas', 'chdb', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_ids_are_made_where_none_is_given_and_text_where_they_are_not() -> None:
    publisher = Publisher(DEAD, model="churn", version="7")
    assert len({publisher.predicted({}, 1) for _ in range(100)}) == 100
    assert publisher.predicted({}, 1, id=42) == publisher.predicted({}, 1, id=np.int64(42)) == "42"
    assert publisher.predicted({}, 1, id=UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert len({publisher.predicted({"a": object()}, 1) for _ in range(10)}) == 10  # not "None", which outcomes would share
    publisher.close(0)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


BAD_CALLS: dict[str, Callable[[Publisher], object]] = {
    "no features": lambda p: p.predicted(None, 1),  # type: ignore[arg-type]
    "an object as feature": lambda p: p.predicted({"a": object()}, 1),
    "an object that fails": lambda p: p.predicted({"a": Unprintable()}, 1),
    "a nested feature": lambda p: p.predicted({"a": {"b": 1}}, 1),
    "no prediction": lambda p: p.predicted({}, None),
    "a prediction that is not a number": lambda p: p.predicted({}, float("nan")),
    "a score above 1": lambda p: p.predicted({}, 1, score=1.5),
    "scores that do not sum to 1": lambda p: p.predicted({}, 1, scores={"0": 0.1, "1": 0.1}),
    "a segment that is not text": lambda p: p.predicted({}, 1, segments={"region": 3}),  # type: ignore[dict-item]
    "an unknown role": lambda p: p.predicted({}, 1, role="boss"),  # type: ignore[arg-type]
    "seconds": lambda p: p.predicted({}, 1, ts=1732170000),
    "a time stamp with a fraction": lambda p: p.predicted({}, 1, ts=1732170000.5),  # type: ignore[arg-type]
    "a time without zone": lambda p: p.predicted({}, 1, ts=datetime(2026, 1, 5)),
    "an empty id": lambda p: p.predicted({}, 1, id=""),
    "an id of bytes": lambda p: p.predicted({}, 1, id=b"a"),  # type: ignore[arg-type]
    "an id with a control character": lambda p: p.predicted({}, 1, id="a\0b"),
    "an endless id": lambda p: p.predicted({}, 1, id="a" * 257),
    "no label": lambda p: p.outcome("a", None),
    "a label that is not a number": lambda p: p.outcome("a", float("nan")),
    "an unknown kind": lambda p: p.outcome("a", 1, kind="maybe"),  # type: ignore[arg-type]
    "half a character": lambda p: p.outcome("\ud800", 1),
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_bad_argument_is_counted_and_reported_and_never_raised(call: Callable[[Publisher], object]) -> None:
    reports: list[tuple[str, str]] = []
    publisher = Publisher(DEAD, model="churn", version="7", on_error=lambda code, message: reports.append((code, message)))
    call(publisher)
    refused = [(code, message) for code, message in reports if code in DEAD_LETTER_CODES]
    assert (publisher.errors, publisher.dropped, publisher.close(0), len(refused)) == (1, 0, 0, 1)


def test_without_a_callback_the_first_of_each_kind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher(DEAD, model="churn", version="7")
    for _ in range(3):
        publisher.outcome("a", None)
        publisher.predicted({}, 1, role="boss")  # type: ignore[arg-type]
    publisher.close(0)
    codes = [record.getMessage().split(":")[0] for record in caplog.records if "only counted" in record.getMessage()]
    assert [code for code in codes if code in DEAD_LETTER_CODES] == ["missing_field", "unknown_field_value"]


def test_a_callback_that_fails_does_not_reach_the_caller() -> None:
    def fails(code: str, message: str) -> None:
        raise RuntimeError(code)

    publisher = Publisher(DEAD, model="churn", version="7", on_error=fails)
    publisher.outcome("a", None)
    assert publisher.errors == 1
    publisher.close(0)


def test_with_a_dead_broker_memory_is_bounded_and_the_rest_is_dropped() -> None:
    publisher = Publisher(DEAD, model="churn", version="7", config={"queue.buffering.max.messages": 100})
    for _ in range(250):
        publisher.predicted({"a": 1}, 1)
    assert (publisher.published, publisher.dropped, publisher.errors) == (0, 150, 0)
    publisher.close(0)


def test_events_that_wait_too_long_are_dropped_and_reported() -> None:
    reports: list[str] = []
    publisher = Publisher(
        DEAD, "churn", "7", on_error=lambda code, message: reports.append(code), config={"message.timeout.ms": 50, "linger.ms": 5}
    )
    for _ in range(10):
        publisher.predicted({}, 1)
    assert publisher.close(30) == 0
    assert (publisher.published, publisher.dropped) == (0, 10)
    assert reports.count("_MSG_TIMED_OUT") == 10


def test_events_wait_for_a_broker_that_comes_back(embedded_broker: Any) -> None:
    embedded_broker.create_topics(TOPICS.table(4))
    publisher = Publisher(embedded_broker.bootstrap, model="churn", version="7", config={"reconnect.backoff.max.ms": 100})
    publisher.predicted({}, 1)
    publisher.flush(10)
    embedded_broker.down(1)
    for _ in range(20):
        publisher.predicted({}, 1)
    embedded_broker.up(1)
    assert publisher.close(20) == 0
    assert (publisher.published, publisher.dropped) == (21, 0)
    assert len(read(embedded_broker.bootstrap, TOPICS.predictions, 21)) == 21


def test_an_event_that_is_too_large_is_dropped(bootstrap: str) -> None:
    publisher = Publisher(bootstrap, model="churn", version="7", config={"message.max.bytes": 2_000})
    publisher.predicted({"a": "x" * 4_000}, 1)
    publisher.predicted({"a": "x"}, 1)
    assert publisher.close() == 0
    assert (publisher.published, publisher.dropped) == (1, 1)


def test_threads_share_a_publisher(bootstrap: str) -> None:
    publisher = Publisher(bootstrap, model="churn", version="7")
    threads = [threading.Thread(target=lambda: [publisher.predicted({"a": 1}, 1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.close() == 0
    assert (publisher.published, publisher.dropped, publisher.errors) == (2_000, 0, 0)


def run_script(bootstrap: str, body: str) -> str:
    script = f"import os, sys\nfrom driftline import Publisher\np = Publisher({bootstrap!r}, model='churn', version='7')\n"
    run = subprocess.run([sys.executable, "-c", script + textwrap.dedent(body)], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.strip()


def test_what_waits_is_sent_when_the_interpreter_ends(bootstrap: str) -> None:
    run_script(bootstrap, "for i in range(5): p.predicted({'a': i}, 1, id=i)")
    assert set(partitions(bootstrap, TOPICS.predictions, 5)) == {b"0", b"1", b"2", b"3", b"4"}


def test_a_forked_child_sends_its_own_events_and_nothing_twice(bootstrap: str) -> None:
    body = """
        for i in range(5): p.predicted({}, 1, id=f'parent-{i}')
        child = os.fork()
        if child == 0:
            for i in range(5): p.predicted({}, 1, id=f'child-{i}')
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        p.flush(10)
        print(p.published)
    """
    assert run_script(bootstrap, body) == "5"
    keys = [(message.key() or b"").decode() for message in read(bootstrap, TOPICS.predictions, 10)]
    assert sorted(keys) == sorted(f"{who}-{i}" for who in ("child", "parent") for i in range(5))


@pytest.mark.kafka
def test_plain_json_from_the_console_producer_lands_where_the_sdk_puts_it(kafka: Any, prefix: str, tmp_path: Path) -> None:
    """Java's own client and ours agree on the partition of 200 keys, and its events are as good as ours."""
    if kafka.libs is None:
        pytest.skip("the console producer's jars come with the fixture's own broker only")
    topics = Topics(prefix)
    kafka.create_topics(topics.table(5))
    ids = [uuid4().hex[:length] for length in range(1, 33) for _ in range(7)][:200]
    lines = [f'{id}\t{{"id": "{id}", "model": "churn", "version": "7", "ts": 1732170000000, "prediction": 1}}' for id in dict.fromkeys(ids)]
    subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka.libs}/*", "org.apache.kafka.tools.ConsoleProducer",
         "--bootstrap-server", kafka.bootstrap, "--topic", topics.predictions, "--request-timeout-ms", "30000",
         "--property", "parse.key=true", "--property", "key.separator=\t"],
        input="\n".join(lines) + "\n", text=True, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    with Publisher(kafka.bootstrap, model="churn", version="7", topics=topics) as publisher:
        for id in dict.fromkeys(ids):
            publisher.outcome(id, 1)
    by_java = read(kafka.bootstrap, topics.predictions, len(lines))
    assert {message.key(): message.partition() for message in by_java} == partitions(kafka.bootstrap, topics.outcomes, len(lines))
    assert all(isinstance(decode_prediction(message.value()), Prediction) for message in by_java)


# -- batches


def batched(bootstrap: str, topic: str, n: int) -> list[tuple[int | None, Any]]:
    """Partition and table of the first `n` messages of a topic."""
    found = read(bootstrap, topic, n)
    assert all([*(message.headers() or ())] == [("content-type", CONTENT_TYPE)] for message in found)
    return [(message.partition(), pa.ipc.open_stream(message.value() or b"").read_all()) for message in found]


def test_batches_hold_the_events_of_one_partition_each_and_all_of_them(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7", batch="arrow") as publisher:
        ids = [publisher.predicted({"tenure": i, "plan": "pro" if i % 2 else None}, i % 2, score=0.5) for i in range(100)]
        for id in ids:
            publisher.outcome(id, 1)
    assert (publisher.published, publisher.dropped, publisher.errors) == (200, 0, 0)
    for topic in (TOPICS.predictions, TOPICS.outcomes):
        tables = batched(bootstrap, topic, 4)
        assert sorted(id for _, table in tables for id in table["id"].to_pylist()) == sorted(ids)
        for partition, table in tables:
            assert {(murmur2(id.encode()) & 0x7FFFFFFF) % 4 for id in table["id"].to_pylist()} == {partition}


def test_a_worker_reads_from_a_batch_what_was_published(bootstrap: str) -> None:
    ids = [f"id{i}" for i in range(40) if murmur2(f"id{i}".encode()) % 4 == 1][:2]
    features = {"x": 1.5, "c": "a", "v": [1, 2], "b": True, "n": None}
    with Publisher(bootstrap, model="m", version="7", batch="arrow") as publisher:
        publisher.predicted(features, "yes", scores={"yes": 0.75, "no": 0.25}, id=ids[0], latency_ms=2, segments={"region": "eu"})
        publisher.predicted({"x": float("nan")}, "no", id=ids[1], ts=datetime.now(UTC), role="shadow")
    [message] = read(bootstrap, TOPICS.predictions, 1)
    partition = Partition(1, Registry({"m": Model("m", segments=("region",), positive="yes")}), {})
    row = (0, int(time.time() * 1000), None, message.value(), (("content-type", CONTENT_TYPE),))
    assert partition.add_predictions(chunk_of("p", 1, 0, 1, [row])) == []
    panes = {key.segment: decode_pane(snapshot)[0] for key, snapshot in partition.flush().snapshots}
    assert partition.counters["accepted"] == 2
    assert sum(pane.n for segment, pane in panes.items() if segment) == 1
    assert panes["region=eu"].sketches["c"].texts == {"a": 1}
    assert panes["region=eu"].answers.said["yes"][192] == 1


def test_values_that_one_column_cannot_hold_are_sent_as_single_events(bootstrap: str) -> None:
    ids = [f"id{i}" for i in range(100) if murmur2(f"id{i}".encode()) % 4 == 1][:4]
    with Publisher(bootstrap, model="churn", version="7", batch="arrow") as publisher:
        for id, value in zip(ids, [1.5, "text", True, None], strict=True):
            publisher.predicted({"x": value}, 1, id=id)
    found = [decode_prediction(message.value()) for message in read(bootstrap, TOPICS.predictions, 4)]
    assert [event.features["x"] for event in found if isinstance(event, Prediction)] == [1.5, "text", True, None]


def test_rankings_are_sent_as_single_events(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7", batch="arrow") as publisher:
        publisher.predicted({"x": 1}, ["b", "a"], id="a")
    (message,) = read(bootstrap, TOPICS.predictions, 1)
    assert message.key() == b"a"
    assert isinstance(decode_prediction(message.value()), Prediction)


def test_outcomes_of_one_id_come_in_batches_one_after_another(bootstrap: str) -> None:
    with Publisher(bootstrap, model="churn", version="7", batch="arrow") as publisher:
        for label in range(3):
            publisher.outcome("a", label)
    assert [table["label"].to_pylist() for _, table in batched(bootstrap, TOPICS.outcomes, 3)] == [[0.0], [1.0], [2.0]]


def test_with_a_dead_broker_batches_are_bounded_too_and_the_rest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.sinks.publisher.LIMIT_EVENTS", 50)
    codes: list[str] = []
    publisher = Publisher(DEAD, model="churn", version="7", batch="arrow", on_error=lambda code, _: codes.append(code), exit_flush_s=0)
    for _ in range(60):
        publisher.predicted({"x": 1}, 1)
    assert (publisher.dropped, codes.count("queue_full")) == (10, 10)
    assert publisher.close(0.1) == 50
    assert publisher.published == 0


# -- tables


def test_a_table_goes_out_by_partition_with_its_values_as_they_are(bootstrap: str) -> None:
    rows: dict[str, Any] = {"id": list(range(5_000)), "prediction": [1, 0] * 2_500, "feature.x": [0.5 * i for i in range(5_000)]}
    table = pa.table({**rows, "feature.plan": pa.array(["pro", "free"] * 2_500).dictionary_encode()})
    with Publisher(bootstrap, model="churn", version="7", batch="arrow") as publisher:
        assert publisher.predicted_table(table) == 5_000
        assert publisher.outcome_table(pa.record_batch([pa.array(["a", "a"]), pa.array([0, 1])], ["id", "label"])) == 2
    assert (publisher.published, publisher.dropped, publisher.errors) == (5_002, 0, 0)
    parts = batched(bootstrap, TOPICS.predictions, 8)  # of four partitions, each more than a thousand
    for partition, part in parts:
        assert part.num_rows <= 1_000
        assert {(murmur2(id.encode()) & 0x7FFFFFFF) % 4 for id in part["id"].to_pylist()} == {partition}
        assert part.schema.metadata == {b"model": b"churn", b"version": b"7"}
    sent = sorted((row for _, part in parts for row in part.drop(["ts"]).to_pylist()), key=lambda row: int(row["id"]))
    assert sent == [row | {"id": str(row["id"])} for row in table.to_pylist()]
    assert [part["label"].to_pylist() for _, part in batched(bootstrap, TOPICS.outcomes, 2)] == [[0], [1]]  # an id once in a message


def test_a_worker_reads_from_a_table_what_was_published(bootstrap: str) -> None:
    ids = [f"id{i}" for i in range(40) if murmur2(f"id{i}".encode()) % 4 == 1][:2]
    with Publisher(bootstrap, model="m", version="7", batch="arrow") as publisher:
        publisher.predicted_table({"id": ids, "prediction": ["yes", "no"], "feature.x": [1.5, None], "segment.region": ["eu", "us"]})
    [message] = read(bootstrap, TOPICS.predictions, 1)
    partition = Partition(1, Registry({"m": Model("m", segments=("region",), positive="yes")}), {})
    row = (0, int(time.time() * 1000), None, message.value(), (("content-type", CONTENT_TYPE),))
    assert partition.add_predictions(chunk_of("p", 1, 0, 1, [row])) == []
    assert partition.counters["accepted"] == 2


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({"prediction": [1]}, "missing_field"),
        ({"id": ["a"]}, "missing_field"),
        ({"id": ["a", None], "prediction": [1, 0]}, "missing_field"),
        ({"id": [["a"]], "prediction": [1]}, "wrong_type"),
        ({"id": ["a", "b"], "prediction": [1]}, "wrong_type"),
        (7, "wrong_type"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused_and_counted(rows: Any, code: str) -> None:
    codes: list[str] = []
    publisher = Publisher(DEAD, model="churn", version="7", batch="arrow", on_error=lambda code, _: codes.append(code), exit_flush_s=0)
    assert publisher.predicted_table(rows) == 0
    assert (publisher.errors, codes[0]) == (1, code)
    publisher.close(0)


def test_a_publisher_of_single_events_refuses_tables() -> None:
    codes: list[str] = []
    publisher = Publisher(DEAD, model="churn", version="7", on_error=lambda code, _: codes.append(code), exit_flush_s=0)
    assert publisher.predicted_table({"id": ["a"], "prediction": [1]}) == 0
    assert (publisher.errors, codes[0]) == (1, "wrong_type")


def test_with_a_dead_broker_tables_are_bounded_too_and_the_rest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.sinks.publisher.LIMIT_EVENTS", 50)
    publisher = Publisher(DEAD, model="churn", version="7", batch="arrow", on_error=lambda *_: None, exit_flush_s=0)
    taken = [publisher.predicted_table({"id": [f"{k}-{i}" for i in range(20)], "prediction": [1] * 20}) for k in range(3)]
    assert (taken, publisher.dropped) == ([20, 20, 0], 20)
    assert publisher.close(0.1) == 40


@pytest.mark.parametrize("key", JAVA_MURMUR2)
def test_batches_go_where_java_sends_their_keys(key: str) -> None:
    assert batches.murmur2(key.encode()) == JAVA_MURMUR2[key] & 0x7FFFFFFF
