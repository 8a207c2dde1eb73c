"""Four models through the whole pipeline at once, on the embedded broker: every table equals a recount of the raw events.

          0 ──────── 5 ──────── 10 ─────── 15 ─────── 20 ─────── 25 ─────── 30 min    event time; windows of 5 and of 10 minutes
first     │ predictions of all models, two thirds of the labels, and records that nobody can use
second    │ late predictions, labels that were missing, corrected and taken back      │ half a window of new events
"""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from counted import raw
from recount import Key, Recount, add, recount, text

from driftline.local import LocalStack, Record
from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference, decode_entry
from driftline.schemas.topics import Topics

MINUTE = 60_000
BEGIN = 1_735_689_600_000  # 2025-01-01T00:00:00Z
PARTITIONS = 3
SETTINGS: dict[str, Any] = {
    "windows": (Window(5 * MINUTE, 5 * MINUTE), Window(10 * MINUTE, 5 * MINUTE)), "disorder_ms": 5_000, "grace_ms": 40 * MINUTE,
    "horizon_ms": 60 * MINUTE, "max_wait_ms": 1_000, "policy": Policy(min_samples=40), "learn_windows": 2,
}  # fmt: skip
MODELS = {
    model.model: model
    for model in (
        Model("churn", segments=("region",), features={"x": "numeric", "c": "categorical"}, **SETTINGS),
        Model("kind", task="multiclass", features={"x": "numeric"}, **SETTINGS),
        Model("price", task="regression", features={"x": "numeric"}, **SETTINGS),
        Model("young", features={"x": "numeric", "c": "categorical"}, **SETTINGS),
    )
}
VERSIONS = {"churn": ("1", "2"), "kind": ("1",), "price": ("a",), "young": ("1",)}
CLASSES: dict[str, list[Any]] = {"churn": [0, 1], "kind": ["cat", "dog", "bird"], "young": [False, True]}


def numeric(*edges: float) -> NumericProfile:
    return NumericProfile(list(edges), [100] * (len(edges) + 1), 100 * (len(edges) + 1), 0, 0.5, 90.0)


LETTERS = CategoricalProfile(["a", "b"], [200, 150], 50, 400, 0)
REFERENCES = [
    Reference("churn", "1", {"x": numeric(0.0, 0.25, 0.5), "c": LETTERS, "(score)": numeric(0.25, 0.5, 0.75)}, 400),
    Reference("churn", "2", {"x": numeric(0.1, 0.4, 0.9), "c": LETTERS}, 400),
    Reference("kind", "1", {"x": numeric(-1.0, 0.0, 1.0), "(prediction)": CategoricalProfile(["cat", "dog"], [200, 200], 0, 400, 0)}, 400),
    Reference("price", "a", {"x": numeric(0.0, 0.5, 1.0), "(prediction)": numeric(1.0, 2.0, 3.0)}, 400),
]
GOOD = {"id": "bad", "model": "churn", "version": "1", "ts": BEGIN + MINUTE, "prediction": 1, "features": {"x": 0.5}}
BAD_PREDICTIONS = {
    "malformed": b'{"id": "bad", "model": "churn", ',
    "missing_field": json.dumps({name: value for name, value in GOOD.items() if name != "ts"}).encode(),
    "non_finite": json.dumps({**GOOD, "features": {"x": math.nan}}).encode(),
    "wrong_type": json.dumps({**GOOD, "features": "none"}).encode(),
    "unknown_model": json.dumps({**GOOD, "model": "nobody"}).encode(),
}
BAD_OUTCOMES = {
    "malformed": b"churn,bad,1",
    "missing_field": json.dumps({"id": "bad", "model": "churn", "ts": BEGIN}).encode(),
    "non_finite": b'{"id": "bad", "model": "price", "ts": 1735689600000, "label": 1e999}',
    "wrong_type": json.dumps({"id": 7, "model": "churn", "ts": BEGIN, "label": 1}).encode(),
    "unknown_model": json.dumps({"id": "bad", "model": "nobody", "ts": BEGIN, "label": 1}).encode(),
}
BAD = {*BAD_PREDICTIONS.values(), *BAD_OUTCOMES.values()}
Row = dict[str, Any]


