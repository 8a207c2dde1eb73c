"""Batches of events: an Arrow IPC stream a message, one row an event, the fields of `schemas.events` as columns. Pure.

    model, version            in the metadata of the schema (version: predictions only)
    id, ts, prediction, …     columns; `ts` as integer milliseconds or as an Arrow time stamp
    feature.<name>            numbers, texts, booleans or lists of numbers; null, and NaN among numbers, is missing
    segment.<name>            texts
    score.<class>             probabilities by class

Rows are judged one by one: what is wrong with some of them leaves the others. All rows belong to the partition they were sent to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftline.schemas.config import Model
from driftline.schemas.errors import Rejected
from driftline.schemas.events import MAX_FEATURES, MAX_SEGMENTS, YEAR_2000_MS, YEAR_2100_MS, parse_time, text_of
from driftline.streams import chances, kernels
from driftline.streams.answers import SCORE_BINS, latency_bins
from driftline.streams.batch import Codes, Outcomes, Predictions, Topic, misfit
from driftline.streams.columns import UInt64, all_differ, constant, fingerprints, hash_stretches, joined, partitions_of, stirred
from driftline.streams.forms import Form, Forms, schema_of
from driftline.streams.ipc import inflated_bytes
from driftline.streams.join import Bool, Float64, Int64, OutcomeRows, PredictionRows
from driftline.streams.layout import Coded, numbers_in
from driftline.streams.segments import Cells
from driftline.streams.transport.chunk import Chunk, Headers
from driftline.streams.values import ColumnValues

if TYPE_CHECKING:
    from driftline.streams.kernels.batches import Gathered
    from driftline.streams.kernels.reader import Reader

CONTENT_TYPE = b"application/vnd.apache.arrow.stream"
MAX_ROWS = 100_000
INFLATION = 64  # times what it weighs on the wire a batch may take in memory; small ones may take 64 KiB
WIDTH = 4_096  # bytes of a row's text, on average, where many rows may show the same bytes
LARGEST = 1e150  # see `schemas.events.Number`
REMEMBERED = 1_000  # characters of a dictionary whose fingerprints are remembered
SHOWN = 20  # numbers of rows in a message
_FIELDS = {
    "predictions": ("id", "ts", "prediction", "score", "role", "latency_ms", "failed", "trace"),
    "outcomes": ("id", "ts", "label", "kind"),
}
_LISTED = {
    "role": ("champion", "challenger", "shadow", "canary"),
    "kind": ("final", "provisional", "correction", "retraction"),
}
_FORMS = {topic: Forms() for topic in _FIELDS}
Column = Any  # float64 with NaN for what is absent, `Coded`, or a list of values


def is_batch(headers: Headers) -> bool:
    """Whether a record says that it is a batch."""
    return any(name.lower() == "content-type" and value == CONTENT_TYPE for name, value in headers)


class _Refused(Exception):
    """The whole message cannot be used."""

    def __init__(self, code: str, message: str) -> None:
        self.why = Rejected(code, message)


@dataclass(frozen=True, slots=True)
class Ids:
    """A column of texts as they lie in memory: row i is from `start[i]` to `end[i]` of `data`."""

    data: Any
    start: Int64
    end: Int64


@dataclass(slots=True)
class Rows:
    """Columns of batches that are alike, one after another, and what is wrong with which of their rows.

    `index` has the number of the record of each row. `prints`: fingerprints of the rows, and `said`: their answers as categories, where
    these are known already.
    """

    model: str
    version: str
    index: Int64
    unknown: str | None
    bad: Bool
    columns: dict[str, Column] = field(default_factory=dict)
    wrong: list[tuple[Rejected, Int64]] = field(default_factory=list)
    prints: UInt64 | None = None
    said: Coded | None = None

    @property
    def n(self) -> int:
        return len(self.index)

    def refuse(self, rows: Bool, code: str, message: str) -> None:
        """Say of these rows (a mask) what is wrong, unless something has been said already."""
        new = np.flatnonzero(rows & ~self.bad) if rows.any() else ()
        if len(new):
            self.bad[new] = True
            self.wrong.append((Rejected(code, message), np.asarray(new)))

    def verdicts(self) -> dict[int, Rejected]:
        """By record what is wrong with its batch, as one dead letter: the code of the first fault, and the rows of each."""
        out = dict[int, Rejected]()
        if not self.wrong:
            return out
        for index in np.unique(self.index[self.bad]).tolist():
            own = np.flatnonzero(self.index == index)
            told = [(why, rows[self.index[rows] == index] - own[0]) for why, rows in self.wrong]
            told = [(why, rows) for why, rows in told if len(rows)]
            parts = [f"rows {_listed(rows)}: {why.code}: {why.message[:200]}" for why, rows in told]
            n, bad = len(own), int(self.bad[own].sum())
            message = f"of {n} rows {bad} cannot be used; {'; '.join(parts)}"
            out[index] = Rejected(told[0][0].code, message[:1_000])
        return out


def _listed(rows: Int64) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return ", ".join(map(str, rows[:SHOWN].tolist())) + more


_UNREADABLE = (pa.ArrowException, OSError, MemoryError, ValueError, TypeError, OverflowError)


def read(chunk: Chunk, numbers: Sequence[int], topic: Topic) -> Iterator[tuple[list[int], Rows | Rejected]]:
    """Batches, the records of these numbers, judged as far as no configuration is needed. Those that are alike come together.

    Either their columns come, or why none of it can be used.

    >>> batch = pa.record_batch({"id": ["a", ""], "ts": [1_732_170_000_000] * 2, "label": [1, 0]})
    >>> batch = batch.replace_schema_metadata({"model": "m"})
    >>> sink = pa.BufferOutputStream()
    >>> with pa.ipc.new_stream(sink, batch.schema) as writer:
    ...     writer.write_batch(batch)
    >>> from driftline.streams.transport.chunk import chunk_of
    >>> records = [(offset, 0, None, sink.getvalue().to_pybytes(), ()) for offset in range(2)]
    >>> [(numbers, rows)] = read(chunk_of("t", 0, 0, 2, records), [0, 1], "outcomes")
    >>> numbers, rows.n, rows.verdicts()[1].code
    ([0, 1], 4, 'out_of_bounds')
    """
    left = numbers
    if reader := kernels.current():
        formed, rest = _FORMS[topic].parted(chunk, numbers)
        for form, own in formed:
            gathered = _gathered(reader, form, chunk, own)
            if gathered is not None:
                rows = _formed(form, gathered, own, chunk, topic)
                yield [own[i] for i in gathered.kept.tolist()], rows
            if gathered is None or len(gathered.kept) < len(own):
                rest += own if gathered is None else np.delete(own, gathered.kept).tolist()
        left = sorted(rest)
    alike: dict[bytes, list[tuple[int, Any]]] = {}
    for number in left:
        value = chunk.value(number) or b""
        try:
            table = _opened(value)
            alike.setdefault(table.schema.serialize().to_pybytes(), []).append((number, table))
        except _Refused as refused:
            yield [number], refused.why
        except _UNREADABLE as error:
            yield [number], Rejected("malformed", f"not an Arrow IPC stream: {error}"[:300])
    for tables in alike.values():
        for own, found in _read_alike(tables, topic):
            if reader and isinstance(found, Rows) and found.unknown is None:
                _learn(chunk, own, tables[0][1].schema, found, topic)
            yield own, found


def _learn(chunk: Chunk, numbers: Sequence[int], schema: pa.Schema, rows: Rows, topic: Topic) -> None:
    """The forms of streams that pyarrow had to read, of each schema the first one's."""
    data, starts, ends = memoryview(chunk.data), chunk.value_start.tolist(), chunk.value_end.tolist()
    each = [data[starts[number] : ends[number]] for number in reversed(numbers)]
    for stream in {schema_of(stream): stream for stream in each}.values():
        _FORMS[topic].learn(stream, schema, rows.model, rows.version)


