"""What was measured, as JSON and as tables; the README's table is made from the same file, and a test holds it to that.

A run replaces the parts it measured and keeps the others, unless those come from another machine. Figures of a quick run never get here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import write_docs

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent / "results"
BUSY = 1.0  # load of a machine from which on it is said
SAME = ("cpu", "cores", "memory_gib")  # a machine is another one when one of these differs
Found = dict[str, Any]


class Row(NamedTuple):
    """One line of the table: where its figure is, how it is written, and what it is held against."""

    what: str
    key: str
    unit: str
    floor: str = ""
    goal: str = ""


ROWS = (
    Row("JSON, one event a message: predictions a core second¹", "json.predictions_per_core_second", "/s", "200 000", "450 000"),
    Row("the same, wall clock", "json.wall_predictions_per_second", "/s"),
    Row("the same, on the embedded broker", "embedded.predictions_per_core_second", "/s"),
    Row("Arrow, 1 000 events a message: predictions a core second¹", "arrow.predictions_per_core_second", "/s", "900 000", "3 000 000"),
    Row("JSON without compiled code", "json_twins.predictions_per_core_second", "/s"),
    Row("Arrow without compiled code", "arrow_twins.predictions_per_core_second", "/s"),
    Row("÷ best peer, same bytes, those of our tests that it has", "peers.best_ratio", "×", "5 ×", "12 ×"),
    Row("÷ Evidently", "peers.evidently.ratio", "×"),
    Row("÷ NannyML", "peers.nannyml.ratio", "×"),
    Row("÷ River", "peers.river.ratio", "×"),
    Row("÷ whylogs", "peers.whylogs.ratio", "×"),
    Row("JSON with the three tests of a model whose file names none", "defaults.driftline.predictions_per_core_second", "/s"),
    Row("the same ÷ best peer, same bytes, those of these tests that it has", "defaults.best_ratio", "×"),
    Row("peak memory of the worker, JSON", "json.peak_rss_bytes", "MiB"),
    Row("memory a waiting prediction, all of the process", "memory.bytes_per_waiting_prediction", "B", "64 B", "32 B"),
    Row("memory a waiting prediction, the join alone", "memory.join_bytes_per_waiting_prediction", "B", "64 B", "32 B"),
    Row("window closes → its rows are in ClickHouse, p99", "latency.row_p99_s", "s", "1 s", "0.1 s"),
    Row("window closes → its alert is on Kafka, p99", "latency.alert_p99_s", "s"),
    Row("restart until all waiting predictions are back", "recovery.seconds", "s", "60 s", "20 s"),
    Row("cold labels looked up", "cold.lookups_per_second", "/s"),
    Row("one call of the SDK, JSON: processor time", "sdk.microseconds_per_call", "µs", "50 µs", "10 µs"),
    Row("one call of the SDK, JSON: by the clock", "sdk.wall_microseconds_per_call", "µs"),
    Row("one call of the SDK, Arrow: processor time", "sdk.arrow_microseconds_per_call", "µs", "50 µs", "10 µs"),
    Row("the SDK, tables of 1 000: processor time a prediction", "sdk.table_microseconds_per_prediction", "µs", "50 µs", "10 µs"),
    Row("p99 a web service gains by the SDK", "service.added_p99_ms", "ms"),
    Row("largest difference of a KS distance to SciPy's on raw values", "agreement.ks.largest_difference", ""),
    Row("largest relative difference of a Wasserstein distance to it", "agreement.wasserstein.largest_relative_difference", ""),
    Row("the same in standard deviations of the reference", "agreement.wasserstein.largest_difference_in_deviations", ""),
    Row("largest relative difference of chi-square to SciPy's", "agreement.chi_square.largest_relative_difference", ""),
)  # fmt: skip


#: What the figures stand on: a sentence, and the keys of what it names.
SENTENCES = (
    ("JSON: the median of {}, of {} predictions each.", "json.runs", "json.predictions"),
    ("Arrow: the median of {}.", "arrow.runs"),
    ("Peers: the median of {}, of {} predictions each (Evidently: of 50 000), in turn with driftline.", "peers.runs", "peers.predictions"),
    ("With three tests: the median of {}, of {} predictions each.", "defaults.runs", "defaults.predictions"),
    ("Without compiled code: the median of {}, of {} predictions each.", "json_twins.runs", "json_twins.predictions"),
    ("Waiting: {} predictions.", "recovery.waiting"),
    ("Cold: {} at once of {} that wait in ClickHouse, in one process with it.", "cold.at_once", "cold.rows"),
    ("Latency: {} windows at {} predictions a second.", "latency.windows", "latency.predictions_per_second"),
    ("Service: {} rounds of {} requests.", "service.rounds", "service.requests"),
    ("Neighbouring rounds without the SDK lie {} ms apart; the broker on the same machine adds {} ms, whoever publishes.",
     "service.noise_p99_ms", "service.broker_p99_ms"),
)  # fmt: skip


def load(path: Path) -> Found:
    """What is there; empty without a file."""
    found: Found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def merged(before: Found, machine: Found, parts: Found) -> Found:
    """The parts put into what was there before on the same machine; `commits` tells of which driftline each was measured.

    >>> merged({"machine": {"cpu": "a"}, "json": {"x": 1}}, {"cpu": "a"}, {"arrow": {"x": 2}})["json"]
    {'x': 1}
    >>> merged({"machine": {"cpu": "a"}, "json": {"x": 1}}, {"cpu": "b", "driftline": "1f"}, {"arrow": {"x": 2}})
    {'machine': {'cpu': 'b', 'driftline': '1f'}, 'arrow': {'x': 2}, 'commits': {'arrow': '1f'}}
    """
    known = before if all(before.get("machine", {}).get(name) == machine.get(name) for name in SAME) else {}
    commits = known.get("commits", {}) | dict.fromkeys(parts.keys() - {"skipped"}, machine.get("driftline"))
    return {**known, "machine": machine, **parts, "commits": dict(sorted(commits.items()))}


def at(found: Found, key: str) -> Any:
    """The figure under a key with dots; None where nothing was measured."""
    value: Any = found
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def written(value: float, unit: str) -> str:
    """A figure for people: three digits, thousands apart.

    >>> written(612345.6, "/s"), written(0.0241, "s"), written(18.04, "×"), written(3_000_000, "MiB")
    ('612 000 /s', '0.0241 s', '18 ×', '2.86 MiB')
    """
    value = value / 2**20 if unit == "MiB" else value
    digits = f"{value:.3g}"
    plain = f"{float(digits):,.0f}".replace(",", " ") if abs(float(digits)) >= 1000 else digits
    return f"{plain} {unit}".strip()


def table(found: Found) -> str:
    """Everything that was measured against its budget."""
    lines = ["| monitor-25 | measured | floor | goal |", "| --- | ---: | ---: | ---: |"]
    for row in ROWS:
        value = at(found, row.key)
        if value is not None:
            lines.append(f"| {row.what} | {written(value, row.unit)} | {row.floor} | {row.goal} |")
    return "\n".join(lines)


def where(found: Found) -> str:
    """The machine, and of which driftline what was measured, in a sentence.

    >>> machine = {"cpu": "A", "cores": 2, "memory_gib": 4, "system": "Linux 6", "python": "3.11", "driftline": "1f"}
    >>> where({"machine": machine, "commits": {"json": "1f", "cold": "0e", "arrow": "1f"}})
    'Measured on A, 2 cores, 4 GiB, Linux 6, Python 3.11, of driftline 1f (cold: 0e).'
    """
    m = found["machine"]
    others: dict[str, list[str]] = {}
    for part, commit in found.get("commits", {}).items():
        if commit != m["driftline"]:
            others.setdefault(commit, []).append(part)
    told = "; ".join(f"{', '.join(names)}: {commit}" for commit, names in others.items())
    load = max((part.get("load", 0.0) for part in found.values() if isinstance(part, dict)), default=0.0)
    busy = f" Other work kept up to {load:.0f} threads of it busy meanwhile." if load >= BUSY else ""
    on = f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}, Python {m['python']}"
    return f"Measured on {on}, of driftline {m['driftline']}{f' ({told})' if told else ''}.{busy}"


def about(found: Found) -> str:
    """The machine, and what a figure stands on."""
    said = [sentence.format(*map(_of, values)) for sentence, *keys in SENTENCES if None not in (values := [at(found, key) for key in keys])]
    return f"¹ Processor time of the worker, 0.9 labels a prediction included. {where(found)} {' '.join(said)}"


def _of(value: float) -> str:
    return written(value, "")


def parts(found: Found) -> dict[str, str]:
    """What stands between the markers of a document."""
    missing = ", ".join(found.get("skipped", {}))
    why = f" Not measured this time: {missing} ([why](benchmarks/results/monitor-25.md))." if missing else ""
    return {"speed": f"{table(found)}\n\n{about(found)}{why}"}


def directory(quick: bool) -> Path:
    """Where results go: those of a quick run out of sight."""
    return ROOT / ".cache" / "bench" / "quick" if quick else HERE


def write_json(found: Found, name: str, directory: Path) -> None:
    """Write NAME.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")


def save(found: Found, name: str, directory: Path) -> Path:
    """Write NAME.json and NAME.md."""
    write_json(found, name, directory)
    path = directory / f"{name}.md"
    packages = f"Packages: {found['machine']['packages']}."
    skipped = "".join(f"\n- {what}: {why}" for what, why in found.get("skipped", {}).items())
    path.write_text(
        f"# {name}\n\nWritten by `make bench` and `make bench-peers`; every figure is in [{name}.json]({name}.json).\n\n"
        f"{table(found)}\n\n{about(found)} {packages}\n" + (f"\nNot measured:\n{skipped}\n" if skipped else ""), "utf-8",
    )  # fmt: skip
    return path


def publish(found: Found) -> None:
    """Put the table into the README."""
    readme = ROOT / "README.md"
    readme.write_text(write_docs.renewed(readme.read_text("utf-8"), parts(found)), "utf-8")
