"""Texts and vectors as columns of numbers: the same in whatever way events come, and judged like any feature."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import compare
from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Reference
from driftline.streams.derived import PROJECTIONS, derive, expanded, names_of, vocabulary
from driftline.streams.layout import Coded, Layout
from driftline.streams.learning import learn
from driftline.streams.panes import Pane, decode_pane, empty_pane
from driftline.streams.partition import Partition
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of
from driftline.streams.values import ColumnValues

T0 = 1_767_571_200_000
WORDS = ["red", "blue", "green", "shoe", "shirt", "hat", "größe"]
FEATURES = {"title": "text", "vector": "embedding:5", "price": "numeric"}
MODEL = Model("m", features=FEATURES, multivariate=True)


def frame(n: int, seed: int, words: list[str] = WORDS, moved: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice(words, rng.integers(3, 9))) for _ in range(n)]
    vectors = [row.tolist() for row in rng.normal(moved, 1, (n, 5))]
    return pd.DataFrame({"title": titles, "vector": vectors, "price": rng.normal(size=n)})


@lru_cache
def reference() -> Reference:
    return reference_from_frame(frame(600, 1), MODEL, "1")


def records(n: int, seed: int) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame(n, seed).to_dict("records")]


def folded(model: Model, rows: list[dict[str, Any]], step: int, learned: bool = False) -> Pane:
    known = Registry({"m": model})
    if not learned:
        known.add(reference(), 0)
    partition = Partition(0, known, {})
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        told = [
            {"id": f"id{at + i}", "model": "m", "version": "1", "ts": T0, "prediction": 1} | {"features": row} for i, row in enumerate(part)
        ]
        sent = [(at + i, T0 + 1, f"id{at + i}".encode(), json.dumps(event).encode(), ()) for i, event in enumerate(told)]
        assert partition.add_predictions(chunk_of("predictions", 0, at, at + len(part), sent)) == []
    [(_, snapshot)] = partition.flush().snapshots
    return decode_pane(snapshot)[0]


@pytest.mark.usefixtures("either_reader")
@pytest.mark.parametrize("step", [1, 7, 500])
def test_a_stream_counts_what_the_columns_of_a_table_say_in_any_chunks(step: int) -> None:
    rows: list[dict[str, Any]] = [*records(60, 2), {"title": 7, "vector": [1.0]}, {"title": None}, {}]
    pane, known = folded(MODEL, rows, step), reference()
    columns = derive({name: [row.get(name) for row in rows] for name in FEATURES}, FEATURES, known.vocabularies)
    assert known.features.keys() == expanded(FEATURES).keys() == columns.keys()
    layout = Layout(known)
    encoded = layout.encode(columns, len(rows))
    assert pane.counts.tolist() == np.bincount(encoded.flat.ravel(), minlength=layout.length).tolist()
    assert {layout.stretch(pane.counts, layout.names.index(name))[1:] for name in ("title.length", "vector.p3")} == {(2, 1)}
    assert pane.joint[0] == len(rows)


def test_a_column_of_booleans_is_no_text() -> None:
    layout, told = Layout(reference()), Coded(["false", "true"], np.array([1, -1, 0]), bools=True)
    pane = empty_pane(layout)
    ColumnValues({"title": told}, np.ones(3), None, np.arange(3)).fold(pane, layout, np.arange(3), MODEL)
    assert layout.stretch(pane.counts, layout.names.index("title.length"))[1:] == (1, 2)


def test_words_that_the_reference_does_not_have_drift_and_a_known_text_does_not() -> None:
    before = frame(3_000, 3)
    foreign = compare(before, frame(1_000, 4, ["red", "Schuh", "Hemd", "Hut"]), features=FEATURES)
    assert "title.unknown_words" in foreign.drifted and "title.p0" in foreign.ranking
    assert compare(before, frame(1_000, 5), features=FEATURES).drifted == []


def test_vectors_that_move_drift() -> None:
    found = compare(frame(3_000, 3), frame(1_000, 4, moved=1.5), features=FEATURES)
    assert "vector.norm" in found.drifted and any(name.startswith("vector.p") for name in found.drifted)


def test_vectors_of_another_length_are_no_conversion_of_units() -> None:
    before, after = frame(3_000, 3), frame(1_000, 4)
    after["vector"] = [[1.609344 * each for each in row] for row in after["vector"]]
    found = compare(before, after, features=FEATURES)
    assert found.faults == [] and "vector.norm" in found.drifted


def test_a_reference_tells_unknown_words_by_rows_that_its_vocabulary_was_not_made_of() -> None:
    rare = frame(2_000, 6).assign(title=[f"word{i}" for i in range(2_000)])
    profile = reference_from_frame(rare, MODEL, "1").features["title.unknown_words"]
    assert (profile.n, profile.missing, getattr(profile, "mean", 0.0) > 0.9) == (1_000, 0, True)


def test_texts_without_words_are_missing_values_of_the_reference_as_of_a_window() -> None:
    def some(n: int, seed: int) -> pd.DataFrame:
        told = frame(n, seed)
        return told.assign(title=told["title"].where(np.random.default_rng(seed).random(n) < 0.7, "!"))

    profile = reference_from_frame(some(2_000, 6), MODEL, "1").features["title.unknown_words"]
    assert profile.n + profile.missing == 1_000 and 250 < profile.missing < 350
    assert compare(some(2_000, 6), some(1_000, 7), features=FEATURES).faults == []


def test_half_a_reference_s_rows_tell_no_unknown_words_which_take_no_part_in_what_features_do_together() -> None:
    made = reference_from_frame(frame(2_000, 6, [f"word{i}" for i in range(3_000)]), MODEL, "1")
    assert made.joint is not None and len(made.joint.features) == len(expanded(FEATURES)) - 1
    assert "title.unknown_words" not in made.joint.features
    assert made.joint.null_mean[3] < 50  # of the discriminant; with them it was 500


def test_a_learned_reference_has_all_columns_but_the_unknown_words() -> None:
    made = learn(MODEL, "1", folded(MODEL, records(300, 7), 50, learned=True), 0)
    assert made.features.keys() >= expanded(FEATURES).keys() - {"title.unknown_words"}
    assert "title.unknown_words" not in made.features


def test_a_table_with_a_vector_of_another_length_is_refused_with_its_row() -> None:
    good = frame(400, 8)
    vectors = [[1.0, 2.0], *good["vector"].tolist()[1:]]
    wrong = good.assign(vector=pd.Series(vectors, dtype=object))
    with pytest.raises(DriftlineError, match=r"column 'vector' holds '\[1\.0, 2\.0\]' in row 0 and is to be embedding:5"):
        reference_from_frame(wrong, MODEL, "1")


VALUES = st.one_of(
    st.none(), st.text(), st.integers(), st.booleans(), st.lists(st.floats(), min_size=3, max_size=3), st.lists(st.integers())
)


@given(st.lists(VALUES, max_size=20), st.integers(1, 5))
def test_any_value_gives_numbers_or_says_why_not_whatever_rows_are_beside_it(values: list[Any], step: int) -> None:
    features, known = {"t": "text", "v": "embedding:3"}, {"t": vocabulary(["a b c"])}
    whole = derive({"t": values, "v": values}, features, known)
    assert list(whole) == [*names_of("t", "text"), *names_of("v", "embedding:3")] and len(whole) == 3 + 2 * PROJECTIONS
    assert all(each is None or each is True or np.isfinite(each) for column in whole.values() for each in column)
    for at in range(0, len(values), step):
        part = derive({"t": values[at : at + step], "v": values[at : at + step]}, features, known)
        assert all(part[name] == whole[name][at : at + step] for name in whole)


@given(st.lists(st.text(), max_size=30))
def test_every_word_of_a_vocabulary_is_known(texts: list[str]) -> None:
    shares = derive({"t": texts}, {"t": "text"}, {"t": vocabulary(texts)})["t.unknown_words"]
    assert set(shares) <= {None, 0.0}