def _gathered(reader: Reader, form: Form, chunk: Chunk, numbers: Sequence[int]) -> Gathered | None:
    own = np.array(numbers)
    return reader.read_batches(form, chunk.data, chunk.value_start[own], chunk.value_end[own], MAX_ROWS, _prints_of_any)


def _formed(form: Form, gathered: Gathered, numbers: Sequence[int], chunk: Chunk, topic: Topic) -> Rows:
    """Columns that compiled code has read, judged as others are; it leaves rows to pyarrow that their type alone makes bad."""
    index = np.repeat(np.array(numbers)[gathered.kept], np.diff(gathered.first))
    rows = Rows(form.model, form.version, index, None, np.zeros(len(index), bool), gathered.columns, prints=gathered.prints)
    for name, column in gathered.columns.items():
        if isinstance(column, Coded) and not column.bools:
            _judge_texts(rows, name, column)
    rows.columns["id"] = Ids(chunk.data, gathered.start, gathered.end)
    _judge_rows(rows, topic)
    return rows


def _read_alike(tables: list[tuple[int, Any]], topic: Topic) -> Iterator[tuple[list[int], Rows | Rejected]]:
    numbers = [number for number, _ in tables]
    try:
        yield numbers, _judged(tables, topic)
    except _Refused as refused:
        yield numbers, refused.why
    except _UNREADABLE as error:
        if len(tables) == 1:
            yield numbers, Rejected("malformed", f"not an Arrow IPC stream: {error}"[:300])
        else:  # one of them, perhaps
            for each in tables:
                yield from _read_alike([each], topic)


