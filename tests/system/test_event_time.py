"""Event time through a whole worker, on the embedded broker: what closes a window, what revises it, and what comes too late.

           0      5      10     15     20     25 min   event time; windows of 5 minutes, and of 10 begun every 5
partition 0 ├──────┼──────┼──────┼──────┼─┤              two predictions a minute, three labels in four
partition 1 ├──────┼──────┤ falls silent                 then comes back with one of minute 10
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from driftline.local import LocalStack, Record
from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.reference import NumericProfile, Reference
from driftline.streams.agents.ingest import partition_of

MINUTE = 60_000
BEGIN = 1_735_689_600_000  # 2025-01-01T00:00:00Z
MODEL = Model(
    "m", windows=(Window(5 * MINUTE, 5 * MINUTE), Window(10 * MINUTE, 5 * MINUTE)), features={"x": "numeric"}, disorder_ms=5_000,
    grace_ms=MINUTE, horizon_ms=60 * MINUTE, max_wait_ms=1_000, policy=Policy(min_samples=8),
)  # fmt: skip
REFERENCE = Reference("m", "1", {"x": NumericProfile([0.0, 0.5], [0, 500, 500], 1000, 0, 0.5, 83.0)}, 1000)
Rows = dict[tuple[int, int], dict[str, Any]]


def prediction(partition: int, number: int, minute: float) -> Record:
    """One whose id belongs to the partition."""
    identity = next(name for i in range(100) if partition_of(name := f"{partition}-{number}-{i}", 2) == partition)
    event = {"id": identity, "model": "m", "version": "1", "ts": BEGIN + int(minute * MINUTE), "prediction": 1, "features": {"x": 0.3}}
    return Record("predictions", identity.encode(), json.dumps(event).encode())


@dataclass
class Seen:
    """Rows of one test of x, by begin and length of the window in minutes."""

    first: Rows
    second: Rows
    said: str


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("driftline.streams.agents.ingest")
    logger.addHandler(handler)
    with LocalStack({"m": MODEL}, [REFERENCE], partitions=2) as stack:
        flow = [prediction(k, i, i / 2) for i in range(45) for k in (0, 1) if k == 0 or i < 20]
        stack.feed(flow)
        stack.drain()
        first = rows(stack)
        stack.feed([prediction(1, 100, 10.2), prediction(0, 101, 3.0), prediction(0, 102, 2.0)])
        stack.drain()
        yield Seen(first, rows(stack), "\n".join(said))
    logger.removeHandler(handler)


def rows(stack: LocalStack) -> Rows:
    sql = "SELECT * REPLACE (toUnixTimestamp64Milli(window_start) AS window_start, toUnixTimestamp64Milli(window_end) AS window_end)"
    found = stack.sink.query(f"{sql} FROM drift_results FINAL WHERE feature = 'x' AND test = 'psi'").to_pylist()
    return {((r["window_start"] - BEGIN) // MINUTE, (r["window_end"] - r["window_start"]) // MINUTE): r for r in found}


def test_windows_of_both_lengths_are_sums_of_the_same_panes(seen: Seen) -> None:
    five = {start: row["n"] for (start, length), row in seen.first.items() if length == 5}
    assert five == {0: 20, 5: 20, 10: 10, 15: 10, 20: 5}
    assert {start: row["n"] for (start, length), row in seen.first.items() if length == 10} == {
        start: five.get(start, 0) + five.get(start + 5, 0) for start in range(-5, 25, 5)
    }


def test_a_silent_partition_holds_no_window_back(seen: Seen) -> None:
    assert not seen.first[15, 5]["reason"].startswith("provisional")


def test_the_window_of_the_newest_event_is_told_provisionally_once_all_are_silent(seen: Seen) -> None:
    assert seen.first[15, 10]["reason"].startswith("provisional")
    assert not seen.first[15, 10]["is_final"]


def test_few_rows_get_no_verdict(seen: Seen) -> None:
    assert (seen.first[20, 5]["verdict"], seen.first[20, 5]["reason"]) == ("insufficient", "5 values; 8 are needed")


def test_a_partition_that_comes_back_revises_the_windows_of_its_time_and_no_others(seen: Seen) -> None:
    changed = {key for key, row in seen.second.items() if row["n"] != seen.first[key]["n"]}
    assert changed == {(10, 5), (5, 10), (10, 10)}
    for key in changed:
        assert seen.second[key]["n"] == seen.first[key]["n"] + 1
        assert seen.second[key]["revision"] > seen.first[key]["revision"]


def test_what_comes_later_than_disorder_and_grace_allow_is_not_counted_but_said(seen: Seen) -> None:
    assert (seen.second[0, 5]["n"], seen.second[0, 5]["revision"]) == (20, seen.first[0, 5]["revision"])
    assert "late_events: partition 0: 2 predictions and 0 outcomes so far" in seen.said
