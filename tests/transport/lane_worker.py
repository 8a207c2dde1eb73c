"""A Faust worker on the lane, for tests: writes down every chunk it gets. Usage: lane_worker.py '{"bootstrap": …}'.

One process each, because an app cannot be started twice and must be killable.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import faust
import msgspec
from faust.types import TP

from driftline.streams.transport import consumer as transport
from driftline.streams.transport import fetch
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.consumer import LaneConsumer
from driftline.streams.transport.lane import install, lane_topic


class Job(msgspec.Struct):
    """What the worker is told."""

    bootstrap: str
    group: str
    topics: list[str]
    partitions: int
    log: str
    chunk_records: int = 2000
    starts: dict[str, int] | None = None  # "topic/partition" → position
    table: bool = False  # have a table, so that an assignment goes through recovery
    chunk_s: float = 0.0  # time an agent takes for a chunk
    fail_at: str | None = None  # raise on the chunk with this value
    hold: str | None = None  # never acknowledge the chunk with this value
    pause_at: str | None = None  # pause the partition on the chunk with this value, for a moment
    seek_back: tuple[str, int] | None = None  # on the chunk with this value, once: read again from this position


job = msgspec.json.decode(sys.argv[1], type=Job)
app = faust.App(
    job.group,
    broker=f"kafka://{job.bootstrap}",
    topic_partitions=job.partitions,
    topic_allow_declare=False,
    topic_disable_leader=True,
    topic_replication_factor=1,
    table_standby_replicas=1,
    consumer_auto_offset_reset="earliest",
    agent_supervisor="mode.CrashingSupervisor",
    stream_wait_empty=False,
    stream_buffer_maxsize=65_536,
    broker_commit_interval=0.1,
    broker_session_timeout=6.0,
    broker_heartbeat_interval=0.5,
    broker_request_timeout=20.0,
    broker_rebalance_timeout=6.0,
    web_enabled=False,
    store="memory://",
    datadir=Path(job.log).with_suffix(".data"),
)


def start_positions() -> dict[TP, int]:
    return {TP(name.split("/")[0], int(name.split("/")[1])): position for name, position in (job.starts or {}).items()}


transport.MUCH_BYTES, transport.CHUNKS_AT_ONCE = 0, 3  # as in a backlog of megabytes
transport.WAITING_BYTES = fetch.ENOUGH_BYTES = 50
install(app, job.topics, start_positions if job.starts else None, chunk_records=job.chunk_records)
log = Path(job.log).open("a", buffering=1)  # noqa: SIM115  # a line survives a kill
if job.table:
    app.Table("seen", partitions=job.partitions, key_type=bytes, value_type=bytes)


async def read(stream: faust.Stream[Any]) -> AsyncIterator[None]:
    consumer = cast(LaneConsumer, app.consumer)
    async for event in stream.noack().events() if job.hold else stream.events():
        chunk, tp = cast(Chunk, event.value), event.message.tp
        values = [(value or b"").decode() for value in chunk.values()]
        if job.fail_at in values:
            raise RuntimeError("told to fail")
        await asyncio.sleep(job.chunk_s)
        print(json.dumps([chunk.topic, chunk.partition, chunk.first, chunk.end, values]), file=log)
        if job.hold and job.hold not in values:
            event.ack()
        if job.pause_at and job.pause_at in values:
            consumer.pause_partitions([tp])
            app.loop.call_later(0.2, consumer.resume_partitions, [tp])
        if job.seek_back and job.seek_back[0] in values:
            position, job.seek_back = job.seek_back[1], None
            print(json.dumps(["seek", await consumer.seek_back(tp, position)]), file=log)
        yield


app.agent(lane_topic(app, *job.topics), name="read")(cast(Any, read))
faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()
