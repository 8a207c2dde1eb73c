"""Whatever the contract lets in comes out again as rows that add up: numbers at the limits, odd names, models that share ids."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import MINUTE_MS, Model, Policy, Task, Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import decode_entry, encode_entry
from driftline.schemas.results import Results, decode_results, encode_results
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
NUMBERS = [0.0, -0.0, 5e-324, -2.2e-308, 1e308, -1.7976931348623157e308, 1e154, 1.4e154, 2**53 + 1, -(2**63), 10**30, 1e-300, 0.1, 1e16]
NAMES = ["1", "a/b", 'q"uote', "ünï", "🦜", "a=b", "[]", "%2F", " ", "\\", "'; --", "(score)", "(prediction)", "None"]
TASKS: list[Task] = ["binary", "multiclass", "regression"]
number = st.sampled_from(NUMBERS)
value = st.one_of(number, st.none(), st.booleans(), st.sampled_from(["", "a", "🦜", "1", "NaN", "x" * 4_096]), st.just([1e308]))


def model_of(name: str, task: Task) -> Model:
    return Model(
        name, task, segments=("g", "g=a", "h", "g+h"), windows=(Window(2 * MINUTE_MS, 2 * MINUTE_MS),), horizon_ms=MINUTE_MS, grace_ms=0,
        disorder_ms=0, learn_windows=1, policy=Policy(min_samples=1, min_coverage=0.0),
    )  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> tuple[dict[str, Model], list[dict[str, Any]], list[dict[str, Any]]]:
    """Models whose events share ids, over six minutes."""
    models = {
        name: model_of(name, draw(st.sampled_from(TASKS)))
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
    }
    predictions, outcomes = [], []
    for i in range(draw(st.integers(1, 12))):
        for model in models.values():
            large = st.sampled_from([v for v in NUMBERS if abs(v) <= 1e150])
            answer = large if model.task == "regression" else st.sampled_from(["0", "1", True, 7, "ü"])
            about = {"id": str(i), "model": model.model, "ts": T0 + 30_000 * i}
            features = draw(st.dictionaries(st.sampled_from([*NAMES, "x"]), value, max_size=4))
            groups = draw(st.dictionaries(st.sampled_from(["g", "g=a", "h"]), st.sampled_from(["", "a=b", "b", "ü"])))
            score = draw(st.sampled_from([None, 0.0, 1.0, 5e-324]))
            version = draw(st.sampled_from(NAMES[:3]))
            predictions.append(
                {**about, "version": version, "prediction": draw(answer), "score": score, "features": features, "segments": groups}
            )
            outcomes.append({**about, "label": draw(answer)})
    return models, predictions, outcomes


def chunked(topic: str, of: list[dict[str, Any]]) -> Any:
    rows = [(i, T0 + 10**9, event["id"].encode(), json.dumps(event).encode(), ()) for i, event in enumerate(of)]
    return chunk_of(topic, 0, 0, len(of), rows)


@settings(max_examples=60)
@given(events())
def test_what_is_let_in_comes_out_as_rows_that_add_up(of: tuple[dict[str, Model], list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    models, predictions, outcomes = of
    registry = Registry(models)
    partition, evaluation = Partition(0, registry, {}), Evaluation(registry, 1, {})
    dead = partition.add_predictions(chunked("p", predictions)) + partition.add_outcomes(chunked("o", outcomes))
    assert dead == []
    for key, snapshot in partition.flush().snapshots:
        evaluation.take(encode_key(key, 0), snapshot)
    evaluation.take(progress_key(0), encode_progress(partition.progress(dict.fromkeys(models, True), True)))
    told = evaluation.evaluate()
    for reference in told.learned:
        assert decode_entry(encode_entry(reference)) == reference
    counted: Counter[tuple[str, str, str]] = Counter()
    for results in told.results.values():
        assert decode_results(encode_results(results)) == results
        for row in results.performance_panes:
            counted[row.model, row.version, row.segment] += row.n
            assert row.n_labelled <= len(outcomes)
        assert_finite(results)
    wanted = Counter((p["model"], p["version"], "") for p in predictions)
    assert {key: n for key, n in counted.items() if not key[2]} == wanted
    for (name, version, segment), n in counted.items():
        assert n <= wanted[name, version, ""], segment


def assert_finite(results: Results) -> None:
    """JSON and the store have no NaN and no infinity."""
    for table in (results.drift_results, results.performance_results, results.quality_results, results.feature_panes):
        for row in table:
            for name in row.__struct_fields__:
                figure = getattr(row, name)
                assert not isinstance(figure, float) or math.isfinite(figure), (name, row)
