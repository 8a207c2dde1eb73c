"""KSWIN: many values at once are many values one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from driftline.streams.stats import Batch, Kswin, Signal
from driftline.streams.stats.kswin import _critical_steps


@given(
    st.integers(0, 10_000), st.integers(20, 60), st.integers(5, 10), st.sampled_from([0, 1, 12]), st.lists(st.integers(0, 700), max_size=3)
)
@settings(max_examples=25, deadline=None)
def test_scan_gives_the_signals_and_the_state_of_update(seed: int, size: int, latest: int, decimals: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(np.repeat(rng.normal(0, 1, 3), 250)).round(decimals)
    kswin = Kswin(alpha=0.01, window_size=size, stat_size=latest, seed=None if seed % 5 else 3)
    state, one_by_one = kswin.start(), []
    for i, value in enumerate(values.tolist()):
        state, signal = kswin.update(state, Batch.one(value))
        if signal:
            one_by_one.append((i, signal))
    scanned, found, begin = kswin.start(), [], 0
    for end in [*sorted(cuts), len(values)]:
        scanned, some = kswin.scan(scanned, values[begin:end])
        found += [(begin + i, signal) for i, signal in some]
        begin = end
    assert [i for i, _ in found] == [i for i, _ in one_by_one]
    assert [_rounded(signal) for _, signal in found] == [_rounded(signal) for _, signal in one_by_one]
    assert scanned == state


def _rounded(signal: Signal) -> tuple[str, float, int]:
    return signal.direction, round(signal.mean_after, 9), signal.n_after


@pytest.mark.parametrize(("n", "alpha"), [(30, 0.005), (30, 0.05), (50, 0.001)])
def test_the_limit_of_equal_samples_is_scipys_exact_one(n: int, alpha: float) -> None:
    steps = _critical_steps(n, n, alpha)
    rows = -(-steps // n)
    for count, significant in ((rows, True), (rows - 1, False)):
        a, b = np.arange(n, dtype=float), np.arange(n, dtype=float) + count - 0.5
        assert (scipy_stats.ks_2samp(a, b, method="exact").pvalue <= alpha) == significant


@pytest.mark.parametrize("latest", [0, 11])
def test_a_latest_part_of_nothing_or_of_more_than_half_is_refused(latest: int) -> None:
    with pytest.raises(ValueError, match="between 1 and half of window_size"):
        Kswin(window_size=20, stat_size=latest)
