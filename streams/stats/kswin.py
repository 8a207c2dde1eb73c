"""KSWIN: the latest values against earlier ones of a sliding window, by a Kolmogorov–Smirnov test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from driftline.streams.stats.detector import Batch, Level, Signal, StoredState, signal_between
from driftline.streams.stats.ks import ks_pvalue

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
        Values kept, and how many of them are the latest part.
    seed
        A number draws `stat_size` of the earlier values at random for each comparison, as the paper and river do. None compares with
        all of them: no chance in it, and sharper.

    Notes
    -----
    Values one by one and a seed give the indices of `river.drift.KSWIN` 0.26 with that seed. A test of distributions needs values, so
    a batch is one element: its mean.

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
        cut = self.window_size - self.stat_size
        earlier, place, latest = window[:cut], state.random, window[cut:]
        if self.seed is not None:
            source = random.Random(self.seed)
            if place is not None:
                source.setstate(place)
            earlier = tuple(window[i] for i in source.sample(range(cut), self.stat_size))
            place = source.getstate()
        distance = _distance(earlier, latest)
        if distance > 0.1 and _p_value(round(distance * len(earlier) * len(latest)), len(earlier), len(latest)) <= self.alpha:
            return self.start(), signal_between(
                Level(cut, math.fsum(window[:cut]) / cut), Level(len(latest), math.fsum(latest) / len(latest))
            )
        return KswinState(window, place), None


def _level(values: Sequence[float]) -> Level:
    return Level(len(values), math.fsum(values) / len(values))


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest difference of both cumulative shares."""
    first, second = np.sort(a), np.sort(b)
    at = np.concatenate([first, second])
    gap = np.searchsorted(first, at, side="right") / first.size - np.searchsorted(second, at, side="right") / second.size
    return float(np.abs(gap).max())


@lru_cache(maxsize=4096)
def _p_value(steps: int, n: int, m: int) -> float:
    """Of a distance of `steps / (n m)`: exact for equal sizes (Gnedenko and Korolyuk), else the limit."""
    if n != m:
        return ks_pvalue(steps / (n * m), n, m)
    jump = round(steps / n)
    ways = sum((-1) ** (k - 1) * math.comb(2 * n, n - k * jump) for k in range(1, n // jump + 1))
    return min(1.0, float(2 * ways / math.comb(2 * n, n)))
