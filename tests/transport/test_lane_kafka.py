"""The lane on real Kafka: codecs, transactions, compaction, and rebalances with a kill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, structs
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driftline.streams.transport.ask import Session, Wanted, fetch_seldom
from driftline.streams.transport.fetch import chunk_lanes
from driftline.streams.transport.receive import receive_in_place

pytestmark = pytest.mark.kafka

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}


@pytest.fixture
def lanes(kafka: Any, start_lanes: Any, tmp_path: Path, prefix: str) -> Iterator[Any]:
    cluster = start_lanes(kafka.bootstrap, tmp_path, prefix)
    yield cluster
    cluster.close()


def make(kafka: Any, topic: str, partitions: int = 1, settings: dict[str, str] | None = None) -> str:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings or {})])[topic].result(30)
    return topic


def read(kafka: Any, topic: str) -> list[int]:
    """The offsets an ordinary client finds, and last the end of the partition."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "look"})
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    consumer.assign([TopicPartition(topic, 0, 0)])
    offsets: list[int] = []
    while not offsets or offsets[-1] < end - 1:
        message = consumer.poll(30)
        assert message is not None and not message.error()
        offsets.append(message.offset() or 0)
    consumer.close()
    return [*offsets, end]


def test_every_codec_transactions_and_compacted_topics_arrive_whole(kafka: Any, lanes: Any) -> None:
    numbers = [str(i) for i in range(300)]
    codecs, transactions = make(kafka, f"{lanes.group}-codecs"), make(kafka, f"{lanes.group}-transactions")
    for i, codec in enumerate(CODECS):
        lanes.produce(codecs, numbers[60 * i : 60 * i + 60], **{"compression.type": codec})

    compacted = make(kafka, f"{lanes.group}-compacted", settings=COMPACTED)
    lanes.produce(compacted, numbers)  # all of one key: only the last stays
    time.sleep(0.2)  # the segment's age, so that the next record opens a new one
    lanes.produce(compacted, ["the last"])

    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": lanes.group})
    producer.init_transactions(30)
    for i in range(6):
        producer.begin_transaction()
        for value in ("kept" if i % 2 == 0 else "aborted",) * 5:
            producer.produce(transactions, value=f"{value} {i}", key=b"k")
        producer.flush(30)  # an abort would drop what is not sent yet
        producer.commit_transaction(30) if i % 2 == 0 else producer.abort_transaction(30)

    ended = time.monotonic() + 40
    while len(left := read(kafka, compacted)) > 3:
        assert time.monotonic() < ended, "Kafka did not compact"
        time.sleep(0.5)
    assert left == [299, 300, 301]

    worker = lanes.worker(codecs, transactions, compacted, chunk_records=50)
    ends = {codecs: 300, transactions: 36, compacted: 301}
    worker.wait(lambda w: all(any(chunk.topic == topic and chunk.end == end for chunk in w.chunks()) for topic, end in ends.items()))
    assert worker.stop() == 0
    of = {topic: [chunk for chunk in worker.chunks() if chunk.topic == topic] for topic in ends}
    assert [value for chunk in of[codecs] for value in chunk.values] == numbers
    assert [value for chunk in of[transactions] for value in chunk.values] == [f"kept {i}" for i in (0, 2, 4) for _ in range(5)]
    assert [value for chunk in of[compacted] for value in chunk.values] == ["299", "the last"]
    for chunks in of.values():
        assert chunks[0].first == 0 and all(before.end == after.first for before, after in pairwise(chunks))
    assert {topic: lanes.committed(topic) for topic in ends} == ends


def test_a_broker_is_told_only_what_changed_and_everything_when_it_has_forgotten(
    kafka: Any, lanes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, of = make(kafka, f"{lanes.group}-sessions", 6), [structs.TopicPartition(f"{lanes.group}-sessions", i) for i in range(6)]
    told: list[tuple[int, int]] = []  # the epoch of a request, and how many partitions it named
    sessions: list[Session] = []
    changes = Session.changes

    def spy(session: Session, topics: Wanted) -> Any:
        found = changes(session, topics)
        told.append((found[1], sum(len(parts) for _, parts in found[2])))
        sessions[:] = [session]
        return found

    monkeypatch.setattr(Session, "changes", spy)

    async def main() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, fetch_max_wait_ms=50)
        receive_in_place(consumer._client)
        await consumer.start()
        chunk_lanes(consumer._fetcher, frozenset(), 100)
        fetch_seldom(consumer._fetcher)
        consumer.assign(of)
        for partition in of:
            consumer.seek(partition, 0)

        async def comes(*expected: str) -> None:
            got: list[str] = []
            while len(got) < len(expected):
                got += [record.value.decode() for records in (await consumer.getmany(timeout_ms=200)).values() for record in records]
            assert got == [*expected]

        for turn, spoilt in enumerate([{}, {}, {"_epoch": 100}, {}, {"_id": 5}, {}, {"_id": 5, "_epoch": 7}, {}]):
            for name, value in spoilt.items():
                setattr(sessions[0], name, value)
            await asyncio.to_thread(lanes.produce, topic, [str(turn)], partition=turn % 6)
            await comes(str(turn))
        consumer.seek(of[1], 0)
        await comes("1", "7")
        while told[-1][1]:  # at rest nothing has changed
            await asyncio.sleep(0.02)
        await consumer.stop()

    asyncio.run(asyncio.wait_for(main(), 60))
    whole = [named for epoch, named in told if epoch == 0]
    assert len(whole) >= 4 and set(whole) == {6}
    assert {named for epoch, named in told if epoch} == {0, 1}


def test_workers_that_join_leave_and_are_killed_lose_no_record(kafka: Any, lanes: Any) -> None:
    topic = make(kafka, f"{lanes.group}-shared", 4)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
    sent = 0

    def produce(seconds: float) -> None:
        nonlocal sent
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            producer.produce(topic, value=str(sent), partition=sent % 4)
            producer.poll(0)
            sent += 1
            time.sleep(0.001)

    def worker() -> Any:
        return lanes.worker(topic, partitions=4, chunk_records=20, chunk_s=0.002)

    first = worker()
    produce(2)
    second = worker()
    produce(3)
    first.process.kill()
    produce(2)
    third = worker()
    produce(4)
    second.stop()
    produce(1)
    producer.flush(30)
    third.wait(lambda _: sum(lanes.committed(topic, partition) for partition in range(4)) == sent)
    done = {value for worker in lanes.workers for value in worker.values()}
    assert [i for i in range(sent) if str(i) not in done] == []
