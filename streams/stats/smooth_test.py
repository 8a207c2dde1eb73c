"""A smooth test that knows how much a feature wavers by itself: few scores a window, judged by their spread over the reference's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike
from scipy.special import fdtrc, ndtri

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
    # Libraries differ in the signs; here every score rises with its power, whoever computes it.
    to_orthonormal *= np.sign(np.diag(to_orthonormal))[:, None]
    return np.asarray(np.linalg.solve(to_orthonormal.T, powers.T)[1:])


def location(reference: ArrayLike, basis: ArrayLike) -> Floats:
    """How to weigh the scores of a basis for a move of the whole distribution: normal scores of the bins' mid-ranks, as near as it gets.

    Under a normal reference, a move by d standard deviations makes the weighed mean score d; what the reference is does not matter where
    a growing function of the value is normal.

    Parameters
    ----------
    reference
        Counts, shape (bins,), bins in ascending order of the value.
    basis
        `score_basis` of it, shape (J, bins).

    Returns
    -------
    array, shape (J,)
        Of length 1; (0, …) where the reference has one bin in use only.

    References
    ----------
    van der Waerden, Order tests for the two-sample problem, Indagationes Mathematicae 14 (1952).

    Examples
    --------
    >>> counts = [10, 20, 40, 20, 10]
    >>> location(counts, score_basis(counts)).round(3).tolist()  # symmetric: odd powers only
    [0.992, 0.0, 0.129, 0.0]
    """
    return _towards(reference, basis, _normal_scores(reference))


def scale(reference: ArrayLike, basis: ArrayLike) -> Floats:
    """The same for a distribution that becomes wider (above 0) or narrower: squares of normal scores.

    Under a normal reference whose standard deviation becomes s times as large, the weighed mean score is `(s² - 1) / √2`.

    References
    ----------
    Klotz, Nonparametric tests for scale, Ann. Math. Statist. 33 (1962).

    Examples
    --------
    >>> counts = [10, 20, 40, 20, 10]
    >>> scale(counts, score_basis(counts)).round(3).tolist()
    [0.0, 0.97, 0.0, 0.241]
    """
    return _towards(reference, basis, _normal_scores(reference) ** 2)


def _normal_scores(reference: ArrayLike) -> Floats:
    p = shares(reference)
    return np.asarray(ndtri(np.clip(np.cumsum(p) - p / 2, 1e-9, 1 - 1e-9)))


def _towards(reference: ArrayLike, basis: ArrayLike, target: Floats) -> Floats:
    weights = (np.asarray(basis, dtype=np.float64) * shares(reference)) @ target
    length = float(np.sqrt(weights @ weights))
    return np.asarray(weights / length if length > 0 else weights)


def category_basis(reference: ArrayLike, degree: int = 8, least_share: float = 0.01) -> Floats:
    """Contrasts of the commonest categories and of all others together, orthonormal under the reference.

    Parameters
    ----------
    reference
        Counts, shape (bins,), in any fixed order.
    degree
        At most this many contrasts.
    least_share
        Rarer categories, and those the reference never saw, are among the others, who together have this share at least: a single row
        of a rare category says nothing.

    Returns
    -------
    array, shape (J, bins)
        With J + 1 groups of bins; J = 0 where there is one group only.

    Examples
    --------
    >>> basis, p = category_basis([40, 30, 20, 9, 1, 0]), np.array([0.4, 0.3, 0.2, 0.09, 0.01, 0.0])
    >>> basis.shape, np.abs(basis * p @ basis.T - np.eye(4)).max() < 1e-12
    ((4, 6), np.True_)
    >>> bool(basis[0, 4] == basis[0, 5])  # the rare one and the unseen one are one group
    True
    """
    counts = np.asarray(reference, dtype=np.float64)
    p = counts / max(counts.sum(), 1e-300)
    order = np.argsort(-p, kind="stable")
    named = min(int((p >= least_share).sum()), degree)
    while named and named < p.size and p[order[named:]].sum() < least_share - 1e-9:
        named -= 1
    rest = order[named:]
    among = float(p[rest].sum())
    # Many rare categories are parted by rank, so that a change between them can be seen.
    parts = 1 + min(int((degree - named) * among), max(int((p[rest] > 0).sum()) - 1, 0))
    group = np.empty(p.size, np.int64)
    group[order[:named]] = np.arange(named)
    group[rest] = named + np.minimum((np.cumsum(p[rest]) - p[rest]) / max(among, 1e-300) * parts, parts - 1).astype(np.int64)
    in_use = np.flatnonzero(np.bincount(group, p))
    group = np.maximum(np.searchsorted(in_use, group, side="right") - 1, 0)
    weight = np.bincount(group, p)
    if weight.size < 2:
        return np.empty((0, p.size))
    indicators = np.eye(weight.size)
    indicators[:, 0] = 1.0
    _, to_orthonormal = np.linalg.qr(np.sqrt(weight)[:, None] * indicators)
    to_orthonormal *= np.sign(np.diag(to_orthonormal))[:, None]
    return np.asarray(np.linalg.solve(to_orthonormal.T, indicators.T)[1:][:, group])


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
    direction
        Weights of the scores, shape (J,), of the change that is looked for by itself too (`location`); None: of none.

    Notes
    -----
    Formula: `T = m * s' C**-1 s` with the mean scores s of m rows and the covariance C of the reference's blocks; its tail is Hotelling's.
    Range: [0, 1] for the p-value, 1 for a window of the reference's own shape.
    Small n: NaN for an empty window and with fewer blocks than two more than scores (independent rows need none); right where mean scores
    are near to normal, some hundred effective rows.

    References
    ----------
    Neyman, 'Smooth test' for goodness of fit, Skand. Aktuarietidskr. 20 (1937); Hotelling, Ann. Math. Statist. 2 (1931).
    """

    reference: Floats
    basis: Floats
    covariance: Floats
    blocks: int
    direction: Floats | None = None
    inverse: Floats = field(init=False, repr=False)  # of the covariance
    ways: Floats = field(init=False, repr=False)  # the direction, and that of the scale
    _dispersion: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ways = np.empty((0, len(self.basis)))
        if self.direction is not None and len(self.basis):
            ways = np.stack([self.direction, scale(self.reference, self.basis)])
        object.__setattr__(self, "ways", ways)
        object.__setattr__(self, "_dispersion", max(1.0, float(np.diag(self.covariance).mean())) if len(self.basis) else 1.0)
        object.__setattr__(self, "inverse", np.linalg.pinv(self.covariance, hermitian=True))

    @classmethod
    def fit(
        cls, blocks: ArrayLike, degree: int = 4, inflation: float = 1.0, basis_of: Callable[[ArrayLike, int], Floats] = score_basis
    ) -> Self:
        """Learn from the reference cut into consecutive blocks, shape (blocks, bins), in order of time.

        Blocks should be longer than the time over which neighbours are alike, and at least `degree + 2`, better 30, in number.
        `inflation` is what blocks still share with their neighbours (`shared_between_blocks`); `basis_of` is `score_basis` or
        `category_basis`.
        """
        counts = np.asarray(blocks, dtype=np.float64)
        counts = counts[counts.sum(axis=1) > 0]
        reference = counts.sum(axis=0)
        basis = basis_of(reference, degree)
        scores = block_scores(counts, basis)
        covariance = scores.T @ scores / max(1, len(scores) - 1) * inflation
        direction = location(reference, basis) if basis_of is score_basis else None
        return cls(reference, basis, covariance, blocks_worth(scores), direction)

    @property
    def dispersion(self) -> float:
        """How many rows are worth one independent row, 1 or more: the covariance's mean on its diagonal.

        >>> SmoothTest(np.array([5.0, 5.0]), np.array([[-1.0, 1.0]]), np.array([[4.0]]), 50).dispersion
        4.0
        """
        return self._dispersion

    def p_value(self, current: ArrayLike, against: ArrayLike | None = None) -> float:
        """Probability of scores this far from the reference's, or from those of other rows (`against`), when nothing drifted.

        Hotelling's T² of the window's mean scores, whose variance is that of n rows and of the reference's own rows, against the F
        distribution with J and blocks - J degrees of freedom. Where there is a `direction`: the smaller of that and of the same for it
        alone, which sees a change there better than J scores do, at the price of two looks, p (2 - p): both tell of the same rows, so
        together they are too small less often than that. NaN where the window has no rows or the reference too few
        blocks to know. A constant reference has no scores; `chi_square` decides then.
        """
        counts = np.asarray(current, dtype=np.float64)
        other = self.reference if against is None else np.asarray(against, dtype=np.float64)
        n, n_other, degree = float(counts.sum()), float(other.sum()), len(self.basis)
        if n == 0 or n_other == 0 or self.blocks < degree + 2:
            return math.nan
        if degree == 0:
            return chi_square(other, counts, min_expected=0).p_value
        scores = self.basis @ counts / n
        if against is not None:
            scores = scores - self.basis @ other / n_other
        worth = n * n_other / (n + n_other)
        together = self.tail(float(scores @ self.inverse @ scores * worth))
        spread = 0.0 if self.direction is None else float(self.direction @ self.covariance @ self.direction)
        if self.direction is None or degree < 2 or spread <= 0:
            return together
        smaller = min(together, self.tail(float(self.direction @ scores) ** 2 * worth / spread, 1))
        return smaller * (2 - smaller)

    def moved(self, current: ArrayLike, against: ArrayLike | None = None) -> float:
        """How far a window lies from the reference, or from other rows, along `direction` or in scale, whichever is more; 0 or more.

        For a numeric feature in standard deviations, had it a normal distribution; of the scale `(s² - 1) / √2`, where the standard
        deviation is s times as large. 0 where there is no direction or a side has no rows.

        >>> blocks = np.random.default_rng(0).multinomial(100, [0.1, 0.2, 0.4, 0.2, 0.1], 50)
        >>> round(SmoothTest.fit(blocks).moved([5, 15, 40, 25, 15]), 2)
        0.26
        """
        counts = np.asarray(current, dtype=np.float64)
        other = self.reference if against is None else np.asarray(against, dtype=np.float64)
        if not len(self.ways) or not counts.sum() or not other.sum():
            return 0.0
        return float(np.abs(self.ways @ (self.basis @ (counts / counts.sum() - other / other.sum()))).max())

    def tail(self, t2: float, degree: int | None = None) -> float:
        """Probability of a T² of so many scores (all) this large or larger when nothing drifted; NaN with too few blocks to know.

        >>> round(SmoothTest(np.array([5.0, 5.0]), np.array([[-1.0, 1.0]]), np.eye(1), 1_000_000).tail(3.841), 3)
        0.05
        """
        degree = len(self.basis) if degree is None else degree
        freedom = self.blocks - degree
        if degree == 0 or freedom < 2:
            return math.nan
        return float(fdtrc(degree, freedom, t2 * freedom / (degree * (self.blocks - 1))))