def _opened(value: bytes) -> pa.Table:
    _hold_size(inflated_bytes(value), INFLATION * len(value) + 2**16)
    with pa.ipc.open_stream(value) as stream:
        batches, n = [], 0
        for batch in stream:
            n += batch.num_rows
            if n > MAX_ROWS:
                raise _Refused("out_of_bounds", f"a batch has at most {MAX_ROWS} rows")
            batch.validate(full=True)
            batches.append(batch)
        table = pa.Table.from_batches(batches, stream.schema)
    names = table.column_names
    if len(set(names)) < len(names):
        raise _Refused("malformed", "two columns have the same name")
    return table


def _hold_size(size: int, most: int) -> None:
    if size > most:
        raise _Refused("out_of_bounds", f"{size} bytes when decompressed; a batch like this may have {most}")


def _judged(tables: list[tuple[int, Any]], topic: Topic) -> Rows:
    table = pa.concat_tables([table for _, table in tables])
    metadata = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
    names = ("model", "version") if topic == "predictions" else ("model",)
    for name in names:
        if not 0 < len(metadata.get(name, "")) <= 200:
            raise _Refused("missing_field", f"the metadata of the schema lacks `{name}`, a text of at most 200 characters")
        if _has_control(metadata[name]):
            raise _Refused("bad_name", f"{metadata[name][:60]!r} has a control character in it")
    required = ("id", "ts", "prediction") if topic == "predictions" else ("id", "ts")
    for name in required:
        if name not in table.column_names:
            raise _Refused("missing_field", f"there is no column `{name}`")
    unknown, arrays = None, {}
    prefixes = ("feature.", "segment.", "score.") if topic == "predictions" else ()
    for name in table.column_names:
        if name in _FIELDS[topic] or name.startswith(prefixes):
            arrays[name] = _array(table.column(name))
        else:
            unknown = unknown or name
    lengths = np.array([each.num_rows for _, each in tables])
    index = np.repeat([number for number, _ in tables], lengths)
    rows = Rows(metadata["model"], metadata.get("version", ""), index, unknown, np.zeros(len(index), bool))
    _judge_names(arrays)
    for name, array in arrays.items():
        rows.columns[name] = _column(rows, name, array)
    _judge_rows(rows, topic)
    return rows


def _array(column: Any) -> Any:
    if pa.types.is_string_view(column.type):
        views = (np.frombuffer(chunk.buffers()[1], np.int32)[::4] for chunk in column.chunks if len(chunk))
        _hold_size(sum(int(lengths.clip(0).sum(dtype=np.int64)) for lengths in views), WIDTH * len(column))
    column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _judge_names(names: Iterable[str]) -> None:
    own = [name.partition(".") for name in names]
    features, segments = (sum(kind == wanted for kind, _, _ in own) for wanted in ("feature", "segment"))
    if features > MAX_FEATURES:
        raise _Refused("too_many_features", f"{features} features; at most {MAX_FEATURES}")
    if segments > MAX_SEGMENTS:
        raise _Refused("out_of_bounds", f"{segments} segments; at most {MAX_SEGMENTS}")
    for kind, dot, name in own:
        if dot and not 0 < len(name) <= (4_096 if kind == "score" else 200):
            raise _Refused("out_of_bounds", f"the name after `{kind}.` is empty or too long")
        if _has_control(name):
            raise _Refused("bad_name", f"{name[:60]!r} has a control character in it")


_CONTROL, _NUL = re.compile(r"[\x00-\x1f\x7f]"), re.compile(r"\0")


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


_TEXTS, _NUMBERS = ("role", "kind", "trace", "id"), ("score", "latency_ms")


