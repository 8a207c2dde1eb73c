"""The HTML report: one file that opens anywhere, with its pictures inside and no script.

Made from the store's tables alone. This module turns rows into positions and texts; `report.html.j2` draws them, and escapes every
name, because names of models, features and categories come from whoever publishes events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import jinja2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference, decode_entry
from driftline.streams.joint import NAMES as JOINT

# Limits: a report stays readable, and of a few megabytes, whatever is in the store.
MAX_WINDOWS = 168  # the latest
MAX_HEAT_ROWS = 40  # the most drifted, of each segment
MAX_SEGMENTS = 12
MAX_CURVES = 6  # the whole, and the segments with most labels, in one chart
MAX_PICTURES = 12
MAX_VERSIONS = 20
MAX_LISTED = 100
MAX_BARS = 24

# The drawing board, in pixels. Heat maps and lines share the time axis.
LEFT, RIGHT, PLOT = 196, 12, 752
LINE_HEIGHT = 150
LETTER = 12  # the least distance of two texts one above the other
BAR_WIDTH, BAR_HEIGHT = 420, 120

Row = dict[str, Any]
Floats = NDArray[np.float64]


class Store(Protocol):
    """What the report needs of a store; `ClickHouse` is one."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table: ...


@dataclass(frozen=True)
class Axis:
    """Windows side by side: window `i` begins at `starts[i]` and lies at `x(i)` … `x(i) + width`."""

    starts: list[datetime]
    length: timedelta

    @property
    def width(self) -> float:
        return PLOT / len(self.starts)

    def x(self, i: float) -> float:
        return round(LEFT + i * self.width, 2)

    @cached_property
    def index(self) -> dict[datetime, int]:
        return {start: i for i, start in enumerate(self.starts)}

    @property
    def ticks(self) -> list[tuple[float, str]]:
        step = max(1, -(-len(self.starts) // 8))
        return [(self.x(i), self.label(self.starts[i])) for i in range(0, len(self.starts), step)]

    def label(self, start: datetime) -> str:
        return f"{start:%d %b %Y}" if self.length >= timedelta(days=1) else f"{start:%d %b %H:%M}"

    @property
    def unit(self) -> str:
        """The length in the largest unit that divides it.

        >>> Axis([], timedelta(minutes=90)).unit, Axis([], timedelta(hours=2)).unit
        ('90 min', '2 h')
        """
        seconds = self.length.total_seconds()
        size, name = next((size, name) for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1e-3, "ms")) if seconds % size < 1e-9)
        return f"{round(seconds / size)} {name}"


class Cell(NamedTuple):
    """One feature in one window. `shade` is 0 … 1; None where the window was not judged."""

    x: float
    shade: float | None
    flagged: bool
    title: str


class HeatMap(NamedTuple):
    segment: str
    rows: list[tuple[str, list[Cell]]]
    left_out: int


class Curve(NamedTuple):
    """One metric of one segment: an SVG path, the band of its interval, and the windows that were judged worse."""

    segment: str
    path: str
    band: str
    worse: list[tuple[float, float, str]]
    dots: list[tuple[float, float, str]]


class Chart(NamedTuple):
    """One metric over time. `levels` are horizontal lines: (y, y of what is said, name, value)."""

    metric: str
    curves: list[Curve]
    scale: list[tuple[float, str]]
    levels: list[tuple[float, float, str, str]]


class Bar(NamedTuple):
    """One bin: the shares of rows in the reference and in the window, as heights, and where they stand."""

    x: float
    width: float
    reference: float
    window: float
    shares: tuple[str, str]
    label: str


class Picture(NamedTuple):
    """The histograms of one feature in one window and in the reference, bin by bin beside each other."""

    feature: str
    segment: str
    when: str
    effect: str
    flagged: bool
    bars: list[Bar]
    rows: tuple[int, int]
    missing: tuple[str, str]


@dataclass(frozen=True)
class Version:
    """Everything the report shows of one model version at one window length."""

    model: str
    version: str
    axis: Axis
    totals: Row
    heat_maps: list[HeatMap]
    unjudged: int  # segments in which no window had a verdict
    charts: list[Chart]
    pictures: list[Picture]
    findings: list[Row]
    incidents: list[Row]
    marks: list[tuple[float, str, str]]  # incidents on the time axis: (x, numbers, text)
    retrains: list[Row]


