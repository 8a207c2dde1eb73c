"""Compiled code gives what the strict decoder alone gives: the same columns, panes, errors and dead letters, of whatever comes."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from messages import BAD, BAD_OUTCOMES, ENVELOPE, GOOD_MESSAGES, REAL, mutated

from driftline.schemas.config import Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference
from driftline.story import CHURN, story
from driftline.streams import kernels
from driftline.streams.answers import AnswerRows, Answers, LabelRows, fold_predictions, fold_told
from driftline.streams.batch import Batch, Outcomes, Predictions, Topic
from driftline.streams.columns import constant, fingerprints, hash_ids
from driftline.streams.intake import Intake
from driftline.streams.layout import Layout
from driftline.streams.panes import Fence, Pane, PaneKey, decode_pane, empty_pane, encode_pane, encode_panes
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, chunk_of

T0 = 1_767_571_200_000
KAFKA = T0 + 10**9
MODELS = {
    "m": Model("m", segments=("region", "region=eu", "tier", "tier+region"), known_values={"region": ("eu", "+", "a")}),
    "churn": CHURN,
    "price": Model("price", task="regression"),
    "kind": Model("kind", task="multiclass", classes=("cat", "dog", "3", "true")),
    "free": Model("free", task="multiclass", features={"x": "numeric", "c": "categorical"}),
    "mute": Model("mute", labels=False),
    "rank": Model("rank", task="ranking"),
}
REFERENCE: dict[str, Profile] = {
    "x": NumericProfile([-1.0, 0.0, 0.1, 1.0, 1e6], [1] * 6, 6, 0, 0.5, 1.0),
    "c": CategoricalProfile(["a", "b", "1", "true", ""], [1] * 5, 0, 5, 0),
    "(score)": NumericProfile([0.25, 0.5], [1] * 3, 3, 0, 0.5, 1.0),
    "(prediction)": CategoricalProfile(["0", "1"], [1, 1], 0, 2, 0),
}


@pytest.fixture(autouse=True, scope="module")
def nothing_left() -> Iterator[None]:
    yield
    kernels.unload()


def registry() -> Registry:
    known = Registry(MODELS)
    for model in ("m", "free"):
        known.add(Reference(model, "1", dict(REFERENCE), 6), 0)
    return known


def chunk(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, timestamp: int = KAFKA) -> Chunk:
    """Records with these values; the keys are the ids where they can be read, and `k` elsewhere."""
    keys = [key_of(value) for value in values] if keys is None else keys
    rows = [(i, timestamp, key, value, ()) for i, (key, value) in enumerate(zip(keys, values, strict=True))]
    return chunk_of("t", 0, 0, len(rows), rows)


def followed(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, timestamp: int = KAFKA) -> Chunk:
    """The same with a record behind them that is no event: what is regular is read by words, which takes that there is more."""
    keys = [key_of(value) for value in values] if keys is None else keys
    return chunk([*values, b"." * 300], [*keys, b"k"], timestamp)


def key_of(value: bytes | None) -> bytes:
    try:
        event = json.loads(value or b"")
        return str((event["data"] if "specversion" in event else event)["id"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return b"k"


def told(batch: Batch[Any]) -> dict[str, Any]:
    """All that a batch says, with names in the place of codes."""
    return {
        "dead": sorted((letter.index, letter.why.code, letter.why.message) for letter in batch.dead),
        "ignored": batch.ignored.tolist(),
        "unknown": batch.unknown,
        **{model.model: columns(model) for model in batch.by_model},
    }


def columns(rows: Predictions | Outcomes) -> dict[str, list[Any]]:
    out = {field.name: getattr(rows.rows, field.name).tolist() for field in fields(rows.rows)} | {"index": rows.index.tolist()}
    answer = "label" if isinstance(rows, Outcomes) else "predicted"
    if rows.classes:
        out[answer] = [None if math.isnan(code) else rows.classes[int(code)] for code in out[answer]]
    else:
        out[answer] = [None if math.isnan(value) else value for value in out[answer]]
    if isinstance(rows, Predictions):
        out |= {"version": [rows.versions[i] for i in out["version"]], "segments": [rows.segments[i] for i in out["segments"]]}
        out |= {"latency": rows.latency.tolist(), "failed": rows.failed.tolist()}
    return out


def panes(chunks: Sequence[tuple[Topic, Chunk]]) -> dict[PaneKey, Pane]:
    """The panes of a partition that has read these."""
    partition = Partition(0, registry(), {})
    for topic, each in chunks:
        partition.apply(partition.read(each, topic))
    return {key: decode_pane(snapshot)[0] for key, snapshot in partition.flush().snapshots}


def read(topic: Topic, each: Chunk) -> dict[str, Any]:
    intake = Intake(registry())
    return told(intake.read_predictions(each) if topic == "predictions" else intake.read_outcomes(each))


def assert_same(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, timestamp: int = KAFKA) -> None:
    """Compiled code and the strict decoder say the same of these messages, in either topic; when it reads them for the second time too."""
    each = followed(values, keys, timestamp)
    both = []
    for prepare in (kernels.unload, kernels.load):
        prepare()
        both.append((read("predictions", each), read("outcomes", each), panes([("predictions", each)])))
    strict, compiled = both
    assert compiled[0] == strict[0]
    assert compiled[1] == strict[1]
    assert_same_panes(compiled[2], strict[2])


def assert_same_panes(ours: dict[PaneKey, Pane], theirs: dict[PaneKey, Pane]) -> None:
    assert ours.keys() == theirs.keys()
    for key, pane in ours.items():
        other = theirs[key]
        assert (pane.reference, pane.n, pane.counts.tolist(), pane.novel) == (other.reference, other.n, other.counts.tolist(), other.novel)
        np.testing.assert_array_equal(pane.extremes, other.extremes)
        np.testing.assert_allclose(pane.sums, other.sums, rtol=1e-9, atol=1e-9)
        assert pane.sketches.keys() == other.sketches.keys()
        for name, sketch in pane.sketches.items():
            twin = other.sketches[name]
            assert (sketch.buckets, sketch.counts, sketch.texts, sketch.text_rows, sketch.missing, sketch.type_errors) == (
                twin.buckets, twin.counts, twin.texts, twin.text_rows, twin.missing, twin.type_errors,
            )  # fmt: skip
            assert (sketch.minimum, sketch.maximum) == (twin.minimum, twin.maximum)
        assert pane.answers.predicted == other.answers.predicted
        assert pane.answers.latencies.tolist() == other.answers.latencies.tolist()


def taken(each: Chunk, topic: Topic = "predictions") -> list[bool]:
    """Which records compiled code understands."""
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    return [bool(ok) for ok in reader.read(each, topic).parsed.ok]


TEXTS = st.text(max_size=8) | st.sampled_from(["a", "b", "1", "true", "", "cat", "dog", "é😀", '"', "x" * 300, "(score)"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**66), 2**66) | st.sampled_from([0, 1, 2, -0.0, 0.5, 3, 1e22])
VALUES = TEXTS | NUMBERS | st.booleans() | st.none() | st.lists(NUMBERS, max_size=3)
COMMON = {
    "id": st.sampled_from(["a", "b", "req-1", "x" * 60]) | TEXTS,
    "model": st.sampled_from([*MODELS, "nobody"]),
    "version": st.sampled_from(["1", "2"]),
    "ts": st.integers(T0, T0 + 300_000) | st.sampled_from([T0 // 1000, "2026-01-05T00:00:00Z", T0 + 1e3, 2 * T0, -1]),
}
PREDICTIONS = st.fixed_dictionaries(
    {**COMMON, "prediction": TEXTS | NUMBERS | st.booleans() | st.lists(TEXTS, max_size=3)},
    optional={
        "features": st.dictionaries(st.sampled_from(["x", "c", "z", "(score)", "(prediction)"]) | TEXTS, VALUES, max_size=5),
        "score": st.floats(0, 1) | st.none() | NUMBERS,
        "scores": st.sampled_from([{"cat": 0.25, "dog": 0.75}, {"0": 0.5, "1": 0.5}, {"1": 1.0}, {}, None, {"3": 0.9999995, "a": 0}]),
        "segments": st.dictionaries(st.sampled_from(["region", "tier", "region=eu"]) | TEXTS, TEXTS, max_size=3),
        "role": st.sampled_from(["champion", "challenger", "king"]),
        "latency_ms": NUMBERS | st.none(),
        "failed": st.booleans() | st.none(),
        "trace": TEXTS | st.none(),
        "other": VALUES | st.dictionaries(TEXTS, VALUES, max_size=2),
        "mor`e": st.none(),
    },
)
OUTCOMES = st.fixed_dictionaries(
    COMMON,
    optional={
        "label": TEXTS | NUMBERS | st.booleans() | st.none() | st.lists(TEXTS, max_size=3) | st.dictionaries(TEXTS, NUMBERS, max_size=2),
        "kind": st.sampled_from(["final", "provisional", "correction", "retraction", "maybe"]),
        "source": VALUES,
    },
)  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """An event, nearly always one that can be used, as one of several writers puts it."""
    event: Any = draw(PREDICTIONS | OUTCOMES)
    if draw(st.integers(0, 3)) == 0:
        around = {**ENVELOPE, **draw(st.fixed_dictionaries({}, optional={"specversion": VALUES, "data": VALUES, "more": VALUES}))}
        event = draw(st.sampled_from([{**around, "data": event}, {"data": event, **around}, {**event, **around}]))
    separators, ascii_only = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:  ")])), draw(st.booleans())
    text = json.dumps(event, separators=separators, ensure_ascii=ascii_only)
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=150)
@given(st.lists(messages(), max_size=12))
def test_it_says_of_any_events_what_the_strict_decoder_says(values: list[bytes]) -> None:
    assert_same(values)


@settings(max_examples=150)
@given(st.lists(mutated() | st.sampled_from(REAL), max_size=12))
def test_it_says_of_real_events_with_something_broken_what_the_strict_decoder_says(values: list[bytes]) -> None:
    assert_same(values)


def test_it_says_of_every_message_in_the_catalogue_what_the_strict_decoder_says() -> None:
    catalogue = [value for _, value in (*BAD.values(), *BAD_OUTCOMES.values())] + [*GOOD_MESSAGES.values()]
    small = [value for value in catalogue if len(value) < 100_000]
    assert len(small) > 100
    assert_same([*small, None])
    assert_same(small, keys=[None] * len(small))
    assert_same(small, keys=[b"a"] * len(small), timestamp=T0 - 10**12)
    for value in catalogue:
        if len(value) >= 100_000:
            assert_same([value])


def test_it_says_of_events_cut_off_at_any_byte_what_the_strict_decoder_says() -> None:
    full = (
        b'{"id":"a","model":"m","version":"1","ts":%d,"prediction":true,"features":{"x":-1.5e2,"c":"\xc3\xa9","v":[1,2.5]},"score":0.5,'
        % T0
    )
    full += b'"scores":{"0":0.5,"1":0.5},"segments":{"region":"eu"},"latency_ms":3,"failed":false,"trace":null,"more":{"deep":[1,{}]}}'
    outcome = b'{"id":"a","model":"m","ts":%d,"label":1,"kind":"correction","more":[true,null]}' % T0
    assert taken(chunk([full], [b"a"])) == [True]
    assert taken(chunk([outcome], [b"a"]), "outcomes") == [True]
    for value in (full, outcome, REAL[0]):
        assert_same([value[:end] for end in range(len(value) + 1)], [key_of(value)] * (len(value) + 1))


@settings(max_examples=300)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False).map(repr)
        | st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
        | st.from_regex(r"-?(0|[1-9][0-9]{0,6})\.[0-9]{1,16}", fullmatch=True)
    )
)
def test_a_number_it_takes_is_the_nearest_there_is(texts: list[str]) -> None:
    values = [b'{"id":"a","model":"m","version":"1","ts":%d,"prediction":1,"features":{"x":%s}}' % (T0, text.encode()) for text in texts]
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    for each in (chunk(values, [b"a"] * len(values)), followed(values, [b"a"] * len(values))):
        found = reader.read(each, "predictions")
        for row in np.flatnonzero(found.parsed.ok).tolist():
            (value,) = found.by_feature(np.array([row]), ["x"])["x"]
            assert value == float(texts[row])
            assert str(value)[0] == str(float(json.loads(texts[row])))[0]


def test_the_usual_events_are_all_taken() -> None:
    for topic in ("predictions", "outcomes"):
        values = [event.value for event in story(3, "full", 3_000).events() if event.topic == topic]
        assert all(taken(chunk(values), "predictions" if topic == "predictions" else "outcomes"))


def test_every_optional_field_is_of_the_regular_shape() -> None:
    event: dict[str, Any] = {
        "id": "é", "model": "m", "version": "1", "ts": T0, "prediction": "a", "features": {"x": None, "v": [0.5] * 1_000, "b": True},
        "score": None, "scores": {"a": 0.25, "b": 0.75}, "segments": {"region": "eu"}, "role": "shadow", "latency_ms": 12.5, "failed": True,
        "trace": "00-4bf9-01", "sampling": {"rate": [0.1]},
    }  # fmt: skip
    values = [event, ENVELOPE | {"data": event}, {"data": event, "datacontenttype": "application/json", **ENVELOPE}]
    assert taken(chunk([json.dumps(value, ensure_ascii=False).encode() for value in values])) == [True, True, True]


def test_ids_and_payloads_have_the_hashes_that_numpy_gives() -> None:
    rng = random.Random(5)
    ids = ["".join(rng.choices("abc-é😀0", k=rng.randrange(1, 60))) for _ in range(500)]
    values = [
        json.dumps({"id": each, "model": "m", "version": "1", "ts": T0, "prediction": 1, "x": "y" * rng.randrange(40)}, ensure_ascii=False)
        for each in ids
    ]
    each = chunk([value.encode() for value in values])
    assert all(taken(each))
    reader = kernels.current()
    assert reader is not None
    parsed = reader.read(each, "predictions").parsed
    assert parsed.id_hash.tolist() == hash_ids(ids).tolist()
    assert parsed.fingerprint.tolist() == fingerprints(each.data, each.value_start, each.value_end).tolist()


def test_more_texts_than_a_table_holds_are_told_all_the_same() -> None:
    """Every event has texts of its own, so that tables fill up, in the middle of a chunk too, and are replaced."""
    values = [
        json.dumps(
            {"id": f"id{i}", "model": "m", "version": "1", "ts": T0, "prediction": 1, "features": {"c": f"text {i} {j}", f"n{i}": j}}
        )
        for i in range(6_000)
        for j in range(4)
    ]
    cuts = [[value.encode() for value in values[i : i + 12_000]] for i in range(0, len(values), 12_000)]
    chunks: list[tuple[Topic, Chunk]] = [("predictions", chunk(cut)) for cut in cuts]
    kernels.unload()
    wanted = panes(chunks)
    kernels.load()
    assert_same_panes(panes(chunks), wanted)


def test_events_with_the_same_features_and_others_between_them_are_added_as_by_the_strict_decoder() -> None:
    rng = random.Random(7)
    kinds = [{"x": 1.5, "c": "a"}, {"c": "b", "x": -2}, {"x": "text", "c": 3}, {"x": None, "c": "new"}, {"z": 1, "x": [0.5]}, {}]
    events: list[dict[str, Any]] = []
    while len(events) < 2_000:
        features = rng.choice(kinds)
        events += [{"id": f"{i}", "prediction": 1, "features": features} for i in range(len(events), len(events) + rng.randrange(90))]
    same = [json.dumps({**event, "model": model, "version": "1", "ts": T0}).encode() for model in ("m", "free") for event in events]
    assert all(taken(chunk(same)))
    assert_same(same)


def test_what_many_models_are_to_compiled_code_is_made_once_and_of_more_than_memory_should_hold_the_first_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from driftline.streams.kernels import fold
    from driftline.streams.kernels.texts import Texts

    layouts = [Layout(Reference(f"m{i}", "1", dict(REFERENCE), 6)) for i in range(300)]
    terms = fold.AllTerms(Texts())
    made = [terms.of(layout) for layout in layouts]
    assert [terms.of(layout) for layout in layouts] == made
    monkeypatch.setattr(fold, "TERMS_BYTES", sum(each.nbytes for each in made[:100]))
    terms.of(Layout(Reference("another", "1", dict(REFERENCE), 6)))
    assert terms.of(layouts[-1]) is made[-1]
    assert terms.of(layouts[0]) is not made[0]


def test_compiled_code_may_come_and_go_in_the_middle_of_a_stream() -> None:
    events = list(story(11, "full", 4_000).events())
    chunks: list[tuple[Topic, Chunk]] = []
    for topic in ("predictions", "outcomes"):
        values = [event.value for event in events if event.topic == topic]
        cut = [chunk(values[i : i + 200]) for i in range(0, len(values), 200)]
        chunks += [("predictions" if topic == "predictions" else "outcomes", each) for each in moved(cut)]
    kernels.unload()
    wanted = panes(chunks)
    partition = Partition(0, registry(), {})
    for i, (name, each) in enumerate(chunks):
        (kernels.load if i % 3 else kernels.unload)()
        batch = partition.read(each, name)
        (kernels.unload if i % 2 else kernels.load)()
        partition.apply(batch)
    assert_same_panes({key: decode_pane(snapshot)[0] for key, snapshot in partition.flush().snapshots}, wanted)


def moved(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Chunks one after another in one partition."""
    out, position = [], 0
    for each in chunks:
        rows = [(position + i, int(each.timestamp[i]), each.key(i), each.value(i), ()) for i in range(len(each))]
        out.append(chunk_of("t", 0, position, position + len(rows), rows))
        position += len(rows)
    return out


