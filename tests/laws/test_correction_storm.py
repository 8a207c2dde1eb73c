"""Labels that are corrected over and over leave nothing behind: the tables end as if each had been right from the start."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Reference
from driftline.schemas.results import ComparisonResult
from driftline.streams.answers import Losses
from driftline.streams.detection import Detection, watches
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.stats import PairedTest
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
MINUTE = 60_000
POLICY = Policy(min_samples=20, min_coverage=0.1)
SHAPE: dict[str, Any] = {
    "pane_ms": MINUTE, "windows": (Window(10 * MINUTE, 10 * MINUTE),), "horizon_ms": 60 * MINUTE, "disorder_ms": 0,
    "grace_ms": 60 * MINUTE, "metrics": ("all",), "policy": POLICY, "features": {"x": "numeric"},
}  # fmt: skip
WATCHED: dict[str, Any] = {"detectors": ("adwin", "ddm", "e_detector"), "residual_detectors": ("page_hinkley",)}
CHURN = Model("m", classes=("0", "1"), champion="2", **WATCHED, **SHAPE)
PRICE = Model("m", task="regression", detectors=("adwin",), **SHAPE)
ROWS, PARTITIONS, STORM = 900, 2, 4

Event = dict[str, Any]


def answers(rng: random.Random, model: Model) -> list[Event]:
    """Predictions of version 1, and of version 2 for every other id, which is right more often; over half an hour."""
    told = []
    for i in range(ROWS):
        score = (rng.randrange(256) + 0.5) / 256
        event: Event = {"id": f"id{i}", "model": "m", "ts": T0 + i * 30 * MINUTE // ROWS, "features": {"x": rng.random()}}
        said: Event = {"prediction": int(score > 0.5), "score": score}
        if model.task == "regression":
            said = {"prediction": round(rng.lognormvariate(3, 1), 3)}
        told.append(event | said | {"version": "1"})
        if i % 2:
            told.append(event | said | {"version": "2", "prediction": said["prediction"] if rng.random() < 0.8 else 1})
    return told


def truth(rng: random.Random, model: Model, event: Event) -> float:
    if model.task == "regression":
        return float(round(event["prediction"] * rng.uniform(0.8, 1.3), 3))
    wrong = 0.1 if event["ts"] < T0 + 15 * MINUTE else 0.5
    return float((event["prediction"] + (rng.random() < wrong)) % 2)


def storm(rng: random.Random, model: Model, predictions: list[Event]) -> tuple[list[Event], dict[str, float]]:
    """Each id's outcomes: wrong ones of any size, retractions, and at last what is true; in any order of ids."""
    first = {event["id"]: event for event in reversed(predictions)}
    true = {name: truth(rng, model, event) for name, event in first.items()}
    outcomes = []
    for name, event in first.items():
        for k in range(STORM):
            label = rng.choice([1e12, -1e12, 0.0, 1e-9, 1e150]) if model.task == "regression" else rng.randrange(2)
            kind = rng.choice(["correction", "correction", "retraction"]) if k else "final"
            outcomes.append({"id": name, "model": "m", "ts": event["ts"] + 1_000 * (k + 1), "kind": kind, "label": label})
        outcomes.append({"id": name, "model": "m", "ts": event["ts"] + 1_000 * (STORM + 1), "kind": "correction", "label": true[name]})
    for outcome in outcomes:
        if outcome["kind"] == "retraction":
            del outcome["label"]
    rng.shuffle(outcomes)
    return outcomes, true


