"""What one call of the SDK costs the service: `python benchmarks/publisher.py [calls]`.

An event of 20 numbers and 5 categories, 640 bytes of JSON, on the embedded broker and with no broker at all; the median of five runs.
The cost is processor time of the calling thread; by the clock, a call takes longer where threads outnumber cores.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import pyarrow as pa

from driftline import Publisher
from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker

FEATURES = {f"feature_{i}": 0.123456 * i for i in range(20)} | {f"category_{i}": "some" for i in range(5)}
RUNS = 5
ROWS = 1_000  # of a table


def microseconds_per_call(publisher: Publisher, calls: int) -> tuple[float, float]:
    """Processor time of this thread, and time by the clock."""
    cpu_s, wall_s = time.thread_time(), time.perf_counter()
    for _ in range(calls):
        publisher.predicted(FEATURES, 1, score=0.83, segments={"region": "eu"})
    return (time.thread_time() - cpu_s) / calls * 1e6, (time.perf_counter() - wall_s) / calls * 1e6


def measure(name: str, servers: str, calls: int, **options: Any) -> tuple[float, float]:
    """The medians; prints them with their spread and what was lost."""
    runs, lost = [], 0
    for _ in range(RUNS):
        publisher = Publisher(servers, model="churn", version="7", on_error=lambda *_: None, **options)
        runs.append(microseconds_per_call(publisher, calls))
        publisher.close(0 if name == "no broker" else 10)
        lost += publisher.dropped
    cpu, wall = (sorted(column) for column in zip(*runs, strict=True))
    median_cpu, median_wall = statistics.median(cpu), statistics.median(wall)
    print(f"{name:>12}: {median_cpu:6.2f} µs a call ({cpu[0]:.2f}–{cpu[-1]:.2f}), by the clock {median_wall:.2f}; {lost} lost")
    return median_cpu, median_wall


def table(servers: str, rows: int) -> float:
    """Microseconds of processor time a prediction, of all threads until it is sent, where tables of a thousand are published."""
    batch = {name: [value] * ROWS for name, value in FEATURES.items()}
    columns = pa.table({f"feature.{name}": values for name, values in batch.items()} | {"prediction": [1] * ROWS, "score": [0.83] * ROWS})
    found = []
    for _ in range(RUNS):
        with Publisher(servers, model="churn", version="7", batch="arrow", on_error=lambda *_: None) as publisher:
            tables = [columns.append_column("id", pa.array([f"{k}-{i}" for i in range(ROWS)])) for k in range(rows // ROWS)]
            begin_s = time.process_time()
            for each in tables:
                while not publisher.predicted_table(each):
                    publisher.flush(1.0)
            publisher.flush()
            found.append((time.process_time() - begin_s) / rows * 1e6)
    print(f"{'tables':>12}: {statistics.median(found):6.2f} µs a prediction, of all threads")
    return statistics.median(found)


def cost(calls: int) -> dict[str, float | int]:
    """The part `sdk` of the results: JSON with and without a broker, batches of Arrow, and tables."""
    with EmbeddedBroker() as broker:
        broker.create_topics(Topics().table(4))
        cpu, wall = measure("broker", broker.bootstrap, calls)
        found = {"microseconds_per_call": cpu, "wall_microseconds_per_call": wall}
        found["arrow_microseconds_per_call"] = measure("arrow", broker.bootstrap, calls, batch="arrow")[0]
        found["table_microseconds_per_prediction"] = table(broker.bootstrap, max(calls, ROWS))
    found["microseconds_per_call_without_broker"] = measure("no broker", "127.0.0.1:1", calls)[0]
    return {**found, "calls": calls, "runs": RUNS}


def main() -> None:
    cost(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)


if __name__ == "__main__":
    main()
