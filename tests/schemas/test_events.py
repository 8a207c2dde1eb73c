"""Every kind of bad message gets its stable code, and nothing but a good event comes out of the decoder."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.schemas.errors import DEAD_LETTER_CODES, Rejected
from driftline.schemas.events import (
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    Outcome,
    Prediction,
    decode_outcome,
    decode_prediction,
    parse_time,
)
from driftline.story import story

TS = 1_732_170_000_000
GOOD: dict[str, Any] = {"id": "a", "model": "m", "version": "1", "ts": TS, "prediction": 1, "features": {"x": 1.5, "c": "b"}, "score": 0.5}


def message(**fields: Any) -> bytes:
    """A good prediction, but for some fields."""
    return json.dumps({**GOOD, **fields}).encode()


def spliced(text: str) -> bytes:
    """A good prediction with raw text as its last member."""
    return message()[:-1] + b", " + text.encode() + b"}"


def lists(depth: int) -> str:
    return "[" * depth + "]" * depth


BAD = {
    # nothing, or no object
    "empty value": ("empty", b""),
    "null": ("not_object", b"null"),
    "a list": ("not_object", b"[]"),
    "a number": ("not_object", b"1"),
    "a text": ("not_object", b'"x"'),
    # no JSON
    "white space": ("malformed", b" \n"),
    "cut off": ("malformed", message()[:-3]),
    "something after the end": ("malformed", message() + b"x"),
    "two documents": ("malformed", message() + b"\n" + message()),
    "single quotes": ("malformed", message().replace(b'"', b"'")),
    "a comment": ("malformed", message() + b"// x"),
    "a comma too many": ("malformed", message()[:-1] + b",}"),
    "a number in hexadecimal": ("malformed", spliced('"latency_ms": 0x1F')),
    "a number without its zero": ("malformed", spliced('"latency_ms": .5')),
    "CSV": ("malformed", b"id,model,version\na,m,1"),
    "protocol buffers": ("malformed", b"\x0a\x01a\x12\x01m"),
    "a control character in a text": ("malformed", message().replace(b'"b"', b'"\x01"')),
    "half a surrogate pair": ("malformed", message(id="\ud800")),
    # other encodings
    "byte order mark": ("encoding", b"\xef\xbb\xbf" + message()),
    "UTF-16": ("encoding", message().decode().encode("utf-16")),
    "UTF-16 without its mark, little end first": ("encoding", message().decode().encode("utf-16-le")),
    "UTF-16 without its mark, big end first": ("encoding", message().decode().encode("utf-16-be")),
    "UTF-32": ("encoding", message().decode().encode("utf-32")),
    "Latin-1": ("encoding", spliced('"trace": "é"').decode().encode("latin-1")),
    "Latin-1 in a field that is not known": ("encoding", spliced('"other": "é"').decode().encode("latin-1")),
    "NUL in two bytes": ("encoding", message().replace(b'"b"', b'"\xc0\x80"')),
    "a surrogate in three bytes": ("encoding", message().replace(b'"b"', b'"\xed\xa0\x80"')),
    "gzip": ("encoding", b"\x1f\x8b\x08\x00\x00"),
    "MessagePack": ("encoding", msgspec.msgpack.encode(GOOD)),
    "schema registry's header before JSON": ("wire_format", b"\0\0\0\0\x07" + message()),
    "schema registry's header before Avro": ("wire_format", b"\0\0\0\0\x07\x02a\xff"),
    "an Arrow stream": ("wire_format", b"\xff\xff\xff\xff\x10\0\0\0"),
    "a CloudEvent": ("unknown_type", json.dumps({"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": GOOD}).encode()),
    # numbers
    "NaN": ("non_finite", message(score=math.nan)),
    "NaN among the features": ("non_finite", message(features={"x": math.nan})),
    "Infinity": ("non_finite", message(features={"x": math.inf})),
    "-Infinity in a vector": ("non_finite", message(features={"x": [0, -math.inf]})),
    "1e999": ("non_finite", spliced('"latency_ms": 1e999')),
    "-1e999 in a vector": ("non_finite", spliced('"features": {"x": [-1e999]}')),
    "an integer of 400 digits": ("non_finite", message(features={"x": 10**399})),
    "an integer of 5 000 digits": ("non_finite", spliced(f'"features": {{"x": {"9" * 5_000}}}')),
    "a prediction whose square is infinite": ("out_of_bounds", message(prediction=1e155)),
    "a prediction whose square is infinite, below zero": ("out_of_bounds", message(prediction=-1e155)),
    # types
    "a field is missing": ("missing_field", b'{"id": "a"}'),
    "an empty object": ("missing_field", b"{}"),
    "no id": ("missing_field", json.dumps({name: field for name, field in GOOD.items() if name != "id"}).encode()),
    "the id is a number": ("wrong_type", message(id=5)),
    "the id is null": ("wrong_type", message(id=None)),
    "the version is a number": ("wrong_type", message(version=7)),
    "the score is a text": ("wrong_type", message(score="0.5")),
    "the score is a boolean": ("wrong_type", message(score=True)),
    "the time is a boolean": ("wrong_type", message(ts=True)),
    "the time is a fraction": ("wrong_type", message(ts=TS / 1000)),
    "the time is null": ("wrong_type", message(ts=None)),
    "the prediction is null": ("wrong_type", message(prediction=None)),
    "the prediction has several labels": ("wrong_type", message(prediction=["a", "b"])),
    "the prediction is an object": ("wrong_type", message(prediction={"a": 0.3})),
    "the features are null": ("wrong_type", message(features=None)),
    "the features are a list": ("wrong_type", message(features=[1, 2])),
    "a feature is an object": ("wrong_type", message(features={"x": {"y": 1}})),
    "a vector of texts": ("wrong_type", message(features={"x": ["1"]})),
    "a hole in a vector": ("wrong_type", message(features={"x": [1, None]})),
    "a segment is a number": ("wrong_type", message(segments={"region": 1})),
    "the role is not in its list": ("unknown_field_value", message(role="king")),
    "the role speaks of something else": ("unknown_field_value", message(role="Object missing required field")),
    # limits
    "an id of 1 MB": ("out_of_bounds", message(id="a" * 1_000_000)),
    "an id of 257 characters": ("out_of_bounds", message(id="a" * 257)),
    "an empty id": ("out_of_bounds", message(id="")),
    "an empty model": ("out_of_bounds", message(model="")),
    "an empty feature name": ("out_of_bounds", message(features={"": 1})),
    "a category of 10 MB": ("out_of_bounds", message(features={"c": "x" * 10_000_000})),
    "a category of 4 097 characters": ("out_of_bounds", message(features={"c": "x" * 4_097})),
    "a class of 4 097 characters": ("out_of_bounds", message(prediction="x" * 4_097)),
    "a feature name of 10 kB": ("out_of_bounds", message(features={"x" * 10_000: 1})),
    "a feature name of 201 characters": ("out_of_bounds", message(features={"x" * 201: 1})),
    "a vector of 4 097 numbers": ("out_of_bounds", message(features={"x": [0.5] * 4_097})),
    "101 segments": ("out_of_bounds", message(segments={f"s{i}": "x" for i in range(101)})),
    "more bytes than a message may have": ("out_of_bounds", spliced(f'"other": "{"x" * MAX_VALUE_BYTES}"')),
    "10 000 features": ("too_many_features", message(features={f"f{i}": i for i in range(10_000)})),
    "2 001 features": ("too_many_features", message(features={f"f{i}": i for i in range(2_001)})),
    "depth 100 000": ("too_deep", lists(100_000).encode()),
    "depth 100 000, never closed": ("too_deep", b'{"a":' * 100_000),
    "depth 900 in a field that is not known": ("too_deep", spliced(f'"other": {lists(900)}')),
    "depth 900 of objects": ("too_deep", spliced('"other": ' + '{"a":' * 900 + "1" + "}" * 900)),
    "one level too deep, beside many that are not": ("too_deep", spliced(f'"p": {[[]] * 100}, "q": "]]]", "r": {lists(MAX_DEPTH)}')),
    # characters
    "NUL in the id": ("bad_name", message(id="a\0b")),
    "a line break in the id": ("bad_name", message(id="a\n")),
    "DEL in the id": ("bad_name", message(id="a\x7f")),
    "NUL in the model": ("bad_name", message(model="m\0")),
    "NUL in the version": ("bad_name", message(version="1\0")),
    "NUL in a feature name": ("bad_name", message(features={"x\0": 1})),
    "a line break in a feature name": ("bad_name", message(features={"x\ny": 1})),
    "NUL in a category": ("bad_name", message(features={"c": "b\0"})),
    "NUL in a segment": ("bad_name", message(segments={"region": "eu\0"})),
    "a separator in a class": ("bad_name", message(prediction="a\x1fb")),
    "NUL in the name of a score": ("bad_name", message(scores={"a\0": 1.0})),
    # probabilities
    "a score below zero": ("bad_probability", message(score=-0.1)),
    "a score above one": ("bad_probability", message(score=1.1)),
    "scores that sum to 1.1": ("bad_probability", message(scores={"a": 0.5, "b": 0.6})),
    "a score below zero among others": ("bad_probability", message(scores={"a": -0.5, "b": 1.5})),
    "no scores": ("bad_probability", message(scores={})),
}

BAD_OUTCOMES = {
    "empty value": ("empty", b""),
    "no label": ("missing_field", b'{"id": "a", "model": "m", "ts": 1732170000000}'),
    "the label is null": ("missing_field", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": null, "kind": "correction"}'),
    "the label is a list": ("wrong_type", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": [1, 0]}'),
    "the label is infinite": ("non_finite", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": 1e999}'),
    "the label's square is infinite": ("out_of_bounds", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": -1e200}'),
    "a separator in the label": ("bad_name", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": "a\\u001fb"}'),
    "NUL in the id": ("bad_name", b'{"id": "a\\u0000", "model": "m", "ts": 1732170000000, "label": 1}'),
    "a kind that does not exist": ("unknown_field_value", b'{"id": "a", "model": "m", "ts": 1732170000000, "label": 1, "kind": "maybe"}'),
}

GOOD_MESSAGES = {
    "plain": message(),
    "white space around it": b" \n" + message() + b"\r\n\t",
    "a field that is not known": message(other={"deep": [1, [2]]}, sampling=0.1),
    "a huge number in a field that is not known": spliced('"other": -1e999'),
    "no features": message(features={}),
    "features are missing": message(features={"x": None, "c": None}),
    "numbers where a text was": message(features={"x": "1.5", "c": 7}),
    "a vector": message(features={"x": [0.1] * 4_096}),
    "the greatest and the smallest number": message(features={"x": 1.7976931348623157e308, "y": 5e-324, "z": -0.0}),
    "integers beyond 64 bits": message(features={"x": 2**63, "y": 2**64, "z": -(2**70)}),
    "2 000 features": message(features={f"f{i}": i for i in range(2_000)}),
    "markup, SQL and formulas": message(
        model="<script>", features={"<b>": "'); DROP TABLE x; --", '"{}': "=cmd()"}, segments={"region": "<script>alert(1)</script>"}
    ),
    "emoji and text from right to left": message(features={"😀\u202e": "\u202e😀"}),
    "a category of two lines": message(features={"c": "a\nb\tc"}),
    "as deep as allowed": spliced(f'"other": {lists(MAX_DEPTH - 1)}'),
    "brackets within texts": message(features={"c": "[{" * 1_000 + '"\\'}),
    "scores of three classes": message(scores={"a": 0.1, "b": 0.2, "c": 0.7}),
    "scores that sum to one but for rounding": message(scores={"a": 0.3333333, "b": 0.3333333, "c": 0.3333333}),
}


@pytest.mark.parametrize(("code", "value"), BAD.values(), ids=BAD)
def test_a_bad_prediction_gets_its_code(code: str, value: bytes) -> None:
    rejected = decode_prediction(value)
    assert isinstance(rejected, Rejected)
    assert rejected.code == code
    assert code in DEAD_LETTER_CODES
    assert 0 < len(rejected.message) <= 400


@pytest.mark.parametrize(("code", "value"), BAD_OUTCOMES.values(), ids=BAD_OUTCOMES)
def test_a_bad_outcome_gets_its_code(code: str, value: bytes) -> None:
    rejected = decode_outcome(value)
    assert isinstance(rejected, Rejected)
    assert rejected.code == code


@pytest.mark.parametrize("value", GOOD_MESSAGES.values(), ids=GOOD_MESSAGES)
def test_unusual_but_good_predictions_are_taken(value: bytes) -> None:
    assert isinstance(decode_prediction(value), Prediction)


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    event = decode_prediction(spliced('"id": "b", "features": {"x": 1, "x": 2}'))
    assert isinstance(event, Prediction)
    assert (event.id, event.features) == ("b", {"x": 2.0})


def test_a_retraction_needs_no_label() -> None:
    assert isinstance(decode_outcome(b'{"id": "a", "model": "m", "ts": 1732170000000, "kind": "retraction"}'), Outcome)


def test_a_message_tells_how_to_write_the_time() -> None:
    rejected = decode_prediction(message(ts=TS / 1000))
    assert isinstance(rejected, Rejected)
    assert "integer milliseconds" in rejected.message


@pytest.mark.parametrize("value", [b'{"a":"' + b'\\"' * 500_000, b'{"a":' + b"[" * 500_000, b'"[' * 300_000, lists(500_000).encode()])
def test_a_megabyte_made_to_be_slow_is_refused(value: bytes) -> None:
    """Work that grows with the square of the length would take minutes here."""
    assert isinstance(decode_prediction(value), Rejected)


# -- time


@pytest.mark.parametrize(
    ("ts", "milliseconds"),
    [
        (TS, TS),
        ("2024-11-21T06:20:00Z", TS),
        ("2024-11-21t06:20:00z", TS),
        ("2024-11-21 07:20:00+01:00", TS),
        ("2024-11-20T18:50:00-11:30", TS),
        ("2024-11-21T06:20:00.123456789Z", TS + 123),
        ("2024-11-21T06:20:00-00:00", TS),
        ("2024-10-27T02:30:00+02:00", 1_729_989_000_000),  # the hour that Berlin has twice, first …
        ("2024-10-27T02:30:00+01:00", 1_729_992_600_000),  # … and second
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),  # a leap second is the second before it
    ],
)
def test_a_time_is_understood(ts: int | str, milliseconds: int) -> None:
    assert parse_time(ts) == milliseconds


@pytest.mark.parametrize(
    ("ts", "hint"),
    [
        (1_732_170_000, "seconds: multiply by 1000"),
        (1_732_170_000_000_000, "microseconds: divide by 1000"),
        (1_732_170_000_000_000_000, "nanoseconds: divide by 1000000"),
        (0, "is not within the years 2000 to 2100"),
        (-1, "is not within the years 2000 to 2100"),
        (2**63 - 1, "is not within the years 2000 to 2100"),
        ("2024-11-21T06:20:00", "no offset from UTC; write for instance 2024-11-21T06:20:00Z"),
        ("2024-11-21", "is not a time"),
        ("20241121T062000Z", "is not a time"),
        ("now", "is not a time"),
        ("", "is not a time"),
        ("1732170000000", "write integer milliseconds"),
        ("2024-11-21T06:20:00+01:00\0", "is not a time"),
        ("2024-11-21T06:20:00+01:00[Europe/Berlin]", "is not a time"),
        ("٢٠٢٤-11-21T06:20:00Z", "is not a time"),
        ("2024-02-30T00:00:00Z", "no such day"),
        ("2024-11-21T24:00:00Z", "no such day"),
        ("2024-11-21T06:20:61Z", "no such day"),
        ("2024-11-21T06:20:00+25:00", "no such day"),
        ("0001-01-01T00:00:00+14:00", "is not within the years 2000 to 2100"),
        ("9999-12-31T23:59:59-12:00", "is not within the years 2000 to 2100"),
        ("9" * 4_000, "is not a time"),
    ],
)
def test_a_bad_time_is_refused_with_a_hint(ts: int | str, hint: str) -> None:
    rejected = parse_time(ts)
    assert isinstance(rejected, Rejected)
    assert rejected.code == "bad_timestamp"
    assert hint in rejected.message
    assert len(rejected.message) < 300


@pytest.mark.parametrize("ts", [2**63, 2**64, -(2**63) - 1])
def test_a_time_beyond_64_bits_is_out_of_range(ts: int) -> None:
    event = decode_prediction(message(ts=ts))
    rejected = parse_time(event.ts) if isinstance(event, Prediction) else event
    assert isinstance(rejected, Rejected)
    assert rejected.code == "int_range"


def test_a_time_of_5_000_digits_is_out_of_range() -> None:
    rejected = decode_prediction(message().replace(str(TS).encode(), b"9" * 5_000))
    assert isinstance(rejected, Rejected)
    assert rejected.code == "int_range"


# -- anything


REAL = [event.value for _, event in zip(range(200), story(7, "full", 2_000).events(), strict=False)]
TOKENS = [
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"null", b"[]", b"{}", b"[[", b'"', b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b",", b":",
    b"\\u0000", b"\\ud800", b'"ts":', b"true", b"-0", b"1e308", "é".encode(), b"}" * 40, b"[" * 40,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real event with some of its bytes cut out, doubled or replaced."""
    value = draw(st.sampled_from(REAL))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(value)))
        end = min(len(value), begin + draw(st.integers(0, 8)))
        value = value[:begin] + draw(st.sampled_from([*TOKENS, value[begin : end + 10]]) | st.binary(max_size=4)) + value[end:]
    return value


