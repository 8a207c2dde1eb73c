"""The probability of every class: through a partition, its snapshots and the store's tier, to the metrics and the estimates."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from driftline.schemas.config import Model, Policy
from driftline.streams.answers import Answers
from driftline.streams.chances import MARK, Chances
from driftline.streams.cold import ColdRows, NamedRows
from driftline.streams.estimates import Expectation, estimates, performance_profile
from driftline.streams.join import NEVER, Floor
from driftline.streams.layout import Layout
from driftline.streams.panes import Fence, PaneKey, decode_pane, empty_pane, encode_pane
from driftline.streams.partition import Partition
from driftline.streams.performance import METRICS, metrics
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.shard import Shard
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
NAMES = ("a", "b", "c")
MODEL = Model("m", task="multiclass", classes=NAMES, metrics=("all",), horizon_ms=60_000, policy=Policy(min_samples=10))

Event = dict[str, Any]


def drawn(seed: int, n: int, sure: float = 1.0, wrong: float = 0.0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Probabilities in 64ths, which have bins of their own, and labels drawn from them but for a share that is drawn from all."""
    rng = np.random.default_rng(seed)
    raw = np.floor(rng.dirichlet(np.array([2.0, 1.0, 0.7]) / sure, n) * 64)
    raw[np.arange(n), raw.argmax(1)] += 64 - raw.sum(1)
    p = raw / 64
    label = (rng.random(n)[:, None] > p.cumsum(1)).sum(1)
    return p, np.where(rng.random(n) < wrong, rng.integers(0, 3, n), label)


def events(p: np.ndarray[Any, Any], label: np.ndarray[Any, Any]) -> tuple[list[Event], list[Event]]:
    said = [
        {"id": f"id{i}", "model": "m", "version": "1", "ts": T0 + i, "prediction": NAMES[row.argmax()],
         "scores": dict(zip(NAMES, row.tolist(), strict=True))}
        for i, row in enumerate(p)
    ]  # fmt: skip
    return said, [{"id": f"id{i}", "model": "m", "ts": T0 + i + 1, "label": NAMES[k]} for i, k in enumerate(label)]


def chunk(topic: str, records: list[Event], begin: int = 0) -> Any:
    rows = [(begin + k, T0 + 10**9, e["id"].encode(), json.dumps(e).encode(), ()) for k, e in enumerate(records)]
    return chunk_of(topic, 0, begin, begin + len(rows), rows)


def run(predictions: list[Event], outcomes: list[Event], model: Model = MODEL) -> Answers:
    partition = Partition(0, Registry({"m": model}), {})
    assert partition.add_predictions(chunk("p", predictions)) == []
    if outcomes:
        assert partition.add_outcomes(chunk("o", outcomes)) == []
    return decode_pane(dict(partition.flush().snapshots)[PaneKey("m", "1", "", T0)])[0].answers


def content(chances: Chances) -> Any:
    arrays = [{name: counts.tolist() for name, counts in each.items()} for each in (chances.predicted, chances.actual)]
    return arrays, chances.n, chances.sums


