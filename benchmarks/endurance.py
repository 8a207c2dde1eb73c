"""Whether memory stays flat: millions of predictions and their labels through ingest and evaluate in this process, at full speed.

    python benchmarks/endurance.py [PREDICTIONS]

Events come as Arrow batches, each label five minutes of event time after its prediction; the panes go straight from ingest to evaluate,
and what is judged is counted and dropped. No broker, no store: what grows here would grow everywhere.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import workload
from workload import ARROW, START_MS, STEP_MS, Shape

from driftline.schemas.config import Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.streams.allocator import Allocator
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, chunk_of

STEP = 10_000  # predictions in a batch
DELAY = 50_000  # predictions between one and its label
FLUSH, EVALUATE = 5, 10  # steps from one to the next
LOOKS = 20
APPENDED_MS = START_MS + 10**12  # to the topics: later than any event
MINUTE_MS = 60_000


@dataclass
class Pipeline:
    """Ingest and evaluate of one partition."""

    shape: Shape
    rows: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        length = self.shape.window_ms
        model = msgspec.structs.replace(
            self.shape.as_model(), windows=(Window(length, length),), pane_ms=length, disorder_ms=1_000, grace_ms=5 * MINUTE_MS,
            horizon_ms=15 * MINUTE_MS,
        )  # fmt: skip
        registry = Registry({model.model: model})
        frame = workload.training(self.shape, 20_000)
        registry.add(reference_from_frame(frame, model, workload.VERSION, prediction="prediction", score="score", label="label"), 0)
        self.partition = Partition(0, registry, {})
        self.evaluation = Evaluation(registry, 1, {})

    def flush(self) -> None:
        flush = self.partition.flush()
        for key, snapshot in flush.snapshots:
            self.evaluation.take(encode_key(key, 0), snapshot)
        self.evaluation.take(progress_key(0), encode_progress(self.partition.progress({}, False)))

    def evaluate(self) -> None:
        for results in self.evaluation.evaluate().results.values():
            for name, table in results.tables().items():
                self.rows[name] = self.rows.get(name, 0) + len(table)


class Events:
    """Batches without end: the same features again and again under new ids and times, nine labels to ten predictions."""

    def __init__(self, shape: Shape) -> None:
        self._model = shape.model(0)
        block = workload.block(shape, 0)
        types = {name: pa.dictionary(pa.int32(), pa.string()) for name in shape.names if name[0] == "c"}
        arrays = {f"feature.{name}": pa.array(values, types.get(name), from_pandas=True) for name, values in block.features.items()}
        self._columns: dict[str, Any] = {**arrays, "prediction": pa.array(block.prediction), "score": pa.array(block.score)}
        self._label = pa.array(block.label)
        self._labelled = pa.array(np.arange(STEP) % 10 != 0)

    def predictions(self, step: int) -> Chunk:
        """One step of them."""
        return self._chunk("predictions", step, step, self._named(step, 0) | self._columns, {"version": workload.VERSION})

    def outcomes(self, step: int) -> Chunk:
        """Labels of the predictions of a step."""
        table = pa.table(self._named(step, DELAY) | {"label": self._label}).filter(self._labelled)
        return self._chunk("outcomes", step, step, {name: table[name].combine_chunks() for name in table.column_names}, {})

    def _named(self, step: int, later: int) -> dict[str, Any]:
        index = np.arange(step * STEP, (step + 1) * STEP)
        return {"id": pc.cast(pa.array(index), pa.string()), "ts": pa.array(START_MS + STEP_MS * (index + later))}

    def _chunk(self, topic: str, step: int, offset: int, columns: dict[str, Any], about: dict[str, str]) -> Chunk:
        batch = pa.record_batch(columns).replace_schema_metadata({"model": self._model} | about)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        row = (offset, APPENDED_MS, None, sink.getvalue().to_pybytes(), tuple(ARROW))
        return chunk_of(topic, 0, offset, offset + 1, [row])


def endure(predictions: int, shape: Shape | None = None) -> Iterator[dict[str, int]]:
    """Looks at the memory of this process, `LOOKS` of them, while the events go through."""
    shape = shape or Shape()
    pipeline, events = Pipeline(shape), Events(shape)
    steps = max(predictions // STEP, LOOKS)
    for step in range(steps):
        taken = pipeline.partition.add_predictions(events.predictions(step))
        if step >= DELAY // STEP:
            taken += pipeline.partition.add_outcomes(events.outcomes(step - DELAY // STEP))
        if taken:
            raise RuntimeError(f"dead letters: {taken[0]}")
        if step % FLUSH == 0:
            pipeline.flush()
        if step % EVALUATE == 0:
            pipeline.evaluate()
        if (step + 1) % (steps // LOOKS) == 0:
            Allocator().trim()
            yield {"predictions": (step + 1) * STEP, "rss_bytes": resident(), "rows": sum(pipeline.rows.values())}


def resident() -> int:
    """Bytes that this process has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    return int(found[1]) * 1024 if found else 0


def measure(predictions: int) -> dict[str, Any]:
    """The part `endurance` of the results; call it in a process of its own."""
    begin_s, looks = time.process_time(), []
    for look in endure(predictions):
        looks.append(look)
        print(f"{look['predictions']:>12,} predictions, {look['rss_bytes'] / 2**20:6.0f} MiB, {look['rows']:,} rows", file=sys.stderr)
    second = looks[len(looks) // 2 :]
    grown = linear_regression([look["predictions"] for look in second], [look["rss_bytes"] for look in second]).slope
    each_us = (time.process_time() - begin_s) / looks[-1]["predictions"] * 1e6
    return {"looks": looks, "bytes_per_prediction_in_the_second_half": grown, "cpu_microseconds_per_prediction": each_us}


def main() -> None:
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
    print(f"{found['bytes_per_prediction_in_the_second_half']:.3f} bytes a prediction in the second half")
    print(f"{found['cpu_microseconds_per_prediction']:.2f} µs of processor time a prediction, making it included")


if __name__ == "__main__":
    main()
