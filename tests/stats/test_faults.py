"""Data faults are named with their parameter, and drift is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.streams.stats import Moments, category_rename, clock_shift, null_spike, stuck_value, unit_change
from driftline.streams.stats.faults import CONVERSIONS, may_be_converted


def moments(values: NDArray[np.float64]) -> Moments:
    return Moments(values.size, float(values.mean()), float(values.var() * values.size))


def draw(rng: np.random.Generator, kind: str, n: int) -> NDArray[np.float64]:
    return {"normal": rng.normal(70, 15, n), "lognormal": rng.lognormal(3, 0.6, n), "uniform": rng.uniform(5, 40, n)}[kind]


@pytest.mark.parametrize("kind", ["normal", "lognormal", "uniform"])
@pytest.mark.parametrize(
    ("scale", "offset", "meaning"), CONVERSIONS, ids=[f"{scale:.4g}x+{offset:.4g}" for scale, offset, _ in CONVERSIONS]
)
def test_every_conversion_is_recognised_by_its_factor(kind: str, scale: float, offset: float, meaning: str) -> None:
    rng = np.random.default_rng(1)
    fault = unit_change(moments(draw(rng, kind, 5000)), moments(scale * draw(rng, kind, 2000) + offset))
    assert fault is not None
    assert fault.parameters == pytest.approx({"scale": scale, "offset": offset})
    assert fault.kind == ("sign_flip" if scale < 0 else "unit_change")
    assert meaning in fault.message


MOMENTS = st.builds(
    lambda n, mean, spread: Moments(n, mean, n * spread**2), st.integers(0, 5000), st.floats(-1e6, 1e6), st.floats(0, 1e6)
)  # fmt: skip


@given(pairs=st.lists(st.tuples(MOMENTS, st.sampled_from(CONVERSIONS), MOMENTS, st.booleans()), min_size=1, max_size=5))
def test_what_need_not_be_asked_about_has_no_conversion(pairs: list[tuple[Moments, tuple[float, float, str], Moments, bool]]) -> None:
    converted = [
        (before, Moments(now.n, scale * before.mean + offset, now.n * scale**2 * before.m2 / max(before.n, 1)) if fits else now)
        for before, (scale, offset, _), now, fits in pairs
    ]
    reference, current = (np.array(side, np.float64).T for side in zip(*converted, strict=True))
    worth = may_be_converted(reference, current)
    assert all(asked or unit_change(before, now) is None for (before, now), asked in zip(converted, worth.tolist(), strict=True))


@given(st.floats(-3, 3), st.floats(0.5, 2.0), st.integers(30, 5000), st.integers(0, 100))
@settings(max_examples=60)
def test_a_drift_of_a_few_standard_deviations_is_no_conversion(shift: float, spread: float, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(100, 10, 5000), rng.normal(100 + 10 * shift, 10 * spread, n)
    assert unit_change(moments(before), moments(after)) is None


def test_a_feature_that_stopped_varying_is_stuck_but_a_constant_one_is_not() -> None:
    assert stuck_value(Moments(100, 1.0, 50.0), Moments(40, 3.0, 0.0), 3.0, 3.0) is not None
    assert stuck_value(Moments(100, 3.0, 0.0), Moments(40, 3.0, 0.0), 3.0, 3.0) is None
    assert stuck_value(Moments(100, 1.0, 50.0), Moments(5, 3.0, 0.0), 3.0, 3.0) is None


@given(st.integers(0, 100), st.integers(0, 100))
def test_missing_values_are_a_spike_only_when_they_rose_by_more_than_chance(before: int, now: int) -> None:
    fault = null_spike(before * 10, 1000, now, 100)
    if now - before < 10:
        assert fault is None
    if now >= before + 40:
        assert fault is not None
        assert fault.parameters["share"] == now / 100


def test_renamed_categories_are_matched_by_their_share_and_first_by_their_letters() -> None:
    reference = {"basic": 300, "pro plan": 310, "trial": 390}
    faults = category_rename(reference, {"Pro-Plan": 300, "BASIC": 310, "trial": 390})
    assert {(fault.parameters["old"], fault.parameters["new"]) for fault in faults} == {("basic", "BASIC"), ("pro plan", "Pro-Plan")}


def test_a_category_that_vanished_without_an_heir_or_by_chance_is_not_renamed() -> None:
    assert category_rename({"a": 500, "b": 500}, {"a": 400}) == []
    assert category_rename({"a": 500, "b": 500}, {"a": 350, "c": 50}) == []
    assert category_rename({"a": 970, "b": 30}, {"a": 29, "c": 1}) == []
    assert category_rename({}, {"a": 1}) == []


def test_a_mean_that_crosses_zero_is_no_turned_sign() -> None:
    assert unit_change(Moments(4000, -0.1, 4000.0), Moments(400, 0.25, 400.0)) is None
    turned = unit_change(Moments(4000, 5.0, 4000.0), Moments(400, -5.02, 400.0))
    assert turned is not None
    assert turned.kind == "sign_flip"


DAY = np.array([1, 1, 1, 1, 2, 5, 20, 40, 60, 70, 70, 65, 60, 62, 64, 66, 70, 60, 50, 40, 20, 10, 5, 2])


@given(st.integers(-11, 12), st.integers(0, 1000))
@settings(max_examples=40)
def test_a_turned_day_is_told_with_its_hours_and_an_unturned_one_is_not(hours: int, seed: int) -> None:
    rows = np.random.default_rng(seed).multinomial(2_000, np.roll(DAY, hours) / DAY.sum())
    fault = clock_shift(10 * DAY, rows)
    if abs(hours) < 2:
        assert hours or fault is None
    else:
        assert fault is not None
        assert fault.parameters["hours"] == hours


@pytest.mark.parametrize(("reference", "window"), [([0] * 24, [10] * 24), ([10] * 24, [0] * 24), ([10] * 24, [100] * 24)])
def test_a_day_without_rows_or_without_shape_tells_nothing(reference: list[int], window: list[int]) -> None:
    assert clock_shift(reference, window) is None
