"""`driftline generate` publishes the reference, and then the story as a service would."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import confluent_kafka
import msgspec
import pytest

from driftline import cli, registry
from driftline.schemas.reference import Reference
from driftline.schemas.topics import Topics
from driftline.story import story

TOPICS = Topics()


def values(bootstrap: str, topic: str, n: int) -> set[bytes]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex})
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, k, 0) for k in range(4)])
        found: list[confluent_kafka.Message] = []
        while len(found) < n and (batch := consumer.consume(n - len(found), timeout=10)):
            found += batch
        return {message.value() or b"" for message in found}
    finally:
        consumer.close()


def test_what_is_in_kafka_is_the_story(embedded_broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded_broker.create_topics(TOPICS.table(4))
    monkeypatch.setenv("DRIFTLINE_KAFKA", embedded_broker.bootstrap)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["generate", "--rate", "0", "--seed", "3", "--scenario", "concept", "--events", "300"])
    told = story(3, "concept", 300)
    events = list(told.events())
    decode = msgspec.json.decode
    for topic in ("predictions", "outcomes"):
        expected = [event.value for event in events if event.topic == topic]
        found = values(embedded_broker.bootstrap, f"driftline.{topic}", len(expected))
        by_id = {decode(value)["id"]: decode(value) for value in found}
        assert by_id == {decode(value)["id"]: decode(value) | ({} if topic == "predictions" else {"kind": "final"}) for value in expected}
    (reference,) = registry.read({"bootstrap.servers": embedded_broker.bootstrap}, TOPICS.models)
    assert isinstance(reference, Reference)
    assert (reference.model, reference.version, reference.rows) == (told.model.model, told.version, told.training.num_rows)
    assert set(told.model.features) < set(reference.features)


def test_without_a_broker_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DRIFTLINE_KAFKA", raising=False)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["generate"])
    assert "DRIFTLINE_KAFKA" in capsys.readouterr().err
