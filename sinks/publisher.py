"""The SDK: what a service calls to publish its predictions and, later, their labels.

A monitor must never harm what it watches, so a call here does not raise, does not wait, and holds a bounded amount of memory;
what could not be sent is counted and reported instead.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from operator import index
from types import TracebackType
from typing import Any, Literal, SupportsIndex
from uuid import UUID

import confluent_kafka
import msgspec

from driftline.schemas.errors import Rejected
from driftline.schemas.events import decode_outcome, decode_prediction, parse_time
from driftline.schemas.topics import Topics

ErrorCallback = Callable[[str, str], None]

LIMIT_EVENTS = 100_000  # events waiting for the broker
LIMIT_KBYTES = 64 * 1024  # and their bytes
LINGER_MS = 100  # how long an event waits for others: each message to the broker wakes a thread beside the service's own

_log = logging.getLogger("driftline.publisher")


def _plain(value: Any) -> Any:
    """Python's own value of a NumPy scalar or array (or anything else that knows `tolist`)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a number, string, boolean, list or None")


def _text_id(id: str | SupportsIndex | UUID | None) -> str:
    if isinstance(id, str):
        return id
    if id is None:
        return os.urandom(16).hex()
    return str(id if isinstance(id, UUID) else index(id))  # `index` refuses what is no integer


