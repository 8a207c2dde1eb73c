"""Where values find their place in the vector of all histograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference
from driftline.streams.layout import Layout, numbers_in
from driftline.streams.panes import Pane, empty_pane

MAX = 1.7976931348623157e308


def layout_of(**features: Profile) -> Layout:
    return Layout(Reference("m", "1", features, rows=10))


def numeric(*edges: float) -> NumericProfile:
    return NumericProfile(list(edges), [1] * (len(edges) + 1), len(edges) + 1, 0, 0.0, 1.0)


def categorical(*categories: str) -> CategoricalProfile:
    return CategoricalProfile(list(categories), [1] * len(categories), 0, len(categories), 0)


def folded(layout: Layout, columns: dict[str, list[Any]], n: int) -> Pane:
    pane = empty_pane(layout)
    pane.add_encoded(layout, layout.encode(columns, n), np.arange(n))
    return pane


def placed(profile: Profile, *values: Any) -> list[int]:
    """The stretch of one feature after these values: bins, missing, type errors."""
    counts: list[int] = folded(layout_of(x=profile), {"x": list(values)}, len(values)).counts.tolist()
    return counts


few = st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, 255.0]))


@pytest.mark.usefixtures("either_reader")
@given(st.one_of(few, st.lists(st.one_of(st.sampled_from([0.0, 1.0, 255.0, 256.0, -1.0, 0.5, 1e300]), st.floats()))))
def test_numbers_are_told_apart_in_order(column: list[float]) -> None:
    numbers, place = numbers_in(np.array(column, float))
    finite = sorted({x + 0.0 for x in column if math.isfinite(x)})
    assert numbers == finite
    assert place.tolist() == [finite.index(x) if math.isfinite(x) else -1 for x in column]


def test_a_value_at_an_edge_belongs_to_the_bin_above_it() -> None:
    # bins    … 0 | 0 … 5 | 5 …
    assert placed(numeric(0.0, 5.0), 0.0, 5.0, float(np.nextafter(5.0, 0))) == [0, 2, 1, 0, 0]


def test_minus_zero_is_zero() -> None:
    assert placed(numeric(0.0), -0.0) == [0, 1, 0, 0]


def test_an_atom_has_a_bin_of_its_own() -> None:
    assert placed(numeric(3.0, float(np.nextafter(3.0, np.inf))), 2.999, 3.0, 3.0, 3.001) == [1, 2, 1, 0, 0]


def test_values_out_of_the_references_range_have_bins_of_their_own() -> None:
    assert placed(numeric(-1.0, 1.0), -MAX, MAX, 5e-324, -5e-324) == [1, 2, 1, 0, 0]


def test_an_integer_beyond_two_to_the_53_has_its_place() -> None:
    assert placed(numeric(2.0**53, 2.0**60), 2**53 + 1, 2**62, -(2**63)) == [1, 1, 1, 0, 0]


def test_a_missing_number_is_missing() -> None:
    assert placed(numeric(0.0), None) == [0, 0, 1, 0]


@pytest.mark.parametrize("value", ["1.5", "", True, [1.0]])
def test_what_is_no_number_is_a_type_error(value: Any) -> None:
    assert placed(numeric(0.0), value, 1.0) == [0, 1, 0, 1]


def test_a_known_category_has_its_bin() -> None:
    assert placed(categorical("a", ""), "", "a", "") == [1, 2, 0, 0, 0]


@pytest.mark.parametrize("value", ["A", "a ", "ä", "\u0430", "🦜", "a\n"])
def test_an_unseen_category_is_counted_apart_and_by_name(value: str) -> None:
    layout = layout_of(x=categorical("a"))
    pane = folded(layout, {"x": [value, "a"]}, 2)
    assert (pane.counts.tolist(), pane.novel) == ([1, 1, 0, 0], {"x": {value: 1}})


@pytest.mark.parametrize(("value", "category"), [(1.0, "1"), (True, "true"), (2.5, "2.5"), (-0.0, "0"), (1e308, "1e+308")])
def test_a_number_or_truth_value_is_a_category_by_its_text(value: Any, category: str) -> None:
    assert placed(categorical(category), value) == [1, 0, 0, 0]


def test_a_list_is_no_category() -> None:
    assert placed(categorical("a"), [1.0], "a", None) == [1, 0, 1, 1]


def test_a_feature_without_a_column_is_missing_in_every_row() -> None:
    pane = folded(layout_of(x=numeric(0.0), c=categorical("a")), {}, 3)
    assert pane.counts.tolist() == [0, 0, 3, 0, 0, 0, 3, 0]


def test_a_reference_without_features_has_an_empty_vector() -> None:
    pane = folded(layout_of(), {"x": [1.0]}, 1)
    assert (pane.n, pane.counts.tolist()) == (1, [])


def test_sums_are_taken_around_the_references_mean() -> None:
    profile = NumericProfile([0.0], [5, 5], 10, 0, mean=100.0, m2=40.0)  # a spread of 2
    pane = folded(layout_of(x=profile), {"x": [102.0, None, 96.0]}, 3)
    assert (pane.sums.tolist(), pane.extremes.tolist()) == ([[-1.0, 5.0]], [[96.0, 102.0]])


anything = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3), st.just([1.0]))


@given(st.lists(st.tuples(anything, anything), max_size=50))
def test_every_stretch_sums_to_the_rows(rows: list[tuple[Any, Any]]) -> None:
    layout = layout_of(x=numeric(-1.0, 0.0, 1e300), c=categorical("a", "1"))
    pane = folded(layout, {"x": [x for x, _ in rows], "c": [c for _, c in rows]}, len(rows)) if rows else empty_pane(layout)
    for f in range(2):
        bins, missing, errors = layout.stretch(pane.counts, f)
        assert int(bins.sum()) + missing + errors == pane.n == len(rows)
