"""Bad input through a source partition: it gets its code, and all else of its chunk is counted as if it had not been there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.errors import DEAD_LETTER_CODES
from driftline.schemas.progress import decode_marker
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference
from driftline.story import CHURN, START_MS, story
from driftline.streams.answers import SUMS
from driftline.streams.breaker import LIMIT, WINDOW, Breaker
from driftline.streams.exact import to_float
from driftline.streams.panes import Pane, PaneKey, decode_pane
from driftline.streams.partition import Partition
from driftline.streams.registry import Incomplete, Registry
from driftline.streams.transport.chunk import Chunk, chunk_of

pytestmark = pytest.mark.usefixtures("either_reader")
T0 = 1_767_571_200_000
SECOND, DAY = 1_000, 86_400_000
NOW = T0 + 10 * SECOND  # the Kafka time stamp of every record, where nothing else is said
MODELS = {
    "m": Model("m", pane_ms=60 * SECOND, disorder_ms=SECOND, grace_ms=10 * SECOND, horizon_ms=DAY),
    "price": Model("price", task="regression"),
    "kind": Model("kind", task="multiclass", classes=("cat", "dog", "3")),
    "free": Model("free", task="multiclass"),
}
Record = tuple[bytes | None, bytes | None, int]  # key, value, Kafka time stamp


def prediction(id: str = "a", *, key: bytes | str | None = "id", kafka: int = NOW, **fields: Any) -> Record:
    event = {"id": id, "model": "m", "version": "1", "ts": T0, "prediction": 1, **fields}
    return id.encode() if key == "id" else key, json.dumps(event).encode(), kafka  # type: ignore[return-value]


def outcome(id: str = "a", *, key: bytes | str | None = "id", kafka: int = NOW, **fields: Any) -> Record:
    event = {"id": id, "model": "m", "ts": T0 + SECOND, "label": 1, **fields}
    return id.encode() if key == "id" else key, json.dumps(event).encode(), kafka  # type: ignore[return-value]


def chunk(records: Sequence[Record], first: int = 0, topic: str = "p") -> Chunk:
    rows = [(first + i, kafka, key, value, ()) for i, (key, value, kafka) in enumerate(records)]
    return chunk_of(topic, 0, first, first + len(records), rows)


class Source:
    """One source partition, fed record by record."""

    def __init__(self, registry: Registry | None = None, marker: bytes = b"") -> None:
        self.stored: dict[PaneKey, bytes] = {}
        self.partition = Partition(0, registry or Registry(MODELS), self.stored, decode_marker(marker) if marker else None)

    def predictions(self, *records: Record) -> list[str]:
        """The codes of the dead letters."""
        return [letter.why.code for letter in self.partition.add_predictions(chunk(records, self.partition.positions.predictions))]

    def outcomes(self, *records: Record) -> list[str]:
        return [letter.why.code for letter in self.partition.add_outcomes(chunk(records, self.partition.positions.outcomes))]

    def panes(self) -> dict[PaneKey, Pane]:
        return {key: decode_pane(snapshot)[0] for key, snapshot in self.partition.flush().snapshots}

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self.partition.counters.items() if count}


GOOD = prediction("good")
BAD_PREDICTIONS = {
    "seconds": ("bad_timestamp", prediction(ts=T0 // 1000)),
    "microseconds": ("bad_timestamp", prediction(ts=T0 * 1000)),
    "no offset": ("bad_timestamp", prediction(ts="2026-01-05T00:00:00")),
    "a time before the first": ("bad_timestamp", prediction(ts="0001-01-01T00:00:00+14:00")),
    "beyond 64 bits": ("int_range", prediction(ts=2**63)),
    "tomorrow": ("future", prediction(ts=NOW + DAY)),
    "just beyond the skew": ("future", prediction(ts=NOW + MODELS["m"].skew_ms + 1)),
    "a record without a Kafka time stamp": ("future", prediction(kafka=-1)),
    "a model that nobody knows": ("unknown_model", prediction(model="nobody")),
    "a probability instead of a class": ("task_mismatch", prediction(prediction=0.83)),
    "several labels": ("task_mismatch", prediction(prediction=["a", "b"])),
    "a text for a regression": ("task_mismatch", prediction(model="price", prediction="12.5")),
    "a boolean for a regression": ("task_mismatch", prediction(model="price", prediction=True)),
    "a class that is not listed": ("unknown_class", prediction(model="kind", prediction="bird")),
    "no key": ("no_key", prediction(key=None)),
    "an empty key": ("wrong_key", prediction(key=b"")),
    "another's key": ("wrong_key", prediction(key=b"b")),
    "the key in quotes": ("wrong_key", prediction(key=b'"a"')),
    "a key that is not UTF-8": ("wrong_key", prediction(key=b"\xff")),
    "no JSON": ("malformed", (b"a", b"{", NOW)),
    "no JSON and no key": ("malformed", (None, b"{", NOW)),
}
BAD_OUTCOMES = {
    "tomorrow": ("future", outcome(ts=NOW + DAY)),
    "seconds": ("bad_timestamp", outcome(ts=T0 // 1000)),
    "a model that nobody knows": ("unknown_model", outcome(model="nobody")),
    "a text for a regression": ("task_mismatch", outcome(model="price", label="cheap")),
    "a number that is no class": ("task_mismatch", outcome(label=0.5)),
    "a class that is not listed": ("unknown_class", outcome(model="kind", label="bird")),
    "no key": ("no_key", outcome(key=None)),
    "another's key": ("wrong_key", outcome(key=b"b")),
}


@pytest.mark.parametrize(("code", "record"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_bad_prediction_is_told_by_its_code_and_its_neighbours_count(code: str, record: Record) -> None:
    source = Source()
    assert source.predictions(prediction("before"), record, prediction("after")) == [code]
    assert source.counters == {"consumed": 3, "accepted": 2, "dead_letters": 1}
    assert [pane.n for pane in source.panes().values()] == [2]


@pytest.mark.parametrize(("code", "record"), BAD_OUTCOMES.values(), ids=BAD_OUTCOMES)
def test_a_bad_outcome_is_told_by_its_code_and_its_neighbours_count(code: str, record: Record) -> None:
    source = Source()
    source.predictions(prediction("a"), prediction("b"))
    assert source.outcomes(outcome("a", label=0), record, outcome("b")) == [code]
    assert source.counters == {"consumed": 5, "accepted": 2, "outcomes": 2, "dead_letters": 1}
    assert [pane.answers.n_labelled for pane in source.panes().values()] == [2]


@pytest.mark.parametrize(
    "record",
    [
        prediction(ts=NOW + MODELS["m"].skew_ms), prediction(prediction="yes"), prediction(prediction=True), prediction(prediction=2),
        prediction(model="kind", prediction="cat"), prediction(model="kind", prediction=3), prediction(model="free", prediction=0.5),
        prediction(model="price", prediction=-12.5), prediction("é😀"), prediction("x" * 256), prediction(ts="2026-01-05T00:00:00+00:00"),
        prediction(ts="2025-12-31T23:59:60Z"), prediction(features={"x": [0.5, 1.5]}),
    ],
)  # fmt: skip
def test_unusual_but_good_predictions_are_counted(record: Record) -> None:
    source = Source()
    assert source.predictions(record) == []
    assert source.counters == {"consumed": 1, "accepted": 1}


def test_the_names_of_unknown_fields_are_kept_in_bounds() -> None:
    source = Source()
    unknown: list[dict[str, Any]] = [{f"{i}{'x' * 500}": 1} for i in range(1_000)]
    source.predictions(*(prediction(f"id{i}", **fields) for i, fields in enumerate(unknown)))
    assert source.counters["unknown_fields"] == 1_000
    assert len(source.partition.unknown) == 100
    assert max(map(len, source.partition.unknown)) == 60


def test_fields_that_are_not_known_are_passed_over_and_counted() -> None:
    source = Source()
    source.predictions(prediction("a", sampling=0.1, shard=3), prediction("b"), prediction("c", shard=3), prediction("d", ts=0, shard=3))
    source.outcomes(outcome("a", source="crm"))
    assert source.counters["unknown_fields"] == 4
    assert source.partition.unknown == {"sampling": 1, "shard": 2, "source": 1}
    assert [pane.n for pane in source.panes().values()] == [3]


def test_messages_say_what_to_do() -> None:
    records = [prediction(key=None), prediction(key=b"b"), prediction(prediction=0.83), prediction(model="nobody")]
    said = [letter.why.message for letter in Source().partition.add_predictions(chunk(records))]
    for message, part in zip(said, ["with the key 'a'", "with the key 'a'", "into `score`", "add one of them"], strict=True):
        assert part in message


# -- time


def test_an_event_from_the_future_does_not_move_the_watermark() -> None:
    """Were it believed, the next record would be a day late."""
    source = Source()
    assert source.predictions(prediction("a"), prediction("b", ts=T0 + DAY), prediction("c", ts=T0 + 1)) == ["future"]
    assert source.counters["accepted"] == 2
    assert source.partition.progress({}, True).newest["m"][0] == T0 + 1


def test_an_ancient_event_is_late_and_not_a_dead_letter() -> None:
    source = Source()
    assert source.predictions(prediction("a"), prediction("b", ts="2001-01-01T00:00:00Z")) == []
    assert source.counters == {"consumed": 2, "accepted": 1, "late": 1}


def test_a_late_outcome_is_counted_and_changes_nothing() -> None:
    source = Source()
    source.predictions(prediction("a"))
    assert source.outcomes(outcome("b", ts=T0 + 9 * SECOND), outcome("a", ts=T0 - 10 * SECOND)) == []
    assert source.counters["late_outcomes"] == 1
    assert [pane.answers.n_labelled for pane in source.panes().values()] == [0]


def test_whether_a_model_is_unknown_is_not_said_before_the_registry_is_read_up_to_the_record() -> None:
    registry = Registry(MODELS)
    registry.complete_until = NOW
    source = Source(registry)
    with pytest.raises(Incomplete):
        source.predictions(prediction("a"), prediction(model="new"))
    assert (source.counters, source.partition.positions.predictions) == ({}, 0)
    registry.complete_until = NOW + 1
    assert source.predictions(prediction("a"), prediction(model="new")) == ["unknown_model"]


def test_a_model_is_known_only_to_records_after_its_first_entry() -> None:
    registry = Registry({})
    registry.add(Reference("m", "1", {"x": NumericProfile([0.0], [1, 1], 2, 0, 0.0, 1.0)}, 2), NOW)
    assert Source(registry).predictions(prediction("a", kafka=NOW), prediction("b", kafka=NOW + 1)) == ["unknown_model"]


# -- ids


def test_the_same_prediction_twice_is_a_duplicate() -> None:
    source = Source()
    assert source.predictions(prediction(), prediction()) == []
    assert source.counters == {"consumed": 2, "accepted": 1, "duplicate": 1}


def test_another_prediction_under_an_id_in_use_is_a_conflict_and_the_first_counts() -> None:
    source = Source()
    source.predictions(prediction(prediction=1))
    assert source.predictions(prediction(prediction=0)) == ["duplicate_conflict"]
    source.outcomes(outcome(label=1))
    assert [pane.answers.confusion for pane in source.panes().values()] == [{"1\x1f1": 1}]


def test_an_id_may_be_used_again_by_another_version_and_after_the_horizon() -> None:
    source = Source()
    late = T0 + DAY + 2 * SECOND
    assert (
        source.predictions(prediction(), prediction(version="2"), prediction("b", ts=late, kafka=late), prediction(ts=late, kafka=late))
        == []
    )
    assert source.counters["accepted"] == 4


def test_a_label_may_come_before_its_prediction() -> None:
    source = Source()
    assert source.outcomes(outcome()) == []
    assert source.predictions(prediction()) == []
    assert [pane.answers.confusion for pane in source.panes().values()] == [{"1\x1f1": 1}]


def test_a_label_without_a_prediction_is_counted_and_changes_no_pane() -> None:
    source = Source()
    assert source.outcomes(outcome("nobody")) == []
    assert source.counters == {"consumed": 1, "outcomes": 1}
    assert source.panes() == {}


def test_one_label_is_for_every_version_of_its_id() -> None:
    source = Source()
    source.predictions(prediction(), prediction(version="2"))
    source.outcomes(outcome())
    assert {key.version: pane.answers.n_labelled for key, pane in source.panes().items()} == {"1": 1, "2": 1}


def test_a_class_is_the_same_as_a_number_and_as_a_text() -> None:
    source = Source()
    source.predictions(prediction("a", prediction=1), prediction("b", prediction="1"), prediction("c", prediction=1.0))
    source.outcomes(outcome("a", label="1"), outcome("b", label=1.0), outcome("c", label=1))
    assert [pane.answers.confusion for pane in source.panes().values()] == [{"1\x1f1": 3}]


def test_tombstones_are_counted_and_passed_over() -> None:
    source = Source()
    assert source.predictions((b"a", None, NOW), prediction(), (None, None, NOW)) == []
    assert source.outcomes((b"a", None, NOW)) == []
    assert source.counters == {"consumed": 4, "accepted": 1, "ignored": 3}


# -- features


def test_a_feature_of_the_wrong_type_is_counted_and_the_event_kept() -> None:
    registry = Registry(MODELS)
    profiles: dict[str, Profile] = {
        "x": NumericProfile([0.0, 1.0], [1, 1, 1], 3, 0, 0.5, 1.0),
        "c": CategoricalProfile(["a", "1"], [1, 1], 0, 2, 0),
    }  # fmt: skip
    registry.add(Reference("m", "1", profiles, 3), 0)
    source = Source(registry)
    rows: list[dict[str, Any]] = [
        {"x": 0.5, "c": "a"},
        {"x": "0.5", "c": 1},
        {"x": True, "c": [1.0]},
        {"x": None},
        {"x": [1.0], "c": "new"},
        {},
    ]
    assert source.predictions(*(prediction(f"id{i}", features=row) for i, row in enumerate(rows))) == []
    (pane,) = source.panes().values()
    #                       bins of x      missing, type errors | a, 1, new   missing, type errors
    assert pane.counts.tolist() == [0, 1, 0, 2, 3, *(1, 1, 1, 2, 1)]


def test_the_greatest_numbers_do_not_hide_the_others() -> None:
    registry = Registry(MODELS)
    registry.add(Reference("m", "1", {"x": NumericProfile([0.0, 1.0], [1, 1, 1], 3, 0, 0.5, 1.0)}, 3), 0)
    source = Source(registry)
    values = [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 0.0, 1.0]
    assert source.predictions(*(prediction(f"id{i}", features={"x": x}) for i, x in enumerate(values))) == []
    (pane,) = source.panes().values()
    assert pane.counts.tolist() == [1, 3, 2, 0, 0]  # a value on an edge belongs to the bin above it


def test_the_errors_of_a_regression_stay_finite() -> None:
    source = Source()
    source.predictions(*(prediction(f"id{i}", model="price", prediction=1e150) for i in range(50)))
    source.outcomes(*(outcome(f"id{i}", model="price", label=-1e150) for i in range(50)))
    for pane in source.panes().values():
        assert all(math.isfinite(pane.answers.sum_of(name)) for name in SUMS[:-1])
        assert math.isfinite(to_float(pane.answers.losses.squares))


# -- the breaker


def breakers(flags: Sequence[bool], cuts: Sequence[int]) -> Breaker:
    """A breaker fed with records in pieces, made anew from its state after each."""
    breaker = Breaker()
    for begin, end in zip([0, *cuts], [*cuts, len(flags)], strict=True):
        part = flags[begin:end]
        breaker.add(len(part), [i for i, dead in enumerate(part) if dead])
        breaker = Breaker(*breaker.state)
    return breaker


@given(st.data(), st.integers(0, 2**32), st.integers(0, 3 * WINDOW))
def test_the_breaker_depends_on_the_last_records_only_however_they_were_cut(data: st.DataObject, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    flags = (rng.random(n) < rng.choice([0.02, 0.05, 0.08])).tolist()
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    breaker = breakers(flags, cuts)
    assert breaker.dead == sum(flags[-WINDOW:])
    assert breaker.tripped == (n >= WINDOW and sum(flags[-WINDOW:]) > LIMIT)


def test_a_topic_of_which_one_record_in_ten_is_bad_trips_and_the_other_topic_does_not() -> None:
    source = Source()
    source.predictions(*(prediction(f"id{i}") if i % 10 else (b"x", b"{", NOW) for i in range(999)))
    assert source.partition.tripped == []
    source.predictions(prediction("last"))
    source.outcomes(*(outcome(f"id{i}") for i in range(1_000)))
    assert source.partition.tripped == ["predictions"]


def test_a_worker_that_takes_over_finds_the_breaker_as_it_was() -> None:
    bad: Record = (b"x", b"{", NOW)
    records = [bad] * (LIMIT + 1) + [prediction(f"id{i}") for i in range(WINDOW)] + [bad] * LIMIT
    source = Source()
    source.predictions(*records)
    taken = Source(marker=source.partition.flush().marker)
    assert taken.predictions(*records) == []  # read again for the join only, and told before
    assert taken.partition.tripped == []
    assert taken.predictions(bad) == ["malformed"]
    assert taken.partition.tripped == ["predictions"]


# -- anything

EVENTS = list(story(7, "full", 400).events())
PIECES = [b"{", b"}", b'"', b"NaN", b"1e999", b"[", b"null", b"\0", b"\xff", b'"ts":0', b"-", b"9" * 30, b"churn", b"\\u0000", b"true"]


@st.composite
def spoilt(draw: st.DrawFn, value: bytes) -> bytes | None:
    """The bytes of an event with a few of them replaced, or none."""
    begin = draw(st.integers(0, len(value)))
    end = begin + draw(st.integers(0, 12))
    return draw(
        st.sampled_from([None, b"", value[:begin]]) | st.sampled_from(PIECES).map(lambda piece: value[:begin] + piece + value[end:])
    )


@settings(max_examples=200)
@given(st.data(), st.integers(0, len(EVENTS) - 40))
def test_every_record_is_accounted_for_and_good_ones_count_beside_whatever_comes(data: st.DataObject, begin: int) -> None:
    """Spoilt copies of events stand between good ones, whose ids they do not have."""
    kafka = START_MS + DAY
    told = EVENTS[begin : begin + 40]
    records: dict[str, list[Record]] = {"predictions": [], "outcomes": []}
    good = dict.fromkeys(records, 0)
    for event in told:
        records[event.topic].append((event.key, event.value, kafka))
        good[event.topic] += 1
        if data.draw(st.booleans()):
            other = event._replace(id=f"other-{event.id}")
            key = data.draw(st.sampled_from([other.key, None, b"\xff\x00"]))
            records[event.topic].append((key, data.draw(spoilt(other.value)), kafka))
    source = Source(Registry({"churn": CHURN}))
    letters = source.partition.add_predictions(chunk(records["predictions"]))
    letters += source.partition.add_outcomes(chunk(records["outcomes"]))
    assert {letter.why.code for letter in letters} <= DEAD_LETTER_CODES.keys()
    counts = source.partition.counters
    kinds = ("accepted", "duplicate", "late", "outcomes", "late_outcomes", "dead_letters", "ignored")
    assert counts["consumed"] == sum(map(len, records.values())) == sum(counts[kind] for kind in kinds)
    assert counts["dead_letters"] == len(letters)
    assert counts["accepted"] >= good["predictions"]
    assert counts["outcomes"] >= good["outcomes"]
    for pane in source.panes().values():
        assert all(map(math.isfinite, (*map(pane.answers.sum_of, SUMS[:-1]), to_float(pane.answers.losses.total))))
        assert all(math.isfinite(number) for sketch in pane.sketches.values() for number in (sketch.minimum or 0, sketch.maximum or 0))
