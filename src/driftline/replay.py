"""A file of predictions and labels as the stream of events that a service would have published: the mapping, and the events.

row  ──► prediction at its time ──────────────┐
     ──► outcome at its time + label delay ───┴─► merged in order of time
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftline.local import Record
from driftline.schemas.config import Delay, Length, Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.load import Source, model_from, read_toml
from driftline.schemas.reference import Reference
from driftline.streams.profile import class_names, reference_from_frame

Unit = Literal["ns", "us", "ms", "s", "m", "h", "d"]
Int64 = NDArray[np.int64]

_UNIT_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
_BLOCK_ROWS = 10_000
NO_TIME = -(2**63)


class Time(msgspec.Struct, frozen=True):
    """When a row happened: what a column says, or `start` + row number · `step`.

    A column holds times, numbers since the epoch in `unit`, or text: RFC 3339, or by `format`; `zone` is that of times that name none.
    """

    column: str | None = None
    unit: Unit | None = None
    format: str | None = None
    zone: str = "UTC"
    start: str | None = None
    step_ms: Length | None = None


class DelayColumn(msgspec.Struct, frozen=True):
    """How long after its prediction a label came: a column of numbers."""

    column: str
    unit: Unit


class Mapping(msgspec.Struct, frozen=True):
    """What a mapping file says; names are columns of the data file. A field that ends in `_ms` is written without it: `step = "30m"`.

    `model` is the model's name, or a table with the keys of a model's own file.
    """

    model: str | dict[str, Any]
    prediction: str
    time: Time
    version: str = "1"
    version_column: str | None = None  # instead of one version for all rows
    id: str | None = None  # left out: the row's number in the file, from 0
    score: str | None = None
    label: str | None = None
    label_delay_ms: Delay = 0
    label_delay_column: DelayColumn | None = None  # instead of one delay
    label_time: Time | None = None  # instead of a delay
    features: list[str] | Literal["rest"] = "rest"
    exclude: list[str] = []  # left out of "rest"
    segments: list[str] = []
    reference: str | None = None  # a data file with the same columns, beside the mapping
    reference_rows: int = 0  # the first rows are the reference and are not replayed


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything that a replay needs.

    Attributes
    ----------
    references
        One for each version; none where the mapping names no rows for it, and the first windows are to become the reference.
    rows
        The rows to publish, indexed by their number in the file.
    predicted, labelled
        int64, shape (rows,): milliseconds since the epoch. `labelled` is `NO_TIME` where a row has none.
    """

    mapping: Mapping
    model: Model
    references: list[Reference]
    rows: pd.DataFrame
    features: list[str]
    predicted: Int64
    labelled: Int64

    @property
    def events(self) -> int:
        """How many records `records` gives."""
        return len(self.rows) + int((self.labelled != NO_TIME).sum())

    def records(self) -> Iterator[Record]:
        """Every event once, in order of time; at one time predictions come before outcomes, and rows as in the file."""
        with_label = np.flatnonzero(self.labelled != NO_TIME)
        times = np.concatenate([self.predicted, self.labelled[with_label]])
        row = np.concatenate([np.arange(len(self.rows)), with_label])
        order = np.argsort(times, kind="stable")
        for begin in range(0, len(order), _BLOCK_ROWS):
            part = order[begin : begin + _BLOCK_ROWS]
            is_prediction = part < len(self.rows)
            predictions = self._predictions(row[part[is_prediction]])
            outcomes = self._outcomes(row[part[~is_prediction]])
            for prediction_comes in is_prediction.tolist():
                yield next(predictions) if prediction_comes else next(outcomes)

    def _predictions(self, row: Int64) -> Iterator[Record]:
        m, part = self.mapping, self.rows.iloc[row]
        versions = _texts(part[m.version_column]) if m.version_column else [m.version] * len(part)
        scores = _plain(part[m.score]) if m.score else [None] * len(part)
        features, segments = _rows(part, self.features, _plain), _rows(part, m.segments, _texts)
        columns = zip(
            self._ids(part), versions, self.predicted[row].tolist(), _plain(part[m.prediction]), scores, features, segments, strict=True
        )
        for id, version, ts, prediction, score, values, named in columns:
            event: dict[str, Any] = {"id": id, "model": self.model.model, "version": version, "ts": ts}
            event |= {"features": values, "prediction": prediction}
            if score is not None:
                event["score"] = score
            if named:
                event["segments"] = {name: text for name, text in named.items() if text is not None}
            yield Record("predictions", id.encode(), msgspec.json.encode(event))

    def _outcomes(self, row: Int64) -> Iterator[Record]:
        part = self.rows.iloc[row]
        labels = _plain(part[self.mapping.label]) if self.mapping.label else []
        for id, ts, label in zip(self._ids(part), self.labelled[row].tolist(), labels, strict=True):
            event = {"id": id, "model": self.model.model, "ts": ts, "label": label}
            yield Record("outcomes", id.encode(), msgspec.json.encode(event))

    def _ids(self, part: pd.DataFrame) -> list[str]:
        return [str(name) for name in (part.index if self.mapping.id is None else _texts(part[self.mapping.id]))]


