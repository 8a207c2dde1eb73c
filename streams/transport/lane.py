"""The lane: an agent on a lane topic gets one event per chunk of a fetched block, where Faust hands out one per record.

>>> import faust
>>> app = faust.App("doc-lane", broker="kafka://127.0.0.1:9092")
>>> install(app, ["predictions"])
>>> predictions = lane_topic(app, "predictions")
>>> @app.agent(predictions, name="count")
... async def count(stream):
...     async for event in stream.events():
...         print(event.value.first, event.value.end, len(event.value))

`event.value` is a `Chunk`; the event is acknowledged as a whole when the agent asks for the next one. A chunk may be empty: its
span then holds only offsets that do not exist, and a position must move past them.

Architecture invariant: this package is the only one that touches private names of aiokafka and Faust, and
`tests/transport/test_lane_guard.py` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import faust
from faust.serializers.schemas import Schema
from faust.types import TP, AppT, EventT, Message, TopicT

from driftline.streams.transport.consumer import Lane, LaneTransport


def install(
    app: faust.App,
    topics: Collection[str],
    start_positions: Callable[[], Mapping[TP, int]] | None = None,
    chunk_records: int = 65_536,
    fetch_wait_ms: int = 50,
) -> None:
    """Make `topics` lanes of `app`. Call it before the app starts.

    Parameters
    ----------
    start_positions
        Asked after every assignment, when tables are recovered and `app.on_rebalance_complete` has run: where to begin. Partitions
        it leaves out begin at their committed offset.
    chunk_records
        A chunk is closed at this many records, or at about 10 MiB of keys and values.
    fetch_wait_ms
        How long the broker may hold a fetch that has nothing to bring, at first; longer while nothing comes.
    """
    lane = Lane(frozenset(topics), start_positions or dict, chunk_records, fetch_wait_ms)
    app.transport = LaneTransport(app.conf.broker_consumer, app, lane=lane)


def lane_topic(app: faust.App, *names: str) -> TopicT:
    """The Faust topic of one or several lane topics: chunks come through untouched."""
    return app.topic(*names, schema=ChunkSchema())


class ChunkSchema(Schema[Any, Any]):
    """Hands the message's value on as it is; there is nothing to deserialize."""

    def compile(self, app: AppT, **_: Any) -> Callable[..., Any]:
        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:
            return app.create_event(message.key, message.value, message.headers, message)

        return decode
