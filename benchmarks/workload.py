"""The events of the benchmarks: made from a seed, block by block, so that any window's raw values can be made again.

Event i of all has the event time `START_MS + 6 i`. Labels come minutes of event time after their predictions, most in order, those
of the share `late` behind the newest label by then. From the sixth tenth of the windows on some features drift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from confluent_kafka import Producer
from numpy.typing import NDArray

from driftline.schemas.config import Model
from driftline.schemas.topics import Topics
from driftline.streams.columns import joined, partitions_of

START_MS = 1_767_571_200_000
STEP_MS = 6
SEED = 25
TRAINING_ROWS = 50_000
DELAY_MS = 600_000  # mean of the time from prediction to label
LONGEST_DELAY_MS = 3_000_000
LATE_MS = 2_400_000  # how far behind the newest label a late one may lie
VERSION = "1"
TESTS = ("psi", "ks", "chi_square", "jensen_shannon", "wasserstein")
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "omicron")
ARROW = [("content-type", b"application/vnd.apache.arrow.stream")]
ARROW_ROWS = 1_000  # in a message

Format = Literal["json", "arrow"]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """What the events look like; the default is monitor-25."""

    events: int = 1_000_000
    numeric: int = 20
    categorical: int = 5
    models: int = 1
    window: int = 10_000  # predictions of one model in one window, and in one pane
    partitions: int = 8
    labelled: float = 0.9
    late: float = 0.0  # share of the labels
    hot: float = 0.0  # share of the events that lie in partition 0 beside its own part
    alternating: bool = False  # every second window drifts, instead of all from the sixth tenth on
    horizon: str = "1h"
    tests: tuple[str, ...] = TESTS  # of every feature; none: those that a model has where its file names none

    @property
    def features(self) -> int:
        return self.numeric + self.categorical

    @property
    def block(self) -> int:
        """Events made at once: the columns of a block stay below a few million values."""
        return 10_000 if self.features <= 100 else 1_000

    @property
    def window_ms(self) -> int:
        return self.window * self.models * STEP_MS

    def model(self, number: int) -> str:
        """The name of one of the models."""
        return f"model-{number:04d}"

    @property
    def names(self) -> list[str]:
        return [f"num_{i:02d}" for i in range(self.numeric)] + [f"cat_{i:02d}" for i in range(self.categorical)]

    def configuration(self, number: int) -> str:
        """The model's file."""
        kinds = "".join(f'{name} = "{"numeric" if name[0] == "n" else "categorical"}"\n' for name in self.names)
        window = f'length = "{self.window_ms}ms"\nevery = "{self.window_ms}ms"\n'
        tests = f"tests = {list(self.tests)}\n" if self.tests else ""
        return (
            f'model = "{self.model(number)}"\n{tests}pane="{self.window_ms}ms"\nhorizon = "{self.horizon}"\ngrace = "1h"\ndisorder = "1s"\n'
            f'max_wait = "1h"\n[[windows]]\n{window}[policy]\nresolve_after = 1\ncooldown = "0s"\nmin_samples = 50\n[features]\n{kinds}'
        )

    def as_model(self, number: int = 0) -> Model:
        """What a reference needs to know of the model."""
        return Model(self.model(number), features={n: "numeric" if n[0] == "n" else "categorical" for n in self.names})

    def drifts(self, index: Int64) -> NDArray[np.bool_]:
        """Which events are of a window that drifts."""
        window = index // (self.window * self.models)
        windows = max(self.events // (self.window * self.models), 1)
        drifted: NDArray[np.bool_] = window % 2 == 1 if self.alternating else window >= 0.6 * windows
        return drifted & (index >= 0)


class Record(NamedTuple):
    """A Kafka record; the partition is that of its id, as a client would have it, but for events that are hot."""

    topic: Literal["predictions", "outcomes"]
    partition: int
    key: bytes | None
    value: bytes


@dataclass
class Block:
    """Consecutive events in columns; arrays of shape (n,). Of the features, None and NaN are missing."""

    index: Int64
    features: dict[str, NDArray[Any]]
    score: NDArray[np.float64]
    label: Int64
    has_label: NDArray[np.bool_]
    label_due: Int64
    label_ts: Int64
    partition: Int64

    @property
    def ts(self) -> Int64:
        return START_MS + STEP_MS * self.index

    @property
    def prediction(self) -> Int64:
        return (self.score > 0.5).astype(np.int64)

    def frame(self) -> pd.DataFrame:
        """Features and answers as a table."""
        return pd.DataFrame({**self.features, "prediction": self.prediction, "score": self.score, "label": self.label})


def block(shape: Shape, number: int) -> Block:
    """Events number · block to (number + 1) · block; block −1 and below are of the time of training."""
    rng = np.random.default_rng([SEED, 2**32 + number])
    n = shape.block
    index = np.arange(number * n, (number + 1) * n)
    drifts = shape.drifts(index)
    features: dict[str, NDArray[Any]] = {f"num_{i:02d}": _numbers(rng, i, drifts) for i in range(shape.numeric)}
    features |= {f"cat_{i:02d}": _words(rng, i, drifts) for i in range(shape.categorical)}
    score = rng.beta(2, 3, n).round(4)
    ts = START_MS + STEP_MS * index
    due = ts + np.minimum(rng.exponential(DELAY_MS, n), LONGEST_DELAY_MS).astype(np.int64)
    behind = np.where(rng.random(n) < shape.late, rng.integers(0, LATE_MS, n), 0)
    spread = partitions_of(*joined([f"req-{i:010d}" for i in index.tolist()])) % shape.partitions
    return Block(
        index, features, score, (rng.random(n) < score).astype(np.int64), rng.random(n) < shape.labelled, due,
        np.maximum(due - behind, ts), np.where(rng.random(n) < shape.hot, 0, spread),
    )  # fmt: skip


def _numbers(rng: np.random.Generator, i: int, drifts: NDArray[np.bool_]) -> NDArray[Any]:
    """A quarter each normal, lognormal, uniform and whole numbers; a tenth of the features has 2 % missing, a fifth drifts."""
    n = len(drifts)
    draws = (lambda: rng.normal(0, 1, n), lambda: rng.lognormal(3, 0.5, n), lambda: rng.uniform(0, 100, n), lambda: rng.poisson(20, n))
    values = draws[i % 4]().astype(np.float64).round(4)
    if i % 5 == 0:
        values = np.where(drifts, (values + (0.5, 8.0, 20.0, 4.0)[i % 4]).round(4), values)
    if i % 10 == 3:
        values[rng.random(n) < 0.02] = np.nan
    return values


def _words(rng: np.random.Generator, i: int, drifts: NDArray[np.bool_]) -> NDArray[Any]:
    """Of 3 to 15 words, the first the commonest; every fifth feature drifts."""
    words = np.array(WORDS[: 3 + 3 * (i % 5)], object)
    share = 0.7 ** np.arange(len(words))
    codes = rng.choice(len(words), len(drifts), p=share / share.sum())
    return words[np.where(drifts & (i % 5 == 0), len(words) - 1 - codes, codes)]


def training(shape: Shape, rows: int = TRAINING_ROWS) -> pd.DataFrame:
    """What the models were trained on: blocks of before the first event, without drift."""
    blocks = [block(shape, -1 - k).frame() for k in range(-(-rows // shape.block))]
    return pd.concat(blocks, ignore_index=True).head(rows)


@dataclass
class Source:
    """Makes the records of a shape in order. `due` holds the labels that have not come yet.

    `expected` counts predictions and labels by start of the window, of all models together.
    """

    shape: Shape
    format: Format = "json"
    made: int = 0
    labels: int = 0
    expected: dict[int, Counter[str]] = field(default_factory=dict)
    _due: list[Block] = field(default_factory=list)

    def records(self, events: int) -> Iterator[Record]:
        """The next `events` predictions, a multiple of the block, and the labels that come by then."""
        if events % self.shape.block:
            raise ValueError(f"{events} predictions are no multiple of {self.shape.block}, which are made at once")
        group = 4 if self.format == "arrow" else 1
        numbers = range(self.made // self.shape.block, (self.made + events) // self.shape.block)
        for start in range(numbers.start, numbers.stop, group):
            blocks = [block(self.shape, number) for number in numbers[start - numbers.start :][:group]]
            for made in blocks:
                self._count(made)
            yield from _predictions(self.shape, blocks, self.format)
            self._due += blocks
            yield from self._labels(until=int(blocks[-1].ts[-1]))
        self.made += events

    def last_labels(self) -> Iterator[Record]:
        """All labels that are still to come."""
        yield from self._labels(until=2**62)

    def _count(self, made: Block) -> None:
        starts = made.ts // self.shape.window_ms * self.shape.window_ms
        for start in np.unique(starts).tolist():
            mine = starts == start
            self.expected.setdefault(start, Counter()).update(n=int(mine.sum()), labelled=int((mine & made.has_label).sum()))

    def _labels(self, until: int) -> Iterator[Record]:
        if not self._due:
            return
        index, due, ts, label, partition = (np.concatenate(parts) for parts in zip(*map(_waiting, self._due), strict=True))
        come = due <= until
        order = np.flatnonzero(come)[np.argsort(due[come], kind="stable")]
        self._due = [b for b in self._due if (b.label_due[b.has_label] > until).any()]
        for b in self._due:
            b.has_label &= b.label_due > until
        self.labels += len(order)
        yield from _outcomes(self.shape, self.format, index[order], ts[order], label[order], partition[order])


def _waiting(b: Block) -> tuple[Int64, ...]:
    return tuple(column[b.has_label] for column in (b.index, b.label_due, b.label_ts, b.label, b.partition))


def _predictions(shape: Shape, blocks: list[Block], form: Format) -> Iterator[Record]:
    if form == "arrow":
        yield from _arrow_predictions(shape, blocks)
        return
    encode = msgspec.json.Encoder().encode
    for b in blocks:
        columns = [_plain(column) for column in b.features.values()]
        answers = zip(b.index.tolist(), b.ts.tolist(), b.prediction.tolist(), b.score.tolist(), b.partition.tolist(), strict=True)
        for (i, ts, prediction, score, partition), values in zip(answers, zip(*columns, strict=True), strict=True):
            identity = f"req-{i:010d}"
            event = {
                "id": identity, "model": shape.model(i % shape.models), "version": VERSION, "ts": ts,
                "features": dict(zip(b.features, values, strict=True)), "prediction": prediction, "score": score,
            }  # fmt: skip
            yield Record("predictions", partition, identity.encode(), encode(event))


def _plain(column: NDArray[Any]) -> list[Any]:
    values = column.tolist()
    missing = np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)
    return [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)] if missing.any() else values


def _outcomes(shape: Shape, form: Format, index: Int64, ts: Int64, label: Int64, partition: Int64) -> Iterator[Record]:
    if form == "arrow":
        yield from _arrow_outcomes(shape, index, ts, label, partition)
        return
    encode = msgspec.json.Encoder().encode
    for i, at, truth, where in zip(index.tolist(), ts.tolist(), label.tolist(), partition.tolist(), strict=True):
        identity = f"req-{i:010d}"
        event = {"id": identity, "model": shape.model(i % shape.models), "ts": at, "label": truth}
        yield Record("outcomes", where, identity.encode(), encode(event))


def labels_of(shape: Shape, number: int) -> Iterator[Record]:
    """A label for every prediction of a block, as if none of them had come yet."""
    b = block(shape, number)
    yield from _outcomes(shape, "json", b.index, b.label_due, b.label, b.partition)


def _arrow_predictions(shape: Shape, blocks: list[Block]) -> Iterator[Record]:
    joined = {name: np.concatenate([b.features[name] for b in blocks]) for name in shape.names}
    index, partition = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("index", "partition"))
    columns: dict[str, Any] = {
        "id": [f"req-{i:010d}" for i in index.tolist()],
        **{name: np.concatenate([getattr(b, name) for b in blocks]) for name in ("ts", "prediction", "score")},
        **{f"feature.{name}": column for name, column in joined.items()},
    }
    types = {f"feature.{name}": pa.dictionary(pa.int32(), pa.string()) for name in shape.names if name[0] == "c"}
    table = pa.table({name: pa.array(column, types.get(name), from_pandas=True) for name, column in columns.items()})
    yield from _messages("predictions", shape, table, index, partition, {"version": VERSION})


def _arrow_outcomes(shape: Shape, index: Int64, ts: Int64, label: Int64, partition: Int64) -> Iterator[Record]:
    table = pa.table({"id": pa.array([f"req-{i:010d}" for i in index.tolist()]), "ts": pa.array(ts), "label": pa.array(label)})
    yield from _messages("outcomes", shape, table, index, partition, {})


def _messages(
    topic: Literal["predictions", "outcomes"], shape: Shape, table: pa.Table, index: Int64, partition: Int64, about: Mapping[str, str]
) -> Iterator[Record]:
    """Messages of at most `ARROW_ROWS`, each of one model and partition."""
    belongs = index % shape.models * shape.partitions + partition
    for group in np.unique(belongs).tolist():
        model, where = divmod(group, shape.partitions)
        mine = table.take(np.flatnonzero(belongs == group)).replace_schema_metadata({"model": shape.model(model), **about})
        for start in range(0, mine.num_rows, ARROW_ROWS):
            part = mine.slice(start, ARROW_ROWS).combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_table(part)
            yield Record(topic, where, None, sink.getvalue().to_pybytes())


def producer(bootstrap: str, linger_ms: int = 50) -> Producer:
    """As a busy service has it: large compressed batches."""
    return Producer(
        {
            "bootstrap.servers": bootstrap, "log_level": 0, "linger.ms": linger_ms, "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 262_144, "message.max.bytes": 1_000_000,
        }
    )  # fmt: skip


def send(kafka: Producer, topics: Topics, record: Record, form: Format = "json", told: Callable[[float], object] | None = None) -> None:
    """Hand one record to the producer; waits while its queue is full. `told` is called later with the seconds until the broker had it."""
    topic = topics.predictions if record.topic == "predictions" else topics.outcomes
    headers: Any = ARROW if form == "arrow" else None
    while True:
        try:
            report: dict[str, Any] = {"on_delivery": lambda _, message: told(message.latency())} if told else {}
            kafka.produce(topic, record.value, record.key, record.partition, headers=headers, **report)
            return
        except BufferError:
            kafka.poll(0.1)


def publish(bootstrap: str, topics: Topics, records: Iterator[Record], form: Format = "json") -> int:
    """Publish all and wait until the broker has them; returns the bytes of the predictions' values."""
    kafka, size = producer(bootstrap), 0
    for k, record in enumerate(records):
        send(kafka, topics, record, form)
        size += len(record.value) if record.topic == "predictions" else 0
        if k % 1_000 == 0:
            kafka.poll(0)
    left = kafka.flush(120)
    if left:
        raise RuntimeError(f"{left} records did not reach the broker in two minutes")
    return size
