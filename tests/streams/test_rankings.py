"""Rankings: lists of items, and which of them turned out relevant."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from driftline.schemas.config import Model, Policy
from driftline.schemas.events import decode_outcome, decode_prediction
from driftline.schemas.reference import PerformanceProfile
from driftline.streams.answers import RANKS, Answers, Losses
from driftline.streams.batch import Codes
from driftline.streams.onset import onset_of_loss
from driftline.streams.panes import Fence, PaneKey, decode_pane, empty_pane, encode_pane
from driftline.streams.partition import Partition
from driftline.streams.performance import metrics
from driftline.streams.profile import fold_answers, reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
MODEL = Model("m", task="ranking", top=5, horizon_ms=60_000, policy=Policy(min_samples=10))
ITEMS = [f"item{i}" for i in range(20)]

Event = dict[str, Any]


def prediction(i: int, items: Any) -> Event:
    return {"id": f"id{i}", "model": "m", "version": "1", "ts": T0 + i, "prediction": items}


def outcome(i: int, label: Any, after: int = 0) -> Event:
    return {"id": f"id{i}", "model": "m", "ts": T0 + i + after, "label": label}


def chunk(topic: str, events: list[Event], begin: int = 0) -> Any:
    records = [(begin + k, T0 + 10**9, e["id"].encode(), json.dumps(e).encode(), ()) for k, e in enumerate(events)]
    return chunk_of(topic, 0, begin, begin + len(events), records)


def run(predictions: list[Event], outcomes: list[Event], model: Model = MODEL) -> Answers:
    """The answers of the one pane that all events lie in."""
    partition = Partition(0, Registry({"m": model}), {})
    assert partition.add_predictions(chunk("p", predictions)) == []
    assert partition.add_outcomes(chunk("o", outcomes)) == []
    panes = dict(partition.flush().snapshots)
    return decode_pane(panes[PaneKey("m", "1", "", T0)])[0].answers


def test_the_figures_of_a_stream_are_those_of_scikit_learn_and_the_textbook() -> None:
    rng = random.Random(1)
    said = [rng.sample(ITEMS, 10) for _ in range(200)]
    told = [{item: float(rng.randrange(1, 4)) for item in rng.sample(ITEMS, 4)} for _ in said]
    answers = run([prediction(i, items) for i, items in enumerate(said)], [outcome(i, label) for i, label in enumerate(told)])
    found = {name: each.value for name, each in metrics(MODEL, answers).items()}
    gains = np.array([[label.get(item, 0.0) for item in ITEMS] for label in told])
    ranks = np.array([[100.0 - items.index(item) if item in items else -ITEMS.index(item) for item in ITEMS] for items in said])
    first = [next((rank for rank, item in enumerate(items[:5], 1) if item in label), 0) for items, label in zip(said, told, strict=True)]
    assert found.keys() == set(RANKS)
    assert found["ndcg"] == pytest.approx(ndcg_score(gains, ranks, k=5))
    assert found["mrr"] == pytest.approx(np.mean([1 / rank if rank else 0.0 for rank in first]))
    assert found["hit_rate"] == pytest.approx(np.mean([rank > 0 for rank in first]))


def test_what_is_relevant_is_a_list_or_weights_or_the_one_item_that_was_taken() -> None:
    said = [prediction(i, ["a", "b", "c"]) for i in range(3)]
    answers = run(said, [outcome(0, ["b"]), outcome(1, {"b": 1.0}), outcome(2, "b")])
    assert answers.ranked("mrr") == (3, 1.5, 0.75)


def test_a_ranking_of_which_nothing_is_relevant_does_not_count() -> None:
    answers = run([prediction(i, ["a"]) for i in range(2)], [outcome(0, []) | {"label": {}}, outcome(1, ["a"])])
    assert (answers.n_labelled, answers.ranked("ndcg"), answers.losses.n) == (2, (1, 1.0, 1.0), 1)


def test_a_correction_leaves_nothing_behind() -> None:
    said = [prediction(i, ["a", "b", "c"]) for i in range(9)]
    wrong, right = ([outcome(i, [item], after) for i in range(9)] for item, after in (("c", 1), ("b", 2)))
    first = [outcome(i, ["b"], 1) for i in range(9)]
    corrected, at_once = run(said, [*wrong, *right]), run(said, first)
    assert (corrected.ranks, corrected.losses) == (at_once.ranks, at_once.losses)


def test_the_loss_that_detectors_read_is_what_the_ranking_lacks() -> None:
    losses = run([prediction(0, ["a", "b"]), prediction(1, ["a", "b"])], [outcome(0, ["a"]), outcome(1, ["x"])]).losses
    assert losses.batch() == Losses.of([0.0, 1.0]).batch()


def test_two_versions_that_rank_the_same_ids_are_compared() -> None:
    said = [prediction(0, ["a", "b"]), prediction(0, ["b", "a"]) | {"version": "2"}]
    partition = Partition(0, Registry({"m": Model("m", task="ranking")}), {})
    partition.add_predictions(chunk("p", said))
    partition.add_outcomes(chunk("o", [outcome(0, ["b"])]))
    panes = dict(partition.flush().snapshots)
    assert decode_pane(panes[PaneKey("m", "2", "", T0)])[0].answers.rivals == {"1": [1, 1, 0]}


def test_a_snapshot_keeps_the_sums() -> None:
    answers = run([prediction(0, ["a", "b"])], [outcome(0, ["b"])])
    pane = empty_pane(None)
    pane.answers = answers
    assert decode_pane(encode_pane(pane, Fence()))[0].answers.ranks == answers.ranks


@pytest.mark.parametrize(
    ("task", "answer"), [("binary", ["a"]), ("ranking", 3), ("ranking", True), ("ranking", ["a", "a"]), ("regression", ["a"])]
)
def test_an_answer_that_does_not_fit_the_task_is_a_dead_letter(task: Any, answer: Any) -> None:
    partition = Partition(0, Registry({"m": Model("m", task=task)}), {})
    (letter,) = partition.add_predictions(chunk("p", [prediction(0, answer)]))
    assert letter.why.code == "task_mismatch"


def test_a_relevance_below_nought_is_a_dead_letter() -> None:
    (letter,) = Partition(0, Registry({"m": MODEL}), {}).add_outcomes(chunk("o", [outcome(0, {"a": -1.0})]))
    assert letter.why.code == "task_mismatch"


def test_events_carry_lists_of_items() -> None:
    event = decode_prediction(json.dumps(prediction(0, ["a", "b"])).encode())
    assert getattr(event, "top", None) == "a"
    assert getattr(decode_outcome(json.dumps(outcome(0, {"a": 2})).encode()), "label", None) == {"a": 2.0}
    control = decode_prediction(json.dumps(prediction(0, ["a\x01"])).encode())
    assert getattr(control, "code", None) == "bad_name"


def test_codes_that_are_not_used_any_more_are_given_to_other_names() -> None:
    codes = Codes()
    first = codes.of("abcd").tolist()
    codes.keep([first[1]])
    again = codes.of("befg").tolist()
    assert (len(codes), [codes.names[code] for code in again]) == (4, list("befg"))
    assert again[0] == first[1]


def test_rankings_are_forgotten_with_the_ids_they_belong_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.streams.shard.MORE_NAMES", 0)
    model = Model("m", task="ranking", horizon_ms=60_000, disorder_ms=0, grace_ms=0)
    partition = Partition(0, Registry({"m": model}), {})
    kept: dict[PaneKey, bytes] = {}
    for k in range(20):  # ten minutes each
        said = [prediction(i + 50 * k, [f"a{i + 50 * k}", "b"]) | {"ts": T0 + 600_000 * k} for i in range(50)]
        partition.add_predictions(chunk("p", said, 50 * k))
        told = [outcome(i + 50 * k, [f"a{i + 50 * k}" if i % 2 else "b"]) | {"ts": T0 + 600_000 * k + 1} for i in range(50)]
        partition.add_outcomes(chunk("o", told, 50 * k))
        kept |= dict(partition.flush().snapshots)
    assert {decode_pane(snapshot)[0].answers.ranked("mrr") for snapshot in kept.values()} == {(50, 37.5, 31.25)}
    assert len(partition._shards["m"].classes.names) < 600  # of some 1 500


def test_a_reference_knows_how_well_a_table_of_rankings_was_ordered() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "said": [["a", "b"], ["b", "a"]], "taken": [["b"], ["b"]]})
    made = reference_from_frame(frame, MODEL, "1", prediction="said", label="taken")
    assert made.performance.metrics["mrr"] == 0.75
    assert getattr(made.features["(prediction)"], "categories", None) == ["a", "b"]


def test_when_rankings_became_worse_is_told() -> None:
    panes = []
    for start in range(8):
        pane = empty_pane(None)
        frame = pd.DataFrame({"said": [["a", "b"]] * 100, "taken": [["a"] if start < 4 else ["b"]] * 100})
        fold_answers(pane, frame["said"], None, frame["taken"], MODEL)
        panes.append((start, pane))
    assert onset_of_loss(panes, PerformanceProfile()) == 4
