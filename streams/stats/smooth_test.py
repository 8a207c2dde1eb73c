"""A smooth test that knows how much a feature wavers by itself: few scores a window, judged by their spread over the reference's blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike
from scipy.special import fdtrc

from driftline.streams.stats.chi_square import chi_square
from driftline.streams.stats.counts import Floats, shares


def score_basis(reference: ArrayLike, degree: int = 4) -> Floats:
    """Polynomials of the bins' mid-ranks, orthonormal under the reference: location, scale, skewness, tails.

    Parameters
    ----------
    reference
        Counts, shape (bins,), bins in ascending order of the value. For categories the order is any fixed one, and `degree` as high as
        the number of categories less one makes the test the chi-square test.

    Returns
    -------
    array, shape (J, bins)
        `J = min(degree, bins in use - 1)` scores h_j with sum(p h_j) = 0 and sum(p h_i h_j) = 1 if i = j else 0. A bin the reference
        never saw has the score of its place in the order.

    Examples
    --------
    >>> basis = score_basis([10, 20, 30, 40], degree=2)
    >>> p = np.array([0.1, 0.2, 0.3, 0.4])
    >>> np.abs(basis @ p).max() < 1e-12, np.abs(basis * p @ basis.T - np.eye(2)).max() < 1e-12
    (np.True_, np.True_)
    """
    p = shares(reference)
    rank = 2 * (np.cumsum(p) - p / 2) - 1
    powers = legvander(rank, min(degree, int((p > 0).sum()) - 1))
    _, to_orthonormal = np.linalg.qr(np.sqrt(p)[:, None] * powers)
    return np.asarray(np.linalg.solve(to_orthonormal.T, powers.T)[1:])


@dataclass(frozen=True, slots=True)
class SmoothTest:
    """What a feature's windows are tested with: made from the reference once, kept with it.

    Attributes
    ----------
    reference
        Counts, shape (bins,).
    basis
        `score_basis`, shape (J, bins).
    covariance
        Of the scores' means times the root of their rows, shape (J, J), from the blocks: the identity for independent rows, larger
        where neighbours are alike.
    blocks
        How many blocks it was learned from.
    """

    reference: Floats
    basis: Floats
    covariance: Floats
    blocks: int
    _inverse: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inverse", np.linalg.pinv(self.covariance, hermitian=True))

    @classmethod
    def fit(cls, blocks: ArrayLike, degree: int = 4, inflation: float = 1.0) -> Self:
        """Learn from the reference cut into consecutive blocks, shape (blocks, bins), in order of time.

        Blocks should be longer than the time over which neighbours are alike, and at least `degree + 2`, better 30, in number.
        `inflation` is what blocks still share with their neighbours (`shared_between_blocks`).
        """
        counts = np.asarray(blocks, dtype=np.float64)
        counts = counts[counts.sum(axis=1) > 0]
        reference = counts.sum(axis=0)
        basis = score_basis(reference, degree)
        scores = block_scores(counts, basis)
        covariance = scores.T @ scores / max(1, len(scores) - 1) * inflation
        return cls(reference, basis, covariance, len(scores))

    def p_value(self, current: ArrayLike) -> float:
        """Probability of scores this far from the reference's when nothing drifted.

        Hotelling's T² of the window's mean scores, whose variance is that of n rows and of the reference's own rows, against the F
        distribution with J and blocks - J degrees of freedom. NaN where the window has no rows or the reference too few blocks to
        know. A constant reference has no scores; `chi_square` decides then.
        """
        counts = np.asarray(current, dtype=np.float64)
        n, n_reference, degree = counts.sum(), self.reference.sum(), len(self.basis)
        if n == 0 or self.blocks < degree + 2:
            return math.nan
        if degree == 0:
            return chi_square(self.reference, counts, min_expected=0).p_value
        scores = self.basis @ counts / n
        t2 = float(scores @ self._inverse @ scores * n * n_reference / (n + n_reference))
        freedom = self.blocks - degree
        return float(fdtrc(degree, freedom, t2 * freedom / (degree * (self.blocks - 1))))


def block_scores(blocks: Floats, basis: Floats) -> Floats:
    """Mean scores of each block times the root of its rows, shape (blocks, J).

    >>> block_scores(np.array([[4.0, 0.0], [0.0, 4.0]]), np.array([[-1.0, 1.0]])).tolist()
    [[-2.0], [2.0]]
    """
    return np.asarray(blocks @ basis.T / np.sqrt(blocks.sum(axis=1, keepdims=True)))


def shared_between_blocks(features: Sequence[ArrayLike], degree: int = 4) -> float:
    """How much wider scores of long windows spread than blocks alone tell, because neighbouring blocks are alike; 1 where they are not.

    `1 + 2 r`, with r the correlation of neighbouring blocks' scores, over all features at once: one figure can be known well from
    blocks that would not tell it for each feature. `features` holds arrays of shape (blocks, bins).

    >>> rng = np.random.default_rng(0)
    >>> shared_between_blocks([rng.multinomial(100, [0.25] * 4, 50) for _ in range(20)]) < 1.1
    True
    """
    together = own = 0.0
    for blocks in features:
        counts = np.asarray(blocks, dtype=np.float64)
        scores = block_scores(counts[counts.sum(axis=1) > 0], score_basis(counts.sum(axis=0), degree))
        together += float((scores[1:] * scores[:-1]).sum())
        own += float((scores**2).sum())
    return 1 + 2 * max(0.0, together / own) if own > 0 else 1.0
