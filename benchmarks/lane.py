"""Records per CPU second through a Faust agent: on the lane, and on Faust's ordinary path. `python benchmarks/lane.py [runs]`.

Events of 25 features (about 530 bytes of JSON) on the embedded broker, in batches as a busy producer makes them; the agent looks at
every value's length. CPU time is that of the worker process from the first event on, fetching, decompression and commits included;
the broker runs in another process.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import faust
from confluent_kafka import Producer

from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.transport.lane import install, lane_topic

TOPIC, PARTITIONS, PER_PARTITION = "events", 16, 7_000  # the embedded broker keeps 5 MiB of a partition
RECORDS = {"lane": PARTITIONS * PER_PARTITION, "ordinary": 20_000}


def value(i: int) -> bytes:
    features = {f"n{k:02d}": round(random.gauss(0, 1), 4) for k in range(20)} | {
        f"c{k}": random.choice(["alpha", "beta"]) for k in range(5)
    }
    event = {"id": f"req-{i:08d}", "model": "churn", "version": "7", "ts": 1_732_170_000_000 + i, "features": features, "prediction": 1}
    return json.dumps(event, separators=(",", ":")).encode()


def fill(bootstrap: str, codec: str) -> None:
    random.seed(1)
    settings = {"linger.ms": 5_000, "batch.size": 500_000, "compression.type": codec, "queue.buffering.max.messages": 1_000_000}
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    for i in range(PARTITIONS * PER_PARTITION):
        producer.produce(TOPIC, key=b"req-%08d" % i, value=value(i), partition=i % PARTITIONS)
    producer.flush()


def work(path: str, bootstrap: str) -> None:
    """The worker process: prints microseconds of CPU per record."""
    app = faust.App(
        f"b-{uuid4().hex}", broker=f"kafka://{bootstrap}", topic_partitions=PARTITIONS, topic_disable_leader=True,
        topic_allow_declare=False, web_enabled=False, consumer_auto_offset_reset="earliest", consumer_max_fetch_size=4 << 20,
        stream_wait_empty=False, stream_buffer_maxsize=65_536, broker_commit_interval=0.5,
    )  # fmt: skip
    if path == "lane":
        install(app, [TOPIC])
    topic = lane_topic(app, TOPIC) if path == "lane" else app.topic(TOPIC, key_type=bytes, value_type=bytes, value_serializer="raw")
    done, seen, size, started = asyncio.Event(), 0, 0, 0.0

    async def count(stream: Any) -> AsyncIterator[None]:
        nonlocal seen, size, started
        async for event in stream.events():
            started = started or time.process_time()
            if path == "lane":
                seen += len(event.value)
                size += sum(map(len, event.value.values()))
            else:
                seen += 1
                size += len(event.value)
            if seen >= RECORDS[path]:
                print((time.process_time() - started) / seen * 1e6, flush=True)
                done.set()
            yield

    app.agent(topic, name="count")(count)

    async def run() -> None:
        await app.start()
        await asyncio.wait_for(done.wait(), 120)
        await app.stop()

    asyncio.run(run())


def measure(path: str, bootstrap: str) -> float:
    process = subprocess.run(
        [sys.executable, __file__, "work", path, bootstrap], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return float(process.stdout.split()[0])


def main(runs: int) -> None:
    for codec in ("none", "lz4", "zstd"):
        with EmbeddedBroker() as broker:
            broker.create_topic(TOPIC, PARTITIONS)
            fill(broker.bootstrap, codec)
            paths = ("lane", "ordinary") if codec == "none" else ("lane",)
            for path in paths:
                us = sorted(measure(path, broker.bootstrap) for _ in range(runs if path == "lane" else 1))
                median = statistics.median(us)
                spread = f"{us[0]:.2f}–{us[-1]:.2f}"
                print(
                    f"{codec:>5} {path:>9}: {median:6.2f} µs a record ({spread}), {1e6 / median:9,.0f} records per CPU second", flush=True
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
