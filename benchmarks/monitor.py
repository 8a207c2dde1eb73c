"""monitor-25: what one worker core does with a million predictions of 25 features and their labels.

    make bench                      everything but the peers; `make bench-peers` these too
    make bench ARGS='--quick'       smaller, into .cache/bench: to see that it works, not how fast it is
    make bench ARGS='--only json,latency --size runs=5 events=200000'

The worker is a real `driftline worker` on one core: windows of 10 000 predictions, every verdict and detector, ClickHouse in another
process over HTTP, alerts to Kafka, snapshots and commits on. Afterwards every window's counts in ClickHouse are compared with what was
published: a worker that is fast and wrong fails. Results go to benchmarks/results and, from there, into the README.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, get_args

import cold
import fastapi_load
import peers
import publisher
import results
import waiting
from agreement import agreement
from latency import Behind, latency
from machine import machine
from rig import Failed, Site, Throughput, brokers, say, throughput
from workload import TESTS, Format, Shape, Source

from driftline.schemas.errors import DriftlineError

NAME = "monitor-25"
#: The embedded broker keeps 5 MiB a partition: more than this many predictions at once would lose the first of them.
EMBEDDED_EVENTS = 80_000


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    events: int = 1_000_000
    warm_up: int = 80_000
    runs: int = 3
    windows: int = 60  # latency
    rate: int = 5_000  # predictions a second, latency
    waiting: int = 10_000_000
    cold: int = 20_000_000  # rows in the cold tier
    calls: int = 50_000
    rounds: int = 32  # short ones: what else the machine does falls upon few of them
    requests: int = 400
    peer_events: int = 400_000
    peer_runs: int = 3
    default_events: int = 400_000  # with three tests
    twin_events: int = 200_000  # without compiled code
    compared: int = 20  # windows, with SciPy


QUICK = Size(
    events=80_000, warm_up=40_000, runs=1, windows=8, rate=5_000, waiting=100_000, cold=200_000, calls=5_000, rounds=2, requests=300,
    peer_events=40_000, peer_runs=1, default_events=40_000, twin_events=40_000, compared=3,
)  # fmt: skip


@dataclass
class Bench:
    """Measures part by part; a part that cannot be measured is said aloud and left out."""

    broker: Any
    size: Size
    found: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def json(self) -> None:
        """The JSON lane."""
        self.found["json"] = self._runs("json")

    def arrow(self) -> None:
        self.found["arrow"] = self._runs("arrow")

    def twins(self) -> None:
        """Both lanes without compiled code: a worker that finds no numba does everything by NumPy."""
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "numba.py").write_text("raise ImportError('hidden, to be measured without')\n")
            hidden = {"PYTHONPATH": os.pathsep.join([directory, *filter(None, [os.environ.get("PYTHONPATH")])])}
            for form in get_args(Format):
                self.found[f"{form}_twins"] = self._runs(form, self.size.twin_events, hidden)

    def embedded(self) -> None:
        """The JSON lane on the embedded broker, with as many events as it holds."""
        shape, found = Shape(events=min(self.size.events, EMBEDDED_EVENTS)), []
        for _ in range(self.size.runs):
            with brokers(embedded=True) as broker, Site(broker, shape) as site:
                found.append(throughput(site, Source(shape), min(self.size.warm_up, 40_000), shape.events))
        self.found["embedded"] = _median(found)

    def agreement(self) -> None:
        """How well the figures agree with SciPy's."""
        shape = Shape(events=(self.size.compared + 4) * 10_000)
        with Site(self.broker, shape) as site:
            throughput(site, Source(shape), 40_000, shape.events - 40_000)
            self.found["agreement"] = agreement(site, shape, self.size.compared)

    def latency(self) -> None:
        """At the wished rate, or at half and a quarter of it on a machine where the worker cannot keep up."""
        for part in (1, 2, 4):
            windows, rate = max(self.size.windows // part, 4), self.size.rate // part
            shape = Shape(events=(windows + 4) * 10_000, alternating=True)
            try:
                with Site(self.broker, shape) as site:
                    self.found["latency"] = latency(site, Source(shape), windows, rate)
                return
            except Behind as error:
                say(str(error))
                slow = error
        raise slow

    def waiting(self) -> None:
        self.found.update(waiting.waiting(self.broker, self.size.waiting))

    def cold(self) -> None:
        """In a process of its own: an engine in the process keeps its memory."""
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            self.found["cold"] = pool.submit(cold.rates, self.size.cold).result()

    def sdk(self) -> None:
        self.found["sdk"] = publisher.cost(self.size.calls)

    def service(self) -> None:
        self.broker.prepare(fastapi_load.TOPICS, 4)
        self.found["service"] = fastapi_load.load(self.broker.bootstrap, self.size.rounds, self.size.requests)

    def peers(self) -> None:
        size = self.size
        self.found["peers"] = peers.compare(self.broker, size.peer_events, size.warm_up // 2, size.peer_runs, TESTS)

    def defaults(self) -> None:
        """The same with the tests that a model has whose file names none."""
        size = self.size
        self.found["defaults"] = peers.compare(self.broker, size.default_events, size.warm_up // 2, size.peer_runs, peers.THREE)

    def _runs(self, form: Format, events: int = 0, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, float | int]:
        shape = Shape(events=events or self.size.events)
        found = []
        for number in range(self.size.runs):
            with Site(self.broker, shape, environment=dict(environment)) as site:
                found.append(throughput(site, Source(shape, form), self.size.warm_up, shape.events))
                say(f"{form}, run {number + 1}: {found[-1].predictions_per_core_second:,.0f} predictions a core second")
        return _median(found)

    def measure(self, name: str) -> None:
        """One part; what fails is told, and the others go on."""
        say(f"{name} …")
        before, load, begin_s = set(self.found), round(os.getloadavg()[0], 1), time.monotonic()  # what else the machine has to do
        try:
            part: Callable[[], None] = getattr(self, name)
            part()
            for new in self.found.keys() - before:
                self.found[new] |= {"load": load, "seconds_to_measure": round(time.monotonic() - begin_s)}
        except Exception as error:
            if not isinstance(error, Failed | DriftlineError):
                traceback.print_exc()
            self.skipped[name] = (str(error) or type(error).__name__).splitlines()[0]
            say(f"{name} WAS NOT MEASURED: {error}")


PARTS = ("json", "arrow", "twins", "agreement", "embedded", "latency", "waiting", "cold", "sdk", "service", "peers", "defaults")
BESIDE = ("peers", "defaults")  # parts with other libraries


def _median(runs: list[Throughput]) -> dict[str, float | int]:
    """Medians over the runs, each figure on its own; the rates of all runs beside it."""

    def of(figure: Callable[[Throughput], float]) -> float:
        return median(figure(run) for run in runs)

    return {
        "predictions_per_core_second": of(lambda run: run.predictions_per_core_second),
        "cpu_microseconds_per_prediction": of(lambda run: run.cpu_s / run.events * 1e6),
        "wall_predictions_per_second": of(lambda run: run.events / run.wall_s),
        "peak_rss_bytes": of(lambda run: run.peak_rss_bytes),
        "bytes_per_prediction": of(lambda run: run.bytes_per_prediction),
        "predictions": runs[0].events,
        "runs": len(runs),
        "slowest": min(run.predictions_per_core_second for run in runs),
        "fastest": max(run.predictions_per_core_second for run in runs),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, and written to .cache/bench only")
    parser.add_argument("--peers", action="store_true", help="run Evidently, NannyML, River and whylogs on the same bytes too")
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}")
    names = ", ".join(field.name for field in fields(Size))
    parser.add_argument("--size", nargs="*", default=[], metavar="NAME=N", help=f"any of {names}; the tables tell what was used")
    return parser.parse_args()


def sized(options: argparse.Namespace) -> Size:
    """What the command line asks for."""
    given = {name: int(value) for name, value in (text.split("=") for text in options.size)}
    return replace(QUICK if options.quick else Size(), **given)


def main() -> int:
    options = arguments()
    chosen = options.only.split(",") if options.only else [part for part in PARTS if part not in BESIDE]
    chosen += [part for part in BESIDE if options.peers and part not in chosen]
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    directory, about = results.directory(options.quick), machine()
    with brokers() as broker:
        bench = Bench(broker, sized(options))
        for part in chosen:
            bench.measure(part)
            found = keep(bench, part, about, directory)
    if not options.quick:
        results.publish(found)
    print((directory / f"{NAME}.md").read_text("utf-8"))
    return int(bool(bench.skipped))


def keep(bench: Bench, part: str, about: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Write what is known now, so that a run that is ended has not been in vain; returns all figures."""
    before = results.load(directory / f"{NAME}.json")
    skipped = {name: why for name, why in before.get("skipped", {}).items() if name != part} | bench.skipped
    found = results.merged(before, about, {**bench.found, "skipped": skipped})
    results.save(found, NAME, directory)
    return found


if __name__ == "__main__":
    sys.exit(main())