@dataclass
class Story:
    """Events in the order they are published."""

    rng: random.Random
    predictions: dict[str, Row] = field(default_factory=dict)
    labelled: set[str] = field(default_factory=set)

    def prediction(self, model: str, ts: int) -> tuple[int, Record]:
        rng = self.rng
        event: Row = {"id": f"{model}-{len(self.predictions)}", "model": model, "version": rng.choice(VERSIONS[model]), "ts": ts}
        event["features"] = {"x": rng.choice([rng.gauss(0.5, 0.4), rng.random(), None]), "c": rng.choice("aabz")}
        if rng.random() < 0.03:
            event["features"]["x"] = "n/a"
        event["prediction"] = rng.gauss(2, 1) if model == "price" else rng.choice(CLASSES[model])
        if model in {"churn", "young"}:
            event["score"] = rng.random()
            event["segments"] = {"region": rng.choice(["eu", "us"])}
        self.predictions[event["id"]] = event
        return ts, Record("predictions", event["id"].encode(), json.dumps(event).encode())

    def outcome(self, identity: str, ts: int, kind: str = "final") -> tuple[int, Record]:
        event, rng = self.predictions[identity], self.rng
        outcome: Row = {"id": identity, "model": event["model"], "ts": ts, "kind": kind}
        if kind != "retraction":
            model = event["model"]
            outcome["label"] = event["prediction"] + rng.gauss(0, 0.3) if model == "price" else rng.choice(CLASSES[model])
        self.labelled.add(identity)
        return ts, Record("outcomes", identity.encode(), json.dumps(outcome).encode())

    def first(self) -> list[Record]:
        """Half an hour of all models, with labels up to two minutes later, and every kind of bad record in its midst."""
        rng = self.rng
        flow = [self.prediction(model, BEGIN + rng.randrange(30 * MINUTE)) for model in MODELS for _ in range(900)]
        flow += [
            self.outcome(identity, event["ts"] + rng.choice([0, 1_000, 20_000, 2 * MINUTE]))
            for identity, event in list(self.predictions.items())
            if rng.random() < 0.66
        ]
        flow += [(BEGIN + 15 * MINUTE, Record("predictions", f"bad-{code}".encode(), value)) for code, value in BAD_PREDICTIONS.items()]
        flow += [(BEGIN + 15 * MINUTE, Record("outcomes", f"bad-{code}".encode(), value)) for code, value in BAD_OUTCOMES.items()]
        return [record for _, record in sorted(flow, key=lambda item: item[0])]

    def second(self) -> list[Record]:
        """Whatever may still happen to windows that were judged."""
        rng, now = self.rng, BEGIN + 33 * MINUTE
        known = [identity for identity in self.predictions if not identity.startswith("bad")]
        unlabelled = [identity for identity in known if identity not in self.labelled]
        flow = [self.outcome(identity, now) for identity in unlabelled[::2]]
        flow += [self.outcome(identity, now, "correction") for identity in rng.sample(sorted(self.labelled), 150)]
        flow += [self.outcome(identity, now, "retraction") for identity in rng.sample(sorted(self.labelled), 150)]
        flow += [self.prediction(model, BEGIN + rng.randrange(30 * MINUTE)) for model in MODELS for _ in range(60)]
        flow += [self.prediction(model, BEGIN + 30 * MINUTE + rng.randrange(4 * MINUTE)) for model in MODELS for _ in range(60)]
        rng.shuffle(flow)
        return [record for _, record in flow]


@dataclass(frozen=True)
class Seen:
    """The tables at one moment, latest revisions only, and the panes counted again from what the topics held then."""

    drift: dict[tuple[Any, ...], Row]
    performance: dict[tuple[Any, ...], Row]
    feature_panes: dict[tuple[Any, ...], Row]
    performance_panes: dict[Key, Row]
    dead_letters: list[Row]
    references: list[Row]
    recounted: dict[Key, Recount]