def render(store: Store, model: str | None = None) -> str:
    """The report as HTML, of one model or of all.

    Raises
    ------
    DriftlineError
        `nothing_to_report`: the store has no results (of that model).
    """
    versions = [_version(store, row) for row in _subjects(store, model)]
    if not versions:
        known = [row["model"] for row in _ask(store, _MODELS, {})] if model else []
        fix = f"one of: {', '.join(known)}" if known else "publish events and let a worker judge a window first; `driftline demo` shows how"
        raise DriftlineError("nothing_to_report", "the store has no results" + (f" of model {model!r}" if model else ""), fix)
    board = {"LEFT": LEFT, "RIGHT": LEFT + PLOT, "WIDTH": LEFT + PLOT + RIGHT, "LINE": LINE_HEIGHT, "BARS": (BAR_WIDTH, BAR_HEIGHT)}
    return template("report.html.j2").render(versions=versions, board=board, dead_letters=_dead_letters(store))


def template(name: str) -> jinja2.Template:
    """A template of this package. It escapes whatever it is given, and knows how this project writes numbers and moments."""
    loader = jinja2.FunctionLoader(lambda name: files("driftline").joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )  # fmt: skip
    environment.filters["thousands"] = lambda n: f"{int(n):,}".replace(",", " ")
    environment.filters["number"] = _number
    environment.filters["moment"] = lambda t: f"{t:%Y-%m-%d %H:%M}"
    return environment.get_template(name)


# -- what is asked of the store


def _subjects(store: Store, model: str | None) -> list[Row]:
    sql = """
        SELECT model, version, toInt64(dateDiff('millisecond', window_start, window_end)) AS length_ms, count() AS results
        FROM (SELECT model, version, window_start, window_end FROM v_drift
              UNION ALL SELECT model, version, window_start, window_end FROM v_performance)
        WHERE {model:String} IN ('', model)
        GROUP BY model, version, length_ms ORDER BY model, version, length_ms LIMIT {limit:UInt32}"""
    return _ask(store, sql, {"model": model or "", "limit": MAX_VERSIONS})


_MODELS = "SELECT DISTINCT model FROM (SELECT model FROM v_drift UNION ALL SELECT model FROM v_performance) ORDER BY model LIMIT 50"


def _dead_letters(store: Store) -> list[Row]:
    return _ask(store, "SELECT code, count() AS records FROM dead_letters FINAL GROUP BY code ORDER BY records DESC LIMIT 20", {})


def _ask(store: Store, sql: str, parameters: Row) -> list[Row]:
    rows: list[Row] = store.query(sql, parameters).to_pylist()
    return rows


_OF_VERSION = """model = {model:String} AND version = {version:String}
    AND dateDiff('millisecond', window_start, window_end) = {length_ms:Int64}"""


def _version(store: Store, subject: Row) -> Version:
    # Windows of label time go on after the last prediction; they are shown where something was found in them.
    windows = f"""
        SELECT DISTINCT window_start
        FROM (SELECT model, version, window_start, window_end FROM v_drift WHERE feature != '(error)' OR verdict = 'drift'
              UNION ALL SELECT model, version, window_start, window_end FROM v_performance)
        WHERE {_OF_VERSION}
        ORDER BY window_start DESC LIMIT {{windows:UInt32}}"""
    starts = [row["window_start"] for row in reversed(_ask(store, windows, subject | {"windows": MAX_WINDOWS}))]
    axis = Axis(starts, timedelta(milliseconds=subject["length_ms"]))
    ask = subject | {"first": _iso(starts[0])}
    drift = _ask(store, _DRIFT, ask)
    references = _references(store, ask)
    judged = {row["segment"] for row in drift if row["judged"]}
    segments, unjudged = sorted(judged)[:MAX_SEGMENTS], {row["segment"] for row in drift} - judged
    incidents = _ask(store, _INCIDENTS, ask)
    return Version(
        subject["model"],
        subject["version"],
        axis,
        _totals(store, ask, drift),
        [heat for segment in segments if (heat := _heat_map(axis, segment, drift)).rows],
        len(unjudged),
        _charts(axis, _ask(store, _PERFORMANCE, ask)),
        [picture for cell in _strongest(drift) if (picture := _picture(store, ask, axis, cell, references))],
        _findings(drift, _ask(store, _QUALITY, ask)),
        incidents,
        _marks(axis, incidents),
        _ask(store, _RETRAINS, ask),
    )


