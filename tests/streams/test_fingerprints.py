"""Faults of the data by their fingerprints: a conversion of units is told from a drift of its size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from driftline.schemas.config import Model
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import SCORE, Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import faults_of, quality

Floats = NDArray[np.float64]
MODEL = Model("m")
SHAPES = ("normal", "lognormal", "gamma")


def draw(shape: str, n: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return {"normal": rng.normal(40, 9, n), "lognormal": rng.lognormal(3.2, 0.5, n), "gamma": 20 + rng.gamma(4, 9, n)}[shape]


def faults(before: Floats, after: Floats, name: str = "x") -> dict[str, str]:
    layout = Layout(reference_from_frame(pd.DataFrame({"x": before, "s": before}), MODEL, "1", score="s" if name == SCORE else None))
    pane = empty_pane(layout)
    pane.add_encoded(layout, layout.encode({each: after.tolist() for each in layout.names}, len(after)), np.arange(len(after)))
    checks = quality(Judged(WindowKey("m", "1", "", 0, 60), MODEL, layout, pane, 1, is_final=True))
    return {feature: why for feature, why in faults_of(checks).items() if feature == name}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("scale", "words"), [(0.4536, "pounds"), (1000.0, "thousandths"), (1.609344, "miles"), (-1.0, "sign")])
def test_a_conversion_of_units_is_a_fault(shape: str, scale: float, words: str) -> None:
    assert words in faults(draw(shape, 5_000, 1), scale * draw(shape, 4_000, 2)).get("x", "")


@pytest.mark.parametrize(("before", "after"), [("normal", "lognormal"), ("lognormal", "normal"), ("gamma", "normal")])
def test_other_values_that_have_the_mean_and_the_spread_of_a_conversion_are_none(before: str, after: str) -> None:
    was, other = draw(before, 5_000, 1), draw(after, 4_000, 2)
    now = (other - other.mean()) / other.std() * was.std() * 0.4536 + was.mean() * 0.4536
    assert faults(was, now) == {}


def test_nothing_changed_is_no_fault() -> None:
    assert [faults(draw(shape, 5_000, 1), draw(shape, 2_000, 3)) for shape in SHAPES] == [{}] * 3


def test_a_score_is_not_measured_in_units() -> None:
    rng = np.random.default_rng(1)
    assert faults(rng.beta(2, 2, 5_000), 0.4536 * rng.beta(2, 2, 4_000), SCORE) == {}
