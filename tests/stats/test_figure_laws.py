"""Laws of the figures that no suite runs over: what must not matter does not, and what must add up does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.streams import stats
from driftline.streams.stats import (
    Batch,
    CrossMoments,
    DriftEvidence,
    EvidenceState,
    LossModel,
    Moments,
    PairedTest,
    PcaReconstruction,
    RandomFeatures,
    ScoreCalibration,
    SmoothTest,
)
from driftline.streams.stats.ks import ks_quantile

Rows = NDArray[np.float64]
seeds = st.integers(0, 10_000)
differences = st.lists(st.floats(-1, 1), min_size=1, max_size=60)
confusions = st.dictionaries(st.tuples(st.sampled_from("01"), st.sampled_from("01")), st.integers(0, 200), min_size=1)
bins = st.integers(2, 10).flatmap(lambda size: st.tuples(*[st.lists(st.integers(0, 100), min_size=size, max_size=size)] * 4))


def table(seed: int, n: int, k: int = 3) -> Rows:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) + rng.normal(size=k))


@given(st.floats(0, 1), st.integers(1, 5_000), st.integers(1, 5_000), st.floats(0.01, 0.99))
def test_ks_p_values_fall_with_the_distance_and_its_quantile_is_their_inverse(distance: float, n: int, m: int, share: float) -> None:
    assert stats.ks_pvalue(distance, n, m) >= stats.ks_pvalue(min(1.0, distance + 0.05), n, m)
    if (limit := float(ks_quantile(share, n, m))) < 1:
        assert stats.ks_pvalue(limit, n, m) == pytest.approx(1 - share, abs=1e-6)


@given(differences, st.integers(1, 10))
def test_a_paired_interval_is_turned_by_a_turned_sign_and_stretched_by_the_scale(values: list[float], size: int) -> None:
    def interval(sign: float, scale: float) -> tuple[float, float, float]:
        test = PairedTest(scale=scale)
        state = test.start()
        for i in range(0, len(values), size):
            state = test.update(state, Batch.of([sign * scale * value for value in values[i : i + size]]))
        found = test.compare(state)
        return found.lower, found.value, found.upper

    lower, value, upper = interval(1, 1)
    assert lower <= value <= upper
    assert interval(-1, 1) == pytest.approx((-upper, -value, -lower), abs=1e-9)
    assert interval(1, 8) == pytest.approx((8 * lower, 8 * value, 8 * upper), rel=1e-9, abs=1e-9)


@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=6))
@settings(max_examples=30)
def test_evidence_is_never_negative_and_an_empty_window_leaves_it_as_it_is(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    test, evidence = SmoothTest.fit(rng.multinomial(200, [0.25] * 4, 40)), DriftEvidence()
    state: EvidenceState = evidence.start()
    for size in sizes:
        before = state
        state, value = evidence.update(state, test, rng.multinomial(100 * size, [0.25] * 4))
        assert 0 <= value < math.inf
        assert size or state == before


@given(seeds, st.integers(20, 80), st.integers(20, 80))
@settings(max_examples=30)
def test_the_mean_discrepancy_is_symmetric_bounded_and_0_for_the_same_rows(seed: int, n: int, m: int) -> None:
    features = RandomFeatures((0.0,) * 3, (1.0,) * 3, size=40)
    cosines = features(table(seed, n)), features(table(seed + 1, m))
    assert max(np.abs(side).max() for side in cosines) <= math.sqrt(2 / 40)
    a, b = (CrossMoments.of(side) for side in cosines)
    assert stats.mmd(a, b) == pytest.approx(stats.mmd(b, a))
    assert 0 <= stats.mmd(a, b).effect <= math.sqrt(2) + 1e-9
    assert stats.mmd(a, a)[:] == pytest.approx((0, 1, 0), abs=1e-9)


@given(seeds, st.floats(0.1, 100), st.floats(-50, 50))
@settings(max_examples=30)
def test_units_do_not_matter_to_what_features_do_together(seed: int, scale: float, offset: float) -> None:
    before, after = table(seed, 300), table(seed + 1, 60)
    units = np.array([scale, 1.0, 1.0]), np.array([offset, 0.0, 0.0])
    told = []
    for factor, shift in ((np.ones(3), np.zeros(3)), units):
        blocks = [CrossMoments.of(block * factor + shift) for block in np.split(before, 10)]
        window = CrossMoments.of(after * factor + shift)
        whole = stats.merge_all(blocks)
        told.append((PcaReconstruction.fit(blocks).error(window), stats.correlation_change(whole, window).statistic))
    assert told[1] == pytest.approx(told[0], rel=1e-4)
    assert min(told[0]) >= 0


@given(seeds, st.permutations(range(3)))
@settings(max_examples=10)
def test_the_domain_classifiers_area_is_a_share_and_knows_no_order_of_features(seed: int, order: list[int]) -> None:
    before, after = table(seed, 60), table(seed + 1, 40)
    value = stats.domain_classifier(before, after).value
    assert 0 <= value <= 1
    assert stats.domain_classifier(before[:, order], after[:, order]).value == pytest.approx(value, abs=1e-3)


@given(bins)
def test_expected_rows_are_all_rows_and_those_of_two_windows_add_up(counts: tuple[list[int], ...]) -> None:
    low, high, negative, positive = (np.array(side) for side in counts)
    calibration = ScoreCalibration.fit(negative, positive)
    assert (np.diff(calibration.chances()) >= -1e-12).all()
    expected = stats.expected_confusion(calibration, low, high)
    assert expected.n == pytest.approx(low.sum() + high.sum())
    assert sum(each.sum() for each in stats.expected_classes(calibration, low + high)) == pytest.approx(expected.n)
    twice = stats.expected_confusion(calibration, 2 * low, 2 * high)
    assert twice == pytest.approx(tuple(2 * part for part in expected))
    for estimate in (stats.estimated(expected, stats.accuracy_of), stats.estimated_accuracy(calibration, low + high)):
        assert math.isnan(estimate.value) or 0 <= estimate.value <= 1
        assert math.isnan(estimate.value) or estimate.lower <= estimate.value <= estimate.upper


@given(seeds, st.integers(2, 6), st.floats(0, 5))
@settings(max_examples=30)
def test_a_loss_learned_from_bins_is_that_of_the_reference_in_a_window_like_it(seed: int, size: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    place, loss = rng.integers(0, size, 400), level + rng.exponential(1, 400)
    model = LossModel.fit({"x": place}, {"x": size}, loss, ridge=1e-9)
    told = model.estimate({"x": np.bincount(place, minlength=size)})
    assert told.value == pytest.approx(loss.mean(), abs=1e-6)
    assert told.lower <= told.value <= told.upper


@given(confusions, st.floats(-10, 10), st.floats(0.1, 10))
def test_the_mean_cost_is_linear_in_the_prices(confusion: dict[tuple[str, str], int], price: float, factor: float) -> None:
    costs = {("0", "1"): price, ("1", "0"): 1.0}
    once, more = stats.mean_cost(confusion, costs), stats.mean_cost(confusion, {pair: factor * cost for pair, cost in costs.items()})
    if sum(confusion.values()):
        assert more.value == pytest.approx(factor * once.value, abs=1e-9)
        assert once.lower <= once.value <= once.upper


@given(st.dictionaries(st.sampled_from("abcd"), confusions, min_size=1))
def test_differences_between_groups_are_shares_and_know_no_order(groups: dict[str, dict[tuple[str, str], int]]) -> None:
    told, turned = (stats.fairness(dict(items), "1") for items in (groups.items(), reversed(groups.items())))
    assert told[:5] == pytest.approx(turned[:5], nan_ok=True)
    assert all(math.isnan(figure) or 0 <= figure <= 1 for figure in told[:5])
    same = stats.fairness(dict.fromkeys("ab", next(iter(groups.values()))), "1")
    assert all(math.isnan(figure) or figure == wanted for figure, wanted in zip(same[:5], (0, 1, 0, 0, 0), strict=True))


@given(st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(any), st.integers(0, 5))
@settings(max_examples=30)
def test_a_resampled_interval_holds_its_value_and_is_the_same_again(counts: list[int], at: int) -> None:
    def share(rows: NDArray[np.int64]) -> float:
        return float(rows[at % len(counts)] / rows.sum())

    told = stats.resampled(share, counts)
    assert told == stats.resampled(share, counts)
    assert 0 <= told.lower <= told.value <= told.upper <= 1


@given(st.integers(0, 3), st.integers(500, 3_000), seeds)
@settings(max_examples=40)
def test_a_category_under_another_name_is_found_by_its_share(which: int, n: int, seed: int) -> None:
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    rng, names = np.random.default_rng(seed), ["a", "b", "c", "d"]
    before = dict(zip(names, (10_000 * shares).astype(int).tolist(), strict=True))
    after = dict(zip([name if i != which else "zz" for i, name in enumerate(names)], rng.multinomial(n, shares).tolist(), strict=True))
    found = {(fault.parameters["old"], fault.parameters["new"]) for fault in stats.category_rename(before, after)}
    assert found <= {(names[which], "zz")}
    error = math.sqrt(shares[which] * (1 - shares[which]) * (1 / 10_000 + 1 / n))
    assert found or abs(after["zz"] / n - shares[which]) > 3.9 * error


@given(st.integers(1, 100), st.floats(-1e3, 1e3), st.floats(0, 100))
def test_a_value_is_stuck_only_where_it_varied_and_in_rows_enough(n: int, value: float, spread: float) -> None:
    fault = stats.stuck_value(Moments(100, 0.0, spread), Moments(n, value, 0.0), value, value)
    assert (fault is not None) == (n >= 20 and spread > 0)
    assert stats.stuck_value(Moments(100, 0.0, spread), Moments(n, value, 5.0), value, value + 1) is None
