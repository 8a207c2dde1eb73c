"""ADWIN: signals where river signals, and its micro-batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.stats import Adwin, AdwinState, Batch


def test_a_batch_without_values_changes_nothing() -> None:
    state = Adwin().start()
    assert Adwin().update(state, Batch(0, 0.0, 0.0)) == (state, None)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=50), max_size=60))
def test_the_window_holds_exactly_the_values_it_was_given(batches: list[list[float]]) -> None:
    state = Adwin(delta=1e-12).start()
    seen: list[float] = []
    for values in batches:
        state, signal = Adwin(delta=1e-12).update(state, Batch.of(values))
        seen = [] if signal else [*seen, *values]
    whole = Batch.of(seen)
    assert state.n == whole.n
    assert state.total == pytest.approx(whole.total, abs=1e-9)
    assert state.m2 == pytest.approx(whole.m2, abs=1e-9)
    assert sum(bucket.n for row in state.rows for bucket in row) == whole.n


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
@pytest.mark.parametrize(("old", "new", "direction"), [(0.1, 0.4, "up"), (0.4, 0.1, "down")])
def test_a_change_of_level_is_found_in_batches_of_any_size_with_both_means(size: int, old: float, new: float, direction: str) -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.random(5000) < old, rng.random(5000) < new]).astype(float)
    state = Adwin().start()
    for i in range(0, len(values), size):
        state, signal = Adwin().update(state, Batch.of(values[i : i + size]))
        if signal is not None:
            break
    assert signal is not None
    assert i >= 5000
    assert i <= 5000 + max(200, size)
    assert signal.direction == direction
    assert signal.mean_before == pytest.approx(old, abs=0.05)
    # It began 5 000 rows in; the estimate is at most a bucket off.
    assert abs(i + size - signal.n_after - 5000) <= max(64, size)


def test_the_state_needs_memory_of_the_order_of_the_logarithm_of_the_window() -> None:
    state = Adwin().start()
    for _ in range(20_000):
        state, _ = Adwin().update(state, Batch.one(0.5))
    assert state.n == 20_000
    assert sum(len(row) for row in state.rows) < 6 * 15


def test_a_state_of_another_version_is_refused() -> None:
    data = Adwin().start().to_bytes().replace(b"AdwinState", b"OtherState")
    with pytest.raises(ValueError, match="OtherState of version 1, not a AdwinState"):
        AdwinState.from_bytes(data)