@dataclass(frozen=True)
class Run:
    first: Seen
    second: Seen
    raw: dict[tuple[str, int], list[bytes | None]]
    topics: Topics
    published: list[Reference]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    story = Story(random.Random(11))
    with LocalStack(MODELS, REFERENCES, partitions=PARTITIONS) as stack:
        seen = []
        for records in (story.first(), story.second()):
            stack.feed(records)
            stack.drain()
            seen.append(look(stack))
        yield Run(seen[0], seen[1], raw_of(stack), stack.topics, entries(stack))


def look(stack: LocalStack) -> Seen:
    def rows(table: str, *key: str, where: str = "true") -> dict[tuple[Any, ...], Row]:
        times = "* REPLACE ({})".format(", ".join(f"toUnixTimestamp64Milli({name}) AS {name}" for name in key if "_" in name))
        found = stack.sink.query(f"SELECT {times} FROM {table} FINAL WHERE {where}").to_pylist()
        return {(row["model"], row["version"], row["segment"], *(row[name] for name in key)): row for row in found}

    values = raw_of(stack)
    panes: dict[Key, Recount] = {}
    for model in MODELS.values():
        for k in range(PARTITIONS):
            add(panes, recount(model, *([None if v in BAD else v for v in values[topic, k]] for topic in ("predictions", "outcomes"))))
    return Seen(
        rows("drift_results", "window_start", "window_end", "feature", "test"),
        rows(
            "performance_results",
            "window_start",
            "window_end",
            "metric",
            where="basis = 'realised' AND metric != 'gap' AND NOT endsWith(segment, '(pooled)')",
        ),
        rows("feature_panes", "pane_start", "feature"),
        rows("performance_panes", "pane_start"),
        stack.sink.query("SELECT * FROM dead_letters FINAL").to_pylist(),
        stack.sink.query("SELECT * FROM `references` FINAL").to_pylist(),
        panes,
    )


def raw_of(stack: LocalStack) -> dict[tuple[str, int], list[bytes | None]]:
    names = {"predictions": stack.topics.predictions, "outcomes": stack.topics.outcomes}
    return {(short, k): raw(stack.kafka, name, k) for short, name in names.items() for k in range(PARTITIONS)}


def entries(stack: LocalStack) -> list[Reference]:
    """What is on the `models` topic."""
    consumer = Consumer({"bootstrap.servers": stack.kafka, "group.id": "look", "enable.auto.commit": False})
    where = TopicPartition(stack.topics.models, 0, 0)
    _, end = consumer.get_watermark_offsets(where, timeout=10)
    consumer.assign([where])
    found = [decode_entry(message.value() or b"") for message in consumer.consume(end, 10.0)]
    consumer.close()
    return [entry for entry in found if isinstance(entry, Reference)]


@pytest.fixture(params=["first", "second"])
def seen(run: Run, request: pytest.FixtureRequest) -> Seen:
    """Before and after the results were revised."""
    found: Seen = getattr(run, request.param)
    return found


