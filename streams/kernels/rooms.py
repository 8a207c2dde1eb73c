"""Memory for what becomes of a chunk, used again for later ones: a page that the system gives anew costs more than to fill it."""

from __future__ import annotations

import mmap
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams.kernels.grammar import Parsed

KEPT, KEPT_BYTES = 4, 1 << 24  # chunks whose memory is kept, and of how many bytes each at most
LEAST_RECORDS, LEAST_BYTES = 1 << 10, 1 << 19  # a chunk has room for
LINE = 64  # bytes: where a column may begin

_RECORD = ("u1", "i8", "u8", "u8", "i4", "i4", "i4", "f8", "f8", "f8", "i8", "i8", "i8", "i8")  # one each a record
_VALUE, _SEGMENT, _CLASS = ("i4", "i4", "f8"), ("i4", "i4"), ("i4", "f8")


def lengths(n: int, size: int) -> list[tuple[str, int]]:
    """The kind and the length of each column for `n` records of `size` bytes together."""
    # The shortest value is `"a":1`, the shortest segment `"a":""`.
    groups = ((_RECORD, n), (("i8",) * 3, n + 1), (_VALUE, size // 5 + 3 * n), (_SEGMENT, size // 6 + n), (_CLASS, size // 5 + n))
    return [(kind, length) for kinds, length in groups for kind in kinds]


class Block(NamedTuple):
    """Room for the columns of a chunk."""

    records: int
    size: int
    memory: NDArray[np.uint8]

    @property
    def free(self) -> bool:
        """Whether no column of it is in use any more: whoever has one refers to the memory."""
        return sys.getrefcount(self.memory) == ALONE

    def columns(self, n: int, size: int) -> Parsed:
        """Columns for `n` records of `size` bytes together."""
        made, at = list[NDArray[Any]](), 0
        for (kind, most), (_, length) in zip(lengths(self.records, self.size), lengths(n, size), strict=True):
            width = np.dtype(kind).itemsize
            made.append(self.memory[at : at + width * length].view(kind))
            at += -(-width * most // LINE) * LINE
        return Parsed(*made)


def block(records: int, size: int) -> Block:
    """Memory that the system has not given yet but for what is written to: most of it never is."""
    total = sum(np.dtype(kind).itemsize * length + LINE for kind, length in lengths(records, size))
    return Block(records, size, _pages(total))


def _pages(size: int) -> NDArray[np.uint8]:
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


ALONE = sys.getrefcount(block(1, 1).memory) + 1  # what a block of which nothing is used says of itself


class Rooms:
    """Columns for one chunk after the other.

    >>> rooms = Rooms()
    >>> first, second = rooms.take(3, 100), rooms.take(3, 100)
    >>> place = first.ts.ctypes.data
    >>> del first
    >>> rooms.take(5, 70).ts.ctypes.data == place, len(second.ts)
    (True, 3)
    """

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def take(self, n: int, size: int) -> Parsed:
        """Columns for `n` records of `size` bytes together, which nobody else has."""
        for each in self._blocks:
            if each.records >= n and each.size >= size and each.free:
                return each.columns(n, size)
        made = block(max(LEAST_RECORDS, 1 << n.bit_length()), max(LEAST_BYTES, 1 << size.bit_length()))
        if size <= KEPT_BYTES:
            self._blocks = [*self._blocks[1 - KEPT :], made]
        return made.columns(n, size)


class Tables:
    """Memory for one table of numbers after the other.

    >>> tables = Tables()
    >>> first, second = tables.take(2, 3), tables.take(2, 3)
    >>> place, row = first.ctypes.data, first[1]
    >>> del first
    >>> tables.take(3, 3).ctypes.data == place
    False
    >>> del row
    >>> tables.take(3, 3).ctypes.data == place
    True
    """

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def take(self, rows: int, n: int) -> NDArray[np.float64]:
        """A table of this shape, which nobody else has; what is in it is of no matter."""
        size = 8 * rows * n
        memory = next((each.memory for each in self._blocks if each.size >= size and each.free), None)
        if memory is None:
            room = max(LEAST_BYTES, 1 << size.bit_length())
            memory = np.empty(room, np.uint8)  # all of it is written to, so it may be of what a worker has taken before
            if size <= KEPT_BYTES:
                self._blocks = [*self._blocks[1 - KEPT :], Block(0, room, memory)]
        return memory[:size].view(np.float64).reshape(rows, n)
