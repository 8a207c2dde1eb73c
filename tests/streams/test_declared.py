"""Ranges and domains that a model's file declares, and edges that it gives a learned reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import HOUR_MS, Bounds, Model, Policy
from driftline.schemas.reference import NumericProfile
from driftline.schemas.results import QualityResult
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.learning import learn
from driftline.streams.panes import empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import quality
from driftline.streams.stats import bin_buckets, weighted_edges

POLICY = Policy(min_samples=50)
AGES = [18.0, 30.0, 44.5, 61.0, 90.0] * 40


def model(**declared: Any) -> Model:
    return Model("m", features={"age": "numeric", "plan": "categorical"}, policy=POLICY, **declared)


def layout(of: Model) -> Layout:
    frame = pd.DataFrame({"age": AGES, "plan": ["free", "pro"] * 100})
    return Layout(reference_from_frame(frame, of, "1"))


def check(name: str, known: Layout, of: Model, ages: list[Any], plans: list[Any]) -> QualityResult | None:
    pane = empty_pane(known)
    pane.add_encoded(known, known.encode({"age": ages, "plan": plans}, len(ages)), np.arange(len(ages)))
    rows = quality(Judged(WindowKey("m", "1", "", 0, HOUR_MS), of, known, pane, 1, True, (pane,)))
    return next((row for row in rows if row.check == name), None)


PLANS = ["free"] * 100


@pytest.mark.parametrize(
    ("bounds", "strange", "outside"),
    [((0, 120), 130.0, 5), ((0, 120), 120.0, 0), ((18, 120), math.nextafter(18, 0), 5), ((18, 120), 18.0, 0), ((-math.inf, 60), 61, 5)],
)
def test_values_outside_the_range_are_counted_exactly(bounds: Bounds, strange: float, outside: int) -> None:
    of = model(ranges={"age": bounds})
    row = check("range", layout(of), of, [44.5] * 95 + [strange] * 5, PLANS)
    assert row is not None and (row.value, row.verdict) == (outside / 100, "fault" if outside else "ok")


def test_a_reference_made_before_the_range_was_declared_shows_at_least_that_something_is_outside() -> None:
    of = model(ranges={"age": (0, 40)})
    row = check("range", layout(model()), of, [30.0] * 70 + [39.0] * 29 + [40.5], PLANS)
    assert row is not None and row.value is not None and row.value >= 0.01


def test_categories_outside_the_domain_are_counted_whether_the_reference_has_them_or_not() -> None:
    of = model(domains={"plan": ("free", "team")})
    row = check("domain", layout(of), of, [30.0] * 100, ["free"] * 90 + ["pro"] * 4 + ["gold"] * 3 + ["team"] * 3)
    assert row is not None and (row.value, row.verdict) == (0.07, "fault")
    assert row.reason == "7.0 % of the values are not in the domain: pro, gold"


def test_few_values_outside_are_told_and_no_fault() -> None:
    of = model(ranges={"age": (0, 120)})
    row = check("range", layout(of), of, [44.5] * 399 + [-1.0], PLANS * 4)
    assert row is not None and (row.value, row.verdict) == (1 / 400, "ok")


def test_a_feature_without_a_declaration_has_no_such_check() -> None:
    of = model()
    assert check("range", layout(of), of, [1e9] * 100, PLANS) is None is check("domain", layout(of), of, [30.0] * 100, ["x"] * 100)


@pytest.mark.parametrize(("rule", "edges"), [("18, 30, 65", [18.0, 30.0, 65.0]), ("quantile:2", None), ("doane", None)])
def test_a_learned_reference_has_the_edges_that_the_file_gives(rule: str, edges: list[float] | None) -> None:
    of = model(edges={"age": rule}, ranges={"age": (0, 200)})
    pane = empty_pane(None)
    pane.add_raw({"age": AGES, "plan": PLANS * 2}, np.arange(200), {"age": "numeric", "plan": "categorical"})
    profile = learn(of, "1", pane, 0).features["age"]
    assert isinstance(profile, NumericProfile)
    assert sum(profile.counts) == 200 and profile.edges[0] == 0.0 and profile.edges[-1] == math.nextafter(200, 300)
    if edges:
        assert profile.edges[1:-1] == edges and profile.counts == [0, 0, 40, 120, 40, 0]
    else:
        assert 4 <= len(profile.edges) <= 12


@given(st.lists(st.integers(1, 50), min_size=2, max_size=40), st.sampled_from(["quantile:4", "quantile:99", "doane"]))
def test_edges_of_a_sketch_by_a_rule_are_bounds_of_its_buckets(counts: list[int], rule: str) -> None:
    lower = np.arange(len(counts)) * 1.5
    edges = weighted_edges(lower, lower + 1, counts, rule=rule)
    assert set(edges) <= {*lower, *(lower + 1)} and (np.diff(edges) > 0).all() and len(edges) <= 64
    assert bin_buckets(lower, counts, edges).sum() == sum(counts)


@pytest.mark.parametrize(("strange", "outside"), [(0, 0.0), (300, 0.1), (3_000, 1.0)])
def test_a_domain_of_more_categories_than_a_reference_keeps_by_name_is_no_fault(strange: int, outside: float) -> None:
    names = [f"p{i}" for i in range(600)]
    of = model(domains={"plan": tuple(names)})
    known = Layout(reference_from_frame(pd.DataFrame({"age": [30.0] * 6_000, "plan": names * 10}), of, "1"))
    row = check("domain", known, of, [30.0] * 3_000, [f"x{i}" for i in range(strange)] + (names * 5)[: 3_000 - strange])
    assert row is not None and row.verdict == ("fault" if outside else "ok")
    assert row.value == pytest.approx(outside, abs=0.05)


def test_so_it_is_where_the_reference_was_learned() -> None:
    names = [f"p{i}" for i in range(600)]
    of = model(domains={"plan": tuple(names)})
    pane = empty_pane(None)
    pane.add_raw({"age": [30.0] * 3_000, "plan": names * 5}, np.arange(3_000), {"age": "numeric", "plan": "categorical"})
    known = Layout(learn(of, "1", pane, 0))
    row = check("domain", known, of, [30.0] * 600, names)
    assert row is not None and (row.value, row.verdict) == (0.0, "ok")
