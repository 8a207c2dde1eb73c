"""`driftline topics`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from driftline.schemas.load import parse_duration
from driftline.schemas.topics import Topic
from driftline.settings import Settings
from driftline.streams.transport import topics as administration


def run(
    partitions: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Partitions of each topic. Default: as many as the predictions have, or 4.")
    ] = None,
    replication: Annotated[int, typer.Option(min=-1, max=15, help="Copies of each partition. -1: the broker's default.")] = -1,
    retention: Annotated[str, typer.Option(metavar="DURATION", help="How long records are kept at least.")] = "14d",
    check: Annotated[bool, typer.Option("--check", help="Create nothing, only look.")] = False,
) -> None:
    """Create the topics that are missing, and check the rest.

    Ends with status 1 when something is wrong with a topic; a worker refuses to start on it.
    """
    settings = Settings.from_environment()
    client, names = settings.kafka_client(), settings.topics()
    retention_ms = _milliseconds(retention)
    there = administration.partitions_of(client)
    table = names.table(partitions or there.get(names.predictions, administration.DEFAULT_PARTITIONS), retention_ms)
    made = [] if check else administration.create(client, table, replication)
    problems = administration.check(client, names, retention_ms, partitions)
    console = Console(highlight=False, soft_wrap=True)
    for topic in table:
        console.print(_line(topic, topic.name in made, [problem for problem in problems if problem.topic == topic.name]))
    if problems:
        raise typer.Exit(1)


def _line(topic: Topic, created: bool, problems: list[administration.Problem]) -> str:
    if not problems:
        state = "created" if created else "in order"
        return f"[green]✓[/] {topic.name:32} {topic.partitions:5} × {topic.cleanup:14} {state}"
    return "\n".join(f"[red]✗[/] {problem.topic:32} {escape(problem.problem)}\n  fix: {escape(problem.fix)}" for problem in problems)


def _milliseconds(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write for example 14d or 36h", param_hint="--retention") from error
