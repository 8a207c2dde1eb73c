"""The events that services publish: predictions and outcomes. Strict decoding, with an answer for every kind of bad input.

Architecture invariant: `decode_prediction` and `decode_outcome` are the only judges of bad input. A faster decoder may say
"yes, and these are the columns"; it never says no.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from driftline.schemas.errors import Rejected

MAX_FEATURES = 2_000
MAX_VALUE_BYTES = 1_048_576
YEAR_2000_MS = 946_684_800_000

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=4_096)]
Vector = Annotated[list[float], Meta(max_length=4_096)]
FeatureValue = float | Text | bool | Vector | None
Answer = float | Text | bool  # a class or a number


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """What a model said about one request."""

    id: Id  # pairs it with its outcomes; at most 256 characters
    model: Name
    version: Name
    ts: int | str  # event time: milliseconds since the epoch, or RFC 3339 with an offset
    prediction: Answer  # a class, or a number
    features: dict[Name, FeatureValue] = {}  # at most 2 000
    score: float | None = None  # probability of the positive class, in [0, 1]
    scores: dict[Text, float] | None = None  # probability by class; sums to 1 ± 1e-6
    segments: dict[Name, Text] = {}  # groups it belongs to, by name
    role: Literal["champion", "challenger", "shadow", "canary"] = "champion"
    latency_ms: float | None = None  # milliseconds the answer took
    trace: Text | None = None  # W3C trace parent


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What turned out to be true of one request."""

    id: Id  # of the prediction
    model: Name
    ts: int | str  # when it became known: milliseconds since the epoch, or RFC 3339 with an offset
    label: Answer | None = None  # the class or number that turned out true; absent in a retraction
    kind: Literal["final", "provisional", "correction", "retraction"] = "final"  # the last by `ts` counts


_prediction = msgspec.json.Decoder(Prediction)
_outcome = msgspec.json.Decoder(Outcome)
_NON_FINITE = re.compile(rb"[:\[,]\s*-?(NaN|Infinity|inf|nan)\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LEAP = re.compile(r"(T\d\d:\d\d):60")


def decode_prediction(value: bytes | None) -> Prediction | Rejected:
    """The prediction in a message, or why there is none.

    >>> decode_prediction(b'{"id": "a", "model": "m", "version": "1", "ts": 1732170000000, "prediction": 1}').prediction
    1.0
    >>> decode_prediction(b'{"id": "a", "model": "m", "version": "1", "prediction": 1}')
    Rejected(code='missing_field', message='Object missing required field `ts`')
    """
    try:
        event = _prediction.decode(value or b"")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _why(value or b"", error)
    if len(event.features) > MAX_FEATURES:
        return Rejected("too_many_features", f"{len(event.features)} features; at most {MAX_FEATURES} are allowed")
    if event.score is not None and not 0.0 <= event.score <= 1.0:
        return Rejected("bad_probability", f"score is {event.score!r}; it must lie in [0, 1]")
    if event.scores is not None and (min(event.scores.values(), default=0) < 0 or abs(sum(event.scores.values()) - 1) > 1e-6):
        return Rejected("bad_probability", "scores must not be negative and must sum to 1 within 1e-6")
    return _bad_name(event.id, event.model, event.version, *event.segments) or event


def decode_outcome(value: bytes | None) -> Outcome | Rejected:
    """The outcome in a message, or why there is none.

    >>> decode_outcome(b'{"id": "a", "model": "m", "ts": 1732256400000, "label": true}').label
    True
    """
    try:
        event = _outcome.decode(value or b"")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _why(value or b"", error)
    if event.label is None and event.kind != "retraction":
        return Rejected("missing_field", "an outcome needs `label`, unless its kind is retraction")
    return _bad_name(event.id, event.model) or event


def _bad_name(*names: str) -> Rejected | None:
    for name in names:
        if not name.isprintable() and _CONTROL.search(name):
            return Rejected("bad_name", f"{name[:60]!r} has a control character in it")
    return None


def _why(value: bytes, error: Exception) -> Rejected:
    """The stable code for a decoder's complaint."""
    text = str(error)
    if not value:
        return Rejected("empty", "the message has no value")
    if value[:1] == b"\0":
        return Rejected("wire_format", "the value starts with byte 0: a schema-registry message; publish plain JSON")
    if isinstance(error, msgspec.ValidationError):
        return _why_invalid(text)
    if isinstance(error, RecursionError):
        return Rejected("malformed", "the JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError) or value[:2] in {b"\xff\xfe", b"\xfe\xff"} or not _is_utf8(value):
        return Rejected("encoding", "the value is not UTF-8")
    if _NON_FINITE.search(value) or "out of range" in text:
        return Rejected("non_finite", "a number is NaN, infinite or out of the range of a 64-bit float")
    return Rejected("malformed", text[:300])


def _why_invalid(text: str) -> Rejected:
    if "missing required field" in text:
        return Rejected("missing_field", text)
    if "out of range" in text:
        return Rejected("non_finite", text)
    if text.startswith("Expected `object`") and " - at " not in text:
        return Rejected("not_object", "the value must be one JSON object")
    if "length" in text:
        return Rejected("out_of_bounds", text)
    if "Invalid enum value" in text:
        return Rejected("unknown_field_value", text)
    return Rejected("wrong_type", text)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_time(ts: int | str) -> int | Rejected:
    """Milliseconds since the epoch of an event's `ts`: integer milliseconds, or RFC 3339 with an offset.

    >>> parse_time("2024-11-21T07:20:00+01:00"), parse_time(1732170000000)
    (1732170000000, 1732170000000)
    >>> parse_time(1732170000).message
    '1732170000 lies before the year 2000; it looks like seconds: multiply by 1000'
    """
    if isinstance(ts, int):
        if ts >= YEAR_2000_MS:
            return ts
        hint = "; it looks like seconds: multiply by 1000" if ts * 1000 >= YEAR_2000_MS else ""
        return Rejected("bad_timestamp", f"{ts} lies before the year 2000{hint}")
    try:
        moment = datetime.fromisoformat(_LEAP.sub(r"\1:59", ts))
    except ValueError:
        return Rejected("bad_timestamp", f"{ts[:60]!r} is not a time; use integer milliseconds or RFC 3339 with an offset")
    if moment.tzinfo is None:
        return Rejected("bad_timestamp", f"{ts[:60]!r} has no offset; write for instance {ts[:60]}Z")
    milliseconds = round(moment.astimezone(UTC).timestamp() * 1000)
    return milliseconds if milliseconds >= YEAR_2000_MS else Rejected("bad_timestamp", f"{ts[:60]!r} lies before the year 2000")


def text_of(value: float | str | bool) -> str:
    """The name of a class or category: what JSON says, with 1 and 1.0 alike.

    >>> [text_of(v) for v in ("pro", True, 1.0, 2.5)]
    ['pro', 'true', '1', '2.5']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
