"""From chunks to usable events: decoding and checking, in columns by model. Pure: a chunk in; a batch out; nothing remembered.

chunk ──► decode ──► check: known model? fits its task? time? key? ──► by model, in columns
            │                              │
            └──────── dead letters ◄───────┘
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.errors import Rejected
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction, parse_time, text_of
from driftline.streams import arrow, chances, kernels
from driftline.streams.answers import SCORE_BINS, latency_bins
from driftline.streams.batch import Batch, Codes, DeadLetter, Outcomes, Predictions, Rows, Topic, merged, misfit
from driftline.streams.columnar import Columnar
from driftline.streams.columns import fingerprints, hash_ids
from driftline.streams.join import OutcomeRows, PredictionRows
from driftline.streams.registry import Registry
from driftline.streams.segments import Cells
from driftline.streams.transport.chunk import Chunk
from driftline.streams.values import EventValues

Event = TypeVar("Event", Prediction, Outcome)


@dataclass(slots=True)
class _Columns(Generic[Rows]):
    """What was found in a chunk beside what compiled code read. `batches`: numbers of the records that are batches."""

    rows: list[Rows] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    unknown: dict[int, str] = field(default_factory=dict)
    batches: set[int] = field(default_factory=set)


class Intake:
    """Decodes and checks chunks by what the registry says of the models.

    Compiled code, once it is there, reads what it fully understands. The rest, and all that is bad, is for the strict decoder.
    """

    def __init__(self, registry: Registry, partitions: int | None = None) -> None:
        self._registry, self._partitions = registry, partitions

    def read_predictions(self, chunk: Chunk) -> Batch[Predictions]:
        """The predictions of a chunk. Raises `Incomplete` where it cannot be said yet whether a model is known."""
        columns: _Columns[Predictions] = _Columns()
        self._read_batches(chunk, "predictions", arrow.predictions, columns)
        quick = self._quick(chunk, "predictions", columns.batches)
        by_model = self._read(chunk, decode_prediction, quick, columns)
        rows = [*quick.predictions()] if quick else []
        rows += [*columns.rows, *(self._predictions(name, events, chunk) for name, events in by_model.items())]
        return self._batch(chunk, "predictions", rows, columns, quick)

    def read_outcomes(self, chunk: Chunk) -> Batch[Outcomes]:
        """The outcomes of a chunk; raises `Incomplete` like `read_predictions`."""
        columns: _Columns[Outcomes] = _Columns()
        self._read_batches(chunk, "outcomes", arrow.outcomes, columns)
        quick = self._quick(chunk, "outcomes", columns.batches)
        by_model = self._read(chunk, decode_outcome, quick, columns)
        rows = [*quick.outcomes()] if quick else []
        rows += [*columns.rows, *(self._outcomes(name, events, chunk) for name, events in by_model.items())]
        return self._batch(chunk, "outcomes", rows, columns, quick)

    @staticmethod
    def _batch(chunk: Chunk, topic: Topic, rows: list[Rows], columns: _Columns[Rows], quick: Columnar | None) -> Batch[Rows]:
        unknown = columns.unknown | (quick.unknown() if quick else {})
        return Batch(topic, chunk, _merged(rows), columns.dead, chunk.offset[chunk.value_start < 0], unknown)

    def _read_batches(
        self, chunk: Chunk, topic: Topic, usable: Callable[[arrow.Rows, Model, Chunk, int | None], Rows], into: _Columns[Rows]
    ) -> None:
        """Records that are batches, with the dead letters among them."""
        if not any(chunk.headers):
            return
        there = (chunk.value_start >= 0).tolist()
        told = {headers for headers in {*chunk.headers} if arrow.is_batch(headers)}
        found: list[int] = [i for i, headers in enumerate(chunk.headers) if there[i] and headers in told]
        into.batches.update(found)
        for numbers, rows in arrow.read(chunk, found, topic):
            if isinstance(rows, Rejected):
                into.dead += [DeadLetter(i, rows) for i in numbers]
                continue
            if rows.unknown is not None:
                into.unknown |= dict.fromkeys(numbers, rows.unknown)
            if not self._registry.knows(rows.model, int(chunk.timestamp[numbers].min())):  # later ones, perhaps
                strange = [i for i in numbers if not self._registry.knows(rows.model, int(chunk.timestamp[i]))]
                rows.refuse(np.isin(rows.index, strange), "unknown_model", _unknown_model(rows.model).message)
            usable_rows = usable(rows, self._registry.model(rows.model), chunk, self._partitions)
            into.dead += [DeadLetter(i, why) for i, why in rows.verdicts().items()]
            if len(usable_rows.index):
                into.rows.append(usable_rows)

    def _quick(self, chunk: Chunk, topic: Topic, batches: set[int]) -> Columnar | None:
        """What compiled code makes of single events; None where it is not ready, or all are batches."""
        reader = kernels.current()
        return Columnar(reader.read(chunk, topic), topic, self._registry) if reader and len(batches) < len(chunk) else None

    def _read(
        self,
        chunk: Chunk,
        decode: Callable[[bytes, Callable[[str], object]], Event | Rejected],
        quick: Columnar | None,
        into: _Columns[Any],
    ) -> dict[str, list[tuple[int, Event, int]]]:
        """The usable events of a chunk by model, each with its number in the chunk and its time, but for those read otherwise already."""
        by_model: dict[str, list[tuple[int, Event, int]]] = {}
        met = list[str]()
        left = [i for i in (range(len(chunk)) if quick is None else np.flatnonzero(~quick.good).tolist()) if i not in into.batches]
        if not left:
            return by_model
        values, keys, timestamps = chunk.values(), chunk.keys(), chunk.timestamp.tolist()
        for i in left:
            value = values[i]
            if value is None:
                continue
            event = decode(value, met.append)
            if met:
                into.unknown[i] = met.pop()
            checked = event if isinstance(event, Rejected) else self._check(event, keys[i], timestamps[i])
            if isinstance(checked, Rejected):
                into.dead.append(DeadLetter(i, checked))
            elif not isinstance(event, Rejected):
                by_model.setdefault(event.model, []).append((i, event, checked))
        return by_model

    def _check(self, event: Prediction | Outcome, key: bytes | None, timestamp: int) -> int | Rejected:
        """The event's time in milliseconds, if the event can be used."""
        if not self._registry.knows(event.model, timestamp):
            return _unknown_model(event.model)
        model = self._registry.model(event.model)
        fault = misfit(event.prediction, model) if isinstance(event, Prediction) else _misfit_outcome(event, model)
        if fault:
            return fault
        ts = parse_time(event.ts)
        if isinstance(ts, Rejected):
            return ts
        if ts > timestamp + model.skew_ms:
            return Rejected("future", f"the event time {ts} lies {ts - timestamp} ms after the record's Kafka time stamp {timestamp}")
        return ts if key == event.id.encode() else _wrong_key(event.id, key)

    def _predictions(self, name: str, rows: list[tuple[int, Prediction, int]], chunk: Chunk) -> Predictions:
        model, versions, classes, segments = self._registry.model(name), Codes(), Codes(), Codes()
        cells = Cells(model)
        index = np.array([i for i, _, _ in rows])
        events = [event for _, event, _ in rows]
        columns = PredictionRows(
            offset=chunk.offset[index],
            ts=np.array([ts for _, _, ts in rows], np.int64),
            id_hash=hash_ids([event.id for event in events]),
            version=versions.of(event.version for event in events),
            predicted=np.array([_said(event, model, classes) for event in events]),
            bin=np.array([_score_bin(_score(event, model)) for event in events], np.int64),
            segments=segments.of(cells.of(event.segments) for event in events),
            fingerprint=fingerprints(chunk.data, chunk.value_start[index], chunk.value_end[index]),
        )
        latency = latency_bins(np.array([event.latency_ms for event in events], np.float64))
        failed = np.array([event.failed for event in events], np.int64)
        return Predictions(name, index, columns, versions.names, classes.names, segments.names, latency, failed, EventValues(events))

    def _outcomes(self, name: str, rows: list[tuple[int, Outcome, int]], chunk: Chunk) -> Outcomes:
        model, classes = self._registry.model(name), Codes()
        index = np.array([i for i, _, _ in rows])
        columns = OutcomeRows(
            offset=chunk.offset[index],
            ts=np.array([ts for _, _, ts in rows], np.int64),
            id_hash=hash_ids([event.id for _, event, _ in rows]),
            label=np.array([np.nan if e.kind == "retraction" or e.label is None else _answer(e.label, model, classes) for _, e, _ in rows]),
        )
        return Outcomes(name, index, columns, classes.names)


