"""What every sequential detector shares: the batch it takes, the signal it gives, how its state becomes bytes.

A detector is a frozen configuration with two functions, `start() -> state` and `update(state, batch) -> (state, signal or None)`.
A state is a value: `update` never changes the one it was given, so earlier states can be kept and replayed from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import msgspec
import numpy as np


class Batch(NamedTuple):
    """Values seen together: how many, their sum, and the sum of their squared deviations from their own mean."""

    n: int
    total: float
    m2: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Batch:
        """The batch of some values.

        >>> Batch.of([1.0, 2.0, 3.0])
        Batch(n=3, total=6.0, m2=2.0)
        """
        array = np.fromiter(values, dtype=np.float64)
        return cls(array.size, float(array.sum()), float(array.var() * array.size) if array.size else 0.0)

    @classmethod
    def one(cls, value: float) -> Batch:
        """The batch of a single value.

        >>> Batch.one(0.5)
        Batch(n=1, total=0.5, m2=0.0)
        """
        return cls(1, float(value), 0.0)


@dataclass(frozen=True, slots=True)
class Signal:
    """A change: where the mean went, and the values on either side of it.

    It began about `n_after` values before the last one seen, by the detector's own account, which is rough for those that compare with
    the best level so far; `change_point` tells it better where the batches are still at hand.
    """

    direction: Literal["up", "down"]
    mean_before: float
    mean_after: float
    n_before: int
    n_after: int


class Level(NamedTuple):
    """How many values, and their mean."""

    n: int = 0
    mean: float = 0.0

    def add(self, batch: Batch) -> Level:
        """With the values of a batch.

        >>> Level(3, 1.0).add(Batch(1, 5.0))
        Level(n=4, mean=2.0)
        """
        n = self.n + batch.n
        return Level(n, self.mean + batch.n * (batch.total / batch.n - self.mean) / n)

    def since(self, earlier: Level) -> Level:
        """Without the values of an earlier level; that of nothing when none came since.

        >>> Level(4, 2.0).since(Level(3, 1.0))
        Level(n=1, mean=5.0)
        """
        n = self.n - earlier.n
        return Level(n, (self.n * self.mean - earlier.n * earlier.mean) / n) if n else NOTHING


#: The level of no values at all.
NOTHING = Level()


class StoredState:
    """Gives a state dataclass its bytes: MessagePack of (class name, version, fields). Raise `version` when the fields change."""

    __slots__ = ()
    version: ClassVar[int] = 1

    def to_bytes(self) -> bytes:
        """The state, to be stored; `from_bytes` gives it back equal."""
        return msgspec.msgpack.encode((type(self).__name__, self.version, self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that was stored; ValueError when it is another detector's or another version's."""
        name, version, fields = msgspec.msgpack.decode(data, type=tuple[str, int, msgspec.Raw])
        if (name, version) != (cls.__name__, cls.version):
            raise ValueError(f"the stored state is a {name} of version {version}, not a {cls.__name__} of version {cls.version}")
        return msgspec.msgpack.decode(fields, type=cls)


def signal_between(before: tuple[int, float], after: tuple[int, float]) -> Signal:
    """The signal for a change from one level to another.

    >>> signal_between(Level(100, 0.1), Level(20, 0.4)).direction
    'up'
    """
    return Signal("up" if after[1] > before[1] else "down", before[1], after[1], before[0], after[0])
