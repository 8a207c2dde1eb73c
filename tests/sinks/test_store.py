"""store: chunks of our own topics become rows, and coming again changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from driftline.schemas.alerts import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    RETRAIN_REQUESTED,
    RETRAIN_WITHDRAWN,
    Alert,
    Finding,
    RetrainRequest,
    cloudevent_headers,
)
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import DriftResult, PerformanceResult, QualityResult, Results, encode_results
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.rows import KEPT_BYTES, dead_letter_rows, event_rows
from driftline.streams.agents.store import blocks, digest_of, rows_of, store, token
from driftline.streams.transport.chunk import Chunk, Headers, chunk_of

TOPICS = Topics()
HOUR = 3_600_000


def drift(feature: str = "age", hour: int = 1, revision: int = 5, value: float = 0.5) -> DriftResult:
    window = (hour * HOUR, (hour + 1) * HOUR)
    return DriftResult(
        "churn", "7", "", *window, feature, "psi", value, 0.001, 0.1, value, 0.2, 900, 400, "drift", "", "ref", "pol", True, 1.0, revision
    )


def finding(feature: str, test: str, verdict: str = "drift") -> Finding:
    return Finding(feature, test, "", HOUR, 2 * HOUR, 0.5, 0.2, 0.001, 0.5, 0.1, 400, verdict, "data drift")


def alert(*findings: Finding, incident: str = "i1", event: str = "a1") -> Alert:
    return Alert(
        event, incident, "churn", "7", "data drift", "warning", HOUR, 2 * HOUR, list(findings), "ref", "pol", "age drifts", "SELECT 1"
    )


def request(case: str = "c1", incident: str = "i1") -> RetrainRequest:
    evidence = [finding("age", "psi")]
    return RetrainRequest(
        case,
        incident,
        "churn",
        "7",
        "data drift",
        HOUR,
        2 * HOUR,
        0,
        HOUR,
        900,
        800,
        evidence,
        "ref",
        "pol",
        9 * HOUR,
        "train anew",
        "SELECT 1",
    )


def event(kind: str, body: Alert | RetrainRequest, hour: int = 2) -> tuple[bytes, Headers]:
    return msgspec.json.encode(body), tuple(cloudevent_headers(kind, body.id, "churn/7", hour * HOUR))


def events(topic: str, *records: tuple[bytes, Headers], first: int = 0) -> Chunk:
    return chunk_of(topic, 0, first, first + len(records), [(first + i, 0, b"churn", *record) for i, record in enumerate(records)])


def results(*records: Results, first: int = 0) -> Chunk:
    return events(TOPICS.results, *((encode_results(record), ()) for record in records), first=first)


def dead_letter(value: bytes | None = b"{", key: bytes | None = b"id-1", **changes: bytes) -> tuple[bytes | None, bytes | None, Headers]:
    error = {
        "code": b"malformed",
        "message": b"no JSON",
        "topic": b"driftline.predictions",
        "partition": b"3",
        "offset": b"77",
        "time": b"1732170000000",
    }
    return (
        key,
        value,
        (("trace", b"\xff\x00"), *((f"driftline.error.{name}", text) for name, text in (error | changes).items()), ("trace", b"2")),
    )


def keep(sink: ClickHouse, *chunks: Chunk) -> None:
    for chunk in chunks:
        asyncio.run(store(chunk, sink, TOPICS))


def ask(sink: ClickHouse, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sink.query(sql).to_pylist()
    return found


def test_one_insert_a_table_and_chunk(embedded: ClickHouse) -> None:
    quality = QualityResult("churn", "7", "", 0, HOUR, "age", "missing_rate", 0.0, 0.0, 0.1, 9, "ok", "", "ref", "pol", True, 1.0, 1)
    chunk = results(Results(drift_results=[drift("age")], quality_results=[quality]), Results(drift_results=[drift("income")]))
    assert {table: len(found.rows) for table, found in rows_of(chunk, TOPICS).items()} == {"drift_results": 2, "quality_results": 1}
    keep(embedded, chunk)
    assert ask(embedded, "SELECT feature FROM v_drift ORDER BY feature") == [{"feature": "age"}, {"feature": "income"}]


def test_a_chunk_that_comes_again_changes_nothing(embedded: ClickHouse) -> None:
    chunk = results(Results(drift_results=[drift()]))
    keep(embedded, chunk, chunk)
    assert ask(embedded, "SELECT count() AS n FROM drift_results") == [{"n": 1}]


def test_records_that_come_again_in_other_chunks_change_nothing_that_is_seen(embedded: ClickHouse) -> None:
    records = [Results(drift_results=[drift(hour=hour)]) for hour in range(4)]
    keep(embedded, results(*records[:3]), results(*records[1:], first=1), results(records[0]))
    assert ask(embedded, "SELECT count() AS n FROM v_drift") == [{"n": 4}]


def test_other_content_at_the_offsets_of_a_topic_before_is_stored(embedded: ClickHouse) -> None:
    keep(embedded, results(Results(drift_results=[drift("age")])), results(Results(drift_results=[drift("income")])))
    assert ask(embedded, "SELECT count() AS n FROM v_drift") == [{"n": 2}]


def test_a_record_with_a_row_that_the_store_refuses_is_named_and_every_other_row_stored(embedded: ClickHouse) -> None:
    bad = msgspec.structs.replace(drift("income"), coverage=1.5)
    records = [Results(drift_results=[drift("age")]), Results(drift_results=[drift("plan"), bad]), Results(drift_results=[drift("tenure")])]
    refused = asyncio.run(store(results(*records, first=998), embedded, TOPICS))
    assert {i: why.code for i, why in refused.items()} == {1: "store_rejected"}
    assert "coverage_is_a_share" in refused[1].message
    assert [row["feature"] for row in ask(embedded, "SELECT feature FROM v_drift ORDER BY feature")] == ["age", "plan", "tenure"]


def test_a_dead_letter_that_the_store_refuses_stops_instead_of_becoming_its_own_dead_letter(embedded: ClickHouse) -> None:
    embedded._command("ALTER TABLE dead_letters ADD CONSTRAINT nothing_is_right CHECK partition = 0")
    with pytest.raises(DriftlineError, match="nothing_is_right"):
        keep(embedded, chunk_of(TOPICS.dead_letters, 1, 5, 6, [(5, 0, *dead_letter())]))


def test_blocks_end_at_the_same_offsets_however_the_chunks_were_cut(embedded: ClickHouse) -> None:
    records = [(i, 0, b"churn", encode_results(Results(drift_results=[drift(hour=i)])), ()) for i in range(2_500)]
    whole = chunk_of(TOPICS.results, 0, 0, 2_500, records)
    keep(embedded, *(chunk_of(TOPICS.results, 0, cut, cut + 1_250, records[cut : cut + 1_250]) for cut in (0, 1_250)))
    before = ask(embedded, "SELECT count() AS n FROM drift_results")
    assert [(block.first, block.end) for block in blocks(whole)] == [(0, 1_000), (1_000, 2_000), (2_000, 2_500)]
    keep(embedded, whole)
    assert ask(embedded, "SELECT count() AS n FROM v_drift") == before == [{"n": 2_500}]


def test_the_token_names_table_topic_partition_and_offsets() -> None:
    chunk = chunk_of(TOPICS.results, 2, 40, 45, [(41, 0, None, b"x", ())])
    other = chunk_of(TOPICS.results, 2, 40, 45, [(41, 0, None, b"y", ())])
    assert token(chunk, "alerts", digest_of(chunk)).startswith("alerts:driftline.results:2:40:44:")
    assert token(chunk, "alerts", digest_of(chunk)) == token(chunk, "alerts", digest_of(chunk))
    assert token(chunk, "alerts", digest_of(chunk)) != token(other, "alerts", digest_of(other))


def test_chunks_without_records_and_tombstones_are_nothing() -> None:
    assert rows_of(chunk_of(TOPICS.results, 0, 3, 9, []), TOPICS) == {}
    assert rows_of(chunk_of(TOPICS.alerts, 0, 3, 4, [(3, 0, b"churn", None, ())]), TOPICS) == {}


def test_an_incident_is_in_the_state_of_its_last_event(embedded: ClickHouse) -> None:
    opened, resolved = alert(finding("age", "psi")), alert(finding("age", "psi"), event="a2")
    keep(embedded, events(TOPICS.alerts, event(ALERT_OPENED, opened, 2), event(ALERT_RESOLVED, resolved, 5)))
    (found,) = ask(embedded, "SELECT incident, state, severity, events, dateDiff('hour', opened, changed) AS hours FROM v_alerts")
    assert found == {"incident": "i1", "state": "resolved", "severity": "warning", "events": 2, "hours": 3}


def test_the_events_of_an_incident_that_are_sent_again_after_a_crash_change_nothing(embedded: ClickHouse) -> None:
    both = event(ALERT_OPENED, alert()), event(ALERT_RESOLVED, alert(event="a2"), 5)
    keep(embedded, events(TOPICS.alerts, *both), events(TOPICS.alerts, *both, first=2))
    assert ask(embedded, "SELECT state, events FROM v_alerts") == [{"state": "resolved", "events": 2}]
    assert ask(embedded, "SELECT count() AS n FROM alerts FINAL") == [{"n": 2}]


def test_a_retrain_case_is_in_the_state_of_its_last_event(embedded: ClickHouse) -> None:
    keep(embedded, events(TOPICS.retrain, event(RETRAIN_REQUESTED, request()), event(RETRAIN_WITHDRAWN, request(), 3)))
    (found,) = ask(embedded, "SELECT id, state, rows, labelled_rows, training_end, expires FROM v_retrain")
    assert (found["id"], found["state"], found["rows"], found["labelled_rows"]) == ("c1", "withdrawn", 900, 800)
    assert (found["training_end"].timestamp(), found["expires"].timestamp()) == (3600, 9 * 3600)


def test_lineage_leads_from_each_result_to_its_incident_and_case(embedded: ClickHouse) -> None:
    window = (HOUR, 2 * HOUR)
    performance = PerformanceResult(
        "churn", "7", "", *window, "auc", "realised", 0.6, None, None, 0.8, 400, 300, 0.75, None, 0.7, "worse", "", "ref", "pol", True, 1
    )
    quality = QualityResult("churn", "7", "", *window, "age", "missing_rate", 0.3, 0.0, 0.1, 400, "fault", "", "ref", "pol", True, 1.0, 1)
    rows = Results(
        drift_results=[drift("age"), drift("income"), drift("age", 2)], performance_results=[performance], quality_results=[quality]
    )
    seen = alert(finding("age", "psi"), finding("auc", "realised", "worse"), finding("age", "missing_rate", "fault"))
    keep(
        embedded,
        results(rows),
        events(TOPICS.alerts, event(ALERT_OPENED, seen)),
        events(TOPICS.retrain, event(RETRAIN_REQUESTED, request())),
    )
    found = ask(
        embedded, "SELECT kind, feature, toHour(window_start) AS hour, incident, incident_state, retrain_case, retrain_state FROM v_lineage"
    )
    assert sorted(tuple(row.values()) for row in found) == [
        ("drift", "age", 1, "i1", "opened", "c1", "requested"),
        ("drift", "age", 2, "", "", "", ""),
        ("drift", "income", 1, "", "", "", ""),
        ("performance", "auc", 1, "i1", "opened", "c1", "requested"),
        ("quality", "age", 1, "i1", "opened", "c1", "requested"),
    ]


def test_a_dead_letter_is_kept_byte_for_byte_with_where_it_was_and_why(embedded: ClickHouse) -> None:
    keep(embedded, chunk_of(TOPICS.dead_letters, 1, 5, 6, [(5, 0, *dead_letter(value=b"\xff{", key=b"\x00id"))]))
    (found,) = embedded._call(lambda client: client.query_arrow("SELECT * FROM dead_letters", use_strings=False)).to_pylist()
    assert found.pop("time").timestamp() == 1732170000
    assert found == {
        "topic": b"driftline.predictions", "partition": 3, "offset": 77, "code": b"malformed", "message": b"no JSON", "key": b"\x00id",
        "value": b"\xff{", "value_bytes": 2, "headers": [(b"trace", b"\xff\x00"), (b"trace", b"2")], "revision": 5,
    }  # fmt: skip


def test_a_large_dead_letter_is_cut_and_its_length_kept() -> None:
    (row,) = dead_letter_rows(*dead_letter(value=b"x" * (KEPT_BYTES + 5)), revision=1)["dead_letters"]
    assert (len(row.value), row.value_bytes) == (KEPT_BYTES, KEPT_BYTES + 5)  # type: ignore[attr-defined]


def test_a_dead_letter_of_a_record_without_key_and_value_has_empty_ones() -> None:
    (row,) = dead_letter_rows(*dead_letter(value=None, key=None), revision=1)["dead_letters"]
    assert (row.key, row.value, row.value_bytes) == (b"", b"", 0)  # type: ignore[attr-defined]


def test_a_dead_letter_of_a_record_without_a_time_stamp_is_no_error() -> None:
    (row,) = dead_letter_rows(*dead_letter(time=b"-1"), revision=1)["dead_letters"]
    assert row.time == -1  # type: ignore[attr-defined]


def test_an_event_that_is_not_ours_gives_no_row() -> None:
    value, headers = event("com.example.retrain.accepted", alert())
    assert rows_of(chunk_of(TOPICS.retrain, 0, 0, 2, [(0, 0, b"k", value, headers), (1, 0, b"k", b"hello", ())]), TOPICS) == {}


UNREADABLE = {
    "a result that is no MessagePack": (TOPICS.results, b"{", b"", ()),
    "a result of another shape": (TOPICS.results, msgspec.msgpack.encode({"drift_results": [[1]]}), b"", ()),
    "an event with the value of another": (TOPICS.retrain, *event(RETRAIN_REQUESTED, alert())),
    "an event with a time of no zone": (
        TOPICS.alerts,
        msgspec.json.encode(alert()),
        (("ce_type", ALERT_OPENED.encode()), ("ce_time", b"2024-01-01")),
    ),
    "a dead letter without its headers": (TOPICS.dead_letters, b"{", (("trace", b"1"),)),
    "a dead letter from offset x": (TOPICS.dead_letters, b"{", dead_letter(offset=b"x")[2]),
}


@pytest.mark.parametrize("record", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_of_ours_that_cannot_be_read_stops_and_says_where_it_is(record: tuple[Any, ...]) -> None:
    topic, value, *_, headers = record
    with pytest.raises(DriftlineError, match=f"{topic}, partition 4, offset 9: ") as caught:
        rows_of(chunk_of(topic, 4, 9, 10, [(9, 0, b"churn", value, headers)]), TOPICS)
    assert caught.value.code == "undecodable"


def test_nothing_of_a_chunk_is_stored_when_one_of_its_records_cannot_be_read(embedded: ClickHouse) -> None:
    chunk = events(TOPICS.results, (encode_results(Results(drift_results=[drift()])), ()), (b"{", ()))
    with pytest.raises(DriftlineError):
        keep(embedded, chunk)
    assert ask(embedded, "SELECT count() AS n FROM drift_results") == [{"n": 0}]


def test_an_event_says_what_its_envelope_says() -> None:
    value, headers = event(ALERT_OPENED, alert(finding("age", "psi")), 7)
    (row,) = event_rows(headers, value, 12)["alerts"]
    assert (row.type, row.time, row.revision) == (ALERT_OPENED, 7 * HOUR, 12)  # type: ignore[attr-defined]
    assert msgspec.json.decode(row.findings, type=list[Finding]) == [finding("age", "psi")]  # type: ignore[attr-defined]
