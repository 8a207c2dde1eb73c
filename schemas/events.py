"""The events that services publish: predictions and outcomes. Strict decoding, with an answer for every kind of bad input.

Architecture invariant: `decode_prediction` and `decode_outcome` are the only judges of bad input. A faster decoder may say
"yes, and these are the columns"; it never says no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from driftline.schemas.errors import Rejected

MAX_FEATURES = 2_000
MAX_SEGMENTS = 100
MAX_VALUE_BYTES = 1_048_576
MAX_DEPTH = 32  # objects and lists within each other, also in fields that are not known here
YEAR_2000_MS = 946_684_800_000
YEAR_2100_MS = 4_102_444_800_000

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=4_096)]
Vector = Annotated[list[float], Meta(max_length=4_096)]
FeatureValue = float | Text | bool | Vector | None
Number = Annotated[float, Meta(ge=-1e150, le=1e150)]  # sums of its square stay finite
Ranking = Annotated[list[Text], Meta(min_length=1, max_length=1_000)]  # items, the best first
Relevance = Annotated[dict[Text, Number], Meta(max_length=1_000)]  # by item; 0 for those not in it
Answer = Number | Text | bool | Ranking  # a class, a number, or a ranking of items
Features = Annotated[dict[Name, FeatureValue], Meta(max_length=MAX_FEATURES)]
Segments = Annotated[dict[Name, Text], Meta(max_length=MAX_SEGMENTS)]


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """What a model said about one request."""

    id: Id  # pairs it with its outcomes; at most 256 characters
    model: Name
    version: Name
    ts: int | str  # event time: milliseconds since the epoch, or RFC 3339 with an offset
    prediction: Answer  # a class, a number, or a list of items, the best first
    features: Features = {}  # at most 2 000
    score: float | None = None  # probability of the positive class, in [0, 1]
    scores: dict[Text, float] | None = None  # probability by class; sums to 1 ± 1e-6
    segments: Segments = {}  # groups it belongs to, by name; at most 100
    role: Literal["champion", "challenger", "shadow", "canary"] = "champion"
    latency_ms: float | None = None  # milliseconds the answer took
    failed: bool = False  # the service could not answer as it should: a fallback, a default, a time-out
    trace: Text | None = None  # W3C trace parent

    @property
    def top(self) -> float | str | bool:
        """What the feature `(prediction)` is: the answer; of a ranking its first item."""
        return self.prediction[0] if isinstance(self.prediction, list) else self.prediction


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What turned out to be true of one request."""

    id: Id  # of the prediction
    model: Name
    ts: int | str  # when it became known: milliseconds since the epoch, or RFC 3339 with an offset
    label: Answer | Relevance | None = None  # what turned out true; of a ranking what was relevant; absent in a retraction
    kind: Literal["final", "provisional", "correction", "retraction"] = "final"  # the last by `ts` counts


Event = TypeVar("Event", Prediction, Outcome)

_BRACKET, _BACKSLASH, _DEL = b"[\\\x7f"  # as integers, which `in` finds six times as fast

OnUnknown = Callable[[str], object]


class _Decoders(Generic[Event]):
    """For one kind of event: a decoder that takes known fields only, and one that passes over all others."""

    def __init__(self, kind: type[Event]) -> None:
        exact = msgspec.defstruct(kind.__name__, [], bases=(kind,), frozen=True, gc=False, forbid_unknown_fields=True)
        self.exact: msgspec.json.Decoder[Event] = msgspec.json.Decoder(exact)
        self.any: msgspec.json.Decoder[Event] = msgspec.json.Decoder(kind)


_prediction, _outcome = _Decoders(Prediction), _Decoders(Outcome)