def _column(rows: Rows, name: str, array: Any) -> Column:
    """A column's values; rows that cannot be used are told."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        array = array if _is_text(kind) and name != "id" else _spread(array)
    is_text = _is_text(kind)
    wants_text = name in _TEXTS or name.startswith("segment.")
    wants_number = name in _NUMBERS or name.startswith("score.")
    if name == "ts":
        return _times(rows, array)
    if pa.types.is_null(kind):
        return np.full(rows.n, np.nan)
    if is_text and not wants_number and name != "failed":
        return _ids(rows, array) if name == "id" else _texts(rows, name, array)
    if pa.types.is_boolean(kind) and not wants_text and not wants_number:
        index = pc.fill_null(array.cast(pa.int8()), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return Coded(["false", "true"], index, bools=True)
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not wants_text and name != "failed":
        doubles = array if pa.types.is_float64(kind) else array.cast(pa.float64(), safe=False)
        numbers: Float64 = doubles.to_numpy(zero_copy_only=False)  # where they lie, if none is null
        infinite = np.isinf(numbers)
        if infinite.any():
            rows.refuse(infinite, "non_finite", f"a number in `{name}` is infinite")
        return numbers
    if name.startswith("feature.") and _is_vector(kind):
        return array.to_pylist()
    raise _Refused("wrong_type", f"column `{name}` has the type {kind}"[:300])


def _spread(array: Any) -> Any:
    """A dictionary's values, row by row: a long one may stand in every row."""
    values = array.dictionary
    if _is_text(values.type) or _is_vector(values.type):
        length = pc.binary_length(values) if _is_text(values.type) else pc.multiply(pc.list_value_length(values), 8)
        _hold_size(pc.sum(length.take(array.indices).cast(pa.int64())).as_py() or 0, WIDTH * len(array))
    return array.dictionary_decode()


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_vector(kind: Any) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list:
        return False
    item = kind.value_type
    return bool(pa.types.is_floating(item) or pa.types.is_integer(item) or pa.types.is_null(item))


def _times(rows: Rows, array: Any) -> Int64:
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("ms", array.type.tz), safe=False).cast(pa.int64())
    elif not pa.types.is_integer(array.type):
        raise _Refused("wrong_type", f"column `ts` has the type {array.type}; give integer milliseconds, or time stamps")
    if array.null_count:
        rows.refuse(pc.is_null(array).to_numpy(zero_copy_only=False), "missing_field", "there is no `ts`")
        array = pc.fill_null(array, YEAR_2000_MS)
    ts: Int64 = array.cast(pa.int64()).to_numpy(zero_copy_only=False)
    if ts.min(initial=YEAR_2000_MS) < YEAR_2000_MS or ts.max(initial=0) >= YEAR_2100_MS:
        outside = (ts < YEAR_2000_MS) | (ts >= YEAR_2100_MS)
        why = parse_time(int(ts[outside][0]))
        rows.refuse(outside, "bad_timestamp", why.message if isinstance(why, Rejected) else "")
    return ts


def _ids(rows: Rows, array: Any) -> Ids:
    array = array.cast(pa.large_string())
    _, places, data = array.buffers()
    edges = np.frombuffer(places, np.int64, len(array) + 1, 8 * array.offset) if len(array) else np.zeros(1, np.int64)
    data = data if data is not None and data.size else b"\0"
    start, end, told = edges[:-1], edges[1:], np.frombuffer(data, np.uint8)
    null: Bool = pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else np.zeros(len(array), bool)
    rows.refuse(null, "missing_field", "there is no `id`")
    lengths = end - start
    if not lengths.all():
        rows.refuse(lengths == 0, "out_of_bounds", "an id is empty")
    if lengths.max(initial=0) > 256:
        rows.refuse((pc.fill_null(pc.utf8_length(array), 0).to_numpy(zero_copy_only=False) > 256), "out_of_bounds", "an id is too long")
    if ((told < 32) | (told == 127)).any():
        broken = [text is not None and _has_control(text) for text in array.to_pylist()]
        rows.refuse(np.array(broken, bool), "bad_name", "an id has a control character in it")
    return Ids(data, start, end)


def _texts(rows: Rows, name: str, array: Any) -> Coded:
    coded = array if pa.types.is_dictionary(array.type) else array.cast(pa.string()).dictionary_encode()
    texts = coded.dictionary.to_pylist()
    index = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    if None in texts:  # a dictionary may have null as a value
        index[index == texts.index(None)] = -1
        texts = ["" if text is None else text for text in texts]
    column = Coded(texts, index)
    _judge_texts(rows, name, column)
    return column


