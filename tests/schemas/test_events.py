"""Every kind of bad message gets its stable code, and nothing but a good event comes out of the decoder."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from messages import BAD, BAD_OUTCOMES, GOOD_MESSAGES, REAL, TS, lists, message, mutated, spliced

from driftline.schemas.errors import DEAD_LETTER_CODES, Rejected
from driftline.schemas.events import (
    Outcome,
    Prediction,
    decode_outcome,
    decode_prediction,
    parse_time,
)


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


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"features": {"a": 1, "b": {"x": 1}}}, "wrong_type", "`$.features.b`"),
        ({"features": {"a": [1], "v": [1, "x"]}}, "wrong_type", "`$.features.v`"),
        ({"features": {"a": 1, "long\n": "x" * 5_000}}, "out_of_bounds", "`$.features.'long\\n'`"),
        ({"features": {"a": 1, "big": 10**400}}, "non_finite", "`$.features.big`"),
        ({"segments": {"a": "1", "region": 7}}, "wrong_type", "`$.segments.region`"),
        ({"scores": {"a": 0.5, "b": "0.5"}}, "wrong_type", "`$.scores.b`"),
    ],
)
def test_a_value_that_does_not_fit_is_named(fields: dict[str, Any], code: str, named: str) -> None:
    rejected = decode_prediction(message(**fields))
    assert isinstance(rejected, Rejected)
    assert rejected.code == code
    assert rejected.message.endswith(named)


def test_what_is_no_json_behind_its_first_mistake_is_refused_without_the_name() -> None:
    rejected = decode_prediction(message(features={"a": {}})[:-1] + b",")
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.message.endswith("`$.features[...]`")) == ("wrong_type", True)


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
