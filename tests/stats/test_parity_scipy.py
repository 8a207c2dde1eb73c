"""The same figures as SciPy and scikit-learn, from counts where they take the raw values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.spatial.distance import chebyshev, cityblock, euclidean, jensenshannon

from driftline.streams import stats
from driftline.streams.stats import Moments
from driftline.streams.stats.estimate import means_of_sums, wilsons

samples = st.tuples(st.integers(2, 200), st.integers(2, 200), st.floats(0, 2), st.sampled_from([0, 1, 9]), st.integers(0, 10_000)).map(
    lambda drawn: _sample(*drawn)
)
tables = st.integers(2, 8).flatmap(lambda bins: st.tuples(*[st.lists(st.integers(1, 400), min_size=bins, max_size=bins)] * 2))


def _sample(n: int, m: int, shift: float, decimals: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n).round(decimals), rng.normal(shift, 1.5, size=m).round(decimals)


def counted(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """A bin for every distinct value."""
    values = np.unique(np.concatenate([a, b]))
    return np.array([np.sum(a == v) for v in values]), np.array([np.sum(b == v) for v in values]), values


@given(samples)
def test_ks_wasserstein_and_energy_are_exact_when_every_value_has_its_bin(sample: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    f, g, at = counted(*sample)
    assert stats.ks(f, g) == pytest.approx(scipy_stats.ks_2samp(*sample, method="asymp").statistic, abs=1e-12)
    assert stats.wasserstein(f, g, at) == pytest.approx(scipy_stats.wasserstein_distance(*sample), abs=1e-9)
    assert stats.energy(f, g, at) == pytest.approx(scipy_stats.energy_distance(*sample), abs=1e-7)


@given(samples, st.lists(st.floats(-4, 4), min_size=1, max_size=40, unique=True).map(sorted))
def test_ks_over_any_bins_is_too_small_by_no_more_than_the_smaller_share_in_one_bin(
    sample: tuple[NDArray[np.float64], NDArray[np.float64]], edges: list[float]
) -> None:
    counts = [stats.bin_counts(side, edges) for side in sample]
    missed = scipy_stats.ks_2samp(*sample, method="asymp").statistic - stats.ks(*counts)
    assert -1e-12 <= missed <= np.minimum(*(each / each.sum() for each in counts)).max() + 1e-12


@pytest.mark.parametrize(
    ("rule", "rows", "bound"), [("quantile:256", 2_000, 0.0025), ("quantile:256", 500, 0.004), ("quantile:512", 500, 0.002)]
)
def test_ks_over_quantile_bins_is_within_its_stated_bound_of_scipys(rule: str, rows: int, bound: float) -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.5, 2.0):
        a, b = rng.normal(size=10_000), rng.normal(shift, size=rows)
        edges = stats.edges_by(a, rule)
        assert scipy_stats.ks_2samp(a, b).statistic - stats.ks(stats.bin_counts(a, edges), stats.bin_counts(b, edges)) <= bound


@given(samples)
def test_anderson_darling_is_scipys_statistic_before_its_normalisation(sample: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    f, g, at = counted(*sample)
    if at.size > 1 and f.sum() + g.sum() >= 5:
        assert stats.anderson_darling(f, g) == pytest.approx(_akn(*sample), rel=1e-6, abs=1e-9)


def _akn(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Equation 7 of Scholz and Stephens, term by term."""
    z = np.sort(np.concatenate([a, b]))
    total, out = z.size, 0.0
    for sample in (a, b):
        inner = 0.0
        for value in np.unique(z):
            ties, own_ties = np.sum(z == value), np.sum(sample == value)
            below, own_below = np.sum(z < value) + ties / 2, np.sum(sample < value) + own_ties / 2
            inner += ties / total * (total * own_below - below * sample.size) ** 2 / (below * (total - below) - total * ties / 4)
        out += inner / sample.size
    return out * (total - 1) / total


