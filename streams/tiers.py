"""Which ids of a partition are in memory and which in the store. Pure: it says what to ask and to write, and the shell does it.

    before a chunk is taken in   wanted ──► the store's rows ──► thaw
    when memory is full          leave ───► write them ────────► left
    at a flush                   overdue ─► the store's orphans ► name

Architecture invariant: an id is in one place, with all its rows below the positions reached. What is here can be rebuilt from the
topics above the join's floor and from what counts in the store; a row counts there from when a marker says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from driftline.schemas.results import Orphan
from driftline.streams.batch import Batch, Outcomes, Predictions
from driftline.streams.cold import Int64, NamedRows
from driftline.streams.columns import UInt64
from driftline.streams.join import NEVER, Leaving, Orphans
from driftline.streams.panes import Fence
from driftline.streams.shard import Shard

HOT_ROWS: Final = 4_000_000  # predictions and outcomes in memory, of one partition
KEPT_MS: Final = 30 * 86_400_000  # how long rows stay in the store beyond three times the label horizon


@dataclass(frozen=True, slots=True)
class Departure:
    """Ids of one model on their way to the store: `named` is to be written under this life and slice, and kept for `keep_ms`."""

    named: NamedRows
    leaving: Leaving
    life: int
    number: int
    keep_ms: int


class Overdue(NamedTuple):
    """A stretch of event time in which every outcome of a model that pairs with no prediction in the store is an orphan."""

    model: str
    since: int
    until: int
    horizon_ms: int


class Tiers:
    """See the module.

    Parameters
    ----------
    shards
        By model; others add to it.
    hot_rows
        How many predictions and outcomes may stay in memory.
    life
        Names this start of the partition; no other start has the same.
    lives
        Those of earlier starts whose rows count: life, its last slice that counts, newest event time in it.
    """

    def __init__(self, shards: Mapping[str, Shard], hot_rows: int, life: int, lives: Sequence[tuple[int, int, int]]) -> None:
        self._shards, self._hot_rows, self._life = shards, hot_rows, life
        self._lives, self._number, self._newest = [*lives], 0, NEVER
        self._over = NEVER  # event time before which the store was asked for every orphan, and nothing waits for anything any more

    @property
    def lives(self) -> list[tuple[int, int, int]]:
        """For the marker: this start and those before it, as long as something in their rows may matter."""
        return [life for life in self._all_lives if life[2] >= self._over]

    @property
    def slices(self) -> list[tuple[int, int]]:
        """What counts in the store: lives, and the last slice of each.

        Also those that the marker names no more: where event time jumps, outcomes of this life are asked for orphans in the moment in
        which the life of their predictions is over.
        """
        return [(life, last) for life, last, _ in self._all_lives]

    @property
    def _all_lives(self) -> list[tuple[int, int, int]]:
        return [*self._lives, (self._life, self._number, self._newest)] if self._number else self._lives

    @property
    def crowded(self) -> bool:
        """Whether more is in memory than may be."""
        return sum(len(shard.join) for shard in self._shards.values()) > self._hot_rows

    def unread(self) -> dict[str, int]:
        """At a start: the models that may have ids in the store, and the event time of the oldest rows that may still matter."""
        if not self._lives:
            return {}
        return {name: shard.join.oldest for name, shard in self._shards.items()}

    def know(self, model: str, ids: UInt64, ts: Int64) -> None:
        """These ids are in the store, with rows of these times."""
        self._shards[model].join.cold.add(ids, ts)

    def wanted(self, batch: Batch[Predictions] | Batch[Outcomes]) -> dict[str, UInt64]:
        """The ids, by model, that must come back from the store before the batch is taken in."""
        found = {}
        for rows in batch.by_model:
            if (shard := self._shards.get(rows.model)) and shard.join.cold:
                begin = np.searchsorted(rows.rows.offset, getattr(shard.floor, batch.topic))
                found[rows.model] = shard.join.wanted(rows.rows.id_hash[begin:])
        return {model: ids for model, ids in found.items() if len(ids)}

    def thaw(self, found: NamedRows, positions: Fence) -> None:
        """What the store has of ids that were wanted, taken back up to the positions reached."""
        shard = self._shards[found.model]
        shard.join.thaw(
            shard.coded(found), max(positions.predictions, shard.floor.predictions), max(positions.outcomes, shard.floor.outcomes)
        )

    def leave(self) -> list[Departure]:
        """The oldest ids, so many that a quarter of the room gets free."""
        total = sum(len(shard.join) for shard in self._shards.values())
        share = 1 - self._hot_rows * 3 // 4 / max(total, 1)
        departures = []
        for shard in self._shards.values():
            leaving = shard.join.leaving(int(np.ceil(len(shard.join) * share)))
            keep_ms = 3 * shard.join.horizon_ms + shard.join.lateness_ms + KEPT_MS
            departures.append(Departure(shard.named(leaving.rows), leaving, self._life, self._number + 1, keep_ms))
        return departures

    def left(self, departures: Sequence[Departure]) -> None:
        """The store has them. Nothing may have been taken in since `leave`."""
        self._number += 1
        for departure in departures:
            self._newest = int(departure.named.rows.remembered.max(initial=self._newest))
            self._shards[departure.named.model].join.left(departure.leaving)

    def overdue(self) -> list[Overdue]:
        """What to ask the store for orphans; told once. What is answered belongs into the flush that follows."""
        self._over = min((shard.join.oldest - 2 * shard.join.horizon_ms for shard in self._shards.values()), default=NEVER)
        return [
            Overdue(name, since, until, shard.join.horizon_ms)
            for name, shard in self._shards.items()
            for since, until in shard.join.overdue()
        ]

    def name(self, about: Overdue, found: Orphans) -> None:
        """What the store answered."""
        self._shards[about.model].join.name(found)

    def take_orphans(self, partition: int) -> list[Orphan]:
        """The outcomes that were found to be orphans since the last call; the same ones give the same rows."""
        rows = []
        for name, shard in self._shards.items():
            found = shard.join.take_orphans()
            for offset, ts, id_hash in zip(found.offset.tolist(), found.ts.tolist(), found.id_hash.tolist(), strict=True):
                rows.append(Orphan(name, partition, offset, f"{id_hash:016x}", ts, ts + shard.join.horizon_ms, offset))
        return rows
