"""driftline and four other libraries in turn on the same bytes from the same topics, each pinned to the same core."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

import workload
from environments import python_of
from rig import WORKER_CORE, Broker, Failed, Site, say, throughput
from workload import Shape, Source

THREE = ("psi", "ks", "chi_square")  # what a model has whose file names no tests
NAMES = ("evidently", "nannyml", "river", "whylogs")
TIMEOUT_S = 1_200
WINDOWS = {"evidently": 6}  # of 10 000 predictions, the first one a warm-up: a window takes it a dozen seconds; the others do all


def compare(broker: Broker, events: int, warm_up: int, runs: int, tests: tuple[str, ...]) -> dict[str, Any]:
    """Medians by name, driftline's among them, and how many times as fast driftline is; each with those of the tests that it has."""
    shape = Shape(events=events, tests=tests)
    pythons = {name: python_of(name, "confluent-kafka", "orjson") for name in NAMES}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("driftline", *NAMES)}
    for number in range(runs):
        with Site(broker, shape) as site:
            ours = throughput(site, Source(shape), warm_up, events)
            site.stop_workers()
            found["driftline"].append({"predictions_per_core_second": ours.predictions_per_core_second})
            reference = site.directory / "reference.json"
            reference.write_text(json.dumps(_plain_reference(shape)))
            for name, python in pythons.items():
                found[name].append(_run(name, python, site, reference))
        say(f"peers, run {number + 1}: " + ", ".join(f"{n} {f[-1]['predictions_per_core_second']:,.0f}/s" for n, f in found.items()))
    rates = {name: median(run["predictions_per_core_second"] for run in list_) for name, list_ in found.items()}
    best = max(rates[name] for name in NAMES)
    return {
        **{name: {"predictions_per_core_second": rates[name], "ratio": rates["driftline"] / rates[name]} for name in found},
        "best_ratio": rates["driftline"] / best, "runs": runs, "predictions": events,
    }  # fmt: skip


def _plain_reference(shape: Shape) -> dict[str, list[Any]]:
    frame = workload.training(shape)[shape.names]
    return {
        name: [None if isinstance(value, float) and math.isnan(value) else value for value in frame[name].tolist()] for name in shape.names
    }


def _run(name: str, python: Path, site: Site, reference: Path) -> dict[str, Any]:
    command: list[Any] = [
        python,
        Path(__file__).with_name("peer.py"),
        name,
        site.broker.bootstrap,
        site.prefix,
        site.shape.partitions,
        reference,
    ]
    command += [",".join(site.shape.tests), WINDOWS.get(name, site.shape.events)]
    log = site.directory / f"{name}.log"
    with log.open("wb") as errors:
        peer = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=errors)
        os.sched_setaffinity(peer.pid, {WORKER_CORE})
        try:
            told, _ = peer.communicate(timeout=TIMEOUT_S)
        except BaseException as error:
            peer.kill()
            peer.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"{name} was not done in {TIMEOUT_S} s") from None
            raise
    if peer.returncode:
        raise Failed(f"{name} ended with status {peer.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    result: dict[str, Any] = json.loads(told.splitlines()[-1])
    return result