NUMBER_LIKE = st.from_regex(r"-?[0-9]{0,9}[.e]?[0-9]{0,9}[.e-]?[0-9]{0,9}", fullmatch=True)


def assert_same_numbers(texts: Sequence[str], separators: tuple[str, str] = (",", ":")) -> None:
    """The same of events that each have one of these texts as a feature."""
    event = {"id": "a", "model": "m", "version": "1", "ts": T0, "features": {"c": "a", "x": "?", "z": 1}, "prediction": 1, "score": 0.5}
    values = [json.dumps(event, separators=separators).replace('"?"', text).encode() for text in texts]
    assert_same(values, [b"a"] * len(values))


def test_of_all_that_looks_like_a_short_number_it_says_what_the_strict_decoder_says() -> None:
    short = ["".join(text) for n in range(1, 5) for text in itertools.product("01.-e", repeat=n)]
    assert_same_numbers(short)
    assert_same_numbers([f"7{text}3" for text in short], (", ", ": "))


@settings(max_examples=100)
@given(st.lists(NUMBER_LIKE, min_size=1, max_size=60))
def test_of_what_looks_like_a_long_number_it_says_what_the_strict_decoder_says(texts: list[str]) -> None:
    assert_same_numbers(texts)


MOMENTS = st.datetimes(datetime(1999, 12, 30), datetime(2101, 1, 3)).map(datetime.isoformat) | st.from_regex(
    r"20\d\d-(0[0-9]|1[0-3])-[0-3]\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,9}|\.\d{3}500|\.0005)?", fullmatch=True
)
ZONES = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+01:60", "", "+0100", "Z ", "ZZ"])


