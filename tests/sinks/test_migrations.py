"""The tables are the records: held against the classes of the rows, and against what the contract promises of every table."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.rows import TABLES
from driftline.sinks.tables import migrations

#: Columns that name or number something, and so have no unit.
NUMBERS = {"version", "partition", "offset", "revision", "id_hash", "fingerprint", "life", "slice", "bin"}
MIGRATED = {*TABLES, "models", "waiting", "schema_migrations"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('migrations')}/store") as opened:
        opened.migrate()
        yield opened


def columns(store: ClickHouse, table: str) -> list[dict[str, Any]]:
    """Columns that are written, in order; `stored_at` is the server's own."""
    sql = (
        "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "AND default_kind != 'MATERIALIZED' ORDER BY position"
    )
    found: list[dict[str, Any]] = store.query(sql, {"table": table}).to_pylist()
    return found


def wire_type(kind: str) -> Any:
    """The Python type of the field behind a column of this ClickHouse type."""
    if inner := re.fullmatch(r"LowCardinality\((.*)\)", kind):
        return wire_type(inner[1])
    if inner := re.fullmatch(r"Nullable\((.*)\)", kind):
        return wire_type(inner[1]) | None
    plain = {"UInt64": int, "UInt32": int, "Float64": float, "String": str, "Bool": bool, "DateTime64(3, 'UTC')": int}
    compound = {
        "Array(UInt64)": list[int], "Map(String, UInt64)": dict[str, int], "Map(String, Float64)": dict[str, float],
        "Map(String, String)": list[tuple[str, bytes]],
    }  # fmt: skip
    return (plain | compound)[kind]


def field_type(annotation: Any) -> Any:
    """The same of a field: a literal is a text, and the store knows no difference between text and bytes."""
    if get_origin(annotation) in {Union, types.UnionType}:
        first, _ = get_args(annotation)
        return field_type(first) | None
    if annotation == dict[str, str]:
        return list[tuple[str, bytes]]
    return str if get_origin(annotation) is Literal or annotation is bytes else annotation


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_the_fields_of_the_rows_in_their_order_and_type(store: ClickHouse, table: str) -> None:
    hints = get_type_hints(TABLES[table])
    fields = [(name, field_type(hints[name])) for name in TABLES[table].__struct_fields__]
    assert [(column["name"], wire_type(column["type"])) for column in columns(store, table)] == fields


@pytest.mark.parametrize("table", sorted(MIGRATED))
def test_every_column_says_what_it_holds_and_times_and_counts_say_their_unit(store: ClickHouse, table: str) -> None:
    for column in columns(store, table):
        assert len(column["comment"]) > 5, column
        if column["type"].startswith("DateTime"):
            assert "UTC" in column["comment"], column
        if "Int" in column["type"] and column["name"] not in NUMBERS:
            assert re.search(r"rows|milliseconds|seconds|bytes", column["comment"]), column


@pytest.mark.parametrize("table", sorted(MIGRATED))
def test_every_table_replaces_by_revision_and_remembers_tokens(store: ClickHouse, table: str) -> None:
    (found,) = store.query(
        "SELECT engine_full, sorting_key, comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    ).to_pylist()
    revision = {"schema_migrations": "applied_at", "waiting": ""}.get(table, "revision")  # rows that wait never change
    assert found["engine_full"].startswith(f"ReplacingMergeTree({revision})" if revision else "ReplacingMergeTree PARTITION BY")
    assert "non_replicated_deduplication_window" in found["engine_full"]
    assert not revision or revision not in found["sorting_key"]
    assert found["comment"]


def test_there_are_no_tables_but_these(store: ClickHouse) -> None:
    found = store.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View'").to_pylist()
    assert {row["name"] for row in found} == MIGRATED


def test_every_view_has_a_comment(store: ClickHouse) -> None:
    views = store.query("SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'").to_pylist()
    assert {"v_drift", "v_performance", "v_quality", "v_alerts", "v_retrain", "v_lineage", "psi_between"} <= {
        view["name"] for view in views
    }
    assert all(view["comment"] for view in views)


def test_old_event_times_do_not_make_rows_expire(store: ClickHouse) -> None:
    found = store.query("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%TTL%'").to_pylist()
    assert len(found) >= 8
    assert all("TTL stored_at + " in row["engine_full"] for row in found)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_can_be_run_again(store: ClickHouse) -> None:
    for migration in migrations():
        for statement in migration.statements:
            assert re.match(r"CREATE TABLE IF NOT EXISTS |CREATE OR REPLACE VIEW |ALTER TABLE ", statement), statement
            store._command(statement)
