"""The commands on real Kafka, as an operator types them: from nothing to an answer in SQL."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from msgspec.structs import replace

from driftline.streams.transport import topics as administration

pytestmark = pytest.mark.kafka


def produce_from_java(kafka: Any, topic: str, lines: list[str]) -> None:
    """Plain JSON by another client: Kafka's own console producer, with a key before each tab."""
    options = ["--property", "parse.key=true", "--property", "key.separator=\t"]
    subprocess.run(
        [kafka.java, "-XX:TieredStopAtLevel=1", "-cp", f"{kafka.libs}/*", "org.apache.kafka.tools.ConsoleProducer",
         "--bootstrap-server", kafka.bootstrap, "--topic", topic, *options],
        input="\n".join(lines) + "\n", text=True, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


def test_plain_json_from_another_client_ends_in_the_tables(site: Any, kafka: Any, until: Any) -> None:
    """Topics, tables, worker, events and answer, each by its command."""
    if kafka.libs is None:
        pytest.skip("the console producer's jars come with the fixture's own broker only")
    made = site.command("topics", "--partitions", "4")
    assert made.returncode == 0, made.stdout + made.stderr
    migrated = site.command("migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert "0001_results" in migrated.stdout
    worker = site.worker()
    ids = [f"java-{i}" for i in range(300)]
    about = [{"id": identity, "model": "soak", "ts": 1_735_689_600_000 + 20 * i} for i, identity in enumerate(ids)]
    predictions = [{**event, "version": "7", "prediction": i % 2, "features": {"x": i / 300}} for i, event in enumerate(about)]
    outcomes = [{**event, "label": i % 3 % 2} for i, event in enumerate(about)]
    produce_from_java(kafka, site.topics.predictions, [f"{event['id']}\t{json.dumps(event)}" for event in predictions])
    produce_from_java(kafka, site.topics.outcomes, [f"{event['id']}\t{json.dumps(event)}" for event in outcomes])
    sql = "SELECT sum(n) AS n, sumMap(confusion) AS confusion FROM performance_panes FINAL WHERE segment = ''"
    until(lambda: site.query("SELECT sum(n_labelled) AS labels FROM performance_panes FINAL")[0]["labels"] == 300)
    answered = site.command("sql", "--json", sql)
    assert json.loads(answered.stdout) == [{"n": 300, "confusion": {"0\x1f0": 100, "0\x1f1": 50, "1\x1f0": 100, "1\x1f1": 50}}]
    assert worker.terminate() == 0
    assert worker.said.splitlines()[-1].endswith("stopped")
    told = site.command("sql", "SELECT DISTINCT verdict FROM v_drift")
    assert "learning" in told.stdout


def test_a_worker_on_wrong_topics_refuses_and_says_what_to_do_about_each(site: Any) -> None:
    names = site.topics
    wrong: dict[str, dict[str, Any]] = {
        names.outcomes: {"partitions": 3},
        names.predictions: {"retention_ms": 60_000},
        names.models: {"cleanup": "delete"},
    }
    table = [replace(topic, **wrong.get(topic.name, {})) for topic in names.table(4) if topic.name != names.alerts]
    administration.create(site.client, table, replication=1)
    refused = site.worker()
    assert refused.end() == 2
    said = refused.said.split("\n  - ")
    problems = {topic: lines for topic, lines in (line.split(": ", 1) for line in said[1:])}
    assert "[wrong_topics]" in said[0]
    assert problems.keys() == {names.alerts, names.outcomes, names.predictions, names.models}
    assert "does not exist" in problems[names.alerts]
    assert "run `driftline topics`" in problems[names.alerts]
    assert "has 3 partitions, and 4 are needed" in problems[names.outcomes]
    assert "delete it and run `driftline topics`" in problems[names.outcomes]
    assert "retention.ms is 60000, and at least 620000 is needed" in problems[names.predictions]
    assert f"--alter --topic {names.predictions} --add-config 'retention.ms=[620000]'" in problems[names.predictions]
    assert f"--alter --topic {names.models} --add-config 'cleanup.policy=[compact]'" in problems[names.models]
    assert "Traceback" not in refused.said


def test_a_worker_on_a_store_without_its_tables_refuses_and_names_the_command(site: Any) -> None:
    site.prepare()
    assert site.command("sql", "DROP TABLE schema_migrations").returncode == 0
    refused = site.worker()
    assert refused.end() == 2
    assert "[store_schema]" in refused.said
    assert "run `driftline migrate`" in refused.said
    assert "Traceback" not in refused.said
