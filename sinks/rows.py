"""From records to rows: what a record on one of our own topics becomes in the store. Pure; one class a table, one field a column.

Times are integer milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from driftline.schemas.alerts import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    ALERT_RETRACTED,
    RETRAIN_REQUESTED,
    RETRAIN_WITHDRAWN,
    Alert,
    RetrainRequest,
    decode,
)
from driftline.schemas.archive import ArchivedOutcome, ArchivedPrediction
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Reference, decode_entry
from driftline.schemas.results import RESULTS, decode_results

Headers = Sequence[tuple[str, bytes]]
Rows = Mapping[str, Sequence[msgspec.Struct]]

#: Bytes of a dead letter's key, value and of each header that the store keeps.
KEPT_BYTES: Final = 65_536
_ERROR: Final = "driftline.error."
_KINDS: Final = frozenset({ALERT_OPENED, ALERT_RESOLVED, ALERT_RETRACTED, RETRAIN_REQUESTED, RETRAIN_WITHDRAWN})


class AlertRow(msgspec.Struct, frozen=True, array_like=True):
    """One state change of one incident."""

    id: str
    type: str
    incident: str
    model: str
    version: str
    cause: str
    severity: str
    window_start: int
    window_end: int
    findings: str
    message: str
    sql: str
    reference: str
    policy: str
    time: int
    revision: int


class RetrainRow(msgspec.Struct, frozen=True, array_like=True):
    """One state change of one request to train a model anew."""

    id: str
    type: str
    incident: str
    model: str
    version: str
    cause: str
    window_start: int
    window_end: int
    training_start: int
    training_end: int
    rows: int
    labelled_rows: int
    evidence: str
    reference: str
    policy: str
    expires: int
    message: str
    sql: str
    time: int
    revision: int


class DeadLetterRow(msgspec.Struct, frozen=True, array_like=True):
    """One record that could not be used, cut to `KEPT_BYTES`."""

    topic: str
    partition: int
    offset: int
    code: str
    message: str
    key: bytes
    value: bytes
    value_bytes: int
    headers: list[tuple[str, bytes]]
    time: int
    revision: int


class ModelRow(msgspec.Struct, frozen=True, array_like=True):
    """One step in the life of a model version."""

    model: str
    version: str
    event: str
    effective_from: int
    reference: str
    rows: int
    time: int
    revision: int


class AuditRow(msgspec.Struct, frozen=True, array_like=True):
    """One thing that an operator or a worker did."""

    id: str
    time: int
    actor: str
    action: str
    subject: str
    detail: str
    revision: int


#: The class of each table's rows; a test holds it against the migrations.
TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {
    **RESULTS,
    "alerts": AlertRow,
    "retrain_cases": RetrainRow,
    "dead_letters": DeadLetterRow,
    "models": ModelRow,
    "audit_log": AuditRow,
    "predictions": ArchivedPrediction,
    "outcomes": ArchivedOutcome,
}


def result_rows(value: bytes) -> Rows:
    """The rows in the value of a record on the results topic, by table.

    Raises
    ------
    DriftlineError
        `undecodable`
    """
    try:
        return decode_results(value).tables()
    except msgspec.MsgspecError as error:
        raise _undecodable("a result", error) from None


def event_rows(headers: Headers, value: bytes, revision: int) -> Rows:
    """The row of an alert or retrain event, by table; `revision` is its offset.

    Raises
    ------
    DriftlineError
        `undecodable`: no `ce_time`, or a value that is not what the type promises.

    Notes
    -----
    Types that are not written here give no row: retraining systems answer on the same topic.
    """
    attributes = dict(headers)
    kind = attributes.get("ce_type", b"").decode("utf-8", "replace")
    if kind not in _KINDS:
        return {}
    try:
        event, time = decode(kind, value), _milliseconds(attributes["ce_time"])
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise _undecodable(f"an event of type {kind}", error) from None
    table = "alerts" if isinstance(event, Alert) else "retrain_cases"
    return {table: [_event_row(event, kind, time, revision)]}


def dead_letter_rows(key: bytes | None, value: bytes | None, headers: Headers, revision: int) -> Rows:
    """The row of a record on the dead-letters topic; `revision` is its offset there.

    Raises
    ------
    DriftlineError
        `undecodable`: one of the headers `driftline.error.…` is absent or unreadable.
    """
    error = {name: text for name, text in headers if name.startswith(_ERROR)}
    try:
        return {
            "dead_letters": [
                DeadLetterRow(
                    topic=error[f"{_ERROR}topic"].decode(),
                    partition=int(error[f"{_ERROR}partition"]),
                    offset=int(error[f"{_ERROR}offset"]),
                    code=error[f"{_ERROR}code"].decode(),
                    message=error[f"{_ERROR}message"].decode("utf-8", "replace"),
                    key=(key or b"")[:KEPT_BYTES],
                    value=(value or b"")[:KEPT_BYTES],
                    value_bytes=len(value or b""),
                    headers=[(name, text[:KEPT_BYTES]) for name, text in headers if name not in error],
                    time=_milliseconds(error[f"{_ERROR}time"]),
                    revision=revision,
                )
            ]
        }
    except (KeyError, ValueError) as problem:
        raise _undecodable("a dead letter", problem) from None


def model_rows(value: bytes, offset: int, time: int) -> Rows:
    """The rows of an entry on the models topic; `time` is the record's Kafka time stamp.

    An entry that cannot be read gives none: the reader of that topic says so, and leaves it out too. What was learned is nothing that
    anybody did, so it is not in the audit log.
    """
    try:
        entry = decode_entry(value)
    except msgspec.MsgspecError:
        return {}
    if isinstance(entry, Reference):
        event, reference, size = f"reference.{entry.origin}", entry.hash, entry.rows
        detail = f"reference {reference}, built from {size} rows"
    else:
        event, reference, size, detail = entry.event, "", 0, ""
    step = ModelRow(entry.model, entry.version, event, entry.effective_from, reference, size, time, offset)
    rows: dict[str, list[msgspec.Struct]] = {"models": [step]}
    if event != "reference.learned":
        rows["audit_log"] = [AuditRow(f"models-{offset}", time, "models topic", event, f"{entry.model} {entry.version}", detail, offset)]
    return rows


def _event_row(event: Alert | RetrainRequest, kind: str, time: int, revision: int) -> AlertRow | RetrainRow:
    """The event's own fields, lists as JSON, and what its envelope says."""
    target = AlertRow if isinstance(event, Alert) else RetrainRow
    fields = msgspec.structs.asdict(event) | {"type": kind, "time": time, "revision": revision}
    texts = {name: msgspec.json.encode(field).decode() for name, field in fields.items() if isinstance(field, list)}
    return target(**(fields | texts))


def _milliseconds(text: bytes) -> int:
    """Milliseconds since the epoch from themselves in digits, or from RFC 3339.

    >>> _milliseconds(b"1732170000000") == _milliseconds(b"2024-11-21T06:20:00.000Z")
    True
    """
    with suppress(ValueError):
        return int(text)
    moment = datetime.fromisoformat(text.decode())
    if moment.tzinfo is None:
        raise ValueError(f"{text.decode()!r} has no offset from UTC")
    return round(moment.timestamp() * 1000)


def _undecodable(what: str, error: Exception) -> DriftlineError:
    return DriftlineError(
        "undecodable",
        f"{what} cannot be read: {error!r}",
        "stop whatever else writes to this topic, or use the version of driftline that wrote it",
    )
