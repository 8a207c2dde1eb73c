"""The lane's consumer by itself, without a broker."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import faust
import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from driftline.streams.transport.chunk import chunk_of
from driftline.streams.transport.consumer import WAITING_BYTES, LaneConsumer
from driftline.streams.transport.lane import install


def test_a_sleep_of_no_time_lets_others_run_and_a_longer_one_ends_with_the_worker() -> None:
    async def run() -> None:
        app, loop, seen = faust.App("sleeps", broker="kafka://127.0.0.1:9092"), asyncio.get_running_loop(), list[str]()
        install(app, ["lane"])
        consumer = cast(LaneConsumer, app.consumer)

        def begun(loop: Any, coro: Any, **options: Any) -> Any:
            seen.append("a task")
            return asyncio.Task(coro, loop=loop, **options)

        loop.set_task_factory(begun)
        loop.call_soon(seen.append, "another")
        await consumer.sleep(0)
        assert seen == ["another"]
        loop.call_soon(consumer._stopped.set)
        await consumer.sleep(3_600)

    asyncio.run(run())


def test_a_chunk_that_a_rebalance_drops_on_its_way_holds_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        pass

    async def run() -> None:
        app, tp = faust.App("drops", broker="kafka://127.0.0.1:9092"), TP("lane", 0)
        install(app, ["lane"])
        consumer = cast(LaneConsumer, app.consumer)
        monkeypatch.setattr(consumer, "commit", nothing)
        monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", nothing)
        consumer._sought = True
        kept = consumer._to_message(tp, chunk_of("lane", 0, 0, 1, [(0, 0, None, bytes(WAITING_BYTES), ())]))
        assert consumer._held_back({tp}) == {tp}
        await consumer.on_partitions_revoked({tp})
        consumer._sought = True
        assert consumer._held_back({tp}) == set() and not kept.tracked

    asyncio.run(run())
