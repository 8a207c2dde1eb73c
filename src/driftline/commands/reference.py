"""`driftline reference`: make the profile that a model version is compared with, and look at those in force."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from driftline.schemas.config import Model, Task
from driftline.schemas.errors import DriftlineError, Rejected
from driftline.schemas.events import parse_time
from driftline.schemas.reference import NumericProfile, Profile, Reference, decode_entry, encode_entry
from driftline.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True)


@app.command()
def build(
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The model's version.")],
    file: Annotated[Path | None, typer.Argument(help="CSV or Parquet: the rows the model was trained on or, better, validated on.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column of the model's answers.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the probability of the positive class.")] = None,
    scores: Annotated[list[str] | None, typer.Option(help="Of several classes: CLASS=COLUMN of its probability; once for each.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth; gives the performance to compare with.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A column that is no feature; may be repeated.")] = None,
    time: Annotated[str | None, typer.Option(help="A column that puts the rows in order of time; without it, as they come.")] = None,
    unordered: Annotated[bool, typer.Option("--unordered", help="The order of the rows means nothing: they count as independent.")] = False,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="Instead of FILE: what this version did from --from to --to, by the store.")
    ] = False,
    begin: Annotated[str | None, typer.Option("--from", help="RFC 3339; with --from-store.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339, exclusive; with --from-store.")] = None,
    task: Annotated[Task, typer.Option(help="For a model without a file in DRIFTLINE_MODELS.")] = "binary",
    effective_from: Annotated[
        str | None, typer.Option(help="RFC 3339 or `now`: event time from which it is in force. Left out: for all of time.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the profile as JSON to this file and publish nothing.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the profile as JSON to standard output and publish nothing.")] = False,
) -> None:
    """Profile a table, or what a version did in a range of time, and publish it as the reference of a model version."""
    settings = Settings.from_environment()
    configured, since = _model(settings, model, task), _moment(effective_from)
    if from_store == (file is not None):
        fix = "give FILE, or --from-store --from … --to …"
        raise DriftlineError("reference_input", "a reference is made of a table or of the store", fix)
    if file is None:
        made = _from_store(settings, configured, version, _moment(begin, "--from"), _moment(end, "--to") if end else 2**62, since)
    else:
        from driftline.replay import read_table
        from driftline.streams.profile import reference_from_frame

        made = reference_from_frame(
            read_table(file), configured, version, prediction=prediction, score=score, label=label, scores=_columns(scores or ()),
            exclude=exclude or (), effective_from=since, time=time, ordered=not unordered,
        )  # fmt: skip
    text = msgspec.json.format(encode_entry(made), indent=2)
    if dry_run:
        sys.stdout.write(text.decode() + "\n")
    elif out:
        out.write_bytes(text + b"\n")
    else:
        from driftline.registry import publish

        publish(settings.kafka_client(), settings.topics().models, [made])
    where = "" if dry_run else f" in {out}" if out else f" on {settings.topics().models}"
    print(f"reference {made.hash} of {model} {version}: {len(made.features)} features, {made.rows} rows{where}", file=sys.stderr)


@app.command()
def promote(
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The version that is to be compared with it.")],
    from_version: Annotated[str | None, typer.Option(help="The version it was made for; the same when left out.")] = None,
    reference: Annotated[str | None, typer.Option(help="Its hash, or the begin of it; the newest in force when left out.")] = None,
    effective_from: Annotated[str, typer.Option(help="RFC 3339 or `now`: event time from which it is in force.")] = "now",
) -> None:
    """Put a reference that was published before in force for a version: an older one, a learned one, or another version's."""
    from driftline.registry import publish, read

    settings, source = Settings.from_environment(), from_version or version
    entries = read(settings.kafka_client(), settings.topics().models)
    found = [e for e in entries if isinstance(e, Reference) and (e.model, e.version) == (model, source)]
    chosen = sorted((e for e in found if e.hash.startswith(reference or "")), key=lambda e: e.effective_from)
    if not chosen:
        have = ", ".join(sorted({e.hash for e in found})) or "none"
        named = f" that begins with {reference}" if reference else ""
        raise DriftlineError("no_reference", f"no reference of {model} {source}{named} was published", f"one of: {have}")
    made = msgspec.structs.replace(chosen[-1], version=version, effective_from=_moment(effective_from))
    publish(settings.kafka_client(), settings.topics().models, [made])
    print(f"reference {made.hash} of {model} {version}, from {source}'s {chosen[-1].hash}: in force from {_since(made)}", file=sys.stderr)


@app.command()
def show(
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str | None, typer.Option(help="One version only, with its features.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as a JSON list.")] = False,
) -> None:
    """Show the references published for a model."""
    from rich.console import Console

    from driftline.registry import read
    from driftline.streams.joint import told_by

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
            console.print(*told_by(entry), *_rests_on(entry), sep="\n", markup=False)
    if not found:
        print(f"no reference of {model} {version or ''}; make one: driftline reference build FILE --model {model} …", file=sys.stderr)
        raise typer.Exit(1)


