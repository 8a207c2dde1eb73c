"""`driftline demo`: a seeded story through the whole pipeline, in this process, offline, in a minute."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from driftline.live import Clock, Look, News, effect_name, line, look, news, picture, printable, where
from driftline.schemas.errors import DriftlineError
from driftline.story import SCENARIOS, START_MS, Event, Scenario, Story, story

if TYPE_CHECKING:
    from driftline.local import LocalStack
    from driftline.sinks.clickhouse import ClickHouse

LOOK_S = 0.5
LINE_WIDTH = 120  # where there is no terminal to ask

QUERIES = {
    "Which features drifted, where and since when?": """
SELECT feature, segment, min(window_start) AS since, count() AS windows, round(max(value), 2) AS psi
FROM v_drift WHERE test = 'psi' AND verdict = 'drift'
GROUP BY feature, segment ORDER BY since, psi DESC""",
    "How good was the model, hour by hour?": """
SELECT formatDateTime(window_start, '%d %b %H:00') AS hour, round(avgIf(value, metric = 'accuracy'), 3) AS accuracy,
       round(avgIf(value, metric = 'auc'), 3) AS auc, round(avg(coverage), 2) AS labelled
FROM v_performance WHERE segment = '' AND basis = 'realised' GROUP BY hour ORDER BY min(window_start)""",
    "How far apart are any two hours? (From stored panes; no events are kept.)": """
