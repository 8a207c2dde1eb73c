"""Events out: alerts and retrain requests, as CloudEvents 1.0 in binary mode (attributes in the headers, JSON in the value).

Every id is computed from what the event is about, never from when or where it was made: the same finding found twice is the
same event.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Cause = Literal["data drift", "prior shift", "concept drift", "data fault", "performance"]

ALERT_OPENED = "driftline.alert.opened.v1"
ALERT_RESOLVED = "driftline.alert.resolved.v1"
ALERT_RETRACTED = "driftline.alert.retracted.v1"
RETRAIN_REQUESTED = "driftline.retrain.requested.v1"
RETRAIN_WITHDRAWN = "driftline.retrain.withdrawn.v1"


def deterministic_id(*parts: str | int) -> str:
    """Sixteen hexadecimal digits that name what `parts` name.

    >>> deterministic_id("churn", "7", 0) == deterministic_id("churn", "7", 0) != deterministic_id("churn", "70", "")
    True
    """
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


class Finding(msgspec.Struct, frozen=True):
    """One verdict that is not "ok": what was measured, where, and against what."""

    feature: str  # a metric's name stands here for findings of performance
    test: str
    segment: str
    window_start: int
    window_end: int
    value: float | None
    threshold: float | None
    p_value: float | None
    effect: float | None
    null_quantile: float | None
    n: int
    verdict: str
    cause: Cause


class Alert(msgspec.Struct, frozen=True):
    """An incident of one cause of one model version: opened, later resolved, or retracted when revised figures overturn it."""

    id: str  # names the event
    incident: str  # names the incident; the same in every event about it
    model: str
    version: str
    cause: Cause
    severity: Literal["warning", "critical"]
    window_start: int
    window_end: int
    findings: list[Finding]
    reference: str
    policy: str
    message: str
    sql: str  # shows the evidence in ClickHouse


class RetrainRequest(msgspec.Struct, frozen=True):
    """A request to train the model anew. `id` is the idempotency key: the same case never has two."""

    id: str
    incident: str
    model: str
    version: str
    cause: Cause
    window_start: int
    window_end: int
    training_start: int  # recommended range of event time: from the estimated change on
    training_end: int
    rows: int
    labelled_rows: int
    evidence: list[Finding]
    reference: str
    policy: str
    expires: int
    message: str
    sql: str


def cloudevent_headers(kind: str, event_id: str, subject: str, time_ms: int) -> list[tuple[str, bytes]]:
    """Kafka headers of a CloudEvents 1.0 event in binary mode; `time` is event time, so it too is the same on every replay."""
    from datetime import UTC, datetime

    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    attributes = {
        "ce_specversion": "1.0", "ce_id": event_id, "ce_source": "driftline", "ce_type": kind, "ce_subject": subject,
        "ce_time": time, "content-type": "application/json",
    }  # fmt: skip
    return [(name, value.encode()) for name, value in attributes.items()]


def decode(kind: str, value: bytes) -> Alert | RetrainRequest:
    """The event in a record's value, by its `ce_type`."""
    target: Any = RetrainRequest if kind.startswith("driftline.retrain.") else Alert
    event: Alert | RetrainRequest = msgspec.json.decode(value, type=target)
    return event
