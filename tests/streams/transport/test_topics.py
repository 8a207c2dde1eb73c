"""The administration of topics, on real Kafka where it matters, on the embedded broker where it does not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import DAY_MS, Topic, Topics
from driftline.streams.transport import topics
from driftline.streams.transport.embedded import EmbeddedBroker


class Broker(Protocol):
    bootstrap: str

    def create_topics(self, table: Sequence[Topic]) -> None: ...


def client(broker: Broker) -> dict[str, Any]:
    return {"bootstrap.servers": broker.bootstrap}


def change(broker: Broker, topic: str, **values: str) -> None:
    entries = [ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient(client(broker))
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    for _ in range(100):  # the answer comes before the broker itself knows
        (described,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        if all(described.result()[entry.name].value == entry.value for entry in entries):
            return
        time.sleep(0.1)
    raise AssertionError(f"the settings of {topic} did not change")


@pytest.mark.kafka
def test_created_topics_have_no_problem(kafka: Broker, prefix: str) -> None:
    names = Topics(prefix)
    made = topics.create(client(kafka), names.table(3))
    assert made == [topic.name for topic in names.table(3)]
    assert topics.check(client(kafka), names) == []
    assert topics.require(client(kafka), names) == 3


@pytest.mark.kafka
def test_creating_again_makes_what_is_missing_only(kafka: Broker, prefix: str) -> None:
    first, *others = Topics(prefix).table(2)
    topics.create(client(kafka), [first])
    assert topics.create(client(kafka), [first, *others]) == [topic.name for topic in others]
    assert topics.create(client(kafka), [first, *others]) == []


@pytest.mark.kafka
def test_each_wrong_setting_is_told_with_its_fix(kafka: Broker, prefix: str) -> None:
    names = Topics(prefix)
    kafka.create_topics(names.table(2))
    change(kafka, names.outcomes, retention_ms=str(DAY_MS), message_timestamp_type="CreateTime")
    change(kafka, names.models, cleanup_policy="delete")
    change(kafka, names.panes, max_message_bytes="1000000")
    told = [(problem.topic, problem.problem.split()[0]) for problem in topics.check(client(kafka), names)]
    assert told == [
        (names.outcomes, "retention.ms"),
        (names.outcomes, "message.timestamp.type"),
        (names.models, "cleanup.policy"),
        (names.panes, "max.message.bytes"),
    ]
    assert "--add-config 'cleanup.policy=[compact]'" in next(p.fix for p in topics.check(client(kafka), names) if p.topic == names.models)


@pytest.mark.kafka
def test_more_than_is_needed_is_no_problem(kafka: Broker, prefix: str) -> None:
    names = Topics(prefix)
    kafka.create_topics(names.table(2))
    change(kafka, names.outcomes, retention_ms="-1", max_message_bytes=str(16 * 1024 * 1024))
    change(kafka, names.panes, cleanup_policy="delete,compact")
    assert topics.check(client(kafka), names, retention_ms=7 * DAY_MS) == []


def test_a_worker_refuses_unequal_partition_counts(embedded_broker: EmbeddedBroker) -> None:
    names = Topics("x")
    for topic in names.table(2):
        embedded_broker.create_topic(topic.name, 3 if topic.name == names.outcomes else topic.partitions)
    with pytest.raises(DriftlineError, match=r"x\.outcomes: has 3 partitions, and 2 are needed"):
        topics.require(client(embedded_broker), names)


def test_the_embedded_broker_passes_the_same_check(embedded_broker: EmbeddedBroker) -> None:
    names = Topics("x")
    embedded_broker.create_topics(names.table(3))
    assert topics.require(client(embedded_broker), names) == 3


def test_every_topic_has_an_id_of_its_own(embedded_broker: EmbeddedBroker) -> None:
    names = Topics("x")
    embedded_broker.create_topics(names.table(1)[:3])
    ids = topics.topic_ids({"bootstrap.servers": embedded_broker.bootstrap}, names)
    assert ids.keys() == {topic.name for topic in names.table(1)[:3]}
    assert len(set(ids.values())) == 3


def test_a_worker_refuses_when_a_topic_is_missing(embedded_broker: EmbeddedBroker) -> None:
    names = Topics("x")
    embedded_broker.create_topics(names.table(2)[:-1])
    with pytest.raises(DriftlineError, match="x-store-changelog: does not exist\n    run `driftline topics`"):
        topics.require(client(embedded_broker), names)


def test_looking_creates_nothing(embedded_broker: EmbeddedBroker) -> None:
    topics.check(client(embedded_broker), Topics("x"))
    assert topics.partitions_of(client(embedded_broker)) == {}


def test_a_broker_that_does_not_answer_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_TIMEOUT_S", 0.5)
    with pytest.raises(DriftlineError, match="Kafka does not answer"):
        topics.partitions_of({"bootstrap.servers": "127.0.0.1:1"})
