"""What evaluate costs on monitor-25, without transport: 20 numbers and 5 categories, windows of 10 000 predictions, labels minutes later.

    PYTHONPATH=benchmarks python benchmarks/evaluation.py [PREDICTIONS]

The predictions (400 000) and their labels go through ingest beforehand, flushed every 40 000. Prints microseconds of processor time a
prediction, decoding and merging of the panes included: where everything that is due is judged at every flush, and where windows that have
just closed are told at every flush and the others at every eighth, as by a worker whose evaluations rest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import workload
from workload import START_MS, Record, Shape, Source

from driftline.schemas.config import Model
from driftline.schemas.load import load_model
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import Reference
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

FLUSHED = 40_000
CHUNK = 8_000
REST = 8
Flushed = list[tuple[bytes, bytes]]  # what ingest writes to `panes`


def known(shape: Shape) -> tuple[Model, Reference]:
    """The model as its file has it, and its reference."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.toml"
        file.write_text(shape.configuration(0), "utf-8")
        model = load_model(file)
    made = reference_from_frame(
        workload.training(shape), shape.as_model(), workload.VERSION, prediction="prediction", score="score", label="label"
    )  # fmt: skip
    return model, made


def registry(model: Model, reference: Reference) -> Registry:
    found = Registry({model.model: model})
    found.add(reference, 0)
    return found


def ingested(shape: Shape, model: Model, reference: Reference) -> list[Flushed]:
    """Every flush of all partitions."""
    source, about = Source(shape), registry(model, reference)
    partitions = [Partition(k, about, {}, partitions=shape.partitions) for k in range(shape.partitions)]
    ends: dict[tuple[str, int], int] = {}
    rounds = []
    for _ in range(0, shape.events, FLUSHED):
        records: dict[tuple[str, int], list[Record]] = {}
        for record in source.records(FLUSHED):
            records.setdefault((record.topic, record.partition), []).append(record)
        for (topic, k), mine in sorted(records.items(), reverse=True):  # predictions, then outcomes
            for first in range(0, len(mine), CHUNK):
                begin = ends.get((topic, k), 0)
                rows = [(begin + i, START_MS + 10**9, each.key, each.value, ()) for i, each in enumerate(mine[first : first + CHUNK])]
                ends[topic, k] = begin + len(rows)
                chunk = chunk_of(topic, k, begin, begin + len(rows), rows)
                (partitions[k].add_predictions if topic == "predictions" else partitions[k].add_outcomes)(chunk)
        flushed: Flushed = []
        for part in partitions:
            flushed += [(encode_key(key, part.number), snapshot) for key, snapshot in part.flush().snapshots]
            flushed.append((progress_key(part.number), encode_progress(part.progress({}, False))))
        rounds.append(flushed)
    return rounds


def cost(rounds: list[Flushed], shape: Shape, about: Registry, rest: int) -> float:
    """Microseconds a prediction, where all that is due is judged at every `rest`th flush, and windows that have just closed at each."""
    evaluation = Evaluation(about, shape.partitions, {})
    begin = time.process_time()
    for number, flushed in enumerate(rounds, 1):
        for key, value in flushed:
            evaluation.take(key, value)
        if number % rest:
            evaluation.first_rows()
        else:
            evaluation.evaluate()
    return (time.process_time() - begin) / shape.events * 1e6


def main() -> None:
    shape = Shape(events=int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
    model, reference = known(shape)
    rounds = ingested(shape, model, reference)
    for rest, said in (
        (1, "all that is due at every flush"),
        (REST, "windows that have just closed at every flush, the rest at every eighth"),
    ):
        print(f"{min(cost(rounds, shape, registry(model, reference), rest) for _ in range(3)):8.2f} µs a prediction, {said}")


if __name__ == "__main__":
    main()
