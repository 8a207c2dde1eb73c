"""Batches of events: the rows of an Arrow stream count as the same events in JSON do, and what is wrong with some leaves the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.errors import DEAD_LETTER_CODES
from driftline.schemas.progress import decode_marker
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference
from driftline.streams import kernels
from driftline.streams.arrow import CONTENT_TYPE
from driftline.streams.columns import joined, partitions_of
from driftline.streams.panes import Pane, PaneKey, decode_pane
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, Headers, chunk_of

T0 = 1_767_571_200_000
SECOND = 1_000
KAFKA = T0 + 10**9
HEADERS: Headers = (("content-type", CONTENT_TYPE),)
MODELS = {
    "m": Model("m", segments=("region", "region=eu", "region+tier"), known_values={"tier": ("a", "pro")}),
    "price": Model("price", task="regression"),
    "kind": Model("kind", task="multiclass", classes=("cat", "dog", "3"), metrics=("all",)),
    "mute": Model("mute", labels=False),
}
REFERENCE: dict[str, Profile] = {
    "x": NumericProfile([-1.0, 0.0, 1.0], [1] * 4, 4, 0, 0.5, 1.0),
    "c": CategoricalProfile(["a", "1", "true"], [1] * 3, 0, 3, 0),
    "(score)": NumericProfile([0.25, 0.5], [1] * 3, 3, 0, 0.5, 1.0),
    "(prediction)": CategoricalProfile(["0", "1"], [1, 1], 0, 2, 0),
}
Codec = Literal["lz4", "zstd"] | None
Record = tuple[bytes | None, bytes | None, Headers]  # key, value, headers


def message(columns: Mapping[str, Any], model: str = "m", version: str = "1", codec: Codec = None, **metadata: str) -> bytes:
    """A batch as it is published."""
    batch = pa.record_batch({name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()})
    batch = batch.replace_schema_metadata({"model": model, "version": version, **metadata})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def batch(columns: Mapping[str, Any], model: str = "m", version: str = "1") -> Record:
    return None, message(columns, model, version), HEADERS


def predictions(n: int, **columns: Any) -> dict[str, Any]:
    """Columns of good predictions, but for some of them."""
    return {"id": [f"id{i}" for i in range(n)], "ts": [T0 + i for i in range(n)], "prediction": [i % 2 for i in range(n)], **columns}


def outcomes(n: int, **columns: Any) -> dict[str, Any]:
    return {"id": [f"id{i}" for i in range(n)], "ts": [T0 + SECOND] * n, "label": [1] * n, **columns}


def chunk(records: Sequence[Record], first: int = 0) -> Chunk:
    rows = [(first + i, KAFKA, key, value, headers) for i, (key, value, headers) in enumerate(records)]
    return chunk_of("t", 0, first, first + len(rows), rows)


def json_records(events: Sequence[Mapping[str, Any]]) -> list[Record]:
    return [(event["id"].encode(), json.dumps(event).encode(), ()) for event in events]


class Source:
    """One source partition."""

    def __init__(self, learned: bool = False, partitions: int | None = None) -> None:
        registry = Registry(MODELS)
        if not learned:
            registry.add(Reference("m", "1", dict(REFERENCE), 4), 0)
        self.partition = Partition(0, registry, {}, None, partitions=partitions)

    def predictions(self, *records: Record) -> list[tuple[str, str]]:
        """Codes and messages of the dead letters."""
        letters = self.partition.add_predictions(chunk(records, self.partition.positions.predictions))
        return [(letter.why.code, letter.why.message) for letter in letters]

    def outcomes(self, *records: Record) -> list[tuple[str, str]]:
        letters = self.partition.add_outcomes(chunk(records, self.partition.positions.outcomes))
        return [(letter.why.code, letter.why.message) for letter in letters]

    def panes(self) -> dict[PaneKey, Pane]:
        return {key: decode_pane(snapshot)[0] for key, snapshot in self.partition.flush().snapshots}

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self.partition.counters.items() if count}


def said(pane: Pane) -> Any:
    """A pane's content, but for sums of features, which are right to within rounding."""
    answers = pane.answers
    return (
        pane.reference, pane.n, pane.counts.tolist(), pane.novel, repr(pane.extremes.tolist()),
        {name: (s.buckets, s.counts, s.texts, s.text_rows, s.missing, s.type_errors) for name, s in pane.sketches.items()},
        answers.predicted, {name: counts.tolist() for name, counts in answers.said.items()}, answers.latencies.tolist(), answers.failures,
        answers.confusion, {name: counts.tolist() for name, counts in answers.scored.items()}, answers.sums, answers.losses,
    )  # fmt: skip


