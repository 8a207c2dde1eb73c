"""Sketches of a feature without a reference: merged in any order they are the same, and know their values to 1 %."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.streams.sketch import TEXTS, Sketch, add_texts, bucket_of, bucket_start, sketch_of

finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.lists(finite | st.sampled_from([0.0, -0.0, 1.0, 5e-324]), max_size=40).map(lambda values: np.array(values, float))
texts = st.lists(st.text(max_size=3), max_size=20)
parts = st.lists(st.tuples(numbers, texts, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6)


def known(sketch: Sketch) -> tuple[object, ...]:
    """All but the sums of floats, which rounding may touch."""
    return (
        sketch.buckets, sketch.counts, sketch.texts, sketch.text_rows, sketch.missing, sketch.type_errors, sketch.minimum, sketch.maximum,
    )  # fmt: skip


@given(parts, st.integers(0, 1000))
def test_parts_merged_in_any_order_and_grouping_are_the_sketch_of_all_rows(
    pieces: list[tuple[NDArray[np.float64], list[str], int, int]], seed: int
) -> None:
    whole = sketch_of(
        np.concatenate([piece[0] for piece in pieces]), [text for piece in pieces for text in piece[1]],
        sum(piece[2] for piece in pieces), sum(piece[3] for piece in pieces),
    )  # fmt: skip
    shuffled = [pieces[i] for i in np.random.default_rng(seed).permutation(len(pieces))]
    cut = len(shuffled) // 2
    groups = [Sketch(), Sketch()]
    for i, piece in enumerate(shuffled):
        groups[i >= cut].add(sketch_of(*piece))
    groups[0].add(groups[1])
    assert known(groups[0]) == known(whole)


@given(finite)
def test_a_value_lies_in_its_bucket_which_is_narrow(value: float) -> None:
    (place,) = bucket_of(np.array([value]))
    low, high = bucket_start(np.array([place, place + 1]))
    assert low <= value < high or value == low
    if 1e-300 < abs(value) < 1e300:
        assert high - low <= abs(value) / 128 * 1.01


@given(st.lists(finite, min_size=2, max_size=30))
def test_buckets_ascend_with_the_values(values: list[float]) -> None:
    assert (np.diff(bucket_of(np.sort(np.array(values)))) >= 0).all()


@given(st.lists(st.integers(0, 2 * TEXTS), max_size=600), st.integers(1, 50))
def test_texts_that_are_kept_have_their_exact_count_whatever_came_when(seen: list[int], limit: int) -> None:
    forwards: dict[str, int] = {}
    backwards: dict[str, int] = {}
    for n in seen:
        add_texts(forwards, [(str(n), 1)], limit)
    add_texts(backwards, [(str(n), 1) for n in reversed(seen)], limit)
    exact = Counter(map(str, seen))
    assert forwards == backwards
    assert len(forwards) == min(limit, len(exact))
    assert all(exact[text] == count for text, count in forwards.items())


def test_a_quantile_of_a_sketch_is_within_one_percent_of_that_of_the_values() -> None:
    values = np.random.default_rng(0).lognormal(3, 2, 20_000)
    sketch = sketch_of(values, [], 0, 0)
    reached = np.cumsum(sketch.counts)
    for share in (0.01, 0.5, 0.99):
        told = bucket_start(np.array(sketch.buckets))[np.searchsorted(reached, share * values.size)]
        assert told == pytest.approx(np.quantile(values, share), rel=0.01)
