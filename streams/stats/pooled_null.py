"""How a model's p-values really fall when nothing drifts, learned from its own reference and pooled over its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.smooth_test import SmoothTest, shared_between_blocks

#: Fewer p-values than this tell nothing about the tail.
LEAST_VALUES = 100
#: Below the rank of this many values their own order is noise: a power law goes on from there.
TAIL_VALUES = 30


@dataclass(frozen=True, slots=True)
class PooledNull:
    """The distribution of p-values with no drift; `values` are ascending, shape (N,), none of them 0."""

    values: Floats

    @classmethod
    def fit(cls, features: Sequence[ArrayLike], blocks_per_window: int, degree: int = 4) -> Self:
        """Test windows cut from the later half of the reference against its earlier half, for every feature.

        Parameters
        ----------
        features
            For each feature its counts in consecutive blocks of the reference, shape (blocks, bins), in order of time.
        blocks_per_window
            How many blocks make a window of the size that will be judged.
        """
        values: list[float] = []
        early = [np.asarray(blocks, dtype=np.float64)[: len(np.asarray(blocks)) // 2] for blocks in features]
        inflation = shared_between_blocks(early, degree)
        for blocks, first in zip(features, early, strict=True):
            later = np.asarray(blocks, dtype=np.float64)[len(first) :]
            windows = len(later) // blocks_per_window
            test = SmoothTest.fit(first, degree, inflation)
            grouped = later[: windows * blocks_per_window].reshape(windows, blocks_per_window, -1).sum(axis=1)
            values.extend(test.p_value(window) for window in grouped)
        known = np.array(values, dtype=np.float64)
        return cls(np.sort(np.maximum(known[~np.isnan(known)], 1e-300)))

    def calibrate(self, p_values: ArrayLike) -> Floats:
        """What the p-values are worth: the share of windows without drift that have one as small.

        Never smaller than what theory said. Below the resolution of the values, a power law through their lower tail; with fewer than
        100 values nothing is changed. NaN stays NaN.

        >>> PooledNull(np.arange(1, 1000) / 4000).calibrate([0.01, 0.125]).round(2).tolist()  # four times too small
        [0.04, 0.5]
        """
        p = np.asarray(p_values, dtype=np.float64)
        n = self.values.size
        if n < LEAST_VALUES:
            return p
        log_value, log_share = np.log(self.values), np.log(np.arange(1, n + 1) / (n + 1))
        low, high = min(TAIL_VALUES, n // 10) - 1, max(n // 50, n // 5 if n < 1000 else 0)
        run = log_value[high] - log_value[low]
        # A tail lighter than uniform is no reason to trust smaller p-values more.
        slope = min(1.0, (log_share[high] - log_share[low]) / run) if run > 0 else 1.0
        log_p = np.log(np.maximum(p, 1e-300))
        below = log_share[low] + slope * (log_p - log_value[low])
        worth = np.where(log_p < log_value[low], below, np.interp(log_p, log_value, log_share, right=0.0))
        return np.asarray(np.maximum(np.exp(worth), p))