@settings(max_examples=200)
@given(st.lists(st.tuples(MOMENTS, ZONES, st.integers(0, 30), st.sampled_from("0:-.Z9 ")), min_size=1, max_size=12))
def test_it_reads_moments_as_the_strict_decoder_does(moments: list[tuple[str, str, int, str]]) -> None:
    texts = [moment + zone for moment, zone, _, _ in moments]
    texts += [text[:at] + c + text[at + 1 :] for text, (_, _, at, c) in zip(texts, moments, strict=True) if at < len(text)]
    event = '{"id":"a","model":"m","version":"1","ts":"%s","prediction":1,"features":{"x":1}}'
    assert_same([(event % text).encode() for text in texts], timestamp=KAFKA * 3)


def test_moments_of_the_usual_forms_are_taken() -> None:
    event = '{"id":"a","model":"m","ts":"2026-01-05T00:00:%s","version":"1","prediction":1}'
    forms = ["01Z", "01.5Z", "01.123456+00:00", "01-05:30"]
    found = read("predictions", followed([(event % form).encode() for form in forms], [b"a"] * 4))
    assert all(taken(followed([(event % form).encode() for form in forms], [b"a"] * 4))[:4])
    assert found["m"]["ts"] == [T0 + 1_000, T0 + 1_500, T0 + 1_123, T0 + 1_000 + 19_800_000]


