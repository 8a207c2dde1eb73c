"""Records where river's detectors signal, as the oracle of `tests/stats`. Run in an environment of its own:

    uv venv /tmp/river && uv pip install --python /tmp/river river==0.26.1 numpy && /tmp/river/bin/python benchmarks/parity/river_drift.py

It writes `tests/stats/river_drift.json`: for each detector, its parameters, the stream (made again by `stream` below, which the test
repeats word by word) and the indices of its signals. NumPy's PCG64 streams are the same in every NumPy since 1.17.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import river
from river import drift


def stream(seed: int, kind: str, length: int) -> list[float]:
    """Values that change level a few times: errors (0 or 1), or normal values."""
    rng = np.random.default_rng(seed)
    segments = int(rng.integers(2, 6))
    level = np.repeat(rng.uniform(0.05, 0.6, segments), -(-length // segments))[:length]
    if kind == "errors":
        return [float(value) for value in rng.random(length) < level]
    return [float(value) for value in rng.normal(level * 4, 0.5)]


def signals(detector: drift.base.DriftDetector, values: list[float]) -> list[int]:
    found = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(i)
    return found


CASES = {
    "Adwin": (
        drift.ADWIN,
        [{}, {"delta": 0.05, "clock": 1}, {"clock": 8, "max_buckets": 3, "min_window_length": 12, "grace_period": 100}],
        ["errors", "normal"],
    ),
}


def main() -> None:
    rows = [
        {
            "detector": name,
            "parameters": parameters,
            "seed": seed,
            "kind": kind,
            "length": 4000,
            "signals": signals(make(**parameters), stream(seed, kind, 4000)),
        }
        for name, (make, settings, kinds) in CASES.items()
        for parameters in settings
        for kind in kinds
        for seed in range(6)
    ]
    target = Path(__file__).parents[2] / "tests" / "stats" / "river_drift.json"
    target.write_text(json.dumps({"river": river.__version__, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
