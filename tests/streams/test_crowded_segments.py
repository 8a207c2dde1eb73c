"""A watched name with thousands of values: how many cells there are, and that they are the same however the events came."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import NumericProfile, Reference
from driftline.schemas.results import Results
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import PaneKey, encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0, PLACES, PARTITIONS = 1_767_571_200_000, 5, 2
MODEL = Model(
    "m", pane_ms=1_000, windows=(Window(4_000, 4_000),), horizon_ms=5_000, disorder_ms=60_000, grace_ms=1_000, segments=("user",),
    segment_values=PLACES, policy=Policy(min_samples=2),
)  # fmt: skip
REFERENCE = Reference("m", "1", {"x": NumericProfile([0.0, 0.5], [0, 10, 10], 20, 0, 0.5, 1.0)}, rows=20)
EVENTS: list[dict[str, Any]] = [
    {
        "id": str(i), "model": "m", "version": "1", "ts": T0 + 5 * i, "prediction": i % 2, "features": {"x": (i % 100) / 100},
        "segments": {"user": f"u{i * i % 997 % 300}"},
    }
    for i in range(4_000)
]  # fmt: skip


def told(seed: int) -> tuple[Results, int]:
    """What all windows say when the events come in an order of their own, and the snapshots that were written of each pane at most."""
    rng = random.Random(seed)
    known = Registry({"m": MODEL})
    known.add(REFERENCE, 0)
    evaluation, messages, most = Evaluation(known, PARTITIONS, {}), [], 0
    for number in range(PARTITIONS):
        stored: dict[PaneKey, bytes] = {}
        partition = Partition(number, known, stored)
        mine = rng.sample(EVENTS[number::PARTITIONS], len(EVENTS) // PARTITIONS)
        for at in range(0, len(mine), 250):
            raw = [(at + i, T0 + 10**9, e["id"].encode(), json.dumps(e).encode(), ()) for i, e in enumerate(mine[at : at + 250])]
            partition.add_predictions(chunk_of("p", number, at, at + len(raw), raw))
            messages += [(encode_key(key, number), snapshot) for key, snapshot in partition.flush().snapshots]
        per_pane = [sum(key.start == start and key.segment != "" for key in stored) for start in {key.start for key in stored}]
        most = max(most, *per_pane)
        messages.append((progress_key(number), encode_progress(partition.progress({"m": True}, True))))
    for message in messages:
        evaluation.take(*message)
    return evaluation.evaluate().results["m"], most


@pytest.fixture(scope="module")
def results() -> tuple[Results, int]:
    return told(0)


def test_a_pane_and_a_window_have_no_more_cells_than_places(results: tuple[Results, int]) -> None:
    said, most = results
    cells: dict[int, set[str]] = {}
    for row in said.drift_results:
        cells.setdefault(row.window_start, set()).update({row.segment} - {""})
    assert most == PLACES
    assert {len(each) for each in cells.values()} == {PLACES}


def test_cells_hold_every_row_of_their_value(results: tuple[Results, int]) -> None:
    rows = [row for row in results[0].drift_results if row.segment.startswith("user=") and row.feature == "x" and row.test == "psi"]
    for row in rows:
        in_window = [e for e in EVENTS if row.window_start <= e["ts"] < row.window_end]
        assert row.n == sum(f"user={e['segments']['user']}" == row.segment for e in in_window)


def test_other_orders_and_partitions_tell_the_same_rows(results: tuple[Results, int]) -> None:
    def counted(said: Results) -> set[tuple[Any, ...]]:
        return {(r.segment, r.window_start, r.feature, r.test, r.value, r.verdict, r.n) for r in said.drift_results} | {
            (r.segment, r.window_start, r.feature, r.check, r.value, r.n) for r in said.quality_results
        }

    assert counted(told(1)[0]) == counted(results[0])


def test_the_share_of_the_rows_that_are_in_no_cell_is_told(results: tuple[Results, int]) -> None:
    said = [row for row in results[0].quality_results if row.check == "without_cell"]
    inside = {row.window_start: 0 for row in said}
    for row in results[0].drift_results:
        if row.segment.startswith("user=") and row.feature == "x" and row.test == "psi":
            inside[row.window_start] += row.n
    assert inside
    assert {row.segment for row in said} == {"user=(rest)"}
    assert all(row.value == pytest.approx(1 - inside[row.window_start] / row.n) and "known_values" in row.reason for row in said)