def assert_same(ours: Source, theirs: Source) -> None:
    mine, others = ours.panes(), theirs.panes()
    assert mine.keys() == others.keys()
    for key, pane in mine.items():
        assert said(pane) == said(others[key])
        np.testing.assert_allclose(pane.sums, others[key].sums, rtol=1e-9, atol=1e-9)


TEXTS = st.sampled_from(["a", "b", "1", "true", "", "é😀"]) | st.none()
NUMBERS = st.floats(-1e6, 1e6) | st.none()
FEATURE = st.sampled_from(
    [TEXTS, NUMBERS, st.integers(-5, 5) | st.none(), st.booleans() | st.none(), st.lists(st.floats(0, 1), max_size=2)]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, dict[str, list[Any]]]:
    """A model and columns of good predictions."""
    n = draw(st.integers(1, 12))
    model, answers = draw(
        st.sampled_from(
            [
                ("m", st.integers(0, 2)), ("m", st.sampled_from(["0", "1", "yes"])), ("m", st.booleans()),
                ("price", st.floats(-1e3, 1e3)), ("kind", st.sampled_from(["cat", "dog", "3"])), ("kind", st.just(3)),
            ]
        )
    )  # fmt: skip

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    columns = {
        "id": draw(st.lists(st.sampled_from([f"id{i}" for i in range(30)]) | st.text("abé", min_size=1), min_size=n, max_size=n)),
        "ts": column(st.integers(T0, T0 + 200_000)),
        "prediction": column(answers),
    }
    optional = {
        "feature.x": draw(FEATURE), "feature.c": draw(FEATURE), "feature.z": draw(FEATURE), "score": st.floats(0, 1) | st.none(),
        "segment.region": TEXTS, "segment.tier": TEXTS, "latency_ms": st.floats(0, 1e4) | st.none(), "failed": st.booleans(),
        "role": st.sampled_from(["champion", "shadow"]),
    }  # fmt: skip
    for name, values in optional.items():
        if draw(st.booleans()):
            columns[name] = column(values)
    if draw(st.booleans()):
        columns["score.cat"] = columns["score.1"] = column(st.just(0.5))
    return model, columns


