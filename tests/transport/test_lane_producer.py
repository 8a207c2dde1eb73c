"""Records handed over together arrive as if each had been sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from confluent_kafka import Consumer, TopicPartition

from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.transport.lane import install
from driftline.streams.transport.producer import LaneProducer
from driftline.streams.worker import Timing, application

Records = list[tuple[bytes | None, bytes | None]]
MIB = 2**20


def producing(broker: EmbeddedBroker, prefix: str, use: Callable[[LaneProducer, str], Awaitable[None]]) -> Records:
    """What lies in the first partition of `panes` after a worker's producer was used."""
    topics = Topics(prefix)
    broker.create_topics(topics.table(2))

    async def main() -> None:
        app = application({"bootstrap.servers": broker.bootstrap, "compression.type": "zstd"}, prefix, 2, Timing())
        install(app, ())
        producer: Any = app.producer
        await producer.start()
        try:
            await asyncio.wait_for(use(producer, topics.panes), 60)
        finally:
            await producer.stop()

    asyncio.run(main())
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "look", "log_level": 0})
    where = TopicPartition(topics.panes, 0, 0)
    _, end = consumer.get_watermark_offsets(where, timeout=30)
    consumer.assign([where])
    found: Records = []
    while len(found) < end:
        found += [(message.key(), message.value()) for message in consumer.consume(min(1_000, end - len(found)), 10)]
    consumer.close()
    return found


def test_many_records_of_a_partition_arrive_in_order_however_large_and_empty_they_are(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    sizes = [0, 1, 200, 40_000, None, MIB // 2 - 60, 3, 700_000, 5]
    records: Records = [
        (b"%d" % i, None if size is None else b"%d" % (i % 10) * size) for i, size in enumerate([*sizes, *[100] * 2_000, *sizes[:4]])
    ]

    async def use(producer: LaneProducer, topic: str) -> None:
        sent = await producer.send_all(topic, 0, records)
        assert len(sent) < 20
        await asyncio.gather(*sent)

    assert producing(embedded_broker, prefix, use) == records


def test_several_at_once_and_single_records_between_them_each_arrive_in_their_order(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    every: list[Records] = [[(b"%d" % who, b"%d " % i * 4_000) for i in range(200)] for who in range(5)]

    async def use(producer: LaneProducer, topic: str) -> None:
        async def one(records: Records) -> None:
            for first in range(0, 200, 50):
                await (await producer.send(topic, *records[first], 0, None, None))
                await asyncio.gather(*await producer.send_all(topic, 0, records[first + 1 : first + 50]))

        await asyncio.gather(*map(one, every))

    found = producing(embedded_broker, prefix, use)
    assert [[record for record in found if record[0] == b"%d" % who] for who in range(5)] == every


def test_whoever_gives_up_waiting_ends_it_for_nobody_else(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    async def use(producer: LaneProducer, topic: str) -> None:
        one = await producer.send_all(topic, 0, [(b"a", b"1"), (b"a", b"2")])
        other = await producer.send_all(topic, 0, [(b"b", b"3")])
        waiting = asyncio.gather(*one)
        waiting.cancel()
        await asyncio.gather(*other)

    assert producing(embedded_broker, prefix, use) == [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]


def test_what_cannot_be_sent_is_an_error_of_whoever_waits_for_it(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    async def use(producer: LaneProducer, topic: str) -> None:
        accumulator: Any = producer._ensure_producer()._message_accumulator
        sent = await producer.send_all(topic, 0, [(b"a", b"1"), (b"a", b"2")])
        accumulator._batches.popitem()[1][0].failure(KafkaTimeoutError())
        with pytest.raises(KafkaTimeoutError):
            await asyncio.gather(*sent)

    assert producing(embedded_broker, prefix, use) == []
