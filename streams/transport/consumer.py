"""Faust's consumer with chunks, a correct commit rule, and no record lost between fetch and agent.

What differs from Faust's own, and why (4-faust traps 1, 2, 14, 18 and 20 are the failures this answers):

* Records of a fetched block that cannot be delivered now (partition paused, flow stopped) are given back to the fetcher, unless
  a seek came between; then they are stale and dropped. Faust drops them in both cases, which loses or reorders them.
* Nothing is committed past the first offset of the lowest message that a stream has started and not acknowledged. Offsets that do
  not exist need no bookkeeping.
* An acknowledgement of a chunk counts only if the chunk was processed, see `ChunkMessage`. Faust also acknowledges what a failing
  agent held, and what it skipped around a rebalance.
* Acknowledged offsets are committed before partitions are given up.
* An agent's queue is bounded by chunks waiting in it, partition by partition, and by their bytes, topic by topic.
* A partition of a lane topic is not read before it has been sought.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakSet

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage, Message
from mode import Seconds

from driftline.streams.transport.ask import fetch_seldom
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.fetch import chunk_lanes
from driftline.streams.transport.producer import LaneProducer
from driftline.streams.transport.receive import FETCH_BYTES, receive_in_place

#: Chunks of one partition that may wait for an agent before its next block is asked for. One is worked on while the next arrives.
WAITING_CHUNKS = 2
#: So many bytes of chunks of one topic are enough to wait for its agents: more would only be more memory.
WAITING_BYTES = 4 << 20
#: After so many bytes of chunks at once the next are at most so many chunks, of all partitions. While there is a backlog each takes
#: memory of megabytes, and whoever reads them is the slower.
MUCH_BYTES, CHUNKS_AT_ONCE = 2 << 20, 2
#: How often to look again while a partition is held back.
HELD_BACK_S = 0.02


@dataclass(frozen=True, slots=True)
class Lane:
    """How the lane topics are read."""

    topics: frozenset[str]
    start_positions: Callable[[], Mapping[TP, int]]
    chunk_records: int
    fetch_wait_ms: int


class Fetched(dict[TP, list[Any]]):
    """What one fetch brought, and the position of each partition just after it."""

    def __init__(self, records: Mapping[TP, list[Any]], positions: Mapping[TP, int]) -> None:
        super().__init__(records)
        self.positions = positions


class ChunkMessage(ConsumerMessage):
    """The message that carries a chunk to its agents. It cannot be acknowledged while it is not known to be processed.

    A stream acknowledges its event in a `finally`: also when its agent failed and the stream is closed, which is a `GeneratorExit`,
    and when it skips what an earlier generation of the group fetched or what arrives while the flow is stopped. Each time the
    partition is read again afterwards, by another worker or after a seek, so nothing is lost by not counting it.
    Whoever acknowledges looks at `acked` first (`Message.ack`, and the compiled stream that does the same inline).
    """

    __slots__ = ("app", "done", "size")

    def __init__(self, app: AppT, chunk: Chunk, tp: TP) -> None:
        self.app, self.size = app, len(chunk.data)
        timestamp_s = int(chunk.timestamp[-1]) / 1000 if len(chunk) else 0.0
        super().__init__(
            chunk.topic, chunk.partition, chunk.end - 1, timestamp_s, 0, None, None, cast(Any, chunk), None, 0, 0, tp,
            generation_id=app.consumer_generation_id,
        )  # fmt: skip

    @property
    def acked(self) -> bool:
        """Acknowledged, or not to be acknowledged now."""
        closing = isinstance(sys.exception(), GeneratorExit)
        stale = self.generation_id != self.app.consumer_generation_id or not self.app.flow_control.is_active()
        return self.done or closing or stale

    @acked.setter
    def acked(self, done: bool) -> None:
        self.done = done


class LaneThread(driver.AIOKafkaConsumerThread):
    """The thread that aiokafka runs in. Whatever must not be torn apart by a seek happens here, between two awaits."""

    transport: LaneTransport
    _brought_much = False

    async def on_start(self) -> None:
        await super().on_start()
        lane = self.transport.lane
        fetcher = self._ensure_consumer()._fetcher
        chunk_lanes(fetcher, lane.topics, lane.chunk_records)
        fetch_seldom(fetcher)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.transport.lane.fetch_wait_ms  # Faust's 1.5 s cannot be configured
        consumer._fetch_max_bytes = FETCH_BYTES
        consumer._isolation_level = "read_committed"  # Faust asks for it only with exactly_once
        receive_in_place(consumer._client)
        return consumer

    async def _fetch_records(
        self, consumer: AIOKafkaConsumer, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Fetched:
        most = CHUNKS_AT_ONCE if self._brought_much else max_records
        records = await super()._fetch_records(consumer, active_partitions, timeout, most)
        size = sum(len(chunk.data) for tp, found in records.items() if tp.topic in self.transport.lane.topics for chunk in found)
        self._brought_much = size > MUCH_BYTES
        return Fetched(records, {tp: self.fetch_position(tp) for tp in records})

    async def give_back(self, undelivered: Mapping[TP, int], positions: Mapping[TP, int]) -> None:
        """Fetch again from `undelivered`, where nothing has moved the partition since it stood at `positions`."""
        await self.call_thread(self._give_back, undelivered, positions)

    async def _give_back(self, undelivered: Mapping[TP, int], positions: Mapping[TP, int]) -> None:
        for tp, position in undelivered.items():
            if self.fetch_position(tp) == positions[tp]:
                self._ensure_consumer().seek(tp, position)

    async def is_member(self, generation: int) -> bool:
        """Whether the group's coordinator knows this worker in this generation. If not, the worker joins again by itself."""
        return bool(await self.call_thread(self._is_member, generation))

    async def _is_member(self, generation: int) -> bool:
        coordinator = self._ensure_consumer()._coordinator
        return bool(coordinator.generation == generation and await coordinator._do_heartbeat() and coordinator.generation == generation)

    def fetch_position(self, tp: TP) -> int:
        """The position the next fetch begins at; -1 when the partition is not ours or has none yet. May be called from any thread."""
        state = self._state(tp)
        return -1 if state is None or state._position is None else cast(int, state._position)

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]
        """The end of the partition as the last fetch saw it. None when that is not known, or while a rebalance has the partition: Faust
        would fail then."""
        state = self._state(tp)
        return None if state is None else cast(int | None, state.highwater)

    def _state(self, tp: TP) -> Any:
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription else None
        return assignment.state_value(tp) if assignment else None


