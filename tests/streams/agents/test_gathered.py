"""What waits to be taken in: nothing is lost or reordered by putting chunks together, and labels get their turn."""

from __future__ import annotations

import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.topics import Topics
from driftline.streams.agents.gathered import ENOUGH_BYTES, MODELS, MOST_TIMES, TOGETHER_BYTES, Gathered
from driftline.streams.agents.ingest import MANY, Ingest
from driftline.streams.agents.pace import LABELS, LONGEST_S, MOST_S, Turns
from driftline.streams.transport.chunk import chunk_of, merged

maybe_bytes = st.none() | st.binary(max_size=6)
headers = st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple)
contents = st.lists(st.tuples(maybe_bytes, maybe_bytes, headers, st.booleans()), max_size=12)


@given(contents, st.sets(st.integers(0, 12)), st.integers(0, 5))
def test_chunks_put_together_are_the_chunk_of_all_their_records(content, cuts, since) -> None:  # type: ignore[no-untyped-def]
    rows = [(i, 1_000 + i, key, value, told) for i, (key, value, told, exists) in enumerate(content) if exists]
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    parts = [chunk_of("t", 3, first, end, [row for row in rows if first <= row[0] < end]) for first, end in pairwise(edges)] or [
        chunk_of("t", 3, 0, 0, [])
    ]
    both = merged([parts[0].since(min(since, parts[0].end)), *parts[1:]])  # the first may have been cut to what is new of it
    left = [row for row in rows if row[0] >= min(since, parts[0].end)]
    assert (both.topic, both.partition, both.first, both.end) == ("t", 3, min(since, parts[0].end), len(content))
    assert both.offset.tolist() == [row[0] for row in left] and both.timestamp.tolist() == [row[1] for row in left]
    assert both.keys() == [row[2] for row in left] and both.values() == [row[3] for row in left]
    assert list(both.headers) == [row[4] for row in left]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 3)), max_size=30))
def test_each_source_gives_its_records_in_order_and_with_all_their_events(arrivals) -> None:  # type: ignore[no-untyped-def]
    gathered, ends, wanted = Gathered(), dict[tuple[str, int], int](), dict[tuple[str, int], list[int]]()
    for number, (topic, partition, n) in enumerate(arrivals):
        first = ends.get((topic, partition), 0)
        gathered.add(
            chunk_of(topic, partition, first, first + n, [(i, 0, None, b"%d" % i, ()) for i in range(first, first + n)]),
            number,
            now_s=number,
        )
        ends[topic, partition] = first + n
        wanted.setdefault((topic, partition), []).append(number)
    assert set(gathered.sources) == wanted.keys()
    for source, events in wanted.items():
        assert gathered.records(source) == ends[source] and gathered.newest_s(source) == events[-1]
        waiting = gathered.take(source)
        assert waiting.events == events
        assert [offset for chunk in waiting.chunks for offset in chunk.offset.tolist()] == [*range(ends[source])]
        assert gathered.records(source) == 0
    assert gathered.sources == [] and not gathered.too_much


def test_more_than_memory_should_hold_is_said() -> None:
    gathered, value = Gathered(), bytes(ENOUGH_BYTES // 2)
    for i in range(2):
        assert not gathered.too_much
        gathered.add(chunk_of("t", i, 0, 1, [(0, 0, None, value, ())]), i, now_s=0.0)
    assert gathered.too_much
    gathered.take(("t", 0))
    assert not gathered.too_much


def test_no_more_is_put_together_than_is_worth_its_copying() -> None:
    gathered, quarter = Gathered(), TOGETHER_BYTES // 4
    for i, quarters in enumerate((1, 1, 2, 4, 1, 3, 5, 1)):
        gathered.add(chunk_of("t", 0, i, i + 1, [(i, 0, None, bytes(quarter * quarters), ())]), i, now_s=0.0)
    chunks, events = gathered.take(("t", 0))
    assert [chunk.offset.tolist() for chunk in chunks] == [[0, 1, 2], [3], [4, 5], [6], [7]] and events == [*range(8)]
    assert [(chunk.first, chunk.end) for chunk in chunks] == [(0, 3), (3, 4), (4, 6), (6, 7), (7, 8)]


def test_of_many_models_more_is_gathered_and_put_together() -> None:
    gathered, third = Gathered(), TOGETHER_BYTES // 3
    for models, enough in ((1, 1), (MODELS, 1), (2 * MODELS, 2), (100 * MODELS, MOST_TIMES)):
        gathered.expect(models)
        for i in range(9):
            gathered.add(chunk_of("t", 0, i, i + 1, [(i, 0, None, bytes(third), ())]), i, now_s=0.0)
            assert gathered.enough(("t", 0), 3, TOGETHER_BYTES) == (i + 1 >= 3 * enough)
        assert not gathered.too_much
        assert [len(chunk) for chunk in gathered.take(("t", 0)).chunks] == [3 * enough] * (9 // int(3 * enough)) + [3] * (enough == 2)


def test_records_or_bytes_of_one_source_are_enough() -> None:
    gathered, source = Gathered(), ("t", 0)
    gathered.add(chunk_of("t", 1, 0, 1, [(0, 0, None, bytes(1000), ())]), "other", now_s=0.0)
    for i in range(3):
        assert not gathered.enough(source, 3, 31)
        assert gathered.enough(source, 3, 21) == (i * 10 >= 21) and gathered.enough(source, 2, 1000) == (i >= 2)
        gathered.add(chunk_of("t", 0, i, i + 1, [(i, 0, None, bytes(10), ())]), i, now_s=0.0)
    assert gathered.enough(source, 3, 1000) and gathered.enough(source, 1000, 30) and not gathered.enough(source, 4, 31)
    gathered.take(source)
    assert not gathered.enough(source, 1, 1)


def test_many_labels_wait_for_no_turn() -> None:
    topics = Topics("t")
    wiring: Any = SimpleNamespace(topics=topics, flush_s=1e9)
    ingest = Ingest(wiring, cold=SimpleNamespace())  # type: ignore[arg-type]
    ingest._partitions = {k: SimpleNamespace(recovered=True) for k in range(2)}  # type: ignore[misc]
    for k in range(2):
        ingest._turns.took(k, 60.0)
    ingest._turns.due([0, 1], time.monotonic())  # takes what was saved up
    for k, size in ((0, 10), (1, MANY[1])):
        ingest._gathered.add(chunk_of(topics.outcomes, k, 0, 1, [(0, 0, None, bytes(size), ())]), k, now_s=time.monotonic())
    assert ingest._due() == [(topics.outcomes, 1)]


@given(st.lists(st.floats(0.01, 2.0), min_size=50, max_size=200), st.lists(st.floats(0.0, 0.2), min_size=4, max_size=4))
def test_no_label_waits_long_and_together_they_cost_a_share_of_the_time(pauses, costs) -> None:  # type: ignore[no-untyped-def]
    turns, now_s, spent_s = Turns(), 100.0, 0.0
    last = dict.fromkeys(range(4), now_s)
    for pause in pauses:
        now_s += pause
        due = turns.due([*range(4)], now_s)
        for number in due:
            spent_s += costs[number] * (now_s - last[number] < LONGEST_S)
            last[number] = now_s
            turns.took(number, costs[number])
        assert all(now_s - at < LONGEST_S + 2.0 for at in last.values())
    first_round = sum(costs)  # nobody knows yet what they take
    if max(costs) <= MOST_S:
        assert spent_s <= LABELS * (now_s - 100.0) + MOST_S + first_round + 1e-9
