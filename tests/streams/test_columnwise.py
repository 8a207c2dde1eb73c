"""Columns of batches by compiled code give what NumPy gives: places, counts, moments, novel categories, partitions and exact sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference
from driftline.streams import arrow, exact, kernels
from driftline.streams.columns import Columns, hash_stretches, joined, partitions_of, spans_of
from driftline.streams.layout import LIST, Coded, Layout
from driftline.streams.panes import empty_pane

NUMBERS = st.floats(-1e150, 1e150) | st.sampled_from([0.0, -0.0, 5e-324, 1.0, 1e150])
EDGES = st.lists(NUMBERS, max_size=12, unique=True).map(sorted) | st.integers(1, 600).map(lambda n: np.arange(n) * 0.01)
TEXTS = ["a", "b", "c", "new", "other"]


def layout_of(edges: Any, categories: list[str]) -> Layout:
    numeric = NumericProfile([float(x) for x in edges], [1] * (len(edges) + 1), len(edges) + 1, 0, 0.5, 1.0)
    features: dict[str, Profile] = {
        "x": numeric, "c": CategoricalProfile(categories, [1] * len(categories), 0, 3, 0), "y": numeric, "gone": numeric,
    }  # fmt: skip
    return Layout(Reference("m", "1", features, 4))


@given(EDGES, st.lists(NUMBERS | st.none(), min_size=1, max_size=60), st.data())
def test_columns_fold_as_numpy_folds_them(edges: Any, values: list[float | None], data: st.DataObject) -> None:
    layout = layout_of(edges, data.draw(st.lists(st.sampled_from(TEXTS[:3]), unique=True)))
    known = [float(x) for x in edges]
    x = np.array([np.nan if value is None else value for value in values] + known)
    code = np.array(data.draw(st.lists(st.integers(-1, len(TEXTS) - 1), min_size=len(x), max_size=len(x))), np.int64)
    columns: dict[str, Any] = {"x": x, "c": Coded(TEXTS, code), "y": Coded([LIST], np.minimum(code, 0))}
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(x) - 1), min_size=1))), np.int64)
    theirs, ours = empty_pane(layout), empty_pane(layout)
    kernels.unload()
    theirs.add_encoded(layout, layout.encode(columns, len(x)), rows)
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    sheet = reader.sheet(layout, columns)
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        sheet.fold(ours, part)
    assert (ours.n, ours.counts.tolist(), ours.novel) == (theirs.n, theirs.counts.tolist(), theirs.novel)
    np.testing.assert_array_equal(ours.extremes, theirs.extremes)
    np.testing.assert_allclose(ours.sums, theirs.sums, rtol=1e-9, atol=1e-9 * np.abs(theirs.sums).max(initial=0))


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("edges", [[0.0] * 9, [-1.0, 0.0, 0.0, 0.0, 1e9], [-2.0, -1.0, 1.0]])
def test_many_rows_fold_as_numpy_folds_them(edges: list[float], holes: bool) -> None:
    layout, rng = layout_of(edges, TEXTS[:2]), np.random.default_rng(1)
    x = rng.normal(size=5_000)
    x[::7], x[::11] = np.nan, 0.0
    columns: dict[str, Any] = {"x": x, "c": Coded(TEXTS, rng.integers(-1, len(TEXTS), len(x))), "y": -np.abs(x)}
    rows = np.arange(100, 4_900)[:: 2 if holes else 1]
    theirs, ours = empty_pane(layout), empty_pane(layout)
    theirs.add_encoded(layout, layout.encode(columns, len(x)), rows)
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    reader.sheet(layout, columns).fold(ours, rows)
    assert (ours.counts.tolist(), ours.novel) == (theirs.counts.tolist(), theirs.novel)
    np.testing.assert_array_equal(ours.extremes, theirs.extremes)
    np.testing.assert_allclose(ours.sums, theirs.sums, rtol=1e-9)


def test_what_is_kept_of_columns_is_of_those_alone_that_are_alike() -> None:
    layout, rng, n = layout_of([0.0, 1.0], TEXTS[:3]), np.random.default_rng(2), 200
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    alike: list[dict[str, Any]] = [
        {"x": rng.normal(size=n), "c": Coded(TEXTS, rng.integers(-1, 5, n)), "y": rng.normal(size=n)} for _ in range(2)
    ]
    others: list[dict[str, Any]] = [
        {**alike[0], "c": Coded(TEXTS[::-1], rng.integers(-1, 5, n))},
        {"c": alike[0]["c"]},
        {**alike[1], "y": Coded(["z"], np.zeros(n, np.int64))},
        {**alike[1], "c": Coded([*TEXTS, *map(str, range(2_000))], rng.integers(-1, 2_000, n))},
    ]
    each = [*alike, *others, *alike]
    sheets = [reader.sheet(layout, columns) for columns in each]
    theirs, ours = [empty_pane(layout) for _ in each], [empty_pane(layout) for _ in each]
    for columns, pane in zip(each, theirs, strict=True):
        pane.add_encoded(layout, layout.encode(columns, n), np.arange(n))
    for part in np.split(np.arange(n), 4):
        for sheet, pane in zip(sheets, ours, strict=True):
            sheet.fold(pane, part)
    assert [(pane.counts.tolist(), pane.novel) for pane in ours] == [(pane.counts.tolist(), pane.novel) for pane in theirs]


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), max_size=30), st.data())
def test_exact_sums_are_the_same_integers(table: list[list[float]], data: st.DataObject) -> None:
    sign = data.draw(st.just(1) | st.lists(st.sampled_from([-1, 1, 2]), min_size=3, max_size=3))
    sums = []
    for prepare in (kernels.unload, kernels.load):
        prepare()
        sums.append(exact.exact_sums(table or np.empty((0, 3)), sign))
    assert sums[0] == sums[1]


@given(st.lists(st.text(max_size=9)))
def test_the_partition_of_a_key_is_the_same(keys: list[str]) -> None:
    found = []
    for prepare in (kernels.unload, kernels.load):
        prepare()
        found.append(partitions_of(*joined(keys)).tolist())
    assert found[0] == found[1]


ALIKE = st.integers(0, 40).flatmap(lambda n: st.lists(st.text("aé7", min_size=n, max_size=n), min_size=1, max_size=9))


@given(ALIKE | st.lists(st.text(max_size=40), min_size=1), st.integers(1, 200), st.integers(1, 2**31 - 1))
def test_ids_of_one_partition_have_the_same_hashes_side_by_side(ids: list[str], times: int, partitions: int) -> None:
    stretches = joined(ids * times)
    kernels.unload()
    hashes, belong = hash_stretches(*stretches), partitions_of(*stretches) % partitions
    kernels.load()
    reader = kernels.current()
    assert reader is not None
    for own in set(belong.tolist()):
        found = reader.hashes_of_own(*stretches, partitions, own)
        assert (found is None) == bool((belong != own).any())
        assert found is None or found.tolist() == hashes.tolist()


@given(
    st.lists(st.integers(-(10**6), 10**6) | st.integers(-(2**60), 2**60)), st.integers(1, 10**7) | st.sampled_from([3, 2**50, 2**62]),
    st.integers(-2, 2),
)  # fmt: skip
def test_numbers_lie_in_the_same_spans(numbers: list[int], length: int, off: int) -> None:
    edges = [number // length * length + off for number in numbers]
    found = []
    for prepare in (kernels.unload, kernels.load):
        prepare()
        found.append([part.tolist() for part in spans_of(np.array([*numbers, *edges], np.int64), length)])
    assert found[0] == found[1]


@given(st.lists(st.floats(0, 1) | st.sampled_from([np.nan, 1 / 256, np.nextafter(1 / 256, 0), np.nextafter(1, 0)])))
def test_scores_lie_in_the_same_bins(scores: list[float]) -> None:
    found = []
    for prepare in (kernels.unload, kernels.load):
        prepare()
        found.append(arrow._score_bins(np.array(scores, np.float64)).tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("row", [2, 10**9])
def test_compiled_code_reads_no_row_that_is_not_there(row: int) -> None:
    kernels.load()
    columns = Columns(a=int, b=np.uint64)
    columns.append(2, a=np.array([1, 2]), b=np.array([3, 4], np.uint64))
    with pytest.raises(IndexError):
        columns.take_all(("a", "b"), np.array([0, row]))
