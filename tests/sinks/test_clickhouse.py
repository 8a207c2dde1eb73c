"""One suite over both ways to a store: the engine in this process, and the HTTP client in front of the same engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import QualityResult
from driftline.sinks.clickhouse import ClickHouse, masked
from driftline.sinks.tables import migrations

Open = Callable[..., ClickHouse]
HOUR = 3_600_000


def row(number: int = 0, **changes: object) -> QualityResult:
    """One check of the window that begins `number` hours after the epoch."""
    window = (number * HOUR, (number + 1) * HOUR)
    plain = QualityResult("churn", "7", "", *window, "age", "missing_rate", 0.25, None, 0.5, 400, "ok", "", "ref", "pol", True, 1.0, 5)
    return msgspec.structs.replace(plain, **changes)


def count(store: ClickHouse, where: str = "1") -> int:
    """Rows stored, replaced ones included."""
    answer: list[dict[str, int]] = store.query(f"SELECT count() AS n FROM quality_results WHERE {where}").to_pylist()
    return answer[0]["n"]


def test_migrating_applies_every_migration_once(connect: Open) -> None:
    store = connect(migrated=False)
    assert store.migrate() == [migration.name for migration in migrations()]
    assert store.migrate() == []


def test_a_migration_whose_text_changed_after_it_was_applied_is_refused(store: ClickHouse) -> None:
    store._command(
        "INSERT INTO schema_migrations SELECT version, name, 'another text', applied_at + 1 FROM schema_migrations WHERE version = 2"
    )
    with pytest.raises(DriftlineError, match="0002_panes was applied with another text") as caught:
        store.migrate()
    assert caught.value.code == "store_migration_changed"


def test_a_store_that_is_newer_than_the_code_is_refused(store: ClickHouse) -> None:
    store._command("INSERT INTO schema_migrations VALUES (9999, '9999_future', '', now64(3))")
    with pytest.raises(DriftlineError, match="9999_future") as caught:
        store.migrate()
    assert caught.value.code == "store_newer"


def test_what_was_inserted_comes_back(store: ClickHouse) -> None:
    rows = [row(0), row(1, value=None, feature="naïve “feature”; DROP TABLE alerts; --", revision=2**64 - 1)]
    store.insert("quality_results", rows, "t")
    names = rows[0].__struct_fields__
    columns = ", ".join(f"toUnixTimestamp64Milli({name}) AS {name}" if name.startswith("window_") else name for name in names)
    answer = store.query(f"SELECT {columns} FROM (SELECT * FROM quality_results) AS q ORDER BY q.window_start").to_pylist()
    assert [QualityResult(**found) for found in answer] == rows


def test_rows_that_a_table_forbids_are_found_and_the_others_stored(store: ClickHouse) -> None:
    bad: dict[int, dict[str, object]] = {0: {"coverage": 1.5}, 7: {"coverage": -1.0}, 15: {"window_end": 0}}
    rejected: dict[int, DriftlineError] = {}
    store.insert("quality_results", [row(i, **bad.get(i, {})) for i in range(20)], "t", rejected.__setitem__)
    assert list(rejected) == list(bad)
    assert "coverage_is_a_share" in str(rejected[0])
    assert count(store) == 17


def test_a_missing_table_stops_and_says_what_to_run(connect: Open) -> None:
    store = connect(migrated=False)
    with pytest.raises(DriftlineError, match=r"quality_results(.|\n)*fix: run `driftline migrate`") as caught:
        store.insert("quality_results", [row()], "t")
    assert caught.value.code == "store_schema"


def test_a_missing_column_stops_and_says_what_to_run(store: ClickHouse) -> None:
    store._command("ALTER TABLE quality_results DROP COLUMN reason")
    with pytest.raises(DriftlineError, match=r"reason(.|\n)*fix: run `driftline migrate`") as caught:
        store.insert("quality_results", [row()], "t")
    assert caught.value.code == "store_schema"


def test_a_column_that_is_dropped_while_the_store_is_open_stops_too(store: ClickHouse) -> None:
    store.insert("quality_results", [row()], "t0")
    store._command("ALTER TABLE quality_results DROP COLUMN reason")
    with pytest.raises(DriftlineError) as caught:
        store.insert("quality_results", [row()], "t1")
    assert caught.value.code == "store_schema"


def test_parameters_are_bound_by_the_server_and_not_pasted(store: ClickHouse) -> None:
    text = "'); DROP TABLE quality_results; --\\"
    assert store.query("SELECT {text:String} AS text", {"text": text}).to_pylist() == [{"text": text}]
    assert count(store) == 0


def test_a_wrong_query_says_what_the_server_said(store: ClickHouse) -> None:
    with pytest.raises(DriftlineError, match="nowhere"):
        store.query("SELECT 1 FRM nowhere AT ALL")


def test_a_forked_process_is_told_to_open_its_own_store(store: ClickHouse) -> None:
    child = os.fork()
    if child == 0:
        try:
            store.query("SELECT 1")
        except DriftlineError as error:
            os._exit(7 if error.code == "store_forked" else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_missing_database_is_created_only_when_asked_for(dsn: str) -> None:
    with pytest.raises(DriftlineError, match="does not exist") as caught:
        ClickHouse.connect(dsn)
    assert caught.value.code == "store_schema"
    with ClickHouse.connect(dsn, create=True) as store:
        assert store.query("SELECT currentDatabase() != 'default' AS mine").to_pylist() == [{"mine": True}]


def test_an_embedded_store_in_use_by_another_process_is_an_error_and_no_hang(embedded: ClickHouse, tmp_path: Path) -> None:
    code = f"from driftline.sinks.clickhouse import ClickHouse; ClickHouse.connect('chdb://{tmp_path}/store')"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 1
    assert "[store_locked]" in other.stderr
    assert "fix: one process may use a directory" in other.stderr


def test_a_second_embedded_directory_in_one_process_is_an_error(embedded: ClickHouse, tmp_path: Path) -> None:
    with pytest.raises(DriftlineError, match="one directory a process") as caught:
        ClickHouse.connect(f"chdb://{tmp_path}/other")
    assert caught.value.code == "store_locked"


@pytest.mark.parametrize("address", ["chdb://directory/without/root", "clickhouse://host/db", "", "host:8123"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(DriftlineError) as caught:
        ClickHouse.connect(address)
    assert caught.value.code == "store_address"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://u:p@ss:w@h:1/d", "http://u:***@h:1/d"),
        ("https://h/d?access_token=x", "https://h/d"),
        ("http://u@h:1/", "http://u@h:1/"),
        ("chdb:///a/b?database=d", "chdb:///a/b"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert masked(address) == shown
