"""The reader of `models`: reads all of it before anything else, follows it, and knows how far it has read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Producer

from driftline.schemas.reference import CategoricalProfile, Entry, Lifecycle, Profile, Reference, encode_entry, entry_key
from driftline.streams.registry import Incomplete, Registry
from driftline.streams.transport.embedded import EmbeddedBroker
from driftline.streams.transport.models import ModelsReader

TOPIC = "models"
PATIENCE_S = 90


def reference(category: str, effective_from: int = 0) -> Reference:
    features: dict[str, Profile] = {"c": CategoricalProfile([category], [1], 0, 1, 0)}
    return Reference("m", "1", features, 1, effective_from=effective_from)


@pytest.fixture
def broker(embedded_broker: EmbeddedBroker) -> EmbeddedBroker:
    """A broker with the topic."""
    embedded_broker.create_topic(TOPIC, 1)
    return embedded_broker


def publish(broker: EmbeddedBroker, *values: Entry | bytes | None) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for value in values:
        if isinstance(value, Reference | Lifecycle):
            producer.produce(TOPIC, encode_entry(value), entry_key(value))
        else:
            producer.produce(TOPIC, value, b"k")
    assert producer.flush(PATIENCE_S) == 0


@asynccontextmanager
async def reading(broker: EmbeddedBroker, registry: Registry) -> AsyncIterator[ModelsReader]:
    reader = ModelsReader(TOPIC, registry, {"bootstrap_servers": broker.bootstrap})
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


def read(broker: EmbeddedBroker) -> Registry:
    """A registry as it is once the reader has started."""
    registry = Registry({})

    async def main() -> None:
        async with reading(broker, registry):
            pass

    asyncio.run(main())
    return registry


async def until(true: Callable[[], bool]) -> None:
    ended = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ended
        await asyncio.sleep(0.02)


def test_everything_is_read_before_it_has_started(broker: EmbeddedBroker) -> None:
    entries = [reference(str(i), i) for i in range(500)]
    publish(broker, *entries)
    assert read(broker).references() == entries


def test_an_empty_topic_is_read_at_once(broker: EmbeddedBroker) -> None:
    assert read(broker).references() == []


def test_what_cannot_be_read_is_left_out(broker: EmbeddedBroker) -> None:
    publish(broker, b"{", reference("a"), None, b'{"kind": "another"}', reference("b", 9))
    assert read(broker).references() == [reference("a"), reference("b", 9)]


def test_new_entries_are_followed(broker: EmbeddedBroker) -> None:
    registry = Registry({})

    async def main() -> None:
        async with reading(broker, registry):
            publish(broker, reference("a"))
            await until(lambda: registry.references() == [reference("a")])

    asyncio.run(main())


def test_after_the_start_older_records_of_an_unknown_model_are_decided(broker: EmbeddedBroker) -> None:
    an_hour_ago = int(time.time() * 1000) - 3_600_000
    assert read(broker).knows("nobody", an_hour_ago) is False


def test_a_newer_record_of_an_unknown_model_waits_until_the_topic_is_read_so_far(broker: EmbeddedBroker) -> None:
    registry = Registry({})
    now = int(time.time() * 1000) + 1_000

    async def main() -> None:
        async with reading(broker, registry) as reader:
            with pytest.raises(Incomplete):
                registry.knows("nobody", now)
            publish(broker, reference("a"))
            await reader.catch_up(now)
            assert (registry.knows("nobody", now), registry.knows("m", now)) == (False, True)

    asyncio.run(main())


def test_before_anything_is_read_nothing_is_called_unknown() -> None:
    registry = Registry({})

    async def main() -> None:
        ModelsReader(TOPIC, registry, {"bootstrap_servers": "127.0.0.1:1"})

    asyncio.run(main())
    with pytest.raises(Incomplete):
        registry.knows("nobody", 0)


def test_a_reader_that_can_no_longer_follow_says_why(broker: EmbeddedBroker) -> None:
    async def main() -> tuple[BaseException | None, BaseException | None]:
        registry = Registry({})
        async with reading(broker, registry) as reader:
            before = reader.failure
            registry.add = None  # type: ignore[assignment, method-assign]
            publish(broker, reference("a"))
            async with asyncio.timeout(PATIENCE_S):
                while not reader.failure:
                    await asyncio.sleep(0.05)
            return before, reader.failure

    before, after = asyncio.run(main())
    assert before is None
    assert isinstance(after, TypeError)
