"""The figures in the documents are those that the benchmarks wrote, and the benchmarks' events are what they say."""

from __future__ import annotations

import doctest
import importlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import results
import scale
import stages
import workload
import write_docs
from workload import Shape, Source

from driftline.schemas.errors import Rejected
from driftline.schemas.events import decode_outcome, decode_prediction
from driftline.streams.arrow import Rows, read
from driftline.streams.columns import joined, partitions_of
from driftline.streams.transport.chunk import chunk_of

README = Path(__file__).parents[1] / "README.md"


def test_the_table_in_the_readme_is_the_one_that_was_measured() -> None:
    text = README.read_text("utf-8")
    assert text == write_docs.renewed(text, results.parts(results.load(results.HERE / "monitor-25.json"))), "run make bench"


def test_the_stages_in_the_document_are_those_that_were_measured() -> None:
    text = (write_docs.DOCS / "budgets.md").read_text("utf-8")
    assert text == write_docs.renewed(text, {"stages": stages.table(results.load(results.HERE / "stages.json"))}), "run make bench-profile"


@pytest.mark.parametrize("name", ["results", "scale", "stages", "waiting"])
def test_the_examples_of_the_benchmarks_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_a_figure_that_was_not_measured_is_not_in_the_table() -> None:
    assert "Arrow" not in results.table({"json": {"predictions_per_core_second": 1.0}})


def test_the_report_on_scale_tells_how_the_cost_of_a_prediction_grows() -> None:
    rows = {
        str(n): {"size": n, "cpu_microseconds_per_prediction": cost, "peak_rss_bytes": 2**20, "predictions": 10_000}
        for n, cost in ((1, 4), (100, 40))
    }
    text = scale.report({"machine": results.load(results.HERE / "monitor-25.json")["machine"], "models": rows})
    assert "| 100 | 40.0 | 10.00 | 1 MiB | 10 000 |" in text and "power of 0.50" in text


@pytest.mark.parametrize("case", [case for series in scale.SERIES.values() for case in series], ids=lambda case: f"{case.name}")
def test_every_case_of_scale_is_made_of_whole_blocks_and_has_two_windows_and_more(case: scale.Case) -> None:
    for sized in (case, scale.smaller(case)):
        assert sized.shape.events % sized.shape.block == 0
    assert case.shape.events >= 2 * case.shape.window * case.shape.models


def test_every_event_of_the_workload_is_one_that_driftline_takes() -> None:
    records = [*(source := Source(Shape(labelled=0.9, late=0.5))).records(10_000), *source.last_labels()]
    judge = {"predictions": decode_prediction, "outcomes": decode_outcome}
    assert not [record for record in records if isinstance(judge[record.topic](record.value), Rejected)]


def test_every_batch_of_the_workload_is_one_that_driftline_takes_where_it_is_sent() -> None:
    shape = Shape(models=2)
    for record in (*(source := Source(shape, "arrow")).records(10_000), *source.last_labels()):
        [(_, rows)] = read(chunk_of("t", 0, 0, 1, [(0, 0, None, record.value, ())]), [0], record.topic)
        assert isinstance(rows, Rows) and not rows.verdicts()
        ids = list(map(str, pa.ipc.open_stream(record.value).read_all()["id"].to_pylist()))
        assert set((partitions_of(*joined(ids)) % shape.partitions).tolist()) == {record.partition}


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_the_workload_counts_what_it_makes(form: workload.Format) -> None:
    source = Source(Shape(models=2, window=5_000), form)
    made = Counter(record.topic for record in (*source.records(20_000), *source.last_labels()))
    assert sum(window["n"] for window in source.expected.values()) == 20_000
    assert sum(window["labelled"] for window in source.expected.values()) == source.labels
    assert form == "arrow" or made == {"predictions": 20_000, "outcomes": source.labels}


def test_labels_come_after_their_predictions_and_in_order_but_for_the_late_ones() -> None:
    source = Source(Shape())
    records = [*source.records(20_000), *source.last_labels()]
    ts = {topic: [json.loads(r.value)["ts"] for r in records if r.topic == topic] for topic in ("predictions", "outcomes")}
    assert all(np.diff(column).min() >= 0 for column in ts.values())


def test_the_same_seed_makes_the_same_events() -> None:
    assert list(Source(Shape()).records(10_000)) == list(Source(Shape()).records(10_000))
