"""Faults of the data in a window, named with their parameter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from scipy.stats import norm, pareto, t

from driftline.schemas.config import HOUR_MS, Exclusion, Model, Policy
from driftline.schemas.events import Prediction
from driftline.schemas.results import QualityResult
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import ADDED, Pane, empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import ROWS, faults_of, quality
from driftline.streams.values import EventValues

MODEL = Model("m", features={"weight": "numeric", "celsius": "numeric", "hour": "numeric", "plan": "categorical", "level": "numeric"})


def rows(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    day = np.array([1, 1, 1, 1, 2, 5, 20, 40, 60, 70, 70, 65, 60, 62, 64, 66, 70, 60, 50, 40, 20, 10, 5, 2])
    return pd.DataFrame(
        {
            "weight": rng.normal(70, 15, n), "celsius": rng.normal(10, 8, n), "hour": rng.choice(24, n, p=day / day.sum()),
            "plan": rng.choice(["basic", "pro"], n, p=[0.7, 0.3]), "level": rng.normal(0.1, 1, n),
        }
    )  # fmt: skip


LAYOUT = Layout(reference_from_frame(rows(0, 6_000), MODEL, "1"))


def pane_of(frame: pd.DataFrame) -> Pane:
    pane = empty_pane(LAYOUT)
    pane.add_encoded(LAYOUT, LAYOUT.encode({str(name): frame[name].tolist() for name in frame}, len(frame)), np.arange(len(frame)))
    return pane


def window(*parts: pd.DataFrame, model: Model = MODEL, **others: Any) -> Judged:
    panes, total = tuple(map(pane_of, parts)), empty_pane(LAYOUT)
    for pane in panes:
        total.add(pane)
    return Judged(WindowKey("m", "1", "", 0, HOUR_MS), model, LAYOUT, total, 1, True, panes, **others)


def check_of(judged: Judged, feature: str, check: str) -> QualityResult:
    return next(row for row in quality(judged) if (row.feature, row.check) == (feature, check))


def changed(**columns: Any) -> pd.DataFrame:
    frame = rows(1, 1_200)
    return frame.assign(**{name: change(frame[name]) for name, change in columns.items()})


@pytest.mark.parametrize(
    ("feature", "change", "says"),
    [
        ("weight", lambda x: x / 0.45359237, "× 2.205 fits: pounds for kilograms?"),
        ("celsius", lambda x: 1.8 * x + 32, "× 1.8 + 32 fits: Fahrenheit for Celsius?"),
        ("weight", lambda x: 1000 * x, "× 1000 fits"),
        ("weight", lambda x: -x, "× -1 fits: the sign was turned?"),
        ("weight", lambda x: 0 * x + 71, "all 1200 values are 71"),
        ("plan", lambda x: x.replace("pro", "PRO"), "'pro' is gone and 'PRO' has its share"),
        ("hour", lambda x: (x + 2) % 24, "turned by +2 h fits: another time zone?"),
    ],
)
def test_a_fault_is_named_with_its_parameter(feature: str, change: Any, says: str) -> None:
    found = faults_of(quality(window(changed(**{feature: change}))))
    assert list(found) == [feature]
    assert says in found[feature]


def test_a_conversion_in_the_middle_of_a_window_is_found_in_its_panes() -> None:
    frame = rows(2, 1_200)
    late = frame[800:].assign(weight=1000 * frame["weight"][800:])
    found = faults_of(quality(window(frame[:400], frame[400:800], late)))
    assert found["weight"].endswith("(in 1 of 3 panes)")


def test_true_drift_is_no_fault() -> None:
    moved = changed(weight=lambda x: x + 12, plan=lambda x: np.where(np.arange(len(x)) % 3 == 0, "pro", x), level=lambda x: 1.4 * x)
    assert faults_of(quality(window(moved))) == {}


@pytest.mark.parametrize("seed", range(10))
def test_windows_without_a_fault_have_none(seed: int) -> None:
    assert {row.verdict for row in quality(window(rows(100 + seed, 1_000), newest=HOUR_MS))} == {"ok"}


def test_traffic_that_comes_twice_is_found_by_its_pairs() -> None:
    frame = rows(3, 700)
    found = check_of(window(pd.concat([frame, frame]), rows(4, 1_400)), ROWS, "duplicated_traffic")
    assert (found.verdict, found.value) == ("fault", 0.5)
    assert found.reason == "50 % of the rows come twice or more, in pairs alike"


def test_what_is_wrong_with_the_rows_says_nothing_of_the_features() -> None:
    frame = rows(3, 700)
    assert faults_of(quality(window(pd.concat([frame, frame])))) == {}


@pytest.mark.parametrize(("usual", "verdict"), [(1_000.0, "ok"), (200.0, "fault"), (5_000.0, "fault"), (None, "ok")])
def test_far_more_or_fewer_rows_than_usual_are_a_fault_where_the_model_says_so(usual: float | None, verdict: str) -> None:
    strict = Model("m", features=MODEL.features, policy=Policy(volume_change=3))
    judged = window(rows(5, 1_000), model=strict, usual=usual)
    assert check_of(judged, ROWS, "volume").verdict == verdict
    assert check_of(replace(judged, model=MODEL), ROWS, "volume").verdict == "ok"


def test_silence_at_the_end_of_a_window_is_told_and_judged_where_the_model_says_so() -> None:
    strict = Model("m", features=MODEL.features, policy=Policy(max_silence_ms=600_000))
    judged = window(rows(6, 1_000), model=strict, newest=HOUR_MS - 700_000)
    found = check_of(judged, ROWS, "freshness")
    assert (found.value, found.verdict, found.reason) == (700.0, "fault", "no event in the last 700 seconds of the window")
    assert check_of(replace(judged, model=MODEL), ROWS, "freshness").verdict == "ok"


def test_an_excluded_time_is_told_and_has_no_verdict() -> None:
    holiday = Exclusion(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), "New Year")
    judged = window(changed(weight=lambda x: -x), model=Model("m", features=MODEL.features, exclude=(holiday,)))
    assert {(row.verdict, row.reason) for row in quality(judged)} == {("insufficient", "excluded: New Year")}


def tailed(rng: np.random.Generator, n: int, memory: float) -> pd.DataFrame:
    """Rows of features with tails of several weights, each row like the one before it by so much."""
    noise = rng.standard_normal((n, 6)) * np.sqrt(1 - memory**2)
    z = np.asarray(lfilter([1.0], [1.0, -memory], noise, axis=0))
    u = norm.cdf(z)
    return pd.DataFrame({
        "usual": 70 + 15 * z[:, 0], "wide": np.exp(2 * z[:, 1]), "wider": np.exp(3 * z[:, 2]), "widest": pareto.ppf(u[:, 3], 1.2),
        "two tails": np.tan(np.pi * (u[:, 4] - 0.5)), "heavy": t.ppf(u[:, 5], 3),
    })  # fmt: skip


def in_panes(known: Layout, parts: list[pd.DataFrame]) -> Judged:
    panes, total = [empty_pane(known) for _ in parts], empty_pane(known)
    for pane, part in zip(panes, parts, strict=True):
        pane.add_encoded(known, known.encode({str(name): part[name].tolist() for name in part}, len(part)), np.arange(len(part)))
        total.add(pane)
    return Judged(WindowKey("m", "1", "", 0, HOUR_MS), Model("m"), known, total, 1, True, tuple(panes))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("memory", [0.0, 0.7])
@pytest.mark.parametrize(("rows_in_pane", "panes", "rows"), [(40, 15, 1_000), (40, 15, 10_000), (400, 1, 10_000)])
def test_values_that_stay_in_their_unit_are_in_no_other_whatever_their_tail(
    seed: int, memory: float, rows_in_pane: int, panes: int, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    before = tailed(rng, rows, memory).assign(at=pd.date_range("2026-01-01", periods=rows, freq="s"))
    known = Layout(reference_from_frame(before, Model("m"), "1", time="at"))
    for _ in range(3):
        assert faults_of(quality(in_panes(known, [tailed(rng, rows_in_pane, memory) for _ in range(panes)]))) == {}


@pytest.mark.parametrize(("scale", "said"), [(1_000.0, "× 1000 fits"), (0.1, "× 0.1 fits"), (60.0, "× 60 fits")])
@pytest.mark.parametrize("rows_in_pane", [40, 400])
def test_another_unit_in_some_panes_of_a_window_is_told_though_they_are_small(scale: float, said: str, rows_in_pane: int) -> None:
    rng = np.random.default_rng(3)
    known = Layout(reference_from_frame(tailed(rng, 5_000, 0.0)[["usual", "heavy"]], Model("m"), "1"))
    parts = [tailed(rng, rows_in_pane, 0.0)[["usual", "heavy"]] * (scale if i < 4 else 1.0) for i in range(10)]
    found = faults_of(quality(in_panes(known, parts)))
    assert found.keys() == {"usual", "heavy"}
    assert all(why.startswith(said) and "of 10 panes)" in why for why in found.values())


def test_a_feature_that_no_event_has_any_more_is_removed() -> None:
    gone = window(rows(1, 600).assign(level=np.nan))
    assert (check_of(gone, "level", "removed").verdict, check_of(gone, "weight", "removed").verdict) == ("fault", "ok")
    assert faults_of(quality(gone)) == {"level": "no event of the window has it; 100.0 % of the reference's rows do"}


@pytest.mark.parametrize(("n", "verdict"), [(600, "ok"), (2_000, "fault")])
def test_a_feature_that_few_rows_have_is_removed_only_where_none_of_so_many_rows_is_no_accident(n: int, verdict: str) -> None:
    known = Layout(reference_from_frame(pd.DataFrame({"rare": [1.5, *[None] * 99] * 20, "often": 1.5}), Model("m"), "1"))
    pane = empty_pane(known)
    pane.add_encoded(known, known.encode({"often": [1.5] * n}, n), np.arange(n))
    judged = Judged(WindowKey("m", "1", "", 0, HOUR_MS), Model("m"), known, pane, 1, True, (pane,))
    assert check_of(judged, "rare", "removed").verdict == verdict


def test_a_feature_that_the_reference_does_not_know_is_told_with_its_share_and_not_judged() -> None:
    more = window(rows(1, 600))
    more.pane.add_features([("colour", 150)])
    row = check_of(more, "colour", "added")
    assert (row.value, row.verdict, row.threshold) == (0.25, "ok", None)


@pytest.mark.parametrize("wanted", [{}, {"x": "numeric", "y": "numeric"}])
def test_of_features_that_the_reference_does_not_know_those_that_the_file_names_are_counted_or_all(wanted: dict[str, Any]) -> None:
    layout = Layout(reference_from_frame(pd.DataFrame({"x": [1.0, 2.0]}), Model("m", features={"x": "numeric"}), "1"))
    told: list[dict[str, Any]] = [{"x": 1.0}, {"x": 1.0, "y": 2.0, "z": "a"}, {"y": None, "z": [1.0]}, {"(score)": 1.0}]
    events = [Prediction(str(i), "m", "1", 0, 1, features) for i, features in enumerate(told)]
    pane = empty_pane(layout)
    EventValues(events).fold(pane, layout, np.arange(4), Model("m", features=wanted))
    assert pane.novel[ADDED] == ({"y": 1} if wanted else {"y": 1, "z": 2})
