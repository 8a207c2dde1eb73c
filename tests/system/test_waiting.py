"""A worker whose memory has room for few: predictions wait in the store for labels that come late, and nothing is counted otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from clickhouse_gateway import Gateway
from confluent_kafka import Producer
from counted import MODEL, PARTITIONS, REFERENCE, raw
from recount import orphans

from driftline.schemas.reference import encode_entry, entry_key

N = 2_000
ROOM = "40"  # rows of a partition in memory: a tenth of what waits, or less
NOW = int(time.time() * 1000) - 3_600_000


def prediction(n: int, **other: Any) -> dict[str, Any]:
    """One of a row that lie 20 ms apart."""
    about = {"id": f"id-{n}", "model": "soak", "version": "1", "ts": NOW + 20 * n, "prediction": n % 2, "score": n % 10 / 10}
    return about | {"features": {"x": n % 7 / 7, "c": "abz"[n % 3]}, "segments": {"region": "eu" if n % 5 else "us"}} | other


def outcome(n: int, after_ms: int, **other: Any) -> dict[str, Any]:
    """What became of it."""
    return {"id": f"id-{n}", "model": "soak", "ts": NOW + 20 * n + after_ms, "label": n % 3 % 2} | other


def send(site: Any, topic: str, events: Iterable[dict[str, Any]]) -> None:
    producer = Producer({**site.client, "partitioner": "murmur2_random", "linger.ms": 5})
    for event in events:
        producer.produce(topic, key=event["id"].encode(), value=json.dumps(event).encode())
    assert producer.flush(30) == 0


def late_labels() -> Iterable[dict[str, Any]]:
    """A label for most, ten times corrected or taken back; and some for predictions that never were."""
    for n in range(N):
        if n % 50 == 0:
            yield outcome(n, 60_000, id=f"nobody-{n}")
        if n % 9:
            yield outcome(n, 60_000, kind="provisional" if n % 4 == 0 else "final")
        if n % 11 == 0:
            yield outcome(n, 60_000, label=1, kind="correction")
        if n % 13 == 0:
            yield outcome(n, 60_001, label=None, kind="retraction")


def in_store(site: Any) -> int:
    """Predictions that are in the store, however often."""
    found: int = site.query("SELECT uniqExact(partition, offset) AS n FROM waiting WHERE NOT is_outcome")[0]["n"]
    return found


def refused(site: Any) -> int:
    """Predictions whose id is another's."""
    found: int = site.query("SELECT uniqExact(partition, offset) AS n FROM dead_letters WHERE code = 'duplicate_conflict'")[0]["n"]
    return found


def unmet(site: Any) -> set[tuple[int, int]]:
    """Partition and offset of the orphans, counted again from the topics; of those that are due."""
    due = NOW + 3 * MODEL.horizon_ms
    return {
        (k, offset)
        for k in range(PARTITIONS)
        for offset, ts in orphans(
            MODEL, raw(site.bootstrap, site.topics.predictions, k), raw(site.bootstrap, site.topics.outcomes, k)
        ).items()
        if ts < due
    }


def named(site: Any) -> set[tuple[int, int]]:
    return {(row["partition"], row["offset"]) for row in site.query("SELECT partition, offset FROM orphans FINAL")}


@pytest.mark.kafka
def test_labels_meet_predictions_that_left_memory_also_when_a_worker_is_killed_while_they_leave(
    site: Any, gateway: Gateway, until: Callable[..., None]
) -> None:
    site.prepare()
    challenger = msgspec.structs.replace(REFERENCE, version="2")
    producer = Producer(site.client)
    producer.produce(site.topics.models, key=entry_key(challenger), value=encode_entry(challenger))
    assert producer.flush(30) == 0
    first = site.worker("--hot-rows", ROOM).ready()
    send(site, site.topics.predictions, map(prediction, range(N)))
    until(lambda: in_store(site) > 0.9 * N)  # more than nine in ten wait in the store

    gateway.fail({"token": "waiting:", "slow_s": 2.0})
    # Copies, another version, and other content under an id: of predictions that are all in the store.
    send(site, site.topics.predictions, [prediction(n) for n in range(1_000, 1_800, 3)])
    send(site, site.topics.predictions, [prediction(n, version="2") for n in range(1_000, 1_800, 5)])
    send(site, site.topics.predictions, [prediction(n, prediction=5) for n in range(1_000, 1_800, 7)])
    send(site, site.topics.outcomes, late_labels())
    until(lambda: not gateway.faults())
    first.popen.kill()  # its rows are being written, and no marker will ever count them
    first.end()

    site.worker("--hot-rows", ROOM).ready()
    site.settle()
    until(lambda: refused(site) == len(range(1_000, 1_800, 7)))
    labelled = site.query("SELECT sum(n_labelled) AS n FROM performance_panes FINAL WHERE segment = '' AND version = '1'")[0]["n"]
    assert labelled > 0.7 * N
    twice = site.query("SELECT count() AS n, uniqExact(partition, is_outcome, offset) AS once FROM waiting")[0]
    assert twice["n"] > twice["once"]  # some rows are there for a worker that has died, and were not counted

    for horizons in (5, 6):  # no prediction can come any more for the labels so far; once more for those that were read again after
        later = range(horizons * MODEL.horizon_ms // 20, horizons * MODEL.horizon_ms // 20 + 200)
        send(site, site.topics.predictions, map(prediction, later))
        send(site, site.topics.outcomes, [outcome(n, 10) for n in later])
        site.settle()
    until(lambda: named(site) == unmet(site) and len(named(site)) == N // 50)
