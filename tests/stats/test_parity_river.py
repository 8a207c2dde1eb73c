"""The same alarm indices as river's detectors, on streams recorded by `benchmarks/parity/river_drift.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.streams import stats
from driftline.streams.stats import Batch

RECORDED = json.loads((Path(__file__).parent / "river_drift.json").read_text())["rows"]


def stream(seed: int, kind: str, length: int) -> list[float]:
    rng = np.random.default_rng(seed)
    segments = int(rng.integers(2, 6))
    level = np.repeat(rng.uniform(0.05, 0.6, segments), -(-length // segments))[:length]
    if kind == "errors":
        return [float(value) for value in rng.random(length) < level]
    return [float(value) for value in rng.normal(level * 4, 0.5)]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['detector']}-{case['parameters']}-{case['kind']}-{case['seed']}")
def test_signals_come_at_the_same_rows_as_river(case: dict[str, Any]) -> None:
    detector = getattr(stats, case["detector"])(**case["parameters"])
    state, found = detector.start(), []
    for i, value in enumerate(stream(case["seed"], case["kind"], case["length"])):
        state, signal = detector.update(state, Batch.one(value))
        if signal is not None:
            found.append(i)
    assert found == case["signals"]
