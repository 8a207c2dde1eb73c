"""Events out: alerts and retrain requests, as CloudEvents 1.0 in binary mode (attributes in the headers, JSON in the value).

Every id is computed from what the event is about, never from when or where it was made: the same finding found twice is the
same event.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Cause = Literal["data drift", "prior shift", "concept drift", "data fault", "performance", "service health"]

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
    test: str  # test or detector; a basis for findings of performance, a check for findings of quality
    segment: str  # "" is the whole; else "name=value"
    window_start: int  # milliseconds since the epoch, event time; inclusive
    window_end: int  # exclusive
    value: float | None  # the test's statistic, the metric, the share
    threshold: float | None  # limit of `effect` (drift) or of `value` (performance, quality)
    p_value: float | None  # chance of such a change without drift, in [0, 1]
    effect: float | None  # PSI of the feature; for performance and quality the change against the reference
    null_quantile: float | None  # what `value` stays below without drift at this sample size
    n: int  # rows that were judged
    verdict: str  # drift, worse or fault
    cause: Cause  # what it speaks for
    reason: str = ""  # what is wrong, where more is known: the parameter of a fault, what lasts
    began: int | None = None  # when it began, by the panes of its window; milliseconds since the epoch
    carriers: dict[str, float] = {}  # segments that carry a drift of the whole: the share of `effect` that each adds


class Alert(msgspec.Struct, frozen=True):
    """An incident of one cause of one model version: opened, later resolved, or retracted when revised figures overturn it."""

    id: str  # names the event
    incident: str  # names the incident; the same in every event about it
    model: str
    version: str
    cause: Cause  # class of the cause
    severity: Literal["warning", "critical"]  # critical: a measured loss, or twice what is allowed
    window_start: int  # begin of the incident's first window; milliseconds since the epoch, event time
    window_end: int  # opened, retracted: end of that window; resolved: end of the window that ended it
    findings: list[Finding]  # of the first window, strongest first, at most 16
    reference: str  # hash of the reference that was compared with
    policy: str  # hash of the configuration in force
    message: str  # one paragraph for people
    sql: str  # shows the evidence in ClickHouse


class RetrainRequest(msgspec.Struct, frozen=True):
    """A request to train the model anew. `id` is the idempotency key: the same case never has two."""

    id: str  # names the case; the same in every event about it
    incident: str  # the incident that asks
    model: str
    version: str  # the version to be replaced
    cause: Cause  # class of the cause
    window_start: int  # begin of the incident; milliseconds since the epoch, event time
    window_end: int  # end of the window that made it ask
    training_start: int  # recommended range of event time: from the estimated change on
    training_end: int  # exclusive
    rows: int  # predictions in the training range
    labelled_rows: int  # those whose label is known
    evidence: list[Finding]  # findings of the window that made it ask, strongest first, at most 16
    reference: str  # hash of the reference that was compared with
    policy: str  # hash of the configuration in force
    expires: int  # event time after which nobody should act on it
    message: str  # one paragraph for people
    sql: str  # shows the evidence in ClickHouse


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
