"""The kind of change: on seeded scenarios, and on real streams whose change is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import changes
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from driftline.streams.causes import typed, typed_by_gap

SEEDS = 12


def called(kind: str, seed: int) -> str:
    """What the stream's own verdicts call it."""
    it = changes.scenario(kind, seed, n_reference=10_000)
    return changes.called(it)


def test_nineteen_of_twenty_changes_are_called_what_they_are() -> None:
    found = Counter((kind, called(kind, seed)) for kind in changes.KINDS for seed in range(SEEDS))
    right = sum(count for (kind, name), count in found.items() if kind == name)
    assert right >= 0.95 * found.total(), changes.table(found)


def test_drift_that_the_score_does_not_show_is_covariate_drift() -> None:
    it = changes.scenario("none", 0)
    before, now = changes.histogram(it.reference), changes.histogram(it.window)
    assert (typed(before, now).change, typed(before, now, drifted=True).change) == ("none", "covariate drift")


def test_a_fault_of_the_data_explains_everything() -> None:
    it = changes.scenario("concept drift", 0)
    assert typed(changes.histogram(it.reference), changes.histogram(it.window), fault=True).change == "data fault"
    assert typed_by_gap(9.0, 0.1, worse=True, fault=True).change == "data fault"


def test_too_few_labels_have_no_kind() -> None:
    few = np.ones((2, 64), np.int64)
    assert typed(few * 100, few).change == ""
    assert typed_by_gap(float("nan"), 0.1, worse=False, drifted=True).change == ""


@pytest.mark.parametrize(
    ("worse", "drifted", "change"), [(True, True, "concept drift"), (False, True, "covariate drift"), (False, False, "none")]
)
def test_a_regression_is_told_by_what_was_lost_beyond_what_was_expected(worse: bool, drifted: bool, change: str) -> None:
    assert typed_by_gap(0.5 if worse else 0.0, 0.1, worse=worse, drifted=drifted).change == change


def scored_by(file: Path, target: str, train: slice, held_out: slice, later: slice) -> tuple[np.ndarray, np.ndarray]:
    """A model of the first rows: its answers on held-out rows, and on later ones."""
    frame = pd.read_csv(file)
    x, y = frame.drop(columns=target), frame[target]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(x[train], y[train])

    def histogram(rows: slice) -> np.ndarray:
        return changes.histogram(changes.Rows(x[rows].to_numpy(float), model.predict_proba(x[rows])[:, 1], y[rows].to_numpy(np.int64)))

    return histogram(held_out), histogram(later)


def test_the_market_that_opened_changed_what_prices_mean(shared_data: Path) -> None:
    before, now = scored_by(shared_data / "elec.csv", "class", slice(0, 12_000), slice(12_000, 17_424), slice(20_000, 25_000))
    assert typed(before, now, drifted=True).change == "concept drift"


def test_the_weather_of_later_years_is_other_weather(shared_data: Path) -> None:
    before, now = scored_by(shared_data / "weather.csv", "target", slice(0, 5_000), slice(5_000, 9_000), slice(9_000, 13_000))
    assert typed(before, now).change == "covariate drift"