class Publisher:
    """Publishes the predictions of one model version, and labels. Make one per process and keep it.

    Calls are safe from threads, coroutines, signal handlers and after a fork; they cost a few microseconds and never raise or block.
    With the broker away, events wait in memory up to a limit and for at most two minutes; then they are dropped and counted.
    An event waits up to a tenth of a second for others that go with it; what waits is sent when the interpreter ends (`exit_flush_s`),
    at `close`, or at the end of a `with` block.

    Parameters
    ----------
    servers : "host:port,host:port" of the Kafka brokers.
    model, version : what the predictions are of.
    topics : names of the topics; `Topics("other")` for another prefix.
    on_error : called as `on_error(code, message)` for every event that is refused (a code of `DEAD_LETTER_CODES`) or lost
        ("queue_full" or Kafka's error name), and for a broker that does not answer. It runs in the calling thread and should be
        quick. Without it, the first of each code is logged as a warning.
    exit_flush_s : how long the end of the interpreter may be delayed.
    batch : "arrow" sends what waits in batches of up to a thousand events, which cost workers a fraction of what single ones do.
        Needs pyarrow (`pip install 'driftline[arrow]'`).
    config : settings of librdkafka that override the ones made here, for instance for SASL.

    Raises
    ------
    confluent_kafka.KafkaException
        By the constructor only, for an unusable `config`.
    ModuleNotFoundError
        By the constructor only, where `batch` is "arrow" and pyarrow is missing.

    Examples
    --------
    >>> publisher = Publisher("localhost:1", model="churn", version="7", exit_flush_s=0)
    >>> id = publisher.predicted({"tenure": 12, "plan": "pro", "income": None}, prediction=1, score=0.83, segments={"region": "eu"})
    >>> publisher.outcome(id, label=1)
    >>> publisher.outcome(id, label=float("nan"))
    >>> publisher.errors, publisher.published
    (1, 0)
    """

    def __init__(
        self,
        servers: str,
        model: str,
        version: str,
        *,
        topics: Topics | None = None,
        on_error: ErrorCallback | None = None,
        exit_flush_s: float = 5.0,
        batch: Literal["arrow"] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.version = model, version
        self._topics = topics or Topics()
        self._on_error = on_error
        self._exit_flush_s = exit_flush_s
        self._encoder = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number")  # NaN becomes null
        self._config: dict[str, Any] = {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",  # as Java and Faust do, so that a prediction and its label meet on one partition
            "linger.ms": 5 if batch else LINGER_MS,  # batches have waited already
            "compression.type": "lz4",
            "queue.buffering.max.messages": LIMIT_EVENTS,
            "queue.buffering.max.kbytes": LIMIT_KBYTES,
            "message.timeout.ms": 120_000,
            "delivery.report.only.error": batch is None,
            "log_level": 0,
            **(config or {}),
            "error_cb": lambda error: self._report(error.name(), error.str()),
            "on_delivery": self._lost,
        }
        self._make_batches: Any = import_module("driftline.sinks.batches").Batches if batch else None  # pyarrow is for those who ask
        self._begin()
        self._connected()  # here, where an unusable setting may raise
        _living.add(self)

    def _begin(self) -> None:
        """No events, no counts, no producer."""
        self._lock = threading.RLock()  # re-entrant, for signal handlers
        self._queued = self._dropped = self._errors = 0
        self._reported: set[str] = set()
        self._producer: confluent_kafka.Producer | None = None
        limits = (LIMIT_EVENTS, LIMIT_KBYTES * 1024)
        self._batches: Any = self._make_batches(self._connected, self._drop, *limits) if self._make_batches else None

    def _begin_in_child(self) -> None:
        # What the parent queued, the parent sends. The threads of its producer do not exist here, and waiting for them in the
        # destructor would hang, so the object is kept for ever.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
        self._begin()

    def _connected(self) -> confluent_kafka.Producer:
        with self._lock:
            if self._producer is None:
                self._producer = confluent_kafka.Producer(self._config)
            return self._producer

    # -- what a service calls

    def predicted(
        self,
        features: Mapping[str, Any],
        prediction: Any,
        score: float | None = None,
        scores: Mapping[str, float] | None = None,
        segments: Mapping[str, str] | None = None,
        id: str | SupportsIndex | UUID | None = None,
        ts: int | datetime | None = None,
        role: Literal["champion", "challenger", "shadow", "canary"] | None = None,
        latency_ms: float | None = None,
        failed: bool | None = None,
        trace: str | None = None,
    ) -> str:
        """Publish one prediction; the answer is its id, for `outcome`.

        Parameters
        ----------
        features : name → number, string, boolean, None (missing; NaN becomes None) or list of numbers. NumPy scalars are fine.
        prediction : class or number.
        score, scores : probability of the positive class; probability of every class.
        segments : name → value, groups to be watched on their own.
        id : None: made here. An integer or UUID is sent as text.
        ts : when the prediction was made: integer milliseconds since the epoch, or a datetime with a zone. None: now.
        role : what the version is to the service; champion when None.
        latency_ms : how long the prediction took.
        failed : the service could not answer as it should: a fallback, a default, a time-out.
        trace : W3C trace parent.
        """
        optional = {
            "score": score, "scores": scores, "segments": segments, "role": role,
            "latency_ms": latency_ms, "failed": failed, "trace": trace,
        }  # fmt: skip
        given = {name: value for name, value in optional.items() if value is not None}
        required = {"model": self.model, "version": self.version, "features": features, "prediction": prediction}
        return self._publish(self._topics.predictions, id, ts, required | given)

    def outcome(
        self,
        id: str | SupportsIndex | UUID,
        label: Any,
        kind: Literal["final", "provisional", "correction", "retraction"] = "final",
        ts: int | datetime | None = None,
    ) -> None:
        """Publish what turned out to be true of the prediction `id`; `ts` is when it became known (None: now)."""
        self._publish(self._topics.outcomes, id, ts, {"model": self.model, "label": label, "kind": kind})

    def predicted_table(self, rows: Any) -> int:
        """Publish predictions that are columns already; the answer is how many were taken. Needs `batch="arrow"`.

        `rows` is a pyarrow table or record batch, or what `pyarrow.table` makes one of without copying (a data frame, a dictionary of
        columns), with the columns of docs/events.md: `id`, `prediction`, `feature.<name>` and others; without `ts`, now. They must not
        change until they are sent. Values are not looked at here: a row that cannot be used becomes a dead letter.
        """
        return self._publish_table(self._topics.predictions, rows, "prediction", {"model": self.model, "version": self.version})

    def outcome_table(self, rows: Any) -> int:
        """The same with outcomes: `id`, `label`, and `kind` and `ts` where they are wanted."""
        return self._publish_table(self._topics.outcomes, rows, "label", {"model": self.model})

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until everything is sent, at most `timeout_s`; the answer is how many events still wait."""
        producer, end_s = self._producer, time.monotonic() + timeout_s
        if producer is None:
            return 0
        if self._batches is None:
            return int(producer.flush(timeout_s))
        while self._batches.waiting and (left_s := end_s - time.monotonic()) > 0:
            self._batches.send(left_s)
            producer.flush(max(end_s - time.monotonic(), 0.0))
        return int(self._batches.waiting)

    def close(self, timeout_s: float = 10.0) -> int:
        """`flush`, and forget the publisher: nothing more is done for it at exit."""
        _living.discard(self)
        left = self.flush(timeout_s)
        if self._batches:
            self._batches.close()
        return left

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- what became of the events, in this process

    @property
    def published(self) -> int:
        """Events that the broker acknowledged."""
        producer = self._connected()
        producer.poll(0)
        with self._lock:
            return self._queued - self._dropped - (self._batches.waiting if self._batches else len(producer))

    @property
    def dropped(self) -> int:
        """Events lost: the queue was full, the broker refused them or did not answer in time."""
        self._connected().poll(0)
        return self._dropped

    @property
    def errors(self) -> int:
        """Calls that made no event, because of what they were given."""
        return self._errors

    # -- how

    def _publish(self, topic: str, id: str | SupportsIndex | UUID | None, ts: int | datetime | None, event: dict[str, Any]) -> str:
        text = ""
        try:
            event["id"] = text = _text_id(id)
            event["ts"] = time.time_ns() // 1_000_000 if ts is None else ts
            value = self._encoder.encode(event)
            fault = self._fault(value, "label" in event)
        except Exception as error:  # whatever the caller's objects do, the caller goes on
            text, fault = text or str(id), Rejected("wrong_type", f"{type(error).__name__}: {error}")
        if fault is None:
            (self._send_later if self._batches else self._send)(topic, text.encode(), value)
            return text
        with self._lock:
            self._errors += 1
        self._report(fault.code, f"{topic}: {fault.message}")
        return text

    def _publish_table(self, topic: str, rows: Any, answer: str, about: dict[str, str]) -> int:
        try:
            if self._batches is None:
                raise TypeError('tables need Publisher(..., batch="arrow")')
            table = self._batches.prepared(rows, answer, about, time.time_ns() // 1_000_000)
        except Exception as error:  # whatever the caller's objects do, the caller goes on
            table = Rejected("wrong_type", f"{type(error).__name__}: {error}")
        if isinstance(table, Rejected):
            with self._lock:
                self._errors += 1
            self._report(table.code, f"{topic}: {table.message}")
            return 0
        n = int(table.num_rows)
        with self._lock:
            self._queued += n
        if self._batches.add_table(topic, table):
            return n
        self._drop("queue_full", f"{topic}: too many events wait for the broker", n)
        return 0

    @staticmethod
    def _fault(value: bytes, is_outcome: bool) -> Rejected | None:
        """What the worker would dead-letter this event for: its own judge is asked."""
        event = decode_outcome(value) if is_outcome else decode_prediction(value)
        verdict = event if isinstance(event, Rejected) else parse_time(event.ts)
        return verdict if isinstance(verdict, Rejected) else None

    def _send(self, topic: str, key: bytes, value: bytes) -> None:
        with self._lock:
            self._queued += 1
        try:
            producer = self._connected()
            producer.poll(0)  # never waits; serves `_lost`
            producer.produce(topic, value, key)
        except BufferError:
            self._drop("queue_full", f"{topic}: too many events wait for the broker")
        except confluent_kafka.KafkaException as error:  # for instance too large
            self._drop(error.args[0].name(), f"{topic}: {error.args[0].str()}")
        except Exception as error:  # for instance no memory for a new producer after a fork
            self._drop(type(error).__name__, f"{topic}: {error}")

    def _send_later(self, topic: str, key: bytes, value: bytes) -> None:
        with self._lock:
            self._queued += 1
        try:
            taken = self._batches.add(topic, key, value)
        except Exception as error:  # for instance no thread to be had
            self._drop(type(error).__name__, f"{topic}: {error}")
        else:
            if not taken:
                self._drop("queue_full", f"{topic}: too many events wait for the broker")

    def _lost(self, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None:
            self._drop(error.name(), f"{message.topic()}: {error.str()}")

    def _drop(self, code: str, message: str, n: int = 1) -> None:
        with self._lock:
            self._dropped += n
        self._report(code, message)

    def _report(self, code: str, message: str) -> None:
        try:
            if self._on_error is not None:
                self._on_error(code, message)
            elif code not in self._reported:
                self._reported.add(code)
                _log.warning("%s: %s (further events like this are only counted)", code, message)
        except Exception:  # a broken callback is the last thing that may disturb the service
            _log.debug("on_error failed", exc_info=True)


_living: set[Publisher] = set()


@atexit.register
def _flush_all() -> None:
    for publisher in tuple(_living):
        publisher.flush(publisher._exit_flush_s)


def _settle_all_before_fork() -> None:
    # A fork in the middle of sending can copy a lock that a thread of the producer holds, and nobody in the child gives it back: then
    # the child's own producer hangs. Once nothing waits those threads rest. On a dead broker the fork goes on after half a second.
    for publisher in tuple(_living):
        publisher.flush(0.5)


def _begin_all_in_child() -> None:
    for publisher in tuple(_living):
        publisher._begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle_all_before_fork, after_in_child=_begin_all_in_child)
