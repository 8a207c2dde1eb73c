"""Contiguity: every record of a partition applied once, in order, whatever the transport loses, repeats or reorders.

A reader keeps, per partition, the position it must see next. A chunk says which span of offsets it stands for. So a loss is seen
at once, and the answer to it is always the same: drop, and read again from the position.

>>> from driftline.streams.transport.chunk import chunk_of
>>> chunk = lambda first, end: chunk_of("t", 0, first, end, [(i, 0, None, b"", ()) for i in range(first, end)])
>>> contiguity = Contiguity()
>>> contiguity.start({("t", 0): 5})
>>> verdict = contiguity.judge(chunk(3, 8), now_s=0.0)  # 3 and 4 were seen before
>>> verdict.chunk.offset.tolist(), contiguity.positions
([5, 6, 7], {('t', 0): 8})
>>> contiguity.judge(chunk(9, 12), now_s=0.1)  # 8 got lost
SeekBack(position=8)
>>> contiguity.judge(chunk(12, 14), now_s=0.2)  # was under way before the seek
Skip()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftline.schemas.errors import DriftlineError
from driftline.streams.transport.chunk import Chunk

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply `chunk`: the part that is new. The position is already past it."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Skip:
    """Drop the chunk: it was seen before, or it lies behind a hole that a seek is already closing."""


@dataclass(frozen=True, slots=True)
class SeekBack:
    """Drop the chunk and read the partition again from `position`: what lies between got lost on the way."""

    position: int


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Drop the chunk: its partition is not assigned to this worker."""


Verdict = Apply | Skip | SeekBack | NotOurs


@dataclass(slots=True)
class Contiguity:
    """The next position of each partition of ours.

    Attributes
    ----------
    positions
        (topic, partition) → the offset that must come next.
    patience_s
        How long a seek may take before the same one is asked for again. Chunks that were under way when it was asked for keep
        arriving meanwhile.
    """

    patience_s: float = 1.0
    positions: dict[Partition, int] = field(default_factory=dict)
    _sought_s: dict[Partition, float] = field(default_factory=dict)

    def start(self, positions: Mapping[Partition, int]) -> None:
        """A new assignment: these partitions are ours, and no others."""
        self.positions = dict(positions)
        self._sought_s = {}

    def move(self, partition: Partition, position: int) -> None:
        """Go on from `position`: the records before it are gone for good (retention)."""
        self.positions[partition] = position
        self._sought_s.pop(partition, None)

    def judge(self, chunk: Chunk, now_s: float) -> Verdict:
        """What to do with `chunk`. `now_s` is any clock in seconds that does not go back."""
        partition = (chunk.topic, chunk.partition)
        expected = self.positions.get(partition)
        if expected is None:
            return NotOurs()
        if chunk.end <= expected:
            return Skip()
        if chunk.first <= expected:
            self.positions[partition] = chunk.end
            self._sought_s.pop(partition, None)
            return Apply(chunk.since(expected))
        sought_s = self._sought_s.get(partition)
        if sought_s is not None and now_s - sought_s < self.patience_s:
            return Skip()
        self._sought_s[partition] = now_s
        return SeekBack(expected)


@dataclass(slots=True)
class Succession:
    """For partitions that are read from a position of their own: nothing may be missing after it.

    >>> from driftline.streams.transport.chunk import chunk_of
    >>> succession = Succession()
    >>> succession.start({("t", 0): 3})
    >>> succession.follow(chunk_of("t", 0, 3, 5, []))
    >>> succession.follow(chunk_of("t", 0, 4, 9, []))  # read again: harmless
    >>> succession.follow(chunk_of("t", 0, 12, 20, []))
    Traceback (most recent call last):
    driftline.schemas.errors.DriftlineError: [data_loss_gap] t-0: offsets 9 to 11 were never delivered
      fix: start the worker again, it begins where it was; if they are gone from the broker, keep records for longer
    """

    _ends: dict[Partition, int] = field(default_factory=dict)

    def start(self, positions: Mapping[Partition, int]) -> None:
        """A new assignment: these partitions, from these positions on."""
        self._ends = dict(positions)

    def follow(self, chunk: Chunk) -> None:
        """Note a chunk; raises `DriftlineError` where records before it are missing."""
        partition = (chunk.topic, chunk.partition)
        end = self._ends.get(partition, chunk.first)
        if chunk.first > end:
            raise DriftlineError(
                "data_loss_gap",
                f"{chunk.topic}-{chunk.partition}: offsets {end} to {chunk.first - 1} were never delivered",
                "start the worker again, it begins where it was; if they are gone from the broker, keep records for longer",
            )
        self._ends[partition] = max(end, chunk.end)
