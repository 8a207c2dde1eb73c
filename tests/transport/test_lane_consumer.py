"""The lane's consumer by itself, without a broker."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import faust

from driftline.streams.transport.consumer import LaneConsumer
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
