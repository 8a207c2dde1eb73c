"""When a finding began, by the panes of its window."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftline.schemas.config import Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Reference
from driftline.streams.layout import Layout
from driftline.streams.onset import onset_of_feature, onset_of_loss
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import fold_answers

LAYOUT = Layout(
    Reference(
        "m", "1",
        {
            "x": NumericProfile([-1.0, 0.0, 1.0], [160, 340, 340, 160], 1_000, 0, 0.0, 1_000.0),
            "c": CategoricalProfile(["a", "b"], [800, 200], 0, 1_000, 0),
        },
        1_000,
    )
)  # fmt: skip
MINUTE = 60_000
REFERENCE = PerformanceProfile(1_000, confusion={"1\x1f1": 900, "1\x1f0": 100})


def panes(change: int, many: int = 20, rows: int = 100) -> list[tuple[int, Pane]]:
    """Panes of a minute; from the one numbered `change` on x is higher, c is b more often, and answers are wrong more often."""
    rng, out = np.random.default_rng(0), []
    for i in range(many):
        x = rng.normal(0.8 if i >= change else 0.0, 1, rows)
        c = np.where(rng.random(rows) < (0.6 if i >= change else 0.2), "b", "a")
        pane = empty_pane(LAYOUT)
        pane.add_encoded(LAYOUT, LAYOUT.encode({"x": x.tolist(), "c": c.tolist()}, rows), np.arange(rows))
        truth = pd.Series((rng.random(rows) < (0.5 if i >= change else 0.9)).astype(int))
        fold_answers(pane, pd.Series(np.ones(rows, int)), None, truth, Model("m"))
        out.append((i * MINUTE, pane))
    return out


def test_a_feature_left_its_reference_in_the_pane_where_its_values_moved() -> None:
    for feature in (0, 1):
        for change in (7, 13):
            assert onset_of_feature(panes(change), LAYOUT, feature) == change * MINUTE


def test_performance_fell_in_the_pane_where_answers_became_wrong() -> None:
    assert onset_of_loss(panes(13), REFERENCE) == 13 * MINUTE


def test_what_was_beyond_the_reference_all_along_began_with_the_first_pane_that_is_known() -> None:
    assert onset_of_loss(panes(0), REFERENCE) == 0
    assert onset_of_feature(panes(0), LAYOUT, 0) == onset_of_feature(panes(0), LAYOUT, 1) == 0


def test_a_regression_and_a_ranking_began_to_be_worse_too() -> None:
    rng = np.random.default_rng(1)
    price, told = Model("m", task="regression"), []
    for i in range(20):
        pane, truth = empty_pane(LAYOUT), rng.normal(10, 1, 100)
        fold_answers(pane, pd.Series(truth + rng.normal(0, 3 if i >= 12 else 1, 100)), None, pd.Series(truth), price)
        told.append((i * MINUTE, pane))
    assert onset_of_loss(told, PerformanceProfile(places={"257": (1_000, 0.8, 1.0)})) == 12 * MINUTE
    assert onset_of_loss(told[12:], PerformanceProfile(places={"257": (1_000, 0.8, 1.0)})) == 12 * MINUTE
    items, order = Model("m", task="ranking"), []
    for i in range(20):
        pane, said = empty_pane(LAYOUT), [["a", "b", "c"] if i < 8 else ["c", "b", "a"]] * 50
        fold_answers(pane, pd.Series(said), None, pd.Series([["a"]] * 50), items)
        order.append((i * MINUTE, pane))
    assert onset_of_loss(order, PerformanceProfile(500, {"ndcg": 0.99})) == 8 * MINUTE


def test_without_panes_or_labels_nobody_knows() -> None:
    assert onset_of_loss([], REFERENCE) is None
    assert onset_of_loss([(0, empty_pane(LAYOUT)), (MINUTE, empty_pane(LAYOUT))], REFERENCE) is None
    assert onset_of_feature([(0, empty_pane(LAYOUT))], LAYOUT, 0) is None