_DRIFT = f"""
    SELECT segment, feature, window_start, max(d.effect) AS shift, max(d.value) AS largest, any(d.n) AS events, any(d.reference) AS hash,
        groupUniqArrayIf(d.test, d.verdict IN ('drift', 'fault')) AS flags,
        countIf(d.verdict IN ('ok', 'drift', 'fault')) AS judged,
        arrayStringConcat(arraySort(groupArray(concat(d.test, ' ', if(d.value IS NULL, '–', toString(round(d.value, 4)))))), ', ') AS said
    FROM v_drift AS d
    WHERE {_OF_VERSION} AND window_start >= {{first:DateTime64(3, 'UTC')}}
    GROUP BY segment, feature, window_start ORDER BY segment, feature, window_start"""

_PERFORMANCE = f"""
    SELECT segment, metric, window_start, value, lower, upper, reference_value, threshold, verdict, n, n_labelled
    FROM v_performance
    WHERE {_OF_VERSION} AND window_start >= {{first:DateTime64(3, 'UTC')}} AND basis = 'realised'
    ORDER BY metric, segment, window_start"""

_QUALITY = f"""
    SELECT segment, feature, check, min(q.window_start) AS first, count() AS windows, max(q.value) AS strongest, any(q.threshold) AS limit
    FROM v_quality AS q
    WHERE {_OF_VERSION} AND window_start >= {{first:DateTime64(3, 'UTC')}} AND verdict IN ('drift', 'fault')
    GROUP BY segment, feature, check ORDER BY first, windows DESC LIMIT {MAX_LISTED}"""

_INCIDENTS = f"""
    SELECT incident, cause, state, severity, window_start, window_end, opened, changed, message, sql FROM v_alerts
    WHERE model = {{model:String}} AND version = {{version:String}} ORDER BY opened, incident LIMIT {MAX_LISTED}"""

_RETRAINS = f"""
    SELECT id, cause, state, requested, training_start, training_end, rows, labelled_rows, expires, message, sql FROM v_retrain
    WHERE model = {{model:String}} AND version = {{version:String}} ORDER BY requested, id LIMIT {MAX_LISTED}"""


def _totals(store: Store, ask: Row, drift: list[Row]) -> Row:
    sql = """
        SELECT sum(p.n) AS predictions, sum(p.n_labelled) AS labelled FROM performance_panes AS p FINAL
        WHERE model = {model:String} AND version = {version:String} AND segment = ''"""
    (counted,) = _ask(store, sql, ask)
    segments = {row["segment"] for row in drift} - {""}
    return counted | {
        "features": len({row["feature"] for row in drift if not row["feature"].startswith("(")}),
        "segments": len(segments),
        "flagged": sum(1 for row in drift if row["flags"]),
        "judged": sum(1 for row in drift if row["judged"]),
    }


def _references(store: Store, ask: Row) -> dict[str, Reference]:
    sql = "SELECT reference, content FROM `references` FINAL WHERE model = {model:String} AND version = {version:String}"
    entries = {row["reference"]: decode_entry(row["content"].encode()) for row in _ask(store, sql, ask)}
    return {name: entry for name, entry in entries.items() if isinstance(entry, Reference)}


# -- drift over time


def _heat_map(axis: Axis, segment: str, drift: list[Row]) -> HeatMap:
    by_feature: dict[str, list[Row]] = defaultdict(list)
    for row in drift:
        if row["segment"] == segment and row["window_start"] in axis.index:
            by_feature[row["feature"]].append(row)
    ranked = sorted(by_feature, key=lambda name: max(_rank(row) for row in by_feature[name]), reverse=True)
    shown = [name for name in by_feature if name in set(ranked[:MAX_HEAT_ROWS])]
    return HeatMap(segment, [(name, _cells(axis, by_feature[name])) for name in shown], len(ranked) - len(shown))


def _cells(axis: Axis, rows: list[Row]) -> list[Cell]:
    index = axis.index
    return [
        Cell(
            axis.x(index[row["window_start"]]),
            None if row["shift"] is None or not row["judged"] else _shade(row["shift"]),
            bool(row["flags"]),
            f"{row['feature']} · {axis.label(row['window_start'])} · {row['events']} rows · {row['said']}",
        )
        for row in rows
    ]


