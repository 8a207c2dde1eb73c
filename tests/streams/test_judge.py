"""One window against its reference: drift, quality and performance, and the many ways to have no verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from driftline.schemas.config import Model, Policy
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Profile, Reference
from driftline.schemas.results import DriftResult, PerformanceResult, QualityResult
from driftline.streams.answers import LabelRows
from driftline.streams.appraisal import performance
from driftline.streams.drift import drift
from driftline.streams.judge import PROVISIONAL, Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.quality import quality

MODEL = Model("m", policy=Policy(min_samples=100, min_coverage=0.5, missing_rise=0.1, type_errors=0.01, performance_drop=0.05))
KEY = WindowKey("m", "1", "", 0, 3_600_000)
X = NumericProfile([0.0, 1.0, 2.0], [250, 250, 250, 250], 1_000, 0, 1.0, 1_000.0)
C = CategoricalProfile(["a", "b"], [500, 500], 0, 1_000, 0)
CONSTANT = NumericProfile([7.0, float(np.nextafter(7.0, 8))], [0, 1_000, 0], 1_000, 0, 7.0, 0.0)


def layout_of(known: dict[str, float] | None = None, /, **features: Profile) -> Layout:
    return Layout(Reference("m", "1", features, 1_000, PerformanceProfile(1_000, known or {})))


def judged(layout: Layout | None, pane: Pane, model: Model = MODEL, *, provisional: bool = False) -> Judged:
    return Judged(KEY, model, layout, pane, revision=7, is_final=False, provisional=provisional)


def window(profile: Profile, values: list[Any], *, provisional: bool = False) -> Judged:
    """A window of these values of one feature "x"."""
    layout = layout_of(x=profile)
    pane = empty_pane(layout)
    if values:
        pane.add_encoded(layout, layout.encode({"x": values}, len(values)), np.arange(len(values)))
    return judged(layout, pane, provisional=provisional)


def by_test(of: Judged) -> dict[str, DriftResult]:
    return {row.test: row for row in drift(of)}


def by_check(of: Judged) -> dict[str, QualityResult]:
    return {row.check: row for row in quality(of)}


LIKE_X = [-0.5, 0.5, 1.5, 2.5] * 100


# Drift


def test_a_window_like_the_reference_is_ok() -> None:
    assert {name: row.verdict for name, row in by_test(window(X, LIKE_X)).items()} == {"psi": "ok", "ks": "ok", "chi_square": "ok"}


def test_a_window_far_from_the_reference_has_drifted() -> None:
    assert {row.verdict for row in drift(window(X, [2.5] * 400))} == {"drift"}


def test_categories_are_not_put_in_an_order() -> None:
    assert by_test(window(C, ["a", "b"] * 200)).keys() == {"psi", "chi_square"}


def test_categories_that_change_their_shares_have_drifted() -> None:
    assert by_test(window(C, ["a"] * 360 + ["b"] * 40))["psi"].verdict == "drift"


def test_a_significant_difference_that_is_too_small_to_matter_is_ok() -> None:
    patient = structs.replace(MODEL, policy=structs.replace(MODEL.policy, share=0.1))
    psi = by_test(replace(window(C, ["a"] * 28_000 + ["b"] * 22_000), model=patient))["psi"]
    assert (psi.verdict, psi.p_value is not None and psi.p_value < 0.001) == ("ok", True)


def test_a_share_that_changes_by_more_than_allowed_has_drifted_at_however_small_a_psi() -> None:
    psi = by_test(window(C, ["a"] * 28_000 + ["b"] * 22_000))["psi"]
    assert (psi.verdict, psi.reason, (psi.effect or 1) < 0.02) == ("drift", "a share changed by 6.0 points", True)


def test_a_number_that_moves_by_more_than_allowed_has_drifted_at_however_small_a_psi() -> None:
    psi = by_test(window(X, [-0.5] * 1_800 + [0.5] * 2_200 + [1.5] * 2_800 + [2.5] * 3_200))["psi"]
    assert (psi.verdict, (psi.effect or 1) < 0.1) == ("drift", True)
    assert psi.reason.startswith("its place or spread moved by 0.2")


def test_a_constant_feature_that_stays_constant_is_ok() -> None:
    assert {row.verdict for row in drift(window(CONSTANT, [7.0] * 200))} == {"ok"}


@pytest.mark.parametrize("value", [7.0000001, 1e308, -1e308, 5e-324])
def test_a_constant_feature_that_moves_has_drifted(value: float) -> None:
    assert by_test(window(CONSTANT, [value] * 200))["psi"].verdict == "drift"


def test_an_empty_window_has_no_verdict() -> None:
    [row] = drift(window(X, []))
    assert (row.verdict, row.value, row.n) == ("undefined", None, 0)


@pytest.mark.parametrize("value", [None, "oops", [1.0], True])
def test_a_feature_without_a_single_number_has_no_verdict(value: Any) -> None:
    [row] = drift(window(X, [value] * 200))
    assert (row.verdict, row.reason) == ("undefined", "the window is empty: every value is missing or of a wrong type")


def test_an_empty_reference_has_no_verdict() -> None:
    empty = NumericProfile([0.0], [0, 0], 0, 1_000, 0.0, 0.0)
    [row] = drift(window(empty, LIKE_X))
    assert (row.verdict, row.reason) == ("undefined", "the reference is empty")


def test_too_few_values_are_insufficient_and_tell_their_figures() -> None:
    psi = by_test(window(X, [2.5] * 99))["psi"]
    assert (psi.verdict, psi.reason, psi.value is not None) == ("insufficient", "99 values; 100 are needed", True)


def test_missing_values_do_not_make_up_the_sample() -> None:
    assert by_test(window(X, [2.5] * 99 + [None] * 500))["psi"].verdict == "insufficient"


def test_an_open_window_has_no_verdict_yet() -> None:
    rows = drift(window(X, [2.5] * 400, provisional=True))
    assert {(row.verdict, row.reason) for row in rows} == {("insufficient", PROVISIONAL)}


def test_without_a_reference_every_feature_is_learning() -> None:
    pane = empty_pane(None)
    pane.add_raw({"b": [1.0], "a": ["x"]}, np.arange(1), {})
    assert [(row.feature, row.verdict, row.value) for row in drift(judged(None, pane))] == [
        ("a", "learning", None),
        ("b", "learning", None),
    ]


def test_a_thousand_features_without_drift_stay_ok() -> None:
    random = np.random.default_rng(5)
    layout = layout_of(**{f"x{i}": X for i in range(300)})
    pane = empty_pane(layout)
    columns = {f"x{i}": (random.integers(0, 4, 400) - 0.5).tolist() for i in range(300)}
    pane.add_encoded(layout, layout.encode(columns, 400), np.arange(400))
    assert {row.verdict for row in drift(judged(layout, pane))} == {"ok"}


def test_every_row_tells_what_it_was_computed_from() -> None:
    of = window(X, LIKE_X)
    assert of.layout is not None
    rows: list[DriftResult | QualityResult] = [*drift(of), *quality(of)]
    for row in rows:
        assert (row.window_start, row.window_end, row.revision, row.is_final, row.reference) == (0, 3_600_000, 7, False, of.layout.hash)


# Quality


def test_missing_values_beyond_the_allowed_rise_are_a_fault() -> None:
    assert [by_check(window(X, [0.5] * (200 - k) + [None] * k))["missing_rate"].verdict for k in (20, 21)] == ["ok", "fault"]


def test_the_allowed_rise_is_counted_from_the_reference() -> None:
    half = NumericProfile([0.0], [250, 250], 500, 500, 0.0, 1.0)
    row = by_check(window(half, [0.5, None] * 100))["missing_rate"]
    assert (row.verdict, row.value, row.reference_value, row.threshold) == ("ok", 0.5, 0.5, 0.6)


def test_a_feature_that_is_missing_everywhere_is_a_fault() -> None:
    assert by_check(window(X, [None] * 200))["missing_rate"].verdict == "fault"


def test_values_of_a_wrong_type_are_a_fault() -> None:
    assert [by_check(window(X, [0.5] * (200 - k) + ["oops"] * k))["type_error_rate"].verdict for k in (2, 3)] == ["ok", "fault"]


def test_unseen_categories_are_told_and_are_no_fault() -> None:
    row = by_check(window(C, ["new"] * 50 + ["a"] * 150))["new_category_rate"]
    assert (row.verdict, row.value, row.threshold) == ("ok", 0.25, None)


def test_the_quality_of_few_rows_is_insufficient() -> None:
    assert {row.verdict for row in quality(window(X, [None] * 99))} == {"insufficient"}


def test_the_quality_of_an_open_window_is_insufficient() -> None:
    assert {row.reason for row in quality(window(X, [None] * 200, provisional=True))} == {PROVISIONAL}


def test_rows_counted_by_another_reference_do_not_thin_out_the_missing_ones() -> None:
    # window   |  this reference: 200 rows, 100 missing  |  a newer one: 600 rows  |
    of = window(X, [None, 0.5] * 100)
    of.pane.n += 600
    row = by_check(of)["missing_rate"]
    assert (row.value, row.n) == (0.5, 200)


@pytest.mark.parametrize("of", [window(X, []), judged(None, empty_pane(None))])
def test_without_rows_or_reference_there_is_no_quality_to_tell(of: Judged) -> None:
    assert len(quality(of)) == 0


# Performance


def labelled(right: int, wrong: int, *, unlabelled: int = 0, known: dict[str, float] | None = None, provisional: bool = False) -> Judged:
    """A window of a binary model: hits and misses without a score."""
    layout = layout_of(known)
    pane, n = empty_pane(layout), right + wrong
    pane.n = n + unlabelled
    predicted = np.arange(n) % 2
    actual = np.where(np.arange(n) < right, predicted, 1 - predicted)
    no = np.full(n, -1)
    pane.answers.add_labels(LabelRows(np.ones(n, np.int64), predicted.astype(float), actual.astype(float), no, no * 0), ["0", "1"], MODEL)
    return judged(layout, pane, provisional=provisional)


def accuracy(of: Judged) -> PerformanceResult:
    return next(row for row in performance(of) if row.metric == "accuracy")


def test_an_accuracy_near_the_references_is_ok() -> None:
    row = accuracy(labelled(880, 120, known={"accuracy": 0.9}))
    assert (row.verdict, row.value, row.reference_value) == ("ok", 0.88, 0.9)
    assert row.threshold == pytest.approx(0.85)


def test_an_accuracy_far_below_the_references_is_worse() -> None:
    assert accuracy(labelled(700, 300, known={"accuracy": 0.9})).verdict == "worse"


def test_an_accuracy_above_the_references_is_ok() -> None:
    assert accuracy(labelled(1_000, 0, known={"accuracy": 0.9})).verdict == "ok"


def test_a_drop_that_chance_explains_is_ok() -> None:
    assert accuracy(labelled(84, 16, known={"accuracy": 0.9})).verdict == "ok"


def test_too_few_labels_are_insufficient() -> None:
    row = accuracy(labelled(0, 99, known={"accuracy": 0.9}))
    assert (row.verdict, row.reason) == ("insufficient", "99 labels; 100 are needed")


def test_too_small_a_share_of_labels_is_insufficient() -> None:
    row = accuracy(labelled(0, 200, unlabelled=201, known={"accuracy": 0.9}))
    assert (row.verdict, row.coverage) == ("insufficient", 200 / 401)


def test_without_a_performance_of_the_reference_there_is_no_verdict() -> None:
    assert accuracy(labelled(0, 200)).reason == "the reference tells no performance to compare with"


def test_the_performance_of_an_open_window_is_insufficient() -> None:
    assert accuracy(labelled(0, 200, known={"accuracy": 0.9}, provisional=True)).reason == PROVISIONAL


def test_without_any_label_the_metrics_have_no_value() -> None:
    rows = performance(labelled(0, 0, unlabelled=200, known={"accuracy": 0.9}))
    assert {(row.value, row.verdict, row.n, row.n_labelled) for row in rows} == {(None, "insufficient", 200, 0)}


def test_a_metric_that_the_labels_do_not_tell_has_no_verdict() -> None:
    layout, n = layout_of({"recall": 0.9}), 200
    pane = empty_pane(layout)
    pane.n = n
    zeros = np.zeros(n, np.int64)
    pane.answers.add_labels(LabelRows(zeros + 1, zeros.astype(float), zeros.astype(float), zeros - 1, zeros), ["0"], MODEL)
    recall = next(row for row in performance(judged(layout, pane)) if row.metric == "recall")
    assert (recall.verdict, recall.value, recall.reason) == (
        "insufficient",
        None,
        "the labels do not tell this metric: one class is absent",
    )


def regression(error: float, known: dict[str, float]) -> dict[str, PerformanceResult]:
    model, layout, n = Model("m", task="regression", policy=MODEL.policy), layout_of(known), 400
    pane, zeros = empty_pane(layout), np.zeros(400, np.int64)
    pane.n = n
    spread = error * np.linspace(0.5, 1.5, n)
    pane.answers.add_labels(LabelRows(zeros + 1, spread, zeros.astype(float), zeros - 1, zeros), [], model)
    return {row.metric: row for row in performance(judged(layout, pane, model))}


@pytest.mark.parametrize(("error", "verdict"), [(1.0, "ok"), (0.5, "ok"), (2.0, "worse"), (1e150, "worse")])
def test_an_error_is_worse_when_it_is_larger_relative_to_the_references(error: float, verdict: str) -> None:
    assert regression(error, {"mae": 1.0})["mae"].verdict == verdict


def test_an_error_where_the_reference_had_none_is_worse() -> None:
    assert regression(0.001, {"mae": 0.0})["mae"].verdict == "worse"
