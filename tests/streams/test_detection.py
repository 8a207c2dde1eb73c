"""A detector over label time: panes in order, revised when one changes, and folded away when none can."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import PerformanceProfile
from driftline.streams.answers import LabelRows, Losses
from driftline.streams.detection import RESIDUAL, Detection, Watch, watches
from driftline.streams.stats import DETECTORS, Adwin

WATCH = Watch(Adwin(delta=0.05))
Panes = dict[int, Losses]


def pane(n: int, wrong: int) -> Losses:
    return Losses.of([1.0] * wrong + [0.0] * (n - wrong))


def detection() -> Detection:
    return Detection(WATCH)


def read_whole(panes: Panes) -> Detection:
    """The detector after all panes at once."""
    whole = detection()
    whole.read(sorted(panes.items()), -(2**62))
    return whole


def rising() -> Panes:
    """Forty panes of 50 labels: 5 wrong in each, from the twentieth on 25."""
    return {60 * i: pane(50, 5 if i < 20 else 25) for i in range(40)}


def test_a_rise_of_the_loss_is_signalled_in_the_pane_where_it_shows() -> None:
    signals = [step for step in read_whole(rising()).steps if step.signal]
    assert signals[0].signal is not None
    assert (signals[0].signal.direction, 20 * 60 <= signals[0].start <= 25 * 60) == ("up", True)


def test_panes_that_come_one_after_another_read_as_all_at_once() -> None:
    one_by_one, panes = detection(), rising()
    for start in panes:
        one_by_one.read([item for item in panes.items() if item[0] <= start], start)
    assert one_by_one.steps == read_whole(panes).steps


def test_a_revised_pane_is_read_again_with_all_after_it() -> None:
    # panes    0 ─ 60 ─ 120 ─ … ─ 1 200 ─ … ─ 2 340
    #                               ^ labels come late
    panes = rising()
    revised = read_whole(panes)
    panes[1_200] = pane(80, 60)
    again = revised.read(sorted(panes.items()), 1_200)
    assert [step.start for step in again] == [start for start in panes if start >= 1_200]
    assert revised.steps == read_whole(panes).steps


def test_a_pane_that_comes_between_others_is_read_in_its_place() -> None:
    panes = rising()
    late = panes.pop(600)
    detected = read_whole(panes)
    panes[600] = late
    detected.read(sorted(panes.items()), 600)
    assert detected.steps == read_whole(panes).steps


def test_nothing_new_is_read_once() -> None:
    detected = read_whole(rising())
    assert detected.read(sorted(rising().items()), 10**9) == []


def test_a_pane_whose_labels_were_all_taken_back_leaves_the_state_as_it_is() -> None:
    detected = detection()
    [first, second] = detected.read([(0, pane(50, 5)), (60, Losses())], 0)
    assert (second.state, second.signal) == (first.state, None)


def test_settled_panes_are_in_the_base() -> None:
    whole, settled = read_whole(rising()), read_whole(rising())
    settled.settle(1_000)
    assert [step for step in whole.steps if step.start >= 1_000] == settled.steps
    assert settled.base == whole.steps[16].state  # the pane at 960


def test_settled_panes_that_come_again_are_passed_over() -> None:
    # After a crash the topic is read again from the last commit, and brings panes that the stored base knows.
    settled = read_whole(rising())
    settled.settle(1_000)
    settled.read(sorted(rising().items()), 0)
    assert settled.steps == [step for step in read_whole(rising()).steps if step.start >= 1_000]


def test_a_stored_detection_goes_on_as_the_one_that_was_stored() -> None:
    settled = read_whole(rising())
    settled.settle(1_000)
    again = Detection.from_bytes(WATCH, settled.to_bytes())
    again.read(sorted(rising().items()), 0)
    assert (again.base, again.steps) == (settled.base, settled.steps)


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.integers(0, 60), st.floats(0, 1)), max_size=15), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(of: dict[int, tuple[int, float]], random: Random) -> None:
    panes = {60 * i: pane(n, round(n * share)) for i, (n, share) in of.items()}
    arrivals = list(panes)
    random.shuffle(arrivals)
    detected, here = detection(), Panes()
    for start in arrivals:
        here[start] = panes[start]
        detected.read(sorted(here.items()), start)
    assert detected.steps == read_whole(panes).steps


# Every detector


def rising_labels(model: Model, *, rise_at: int = 100, panes_of: int = 300, rate: float = 0.1, after: float = 0.4) -> Panes:
    """Losses of scored rows, 50 a pane: `rate` of them wrong, and `after` from a pane on; scores are right until then."""
    rng = np.random.default_rng(0)
    panes = Panes()
    for i in range(panes_of):
        wrong = (rng.random(50) < (rate if i < rise_at else after)).astype(np.float64)
        none = np.zeros(50, np.int64)
        panes[60 * i] = Losses()
        bins = none + int((1 - rate) * 256)
        panes[60 * i].add_labels(LabelRows(none + 1, np.ones(50), 1 - wrong, bins, none), ["0", "1"], model)
    return panes


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detector_can_watch_a_model_and_finds_a_rise_of_the_loss(name: Any) -> None:
    model = Model("m", detectors=(name,))
    detected = Detection(watches(model, PerformanceProfile(1_000, {"accuracy": 0.9}))[name])
    detected.read(sorted(rising_labels(model).items()), 0)
    alarm = detected.alarm(60 * 100, 60 * 300)
    assert alarm is not None
    assert alarm[0].direction == "up"


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_detectors_state_goes_on_after_a_restart_as_if_there_had_been_none(name: Any) -> None:
    model = Model("m", detectors=(name,))
    watch = watches(model, PerformanceProfile(1_000, {"accuracy": 0.9}))[name]
    panes = sorted(rising_labels(model, panes_of=140).items())
    whole = Detection(watch)
    whole.read(panes, 0)
    whole.settle(60 * 90)
    again = Detection.from_bytes(watch, whole.to_bytes())
    again.read(panes, 0)
    assert (again.base, again.steps) == (whole.base, whole.steps)


@pytest.mark.parametrize("name", ["adwin", "e_detector", "page_hinkley"])
def test_residuals_show_that_scores_no_longer_mean_what_they_say(name: Any) -> None:
    model = Model("m", detectors=(), residual_detectors=(name,))
    detected = Detection(watches(model, PerformanceProfile(1_000, {"accuracy": 0.9}))[name + RESIDUAL])
    # Positives that had the score 0.9 turn out negative: what came true less the score falls from 0 to −0.5.
    detected.read(sorted(rising_labels(model, after=0.6).items()), 0)
    calm, alarm = detected.alarm(0, 60 * 100), detected.alarm(60 * 100, 60 * 300)
    assert calm is None
    if name == "adwin":
        assert alarm is not None
        assert (round(alarm[0].mean_before, 1), alarm[0].mean_after < -0.2) == (0.0, True)


def test_the_losses_of_a_regression_are_told_in_the_units_of_the_target() -> None:
    model = Model("price", task="regression", detectors=("page_hinkley",))
    watch = watches(model, PerformanceProfile(100, {"mae": 50.0}))["page_hinkley"]
    rng = np.random.default_rng(1)
    panes = [(60 * i, Losses.of(list(rng.exponential(50 if i < 50 else 150, 40)))) for i in range(100)]
    detected = Detection(watch)
    detected.read(panes, 0)
    alarm = detected.alarm(0, 10**9)
    assert alarm is not None
    assert 30 < alarm[0].mean_before < 70 < alarm[0].mean_after


def test_an_alarm_tells_the_pane_where_the_change_began() -> None:
    model = Model("m")
    detected = Detection(watches(model, PerformanceProfile())["adwin"])
    detected.read(sorted(rising_labels(model, rise_at=123).items()), 0)
    alarm = detected.alarm(0, 10**9)
    assert alarm is not None
    assert abs(alarm[1] / 60 - 123) <= 1


def test_the_state_of_another_detector_is_refused() -> None:
    model = Model("m", detectors=("adwin", "ddm"))
    adwin, ddm = watches(model, PerformanceProfile()).values()
    with pytest.raises(DriftlineError, match="state_too_new"):
        Detection.from_bytes(ddm, Detection(adwin).to_bytes())


def test_a_detector_that_is_to_know_something_else_reads_its_steps_again() -> None:
    first, second = (
        watches(Model("m", detectors=("e_detector",)), PerformanceProfile(9, {"accuracy": a}))["e_detector"] for a in (0.9, 0.5)
    )
    detected, panes = Detection(first), sorted(rising().items())
    detected.read(panes, 0)
    assert detected.watching(first) is False
    assert detected.watching(second) is True
    detected.read(panes, 0)
    wanted = Detection(second)
    wanted.read(panes, 0)
    assert detected.steps == wanted.steps
