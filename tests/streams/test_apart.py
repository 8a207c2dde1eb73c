"""One compiled pass over the bins of features finds what NumPy finds, figure by figure, whatever the histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.streams import kernels
from driftline.streams.apart import Sample, apart, by_numpy
from driftline.streams.stats import TESTS, chi_square

Counts = NDArray[np.float64]
EXACT = {"ks", "freedom", "null_freedom", "live", "near"}  # the others are sums of fractions, the same to the last bits

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def compiled() -> Iterator[None]:
    kernels.load()
    yield
    kernels.unload()


ROWS = st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 3_000), st.integers(0, 10**12))


@st.composite
def histograms(draw: st.DrawFn) -> tuple[Counts, Counts, Sample, Counts]:
    """A reference, windows, the reference with rows alike counted as one, and the values that bins stand for."""
    bins = draw(st.one_of(st.integers(1, 20), st.sampled_from([64, 128, 129, 300])))
    features, windows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def rows(*shape: int) -> Counts:
        few = np.array(draw(st.lists(ROWS, min_size=1, max_size=6)), np.float64)
        return random.choice(few, (*shape, bins)) * (np.arange(bins) < draw(st.integers(0, bins)))

    reference, counts = rows(features), rows(windows, features)
    alike = draw(st.sampled_from([1.0, 1.7, 30.0]))
    places = np.cumsum(random.exponential(1, counts.shape), -1) * draw(st.sampled_from([1e-3, 1.0, 1e300]))
    fewer = np.maximum(np.rint(reference / alike), reference > 0)
    return reference, counts, Sample(fewer, np.maximum(np.rint(counts.sum(-1) / alike), 1)), places


@given(given_=histograms(), placed=st.booleans(), entropy=st.booleans())
def test_each_figure_is_that_of_numpy(given_: tuple[Counts, Counts, Sample, Counts], placed: bool, entropy: bool) -> None:
    reference, counts, alike, places = given_
    with np.errstate(over="ignore", invalid="ignore"):
        mine, twin = (each(reference, counts, alike, places if placed else None, entropy) for each in (apart, by_numpy))
    for name, one, other in zip(mine._fields, mine, twin, strict=True):
        assert one.shape == other.shape == counts.shape[:-1]
        np.testing.assert_allclose(one, other, rtol=0 if name in EXACT else 1e-12, atol=0, err_msg=name)


def test_without_rows_on_a_side_nothing_is_told() -> None:
    full, empty = np.array([[5.0, 5.0]]), np.zeros((1, 2))
    for reference, now in ((full, empty), (empty, full), (empty, empty)):
        found = apart(reference, now[None], Sample(reference, np.ones((1, 1))), None, True)
        assert all(math.isnan(each[0, 0]) for each in found[:5]) and not np.any(found[5:])


def test_neighbours_are_pooled_as_for_one_feature_alone() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        reference, now = (random.integers(0, 9, 12).astype(float) for _ in range(2))
        found, alone = (
            apart(reference[None], now[None, None], Sample(reference[None], np.full((1, 1), 30.0)), None, False),
            chi_square(reference, now),
        )
        assert found.chi_square[0, 0] == pytest.approx(alone.statistic) and found.freedom[0, 0] == alone.dof


def test_the_limit_of_many_rows_holds_in_a_shape_where_it_holds_for_what_its_bins_expect() -> None:
    limit = TESTS["jensen_shannon"].limit
    assert limit is not None
    for counts, rows in (([100.0, 50, 0], 25), ([100.0, 50, 0], 60), ([30.0, 30], 15), ([30.0, 31], 19)):
        expected = np.array(counts) * rows / sum(counts)
        assert bool(limit.holds_in_shape(counts, rows)) == bool(limit.holds(counts, expected))


@pytest.mark.parametrize("wrong", ["reference", "alike", "sizes", "places"])
def test_histograms_of_other_shapes_are_refused_and_no_memory_of_others_is_read(wrong: str) -> None:
    reader = kernels.current()
    assert reader is not None
    shapes = {"reference": (2, 4), "counts": (3, 2, 4), "alike": (2, 4), "sizes": (3, 2), "places": (3, 2, 4)}
    shapes[wrong] = (1, *shapes[wrong][1:])
    reference, counts, alike, sizes, places = (np.ones(shape) for shape in shapes.values())
    with pytest.raises(IndexError):
        reader.apart(reference, counts, alike, sizes, places, True, 5.0, 10.0)
