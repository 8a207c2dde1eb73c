"""Estimates without labels beside NannyML's, as recorded by `benchmarks/quality/estimates.py --record` on the data sets that it ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftline.schemas.config import Model
from driftline.schemas.reference import PerformanceProfile
from driftline.streams.estimates import Expectation, estimates
from driftline.streams.layout import Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import reference_from_frame

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("cbpe.json").read_text())
MODEL = Model("m")
LAYOUT = Layout(reference_from_frame(pd.DataFrame({"x": [1.0, 2.0]}), MODEL, "1"))


@pytest.mark.parametrize("name", RECORDED)
def test_estimates_are_those_of_nannyml_and_as_near_to_what_came_true(name: str) -> None:
    told = RECORDED[name]
    expectation = Expectation(MODEL, PerformanceProfile(scored=told["scored"]))
    chunks = []
    for said in told["said"]:
        pane = empty_pane(LAYOUT)
        pane.answers.said = {group: np.array(counts) for group, counts in said.items()}
        chunks.append(estimates(expectation, pane, LAYOUT))
    assert len(chunks) == 10
    for metric, figures in told["metrics"].items():
        ours = np.array([chunk["auc" if metric == "roc_auc" else metric].value for chunk in chunks])
        theirs, true = np.array(figures["nannyml"]), np.array(figures["realised"])
        # 256 bins against the rows themselves.
        assert np.abs(ours - theirs).max() < 0.001, metric
        assert np.abs(ours - true).mean() < np.abs(theirs - true).mean() + 0.0005, metric
        assert np.abs(ours - true).mean() < 0.015, metric
