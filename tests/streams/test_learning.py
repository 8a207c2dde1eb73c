"""References learned from panes that were kept without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Model, Policy
from driftline.schemas.reference import CategoricalProfile, NumericProfile, decode_entry, encode_entry
from driftline.streams.answers import LabelRows
from driftline.streams.judge import feature_rows
from driftline.streams.layout import Layout
from driftline.streams.learning import learn
from driftline.streams.panes import Pane, PaneKey, empty_pane, rebin
from driftline.streams.sketch import bucket_of, bucket_start

MODEL = Model("m", policy=Policy(min_samples=2))
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.lists(st.one_of(finite, st.sampled_from([0.0, -0.0, 1.0, 5e-324, -5e-324, 1.7976931348623157e308, 2.0**53 + 2])), min_size=1)


def sketched(**columns: list[Any]) -> Pane:
    pane = empty_pane(None)
    pane.add_raw(columns, np.arange(len(next(iter(columns.values())))), {})
    return pane


@given(numbers)
def test_learned_edges_lie_on_bounds_of_buckets(values: list[float]) -> None:
    profile = learn(MODEL, "1", sketched(x=values), 0).features["x"]
    assert isinstance(profile, NumericProfile)
    edges = np.array(profile.edges)
    assert bucket_start(bucket_of(edges)).tolist() == edges.tolist()
    assert (np.diff(edges) > 0).all()


@given(numbers, numbers)
def test_rebinning_a_sketch_by_a_learned_reference_counts_as_its_values_would(learned_from: list[float], later: list[float]) -> None:
    layout = Layout(learn(MODEL, "1", sketched(x=learned_from), 0))
    counted = empty_pane(layout)
    counted.add_encoded(layout, layout.encode({"x": later}, len(later)), np.arange(len(later)))
    assert rebin(sketched(x=later), layout).counts.tolist() == counted.counts.tolist()


@given(numbers)
def test_a_learned_reference_travels_and_comes_back_the_same(values: list[float]) -> None:
    reference = learn(MODEL, "1", sketched(x=values, c=["a"] * len(values)), 60_000)
    assert decode_entry(encode_entry(reference)) == reference


@given(numbers)
def test_any_finite_numbers_can_be_told_as_rows_of_a_pane(values: list[float]) -> None:
    pane = sketched(x=values)
    layout = Layout(learn(MODEL, "1", pane, 0))
    for kept, by in ((pane, None), (rebin(pane, layout), layout)):
        [row] = feature_rows(PaneKey("m", "1", "", 0), MODEL, by, kept, 1)
        assert (row.n, row.minimum, row.maximum) == (len(values), min(values), max(values))


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1))
def test_rebinning_texts_counts_every_row(texts: list[str | None]) -> None:
    pane = sketched(c=texts, x=[1.0] * len(texts))
    reference = learn(MODEL, "1", pane, 0)
    if "c" in reference.features:
        profile = reference.features["c"]
        counts = rebin(pane, Layout(reference)).counts
        assert isinstance(profile, CategoricalProfile)
        bins, missing, errors = Layout(reference).stretch(counts, 0)
        assert ([*profile.counts, profile.other], profile.missing, 0) == (bins.tolist(), missing, errors)


def test_the_reference_counts_the_rows_it_was_learned_from() -> None:
    profile = learn(MODEL, "1", sketched(x=[1.0, 1.0, 2.0, None]), 0).features["x"]
    assert isinstance(profile, NumericProfile)
    assert (sum(profile.counts), profile.n, profile.missing, profile.minimum, profile.maximum) == (3, 3, 1, 1.0, 2.0)


def test_a_constant_feature_has_a_bin_for_its_value() -> None:
    profile = learn(MODEL, "1", sketched(x=[7.0] * 5), 0).features["x"]
    assert isinstance(profile, NumericProfile)
    assert (profile.counts, profile.m2) == ([0, 5, 0], 0.0)


def test_a_configured_type_is_kept_though_the_values_look_otherwise() -> None:
    pane = empty_pane(None)
    pane.add_raw({"zip": [1.0, 2.0]}, np.arange(2), {"zip": "categorical"})
    model = Model("m", features={"zip": "categorical"})
    assert learn(model, "1", pane, 0).features["zip"] == CategoricalProfile(["1", "2"], [1, 1], 0, 2, 0)


@pytest.mark.parametrize(("labels", "known"), [(1, {}), (2, {"accuracy": 1.0})])
def test_performance_is_learned_from_enough_labels_only(labels: int, known: dict[str, float]) -> None:
    pane = sketched(x=[1.0, 2.0])
    hits = np.zeros(labels)
    pane.answers.add_labels(LabelRows(np.ones(labels, np.int64), hits, hits, np.full(labels, -1), np.zeros(labels, np.int64)), ["0"], MODEL)
    performance = learn(MODEL, "1", pane, 0).performance
    assert (performance.n, performance.metrics) == (labels, known)


def test_it_is_in_force_from_the_time_given() -> None:
    reference = learn(MODEL, "1", sketched(x=[1.0]), 120_000)
    assert (reference.effective_from, reference.origin, reference.rows) == (120_000, "learned", 1)
