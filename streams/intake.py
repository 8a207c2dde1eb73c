"""From chunks to usable events: decoding and checking, in columns by model. Pure: a chunk in; a batch out; nothing remembered.

chunk ──► decode ──► check: known model? fits its task? time? key? ──► by model, in columns
            │                              │
            └──────── dead letters ◄───────┘
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.errors import Rejected
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction, parse_time, text_of
from driftline.streams import kernels
from driftline.streams.answers import SCORE_BINS, latency_bins
from driftline.streams.batch import Batch, Codes, DeadLetter, Outcomes, Predictions, Rows, Topic, merged
from driftline.streams.columnar import Columnar
from driftline.streams.columns import fingerprints, hash_ids
from driftline.streams.join import OutcomeRows, PredictionRows
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk
from driftline.streams.values import EventValues

Event = TypeVar("Event", Prediction, Outcome)


class Intake:
    """Decodes and checks chunks by what the registry says of the models.

    Compiled code, once it is there, reads what it fully understands. The rest, and all that is bad, is for the strict decoder.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def read_predictions(self, chunk: Chunk) -> Batch[Predictions]:
        """The predictions of a chunk. Raises `Incomplete` where it cannot be said yet whether a model is known."""
        quick = self._quick(chunk, "predictions")
        by_model, dead, unknown = self._read(chunk, decode_prediction, quick)
        models = [self._predictions(name, rows, chunk) for name, rows in by_model.items()]
        if quick:
            models, unknown = _merged(list(quick.predictions()), models), quick.unknown() | unknown
        return Batch("predictions", chunk, models, dead, chunk.offset[chunk.value_start < 0], unknown)

    def read_outcomes(self, chunk: Chunk) -> Batch[Outcomes]:
        """The outcomes of a chunk; raises `Incomplete` like `read_predictions`."""
        quick = self._quick(chunk, "outcomes")
        by_model, dead, unknown = self._read(chunk, decode_outcome, quick)
        models = [self._outcomes(name, rows, chunk) for name, rows in by_model.items()]
        if quick:
            models, unknown = _merged(list(quick.outcomes()), models), quick.unknown() | unknown
        return Batch("outcomes", chunk, models, dead, chunk.offset[chunk.value_start < 0], unknown)

    def _quick(self, chunk: Chunk, topic: Topic) -> Columnar | None:
        reader = kernels.current()
        return Columnar(reader.read(chunk, topic), topic, self._registry) if reader else None

    def _read(
        self, chunk: Chunk, decode: Callable[[bytes, Callable[[str], object]], Event | Rejected], quick: Columnar | None
    ) -> tuple[dict[str, list[tuple[int, Event, int]]], list[DeadLetter], dict[int, str]]:
        """The usable events of a chunk by model, each with its number in the chunk and its time; the dead letters; `Batch.unknown`.

        Those that are in `quick` are left out.
        """
        by_model: dict[str, list[tuple[int, Event, int]]] = {}
        dead, unknown, met = list[DeadLetter](), dict[int, str](), list[str]()
        left = range(len(chunk)) if quick is None else np.flatnonzero(~quick.good).tolist()
        if not left:
            return by_model, dead, unknown
        values, keys, timestamps = chunk.values(), chunk.keys(), chunk.timestamp.tolist()
        for i in left:
            value = values[i]
            if value is None:
                continue
            event = decode(value, met.append)
            if met:
                unknown[i] = met.pop()
            checked = event if isinstance(event, Rejected) else self._check(event, keys[i], timestamps[i])
            if isinstance(checked, Rejected):
                dead.append(DeadLetter(i, checked))
            elif not isinstance(event, Rejected):
                by_model.setdefault(event.model, []).append((i, event, checked))
        return by_model, dead, unknown

    def _check(self, event: Prediction | Outcome, key: bytes | None, timestamp: int) -> int | Rejected:
        """The event's time in milliseconds, if the event can be used."""
        if not self._registry.knows(event.model, timestamp):
            return Rejected("unknown_model", f"model {event.model!r} has no configuration file and no reference; add one of them")
        model = self._registry.model(event.model)
        misfit = _misfit(event.prediction, model) if isinstance(event, Prediction) else _misfit_outcome(event, model)
        if misfit:
            return misfit
        ts = parse_time(event.ts)
        if isinstance(ts, Rejected):
            return ts
        if ts > timestamp + model.skew_ms:
            return Rejected("future", f"the event time {ts} lies {ts - timestamp} ms after the record's Kafka time stamp {timestamp}")
        return ts if key == event.id.encode() else _wrong_key(event.id, key)

    def _predictions(self, name: str, rows: list[tuple[int, Prediction, int]], chunk: Chunk) -> Predictions:
        model, versions, classes, segments = self._registry.model(name), Codes(), Codes(), Codes()
        index = np.array([i for i, _, _ in rows])
        events = [event for _, event, _ in rows]
        columns = PredictionRows(
            offset=chunk.offset[index],
            ts=np.array([ts for _, _, ts in rows], np.int64),
            id_hash=hash_ids([event.id for event in events]),
            version=versions.of(event.version for event in events),
            predicted=np.array([_answer(event.prediction, model, classes) for event in events]),
            bin=np.array([_score_bin(_score(event, model)) for event in events], np.int64),
            segments=segments.of(_segments(event, model) for event in events),
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


def _merged(some: list[Rows], more: list[Rows]) -> list[Rows]:
    """Batches of the same model as one, in offset order."""
    by_model = {batch.model: batch for batch in some}
    for batch in more:
        other = by_model.get(batch.model)
        by_model[batch.model] = merged(other, batch) if other else batch
    return list(by_model.values())


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


def _wrong_key(id: str, key: bytes | None) -> Rejected:
    """A prediction and its outcomes meet where their keys send them: to one partition only if all of them are keyed by the id."""
    if key is None:
        return Rejected("no_key", f"the record has no key; publish it with the key {id[:60]!r}, its id")
    return Rejected("wrong_key", f"the record's key is {key[:60]!r}; publish it with the key {id[:60]!r}, its id, as UTF-8")


def _misfit_outcome(event: Outcome, model: Model) -> Rejected | None:
    if not model.labels:
        return Rejected("task_mismatch", f"the file of model {model.model!r} says `labels = false`, so its outcomes are not used")
    return _misfit(event.label, model)


def _misfit(answer: Any, model: Model) -> Rejected | None:
    """What is wrong with a prediction or label for the model's task; None stands for a label taken back."""
    if answer is None:
        return None
    if isinstance(answer, list | dict) or model.task == "ranking":
        return _misfit_ranking(answer, model)
    shown, number = f"{str(answer)[:60]!r}", isinstance(answer, float)
    if model.task == "regression":
        return None if number else Rejected("task_mismatch", f"model {model.model!r} is a regression; {shown} is not a number")
    if model.classes:
        known = text_of(answer) in model.classes
        return None if known else Rejected("unknown_class", f"{shown} is none of the classes in the file of model {model.model!r}")
    if model.task == "binary" and number and not float(answer).is_integer():
        return Rejected(
            "task_mismatch", f"model {model.model!r} is binary; {shown} is no class: put a probability into `score`, or set `task`"
        )
    return None


def _misfit_ranking(answer: Any, model: Model) -> Rejected | None:
    if model.task != "ranking":
        return Rejected("task_mismatch", f"model {model.model!r} is {model.task}; a list or an object is no answer of it")
    if not isinstance(answer, list | dict | str):
        return Rejected("task_mismatch", f"model {model.model!r} is a ranking; {str(answer)[:60]!r} is no list of items")
    if isinstance(answer, list) and len(set(answer)) < len(answer):
        return Rejected("task_mismatch", f"an item comes twice in a ranking of model {model.model!r}")
    if isinstance(answer, dict) and min(answer.values(), default=0.0) < 0:
        return Rejected("task_mismatch", f"model {model.model!r}: a relevance must not be negative")
    return None


def _segments(event: Prediction, model: Model) -> tuple[str, ...]:
    """The segments a prediction belongs to, each once: with "g" and "g=a" declared, two of its groups may have one name."""
    return tuple(dict.fromkeys(f"{name}={event.segments[name]}" for name in model.segments if name in event.segments))
