"""Laws that every drift test of the registry keeps; a test that is added is tested here without another line."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from driftline.streams.stats import TESTS, DriftTest

Counts = NDArray[np.int64]
every_test = pytest.mark.parametrize("test", TESTS.values(), ids=TESTS.keys())

BINS = 20
EDGES = np.linspace(-2.5, 2.5, BINS - 1)
POSITIONS = np.concatenate([[-2.7], (EDGES[1:] + EDGES[:-1]) / 2, [2.7]])


@st.composite
def two_histograms(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    bins = draw(st.integers(1, 12))
    counts = st.lists(st.integers(0, 300), min_size=bins, max_size=bins).filter(any)
    return draw(counts), draw(counts)


def normal(shift: float, scale: float = 1.0) -> NDArray[np.float64]:
    """Shares of a normal in the bins."""
    return np.diff(ndtr((np.concatenate([[-np.inf], EDGES, [np.inf]]) - shift) / scale))


@every_test
@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(lambda counts: sum(counts) > 1), factor=st.integers(1, 50))
def test_equal_shapes_are_at_distance_0_whatever_their_sizes(test: DriftTest, counts: list[int], factor: int) -> None:
    measured = test.run(counts, np.array(counts) * factor)
    assert measured.value == 0
    assert measured.p_value >= 0.99


@every_test
@settings(max_examples=30)
@given(histograms=two_histograms())
def test_a_symmetric_test_does_not_care_which_side_is_which(test: DriftTest, histograms: tuple[list[int], list[int]]) -> None:
    if test.symmetric:
        at = np.arange(len(histograms[0]), dtype=float)
        first, second = (np.asarray(counts, dtype=float) for counts in histograms)
        assert test.measure(first, second, at)[0] == pytest.approx(test.measure(second, first, at)[0], rel=1e-9, abs=1e-12, nan_ok=True)


@every_test
@settings(max_examples=30)
@given(histograms=two_histograms())
def test_the_value_is_finite_and_the_p_value_a_probability(test: DriftTest, histograms: tuple[list[int], list[int]]) -> None:
    measured = test.run(*histograms)
    if min(map(sum, histograms)) >= 2:
        assert 0 <= measured.value < math.inf
        assert 0 <= measured.p_value <= 1
        assert 0 <= measured.null_quantile < math.inf


@every_test
@pytest.mark.parametrize(("reference", "current"), [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([0, 0], [0, 0])])
def test_a_side_without_rows_gives_no_figure_at_all(test: DriftTest, reference: list[int], current: list[int]) -> None:
    assert all(math.isnan(figure) for figure in test.run(reference, current))


@every_test
@settings(max_examples=30)
@given(histograms=two_histograms(), at=st.integers(0, 12))
def test_a_bin_without_rows_on_both_sides_changes_nothing(test: DriftTest, histograms: tuple[list[int], list[int]], at: int) -> None:
    positions = np.arange(len(histograms[0]), dtype=float)
    place = min(at, len(positions))
    first, second = (np.asarray(counts, dtype=float) for counts in histograms)
    value, _ = test.measure(first, second, positions)
    wider, _ = test.measure(np.insert(first, place, 0), np.insert(second, place, 0), np.insert(positions, place, place - 0.5))
    assert wider == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)


@every_test
@settings(max_examples=30)
@given(histograms=two_histograms(), seed=st.integers(0, 1000))
def test_only_tests_that_say_so_care_about_the_order_of_bins(test: DriftTest, histograms: tuple[list[int], list[int]], seed: int) -> None:
    if test.needs == "bins" and test.name not in ("chi_square", "g_test"):  # they pool neighbours
        order, at = np.random.default_rng(seed).permutation(len(histograms[0])), np.arange(len(histograms[0]), dtype=float)
        first, second = (np.asarray(counts, dtype=float) for counts in histograms)
        assert test.measure(first[order], second[order], at)[0] == pytest.approx(test.measure(first, second, at)[0], rel=1e-9, abs=1e-12)


@every_test
def test_a_larger_shift_has_a_larger_value_and_a_smaller_p_value(test: DriftTest) -> None:
    kinds = [normal(0, scale) for scale in (1, 1.3, 1.6, 2)] if test.name == "levene" else [normal(shift) for shift in (0, 0.2, 0.5, 1)]
    measured = [test.run((kinds[0] * 10_000).round(), (shape * 2_000).round(), POSITIONS) for shape in kinds]
    assert all(a.value < b.value and a.p_value >= b.p_value for a, b in pairwise(measured))
    assert measured[0].value < measured[0].null_quantile < measured[-1].value
    assert measured[-1].p_value <= 0.001


@every_test
@pytest.mark.parametrize(("n", "m"), [(20_000, 500), (20_000, 2_000)])
def test_p_values_are_uniform_and_the_null_quantile_is_passed_as_often_as_it_says_with_no_drift(test: DriftTest, n: int, m: int) -> None:
    rng = np.random.default_rng(m)
    shape, rounds = normal(0), 600
    references = rng.multinomial(n, shape, 20)
    measured = [test.run(references[i % 20], rng.multinomial(m, shape), POSITIONS) for i in range(rounds)]
    p = np.array([each.p_value for each in measured])
    # 600 rounds: four standard errors are 0.036 at 0.05 and 0.082 at 0.5. KS in bins is careful, so only its upper side counts.
    assert 0.014 * (test.name != "ks") <= np.mean(p <= 0.05) <= 0.086
    assert 0.42 * (test.name != "ks") <= np.mean(p <= 0.5) <= 0.58
    passed = np.mean([each.value > each.null_quantile for each in measured])
    assert 0.014 * (test.name != "ks") <= passed <= 0.086


@every_test
def test_stacks_of_features_give_the_figures_of_each_feature(test: DriftTest) -> None:
    from driftline.streams import stats

    distance = getattr(stats, test.name)
    if hasattr(distance, "each"):
        rng = np.random.default_rng(3)
        before, after = rng.integers(0, 50, (5, BINS)), rng.integers(0, 50, (5, BINS))
        extra = (POSITIONS,) if test.needs == "positions" else ()
        each = distance.each(before, after, *extra)
        assert each.tolist() == [distance(f, g, *extra) for f, g in zip(before, after, strict=True)]
