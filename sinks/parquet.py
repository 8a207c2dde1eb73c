"""Parquet files in a directory, for those who read with pandas, Arrow, DuckDB or Spark; the contract of every other sink.

    DIRECTORY/drift_results/day=2026-01-05/drift_results-driftline.results-2-4096-5119-….parquet

One file a table, day of event time and block, named by the block's token and put in its place by one rename. So a block that comes
again changes nothing, and a reader sees whole files only. Rows replace each other by revision, as everywhere, but here the
reader does it: `latest`, or one line of SQL.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_type_hints
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import columns_of
from driftline.sinks.arrays import arrays_of
from driftline.sinks.rows import TABLES
from driftline.sinks.sink import Busy, OnRetry, Refused, Retrying
from driftline.sinks.tables import tables

#: The column whose day a row is filed under: when what it tells of began or happened. The first that a table has.
DAY_OF: Final = ("window_start", "pane_start", "ts", "time", "effective_from", "label_ts")
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_STALE_S: Final = 3_600.0  # what a writer that died left half-written is removed after so long
_DAY: Final = pa.field("day", pa.string())
_SCALARS: Final = {"UInt64": pa.uint64(), "UInt32": pa.uint32(), "Float64": pa.float64(), "Bool": pa.bool_()}


class Parquet(Retrying):
    """A directory of Parquet files. Several processes may write to it.

    Parameters
    ----------
    directory
        Made where it is missing.
    sleep, on_retry
        As for every sink: see `Retrying`.

    Raises
    ------
    DriftlineError
        `store_denied`, `store_failed`: the directory cannot be made or written to.

    Examples
    --------
    >>> import tempfile
    >>> from driftline.schemas.results import References
    >>> with tempfile.TemporaryDirectory() as directory, Parquet(directory) as sink:
    ...     for revision in (1, 2):
    ...         sink.insert("references", [References("churn", "7", "ref", "training", 0, 100, "{}", revision)], f"block {revision}")
    ...     latest(directory, "references")["revision"].to_pylist()
    [2]
    """

    def __init__(self, directory: str | Path, *, sleep: Callable[[float], object] | None = None, on_retry: OnRetry | None = None) -> None:
        super().__init__(sleep=sleep, on_retry=on_retry)
        self._directory = Path(directory)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise _problem(str(self._directory), error) from None

    def __repr__(self) -> str:
        return f"Parquet({str(self._directory)!r})"

    def _sweep(self) -> None:
        """Remove what writers that died left half-written."""
        for left in self._directory.glob("*/day=*/.*.tmp"):
            with suppress(FileNotFoundError):  # its writer lives, or somebody else sweeps too
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()

    def _send(self, table: str, rows: Sequence[msgspec.Struct], token: str) -> int:
        block = _block(table, rows)
        written = 0
        try:
            for day, part in _days(table, block):
                written += self._write(self._directory / table / f"day={day}", part, token)
        except OSError as error:
            raise Busy(_problem(table, error)) from None
        return written

    def _write(self, folder: Path, part: pa.Table, token: str) -> int:
        """Put one file in its place, unless it is there; returns its rows, as the file itself tells."""
        name = file_name(token)
        if (folder / name).exists():
            return part.num_rows
        folder.mkdir(parents=True, exist_ok=True)
        half = folder / f".{name}.{uuid4().hex}.tmp"
        try:
            with half.open("wb") as file:
                pq.write_table(part, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            rows = int(pq.read_metadata(half).num_rows)
            if rows == part.num_rows:
                half.replace(folder / name)
                _sync(folder)
            return rows
        finally:
            half.unlink(missing_ok=True)


def latest(directory: str | Path, table: str, where: ds.Expression | None = None) -> pa.Table:
    """The rows of a table as they stand: of those with one key the one of the highest revision.

    Parameters
    ----------
    where
        Which rows to read, for instance `pyarrow.dataset.field("day") >= "2026-01-05"`, which opens the files of those days only.

    Returns
    -------
    pyarrow.Table
        In no particular order; with the columns of ClickHouse's table, and `day`.
    """
    schema, place = schema_of(table).append(_DAY), Path(directory) / table
    if not place.exists():
        return schema.empty_table()
    found = ds.dataset(place, schema, format="parquet", partitioning=ds.partitioning(pa.schema([_DAY]), flavor="hive")).to_table(
        filter=where
    )
    order = pc.sort_indices(found, sort_keys=[("revision", "descending")])
    seen = found.select(tables()[table].key).take(order).append_column("row", pa.array(range(found.num_rows), pa.int64()))
    first = seen.group_by(list(tables()[table].key), use_threads=False).aggregate([("row", "min")])["row_min"]
    return found.take(order.take(first))


def file_name(token: str) -> str:
    """The name of a block's files.

    >>> file_name("alerts:driftline.alerts:2:40:44:0f")
    'alerts-driftline.alerts-2-40-44-0f-b1b5e534.parquet'
    """
    digest = hashlib.blake2b(token.encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9_.]+', '-', token)[:180].strip('.-')}-{digest}.parquet"


def schema_of(table: str) -> pa.Schema:
    """The columns of a table's files: types as ClickHouse gives them to Arrow, and the comment of each as `description`.

    Raises
    ------
    DriftlineError
        `store_schema`: there is no such table.
    """
    if table not in tables() or table not in TABLES:
        raise DriftlineError("store_schema", f"there is no table {table!r}", "use the version of driftline that has it")
    declared, hints = tables()[table], get_type_hints(TABLES[table])
    return pa.schema(
        [
            pa.field(name, _arrow(kind, "bytes" in str(hints[name])), "Nullable" in kind, {"description": comment})
            for name, (kind, comment) in declared.columns.items()
        ],
        {"key": ",".join(declared.key)},
    )


def _arrow(kind: str, is_bytes: bool) -> Any:
    """The Arrow type of a ClickHouse type.

    >>> _arrow("Map(LowCardinality(String), UInt64)", False)
    MapType(map<string, uint64>)
    """
    if inner := re.fullmatch(r"(?:LowCardinality|Nullable)\((.*)\)", kind):
        return _arrow(inner[1], is_bytes)
    if inner := re.fullmatch(r"Array\((.*)\)", kind):
        return pa.list_(_arrow(inner[1], is_bytes))
    if inner := re.fullmatch(r"Map\((.*?), (.*)\)", kind):
        return pa.map_(_arrow(inner[1], False), _arrow(inner[2], is_bytes))
    if kind.startswith("DateTime64"):
        return pa.timestamp("ms", "UTC")
    return (pa.binary() if is_bytes else pa.string()) if kind == "String" else _SCALARS[kind]


def _block(table: str, rows: Sequence[msgspec.Struct]) -> pa.Table:
    """The rows as the table's types; raises `Refused` where a value does not fit its column."""
    schema = schema_of(table)
    arrays = arrays_of(columns_of(rows), schema.types)
    for array, field in zip(arrays, schema, strict=True):
        if array.null_count and not field.nullable:
            raise Refused(f"{field.name} has no value")
    return pa.table(arrays, schema=schema)


def _days(table: str, block: pa.Table) -> list[tuple[str, pa.Table]]:
    """The rows by the day they are filed under."""
    column = next(name for name in DAY_OF if name in block.column_names)
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for i, moment in enumerate(block[column].cast(pa.int64()).to_pylist()):
        rows_of[_day(int(moment or 0))].append(i)
    return [(day, block.take(pa.array(rows, pa.int64()))) for day, rows in rows_of.items()]


def _day(moment_ms: int) -> str:
    """
    >>> _day(1_732_170_000_000)
    '2024-11-21'
    """
    try:
        return datetime.fromtimestamp(moment_ms / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise Refused(f"{moment_ms} ms is no time of any year that has a name") from None


def _sync(folder: Path) -> None:
    """A rename is safe from a power cut when its folder is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _problem(what: str, error: OSError) -> DriftlineError:
    if error.errno in _DENIED:
        return DriftlineError("store_denied", f"{what}: {error}", "give this user the right to write to the directory of DRIFTLINE_PARQUET")
    return DriftlineError("store_busy", f"{what}: {error}", "make room on the disk, or mount it again; the same block is written again")
