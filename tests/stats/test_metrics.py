"""Performance figures and their intervals, against scikit-learn and by simulation."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from driftline.streams.stats import UNKNOWN, Estimate, accuracy, auc_from_scores, f1, mae, precision, recall, rmse

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
        inside += result.lower <= ndtr(separation / math.sqrt(2)) <= result.upper
    assert 0.915 <= inside / 400 <= 0.985


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_mae_and_rmse_are_those_of_the_errors(errors: list[float]) -> None:
    e = np.array(errors)
    mean, root = mae(e.size, np.abs(e).sum(), (e * e).sum()), rmse(e.size, (e * e).sum())
    assert mean.value == pytest.approx(np.abs(e).mean())
    assert root.value == pytest.approx(np.sqrt((e * e).mean()))
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
