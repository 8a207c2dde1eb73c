"""A store for the cold tier in memory, and what the shell does with a store, one step after another, for tests of the pure core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np

from driftline.streams.batch import DeadLetter
from driftline.streams.cold import OUTCOME, ColdRows, Int64, NamedRows
from driftline.streams.columns import UInt64
from driftline.streams.join import Orphans
from driftline.streams.partition import Partition
from driftline.streams.tiers import Departure, Overdue
from driftline.streams.transport.chunk import Chunk

Slices = Sequence[tuple[int, int]]


class Store(Protocol):
    """What both this shelf and the real store do."""

    def insert(self, partition: int, departure: Departure) -> None: ...
    def find(self, partition: int, model: str, ids: UInt64, slices: Slices) -> NamedRows: ...
    def ids(self, partition: int, model: str, since: int, slices: Slices) -> Iterator[tuple[UInt64, Int64]]: ...
    def orphans(self, partition: int, about: Overdue, slices: Slices) -> Orphans: ...


class Shelf:
    """One dictionary: id → what was ever written of it, with the slice it was written in."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str, int], list[tuple[int, int, NamedRows]]] = {}
        self.inserted = self.asked = 0

    def insert(self, partition: int, departure: Departure) -> None:
        named = departure.named
        self.inserted += len(named.rows)
        frozen = NamedRows(named.model, named.rows, [*named.versions], [*named.segments], named.classes and [*named.classes])
        for i, key in enumerate(named.rows.id_hash.tolist()):
            row = NamedRows(named.model, named.rows.take(np.array([i])), frozen.versions, frozen.segments, frozen.classes)
            self.rows.setdefault((partition, named.model, key), []).append((departure.life, departure.number, row))

    def find(self, partition: int, model: str, ids: UInt64, slices: Slices) -> NamedRows:
        """Every row with names of its own, so that the codes of rows from different lives do not mix."""
        self.asked += len(ids)
        rows = [row for key in ids.tolist() for row in self._counting(partition, model, key, slices)]
        versions, segments, classes = [], [], []
        regression = bool(rows) and rows[0].classes is None
        columns = []
        for n, named in enumerate(rows):
            row, out = named.rows, named.rows.version[0] == OUTCOME
            versions.append("" if out else named.versions[int(row.version[0])])
            segments.append(() if out else named.segments[int(row.segments[0])])
            told = not np.isnan(row.value[0])
            classes.append(named.classes[int(row.value[0])] if named.classes is not None and told else "")
            value = row.value if named.classes is None or not told else np.array([float(n)])
            one = np.array([n])
            columns.append(
                (row.id_hash, row.offset, row.ts, row.remembered, value, row.version if out else one, one, row.bin, row.fingerprint)
            )
        empty = np.empty(0, np.int64)
        whole = [np.concatenate(parts) for parts in zip(*columns, strict=True)] or [empty] * 9
        return NamedRows(model, ColdRows(*whole), versions, segments, None if regression else classes)

    def ids(self, partition: int, model: str, since: int, slices: Slices) -> Iterator[tuple[UInt64, Int64]]:
        for number, name, key in self.rows:
            if (number, name) == (partition, model):
                for row in self._counting(partition, model, key, slices):
                    if row.rows.remembered[0] >= since:
                        yield row.rows.id_hash, row.rows.remembered

    def orphans(self, partition: int, about: Overdue, slices: Slices) -> Orphans:
        found: dict[tuple[int, int], int] = {}
        for number, name, key in self.rows:
            if (number, name) == (partition, about.model):
                rows = [row.rows for row in self._counting(partition, name, key, slices)]
                times = [int(row.ts[0]) for row in rows if row.version[0] != OUTCOME]
                for row in rows:
                    ts = int(row.ts[0])
                    alone = row.version[0] == OUTCOME and row.bin[0] == 0 and all(abs(ts - at) > about.horizon_ms for at in times)
                    if alone and about.since <= ts < about.until:
                        found[int(row.offset[0]), key] = ts
        places = sorted(found)
        return Orphans(
            np.array([offset for offset, _ in places], np.int64),
            np.array([found[place] for place in places], np.int64),
            np.array([key for _, key in places], np.uint64),
        )

    def _counting(self, partition: int, model: str, key: int, slices: Slices) -> list[NamedRows]:
        last = dict(slices)
        return [row for life, number, row in self.rows.get((partition, model, key), []) if number <= last.get(life, 0)]


def begin(partition: Partition, store: Store) -> None:
    """A partition that starts hears which ids are in the store."""
    tiers = partition.tiers
    for model, since in tiers.unread().items():
        for ids, ts in store.ids(partition.number, model, since, tiers.slices):
            tiers.know(model, ids, ts)


def take_in(partition: Partition, chunk: Chunk, topic: Literal["predictions", "outcomes"], store: Store) -> list[DeadLetter]:
    """Read a chunk, bring back the ids it needs, apply it."""
    batch = partition.read(chunk, topic)
    for model, ids in partition.tiers.wanted(batch).items():
        partition.tiers.thaw(store.find(partition.number, model, ids, partition.tiers.slices), partition.positions)
    return partition.apply(batch)


def make_room(partition: Partition, store: Store) -> None:
    """Let the oldest ids leave."""
    departures = partition.tiers.leave()
    for departure in departures:
        store.insert(partition.number, departure)
    partition.tiers.left(departures)


def name_orphans(partition: Partition, store: Store) -> None:
    """Ask for orphans in the store, as before every flush."""
    for about in partition.tiers.overdue():
        partition.tiers.name(about, store.orphans(partition.number, about, partition.tiers.slices))
