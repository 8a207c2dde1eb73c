"""How a model's p-values really fall when nothing drifts, learned from its own reference and pooled over its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.smooth_test import SmoothTest, score_basis, shared_between_blocks

#: Fewer p-values than this tell nothing about the tail.
LEAST_VALUES = 100
#: Below the rank of this many values their own order is noise: a power law goes on from there.
TAIL_VALUES = 30


@dataclass(frozen=True)
class PooledNull:
    """The distribution of p-values with no drift.

    Attributes
    ----------
    values
        Ascending, shape (N,), none of them 0.
    ranks
        Where the values are a choice of many (`thinned`): the rank of each, from 1; else None.
    size
        How many there were; None: N.

    Notes
    -----
    Formula: `worth(p) = max(p, rank(p) / (N + 1))`, below the smallest of them continued by a power law.
    Range: (0, 1]; never more confident than the theory's own p-value.
    Small n: with fewer than 100 values nothing is changed; the resolution is `1 / (N + 1)`.

    References
    ----------
    Efron, Large-scale simultaneous hypothesis testing: the choice of a null hypothesis, J. Amer. Statist. Assoc. 99 (2004).
    """

    values: Floats
    ranks: Floats | None = None
    size: int | None = None

    @classmethod
    def fit(
        cls,
        features: Sequence[ArrayLike],
        blocks_per_window: int,
        degree: int = 4,
        bases: Sequence[Callable[[ArrayLike, int], Floats]] | None = None,
    ) -> Self:
        """Test windows cut from the later half of the reference against its earlier half, for every feature.

        Parameters
        ----------
        features
            For each feature its counts in consecutive blocks of the reference, shape (blocks, bins), in order of time.
        blocks_per_window
            How many blocks make a window of the size that will be judged.
        bases
            For each feature `score_basis` or `category_basis`; left out: the former.
        """
        values: list[float] = []
        early = [np.asarray(blocks, dtype=np.float64)[: len(np.asarray(blocks)) // 2] for blocks in features]
        inflation = shared_between_blocks(early, degree)
        for blocks, first, basis_of in zip(features, early, bases or [score_basis] * len(early), strict=True):
            later = np.asarray(blocks, dtype=np.float64)[len(first) :]
            windows = len(later) // blocks_per_window
            if not windows:  # a feature that few blocks have
                continue
            test = SmoothTest.fit(first, degree, inflation, basis_of)
            grouped = later[: windows * blocks_per_window].reshape(windows, blocks_per_window, -1).sum(axis=1)
            values.extend(test.p_value(window) for window in grouped)
        known = np.array(values, dtype=np.float64)
        return cls(np.sort(np.maximum(known[~np.isnan(known)], 1e-300)))

    def thinned(self, keep: int = 300) -> PooledNull:
        """About `keep` of the values, dense where they are small, which calibrate alike.

        >>> null = PooledNull(np.arange(1, 100_001) / 400_000)
        >>> few = null.thinned()
        >>> few.values.size < 320, abs(few.calibrate(0.001) / null.calibrate(0.001) - 1) < 0.01
        (True, np.True_)
        """
        n = self.values.size
        if self.ranks is not None or n <= keep:
            return self
        ranks = np.unique(np.append(np.geomspace(1, n, keep).astype(np.int64), [each + 1 for each in _tail(n)]))
        return PooledNull(self.values[ranks - 1], ranks.astype(np.float64), n)

    def calibrate(self, p_values: ArrayLike) -> Floats:
        """What the p-values are worth: the share of windows without drift that have one as small.

        Never smaller than what theory said. Below the resolution of the values, a power law through their lower tail; with fewer than
        100 values nothing is changed. NaN stays NaN.

        >>> PooledNull(np.arange(1, 1000) / 4000).calibrate([0.01, 0.125]).round(2).tolist()  # four times too small
        [0.04, 0.5]
        """
        p = np.asarray(p_values, dtype=np.float64)
        n = self.size or self.values.size
        if n < LEAST_VALUES:
            return p
        log_value, log_share, low, slope = self._curve
        log_p = np.log(np.maximum(p, 1e-300))
        below = log_share[low] + slope * (log_p - log_value[low])
        worth = np.where(log_p < log_value[low], below, np.interp(log_p, log_value, log_share, right=0.0))
        return np.asarray(np.maximum(np.exp(worth), p))

    @cached_property
    def _curve(self) -> tuple[Floats, Floats, int, float]:
        """Logarithms of the values and of their shares; from which value down the power law goes on, and its exponent."""
        n = self.size or self.values.size
        ranks = np.arange(1, n + 1) if self.ranks is None else self.ranks
        log_value, log_share = np.log(self.values), np.log(ranks / (n + 1))
        low, high = (int(np.searchsorted(ranks, each + 1)) for each in _tail(n))
        run = log_value[high] - log_value[low]
        # A tail lighter than uniform is no reason to trust smaller p-values more.
        return log_value, log_share, low, min(1.0, (log_share[high] - log_share[low]) / run) if run > 0 else 1.0


def _tail(n: int) -> tuple[int, int]:
    """Between which of `n` ascending values the power law of the lower tail is fitted."""
    return min(TAIL_VALUES, n // 10) - 1, max(n // 50, n // 5 if n < 1000 else 0)
