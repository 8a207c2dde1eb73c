"""Bad and unusual messages of every kind, each bad one with the code it gets, and real ones with something broken in them."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from hypothesis import strategies as st

from driftline.schemas.events import MAX_DEPTH, MAX_VALUE_BYTES
from driftline.story import story

TS = 1_732_170_000_000
GOOD: dict[str, Any] = {"id": "a", "model": "m", "version": "1", "ts": TS, "prediction": 1, "features": {"x": 1.5, "c": "b"}, "score": 0.5}
ENVELOPE = {"specversion": "1.0", "type": "org.example.predicted", "source": "/service", "id": "e-1", "time": "2026-01-05T00:00:00Z"}


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
    "a CloudEvent of another version": ("unknown_type", json.dumps(ENVELOPE | {"specversion": "0.3", "data": GOOD}).encode()),
    "a CloudEvent with a text in it": ("unknown_type", json.dumps(ENVELOPE | {"data": json.dumps(GOOD)}).encode()),
    "a CloudEvent without data": ("unknown_type", json.dumps(ENVELOPE).encode()),
    "a CloudEvent with half an event in it": ("missing_field", json.dumps(ENVELOPE | {"data": {"id": "a"}}).encode()),
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
    "an item of a ranking is a list": ("wrong_type", message(prediction=["a", ["b"]])),
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
    "a CloudEvent": json.dumps(ENVELOPE | {"data": GOOD}).encode(),
    "a CloudEvent with its data first": json.dumps({"data": GOOD, "datacontenttype": "application/json", **ENVELOPE}).encode(),
    "a field named like a CloudEvent's": message(specversion="1.0"),
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
