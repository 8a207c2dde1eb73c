"""What a reference's blocks tell of how much it wavers by itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from driftline.schemas.config import Model
from driftline.schemas.reference import Reference, decode_entry, encode_entry
from driftline.streams.calibration import LEAST_BLOCKS, Yardstick
from driftline.streams.profile import reference_from_frame

MODEL = Model("m", features={"x": "numeric", "c": "categorical"})


def rows(n: int, memory: float, seed: int = 0) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).standard_normal(n) * np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], noise))


def reference(n: int = 6_000, memory: float = 0.0, *, ordered: bool = True) -> Reference:
    x = rows(n, memory)
    table = pd.DataFrame({"x": x, "c": np.where(rows(n, memory, 1) > 0.5, "a", "b")})
    return reference_from_frame(table, MODEL, "1", ordered=ordered)


def test_independent_rows_are_worth_one_each() -> None:
    known = Yardstick(reference())
    assert [known.test(name).dispersion for name in ("x", "c")] == pytest.approx([1.0, 1.0], abs=0.4)


def test_rows_that_are_like_their_neighbours_are_worth_less() -> None:
    known = Yardstick(reference(memory=0.8))
    # An AR(1) process with 0.8: the mean of many rows varies as that of a ninth of them; its higher powers less.
    assert 3 < known.test("x").dispersion < 9
    assert known.test("c").dispersion > 3


def test_rows_in_no_order_tell_nothing_of_neighbours() -> None:
    assert Yardstick(reference(memory=0.8, ordered=False)).test("x").dispersion < 1.4


def test_a_column_of_times_brings_the_rows_in_order() -> None:
    x = rows(6_000, 0.8)
    table = pd.DataFrame({"x": x, "c": "a", "at": np.arange(6_000)}).sample(frac=1, random_state=1)
    made = reference_from_frame(table, MODEL, "1", time="at", exclude=["at"])
    assert Yardstick(made).test("x").dispersion > 3


def test_too_short_a_reference_takes_rows_as_independent() -> None:
    made = reference(10 * LEAST_BLOCKS - 1)
    assert made.calibration.blocks == 0
    assert np.array_equal(Yardstick(made).test("x").covariance, np.eye(4))


def test_what_was_learned_travels_with_the_reference_and_judges_alike() -> None:
    made = reference(memory=0.5)
    came = decode_entry(encode_entry(made))
    assert isinstance(came, Reference)
    assert came.hash == made.hash
    window = np.random.default_rng(3).multinomial(300, np.full(len(made.features["x"].counts), 1 / len(made.features["x"].counts)))
    assert Yardstick(came).test("x").p_value(window) == Yardstick(made).test("x").p_value(window)
    assert np.array_equal(Yardstick(came).null.calibrate([0.01, 1e-6]), Yardstick(made).null.calibrate([0.01, 1e-6]))


def test_p_values_are_never_believed_more_than_theory_does() -> None:
    p_values = np.geomspace(1e-12, 1, 50)
    assert (Yardstick(reference(memory=0.5)).null.calibrate(p_values) >= p_values).all()


def test_a_reference_without_calibration_keeps_the_hash_it_had() -> None:
    made = reference(100)
    assert made.hash == Reference(made.model, made.version, made.features, made.rows, made.performance, made.origin).hash
