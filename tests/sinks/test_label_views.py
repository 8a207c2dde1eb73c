"""What the views say of labels: how reliable scores are, how long labels take, who wins of two versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driftline.schemas.results import ComparisonResult, PerformancePane
from driftline.sinks.clickhouse import ClickHouse

HOUR = 3_600_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('views') / 'store'}") as opened:
        opened.migrate()
        yield opened


def pane(start: int, revision: int, low: tuple[int, int], high: tuple[int, int]) -> PerformancePane:
    """Labelled rows by outcome of a score near 0.1 and one near 0.9; every other one was labelled within a second."""
    negative, positive = [0] * 256, [0] * 256
    (negative[25], positive[25]), (negative[230], positive[230]) = low, high
    labels = sum(low) + sum(high)
    delays = [labels // 2, labels - labels // 2] + [0] * 30
    return PerformancePane("m", "1", "", start, 60_000, 2 * labels, labels, {}, negative, positive, 0.0, 0.0, 0.0, delays, "ref", revision)


def test_reliability_holds_what_was_said_against_what_came_true(store: ClickHouse) -> None:
    old, new, other = pane(0, 1, (9, 9), (9, 9)), pane(0, 2, (90, 10), (30, 70)), pane(60_000, 2, (90, 10), (30, 70))
    for number, panes in enumerate(([old], [new, other])):
        store.insert("performance_panes", panes, f"p{number}")
    rows = store.query("SELECT tenth, labelled, round(mean_score, 3) AS said, came_true FROM v_reliability ORDER BY tenth").to_pylist()
    assert rows == [
        {"tenth": 0, "labelled": 200, "said": 0.1, "came_true": 0.1},
        {"tenth": 8, "labelled": 200, "said": 0.9, "came_true": 0.7},
    ]


def test_delays_are_told_by_the_hour(store: ClickHouse) -> None:
    rows = store.query("SELECT from_s, to_s, labels, coverage FROM v_delays WHERE labels > 0 ORDER BY bin").to_pylist()
    assert [tuple(row.values()) for row in rows] == [(0.0, 1.0, 200, 0.5), (1.0, 3.0, 200, 0.5)]


def test_the_latest_word_on_two_versions_is_shown(store: ClickHouse) -> None:
    first = ComparisonResult("m", "1", "2", 0, HOUR, "undecided", 0.05, -0.1, 0.2, 100, 15, 10, "pol", False, 1)
    last = ComparisonResult("m", "1", "2", 0, HOUR, "better", 0.07, 0.01, 0.13, 3_000, 360, 150, "pol", True, 2)
    for number, row in enumerate((last, first)):
        store.insert("comparisons", [row], f"c{number}")
    (shown,) = store.query("SELECT verdict, n, challenger_alone, champion_alone FROM v_comparisons").to_pylist()
    assert shown == {"verdict": "better", "n": 3_000, "challenger_alone": 360, "champion_alone": 150}