def _shade(psi: float) -> float:
    """Depth of colour of a population stability index: 0 is none, 0.5 and more is all of it.

    >>> [_shade(psi) for psi in (0, 0.1, 0.5, 9.0)]
    [0.0, 0.2, 1.0, 1.0]
    """
    return round(min(1.0, max(0.0, psi) / 0.5), 3)


def _rank(row: Row) -> tuple[bool, float]:
    return bool(row["flags"]), row["shift"] or 0.0


def _findings(drift: list[Row], quality: list[Row]) -> list[Row]:
    """What was found, one row a feature and segment, the earliest first."""
    flagged: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in drift:
        if row["flags"]:
            flagged[row["segment"], row["feature"]].append(row)
    found = [
        {
            "segment": segment, "feature": feature, "tests": sorted({test for row in rows for test in row["flags"]}),
            "first": rows[0]["window_start"], "windows": len(rows),
            "strongest": max((row["largest" if feature in JOINT else "shift"] or 0.0) for row in rows),
        }
        for (segment, feature), rows in flagged.items()
    ]  # fmt: skip
    found += [row | {"tests": [row["check"]]} for row in quality]
    return sorted(found, key=lambda row: (row["first"], -row["strongest"], row["feature"]))[:MAX_LISTED]


def _marks(axis: Axis, incidents: list[Row]) -> list[tuple[float, str, str]]:
    """Where the incidents begin, numbered as in their table; those that begin in one window share a mark."""
    at: dict[float, list[tuple[int, str]]] = defaultdict(list)
    for number, row in enumerate(incidents, start=1):
        if row["window_start"] in axis.index and row["state"] != "retracted":
            at[axis.x(axis.index[row["window_start"]])].append((number, row["cause"]))
    return [(x, ",".join(str(n) for n, _ in here), ", ".join(cause for _, cause in here)) for x, here in at.items()]


# -- performance over time


def _charts(axis: Axis, rows: list[Row]) -> list[Chart]:
    by_metric: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["window_start"] in axis.index:
            by_metric[row["metric"]].append(row)
    charts = [_chart(axis, metric, of_metric) for metric, of_metric in by_metric.items()]
    return [chart for chart in charts if chart.curves]


def _chart(axis: Axis, metric: str, rows: list[Row]) -> Chart:
    whole = [row for row in rows if row["segment"] == ""]
    levels = [(name, next((row[field] for row in whole if row[field] is not None), None)) for name, field in _LEVELS]
    drawn: list[float] = [
        row[end] for row in rows for end in ("value", "lower", "upper") if row[end] is not None and (row["segment"] == "" or end == "value")
    ]
    drawn += [value for _, value in levels if value is not None]
    if not drawn:
        return Chart(metric, [], [], [])
    low, high = min(drawn), max(drawn)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 0.5
    low, high = low - margin, high + margin

    def y(value: float) -> float:
        return round(LINE_HEIGHT * (high - value) / (high - low), 2)

    judged: Counter[str] = Counter()
    for row in rows:
        judged[row["segment"]] += row["n_labelled"] * (row["verdict"] in ("ok", "worse") or row["segment"] == "")
    segments = sorted(sorted(+judged, key=lambda segment: (segment != "", -judged[segment]))[:MAX_CURVES])
    curves = [_curve(axis, segment, [row for row in rows if row["segment"] == segment], y) for segment in segments]
    marks = [(place, said, name, _number(value)) for (name, value), place, said in zip(*_apart(levels, y), strict=True)]
    return Chart(metric, [curve for curve in curves if curve.path], [(y(v), _number(v)) for v in _round_values(low, high)], marks)


def _apart(levels: list[tuple[str, float | None]], y: Callable[[float], float]) -> tuple[list[tuple[str, float]], list[float], list[float]]:
    """The levels there are, from the top down, where their lines lie, and where there is room to name them."""
    known = sorted(((name, value) for name, value in levels if value is not None), key=lambda level: -level[1])
    lines = [y(value) for _, value in known]
    said: list[float] = []
    for line in lines:
        said.append(max(line, said[-1] + LETTER) if said else line)
    return known, lines, said


_LEVELS = (("reference", "reference_value"), ("limit", "threshold"))


