"""Figures of binned values are as near to those of the raw values as their docstrings say."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.special import ndtr

from driftline.streams import stats
from driftline.streams.stats.counts import shares
from driftline.streams.stats.moments import spread_of_bins

Values = NDArray[np.float64]


def made(kind: str, n: int, shift: float, seed: int) -> Values:
    """Values of one kind: continuous, rounded to so many digits, or with values that many rows share."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(shift, 1.0, n)
    if kind == "mixed":
        return np.where(rng.random(n) < 0.3, 0.0, np.where(rng.random(n) < 0.2, normal.round(1), normal))
    if kind == "skewed":
        return rng.lognormal(shift, 1.0, n)
    return normal if kind == "continuous" else normal.round({"integers": 0, "tenths": 1, "hundredths": 2}[kind])


kinds = st.sampled_from(["continuous", "skewed", "integers", "tenths", "hundredths", "mixed"])


class Binned(NamedTuple):
    """Two samples, their counts, and of each bin the value it stands for and its width."""

    before: Values
    after: Values
    f: NDArray[np.int64]
    g: NDArray[np.int64]
    at: Values
    width: Values

    @property
    def moved(self) -> float:
        """How far the rows of both sides lie from their bins' middles, at most, on average; summed over the sides."""
        return float(((shares(self.f) + shares(self.g)) * self.width).sum() / 2)


def binned(before: Values, after: Values, edges: Values) -> Binned:
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    width = np.diff(np.concatenate(([min(low, edges[0])], edges, [max(high, edges[-1])])))
    counts = stats.bin_counts(before, edges), stats.bin_counts(after, edges)
    return Binned(before, after, *counts, stats.bin_positions(edges, low, high), width)


rows = st.lists(st.floats(-50, 50, width=32) | st.sampled_from([0.0, 1.0, 2.5]), min_size=2, max_size=80).map(np.array)
any_binned = st.builds(
    binned, rows, rows, st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=20, unique=True).map(sorted).map(np.array)
)


@given(any_binned)
def test_ks_with_edges_is_off_by_half_of_what_a_bin_of_several_values_can_hide(case: Binned) -> None:
    edges = np.unique(np.append(np.arange(-3.0, 3.0), [np.nextafter(0.0, 1), np.nextafter(1.0, 2)]))
    f, g = (stats.bin_counts(side, edges) for side in (case.before, case.after))
    exact = scipy_stats.ks_2samp(case.before, case.after, method="asymp").statistic
    several = np.ones(f.size, bool)
    several[[np.searchsorted(edges, value, side="right") for value in (0.0, 1.0)]] = False
    hidden = np.minimum(shares(f), shares(g))[several].max()
    told = stats.ks(f, g, edges=edges)
    assert abs(told - exact) <= (hidden / 2 if told else hidden) + 1e-12


@given(kinds, kinds, st.sampled_from([1_000, 2_560, 10_000]), st.integers(1, 3_000), st.floats(0, 2), st.integers(0, 10_000))
@settings(max_examples=60)
def test_ks_is_within_two_thousandths_at_256_bins_whatever_the_values(
    kind: str, other: str, n: int, m: int, shift: float, seed: int
) -> None:
    before, after = made(kind, n, 0.0, seed), made(other, m, shift, seed + 1)
    edges = stats.edges_by(before, "quantile:256")
    told = stats.ks(stats.bin_counts(before, edges), stats.bin_counts(after, edges), edges=edges)
    assert abs(told - scipy_stats.ks_2samp(before, after, method="asymp").statistic) <= 0.002 + 1e-12


@given(st.sampled_from(["integers", "tenths"]), st.integers(300, 3_000), st.integers(1, 3_000), st.floats(0, 1), st.integers(0, 10_000))
@settings(max_examples=20)
def test_ks_of_few_values_is_exact_in_the_bins_that_the_usual_edges_give_them(kind: str, n: int, m: int, shift: float, seed: int) -> None:
    before = made(kind, n, 0.0, seed).clip(-2, 2)
    after = made(kind, m, shift, seed + 1).clip(-2, 2)
    edges = stats.numeric_edges(before)
    if np.isin(after, before).all():
        exact = scipy_stats.ks_2samp(before, after, method="asymp").statistic
        assert stats.ks(stats.bin_counts(before, edges), stats.bin_counts(after, edges)) == pytest.approx(exact, abs=1e-12)


@given(any_binned)
def test_wasserstein_is_off_by_the_mean_width_of_the_bins_at_most(case: Binned) -> None:
    exact = scipy_stats.wasserstein_distance(case.before, case.after)
    assert abs(stats.wasserstein(case.f, case.g, case.at) - exact) <= case.moved + 1e-9


@given(any_binned)
def test_the_square_of_energy_is_off_by_four_times_the_mean_width_at_most(case: Binned) -> None:
    exact = scipy_stats.energy_distance(case.before, case.after)
    assert abs(stats.energy(case.f, case.g, case.at) ** 2 - exact**2) <= 4 * case.moved + 1e-6


@given(any_binned)
def test_means_and_deviations_of_bins_are_off_by_what_their_rows_can_move(case: Binned) -> None:
    half = case.width / 2
    p, q = shares(case.f), shares(case.g)
    assert abs(stats.moments_of_bins(case.g, case.at).mean - case.after.mean()) <= q @ half + 1e-9
    if np.ptp(case.before) > 0 and np.count_nonzero(case.f) > 1:
        spread = float(spread_of_bins(case.f, case.g, case.at))
        assert abs(spread - case.before.std()) <= math.sqrt(p @ half**2) + 1e-9


