"""Batches of a form that is known are read by compiled code as pyarrow reads them: the same columns, errors and fingerprints of rows,
whatever was done to their bytes, and not one byte beyond them."""

from __future__ import annotations

import ctypes
import json
import mmap
from collections.abc import Iterator, Sequence
from struct import pack_into, unpack_from
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.schemas.errors import Rejected
from driftline.sinks.batches import messages
from driftline.streams import arrow, kernels
from driftline.streams.batch import Topic
from driftline.streams.forms import Forms, form_of, schema_of
from driftline.streams.ipc import field, table
from driftline.streams.layout import Coded
from driftline.streams.transport.chunk import Chunk, chunk_of

T0 = 1_767_571_200_000
PAGE = mmap.PAGESIZE
LIBRARY = ctypes.CDLL(None, use_errno=True)
REFUSED, ALLOWED = 0, mmap.PROT_READ | mmap.PROT_WRITE


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(arrow, "_FORMS", {"predictions": Forms(), "outcomes": Forms()})
    kernels.load()
    yield
    kernels.load()


def stream(columns: dict[str, Any], codec: Any = None, batches: int = 1, **about: str) -> bytes:
    made = pa.table({name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()})
    made = made.replace_schema_metadata({"model": "m", "version": "1", **about})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        for part in range(batches):
            step = -(-made.num_rows // batches)
            writer.write_table(made.slice(part * step, step).combine_chunks())
    return sink.getvalue().to_pybytes()


def chunk(values: Sequence[bytes]) -> Chunk:
    return chunk_of("t", 0, 0, len(values), [(i, 0, None, value, ()) for i, value in enumerate(values)])


def listed(column: Any) -> Any:
    if isinstance(column, arrow.Ids):
        data = memoryview(column.data)
        return [bytes(data[begin:end]) for begin, end in zip(column.start.tolist(), column.end.tolist(), strict=True)]
    if isinstance(column, Coded):
        return [column.bools, *column.list()]
    return [*map(repr, column.tolist() if isinstance(column, np.ndarray) else column)]


def said(of: Chunk, topic: Topic) -> dict[int, Any]:
    """By record what was read of it, row by row."""
    out = dict[int, Any]()
    for numbers, rows in arrow.read(of, range(len(of)), topic):
        if isinstance(rows, Rejected):
            out |= dict.fromkeys(numbers, rows)
            continue
        verdicts, prints = rows.verdicts(), arrow._fingerprints(rows)
        for number in numbers:
            own = np.flatnonzero(rows.index == number)
            columns = {name: listed(_taken(column, own)) for name, column in rows.columns.items()}
            out[number] = (
                rows.model, rows.version, rows.unknown, columns, verdicts.get(number), rows.bad[own].tolist(), prints[own].tolist(),
            )  # fmt: skip
    return out


def _taken(column: Any, rows: Any) -> Any:
    if isinstance(column, arrow.Ids):
        return arrow.Ids(column.data, column.start[rows], column.end[rows])
    if isinstance(column, Coded):
        return column.take(rows)
    return column[rows] if isinstance(column, np.ndarray) else [column[i] for i in rows.tolist()]


def quick(of: Chunk, topic: Topic = "predictions") -> int:
    """How many records pyarrow is not asked for."""
    known = arrow._FORMS[topic].parted(of, range(len(of)))[0]
    reader = kernels.current()
    assert reader is not None
    made = [arrow._gathered(reader, form, of, numbers) for form, numbers in known]
    return sum(len(each.kept) for each in made if each)


TEXTS = st.sampled_from(["a", "b", "", "é😀", "x" * 30]) | st.none()
WHOLE = st.integers(0, 100) | st.none()
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *((kind, st.floats(-999, 999, width=16) | st.none() | st.just(np.nan)) for kind in (pa.float64(), pa.float32(), pa.float16())),
    (pa.float64(), st.floats() | st.sampled_from([0.0, -0.0])),
    *((kind, WHOLE) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)), (pa.int8(), st.integers(-128, 127)), (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    (pa.bool_(), st.booleans() | st.none()), (pa.null(), st.none()), (pa.string(), TEXTS), (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS), (pa.list_(pa.float64()), st.lists(st.floats(0, 1), max_size=2) | st.none()),
    *((pa.dictionary(index, pa.string()), TEXTS) for index in (pa.int8(), pa.int32(), pa.uint16(), pa.int64())),
    (pa.dictionary(pa.uint32(), pa.large_string()), TEXTS),
]  # fmt: skip
TIMES = [pa.int64(), pa.timestamp("ms"), pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.timestamp("s")]
NAMES = ["feature.x", "feature.y", "segment.s", "score", "score.a", "role", "latency_ms", "failed", "trace", "strange"]


