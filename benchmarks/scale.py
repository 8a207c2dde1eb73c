"""How the cost of a prediction grows with workers, models, features and odd shapes, and whether memory stays flat: `make bench-scale`.

    make bench-scale EVENTS=100000000            how many predictions the run for memory takes
    make bench-scale ARGS='--only models,memory'
    make bench-scale ARGS=--quick                small, into .cache/bench: to see that it works

Measured as in monitor-25, JSON on a real broker, one thing changed at a time. Workers beyond the number of cores share them: their
processor time counts, not the clock. Every run's counts are compared with what was published. Results go to benchmarks/results/scale.*.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import results
from machine import machine
from rig import Failed, Site, brokers, say, throughput
from workload import Shape, Source

from driftline.schemas.errors import DriftlineError

NAME = "scale"
WARM_UP = 40_000
LOOKS = 20  # at the memory of the long run


@dataclass(frozen=True)
class Case:
    """One run of a series; `size` is what grows in it, None where nothing does."""

    name: str
    shape: Shape
    size: int | None = None
    workers: int = 1


#: By series: what is changed, and everything else kept. Windows are as long in event time in all runs of a series.
SERIES: dict[str, list[Case]] = {
    "workers": [Case(f"{n} on {n} partitions", Shape(100_000 * n, partitions=n), n, n) for n in (1, 2, 4)],
    "models": [Case(f"{n}", Shape(200_000, models=n, window=50_000 // n), n) for n in (1, 100, 1_000)],
    "features": [
        Case(f"{n}", Shape(events, numeric=4 * n // 5, categorical=n // 5, window=5_000), n)
        for n, events in ((25, 100_000), (100, 50_000), (1_000, 10_000))
    ],
    "shapes": [
        Case("monitor-25", Shape(100_000)),
        Case("few wide events: 500 features", Shape(10_000, numeric=400, categorical=100, window=2_000)),
        Case("many narrow models: 300 of 3 features", Shape(150_000, models=300, numeric=2, categorical=1, window=100)),
        Case("one partition has 70 % of the events", Shape(100_000, hot=0.7)),
        Case("90 % of the labels are late", Shape(100_000, late=0.9)),
    ],
}
PARTS = (*SERIES, "memory")
WHAT = {"workers": "workers", "models": "models, the same traffic in all", "features": "features", "shapes": "other shapes"}


def smaller(case: Case) -> Case:
    """The case for a quick look: the same shape, a tenth of the events."""
    return replace(case, shape=replace(case.shape, events=max(case.shape.events // 10, 2 * case.shape.block)))


def measure(broker: Any, case: Case, warm_up: int) -> dict[str, float | int]:
    """One case: what a prediction costs, and the memory of the largest worker."""
    warm_up = max(min(warm_up, case.shape.events), 2 * case.shape.block)
    with Site(broker, case.shape) as site:
        run = throughput(site, Source(case.shape), warm_up, case.shape.events, case.workers)
    say(f"{case.name}: {run.cpu_s / run.events * 1e6:.1f} µs a prediction")
    return {
        **({} if case.size is None else {"size": case.size}),
        "cpu_microseconds_per_prediction": run.cpu_s / run.events * 1e6, "peak_rss_bytes": run.peak_rss_bytes, "predictions": run.events,
    }  # fmt: skip


def memory(broker: Any, events: int) -> dict[str, Any]:
    """Memory of one worker while `events` predictions and their labels pass through it, part by part."""
    shape = Shape(events)
    with Site(broker, shape) as site:
        source, worker = Source(shape), site.start_worker()
        looks = []
        for _ in range(LOOKS):
            site.publish(source, max(events // LOOKS // shape.block, 1) * shape.block)
            site.catch_up()
            looks.append({"predictions": source.made, "rss_bytes": worker.memory("VmRSS")})
            say(f"{source.made:,} predictions: {looks[-1]['rss_bytes'] / 2**20:.0f} MiB")
        site.check(source.expected)
    return {"looks": looks, "bytes_per_prediction_in_the_second_half": slope(looks[LOOKS // 2 :])}


def slope(looks: list[dict[str, int]]) -> float:
    """Bytes by which memory grows a prediction: the line of least squares.

    >>> slope([{"predictions": 0, "rss_bytes": 5}, {"predictions": 10, "rss_bytes": 25}])
    2.0
    """
    n = len(looks)
    x, y = ([look[name] for look in looks] for name in ("predictions", "rss_bytes"))
    mean_x, mean_y = sum(x) / n, sum(y) / n
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def growth(found: dict[str, dict[str, float]]) -> float | None:
    """The exponent between the first and the last size: 0 is flat, 1 is in proportion.

    >>> growth({"a": {"size": 1, "cpu_microseconds_per_prediction": 2}, "b": {"size": 100, "cpu_microseconds_per_prediction": 200}})
    1.0
    """
    sized = [row for row in found.values() if "size" in row]
    if len(sized) < 2:
        return None
    first, last = sized[0], sized[-1]
    return math.log(last["cpu_microseconds_per_prediction"] / first["cpu_microseconds_per_prediction"]) / math.log(
        last["size"] / first["size"]
    )


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
        first = next(iter(rows.values()))["cpu_microseconds_per_prediction"]
        lines = [f"## {name}\n", f"| {WHAT[name]} | µs of processor time a prediction | ÷ first | peak memory | predictions |"]
        lines.append("| --- | ---: | ---: | ---: | ---: |")
        for case, row in rows.items():
            us, peak = row["cpu_microseconds_per_prediction"], results.written(row["peak_rss_bytes"], "MiB")
            lines.append(f"| {case} | {us:.1f} | {us / first:.2f} | {peak} | {results.written(row['predictions'], '')} |")
        if (exponent := growth(rows)) is not None:
            lines.append(f"\nFrom the first to the last, the cost of a prediction grows as the size to the power of {exponent:.2f}.")
        yield "\n".join(lines) + "\n"


def _memory(found: dict[str, Any]) -> str:
    lines = ["## memory\n", "| predictions so far | memory of the worker |", "| ---: | ---: |"]
    lines += [f"| {results.written(x['predictions'], '')} | {results.written(x['rss_bytes'], 'MiB')} |" for x in found["looks"]]
    grown = found["bytes_per_prediction_in_the_second_half"]
    return "\n".join(lines) + f"\n\nIn the second half memory grows by {grown:.2f} bytes a prediction. The label horizon is one hour.\n"


def run(broker: Any, series: str, quick: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The figures of a series by case, and why cases are missing."""
    found, skipped = {}, {}
    for case in map(smaller, SERIES[series]) if quick else SERIES[series]:
        try:
            found[case.name] = measure(broker, case, WARM_UP // 4 if quick else WARM_UP)
        except (Failed, DriftlineError) as error:
            skipped[f"{series}, {case.name}"] = str(error).splitlines()[0]
            say(f"{case.name} WAS NOT MEASURED: {error}")
    return found, skipped


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, and written to .cache/bench only")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--events", type=int, help="predictions of the run for memory; default 3 000 000")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    directory = results.directory(options.quick)
    before = results.load(directory / f"{NAME}.json")
    parts: dict[str, Any] = {}
    skipped = {what: why for what, why in before.get("skipped", {}).items() if what.split(",")[0] not in chosen}
    about = machine()
    with brokers() as broker:
        for part in chosen:
            say(f"{part} …")
            if part == "memory":
                parts[part] = memory(broker, options.events or (200_000 if options.quick else 3_000_000))
            else:
                parts[part], missing = run(broker, part, options.quick)
                skipped |= missing
    found = results.merged(before, about, {**parts, "skipped": skipped})
    results.write_json(found, NAME, directory)
    (directory / f"{NAME}.md").write_text(report(found), "utf-8")
    print(report(found))
    return int(bool(skipped))


if __name__ == "__main__":
    sys.exit(main())
