"""`driftline reference`: make the profile that a model version is compared with, and look at those in force."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from driftline.schemas.config import Model, Task
from driftline.schemas.errors import DriftlineError, Rejected
from driftline.schemas.events import parse_time
from driftline.schemas.reference import NumericProfile, Profile, Reference, encode_entry
from driftline.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True)


@app.command()
def build(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: the rows the model was trained on or, better, validated on.")],
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The model's version.")],
    prediction: Annotated[str | None, typer.Option(help="Column of the model's answers.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the probability of the positive class.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth; gives the performance to compare with.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A column that is no feature; may be repeated.")] = None,
    task: Annotated[Task, typer.Option(help="For a model without a file in DRIFTLINE_MODELS.")] = "binary",
    effective_from: Annotated[
        str | None, typer.Option(help="RFC 3339 or `now`: event time from which it is in force. Left out: for all of time.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the profile as JSON to this file and publish nothing.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the profile as JSON to standard output and publish nothing.")] = False,
) -> None:
    """Profile a table and publish it as the reference of a model version."""
    from driftline.registry import publish
    from driftline.replay import read_table
    from driftline.streams.profile import reference_from_frame

    settings = Settings.from_environment()
    made = reference_from_frame(
        read_table(file), _model(settings, model, task), version, prediction=prediction, score=score, label=label,
        exclude=exclude or (), effective_from=_moment(effective_from),
    )  # fmt: skip
    text = msgspec.json.format(encode_entry(made), indent=2)
    if dry_run:
        sys.stdout.write(text.decode() + "\n")
    elif out:
        out.write_bytes(text + b"\n")
    else:
        publish(settings.kafka_client(), settings.topics().models, [made])
    where = "" if dry_run else f" in {out}" if out else f" on {settings.topics().models}"
    print(f"reference {made.hash} of {model} {version}: {len(made.features)} features, {made.rows} rows{where}", file=sys.stderr)


@app.command()
def show(
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str | None, typer.Option(help="One version only, with its features.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as a JSON list.")] = False,
) -> None:
    """Show the references published for a model."""
    from rich.console import Console

    from driftline.registry import read

    settings = Settings.from_environment()
    entries = read(settings.kafka_client(), settings.topics().models)
    found = [e for e in entries if isinstance(e, Reference) and e.model == model and version in {None, e.version}]
    found.sort(key=lambda e: (e.version, e.effective_from))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    elif found:
        console = Console()
        console.print(_overview(found))
        for entry in found if version else ():
            console.print(_features(entry))
    if not found:
        print(f"no reference of {model} {version or ''}; make one: driftline reference build FILE --model {model} …", file=sys.stderr)
        raise typer.Exit(1)


def _model(settings: Settings, name: str, task: Task) -> Model:
    """The model as its file says; without one the defaults."""
    from driftline.schemas.load import load_models

    configured = load_models(settings.models_directory()) if settings.models else {}
    return configured.get(name) or Model(name, task=task)


def _moment(text: str | None) -> int:
    if text is None:
        return 0
    if text == "now":
        return int(datetime.now(UTC).timestamp() * 1000)
    moment = parse_time(text)
    if isinstance(moment, Rejected):
        raise DriftlineError("bad_time", f"--effective-from: {moment.message}", "write for instance 2026-01-05T00:00:00Z, or now")
    return moment


def _overview(found: list[Reference]) -> Table:
    from rich.table import Table

    table = Table("version", "reference", "in force from", "rows", "features", "origin", "performance")
    for entry in found:
        since = datetime.fromtimestamp(entry.effective_from / 1000, UTC).isoformat() if entry.effective_from else "always"
        performance = ", ".join(f"{name} {value:.4g}" for name, value in entry.performance.metrics.items())
        table.add_row(entry.version, entry.hash, since, str(entry.rows), str(len(entry.features)), entry.origin, performance)
    return table


def _features(entry: Reference) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("feature", "type", "n", "missing", "profile", title=f"{entry.model} {entry.version}, reference {entry.hash}")
    for name, profile in entry.features.items():
        kind = "numeric" if isinstance(profile, NumericProfile) else "categorical"
        row = (name, kind, str(profile.n), str(profile.missing), _in_words(profile))
        table.add_row(*map(Text, row))  # a name may look like markup
    return table


def _in_words(profile: Profile) -> str:
    """One line: mean, deviation and range of numbers; the commonest categories."""
    if isinstance(profile, NumericProfile):
        if profile.minimum is None or profile.maximum is None:
            return "no values"
        deviation = (profile.m2 / profile.n) ** 0.5
        return f"{profile.mean:.4g} ± {deviation:.4g}, {profile.minimum:.4g} … {profile.maximum:.4g}, {len(profile.edges)} edges"
    named = [f"{text} {count / profile.n:.1%}" for text, count in zip(profile.categories, profile.counts, strict=True)]
    return ", ".join(named[:6]) + (f", {len(named) - 6} more" if len(named) > 6 else "")