@st.composite
def producers(draw: st.DrawFn) -> list[bytes]:
    """Streams of one schema, with what producers differ in."""
    types = {"prediction": draw(st.sampled_from(TYPES))}
    types |= {name: draw(st.sampled_from(TYPES)) for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))}
    ids = draw(st.sampled_from([pa.string(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]))
    time = draw(st.sampled_from(TIMES))
    unit = {"s": 1_000, "ms": 1, "us": 0.001, "ns": 1e-6}[time.unit] if pa.types.is_timestamp(time) else 1
    codec, batches = draw(st.sampled_from([None] * 8 + ["lz4", "zstd"])), draw(st.sampled_from([1] * 8 + [2]))
    out = []
    for _ in range(draw(st.integers(2, 4))):
        n, skipped = draw(st.sampled_from([3, 3, 9, 0, 1])), draw(st.sampled_from([0, 0, 5]))
        spelt = draw(st.lists(st.sampled_from(["id1", "id2", "ä", "longer id", "a b"]), min_size=n, max_size=n))
        columns = {"id": pa.array(spelt, ids), "ts": pa.array([int((T0 + 1_000 * i) / unit) for i in range(n)], pa.int64()).cast(time)}
        for name, (kind, values) in types.items():
            drawn = draw(st.lists(values, min_size=n + skipped, max_size=n + skipped))
            drawn = [np.float16(x) if pa.types.is_float16(kind) and x is not None else x for x in drawn]
            columns[name] = pa.array(drawn, kind).slice(skipped)
        out.append(stream(columns, codec, batches))
    return out


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(producers(), st.sampled_from(["predictions", "outcomes"]))
def test_compiled_code_reads_what_pyarrow_reads(values: list[bytes], topic: Topic) -> None:
    of = chunk(values)
    kernels.load()
    said(of, topic)  # pyarrow's, which it learns from
    ours, again = said(of, topic), said(of, topic)  # once more, with what it remembers of the dictionaries
    kernels.unload()
    assert ours == again == said(of, topic)


PLAIN: dict[str, Any] = {
    "id": ["id1", "id22", "id3"], "ts": [T0, T0 + 1, T0 + 2], "prediction": [1, 0, 1], "feature.x": [0.5, None, 2.0],
    "feature.c": pa.array(["a", None, "b"]).dictionary_encode(), "feature.b": [True, None, False],
    "segment.s": pa.array(["eu", "us", "eu"]).dictionary_encode(), "trace": [None] * 3,
    "feature.i": pa.array([1, None, 3], pa.int16()), "score": [0.25, 0.5, 1.0],
}  # fmt: skip
PLACES = [0, 1, -1, 2, 3, 7, 8, 16, 24, 64, 100, 255, 1_000, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 8, 2**63 - 1, -8, -(2**31), -(2**63)]


def told_places(value: bytes) -> list[int]:
    """Where the numbers of the metadata are, and the first bytes of each body."""
    out, at = list[int](), len(schema_of(value))
    while unpack_from("<i", value, at + 4)[0]:
        message = at + 8 + int(unpack_from("<I", value, at + 8)[0])
        records = table(value, message, 2)
        records = table(value, records, 1) if value[field(value, message, 1)] == 2 else records
        out += [at + 4, field(value, message, 3), field(value, records, 0)]
        for number, each in ((1, 16), (2, 16)):
            vector = table(value, records, number)
            out += [vector, *range(vector + 4, vector + 4 + each * int(unpack_from("<I", value, vector)[0]), 8)]
        body = at + 8 + int(unpack_from("<i", value, at + 4)[0])
        at = body + int(unpack_from("<q", value, field(value, message, 3))[0])
        out += range(body, at, 4)
    return out


GOOD = stream(PLAIN)
NUMBERS = told_places(GOOD)
CHANGE = st.tuples(st.sampled_from(NUMBERS), st.sampled_from(PLACES), st.sampled_from("qi")) | st.tuples(
    st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.just("B")
)


def changed(changes: Sequence[tuple[int, int, str]], cut: int, more: bytes) -> bytes:
    value = bytearray(GOOD + bytes(8))
    for place, number, size in changes:
        bits = {"q": 64, "i": 32, "B": 8}[size]
        pack_into(f"<{size.upper()}", value, place, number % 2**bits)
    return bytes(value[: len(GOOD) - cut]) + more


def guarded(values: Sequence[bytes]) -> tuple[Chunk, Any]:
    """A chunk that ends where a page ends which nobody may read; nor may they the one before it."""
    made = chunk(values)
    size = -(-len(made.data) // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    at = PAGE + size - len(made.data)
    memory[at : at + len(made.data)] = made.data
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (begin, begin + PAGE + size):
        assert LIBRARY.mprotect(ctypes.c_void_p(page), PAGE, REFUSED) == 0
    view = memoryview(memory)[at : PAGE + size]
    columns = (made.key_start, made.key_end, made.value_start, made.value_end)
    return Chunk("t", 0, 0, len(values), made.offset, made.timestamp, view, *columns, made.headers), begin


@settings(max_examples=1_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CHANGE, min_size=1, max_size=3), st.sampled_from([0] * 6 + [1, 8, 9, 16, 200]),
    st.sampled_from([b""] * 6 + [b"x", bytes(8), GOOD]), st.booleans(),
)  # fmt: skip
def test_bytes_that_were_changed_are_judged_as_pyarrow_judges_them(
    changes: list[tuple[int, int, str]], cut: int, more: bytes, last: bool
) -> None:
    kernels.load()
    said(chunk([GOOD]), "predictions")
    value = changed(changes, cut, more)
    of, begin = guarded([GOOD, value] if last else [value, GOOD])
    ours = said(of, "predictions")
    for page in (begin, begin + PAGE * (1 + -(-len(of.data) // PAGE))):
        LIBRARY.mprotect(ctypes.c_void_p(page), PAGE, ALLOWED)
    kernels.unload()
    assert ours == said(of, "predictions")


@pytest.mark.parametrize("code", [-1, 1, 2])
def test_a_code_beyond_its_dictionary_is_judged_as_pyarrow_judges_it(code: int) -> None:
    changes = [chunk([GOOD, changed([(place, code, "i")], 0, b"")]) for place in NUMBERS]
    kernels.load()
    said(chunk([GOOD]), "predictions")
    ours = [said(of, "predictions") for of in changes]
    kernels.unload()
    assert ours == [said(of, "predictions") for of in changes]


@pytest.mark.parametrize("place", range(len(NUMBERS)))
def test_no_number_of_the_metadata_or_the_buffers_leads_out_of_bounds(place: int) -> None:
    said(chunk([GOOD]), "predictions")
    theirs = []
    for number in PLACES:
        of, _ = guarded([changed([(NUMBERS[place], number, "q")], 0, b"")])
        quick(of)
        theirs.append(of)
    assert len(theirs) == len(PLACES)


def test_a_second_message_of_a_producer_is_read_by_compiled_code() -> None:
    columns: dict[str, Any] = {
        **PLAIN,
        "ts": pa.array([1_000 * ts for ts in PLAIN["ts"]], pa.timestamp("us")),
        "prediction": pa.array([1, 0, 1], pa.uint8()),
    }
    for each in (PLAIN, columns, {**PLAIN, "id": pa.array(PLAIN["id"], pa.large_string())}):
        said(chunk([stream(each)]), "predictions")
        more = {name: pa.concat_arrays([pa.array(column)] * 2) for name, column in each.items()}
        assert quick(chunk([stream(each), stream(more)])) == 2


def test_what_is_still_used_of_one_chunk_is_not_overwritten_by_the_next() -> None:
    def read(label: float) -> arrow.Rows:
        columns = {"id": ["a", "b"], "ts": [T0, T0], "prediction": [label, label], "feature.x": [label, 2.0]}
        ((_, rows),) = arrow.read(chunk([stream(columns)]), [0], "predictions")
        assert not isinstance(rows, Rejected)
        return rows

    read(0.0)
    first = read(1.0)
    kept = first.columns.pop("feature.x")
    several = [read(float(label)) for label in range(2, 8)]
    assert listed(kept) == ["1.0", "2.0"]
    assert [listed(rows.columns["prediction"]) for rows in (first, *several)] == [[repr(float(label))] * 2 for label in range(1, 8)]


def test_batches_of_the_sdk_are_read_by_compiled_code() -> None:
    event = {
        "model": "m",
        "version": "1",
        "ts": T0,
        "prediction": 1,
        "score": 0.5,
        "features": {"x": 1.5, "c": "a"},
        "segments": {"s": "eu"},
    }
    events = [json.dumps({"id": f"id{i}", **event}).encode() for i in range(20)]
    [(_, value)] = messages(events)
    assert {verdict[4] for verdict in said(chunk([value]), "predictions").values()} == {None}
    assert quick(chunk([value] * 3)) == 3


def test_a_batch_with_a_fault_is_left_to_pyarrow_and_its_neighbours_are_not() -> None:
    said(chunk([GOOD]), "predictions")
    bad = stream({**PLAIN, "ts": [T0, 5, T0]})
    of = chunk([GOOD, bad, GOOD])
    assert quick(of) == 2
    verdicts = {number: verdict[4] for number, verdict in said(of, "predictions").items()}
    assert {number: why.code if why else None for number, why in verdicts.items()} == {0: None, 1: "bad_timestamp", 2: None}


def test_texts_of_dictionaries_that_differ_are_put_together() -> None:
    said(chunk([GOOD]), "predictions")
    other = stream({**PLAIN, "feature.c": pa.array(["b", "c", None]).dictionary_encode()})
    of = chunk([GOOD, other])
    assert quick(of) == 2
    assert [own[3]["feature.c"][1:] for own in said(of, "predictions").values()] == [["a", None, "b"], ["b", "c", None]]


def coded(values: Sequence[bytes]) -> list[Coded]:
    """The column of texts of each stream, read by compiled code."""
    out = []
    for value in values:
        ((_, rows),) = arrow.read(chunk([value]), [0], "predictions")
        assert isinstance(rows, arrow.Rows)
        out.append(rows.columns["feature.c"])
    return out


def test_a_text_has_the_same_code_in_all_streams_of_a_form_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    said(chunk([GOOD]), "predictions")
    orders: list[Any] = [["a", "b", None], ["b", "a", "b"], ["c", None, "a"], ["a", "b", "c"]]
    values = [stream({**PLAIN, "feature.c": pa.array(each).dictionary_encode()}) for each in orders]
    columns = coded(values)
    assert [column.list() for column in columns] == orders
    assert [column.texts for column in columns] == [["a", "b"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]
    assert columns[2].texts is columns[3].texts
    monkeypatch.setattr("driftline.streams.kernels.batches.TEXTS", 4)
    again = coded(values)
    assert [column.list() for column in again] == orders
    assert again[0].texts == ["a", "b"]


def test_forms_are_forgotten_where_they_would_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.streams.forms.KEPT_BYTES", 30_000)
    values = [stream(PLAIN, model=f"m{i}") for i in range(30)]
    said(chunk(values), "predictions")
    forms = arrow._FORMS["predictions"]
    assert 0 < len(forms._of) < 10 and forms._size == sum(form.size for form in forms._of.values()) <= 30_000
    assert quick(chunk(values[-1:])) == 1


@pytest.mark.parametrize("column", [[[0.5]] * 3, pa.array([1, 2, 3], pa.uint64()), ["a", "b", "c"]], ids=["vectors", "uint64", "texts"])
def test_what_compiled_code_does_not_understand_has_no_form(column: Any) -> None:
    value = stream({**PLAIN, "feature.x": column})
    with pa.ipc.open_stream(value) as reader:
        assert form_of(value, reader.schema, "m", "1") is None