REGULAR = {
    "id": "a", "model": "m", "version": "1", "ts": T0, "prediction": "yes", "score": 0.25,
    "features": {"x": 0.5, "a long name of a feature": 12, "c": "a", "z": "sixteen letters!"},
}  # fmt: skip


def test_a_byte_that_changes_among_events_of_one_shape_is_noticed() -> None:
    """Every byte in turn, with a good event before each, so that what is expected next stays what it was."""
    good, values = json.dumps(REGULAR, separators=(",", ":")).encode(), list[bytes]()
    for at, c in itertools.product(range(len(good)), b'",:{}[]-.09e \\\n\x7f\xc3z'):
        values += [good, good[:at] + bytes([c]) + good[at + 1 :]]
    assert_same(values, [b"a"] * len(values))


def test_what_is_still_used_of_one_chunk_is_not_overwritten_by_the_next() -> None:
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    events = [{"id": "a", "model": "m", "version": "1", "ts": T0 + i, "prediction": i, "features": {"x": i}} for i in range(2_000)]
    cuts = [chunk([json.dumps(event).encode() for event in events[i : i + 100]]) for i in range(0, len(events), 100)]
    kept = [reader.read(each, "predictions").parsed.value[5:] for each in cuts[:10]]
    copies = [values.copy() for values in kept]
    for each in cuts[10:]:
        reader.read(each, "predictions")
    np.testing.assert_array_equal(np.concatenate(kept), np.concatenate(copies))