@pytest.mark.filterwarnings("ignore:Parameter `variant`")
@pytest.mark.parametrize(("n", "m"), [(30, 20), (200, 50)])
def test_anderson_darling_is_scipys_but_for_its_mean_of_1_and_a_factor_of_the_sizes(n: int, m: int) -> None:
    ratios = []
    for seed in range(4):
        sample = _sample(n, m, 0.5 * seed, 15, seed)
        theirs = scipy_stats.anderson_ksamp(sample, method=scipy_stats.PermutationMethod(n_resamples=1)).statistic
        ratios.append((stats.anderson_darling(*counted(*sample)[:2]) - 1) / theirs)
    assert ratios == pytest.approx([ratios[0]] * 4, rel=1e-6)
    assert ratios[0] == pytest.approx(math.sqrt(2 * (math.pi**2 - 9) / 3), rel=0.05)


@given(st.integers(20, 100), st.integers(20, 100), st.floats(0, 2), st.integers(0, 1000))
def test_cramer_von_mises_without_ties_is_scipys_with_its_p_value(n: int, m: int, shift: float, seed: int) -> None:
    sample = _sample(n, m, shift, 15, seed)
    f, g, _ = counted(*sample)
    expected = scipy_stats.cramervonmises_2samp(*sample, method="asymptotic")
    statistic = stats.cramer_von_mises(f, g)
    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    from driftline.streams.stats.cramer_von_mises import cramer_von_mises_pvalue

    assert cramer_von_mises_pvalue(statistic, f, g) == pytest.approx(expected.pvalue, abs=0.02)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (30, 100), (500, 500), (1000, 50)])
def test_ks_p_values_are_near_the_exact_ones_and_never_below_them(n: int, m: int) -> None:
    for seed in range(20):
        sample = _sample(n, m, 0.3 * (seed % 3), 15, seed)
        f, g, _ = counted(*sample)
        expected = scipy_stats.ks_2samp(*sample, method="exact").pvalue
        assert expected * 0.967 <= stats.ks_pvalue(stats.ks(f, g), n, m) <= expected + (0.05 if expected < 0.2 else 0.09)


@given(tables)
def test_chi_square_g_and_cramers_v_are_scipys(table: tuple[list[int], list[int]]) -> None:
    chi = scipy_stats.chi2_contingency(table, correction=False)
    assert stats.chi_square(*table, min_expected=0) == pytest.approx((chi.statistic, chi.pvalue, chi.dof), rel=1e-9, abs=1e-9)
    g = scipy_stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert stats.g_test(*table, min_expected=0) == pytest.approx((g.statistic, g.pvalue, g.dof), rel=1e-9, abs=1e-9)
    assert stats.cramers_v(*table) == pytest.approx(scipy_stats.contingency.association(table, method="cramer"), abs=1e-9)


@given(tables)
def test_divergences_are_scipys_under_the_conventions_they_name(table: tuple[list[int], list[int]]) -> None:
    p, q = (np.array(counts) / sum(counts) for counts in table)
    assert stats.jensen_shannon(*table) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert stats.jensen_shannon(*table, base=math.e, root=False) == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-9)
    assert stats.hellinger(*table) == pytest.approx(euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2), abs=1e-12)
    assert stats.total_variation(*table) == pytest.approx(cityblock(p, q) / 2, abs=1e-12)
    assert stats.l_infinity(*table) == pytest.approx(chebyshev(p, q), abs=1e-12)
    # Without empty bins a floor changes nothing: the plain definitions.
    assert stats.kl(*table, floor=0.0) == pytest.approx(scipy_stats.entropy(q, p), abs=1e-9)
    assert stats.psi(*table, floor=0.0) == pytest.approx(scipy_stats.entropy(q, p) + scipy_stats.entropy(p, q), abs=1e-9)