def open_replay(data: Path, mapping_file: Path) -> Replay:
    """Read both files and check that they fit.

    Raises
    ------
    ConfigurationError
        The mapping is wrong, or names what the data do not have; with its line.
    DriftlineError
        A file cannot be read, or holds values that no time or profile can be made of.
    """
    source = read_toml(mapping_file)
    mapping = source.struct(Mapping)
    model = Model(mapping.model) if isinstance(mapping.model, str) else model_from(source, ("model",))
    table = read_table(data)
    _check(source, mapping, table, data.name)
    rest = [str(name) for name in table.columns if name not in _own_columns(mapping) and name not in mapping.exclude]
    features = rest if mapping.features == "rest" else list(mapping.features)
    predicted = _times(source, ("time",), mapping.time, table)
    if (predicted == NO_TIME).any():
        row = int(np.argmax(predicted == NO_TIME))
        raise source.error(
            ("time", "column"), f"row {row} of {data.name} has no time", "drop such rows from the data, or name another column"
        )
    labelled = _label_times(source, mapping, table, predicted)
    replayed = slice(mapping.reference_rows, None)
    references = _references(mapping, model, mapping_file, table, features)
    return Replay(mapping, model, references, table[replayed], features, predicted[replayed], labelled[replayed])


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as a table, its rows numbered from 0."""
    try:
        table = pd.read_parquet(path) if path.suffix in {".parquet", ".pq"} else pd.read_csv(path)
    except FileNotFoundError:
        raise DriftlineError("no_file", f"there is no file {path}", "give the path of a CSV or Parquet file") from None
    except (ValueError, OSError) as error:
        fix = "give a CSV file with a header line, or a Parquet file named *.parquet"
        raise DriftlineError("unreadable_file", f"{path} cannot be read: {error}", fix) from error
    return table.reset_index(drop=True)


def _own_columns(m: Mapping) -> dict[str, tuple[str, ...]]:
    """Columns that the mapping uses for something else than features → the key that names them."""
    named = {
        ("id",): m.id, ("prediction",): m.prediction, ("score",): m.score, ("label",): m.label,
        ("version_column",): m.version_column, ("time", "column"): m.time.column,
        ("label_delay_column", "column"): m.label_delay_column and m.label_delay_column.column,
        ("label_time", "column"): m.label_time and m.label_time.column,
    }  # fmt: skip
    return {column: key for key, column in named.items() if column} | dict.fromkeys(m.segments, ("segments",))


def _check(source: Source, m: Mapping, table: pd.DataFrame, data: str) -> None:
    """Refuse names and rows that the data do not have, and keys that contradict each other."""
    have = [str(name) for name in table.columns]
    listed = m.features if isinstance(m.features, list) else []
    for column, key in (_own_columns(m) | dict.fromkeys(listed, ("features",)) | dict.fromkeys(m.exclude, ("exclude",))).items():
        if column not in have:
            near = difflib.get_close_matches(column, have, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(have[:30])}"
            raise source.error(key, f"{data} has no column {column!r}", fix)
    if not 0 <= m.reference_rows < len(table):
        raise source.error(("reference_rows",), f"{data} has {len(table)} rows", "leave rows to replay")
    if m.reference and m.reference_rows:
        raise source.error(("reference",), "both a reference file and reference rows are given", "keep one of them")
    delays = [name for name in ("label_delay", "label_delay_column", "label_time") if name in source.content]
    if len(delays) > 1:
        raise source.error((delays[1],), f"{' and '.join(delays)} are both given", "keep one of them")
    if delays and m.label is None:
        raise source.error((delays[0],), "the time of labels is given, but no label", 'add label = "…", the column of labels')


def _times(source: Source, at: tuple[str, ...], time: Time, table: pd.DataFrame) -> Int64:
    """Milliseconds since the epoch of every row; `NO_TIME` where there is none."""
    steps = time.start is not None and time.step_ms is not None
    if steps == (time.column is not None):
        raise source.error(at, "a time is a column, or a start and a step", 'write { column = "…" } or { start = "…", step = "30m" }')
    if time.column is None:
        begin = _to_utc(source, (*at, "start"), pd.Series([time.start]), time)
        return begin + np.arange(len(table), dtype=np.int64) * (time.step_ms or 0)
    column = table[time.column]
    if not pd.api.types.is_numeric_dtype(column):
        return _to_utc(source, (*at, "column"), column, time)
    if time.unit is None:
        raise source.error((*at, "column"), f"column {time.column!r} holds numbers", 'say their unit: { column = "…", unit = "ms" }')
    return _milliseconds(column, time.unit)


def _to_utc(source: Source, at: tuple[str, ...], column: pd.Series[Any], time: Time) -> Int64:
    with_offset = "%z" in time.format if time.format else _names_offset(column)
    try:
        moments = pd.to_datetime(column, format=time.format or "ISO8601", utc=with_offset)
        moments = moments if moments.dt.tz is not None else moments.dt.tz_localize(time.zone)
    except (ValueError, TypeError, KeyError) as error:
        raise source.error(at, str(error), 'write RFC 3339, or give the format and zone: format = "%d/%m/%Y %H:%M"') from None
    whole = moments.dt.tz_convert("UTC").dt.as_unit("ms").astype("int64").where(moments.notna(), NO_TIME)
    return np.asarray(whole, dtype=np.int64)


def _names_offset(column: pd.Series[Any]) -> bool:
    """Whether the first text ends in an offset or Z. Texts with different offsets can be read as UTC only."""
    first = column.dropna().astype(str).head(1)
    return bool(first.str.contains(r"[tT ]\d.*(?:[zZ]|[+-]\d\d(?::?\d\d)?)$").any())


def _milliseconds(column: pd.Series[Any], unit: Unit) -> Int64:
    """Numbers in a unit as whole milliseconds; whole numbers exactly."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_integer_dtype(column):
        whole: Int64 = column.fillna(0).to_numpy(np.int64)
        scaled: Int64 = whole * (_UNIT_NS[unit] // 10**6) if _UNIT_NS[unit] >= 10**6 else whole // (10**6 // _UNIT_NS[unit])
    else:
        scaled = np.rint(column.fillna(0).to_numpy(np.float64) * (_UNIT_NS[unit] / 10**6)).astype(np.int64)
    scaled[missing] = NO_TIME
    return scaled


def _label_times(source: Source, m: Mapping, table: pd.DataFrame, predicted: Int64) -> Int64:
    """Milliseconds since the epoch at which each row's label came; `NO_TIME` where label or time is missing."""
    if m.label is None:
        return np.full(len(table), NO_TIME)
    if m.label_time is not None:
        times = _times(source, ("label_time",), m.label_time, table)
    elif m.label_delay_column is not None:
        delay = _milliseconds(table[m.label_delay_column.column], m.label_delay_column.unit)
        times = np.where(delay == NO_TIME, NO_TIME, predicted + delay)
    else:
        times = predicted + m.label_delay_ms
    return np.where(table[m.label].isna().to_numpy(), NO_TIME, times)


def _references(m: Mapping, model: Model, mapping_file: Path, table: pd.DataFrame, features: list[str]) -> list[Reference]:
    """The same profile for each version."""
    rows = read_table(mapping_file.parent / m.reference) if m.reference else table[: m.reference_rows]
    if not len(rows):
        return []
    versions = dict.fromkeys(_texts(table[m.version_column]) if m.version_column else [m.version])
    own = [name for name in (m.prediction, m.score, m.label) if name]
    used = rows[[*features, *(name for name in own if name not in features)]]
    return [reference_from_frame(used, model, str(version), prediction=m.prediction, score=m.score, label=m.label) for version in versions]


def _rows(part: pd.DataFrame, names: list[str], values: Any) -> Iterator[dict[str, Any]]:
    """One dictionary a row."""
    columns = [values(part[name]) for name in names]
    return (dict(zip(names, row, strict=True)) for row in (zip(*columns, strict=True) if columns else [()] * len(part)))


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Python's own values, None where missing.

    >>> _plain(pd.Series([np.array([1.0, 2.0]), None, "a"]))
    [[1.0, 2.0], None, 'a']
    """
    plain = [value.tolist() if isinstance(value, np.ndarray) else value for value in column.tolist()]  # of a vector
    return [None if missing else value for value, missing in zip(plain, column.isna().tolist(), strict=True)]


def _texts(column: pd.Series[Any]) -> list[str | None]:
    """Values by the names that the stream gives them, None where missing."""
    names: list[str | None] = class_names(column).tolist()
    return names
