"""Which events are kept as they came."""

from __future__ import annotations

import json
from typing import Any

from driftline.schemas.archive import ArchivedOutcome, ArchivedPrediction
from driftline.schemas.config import Model
from driftline.streams.archive import archived
from driftline.streams.transport.chunk import Chunk, chunk_of

T0 = 1_767_571_200_000


def chunk(*events: dict[str, Any] | bytes | None) -> Chunk:
    values = [json.dumps(event).encode() if isinstance(event, dict) else event for event in events]
    return chunk_of("t", 3, 10, 10 + len(values), [(10 + i, T0, b"k", value, ()) for i, value in enumerate(values)])


def prediction(id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"id": id, "model": "m", "version": "1", "ts": T0, "prediction": 1, **fields}


def outcome(id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"id": id, "model": "m", "ts": T0, "label": 1, **fields}


def all_of(name: str) -> Model:
    return Model(name, archive="all")


def test_a_prediction_is_kept_with_all_that_it_says() -> None:
    event = prediction(
        ts="2026-01-05T01:00:00+01:00", prediction=1.0, score=0.25, features={"x": 1.5, "c": "é", "v": [1.0], "n": None},
        segments={"region": "eu"}, role="shadow", latency_ms=3.5, trace="00-1",
    )  # fmt: skip
    ((number, row),) = archived(chunk(event), "predictions", (), all_of)
    features = '{"x":1.5,"c":"é","v":[1.0],"n":null}'
    wanted = ("m", "1", "a", T0, "1", 0.25, features, {"region": "eu"}, "shadow", 3.5, "00-1", 3, 10, 10)
    assert (number, row) == (0, ArchivedPrediction(*wanted))


def test_every_word_on_a_label_is_kept_and_one_taken_back_has_none() -> None:
    events = [
        outcome(kind="provisional"),
        outcome(label="yes"),
        outcome(label=None, kind="retraction"),
        outcome(label=1, kind="retraction"),
    ]
    rows = [row for _, row in archived(chunk(*events), "outcomes", (), all_of)]
    assert [row.label for row in rows if isinstance(row, ArchivedOutcome)] == ["1", "yes", None, None]


def test_dead_letters_and_tombstones_are_not_kept() -> None:
    events = chunk(prediction("a"), None, b"{", prediction("b"), prediction("c"))
    assert [i for i, _ in archived(events, "predictions", {3}, all_of)] == [0, 4]


def test_a_model_that_does_not_ask_for_it_keeps_nothing() -> None:
    assert list(archived(chunk(prediction()), "predictions", (), Model)) == []


def test_a_share_keeps_a_prediction_with_its_outcomes_or_neither() -> None:
    ids = [f"id-{i}" for i in range(2_000)]
    share = lambda name: Model(name, archive=0.1)  # noqa: E731
    predictions = {row.id for _, row in archived(chunk(*map(prediction, ids)), "predictions", (), share)}
    outcomes = {row.id for _, row in archived(chunk(*map(outcome, ids)), "outcomes", (), share)}
    assert predictions == outcomes
    assert 150 < len(predictions) < 250
