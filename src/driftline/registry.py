"""The `models` topic from outside a worker: publish an entry, read them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Entry, decode_entry, encode_entry, entry_key

TIMEOUT_S = 30.0


class Complaints:
    """What a client says of its brokers while it tries: the first reason is kept, the others are counted. Its log is silent.

    >>> said = Complaints()
    >>> said(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    >>> said(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    >>> str(said)
    ': Connection refused (and 1 complaint more)'
    """

    def __init__(self) -> None:
        self._first, self._count = "", 0

    def __call__(self, error: KafkaError) -> None:
        self._first, self._count = self._first or error.str(), self._count + 1

    def __str__(self) -> str:
        more = f" (and {self._count - 1} complaint{'s' * (self._count > 2)} more)" if self._count > 1 else ""
        return f": {self._first}{more}" if self._first else ""

    def heard_by(self, client: Mapping[str, Any]) -> dict[str, Any]:
        """The client's settings, with its complaints told here instead of on the terminal."""
        return {"log_level": 0, **client, "error_cb": self}


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

    complaints = Complaints()
    producer = Producer({**complaints.heard_by(client), "partitioner": "murmur2_random", "message.timeout.ms": int(TIMEOUT_S * 1000)})
    for entry in entries:
        producer.produce(topic, encode_entry(entry), entry_key(entry), on_delivery=delivered)
    if producer.flush(TIMEOUT_S + 1) or any(error.code() == KafkaError._MSG_TIMED_OUT for error in failures):
        raise _unavailable(client, complaints)
    if failures:
        raise DriftlineError("kafka_refused", f"{topic}: {failures[0].str()}", "create the topics first: driftline topics")


def read(client: Mapping[str, str], topic: str) -> list[Entry]:
    """Every entry on the topic, oldest first; of entries with the same key the last one."""
    complaints = Complaints()
    consumer = Consumer(
        {**complaints.heard_by(client), "group.id": "driftline-reader", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    try:
        if not consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions:
            raise DriftlineError("no_topic", f"there is no topic {topic}", "create the topics first: driftline topics")
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [decode_entry(value) for value in _latest(consumer).values()]
    except KafkaException:
        consumer.poll(0)  # hear what the client has to say
        raise _unavailable(client, complaints) from None
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


def _unavailable(client: Mapping[str, str], complaints: Complaints) -> DriftlineError:
    address = client.get("bootstrap.servers", "")
    return DriftlineError(
        "kafka_unavailable", f"no answer from Kafka at {address}{complaints}", "check DRIFTLINE_KAFKA and that the broker runs"
    )
