"""Means and co-moments of many features at once: all that linear multivariate tests need, and it merges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats


@dataclass(frozen=True, slots=True, eq=False)
class CrossMoments:
    """`n` rows of k features: their means, shape (k,), and sums of products of deviations, shape (k, k).

    Notes
    -----
    Formula: `comoment = sum((x - mean) (x - mean)')`; merged, `comoment + comoment' + apart apart' n m / (n + m)`.
    Range: any; a symmetric matrix without negative eigenvalues.
    Small n: no rows: zeros. The covariance is divided by n - 1 and NaN below two rows.

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, COMPSTAT 1982.
    """

    n: int
    mean: Floats
    comoment: Floats

    @classmethod
    def of(cls, rows: ArrayLike) -> CrossMoments:
        """Of rows, shape (n, k). Fill missing values before, with the reference's means for instance: then they are no evidence.

        >>> CrossMoments.of([[1.0, 2.0], [3.0, 6.0]]).comoment.tolist()
        [[2.0, 4.0], [4.0, 8.0]]
        """
        table = np.asarray(rows, dtype=np.float64)
        mean = table.mean(axis=0) if len(table) else np.zeros(table.shape[1])
        apart = table - mean
        return cls(len(table), mean, apart.T @ apart)

    def merge(self, other: CrossMoments) -> CrossMoments:
        """Of both together; the order does not matter beyond rounding.

        >>> a, b = CrossMoments.of([[1.0], [3.0]]), CrossMoments.of([[8.0]])
        >>> a.merge(b).n, a.merge(b).mean.tolist(), a.merge(b).comoment.tolist()
        (3, [4.0], [[26.0]])
        """
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        weight = self.n * other.n / n
        return CrossMoments(n, self.mean + apart * other.n / n, self.comoment + other.comoment + weight * np.outer(apart, apart))

    @property
    def covariance(self) -> Floats:
        """Unbiased, shape (k, k); NaN below two rows."""
        return self.comoment / (self.n - 1) if self.n > 1 else np.full_like(self.comoment, np.nan)


def merge_all(parts: list[CrossMoments]) -> CrossMoments:
    """Of all parts together, of which there is at least one."""
    return reduce(CrossMoments.merge, parts)
