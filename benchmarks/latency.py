"""How long after a window closes its rows are in ClickHouse, and its alert on Kafka.

Events come at a steady rate, far below what the worker can do. A window closes when every partition has been handed an event that is
newer than the window's end by the allowed disorder: from when the broker has the last of them the time is taken, to the moment a reader
who does nothing but ask sees the rows, or consumes the alert. Every second window drifts, so every window brings an alert:
one opens and one resolves.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
import workload
from confluent_kafka import Consumer, TopicPartition
from rig import Failed, Site
from workload import START_MS, STEP_MS, Record, Source

from driftline.sinks.clickhouse import ClickHouse

DISORDER_MS = 1_000
LOOK_S = 0.02
BACK_MS = 600_000  # of event time before the newest window that was seen: none is told so late
BEHIND_S = 5.0  # a worker that is further behind is measured in what waits, not in how fast it answers


class Behind(Failed):
    """Events come faster than the worker takes them in on this machine."""


class _About(msgspec.Struct):
    """What is looked at of an alert."""

    window_end: int


@dataclass
class Seen:
    """When something about a window was first seen, by the window's end; seconds on the monotonic clock."""

    rows: dict[int, float] = field(default_factory=dict)
    alerts: dict[int, float] = field(default_factory=dict)


def latency(site: Site, source: Source, windows: int, rate: int) -> dict[str, float | int]:
    """Seconds from a window's close, over `windows` windows at `rate` predictions a second."""
    shape = source.shape
    site.start_worker()
    site.publish(source, 4 * shape.window)
    site.come_to_rest()
    with _watching(site) as seen:
        first = source.made
        closed = paced(site, source, windows * shape.window, rate)
        if (behind := site.unread(site.topics.predictions)) > BEHIND_S * rate:
            raise Behind(f"the worker cannot keep up with {rate:,} predictions a second on this machine: {behind:,} of them wait")
        ours = {end: at for end, at in closed.items() if end > START_MS + STEP_MS * first}
        site.wait(lambda: ours.keys() <= seen.rows.keys(), "not every window came to the store", 300)
    rows = np.array([seen.rows[end] - at for end, at in ours.items()])
    alerts = np.array([seen.alerts[end] - at for end, at in ours.items() if end in seen.alerts])
    if len(alerts) < len(ours) / 2:
        raise Failed(f"{len(alerts)} alerts came of {len(ours)} windows")
    named = {"row": rows, "alert": alerts}
    return {
        **{f"{name}_{label}_s": float(np.quantile(v, q)) for name, v in named.items() for label, q in (("p50", 0.5), ("p99", 0.99))},
        "windows": len(ours), "predictions_per_second": rate,
    }  # fmt: skip


@contextmanager
def _watching(site: Site) -> Iterator[Seen]:
    """Two readers that do nothing else."""
    seen, over = Seen(), threading.Event()

    def rows() -> None:
        ends = "SELECT DISTINCT toUnixTimestamp64Milli(window_end) AS closed FROM drift_results"
        newest = 0
        with ClickHouse.connect(site.dsn) as store:
            while not over.wait(LOOK_S):
                found = store.query(f"{ends} WHERE window_end > fromUnixTimestamp64Milli({newest - BACK_MS})").to_pylist()
                now = time.monotonic()
                for row in found:
                    seen.rows.setdefault(row["closed"], now)
                    newest = max(newest, row["closed"])

    def alerts() -> None:
        consumer = Consumer({"bootstrap.servers": site.broker.bootstrap, "group.id": f"{site.prefix}-alerts", "fetch.wait.max.ms": 10})
        consumer.assign([TopicPartition(site.topics.alerts, k, 0) for k in range(site.shape.partitions)])
        while not over.is_set():
            message = consumer.poll(0.1)
            value = message.value() if message is not None and not message.error() else None
            if value:
                seen.alerts.setdefault(msgspec.json.decode(value, type=_About).window_end, time.monotonic())
        consumer.close()

    threads = [threading.Thread(target=reader) for reader in (rows, alerts)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def paced(site: Site, source: Source, events: int, rate: int) -> dict[int, float]:
    """Publish at a steady rate; returns the moment each window closed."""
    kafka = workload.producer(site.broker.bootstrap, linger_ms=5)
    length, step = source.shape.window_ms, source.shape.block
    passed: dict[int, dict[int, float]] = defaultdict(dict)  # window's end → partition → moment
    newest = dict.fromkeys(range(source.shape.partitions), 0)
    number = 0
    # Made beforehand, or whoever publishes would fall behind whenever it makes the next block, and its events wait before they are sent.
    blocks = [(source.made, [*_interleaved(list(source.records(step)))]) for _ in range(0, events, step)]
    begin = time.monotonic()
    for first, block in blocks:
        for i, records in enumerate(block):
            while number > (time.monotonic() - begin) * rate:
                kafka.poll(0.002)
            number += 1
            ts, partition = START_MS + STEP_MS * (first + i), records[0].partition
            window = (ts - DISORDER_MS) // length * length
            told = None
            if window > newest[partition]:
                newest[partition] = window
                told = partial(_note, passed[window], partition, time.monotonic())
            workload.send(kafka, site.topics, records[0], told=told)
            for record in records[1:]:
                workload.send(kafka, site.topics, record)
        for process in site.workers:
            process.require()
    kafka.flush(60)
    return {end: max(moments.values()) for end, moments in passed.items() if len(moments) == source.shape.partitions}


def _note(passed: dict[int, float], partition: int, sent_s: float, latency_s: float) -> None:
    passed[partition] = sent_s + latency_s


def _interleaved(records: list[Record]) -> Iterator[list[Record]]:
    """Each prediction with its share of the labels that come in the same block, instead of all of them at its end."""
    predictions = [r for r in records if r.topic == "predictions"]
    labels = [r for r in records if r.topic == "outcomes"]
    for k, prediction in enumerate(predictions):
        yield [prediction, *labels[k * len(labels) // len(predictions) : (k + 1) * len(labels) // len(predictions)]]
