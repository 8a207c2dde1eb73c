"""KSWIN: the latest values against earlier ones of a sliding window, by a Kolmogorov–Smirnov test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between
from driftline.streams.stats.ks import ks_pvalue

#: `scan` looks at every fourth window first, and at this many windows at once.
STRIDE, BLOCK = 4, 512

RandomState = tuple[int, tuple[int, ...], float | None]


@dataclass(frozen=True, slots=True)
class KswinState(StoredState):
    """The window, oldest first, and where the random numbers are."""

    window: tuple[float, ...] = ()
    random: RandomState | None = None


@dataclass(frozen=True, slots=True)
class Kswin:
    """Kolmogorov–Smirnov windowing, for any values; finds changes of the whole distribution.

    Parameters
    ----------
    alpha
        Significance of one comparison; there is one for each value, so false alarms are frequent.
    window_size, stat_size
        Values kept, and how many of them are the latest part, at most half: as many are drawn from the earlier ones. Else ValueError.
    seed
        A number draws `stat_size` of the earlier values at random for each comparison, as the paper and river do. None compares with
        all of them: no chance in it, and sharper.

    Notes
    -----
    Formula: `max(|F_latest - F_earlier|)` with a p-value at or below `alpha`.
    Range: (-inf, inf): any values.
    Small n: nothing is judged before `window_size` values.

    Values one by one and a seed give the indices of `river.drift.KSWIN` 0.26 with that seed. A test of distributions needs values, so
    a batch is one element: its mean. `scan` takes many values at once and, without a seed, looks only where the distance can have
    reached its limit: over a million values a second.

    References
    ----------
    Raab, Heusinger and Schleif, Reactive soft prototype computing for concept drift streams, Neurocomputing 416 (2020).

    Examples
    --------
    >>> kswin = Kswin()
    >>> state, rng = kswin.start(), np.random.default_rng(0)
    >>> for i in range(300):
    ...     state, signal = kswin.update(state, Batch.one(rng.normal(0 if i < 200 else 3)))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    211 up 30
    """

    alpha: float = 0.005
    window_size: int = 100
    stat_size: int = 30
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.stat_size <= self.window_size // 2:
            raise ValueError(f"stat_size is {self.stat_size}; it must be between 1 and half of window_size, {self.window_size}")

    def start(self) -> KswinState:
        """The state before any value."""
        return KswinState()

    def update(self, state: KswinState, batch: tuple[int, float, float]) -> tuple[KswinState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        window = (*state.window[-self.window_size + 1 :], element.total / element.n)
        if len(window) < self.window_size:
            return KswinState(window, state.random), None
        cut, place = self.window_size - self.stat_size, state.random
        compared = window
        if self.seed is not None:
            source = random.Random(self.seed)
            if place is not None:
                source.setstate(place)
            compared = tuple(window[i] for i in source.sample(range(cut), self.stat_size)) + window[cut:]
            place = source.getstate()
        if _steps(np.array([compared]), self.stat_size)[0] >= self._critical():
            return self.start(), signal_between(_level(window[:cut]), _level(window[cut:]))
        return KswinState(window, place), None

    def scan(self, state: KswinState, values: ArrayLike) -> tuple[KswinState, list[tuple[int, Signal]]]:
        """The state after many values, shape (n,), and the changes with their places among them: what `update` gives one by one.

        >>> kswin, rng = Kswin(), np.random.default_rng(0)
        >>> state, found = kswin.scan(kswin.start(), np.concatenate([rng.normal(0, 1, 200), rng.normal(3, 1, 100)]))
        >>> [(i, signal.direction) for i, signal in found]
        [(211, 'up')]
        """
        fresh, found = np.asarray(values, dtype=np.float64), []
        if self.seed is not None:
            for i, value in enumerate(fresh.tolist()):
                state, signal = self.update(state, Batch.one(value))
                if signal is not None:
                    found.append((i, signal))
            return state, found
        series, begin = np.concatenate([state.window, fresh]), 0
        held = first = len(state.window)
        while (end := self._next(series, begin, first)) is not None:
            window = series[end - self.window_size : end].tolist()
            cut = self.window_size - self.stat_size
            found.append((end - 1 - held, signal_between(_level(window[:cut]), _level(window[cut:]))))
            begin = first = end
        return KswinState(tuple(series[begin:][-self.window_size :].tolist())), found

    def _next(self, series: Floats, begin: int, first: int) -> int | None:
        """Where the next window that signals ends; windows begin at `begin` or later and end after `first`."""
        start = max(begin, first + 1 - self.window_size)
        if series.size - start < self.window_size:
            return None
        windows = np.lib.stride_tricks.sliding_window_view(series[start:], self.window_size)
        critical = self._critical()
        for block in range(0, len(windows), BLOCK):
            part = windows[block : block + BLOCK]
            looked = np.minimum(np.arange(STRIDE // 2, len(part) + STRIDE // 2, STRIDE), len(part) - 1)
            # One value further moves both shares by one row at most: in steps, by the window's size.
            near = looked[_steps(part[looked], self.stat_size) + STRIDE // 2 * self.window_size >= critical]
            close = np.unique((near[:, None] + np.arange(-STRIDE // 2, STRIDE // 2)).ravel())
            close = close[(close >= 0) & (close < len(part))]
            hits = close[_steps(part[close], self.stat_size) >= critical] if close.size else close
            if hits.size:
                return int(start + block + hits[0] + self.window_size)
        return None

    def _critical(self) -> int:
        cut = self.window_size - self.stat_size
        return _critical_steps(self.stat_size if self.seed is not None else cut, self.stat_size, self.alpha)


def _level(values: Sequence[float]) -> Level:
    return Level(len(values), math.fsum(values) / len(values))


def _steps(windows: Floats, latest: int) -> NDArray[np.int64]:
    """Largest difference of both parts' cumulative shares in each window, times both sizes: a whole number. Shape (windows,)."""
    earlier = windows.shape[1] - latest
    weight = np.repeat(np.array([latest, -earlier], dtype=np.int32), [earlier, latest])
    gap = np.abs(np.cumsum(weight[np.argsort(windows, axis=1)], axis=1, dtype=np.int32)[:, :-1])
    ordered = np.sort(windows, axis=1)
    # Inside a run of equal values the shares are not both counted yet.
    gap *= ordered[:, :-1] != ordered[:, 1:]
    return np.asarray(gap.max(axis=1), dtype=np.int64)


@lru_cache(maxsize=256)
def _critical_steps(n: int, m: int, alpha: float) -> int:
    """The fewest steps that are significant and a distance above 0.1."""
    low, high = n * m // 10 + 1, n * m + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _p_value(middle, n, m) <= alpha else (middle + 1, high)
    return low


@lru_cache(maxsize=4096)
def _p_value(steps: int, n: int, m: int) -> float:
    """Of a distance of `steps / (n m)`: exact for equal sizes (Gnedenko and Korolyuk), else the limit; 0 beyond 1."""
    if steps > n * m:
        return 0.0
    if n != m:
        return ks_pvalue(steps / (n * m), n, m)
    jump = -(-steps // n)
    ways = sum((-1) ** (k - 1) * math.comb(2 * n, n - k * jump) for k in range(1, n // jump + 1))
    return min(1.0, float(2 * ways / math.comb(2 * n, n)))
