"""A reference holds what the stream would have counted of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, decode_entry, encode_entry
from driftline.streams.layout import Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import MAX_CATEGORIES, class_names, reference_from_frame

CHURN = Model("churn")


def numeric(values: object) -> NumericProfile:
    profile = reference_from_frame(pd.DataFrame({"x": values}), Model("m", features={"x": "numeric"}), "1").features["x"]
    assert isinstance(profile, NumericProfile)
    return profile


def categorical(values: object) -> CategoricalProfile:
    profile = reference_from_frame(pd.DataFrame({"x": values}), Model("m", features={"x": "categorical"}), "1").features["x"]
    assert isinstance(profile, CategoricalProfile)
    return profile


VALUES = st.lists(st.none() | st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=200)


@given(VALUES)
def test_numeric_counts_and_missing_rows_sum_to_the_rows(values: list[float | None]) -> None:
    profile = numeric(values)
    assert sum(profile.counts) == profile.n == sum(v is not None for v in values)
    assert profile.n + profile.missing == len(values)


@given(VALUES, st.lists(st.none() | st.sampled_from(["a", "b", "ç"]) | st.booleans(), min_size=1, max_size=200))
def test_a_pane_of_the_same_rows_has_the_same_counts(numbers: list[float | None], texts: list[str | bool | None]) -> None:
    n = min(len(numbers), len(texts))
    columns: dict[str, Sequence[Any]] = {"x": numbers[:n], "c": texts[:n]}
    frame = pd.DataFrame({"x": pd.Series(columns["x"], dtype=float), "c": pd.Series(columns["c"], dtype=object)})
    reference = reference_from_frame(frame, Model("m", features={"x": "numeric", "c": "categorical"}), "1")
    layout, pane = Layout(reference), empty_pane(Layout(reference))
    pane.add_encoded(layout, layout.encode(columns, n), np.arange(n))
    for f, profile in enumerate(reference.features.values()):
        counts, missing, errors = layout.stretch(pane.counts, f)
        expected = profile.counts if isinstance(profile, NumericProfile) else [*profile.counts, profile.other]
        assert (counts.tolist(), missing, errors) == (expected, profile.missing, 0)


def test_moments_are_those_of_numpy() -> None:
    values = np.random.default_rng(1).normal(1e6, 2.0, 1_000)
    profile = numeric(values)
    assert profile.mean == pytest.approx(values.mean(), rel=1e-14)
    assert profile.m2 == pytest.approx(values.var() * 1_000, rel=1e-12)
    assert (profile.minimum, profile.maximum) == (values.min(), values.max())


def test_infinite_values_count_as_missing() -> None:
    assert numeric([1.0, np.inf, -np.inf, np.nan]).missing == 3


def test_a_column_of_nothing_but_missing_values_still_has_a_profile_that_travels() -> None:
    reference = reference_from_frame(pd.DataFrame({"x": [None, np.nan]}), Model("m", features={"x": "numeric"}), "1")
    assert decode_entry(encode_entry(reference)) == reference


def test_categories_come_by_count_and_then_by_name() -> None:
    assert categorical(["b", "a", "c", "c", None]).categories == ["c", "a", "b"]


def test_categories_beyond_the_cap_are_counted_as_other() -> None:
    profile = categorical([f"id{i}" for i in range(MAX_CATEGORIES + 7)] * 2)
    assert (len(profile.categories), profile.other, profile.n) == (MAX_CATEGORIES, 14, 2 * (MAX_CATEGORIES + 7))


def test_of_many_categories_those_that_came_too_seldom_to_be_known_are_counted_as_other() -> None:
    profile = categorical(["a"] * 300 + ["b"] * 200 + [f"id{i}" for i in range(500)])
    assert (profile.categories, profile.other) == (["a", "b"], 500)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pd.Series([True, False]), ["true", "false"]),
        (pd.Series([12.0, None, 2.5]), ["12", None, "2.5"]),
        (pd.Series([12, 13], dtype="int8"), ["12", "13"]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        (pd.Series(["pro", None], dtype="category"), ["pro", None]),
        (pd.Series([1, "1", True], dtype=object), ["1", "1", "true"]),
    ],
)
def test_classes_are_named_as_the_stream_names_them(values: pd.Series, names: list[str | None]) -> None:
    assert class_names(values).tolist() == names


def test_without_declared_features_every_other_column_is_one_by_its_type() -> None:
    frame = pd.DataFrame({"id": [1], "age": [31], "pro": [True], "city": ["Rome"], "y": [1], "s": [0.5], "truth": [0]})
    made = reference_from_frame(frame, CHURN, "7", prediction="y", score="s", label="truth", exclude=["id"])
    kinds = {name: type(profile).__name__ for name, profile in made.features.items()}
    assert kinds == {
        "age": "NumericProfile", "pro": "CategoricalProfile", "city": "CategoricalProfile",
        "(prediction)": "CategoricalProfile", "(score)": "NumericProfile",
    }  # fmt: skip


def test_a_declared_type_wins_over_the_column_s() -> None:
    made = reference_from_frame(pd.DataFrame({"zip": [80331, 80333], "x": [1, 2]}), Model("m", features={"zip": "categorical"}), "1")
    assert made.features == {"zip": CategoricalProfile(["80331", "80333"], [1, 1], 0, 2, 0)}


def test_an_arrow_table_gives_the_same_reference_as_its_data_frame() -> None:
    frame = pd.DataFrame({"x": [1.5, 2.5, np.nan], "c": ["a", None, "b"]})
    assert reference_from_frame(pa.Table.from_pandas(frame), CHURN, "1") == reference_from_frame(frame, CHURN, "1")


def test_scores_have_twenty_equal_bins() -> None:
    made = reference_from_frame(pd.DataFrame({"y": [0, 1], "s": [0.0, 1.0]}), CHURN, "1", prediction="y", score="s")
    score = made.features["(score)"]
    assert isinstance(score, NumericProfile)
    assert score.counts == [1, *[0] * 18, 1]


def test_performance_is_that_of_the_labelled_rows() -> None:
    frame = pd.DataFrame({"y": [1, 0, 1, 0], "s": [0.9, 0.2, 0.6, 0.4], "truth": [1.0, 0.0, 0.0, None]})
    assert reference_from_frame(frame, CHURN, "1", prediction="y", score="s", label="truth").performance.metrics == {
        "accuracy": pytest.approx(2 / 3), "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "auc": 1.0,
        "log_loss": pytest.approx(0.41495, abs=1e-4), "brier": pytest.approx(0.13664, abs=1e-4),
    }  # fmt: skip


def test_one_class_alone_has_no_auc() -> None:
    frame = pd.DataFrame({"y": [1, 1], "s": [0.9, 0.6], "truth": [1, 1]})
    assert "auc" not in reference_from_frame(frame, CHURN, "1", prediction="y", score="s", label="truth").performance.metrics


def test_without_a_single_label_no_performance_is_claimed() -> None:
    frame = pd.DataFrame({"y": [1, 0], "truth": [None, None]})
    assert reference_from_frame(frame, CHURN, "1", prediction="y", label="truth").performance == PerformanceProfile()


def test_a_regression_has_errors_instead() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "truth": [2.0, 2.0, 1.0]})
    made = reference_from_frame(frame, Model("price", task="regression"), "1", prediction="y", label="truth")
    assert made.performance.metrics == {
        "mae": 1.0, "rmse": pytest.approx((5 / 3) ** 0.5), "mape": pytest.approx(5 / 6), "r2": pytest.approx(-6.5),
    }  # fmt: skip
    assert isinstance(made.features["(prediction)"], NumericProfile)


@pytest.mark.parametrize(
    ("frame", "columns", "code", "says"),
    [
        (pd.DataFrame({"x": []}), {}, "reference_empty", "no rows"),
        (pd.DataFrame({"x": [1]}), {"label": "truth"}, "reference_column", "'truth'"),
        (pd.DataFrame({"x": [1], "s": [1.5]}), {"score": "s"}, "reference_value", "outside [0, 1]"),
    ],
)
def test_what_cannot_be_profiled_is_refused_by_name(frame: pd.DataFrame, columns: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(DriftlineError, match=code) as caught:
        reference_from_frame(frame, CHURN, "1", **columns)
    assert says in caught.value.message


@pytest.mark.parametrize("said", [{"edges": {"agee": "doane"}}, {"ranges": {"agee": (0, 9)}}, {"domains": {"agee": ("a",)}}])
def test_a_model_s_file_that_names_what_is_no_column_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(DriftlineError, match=r"names 'agee', which is no feature.*\n.*the features are age"):
        reference_from_frame(pd.DataFrame({"age": [1, 2]}), Model("m", **said), "1")
    assert reference_from_frame(pd.DataFrame({"age": [1, 2]}), Model("m", edges={"*": "doane"}), "1")


def test_text_in_a_numeric_column_is_refused_with_its_row() -> None:
    with pytest.raises(DriftlineError, match="'n/a' in row 1"):
        numeric(["1.5", "n/a"])
