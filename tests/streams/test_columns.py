"""Growing columns and the hash index, held against a list and a dict."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.columns import Columns, HashIndex, hash_ids

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
        index.insert(np.array(new, np.uint64), rows)
        model |= dict(zip(new, rows.tolist(), strict=True))
        everything = [*asked, *model]
        assert index.find(np.array(everything, np.uint64)).tolist() == [model.get(key, -1) for key in everything]
    assert index.size == len(model)


@given(st.lists(st.one_of(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40), st.randoms(use_true_random=False)), max_size=10))
def test_columns_append_and_keep_as_lists_do(steps: list[object]) -> None:
    columns = Columns(a=np.int64, b=np.float64)
    model: list[int] = []
    for step in steps:
        if isinstance(step, list):
            rows = columns.append(len(step), a=np.array(step, np.int64), b=1.5)
            assert rows.tolist() == list(range(len(model), len(model) + len(step)))
            model += step
        else:
            mask = [step.random() < 0.5 for _ in model]  # type: ignore[attr-defined]
            columns.keep(np.array(mask, bool))
            model = [a for a, stays in zip(model, mask, strict=True) if stays]
    assert columns["a"].tolist() == model
    assert columns["b"].tolist() == [1.5] * len(model)
    assert columns.size == len(model)


def test_writing_to_a_column_changes_it() -> None:
    columns = Columns(a=np.int64)
    columns.append(3, a=7)
    columns["a"][1] = 8
    assert columns["a"].tolist() == [7, 8, 7]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20))
def test_an_ids_hash_depends_on_the_id_alone(ids: list[str]) -> None:
    assert hash_ids(ids).tolist() == [int(hash_ids([text])[0]) for text in ids]


def test_ids_that_look_alike_have_hashes_of_their_own() -> None:
    ids = ["", "a", "b", "ab", "ba", "a\0", "\0a", "ä", "\u00e9", "e\u0301", "1", "1.0", "🦜"]
    assert len(set(hash_ids(ids).tolist())) == len(ids)