def _judge_texts(rows: Rows, name: str, column: Coded) -> None:
    texts, most, category = column.texts, 4_096, name.startswith("feature.")
    if max(map(len, texts), default=0) > most:
        rows.refuse(column.mask(lambda text: len(text) > most), "out_of_bounds", f"a text in `{name}` is longer than {most} characters")
    if name in _LISTED:
        rows.refuse(column.mask(lambda text: text not in _LISTED[name]), "unknown_field_value", f"`{name}` is none of {_LISTED[name]}")
    broken = _NUL if category else _CONTROL
    if name != "trace" and broken.search("".join(texts)):
        rows.refuse(column.mask(lambda text: bool(broken.search(text))), "bad_name", f"a text in `{name}` has a control character in it")


def _judge_rows(rows: Rows, topic: Topic) -> None:
    columns, n = rows.columns, rows.n
    if not isinstance(columns["id"], Ids):
        raise _Refused("wrong_type", "column `id` is not a text")
    answer = columns.get("prediction" if topic == "predictions" else "label")
    if not _all_within(answer, -LARGEST, LARGEST):
        absent = _absent(answer, n)
        if topic == "predictions":
            rows.refuse(absent, "wrong_type", "the prediction is null")
        else:
            rows.refuse(absent & ~_retracted(rows), "missing_field", "an outcome needs `label`, unless its kind is retraction")
        if isinstance(answer, np.ndarray):
            with np.errstate(invalid="ignore"):
                rows.refuse(np.abs(answer) > LARGEST, "out_of_bounds", "a prediction or label beyond ±1e150")
    score = columns.get("score")
    if score is not None and not _all_within(score, 0, 1):
        with np.errstate(invalid="ignore"):
            rows.refuse((score < 0) | (score > 1), "bad_probability", "a score is outside [0, 1]")
    shares = [column for name, column in columns.items() if name.startswith("score.")]
    if shares:
        table = np.stack(shares)
        told = ~np.isnan(table).all(0)
        with np.errstate(invalid="ignore"):
            wrong = (table < 0).any(0) | (np.abs(np.nansum(table, 0) - 1) > 1e-6)
        rows.refuse(told & wrong, "bad_probability", "scores must not be negative and must sum to 1 within 1e-6")


def _all_within(column: Column | None, least: float, most: float) -> bool:
    """Whether it has numbers, none is absent, and none lies outside."""
    return isinstance(column, np.ndarray) and bool(column.min(initial=most) >= least and column.max(initial=least) <= most)


def _absent(column: Column | None, n: int) -> Bool:
    if column is None:
        return np.ones(n, bool)
    absent: Bool = column.code < 0 if isinstance(column, Coded) else np.isnan(column)
    return absent


def _retracted(rows: Rows) -> Bool:
    kind = rows.columns.get("kind")
    return kind.mask(lambda text: text == "retraction") if isinstance(kind, Coded) else np.zeros(rows.n, bool)


def predictions(rows: Rows, model: Model, chunk: Chunk, partitions: int | None) -> Predictions:
    """The usable rows of batches in a chunk; the others are told in `rows`."""
    classes = Codes()
    hashes = _own_hashes(rows, model, chunk, partitions)
    answers = _fitting(rows, "prediction", model, classes)
    if chances.kept(model):
        answers, classes = _with_chances(rows, answers, classes)
    use, n = _usable(rows)
    segments, names = _segments(rows, model)
    latency = rows.columns.get("latency_ms")
    failed = rows.columns.get("failed")
    failures = (failed.code == 1).astype(np.int64) if isinstance(failed, Coded) else constant(0, rows.n)
    columns = PredictionRows(
        offset=chunk.offset[rows.index[use]], ts=rows.columns["ts"][use], id_hash=hashes[use],
        version=np.zeros(n, np.int64), predicted=answers[use], bin=_score_bins(_scores(rows, model)[use]), segments=segments[use],
        fingerprint=_fingerprints(rows)[use],
    )  # fmt: skip
    features = {name.partition(".")[2]: column for name, column in rows.columns.items() if name.startswith("feature.")}
    values = ColumnValues(
        features, rows.columns["prediction"], rows.columns.get("score"), None if isinstance(use, slice) else use, rows.said
    )
    return Predictions(
        rows.model, rows.index[use], columns, [rows.version], classes.names, names,
        constant(-1, n) if latency is None else latency_bins(latency)[use], failures[use], values,
    )  # fmt: skip


