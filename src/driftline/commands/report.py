"""`driftline report`: a page with pictures of what the store holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from driftline.report import render
from driftline.settings import Settings
from driftline.sinks.clickhouse import ClickHouse


def run(
    model: Annotated[str, typer.Option(help="Only this model; all of them when left out.")] = "",
    out: Annotated[Path, typer.Option(help="The file to write.", dir_okay=False)] = Path("driftline-report.html"),
) -> None:
    """Write a self-contained HTML report of the store at DRIFTLINE_CLICKHOUSE: it opens offline and has no script in it."""
    with ClickHouse.connect(Settings.from_environment().kept_store()) as store:
        page = render(store, model or None)
    out.write_text(page, "utf-8")
    print(out)
    print(f"open it in any browser: {out.resolve().as_uri()}", file=sys.stderr)
