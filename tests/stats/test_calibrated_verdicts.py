"""Verdicts that keep their error rate: the smooth test, its pooled null, and evidence over windows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.streams.stats import DriftEvidence, PooledNull, SmoothTest, bin_counts, chi_square, score_basis, shared_between_blocks
from driftline.streams.stats.smooth_test import location

EDGES = np.linspace(-2, 2, 15)


def correlated(rng: np.random.Generator, n: int, rho: float) -> NDArray[np.float64]:
    """A stationary autoregression with variance 1."""
    from scipy.signal import lfilter

    return lfilter([math.sqrt(1 - rho * rho)], [1, -rho], rng.normal(size=n + 200))[200:]


def blocks_of(values: NDArray[np.float64], rows: int) -> NDArray[np.int64]:
    return np.array([bin_counts(values[i : i + rows], EDGES) for i in range(0, len(values) - rows + 1, rows)])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=40).filter(any), st.integers(1, 6))
def test_scores_are_orthonormal_under_the_reference(counts: list[int], degree: int) -> None:
    basis, p = score_basis(counts, degree), np.array(counts) / sum(counts)
    assert len(basis) == min(degree, np.count_nonzero(counts) - 1)
    assert basis @ p == pytest.approx(0, abs=1e-6)
    assert basis * p @ basis.T == pytest.approx(np.eye(len(basis)), abs=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_with_as_many_scores_as_bins_allow_and_independent_rows_it_is_the_chi_square_test(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = np.array([0.2, 0.3, 0.1, 0.4])
    reference, window = rng.multinomial(10_000, shape), rng.multinomial(1_000, shape)
    test = SmoothTest(reference.astype(float), score_basis(reference, 3), np.eye(3), 1_000_000)
    assert test.p_value(window) == pytest.approx(chi_square(reference, window).p_value, abs=0.03)


def test_with_no_drift_p_values_are_uniform_for_autocorrelated_rows_where_chi_square_cries_wolf() -> None:
    rng, p, naive = np.random.default_rng(1), [], []
    for _ in range(12):
        series = correlated(rng, 60_000, 0.8)
        test = SmoothTest.fit(blocks_of(series[:40_000], 200))
        for window in blocks_of(series[40_000:], 1_000):
            p.append(test.p_value(window))
            naive.append(chi_square(test.reference, window).p_value)
    assert np.mean(np.array(naive) <= 0.05) > 0.5
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.11
    assert 0.3 <= np.mean(np.array(p) <= 0.5) <= 0.6  # two looks at the same rows: rather too large


@pytest.mark.parametrize(("shift", "scale"), [(0.2, 1.0), (0.0, 1.2)])
def test_a_shift_of_place_or_of_spread_is_found(shift: float, scale: float) -> None:
    rng = np.random.default_rng(2)
    test = SmoothTest.fit(blocks_of(rng.normal(size=20_000), 200))
    assert test.p_value(bin_counts(rng.normal(shift, scale, 2_000), EDGES)) < 1e-6


def test_too_few_blocks_and_an_empty_window_give_no_verdict() -> None:
    few = SmoothTest.fit(np.full((5, 6), 10))
    assert math.isnan(few.p_value([10] * 6))
    assert math.isnan(SmoothTest.fit(np.random.default_rng(0).multinomial(100, [0.2] * 5, 50)).p_value([0] * 5))


def test_a_reference_that_was_constant_notices_another_value() -> None:
    constant = SmoothTest.fit(np.tile([0, 50, 0], (40, 1)))
    assert constant.p_value([0, 500, 0]) == 1
    assert constant.p_value([0, 400, 100]) < 1e-6


def test_blocks_shorter_than_the_memory_of_the_rows_are_widened_by_what_they_share() -> None:
    rng = np.random.default_rng(3)
    free = [blocks_of(rng.normal(size=20_000), 50) for _ in range(5)]
    bound = [blocks_of(correlated(rng, 20_000, 0.98), 50) for _ in range(5)]
    assert shared_between_blocks(free) == pytest.approx(1, abs=0.1)
    assert shared_between_blocks(bound) > 1.3


def test_the_pooled_null_repairs_p_values_that_fall_too_small_and_never_makes_one_smaller() -> None:
    rng = np.random.default_rng(4)
    null = PooledNull(np.sort(rng.random(2_000) ** 2))  # as if windows wavered more than theory says
    p = rng.random(4_000) ** 2
    repaired = null.calibrate(p)
    assert (repaired >= p).all()
    for level in (0.001, 0.01, 0.1, 0.5):
        assert np.mean(repaired <= level) <= 1.5 * level + 0.001
    honest = PooledNull(np.sort(rng.random(2_000)))
    assert honest.calibrate([1e-9])[0] <= 1e-6
    assert np.isnan(null.calibrate([math.nan])[0])


@given(st.lists(st.floats(1e-12, 1), min_size=0, max_size=300), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_calibration_keeps_the_order_of_p_values(values: list[float], p: list[float]) -> None:
    repaired = PooledNull(np.sort(np.array(values))).calibrate(np.sort(p))
    assert (np.diff(repaired) >= -1e-12).all()
    assert (repaired <= 1).all()


def test_the_pooled_null_of_a_reference_is_learned_from_its_own_later_half() -> None:
    rng = np.random.default_rng(5)
    features = [blocks_of(correlated(rng, 20_000, 0.6), 100) for _ in range(20)]
    null = PooledNull.fit(features, blocks_per_window=5)
    assert null.values.size == 20 * 20
    assert np.all(np.diff(null.values) >= 0)


def test_with_no_drift_evidence_reaches_a_threshold_no_sooner_than_it_says_on_average() -> None:
    rng, evidence, threshold, runs = np.random.default_rng(6), DriftEvidence(), 50.0, []
    shape = np.full(10, 0.1)
    for _ in range(60):
        test, state, windows = SmoothTest.fit(rng.multinomial(500, shape, 60)), evidence.start(), 0
        while windows < 4 * threshold:
            state, value = evidence.update(state, test, rng.multinomial(500, shape))
            windows += 1
            if value >= threshold:
                break
        runs.append(windows)
    assert np.mean(runs) >= threshold


def test_a_lasting_shift_too_small_for_one_window_is_found_over_many() -> None:
    rng, evidence = np.random.default_rng(7), DriftEvidence()
    test = SmoothTest.fit(blocks_of(rng.normal(size=200_000), 500))
    state = evidence.start()
    p: list[float] = []
    while len(p) < 300:
        window = bin_counts(rng.normal(0.04, 1, 500), EDGES)
        p.append(test.p_value(window))
        state, value = evidence.update(state, test, window)
        if value > 1_000:
            break
    assert 10 < len(p) < 200
    assert min(p) > 1e-4


def test_evidence_survives_storage_and_an_empty_window() -> None:
    rng, evidence = np.random.default_rng(8), DriftEvidence()
    test = SmoothTest.fit(rng.multinomial(100, [0.25] * 4, 40))
    state, value = evidence.update(evidence.start(), test, [40, 20, 20, 20])
    assert type(state).from_bytes(state.to_bytes()) == state
    assert evidence.update(state, test, [0, 0, 0, 0]) == (state, value)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=20).filter(lambda counts: sum(n > 0 for n in counts) > 1))
def test_a_window_moves_no_further_than_its_scores_and_like_the_reference_not_at_all(counts: list[int]) -> None:
    reference = np.array(counts, float)
    basis = score_basis(reference)
    test = SmoothTest(reference, basis, np.eye(len(basis)), 1_000_000, location(reference, basis))
    window = np.roll(reference, 1) + (reference > 0)
    scores = basis @ (window / window.sum() - reference / reference.sum())
    assert test.moved(3 * reference) == pytest.approx(0.0, abs=1e-9)
    assert 0.0 <= test.moved(window) <= np.linalg.norm(scores) + 1e-9


@pytest.mark.parametrize(("shift", "spread", "moved"), [(0.3, 1.0, 0.3), (-0.3, 1.0, 0.3), (0.0, 1.3, 0.38), (0.0, 1.0, 0.0)])
def test_a_normal_feature_moves_as_far_as_bins_that_end_at_two_standard_deviations_tell(shift: float, spread: float, moved: float) -> None:
    rng = np.random.default_rng(7)
    test = SmoothTest.fit(blocks_of(rng.standard_normal(100_000), 500))  # 1.3: 0.49 where the bins do not end
    [window] = blocks_of(shift + spread * rng.standard_normal(100_000), 100_000)
    assert test.moved(window) == pytest.approx(moved, abs=0.06)


def test_a_look_at_the_place_alone_finds_more_small_moves_than_all_scores_do() -> None:
    rng, found = np.random.default_rng(8), [0, 0]
    test = SmoothTest.fit(blocks_of(rng.standard_normal(40_000), 200))
    blind = replace(test, direction=None)
    for _ in range(60):
        [window] = blocks_of(0.16 + rng.standard_normal(500), 500)
        found[0] += test.p_value(window) < 0.001
        found[1] += blind.p_value(window) < 0.001
    assert found[0] > found[1] + 5


def test_a_feature_that_few_blocks_have_is_no_part_of_the_pooled_null() -> None:
    blocks = np.random.default_rng(0).multinomial(20, [0.25] * 4, 30)
    with_few = PooledNull.fit([blocks, blocks[:3]], 7)
    assert with_few.values.size == PooledNull.fit([blocks], 7).values.size == 2