def block_scores(blocks: Floats, basis: Floats) -> Floats:
    """Mean scores of each block times the root of its rows, shape (blocks, J).

    >>> block_scores(np.array([[4.0, 0.0], [0.0, 4.0]]), np.array([[-1.0, 1.0]])).tolist()
    [[-2.0], [2.0]]
    """
    return np.asarray(blocks @ basis.T / np.sqrt(blocks.sum(axis=1, keepdims=True)))


def blocks_worth(scores: Floats) -> int:
    """How many blocks of normal scores would tell the covariance as well as these do, shape (blocks, J); at most as many as there are.

    A variance is known to `(kurtosis - 1) / blocks` of its square. Where most blocks lack a rare value and a few have a clump of it, two
    hundred of them may be worth five, and a window with one clump more proves nothing. Of the scores the one that is known worst counts.

    >>> normal = np.random.default_rng(0).standard_normal((200, 1))
    >>> blocks_worth(normal) > 150, blocks_worth(np.array([[10.0]] * 2 + [[-0.1]] * 198))
    (True, 4)
    """
    squares = np.square(scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = len(scores) * np.square(squares).sum(0) / np.square(squares.sum(0))
    worst = float(np.nanmax(kurtosis, initial=3.0))
    return min(len(scores), round(2 * len(scores) / (worst - 1)))


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
