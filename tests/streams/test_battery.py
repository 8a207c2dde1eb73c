"""All features at once give the figures of each feature alone, whatever the histograms and however many bins their neighbours have."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile
from driftline.streams.battery import Battery, Measured
from driftline.streams.calibration import basis_of, counts_of
from driftline.streams.stats import TESTS, SmoothTest, bin_positions, chi_square, ks, l_infinity, null_quantile, psi, without_straggler
from driftline.streams.stats.bootstrap import _draws, quantile_of_draws
from driftline.streams.stats.smooth_test import location

Counts = NDArray[np.float64]
TOLD = ("psi", "ks", "chi_square", "hellinger", "wasserstein")


class One(NamedTuple):
    """What is told of one feature of one window."""

    figures: dict[str, Told]
    n: int
    n_reference: int
    p_value: float
    effect: float
    moved: float


class Told(NamedTuple):
    value: float
    p_value: float
    null: float


def each_of(battery: Battery, found: Measured, tests: tuple[str, ...], w: int = 0) -> list[One]:
    """A window's features one by one, with the tests that each allows."""
    wanted = ("psi", *(test for test in tests if test != "psi"))
    allowed = [[numeric or TESTS[test].needs == "bins" for test in wanted] for numeric in battery.numeric]
    return [
        One(
            {test: Told(*found.figures[w, f, t].tolist()) for t, test in enumerate(wanted) if allowed[f][t]},
            *(column[w, f].item() for column in (found.n, found.n_reference, found.p_value, found.effect, found.moved)),
        )
        for f in range(len(battery.names))
    ]  # fmt: skip


ROWS = st.one_of(st.integers(0, 6), st.integers(0, 3_000), st.just(0))


def profile_of(counts: list[int], numeric: bool) -> Profile:
    if numeric:
        return NumericProfile([float(i) for i in range(len(counts) - 1)], counts, sum(counts), 0, 0.5, 1.0, -1.0, float(len(counts)))
    return CategoricalProfile([f"c{i}" for i in range(len(counts) - 1)], counts[:-1], counts[-1], sum(counts), 0)


@st.composite
def features(draw: st.DrawFn) -> tuple[Profile, SmoothTest, Counts, Counts]:
    """A profile with its test, a window, and other rows than the reference's."""
    bins = draw(st.integers(2, 12))
    before, now, other = (draw(st.lists(ROWS, min_size=bins, max_size=bins)) for _ in range(3))
    profile = profile_of(before, draw(st.booleans()))
    basis, blocks = basis_of(profile), draw(st.sampled_from([0, 40, 1_000_000]))
    direction = location(counts_of(profile), basis) if isinstance(profile, NumericProfile) and len(basis) else None
    covariance = np.eye(len(basis)) * draw(st.sampled_from([0.5, 1.0, 3.0]))
    return profile, SmoothTest(counts_of(profile), basis, covariance, blocks, direction), np.array(now, float), np.array(other, float)


def stacked(histograms: list[Counts], width: int) -> Counts:
    return np.stack([np.append(each, np.zeros(width - len(each))) for each in histograms])


def alike(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-9)


