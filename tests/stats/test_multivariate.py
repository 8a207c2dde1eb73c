"""Tests of many features at once: silent with no drift, and each finds what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from driftline.streams.stats import (
    CrossMoments,
    PcaReconstruction,
    RandomFeatures,
    correlation_change,
    correlations,
    domain_classifier,
    merge_all,
    mmd,
)

K = 4
MIX = np.array([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0.5, 0.2, 0.8, 0], [0, 0, 0, 1.0]])


def rows(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Four features of which three go together."""
    return np.asarray(rng.normal(size=(n, K)) @ MIX.T)


def shuffled(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """The same features each by itself, but no longer together."""
    return np.column_stack([rng.permutation(column) for column in rows(rng, n).T])


@given(st.integers(0, 1000), st.lists(st.integers(0, 20), min_size=1, max_size=6))
@settings(max_examples=30)
def test_co_moments_merged_in_any_order_are_those_of_all_rows(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    parts = [rows(rng, n) + 1000 for n in sizes]
    whole, merged = CrossMoments.of(np.concatenate(parts)), merge_all([CrossMoments.of(parts[i]) for i in rng.permutation(len(parts))])
    assert merged.n == whole.n
    if whole.n:
        assert merged.mean == pytest.approx(whole.mean)
        assert merged.comoment == pytest.approx(whole.comoment, abs=1e-6)


def test_correlations_are_numpys() -> None:
    table = rows(np.random.default_rng(0), 200)
    assert correlations(CrossMoments.of(table)) == pytest.approx(np.corrcoef(table.T))


def test_the_pca_error_from_co_moments_is_the_mean_squared_residual_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    pca = PcaReconstruction.fit([CrossMoments.of(rows(rng, 100)) for _ in range(20)])
    window = rows(rng, 300)
    standard = (window - pca.mean) / pca.scale
    residual = standard - standard @ pca.directions.T @ pca.directions
    assert pca.error(CrossMoments.of(window)) == pytest.approx((residual**2).mean())


@pytest.mark.parametrize("name", ["pca", "correlation", "mmd", "domain"])
def test_with_no_drift_p_values_are_near_uniform(name: str) -> None:
    rng, p = np.random.default_rng(2), []
    features = RandomFeatures((0.0,) * K, (1.0,) * K, size=60)
    for _ in range(60 if name == "domain" else 200):
        before, after = rows(rng, 2000), rows(rng, 400)
        if name == "pca":
            p.append(PcaReconstruction.fit([CrossMoments.of(block) for block in np.split(before, 20)]).test(CrossMoments.of(after)).p_value)
        elif name == "correlation":
            p.append(correlation_change(CrossMoments.of(before), CrossMoments.of(after)).p_value)
        elif name == "mmd":
            p.append(mmd(CrossMoments.of(features(before)), CrossMoments.of(features(after))).p_value)
        else:
            p.append(domain_classifier(before, after).p_value)
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert 0.3 <= np.mean(np.array(p) <= 0.5) <= 0.65


def test_features_that_no_longer_go_together_are_found_though_each_is_as_before() -> None:
    rng = np.random.default_rng(3)
    before, broken = rows(rng, 4000), shuffled(rng, 500)
    pca = PcaReconstruction.fit([CrossMoments.of(block) for block in np.split(before, 40)])
    features = RandomFeatures(tuple(before.mean(axis=0)), tuple(before.std(axis=0)))
    assert pca.test(CrossMoments.of(broken)).p_value < 1e-4
    change = correlation_change(CrossMoments.of(before), CrossMoments.of(broken))
    assert change.p_value < 1e-4
    assert change.change[0, 1] == pytest.approx(-0.8, abs=0.1)
    assert abs(change.change[0, 3]) < 0.15
    assert mmd(CrossMoments.of(features(before)), CrossMoments.of(features(broken))).p_value < 1e-4


@pytest.mark.parametrize(("column", "scale", "move"), [(1, 1.0, 0.5), (3, 1.6, 0.0)])
def test_the_domain_classifier_finds_what_moved_or_spread_and_names_it(column: int, scale: float, move: float) -> None:
    rng = np.random.default_rng(4)
    before, after = rng.normal(size=(1500, K)), rng.normal(size=(500, K))
    after[:, column] = after[:, column] * scale + move
    result = domain_classifier(before, after)
    assert result.value > 0.55
    assert result.p_value < 1e-4
    assert result.importance.argmax() == column
    assert result.importance.sum() == pytest.approx(1)


def test_mmd_in_merged_parts_is_that_of_the_whole_and_grows_with_the_shift() -> None:
    rng = np.random.default_rng(5)
    features = RandomFeatures((0.0,) * K, (1.0,) * K)
    before = CrossMoments.of(features(rows(rng, 1000)))
    window = rows(rng, 400)
    parts = merge_all([CrossMoments.of(features(part)) for part in np.split(window, 4)])
    assert mmd(before, parts) == pytest.approx(mmd(before, CrossMoments.of(features(window))))
    shifts = [mmd(before, CrossMoments.of(features(window + shift))).effect for shift in (0, 0.3, 1, 3)]
    assert shifts == sorted(shifts)


def test_the_principal_directions_are_those_of_scikit_learn() -> None:
    table = rows(np.random.default_rng(7), 2_000)
    ours = PcaReconstruction.fit([CrossMoments.of(block) for block in np.split(table, 20)], share=0.9)
    theirs = PCA(0.9).fit((table - table.mean(axis=0)) / table.std(axis=0)).components_
    assert np.abs(np.sum(ours.directions * theirs, axis=1)) == pytest.approx(np.ones(len(theirs)), abs=1e-6)


def test_the_discrepancy_of_random_features_is_that_of_the_gaussian_kernel() -> None:
    rng = np.random.default_rng(8)
    before, after = rows(rng, 300), rows(rng, 300) + 0.8
    features = RandomFeatures((0.0,) * K, (1.0,) * K, size=1_200)

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp(-((a[:, None] - b) ** 2).sum(axis=2) / (2 * K)))

    def within(side: NDArray[np.float64]) -> float:
        return float((kernel(side, side).sum() - len(side)) / (len(side) * (len(side) - 1)))

    exact = within(before) + within(after) - 2 * float(kernel(before, after).mean())  # unbiased, as Gretton has it
    told = mmd(CrossMoments.of(features(before)), CrossMoments.of(features(after)))
    assert told.effect == pytest.approx(math.sqrt(exact), rel=0.1)


def test_the_domain_classifiers_area_is_that_of_scikit_learns_logistic_model() -> None:
    rng = np.random.default_rng(9)
    before, after = rows(rng, 1_500), rows(rng, 500) + np.array([0.4, 0, 0, 0])
    table, side = np.concatenate([before, after]), np.repeat([0, 1], [1_500, 500])
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), LogisticRegression(max_iter=500))
    chances = cross_val_predict(model, table, side, cv=StratifiedKFold(5, shuffle=True, random_state=0), method="predict_proba")[:, 1]
    assert domain_classifier(before, after).value == pytest.approx(roc_auc_score(side, chances), abs=0.03)


def test_missing_values_and_constant_features_are_no_obstacle() -> None:
    rng = np.random.default_rng(6)
    before, after = rows(rng, 500), rows(rng, 200)
    before[:, 3] = after[:, 3] = 7.0
    assert 0 <= correlation_change(CrossMoments.of(before), CrossMoments.of(after)).p_value <= 1
    assert 0 <= PcaReconstruction.fit([CrossMoments.of(b) for b in np.split(before, 10)]).test(CrossMoments.of(after)).p_value <= 1
    before[rng.random(before.shape) < 0.2] = np.nan
    before[:, 2] = np.nan
    assert 0 <= domain_classifier(before, after).p_value <= 1
    assert np.isfinite(RandomFeatures((0.0,) * K, (1.0, 1.0, 1.0, 0.0))(before)).all()


def test_too_few_rows_give_no_figure() -> None:
    none, few = CrossMoments.of(np.empty((0, K))), CrossMoments.of(np.ones((1, K)))
    assert math.isnan(mmd(few, none).p_value)
    assert math.isnan(correlation_change(few, few).p_value)
    assert math.isnan(domain_classifier(np.ones((2, K)), np.ones((2, K))).value)
