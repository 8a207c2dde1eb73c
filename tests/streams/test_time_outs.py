"""Labels that come late or never, through the stream: when a window is judged, what stands for a label, and that a label wins."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.reference import NumericProfile, PerformanceProfile, Reference
from driftline.schemas.results import PerformanceResult
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
MINUTE = 60_000
FRAUD = Model(
    "m", classes=("0", "1"), missing_label="negative", pane_ms=MINUTE, windows=(Window(10 * MINUTE, 10 * MINUTE),), disorder_ms=0,
    horizon_ms=30 * MINUTE, grace_ms=10 * MINUTE, policy=Policy(min_samples=50, min_coverage=0.5),
)  # fmt: skip
Event = dict[str, Any]


class Stream:
    """One partition and its evaluation; `tell` gives the rows of accuracy in the first window so far, the last one last."""

    def __init__(self, model: Model) -> None:
        known = Registry({"m": model})
        x = NumericProfile([0.25, 0.5, 0.75], [500] * 4, 2_000, 0, 0.5, 160.0)
        known.add(Reference("m", "1", {"x": x}, 2_000, PerformanceProfile(2_000, {"accuracy": 0.95})), 0)
        self.partition, self.evaluation = Partition(0, known, {}), Evaluation(known, 1, {})
        self.at = {"p": 0, "o": 0}

    def feed(self, topic: str, events: list[Event]) -> None:
        begin = self.at[topic]
        self.at[topic] += len(events)
        records = [(begin + i, T0 + 10**9, e["id"].encode(), json.dumps(e).encode(), ()) for i, e in enumerate(events)]
        chunk = chunk_of(topic, 0, begin, self.at[topic], records)
        assert not (self.partition.add_predictions if topic == "p" else self.partition.add_outcomes)(chunk)

    def tell(self) -> list[PerformanceResult]:
        for key, snapshot in self.partition.flush().snapshots:
            self.evaluation.take(encode_key(key, 0), snapshot)
        self.evaluation.take(progress_key(0), encode_progress(self.partition.progress({}, False)))
        rows = self.evaluation.evaluate().results["m"].performance_results
        return [row for row in rows if (row.metric, row.basis, row.window_start) == ("accuracy", "realised", T0)]


def said(i: int, minute: float, prediction: int = 0) -> Event:
    ts = T0 + round(minute * MINUTE)
    return {"id": f"id{i}", "model": "m", "version": "1", "ts": ts, "prediction": prediction, "features": {"x": 0.5}}


def told(i: int, minute: float, label: int = 1) -> Event:
    return {"id": f"id{i}", "model": "m", "ts": T0 + round(minute * MINUTE), "label": label}


def begun(model: Model) -> Stream:
    """A hundred answers in the first ten minutes, ten of them said to be fraud; of four frauds it is told soon."""
    stream = Stream(model)
    stream.feed("p", [said(i, i / 10, int(i < 10)) for i in range(100)])
    stream.feed("o", [told(i, 11) for i in range(4)])
    return stream


def test_what_is_never_told_counts_once_its_time_is_over() -> None:
    stream = begun(FRAUD)
    stream.feed("p", [said(1_000, 20)])
    (early,) = stream.tell()
    assert (early.verdict, early.n_labelled, early.n_assumed) == ("insufficient", 4, 0)
    assert "once its horizon has passed" in early.reason
    stream.feed("p", [said(1_001, 51)])  # outcomes are too rare to tell the time
    (late,) = stream.tell()
    assert (late.n, late.n_labelled, late.n_assumed, late.coverage, late.maturity) == (100, 100, 96, 1.0, 1.0)
    assert (late.value, late.verdict) == (0.94, "ok")  # six of ten calls of fraud were wrong


def test_without_such_a_rule_they_do_not_count() -> None:
    stream = begun(msgspec.structs.replace(FRAUD, missing_label="unknown"))
    stream.feed("p", [said(1_001, 51)])
    stream.feed("o", [told(1_001, 51)])
    row = stream.tell()[-1]
    assert (row.n_labelled, row.n_assumed, row.coverage, row.verdict) == (4, 0, 0.04, "insufficient")


def test_a_label_that_comes_after_all_wins() -> None:
    stream = begun(FRAUD)
    stream.feed("p", [said(1_001, 41)])
    stream.tell()
    stream.feed("o", [told(50, 35)])  # a fraud that nobody had called one
    stream.feed("p", [said(1_002, 51)])
    row = stream.tell()[-1]
    assert (row.n_labelled, row.n_assumed, row.value) == (100, 95, 0.93)


def test_a_window_is_judged_when_its_labels_have_ripened_though_none_has_come_since() -> None:
    model = Model(
        "m", classes=("0", "1"), pane_ms=MINUTE, windows=(Window(10 * MINUTE, 10 * MINUTE),), disorder_ms=0, horizon_ms=120 * MINUTE,
        grace_ms=60 * MINUTE, policy=Policy(min_samples=50, min_coverage=0.5, min_maturity=0.8),
    )  # fmt: skip
    stream = Stream(model)
    # Every other label comes at once, the rest after eight minutes; an hour shows it.
    stream.feed("p", [said(i, -60 + i / 20) for i in range(1_400)] + [said(9_997, 10.5)])
    stream.feed("o", [told(i, -60 + i / 20 + (0 if i % 2 else 8), 0) for i in range(1_400) if i % 2 or i < 1_040])
    first = stream.tell()[-1]
    assert (first.verdict, first.maturity is not None and first.maturity < 0.8) == ("insufficient", True)
    assert "expected by now" in first.reason
    stream.feed("o", [told(9_999, 30, 0)])  # time goes on, elsewhere
    stream.feed("p", [said(9_998, 30)])
    second = stream.tell()[-1]
    assert (second.n_labelled, second.verdict) == (first.n_labelled, "ok")
    assert second.maturity is not None
    assert second.maturity >= 0.8