def _model(settings: Settings, name: str, task: Task) -> Model:
    """The model as its file says; without one the defaults."""
    from driftline.schemas.load import load_models

    configured = load_models(settings.models_directory()) if settings.models else {}
    return configured.get(name) or Model(name, task=task)


def _columns(scores: Sequence[str]) -> dict[str, str]:
    """The columns of the classes' probabilities, by class."""
    for text in scores:
        if not all(text.partition("=")):
            fix = "write --scores CLASS=COLUMN, once for each class"
            raise DriftlineError("reference_input", f"--scores {text!r} does not name a class and a column", fix)
    return {name: column for name, _, column in (text.partition("=") for text in scores)}


def _from_store(settings: Settings, model: Model, version: str, begin: int, end: int, effective_from: int) -> Reference:
    """What the panes of a range say, as far as the reference counted them that counted the last of them."""
    from driftline.sinks.clickhouse import ClickHouse
    from driftline.streams.stored import reference_from_panes

    about = {"model": model.model, "version": version, "begin": begin, "end": min(end, 2**42)}
    with ClickHouse.connect(settings.kept_store()) as store:
        last = store.query(_LAST, about).to_pylist()
        if not last:
            fix = "give a range in which the version had events, with --from and --to"
            raise DriftlineError("reference_empty", f"the store has no panes of {model.model} {version} in that time", fix)
        known = decode_entry(last[0]["content"].encode())
        assert isinstance(known, Reference)
        panes = store.query(_PANES, {**about, "reference": last[0]["reference"]}).to_pylist()
    return reference_from_panes(known, panes, model, effective_from)


_WHERE = """
    model = {model:String} AND version = {version:String} AND segment = ''
    AND pane_start >= fromUnixTimestamp64Milli({begin:Int64}) AND pane_start < fromUnixTimestamp64Milli({end:Int64})
"""
_LAST = f"""
SELECT reference, content
FROM `references` FINAL
WHERE model = {{model:String}} AND version = {{version:String}} AND reference =
(
    SELECT argMax(reference, pane_start) FROM feature_panes FINAL WHERE {_WHERE} AND reference != ''
)
LIMIT 1
"""
_PANES = f"""
SELECT toUnixTimestamp64Milli(pane_start) AS start, feature, n, missing, mean, variance, minimum, maximum, bins, categories
FROM feature_panes FINAL
WHERE {_WHERE} AND reference = {{reference:String}}
ORDER BY pane_start, feature
"""


def _moment(text: str | None, option: str = "--effective-from") -> int:
    if text is None:
        return 0
    if text == "now":
        return int(datetime.now(UTC).timestamp() * 1000)
    moment = parse_time(text)
    if isinstance(moment, Rejected):
        raise DriftlineError("bad_time", f"{option}: {moment.message}", "write for instance 2026-01-05T00:00:00Z, or now")
    return moment


def _since(entry: Reference) -> str:
    return (
        datetime.fromtimestamp(entry.effective_from / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        if entry.effective_from
        else "always"
    )


def _overview(found: list[Reference]) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("version", "reference", "in force from", "rows", "features", "origin"):
        table.add_column(name, no_wrap=name in {"reference", "in force from"})  # which other commands want as they stand here
    for entry in found:
        table.add_row(entry.version, entry.hash, _since(entry), str(entry.rows), str(len(entry.features)), entry.origin)
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


def _rests_on(entry: Reference) -> list[str]:
    """How well the model did, what verdicts rest on, and what has none."""
    known = entry.calibration.blocks
    rests = (
        f"verdicts rest on {known} blocks of rows in order of time"
        if known
        else "too few rows to know how they waver: taken as independent"
    )
    performance = ", ".join(f"{name} {value:.4g}" for name, value in entry.performance.metrics.items())
    told = [f"performance of {entry.performance.n} labelled rows: {performance}"] if performance else []
    return [*told, rests, *([f"ids or clocks, which have no verdict: {', '.join(entry.clocks)}"] if entry.clocks else [])]


def _in_words(profile: Profile) -> str:
    """One line: mean, deviation and range of numbers; the commonest categories."""
    if isinstance(profile, NumericProfile):
        if profile.minimum is None or profile.maximum is None:
            return "no values"
        deviation = (profile.m2 / profile.n) ** 0.5
        return f"{profile.mean:.4g} ± {deviation:.4g}, {profile.minimum:.4g} … {profile.maximum:.4g}, {len(profile.edges)} edges"
    named = [f"{text} {count / profile.n:.1%}" for text, count in zip(profile.categories, profile.counts, strict=True)]
    return ", ".join(named[:6]) + (f", {len(named) - 6} more" if len(named) > 6 else "")
