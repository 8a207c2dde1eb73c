"""What a run looks like while it runs: the store is asked now and then, and the answer becomes a picture and lines of news.

Pure but for `look`: a `Look` is what the store said, `news` is what one look knows that the one before did not, `picture` draws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from driftline.report import Store
from driftline.story import LENGTH_MS, START_MS, Phase, Story

MAX_HEAT_ROWS = 8
MAX_COLUMNS = 40
MAX_NEWS = 9

Row = dict[str, Any]

_SQL = {
    "counts": """
        SELECT (SELECT sum(n) FROM performance_panes FINAL WHERE segment = '') AS predictions,
            (SELECT sum(n_labelled) FROM performance_panes FINAL WHERE segment = '') AS labelled,
            (SELECT count() FROM dead_letters FINAL) AS dead_letters,
            (SELECT uniqExact(window_start) FROM v_performance) AS windows""",
    "drift": """
        SELECT segment, feature, d.window_start AS start, any(d.window_end) AS end, max(d.effect) AS shift,
            arraySort(groupArrayIf(d.test, d.verdict IN ('drift', 'fault'))) AS tests
        FROM v_drift AS d GROUP BY segment, feature, start ORDER BY start, segment, feature""",
    "quality": """
        SELECT segment, feature, check, window_start AS start, window_end AS end, value, reference_value FROM v_quality
        WHERE verdict IN ('drift', 'fault') ORDER BY start, segment, feature""",
    "performance": """
        SELECT metric, window_start AS start, window_end AS end, value, reference_value, verdict FROM v_performance
        WHERE segment = '' AND metric IN ('accuracy', 'auc') AND value IS NOT NULL ORDER BY start""",
    "alerts": "SELECT incident AS id, cause, state, severity, message FROM v_alerts ORDER BY opened, id",
    "retrains": "SELECT id, cause, state, message FROM v_retrain ORDER BY requested, id",
}


@dataclass(frozen=True)
class Look:
    """What the store said, table by table."""

    counts: Row = field(default_factory=lambda: dict.fromkeys(("predictions", "labelled", "dead_letters", "windows"), 0))
    drift: list[Row] = field(default_factory=list)
    quality: list[Row] = field(default_factory=list)
    performance: list[Row] = field(default_factory=list)
    alerts: list[Row] = field(default_factory=list)
    retrains: list[Row] = field(default_factory=list)


class News(NamedTuple):
    """One thing that happened: what kind it is, a line of text without markup, and after how many seconds it was seen."""

    kind: str
    text: str
    seconds: float = 0.0


class Clock(NamedTuple):
    """How far the telling is. `fed` of `total` events; `ts` is the event time of the last one."""

    fed: int
    total: int
    ts: int
    seconds: float


def look(store: Store) -> Look:
    """Ask the store once."""
    answers: dict[str, list[Row]] = {name: store.query(sql).to_pylist() for name, sql in _SQL.items()}
    (counts,) = answers.pop("counts")
    return Look({name: int(count or 0) for name, count in counts.items()}, **answers)


# -- news


def news(before: Look, now: Look) -> list[News]:
    """What `now` knows and `before` did not, the most basic first."""
    kinds = (_first_judged, _drifted, _broken, _worse, _alerted, _requested)
    return [item for kind in kinds for item in kind(before, now)]


def _first_judged(before: Look, now: Look) -> list[News]:
    if before.drift or not now.drift:
        return []
    window = [row for row in now.drift if row["start"] == now.drift[0]["start"]]
    drifted = sum(1 for row in window if row["tests"])
    return [News("judged", f"window {_window(window[0])}, the first: {drifted or 'none'} of {len(window)} distributions drifts")]


def _drifted(before: Look, now: Look) -> list[News]:
    known = {(row["segment"], row["feature"]) for row in before.drift if row["tests"]}
    first: dict[tuple[str, str], Row] = {}
    for row in now.drift:
        if row["tests"]:
            first.setdefault((row["segment"], row["feature"]), row)
    return [
        News("drift", f"{row['feature']} drifts in {where(row['segment'])}, window {_window(row)}{_size(row)} by {', '.join(row['tests'])}")
        for key, row in first.items()
        if key not in known
    ]


def _size(row: Row) -> str:
    return "" if row["shift"] is None else f", {effect_name(row['feature'])} {row['shift']:.2f}"


def effect_name(feature: str) -> str:
    """What the effect is that a finding of drift tells, by its feature.

    >>> effect_name("usage"), effect_name("(error)")
    ('PSI', 'change of the loss')
    """
    return "change of the loss" if feature == "(error)" else "PSI"


def _broken(before: Look, now: Look) -> list[News]:
    known = {(row["segment"], row["feature"], row["check"]) for row in before.quality}
    first: dict[tuple[str, str, str], Row] = {}
    for row in now.quality:
        first.setdefault((row["segment"], row["feature"], row["check"]), row)
    return [
        News("fault", f"{row['feature']}: {row['check']} {row['value']:.1%} in {where(row['segment'])}, window {_window(row)}")
        for key, row in first.items()
        if key not in known
    ]


def _worse(before: Look, now: Look) -> list[News]:
    known = {row["metric"] for row in before.performance if row["verdict"] == "worse"}
    first: dict[str, Row] = {}
    for row in now.performance:
        if row["verdict"] == "worse":
            first.setdefault(row["metric"], row)
    return [
        News("worse", f"{metric} fell to {row['value']:.3f} in window {_window(row)} (reference {row['reference_value']:.3f})")
        for metric, row in first.items()
        if metric not in known
    ]


def _alerted(before: Look, now: Look) -> list[News]:
    known = {(row["id"], row["state"]) for row in before.alerts}
    return [News("alert", f"{row['state']}: {row['message']}") for row in now.alerts if (row["id"], row["state"]) not in known]


def _requested(before: Look, now: Look) -> list[News]:
    known = {(row["id"], row["state"]) for row in before.retrains}
    return [News("retrain", f"{row['state']}: {row['message']}") for row in now.retrains if (row["id"], row["state"]) not in known]


def where(segment: str) -> str:
    """
    >>> where(""), where("region=us")
    ('all predictions', 'region=us')
    """
    return segment or "all predictions"


def printable(text: str) -> str:
    """What a terminal may be given: names come from outside, so control characters are written out.

    >>> printable("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _window(row: Row) -> str:
    return f"{row['start']:%H:%M}–{row['end']:%H:%M}"


# -- pictures

STYLES = {
    "story": "bold cyan",
    "judged": "green",
    "drift": "yellow",
    "fault": "magenta",
    "worse": "red",
    "alert": "bold red",
    "retrain": "bold green",
}
SIGNS = {"story": "▶", "judged": "✓", "drift": "~", "fault": "✗", "worse": "↓", "alert": "!", "retrain": "↻"}


def line(item: News) -> Text:
    """One line of news; what does not fit is cut off where lines are not folded."""
    head = (f"{item.seconds:5.1f} s ", "dim"), (f"{SIGNS[item.kind]} {item.kind:<7} ", STYLES[item.kind])
    return Text.assemble(*head, printable(item.text), no_wrap=True, overflow="ellipsis")


def picture(told: Story, clock: Clock, now: Look, told_so_far: Sequence[News]) -> RenderableType:
    """The whole screen."""
    return Group(
        Rule(Text.assemble(("drift", "bold"), ("line", "bold orange_red1"), f" demo · {told.name}"), style="dim"),
        _story_line(told.phase_at(clock.ts), clock),
        _figures(clock, now),
        *_heat_map(now.drift),
        *(_curve(metric, [row for row in now.performance if row["metric"] == metric]) for metric in ("accuracy", "auc")),
        Rule(style="dim"),
        *(line(item) for item in told_so_far[-MAX_NEWS:]),
    )


def _story_line(phase: Phase, clock: Clock) -> RenderableType:
    moment = datetime.fromtimestamp(min(clock.ts, START_MS + LENGTH_MS) / 1000, UTC)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        Text(f"{moment:%d %b %H:%M}", "bold"),
        ProgressBar(total=max(clock.total, 1), completed=clock.fed, width=30),
        Text.assemble((phase.name, STYLES["story"]), f": {phase.text}", no_wrap=True, overflow="ellipsis"),
    )
    return grid


