"""`driftline sql`: ask the store, whichever it is. The embedded one has no other door."""

from __future__ import annotations

import csv
import json
import sys
from typing import Annotated, Any, NamedTuple

import typer

from driftline.schemas.errors import DriftlineError
from driftline.settings import Settings
from driftline.sinks.clickhouse import ClickHouse

_FORM = "JSONCompactEachRowWithNamesAndTypes"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide ones are formulas to some spreadsheets too


class Answer(NamedTuple):
    """Column names, ClickHouse types, and rows."""

    names: list[str]
    types: list[str]
    rows: list[list[Any]]


def run(
    query: Annotated[str, typer.Argument(help="A query, for example: SELECT * FROM v_drift WHERE verdict = 'drift'")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list with one object a row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a line of names.")] = False,
) -> None:
    """Ask the store at DRIFTLINE_CLICKHOUSE and print the answer: a table, --json or --csv. Times are UTC."""
    if as_json and as_csv:
        raise DriftlineError("usage", "--json and --csv were both given", "keep one of them")
    with ClickHouse.connect(Settings.from_environment().kept_store()) as store:
        answer = parse(store.read(query, _FORM))
    if as_json:
        print(json.dumps([dict(zip(answer.names, row, strict=True)) for row in answer.rows], ensure_ascii=False, indent=1))
    elif as_csv:
        _print_csv(answer)
    else:
        _print_table(answer)


def parse(lines: bytes) -> Answer:
    """The answer in a line of names, a line of types and a line for each row; nothing at all for a statement without an answer.

    Texts need not be UTF-8: what is none reads as U+FFFD.

    >>> parse(b'["a"]\\n["UInt8"]\\n[1]\\n[2]\\n').rows
    [[1], [2]]
    """
    names, types, *rows = [json.loads(line) for line in lines.decode("utf-8", "replace").split("\n") if line] or [[], []]
    return Answer(names, types, rows)


def _print_csv(answer: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_csv_cell(name) for name in answer.names])
    writer.writerows([_csv_cell(value) for value in row] for row in answer.rows)


def _csv_cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front.

    >>> [_csv_cell(value) for value in ("=cmd()", " =cmd()", -1.5, None, {"a": 1})]
    ["'=cmd()", "' =cmd()", -1.5, None, '{"a": 1}']
    """
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def _print_table(answer: Answer) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, kind in zip(answer.names, answer.types, strict=True):
        table.add_column(Text(_shown(name)), justify="right" if "Int" in kind or "Float" in kind else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 1_000)
    console.print(table)
    print(f"{len(answer.rows)} rows", file=sys.stderr)


def _shown(value: Any) -> str:
    """What a terminal may show: names and categories come from outside, so control characters are written out.

    >>> _shown("a\\x1b[2J"), _shown(None), _shown({"a": 1}), _shown(0.1)
    ('a\\\\x1b[2J', '', '{"a": 1}', '0.1')
    """
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
