"""What every sequential detector keeps to; a detector that is added to `DETECTORS` is tested here without another line."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.stats import DETECTORS, Batch, Detector, EDetector, Signal

every_detector = pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS.keys())
errors = st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=60).map(
    lambda rows: [binary(n, round(n * rate)) for n, rate in rows]
)


def binary(n: int, ones: int) -> Batch:
    return Batch(n, float(ones), ones * (1 - ones / n))


def run(detector: Detector[Any], batches: list[Batch], state: Any = None) -> tuple[Any, list[tuple[int, Signal]]]:
    state, found = detector.start() if state is None else state, []
    for i, batch in enumerate(batches):
        state, signal = detector.update(state, batch)
        if signal is not None:
            found.append((i, signal))
    return state, found


def change(old: float, new: float, size: int, before: int = 4000, after: int = 2000, seed: int = 1) -> list[Batch]:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.random(before) < old, rng.random(after) < new]).astype(float)
    return [Batch.of(values[i : i + size]) for i in range(0, len(values), size)]


@every_detector
def test_a_configuration_cannot_be_changed_and_is_equal_to_its_like(detector: Detector[Any]) -> None:
    name = fields(detector)[0].name  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        setattr(detector, name, 1)
    assert copy.deepcopy(detector) == detector
    assert hash(copy.deepcopy(detector)) == hash(detector)


@every_detector
@settings(max_examples=20)
@given(batches=errors)
def test_update_leaves_the_state_it_was_given_as_it_was(detector: Detector[Any], batches: list[Batch]) -> None:
    state = detector.start()
    for batch in batches:
        before = state.to_bytes()
        after, signal = detector.update(state, batch)
        assert state.to_bytes() == before
        assert (after, signal) == detector.update(state, batch)
        state = after


@every_detector
@settings(max_examples=20)
@given(batches=errors, cut=st.integers(0, 60))
def test_a_state_that_was_stored_goes_on_as_if_it_had_not_been(detector: Detector[Any], batches: list[Batch], cut: int) -> None:
    state, _ = run(detector, batches[:cut])
    restored = type(state).from_bytes(state.to_bytes())
    assert restored == state
    assert run(detector, batches[cut:], restored) == run(detector, batches[cut:], state)


@every_detector
def test_a_batch_without_values_changes_nothing(detector: Detector[Any]) -> None:
    state, _ = run(detector, change(0.2, 0.2, 10, 300, 0))
    assert detector.update(state, Batch(0, 0.0, 0.0)) == (state, None)


@every_detector
@pytest.mark.parametrize("level", [0.0, 0.1])
@pytest.mark.parametrize("size", [1, 25])
def test_a_constant_stream_never_signals(detector: Detector[Any], level: float, size: int) -> None:
    assert run(detector, [Batch(size, level * size, 0.0)] * 1500)[1] == []


@every_detector
@pytest.mark.parametrize("size", [20, 200])
def test_errors_that_rise_fivefold_are_found_soon_in_panes_of_any_size(detector: Detector[Any], size: int) -> None:
    _, found = run(detector, change(0.1, 0.5, size, 200 * size, 100 * size))
    in_time = [signal for i, signal in found if 200 <= i < 260]
    assert in_time, found
    assert in_time[0].direction == "up"
    assert in_time[0].mean_before < in_time[0].mean_after
    assert min(in_time[0].n_before, in_time[0].n_after) > 0


@every_detector
@settings(max_examples=15)
@given(batches=errors)
def test_a_signal_tells_means_that_differ_in_its_direction(detector: Detector[Any], batches: list[Batch]) -> None:
    for _, signal in run(detector, [*batches * 5, *[binary(10, 9)] * 60])[1]:
        assert (signal.mean_after > signal.mean_before) == (signal.direction == "up")
        assert signal.n_after > 0


@every_detector
def test_panes_give_no_more_false_alarms_than_single_values(detector: Detector[Any]) -> None:
    def alarms(size: int) -> int:
        return sum(len(run(detector, change(0.1, 0.1, size, 2000, 0, seed))[1]) for seed in range(4))

    assert alarms(50) <= alarms(1) + 3


@pytest.mark.parametrize("name", ["adwin", "bocpd", "e_detector", "hddm_a", "hddm_w", "cusum", "page_hinkley"])
def test_a_steady_error_rate_raises_hardly_any_alarm(name: str) -> None:
    assert sum(len(run(DETECTORS[name], change(0.1, 0.1, 25, 10_000, 0, seed))[1]) for seed in range(10)) <= 3


def test_the_e_detector_keeps_its_average_run_length_at_the_baseline_itself() -> None:
    watch, runs = EDetector(baseline=0.2, average_run_length=500), []
    for seed in range(40):
        _, found = run(watch, change(0.2, 0.2, 5, 3000, 0, seed))
        runs.append(5 * (found[0][0] + 1) if found else 3000)
    assert np.mean(runs) >= 500
