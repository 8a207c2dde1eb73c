"""`driftline topics`, as an operator calls it."""

from __future__ import annotations

from typing import Protocol

import pytest

from driftline import cli
from driftline.schemas.topics import Topics
from driftline.streams.transport import topics as administration


class Broker(Protocol):
    bootstrap: str


@pytest.fixture
def environment(kafka: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command's environment: real Kafka, and a prefix of its own, which it returns."""
    monkeypatch.setenv("DRIFTLINE_KAFKA", kafka.bootstrap)
    monkeypatch.setenv("DRIFTLINE_PREFIX", prefix)
    return prefix


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["topics", *arguments])
    return int(str(caught.value))


@pytest.mark.kafka
def test_it_creates_then_finds_everything_in_order(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--partitions", "2") == 0
    assert capsys.readouterr().out.count("created") == 12
    assert status("--check") == 0
    assert capsys.readouterr().out.count("in order") == 12


@pytest.mark.kafka
def test_it_creates_as_many_partitions_as_the_predictions_have(environment: str, kafka: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = next(topic for topic in Topics(environment).table(3) if topic.name == f"{environment}.predictions")
    administration.create({"bootstrap.servers": kafka.bootstrap}, [predictions])
    assert status("--retention", "7d") == 0
    counts = {name: count for _, name, count, *_ in map(str.split, capsys.readouterr().out.splitlines())}
    assert counts.pop(f"{environment}.models") == "1"
    assert set(counts.values()) == {"3"}


@pytest.mark.kafka
def test_looking_finds_what_is_missing_and_creates_nothing(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert status("--check") == 1
        assert capsys.readouterr().out.count("does not exist\n  fix: run `driftline topics`") == 12


@pytest.mark.kafka
def test_other_partition_counts_than_asked_for_are_a_problem(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    status("--partitions", "2")
    capsys.readouterr()
    assert status("--partitions", "3") == 1
    assert "has 2 partitions, and 3 are needed" in capsys.readouterr().out