def decode_prediction(value: bytes | None, on_unknown: OnUnknown | None = None) -> Prediction | Rejected:
    """The prediction in a message, or why there is none. Of a key that comes twice in an object, the last counts.

    Fields that are not known are passed over; `on_unknown` is told the name of the first.

    >>> decode_prediction(b'{"id": "a", "model": "m", "version": "1", "ts": 1732170000000, "prediction": 1}').prediction
    1.0
    >>> decode_prediction(b'{"id": "a", "model": "m", "version": "1", "prediction": 1}')
    Rejected(code='missing_field', message='Object missing required field `ts`')
    """
    event = _decode(_prediction, value or b"", on_unknown)
    if isinstance(event, Rejected):
        return event
    if event.score is not None and not 0.0 <= event.score <= 1.0:
        return Rejected("bad_probability", f"score is {event.score!r}; it must lie in [0, 1]")
    if event.scores is not None and (min(event.scores.values(), default=0) < 0 or abs(sum(event.scores.values()) - 1) > 1e-6):
        return Rejected("bad_probability", "scores must not be negative and must sum to 1 within 1e-6")
    if _may_have_control_characters(value):
        names = (
            event.id,
            event.model,
            event.version,
            *_texts(event.prediction),
            *event.features,
            *event.segments,
            *event.segments.values(),
        )
        return _bad_text((*names, *(event.scores or ())), event.features.values()) or event
    return event


def decode_outcome(value: bytes | None, on_unknown: OnUnknown | None = None) -> Outcome | Rejected:
    """The outcome in a message, or why there is none; `on_unknown` as for predictions.

    >>> decode_outcome(b'{"id": "a", "model": "m", "ts": 1732256400000, "label": true}').label
    True
    """
    event = _decode(_outcome, value or b"", on_unknown)
    if isinstance(event, Rejected):
        return event
    if event.label is None and event.kind != "retraction":
        return Rejected("missing_field", "an outcome needs `label`, unless its kind is retraction")
    if _may_have_control_characters(value):
        return _bad_text((event.id, event.model, *_texts(event.label))) or event
    return event


def _decode(decoders: _Decoders[Event], value: bytes, on_unknown: OnUnknown | None) -> Event | Rejected:
    """What the types allow; of a CloudEvent in structured mode the event in its `data`, whose attributes mean nothing here."""
    if (fault := _unfit(value)) is not None:
        return fault
    if _ENVELOPE in value and (inside := _inside(value)) is not None:
        return _decode(decoders, inside, on_unknown)
    try:
        return (decoders.exact if on_unknown else decoders.any).decode(value)
    except msgspec.ValidationError as error:
        unknown = _UNKNOWN.match(str(error))
        if not (unknown and on_unknown):
            return _why_invalid(value, str(error))
    except msgspec.DecodeError as error:
        return _why_unreadable(value, str(error))
    event = _decode(decoders, value, None)
    if not isinstance(event, Rejected):
        on_unknown(unknown[1])
    return event


def _unfit(value: bytes) -> Rejected | None:
    """Whether the value is not in UTF-8, too long, or nested too deeply. The checks are ordered by what they cost."""
    if len(value) > MAX_VALUE_BYTES or not (value.isascii() or _is_utf8(value)):
        return _why_unreadable(value)
    if value.count(b"{") + (value.count(b"[") if _BRACKET in value else 0) > MAX_DEPTH and _too_deep(value):
        return Rejected("too_deep", f"objects and lists are nested more than {MAX_DEPTH} levels deep")
    return None


class _CloudEvent(msgspec.Struct):
    specversion: Literal["1.0"]
    data: msgspec.Raw


_ENVELOPE, _cloud_events = b'"specversion"', msgspec.json.Decoder(_CloudEvent)


def _inside(value: bytes) -> bytes | None:
    """The object in the `data` of a CloudEvent 1.0 in structured mode; None where the value is none."""
    try:
        data = bytes(_cloud_events.decode(value).data)
    except msgspec.MsgspecError:
        return None
    return data if data.startswith(b"{") else None


_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_ROUND = bytes.maketrans(b"{}", b"[]")
_PLAIN = bytes(set(range(256)) - set(b"[]{}"))


