"""The documents say what is true: tables match the code, examples run."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
import write_docs
from confluent_kafka import Producer

from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction
from driftline.schemas.results import PerformanceResult
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import Parquet
from driftline.streams.ledger import Event
from driftline.streams.stats import registry
from driftline.streams.transport.embedded import EmbeddedBroker


def text(name: str) -> str:
    return (write_docs.DOCS / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text(name), re.DOTALL)


def run_python(name: str) -> dict[str, Any]:
    """Run a document's Python from top to bottom, examples with their answers compared; returns the names it leaves."""
    scope: dict[str, Any] = {"__name__": "document"}
    for block in blocks(name, "python"):
        if ">>>" not in block:
            exec(compile(block, name, "exec"), scope)
            continue
        runner = doctest.DocTestRunner()
        example = doctest.DocTestParser().get_doctest(block, scope, name, name, 0)
        runner.run(example, clear_globs=False)
        assert not runner.summarize(verbose=False).failed
        scope = example.globs
    return scope


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with ClickHouse.connect(f"chdb://{tmp_path}/store") as opened:
        opened.migrate()
        yield opened


def test_the_tables_are_those_of_the_store_and_the_queries_run(store: ClickHouse) -> None:
    assert text("tables.md") == write_docs.renewed(text("tables.md"), write_docs.table_parts(store)), "run scripts/write_docs.py"
    for query in blocks("tables.md", "sql"):
        store.query(query)


def test_the_events_are_those_of_the_schemas() -> None:
    assert text("events.md") == write_docs.renewed(text("events.md"), write_docs.event_parts()), "run scripts/write_docs.py"


def test_the_events_shown_are_accepted() -> None:
    prediction, outcome = blocks("events.md", "json")[:2]
    assert isinstance(decode_prediction(prediction.encode()), Prediction)
    assert isinstance(decode_outcome(outcome.encode()), Outcome)


def test_the_worked_example_of_the_policy_is_true() -> None:
    run_python("policy.md")


def test_the_example_of_a_comparison_is_true() -> None:
    assert run_python("compare.md")["found"].drifted == ["age"]


def test_the_figures_of_the_drift_page_are_true() -> None:
    run_python("drift.md")


def test_the_test_that_the_drift_page_adds_is_one() -> None:
    (source,) = re.findall(r"```py\n(.*?)```", text("drift.md"), re.DOTALL)
    scope: dict[str, Any] = {"__name__": "kuiper"}
    exec(compile(textwrap.dedent(source), "kuiper.py", "exec"), scope)
    example = doctest.DocTestParser().get_doctest(scope["kuiper"].__doc__, scope, "kuiper", None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0
    added = registry._drawn("kuiper", "order", scope["kuiper"])
    assert added.run([500, 500, 500], [70, 20, 60]).p_value < 0.01 < added.run([500, 500, 500], [52, 50, 48]).p_value


def test_the_examples_of_parquet_files_run(store: ClickHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PerformanceResult(
        "churn", "7", "", 0, 3_600_000, "auc", "realised", 0.6, None, None, 0.8, 4, 3, 0.75, None, 0.7, "worse", "", "ref", "pol", True, 1
    )
    with Parquet(tmp_path / "results") as sink:
        for revision in (1, 2):
            sink.insert("performance_results", [msgspec.structs.replace(row, value=revision / 10, revision=revision)], f"t{revision}")
    monkeypatch.chdir(tmp_path)
    assert run_python("parquet.md")["performance"]["value"].tolist() == [0.2]
    (query,) = blocks("parquet.md", "sql")
    assert [found["value"] for found in store.query(query.replace("results/", f"{tmp_path}/results/", 1)).to_pylist()] == [0.2]


def test_the_receiver_gets_every_request_once_and_skips_what_it_does_not_know(embedded_broker: EmbeddedBroker) -> None:
    topic, (_, request) = Topics().retrain, write_docs.alert_and_request()
    embedded_broker.create_topic(topic, 1)
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap})
    unknown = Event("retrain", "driftline.retrain.trained.v1", "x", request.time_ms, request.payload)
    withdrawn = Event("retrain", "driftline.retrain.withdrawn.v1", "y", request.time_ms, request.payload)
    for event in (request, unknown, request, withdrawn):
        producer.produce(topic, event.value, event.key, headers=dict(event.headers))
    producer.flush(10)
    received = run_python("policy.md")["requests"](embedded_broker.bootstrap)
    assert [next(received), next(received)] == [(request.type, request.payload), (withdrawn.type, request.payload)]
    received.close()


def test_the_architecture_names_every_module_of_the_core_and_no_file_that_is_not_there() -> None:
    root = write_docs.DOCS.parent
    page = (root / "ARCHITECTURE.md").read_text("utf-8")
    for path in re.findall(r"`((?:streams|schemas|sinks|src|docs|tests|scripts)/[\w/.-]*)`", page):
        assert (root / path).exists(), path
    for package in ("schemas", "streams", "streams/agents", "streams/transport"):
        for module in (root / package).glob("[a-z]*.py"):
            assert re.search(rf"`([\w/]*/)?{module.stem}(\.py)?`", page), module


def test_every_guarantee_names_a_test_that_is_there() -> None:
    root = write_docs.DOCS.parent
    rows = re.findall(r"^\| .+ \| .+ \| (.+) \|$", (root / "README.md").read_text("utf-8").partition("## What it guarantees")[2], re.M)
    links = [re.findall(r"\]\((tests/[\w/.]+)\)", row) for row in rows[1:] if "---" not in row]
    assert len(links) >= 15 and all(links)
    assert all((root / path).is_file() for paths in links for path in paths)
