"""Two small containers of the join: growing columns, and a hash index over 64-bit keys. NumPy only, no Python object per row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]
Rows = NDArray[np.int64]

_PRIME = np.uint64(1099511628211)
_BASIS = np.uint64(14695981039346656037)


def hash_ids(ids: list[str]) -> UInt64:
    """FNV-1a of each id's UTF-8 bytes, finished by a mixing step; uint64, shape (n,).

    Two of ten million ids collide with a chance of 3 in a million; a collision joins a label to a stranger.

    >>> int(hash_ids(["a"])[0]) == int(hash_ids(["b", "a"])[1])
    True
    """
    if not ids:
        return np.empty(0, np.uint64)
    parts = [text.encode() for text in ids]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    data = np.frombuffer(b"".join(parts), np.uint8)
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    begin, count = starts[order], len(parts)
    # Longest first: byte j exists for a prefix of the order, so each step works on a slice.
    alive = np.searchsorted(-lengths[order], -np.arange(lengths.max(initial=0)), side="left")
    state = np.full(count, _BASIS, np.uint64)
    for j, k in enumerate(alive.tolist()):
        state[:k] = (state[:k] ^ data[begin[:k] + j]) * _PRIME
    hashes = np.empty(count, np.uint64)
    hashes[order] = _mix(state)
    return hashes


def _mix(h: UInt64) -> UInt64:
    """The finaliser of MurmurHash3: every input bit reaches every output bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


class Columns:
    """Named columns that grow together.

    >>> c = Columns(ts=np.int64)
    >>> c.append(2, ts=np.array([5, 6]))
    array([0, 1])
    >>> c["ts"]
    array([5, 6])
    """

    def __init__(self, **types: Any) -> None:
        self._arrays: dict[str, NDArray[Any]] = {name: np.empty(16, kind) for name, kind in types.items()}
        self.size = 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A view of the filled part; writing to it changes the column."""
        return self._arrays[name][: self.size]

    def append(self, n: int, **values: Any) -> Rows:
        """Add `n` rows and return their numbers; every column must be given, an array or one value for all."""
        end = self.size + n
        for name, array in self._arrays.items():
            if end > len(array):
                grown = np.empty(max(end, 2 * len(array)), array.dtype)
                grown[: self.size] = array[: self.size]
                self._arrays[name] = grown
            self._arrays[name][self.size : end] = values[name]
        rows = np.arange(self.size, end)
        self.size = end
        return rows

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the rows outside `mask`; the rest move up in order."""
        self._arrays = {name: array[: self.size][mask] for name, array in self._arrays.items()}
        self.size = int(mask.sum())

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())


class HashIndex:
    """uint64 key → row number, open addressing, whole arrays at a time. `capacity` is a power of two.

    >>> index = HashIndex()
    >>> index.insert(np.array([7, 9], np.uint64), np.array([0, 1]))
    >>> index.find(np.array([9, 8], np.uint64))
    array([ 1, -1])
    """

    def __init__(self, capacity: int = 64) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._rows = np.full(capacity, -1, np.int64)
        self.size = 0

    def find(self, keys: UInt64) -> Rows:
        """The row of each key, -1 where it is absent."""
        found = np.full(len(keys), -1, np.int64)
        todo = np.arange(len(keys))
        slots = self._slots(keys)
        while len(todo):
            rows = self._rows[slots]
            hit = (rows >= 0) & (self._keys[slots] == keys[todo])
            found[todo[hit]] = rows[hit]
            go_on = (rows >= 0) & ~hit
            todo, slots = todo[go_on], self._next(slots[go_on])
        return found

    def insert(self, keys: UInt64, rows: Rows) -> None:
        """Add keys that are absent and differ from each other."""
        if 2 * (self.size + len(keys)) > len(self._rows):
            self._grow(self.size + len(keys))
        self._place(keys, np.asarray(rows))
        self.size += len(keys)

    def _place(self, keys: UInt64, rows: Rows) -> None:
        slots = self._slots(keys)
        while len(keys):
            free = self._rows[slots] < 0
            self._rows[slots[free]] = rows[free]  # of several that want one slot the last stays
            won = self._rows[slots] == rows
            self._keys[slots[won]] = keys[won]
            keys, rows, slots = keys[~won], rows[~won], self._next(slots[~won])

    def _grow(self, needed: int) -> None:
        old_keys, old_rows = self._keys, self._rows
        capacity = len(old_rows)
        while 2 * needed > capacity:
            capacity *= 2
        self._keys, self._rows = np.zeros(capacity, np.uint64), np.full(capacity, -1, np.int64)
        live = old_rows >= 0
        self._place(old_keys[live], old_rows[live])

    def _slots(self, keys: UInt64) -> Rows:
        return (keys & np.uint64(len(self._rows) - 1)).astype(np.int64)

    def _next(self, slots: Rows) -> Rows:
        return (slots + 1) & (len(self._rows) - 1)

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes + self._rows.nbytes
