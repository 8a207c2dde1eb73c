"""Verdicts of drift: what is believed, what is not known, and what is a fault instead."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.signal import lfilter

from driftline.schemas.config import DAY_MS, HOUR_MS, Model, Policy, Window
from driftline.schemas.results import DriftResult
from driftline.streams.drift import Baseline, drift, level
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import faults_of, quality
from driftline.streams.stats import TESTS

NAMES = [f"f{i}" for i in range(40)]


def noise(n: int, seed: int, memory: float = 0.0) -> NDArray[np.float64]:
    z = np.random.default_rng(seed).standard_normal((n, len(NAMES))) * np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], z, axis=0))


def table(z: NDArray[np.float64]) -> pd.DataFrame:
    """Numbers, whole numbers and categories."""
    frame = pd.DataFrame(z, columns=NAMES)
    for i, name in enumerate(NAMES):
        if i % 4 == 1:
            frame[name] = np.floor(2 * frame[name])
        elif i % 4 == 3:
            frame[name] = np.where(frame[name] > 0.8, "gold", np.where(frame[name] > -0.2, "silver", "tin"))
    return frame


KINDS = {name: "categorical" if i % 4 == 3 else "numeric" for i, name in enumerate(NAMES)}
MODEL = Model("m", features=KINDS, tests=("psi",), policy=Policy(false_alarms=0.05 * 7 * 24 / 0.8))


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout(reference_from_frame(table(noise(8_000, 1)), MODEL, "1"))


def window_of(layout: Layout, frame: pd.DataFrame, model: Model = MODEL) -> Judged:
    pane = empty_pane(layout)
    pane.add_encoded(layout, layout.encode({str(name): frame[name].tolist() for name in frame}, len(frame)), np.arange(len(frame)))
    return Judged(WindowKey("m", "1", "", 0, HOUR_MS), model, layout, pane, 1, True, (pane,))


def judged(layout: Layout, frame: pd.DataFrame, model: Model = MODEL) -> dict[str, DriftResult]:
    window = window_of(layout, frame, model)
    return {row.feature: row for row in drift(window, faults_of(quality(window))) if row.test == "psi"}


def drifted(rows: dict[str, DriftResult]) -> list[str]:
    return [name for name, row in rows.items() if row.verdict == "drift"]


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_windows_without_drift_alarm_within_the_budget_whether_neighbours_are_alike_or_not(memory: float) -> None:
    stream = noise(8_000 + 40 * 500, 2, memory)
    known = Layout(reference_from_frame(table(stream[:8_000]), MODEL, "1"))
    any_size = Model("m", features=KINDS, tests=("psi",), policy=Policy(false_alarms=0.05 * 7 * 24 / 0.8, psi=1e-6))
    alarms = [bool(drifted(judged(known, table(part), any_size))) for part in np.split(stream[8_000:], 40)]
    # One in twenty is allowed; more than seven of forty would come by chance once in a thousand times.
    assert sum(alarms) <= 7


def test_a_feature_that_moves_is_found_and_its_neighbours_are_not(layout: Layout) -> None:
    z = noise(1_000, 3)
    z[:, 0] += 0.8
    assert drifted(judged(layout, table(z))) == ["f0"]


def test_a_window_is_measured_anew_when_its_rows_or_its_bounds_change_and_only_then(layout: Layout) -> None:
    model = replace(MODEL, tests=("psi", "wasserstein"))
    z = noise(1_000, 3)
    z[0, 0] = 50.0  # beyond the reference: where it counts is told by the largest value
    window = window_of(layout, table(z), model)
    first = [*drift(window)]
    assert first == [replace(row, is_final=True) for row in drift(dataclasses.replace(window, is_final=False))]
    window.pane.extremes[0, 1] += 100.0
    moved = {(row.feature, row.test) for row, before in zip(drift(window), first, strict=True) if row.value != before.value}
    assert moved == {("f0", "wasserstein")}
    window.pane.extremes[0, 1] -= 100.0
    window.pane.counts[layout.starts[0]] += 500
    assert {row.feature for row, before in zip(drift(window), first, strict=True) if row.value != before.value} == {"f0"}


def test_a_move_between_values_that_repeat_is_found(layout: Layout) -> None:
    z = noise(1_000, 4)
    z[:, 1] += 0.8
    assert drifted(judged(layout, table(z))) == ["f1"]


@pytest.mark.parametrize(
    ("feature", "change", "direction"),
    [
        (0, lambda z: z + 1, "up"),
        (0, lambda z: z - 1, "down"),
        (0, lambda z: 2 * z, "wider"),
        (0, lambda z: z / 2, "narrower"),
        (3, lambda z: z + 1, "more gold"),
    ],
)
def test_drift_says_which_way(layout: Layout, feature: int, change: object, direction: str) -> None:
    z = noise(2_000, 5)
    z[:, feature] = change(z[:, feature])  # type: ignore[operator]
    row = judged(layout, table(z))[f"f{feature}"]
    assert (row.verdict, row.direction) == ("drift", direction)


def test_twice_the_allowed_effect_is_critical(layout: Layout) -> None:
    mild, strong = noise(2_000, 6), noise(2_000, 6)
    mild[:, 0] += 0.55
    strong[:, 0] += 2
    assert [judged(layout, table(z))["f0"].severity for z in (mild, strong, noise(2_000, 6))] == ["warning", "critical", ""]


def test_a_window_too_small_for_the_budget_has_no_verdict(layout: Layout) -> None:
    strict = Model("m", features=KINDS, tests=("psi",), policy=Policy(min_samples=10, false_alarms=0.001))
    row = judged(layout, table(noise(40, 7)), strict)["f0"]
    assert row.verdict == "insufficient"
    assert row.reason.startswith("not enough data for a verdict at this budget: 40 values against 8000")


def test_so_short_a_reference_that_nothing_could_be_shown_has_no_verdict() -> None:
    few = Layout(reference_from_frame(table(noise(60, 8)), MODEL, "1"))
    strict = Model("m", features=KINDS, tests=("psi",), policy=Policy(min_samples=10, false_alarms=0.001))
    assert {row.verdict for row in judged(few, table(noise(1_000, 9)), strict).values()} == {"insufficient"}


def test_a_fault_is_no_drift_and_the_answers_to_it_are_none_either() -> None:
    rng = np.random.default_rng(10)
    frame = pd.DataFrame({"weight": rng.normal(70, 15, 4_000), "yes": rng.integers(0, 2, 4_000)})
    known = Layout(reference_from_frame(frame, Model("m", features={"weight": "numeric"}), "1", prediction="yes"))
    now = pd.DataFrame({"weight": rng.normal(70, 15, 800) / 0.4536, "(prediction)": [1] * 800})
    rows = judged(known, now)
    assert rows["weight"].verdict == "fault"
    assert "× 2.205 fits: pounds for kilograms?" in rows["weight"].reason
    assert rows["(prediction)"].verdict == "fault"
    assert "weight" in rows["(prediction)"].reason


def test_a_window_can_be_held_against_other_rows_than_the_references(layout: Layout) -> None:
    moved = noise(4_000, 11)
    moved[:, 0] += 1
    before, after = window_of(layout, table(moved[:2_000])), window_of(layout, table(moved[2_000:]))
    rows = {row.feature: row for row in drift(after, None, Baseline("trailing:7d", before.pane.counts))}
    assert rows["f0"].verdict == "ok"
    assert (rows["f0"].baseline, rows["f0"].n_reference) == ("trailing:7d", 2_000)
    assert judged(layout, table(moved[2_000:]))["f0"].verdict == "drift"


def test_a_baseline_that_is_missing_says_why(layout: Layout) -> None:
    rows = drift(window_of(layout, table(noise(500, 12))), None, Baseline("trailing:7d", missing="no window of the last 7 days is there"))
    assert {(row.verdict, row.reason) for row in rows} == {("insufficient", "no window of the last 7 days is there")}


def test_every_test_can_be_chosen_and_is_told_as_a_row() -> None:
    chosen = Model("m", features={"x": "numeric", "c": "categorical"}, tests=tuple(TESTS))  # type: ignore[arg-type]
    before, now = (table(noise(n, 13))[["f0", "f3"]].set_axis(["x", "c"], axis=1) for n in (3_000, 500))
    known = Layout(reference_from_frame(before, chosen, "1"))
    rows = drift(window_of(known, now, chosen))
    assert {row.test for row in rows if row.feature == "x"} == set(TESTS)
    assert {row.test for row in rows if row.feature == "c"} == {name for name, test in TESTS.items() if test.needs == "bins"}
    assert all(row.value is not None and row.null_quantile is not None for row in rows)


def test_significance_stands_beside_every_figure_of_a_feature(layout: Layout) -> None:
    rows = drift(window_of(layout, table(noise(500, 14)), Model("m", features=KINDS)))
    by_feature: dict[str, set[float | None]] = {}
    for row in rows:
        by_feature.setdefault(row.feature, set()).add(row.significance)
    assert all(len(told) == 1 and None not in told for told in by_feature.values())


spans = st.sampled_from([HOUR_MS, 6 * HOUR_MS, DAY_MS])


@given(
    every=st.lists(spans, min_size=1, max_size=3, unique=True),
    segments=st.lists(st.sampled_from("abcd"), max_size=4, unique=True),
    values=st.integers(1, 50),
    budget=st.floats(0.001, 20),
)
def test_all_windows_of_a_week_together_keep_the_budget(every: list[int], segments: list[str], values: int, budget: float) -> None:
    model = Model(
        "m", windows=tuple(Window(span, span) for span in every), segments=tuple(segments), segment_values=values,
        policy=Policy(false_alarms=budget),
    )  # fmt: skip
    windows = sum(7 * DAY_MS / span for span in every)
    spent = windows * (level(model, "") + len(segments) * values * level(model, "a=1") * bool(segments))
    assert spent <= budget
