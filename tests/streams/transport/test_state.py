"""State of a verb: what was written is there after a restart, and the value that knows most stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import Producer

from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.transport.lane import install, lane_topic
from driftline.streams.transport.state import ERA, State
from driftline.streams.worker import Timing, application

PATIENCE_S = 90
PARTITIONS = 2


def topics_of(broker: EmbeddedBroker, prefix: str) -> Topics:
    """The topics of a prefix, made."""
    topics = Topics(prefix)
    broker.create_topics(topics.table(PARTITIONS))
    return topics


@asynccontextmanager
async def recovered(broker: EmbeddedBroker, topics: Topics) -> AsyncIterator[State]:
    """The state of a worker that has all partitions and has recovered."""
    app = application({"bootstrap.servers": broker.bootstrap}, topics.prefix, PARTITIONS, Timing(session_s=6.0, heartbeat_s=0.5))
    install(app, (topics.panes,))
    state, ready = State(app, "evaluate", PARTITIONS), asyncio.Event()

    async def read(stream: Any) -> None:
        async for _ in stream.events():
            pass

    async def begin(*_: Any, **__: Any) -> None:
        ready.set()

    app.agent(lane_topic(app, topics.panes), name="read")(read)
    app.on_rebalance_complete.connect(begin, weak=False)
    await app.start()
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield state
    finally:
        await app.stop()


def changelog(broker: EmbeddedBroker, topics: Topics, *records: tuple[int, bytes, bytes | None]) -> None:
    """Records in the changelog, as earlier workers left them: (partition, key, value)."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for partition, key, value in records:
        producer.produce(topics.changelog("evaluate"), value, key, partition)
    assert producer.flush(PATIENCE_S) == 0


def ranked(rank: int, value: bytes) -> bytes:
    return rank.to_bytes(8) + value


def under(epoch: int, key: bytes) -> bytes:
    """A key of partition 0 as an owner writes it."""
    return b"0|@%016x|" % epoch + key


def recovered_from(broker: EmbeddedBroker, topics: Topics) -> list[dict[bytes, bytes]]:
    """What each partition has after recovery."""

    async def main() -> list[dict[bytes, bytes]]:
        async with recovered(broker, topics) as state:
            return [dict(state.of(partition)) for partition in range(PARTITIONS)]

    return asyncio.run(main())


def test_of_several_values_of_a_key_the_highest_rank_comes_back(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    topics = topics_of(embedded_broker, prefix)
    changelog(
        embedded_broker, topics,
        (0, b"0|late write of a zombie", ranked(5, b"old")), (0, b"0|late write of a zombie", ranked(9, b"best")),
        (0, b"0|late write of a zombie", ranked(7, b"zombie")),
        (0, b"0|same rank", ranked(9, b"first")), (0, b"0|same rank", ranked(9, b"second")),
        (0, b"0|beyond a byte", ranked(256, b"best")), (0, b"0|beyond a byte", ranked(255, b"zombie")),
        (0, b"0|removed", ranked(9, b"x")), (0, b"0|removed", None),
        (1, b"1|late write of a zombie", ranked(1, b"another partition's")),
    )  # fmt: skip
    assert recovered_from(embedded_broker, topics) == [
        {b"late write of a zombie": b"best", b"same rank": b"second", b"beyond a byte": b"best"},
        {b"late write of a zombie": b"another partition's"},
    ]


def test_of_several_owners_values_the_last_owner_s_comes_back_whatever_the_others_know(
    embedded_broker: EmbeddedBroker, prefix: str
) -> None:
    topics = topics_of(embedded_broker, prefix)
    changelog(
        embedded_broker, topics,
        (0, under(7, b"key"), ranked(3, b"the owner's")), (0, under(6, b"key"), ranked(9, b"a zombie's")),
        (0, b"0|key", ranked(99, b"old")),
        (0, under(ERA + 1, b"era"), ranked(1, b"of a new group")), (0, under(500, b"era"), ranked(9, b"of a group that is gone")),
        (0, b"0|written before there were epochs", ranked(9, b"old")),
    )  # fmt: skip
    assert recovered_from(embedded_broker, topics)[0] == {
        b"key": b"the owner's", b"era": b"of a new group", b"written before there were epochs": b"old",
    }  # fmt: skip


def test_an_owner_leaves_nothing_of_its_predecessors(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    topics = topics_of(embedded_broker, prefix)
    changelog(
        embedded_broker, topics,
        (0, under(5, b"replaced"), ranked(9, b"old")), (0, b"0|replaced", ranked(9, b"older")),
        (0, under(5, b"removed"), ranked(9, b"old")), (0, under(5, b"kept"), ranked(9, b"old")),
    )  # fmt: skip

    async def main() -> set[bytes]:
        async with recovered(embedded_broker, topics) as state:
            assert state.is_behind(0, 5) and not state.is_behind(0, 6) and not state.is_behind(1, 1)
            owned = state.own(0, 6)
            assert owned.epoch == 6 and state.own(0, 6).epoch == 6 and not state.is_behind(0, 6)
            await owned.write(1, {b"replaced": b"new"})
            await owned.remove([b"removed"])
            return set(state._table.data.data)

    assert asyncio.run(main()) == {under(6, b"replaced"), under(5, b"kept")}
    assert recovered_from(embedded_broker, topics)[0] == {b"replaced": b"new", b"kept": b"old"}


def test_what_was_written_is_there_after_a_restart(embedded_broker: EmbeddedBroker, prefix: str) -> None:
    topics = topics_of(embedded_broker, prefix)

    async def first_life() -> dict[bytes, bytes]:
        async with recovered(embedded_broker, topics) as state:
            owned = state.own(1, 3)
            await owned.write(10, {b"kept": b"a", b"replaced": b"b", b"gone": b"c", b"1|2|": b"", b"": bytes(100_000)})
            await owned.write(11, {b"replaced": b"d"})
            await owned.remove([b"gone", b"never there"])
            return dict(owned.items())

    wanted = {b"kept": b"a", b"replaced": b"d", b"1|2|": b"", b"": bytes(100_000)}
    assert asyncio.run(first_life()) == wanted
    assert recovered_from(embedded_broker, topics) == [{}, wanted]