# -- how it gets ready


def test_where_it_cannot_be_compiled_the_strict_decoder_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    kernels.unload()
    monkeypatch.setitem(sys.modules, "numba", None)
    with caplog.at_level(logging.WARNING):
        kernels.prepare().join()
    assert kernels.current() is None
    assert "no_kernels" in caplog.text


def test_what_is_in_the_cache_is_ready_without_compiling() -> None:
    kernels.unload()
    kernels.load()
    assert (kernels.directory() / "complete").exists()
    kernels.unload()
    kernels.prepare().join()
    assert kernels.current() is not None


def test_what_another_process_compiled_reads_the_same() -> None:
    kernels.load()
    event = {"id": "a", "model": "m", "version": "1", "ts": T0, "prediction": 1, "features": {"x": 0.5, "c": "b"}}
    values = [json.dumps(each).encode() for each in (event, ENVELOPE | {"data": event})]
    code = (
        "import sys; from driftline.streams import kernels; from driftline.streams.transport.chunk import chunk_of; kernels.load();"
        f"chunk = chunk_of('t', 0, 0, 2, [(i, {KAFKA}, b'a', value, ()) for i, value in enumerate({values!r})]);"
        "print(kernels.current().read(chunk, 'predictions').parsed.ok.tolist())"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert said.stdout == "[1, 1]\n"


def test_without_a_home_that_can_be_written_to_the_cache_is_a_directory_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no directory")
    script = "from driftline.streams import kernels; print(kernels.directory())"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip()).is_relative_to(tmp_path)
    assert Path(said.strip()).is_dir()