def outcomes(rows: Rows, model: Model, chunk: Chunk, partitions: int | None) -> Outcomes:
    """The usable rows of batches in a chunk; the others are told in `rows`."""
    if not model.labels:
        why = f"the file of model {model.model!r} says `labels = false`, so its outcomes are not used"
        rows.refuse(~rows.bad, "task_mismatch", why)
    classes = Codes()
    hashes = _own_hashes(rows, model, chunk, partitions)
    labels = _fitting(rows, "label", model, classes)
    labels[_retracted(rows)] = np.nan
    rows.refuse(_again(hashes, rows.index), "duplicate_conflict", "an id comes once in a batch of outcomes; the first one counts")
    use, _ = _usable(rows)
    columns = OutcomeRows(chunk.offset[rows.index[use]], rows.columns["ts"][use], hashes[use], labels[use])
    return Outcomes(rows.model, rows.index[use], columns, classes.names)


def _usable(rows: Rows) -> tuple[slice | Int64, int]:
    """Which rows can be used, mostly all, and how many."""
    if not rows.wrong:
        return slice(None), rows.n
    use = np.flatnonzero(~rows.bad)
    return use, len(use)


def _again(hashes: UInt64, index: Int64) -> Bool:
    """Which rows have an id that an earlier row of their batch has."""
    again = np.zeros(len(hashes), bool)
    if not all_differ(hashes):
        order = np.lexsort((np.arange(len(hashes)), hashes, index))
        again[order[1:]] = (np.diff(hashes[order]) == 0) & (np.diff(index[order]) == 0)
    return again


def _own_hashes(rows: Rows, model: Model, chunk: Chunk, partitions: int | None) -> UInt64:
    """Of the ids; rows that do not fit the time or the partition are told."""
    ts, ids, reader = rows.columns["ts"], rows.columns["id"], kernels.current()
    if ts.max(initial=0) > chunk.timestamp.min(initial=YEAR_2100_MS) + model.skew_ms:
        rows.refuse(ts > chunk.timestamp[rows.index] + model.skew_ms, "future", "an event time lies after the record's Kafka time stamp")
    if partitions is not None:
        if reader and (hashes := reader.hashes_of_own(ids.data, ids.start, ids.end, partitions, chunk.partition)) is not None:
            return hashes
        elsewhere = partitions_of(ids.data, ids.start, ids.end) % partitions != chunk.partition
        rows.refuse(elsewhere, "wrong_partition", f"an id belongs to another partition than {chunk.partition}, by Kafka's murmur2")
    return hash_stretches(ids.data, ids.start, ids.end)


def _fitting(rows: Rows, name: str, model: Model, classes: Codes) -> Float64:
    """The answers as a column holds them; rows that do not fit the model are told."""
    column = rows.columns.get(name)
    if column is None or (isinstance(column, np.ndarray) and model.task == "regression"):
        return np.full(rows.n, np.nan) if column is None else column.copy()
    reader = kernels.current()
    if isinstance(column, np.ndarray):
        if reader and not rows.wrong and (known := reader.known_small(column)) and not any(misfit(number, model) for number in known):
            names = [*map(text_of, known)]
            rows.said = Coded(names, reader.recoded_small(column, known, np.arange(len(known))))
            found: Float64 = classes.of(names).astype(np.float64)[rows.said.code]
            return found
        texts: list[Any]
        texts, place = numbers_in(column)
    else:
        texts, place = column.texts, column.code
    faults = [misfit(text, model) for text in texts]
    for fault in {(fault.code, fault.message): fault for fault in faults if fault}.values():
        unfit = np.array([other == fault for other in faults], bool)
        rows.refuse((place >= 0) & np.append(unfit, False)[place], fault.code, fault.message)
    answers = np.full(rows.n, np.nan)
    use = slice(None) if not rows.wrong and place.min(initial=0) >= 0 else np.flatnonzero(~rows.bad & (place >= 0))
    own = place[use]
    if len(own) and model.task != "regression":
        used = np.flatnonzero(np.bincount(own, minlength=len(texts)))
        codes = np.zeros(len(texts))
        codes[used] = classes.of(text_of(texts[i]) for i in used.tolist())
        answers[use] = codes[own]
    return answers


