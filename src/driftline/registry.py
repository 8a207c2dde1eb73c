"""The `models` topic from outside a worker: publish an entry, read them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Entry, decode_entry, encode_entry, entry_key

TIMEOUT_S = 30.0


def publish(client: Mapping[str, str], topic: str, entries: Iterable[Entry]) -> None:
    """Publish entries and wait until the brokers have them.

    Parameters
    ----------
    client
        librdkafka properties: addresses and security.
    topic
        The `models` topic.

    Raises
    ------
    DriftlineError
        `kafka_unavailable`, or `kafka_refused` with the broker's reason.
    """
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer({**client, "partitioner": "murmur2_random", "message.timeout.ms": int(TIMEOUT_S * 1000)})
    for entry in entries:
        producer.produce(topic, encode_entry(entry), entry_key(entry), on_delivery=delivered)
    if producer.flush(TIMEOUT_S + 1):
        raise _unavailable(client)
    if failures:
        raise DriftlineError("kafka_refused", f"{topic}: {failures[0].str()}", "create the topics first: driftline topics")


def read(client: Mapping[str, str], topic: str) -> list[Entry]:
    """Every entry on the topic, oldest first; of entries with the same key the last one."""
    consumer = Consumer({**client, "group.id": "driftline-reader", "enable.auto.commit": False, "enable.partition.eof": True})
    try:
        if not consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions:
            raise DriftlineError("no_topic", f"there is no topic {topic}", "create the topics first: driftline topics")
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [decode_entry(value) for value in _latest(consumer).values()]
    except KafkaException:
        raise _unavailable(client) from None
    finally:
        consumer.close()


def _latest(consumer: Consumer) -> dict[bytes, bytes]:
    """Key → value up to the end of the partition; a record without a value removes its key."""
    values: dict[bytes, bytes] = {}
    while (message := consumer.poll(TIMEOUT_S)) is not None:
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            return values
        if error is not None:
            raise KafkaException(error)
        key, value = bytes(message.key() or b""), message.value()
        values.pop(key, None)
        if value is not None:
            values[key] = bytes(value)
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _unavailable(client: Mapping[str, str]) -> DriftlineError:
    address = client.get("bootstrap.servers", "")
    return DriftlineError("kafka_unavailable", f"no answer from Kafka at {address}", "check DRIFTLINE_KAFKA and that the broker runs")