def _too_deep(value: bytes) -> bool:
    """Whether brackets are left after the innermost ones were taken away `MAX_DEPTH` times."""
    shape = _STRING.sub(b"", value).translate(_ROUND, _PLAIN)
    for _ in range(MAX_DEPTH):
        shape = shape.replace(b"[]", b"")
    return b"[]" in shape or shape.count(b"[") > MAX_DEPTH


def _may_have_control_characters(value: bytes | None) -> bool:
    r"""JSON escapes them, all but DEL.

    >>> _may_have_control_characters(b'{"id": "a\\u0000"}'), _may_have_control_characters(b'{"id": "a"}')
    (True, False)
    """
    return value is not None and (_BACKSLASH in value or _DEL in value)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _texts(answer: Answer | Relevance | None) -> Iterable[Any]:
    return answer if isinstance(answer, list | dict) else (answer,)


def _bad_text(names: Iterable[Any], categories: Iterable[Any] = ()) -> Rejected | None:
    """Ids, names and classes are one line of text; a category may be several, but without NUL."""
    for text in names:
        if isinstance(text, str) and _CONTROL.search(text):
            return Rejected("bad_name", f"{text[:60]!r} has a control character in it")
    for text in categories:
        if isinstance(text, str) and "\0" in text:
            return Rejected("bad_name", f"the category {text[:60]!r} has the character NUL in it")
    return None


_NON_FINITE = re.compile(rb"[:\[,]\s*-?(NaN|Infinity|inf|nan)\b")

#: How a value looks that cannot be read as JSON, and what is then said of it; the first that fits.
_UNREADABLE: tuple[tuple[Callable[[bytes], object], Rejected], ...] = (
    (lambda v: not v, Rejected("empty", "the message has no value")),
    (lambda v: len(v) > MAX_VALUE_BYTES, Rejected("out_of_bounds", f"the value is longer than {MAX_VALUE_BYTES} bytes")),
    (re.compile(rb"\xff\xfe|\xfe\xff|\0\{|\{\0").match, Rejected("encoding", "the value is UTF-16 or UTF-32; publish UTF-8")),
    (re.compile(rb"\xef\xbb\xbf").match, Rejected("encoding", "the value begins with a byte order mark; publish UTF-8 without one")),
    (
        re.compile(rb"\0").match,
        Rejected(
            "wire_format",
            "the value starts with byte 0, as a schema registry's serializer writes it; publish plain JSON: reading Avro, Protobuf and "
            "JSON Schema is for an extra, driftline[registry], that this version does not have",
        ),
    ),
    (
        re.compile(rb"\xff{4}").match,
        Rejected("wire_format", "the value is an Arrow stream, and no header `content-type: application/vnd.apache.arrow.stream` says so"),
    ),
    (lambda v: not _is_utf8(v), Rejected("encoding", "the value is not UTF-8")),
    (_NON_FINITE.search, Rejected("non_finite", "a number is NaN or infinite")),
)


def _why_unreadable(value: bytes, text: str = "") -> Rejected:
    """The stable code for a value that is not JSON."""
    return next((why for fits, why in _UNREADABLE if fits(value)), None) or Rejected("malformed", text[:300])


#: How msgspec's complaint about a value of the wrong shape begins, and the code for it; the first that fits.
_INVALID = (
    ("Invalid enum value", "unknown_field_value"),
    ("Object missing required field", "missing_field"),
    ("Integer value out of range", "int_range"),
    ("Number out of range", "non_finite"),
    (f"Expected `object` of length <= {MAX_FEATURES} - at `$.features`", "too_many_features"),
    ("Expected `str` of length", "out_of_bounds"),
    ("Expected `array` of length", "out_of_bounds"),
    ("Expected `object` of length", "out_of_bounds"),
    ("Expected `float` >=", "out_of_bounds"),
    ("Expected `float` <=", "out_of_bounds"),
)


