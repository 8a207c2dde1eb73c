"""Errors of a regression by the size of the prediction: they add up, and a correction leaves nothing behind."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.places import Places, from_wire, places_of, to_wire

numbers = st.floats(-1e150, 1e150)
rows = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20)


def folded(told: list[tuple[float, float]], sign: int = 1) -> Places:
    predicted, error = np.array(told).T
    out = Places()
    out.add_errors(predicted, error, np.full(len(told), sign))
    return out


@settings(max_examples=50)
@given(rows, rows)
def test_places_add_up_in_any_order_and_what_is_taken_back_leaves_nothing(
    first: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    whole, apart = folded([*other, *first]), folded(first)
    apart.add(folded(other))
    assert (whole.by_place, whole.fourth) == (apart.by_place, apart.fourth)
    whole.add(folded(first, -1))
    assert (whole.by_place, whole.fourth) == (folded(other).by_place, folded(other).fourth)
    assert from_wire(to_wire(whole)) == whole


@given(numbers)
def test_a_place_is_a_tenth_wide_at_most_and_its_sign_is_the_numbers(value: float) -> None:
    (place,) = places_of(np.array([value])).tolist()
    assert np.sign(place) == np.sign(value)
    if 2**-31 < abs(value) < 2**31:
        near, far = places_of(np.array([value * 1.09, value * 1.1])).tolist()
        assert abs(near - place) <= 1 <= abs(far - place) <= 2