@given(samples)
def test_welch_and_levene_are_scipys(sample: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    a, b = sample
    if min(np.ptp(a), np.ptp(b)) > 0:
        welch = scipy_stats.ttest_ind(b, a, equal_var=False)
        ours = stats.mean_shift(*(Moments(x.size, float(x.mean()), float(x.var() * x.size)) for x in sample))
        assert ours[:2] == pytest.approx((welch.statistic, welch.pvalue), rel=1e-7)
        levene = scipy_stats.levene(a, b, center="median")
        if np.isfinite(levene.statistic) and levene.statistic < 1e9:
            assert stats.levene(*counted(a, b))[:2] == pytest.approx((levene.statistic, levene.pvalue), rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0.01, 0.5))
def test_benjamini_hochberg_rejects_what_scipy_rejects_and_ignores_what_was_not_tested(p: list[float], q: float) -> None:
    found = stats.benjamini_hochberg([*p, math.nan], q)
    assert not found[-1]
    if p:
        adjusted = scipy_stats.false_discovery_control(p)
        clear = np.abs(adjusted - q) > 1e-12
        assert (found[:-1] == (adjusted <= q))[clear].all()


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.5, 0.99))
def test_wilson_is_scipys(successes: int, misses: int, confidence: float) -> None:
    expected = scipy_stats.binomtest(successes, successes + misses).proportion_ci(confidence, method="wilson")
    assert stats.wilson(successes, successes + misses, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(samples)
def test_the_ratio_of_variances_is_scipys_f_test(sample: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    a, b = sample
    if min(np.ptp(a), np.ptp(b)) > 0:
        ratio = b.var(ddof=1) / a.var(ddof=1)
        tails = scipy_stats.f.cdf(ratio, b.size - 1, a.size - 1), scipy_stats.f.sf(ratio, b.size - 1, a.size - 1)
        ours = stats.variance_ratio(*(Moments(x.size, float(x.mean()), float(x.var() * x.size)) for x in sample))
        assert ours == pytest.approx((ratio, min(1.0, 2 * min(tails)), math.log(ratio)), rel=1e-7, abs=1e-12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60))
def test_a_mean_from_sums_has_scipys_normal_interval(values: list[float]) -> None:
    told = stats.mean_of_sums(len(values), math.fsum(values), math.fsum(value * value for value in values))
    low, high = scipy_stats.norm.interval(0.95, np.mean(values), max(float(scipy_stats.sem(values)), 1e-12))
    assert (told.lower, told.value, told.upper) == pytest.approx((low, np.mean(values), high), rel=1e-4, abs=1e-3)


def test_a_resampled_interval_is_scipys_bootstrap() -> None:
    rows = np.repeat([1.0, 0.0], [30, 70])
    theirs = scipy_stats.bootstrap(
        (rows,), np.mean, n_resamples=4_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = stats.resampled(lambda counts: counts[0] / counts.sum(), [30, 70])
    assert ours.value == 0.3
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@given(st.integers(2, 12), st.integers(0, 1000))
def test_correlations_that_did_not_change_make_jennrichs_statistic_0(k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(4 * k, k))
    told = stats.correlation_change(stats.CrossMoments.of(rows), stats.CrossMoments.of(rows * 3 + 1))
    assert told.statistic == pytest.approx(0, abs=1e-9)


def test_intervals_of_many_shares_and_means_are_those_of_each() -> None:
    rng = np.random.default_rng(7)
    n, squares = rng.integers(1, 500, 200), rng.random(200) * 900
    good = rng.integers(0, n + 1)
    of_many = zip(*(bounds.tolist() for bounds in wilsons(good / 1.0, n / 1.0)), strict=True)
    assert list(of_many) == [stats.wilson(*one) for one in zip(good.tolist(), n.tolist(), strict=True)]
    of_each = [stats.mean_of_sums(*told) for told in zip(n.tolist(), good.tolist(), squares.tolist(), strict=True)]
    assert means_of_sums(n / 1.0, good / 1.0, squares) == of_each
