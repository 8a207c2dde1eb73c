"""The estimate of when a change began."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.stats import batches_of, change_point


@pytest.mark.parametrize(("old", "new"), [(0.1, 0.2), (0.3, 0.1), (0.05, 0.5)])
def test_the_interval_holds_the_beginning_19_times_in_20(old: float, new: float) -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(100):
        begin = int(rng.integers(20, 80))
        levels = np.repeat(np.where(np.arange(100) < begin, old, new), 50)
        found = change_point(batches_of((rng.random(5000) < levels).astype(float).tolist(), 50))
        assert found is not None
        inside += found.earliest <= begin <= found.latest
        assert found.earliest <= found.at <= found.latest
        assert found.signal.direction == ("up" if new > old else "down")
    assert inside >= 88


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), max_size=30))
def test_any_batches_give_a_place_among_them_or_none(rows: list[tuple[int, float]]) -> None:
    batches = [(n, n * mean, n * mean * (1 - mean)) for n, mean in rows]
    found = change_point(batches)
    if sum(n > 0 for n, _ in rows) < 2:
        assert found is None
    else:
        assert found is not None
        assert 0 < found.earliest <= found.at <= found.latest < len(rows)
        assert found.signal.n_before + found.signal.n_after == sum(n for n, _ in rows)


def test_batches_without_values_keep_their_place() -> None:
    found = change_point([(10, 0, 0.0), (0, 0, 0.0), (10, 0, 0.0), (0, 0, 0.0), (10, 10, 0.0), (10, 10, 0.0)])
    assert found is not None
    assert found.at == 4
