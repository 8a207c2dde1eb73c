"""The summary of a run says what the store says, in values that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from driftline.schemas.results import DriftResult, PerformancePane, PerformanceResult, QualityResult, Verdict
from driftline.sinks.clickhouse import ClickHouse
from driftline.summary import summarise

HOUR = 3_600_000
START = 1_767_571_200_000  # 2026-01-05T00:00:00Z


@pytest.fixture
def store() -> Iterator[ClickHouse]:
    with ClickHouse.connect("chdb://memory") as opened:
        opened.migrate()
        yield opened


def drift(feature: str, verdict: Verdict, revision: int = 1, window: int = 0) -> DriftResult:
    begin = START + window * HOUR
    return DriftResult(
        "churn", "1", "", begin, begin + HOUR, feature, "psi", 0.4, 0.0, 0.01, 0.4, 0.2, 1000, 500, verdict, "", "r", "p", True, 1.0,
        revision,
    )  # fmt: skip


def pane(segment: str, n: int, labelled: int, revision: int = 1) -> PerformancePane:
    return PerformancePane(
        "churn", "1", segment, START, HOUR, n, labelled, {}, [0] * 256, [0] * 256, 0.0, 0.0, 0.0, [0] * 32, "r", revision
    )


def test_an_empty_store_has_an_empty_summary(store: ClickHouse) -> None:
    assert summarise(store) == {
        "events": 0, "joined": 0, "dead_letters": 0, "windows": 0, "findings": [], "alerts": [], "retrain_requests": [],
    }  # fmt: skip


def test_findings_are_the_verdicts_of_the_latest_revision_that_are_not_fine(store: ClickHouse) -> None:
    store.insert("drift_results", [drift("age", "drift", 1), drift("plan", "drift", 1), drift("age", "drift", window=2)], "a")
    store.insert("drift_results", [drift("plan", "ok", 2)], "b")
    performance = PerformanceResult(
        "churn", "1", "", START, START + HOUR, "accuracy", "realised", 0.6, 0.5, 0.7, 0.8, 500, 400, 0.8, None, 0.75, "worse", "", "r", "p",
        True, 1,
    )  # fmt: skip
    quality = QualityResult(
        "churn", "1", "", START, START + HOUR, "age", "missing_rate", 0.9, 0.1, 0.2, 500, "fault", "", "r", "p", True, 1.0, 1
    )
    store.insert("performance_results", [performance], "c")
    store.insert("quality_results", [quality], "d")
    found = summarise(store)
    assert [(f["feature"], f["test"], f["verdict"], f["value"]) for f in found["findings"]] == [
        ("accuracy", "realised", "worse", 0.6),
        ("age", "missing_rate", "fault", 0.9),
        ("age", "psi", "drift", 0.4),
        ("age", "psi", "drift", 0.4),
    ]
    assert found["findings"][0]["window"] == ["2026-01-05T00:00:00.000Z", "2026-01-05T01:00:00.000Z"]
    assert found["windows"] == 2
    assert json.loads(json.dumps(found)) == found


def test_events_are_counted_once_however_many_segments_and_revisions_there_are(store: ClickHouse) -> None:
    store.insert("performance_panes", [pane("", 10, 3), pane("region=eu", 6, 2)], "a")
    store.insert("performance_panes", [pane("", 12, 7, revision=2)], "b")
    found = summarise(store)
    assert (found["events"], found["joined"]) == (12, 7)
