"""How often a worker flushes and evaluates: often while it keeps up, seldom while it works off a backlog, since what it says then is old;
and at once when a window has just closed, for somebody waits for it.

A flush sends every pane that labels have touched, and every window with one of them is judged again: that costs by the flush, not by the
event, and took most of the processor time of a worker that catches up.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable

from driftline.schemas.config import Model

AGE_S = 1.0  # the newest record of a chunk is older, and more are waiting: then its partition is behind
SEEN_S = 10.0  # for how long that holds where nothing more comes of it
TIMES = 22  # as long between two flushes of a worker that is behind
REST_S = 10.0  # at most, after a flush: one that took long because the broker was away says nothing about the next
EVENTS = 2_000_000  # what is read between two flushes waits in memory: no more than this
LABELS = 0.007  # of the time, at most, goes into snapshots of panes that labels have touched; what is done with them takes 13 times that
MOST_S = 0.05  # of that time that is saved up
LONGEST_S = 10.0  # that labels wait, whatever they cost
TOGETHER_S = 0.05  # that a window's partitions wait for one another: they are read side by side


class Pace:
    """Shared by the agents of a worker.

    >>> pace = Pace(0.5)
    >>> pace.read("predictions-0", age_s=60.0, all_read=False, events=2_000)
    >>> pace.interval_s
    11.0
    >>> pace.read("predictions-0", age_s=3.0, all_read=False, events=2_000)
    >>> pace.interval_s
    3.0
    >>> pace.read("predictions-0", age_s=60.0, all_read=True, events=2_000)
    >>> pace.interval_s
    0.5
    """

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._behind: dict[Hashable, tuple[float, float]] = {}  # partition → when it was seen to be, and by how many seconds
        self._events = 0

    def start(self) -> None:
        """Other partitions from now on."""
        self._behind.clear()
        self._events = 0

    def read(self, partition: Hashable, age_s: float, all_read: bool, events: int) -> None:
        """A chunk was taken in: how old its newest record is, whether it was the last there is, and how many events it held."""
        self._events += events
        if age_s > AGE_S and not all_read:
            self._behind[partition] = time.monotonic(), age_s
        else:
            self._behind.pop(partition, None)

    def flushed(self) -> None:
        """Everything that was read has been flushed."""
        self._events = 0

    @property
    def interval_s(self) -> float:
        """Seconds from the beginning of one flush to that of the next, and from one evaluation to the next.

        While a backlog is worked off, as many as its records are old, so that none is told more than twice as late as it would be anyway.
        A partition of which nothing came for `SEEN_S` has no backlog, or nobody may read it: its end may be a record that is none of ours.
        """
        age_s = self._age_s() if self._events < EVENTS else 0.0
        return min(max(age_s, self._flush_s), self._flush_s * TIMES)

    @property
    def behind(self) -> bool:
        """Whether a backlog is worked off."""
        return self._age_s() > 0

    def _age_s(self) -> float:
        """Of the oldest record that was read last of a partition with a backlog; 0 without one."""
        since = time.monotonic() - SEEN_S
        return max((age_s for seen_s, age_s in self._behind.values() if seen_s > since), default=0.0)

    def is_due(self, began_s: float, took_s: float) -> bool:
        """Whether to flush: the last one began `began_s` ago. Flushes rest as long as they take, or slow ones would follow every chunk.

        >>> pace = Pace(0.2)
        >>> pace.is_due(0.21, took_s=0.08), pace.is_due(0.21, took_s=0.15), pace.is_due(0.31, took_s=0.15)
        (True, False, True)
        """
        return began_s > max(self.interval_s, took_s + min(took_s, REST_S))


class Closings:
    """Whether a window has just closed in what was read, so that it need not wait for the next flush. Every other flush may come early.

    >>> from driftline.schemas.config import Window
    >>> model, closings = Model("m", disorder_ms=5, windows=(Window(100, 100),)), Closings()
    >>> for partition, ts in ((0, 90), (1, 80), (0, 104)):
    ...     closings.read(model, partition, ts, now_s=1.0)
    >>> closings.due(1.0)
    False
    >>> closings.read(model, 0, 105, now_s=1.0)
    >>> closings.due(1.01), closings.due(1.06)  # partition 1 may be about to close it too
    (False, True)
    >>> closings.read(model, 1, 107, now_s=1.02)
    >>> closings.due(1.02)
    True
    >>> closings.flushed()
    >>> closings.due(1.1)
    False
    """

    def __init__(self) -> None:
        self._closed: dict[str, dict[int, int]] = {}  # model → partition → how many windows
        self._since_s: float | None = None
        self._everywhere = self._early = False

    def start(self) -> None:
        """Other partitions from now on."""
        self._closed.clear()
        self._since_s = None

    def read(self, model: Model, partition: int, ts: int, now_s: float) -> None:
        """The last prediction of a chunk, or any other. `now_s` is any clock that does not go back."""
        closed = self._closed.setdefault(model.model, {})
        number = sum((ts - model.disorder_ms - window.length_ms) // window.every_ms for window in model.windows)
        if number > closed.setdefault(partition, number):
            closed[partition] = number
            self._since_s = now_s if self._since_s is None else self._since_s
            self._everywhere = min(closed.values()) >= number

    def due(self, now_s: float) -> bool:
        """Whether to flush before it is time."""
        return not self._early and self._since_s is not None and (self._everywhere or now_s - self._since_s > TOGETHER_S)

    def flushed(self) -> None:
        """A flush begins, and takes in everything that was read."""
        self._early = self._since_s is not None and not self._early
        self._since_s = None


class Turns:
    """Whose labels are taken in at a flush: of the partitions that have waited longest, as many as a share of the time is enough for.

    >>> turns = Turns()
    >>> turns.due([0, 1], now_s=0.0)
    [0, 1]
    >>> for number in (0, 1):
    ...     turns.took(number, 0.01)
    >>> turns.due([0, 1], now_s=2.0), turns.due([0, 1], now_s=4.0), turns.due([0, 1], now_s=9.0)
    ([0], [1], [0, 1])
    >>> turns.took(0, 60.0)
    >>> turns.due([0], now_s=10.0), turns.due([0], now_s=20.0)
    ([], [0])
    """

    def __init__(self) -> None:
        self._took_s: dict[int, float] = {}  # the last flush of labels of the partition
        self._turn_s: dict[int, float] = {}
        self._saved_s = self._now_s = 0.0

    def due(self, partitions: Collection[int], now_s: float) -> list[int]:
        """Those of these partitions, whose labels wait, that are to take them in now. `now_s` is any clock that does not go back."""
        self._saved_s = min(self._saved_s + LABELS * (now_s - self._now_s), MOST_S)
        self._now_s = now_s
        out = []
        for number in sorted(partitions, key=lambda number: (self._turn_s.get(number, -1.0), number)):
            cost_s = min(self._took_s.get(number, 0.0), MOST_S)
            if cost_s > self._saved_s and now_s - self._turn_s.get(number, now_s) < LONGEST_S:
                break
            self._saved_s = max(self._saved_s - cost_s, 0.0)
            self._turn_s[number] = now_s
            out.append(number)
        return out

    def took(self, partition: int, seconds: float) -> None:
        """How much processor time a flush with labels of a partition took."""
        self._took_s[partition] = seconds
