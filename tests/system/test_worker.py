"""Workers on real Kafka, and what operators and brokers do to them: the tables always equal a recount of the topics.

One story: the tests after the first share topics and tables, and what a test does is what the next one finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from counted import MODEL, PARTITIONS, differences, raw
from recount import Key, Recount, add, recount

from driftline.schemas.progress import CODEC, PROGRESS_CODEC, decode_progress
from driftline.schemas.reference import Lifecycle, encode_entry, entry_key
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.agents.ingest import partition_of
from driftline.streams.transport import topics as administration

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def ready(make_site: Callable[[str], Any], kafka: Any) -> Any:
    """600 predictions with their labels are counted, by a worker that has ended."""
    site = make_site(kafka.bootstrap).prepare()
    worker = site.worker()
    site.publish(600)
    site.settle()
    assert worker.terminate() == 0
    return site


def source(site: Any) -> list[TopicPartition]:
    """Every partition of the two source topics."""
    return [TopicPartition(name, k) for name in (site.topics.predictions, site.topics.outcomes) for k in range(PARTITIONS)]


def keyed(site: Any) -> list[TopicPartition]:
    """Every partition of every topic that workers read as a group."""
    names = [topic.name for topic in site.topics.table(PARTITIONS) if topic.partitions > 1 and not topic.name.endswith("-changelog")]
    return [TopicPartition(name, k) for name in names for k in range(PARTITIONS)]


def make_anew(site: Any, topic: str, until: Any) -> None:
    """Delete a topic and create it again."""
    administer(site, "delete_topics", [topic])
    until(lambda: topic not in administration.partitions_of(site.client))
    administration.create(site.client, site.topics.table(PARTITIONS), replication=1)


def ends(site: Any, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Where they end."""
    consumer = Consumer({**site.client, "group.id": "look"})
    found = [TopicPartition(p.topic, p.partition, consumer.get_watermark_offsets(p, timeout=10)[1]) for p in partitions]
    consumer.close()
    return found


def panes_told(site: Any) -> int:
    """How many records the topic `panes` has had."""
    return sum(found.offset for found in ends(site, [p for p in keyed(site) if p.topic == site.topics.panes]))


def administer(site: Any, what: str, *arguments: Any) -> None:
    """Ask the brokers, and wait for every answer; they come only while the client lives."""
    admin = AdminClient(site.client)
    for future in getattr(admin, what)(*arguments).values():
        future.result(30)


def set_committed(site: Any, partitions: list[TopicPartition]) -> bool:
    """What an operator does with kafka-consumer-groups --reset-offsets; refused while the group still waits for a member."""
    try:
        administer(site, "alter_consumer_group_offsets", [ConsumerGroupTopicPartitions(site.topics.prefix, partitions)])
    except KafkaException as error:
        assert error.args[0].code() in {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP}
        return False
    return True


def test_two_workers_share_the_partitions_and_one_that_is_stopped_hands_its_own_over(site: Any, until: Any) -> None:
    site.prepare()
    workers = [site.worker(), site.worker()]
    site.publish(300, seed=1)
    for worker in workers:
        worker.ready()
    site.publish(300, seed=2)
    until(lambda: all(re.search(r"ready: \d", worker.said) for worker in workers))
    assert workers[0].terminate() == 0  # within 30 s
    site.publish(300, seed=3)
    site.settle()
    assert "Traceback" not in workers[0].said


def test_committed_offsets_that_an_operator_sets_back_change_nothing(ready: Any) -> None:
    set_committed(ready, [TopicPartition(p.topic, p.partition, 0) for p in keyed(ready)])
    rows = "SELECT model, version, segment, pane_start, n, confusion, revision FROM performance_panes FINAL ORDER BY ALL"
    before = ready.query(rows)
    worker = ready.worker().ready()
    ready.settle()
    assert worker.terminate() == 0
    assert ready.query(rows) == before