def _merged(batches: list[Rows]) -> list[Rows]:
    """Batches of the same model as one, in offset order."""
    by_model: dict[str, list[Rows]] = {}
    for batch in batches:
        by_model.setdefault(batch.model, []).append(batch)
    return [merged(parts) if len(parts) > 1 else parts[0] for parts in by_model.values()]


def _score(event: Prediction, model: Model) -> float | None:
    """How probable the model says the positive class is, or, of several classes, the one it predicts."""
    if event.scores is None:
        return event.score
    told = event.scores.get(text_of(event.prediction) if model.task == "multiclass" else model.positive)
    return event.score if told is None else min(told, 1.0)


def _score_bin(score: float | None) -> int:
    return -1 if score is None else min(int(score * SCORE_BINS), SCORE_BINS - 1)


def _answer(value: Any, model: Model, classes: Codes) -> float:
    """A prediction or label as a column holds it: a class code, or the number of a regression."""
    return float(value) if model.task == "regression" else float(classes[text_of(value)])


def _said(event: Prediction, model: Model, classes: Codes) -> float:
    """A prediction as a column holds it; where every class's probability counts, its code stands for these too."""
    if not chances.kept(model):
        return _answer(event.prediction, model, classes)
    return float(classes[chances.said(text_of(event.prediction), event.scores)])


def _unknown_model(name: str) -> Rejected:
    return Rejected("unknown_model", f"model {name!r} has no configuration file and no reference; add one of them")


def _wrong_key(id: str, key: bytes | None) -> Rejected:
    """A prediction and its outcomes meet where their keys send them: to one partition only if all of them are keyed by the id."""
    if key is None:
        return Rejected("no_key", f"the record has no key; publish it with the key {id[:60]!r}, its id")
    return Rejected("wrong_key", f"the record's key is {key[:60]!r}; publish it with the key {id[:60]!r}, its id, as UTF-8")


def _misfit_outcome(event: Outcome, model: Model) -> Rejected | None:
    if not model.labels:
        return Rejected("task_mismatch", f"the file of model {model.model!r} says `labels = false`, so its outcomes are not used")
    return misfit(event.label, model)
