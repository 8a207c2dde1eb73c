"""The same alarm indices as river's and frouros' detectors, on streams recorded by `benchmarks/parity/detectors.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.streams import stats
from driftline.streams.stats import Batch

HERE = Path(__file__).parent
RECORDED = [row for library in ("river", "frouros") for row in json.loads((HERE / f"parity_{library}.json").read_text())["rows"]]


def stream(seed: int, kind: str, length: int) -> list[float]:
    rng = np.random.default_rng(seed)
    segments = int(rng.integers(2, 6))
    level = np.repeat(rng.uniform(0.05, 0.6, segments), -(-length // segments))[:length]
    if kind == "errors":
        return [float(value) for value in rng.random(length) < level]
    return [float(value) for value in rng.normal(level * 4, 0.5)]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['detector']}-{case['parameters']}-{case['kind']}-{case['seed']}")
def test_signals_come_at_the_same_values_as_the_librarys(case: dict[str, Any]) -> None:
    detector = getattr(stats, case["detector"])(**case["parameters"])
    state, found = detector.start(), []
    for i, value in enumerate(stream(case["seed"], case["kind"], case["length"])):
        state, signal = detector.update(state, Batch.one(value))
        if signal is not None:
            found.append(i)
    assert found == case["signals"]
