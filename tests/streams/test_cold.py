"""Which ids may be in the store: no id that is there is ever missed, and few others are asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.cold import ColdIds

#: Keys that meet in one place, with the same bits kept of them or others.
crowded = st.sampled_from([(bits << 48) + (n << 24) + slot for bits in (0, 1, 2) for n in range(8) for slot in (0, 4_095)])
keys = st.lists(st.one_of(st.integers(0, 2**64 - 1), crowded), max_size=60)
batches = st.lists(st.tuples(keys, st.integers(0, 5_000)), max_size=8)


@given(batches)
def test_every_id_that_was_added_may_be_there(batches: list[tuple[list[int], int]]) -> None:
    ids = ColdIds(1_000)
    for batch, ts in batches:
        ids.add(np.array(batch, np.uint64), np.full(len(batch), ts))
    assert ids.maybe(np.array([key for batch, _ in batches for key in batch], np.uint64)).all()


@given(batches, st.integers(0, 6_000))
def test_ids_are_forgotten_with_their_time_and_not_before(batches: list[tuple[list[int], int]], before: int) -> None:
    ids = ColdIds(1_000)
    for batch, ts in batches:
        ids.add(np.array(batch, np.uint64), np.full(len(batch), ts))
    told = ids.forget(before)
    assert told == sorted(
        {(ts // 1_000 * 1_000, ts // 1_000 * 1_000 + 1_000) for batch, ts in batches if batch and ts // 1_000 < before // 1_000}
    )
    assert ids.maybe(np.array([key for batch, ts in batches for key in batch if ts // 1_000 >= before // 1_000], np.uint64)).all()
    assert bool(ids) == any(batch and ts // 1_000 >= before // 1_000 for batch, ts in batches)


def test_of_ids_that_were_not_added_few_are_asked_for_and_an_id_takes_few_bytes() -> None:
    rng = np.random.default_rng(0)
    ids = ColdIds(1_000)
    for _ in range(20):
        ids.add(rng.integers(0, 2**64, 10_000, dtype=np.uint64), np.zeros(10_000, np.int64))
    assert ids.maybe(rng.integers(0, 2**64, 200_000, dtype=np.uint64)).mean() < 1e-3
    assert ids.nbytes < 8 * ids.size
