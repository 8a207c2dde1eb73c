"""Sums of what features do together: the same to the bit however the rows came, and as a recount of the raw events has them."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recount import recount

from driftline.schemas.config import Model
from driftline.schemas.reference import NumericProfile, Profile, Reference
from driftline.streams.joint import WAVES, Plan, Summary, Together, features_in
from driftline.streams.panes import Fence, Pane, PaneKey, decode_pane, encode_pane
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
MODEL = Model("m", pane_ms=60_000, multivariate=True, features={"a": "numeric", "b": "numeric", "c": "categorical", "d": "numeric"})
PROFILES: dict[str, Profile] = {name: NumericProfile([0.0], [5, 5], 10, 0, 3.0, 40.0) for name in ("a", "b", "d")}
REFERENCE = Reference("m", "1", PROFILES, 10)
NUMBERS = st.one_of(st.floats(allow_nan=False), st.floats(-8, 8))


def plan() -> Plan:
    made = Plan.of(PROFILES)
    assert made is not None
    return made


@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_sums_are_the_same_to_the_bit_in_any_order_and_in_any_parts(rows: list[tuple[float, ...]], seed: int) -> None:
    rng, z = np.random.default_rng(seed), np.array(rows)
    parts = np.array_split(rng.permutation(z), rng.integers(1, 6))
    assert np.array_equal(plan().sums(z), sum(plan().sums(part) for part in parts))


def test_sums_tell_means_covariances_and_waves() -> None:
    z = np.random.default_rng(0).normal(size=(5_000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    told = Summary.of(plan().sums(z))
    assert told.n == 5_000
    assert told.mean == pytest.approx(z.mean(0), abs=0.002)
    assert told.covariance == pytest.approx(np.cov(z.T, ddof=0), abs=0.003)
    assert np.linalg.norm(told.waves) <= 2**0.5


def test_the_distance_of_waves_is_the_kernel_s() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4_000, 3)), rng.normal(0.8, 1, size=(4_000, 3))
    apart = Summary.of(plan().sums(x)).waves - Summary.of(plan().sums(y)).waves
    kernel = 2 * (3 / 5) ** 1.5 * (1 - np.exp(-3 * 0.64 / (2 * 5)))  # of two normals, bandwidth the root of 3
    assert float(apart @ apart) == pytest.approx(kernel, rel=0.4)  # 64 waves


@given(st.integers(2, 64))
def test_the_length_of_a_vector_tells_its_features(k: int) -> None:
    assert features_in(1 + k + k * (k + 1) // 2 + WAVES) == k


@given(st.floats(0.001, 2.0))
def test_effects_and_their_inverse_belong_together(effect: float) -> None:
    known = Together(plan().sums(np.random.default_rng(2).normal(size=(500, 3))), plan().names)
    assert known.effects(known.far(effect))[[0, 1, 3]] == pytest.approx([effect] * 3)


def test_fewer_than_two_numeric_features_have_no_plan() -> None:
    constant = NumericProfile([0.0], [0, 9], 9, 0, 1.0, 0.0)
    assert Plan.of({"a": PROFILES["a"], "b": constant, "(score)": PROFILES["a"]}) is None


def test_a_snapshot_keeps_the_sums() -> None:
    pane = Pane("r", np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), joint=np.arange(5))
    assert decode_pane(encode_pane(pane, Fence()))[0].joint.tolist() == [0, 1, 2, 3, 4]


def events(rng: random.Random, n: int) -> list[bytes]:
    """Some features are absent, null, of a wrong type, or far away; some ids come twice."""
    told = []
    for i in range(n):
        values: dict[str, Any] = {"a": rng.gauss(3, 2), "b": rng.choice([1, 2.5, None, "x"]), "c": "red", "d": rng.choice([0.1, 1e300, -7])}
        del values[rng.choice("abcd")]
        told.append({"id": f"id{i % (n - 9)}", "model": "m", "version": "1", "ts": T0 + 500 * i, "prediction": 1, "features": values})
    return [json.dumps(event).encode() for event in told]


@pytest.mark.usefixtures("either_reader")
@settings(max_examples=15)
@given(seed=st.integers(0, 10**9))
def test_panes_hold_what_a_recount_of_the_raw_events_finds(seed: int) -> None:
    rng = random.Random(seed)
    values, known = events(rng, 200), Registry({"m": MODEL})
    records = [(i, T0 + 10**9, json.loads(value)["id"].encode(), value, ()) for i, value in enumerate(values)]
    known.add(REFERENCE, 0)
    stored: dict[PaneKey, bytes] = {}
    partition, at = Partition(0, known, stored), 0
    while at < len(values):
        end = min(at + rng.randrange(1, 60), len(values))
        partition.add_predictions(chunk_of("predictions", 0, at, end, records[at:end]))
        at = end
        if rng.random() < 0.3:
            partition.flush()
    partition.flush()
    mine = plan()
    for key, want in recount(MODEL, values, []).items():
        joint = decode_pane(stored[PaneKey(*key)])[0].joint
        sums = want.joint({name: (3.0, 2.0) for name in PROFILES})
        assert joint[: 1 + 3 + 6].tolist() == sums
        assert np.abs(joint[-WAVES:]).max() <= 4_096 * want.n
    assert len(stored) == 2 and mine.length == 1 + 3 + 6 + WAVES
