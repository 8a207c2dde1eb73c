"""What every sink does alike: a block is sent until it is stored, a row that cannot be stored is found and handed back.

Architecture invariant: three kinds of error, three answers. The store is busy or away: wait and send the same block again, for
ever. A row is refused: find it by halving and hand it to `on_rejected`. Everything else: stop with a `DriftlineError`.

A new sink says how one block is written (`_send`), and passes the suite in `tests/sinks/test_contract.py`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, Self

import msgspec

from driftline.schemas.errors import DriftlineError

#: How often a state is met that may also last for ever, by the code of its error.
PATIENCE: Final[Mapping[str, int]] = {"store_denied": 10, "store_partial": 5}
REJECTED_LIMIT: Final = 100  # rows of one block
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0

OnRetry = Callable[[DriftlineError, int, float], object]
OnRejected = Callable[[int, DriftlineError], object]


class Busy(Exception):
    """One attempt failed, and another may not; `problem` is told to whoever waits."""

    def __init__(self, problem: DriftlineError) -> None:
        self.problem = problem


class Refused(Exception):
    """The store refuses a value in the block."""


class Sink(Protocol):
    """A place for rows."""

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, on_rejected: OnRejected | None = None) -> None:
        """Store `rows` as one block; returns when they are stored. `Retrying.insert` says what is promised."""

    def close(self) -> None:
        """Give up waiting attempts, and let go of the store."""


class Retrying(ABC):
    """A sink that sends a block until it is stored. Calls block; threads may call.

    Parameters
    ----------
    sleep
        What waiting between two attempts is; seconds. By default `close` ends it.
    on_retry
        Told before each wait: the error, how many attempts failed, the seconds until the next.
    """

    def __init__(self, *, sleep: Callable[[float], object] | None = None, on_retry: OnRetry | None = None) -> None:
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._on_retry = on_retry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up waiting attempts, and let go of the store."""
        self._closed.set()

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, on_rejected: OnRejected | None = None) -> None:
        """Store `rows`, whose fields are the columns of `table`, as one block; returns when they are stored.

        Parameters
        ----------
        rows
            All of one class.
        token
            Names the block: the same for the same rows, another for others. A block whose token was seen before changes nothing.
        on_rejected
            Given the number of each row that the store refuses, and why; the other rows are stored. Without it a refused row raises.

        Raises
        ------
        DriftlineError
            `store_schema`, `store_denied`, `store_login`, `store_rejected`, `store_partial`, `store_closed` or `store_failed`.
        """
        refused = 0
        parts = [(0, len(rows))] if rows else []
        while parts:
            first, end = parts.pop()
            part = rows[first:end]
            try:
                self._send_until_stored(table, part, token if len(part) == len(rows) else f"{token}[{first}:{end}]")
            except Refused as error:
                if len(part) > 1:
                    middle = (first + end) // 2
                    parts += [(middle, end), (first, middle)]
                    continue
                refused += 1
                _reject(table, part[0], first, str(error), refused, on_rejected)

    @abstractmethod
    def _send(self, table: str, rows: Sequence[msgspec.Struct], token: str) -> int:
        """One attempt; returns the number of rows that are stored now. Raises `Busy`, `Refused` or `DriftlineError`."""

    def _send_until_stored(self, table: str, rows: Sequence[msgspec.Struct], token: str) -> None:
        met: Counter[str] = Counter()
        while True:
            self._require_open()
            try:
                written = self._send(table, rows, token)
                if written >= len(rows):
                    return
                problem = _partial(table, written, len(rows))
                # The store knows the token now and would ignore the block; rows that are stored twice replace each other.
                token = f"{token}+"
            except Busy as busy:
                problem = busy.problem
            met[problem.code] += 1
            if met[problem.code] > PATIENCE.get(problem.code, met.total()):
                raise problem
            self._wait(problem, met.total())

    def _wait(self, problem: DriftlineError, attempt: int) -> None:
        delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 16))
        if self._on_retry:
            self._on_retry(problem, attempt, delay)
        self._sleep(delay)

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise DriftlineError("store_closed", f"{self!r} was closed", "open it again; unsent blocks come again from Kafka")


class Sinks:
    """Several sinks as one: a block is stored when each of them has it."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, on_rejected: OnRejected | None = None) -> None:
        """Store the block in one after the other; a row is handed to `on_rejected` by each sink that refuses it."""
        for sink in self._sinks:
            sink.insert(table, rows, token, on_rejected)

    def close(self) -> None:
        """Close each."""
        for sink in self._sinks:
            sink.close()


def _reject(table: str, row: msgspec.Struct, number: int, reason: str, refused: int, on_rejected: OnRejected | None) -> None:
    about = f"{table}: a row was refused: {reason}; the row: {row!r:.1000}"
    if on_rejected is None:
        raise DriftlineError("store_rejected", about, "correct what wrote the row")
    if refused > REJECTED_LIMIT:
        raise DriftlineError(
            "store_rejected",
            f"{table}: more than {REJECTED_LIMIT} rows of one block were refused, last: {reason}",
            "correct what wrote them",
        )
    on_rejected(number, DriftlineError("store_rejected", about, "correct what wrote the row"))


def _partial(table: str, written: int, rows: int) -> DriftlineError:
    return DriftlineError(
        "store_partial",
        f"{table}: the store wrote {written} of {rows} rows and reported success",
        "look at the log of the server and its disk",
    )
