"""What one event costs at ingest, without transport: decode, join, fold into panes. 20 numeric and 5 categorical features.

    python benchmarks/ingest.py [RUNS]

Prints the median of CPU microseconds per prediction and per outcome over the runs (5), and milliseconds per flush.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

import numpy as np
import pandas as pd

from driftline.schemas.config import Model
from driftline.streams.partition import Partition
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, chunk_of

EVENTS = 40_000
CHUNK = 2_000
START_MS = 1_767_571_200_000
MODEL = Model("bench")


def frame() -> pd.DataFrame:
    """The features of all events."""
    rng = np.random.default_rng(0)
    numeric = {f"n{i}": rng.normal(size=EVENTS).round(4) for i in range(20)}
    return pd.DataFrame({**numeric, **{f"c{i}": rng.choice(list("abcde"), EVENTS) for i in range(5)}})


def chunks(topic: str, values: list[bytes]) -> list[Chunk]:
    """Values as they come from a topic; the ids are the keys."""
    later = START_MS + 10**9
    rows = [(i, later, f"req-{i}".encode(), value, ()) for i, value in enumerate(values)]
    return [chunk_of(topic, 0, i, i + CHUNK, rows[i : i + CHUNK]) for i in range(0, EVENTS, CHUNK)]


def events(features: pd.DataFrame) -> tuple[list[Chunk], list[Chunk]]:
    """Predictions 20 ms apart, and their labels a second later."""
    columns = {name: features[name].tolist() for name in features}
    predictions, outcomes = [], []
    for i in range(EVENTS):
        about = {"id": f"req-{i}", "model": MODEL.model}
        said = {"version": "1", "ts": START_MS + 20 * i, "prediction": i % 2, "score": 0.5}
        row = {name: column[i] for name, column in columns.items()}
        predictions.append(json.dumps({**about, **said, "features": row}).encode())
        outcomes.append(json.dumps({**about, "ts": START_MS + 20 * i + 1000, "label": i % 2}).encode())
    return chunks("predictions", predictions), chunks("outcomes", outcomes)


def run(registry: Registry, predictions: list[Chunk], outcomes: list[Chunk]) -> tuple[float, float, float]:
    """CPU microseconds per prediction and per outcome, and milliseconds of the flush."""
    partition = Partition(0, registry, {})
    begin = time.process_time()
    for chunk in predictions:
        partition.add_predictions(chunk)
    joined = time.process_time()
    for chunk in outcomes:
        partition.add_outcomes(chunk)
    folded = time.process_time()
    partition.flush()
    return (joined - begin) / EVENTS * 1e6, (folded - joined) / EVENTS * 1e6, (time.process_time() - folded) * 1e3


def main() -> None:
    features = frame()
    registry = Registry({MODEL.model: MODEL})
    registry.add(reference_from_frame(features, MODEL, "1"), 0)
    predictions, outcomes = events(features)
    run(registry, predictions, outcomes)  # warm-up
    figures = [run(registry, predictions, outcomes) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)]
    for name, values in zip(("µs a prediction", "µs an outcome", "ms a flush"), zip(*figures, strict=True), strict=True):
        print(f"{median(values):8.2f} {name}")


if __name__ == "__main__":
    main()
