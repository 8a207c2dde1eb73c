"""Champion against challenger: never wrong more often than it says, however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from driftline.streams.stats import Batch, PairedState, PairedTest


def losses(rng: np.random.Generator, n: int, champion: float, challenger: float) -> NDArray[np.float64]:
    """Differences of two models' errors on the same rows, which often err together."""
    hard = rng.random(n)
    return np.asarray(
        ((hard + rng.uniform(-0.1, 0.1, n)) < champion).astype(float) - ((hard + rng.uniform(-0.1, 0.1, n)) < challenger).astype(float)
    )


@pytest.mark.parametrize("size", [1, 50])
def test_looking_after_every_batch_is_wrong_in_fewer_than_one_in_twenty_runs_when_nobody_is_better(size: int) -> None:
    rng, test, wrong = np.random.default_rng(1), PairedTest(), 0
    for _ in range(100):
        state, differences = test.start(), losses(rng, 2000, 0.3, 0.3)
        for i in range(0, 2000, size):
            state = test.update(state, Batch.of(differences[i : i + size]))
            if test.compare(state).verdict != "undecided":
                wrong += 1
                break
    assert wrong <= 5


@pytest.mark.parametrize(("champion", "challenger", "verdict"), [(0.3, 0.2, "better"), (0.2, 0.3, "worse")])
def test_a_better_model_is_told_from_a_worse_one(champion: float, challenger: float, verdict: str) -> None:
    rng, test = np.random.default_rng(2), PairedTest()
    state, seen = test.start(), 0
    while test.compare(state).verdict == "undecided" and seen < 20_000:
        state, seen = test.update(state, Batch.of(losses(rng, 100, champion, challenger))), seen + 100
    result = test.compare(state)
    assert result.verdict == verdict
    assert result.n < 5_000
    assert result.lower <= champion - challenger <= result.upper


def test_a_difference_within_the_margin_is_no_reason_to_switch() -> None:
    rng = np.random.default_rng(3)
    differences = Batch.of(losses(rng, 50_000, 0.3, 0.25))
    assert PairedTest().compare(PairedTest().update(PairedState(), differences)).verdict == "better"
    generous = PairedTest(margin=0.1)
    assert generous.compare(generous.update(generous.start(), differences)).verdict == "undecided"


def test_losses_of_another_scale_give_the_same_verdict_in_their_own_units() -> None:
    differences = losses(np.random.default_rng(4), 3000, 0.4, 0.2)
    plain, scaled = PairedTest(), PairedTest(scale=50.0)
    one = plain.compare(plain.update(plain.start(), Batch.of(differences)))
    fifty = scaled.compare(scaled.update(scaled.start(), Batch.of(50 * differences)))
    assert (fifty.value, fifty.lower, fifty.upper) == pytest.approx((50 * one.value, 50 * one.lower, 50 * one.upper))


def test_without_pairs_nothing_is_decided_and_the_state_survives_storage() -> None:
    test = PairedTest()
    assert test.compare(test.start()).verdict == "undecided"
    assert math.isinf(test.compare(test.start()).upper)
    state = test.update(test.start(), (3, 1.0, 0.5))
    assert test.update(state, (0, 0.0, 0.0)) == state
    assert PairedState.from_bytes(state.to_bytes()) == state
