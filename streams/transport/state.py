"""State in a Faust table: bytes under bytes, written by one owner of a partition after another.

A worker that was paused may go on writing after another has taken its partition. Two things make that harmless, also after
compaction, which keeps the last record of a key and knows nothing of owners:

* every owner has an *epoch*, higher than those before it, and writes under keys of its own: nobody overwrites another's record;
* of the records of one key the highest epoch counts, and of one epoch the highest rank.

An owner's record replaces its predecessors', so those are deleted when it is written. A changelog's key is
`partition|@epoch|key`, the value begins with the rank in eight bytes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import faust
from faust.types import TP, EventT

Pairs = dict[bytes, bytes]
ERA = 1 << 32  # an epoch is the group's generation; a group that begins anew at generation 1 begins a new era


class RankedTable(faust.Table):  # type: ignore[type-arg]
    """A table whose recovery keeps the highest rank of each key, where Faust's keeps the last.

    What a worker has read while it stood by for another, it need not read again when it takes over. Faust's store in memory forgets
    how far that was, and drops it at every rebalance.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reached: dict[TP, int] = {}  # the last offset read of a changelog's partition
        self.read_back = 0  # records, since the last rebalance

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        data: Any = self.data.data
        for event in batch:
            key, value = event.message.key, event.message.value
            old = data.get(key)
            if value is None:
                data.pop(key, None)
            elif old is None or value[:8] >= old[:8]:
                data[key] = value
            self._reached[event.message.tp] = event.message.offset
            self.read_back += 1

    def persisted_offset(self, tp: TP) -> int | None:
        return self._reached.get(tp)

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0) -> None:
        self.read_back = 0
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Forget what this worker neither owns nor stands by for."""
        kept = {tp.partition for tp in active_tps | standby_tps}
        data: Any = self.data.data
        for key in [key for key in data if int(key.partition(b"|")[0]) not in kept]:
            del data[key]
        self._reached = {tp: offset for tp, offset in self._reached.items() if tp.partition in kept}
        await self.call_recover_callbacks()


class State:
    """One verb's table."""

    def __init__(self, app: faust.App, name: str, partitions: int) -> None:
        self._table: Any = RankedTable(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes, default=None)
        app.tables.add(self._table)
        self._begun: dict[int, tuple[int, int]] = {}  # partition → generation and epoch

    @property
    def read_back(self) -> int:
        """Records of the changelog that were read since the last rebalance began."""
        return int(self._table.read_back)

    def is_behind(self, partition: int, generation: int) -> bool:
        """Whether somebody of this generation or a later one has written: a successor, unless the group has begun anew."""
        return self._begun.get(partition, (-1, 0))[0] != generation and 0 < self._newest(partition) % ERA >= generation

    def own(self, partition: int, generation: int) -> Owned:
        """A partition's part of the table, for the owner that `generation` of the group made; it writes under an epoch of its own."""
        if self._begun.get(partition, (-1, 0))[0] != generation:
            self._begun[partition] = (generation, epoch_after(self._newest(partition), generation))
        return Owned(self, partition, self._begun[partition][1])

    def _newest(self, partition: int) -> int:
        return max((epoch for epoch, _, _ in self._records(partition)), default=0)

    def of(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """What was recovered for a partition: (key, value), of each key the one that counts."""
        best: dict[bytes, tuple[int, bytes]] = {}
        for epoch, key, full in self._records(partition):
            if key not in best or epoch > best[key][0]:
                best[key] = (epoch, full)
        for key, (_, full) in best.items():
            yield key, self._table.data.data[full][8:]

    def _records(self, partition: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(epoch, key, key in the changelog) of everything in memory about a partition."""
        owner = b"%d|" % partition
        for full in list(self._table.data.data):
            if full.startswith(owner):
                rest = full[len(owner) :]
                epoch, key = (int(rest[1:17], 16), rest[18:]) if rest.startswith(b"@") else (0, rest)  # before there were epochs
                yield epoch, key, full

    async def _send(self, partition: int, records: list[tuple[bytes, bytes | None]]) -> None:
        """Straight to the producer: the table's own way makes tasks and futures for each record and gives nothing that is used here."""
        data: Any = self._table.data.data
        for full, value in records:
            if value is None:
                data.pop(full, None)
            else:
                data[full] = value
        topic = self._table.changelog_topic.get_topic_name()
        await asyncio.gather(*await self._table.app.producer.send_all(topic, partition, records))


class Owned:
    """One partition of a verb's table in the hands of one owner. It outlives neither the assignment nor the epoch."""

    def __init__(self, state: State, partition: int, epoch: int) -> None:
        self._state, self._partition, self.epoch = state, partition, epoch
        self._prefix = b"%d|@%016x|" % (partition, epoch)
        self._others: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for old, key, full in state._records(partition):
            if old != epoch:
                self._others[key].append(full)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """What was recovered: (key, value)."""
        return self._state.of(self._partition)

    @property
    def generation(self) -> int:
        """Of the group that made this owner."""
        return self.epoch % ERA

    async def write(self, rank: int, pairs: Pairs) -> None:
        """Write values that all know what `rank` knows; returns when the broker has them all."""
        head = rank.to_bytes(8)
        records: list[tuple[bytes, bytes | None]] = []
        for key, value in pairs.items():
            records.append((self._prefix + key, head + value))
            records += [(full, None) for full in self._others.pop(key, ())]
        await self._state._send(self._partition, records)

    async def remove(self, keys: Iterable[bytes]) -> None:
        """Delete what no successor needs: each must find, in what was written before, that these keys are done with."""
        every = [full for key in keys for full in (self._prefix + key, *self._others.pop(key, ()))]
        await self._state._send(self._partition, [(full, None) for full in every])


def to_recover(app: faust.App) -> tuple[int, int]:
    """How many records of the changelogs of this worker's partitions are yet to be read back, and of how many."""
    tables: Any = app.tables
    recovery = tables.recovery
    return recovery.active_remaining_total(), sum(end + 1 for end in recovery.active_highwaters.values() if end >= 0)


def epoch_after(newest: int, generation: int) -> int:
    """The epoch of an owner that found `newest` and came with `generation` of the group.

    Within an era it is the generation, which the group's coordinator makes grow. A group that was deleted or forgotten begins
    anew at generation 1: then the era is the next one. A worker that is behind (`State.is_behind`) must first make sure that it is a
    member still (`LaneConsumer.is_member`): it may be late, and the newest be its successor's.

    >>> epoch_after(0, 4), epoch_after(4, 5), epoch_after(5, 1) == ERA + 1, epoch_after(ERA + 1, 2) == ERA + 2
    (4, 5, True, True)
    """
    era, last = divmod(newest, ERA)
    return (era + (generation <= last)) * ERA + generation if newest else generation