def test_the_metrics_of_a_stream_are_those_of_scikit_learn() -> None:
    p, label = drawn(1, 900)
    found = {name: each.value for name, each in metrics(MODEL, run(*events(p, label))).items()}
    said, onehot = p.argmax(1), np.eye(3)[label]
    assert set(METRICS["multiclass"]) <= found.keys()
    # scikit-learn takes a probability of 0 for the smallest above it, and so do we.
    wanted = {
        "accuracy": sk.accuracy_score(label, said), "mcc": sk.matthews_corrcoef(label, said), "kappa": sk.cohen_kappa_score(label, said),
        "log_loss": sk.log_loss(label, p), "brier": np.square(p - onehot).sum(1).mean(),
        "auc_macro": sk.roc_auc_score(label, p, multi_class="ovr", average="macro"),
        "auc_weighted": sk.roc_auc_score(label, p, multi_class="ovr", average="weighted"),
        "average_precision_macro": sk.average_precision_score(onehot, p, average="macro"),
        "average_precision_weighted": sk.average_precision_score(onehot, p, average="weighted"),
        "precision_weighted": sk.precision_score(label, said, average="weighted"), "f1_micro": sk.f1_score(label, said, average="micro"),
        "recall_weighted": sk.recall_score(label, said, average="weighted"), "f1_weighted": sk.f1_score(label, said, average="weighted"),
        "specificity_macro": np.mean([sk.recall_score(label != k, said != k) for k in range(3)]),
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_a_model_whose_file_asks_for_none_of_it_keeps_none() -> None:
    model = Model("m", task="multiclass", classes=NAMES, horizon_ms=60_000)
    answers = run(*events(*drawn(1, 50)), model)
    assert content(answers.chances) == content(Chances())
    assert not any(MARK in key for key in [*answers.confusion, *answers.predicted])


def test_a_correction_leaves_nothing_behind() -> None:
    p, label = drawn(2, 40)
    said, right = events(p, label)
    wrong = [{**each, "label": "a", "ts": each["ts"] - 1} for each in right]
    corrected, at_once = run(said, [*wrong, *right]), run(said, right)
    assert content(corrected.chances) == content(at_once.chances)
    assert corrected.confusion == at_once.confusion


def test_labels_that_come_first_and_panes_that_are_merged_change_nothing() -> None:
    said, told = events(*drawn(3, 60))
    early = Partition(0, Registry({"m": MODEL}), {})
    early.add_outcomes(chunk("o", told))
    early.add_predictions(chunk("p", said))
    whole = decode_pane(dict(early.flush().snapshots)[PaneKey("m", "1", "", T0)])[0].answers
    halves = Answers()
    for part in (slice(0, 25), slice(25, None)):
        halves.add(run(said[part], told[part]))
    assert content(whole.chances) == content(halves.chances) == content(run(said, told).chances)
    assert whole.losses == run(said, told).losses


def test_a_snapshot_keeps_it() -> None:
    pane = empty_pane(None)
    pane.answers = run(*events(*drawn(4, 20)))
    assert content(decode_pane(encode_pane(pane, Fence()))[0].answers.chances) == content(pane.answers.chances)


def test_an_answer_without_probabilities_counts_in_everything_else() -> None:
    said, told = events(*drawn(5, 30))
    for each in said[:10]:
        del each["scores"]
    answers = run(said, told)
    assert (answers.n_labelled, answers.chances.n) == (30, 20)


def test_two_versions_that_answer_the_same_ids_are_compared_by_their_classes() -> None:
    (said, told), partition = events(*drawn(6, 1)), Partition(0, Registry({"m": MODEL}), {})
    other = {**said[0], "version": "2", "scores": {"a": 0.4, "b": 0.3, "c": 0.3}}  # the same class, less surely
    partition.add_predictions(chunk("p", [said[0], other]))
    partition.add_outcomes(chunk("o", told))
    rivals = decode_pane(dict(partition.flush().snapshots)[PaneKey("m", "2", "", T0)])[0].answers.rivals
    assert rivals == {"1": [1, 0, 0]}


def test_what_the_store_gives_back_counts_as_the_models_file_wants_it_now() -> None:
    names = [f'a{MARK}{{"a":1.0}}', "b"]
    zero = np.zeros(2, np.int64)
    ids = zero.astype(np.uint64)
    rows = ColdRows(ids, zero, zero, zero, np.array([0.0, 1.0]), zero, zero, zero - 1, ids)
    said = NamedRows("m", rows, ["1"], [()], names)
    for model, wanted in ((MODEL, names), (Model("m", task="multiclass", classes=NAMES), ["a", "b"])):
        shard = Shard(model, Floor(0, NEVER, 0, NEVER), [(Fence(), Floor(0, NEVER, 0, NEVER))])
        assert [shard.classes.names[int(code)] for code in shard.coded(said).value] == wanted


def test_probabilities_that_nothing_waits_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.streams.shard.MORE_NAMES", 0)
    model = Model("m", task="multiclass", classes=NAMES, metrics=("all",), horizon_ms=60_000, disorder_ms=0, grace_ms=0)
    partition, answers = Partition(0, Registry({"m": model}), {}), Answers()
    said, told = events(*drawn(10, 200))
    for i in range(0, 200, 20):
        later = [{**each, "ts": each["ts"] + i * 60_000} for each in said[i : i + 20]]
        partition.add_predictions(chunk("p", later, i))
        partition.add_outcomes(chunk("o", [{**each, "ts": each["ts"] + i * 60_000} for each in told[i : i + 20]], i))
        for _, snapshot in partition.flush().snapshots:
            answers.add(decode_pane(snapshot)[0].answers)
    assert len(partition._shards["m"].classes) < 150
    assert content(answers.chances) == content(run(said, told).chances)


def frame(p: np.ndarray[Any, Any], label: np.ndarray[Any, Any]) -> pd.DataFrame:
    table = pd.DataFrame(p, columns=[f"p_{name}" for name in NAMES])
    return table.assign(said=np.array(NAMES)[p.argmax(1)], truth=np.array(NAMES)[label])


def test_a_reference_from_a_table_knows_what_the_stream_knows_of_the_same_rows() -> None:
    p, label = drawn(7, 400)
    columns = {name: f"p_{name}" for name in NAMES}
    made = reference_from_frame(frame(p, label), MODEL, "1", prediction="said", scores=columns, label="truth")
    streamed = performance_profile(MODEL, run(*events(p, label)))
    assert (made.performance.chances, made.performance.scored) == (streamed.chances, streamed.scored)
    assert made.performance.metrics == streamed.metrics
    assert set(made.features) == {"(prediction)"}  # events have `scores`, not the feature `(score)`


def test_every_class_is_estimated_without_labels() -> None:
    # Other rows come than those of the reference, and the chance at a score is what it was.
    priced = Model("m", task="multiclass", classes=NAMES, metrics=("all",), values={"a/a": 10.0, "b/a": -5.0})
    columns = {name: f"p_{name}" for name in NAMES}
    made = reference_from_frame(frame(*drawn(8, 20_000, wrong=0.1)), priced, "1", prediction="said", scores=columns, label="truth")
    p, label = drawn(9, 10_000, sure=3.0, wrong=0.1)
    pane = empty_pane(None)
    pane.answers = run(events(p, label)[0], [], priced)
    told = estimates(Expectation(priced, made.performance), pane, Layout(made))
    said = p.argmax(1)
    wanted = {
        "accuracy": sk.accuracy_score(label, said), "auc_macro": sk.roc_auc_score(label, p, multi_class="ovr"),
        "auc_weighted": sk.roc_auc_score(label, p, multi_class="ovr", average="weighted"),
        "precision_macro": sk.precision_score(label, said, average="macro"), "recall_macro": sk.recall_score(label, said, average="macro"),
        "f1_macro": sk.f1_score(label, said, average="macro"),
        "specificity_macro": np.mean([sk.recall_score(label != k, said != k) for k in range(3)]),
    }  # fmt: skip
    assert {name: told[name].value for name in wanted} == pytest.approx(wanted, abs=0.02)
    value = (10 * ((said == 0) & (label == 0)) - 5 * ((said == 1) & (label == 0))).mean()
    assert told["value"].value == pytest.approx(value, abs=0.15)
    assert all(each.lower <= each.value <= each.upper for each in told.values())


def test_nothing_is_estimated_by_probabilities_that_did_not_come() -> None:
    columns = {name: f"p_{name}" for name in NAMES}
    made = reference_from_frame(frame(*drawn(8, 5_000)), MODEL, "1", prediction="said", scores=columns, label="truth")
    said = [{**{k: v for k, v in e.items() if k != "scores"}, "score": max(e["scores"].values())} for e in events(*drawn(9, 2_000))[0]]
    told = {}
    for model in (MODEL, msgspec.structs.replace(MODEL, metrics=())):
        pane = empty_pane(None)
        pane.answers = run(said, [], model)
        told[model.metrics] = estimates(Expectation(model, made.performance), pane, Layout(made))
    assert told["all",] == told[()] and told[()]["recall_macro"].value > 0.5