class LaneConsumer(driver.Consumer):
    """See the module. `position`, `highwater` and `seek_wait` are Faust's; `seek_back` is for an agent that missed something."""

    transport: LaneTransport
    _thread: LaneThread

    def __init__(self, transport: LaneTransport, *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self._lane = transport.lane
        self._read_offset = _ReadOffsets(transport.lane.topics)
        self._unacked_messages = set()  # Faust's is weak: it forgets the event that an agent dropped
        self._waiting: WeakSet[ChunkMessage] = WeakSet()  # messages on the way to a stream
        self._sought = False

    def _new_consumer_thread(self) -> LaneThread:
        return LaneThread(self, loop=self.loop, beacon=self.beacon)

    # -- delivery

    async def sleep(self, n: Seconds) -> None:
        """Faust sleeps for no time after each fetch and partition, for which it begins a wait and gives it up."""
        await (super().sleep(n) if n else asyncio.sleep(0))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch once and deliver, the partitions in turn."""
        fetched, _ = await self._wait_next_records(timeout)
        if not isinstance(fetched, Fetched):  # nothing was asked for
            return
        delivered: Counter[TP] = Counter()
        closed: set[TP] = set()
        for tp, record in self.scheduler.iterate(fetched):
            if not self.flow_active or self.should_stop:
                break
            if tp in closed or not self._deliverable(tp, fetched.positions[tp]):
                closed.add(tp)
                continue
            if not delivered[tp]:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            delivered[tp] += 1
            yield tp, self._to_message(tp, record)
        undelivered = {tp: _first(records[delivered[tp]]) for tp, records in fetched.items() if delivered[tp] < len(records)}
        if undelivered and not self.should_stop:
            await self._thread.give_back(undelivered, fetched.positions)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Faust takes up what it is given as it is, such as a message's partition, which is of another type, and fails of it afterwards."""
        super().resume_partitions(ensure_TPset(tps))

    def _deliverable(self, tp: TP, position: int) -> bool:
        wanted = self.app.client_only or tp in self._get_active_partitions() or tp in self._buffered_partitions
        return wanted and self._thread.fetch_position(tp) == position

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:
        if active_partitions is None:  # a client without a group has no lanes
            return await super()._getmany(None, timeout)
        held_back = self._held_back(active_partitions)
        if not held_back and not self._buffered_partitions:
            return await super()._getmany(active_partitions, timeout)
        if active_partitions <= held_back:
            await asyncio.sleep(HELD_BACK_S)
            return {}
        return await super()._getmany(active_partitions - held_back, HELD_BACK_S)

    def _held_back(self, active_partitions: Collection[TP]) -> set[TP]:
        if not self._sought:
            return {tp for tp in active_partitions if tp.topic in self._lane.topics}
        self._waiting -= {message for message in self._waiting if message.tracked}
        return held_back(active_partitions, ((message.tp, message.size) for message in self._waiting))

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Chunk):
            return super()._to_message(tp, record)
        message = ChunkMessage(self.app, record, tp)
        self._waiting.add(message)
        return message

    # -- commits

    def _new_offset(self, tp: TP) -> int | None:
        """The position that may be committed: one past the highest acknowledged offset below every started message."""
        acked = self._acked[tp]
        if not acked:
            return None
        self._unacked_messages -= {message for message in self._unacked_messages if _done(message)}
        started = [_first(m.value, m.offset) for m in self._unacked_messages if m.tp == tp]
        lowest = min(started, default=None)
        done = acked if lowest is None else [offset for offset in acked if offset < lowest]
        if not done:
            return None
        position = max(done) + 1
        self._acked_index[tp].difference_update(done)
        self._acked[tp] = [] if lowest is None else [offset for offset in acked if offset >= lowest]
        return position

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets that do not exist need no bookkeeping under this commit rule."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is acknowledged by now. Where Faust only waits for a commit under way, this is another one after it."""
        await self.maybe_wait_for_commit_to_finish()
        return await super().commit(topics, start_new_transaction)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._sought = False
        try:
            await self.commit()  # Faust forgets what was acknowledged before it commits
        except Exception as exc:
            self.log.warning("Commit before giving up partitions failed, their last records will be read again: %r", exc)
        self._unacked_messages -= {message for message in self._unacked_messages if message.tp in revoked}
        await super().on_partitions_revoked(revoked)
        # What was on its way was dropped. Faust's loop refers to the last of it until more comes, and none would be fetched while it waits.
        self._waiting.clear()

    # -- positions

    async def is_member(self, generation: int) -> bool:
        """See `LaneThread.is_member`."""
        return await self._thread.is_member(generation)

    async def perform_seek(self) -> None:
        """Seek to the committed offsets, then to `start_positions` where it names one of ours. The flow resumes after this."""
        await super().perform_seek()
        ours = ensure_TPset(self.assignment())
        starts = {TP(*tp): position for tp, position in self._lane.start_positions().items() if tp in ours}
        if starts:
            await self.seek_wait(starts)
        self._sought = True

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek. What is under way from a position sought or later will come again, so its acknowledgement no longer counts."""
        for message in [*self._unacked_messages, *self._waiting]:
            if message.offset >= partitions.get(message.tp, message.offset + 1):
                message.acked = True
                self._unacked_messages.discard(message)
        for tp, position in partitions.items():
            again = [offset for offset in self._acked[tp] if offset >= position]
            self._acked_index[tp].difference_update(again)
            self._acked[tp] = [offset for offset in self._acked[tp] if offset < position]
        await super().seek_wait(partitions)

    async def seek_back(self, tp: TP, position: int) -> int:
        """Read partition `tp` again from `position`, or from its first record if retention has deleted what lay before that.

        Returns
        -------
        The position reading goes on from. Where it is higher than `position`, the records between are gone for good.
        """
        with suppress(IllegalStateError, asyncio.TimeoutError):  # given up meanwhile: the next assignment seeks
            position = max(position, (await self.earliest_offsets(tp))[tp])
            await self.seek_wait({tp: position})
        return position


class LaneTransport(driver.Transport):
    """Faust's Kafka transport with the lane's consumer and producer."""

    Consumer = LaneConsumer
    Producer = LaneProducer

    def __init__(self, *args: Any, lane: Lane, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lane = lane


def held_back(partitions: Iterable[TP], waiting: Iterable[tuple[TP, int]]) -> set[TP]:
    """Those whose agents have enough to do: `waiting` tells the partition and the bytes of each chunk that waits for them.

    >>> a, b, other = TP("events", 0), TP("events", 1), TP("labels", 0)
    >>> sorted(held_back([a, b, other], [(a, 10), (a, 10), (other, 10)]))
    [TP(topic='events', partition=0)]
    >>> sorted(held_back([a, b, other], [(a, WAITING_BYTES)]))
    [TP(topic='events', partition=0), TP(topic='events', partition=1)]
    """
    chunks, size = Counter[TP](), Counter[str]()
    for tp, n in waiting:
        chunks[tp] += 1
        size[tp.topic] += n
    return {tp for tp in partitions if chunks[tp] >= WAITING_CHUNKS or size[tp.topic] >= WAITING_BYTES}


class _ReadOffsets(defaultdict[TP, int | None]):
    """Faust's highest offset delivered, below which it drops records. Chunks say where they begin, so lanes do without:
    a chunk fetched before a seek must not hide those fetched after it."""

    def __init__(self, lanes: frozenset[str]) -> None:
        super().__init__(lambda: None)
        self._lanes = lanes

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        super().__setitem__(tp, None if tp.topic in self._lanes else offset)


def _done(message: Message) -> bool:
    return message.done if isinstance(message, ChunkMessage) else message.acked


def _first(record: Any, otherwise: int | None = None) -> int:
    """The first offset a record or chunk stands for."""
    if isinstance(record, Chunk):
        return record.first
    return cast(int, record.offset if otherwise is None else otherwise)