@settings(max_examples=80)
@given(several=st.lists(features(), min_size=1, max_size=5), against=st.booleans())
def test_each_figure_is_that_of_the_feature_alone(several: list[Any], against: bool) -> None:
    profiles, tests, windows, others = (list(column) for column in zip(*several, strict=True))
    battery = Battery([f"f{i}" for i in range(len(several))], profiles, tests)
    width = max(len(window) for window in windows)
    figures = battery.measured(
        stacked(windows, width)[None], np.full((1, len(several), 2), np.nan), TOLD,
        stacked(others, width) if against else None,
    )  # fmt: skip
    found = each_of(battery, figures, TOLD)
    for one, profile, test, now, other in zip(found, profiles, tests, windows, others, strict=True):
        before = other if against else counts_of(profile)
        assert (one.n, one.n_reference) == (now.sum(), before.sum())
        assert alike(one.p_value, test.p_value(without_straggler(now, before, test.dispersion), other if against else None))
        if not (one.n and one.n_reference):
            assert all(math.isnan(figure) for told in one.figures.values() for figure in told)
            continue
        numeric = isinstance(profile, NumericProfile)
        assert alike(one.effect, psi(before, now))
        assert alike(one.moved, test.moved(now, other if against else None) if numeric else l_infinity(before, now))
        told = one.figures
        assert list(told) == [name for name in TOLD if numeric or name not in {"ks", "wasserstein"}]
        table = chi_square(before, now)
        assert alike(told["chi_square"].value, table.statistic) and alike(told["chi_square"].p_value, table.p_value)
        assert alike(told["psi"].p_value, table.p_value)
        if test.dispersion == 1:
            assert alike(told["chi_square"].null, null_quantile("chi_square", before, int(one.n)))
            assert not numeric or alike(told["ks"].null, null_quantile("ks", before, int(one.n)))
            alone = TESTS["hellinger"].run(before, now)
            assert all(alike(*pair) for pair in zip(told["hellinger"], alone, strict=True))
        if isinstance(profile, NumericProfile) and test.dispersion == 1:
            places = bin_positions(profile.edges, -1.0, float(len(before)))
            alone = TESTS["wasserstein"].run(before, now, places)
            assert all(alike(*pair) for pair in zip(told["wasserstein"], alone, strict=True))
        assert not numeric or alike(told["ks"].value, ks(before, now))


@given(several=st.lists(features(), min_size=1, max_size=3), many=st.integers(1, 4), data=st.data())
def test_several_windows_have_the_figures_of_each_window_to_the_bit(several: list[Any], many: int, data: st.DataObject) -> None:
    """What a window's rows say must not depend on which windows happened to be judged beside it."""
    profiles, tests, *_ = zip(*several, strict=True)
    battery = Battery([f"f{i}" for i in range(len(several))], profiles, tests)
    histograms = [[data.draw(st.lists(ROWS, min_size=n, max_size=n)) for n in battery.bins] for _ in range(many)]
    width = max(battery.bins)
    counts = np.stack([stacked([np.array(each, float) for each in window], width) for window in histograms])
    bounds = np.full((many, len(several), 2), np.nan)
    together = battery.measured(counts, bounds, TOLD)
    for w in range(many):
        for told, alone in zip(together.of_window(w), battery.measured(counts[w : w + 1], bounds[w : w + 1], TOLD), strict=True):
            assert np.asarray(told).dtype == np.asarray(alone).dtype
            assert repr(np.asarray(told).tolist()) == repr(np.asarray(alone).tolist())


def test_a_window_with_extremes_of_its_own_is_measured_with_them_and_held_against_the_same_draws() -> None:
    """Else nearly every window of an unbounded feature would be a question of its own: a hundred times the work, for the same answer."""
    before = [0, 400, 900, 1_200, 600, 300, 0]
    profile = profile_of(before, True)
    test = SmoothTest(counts_of(profile), basis_of(profile), np.eye(len(basis_of(profile))), 1_000_000, None)
    battery, now = Battery(["f"], [profile], [test]), np.array([[[1.0, 80, 180, 250, 110, 60, 3]]])
    drawn = ("wasserstein", "wasserstein_normalised", "energy")
    first, *others = (
        each_of(battery, battery.measured(now, np.array([[[low, high]]]), drawn), drawn)[0].figures
        for low, high in ((-1.0, 7.0), (-3.0, 9.0), (-8.5, 70.0))
    )
    asked = _draws.cache_info().misses
    for other in others:
        assert all(other[name].value > first[name].value and other[name].null == first[name].null for name in drawn)
        assert all(other[name].p_value <= first[name].p_value for name in drawn)
    battery.measured(now, np.array([[[-123.0, 456.0]]]), drawn)
    assert _draws.cache_info().misses == asked


@given(draws=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), quantile=st.floats(0.0, 1.0))
def test_a_quantile_of_ascending_draws_is_numpys_to_the_bit(draws: list[float], quantile: float) -> None:
    ordered = np.sort(np.array(draws))
    assert quantile_of_draws(ordered, quantile) == float(np.quantile(ordered, quantile))
