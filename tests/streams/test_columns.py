"""Growing columns and the hash index, held against a list and a dict."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.columns import Columns, HashIndex, all_differ, distinct, hash_ids, parts

pytestmark = pytest.mark.usefixtures("either_reader")

keys = st.integers(0, 2**64 - 1)
#: Keys that meet in one slot of a table of up to 2¹⁶, and wrap around its end.
crowded = st.sampled_from([slot + (n << 16) for slot in (0, 65_535) for n in range(40)])


@given(st.lists(st.lists(st.one_of(keys, crowded), unique=True, max_size=60), max_size=8), st.lists(st.one_of(keys, crowded)))
def test_the_index_finds_what_a_dict_finds(batches: list[list[int]], asked: list[int]) -> None:
    index = HashIndex()
    model: dict[int, int] = {}
    for batch in batches:
        new = [key for key in batch if key not in model]
        rows = np.arange(len(model), len(model) + len(new))
        model |= dict(zip(new, rows.tolist(), strict=True))
        column = np.array(list(model), np.uint64)
        index.insert(np.array(new, np.uint64), rows, column)
        everything = [*asked, *model]
        assert index.find(np.array(everything, np.uint64), column).tolist() == [model.get(key, -1) for key in everything]
    assert index.size == len(model)


@given(st.lists(st.one_of(keys, crowded), unique=True, min_size=1), st.data())
def test_the_index_can_be_built_anew_and_led_to_other_rows(members: list[int], data: st.DataObject) -> None:
    column = np.array([*members, *members], np.uint64)
    index = HashIndex()
    kept = np.array(data.draw(st.lists(st.sampled_from(range(len(members))), unique=True)), np.int64)
    index.rebuild(kept, column)
    moved = kept[: len(kept) // 2]
    index.replace(column[moved], moved + len(members), column)
    wanted = {int(r): int(r) for r in kept} | {int(r): int(r) + len(members) for r in moved}
    assert index.find(column[: len(members)], column).tolist() == [wanted.get(r, -1) for r in range(len(members))]


whole = st.one_of(st.integers(-(2**62), 2**62), st.integers(0, 300), st.integers(1_767_571_200_000, 1_767_571_200_000 + 2**33))
real = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 254.0, 255.0, float("nan")]), st.floats(width=32), st.floats())
steps = st.one_of(st.lists(st.tuples(whole, real), max_size=40), st.randoms(use_true_random=False))


@given(st.lists(steps, max_size=10))
def test_columns_append_put_and_keep_as_lists_do(steps: list[list[tuple[int, float]] | Random]) -> None:
    columns = Columns(a=int, b=float, c=bool)
    model: list[tuple[int, float]] = []
    for step in steps:
        if isinstance(step, list):
            rows = columns.append(len(step), a=np.array([a for a, _ in step], np.int64), b=np.array([b for _, b in step], float), c=True)
            assert rows.tolist() == list(range(len(model), len(model) + len(step)))
            model += step
        elif model and step.random() < 0.5:
            row, other = step.randrange(len(model)), step.choice(model)
            columns.put("a", np.array([row]), np.array([other[0]]))
            columns.put("b", np.array([row]), np.array([other[1]]))
            model[row] = other
        else:
            mask = [step.random() < 0.5 for _ in model]
            columns.keep(np.array(mask, bool))
            model = [row for row, stays in zip(model, mask, strict=True) if stays]
    backwards = np.arange(len(model))[::-1]
    several = columns.take_all(("c", "b", "a"), backwards)
    assert (several[0].tolist(), several[2].tolist()) == ([True] * len(model), [a for a, _ in model[::-1]])
    np.testing.assert_array_equal(several[1], [b for _, b in model[::-1]])
    assert columns.all("a").tolist() == [a for a, _ in model]
    np.testing.assert_array_equal(columns.all("b"), [b for _, b in model])
    signs = [math.copysign(1, b) for _, b in model if not math.isnan(b)]
    assert np.copysign(1, columns.all("b"))[~np.isnan(columns.all("b"))].tolist() == signs
    assert columns.all("c").tolist() == [True] * len(model)
    assert all(columns.least("a") <= a for a, _ in model)
    assert columns.size == len(model)


@given(st.lists(st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), keys, crowded), max_size=30))
def test_keys_that_come_twice_are_seen(some: list[int]) -> None:
    assert all_differ(np.array(some, np.uint64)) == (len(set(some)) == len(some))


@given(st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**40), 2**40)), max_size=30))
def test_rows_come_apart_by_their_numbers(codes: list[int]) -> None:
    values, place = distinct(np.array(codes, np.int64))
    assert (values.tolist(), values[place].tolist()) == (sorted(set(codes)), codes)
    wanted = [[i for i, code in enumerate(codes) if code == value] for value in values.tolist()]
    assert [rows.tolist() for rows in parts(place, len(values))] == wanted


def test_values_that_somebody_looks_at_stay_where_they_are_as_rows_come() -> None:
    columns = Columns(key=np.uint64)
    columns.append(3, key=np.array([7, 8, 9], np.uint64))
    seen = columns.all("key")
    for _ in range(3):
        columns.append(100_000, key=np.zeros(100_000, np.uint64))
    assert seen.tolist() == columns.all("key")[:3].tolist() == [7, 8, 9]


def test_numbers_take_no_more_bytes_than_they_need() -> None:
    columns = Columns(same=int, small=int, time=int, wide=int, label=float, short=float, exact=float)
    now = 1_767_571_200_000 + np.arange(1_000) * 60_000
    columns.append(1_000, same=7, small=np.arange(1_000) % 200, time=now, wide=now * 1_000, label=1.0, short=0.5, exact=0.1)
    assert columns.bytes_per_row == 0 + 1 + 4 + 8 + 1 + 4 + 8


def test_a_column_of_times_stays_narrow_as_old_rows_go() -> None:
    day = 86_400_000
    columns = Columns(time=int)
    for first in range(0, 200, 5):
        columns.append(5, time=np.arange(first, first + 5) * day)
        columns.keep(columns.all("time") >= (first - 20) * day)
    assert columns.bytes_per_row == 4


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20))
def test_an_ids_hash_depends_on_the_id_alone(ids: list[str]) -> None:
    assert hash_ids(ids).tolist() == [int(hash_ids([text])[0]) for text in ids]


def test_ids_that_look_alike_have_hashes_of_their_own() -> None:
    ids = ["", "a", "b", "ab", "ba", "a\0", "\0a", "ä", "\u00e9", "e\u0301", "1", "1.0", "🦜"]
    assert len(set(hash_ids(ids).tolist())) == len(ids)