LABELS = st.lists(
    st.tuples(
        st.integers(-1, 3), st.integers(-1, 3), st.sampled_from([-1, 1]), st.integers(0, 2), st.integers(0, 2), st.integers(-1, 255),
        st.sampled_from([-5, 0, 999, 1_000, 60_000, 2**45]),
    ),
    max_size=30,
)  # fmt: skip
CLASSES = ["cat", "dog", "1"]


def labels_of(rows: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray, LabelRows]:
    """The place of each prediction's pane, that of each label's, and the rows."""
    mine, later, sign, said, actual, score, delay = np.array(rows, np.int64).reshape(-1, 7).T
    return mine, later, LabelRows(sign, said.astype(np.float64), actual.astype(np.float64), score, delay)


@settings(deadline=None, max_examples=200)
@given(st.lists(LABELS, min_size=1, max_size=3), st.sampled_from([MODELS["m"], MODELS["kind"]]), LABELS)
def test_labels_are_counted_in_panes_as_without_compiled_code(
    parts: list[list[tuple[int, ...]]], model: Model, before: list[tuple[int, ...]]
) -> None:
    found = []
    for use in (kernels.unload, kernels.load):
        panes = [empty_pane(None) for _ in range(4)]
        for told in (before, *parts):
            use()
            fold_told([pane.answers for pane in panes], [labels_of(told)], CLASSES, model)
        fold_told([pane.answers for pane in panes], [labels_of(told) for told in parts], CLASSES, model)
        found.append([encode_pane(pane, Fence()) for pane in panes])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "wrong", [(4, 0, 1, 0, 0, 5, 0), (0, 4, 1, 0, 0, 5, 0), (0, 0, 1, 3, 0, 5, 0), (0, 0, 1, 0, -1, 5, 0), (0, 0, 1, 0, 0, 256, 0)]
)
def test_a_label_that_belongs_nowhere_is_refused_and_counts_in_no_memory_of_others(wrong: tuple[int, ...]) -> None:
    kernels.load()
    with pytest.raises(IndexError):
        fold_told([Answers() for _ in range(4)], [labels_of([wrong])], CLASSES, MODELS["m"])


