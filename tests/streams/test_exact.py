"""Exact sums: what was added in any order and taken out again leaves nothing behind."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.exact import UNIT_BITS, exact_sums, from_bytes, to_bytes, to_float

numbers = st.floats(allow_nan=False, allow_infinity=False)
signed = st.lists(st.tuples(numbers, st.sampled_from([-1, 1])), max_size=20)


@given(signed)
def test_a_sum_is_that_of_the_fractions(rows: list[tuple[float, int]]) -> None:
    values, signs = np.array(rows).reshape(-1, 2).T
    wanted = sum((sign * Fraction(value) for value, sign in rows), Fraction())
    assert exact_sums([values], signs.astype(np.int64)) == [wanted * 2**UNIT_BITS]


@given(signed)
def test_a_sum_survives_storage(rows: list[tuple[float, int]]) -> None:
    (total,) = exact_sums([[value for value, _ in rows]])
    assert from_bytes(to_bytes(total)) == total


@given(numbers)
def test_a_single_number_comes_back(value: float) -> None:
    assert to_float(exact_sums([[value]])[0]) == value


def test_a_sum_beyond_every_float_is_infinite() -> None:
    assert [to_float(total) for total in exact_sums([[1.7e308] * 2, [-1.7e308] * 2])] == [np.inf, -np.inf]


def test_many_rows_do_not_overflow_the_words() -> None:
    assert to_float(exact_sums([np.full(100_000, np.nextafter(1.0, 0))])[0]) == 100_000 * (1 - 2**-53)