def _curve(axis: Axis, segment: str, rows: list[Row], y: Callable[[float], float]) -> Curve:
    points = [(axis.x(axis.index[row["window_start"]] + 0.5), row) for row in rows if row["value"] is not None]
    dots = [(x, y(row["value"]), _said(axis, row), row["verdict"] == "worse") for x, row in points]
    banded = [(x, row) for x, row in points if row["lower"] is not None and row["upper"] is not None]
    around = [(x, y(row["upper"])) for x, row in banded] + [(x, y(row["lower"])) for x, row in reversed(banded)]
    return Curve(
        segment,
        _path((x, height) for x, height, _, _ in dots),
        _path(around) + "Z" if around and not segment else "",
        [(x, height, said) for x, height, said, worse in dots if worse],
        [(x, height, said) for x, height, said, worse in dots if not worse],
    )


def _said(axis: Axis, row: Row) -> str:
    interval = f" [{_number(row['lower'])}, {_number(row['upper'])}]" if row["lower"] is not None and row["upper"] is not None else ""
    where = f"{row['segment']} · " if row["segment"] else ""
    return (
        f"{where}{row['metric']} {_number(row['value'])}{interval} · {axis.label(row['window_start'])} · "
        f"{row['n_labelled']} of {row['n']} labelled · {row['verdict']}"
    )


def _path(points: Iterable[tuple[float, float]]) -> str:
    """
    >>> _path([(0, 1), (2.5, 3)])
    'M0 1L2.5 3'
    """
    joined = "L".join(f"{x:g} {y:g}" for x, y in points)
    return joined and f"M{joined}"


