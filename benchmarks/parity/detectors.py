"""Records where river's and frouros' detectors signal, as the oracle of `tests/stats/test_parity_detectors.py`.

Each library in an environment of its own:

    uv venv /tmp/river && uv pip install --python /tmp/river river==0.26.1 numpy scipy
    /tmp/river/bin/python benchmarks/parity/detectors.py river
    uv venv /tmp/frouros && uv pip install --python /tmp/frouros frouros==0.9.0
    /tmp/frouros/bin/python benchmarks/parity/detectors.py frouros

It writes `tests/stats/parity_<library>.json`: for each detector its parameters, the stream (made by `stream`, which the test repeats)
and the indices of its signals. `live.py` runs it with other seeds (`--first`), writes
elsewhere (`--output`) and has it measure KSWIN. NumPy's PCG64 streams are the same in every NumPy since 1.17.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[dict[str, Any], Iterable[float]], list[int]]


def stream(seed: int, kind: str, length: int) -> list[float]:
    """Values that change level a few times: errors (0 or 1), or normal values."""
    rng = np.random.default_rng(seed)
    segments = int(rng.integers(2, 6))
    level = np.repeat(rng.uniform(0.05, 0.6, segments), -(-length // segments))[:length]
    if kind == "errors":
        return [float(value) for value in rng.random(length) < level]
    return [float(value) for value in rng.normal(level * 4, 0.5)]


def river_run(name: str) -> Run:
    from river import drift

    make = getattr(drift, name, None) or getattr(drift.binary, name)

    def run(parameters: dict[str, Any], values: Iterable[float]) -> list[int]:
        detector, found = make(**parameters), []
        for i, value in enumerate(values):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
        return found

    return run


def frouros_run(name: str, reset: bool = True) -> Run:
    streaming = import_module("frouros.detectors.concept_drift.streaming")
    make, config = getattr(streaming, name), getattr(streaming, f"{name}Config")

    def run(parameters: dict[str, Any], values: Iterable[float]) -> list[int]:
        detector, found = make(config(**parameters)), []
        for i, value in enumerate(values):
            detector.update(value=value)
            if detector.drift:
                found.append(i)
                if reset:
                    detector.reset()
        return found

    return run


#: Our name -> (the library's, streams, parameters).
RIVER: dict[str, tuple[str, list[str], list[dict[str, Any]]]] = {
    "Adwin": (
        "ADWIN",
        ["errors", "normal"],
        [{}, {"delta": 0.05, "clock": 1}, {"clock": 8, "max_buckets": 3, "min_window_length": 12, "grace_period": 100}],
    ),
    "Ddm": ("DDM", ["errors"], [{}, {"warm_start": 100, "drift_threshold": 2.5}]),
    "Eddm": ("EDDM", ["errors"], [{}, {"warm_start": 50, "alpha": 0.9, "beta": 0.8}]),
    "HddmA": ("HDDMA", ["errors"], [{}, {"two_sided_test": True}, {"drift_confidence": 0.05, "warning_confidence": 0.1}]),
    "HddmW": ("HDDMW", ["errors"], [{}, {"two_sided_test": True}, {"lambda_val": 0.01, "drift_confidence": 0.01}]),
    "PageHinkley": (
        "PageHinkley",
        ["errors", "normal"],
        [{}, {"threshold": 15.0, "mode": "up"}, {"threshold": 15.0, "delta": 0.02, "mode": "down"}, {"alpha": 1.0, "threshold": 20.0}],
    ),
    "Kswin": ("KSWIN", ["errors", "normal"], [{"seed": 7}, {"seed": 3, "alpha": 0.001, "window_size": 200, "stat_size": 50}]),
}
FROUROS: dict[str, tuple[str, list[str], list[dict[str, Any]]]] = {
    "Cusum": ("CUSUM", ["errors", "normal"], [{}, {"lambda_": 15.0, "delta": 0.01, "min_num_instances": 50}]),
    "Ecdd": ("ECDDWT", ["errors"], [{}, {"average_run_length": 100}, {"average_run_length": 1000, "lambda_": 0.1}]),
    "Stepd": ("STEPD", ["errors"], [{}, {"alpha_d": 0.0005, "min_num_instances": 50}]),
    "Rddm": (
        "RDDM",
        ["errors"],
        [{}, {"max_concept_size": 900, "min_concept_size": 300, "max_num_instances_warning": 100}, {"drift_level": 3.0}],
    ),
    "Bocpd": ("BOCD", ["normal"], [{}]),
}


def kswin_speed(library: str, values: int = 5_000) -> float:
    """Updates a second of the library's KSWIN at its defaults."""
    rng = np.random.default_rng(1)
    stream = rng.normal(0, 1, values).tolist()
    if library == "river":
        from river import drift

        feed = drift.KSWIN(seed=1).update
    else:
        streaming = import_module("frouros.detectors.concept_drift.streaming")
        feed = streaming.KSWIN(streaming.KSWINConfig(seed=1)).update
    begin = time.perf_counter()
    for value in stream:
        feed(value)
    return values / (time.perf_counter() - begin)


def main(library: str, first: int, target: Path, *, timed: bool) -> None:
    cases = RIVER if library == "river" else FROUROS
    rows = []
    for name, (theirs, kinds, settings) in cases.items():
        # frouros' RDDM restarts by itself.
        run = river_run(theirs) if library == "river" else frouros_run(theirs, reset=name != "Rddm")
        length = 1200 if name in ("Kswin", "Bocpd") else 4000
        for parameters in settings:
            for kind in kinds:
                for seed in range(first, first + (2 if name in ("Kswin", "Bocpd") else 5)):
                    row = {"detector": name, "parameters": parameters, "seed": seed, "kind": kind, "length": length}
                    rows.append({**row, "signals": run(parameters, stream(seed, kind, length))})
    lines = ",\n".join(json.dumps(row) for row in rows)
    speed = f'"kswin_updates_a_second": {kswin_speed(library):.0f}, ' if timed else ""
    target.write_text(f'{{"{library}": "{version(library)}", {speed}"rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["river", "frouros"])
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--timed", action="store_true")
    asked = parser.parse_args()
    recorded = Path(__file__).parents[2] / "tests" / "stats" / f"parity_{asked.library}.json"
    main(asked.library, asked.first, asked.output or recorded, timed=asked.timed)
