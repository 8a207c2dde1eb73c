"""`driftline replay`: a file of predictions and labels through the whole pipeline; or dead letters, once more."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table


def run(
    file: Annotated[Path | None, typer.Argument(help="CSV or Parquet, one row a prediction.")] = None,
    map: Annotated[Path | None, typer.Option(help="TOML that says which column is what; examples/elec/elec.toml shows how.")] = None,
    kafka: Annotated[str | None, typer.Option(help="host:port of a running Kafka; left out: the embedded broker.")] = None,
    store: Annotated[str | None, typer.Option(help="Directory of the results, kept; or the address of a ClickHouse.")] = None,
    parquet: Annotated[str | None, typer.Option(help="Directory that gets every row as Parquet files too.")] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the topics. A new one for each run on a Kafka that stays.")] = "driftline-replay",
    partitions: Annotated[int, typer.Option(min=1, help="Of each source topic.")] = 4,
    dead_letters: Annotated[bool, typer.Option("--dead-letters", help="Instead of a file: the dead letters at DRIFTLINE_KAFKA.")] = False,
    code: Annotated[str | None, typer.Option(help="Only dead letters of this code.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the dead letters, and put none back.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Publish a file of predictions and labels in order of time, and show what is found in it.

    With --dead-letters: put the records that could not be used back where they came from, once what was wrong is corrected. Each is
    put back once; what is still wrong comes back as a new dead letter.
    """
    if dead_letters:
        _put_back(code, dry_run, as_json)
        return
    if file is None or map is None:
        raise typer.BadParameter("give a FILE and its --map, or --dead-letters")
    from driftline.local import LocalStack
    from driftline.replay import open_replay
    from driftline.summary import summarise

    replay = open_replay(file, map)
    models = {replay.model.model: replay.model}
    stack = LocalStack(models, replay.references, kafka=kafka, store=store, parquet=parquet, prefix=prefix, partitions=partitions)
    with _progress(replay.events, quiet) as fed, stack:
        stack.feed(replay.records(), fed)
        stack.drain()
        found = summarise(stack.sink)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _print(found)
        _suggest(store)


def _put_back(code: str | None, dry_run: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from driftline.dead_letters import put_back
    from driftline.settings import Settings

    settings = Settings.from_environment()
    found = put_back(settings.kafka_client(), settings.topics(), code, dry_run=dry_run)
    if as_json:
        sys.stdout.write(json.dumps({"dry_run": dry_run, "dead_letters": [count._asdict() for count in found]}, indent=2) + "\n")
        return
    table = Table("code", "topic", "dead letters", "would be put back" if dry_run else "put back")
    for count in found:
        table.add_row(*map(Text, map(str, count)))
    Console().print(table if found else "No dead letters to put back.")


@contextmanager
def _progress(events: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; gives the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("starting", total=events)

        def fed(count: int) -> None:
            progress.update(task, completed=count, description="evaluating the last windows" if count >= events else "replaying")

        yield fed


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=LINE_WIDTH, soft_wrap=True)  # a file or a pipe cuts no name short
    counts = ", ".join(f"{found[name]} {words}" for name, words in _COUNTED.items())
    console.print(counts, highlight=False)
    if found["findings"]:
        console.print(_by_feature(found["findings"]))
    for alert in found["alerts"]:
        since, until = (moment[:16].replace("T", " ") for moment in alert["window"])
        about = f"{alert['model']} {alert['version']}: {alert['cause']} in {since} to {until} UTC"
        console.print(f"alert ({alert['severity']}, {alert['state']}): {about}", highlight=False, markup=False)
    for case in found["retrain_requests"]:
        console.print(f"retrain ({case['state']}): {case['message']}", highlight=False, markup=False)


LINE_WIDTH = 120  # where there is no terminal to ask
_COUNTED = {"events": "predictions", "joined": "with a label", "dead_letters": "dead letters", "windows": "windows"}


def _by_feature(findings: list[dict[str, Any]]) -> Table:
    """Findings of one feature or metric in one row: by which tests, in how many windows, the first of them, how large."""
    from rich.table import Column, Table
    from rich.text import Text

    from driftline.live import effect_name

    folded = (Column(name, overflow="fold") for name in ("model", "feature or metric", "found by"))
    table = Table(*folded, "windows", Column("first", no_wrap=True), Column("value", no_wrap=True))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in findings:
        about = " ".join(filter(None, (finding["model"], finding["version"], finding["segment"])))
        groups.setdefault((about, finding["feature"]), []).append(finding)
    for names, group in groups.items():
        tests, windows = dict.fromkeys(f["test"] for f in group), {tuple(f["window"]) for f in group}
        effects = [f["effect"] for f in group if f["effect"] is not None]
        values = [f["value"] for f in group if f["value"] is not None]
        size = f"{min(values):.3g} … {max(values):.3g}" if values else ""
        if effects:
            size = f"{effect_name(names[1])} up to {max(effects):.3g}"
        row = (*names, ", ".join(tests), str(len(windows)), min(windows)[0][:16].replace("T", " "), size)
        table.add_row(*map(Text, row))  # a name may look like markup
    return table


def _suggest(store: str | None) -> None:
    """How to look further, on standard error."""
    from driftline.sinks.clickhouse import masked

    if store is None:
        print("The results are gone now; keep them with --store DIRECTORY.", file=sys.stderr)
        return
    address = masked(store) if "://" in store else f"chdb://{Path(store).resolve()}"
    print(f'Ask the store: DRIFTLINE_CLICKHOUSE={address} driftline sql "SELECT * FROM v_drift LIMIT 10"', file=sys.stderr)
