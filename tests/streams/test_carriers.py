"""Which segments carry a drift, told with its row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from msgspec import structs

from driftline.schemas.config import HOUR_MS, Model
from driftline.schemas.results import DriftResult, Results
from driftline.streams.carriers import carried
from driftline.streams.drift import drift
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.policy import findings_of
from driftline.streams.profile import reference_from_frame
from driftline.streams.segments import name_of

MODEL = Model("m", features={"x": "numeric", "y": "numeric"}, segments=("region",), tests=("psi",))


def rows(seed: int, n: int, moved: float = 0.0) -> pd.DataFrame:
    z = np.random.default_rng(seed).standard_normal((n, 2))
    z[:, 0] += moved
    return pd.DataFrame(z, columns=["x", "y"])


LAYOUT = Layout(reference_from_frame(rows(0, 8_000), MODEL, "1"))


def pane_of(frame: pd.DataFrame) -> Pane:
    pane = empty_pane(LAYOUT)
    pane.add_encoded(LAYOUT, LAYOUT.encode({str(name): frame[name].tolist() for name in frame}, len(frame)), np.arange(len(frame)))
    return pane


def told(**frames: pd.DataFrame) -> dict[str, DriftResult]:
    """The rows of a window made of these regions."""
    groups = {f"region={name}": pane_of(frame) for name, frame in frames.items()}
    whole = pane_of(pd.concat(frames.values()))
    window = Judged(WindowKey("m", "1", "", 0, HOUR_MS), MODEL, LAYOUT, whole, 1, True, (whole,))
    return {row.feature: row for row in carried(window, drift(window), groups)}


def test_the_segment_that_drifts_alone_is_named_with_its_share() -> None:
    found = told(eu=rows(1, 2_000), us=rows(2, 1_000, 2.0), asia=rows(3, 1_000))
    assert found["x"].verdict == "drift"
    assert found["x"].reason.startswith("region=us carries ")
    assert found["x"].reason.endswith(" of it with 25% of the rows")
    assert found["y"].reason == ""


def test_segments_that_drift_alike_are_not_named() -> None:
    found = told(eu=rows(1, 2_000, 1.0), us=rows(2, 1_000, 1.0))
    assert (found["x"].verdict, found["x"].reason) == ("drift", "")


def test_segments_of_few_rows_are_not_named() -> None:
    found = told(eu=rows(1, 2_000, 1.0), us=rows(2, 100, 5.0))
    assert found["x"].reason == ""


def test_without_drift_nothing_is_carried() -> None:
    assert {row.reason for row in told(eu=rows(1, 2_000), us=rows(2, 2_000)).values()} == {""}


def test_the_parts_of_one_name_sum_to_the_drift_and_the_carriers_are_shares_of_it() -> None:
    found = told(eu=rows(1, 2_000), us=rows(2, 1_000, 2.0), asia=rows(3, 100))["x"]
    assert set(found.split) == {"region=eu", "region=us", "region=(rest)"}
    assert sum(found.split.values()) == pytest.approx(found.effect)
    assert found.carriers == {"region=us": pytest.approx(found.split["region=us"] / (found.effect or 1))}


def test_combinations_are_split_beside_their_names() -> None:
    model = structs.replace(MODEL, segments=("region", "region+plan"))
    calm, moved = pane_of(rows(1, 2_000)), pane_of(rows(2, 1_000, 2.0))
    whole = pane_of(pd.concat([rows(1, 2_000), rows(2, 1_000, 2.0)]))
    window = Judged(WindowKey("m", "1", "", 0, HOUR_MS), model, LAYOUT, whole, 1, True, (whole,))
    [found, _] = carried(window, drift(window), {"region=eu": whole, "region+plan=eu+pro": moved, "region+plan=eu+free": calm})
    assert set(found.carriers) == {"region+plan=eu+pro"}
    for name in model.segments:
        assert sum(part for cell, part in found.split.items() if name_of(cell, model) == name) == pytest.approx(found.effect)


def test_an_alert_tells_what_carries_its_drift() -> None:
    [row, _] = told(eu=rows(1, 2_000), us=rows(2, 1_000, 2.0)).values()
    [(_, _, finding)] = findings_of(Results(drift_results=[row]))
    assert finding.carriers == row.carriers != {}
