"""Results are a function of the panes: in whatever order snapshots come, come twice, or evaluate crashes, the tables end alike."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Reference
from driftline.schemas.results import Results
from driftline.streams.evaluation import Evaluated, Evaluation
from driftline.streams.panes import PaneKey, encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
MODEL = Model(
    "m", pane_ms=1_000, windows=(Window(4_000, 4_000), Window(6_000, 2_000)), horizon_ms=5_000, disorder_ms=500, grace_ms=3_000,
    segments=("region",), learn_windows=1, baselines=("training", "trailing:1m"), policy=Policy(min_samples=4, min_coverage=0.3),
)  # fmt: skip
REFERENCE = Reference(
    "m", "1",
    {"x": NumericProfile([0.0, 0.5], [0, 10, 10], 20, 0, 0.5, 1.0), "c": CategoricalProfile(["a"], [20], 0, 20, 0)},
    rows=20, performance=PerformanceProfile(20, {"accuracy": 0.9}),
)  # fmt: skip
PARTITIONS = 2
Message = tuple[bytes, bytes]


def registry(learned: bool) -> Registry:
    known = Registry({"m": MODEL})
    if not learned:
        for version in ("1", "2"):
            known.add(msgspec.structs.replace(REFERENCE, version=version), 0)
    return known


def messages_of(rng: random.Random, number: int, known: Registry, n: int) -> list[Message]:
    """What ingest writes about one source partition: snapshots and progress of several flushes."""
    stored: dict[PaneKey, bytes] = {}
    partition = Partition(number, known, stored)
    messages: list[Message] = []
    now, p, o = T0, 0, 0
    for _ in range(4):
        predictions, outcomes = [], []
        for _ in range(n):
            now += rng.randrange(900)
            again = p > 0 and rng.random() < 0.4  # the other version answers the same id
            identity = f"{number}-{p - again}"
            event: dict[str, Any] = {
                "id": identity, "model": "m", "version": "12"[again], "ts": now - rng.choice([0, 0, 2_000]), "prediction": rng.randrange(2),
                "score": rng.random(), "features": {"x": rng.random(), "c": rng.choice("ab")}, "segments": {"region": rng.choice("ef")},
            }  # fmt: skip
            outcome = {"id": f"{number}-{rng.randrange(p + 1)}", "model": "m", "ts": now + rng.randrange(2_000), "label": rng.randrange(2)}
            predictions.append((p, T0 + 10**9, identity.encode(), json.dumps(event).encode(), ()))
            outcomes.append((o, T0 + 10**9, str(outcome["id"]).encode(), json.dumps(outcome).encode(), ()))
            p, o = p + 1, o + 1
        partition.add_predictions(chunk_of("p", number, p - n, p, predictions))
        partition.add_outcomes(chunk_of("o", number, o - n, o, outcomes))
        messages += [(encode_key(key, number), snapshot) for key, snapshot in partition.flush().snapshots]
        messages.append((progress_key(number), encode_progress(partition.progress({}, False))))
    messages.append((progress_key(number), encode_progress(partition.progress({"m": True}, True))))
    return messages


class Tables:
    """What a replacing store would hold."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], Any] = {}
        self.learned: list[Reference] = []

    def insert(self, results: Results) -> None:
        for table, names in {
            "drift_results": ("version", "segment", "window_start", "window_end", "feature", "test", "baseline"),
            "performance_results": ("version", "segment", "window_start", "window_end", "metric", "basis"),
            "quality_results": ("version", "segment", "window_start", "window_end", "feature", "check"),
            "feature_panes": ("version", "segment", "pane_start", "feature"),
            "comparisons": ("champion", "challenger", "window_start", "window_end"),
            "performance_panes": ("version", "segment", "pane_start"),
        }.items():
            for row in getattr(results, table):
                key = (table, *(getattr(row, name) for name in names))
                if key not in self.rows or row.revision >= self.rows[key].revision:
                    self.rows[key] = row


def counts(tables: Tables) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What must be equal bit for bit: everything but the rows' revision and finality, which tell how much was known."""
    fields = (
        "n", "n_labelled", "missing", "bins", "categories", "confusion", "verdict", "value", "delays", "scores_positive", "champion_alone",
    )  # fmt: skip
    return {key: tuple(getattr(row, name, None) for name in fields) for key, row in tables.rows.items()}


def run(rng: random.Random, messages: list[Message], learned: bool, crashes: bool) -> Tables:
    tables = Tables()
    disk: dict[bytes, bytes] = {}
    known = registry(learned)
    evaluation = Evaluation(known, PARTITIONS, dict(disk))
    queue, unacknowledged = list(messages), []
    while queue:
        for _ in range(rng.randrange(1, 8)):
            if queue:
                unacknowledged.append(queue.pop(0))
                evaluation.take(*unacknowledged[-1])
        early = crashes and bool(queue) and rng.random() < 0.4  # only windows that have just closed: no state, no commit
        out = Evaluated(evaluation.first_rows()) if early else evaluation.evaluate()
        tables.learned += out.learned
        for results in out.results.values():
            tables.insert(results)
        crash = crashes and rng.random() < 0.3
        if early and not crash:
            continue
        if crash and (early or rng.random() < 0.5):  # before the state was written
            queue = unacknowledged + queue
        else:
            disk |= out.state
            for key in out.removed:
                disk.pop(key, None)
            if crash:  # after it was written, before the commit
                queue = unacknowledged + queue
        unacknowledged = []
        if crash:
            survivor = registry(learned)
            for reference in tables.learned:
                survivor.add(reference, 0)
            evaluation = Evaluation(survivor, PARTITIONS, dict(disk))
    for results in evaluation.evaluate().results.values():
        tables.insert(results)
    return tables


def interleaved(rng: random.Random, parts: list[list[Message]]) -> list[Message]:
    """Partitions in any order; within one, order is kept and some messages come again. Each partition's last word comes last: of two
    reports of the same positions nobody can tell which is the newer."""
    left = [list(part) for part in parts]
    out: list[Message] = []
    while any(left):
        part = rng.choice([p for p in left if p])
        out.append(part.pop(0))
        if rng.random() < 0.1:
            out.append(rng.choice(out))
    return out + [part[-1] for part in parts]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 12), learned=st.booleans())
def test_order_repetition_and_crashes_do_not_change_the_tables(seed: int, n: int, learned: bool) -> None:
    rng = random.Random(seed)
    known = registry(learned)
    parts = [messages_of(rng, number, known, n) for number in range(PARTITIONS)]
    in_order = run(random.Random(0), [message for part in parts for message in part], learned, crashes=False)
    stirred = run(rng, interleaved(rng, parts), learned, crashes=True)
    if learned:  # which late event is still in the reference depends on when it is made, so only the panes' counts must agree
        wanted, got = ({k: v for k, v in counts(t).items() if k[0] == "performance_panes"} for t in (in_order, stirred))
        assert got == wanted
    else:
        assert counts(stirred) == counts(in_order)
