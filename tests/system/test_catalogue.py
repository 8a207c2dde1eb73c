"""The catalogue of bad input through a whole worker: each row is told by its stable code, and everything beside it is counted."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from driftline.schemas.config import Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference, encode_entry, entry_key
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.worker import Timing, Worker

TOPICS = Topics()
NOW = int(time.time() * 1000) // 60_000 * 60_000
GOOD: dict[str, Any] = {"model": "m", "version": "1", "ts": NOW, "prediction": 1, "score": 0.5, "features": {"x": 0.5, "c": "a"}}
Headers = Sequence[tuple[str, bytes | None]]


class Case(NamedTuple):
    """One record; `code` is None where it is counted, and "" where it is passed over."""

    code: str | None
    value: bytes | None
    key: bytes | None
    headers: Headers = ()
    topic: str = TOPICS.predictions


def event(id: str, **fields: Any) -> bytes:
    return json.dumps({"id": id, **GOOD, **fields}).encode()


def good(id: str, headers: Headers | None = None, **fields: Any) -> Case:
    return Case(None, event(id, **fields), id.encode(), headers or ())


def bad(code: str, id: str, **fields: Any) -> Case:
    return Case(code, event(id, **fields), id.encode())


def raw(code: str, value: bytes | None, key: bytes | None = b"k") -> Case:
    return Case(code, value, key)


def outcome(code: str | None, id: str, **fields: Any) -> Case:
    value = json.dumps({"id": id, "model": "m", "ts": NOW + 1, "label": 1, **fields}).encode()
    return Case(code, value, id.encode(), topic=TOPICS.outcomes)


def spliced(text: str, id: str = "s") -> bytes:
    """A good event with raw text as its last member."""
    return event(id)[:-1] + b", " + text.encode() + b"}"


#: By the number of the row in the catalogue.
CASES: dict[str, Case] = {
    "1 no bytes": raw("empty", b""),
    "2 a tombstone": raw("", None),
    "2 a tombstone without a key": raw("", None, None),
    "3 null": raw("not_object", b"null"),
    "3 a list": raw("not_object", b"[]"),
    "4 cut off": raw("malformed", event("a")[:-4]),
    "5 something after the end": raw("malformed", event("a") + b"x"),
    "5 two documents": raw("malformed", event("a") + event("a")),
    "6 NaN": raw("non_finite", spliced('"latency_ms": NaN')),
    "6 Infinity": raw("non_finite", spliced('"latency_ms": -Infinity')),
    "7 a number without a float": raw("non_finite", spliced('"latency_ms": 1e999')),
    "9 beyond 64 bits as a time": bad("int_range", "a", ts=2**63),
    "9 beyond 64 bits as a feature": good("row9", features={"x": 2**64}),
    "10 an integer of 400 digits": bad("non_finite", "a", features={"x": 10**399}),
    "11 an integer of 5 000 digits": raw("non_finite", spliced(f'"latency_ms": {"9" * 5_000}')),
    "12 depth 100 000": raw("too_deep", b"[" * 100_000),
    "13 depth 900 in an unknown field": raw("too_deep", spliced(f'"other": {"[" * 900}{"]" * 900}')),
    "14 a key that comes twice": Case(None, spliced('"id": "row14"'), b"row14"),
    "15 a byte order mark": raw("encoding", b"\xef\xbb\xbf" + event("a")),
    "16 UTF-16": raw("encoding", event("a").decode().encode("utf-16")),
    "17 no UTF-8": raw("encoding", event("a").replace(b'"a"', b'"\xff"')),
    "18 NUL in an id": bad("bad_name", "a\0"),
    "19 an id of 500 kB": bad("out_of_bounds", "x" * 500_000),
    "20 a category of 500 kB": bad("out_of_bounds", "a", features={"c": "x" * 500_000}),
    "22 10 000 features": bad("too_many_features", "a", features={f"f{i}": i for i in range(10_000)}),
    "23 a name with quotes, braces, emoji, from right to left": good("row23", features={"\"'{}`😀\u202e": 1}),
    "23 a name of two lines": bad("bad_name", "a", features={"x\ny": 1}),
    "24 a name of 10 kB": bad("out_of_bounds", "a", features={"x" * 10_000: 1}),
    "25 markup": good("row25", features={"c": "<script>alert(1)</script>"}),
    "26 SQL": good("row26", version="'); DROP TABLE alerts; --"),
    "27 a formula": good("row27", features={"c": "=cmd()"}),
    "28 a registry's header": raw("wire_format", b"\0\0\0\0\x07" + event("a")),
    "28 an Arrow stream": raw("wire_format", b"\xff\xff\xff\xff\x10\0\0\0"),
    "33 an unknown field": good("row33", shard=3),
    "34 no version": raw("missing_field", b'{"id": "a", "model": "m", "ts": 1, "prediction": 1}'),
    "35 a number as a text, in the contract's own fields": bad("wrong_type", "a", score="0.5"),
    "35 a number as a text, in a feature": good("row35", features={"x": "1.5"}),
    "36 a category where a number belongs": good("row36", features={"x": "much", "c": [1.0]}),
    "37 null": good("row37", features={"x": None, "c": None}),
    "38 a category that the reference does not have": good("row38", features={"c": "new"}),
    "44 the greatest numbers": good("row44", features={"x": 1.7976931348623157e308}),
    "44 the smallest number": good("row44b", features={"x": 5e-324}),
    "46 on an edge": good("row46", features={"x": 1.0}),
    "47 a prediction": good("row47"),
    "47 the same again": Case("", event("row47"), b"row47"),
    "47 another under its id": bad("duplicate_conflict", "row47", prediction=0),
    "48 no id": raw("missing_field", json.dumps(GOOD).encode()),
    "55 a class that is not listed": bad("unknown_class", "a", model="kind", prediction="bird"),
    "56 a score above one": bad("bad_probability", "a", score=1.5),
    "56 scores that do not sum to one": bad("bad_probability", "a", scores={"a": 0.5, "b": 0.6}),
    "57 a text for a regression": bad("task_mismatch", "a", model="price", prediction="cheap"),
    "58 seconds": bad("bad_timestamp", "a", ts=NOW // 1000),
    "58 nanoseconds": bad("bad_timestamp", "a", ts=NOW * 1_000_000),
    "59 a time without an offset": bad("bad_timestamp", "a", ts="2026-01-05T00:00:00"),
    "60 a leap second": Case("", event("row60", ts="2016-12-31T23:59:60Z"), b"row60"),  # understood, and late
    "61 tomorrow": bad("future", "a", ts=NOW + 86_400_000),
    "63 no key": raw("no_key", event("a"), None),
    "64 another's key": raw("wrong_key", event("a"), b"b"),
    "67 a thousand headers": good("row67", [(f"h{i}", b"x") for i in range(1_000)]),
    "67 a header of 100 kB that is no UTF-8": good("row67b", [("h", b"\xff" * 100_000)]),
    "67 a header without a value": good("row67c", [("h", None)]),
    "67 a bad record with headers without a value and twice": Case("malformed", b"{", b"k", [("h", None), ("h", b"\xff"), ("g", b"")]),
    "68 a CloudEvent of a kind that is not known": raw(
        "unknown_type", b'{"specversion": "9.9", "type": "t", "source": "s", "id": "1", "data": {}}'
    ),
    "69 a model that nobody knows": bad("unknown_model", "a", model="nobody"),
    "50 a label before its prediction": outcome(None, "row50"),
    "51 a label without a prediction": outcome("", "nobody"),
    "52 a label": outcome(None, "row47", label=0),
    "52 its correction": outcome("", "row47", ts=NOW + 2, kind="correction"),
    "55 a label that is no class": outcome("unknown_class", "a", model="kind", label="bird"),
    "57 a label that is no number": outcome("task_mismatch", "a", model="price", label="cheap"),
    "34 no label": outcome("missing_field", "a", label=None),
    "50 the prediction of that label": good("row50"),
}  # fmt: skip
MODELS = {
    "m": Model("m", pane_ms=60_000, max_wait_ms=300), "price": Model("price", task="regression"),
    "kind": Model("kind", task="multiclass", classes=("cat", "dog")),
}  # fmt: skip
PROFILES: dict[str, NumericProfile | CategoricalProfile] = {
    "x": NumericProfile([0.0, 1.0], [1, 1, 1], 3, 0, 0.5, 1.0),
    "c": CategoricalProfile(["a", "b"], [1, 1], 0, 2, 0),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClickHouse, dict[str, str], str]]:
    """The store after all of the catalogue, the code that each row was told by, and the log."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("driftline.streams.agents.ingest")
    log.addHandler(handler)
    place = tmp_path_factory.mktemp("catalogue") / "store"
    with EmbeddedBroker() as broker, ClickHouse.connect(f"chdb://{place}", create=True) as store:
        store.migrate()
        broker.create_topics(TOPICS.table(1))
        client = {"bootstrap.servers": broker.bootstrap}
        producer = Producer({**client, "message.max.bytes": 2**23, "linger.ms": 0})
        reference = Reference("m", "1", PROFILES, 3)
        producer.produce(TOPICS.models, encode_entry(reference), entry_key(reference))
        offsets = {TOPICS.predictions: 0, TOPICS.outcomes: 0}
        placed: dict[tuple[str, int], str] = {}
        for name, case in CASES.items():
            producer.produce(case.topic, case.value, case.key, 0, headers=list(case.headers))
            placed[case.topic, offsets[case.topic]] = name
            offsets[case.topic] += 1
        assert producer.flush(10) == 0
        worker = Worker(client, store, MODELS, store=store, prefix=TOPICS.prefix, partitions=1, timing=Timing(6, 1, 0.1), breaker=False)
        worker.start()
        end = time.monotonic() + 60
        while not worker.idle():
            assert time.monotonic() < end
            time.sleep(0.05)
        worker.stop()
        rows = store.query("SELECT topic, offset, code FROM dead_letters FINAL").to_pylist()
        yield store, {placed[row["topic"], row["offset"]]: row["code"] for row in rows}, "\n".join(records)
    log.removeHandler(handler)


