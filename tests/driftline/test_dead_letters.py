"""Dead letters are put back as they were, each once, whatever was put back before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from driftline import cli
from driftline.dead_letters import Count, put_back
from driftline.schemas.errors import DriftlineError
from driftline.schemas.events import MAX_VALUE_BYTES
from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker

PARTITIONS = 2
Site = tuple[dict[str, str], Topics]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def site(request: pytest.FixtureRequest, prefix: str) -> Site:
    """A broker's address and the names of topics that exist there."""
    topics = Topics(prefix)
    broker: Any = request.getfixturevalue("embedded_broker" if request.param == "embedded" else "kafka")
    broker.create_topics(topics.table(PARTITIONS))
    return {"bootstrap.servers": broker.bootstrap}, topics


@pytest.fixture
def bury(site: Site) -> Callable[..., None]:
    """Writes a dead letter as ingest does."""
    client, topics = site
    producer = Producer({**client, "message.max.bytes": 8 * MAX_VALUE_BYTES, "compression.type": "lz4"})

    def write(code: str, key: bytes | None, value: bytes, topic: str = topics.predictions, partition: int = 1, **more: bytes) -> None:
        about = {"code": code, "message": "why", "topic": topic, "partition": partition, "offset": 7, "time": 1}
        headers: list[tuple[str, bytes]] = [("trace", b"\xff\x00"), ("trace", b"twice")]
        headers += [(f"driftline.error.{name}", str(text).encode()) for name, text in about.items()]
        producer.produce(topics.dead_letters, value, key, partition, headers=[*headers, *more.items()])
        producer.flush(10)

    return write


def read(site: Site, topic: str) -> list[Message]:
    """Every record of a topic that is not part of an aborted transaction."""
    consumer = Consumer({**site[0], "group.id": "reader", "isolation.level": "read_committed", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, k, 0) for k in range(PARTITIONS)])
    messages, ended = [], 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None
        ended += message.error() is not None
        messages += [message] if message.error() is None else []
    consumer.close()
    return messages


def test_a_letter_goes_back_to_its_partition_as_it_was(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    bury("malformed", b"\xfe", b'{"id"\x00', partition=1)
    bury("no_key", None, b"", topics.outcomes, partition=0)
    assert put_back(client, topics) == [Count("malformed", topics.predictions, 1, 1), Count("no_key", topics.outcomes, 1, 1)]
    (prediction,), (outcome,) = read(site, topics.predictions), read(site, topics.outcomes)
    assert (prediction.partition(), prediction.key(), prediction.value()) == (1, b"\xfe", b'{"id"\x00')
    assert prediction.headers() == [("trace", b"\xff\x00"), ("trace", b"twice")]
    assert (outcome.partition(), outcome.key(), outcome.value() or b"") == (0, None, b"")


def test_a_letter_is_put_back_once(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    for i in range(5):
        bury("future", b"a", b"%d" % i, partition=i % 2)
    assert put_back(client, topics) == [Count("future", topics.predictions, 5, 5)]
    assert put_back(client, topics) == []
    bury("future", b"a", b"5")
    assert put_back(client, topics) == [Count("future", topics.predictions, 1, 1)]
    assert sorted(message.value() or b"" for message in read(site, topics.predictions)) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_codes_are_put_back_one_by_one_in_any_order(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    for code in ("future", "unknown_model", "malformed", "future"):
        bury(code, b"a", code.encode())
    assert put_back(client, topics, "future") == [Count("future", topics.predictions, 2, 2)]
    assert put_back(client, topics, "future") == []
    bury("future", b"a", b"later")
    assert put_back(client, topics, "malformed") == [Count("malformed", topics.predictions, 1, 1)]
    assert put_back(client, topics) == [Count("future", topics.predictions, 1, 1), Count("unknown_model", topics.predictions, 1, 1)]
    assert put_back(client, topics, "future") == put_back(client, topics) == []
    values = [b"future", b"future", b"later", b"malformed", b"unknown_model"]
    assert sorted(message.value() or b"" for message in read(site, topics.predictions)) == values


def test_a_dry_run_changes_nothing(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    bury("future", b"a", b"x")
    assert put_back(client, topics, dry_run=True) == put_back(client, topics, dry_run=True) == [Count("future", topics.predictions, 1, 1)]
    assert read(site, topics.predictions) == []


def test_letters_that_cannot_go_back_stay(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    bury("store_rejected", b"a", b"x", topics.results)
    bury("out_of_bounds", b"a", b"x" * (MAX_VALUE_BYTES + 1))
    bury("out_of_bounds", b"a", b"x", **{"driftline.error.cut": b"9000000"})
    Producer(client).produce(topics.dead_letters, b"written by somebody else")
    bury("future", b"a", b"good")
    found = put_back(client, topics)
    assert [count for count in found if count.code] == [
        Count("future", topics.predictions, 1, 1), Count("out_of_bounds", topics.predictions, 2, 0),
        Count("store_rejected", topics.results, 1, 0),
    ]  # fmt: skip
    assert [message.value() for message in read(site, topics.predictions)] == [b"good"]


def test_letters_from_a_partition_that_is_no_more_go_where_their_key_belongs(site: Site, bury: Callable[..., None]) -> None:
    client, topics = site
    bury("future", b"a", b"x", **{"driftline.error.partition": b"99"})
    bury("future", b"a", b"y", **{"driftline.error.partition": b"none"})
    assert put_back(client, topics) == [Count("future", topics.predictions, 2, 2)]
    assert len({message.partition() for message in read(site, topics.predictions)}) == 1


def test_a_code_that_does_not_exist_is_refused(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(DriftlineError, match="there is no code 'futur'"):
        put_back({"bootstrap.servers": embedded_broker.bootstrap}, Topics(), "futur")


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_the_command_counts_and_puts_back(
    site: Site, bury: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client, topics = site
    bury("future", b"a", b"x")
    monkeypatch.setenv("DRIFTLINE_KAFKA", client["bootstrap.servers"])
    monkeypatch.setenv("DRIFTLINE_PREFIX", topics.prefix)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["replay", "--dead-letters", *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    row = {"code": "future", "topic": topics.predictions, "letters": 1, "put_back": 1}
    assert json.loads(run("--dry-run", "--json")) == {"dry_run": True, "dead_letters": [row]}
    assert "future" in run("--dry-run")
    assert json.loads(run("--code", "malformed", "--json")) == {"dry_run": False, "dead_letters": []}
    assert json.loads(run("--json")) == {"dry_run": False, "dead_letters": [row]}
    assert len(read(site, topics.predictions)) == 1
