"""Changes split over groups and bins: the parts sum to the whole."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.stats import fairness, mean_change, psi, psi_by_bin, psi_by_group

groups = st.dictionaries(st.sampled_from("abcde"), st.tuples(st.integers(0, 100), st.floats(0, 50)), max_size=5).map(
    lambda drawn: {name: (n, total if n else 0.0) for name, (n, total) in drawn.items()}
)


@given(groups, groups)
def test_the_shares_of_the_groups_sum_to_the_change_of_the_mean(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> None:
    shares = mean_change(before, after)
    n, m = (sum(rows for rows, _ in side.values()) for side in (before, after))
    if not n or not m:
        assert shares == {}
        return
    change = sum(total for _, total in after.values()) / m - sum(total for _, total in before.values()) / n
    assert math.fsum(share.total for share in shares.values()) == pytest.approx(change, abs=1e-9)
    assert [abs(share.total) for share in shares.values()] == sorted((abs(share.total) for share in shares.values()), reverse=True)


def test_a_group_that_grew_worse_and_a_group_that_grew_larger_are_told_apart() -> None:
    worse = mean_change({"eu": (500, 50), "us": (500, 50)}, {"eu": (500, 200), "us": (500, 50)})
    assert next(iter(worse)) == "eu"
    assert worse["eu"].within == pytest.approx(0.15)
    assert worse["eu"].mix == 0
    larger = mean_change({"easy": (800, 40), "hard": (200, 60)}, {"easy": (400, 20), "hard": (600, 180)})
    assert all(share.within == pytest.approx(0) for share in larger.values())
    assert sum(share.mix for share in larger.values()) == pytest.approx(0.1)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=20))
def test_what_the_bins_add_is_never_negative_and_sums_to_the_psi(rows: list[tuple[int, int]]) -> None:
    before, after = zip(*rows, strict=True)
    if any(before) and any(after):
        parts = psi_by_bin(before, after)
        assert (parts >= -1e-12).all()
        assert parts.sum() == pytest.approx(psi(before, after))


def test_groups_too_small_to_judge_are_shown_and_not_compared() -> None:
    equal = {("1", "1"): 30, ("0", "1"): 20, ("1", "0"): 10, ("0", "0"): 40}
    result = fairness({"a": equal, "b": equal, "tiny": {("0", "1"): 5}}, "1")
    assert (result.demographic_parity, result.equal_opportunity, result.equalised_odds, result.predictive_parity) == (0, 0, 0, 0)
    assert result.disparate_impact == 1
    assert result.groups["tiny"].n == 5


def test_with_one_group_nothing_is_compared() -> None:
    result = fairness({"a": {("1", "1"): 50}}, "1")
    assert math.isnan(result.demographic_parity)
    assert math.isnan(result.equalised_odds)


def test_equalised_odds_is_the_worse_of_both_error_rates() -> None:
    a = {("1", "1"): 40, ("0", "1"): 10, ("1", "0"): 5, ("0", "0"): 45}
    b = {("1", "1"): 40, ("0", "1"): 10, ("1", "0"): 25, ("0", "0"): 25}
    result = fairness({"a": a, "b": b}, "1")
    assert result.equal_opportunity == 0
    assert result.equalised_odds == pytest.approx(0.4)


histograms = st.lists(st.integers(0, 400), min_size=4, max_size=4)


@given(histograms, st.dictionaries(st.sampled_from("abcde"), histograms, min_size=1))
def test_the_parts_of_the_groups_sum_to_the_psi_of_all_rows(reference: list[int], groups: dict[str, list[int]]) -> None:
    parts = psi_by_group(reference, groups)
    whole = [sum(column) for column in zip(*groups.values(), strict=True)]
    if not sum(reference) or not sum(whole):
        assert parts == {}
        return
    assert math.fsum(part.psi for part in parts.values()) == pytest.approx(psi(reference, whole), abs=1e-9)
    assert math.fsum(part.rows for part in parts.values()) == pytest.approx(1)


def test_groups_that_drift_alike_are_no_cause_and_the_one_that_drifts_alone_is() -> None:
    alike = psi_by_group([500, 500], {"a": [200, 600], "b": [100, 300]})
    assert {part.p_value for part in alike.values()} == {0.5}
    alone = psi_by_group([500, 500], {"a": [400, 400], "b": [40, 160]})
    assert (next(iter(alone)), alone["b"].p_value < 1e-6, alone["a"].p_value > 0.5) == ("b", True, True)


def test_rows_that_are_like_their_neighbours_prove_less() -> None:
    groups = {"a": [400, 400], "b": [70, 130]}
    assert psi_by_group([500, 500], groups, dispersion=20)["b"].p_value > psi_by_group([500, 500], groups)["b"].p_value
