"""How often a worker flushes and evaluates: often while it keeps up, seldom while it works off a backlog, since what it says then is old.

A flush sends every pane that labels have touched, and every window with one of them is judged again: that costs by the flush, not by the
event, and took most of the processor time of a worker that catches up.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

AGE_S = 10.0  # the newest record of a chunk is older, and more are waiting: then its partition is behind
TIMES = 8  # as long between two flushes of a worker that is behind
EVENTS = 1_000_000  # what is read between two flushes waits in memory: no more than this


class Pace:
    """Shared by the agents of a worker.

    >>> pace = Pace(0.5)
    >>> pace.read("predictions-0", age_s=60.0, all_read=False, events=2_000)
    >>> pace.interval_s
    4.0
    >>> pace.read("predictions-0", age_s=60.0, all_read=True, events=2_000)
    >>> pace.interval_s
    0.5
    """

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._behind: dict[Hashable, float] = {}  # partition → when it was seen to be
        self._events = 0

    def start(self) -> None:
        """Other partitions from now on."""
        self._behind.clear()
        self._events = 0

    def read(self, partition: Hashable, age_s: float, all_read: bool, events: int) -> None:
        """A chunk was taken in: how old its newest record is, whether it was the last there is, and how many events it held."""
        self._events += events
        if age_s > AGE_S and not all_read:
            self._behind[partition] = time.monotonic()
        else:
            self._behind.pop(partition, None)

    def flushed(self) -> None:
        """Everything that was read has been flushed."""
        self._events = 0

    @property
    def interval_s(self) -> float:
        """Seconds from one flush, or evaluation, to the next.

        A partition of which nothing came for `AGE_S` has no backlog, or nobody may read it: its end may be a record that is none of ours.
        """
        since = time.monotonic() - AGE_S
        behind = any(seen_s > since for seen_s in self._behind.values())
        return self._flush_s * TIMES if behind and self._events < EVENTS else self._flush_s
