"""The lane in a Faust worker on the embedded broker: what reaches the agent, and what is committed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

NUMBERS = [str(i) for i in range(40)]


def spans_follow(chunks: Any) -> bool:
    return all(before.end == after.first for before, after in pairwise(chunks))


def test_an_agent_gets_whole_batches_of_every_codec_and_their_end_is_committed(lanes: Any) -> None:
    for i, codec in enumerate(["none", "gzip", "snappy", "lz4", "zstd"]):
        lanes.produce("lane", NUMBERS[8 * i : 8 * i + 8], **{"compression.type": codec})
    worker = lanes.worker("lane")
    worker.wait(lambda w: len(w.values()) >= 40)
    assert worker.stop() == 0
    assert worker.values() == NUMBERS and len(worker.chunks()) < 40
    assert lanes.committed("lane") == 40


def test_nothing_from_an_unacknowledged_chunk_on_is_committed(lanes: Any) -> None:
    lanes.produce("lane", NUMBERS)
    worker = lanes.worker("lane", chunk_records=4, hold="17")
    worker.wait(lambda w: len(w.values()) >= 40)
    assert worker.stop() == 0
    [held] = [chunk for chunk in worker.chunks() if "17" in chunk.values]
    assert lanes.committed("lane") == held.first


def test_a_chunk_that_fails_ends_the_worker_and_is_processed_by_the_next(lanes: Any) -> None:
    lanes.produce("lane", NUMBERS)
    failing = lanes.worker("lane", chunk_records=4, fail_at="17")
    assert failing.process.wait(40) == 1
    assert lanes.committed("lane") <= 17
    following = lanes.worker("lane", chunk_records=4)
    following.wait(lambda w: "39" in w.values())
    assert set(failing.values()) | set(following.values()) == set(NUMBERS)
    assert following.chunks()[0].first <= 17


@pytest.mark.parametrize("table", [False, True], ids=["no table", "after recovery of a table"])
def test_reading_starts_at_the_position_asked_for_even_inside_a_batch(lanes: Any, embedded_broker: Any, table: bool) -> None:
    embedded_broker.create_topic(f"{lanes.group}-seen-changelog", 1)
    lanes.produce("lane", NUMBERS, **{"compression.type": "zstd"})
    lanes.commit("lane", 25)
    worker = lanes.worker("lane", starts={"lane/0": 17}, table=table)
    worker.wait(lambda w: "39" in w.values())
    assert worker.chunks()[0].first == 17 and worker.values() == NUMBERS[17:]


def test_a_slow_agent_and_a_paused_partition_lose_and_repeat_nothing(lanes: Any) -> None:
    many = [str(i) for i in range(6_000)]  # enough that it is asked for more long after the partition was resumed
    lanes.produce("lane", many)
    worker = lanes.worker("lane", chunk_records=20, chunk_s=0.002, pause_at="200")
    worker.wait(lambda w: "5999" in w.values())
    assert worker.values() == many and spans_follow(worker.chunks())


def test_seeking_back_reads_again_and_commits_nothing_that_is_to_come_again(lanes: Any) -> None:
    lanes.produce("lane", NUMBERS)
    worker = lanes.worker("lane", chunk_records=4, seek_back=("30", 10))
    worker.wait(lambda w: w.values().count("39") == 2 and w.seeks() == [10])
    assert worker.stop() == 0
    before = [chunk for chunk in worker.chunks() if chunk.first < 10]
    again = worker.chunks()[len(before) :]
    assert any(chunk.first == 10 for chunk in again) and worker.values().count("20") == 2
    assert lanes.committed("lane") == 40


def test_seeking_back_to_deleted_records_goes_on_at_the_first_that_is_left(lanes: Any, embedded_broker: Any) -> None:
    for i in range(0, 40, 10):
        lanes.produce("lane", NUMBERS[i : i + 10])
    embedded_broker.delete_records("lane", 0, 20)
    worker = lanes.worker("lane", seek_back=("39", 5))
    worker.wait(lambda w: w.seeks() == [20] and w.values().count("39") == 2)
    assert [value for value in worker.values() if int(value) < 20] == []
