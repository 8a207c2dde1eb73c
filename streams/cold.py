"""The cold tier of a join, as far as it is pure: which ids may be in the store, and what their rows there are.

    hot ids ──► Leaving ──► store      an id leaves as a whole, with every row that the store does not have yet
    events ──► ColdIds ──► wanted ──► store ──► ColdRows ──► hot ids

Rows in the store are facts about the source topics, each written once and never changed; what follows from them (which label
counts) is worked out again when they come back. So it does not matter how often an id went and came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams.columns import Rows, UInt64

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

FIRST_SLOTS: Final = 2**12
MOST_SLOTS: Final = 2**24  # of one table: 32 MiB
OUTCOME: Final = -1  # the version of a row that is no prediction


@dataclass(frozen=True, slots=True)
class ColdRows:
    """Predictions and outcomes of one model, one a row; every field has shape (n,).

    `version` is a code, or `OUTCOME`; `value` is the answer of a prediction or the label of an outcome, NaN if it takes the label
    back: a class code, or the number of a regression; `remembered` is the time of a prediction's latest duplicate (milliseconds);
    `bin` is the bin of a prediction's score, and of an outcome 1 when it was told whether it is an orphan.
    """

    id_hash: UInt64
    offset: Int64
    ts: Int64
    remembered: Int64
    value: Float64
    version: Int64
    segments: Int64
    bin: Int64
    fingerprint: UInt64

    def __len__(self) -> int:
        return len(self.id_hash)

    def take(self, rows: Rows | Bool) -> ColdRows:
        """The rows of these numbers, or under a mask."""
        return ColdRows(*(getattr(self, name)[rows] for name in ColdRows.__slots__))


class ColdIds:
    """Ids that may be in the store, by event time. Says "perhaps" of all that are, and of about one in ten thousand that are not.

    Sixteen bits of each id in open addressing, about three bytes an id. Ids are kept by the `width_ms` of event time they were
    added for, and forgotten with it.

    >>> ids = ColdIds(1_000)
    >>> ids.add(np.array([7 << 48], np.uint64), np.array([2_500]))
    >>> ids.maybe(np.array([7 << 48, 8 << 48], np.uint64)).tolist()
    [True, False]
    >>> ids.forget(before=3_000), ids.size
    ([(2000, 3000)], 0)
    """

    def __init__(self, width_ms: int) -> None:
        self.width_ms = max(width_ms, 1)
        self._tables: dict[int, list[_Fingerprints]] = {}

    def __bool__(self) -> bool:
        return bool(self._tables)

    @property
    def size(self) -> int:
        return sum(table.size for tables in self._tables.values() for table in tables)

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for tables in self._tables.values() for table in tables)

    def add(self, keys: UInt64, ts: Int64) -> None:
        """Ids that are in the store from now on, each with the time of a row of it (milliseconds)."""
        buckets = ts // self.width_ms
        for bucket in np.unique(buckets).tolist():
            self._add(self._tables.setdefault(bucket, []), np.unique(keys[buckets == bucket]))

    def _add(self, tables: list[_Fingerprints], keys: UInt64) -> None:
        for table in tables:
            keys = keys[~table.maybe(keys)]
        while len(keys):
            if not tables or not tables[-1].room:
                tables.append(_Fingerprints(min(2 * tables[-1].slots if tables else FIRST_SLOTS, MOST_SLOTS)))
            n = tables[-1].room
            tables[-1].add(keys[:n])
            keys = keys[n:]

    def maybe(self, keys: UInt64) -> Bool:
        """Which of the ids may be in the store."""
        found = np.zeros(len(keys), bool)
        for tables in self._tables.values():
            for table in tables:
                found |= table.maybe(keys)
        return found

    def forget(self, before: int) -> list[tuple[int, int]]:
        """Forget ids whose time is over; returns the stretches of time that were forgotten, earliest first."""
        over = sorted(bucket for bucket in self._tables if (bucket + 1) * self.width_ms <= before)
        for bucket in over:
            del self._tables[bucket]
        return [(bucket * self.width_ms, (bucket + 1) * self.width_ms) for bucket in over]


class _Fingerprints:
    """Sixteen bits of each key, 0 for a free slot. It cannot grow, since a key cannot be told from its bits."""

    def __init__(self, slots: int) -> None:
        self._bits = np.zeros(slots, np.uint16)
        self.size = 0

    @property
    def slots(self) -> int:
        return len(self._bits)

    @property
    def nbytes(self) -> int:
        return self._bits.nbytes

    @property
    def room(self) -> int:
        """How many keys more until three slots in five are taken."""
        return 3 * self.slots // 5 - self.size

    def maybe(self, keys: UInt64) -> Bool:
        found = np.zeros(len(keys), bool)
        todo = np.arange(len(keys))
        at, steps, bits = self._way(keys)
        while len(todo):
            there = self._bits[at]
            hit = there == bits
            found[todo[hit]] = True
            on = (there != 0) & ~hit
            todo, steps, bits = todo[on], steps[on], bits[on]
            at = (at[on] + steps) & (self.slots - 1)
        return found

    def add(self, keys: UInt64) -> None:
        """Add keys; there must be room for them. Of keys with the same bits in one place one stands for all."""
        self.size += len(keys)
        at, steps, bits = self._way(keys)
        while len(bits):
            free = self._bits[at] == 0
            self._bits[at[free]] = bits[free]
            lost = self._bits[at] != bits
            bits, steps = bits[lost], steps[lost]
            at = (at[lost] + steps) & (self.slots - 1)

    def _way(self, keys: UInt64) -> tuple[Rows, Rows, NDArray[np.uint16]]:
        """Where to look first, how far to go on, and the bits that are kept; from other parts of the key than each other."""
        at = (keys & np.uint64(self.slots - 1)).astype(np.int64)
        steps = (keys >> np.uint64(24)).astype(np.int64) & 0xFFFF | 1
        bits = (keys >> np.uint64(48)).astype(np.uint16)
        return at, steps, np.maximum(bits, 1)


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Rows of one model with the names behind their codes, as they travel between a partition and the store.

    `classes` is None for a regression, whose `value` is a number.
    """

    model: str
    rows: ColdRows
    versions: Sequence[str]
    segments: Sequence[tuple[str, ...]]
    classes: Sequence[str] | None


class Slice(NamedTuple):
    """Names what one life of a partition put into the store in one go; its rows count once a marker, or its own life, says so.

    A life is one start of one partition. Slices of a life are numbered from 1, and one that counts makes all before it count.
    """

    life: int
    number: int