def _figures(clock: Clock, now: Look) -> Text:
    rate = clock.fed / clock.seconds if clock.seconds else 0.0
    found = sum(1 for row in now.drift if row["tests"])
    figures = {
        "events/s": f"{rate:,.0f}", "predictions": f"{now.counts['predictions']:,}", "labelled": f"{now.counts['labelled']:,}",
        "windows judged": str(now.counts["windows"]), "findings": str(found), "incidents": str(len(now.alerts)),
        "dead letters": str(now.counts["dead_letters"]),
    }  # fmt: skip
    return Text("   ").join(Text.assemble((value, "bold"), f" {name}") for name, value in figures.items())


def _heat_map(drift: Sequence[Row]) -> list[RenderableType]:
    """Features × windows, the most drifted first; the colour is the population stability index, ● a verdict."""
    starts = sorted({row["start"] for row in drift if row["feature"] != "(error)"})[-MAX_COLUMNS:]
    rows: dict[tuple[str, str], dict[datetime, Row]] = defaultdict(dict)
    for row in drift:
        if row["shift"] is not None and row["start"] in starts:
            rows[row["segment"], row["feature"]][row["start"]] = row
    ranked = sorted(
        rows, key=lambda key: (-sum(1 for row in rows[key].values() if row["tests"]), -max(r["shift"] for r in rows[key].values()), key)
    )
    return [
        Text.assemble(
            f"{printable(f'{feature} · {where(segment)}')[:34]:>34} ", *(_cell(rows[segment, feature].get(start)) for start in starts)
        )
        for segment, feature in ranked[:MAX_HEAT_ROWS]
    ]


def _cell(row: Row | None) -> tuple[str, str]:
    if row is None:
        return "  ", "on grey15"
    depth = min(1.0, row["shift"] / 0.5)
    red, green, blue = (round(38 + depth * (full - 38)) for full in (224, 82, 43))
    return ("● " if row["tests"] else "  "), f"on #{red:02x}{green:02x}{blue:02x}"


def _curve(metric: str, rows: Sequence[Row]) -> Text:
    """A line of blocks, from the worst value so far to the best; red where it was judged worse.

    >>> _curve("auc", [{"value": v, "verdict": "ok"} for v in (0.5, 0.6, 0.7)]).plain.split()
    ['auc', '▁▁▄▄██', '0.700']
    """
    if not rows:
        return Text(f"{metric:>34} waiting for labels", "dim")
    values = [row["value"] for row in rows][-MAX_COLUMNS:]
    low, span = min(values), max(max(values) - min(values), 0.05)
    bars = [
        ("▁▂▃▄▅▆▇█"[int((row["value"] - low) / span * 7.001)] * 2, "red" if row["verdict"] == "worse" else "green")
        for row in rows[-MAX_COLUMNS:]
    ]
    return Text.assemble(f"{metric:>34} ", *bars, f" {values[-1]:.3f}")
