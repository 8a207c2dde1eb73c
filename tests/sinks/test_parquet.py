"""Parquet files: what is special about them. What they share with every sink is in `test_contract`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import QualityResult
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import Parquet, latest, schema_of
from driftline.sinks.rows import TABLES
from driftline.sinks.tables import tables

HOUR = 3_600_000


def row(hour: int, **changes: object) -> QualityResult:
    """One check of the window that begins `hour` hours after the epoch."""
    window = (hour * HOUR, (hour + 1) * HOUR)
    plain = QualityResult("churn", "7", "", *window, "age", "missing_rate", 0.25, None, 0.5, 400, "ok", "", "ref", "pol", True, 1.0, 5)
    return msgspec.structs.replace(plain, **changes)


def write(directory: Path, token: str, hours: list[int], revision: int = 5) -> None:
    with Parquet(directory) as sink:
        sink.insert("quality_results", [row(hour, revision=revision) for hour in hours], token)


def test_rows_are_filed_by_table_and_day_of_event_time(tmp_path: Path) -> None:
    write(tmp_path, "t", [1, 23, 24, 50])
    files = sorted((file.parent.name, pq.read_metadata(file).num_rows) for file in tmp_path.glob("quality_results/*/*.parquet"))
    assert files == [("day=1970-01-01", 2), ("day=1970-01-02", 1), ("day=1970-01-03", 1)]


def test_only_the_files_of_the_days_asked_for_are_read(tmp_path: Path) -> None:
    write(tmp_path, "t", [1, 24, 50])
    next(tmp_path.glob("quality_results/day=1970-01-01/*.parquet")).write_bytes(b"spoilt")
    found = latest(tmp_path, "quality_results", ds.field("day") >= "1970-01-02")
    assert sorted(map(str, found["day"].to_pylist())) == ["1970-01-02", "1970-01-03"]


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_are_those_of_clickhouse(migrated: ClickHouse, table: str) -> None:
    wanted = migrated._call(lambda client: client.query_arrow(f"SELECT * FROM `{table}` LIMIT 0", use_strings=True)).schema
    ours = schema_of(table)
    coded = re.compile(r"dictionary<values=string, indices=int32, ordered=0>|binary")

    def said(kind: object) -> str:
        """ClickHouse knows no difference between text and bytes, and codes texts of low cardinality."""
        return coded.sub("string", str(kind)).replace(" not null", "")

    assert [(field.name, said(field.type)) for field in ours] == [(field.name, said(field.type)) for field in wanted]


@pytest.mark.parametrize("table", tables())
def test_the_key_and_the_comments_are_those_of_clickhouse(migrated: ClickHouse, table: str) -> None:
    here = "WHERE database = currentDatabase()"
    (found,) = migrated.query(f"SELECT sorting_key FROM system.tables {here} AND name = {{table:String}}", {"table": table}).to_pylist()
    assert ", ".join(tables()[table].key) == found["sorting_key"]
    columns = migrated.query(
        f"SELECT name, type, comment FROM system.columns {here} AND table = {{table:String}} AND default_kind = '' ORDER BY position",
        {"table": table},
    ).to_pylist()
    assert [(column["name"], (column["type"], column["comment"])) for column in columns] == list(tables()[table].columns.items())


def test_a_file_tells_its_key_and_what_its_columns_mean(tmp_path: Path) -> None:
    write(tmp_path, "t", [1])
    schema = pq.read_schema(next(tmp_path.glob("quality_results/*/*.parquet")))
    told = (schema.metadata or {})[b"key"], (schema.field("coverage").metadata or {})[b"description"]
    assert told[0].decode().split(",") == list(tables()["quality_results"].key)
    assert told[1].startswith(b"Share of the expected input")


def test_every_other_reader_finds_the_latest_rows_too(tmp_path: Path, migrated: ClickHouse) -> None:
    for revision in (1, 2):
        write(tmp_path, f"t{revision}", [1, 24], revision)
    frame = ds.dataset(tmp_path / "quality_results", partitioning="hive").to_table().to_pandas()
    key = list(tables()["quality_results"].key)
    assert frame.sort_values("revision").drop_duplicates(key, keep="last")["revision"].tolist() == [2, 2]
    files, by = f"file('{tmp_path}/quality_results/*/*.parquet')", ", ".join(key)
    asked = f"SELECT revision FROM (SELECT * FROM {files} ORDER BY revision DESC LIMIT 1 BY {by})"
    assert migrated.query(asked).to_pylist() == [{"revision": 2}] * 2


#: Ends the process when the first file is written and not yet in its place.
INSERT_AND_DIE = """
import os, runpy, sys
from pathlib import Path
write = runpy.run_path(sys.argv[1])["write"]
Path.replace = lambda *_: os._exit(9)
write(Path(sys.argv[2]), "t", [1, 24])
"""


def test_what_a_process_that_was_killed_left_behind_is_no_file_and_is_swept_away(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", INSERT_AND_DIE, __file__, str(tmp_path)], timeout=120, check=False)
    (left,) = tmp_path.rglob("*.tmp")
    assert (process.returncode, list(tmp_path.rglob("*.parquet"))) == (9, [])
    os.utime(left, (time.time() - 7_200,) * 2)
    write(tmp_path, "t", [1, 24])
    assert list(tmp_path.rglob("*.tmp")) == []
    assert latest(tmp_path, "quality_results").num_rows == 2


def test_a_writer_that_lives_keeps_what_it_is_writing(tmp_path: Path) -> None:
    half = tmp_path / "quality_results" / "day=1970-01-01" / ".x.parquet.0.tmp"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    write(tmp_path, "t", [1])
    assert half.exists()


def test_a_directory_that_may_not_be_written_to_is_refused_with_the_variable_to_correct() -> None:
    with pytest.raises(DriftlineError, match="DRIFTLINE_PARQUET") as caught:
        Parquet("/proc/sys/driftline" if os.geteuid() else "/sys/driftline")
    assert caught.value.code in {"store_denied", "store_busy"}


def test_a_time_that_no_calendar_has_is_refused_row_by_row(tmp_path: Path) -> None:
    rejected: list[int] = []
    with Parquet(tmp_path) as sink:
        rows = [row(1), row(2, window_start=2**62, window_end=2**62 + 1), row(3)]
        sink.insert("quality_results", rows, "t", lambda number, _: rejected.append(number))
    assert rejected == [1]
    assert latest(tmp_path, "quality_results").num_rows == 2


def test_a_table_that_has_no_files_yet_is_empty(tmp_path: Path) -> None:
    assert latest(tmp_path, "alerts").num_rows == 0


def test_times_carry_utc(tmp_path: Path) -> None:
    write(tmp_path, "t", [1])
    (moment,) = latest(tmp_path, "quality_results")["window_start"].to_pylist()
    assert moment == datetime.fromisoformat("1970-01-01T01:00:00+00:00")
