"""The story is the same for the same seed, and tells what it says it tells."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from driftline.schemas.config import Model
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction
from driftline.story import DISORDER_MS, LENGTH_MS, SCENARIOS, START_MS, Story, story


@pytest.fixture(scope="module", params=SCENARIOS)
def told(request: pytest.FixtureRequest) -> Story:
    return story(7, request.param, 4_000)


def test_the_same_seed_gives_the_same_bytes(told: Story) -> None:
    again = story(7, told.name.split("-")[0], 4_000)
    assert [(event.topic, event.key, event.value) for event in again.events()] == [
        (event.topic, event.key, event.value) for event in told.events()
    ]
    assert again.training.equals(told.training)


def test_another_seed_gives_other_events() -> None:
    assert {event.id for event in story(1, "none", 50).events()}.isdisjoint(event.id for event in story(2, "none", 50).events())


def test_every_event_passes_the_strict_decoder(told: Story) -> None:
    for event in told.events():
        decoded = decode_prediction(event.value) if event.topic == "predictions" else decode_outcome(event.value)
        assert isinstance(decoded, Prediction | Outcome)
        assert (decoded.id, decoded.ts) == (event.id, event.ts)


def test_the_counts_announced_are_the_counts_told(told: Story) -> None:
    topics = [event.topic for event in told.events()]
    assert (topics.count("predictions"), topics.count("outcomes")) == (told.predictions, told.outcomes)


def test_events_come_by_event_time_with_bounded_disorder(told: Story) -> None:
    times = [event.ts for event in told.events()]
    assert times[0] >= START_MS
    assert all(later > earlier - DISORDER_MS for earlier, later in pairwise(times))


def test_a_label_follows_its_prediction(told: Story) -> None:
    seen: set[str] = set()
    for event in told.events():
        assert (event.id in seen) == (event.topic == "outcomes")
        seen.add(event.id)


def test_the_scores_are_calibrated_on_the_training_data(told: Story) -> None:
    score, label = np.asarray(told.training["score"]), np.asarray(told.training["label"])
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 1)):
        inside = (score >= low) & (score < high)
        assert abs(score[inside].mean() - label[inside].mean()) < 0.03


def _accuracy(told: Story, where: np.ndarray) -> float:
    return float((told.rows["label"] == told.rows["prediction"])[where].mean())


def _start(told: Story, phase: str) -> int:
    return next(one.start_ms for one in told.phases if one.name == phase)


def test_covariate_drift_moves_one_segment_and_not_the_accuracy() -> None:
    told = story(7, "covariate", 20_000)
    us, after = told.rows["region"] == "us", told.ts >= _start(told, "covariate")
    charge = told.rows["monthly_charge"]
    assert charge[us & after].mean() > 1.15 * charge[us & ~after].mean()
    assert charge[~us & after].mean() == pytest.approx(charge[~us & ~after].mean(), rel=0.02)
    assert _accuracy(told, after) == pytest.approx(_accuracy(told, ~after), abs=0.03)


def test_concept_drift_moves_the_accuracy_and_not_the_features() -> None:
    told = story(7, "concept", 20_000)
    after = told.ts >= _start(told, "concept")
    assert _accuracy(told, after) < _accuracy(told, ~after) - 0.08
    for name in ("tenure", "monthly_charge", "support_calls", "usage", "score"):
        assert told.rows[name][after].mean() == pytest.approx(told.rows[name][~after].mean(), rel=0.05)


def test_a_fault_changes_a_unit_and_loses_values() -> None:
    told = story(7, "fault", 20_000)
    after = told.ts >= _start(told, "fault")
    assert told.rows["usage"][after].mean() == pytest.approx(1000 * told.rows["usage"][~after].mean(), rel=0.05)
    missing = np.isnan(told.rows["income"])
    assert missing[after].mean() > 0.5
    assert missing[~after].mean() < 0.2


def test_the_full_story_is_calm_then_covariate_then_concept() -> None:
    told = story()
    assert [phase.name for phase in told.phases] == ["calm", "covariate", "concept"]
    assert [told.phase_at(ts).name for ts in (0, START_MS, START_MS + LENGTH_MS // 3, START_MS + 2 * LENGTH_MS)] == [
        "calm", "calm", "covariate", "concept",
    ]  # fmt: skip


def test_the_model_watches_every_feature_and_the_segment() -> None:
    told = story(7, "none", 10)
    event = next(told.events())
    assert isinstance(told.model, Model)
    assert set(event.fields["features"]) == set(told.model.features)
    assert set(event.fields["segments"]) == set(told.model.segments)
    assert msgspec.json.decode(event.value)["version"] == told.version