SELECT feature, segment, round(psi, 3) AS psi
FROM psi_between(model = 'churn', version = '1', segment = 'region=us', feature = 'usage',
     a_from = '2026-01-05 00:00:00', a_to = '2026-01-05 01:00:00',
     b_from = '2026-01-05 08:00:00', b_to = '2026-01-05 09:00:00')""",
}


def run(
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.", min=0)] = 7,
    scenario: Annotated[Scenario, typer.Option(help=f"One of {', '.join(SCENARIOS)}.")] = "full",
    events: Annotated[int, typer.Option(help="Predictions in the story.", min=1)] = 40_000,
    serve: Annotated[bool, typer.Option("--serve", help="Keep running at the end, for events of your own.")] = False,
    store: Annotated[Path | None, typer.Option(help="Keep the database in this directory.", file_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="No view; one JSON object at the end.")] = False,
    report: Annotated[Path, typer.Option(help="Where to write the HTML report.", dir_okay=False)] = Path("driftline-report.html"),
) -> None:
    """Watch a model go wrong: embedded Kafka and ClickHouse, a worker, and ten hours of a seeded story.

    Customers change in one segment, later the world itself; labels arrive late. It shows what is found as it is found, and ends with
    a summary, three queries and an HTML report.
    """
    called = time.monotonic()
    _refuse_used(store)
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = LINE_WIDTH
    console.print(Text(f"starting Kafka, ClickHouse and a worker in this process, for a story of {events:,} predictions …", "dim"))
    log = _quiet()
    told = story(seed, scenario, events)
    try:
        with _stack(told, store) as stack:
            teller = Teller(stack, told, console, called)
            teller.tell(show=not as_json)
            _conclude(console, told, stack.sink, report, as_json=as_json)
            if serve:
                _serve(console, stack, teller, show=not as_json)
    except DriftlineError:
        print(*log, sep="\n", file=sys.stderr)
        raise
    if store:
        console.print(
            Text(f"ask more: DRIFTLINE_CLICKHOUSE=chdb://{store.resolve()} driftline sql 'SELECT * FROM v_alerts'"), soft_wrap=True
        )


def _refuse_used(store: Path | None) -> None:
    """Rows replace those that know less, and a new run begins at offset 0: it cannot go on where an old one ended."""
    if store and store.is_dir() and any(store.iterdir()):
        raise DriftlineError("store_used", f"{store} is not empty", "give --store a new directory, or remove this one")


def _stack(told: Story, store: Path | None) -> LocalStack:
    from driftline.local import LocalStack  # here, because it takes a while and there should be something to read
    from driftline.streams.profile import reference_from_frame

    reference = reference_from_frame(told.training, told.model, told.version, prediction="prediction", score="score", label="label")
    return LocalStack({told.model.model: told.model}, [reference], store=store)


class Teller:
    """Feeds the story in a thread of its own, and says what comes of it."""

    def __init__(self, stack: LocalStack, told: Story, console: Console, called: float) -> None:
        self._called = called  # when the command was; what is seen is timed from there
        self._stack, self._told, self._console = stack, told, console
        self._fed, self._ts, self._begin, self._end = 0, START_MS, time.monotonic(), 0.0
        self._failed: BaseException | None = None
        self._look, self._news, self._printed = Look(), list[News](), 0
        self._feeding = threading.Thread(target=self._feed, name="driftline-story", daemon=True)

    def tell(self, *, show: bool) -> None:
        """Feed everything, and return when all of it is in the store."""
        self._feeding.start()
        if not show:
            self._feeding.join()
        else:
            self.watch(self._feeding.is_alive)
        if self._failed:
            raise self._failed

    def watch(self, going_on: Callable[[], bool]) -> None:
        """Show what happens while `going_on()`: a picture on a terminal, else a line for each piece of news."""
        with self._screen() as show:
            while going_on():
                self._refresh()
                show()
                time.sleep(LOOK_S)
            self._refresh()
            show()

    @contextmanager
    def _screen(self) -> Iterator[Callable[[], None]]:
        """What shows the present state."""
        if not self._console.is_terminal:
            yield self._print_news
            return
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda: live.update(picture(self._told, self._clock(), self._look, self._news), refresh=True)

    def _print_news(self) -> None:
        while self._printed < len(self._news):
            self._console.print(line(self._news[self._printed]), soft_wrap=True)
            self._printed += 1

    def _feed(self) -> None:
        try:
            self._stack.feed(self._events())
            self._end = time.monotonic()
            self._stack.drain()
        except BaseException as error:  # for `tell`, which runs in another thread
            self._failed = error

    def _events(self) -> Iterator[Event]:
        for event in self._told.events():
            self._fed, self._ts = self._fed + 1, event.ts
            yield event

    def _clock(self) -> Clock:
        return Clock(self._fed, self._told.predictions + self._told.outcomes, self._ts, (self._end or time.monotonic()) - self._begin)

    def _refresh(self) -> None:
        told = sum(1 for item in self._news if item.kind == "story")
        phases = [News("story", phase.text) for phase in self._told.phases[told:] if phase.start_ms <= self._ts]
        now = look(self._stack.sink)
        seconds = time.monotonic() - self._called
        self._news += [item._replace(seconds=seconds) for item in (*phases, *news(self._look, now))]
        self._look = now


def _quiet() -> deque[str]:
    """Keep the last lines of the log away from the picture, for the case that something fails."""
    kept: deque[str] = deque(maxlen=30)
    handler = logging.StreamHandler()
    handler.emit = lambda record: kept.append(handler.format(record))  # type: ignore[method-assign]
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    return kept


def _conclude(console: Console, told: Story, store: ClickHouse, report: Path, *, as_json: bool) -> None:
    from driftline.report import render
    from driftline.summary import summarise

    found = summarise(store)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        _print_summary(console, told, found, look(store))
        _print_queries(console, store)
    report.write_text(render(store), "utf-8")
    console.print(Text(f"report: {report.resolve().as_uri()}"), soft_wrap=True)


def _print_summary(console: Console, told: Story, found: Mapping[str, Any], last: Look) -> None:
    console.print(Rule("the story", style="dim"))
    for phase in told.phases:
        console.print(
            Text.assemble((f"{datetime.fromtimestamp(phase.start_ms / 1000, UTC):%H:%M} {phase.name}", "bold cyan"), f": {phase.text}")
        )
    console.print(Rule("what came of it", style="dim"))
    console.print(Text(", ".join(f"{found[name]:,} {name.replace('_', ' ')}" for name in ("events", "joined", "dead_letters", "windows"))))
    console.print(_table("found", by_subject(found["findings"])))
    console.print(_table("alerts", [{name: row[name] for name in ("cause", "state", "message")} for row in last.alerts]))
    console.print(
        _table("retrain requests", [{name: row[name] for name in ("id", "state", "message")} for row in found["retrain_requests"]])
    )


def _print_queries(console: Console, store: ClickHouse) -> None:
    for question, sql in QUERIES.items():
        console.print(Rule(Text(question), style="dim", align="left"))
        console.print(Syntax(sql.strip(), "sql", background_color="default", word_wrap=True))
        console.print(_table("", store.query(sql).to_pylist()))


def by_subject(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a drifting feature and segment, and one a segment for all metrics that fell; the earliest first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in findings:
        fell = finding["verdict"] == "worse"
        subject = "performance" if fell else finding["feature"]
        row = rows.setdefault(
            (finding["segment"], subject),
            {
                "what": subject,
                "where": where(finding["segment"]),
                "by": set(),
                "first window": finding["window"][0],
                "windows": set(),
                "PSI": None,
            },
        )
        row["by"].add(finding["feature"] if fell else finding["test"])
        row["windows"].add(finding["window"][0])
        if effect_name(finding["feature"]) == "PSI":
            row["PSI"] = max(filter(None, (row["PSI"], finding["effect"])), default=None)
    return [row | {"by": ", ".join(sorted(row["by"])), "windows": len(row["windows"])} for row in rows.values()]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not rows:
        return Text(f"{title or 'rows'}: none", "dim")
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(
            name, justify="right" if isinstance(value, int | float) else "left", overflow="fold", no_wrap=name not in {"by", "message"}
        )
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    return table


def _shown(value: Any) -> str:
    """
    >>> _shown(None), _shown(0.8385337), _shown("2026-01-05T04:00:00.000Z")
    ('', '0.839', '2026-01-05 04:00')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):00.000Z$", r"\1 \2", printable(str(value)))


def _serve(console: Console, stack: LocalStack, teller: Teller, *, show: bool) -> None:
    """Go on until somebody presses Ctrl-C."""
    example = f'Publisher("{stack.kafka}", model="churn", version="1").predicted({{"tenure": 12, "plan": "pro"}}, prediction=1, score=0.8)'
    console.print(Text(f"still running; Ctrl-C ends it. For events of your own: {example}"), soft_wrap=True)
    with suppress(KeyboardInterrupt):
        if show:
            teller.watch(lambda: True)
        threading.Event().wait()
