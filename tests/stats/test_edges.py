"""Bin edges: bounded, ascending, with a bin of its own for every value that repeats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.stats import bin_buckets, bin_counts, bin_positions, ks, numeric_edges, weighted_edges

any_float = st.floats(allow_nan=False, allow_infinity=False)
repeating = st.sampled_from([0.0, -1.0, 1.0, 7.5, 1e300, -1e300, 5e-324])


@given(st.lists(any_float | repeating, max_size=300), st.integers(2, 80), st.integers(4, 80))
def test_edges_are_finite_ascending_and_no_more_than_allowed(values: list[float], bins: int, max_edges: int) -> None:
    edges = numeric_edges(values, bins, max_edges)
    assert edges.dtype == np.float64
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert 1 <= edges.size <= max_edges


@given(st.lists(any_float | repeating | st.just(math.nan), max_size=200), st.lists(any_float, max_size=20))
def test_every_value_is_in_exactly_one_half_open_bin(values: list[float], edges: list[float]) -> None:
    bounds = np.unique(edges)
    counts = bin_counts(values, bounds)
    present = [value for value in values if not math.isnan(value)]
    lower, upper = [-math.inf, *bounds], [*bounds, math.inf]
    assert counts.tolist() == [sum(low <= value < high for value in present) for low, high in zip(lower, upper, strict=True)]


@given(st.lists(any_float | repeating, min_size=1, max_size=200))
def test_the_outer_bins_of_the_reference_itself_are_empty(values: list[float]) -> None:
    edges = numeric_edges(values)
    counts = bin_counts(values, edges)
    assert counts[0] == 0
    # Above the largest float there is no edge to draw.
    assert counts[-1] == 0 or max(values) == np.finfo(float).max


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, 5e-324])
def test_a_constant_feature_has_a_bin_below_one_for_it_and_one_above(value: float) -> None:
    edges = numeric_edges([value] * 7)
    assert edges.tolist() == [value, np.nextafter(value, np.inf)]
    assert bin_counts([value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf)], edges).tolist() == [1, 1, 1]


def test_a_default_value_among_continuous_ones_has_its_own_bin() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=9_800), np.full(200, 0.25)])
    edges = numeric_edges(values)
    assert bin_counts([0.25], edges).argmax() != bin_counts([np.nextafter(0.25, 1)], edges).argmax()
    assert bin_counts([0.25], edges).argmax() != bin_counts([np.nextafter(0.25, 0)], edges).argmax()


@pytest.mark.parametrize("distinct", [2, 10, 30, 60])
def test_integers_have_a_bin_each_so_a_shift_between_neighbours_shows(distinct: int) -> None:
    values = np.arange(6000) % distinct
    edges = numeric_edges(values)
    assert sorted(bin_counts(values, edges)[bin_counts(values, edges) > 0]) == [6000 // distinct] * distinct
    moved = np.where(values == 0, 1, values)
    assert ks(bin_counts(values, edges), bin_counts(moved, edges)) == pytest.approx(1 / distinct)


def test_quantile_and_equal_width_edges_are_both_there_for_a_skewed_feature() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    edges = numeric_edges(values)
    counts = bin_counts(values, edges)
    assert counts.max() <= 20_000 / 32 + 2
    widest = np.diff(edges).max()
    assert widest <= np.diff(np.histogram_bin_edges(values, "doane")).max() * 1.01


def test_ks_in_bins_is_within_the_largest_bin_of_the_exact_one() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(size=20_000)
    for bins, bound in [(32, 1 / 32), (256, 0.002)]:
        edges = numeric_edges(before, bins, max_edges=2 * bins)
        after = rng.normal(0.1, 1.1, size=5_000)
        exact = np.abs(
            np.searchsorted(np.sort(before), after, side="right") / 20_000 - np.searchsorted(np.sort(after), after, side="right") / 5_000
        ).max()
        assert exact - bound <= ks(bin_counts(before, edges), bin_counts(after, edges)) <= exact + 1e-3


@given(st.lists(st.tuples(st.integers(-200, 200), st.integers(0, 50)), max_size=150), st.integers(4, 70))
def test_a_sketch_binned_by_its_own_edges_loses_nothing(buckets: list[tuple[int, int]], max_edges: int) -> None:
    counts = dict(buckets)
    lower = np.array(sorted(counts), dtype=float)
    n = np.array([counts[int(low)] for low in lower], dtype=int)
    edges = weighted_edges(lower, lower + 1, n, max_edges=max_edges)
    assert edges.size <= max_edges
    assert (edges[1:] > edges[:-1]).all()
    if n.any():
        assert set(edges) <= set(lower) | set(lower + 1)
        # Wherever in its bucket a value lay, its bin is the same.
        low, high = np.repeat(lower, n), np.repeat(np.nextafter(lower + 1, -np.inf), n)
        assert bin_buckets(lower, n, edges).tolist() == bin_counts(low, edges).tolist() == bin_counts(high, edges).tolist()


@given(st.lists(any_float, min_size=1, max_size=20, unique=True), any_float, any_float)
def test_positions_ascend_and_lie_in_their_bins(edges: list[float], minimum: float, maximum: float) -> None:
    bounds = np.sort(edges)
    positions = bin_positions(bounds, minimum, maximum)
    assert (np.diff(positions) >= 0).all()
    assert ((positions[1:-1] >= bounds[:-1]) & (positions[1:-1] <= bounds[1:])).all()
