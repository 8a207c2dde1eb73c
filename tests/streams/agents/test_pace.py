"""How often a worker flushes: laws of `Pace`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.agents.pace import AGE_S, EVENTS, SEEN_S, TIMES, Pace

FLUSH_S = 0.2
Read = tuple[int, float, bool, int]  # partition, age, whether all is read, events
READS = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 100), st.booleans(), st.integers(0, EVENTS // 3)), max_size=8)


def read(chunks: list[Read]) -> Pace:
    pace = Pace(FLUSH_S)
    for partition, age_s, all_read, events in chunks:
        pace.read(partition, age_s, all_read, events)
    return pace


@given(READS)
def test_a_flush_waits_for_no_longer_than_the_oldest_backlog_is_old(chunks: list[Read]) -> None:
    last = {partition: 0.0 if all_read else age_s for partition, age_s, all_read, _ in chunks}
    oldest = max((age_s for age_s in last.values() if age_s > AGE_S), default=0.0)
    pace = read(chunks)
    assert pace.behind == (oldest > 0)
    much = sum(events for *_, events in chunks) >= EVENTS
    assert pace.interval_s == (FLUSH_S if much else min(max(FLUSH_S, oldest), FLUSH_S * TIMES))


def test_too_much_that_waits_is_flushed_however_old_it_is() -> None:
    pace = read([(0, 60.0, False, EVENTS)])
    assert pace.interval_s == FLUSH_S
    pace.flushed()
    assert pace.interval_s == FLUSH_S * TIMES


def test_a_partition_that_nothing_comes_of_has_no_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = read([(0, 60.0, False, 1)])
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + SEEN_S + 1)
    assert not pace.behind
    assert pace.interval_s == FLUSH_S
