"""Performance figures and their intervals, against scikit-learn and by simulation."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from driftline.streams.stats import (
    UNKNOWN,
    Estimate,
    accuracy,
    auc_from_scores,
    average_precision,
    average_precision_at,
    averaged,
    brier,
    ece,
    f1,
    hit,
    kappa,
    lift,
    log_loss,
    mae,
    mcc,
    mean_cost,
    ndcg,
    percentage_error,
    precision,
    quantile_loss,
    r2,
    recall,
    reciprocal_rank,
    rmse,
    score_positions,
)

labels = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=100)


@given(labels)
def test_confusion_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    confusion = Counter(pairs)
    predicted, actual = zip(*pairs, strict=True)
    assert accuracy(confusion).value == pytest.approx(metrics.accuracy_score(actual, predicted))
    for ours, theirs in [(precision, metrics.precision_score), (recall, metrics.recall_score), (f1, metrics.f1_score)]:
        value, expected = ours(confusion, "a").value, theirs(actual, predicted, labels=["a"], average=None, zero_division=0)[0]
        assert (0 if math.isnan(value) else value) == pytest.approx(expected)


@given(labels)
def test_every_interval_holds_its_value_and_stays_in_the_unit_range(pairs: list[tuple[str, str]]) -> None:
    for estimate in (accuracy(Counter(pairs)), *(metric(Counter(pairs), "a") for metric in (precision, recall, f1))):
        assert estimate is UNKNOWN or 0 <= estimate.lower <= estimate.value <= estimate.upper <= 1


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=20))
def test_auc_of_binned_scores_is_that_of_scikit_learn_and_the_bound_holds_the_unbinned_one(bins: list[tuple[int, int]]) -> None:
    negative, positive = (np.array(column) for column in zip(*bins, strict=True))
    result = auc_from_scores(negative, positive)
    if not negative.any() or not positive.any():
        assert all(math.isnan(figure) for figure in result)
        return
    truth = np.repeat([0, 1], [negative.sum(), positive.sum()])
    place = np.concatenate([np.repeat(np.arange(len(bins)), negative), np.repeat(np.arange(len(bins)), positive)])
    assert result.value == pytest.approx(metrics.roc_auc_score(truth, place))
    inside = np.random.default_rng(len(bins)).random(place.size)
    assert result.value - result.bound - 1e-9 <= metrics.roc_auc_score(truth, place + inside) <= result.value + result.bound + 1e-9
    assert 0 <= result.lower <= result.value <= result.upper <= 1


@pytest.mark.parametrize(("separation", "n"), [(0.0, 200), (1.0, 200), (2.5, 100)])
def test_the_interval_of_the_auc_holds_the_true_area_19_times_in_20(separation: float, n: int) -> None:
    from scipy.special import ndtr

    rng, edges, inside = np.random.default_rng(4), np.linspace(-4, 7, 257)[1:-1], 0
    for _ in range(400):
        low, high = (np.bincount(np.searchsorted(edges, rng.normal(at, 1, n)), minlength=256) for at in (0, separation))
        result = auc_from_scores(low, high)
        inside += bool(result.lower <= ndtr(separation / math.sqrt(2)) <= result.upper)
    assert 0.915 <= inside / 400 <= 0.985


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_mae_and_rmse_are_those_of_the_errors(errors: list[float]) -> None:
    e = np.array(errors)
    mean, root = mae(e.size, np.abs(e).sum(), (e * e).sum()), rmse(e.size, (e * e).sum())
    assert mean.value == pytest.approx(metrics.mean_absolute_error(np.zeros(e.size), e))
    assert root.value == pytest.approx(metrics.root_mean_squared_error(np.zeros(e.size), e))
    assert mean.lower <= mean.value <= mean.upper
    assert root.lower <= root.value <= root.upper or root.value < 1e-150


def test_the_intervals_of_mae_and_rmse_hold_the_truth_19_times_in_20_for_normal_errors() -> None:
    rng, inside = np.random.default_rng(6), np.zeros(2)
    for _ in range(600):
        e = rng.normal(0, 2, 60)
        estimates = mae(60, np.abs(e).sum(), (e * e).sum()), rmse(60, (e * e).sum())
        truths = 2 * math.sqrt(2 / math.pi), 2.0
        inside += [each.lower <= truth <= each.upper for each, truth in zip(estimates, truths, strict=True)]
    assert (np.abs(inside / 600 - 0.95) < 0.035).all()


def test_no_rows_give_no_figure() -> None:
    assert accuracy({}) is mae(0, 0.0, 0.0) is rmse(0, 0.0) is UNKNOWN
    assert mae(1, 3.0, 9.0) == Estimate(3.0, 0.0, math.inf)


@given(labels)
@settings(max_examples=40)
def test_multiclass_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    confusion = Counter(pairs)
    predicted, actual = zip(*pairs, strict=True)
    averages: tuple[Literal["macro", "micro", "weighted"], ...] = ("macro", "micro", "weighted")
    for average in averages:
        expected = metrics.precision_recall_fscore_support(actual, predicted, average=average, zero_division=0)
        ours = [averaged(confusion, "precision", average), averaged(confusion, "recall", average), averaged(confusion, "f1", average)]
        assert [estimate.value for estimate in ours] == pytest.approx(expected[:3])
    assert mcc(confusion).value == pytest.approx(metrics.matthews_corrcoef(actual, predicted), abs=1e-9)
    absent = [np.mean([p != name for p, a in pairs if a != name] or [0]) for name in sorted(set(actual) | set(predicted))]
    assert averaged(confusion, "specificity").value == pytest.approx(np.mean(absent))
    if len(set(actual) | set(predicted)) > 1:
        assert kappa(confusion).value == pytest.approx(metrics.cohen_kappa_score(actual, predicted), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=20, max_size=20), st.integers(1, 5))
@settings(max_examples=40)
def test_score_figures_are_those_of_scikit_learn_on_the_binned_scores(bins: list[tuple[int, int]], scale: int) -> None:
    negative, positive = (np.array(column) * scale for column in zip(*bins, strict=True))
    if not negative.any() or not positive.any():
        return
    truth = np.repeat([0, 1], [negative.sum(), positive.sum()])
    scores = np.concatenate([np.repeat(score_positions(20), negative), np.repeat(score_positions(20), positive)])
    parts = brier(negative, positive)
    assert parts.score.value == pytest.approx(metrics.brier_score_loss(truth, scores))
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(parts.score.value)
    assert log_loss(negative, positive).value == pytest.approx(metrics.log_loss(truth, scores))
    assert average_precision(negative, positive).value == pytest.approx(metrics.average_precision_score(truth, scores))
    for estimate in (parts.score, log_loss(negative, positive), average_precision(negative, positive), ece(negative, positive)):
        assert estimate.lower <= estimate.value <= estimate.upper
    assert 0 <= lift(negative, positive, 0.2) <= 5 + 1e-9
    assert lift(negative, positive, 1.0) == pytest.approx(1)


def test_a_calibrated_model_has_a_small_calibration_error_and_a_distorted_one_a_large_one() -> None:
    rng = np.random.default_rng(8)
    score = rng.random(20_000)
    for truth, low, high in [(score, 0.0, 0.02), (score**2, 0.1, 0.25)]:
        outcome = rng.random(20_000) < truth
        negative, positive = (np.bincount((score[outcome == side] * 256).astype(int), minlength=256) for side in (False, True))
        assert low <= ece(negative, positive).value <= high


@given(st.lists(st.floats(0, 5), min_size=2, max_size=12), st.integers(1, 12), st.integers(0, 1000))
def test_ranking_figures_are_those_of_scikit_learn_and_1_for_the_best_order(relevances: list[float], k: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(relevances)).tolist()
    relevance = dict(enumerate(relevances))
    if max(relevances) <= 1e-6:
        return
    scores = np.zeros(len(relevances))
    scores[order] = np.arange(len(order), 0, -1)
    assert ndcg(order, relevance, k) == pytest.approx(metrics.ndcg_score([relevances], [scores], k=k))
    best = sorted(relevance, key=lambda item: -relevance[item])
    for figure in (ndcg, average_precision_at, reciprocal_rank, hit):
        assert 0 <= figure(order, relevance, k) <= 1
        assert figure(best, relevance, k) == pytest.approx(1)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=50), st.floats(0.05, 0.95))
def test_regression_figures_are_those_of_scikit_learn(rows: list[tuple[float, float]], quantile: float) -> None:
    prediction, label = (np.array(column) for column in zip(*rows, strict=True))
    e = prediction - label
    m2 = float(((label - label.mean()) ** 2).sum())
    if m2 > 1e-6:
        assert r2(e.size, float(e @ e), m2).value == pytest.approx(metrics.r2_score(label, prediction), rel=1e-6)
    assert quantile_loss(prediction, label, quantile).mean() == pytest.approx(metrics.mean_pinball_loss(label, prediction, alpha=quantile))
    if (np.abs(label) > 1e-6).all():
        assert percentage_error(prediction, label).mean() == pytest.approx(metrics.mean_absolute_percentage_error(label, prediction))


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.integers(0, 1000))
@settings(max_examples=40)
def test_average_precision_of_a_whole_list_is_that_of_scikit_learn(relevant: list[bool], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(relevant)).tolist()
    scores = np.zeros(len(relevant))
    scores[order] = np.arange(len(order), 0, -1)
    if any(relevant):
        wanted = metrics.label_ranking_average_precision_score([relevant], [scores])
        assert average_precision_at(order, {item: float(is_one) for item, is_one in enumerate(relevant)}) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=20, max_size=20))
@settings(max_examples=40)
def test_calibration_error_and_lift_are_those_of_the_rows(bins: list[tuple[int, int]]) -> None:
    negative, positive = (np.array(column) for column in zip(*bins, strict=True))
    if not negative.any() or not positive.any():
        return
    truth = np.repeat([0, 1], [negative.sum(), positive.sum()])
    scores = np.concatenate([np.repeat(score_positions(20), negative), np.repeat(score_positions(20), positive)])
    shares, means = calibration_curve(truth, scores, n_bins=10)
    rows = np.bincount((scores * 10).astype(int), minlength=10)
    assert ece(negative, positive).value == pytest.approx(np.abs(shares - means) @ rows[rows > 0] / len(truth))
    top = scores > 0.9  # the rows of the last two bins
    if top.any():
        assert lift(negative, positive, top.mean()) == pytest.approx(truth[top].mean() / truth.mean())


def test_costs_are_weighed_by_the_user() -> None:
    estimate = mean_cost({("0", "1"): 10, ("1", "0"): 30, ("1", "1"): 60}, {("0", "1"): 100.0, ("1", "0"): 1.0, ("1", "1"): -5.0})
    assert estimate.value == pytest.approx((1000 + 30 - 300) / 100)
    assert estimate.lower < estimate.value < estimate.upper