@given(any_binned)
def test_levenes_deviations_are_off_by_the_mean_width_and_the_medians(case: Binned) -> None:
    effect = stats.levene(case.f, case.g, case.at).effect
    bounds = []
    for values, share in ((case.before, shares(case.f)), (case.after, shares(case.g))):
        middle = np.sort(values)[[(values.size - 1) // 2, values.size // 2]]
        edges = case.at - case.width / 2
        slack = share @ case.width / 2 + case.width[np.searchsorted(edges, middle, side="right") - 1].max() / 2
        exact = np.abs(values - np.median(values)).mean()
        bounds.append((max(exact - slack, 0.0), exact + slack))
    (low, high), (least, most) = bounds
    if high + least > 1e-6 and low + most > 1e-6:
        assert (least - high) / (least + high) - 1e-6 <= effect <= (most - low) / (most + low) + 1e-6


@given(any_binned)
def test_cramer_von_mises_is_off_by_what_the_order_inside_of_bins_can_do(case: Binned) -> None:
    values = np.unique(np.concatenate([case.before, case.after]))
    exact = stats.cramer_von_mises(*(np.sum(side[:, None] == values, axis=0) for side in (case.before, case.after)))
    n, m = case.before.size, case.after.size
    larger, gap = np.maximum(shares(case.f), shares(case.g)), np.abs(np.cumsum(shares(case.f) - shares(case.g)))
    bound = n * m / (n + m) ** 2 * ((case.f + case.g) * larger * (2 * gap + larger)).sum()
    assert abs(stats.cramer_von_mises(case.f, case.g) - exact) <= bound + 1e-9


@pytest.mark.parametrize("kind", ["continuous", "skewed"])
@pytest.mark.parametrize(
    ("rule", "cvm", "ad"), [(None, (0.07, 0.02), (0.15, 0.2)), ("quantile:256", (0.02, 0.005), (0.05, 0.1))], ids=["usual", "quantile"]
)
def test_rank_tests_of_continuous_samples_are_as_near_as_they_say(
    kind: str, rule: str | None, cvm: tuple[float, float], ad: tuple[float, float]
) -> None:
    for seed, (m, shift) in enumerate([(100, 0.0), (500, 0.3), (2_000, 0.0), (2_000, 1.0), (10_000, 0.0), (10_000, 0.1)]):
        before, after = made(kind, 10_000, 0.0, seed), made(kind, m, shift, seed + 50)
        edges = stats.numeric_edges(before) if rule is None else stats.edges_by(before, rule)
        f, g = stats.bin_counts(before, edges), stats.bin_counts(after, edges)
        exact = scipy_stats.cramervonmises_2samp(before, after, method="asymptotic").statistic
        assert abs(stats.cramer_von_mises(f, g) - exact) <= cvm[0] * exact + cvm[1]
        side = np.concatenate([np.zeros(before.size), np.ones(m)])[np.argsort(np.concatenate([before, after]), kind="stable")]
        raw = stats.anderson_darling(1 - side, side)  # no value comes twice
        assert abs(stats.anderson_darling(f, g) - raw) <= ad[0] * raw + ad[1]


@pytest.mark.parametrize(("kind", "near"), [("continuous", 0.01), ("skewed", 0.03)])
def test_wasserstein_of_continuous_samples_is_as_near_as_it_says(kind: str, near: float) -> None:
    for seed, (m, shift) in enumerate([(500, 0.0), (2_000, 0.1), (10_000, 0.0), (10_000, 0.3)]):
        case = binned(made(kind, 20_000, 0.0, seed), made(kind, m, shift, seed + 50), stats.numeric_edges(made(kind, 20_000, 0.0, seed)))
        apart = abs(stats.wasserstein(case.f, case.g, case.at) - scipy_stats.wasserstein_distance(case.before, case.after))
        assert apart <= near * case.before.std()
        assert case.moved <= case.before.std() / 5
        energies = stats.energy(case.f, case.g, case.at) - scipy_stats.energy_distance(case.before, case.after)
        assert abs(energies) <= 0.02 * math.sqrt(case.before.std())


ONE_SIGMA = {
    "psi": 1.0,
    "kl": 0.5,
    "hellinger": math.sqrt(1 - math.exp(-1 / 8)),
    "total_variation": 2 * ndtr(0.5) - 1,
    "ks": 2 * ndtr(0.5) - 1,
    "wasserstein_normalised": 1.0,
    "mean_shift": 1.0,
}


@pytest.mark.parametrize("name", ONE_SIGMA)
@pytest.mark.parametrize(("n", "m", "near"), [(50_000, 50_000, 0.05), (10_000, 300, 0.3), (300, 300, 0.5)])
def test_a_normal_that_moves_by_one_sigma_has_the_value_of_the_two_densities(name: str, n: int, m: int, near: float) -> None:
    case = binned(made("continuous", n, 0.0, 1), made("continuous", m, 1.0, 2), stats.numeric_edges(made("continuous", n, 0.0, 1)))
    test = stats.TESTS[name]
    assert test.measure(case.f.astype(float), case.g.astype(float), case.at)[0] == pytest.approx(ONE_SIGMA[name], rel=near)


counts = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=2, max_size=15)


@given(counts, st.data())
def test_coarser_bins_never_make_two_histograms_look_further_apart(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(pairs) - 1))
    f, g = (np.array(side) for side in zip(*pairs, strict=True))
    merged = [np.concatenate((side[: cut - 1], [side[cut - 1 : cut + 1].sum()], side[cut + 1 :])) for side in (f, g)]
    for distance in (stats.jensen_shannon, stats.hellinger, stats.total_variation, stats.cramers_v, stats.ks):
        assert distance(*merged) <= distance(f, g) + 1e-9
    assert stats.kl(*merged, floor=0.0) <= stats.kl(f, g, floor=0.0) + 1e-9
    assert stats.psi(*merged, floor=0.0) <= stats.psi(f, g, floor=0.0) + 1e-9
