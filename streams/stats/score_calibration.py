"""What a score is worth: the share of positives at each score, learned on the reference and never falling with the score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats


@dataclass(frozen=True)
class ScoreCalibration:
    """`chance[i]` is the probability of the positive class for a score in bin i, ascending, shape (bins,)."""

    chance: tuple[float, ...]

    @classmethod
    def fit(cls, negative: ArrayLike, positive: ArrayLike) -> ScoreCalibration:
        """Isotonic regression of the outcome on the score (pool adjacent violators), from labelled rows of the reference.

        Parameters
        ----------
        negative, positive
            Rows of each class by score, equal bins on [0, 1], shape (bins,).

        Notes
        -----
        Formula: `min(sum(rows * (chance - share)**2))` over ascending chances: neighbours that violate the order are pooled.
        Range: (0, 1).
        Small n: each bin is lent one row that follows its score, so bins without rows take the score at its word as far as their neighbours
        allow.

        References
        ----------
        Ayer, Brunk, Ewing, Reid and Silverman, Ann. Math. Statist. 26 (1955); as `sklearn.isotonic.IsotonicRegression`.

        Examples
        --------
        >>> [round(chance, 2) for chance in ScoreCalibration.fit([90, 50, 60, 20], [10, 50, 40, 80]).chance]
        [0.1, 0.45, 0.45, 0.8]
        """
        return cls(_fitted(np.asarray(negative, dtype=np.float64).tobytes(), np.asarray(positive, dtype=np.float64).tobytes()))

    def chances(self) -> Floats:
        """The probabilities, shape (bins,)."""
        return self.known[0]

    @cached_property
    def known(self) -> tuple[Floats, Floats, Floats]:
        """The probabilities of the positive class, those of the negative, and the variance of one row; every window asks for them."""
        chance = np.array(self.chance)
        found = chance, 1 - chance, chance * (1 - chance)
        for each in found:
            each.flags.writeable = False
        return found


@lru_cache(maxsize=1_024)
def _fitted(negative: bytes, positive: bytes) -> tuple[float, ...]:
    """`ScoreCalibration.fit` of these float64; every window asks for that of its reference again."""
    low, high = np.frombuffer(negative), np.frombuffer(positive)
    own = (np.arange(low.size) + 0.5) / low.size
    pools: list[list[float]] = []  # rows, positives, bins
    for rows, ones in zip((low + high + 1).tolist(), (high + own).tolist(), strict=True):
        pools.append([rows, ones, 1])
        while len(pools) > 1 and pools[-2][1] * pools[-1][0] >= pools[-1][1] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    return tuple(np.repeat([ones / rows for rows, ones, _ in pools], [int(bins) for *_, bins in pools]).tolist())