def close(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def reference_of(run: Run, model: str, version: str, start: int) -> Reference | None:
    """The reference in force for a pane, by what was published."""
    mine = [r for r in run.published if (r.model, r.version) == (model, version) and r.effective_from <= start]
    return max(mine, key=lambda r: r.effective_from, default=None)


def test_predictions_and_labels_are_counted_bit_for_bit(seen: Seen) -> None:
    assert {key for key, row in seen.performance_panes.items() if row["n"]} == {key for key, pane in seen.recounted.items() if pane.n}
    assert {key[0] for key in seen.recounted} == MODELS.keys()
    for key, pane in seen.recounted.items():
        row = seen.performance_panes[key]
        labels = len(pane.errors) or sum(pane.confusion.values())
        assert (row["n"], row["n_labelled"], sum(row["delays"])) == (pane.n, labels, labels)
        assert dict(row["confusion"]) == {"\x1f".join(pair): n for pair, n in pane.confusion.items()}


def test_errors_of_a_regression_are_summed(seen: Seen) -> None:
    errors = {key: pane.errors for key, pane in seen.recounted.items() if key[0] == "price"}
    assert sum(map(len, errors.values())) > 500
    for key, values in errors.items():
        row = seen.performance_panes[key]
        assert row["error_sum"] == close(math.fsum(values))
        assert row["error_abs_sum"] == close(math.fsum(map(abs, values)))
        assert row["error_sq_sum"] == close(math.fsum(value**2 for value in values))


def test_feature_histograms_are_counted_by_the_reference_in_force(run: Run, seen: Seen) -> None:
    counted = 0
    for key, pane in seen.recounted.items():
        reference = reference_of(run, key[0], key[1], key[3])
        for name, profile in reference.features.items() if reference and pane.n else ():
            row, values = seen.feature_panes[(*key, name)], pane.features[name]
            expected = [0] * (len(profile.counts) + isinstance(profile, CategoricalProfile))
            missing = errors = 0
            for value, n in values.items():
                if value is None:
                    missing += n
                elif isinstance(profile, CategoricalProfile):
                    known = text(value) in profile.categories
                    expected[profile.categories.index(text(value)) if known else -1] += n
                elif isinstance(value, str):
                    errors += n
                else:
                    expected[bisect_right(profile.edges, value)] += n
            assert (row["n"], row["missing"], row["type_errors"]) == (pane.n, missing, errors)
            assert list(row["bins"]) == expected
            counted += 1
    assert counted > 500


def test_moments_of_a_numeric_feature_are_those_of_its_values(seen: Seen) -> None:
    for key, pane in seen.recounted.items():
        row = seen.feature_panes.get((*key, "x"))
        numbers = [value for value, n in pane.features["x"].items() if isinstance(value, float) for _ in range(n)]
        if row is None or not numbers:
            assert not pane.n or (row is not None and row["mean"] is None)
            continue
        mean = math.fsum(numbers) / len(numbers)
        assert (row["minimum"], row["maximum"]) == (min(numbers), max(numbers))
        assert row["mean"] == close(mean)
        assert row["variance"] == close(math.fsum((value - mean) ** 2 for value in numbers) / len(numbers))


def test_windows_of_both_lengths_are_sums_of_their_panes(seen: Seen) -> None:
    lengths: dict[int, int] = defaultdict(int)
    for (model, version, segment, start, end, metric), row in seen.performance.items():
        panes = [p for key, p in seen.recounted.items() if key[:3] == (model, version, segment) and start <= key[3] < end]
        n = sum(pane.n for pane in panes)
        errors = [error for pane in panes for error in pane.errors]
        pairs = [(pair, count) for pane in panes for pair, count in pane.confusion.items()]
        labels = len(errors) + sum(count for _, count in pairs)
        told = {
            "mae": math.fsum(map(abs, errors)) / max(labels, 1),
            "rmse": math.hypot(*errors) / max(labels, 1) ** 0.5,
            "accuracy": sum(count for (said, true), count in pairs if said == true) / max(labels, 1),
        }
        assert (row["n"], row["n_labelled"], row["coverage"]) == (n, labels, close(labels / n))
        if metric in told:
            assert row["value"] == (close(told[metric]) if labels else None)
            lengths[end - start] += 1
    assert lengths.keys() == {5 * MINUTE, 10 * MINUTE}
    assert {key[0] for key in seen.performance} == MODELS.keys()
    assert {key[5] for key in seen.performance if key[0] == "price"} == {"mae", "rmse", "mape", "r2"}


def test_segments_have_results_of_their_own(seen: Seen) -> None:
    assert {key[2] for key in seen.drift if key[0] == "churn"} == {"", "region=eu", "region=us"}
    assert {key[2] for key in seen.drift if key[0] != "churn"} == {""}


def test_what_comes_late_gives_rows_of_a_higher_revision_under_the_same_keys(run: Run) -> None:
    for name in ("performance_panes", "performance"):
        before, after = getattr(run.first, name), getattr(run.second, name)
        assert before.keys() <= after.keys()
        changed = [key for key, row in before.items() if any(row[c] != after[key][c] for c in row if c in {"n", "n_labelled", "value"})]
        assert len(changed) > len(before) / 2
        assert all(after[key]["revision"] > before[key]["revision"] for key in changed)


def test_the_last_word_on_a_label_counts(run: Run) -> None:
    last: dict[str, tuple[int, int, str]] = {}
    for k in range(PARTITIONS):
        for offset, value in enumerate(run.raw["outcomes", k]):
            event = {} if value in BAD else json.loads(value or b"")
            if event:
                last[event["id"]] = max((event["ts"], offset, event["kind"]), last.get(event["id"], (0, 0, "")))
    kinds = Counter(kind for _, _, kind in last.values())
    assert min(kinds["correction"], kinds["retraction"]) > 100
    labels = sum(row["n_labelled"] for key, row in run.second.performance_panes.items() if not key[2])
    assert labels == kinds["final"] + kinds["correction"]


def test_without_a_reference_the_first_windows_are_told_as_learning(run: Run) -> None:
    learning = {key[3] for key, row in run.first.drift.items() if key[0] == "young" and row["verdict"] == "learning"}
    assert learning >= {BEGIN, BEGIN + 5 * MINUTE}
    assert max(learning) < BEGIN + 10 * MINUTE
    assert not any(row["verdict"] == "learning" for key, row in run.first.drift.items() if key[0] != "young")


def test_the_learned_reference_is_published_and_stored(run: Run) -> None:
    (learned,) = [entry for entry in run.published if entry.origin == "learned"]
    assert (learned.model, learned.version, learned.effective_from) == ("young", "1", BEGIN + 10 * MINUTE)
    rows = [pane.n for key, pane in run.first.recounted.items() if key[0] == "young" and key[3] < learned.effective_from]
    assert learned.rows == sum(rows)
    (row,) = [row for row in run.first.references if row["model"] == "young"]
    assert (row["reference"], row["origin"], row["rows"]) == (learned.hash, "learned", learned.rows)
    assert {row["reference"] for row in run.first.references} == {entry.hash for entry in run.published}


def test_later_windows_are_judged_against_the_learned_reference(run: Run) -> None:
    (learned,) = [entry for entry in run.published if entry.origin == "learned"]
    judged = {
        key: row for key, row in run.second.drift.items() if key[0] == "young" and key[3] >= learned.effective_from and key[6] == "psi"
    }
    assert {key[5] for key in judged} >= {"x", "c", "(prediction)", "(score)"}
    assert {row["reference"] for row in judged.values()} == {learned.hash}
    assert {row["n_reference"] for key, row in judged.items() if key[5] == "c"} == {learned.rows}
    assert "learning" not in {row["verdict"] for row in judged.values()}
    assert {row["value"] is not None for key, row in judged.items() if row["n"] and key[5] != "(label)"} == {True}


@pytest.mark.parametrize(("short", "bad"), [("predictions", BAD_PREDICTIONS), ("outcomes", BAD_OUTCOMES)])
def test_bad_records_are_in_the_dead_letters_with_their_code_and_place(run: Run, short: str, bad: dict[str, bytes]) -> None:
    topic = getattr(run.topics, short)
    places = {value: (k, offset) for k in range(PARTITIONS) for offset, value in enumerate(run.raw[short, k]) if value in bad.values()}
    told = {(row["code"], row["topic"], row["partition"], row["offset"]) for row in run.first.dead_letters if row["topic"] == topic}
    assert told == {(code, topic, *places[value]) for code, value in bad.items()}


def test_a_dead_letter_holds_the_record_and_a_sentence_about_it(run: Run) -> None:
    letters = {row["key"]: row for row in run.first.dead_letters if row["topic"] == run.topics.predictions}
    for code, value in BAD_PREDICTIONS.items():
        row = letters[f"bad-{code}"]
        assert (row["value"].encode(), row["value_bytes"]) == (value, len(value))
        assert row["message"]
