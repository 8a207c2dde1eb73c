"""How the cost of a prediction grows with workers, models, features and odd shapes, and whether memory stays flat: `make bench-scale`.

    make bench-scale EVENTS=100000000            how many predictions the run for memory takes
    make bench-scale ARGS='--only models,memory'
    make bench-scale ARGS=--quick                small, into .cache/bench: to see that it works

Measured as in monitor-25, JSON on a real broker, one thing changed at a time. Workers beyond the number of cores share them: their
processor time counts, not the clock. Every run's counts are compared with what was published. The run for memory is `endurance`: ingest
and evaluate in one process at full speed. Results go to benchmarks/results/scale.*, as each is known.
"""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import endurance
import results
from machine import machine
from rig import Failed, Site, brokers, say, throughput
from workload import Shape, Source

from driftline.schemas.errors import DriftlineError

NAME = "scale"
WARM_UP = 40_000
EVENTS = 20_000_000  # of the run for memory


@dataclass(frozen=True)
class Case:
    """One run of a series; `size` is what grows in it, None where nothing does."""

    name: str
    shape: Shape
    size: int | None = None
    workers: int = 1


#: By series: what is changed, and everything else kept. Windows are as long in event time in all runs of a series: of ten times the
#: models each has a tenth of the predictions in a window.
SERIES: dict[str, list[Case]] = {
    "workers": [Case(f"{n} on {n} partitions", Shape(200_000 * n, partitions=n), n, n) for n in (1, 2, 4)],
    "models": [Case(f"{n}", Shape(260_000, models=n, window=100_000 // n), n) for n in (1, 100, 1_000)],
    "features": [
        Case(f"{n}", Shape(events, numeric=4 * n // 5, categorical=n // 5, window=5_000), n)
        for n, events in ((25, 100_000), (100, 50_000), (1_000, 10_000))
    ],
    "shapes": [
        Case("monitor-25", Shape(100_000)),
        Case("few wide events: 500 features", Shape(10_000, numeric=400, categorical=100, window=2_000)),
        Case("many narrow models: 300 of 3 features", Shape(170_000, models=300, numeric=2, categorical=1, window=100)),
        Case("one partition has 70 % of the events", Shape(100_000, hot=0.7)),
        Case("90 % of the labels are late", Shape(100_000, late=0.9)),
    ],
}
PARTS = (*SERIES, "memory")
COST = "cpu_microseconds_per_prediction"
WHAT = {"workers": "workers", "models": "models, the same traffic in all", "features": "features", "shapes": "other shapes"}


def smaller(case: Case) -> Case:
    """The case for a quick look: the same shape, a tenth of the events, in whole blocks."""
    block = case.shape.block
    return replace(case, shape=replace(case.shape, events=max(case.shape.events // 10 // block, 2) * block))


def measure(broker: Any, case: Case, warm_up: int) -> dict[str, float | int]:
    """One case: what a prediction costs, and the memory of the largest worker."""
    warm_up = max(min(warm_up, case.shape.events), 2 * case.shape.block)
    with Site(broker, case.shape) as site:
        run = throughput(site, Source(case.shape), warm_up, case.shape.events, case.workers)
    say(f"{case.name}: {run.cpu_s / run.events * 1e6:.1f} µs a prediction")
    return {
        **({} if case.size is None else {"size": case.size}),
        COST: run.cpu_s / run.events * 1e6, "peak_rss_bytes": run.peak_rss_bytes, "predictions": run.events,
    }  # fmt: skip


def memory(events: int) -> dict[str, Any]:
    """Memory while `events` predictions and their labels pass through; in a process of its own, which holds nothing else."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found: dict[str, Any] = pool.submit(endurance.measure, events).result()
    return found


def growth(found: dict[str, dict[str, float]]) -> float | None:
    """The exponent between the first and the last size: 0 is flat, 1 is in proportion.

    >>> growth({"a": {"size": 1, "cpu_microseconds_per_prediction": 2}, "b": {"size": 100, "cpu_microseconds_per_prediction": 200}})
    1.0
    """
    sized = [row for row in found.values() if "size" in row]
    if len(sized) < 2:
        return None
    first, last = sized[0], sized[-1]
    return math.log(last[COST] / first[COST]) / math.log(last["size"] / first["size"])


def line(found: dict[str, dict[str, float]]) -> tuple[float, float, float] | None:
    """What a prediction costs beside the size, what each more of the size adds, and how far the sizes between lie above that line, as a
    share; above zero by more than noise, the cost grows faster than the size.

    >>> line({name: {"size": n, "cpu_microseconds_per_prediction": 5 + 2 * n} for name, n in (("a", 1), ("b", 10), ("c", 100))})
    (5.0, 2.0, 0.0)
    """
    sized = [row for row in found.values() if "size" in row]
    if len(sized) < 3:
        return None
    first, last = sized[0], sized[-1]
    each = (last[COST] - first[COST]) / (last["size"] - first["size"])
    fixed = first[COST] - each * first["size"]
    above = [row[COST] / (fixed + each * row["size"]) - 1 for row in sized[1:-1]]
    return fixed, each, max(above, key=abs)


def report(found: dict[str, Any]) -> str:
    """Everything as text with tables."""
    parts = [f"# {NAME}\n\nWritten by `make bench-scale`. {results.where(found)}\n", *_series(found)]
    if "memory" in found:
        parts.append(_memory(found["memory"]))
    parts += [f"Not measured: {what}: {why}\n" for what, why in found.get("skipped", {}).items()]
    return "\n".join(parts)


def _series(found: dict[str, Any]) -> Iterator[str]:
    for name in SERIES:
        if not (rows := found.get(name)):
            continue
        first = next(iter(rows.values()))[COST]
        lines = [f"## {name}\n", f"| {WHAT[name]} | µs of processor time a prediction | ÷ first | peak memory | predictions |"]
        lines.append("| --- | ---: | ---: | ---: | ---: |")
        for case, row in rows.items():
            us, peak = row[COST], results.written(row["peak_rss_bytes"], "MiB")
            lines.append(f"| {case} | {us:.1f} | {us / first:.2f} | {peak} | {results.written(row['predictions'], '')} |")
        lines.append(_growth(rows))
        yield "\n".join(lines) + "\n"


def _growth(rows: dict[str, dict[str, float]]) -> str:
    """The shape of the growth, in words."""
    exponent, fitted = growth(rows), line(rows)
    if exponent is None:
        return ""
    told = f"\nFrom the first to the last, the cost of a prediction grows as the size to the power of {exponent:.2f}"
    if fitted is None:
        return f"{told}."
    fixed, each, above = fitted
    return f"{told}: {fixed:.1f} µs and {each:.3g} µs for each one; between them it lies {above:+.0%} off that line."


def _memory(found: dict[str, Any]) -> str:
    lines = ["## memory\n", "| predictions so far | memory of ingest and evaluate in one process |", "| ---: | ---: |"]
    lines += [f"| {results.written(x['predictions'], '')} | {results.written(x['rss_bytes'], 'MiB')} |" for x in found["looks"]]
    grown = found["bytes_per_prediction_in_the_second_half"]
    return "\n".join(lines) + f"\n\nIn the second half memory grows by {grown:.2f} bytes a prediction.\n"


def run(broker: Any, series: str, quick: bool) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The figures of a series by case, and why cases are missing; told anew after each case."""
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for case in map(smaller, SERIES[series]) if quick else SERIES[series]:
        try:
            found[case.name] = measure(broker, case, WARM_UP // 4 if quick else WARM_UP)
        except Exception as error:
            if not isinstance(error, Failed | DriftlineError):
                traceback.print_exc()
            skipped[f"{series}, {case.name}"] = (str(error) or type(error).__name__).splitlines()[0]
            say(f"{case.name} WAS NOT MEASURED: {error}")
        yield found, skipped


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, and written to .cache/bench only")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--events", type=int, help=f"predictions of the run for memory; default {EVENTS:,}")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    directory = results.directory(options.quick)
    about, failed = machine(), False
    with brokers() as broker:
        for part in chosen:
            say(f"{part} …")
            if part == "memory":
                keep(part, memory(options.events or (400_000 if options.quick else EVENTS)), {}, about, directory)
                continue
            skipped: dict[str, str] = {}
            for found, skipped in run(broker, part, options.quick):
                keep(part, found, skipped, about, directory)
            failed |= bool(skipped)
    print((directory / f"{NAME}.md").read_text("utf-8"))
    return int(failed)


def keep(part: str, found: dict[str, Any], skipped: dict[str, str], about: dict[str, Any], directory: Path) -> None:
    """Write what is known now, so that a run that is ended has not been in vain."""
    before = results.load(directory / f"{NAME}.json")
    others = {what: why for what, why in before.get("skipped", {}).items() if what.split(",")[0] != part}
    everything = results.merged(before, about, {part: found, "skipped": others | skipped})
    results.write_json(everything, NAME, directory)
    (directory / f"{NAME}.md").write_text(report(everything), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
