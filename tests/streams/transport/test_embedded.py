"""The embedded broker, spoken to by the real client."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker

PRODUCE = 0


def produced(broker: EmbeddedBroker, topic: str, *values: bytes, timeout_s: float = 10.0) -> list[KafkaError | None]:
    """The fate of each value sent to partition 0, in order."""
    fates: list[KafkaError | None] = []
    client = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": int(timeout_s * 1000), "retries": 0, "log_level": 0})
    for value in values:
        client.produce(topic, value, partition=0, on_delivery=lambda error, _: fates.append(error))
        client.flush(timeout_s + 1)
    return fates


def consumed(broker: EmbeddedBroker, topic: str, offset: int, count: int) -> list[tuple[int | None, bytes | None]]:
    """`count` records of partition 0 from `offset` on."""
    client = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    client.assign([TopicPartition(topic, 0, offset)])
    try:
        return [(message.offset(), message.value()) for message in client.consume(count, timeout=10)]
    finally:
        client.close()


def test_what_is_sent_is_read(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    assert produced(embedded_broker, "t", b"a", b"b") == [None, None]
    assert consumed(embedded_broker, "t", 0, 2) == [(0, b"a"), (1, b"b")]


def test_topics_have_the_partitions_of_the_table(embedded_broker: EmbeddedBroker) -> None:
    table = Topics("x").table(partitions=3)
    embedded_broker.create_topics(table)
    found = AdminClient({"bootstrap.servers": embedded_broker.bootstrap}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in found.items()} == {topic.name: topic.partitions for topic in table}


def test_a_topic_is_made_once(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    with pytest.raises(DriftlineError, match="already exists"):
        embedded_broker.create_topic("t", 1)


def test_a_broker_that_is_down_comes_up_again(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    embedded_broker.down()
    [lost] = produced(embedded_broker, "t", b"a", timeout_s=0.5)
    embedded_broker.up()
    assert lost is not None
    assert produced(embedded_broker, "t", b"b") == [None]


def test_an_injected_error_is_answered_once(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    embedded_broker.push_errors(PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    refused, accepted = produced(embedded_broker, "t", b"a", b"b")
    assert refused is not None
    assert (refused.code(), accepted) == (KafkaError.MSG_SIZE_TOO_LARGE, None)


def test_deleted_records_are_gone(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    produced(embedded_broker, "t", b"a", b"b", b"c")
    embedded_broker.delete_records("t", 0, before=2)
    assert consumed(embedded_broker, "t", 0, 1) == [(2, b"c")]


def test_a_slow_broker_answers(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("t", 1)
    embedded_broker.rtt(50)
    assert produced(embedded_broker, "t", b"a") == [None]


def test_two_brokers_share_nothing() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        one.create_topic("t", 1)
        two.create_topic("t", 1)
        produced(one, "t", b"a")
        assert produced(two, "t", b"b") == [None]
        assert consumed(two, "t", 0, 1) == [(0, b"b")]


def test_closing_twice_is_harmless() -> None:
    broker = EmbeddedBroker()
    broker.close()
    broker.close()
