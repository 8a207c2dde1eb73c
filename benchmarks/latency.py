"""How long after a window closes its rows are in ClickHouse, and its alert on Kafka.

Events come at a steady rate, far below what the worker can do. A window closes when every partition has been handed an event that is
newer than the window's end by the allowed disorder: from when the broker has the last of them the time is taken, to the moment from which
on whoever asks sees the first rows of its drift, or somebody consumes the alert. Every second window drifts, so every window brings an
alert: one opens and one resolves.

Nobody asks the store meanwhile: a question costs the engine half as much as an insert, on the core that it shares with the broker and the
publisher, and one every 0.02 s was a tenth of a second of what it measured. The process in front of the engine notes when each insert had
ended, the results topic says which insert had a window's first rows, and a query at the end that they are there.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
import numpy as np
import workload
from confluent_kafka import Consumer, TopicPartition
from rig import Failed, Site
from workload import START_MS, STEP_MS, Record, Source

from driftline.schemas.results import decode_results

DISORDER_MS = 1_000
BEHIND_S = 5.0  # a worker that is further behind is measured in what waits, not in how fast it answers


class Behind(Failed):
    """Events come faster than the worker takes them in on this machine."""


class _About(msgspec.Struct):
    """What is looked at of an alert."""

    window_end: int


def latency(site: Site, source: Source, windows: int, rate: int) -> dict[str, float | int]:
    """Seconds from a window's close, over `windows` windows at `rate` predictions a second."""
    shape = source.shape
    site.start_worker()
    site.publish(source, 4 * shape.window)
    site.come_to_rest()
    with _alerts(site) as told:
        first = source.made
        closed = paced(site, source, windows * shape.window, rate)
        if (behind := site.unread(site.topics.predictions)) > BEHIND_S * rate:
            raise Behind(f"the worker cannot keep up with {rate:,} predictions a second on this machine: {behind:,} of them wait")
        ours = {end: at for end, at in closed.items() if end > START_MS + STEP_MS * first}
        site.wait(lambda: ours.keys() <= _in_store(site), "not every window came to the store", 300)
        stored = stored_s(site)
    rows = np.array([stored[end] - at for end, at in ours.items()])
    alerts = np.array([told[end] - at for end, at in ours.items() if end in told])
    if len(alerts) < len(ours) / 2:
        raise Failed(f"{len(alerts)} alerts came of {len(ours)} windows")
    named = {"row": rows, "alert": alerts}
    return {
        **{f"{name}_{label}_s": float(np.quantile(v, q)) for name, v in named.items() for label, q in (("p50", 0.5), ("p99", 0.99))},
        "windows": len(ours), "predictions_per_second": rate,
    }  # fmt: skip


def _in_store(site: Site) -> set[int]:
    """The ends of the windows of which there are rows."""
    found = site.store.query("SELECT DISTINCT toUnixTimestamp64Milli(window_end) AS closed FROM drift_results").to_pylist()
    return {row["closed"] for row in found}


def stored_s(site: Site) -> dict[int, float]:
    """When the first rows about the drift of each window, by its end, were in the store."""
    topic = site.topics.results
    inserted: defaultdict[int, list[tuple[int, int, float]]] = defaultdict(list)  # partition → first and last offset, moment
    for token, moment_s in site.gateway.stored(f"drift_results:{topic}:"):
        _, _, partition, begin, end, *_ = token.split(":")
        inserted[int(partition)].append((int(begin), int(end), moment_s))
    stored: dict[int, float] = {}
    for number, offset, value in _records(site, topic):
        ends = {row.window_end for row in decode_results(value).drift_results} - stored.keys()
        if ends:
            stored |= dict.fromkeys(ends, min(at_s for first, last, at_s in inserted[number] if first <= offset <= last))
    return stored


def _records(site: Site, topic: str) -> Iterator[tuple[int, int, bytes]]:
    """(partition, offset, value) of all records that there are now, of each partition in order."""
    consumer = Consumer({"bootstrap.servers": site.broker.bootstrap, "group.id": f"{site.prefix}-results"})
    partitions = [TopicPartition(topic, k, 0) for k in range(site.shape.partitions)]
    ends = {tp.partition: end for tp in partitions if (end := consumer.get_watermark_offsets(tp)[1])}
    consumer.assign([tp for tp in partitions if tp.partition in ends])
    while ends:
        message = consumer.poll(30)
        if message is None or message.error():
            raise Failed(f"{topic} cannot be read again: {message and message.error()}")
        partition, offset = message.partition() or 0, message.offset() or 0
        yield partition, offset, message.value() or b""
        if offset + 1 >= ends.get(partition, 0):
            ends.pop(partition, None)
    consumer.close()


@contextmanager
def _alerts(site: Site) -> Iterator[dict[int, float]]:
    """When the first alert about each window, by its end, came to a reader that does nothing else; seconds on the monotonic clock."""
    told: dict[int, float] = {}
    over = threading.Event()

    def alerts() -> None:
        consumer = Consumer({"bootstrap.servers": site.broker.bootstrap, "group.id": f"{site.prefix}-alerts", "fetch.wait.max.ms": 10})
        consumer.assign([TopicPartition(site.topics.alerts, k, 0) for k in range(site.shape.partitions)])
        while not over.is_set():
            message = consumer.poll(0.1)
            value = message.value() if message is not None and not message.error() else None
            if value:
                told.setdefault(msgspec.json.decode(value, type=_About).window_end, time.monotonic())
        consumer.close()

    reader = threading.Thread(target=alerts)
    reader.start()
    try:
        yield told
    finally:
        over.set()
        reader.join()


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
