"""Mean and spread: sums that merge, and the same read off a histogram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, shares


class Moments(NamedTuple):
    """`n` values, their mean, and the sum of their squared deviations from it.

    Notes
    -----
    Formula: `m2 = sum((x - mean)**2)`; merged, `m2 + m2' + apart**2 * n * m / (n + m)`.
    Range: any mean, m2 in [0, inf).
    Small n: no values: n = 0, mean 0. `variance` is NaN below two.

    References
    ----------
    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, COMPSTAT 1982.
    """

    n: float
    mean: float
    m2: float

    @property
    def variance(self) -> float:
        """Unbiased variance; NaN below two values."""
        return self.m2 / (self.n - 1) if self.n > 1 else float("nan")

    def merge(self, other: Moments) -> Moments:
        """The moments of both together.

        >>> Moments(2, 1.0, 2.0).merge(Moments(1, 4.0, 0.0))
        Moments(n=3, mean=2.0, m2=8.0)
        """
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        return Moments(n, self.mean + apart * other.n / n, self.m2 + other.m2 + apart * apart * self.n * other.n / n)


def moments_of_bins(counts: ArrayLike, positions: ArrayLike) -> Moments:
    """Moments of a histogram whose bins stand for `positions`.

    >>> moments_of_bins([1, 1, 2], [0.0, 2.0, 3.0])
    Moments(n=4.0, mean=2.0, m2=6.0)
    """
    weight, at = np.asarray(counts, dtype=np.float64), np.asarray(positions, dtype=np.float64)
    n = float(weight.sum())
    if n == 0:
        return Moments(0.0, 0.0, 0.0)
    mean = float(weight @ at / n)
    return Moments(n, mean, float(weight @ (at - mean) ** 2))


def bin_positions(edges: ArrayLike, minimum: float, maximum: float) -> Floats:
    """The value each bin stands for: its middle; the outer bins', between their edge and the smallest or largest value seen.

    Shape (len(edges) + 1,), ascending.

    >>> bin_positions([0.0, 1.0, 3.0], -2.0, 3.5).tolist()
    [-1.0, 0.5, 2.0, 3.25]
    """
    inner = np.asarray(edges, dtype=np.float64)
    bounds = np.concatenate(([min(minimum, inner[0])], inner, [max(maximum, inner[-1])]))
    return np.asarray(bounds[:-1] / 2 + bounds[1:] / 2)


def spread_of_bins(reference: ArrayLike, current: ArrayLike, positions: ArrayLike) -> Floats:
    """The reference's standard deviation, along the last axis: the yardstick of a shift.

    Where the reference is constant, that of the mean shape of both sides; where that is constant too, 1.

    >>> float(spread_of_bins([1, 1], [5, 0], [0.0, 4.0])), float(spread_of_bins([2, 0], [0, 3], [0.0, 4.0]))
    (2.0, 2.0)
    """
    p, q, at = shares(reference), shares(current), np.asarray(positions, dtype=np.float64)
    own, both = _deviation(p, at), _deviation((p + q) / 2, at)
    return np.asarray(np.where(own > 0, own, np.where(both > 0, both, 1.0)))


def _deviation(share: Floats, at: Floats) -> Floats:
    mean = (share * at).sum(axis=-1, keepdims=True)
    return np.asarray(np.sqrt((share * (at - mean) ** 2).sum(axis=-1)))