def events(model: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of columns as events in JSON."""
    out = []
    for i in range(len(columns["id"])):
        event: dict[str, Any] = {"model": model, "version": "1", "features": {}, "segments": {}, "scores": {}}
        for name, column in columns.items():
            kind, dot, own = name.partition(".")
            if not dot:
                event[name] = column[i]
            elif column[i] is not None or kind == "feature":
                event[{"feature": "features", "segment": "segments", "score": "scores"}[kind]][own] = column[i]
        out.append({name: value for name, value in event.items() if value != {}})
    return out


@settings(max_examples=150)
@given(tables(), st.booleans(), st.integers(1, 12), st.sampled_from([kernels.load, kernels.unload]))
def test_rows_of_batches_count_as_the_same_events_in_json(
    table: tuple[str, dict[str, list[Any]]], learned: bool, cut: int, prepare: Callable[[], None]
) -> None:
    prepare()
    model, columns = table
    n = len(columns["id"])
    ours, theirs = Source(learned), Source(learned)
    parts = [{name: column[begin : begin + cut] for name, column in columns.items()} for begin in range(0, n, cut)]
    told = [batch(part, model) for part in parts]
    assert {code for code, _ in ours.predictions(*told)} <= {"duplicate_conflict"}
    theirs.predictions(*json_records(events(model, columns)))
    labels = {"id": sorted(set(columns["id"])), "model": model}
    answer = 1 if model == "m" else 2.5 if model == "price" else "cat"
    ours.outcomes(batch({"id": labels["id"], "ts": [T0 + SECOND] * len(labels["id"]), "label": [answer] * len(labels["id"])}, model))
    theirs.outcomes(*json_records([{"id": id, "model": model, "ts": T0 + SECOND, "label": answer} for id in labels["id"]]))
    assert_same(ours, theirs)


BAD_ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "no id": ("missing_field", {"id": ["id0", None, "id2"]}),
    "an empty id": ("out_of_bounds", {"id": ["id0", "", "id2"]}),
    "a line break in the id": ("bad_name", {"id": ["id0", "a\n", "id2"]}),
    "no time": ("missing_field", {"ts": [T0, None, T0]}),
    "seconds": ("bad_timestamp", {"ts": [T0, T0 // 1000, T0]}),
    "the future": ("future", {"ts": [T0, KAFKA + 10**7, T0]}),
    "no prediction": ("wrong_type", {"prediction": [1, None, 1]}),
    "a probability for a class": ("task_mismatch", {"prediction": [1.0, 0.3, 1.0]}),
    "an infinite prediction": ("non_finite", {"prediction": [1.0, float("inf"), 1.0]}),
    "an infinite feature": ("non_finite", {"feature.x": [1.0, float("-inf"), 1.0]}),
    "a prediction whose square is infinite": ("out_of_bounds", {"prediction": [1.0, 1e200, 1.0]}),
    "a score above one": ("bad_probability", {"score": [0.5, 1.5, None]}),
    "scores that sum to more": ("bad_probability", {"score.a": [0.5, 0.9, None], "score.b": [0.5, 0.5, None]}),
    "a role that does not exist": ("unknown_field_value", {"role": ["champion", "king", None]}),
    "NUL in a category": ("bad_name", {"feature.c": ["a", "\0", "b"]}),
    "a long category": ("out_of_bounds", {"feature.c": ["a", "x" * 4_097, "b"]}),
}


@pytest.mark.parametrize(("code", "columns"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_told_by_its_number_and_the_others_count(code: str, columns: dict[str, Any]) -> None:
    source = Source()
    [(told, why)] = source.predictions(batch(predictions(3, **columns)))
    assert told == code
    assert "of 3 rows 1 cannot be used; rows 1:" in why
    assert source.counters == {"consumed": 1, "accepted": 2, "dead_letters": 1}


def repeated(value: Any) -> Any:
    """A thousand rows of one value, which is there once."""
    return pa.DictionaryArray.from_arrays(np.zeros(1_000, np.int32), pa.array([value]))


LONG = "x" * 50_000
VIEWS = np.array([(len(LONG), b"xxxx", 0, 0)] * 1_000, np.dtype("i4, S4, i4, i4"))
SHOWN = pa.Array.from_buffers(pa.string_view(), 1_000, [None, pa.py_buffer(VIEWS.tobytes()), pa.py_buffer(LONG.encode())])
ZEROS = predictions(9_000, id=["a"] * 9_000, **{f"feature.{i}": np.zeros(9_000) for i in range(90)})


BAD_BATCHES: dict[str, tuple[str, Record]] = {
    "no Arrow": ("malformed", (None, b"{}", HEADERS)),
    "empty": ("malformed", (None, b"", HEADERS)),
    "cut off": ("malformed", (None, message(predictions(3))[:-200], HEADERS)),
    "no column of ids": ("missing_field", batch({"ts": [T0], "prediction": [1]})),
    "no version": ("missing_field", batch(predictions(1), version="")),
    "ids that are numbers": ("wrong_type", batch(predictions(1, id=[1]))),
    "times that are texts": ("wrong_type", batch(predictions(1, ts=["2026-01-05"]))),
    "scores that are texts": ("wrong_type", batch(predictions(1, score=["0.5"]))),
    "a structure for a feature": ("wrong_type", batch(predictions(1, **{"feature.x": [{"a": 1}]}))),
    "a vector of texts": ("wrong_type", batch(predictions(1, **{"feature.x": [["a"]]}))),
    "an empty feature name": ("out_of_bounds", batch(predictions(1, **{"feature.": [1]}))),
    "too many features": ("too_many_features", batch(predictions(1, **{f"feature.{i}": [1] for i in range(2_001)}))),
    "too many rows": ("out_of_bounds", batch(predictions(100_001))),
    "a model that nobody knows": ("unknown_model", batch(predictions(1), model="nobody")),
    "zeros that weigh nothing on the wire": ("out_of_bounds", (None, message(ZEROS, codec="zstd"), HEADERS)),
    "one long id in every row": ("out_of_bounds", batch(predictions(1_000, id=repeated(LONG)))),
    "one long vector in every row": ("out_of_bounds", batch(predictions(1_000, **{"feature.x": repeated([0.5] * 5_000)}))),
    "one long text that every row shows": ("out_of_bounds", batch(predictions(1_000, **{"feature.x": SHOWN}))),
}


@pytest.mark.parametrize(("code", "record"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_batch_that_cannot_be_used_is_one_dead_letter_and_its_neighbours_count(code: str, record: Record) -> None:
    source = Source()
    letters = source.predictions(
        batch(predictions(2)), record, *json_records([{"id": "j", "model": "m", "version": "1", "ts": T0, "prediction": 1}])
    )
    assert [told for told, _ in letters] == [code]
    assert code in DEAD_LETTER_CODES
    assert source.counters == {"consumed": 3, "accepted": 3, "dead_letters": 1}


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_buffers_may_be_compressed(codec: Codec) -> None:
    source = Source()
    assert source.predictions((None, message(predictions(500), codec=codec), HEADERS)) == []
    assert source.counters["accepted"] == 500


def test_rows_of_outcomes_are_judged_alike() -> None:
    source = Source()
    source.predictions(batch(predictions(5)))
    columns = outcomes(5, label=[1, None, 1, 0, 0.5], kind=["final", "final", "retraction", "maybe", "final"])
    [(code, why)] = source.outcomes(batch(columns))
    assert code == "unknown_field_value"
    assert "rows 3: unknown_field_value" in why
    assert "rows 1: missing_field" in why
    assert "rows 4: task_mismatch" in why
    assert source.counters["outcomes"] == 2
    assert source.outcomes(batch(outcomes(2, id=["id0", "id0"])))[0][0] == "duplicate_conflict"
    assert source.outcomes(batch(outcomes(2), model="mute"))[0][0] == "task_mismatch"


@pytest.mark.usefixtures("either_reader")
def test_rows_of_another_partition_are_told() -> None:
    source = Source(partitions=4)
    ids = [f"id{i}" for i in range(40)]
    here = [id for id in ids if (murmur2(id.encode()) & 0x7FFFFFFF) % 4 == 0]
    [(code, _)] = source.predictions(batch(predictions(40)))
    assert code == "wrong_partition"
    assert source.counters["accepted"] == len(here)
    assert Source(partitions=4).predictions(batch(predictions(len(here), id=here))) == []


@given(st.lists(st.text(max_size=12)))
def test_the_partition_of_an_id_is_kafkas(ids: list[str]) -> None:
    assert partitions_of(*joined(ids)).tolist() == [murmur2(id.encode()) & 0x7FFFFFFF for id in ids]


def test_the_same_rows_in_another_batch_are_duplicates_and_others_conflict() -> None:
    source = Source()
    columns = predictions(6, **{"feature.x": [0.5] * 6, "feature.c": list("abcabc"), "feature.v": [[1.0]] * 6})
    source.predictions(batch(columns))
    again = {name: pa.array(column[2:]) for name, column in columns.items()}
    assert source.predictions(batch({"feature.c": again["feature.c"].dictionary_encode(), **again})) == []
    assert source.counters["duplicate"] == 4
    [(code, _)] = source.predictions(batch(predictions(6, **{"feature.x": [0.25] * 6})))
    assert code == "duplicate_conflict"


def test_a_column_that_is_not_known_is_counted() -> None:
    source = Source()
    source.predictions(batch(predictions(2, sampling=[1, 2])))
    assert source.partition.unknown == {"sampling": 1}


def test_time_stamps_may_be_arrows_own() -> None:
    source = Source()
    times = pa.array([T0 * 1_000, (T0 + 60_000) * 1_000], pa.timestamp("us", "UTC"))
    assert source.predictions(batch(predictions(2, ts=times))) == []
    assert sorted(key.start for key in source.panes()) == [T0, T0 + 60_000]


@settings(max_examples=200)
@given(st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    good = message(predictions(3, **{"feature.x": [0.5, None, 1.0], "feature.c": ["a", None, "b"]}))
    begin = data.draw(st.integers(0, len(good)))
    value = good[:begin] + data.draw(st.binary(max_size=8)) + good[begin + data.draw(st.integers(0, 8)) :]
    source = Source()
    letters = source.predictions((None, value, HEADERS))
    assert {code for code, _ in letters} <= DEAD_LETTER_CODES.keys()
    assert source.counters["consumed"] == 1


def test_a_worker_that_takes_over_reads_batches_again_for_the_join_only() -> None:
    source = Source()
    source.predictions(batch(predictions(4)))
    marker = source.partition.flush().marker
    taken = Partition(0, Registry(MODELS), source.partition._stored, decode_marker(marker))
    taken.add_predictions(chunk([batch(predictions(4))]))
    taken.add_outcomes(chunk([batch(outcomes(4))]))
    panes = {key: decode_pane(snapshot)[0] for key, snapshot in taken.flush().snapshots}
    assert [(pane.n, pane.answers.n_labelled) for pane in panes.values()] == [(4, 4)]
