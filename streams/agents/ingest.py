"""ingest: from predictions and outcomes to panes. The shell around `partition`.

Order of every flush: snapshots to `panes` and dead letters, the table, progress, marker, what is final out of the table, commit; each
waits until the broker has the one before. What the table knows is not told again after a crash, so `panes` must have it first.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from aiokafka.partitioner import murmur2
from faust.types import TP

from driftline.schemas.errors import DriftlineError, Rejected
from driftline.schemas.events import decode_prediction, parse_time
from driftline.schemas.progress import CODEC, Marker, Progress, decode_marker, encode_marker, encode_progress, progress_key
from driftline.schemas.results import Orphan, Results, encode_results
from driftline.streams.agents.archive import Archive
from driftline.streams.agents.cold import Cold, begin, bring_back, make_room, name_orphans
from driftline.streams.agents.gathered import Gathered, Source
from driftline.streams.agents.letters import bury
from driftline.streams.agents.pace import Closings, Pace, Turns
from driftline.streams.agents.positions import refuse_recreated
from driftline.streams.agents.wiring import Wiring
from driftline.streams.batch import Topic
from driftline.streams.breaker import LIMIT, WINDOW
from driftline.streams.panes import Fence, PaneKey, decode_key, encode_key
from driftline.streams.partition import Partition
from driftline.streams.registry import Incomplete
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.contiguity import Apply, Contiguity, SeekBack
from driftline.streams.transport.state import Owned, Pairs

log = logging.getLogger(__name__)
_NOTHING = encode_marker(Marker(CODEC, (0, 0), [], {}, {}))
_NO_IDS = msgspec.msgpack.encode(("", ""))
MARKER = b"marker"
TOPICS = b"topics"  # ids of the two source topics that the marker speaks of
ORPHANS = 5_000  # of one record
ENDED_S = 1.0  # without another label: those that came do not wait for more
REMIND_S = 30.0  # between two complaints about a topic that waits
MANY = (8_192, 1 << 20)  # labels of a partition, or bytes of them, that wait for no turn: what they touch costs little beside them
ENOUGH = {"predictions": (8_192, 3 << 20), "outcomes": (65_536, 12 << 20)}  # records or bytes of a partition that await no flush


@lru_cache(100_000)
def partition_of(model: str, partitions: int) -> int:
    """The partition of `panes` and everything after it that a model lives in; Kafka's own hash of the name."""
    return int(murmur2(model.encode()) & 0x7FFFFFFF) % partitions


