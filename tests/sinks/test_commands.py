"""`driftline migrate` and `driftline sql`, as a shell sees them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline.cli import main
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.tables import migrations

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs one command against an embedded store of its own: exit status, what is data, what is talk."""
    monkeypatch.setenv("DRIFTLINE_CLICKHOUSE", f"chdb://{tmp_path}/store?database=drift")

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


def test_migrate_makes_the_database_and_its_tables_and_then_has_nothing_to_do(run: Run) -> None:
    status, out, err = run("migrate")
    assert (status, out.split()) == (0, [migration.name for migration in migrations()])
    assert "up to date" in err
    told = json.loads(run("sql", "SELECT subject FROM v_audit WHERE action = 'migration.applied' ORDER BY subject", "--json")[1])
    assert [row["subject"] for row in told] == out.split()
    assert run("migrate")[:2] == (0, "")


def test_sql_prints_a_table_for_people(run: Run) -> None:
    run("migrate")
    status, out, err = run("sql", "SELECT number AS n, 'x' || number AS text, NULL AS nothing FROM numbers(2)")
    assert status == 0
    assert [line.split() for line in out.splitlines() if "x" in line] == [["n", "text", "nothing"], ["0", "x0"], ["1", "x1"]]
    assert err == "2 rows\n"


def test_sql_prints_json_for_programs(run: Run) -> None:
    run("migrate")
    time = "toDateTime64('2024-11-21 06:20:00.5', 3, 'UTC')"
    query = f"SELECT 9007199254740993 AS big, 0.1 AS small, map('a', 1) AS map, {time} AS time, nan AS none"
    status, out, _ = run("sql", query, "--json")
    assert (status, json.loads(out)) == (
        0,
        [{"big": 2**53 + 1, "small": 0.1, "map": {"a": 1}, "time": "2024-11-21 06:20:00.500", "none": None}],
    )


def test_sql_prints_csv_that_no_spreadsheet_runs(run: Run) -> None:
    run("migrate")
    status, out, _ = run("sql", "SELECT '=cmd()' AS category, -1 AS n, 'a,\"b\"' AS `=text`, [1, 2] AS list", "--csv")
    assert (status, list(csv.reader(io.StringIO(out)))) == (0, [["category", "n", "'=text", "list"], ["'=cmd()", "-1", 'a,"b"', "[1, 2]"]])


def test_sql_shows_texts_from_outside_without_obeying_them(run: Run) -> None:
    run("migrate")
    status, out, _ = run("sql", "SELECT char(27) || '[2J[red]x[/red]' || char(255) AS feature")
    assert status == 0
    assert "\\x1b[2J[red]x[/red]\N{REPLACEMENT CHARACTER}" in out


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_sql_with_an_empty_answer_is_no_error(run: Run, option: str) -> None:
    run("migrate")
    status, out, _ = run("sql", "SELECT model FROM v_drift", option)
    assert (status, out) == (0, {"--json": "[]\n", "--csv": "model\n"}[option])


@pytest.mark.parametrize("query", ["SELECT nothing FROM v_drift", "SELECT FROM", "SELECT 1 FORMAT JSON", "SELECT * FROM missing"])
def test_a_wrong_query_ends_with_status_2_and_a_message(run: Run, query: str) -> None:
    run("migrate")
    status, out, err = run("sql", query)
    assert (status, out) == (2, "")
    assert "fix: " in err


def test_a_store_without_its_tables_names_the_command_that_makes_them(run: Run) -> None:
    status, out, err = run("sql", "SELECT * FROM v_drift")
    assert (status, out) == (2, "")
    assert "driftline migrate" in err


def test_without_an_address_both_commands_say_what_to_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLINE_CLICKHOUSE")
    for arguments in (("migrate",), ("sql", "SELECT 1")):
        status, _, err = run(*arguments)
        assert status == 2
        assert "DRIFTLINE_CLICKHOUSE" in err


def test_a_closed_command_leaves_the_embedded_store_to_others(run: Run, tmp_path: Path) -> None:
    run("migrate")
    with ClickHouse.connect(f"chdb://{tmp_path}/store?database=drift") as store:
        assert store.migrate() == []
