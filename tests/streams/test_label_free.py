"""A model whose file says `labels = false`: it has no labels to wait for, so it forgets, and its windows become final."""

from __future__ import annotations

import json

from driftline.schemas.config import MINUTE_MS, Model
from driftline.schemas.progress import Progress, decode_marker
from driftline.streams.panes import PaneKey
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, chunk_of
from driftline.streams.watermark import watermark

T0 = 1_767_571_200_000
MODEL = Model("m", labels=False, horizon_ms=MINUTE_MS, grace_ms=0, disorder_ms=0)


def predictions(first: int, n: int) -> Chunk:
    """One prediction a second."""
    rows = []
    for i in range(first, first + n):
        name = f"id-{i}"
        event = {"id": name, "model": "m", "version": "1", "ts": T0 + 1000 * i, "prediction": 1}
        rows.append((i, T0 + 10**9, name.encode(), json.dumps(event).encode(), ()))
    return chunk_of("predictions", 0, first, first + n, rows)


def outcome() -> Chunk:
    event = {"id": "id-1", "model": "m", "ts": T0, "label": 1}
    return chunk_of("outcomes", 0, 0, 1, [(0, T0 + 10**9, b"id-1", json.dumps(event).encode(), ())])


def partition() -> tuple[Partition, dict[PaneKey, bytes]]:
    stored: dict[PaneKey, bytes] = {}
    return Partition(0, Registry({"m": MODEL}), stored), stored


def test_panes_and_rows_are_forgotten_when_predictions_have_passed_them() -> None:
    part, stored = partition()
    for first in range(0, 6_000, 1_000):
        part.add_predictions(predictions(first, 1_000))
        part.flush()
    assert len(stored) < 5
    assert len(part._shards["m"].join) < 2_000


def test_a_restart_reads_no_outcomes_again_and_only_the_last_predictions() -> None:
    part, stored = partition()
    for first in range(0, 6_000, 1_000):
        part.add_predictions(predictions(first, 1_000))
    marker = decode_marker(part.flush().marker)
    again = Partition(0, Registry({"m": MODEL}), dict(stored), marker)
    assert again.positions.outcomes == 0  # the topic has none
    assert again.positions.predictions >= 4_000


def test_its_outcomes_are_dead_letters() -> None:
    part, _ = partition()
    (letter,) = part.add_outcomes(outcome())
    assert letter.why.code == "task_mismatch"
    assert "labels = false" in letter.why.message


def test_its_windows_become_final_by_the_predictions_alone() -> None:
    part, _ = partition()
    part.add_predictions(predictions(0, 600))
    told: Progress = part.progress({}, True)
    assert watermark(MODEL, {0: told}, 1).final(MODEL) > T0 + 8 * MINUTE_MS


def test_labels_can_be_switched_on_later() -> None:
    part, stored = partition()
    part.add_predictions(predictions(0, 10))
    marker = decode_marker(part.flush().marker)
    later = Partition(0, Registry({"m": Model("m", horizon_ms=MINUTE_MS)}), dict(stored), marker)
    later.add_predictions(predictions(later.positions.predictions, 10 - later.positions.predictions))
    assert later.add_outcomes(outcome()) == []
    assert later.counters["outcomes"] == 1