def _score_bins(score: Float64) -> Int64:
    if reader := kernels.current():
        return reader.score_bins(score, SCORE_BINS)
    with np.errstate(invalid="ignore"):
        bins = np.minimum(score * SCORE_BINS, SCORE_BINS - 1).astype(np.int64)
    bins[np.isnan(score)] = -1
    return bins


def _scores(rows: Rows, model: Model) -> Float64:
    """See `intake`: of the positive class, or, of several classes, of the one that is predicted."""
    told = rows.columns.get("score")
    score: Float64 = np.full(rows.n, np.nan) if told is None else told
    if any(name.startswith("score.") for name in rows.columns):
        score = score.copy()
    for name, column in rows.columns.items():
        if name.startswith("score."):
            own = name.partition(".")[2]
            mine = ~np.isnan(column) & (_is_answer(rows, own) if model.task == "multiclass" else own == model.positive)
            score[mine] = np.minimum(column[mine], 1.0)
    return score


def _with_chances(rows: Rows, answers: Float64, classes: Codes) -> tuple[Float64, Codes]:
    """Codes that stand for a class and the probabilities of all (see `chances`)."""
    told = {name.partition(".")[2]: column.tolist() for name, column in rows.columns.items() if name.startswith("score.")}
    out, made = answers.copy(), Codes()
    for i in np.flatnonzero(~np.isnan(answers)).tolist():
        scores = {name: column[i] for name, column in told.items() if not math.isnan(column[i])}
        out[i] = made[chances.said(classes.names[int(answers[i])], scores)]
    return out, made


def _is_answer(rows: Rows, name: str) -> Bool:
    answer = rows.columns["prediction"]
    if isinstance(answer, Coded):
        return answer.mask(lambda text: text == name)
    return np.array([not np.isnan(number) and text_of(number) == name for number in answer.tolist()], bool)


def _segments(rows: Rows, model: Model) -> tuple[Int64, list[tuple[str, ...]]]:
    codes, cells = Codes(), Cells(model)
    told = [(name, rows.columns.get(f"segment.{name}")) for name in cells.names]
    groups = [(name, column.list(None)) for name, column in told if isinstance(column, Coded)]
    if not groups:
        return np.zeros(rows.n, np.int64), [()]
    each = zip(*(values for _, values in groups), strict=True)
    names = [name for name, _ in groups]
    place = codes.of(cells.of({name: text for name, text in zip(names, row, strict=True) if text is not None}) for row in each)
    return place, codes.names


def _fingerprints(rows: Rows) -> UInt64:
    """By which copies of a row are known, whatever batch they come in."""
    if rows.prints is not None:
        return rows.prints
    names = tuple(name for name in rows.columns if name != "id")
    reader, total = kernels.current(), np.zeros(rows.n, np.uint64)
    for name, own in zip(names, _prints_of(names).tolist(), strict=True):
        column = rows.columns[name]
        if reader is None:
            words = _words(column)
            total += stirred(words + np.uint64(own)) * (words != 0)
        elif isinstance(column, Coded):
            reader.add_column(total, own, column.code, _prints_of_texts(column))
        else:
            reader.add_column(total, own, column if isinstance(column, np.ndarray) and column.dtype == np.float64 else _words(column))
    return total


def _prints_of_texts(column: Coded) -> UInt64:
    return np.append(_prints_of_any(tuple(column.texts)), np.uint64(0))


def _prints_of_any(texts: tuple[str, ...]) -> UInt64:
    return _prints_of(texts) if sum(map(len, texts)) <= REMEMBERED else _text_prints(texts)


def _words(column: Column) -> UInt64:
    """A word for what each row says; 0 where it says nothing."""
    if isinstance(column, Coded):
        return _prints_of_texts(column)[column.code]
    if not isinstance(column, np.ndarray):
        return np.where([value is None for value in column], np.uint64(0), _text_prints([repr(value) for value in column]))
    if column.dtype != np.float64:
        return column.astype(np.uint64)
    return np.where(np.isnan(column), np.uint64(0), (column + 0.0).view(np.uint64) + np.uint64(1))


@lru_cache(maxsize=4_096)
def _prints_of(names: tuple[str, ...]) -> UInt64:
    return _text_prints(names)


def _text_prints(texts: Sequence[str]) -> UInt64:
    return fingerprints(*joined(texts)) if texts else np.empty(0, np.uint64)