_WITHIN = re.compile(r"`\$\.(features|segments|scores)\[\.\.\.\]\S*`$")
_VALUES: dict[str, Any] = {"features": FeatureValue, "segments": Text, "scores": float}
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _first_unfit(value: bytes, field: str) -> str | None:
    """Which of an event's features, segments or scores has a value that does not fit; None where that cannot be told."""
    try:
        values = _raw.decode(_raw.decode(value)[field])
    except msgspec.MsgspecError:
        return None  # it is no JSON behind the first mistake
    for name, each in values.items():
        try:
            msgspec.json.decode(each, type=_VALUES[field])
        except msgspec.MsgspecError:
            return name
    return None


def _why_invalid(value: bytes, text: str) -> Rejected:
    """The stable code for JSON that is no such event."""
    if text.startswith("Expected `object`") and " - at " not in text:
        return Rejected("not_object", "the value must be one JSON object")
    code = next((code for beginning, code in _INVALID if text.startswith(beginning)), "wrong_type")
    if code == "missing_field" and _ENVELOPE in value:
        return Rejected("unknown_type", "the value is a CloudEvent of another version than 1.0, or one without an object in its `data`")
    if code == "wrong_type" and text.endswith("`$.ts`"):
        text += ": write integer milliseconds since the epoch, or RFC 3339 with an offset"
    if (within := _WITHIN.search(text)) and (name := _first_unfit(value, within[1])) is not None:
        text = f"{text[: within.start()]}`$.{within[1]}.{name[:60] if name.isprintable() else ascii(name[:60])}`"
    return Rejected(code, text[:300])


_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_UNITS = (
    ("seconds", "multiply by 1000", 1_000, 1),
    ("microseconds", "divide by 1000", 1, 1_000),
    ("nanoseconds", "divide by 1000000", 1, 10**6),
)


def parse_time(ts: int | str) -> int | Rejected:
    """Milliseconds since the epoch of an event's `ts`: integer milliseconds, or RFC 3339 with an offset. A leap second is the one before.

    >>> parse_time("2024-11-21T07:20:00+01:00"), parse_time(1732170000000)
    (1732170000000, 1732170000000)
    >>> parse_time(1732170000).message
    '1732170000 is not within the years 2000 to 2100 as milliseconds; it looks like seconds: multiply by 1000'
    """
    if isinstance(ts, int):
        return ts if YEAR_2000_MS <= ts < YEAR_2100_MS else _bad_number(ts)
    match = _RFC_3339.fullmatch(ts)
    if match is None:
        return Rejected("bad_timestamp", f"{ts[:60]!r} is not a time; write integer milliseconds or RFC 3339 with an offset")
    day, minute, second, fraction, offset = match.groups()
    if offset is None:
        return Rejected("bad_timestamp", f"{ts!r} has no offset from UTC; write for instance {ts}Z")
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if second == '60' else second}{fraction or ''}{offset.upper()}")
        milliseconds = round((moment - _EPOCH) / _MILLISECOND)
    except (ValueError, OverflowError):
        return Rejected("bad_timestamp", f"{ts!r} is no such day, time or offset")
    return (
        milliseconds
        if YEAR_2000_MS <= milliseconds < YEAR_2100_MS
        else Rejected("bad_timestamp", f"{ts!r} is not within the years 2000 to 2100")
    )


def _bad_number(ts: int) -> Rejected:
    if not -(2**63) <= ts < 2**63:
        return Rejected("int_range", "`ts` does not fit into 64 bits; write milliseconds since the epoch")
    hints = (f"; it looks like {unit}: {fix}" for unit, fix, times, parts in _UNITS if YEAR_2000_MS <= ts * times // parts < YEAR_2100_MS)
    return Rejected("bad_timestamp", f"{ts} is not within the years 2000 to 2100 as milliseconds{next(hints, '')}")


def text_of(value: float | str | bool | list[str] | dict[str, float]) -> str:
    """The name of a class or category, or a ranking: what JSON says, with 1 and 1.0 alike.

    >>> [text_of(v) for v in ("pro", True, 1.0, 2.5)]
    ['pro', 'true', '1', '2.5']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