def test_progress_is_told_where_a_model_is_evaluated_and_nowhere_else(ready: Any, until: Any) -> None:
    def told() -> dict[int, set[int]]:
        values = {k: raw(ready.bootstrap, ready.topics.panes, k) for k in range(PARTITIONS)}
        return {k: {decode_progress(v).partition for v in found if v and v[0] == PROGRESS_CODEC} for k, found in values.items() if found}

    home = partition_of(MODEL.model, PARTITIONS)
    assert told() == {home: set(range(PARTITIONS))}
    worker = ready.worker().ready()
    later = next(name for name in map(str, range(100)) if partition_of(name, PARTITIONS) != home)
    entry = Lifecycle(later, "1", "version.deployed", 0)
    producer = Producer(ready.client)
    producer.produce(ready.topics.models, key=entry_key(entry), value=encode_entry(entry))
    producer.flush(10)
    until(lambda: told() == {k: set(range(PARTITIONS)) for k in (home, partition_of(later, PARTITIONS))})
    assert worker.terminate() == 0


def test_committed_offsets_that_an_operator_sets_forward_lose_nothing(ready: Any, until: Any) -> None:
    killed = ready.worker().ready()
    told = panes_told(ready)
    ready.publish(300, seed=5)
    until(lambda: panes_told(ready) > told)
    killed.popen.kill()  # what it has read, told and stored by now, nobody knows
    ready.publish(300, seed=8)
    until(lambda: set_committed(ready, ends(ready, keyed(ready))))
    worker = ready.worker()
    ready.settle()
    assert worker.terminate() == 0


def test_records_that_retention_deleted_before_they_were_read_are_a_loud_gap_and_the_rest_goes_on(ready: Any, until: Any) -> None:
    topic = ready.topics.predictions
    read = ends(ready, source(ready))[1].offset
    ready.publish(500, seed=6)
    cut = (read + ends(ready, source(ready))[1].offset) // 2
    left = {k: raw(ready.bootstrap, topic, k) for k in range(PARTITIONS)}
    left[1][read:cut] = [None] * (cut - read)
    panes: dict[Key, Recount] = {}
    for k, values in left.items():
        add(panes, recount(MODEL, values, raw(ready.bootstrap, ready.topics.outcomes, k)))
    administer(ready, "delete_records", [TopicPartition(topic, 1, cut)])
    worker = ready.worker()
    with ClickHouse.connect(ready.dsn) as store:
        until(lambda: not differences(store, panes))
    (line,) = [line for line in worker.said.splitlines() if "data_loss_gap" in line]
    assert f"{topic}-1: offsets {read} to {cut - 1} are gone" in line
    assert worker.terminate() == 0


def test_records_that_retention_deleted_after_they_were_counted_are_no_gap(ready: Any) -> None:
    found = ends(ready, source(ready))[:PARTITIONS]
    administer(ready, "delete_records", found)
    worker = ready.worker().ready()
    assert worker.terminate() == 0
    assert "data_loss_gap" not in worker.said
    assert "they are counted" in worker.said


@pytest.mark.parametrize("name", ["panes", "outcomes"])
def test_a_topic_that_was_made_anew_is_refused(ready: Any, until: Any, name: str) -> None:
    topic = getattr(ready.topics, name)
    make_anew(ready, topic, until)
    ready.publish(4_000, seed=9)  # past where the outcomes ended
    refused = ready.worker()
    assert refused.end(60) == 2, refused.said
    assert re.search(rf"\[topic_recreated\] {topic}-\d has another topic id", refused.said)
    assert "begin anew under another DRIFTLINE_PREFIX" in refused.said
    assert "Traceback" not in refused.said


def test_state_that_a_newer_version_wrote_is_refused(ready: Any) -> None:
    producer = Producer(ready.client)
    newer = (2**40).to_bytes(8) + bytes([CODEC + 1]) + b"what only a newer version understands"
    producer.produce(ready.topics.changelog("ingest"), partition=0, key=b"0|@%016x|marker" % 999, value=newer)
    producer.flush(10)
    refused = ready.worker()
    assert refused.end() == 2, refused.said
    assert f"[state_too_new] a marker has codec {CODEC + 1}; this version reads up to {CODEC}" in refused.said
    assert "run the version that wrote it, or a newer one" in refused.said
