"""Columns as bytes: what is packed comes out as it was, and what cannot be packed says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.packed import WORDS, Coded, Counts, Flags, Floats, Packed, Runs, Unfit, Wholes

VALUES: dict[type[Packed], st.SearchStrategy[Any]] = {
    Floats: st.one_of(st.none(), st.floats(allow_nan=False)),
    Wholes: st.integers(-(2**63), 2**63 - 1),
    Flags: st.booleans(),
    Coded: st.sampled_from(["", "a", "ü", "a\0"]),
    Counts: st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=3),
    Runs: st.sampled_from([None, 0.0, -0.0, "a", {"a": 1}]),
}


def bits(values: Any) -> bytes:
    """Tells -0.0 from 0.0."""
    return msgspec.msgpack.encode(values)


@pytest.mark.parametrize("packing", VALUES)
@given(data=st.data())
def test_columns_end_to_end_have_the_values_of_each(packing: type[Packed], data: st.DataObject) -> None:
    columns, rows, expected = list[Any](), list[int](), list[Any]()
    for _ in range(data.draw(st.integers(1, 4))):
        values, many = data.draw(st.lists(VALUES[packing], min_size=1, max_size=5)), data.draw(st.integers(1, 5))
        once = len(values) == 1
        rows.append(many if once else len(values))
        expected += values * many if once else values
        columns.append(packing.joined([values], [rows[-1]]) if data.draw(st.booleans()) else values)
    both = packing.joined(columns, rows)
    assert both.holds(len(expected)) and not both.holds(len(expected) + 1)
    assert bits(both.tolist()) == bits(expected)
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(expected))] * 2)))
    assert both.cut(begin, end).holds(end - begin) and bits(both.cut(begin, end).tolist()) == bits(expected[begin:end])
    numbers = data.draw(st.lists(st.integers(0, len(expected) - 1)))
    assert bits(both.take(numbers).tolist()) == bits([expected[i] for i in numbers])


UNFIT: dict[type[Packed], Sequence[Any]] = {
    Floats: [float("nan"), "1", 2**2000],
    Wholes: [2**63, None, 0.5],
    Flags: [1, None, "yes"],
    Coded: [[each] for each in ("a",)],
    Counts: [[-1], [2**64], [0.5], [None]],
}


@pytest.mark.parametrize(("packing", "value"), [(packing, value) for packing, values in UNFIT.items() for value in values])
def test_what_cannot_be_packed_is_not(packing: type[Packed], value: Any) -> None:
    with pytest.raises(Unfit):
        packing.joined([[value]], [1])


def test_texts_of_which_too_many_are_different_stay_a_list() -> None:
    texts = [f"f{i}" for i in range(WORDS + 1)]
    assert Coded.of(texts[:-1]).tolist() == texts[:-1]
    with pytest.raises(Unfit):
        Coded.of(texts)
    with pytest.raises(Unfit):
        Coded.joined([Coded.of(texts[:-1]), Coded.of(texts[-1:])], [WORDS, 1])


@pytest.mark.parametrize(
    "column",
    [
        Floats(bytes(9)), Flags(b"\0\2"), Coded(["a"], b"\0\1"), Coded([], b"\0\0"), Counts(bytes(7), b""), Counts(bytes(8), b"\0"),
        Runs([1], [3]), Runs([1, 2], [2]),
        Counts(b"\1\0\0\0" * 2, bytes(7)), Counts(b"\1\0\0\0" * 2, bytes(2)), Counts(b"\xff" * 8, bytes(16)),
    ],
    ids=repr,
)  # fmt: skip
def test_bytes_that_are_no_column_are_told_apart(column: Packed) -> None:
    assert not column.holds(2)
