"""What one call of the SDK costs the service: `python benchmarks/publisher.py [calls]`.

An event of 20 numbers and 5 categories, 640 bytes of JSON, on the embedded broker and with no broker at all; the median of five runs.
"""

from __future__ import annotations

import inspect
import statistics
import sys
import time
from typing import Any

from driftline import Publisher
from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker

FEATURES = {f"feature_{i}": 0.123456 * i for i in range(20)} | {f"category_{i}": "some" for i in range(5)}
RUNS = 5


def microseconds_per_call(publisher: Publisher, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        publisher.predicted(FEATURES, 1, score=0.83, segments={"region": "eu"})
    return (time.perf_counter() - start) / calls * 1e6


def measure(name: str, servers: str, calls: int, **options: Any) -> float:
    """The median; prints it with its spread and what was lost."""
    runs = []
    for _ in range(RUNS):
        publisher = Publisher(servers, model="churn", version="7", **options)
        runs.append(microseconds_per_call(publisher, calls))
        publisher.close(0 if name == "no broker" else 10)
    print(f"{name:>12}: {statistics.median(runs):6.2f} µs a call ({min(runs):.2f}–{max(runs):.2f}); {publisher.dropped} dropped")
    return statistics.median(runs)


def cost(calls: int) -> dict[str, float | int]:
    """The part `sdk` of the results: JSON with and without a broker, and batches of Arrow where the SDK makes them."""
    with EmbeddedBroker() as broker:
        broker.create_topics(Topics().table(4))
        found = {"microseconds_per_call": measure("broker", broker.bootstrap, calls)}
        if "batch" in inspect.signature(Publisher).parameters:
            found["arrow_microseconds_per_call"] = measure("arrow", broker.bootstrap, calls, batch="arrow")
    found["microseconds_per_call_without_broker"] = measure("no broker", "127.0.0.1:1", calls)
    return {**found, "calls": calls, "runs": RUNS}


def main() -> None:
    cost(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)


if __name__ == "__main__":
    main()