@settings(max_examples=300)
@given(mutated() | st.sampled_from(REAL))
def test_the_answer_is_the_same_whether_unknown_fields_are_asked_for_or_not(value: bytes) -> None:
    for decode in (decode_prediction, decode_outcome):
        assert repr(decode(value, lambda _: None)) == repr(decode(value))


def test_the_first_field_that_is_not_known_is_told_by_its_name() -> None:
    told: list[str] = []
    decode_prediction(message(other=1, more=2), told.append)
    decode_prediction(message(), told.append)
    decode_prediction(message(other=1, score=7), told.append)
    assert told == ["other", "other"]


def numbers(value: Any) -> list[float]:
    """Every number in an event, but its time."""
    if isinstance(value, dict | list | tuple):
        return [number for part in (value.values() if isinstance(value, dict) else value) for number in numbers(part)]
    return [value] if isinstance(value, float) else []


@settings(max_examples=500)
@given(mutated() | st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b"\xff\xfe{")
@example(b'{"id":"a","model":"m","version":"1","ts":"0001-01-01T00:00:00+14:00","prediction":1}')
def test_no_bytes_break_the_decoder_and_no_number_gets_through_that_is_not_finite(value: bytes) -> None:
    for decode in (decode_prediction, decode_outcome):
        event = decode(value)
        if isinstance(event, Rejected):
            assert event.code in DEAD_LETTER_CODES
            assert event.message
            continue
        assert all(map(math.isfinite, numbers(msgspec.structs.astuple(event))))
        assert isinstance(parse_time(event.ts), int | Rejected)


@given(st.integers() | st.text(max_size=40) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"))
def test_no_time_breaks_the_reader(ts: int | str) -> None:
    milliseconds = parse_time(ts)
    assert isinstance(milliseconds, Rejected) or 946_684_800_000 <= milliseconds < 4_102_444_800_000