ANSWERS = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(0, 2), st.integers(-1, 255), st.integers(-1, 255), st.integers(0, 1)), max_size=30
)


def answers_of(rows: list[tuple[int, ...]]) -> tuple[np.ndarray, AnswerRows]:
    """The place of each prediction's pane, and the rows."""
    place, said, score, *told = np.array(rows, np.int64).reshape(-1, 5).T
    latency, failed = (constant(int(column[0]), len(rows)) if len({*column.tolist()}) == 1 else column for column in told)
    return place, AnswerRows(said.astype(np.float64), score, latency, failed)


@example([[(1, 0, 3, 7, 1)] * 3], MODELS["m"])
@settings(deadline=None, max_examples=200)
@given(st.lists(ANSWERS, min_size=1, max_size=3), st.sampled_from([MODELS["m"], MODELS["kind"], MODELS["free"]]))
def test_predictions_are_counted_in_panes_as_without_compiled_code(parts: list[list[tuple[int, ...]]], model: Model) -> None:
    found = []
    for use in (kernels.unload, kernels.load):
        use()
        panes = [empty_pane(None) for _ in range(4)]
        for told in ([parts[0]], parts):
            fold_predictions([pane.answers for pane in panes], [answers_of(rows) for rows in told], CLASSES, model)
        found.append([encode_pane(pane, Fence()) for pane in panes])
    assert found[0] == found[1]


@pytest.mark.parametrize("wrong", [(4, 0, 5, 0, 0), (0, 3, 5, 0, 0), (0, -1, 5, 0, 0), (0, 0, 256, 0, 0), (0, 0, 5, 256, 0)])
def test_a_prediction_that_belongs_nowhere_is_refused_and_counts_in_no_memory_of_others(wrong: tuple[int, ...]) -> None:
    kernels.load()
    with pytest.raises(IndexError):
        fold_predictions([Answers() for _ in range(4)], [answers_of([wrong])], CLASSES, MODELS["m"])


NUMBERS = st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 2**31, 2**48 - 1, 2**48, -1]) | st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(NUMBERS, max_size=12) | st.lists(st.integers(0, 300), max_size=40), max_size=70), st.integers(0, 2))
def test_panes_are_snapshots_as_without_compiled_code_and_one_by_one(counts: list[list[int]], told: int) -> None:
    panes = [empty_pane(None) for _ in counts]
    for i, (pane, numbers) in enumerate(zip(panes, counts, strict=True)):
        pane.counts = np.array(numbers, np.int64)[:: 1 + i % 2]
        pane.answers.said = {name: np.arange(256) * i for name in "ab"[:told]}
    kernels.unload()
    alone = [encode_pane(pane, Fence(1, 2), 3) for pane in panes]
    kernels.load()
    assert encode_panes(panes, Fence(1, 2), 3) == alone
