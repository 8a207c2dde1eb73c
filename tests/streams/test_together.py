"""Verdicts on what features do together: what no feature shows alone is found, and nothing where nothing drifts."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from driftline.schemas.config import HOUR_MS, Model, Policy
from driftline.schemas.results import DriftResult
from driftline.streams.baselines import Earlier, baselines_of
from driftline.streams.drift import drift
from driftline.streams.joint import plan_of, told_by
from driftline.streams.judge import Judged, WindowKey, feature_rows
from driftline.streams.layout import Layout
from driftline.streams.panes import PaneKey, empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.stored import reference_from_panes
from driftline.streams.together import joint_drift

K = 6
NAMES = [f"f{i}" for i in range(K)]
MODEL = Model("m", multivariate=True, policy=Policy(min_samples=100, false_alarms=1.0))
DAYS = Model("m", multivariate=True, policy=MODEL.policy, baselines=("training", "trailing:7d"))
MIX = np.eye(K) + np.diag([0.8] * (K - 1), 1)  # neighbours go together


def rows(n: int, seed: int, memory: float = 0.0) -> NDArray[np.float64]:
    z = np.random.default_rng(seed).standard_normal((n, K)) * np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], z, axis=0) @ MIX)


def frame(x: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(x, columns=NAMES)


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout(reference_from_frame(frame(rows(10_000, 1)), MODEL, "1"))


def window_of(layout: Layout, x: NDArray[np.float64], model: Model = MODEL, segment: str = "") -> Judged:
    pane, plan = empty_pane(layout), plan_of(layout)
    encoded = layout.encode({name: x[:, i].tolist() for i, name in enumerate(NAMES)}, len(x))
    pane.add_encoded(layout, encoded, np.arange(len(x)))
    if plan:
        pane.add_joint(plan.sums(encoded.z[:, plan.features]))
    return Judged(WindowKey("m", "1", segment, 0, HOUR_MS), model, layout, pane, 1, True, (pane,))


def later(window: Judged, at: int) -> Judged:
    """The same rows, in the window that begins after so many hours."""
    return replace(window, key=window.key._replace(start=at * HOUR_MS, end=(at + 1) * HOUR_MS))


@pytest.fixture(scope="module")
def bare(layout: Layout) -> Layout:
    """A reference without joint statistics, as a learned one is."""
    return Layout(msgspec.structs.replace(layout.reference, joint=None))


@pytest.fixture(scope="module")
def before(bare: Layout) -> Earlier:
    """Sixty windows in which nothing drifts."""
    earlier, stream = Earlier(), rows(60 * 400, 21, 0.5)
    for at, part in enumerate(np.split(stream, 60)):
        earlier.take(later(window_of(bare, part, DAYS), at), sound=True)
    return earlier


def trailing(window: Judged, earlier: Earlier) -> list[DriftResult]:
    return joint_drift(window, baseline=baselines_of(window, earlier, {})[1])


def found(rows: list[DriftResult]) -> set[str]:
    return {row.feature for row in rows if row.verdict == "drift"}


def test_features_that_no_longer_go_together_are_found_though_none_of_them_drifted(layout: Layout) -> None:
    x, rng = rows(2_000, 2), np.random.default_rng(3)
    apart = np.stack([rng.permutation(column) for column in x.T], axis=1)
    window = window_of(layout, apart)
    told = joint_drift(window)
    assert found([*drift(window)]) == set()
    assert found(told) >= {"(pca)", "(correlation)"} and "(domain classifier)" not in found(told)
    assert {row.test for row in told} == {"pca_reconstruction", "correlation_change", "mmd", "domain_classifier"}


def test_a_move_across_the_usual_direction_is_found_and_names_the_feature(layout: Layout) -> None:
    x = rows(2_000, 4)
    x[:, 3] += 0.7
    told = {row.feature: row for row in joint_drift(window_of(layout, x))}
    assert told["(domain classifier)"].verdict == "drift" and told["(domain classifier)"].direction == "f3"
    assert told["(domain classifier)"].value is not None and told["(domain classifier)"].value > 0.6


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_windows_without_drift_alarm_within_the_budget_whether_neighbours_are_alike_or_not(memory: float) -> None:
    often = Model("m", multivariate=True, policy=Policy(min_samples=100, psi=1e-6, false_alarms=0.1 * 7 * 24 / 0.08))  # one window in ten
    stream = rows(10_000 + 60 * 400, 5, memory)
    known = Layout(reference_from_frame(frame(stream[:10_000]), often, "1"))
    alarms = sum(bool(found(joint_drift(window_of(known, part, often)))) for part in np.split(stream[10_000:], 60))
    assert alarms <= 14  # six are allowed; more would come by chance once in a thousand times


def test_a_window_like_the_reference_stays_below_its_null_quantile(layout: Layout) -> None:
    told = [row for seed in range(10, 20) for row in joint_drift(window_of(layout, rows(800, seed)))]
    assert {row.verdict for row in told} == {"ok"}
    below = [row.value <= row.null_quantile for row in told if row.value is not None and row.null_quantile is not None]
    assert len(below) == 40 and np.mean(below) > 0.8


def test_a_short_reference_and_few_rows_are_no_verdict(layout: Layout) -> None:
    short = Layout(reference_from_frame(frame(rows(500, 1)), MODEL, "1"))
    assert {row.verdict for row in joint_drift(window_of(short, rows(500, 2)))} == {"insufficient"}
    assert {row.reason for row in joint_drift(window_of(layout, rows(50, 2)))} == {"50 rows; 100 are needed"}


def test_rows_that_came_before_their_reference_are_no_verdict(layout: Layout) -> None:
    window = window_of(layout, rows(500, 2))
    window.pane.n += 20
    told = joint_drift(window)
    assert {row.reason for row in told} == {"500 of 520 rows have joint sums: the others came before their reference"}


def test_a_reference_without_joint_statistics_says_so(layout: Layout) -> None:
    bare = Layout(msgspec.structs.replace(layout.reference, joint=None))
    told = joint_drift(window_of(bare, rows(500, 2)))
    assert {(row.verdict, row.value) for row in told} == {("insufficient", None)}
    assert "the reference has no joint statistics" in told[0].reason


def test_without_joint_statistics_in_the_reference_the_days_before_tell_what_goes_together(bare: Layout, before: Earlier) -> None:
    x, rng = rows(400, 22, 0.5), np.random.default_rng(3)
    apart = np.stack([rng.permutation(column) for column in x.T], axis=1)
    told = trailing(later(window_of(bare, apart, DAYS), 60), before)
    assert found(told) >= {"(pca)", "(correlation)"}
    assert {row.baseline for row in told} == {"trailing:7d"}
    assert {row.n_reference for row in told} == {60 * 400}


def test_windows_like_the_days_before_have_no_verdict_of_drift(bare: Layout, before: Earlier) -> None:
    parts = np.split(rows(30 * 400, 23, 0.5), 30)
    alarms = sum(bool(found(trailing(later(window_of(bare, part, DAYS), 60), before))) for part in parts)
    assert alarms <= 1


def test_few_windows_before_are_no_verdict(bare: Layout, before: Earlier) -> None:
    told = trailing(later(window_of(bare, rows(400, 24), DAYS), 39), before)
    assert {row.verdict for row in told} == {"insufficient"}
    assert "fewer than 40 sound windows" in told[0].reason


def test_another_version_of_the_same_reference_is_compared_by_what_goes_together(layout: Layout) -> None:
    both = Model("m", multivariate=True, policy=MODEL.policy, baselines=("training", "version:2"))
    theirs = Layout(msgspec.structs.replace(layout.reference, version="2"))
    x, rng = rows(2_000, 25), np.random.default_rng(3)
    mine = window_of(layout, np.stack([rng.permutation(column) for column in x.T], axis=1), both)
    against = baselines_of(mine, Earlier(), {"2": (theirs, window_of(theirs, rows(2_000, 26), both).pane)})[1]
    assert found(joint_drift(mine, baseline=against)) >= {"(pca)", "(correlation)"}
    assert found(joint_drift(window_of(layout, rows(2_000, 27), both), baseline=against)) == set()


def test_what_goes_together_in_earlier_windows_is_written_down_with_them(bare: Layout, before: Earlier) -> None:
    again = Earlier()
    for start, record in before.windows.items():
        again.put(start, record)
    window = later(window_of(bare, rows(400, 28), DAYS), 60)
    assert trailing(window, again) == trailing(window, before)
    again.put(0, msgspec.msgpack.encode((1, bare.hash, 400, msgspec.msgpack.decode(before.windows[0])[3])))  # as the first codec wrote it
    assert {row.n_reference for row in trailing(window, again)} == {59 * 400}


def test_faulty_inputs_are_no_drift_together(layout: Layout) -> None:
    told = joint_drift(window_of(layout, rows(500, 2)), {"f1": "all values are 0"})
    assert {(row.verdict, row.reason) for row in told} == {("fault", "the inputs are faulty: f1, all values are 0")}


def test_segments_and_models_that_do_not_ask_have_no_such_rows(layout: Layout) -> None:
    assert joint_drift(window_of(layout, rows(500, 2), segment="a=b")) == []
    assert joint_drift(window_of(layout, rows(500, 2), Model("m"))) == []


def test_a_reference_tells_its_joint_statistics(layout: Layout) -> None:
    first, second = told_by(layout.reference)
    assert first.startswith("correlations: f0 and f1 +0.") or "f1 and f2" in first
    assert "principal components of 6 features explain" in second


def test_a_reference_made_of_panes_in_the_store_knows_nothing_of_features_together(layout: Layout) -> None:
    x = rows(2_000, 2) * [1, 1, 1, 1, 1, 0]  # the last has become constant
    told = feature_rows(PaneKey("m", "1", "", 0), MODEL, layout, window_of(layout, x).pane, 0)
    panes = [{**msgspec.structs.asdict(row), "start": row.pane_start} for row in told]
    stored = Layout(reference_from_panes(layout.reference, panes, MODEL, 0))
    assert {(row.verdict, row.reason) for row in joint_drift(window_of(stored, x))} == {
        (
            "insufficient",
            'the reference has no joint statistics: make one of a table (driftline reference build), or add the baseline "trailing:7d"',
        )
    }


def test_of_features_that_no_row_of_a_window_has_it_is_not_known_what_they_go_with() -> None:
    rng = np.random.default_rng(0)
    rare = np.where(np.arange(20_000) % 250 == 0, rng.normal(size=20_000), np.nan)  # two rows in a window of the null
    table = pd.DataFrame({"f0": rng.normal(size=20_000), "f1": rng.normal(size=20_000), "rare": rare, "also": rare})
    known = Layout(reference_from_frame(table, MODEL, "1"))
    pane, plan = empty_pane(known), plan_of(known)
    assert plan is not None
    encoded = known.encode({name: rng.normal(size=200).tolist() for name in ("f0", "f1")}, 200)
    pane.add_encoded(known, encoded, np.arange(200))
    pane.add_joint(plan.sums(encoded.z[:, plan.features]))
    assert found(joint_drift(Judged(WindowKey("m", "1", "", 0, HOUR_MS), MODEL, known, pane, 1, True, (pane,)))) == set()
