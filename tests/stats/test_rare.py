"""Rare values: names are given to what the next sample will have as often, and one row is taken from one bin at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.stats import least_known, without_straggler

ROWS = st.lists(st.integers(0, 60), min_size=1, max_size=12)


@pytest.mark.parametrize("rows", [300, 1_000, 10_000])
@pytest.mark.parametrize("power", [1.0, 1.5, 3.0])
def test_the_next_sample_has_as_many_rows_of_the_named_as_this_one(rows: int, power: float) -> None:
    rng = np.random.default_rng(rows)
    share = 1 / np.arange(1, 2_001) ** (1 / power)
    share /= share.sum()
    apart = []
    for _ in range(40):
        before, now = rng.multinomial(rows, share, 2)
        named = before >= least_known(before[before > 0])
        apart.append((before[named].sum() - now[named].sum()) / np.sqrt(rows))
    assert abs(np.mean(apart)) < 1.3  # standard errors; with names for all that came it is up to eighteen


@given(ROWS.filter(lambda counts: len(counts) <= 20))
def test_a_few_categories_are_all_told_by_name(counts: list[int]) -> None:
    assert least_known(counts) == 1


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), min_size=1, max_size=12), st.floats(1, 10))
def test_at_most_one_bin_loses_at_most_one_clump_and_none_gains(bins: list[tuple[int, int]], alike: float) -> None:
    now, before = np.array(bins, dtype=float).T
    lost = now - without_straggler(now, before, alike)
    assert (lost >= 0).all() and np.count_nonzero(lost) <= 1 and lost.max() <= alike + 1e-9


def test_where_enough_rows_are_expected_everywhere_nothing_is_taken() -> None:
    assert without_straggler([[10, 30], [5, 35]], [[500, 500], [200, 800]]).tolist() == [[10, 30], [5, 35]]