def test_each_bad_record_is_told_by_its_code_and_no_other_is_told(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    _, codes, _ = told
    assert codes == {name: case.code for name, case in CASES.items() if case.code}


def test_everything_beside_them_is_counted(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    store, _, _ = told
    (found,) = store.query("SELECT sum(n) AS n, sum(n_labelled) AS labelled FROM performance_panes FINAL WHERE segment = ''").to_pylist()
    counted = [case for case in CASES.values() if case.code is None]
    assert found["n"] == sum(case.topic == TOPICS.predictions for case in counted)
    assert found["labelled"] == sum(case.topic == TOPICS.outcomes for case in counted)


def test_no_table_holds_a_number_that_is_none(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    store, _, _ = told
    for table in ("feature_panes", "drift_results", "performance_results", "quality_results", "performance_panes"):
        asked = "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        asked += " AND match(type, '^(Nullable.)?Float')"  # not lists of them
        names = [row["name"] for row in store.query(asked, {"table": table}).to_pylist()]
        wrong = " + ".join(f"countIf(NOT isFinite(`{name}`))" for name in names)
        assert store.query(f"SELECT {wrong} AS n FROM {table}").to_pylist() == [{"n": 0}], table


def test_what_a_feature_may_not_be_is_counted_by_feature(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    store, _, _ = told
    asked = (
        "SELECT feature, sum(type_errors) AS errors FROM feature_panes FINAL WHERE version = '1' AND feature IN ('x', 'c') GROUP BY feature"
    )
    assert {row["feature"]: row["errors"] for row in store.query(asked).to_pylist()} == {"x": 2, "c": 1}


def test_texts_from_outside_are_kept_as_they_are(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    store, _, _ = told
    versions = store.query("SELECT DISTINCT version FROM performance_panes").to_pylist()
    assert {"version": "'); DROP TABLE alerts; --"} in versions


def test_a_dead_letter_keeps_the_headers_of_its_record(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    store, _, _ = told
    asked = "SELECT mapKeys(headers) AS names FROM dead_letters FINAL WHERE length(mapKeys(headers)) > 0"
    assert store.query(asked).to_pylist() == [{"names": ["h", "h", "g"]}]


def test_fields_that_are_not_known_are_named_in_the_log(told: tuple[ClickHouse, dict[str, str], str]) -> None:
    _, _, log = told
    assert "unknown_fields: partition 0: " in log
    assert "'shard' in 1" in log