def _round_values(low: float, high: float) -> list[float]:
    """Two to six round numbers between `low` and `high`.

    >>> _round_values(0.58, 0.83)
    [0.6, 0.7, 0.8]
    """
    raw = (high - low) / 4
    unit = 10.0 ** np.floor(np.log10(raw))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= raw)
    return [round(float(k * step), 10) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


# -- histograms


def _strongest(drift: list[Row]) -> list[Row]:
    """The window of the greatest shift of each feature and segment, the most shifted first; those of findings before the others."""
    best: dict[tuple[str, str], Row] = {}
    for row in drift:
        if row["judged"] and row["shift"] is not None and row["feature"] not in {*JOINT, "(error)"}:  # which have no histogram
            key = row["segment"], row["feature"]
            best[key] = max(best.get(key, row), row, key=_rank)
    ranked = sorted(best.values(), key=lambda row: (*(-part for part in _rank(row)), row["segment"], row["feature"]))
    flagged = [row for row in ranked if row["flags"]]
    return (flagged if len(flagged) >= 4 else ranked[:4])[:MAX_PICTURES]


def _picture(store: Store, ask: Row, axis: Axis, cell: Row, references: Mapping[str, Reference]) -> Picture | None:
    reference = references.get(cell["hash"])
    profile = reference.features.get(cell["feature"]) if reference else None
    sql = """
        SELECT sumForEach(p.bins) AS counts, sumMap(p.categories) AS named, sum(p.n) AS events, sum(p.missing) AS absent
        FROM feature_panes AS p FINAL
        WHERE model = {model:String} AND version = {version:String} AND segment = {segment:String} AND feature = {feature:String}
            AND reference = {hash:String} AND pane_start >= {begin:DateTime64(3, 'UTC')} AND pane_start < {end:DateTime64(3, 'UTC')}"""
    begin = cell["window_start"]
    window = {
        "segment": cell["segment"],
        "feature": cell["feature"],
        "hash": cell["hash"],
        "begin": _iso(begin),
        "end": _iso(begin + axis.length),
    }
    (found,) = _ask(store, sql, ask | window)
    if profile is None or not found["events"]:
        return None
    drawn = bars(profile, found["counts"], dict(found["named"]))
    if not drawn:
        return None
    return Picture(
        cell["feature"],
        cell["segment"],
        axis.label(begin),
        _number(cell["shift"]),
        bool(cell["flags"]),
        drawn,
        (profile.n + profile.missing, found["events"]),
        (_share(profile.missing, profile.n + profile.missing), _share(found["absent"], found["events"])),
    )


def bars(profile: Profile, counts: Sequence[int], named: dict[str, int]) -> list[Bar]:
    """A window beside its reference: `counts` of a numeric feature's bins, or the rows of each category, `named`."""
    if isinstance(profile, CategoricalProfile):
        return _category_bars(profile, named)
    if len(counts) != len(profile.counts):
        return []  # panes of another grid
    groups = _grid(profile, np.array(counts))
    return _draw(
        [label for label, _ in groups],
        *([float(w @ side) for _, w in groups] for side in (np.array(profile.counts), np.array(counts))),
    )


def _category_bars(profile: CategoricalProfile, window: dict[str, int]) -> list[Bar]:
    known = dict(zip(profile.categories, profile.counts, strict=True))
    ranked = sorted(
        {*known, *window}, key=lambda name: -(known.get(name, 0) / max(profile.n, 1) + window.get(name, 0) / max(sum(window.values()), 1))
    )
    shown, rest = ranked[: MAX_BARS - 1], ranked[MAX_BARS - 1 :]
    reference = [float(known.get(name, 0)) for name in shown] + [float(profile.other + sum(known.get(name, 0) for name in rest))]
    current = [float(window.get(name, 0)) for name in shown] + [float(sum(window.get(name, 0) for name in rest))]
    end = len(shown) + (reference[-1] + current[-1] > 0)
    return _draw([*shown, "(others)"][:end], reference[:end], current[:end])


def _grid(profile: NumericProfile, window: Floats) -> list[tuple[str, Floats]]:
    """What is drawn of a numeric profile: (name of the bar, weight of each bin in it).

    Few bins with rows on either side are drawn as they are. Many, of unequal width, are spread over bars of equal width between the
    outermost percent of the reference on either side, with a bar for what lies below and one for what lies above.
    """
    edges = np.asarray(profile.edges, float)
    k = len(profile.counts)
    in_use = np.flatnonzero(np.array(profile.counts) + window > 0).tolist()
    if len(in_use) <= MAX_BARS:
        names = [f"< {edges[0]:g}", *map(_named, edges.tolist(), [*edges[1:].tolist(), np.inf])]
        return [(names[i], np.eye(k)[i]) for i in in_use]
    reached = np.cumsum(profile.counts)[:-1] / max(sum(profile.counts), 1)
    low, high = float(edges[reached <= 0.01][-1] if (reached <= 0.01).any() else edges[0]), float(edges[np.argmax(reached >= 0.99)])
    high = high if high > low else float(edges[-1])
    marks = np.linspace(low, high, MAX_BARS - 1)
    weights = np.zeros((MAX_BARS, k))
    weights[0, 0], weights[-1, -1] = 1, 1
    position = np.concatenate([[-np.inf], marks, [np.inf]])
    for i, (left, right) in enumerate(pairwise(edges.tolist()), start=1):
        covered = np.clip(np.minimum(position[1:], right) - np.maximum(position[:-1], left), 0, None)
        weights[:, i] = covered / covered.sum()
    names = [f"< {low:.4g}", *(f"{left:.4g} – {right:.4g}" for left, right in pairwise(marks.tolist())), f"≥ {high:.4g}"]
    return list(zip(names, weights, strict=True))


def _named(low: float, high: float) -> str:
    """A bin, by its edges; of one that holds a single value that value.

    >>> _named(1.0, 2.5), _named(1.0, np.nextafter(1.0, 2)), _named(1.0, np.inf)
    ('1 – 2.5', '1', '≥ 1')
    """
    if high == np.nextafter(low, np.inf):
        return f"{low:g}"
    return f"{low:g} – {high:g}" if np.isfinite(high) else f"≥ {low:g}"


def _draw(labels: Sequence[str], reference: Sequence[float], window: Sequence[float]) -> list[Bar]:
    if not labels:
        return []  # no value was ever seen
    shares = [np.asarray(side) / max(sum(side), 1) for side in (reference, window)]
    top = max(float(np.max(shares)), 1e-9)
    width = BAR_WIDTH / len(labels)
    return [
        Bar(
            round(i * width, 2),
            round(width, 2),
            round(a / top * BAR_HEIGHT, 2),
            round(b / top * BAR_HEIGHT, 2),
            (f"{a:.1%}", f"{b:.1%}"),
            label,
        )
        for i, (label, a, b) in enumerate(zip(labels, *(side.tolist() for side in shares), strict=True))
    ]


# -- texts


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _number(value: float | None) -> str:
    """
    >>> _number(0.84217), _number(1234.5), _number(None)
    ('0.842', '1 234', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"
