"""Tests that need real Kafka, on a machine that cannot run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from driftline.streams.transport.embedded import EmbeddedBroker

ROOT = Path(__file__).parents[1]
ONE = "tests/streams/transport/test_topics.py::test_created_topics_have_no_problem"


def run_one(**environment: str) -> str:
    """What pytest says about one such test where there is no Java."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"CI", "DRIFTLINE_TEST_KAFKA"}}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ONE]
    environment = {**inherited, "DRIFTLINE_JAVA": "/nowhere/java", **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False).stdout


def test_without_java_they_are_skipped_with_one_line_that_says_what_to_install() -> None:
    [line] = [line for line in run_one().splitlines() if line.startswith("SKIPPED")]
    assert "real Kafka: install Java 17 or later" in line
    assert "or set DRIFTLINE_TEST_KAFKA=host:port" in line


def test_in_the_gate_that_skip_is_a_failure() -> None:
    told = run_one(CI="true")
    assert "real Kafka: install Java 17 or later" in told
    assert "1 error" in told


def test_a_running_kafka_is_used_instead(embedded_broker: EmbeddedBroker) -> None:
    told = run_one(DRIFTLINE_TEST_KAFKA=embedded_broker.bootstrap)
    assert "not supported by broker" in told  # the embedded one creates no topics: it was asked
