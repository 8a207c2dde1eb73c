"""Too many dead letters among the last records of one source topic are a mistake of deployment, not of data. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

WINDOW = 1_000  # records
LIMIT = 50  # dead letters in it; one more trips the breaker


class Breaker:
    """Counts the dead letters among the last `WINDOW` records, a function of the records alone.

    >>> breaker = Breaker()
    >>> breaker.add(940, []); breaker.add(60, range(9, 60)); breaker.dead, breaker.tripped
    (51, True)
    >>> breaker.add(950, []); breaker.dead, breaker.tripped
    (50, False)
    """

    def __init__(self, seen: int = 0, places: Iterable[int] = ()) -> None:
        self._seen, self._places = seen, deque(places)

    def add(self, records: int, dead: Iterable[int]) -> None:
        """Count `records` more, of which those numbered `dead` (ascending, 0 the first of them) are dead letters."""
        self._places.extend(self._seen + place for place in dead)
        self._seen += records
        while self._places and self._places[0] < self._seen - WINDOW:
            self._places.popleft()

    @property
    def dead(self) -> int:
        """Dead letters among the last `WINDOW` records."""
        return len(self._places)

    @property
    def tripped(self) -> bool:
        """Whether they are too many. Fewer than `WINDOW` records say nothing yet."""
        return self._seen >= WINDOW and self.dead > LIMIT

    @property
    def state(self) -> tuple[int, list[int]]:
        """What it is made from again: `Breaker(*state)`."""
        return self._seen, list(self._places)
