"""What has come and was not taken in yet: chunks of each source topic and partition, in order."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from driftline.streams.transport.chunk import Chunk, merged

Source = tuple[str, int]  # topic and partition
ENOUGH_BYTES = 96 << 20  # of everything that waits: less takes labels in before predictions, which costs half as much again
MODELS = 100  # of a partition: of more of them more is gathered
MOST_TIMES = 3.0  # as much, at most
TOGETHER_BYTES = 3 << 20  # that chunks put together have at most: to copy more costs more than to take it in on its own


class Waiting(NamedTuple):
    """Consecutive chunks of one source, as few as are worth their making, and the events that they came with."""

    chunks: list[Chunk]
    events: list[Any]


class Gathered:
    """Chunks that wait, of one assignment. A chunk costs about as much as a few thousand events, so small ones are put together.

    >>> from driftline.streams.transport.chunk import chunk_of
    >>> gathered = Gathered()
    >>> for i in range(2):
    ...     gathered.add(chunk_of("t", 0, i, i + 1, [(i, 0, None, b"x", ())]), f"event {i}", now_s=60.0 + i)
    >>> gathered.records(("t", 0)), gathered.newest_s(("t", 0))
    (2, 61.0)
    >>> waiting = gathered.take(("t", 0))
    >>> [chunk.values() for chunk in waiting.chunks], waiting.events, gathered.sources
    ([[b'x', b'x']], ['event 0', 'event 1'], [])
    """

    def __init__(self) -> None:
        self._times = 1.0
        self._chunks: defaultdict[Source, list[Chunk]] = defaultdict(list)
        self._events: defaultdict[Source, list[Any]] = defaultdict(list)
        self._records: defaultdict[Source, int] = defaultdict(int)
        self._newest_s: dict[Source, float] = {}
        self._bytes: defaultdict[Source, int] = defaultdict(int)

    @property
    def sources(self) -> list[Source]:
        """Of which something waits."""
        return [*self._chunks]

    @property
    def too_much(self) -> bool:
        """Whether all that waits is more than memory should hold."""
        return sum(self._bytes.values()) >= ENOUGH_BYTES

    def expect(self, models: int) -> None:
        """Gather for so many models: what a chunk costs, each model with rows in it costs almost again, so of many it should be larger."""
        self._times = min(max(models / MODELS, 1.0), MOST_TIMES)

    def records(self, source: Source) -> int:
        """How many records of a source wait."""
        return self._records[source]

    def enough(self, source: Source, records: int, size: int) -> bool:
        """Whether so many records of a source wait, or so many bytes; of many models more of both (`expect`)."""
        return self._records[source] >= self._times * records or self._bytes[source] >= self._times * size

    def newest_s(self, source: Source) -> float:
        """When the last chunk of a source came of which something waits."""
        return self._newest_s[source]

    def add(self, chunk: Chunk, event: Any, now_s: float) -> None:
        """One more chunk, behind those of its source. `now_s` is any clock that does not go back."""
        source = (chunk.topic, chunk.partition)
        self._chunks[source].append(chunk)
        self._events[source].append(event)
        self._records[source] += len(chunk)
        self._newest_s[source] = now_s
        self._bytes[source] += len(chunk.data)

    def take(self, source: Source) -> Waiting:
        """All that waits of a source, which must not be nothing; it waits no more."""
        chunks = self._chunks.pop(source)
        del self._records[source], self._bytes[source]
        groups = [chunks[:1]]
        for chunk in chunks[1:]:
            if sum(len(each.data) for each in groups[-1]) + len(chunk.data) <= self._times * TOGETHER_BYTES:
                groups[-1].append(chunk)
            else:
                groups.append([chunk])
        return Waiting([merged(group) for group in groups], self._events.pop(source))