class Ingest:
    """The source partitions of this worker."""

    def __init__(self, wiring: Wiring, cold: Cold, archive: Archive | None = None, pace: Pace | None = None) -> None:
        self._w, self._cold, self._archive = wiring, cold, archive
        self._pace = pace or Pace(wiring.flush_s)
        self._partitions: dict[int, Partition] = {}
        self._owned: dict[int, Owned] = {}
        self._ids: dict[int, tuple[str, str]] = {}  # of predictions and outcomes, when the marker was written
        self._ids_kept: dict[int, tuple[str, str]] = {}  # what of it this owner has written
        self._contiguity = Contiguity()
        self._events: dict[int, list[Any]] = {}
        self._dead: dict[int, list[Any]] = {}
        self._told: dict[int, tuple[Progress, frozenset[int]]] = {}  # of each partition, and to which ones of `panes`
        self._met_s: dict[int, dict[str, float]] = defaultdict(dict)  # of each partition, when it last had a record of a model
        self._reminded_s: dict[TP, float] = {}
        self._flush_began_s = self._flush_took_s = 0.0
        self._taken = 0  # events, since the pace was told
        self._gathered = Gathered()
        self._turns, self._closings = Turns(), Closings()
        self._labelled: set[int] = set()  # partitions that have taken in labels since their last flush
        self._taking_in = asyncio.Lock()
        self._noted_s = -REMIND_S
        self._late: dict[int, tuple[int, int]] = {}  # of each partition, as it was said last
        self._late_noted_s: dict[int, float] = {}
        self._flushing = asyncio.Lock()
        self._moving = asyncio.Lock()  # while ids go to the store or come back, nothing is taken in
        self._began: dict[int, Fence] = {}
        self.flushes, self.flush_seconds = 0, 0.0

    async def start(self, assigned: Iterable[TP]) -> None:
        """Begin anew with the partitions of an assignment, each from what its table says. Streams stand still meanwhile."""
        topics = self._w.topics
        mine = {name: {tp.partition for tp in assigned if tp.topic == name} for name in (topics.predictions, topics.outcomes)}
        if mine[topics.predictions] != mine[topics.outcomes]:
            raise DriftlineError(
                "not_colocated",
                f"partitions {sorted(mine[topics.predictions])} of predictions came with {sorted(mine[topics.outcomes])} of outcomes",
                "both topics need the same partition count, and the worker its own assignor: see `driftline topics --check`",
            )  # fmt: skip
        async with self._flushing:
            self._owned = {k: self._w.ingest_state.own(k, self._w.generation) for k in sorted(mine[topics.predictions])}
            self._partitions = {k: await self._recover(k, owned) for k, owned in self._owned.items()}
            self._began = {k: partition.positions for k, partition in self._partitions.items()}
            self._events = {k: [] for k in self._partitions}
            self._dead = {k: [] for k in self._partitions}
            self._gathered, self._turns, self._closings = Gathered(), Turns(), Closings()
            self._told, self._ids_kept = {}, {}
            self._pace.start()
            self._late = {k: _late(partition) for k, partition in self._partitions.items()}
            self._contiguity.start({(tp.topic, tp.partition): offset for tp, offset in self.start_positions().items()})
        await self._refuse_recreated()
        await self._pass_deleted()

    async def _recover(self, number: int, owned: Owned) -> Partition:
        """The partition as its table has it; the marker is written again as ours, so that whoever comes later begins after us."""
        state = dict(owned.items())
        written = state.pop(MARKER, _NOTHING)
        marker = decode_marker(written)
        await owned.write(sum(marker.positions), {MARKER: written})
        self._ids[number] = msgspec.msgpack.decode(state.pop(TOPICS, _NO_IDS), type=tuple[str, str])
        stored = {decode_key(key)[0]: value for key, value in state.items()}
        partition = Partition(
            number, self._w.registry, stored, marker, owned.epoch, self._w.partitions, hot_rows=self._w.hot_rows,
            life=secrets.randbits(63),
        )  # fmt: skip
        await begin(partition, self._cold)
        return partition

    def start_positions(self) -> dict[TP, int]:
        """Where the source partitions must be read from: the lane asks after every assignment."""
        positions = {}
        for k, partition in self._partitions.items():
            positions[TP(self._w.topics.predictions, k)] = partition.positions.predictions
            positions[TP(self._w.topics.outcomes, k)] = partition.positions.outcomes
        return positions

    def recovery(self) -> tuple[int, int]:
        """How many records have been read again, and how many must be, before the partitions know what they knew."""
        done = needed = 0
        for k, partition in self._partitions.items():
            for since, position, end in zip(self._began[k], partition.positions, partition.needed, strict=True):
                done, needed = done + min(position, end) - since, needed + end - since
        return done, needed

    def counters(self) -> Counter[str]:
        """Records by what became of them, over all partitions."""
        return sum((partition.counters for partition in self._partitions.values()), Counter())

    async def _refuse_recreated(self) -> None:
        names = (self._w.topics.predictions, self._w.topics.outcomes)
        sources = [TP(name, k) for k in self._partitions for name in names]
        ends = await self._w.consumer.highwaters(*sources) if sources else {}
        ids = await self._w.topic_ids()
        for k, partition in self._partitions.items():
            for name, needed, then in zip(names, partition.needed, self._ids[k], strict=True):
                refuse_recreated(TP(name, k), needed, ends[TP(name, k)], (then, ids.get(name, "")))
            predictions, outcomes = (ids.get(name) or then for name, then in zip(names, self._ids[k], strict=True))
            self._ids[k] = predictions, outcomes

    async def run(self, stream: Any) -> None:
        """Gather chunks, and take them in when there are enough, or a flush is due: until then nobody sees what came of them."""
        async for event in stream.noack().events():
            chunk: Chunk = event.value
            if event.message.tp in self._waiting(chunk.partition):
                self._w.consumer.pause_partitions({event.message.tp})
                continue  # neither applied nor acknowledged: whoever goes on reads it again
            verdict = self._contiguity.judge(chunk, time.monotonic())
            if isinstance(verdict, Apply):
                event.value = event.message.value = chunk.span
                self._gathered.add(verdict.chunk, event, time.monotonic())
                self._note_pace(verdict.chunk)
                self._note_closing(verdict.chunk)
                if self._gathered.too_much:
                    await self._take_in(self._gathered.sources)
                elif self._gathered.enough((chunk.topic, chunk.partition), *ENOUGH[self._topic(chunk.topic)]):
                    await self._take_in([(chunk.topic, chunk.partition)])
            elif isinstance(verdict, SeekBack):
                await self._seek_back(event.message.tp, verdict.position)
            else:
                event.ack()  # seen before, or not ours: an event kept open would hold back every later commit
            if self._flush_is_due():
                await self.flush()

    def _topic(self, name: str) -> Topic:
        return "predictions" if name == self._w.topics.predictions else "outcomes"

    async def _take_in(self, sources: Iterable[Source]) -> None:
        """Apply what was gathered of these sources."""
        async with self._taking_in:
            gathered, events = self._gathered, self._events  # of the assignment they are applied under, though another may come meanwhile
            for source in sorted(sources, reverse=True):  # predictions before the labels that meet them
                if self._gathered is not gathered:
                    return  # whoever goes on reads the rest again
                if gathered.records(source):
                    chunks, waiting = gathered.take(source)
                    while chunks and self._gathered is gathered:
                        await self._apply(chunks.pop(0))  # and let its memory go
                    events[source[1]] += waiting  # a flush takes its lists
                    if source[0] == self._w.topics.outcomes:
                        self._labelled.add(source[1])

    def _due(self) -> list[Source]:
        """What is taken in before a flush: all predictions, for windows close by them, and the labels of the partitions whose turn it is.

        Labels trickle into the panes of hours. Each of these is encoded, sent, merged and judged again for the few that it got since;
        many wait no longer.
        """
        sources, outcomes, now_s = self._gathered.sources, self._w.topics.outcomes, time.monotonic()
        labelled = [number for topic, number in sources if topic == outcomes]
        ended = {number for number in labelled if now_s - self._gathered.newest_s((outcomes, number)) > ENDED_S}
        recovering = {number for number in labelled if not self._partitions[number].recovered}
        many = {number for number in labelled if self._gathered.enough((outcomes, number), *MANY)}
        turns = ended.union(recovering, many, self._turns.due(labelled, now_s))
        return [(topic, number) for topic, number in sources if topic != outcomes or number in turns]

    def _note_pace(self, chunk: Chunk) -> None:
        tp = TP(chunk.topic, chunk.partition)
        end = self._w.consumer.highwater(tp)
        newest_s = int(chunk.timestamp.max(initial=0)) / 1000
        self._pace.read(tp, time.time() - newest_s, end is not None and chunk.end >= end, self._taken)
        self._taken = 0

    def _note_closing(self, chunk: Chunk) -> None:
        """By its last record: whether a window has closed is known before anything is taken in. Of a batch it is not."""
        if not len(chunk) or chunk.topic != self._w.topics.predictions or chunk.headers[-1]:
            return
        last = decode_prediction(chunk.value(len(chunk) - 1))
        if isinstance(last, Rejected) or not (model := self._w.registry.configured.get(last.model)):
            return
        ts = parse_time(last.ts)
        if not isinstance(ts, Rejected):
            self._closings.read(model, chunk.partition, ts, time.monotonic())

    async def _seek_back(self, tp: TP, position: int) -> None:
        await self._take_in(self._gathered.sources)
        partition = self._partitions.get(tp.partition)
        start = await self._w.consumer.seek_back(tp, position)
        if start <= position or partition is None or self._partitions.get(tp.partition) is not partition:
            return
        self._go_on(tp, position, start)

    async def _pass_deleted(self) -> None:
        """Retention may have taken what a partition would begin with, and without another record nobody would say so."""
        positions = self.start_positions()
        earliest = await self._w.consumer.earliest_offsets(*positions) if positions else {}
        for tp, position in positions.items():
            if earliest[tp] > position and tp.partition in self._partitions:  # it may have been given up meanwhile
                self._go_on(tp, position, earliest[tp])

    def _go_on(self, tp: TP, position: int, start: int) -> None:
        """Go on from `start`: what lies before it, from `position` on, is gone from the broker."""
        partition = self._partitions[tp.partition]
        where = "predictions" if tp.topic == self._w.topics.predictions else "outcomes"
        uncounted = max(position, getattr(partition.uncounted, where))
        if start > uncounted:
            log.error(
                "data_loss_gap: %s-%s: offsets %s to %s are gone from the broker before they were read; going on from %s",
                tp.topic, tp.partition, uncounted, start - 1, start,
            )  # fmt: skip
        else:
            log.warning(
                "%s-%s: offsets %s to %s are gone from the broker; they are counted, but labels still to come cannot be joined to them",
                tp.topic, tp.partition, position, start - 1,
            )  # fmt: skip
        self._contiguity.move((tp.topic, tp.partition), start)
        partition.skip_to(**{where: start})

    async def _apply(self, chunk: Chunk) -> None:
        partition, dead = self._partitions[chunk.partition], self._dead
        topic = self._topic(chunk.topic)
        while True:
            try:
                batch = partition.read(chunk, topic)
                break
            except Incomplete:
                await self._w.models.catch_up(int(chunk.timestamp.max()))
        async with self._moving:
            await bring_back(partition, batch, self._cold)
            letters = partition.apply(batch)
        self._taken += sum(len(rows.index) for rows in batch.by_model)
        self._gathered.expect(max((each.models for each in self._partitions.values()), default=0))
        now = time.monotonic()
        self._met_s[chunk.partition] |= dict.fromkeys(partition.met, now)
        partition.met.clear()
        # No await since `apply`: a flush in between would write a marker that is past letters nobody has sent.
        dead[chunk.partition] += [asyncio.ensure_future(bury(self._w, chunk, letter.index, letter.why)) for letter in letters]
        if self._archive:
            new = chunk.since(getattr(partition.told, topic))
            skipped = len(chunk) - len(new)
            dead[chunk.partition] += self._archive.begin(new, topic, {letter.index - skipped for letter in letters})
        if partition.tiers.crowded:
            async with self._moving:
                await make_room(partition, self._cold)

    def _waiting(self, number: int) -> list[TP]:
        """The topics of a partition that wait for a person: too many of their last records were dead letters."""
        partition = self._partitions.get(number)
        tripped = partition.tripped if partition and self._w.breaker else []
        return [TP(getattr(self._w.topics, topic), number) for topic in tripped]

    def _note_unknown(self) -> None:
        """Say now and then that events have fields that are passed over."""
        now = time.monotonic()
        if now - self._noted_s < REMIND_S:
            return
        for number, partition in self._partitions.items():
            if partition.unknown:
                self._noted_s = now
                listed = ", ".join(f"{name!r} in {n}" for name, n in partition.unknown.most_common(5))
                log.warning(
                    "unknown_fields: partition %d: records with a field that is not known, and passed over: %s; correct its name or leave "
                    "it out", number, listed,
                )  # fmt: skip
                partition.unknown.clear()

    def _note_late(self) -> None:
        """Say now and then how many events came too late to be counted."""
        now = time.monotonic()
        for number, partition in self._partitions.items():
            predictions, outcomes = _late(partition)
            if predictions + outcomes > sum(self._late[number]) and now - self._late_noted_s.get(number, -REMIND_S) >= REMIND_S:
                self._late[number], self._late_noted_s[number] = (predictions, outcomes), now
                log.warning(
                    "late_events: partition %d: %d predictions and %d outcomes so far lay further behind the newest event of their model "
                    "than its disorder and grace allow; they are not counted, and kept where the model's file asks for an archive",
                    number, predictions, outcomes,
                )  # fmt: skip

    def _complain(self) -> None:
        now = time.monotonic()
        for tp in [tp for number in self._partitions for tp in self._waiting(number)]:
            if tp not in self._reminded_s:
                self._w.audit(
                    "breaker.tripped", f"{tp.topic}-{tp.partition}", f"more than {LIMIT} of the last {WINDOW} records are dead letters"
                )
            if now - self._reminded_s.get(tp, -REMIND_S) >= REMIND_S:
                self._reminded_s[tp] = now
                log.error(
                    "dead_letter_breaker: %s-%s waits: more than %d of its last %d records are dead letters; what sends them is broken: "
                    "correct it, go on with `driftline worker --no-breaker`, and put them back with `driftline replay --dead-letters`",
                    tp.topic, tp.partition, LIMIT, WINDOW,
                )  # fmt: skip

    async def tick(self) -> None:
        """Flush when it is time, though nothing comes in."""
        self._complain()
        self._note_unknown()
        self._note_late()
        if self._flush_is_due():
            await self.flush()

    def _flush_is_due(self) -> bool:
        if self._flushing.locked():
            return False
        now_s = time.monotonic()
        return self._pace.is_due(now_s - self._flush_began_s, self._flush_took_s) or (self._closings.due(now_s) and not self._pace.behind)

    async def flush(self, everything: bool = False) -> None:
        """Make what is taken in durable, and acknowledge it; labels that wait for their turn only with `everything`."""
        async with self._flushing:
            self._flush_began_s = time.monotonic()
            self._closings.flushed()
            await self._take_in(self._gathered.sources if everything else self._due())
            self._pace.flushed()
            # Each waits for the broker several times; one after another, a window's last partition would wait for all of them.
            await asyncio.gather(*(self._flush(number, each) for number, each in list(self._partitions.items()) if each.recovered))
            self._flush_took_s = time.monotonic() - self._flush_began_s
            self.flushes, self.flush_seconds = self.flushes + 1, self.flush_seconds + self._flush_took_s

    async def _flush(self, number: int, partition: Partition) -> None:
        owned = self._owned[number]
        if partition.dirty or self._events[number]:
            await name_orphans(partition, self._cold)
        events, self._events[number] = self._events[number], []
        dead, self._dead[number] = self._dead[number], []
        changed = partition.dirty or bool(events)
        begin_s = time.thread_time()
        flush = partition.flush() if changed else None
        if number in self._labelled:
            self._labelled.discard(number)
            self._turns.took(number, time.thread_time() - begin_s)
        told = progress, homes = self._progress(number, partition), self._homes()
        positions = partition.positions
        if flush:
            await asyncio.gather(self._write(number, owned, flush.snapshots, positions), self._tell(flush.orphans), *dead)
        if told != self._told.get(number):
            value = encode_progress(progress)
            await asyncio.gather(*[await self._w.send(self._w.topics.panes, k, progress_key(number), value) for k in homes])
            self._told[number] = told
        if flush:
            ids = self._ids[number]
            new = {TOPICS: msgspec.msgpack.encode(ids)} if ids != self._ids_kept.get(number) else {}
            await owned.write(sum(positions), new | {MARKER: flush.marker})
            self._ids_kept[number] = ids
            await self._w.forget(owned, [encode_key(key, number) for key in flush.removed])
        for event in events:
            event.ack()

    async def _tell(self, orphans: list[Orphan]) -> None:
        """To the store, by way of the results."""
        sends = []
        for model in sorted({orphan.model for orphan in orphans}):
            rows = [orphan for orphan in orphans if orphan.model == model]
            for first in range(0, len(rows), ORPHANS):
                value = encode_results(Results(orphans=rows[first : first + ORPHANS]))
                sends.append(await self._w.send(self._w.topics.results, partition_of(model, self._w.partitions), model.encode(), value))
        await asyncio.gather(*sends)

    async def _write(self, number: int, owned: Owned, snapshots: list[tuple[PaneKey, bytes]], positions: Fence) -> None:
        """To the partition of `panes` where the model is evaluated, then to the table."""
        pairs: Pairs = {}
        by_home: defaultdict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for key, snapshot in snapshots:
            record = encode_key(key, number), snapshot
            pairs[record[0]] = snapshot
            by_home[partition_of(key.model, self._w.partitions)].append(record)
        sends = [await self._w.send_all(self._w.topics.panes, home, records) for home, records in by_home.items()]
        await asyncio.gather(*chain.from_iterable(sends))
        await owned.write(sum(positions), pairs)

    def _homes(self) -> frozenset[int]:
        """The partitions of `panes` where models are evaluated; whoever evaluates in the others waits for nothing."""
        return frozenset(partition_of(model, self._w.partitions) for model in self._w.registry.names)

    def _progress(self, number: int, partition: Partition) -> Progress:
        caught_up = self._caught_up(number, partition)
        all_applied = caught_up and not any(at == number for _, at in self._gathered.sources)
        now = time.monotonic()
        met_s = self._met_s[number] if all_applied else {}
        quiet = {model: now - at_s > self._w.registry.model(model).max_wait_ms / 1000 for model, at_s in met_s.items()}
        paused = [topic for topic in partition.tripped if self._w.breaker]
        return partition.progress(quiet, caught_up, paused)

    def _caught_up(self, number: int, partition: Partition) -> bool:
        """Whether all predictions that there are have been taken in, and all outcomes read, which may wait for their turn."""
        outcomes = self._w.topics.outcomes
        positions = {
            self._w.topics.predictions: partition.positions.predictions,
            outcomes: self._contiguity.positions.get((outcomes, number), -1),
        }
        ends = {topic: self._w.consumer.highwater(TP(topic, number)) for topic in positions}
        return all(end is not None and positions[topic] >= end for topic, end in ends.items())

    def settled(self, ends: dict[TP, int], quiet: bool = True) -> bool:
        """Whether all up to `ends` is flushed and, with `quiet`, every model was so for long enough to judge its last windows."""
        for tp, position in self.start_positions().items():
            if position < ends.get(tp, 0):
                return False
        for number, partition in self._partitions.items():
            told = self._told.get(number)
            if told is None or partition.dirty or self._events[number] or told != (self._progress(number, partition), self._homes()):
                return False
            if quiet and (not told[0].caught_up or set(told[0].quiet) != set(told[0].newest)):
                return False
        return True


def _late(partition: Partition) -> tuple[int, int]:
    """How many predictions and outcomes of a partition came too late."""
    return partition.counters["late"], partition.counters["late_outcomes"]
