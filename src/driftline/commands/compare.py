"""`driftline compare`: two tables against each other, by the code that judges the stream."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    reference: Annotated[Path, typer.Argument(help="CSV or Parquet: what to compare with.")],
    current: Annotated[Path, typer.Argument(help="CSV or Parquet with the same columns: what to look at.")],
    model: Annotated[Path | None, typer.Option(help="TOML of the model: task, types of features, limits.", dir_okay=False)] = None,
    prediction: Annotated[str | None, typer.Option(help="Column of the model's answers.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the probability of the positive class.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth; the performance is compared too.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Only this feature; may be repeated.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A column that is no feature; may be repeated.")] = None,
    time: Annotated[str | None, typer.Option(help="A column that puts the reference's rows in order of time.")] = None,
    unordered: Annotated[bool, typer.Option("--unordered", help="The order of the reference's rows means nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file, too.", dir_okay=False)] = None,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit status 1 on drift, a data fault or a worse metric; else 0 whatever is found.")
    ] = False,
) -> None:
    """Compare two files of rows: drift, data faults and, with labels, performance. The same rows in the stream give the same figures."""
    from driftline.comparison import compare
    from driftline.schemas.load import load_model

    found = compare(
        reference, current, model=load_model(model) if model else None, features=feature or None, prediction=prediction, score=score,
        label=label, exclude=exclude or (), time=time, ordered=not unordered,
    )  # fmt: skip
    sys.stdout.write((json.dumps(found.to_dict(), indent=2) if as_json else repr(found)) + "\n")
    if html:
        print(f"open it in any browser: {found.to_html(html).resolve().as_uri()}", file=sys.stderr)
    if fail_on_drift and not found.clean:
        raise typer.Exit(1)