def run(rng: random.Random, model: Model, predictions: list[Event], outcomes: list[Event], looks: int) -> dict[tuple[Any, ...], Any]:
    """The rows as a replacing store would hold them, after the events came in `looks` goes with an evaluation after each."""
    known = Registry({"m": model})
    for version in ("1", "2"):
        x = NumericProfile([0.25, 0.5, 0.75], [500] * 4, 2_000, 0, 0.5, 160.0)
        labels = (
            NumericProfile([8.0, 32.0], [500, 900, 600], 2_000, 0, 30.0, 1e6)
            if model.task == "regression"
            else CategoricalProfile(["0", "1"], [900, 1_100], 0, 2_000, 0)
        )
        known.add(Reference("m", version, {"x": x}, 2_000, PerformanceProfile(2_000, {"accuracy": 0.9, "mae": 3.0}), labels=labels), 0)
    parts = [Partition(k, known, {}) for k in range(PARTITIONS)]
    evaluation, rows = Evaluation(known, PARTITIONS, {}), dict[tuple[Any, ...], Any]()
    at = {"p": [0] * PARTITIONS, "o": [0] * PARTITIONS}
    time = {"id": "end", "model": "m", "ts": T0 + 55 * MINUTE}  # lets the watermark pass all windows
    ends: dict[str, Event] = {"p": time | {"version": "1", "prediction": 0, "features": {}}, "o": time | {"label": 0}}

    def feed(topic: str, events: list[Event]) -> None:
        for k, part in enumerate(parts):
            mine = [event for event in events if (hash_of(event["id"]) % PARTITIONS == k or event["id"] == "end")]
            begin = at[topic][k]
            records = [(begin + i, T0 + 10**9, e["id"].encode(), json.dumps(e).encode(), ()) for i, e in enumerate(mine)]
            at[topic][k] += len(mine)
            chunk = chunk_of(topic, k, begin, at[topic][k], records)
            assert not (part.add_predictions if topic == "p" else part.add_outcomes)(chunk)

    for look in range(looks + 1):
        for topic, events in (("p", predictions), ("o", outcomes)):
            feed(topic, events[look * len(events) // looks : (look + 1) * len(events) // looks] if look < looks else [ends[topic]])
        for k, part in enumerate(parts):
            for pane, snapshot in part.flush().snapshots:
                evaluation.take(encode_key(pane, k), snapshot)
            evaluation.take(progress_key(k), encode_progress(part.progress({}, False)))
        out = evaluation.evaluate().results["m"]
        of_detectors = [row for row in out.drift_results if row.feature in {"(error)", "(label)"}]
        told: list[Any] = [*out.performance_results, *of_detectors, *out.comparisons, *out.performance_panes]
        for row in told:
            key = tuple(getattr(row, name, None) for name in KEY)
            if key not in rows or row.revision >= rows[key].revision:
                rows[key] = row
    return rows


KEY = (
    "__class__", "version", "segment", "window_start", "window_end", "pane_start", "metric", "basis", "feature", "test", "champion",
    "challenger",
)  # fmt: skip


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def figures(rows: dict[tuple[Any, ...], Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Everything but how much was known, and how mature a window was, when it was told; panes that a label has left again are empty.

    A comparison sums up all that came before: a window that every label has left again repeats the one before.
    """
    untold = {"revision", "maturity"}
    standings: set[tuple[Any, ...]] = set()
    found = {}
    for key, row in sorted(rows.items(), key=lambda item: getattr(item[1], "window_start", 0)):
        standing = (row.champion, row.challenger, row.n, row.value) if isinstance(row, ComparisonResult) else ()
        if row.n and standing not in standings:
            found[key] = {name: getattr(row, name) for name in row.__struct_fields__ if name not in untold}
        standings |= {standing} if standing else set()
    return found


@pytest.mark.parametrize("model", [CHURN, PRICE], ids=["classes", "numbers"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_corrections_ends_as_if_each_label_had_been_right_at_once(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    predictions = answers(rng, model)
    outcomes, true = storm(rng, model, predictions)
    first = {event["id"]: event["ts"] for event in reversed(predictions)}
    # The label time is that of the first outcome; the last to know it is the end of the storm.
    at_once = [{"id": name, "model": "m", "ts": first[name] + 1_000, "label": label} for name, label in true.items()]
    assert figures(run(rng, model, predictions, outcomes, 7)) == figures(run(rng, model, predictions, at_once, 1))


def test_after_a_storm_the_figures_are_those_of_a_batch() -> None:
    rng = random.Random(5)
    predictions = answers(rng, CHURN)
    outcomes, true = storm(rng, CHURN, predictions)
    rows = run(rng, CHURN, predictions, outcomes, 5)
    start = T0 // (10 * MINUTE) * 10 * MINUTE
    mine = [e for e in predictions if e["version"] == "1" and start <= e["ts"] < start + 10 * MINUTE]
    y, said, score = (np.array([of(e) for e in mine]) for of in (lambda e: true[e["id"]], lambda e: e["prediction"], lambda e: e["score"]))
    told = {row.metric: row.value for key, row in rows.items() if key[1] == "1" and key[3] == start and row_is_realised(row)}
    assert told == pytest.approx(
        told
        | {
            "accuracy": sk.accuracy_score(y, said), "precision": sk.precision_score(y, said), "recall": sk.recall_score(y, said),
            "f1": sk.f1_score(y, said), "mcc": sk.matthews_corrcoef(y, said), "kappa": sk.cohen_kappa_score(y, said),
            "auc": sk.roc_auc_score(y, score), "log_loss": sk.log_loss(y, score), "brier": sk.brier_score_loss(y, score),
            "average_precision": sk.average_precision_score(y, score),
        }
    )  # fmt: skip


def row_is_realised(row: Any) -> bool:
    return getattr(row, "basis", "") == "realised"


def test_after_a_storm_detectors_and_the_comparison_stand_where_a_batch_puts_them() -> None:
    rng = random.Random(6)
    predictions = answers(rng, CHURN)
    outcomes, true = storm(rng, CHURN, predictions)
    rows = run(rng, CHURN, predictions, outcomes, 6)
    second = {e["id"]: e for e in predictions if e["version"] == "2"}
    panes: dict[int, list[float]] = {}
    pairs: dict[int, list[int]] = {}
    for e in predictions:
        if e["version"] == "1":
            pane, loss = (e["ts"] + 1_000) // MINUTE * MINUTE, int(e["prediction"] != true[e["id"]])
            panes.setdefault(pane, []).append(float(loss))
            if e["id"] in second:  # version 2 is the champion
                pairs.setdefault(pane, []).append(int(second[e["id"]]["prediction"] != true[e["id"]]) - loss)
    detection = Detection(watches(CHURN, PerformanceProfile(2_000, {"accuracy": 0.9}))["adwin"])
    detection.read([(start, Losses.of(panes[start])) for start in sorted(panes)], 0)
    found = {key[3] for key, row in rows.items() if key[8:10] == ("(error)", "adwin") and key[1] == "1" and row.verdict == "drift"}
    windows = {key[3] for key in rows if key[8:10] == ("(error)", "adwin")}
    assert found == {start for start in windows if detection.alarm(start, start + 10 * MINUTE)} != set()
    test, state = PairedTest(), PairedTest().start()
    for start in sorted(pairs):
        d = np.array(pairs[start], float)
        state = test.update(state, (len(d), float(d.sum()), float(((d - d.mean()) ** 2).sum())))
    last = max((row for key, row in rows.items() if key[0].__name__ == "ComparisonResult"), key=lambda row: row.window_end)
    wanted = test.compare(state)
    assert (last.champion, last.challenger, last.n, last.verdict) == ("2", "1", wanted.n, wanted.verdict)
    assert (last.value, last.lower, last.upper) == pytest.approx((wanted.value, max(wanted.lower, -1), min(wanted.upper, 1)))
