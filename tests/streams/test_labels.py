"""Label drift: a window's labels against the reference's, as they come, are corrected and run late."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftline.schemas.config import HOUR_MS, Model, Policy, Task
from driftline.schemas.reference import NumericProfile
from driftline.schemas.results import DriftResult
from driftline.streams.answers import Answers, LabelRows, label_buckets
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.labels import NO_LABELS, label_counts, label_drift
from driftline.streams.layout import Layout
from driftline.streams.learning import label_profile
from driftline.streams.panes import empty_pane
from driftline.streams.profile import fold_answers, reference_from_frame
from driftline.streams.stats import psi

POLICY = Policy(min_samples=100)
CHURN, PRICE = Model("m", policy=POLICY), Model("m", task="regression", policy=POLICY)


def table(task: Task, n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Answers that do not follow the labels."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        return pd.DataFrame({"said": rng.normal(100, 20, n), "true": rng.lognormal(3 + shift, 0.5, n)})
    return pd.DataFrame({"said": rng.integers(0, 2, n), "true": (rng.random(n) < 0.3 + shift).astype(int)})


def layout(model: Model, label: str | None = "true") -> Layout:
    return Layout(
        reference_from_frame(table(model.task, 6_000, 1)[["said", "true"]], model, "1", prediction="said", label=label, exclude=["true"])
    )


def window(known: Layout, model: Model, frame: pd.DataFrame, labelled: float = 1.0) -> list[DriftResult]:
    pane = empty_pane(known)
    pane.n = len(frame)
    told = frame["true"].where(np.arange(len(frame)) < labelled * len(frame))
    fold_answers(pane, frame["said"], None, told, model)
    window = Judged(WindowKey("m", "1", "", 0, HOUR_MS), model, known, pane, 1, True, (pane,))
    return [row for part in label_drift([window]) for row in part]


@pytest.mark.parametrize("model", [CHURN, PRICE], ids=["classes", "numbers"])
def test_labels_like_the_reference_s_are_ok_and_others_have_drifted(model: Model) -> None:
    known = layout(model)
    same, moved = (window(known, model, table(model.task, 1_000, 2, shift)) for shift in (0.0, 0.4))
    assert {(row.feature, row.verdict) for row in same} == {("(label)", "ok")}
    assert {(row.feature, row.verdict) for row in moved} == {("(label)", "drift")}
    assert moved[0].direction == ("up" if model is PRICE else "more 1")


def test_labels_alarm_no_more_often_than_their_part_of_the_budget() -> None:
    often = Model("m", policy=Policy(min_samples=100, psi=1e-6, false_alarms=0.1 * 7 * 24 / 0.08))  # one window in ten
    known = layout(often)
    alarms = sum(window(known, often, table("binary", 400, seed))[0].verdict == "drift" for seed in range(100, 200))
    assert alarms <= 20  # more would come by chance once in a thousand times


def test_too_few_of_the_labels_are_no_verdict_and_late_ones_make_it_one() -> None:
    known, frame = layout(CHURN), table("binary", 1_000, 3, 0.4)
    early = window(known, CHURN, frame, 0.5)
    assert {(row.verdict, row.reason) for row in early} == {("insufficient", "50% of the predictions have a label; 80% are needed")}
    assert {row.verdict for row in window(known, CHURN, frame, 0.9)} == {"drift"}


def test_a_reference_without_labels_says_so() -> None:
    [row] = window(layout(CHURN, None), CHURN, table("binary", 500, 4))
    assert (row.verdict, row.reason, row.n) == ("insufficient", NO_LABELS, 500)


def test_a_model_without_labels_has_no_such_row() -> None:
    assert window(layout(CHURN), Model("m", labels=False), table("binary", 500, 4)) == []


def test_every_row_is_told_again_when_all_labels_are_taken_back() -> None:
    known, frame = layout(PRICE), table("regression", 500, 5)
    assert [row.test for row in window(known, PRICE, frame, 0.0)] == [row.test for row in window(known, PRICE, frame)]


def test_a_learned_profile_counts_the_labels_it_was_learned_from_exactly() -> None:
    rng = np.random.default_rng(6)
    labels = np.round(rng.normal(0, 50, 2_000), 1)
    answers = Answers()
    none = np.zeros(len(labels), np.int64)
    answers.add_labels(LabelRows(none + 1, labels + 1, labels, none - 1, none), [], PRICE)
    profile = label_profile(PRICE, answers)
    assert isinstance(profile, NumericProfile)
    assert label_counts(profile, answers).astype(int).tolist() == profile.counts
    assert np.bincount(np.searchsorted(profile.edges, labels, side="right"), minlength=len(profile.counts)).tolist() == profile.counts
    assert (profile.mean, profile.m2 / profile.n) == pytest.approx((labels.mean(), labels.var()))
    answers.add_labels(LabelRows(none - 1, labels + 1, labels, none - 1, none), [], PRICE)
    assert answers.labels == {}


def test_two_tables_have_the_distance_of_their_labels() -> None:
    before, after = table("binary", 6_000, 1), table("binary", 1_000, 2, 0.2)
    counts = [[(frame["true"] == each).sum() for each in (0, 1)] for frame in (before, after)]
    found = window(layout(CHURN), CHURN, after)[0]
    assert found.value == pytest.approx(psi(*counts))


def test_labels_beyond_any_sense_share_the_outermost_buckets() -> None:
    far = label_buckets(np.array([1e300, 2.0**64, -1e300, -(2.0**64), 1e-300, -1e-30, 0.0]))
    assert (far[0], far[2]) == (far[1], far[3]) and set(far[4:].tolist()) == {0}
