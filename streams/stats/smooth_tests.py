"""The smooth tests of many features at once: each figure of `SmoothTest`, one for each feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from driftline.streams.stats.chi_square import chi_square
from driftline.streams.stats.counts import Floats
from driftline.streams.stats.smooth_test import SmoothTest


class SmoothTests:
    """A row a feature, over as many bins as the feature with most has; bins that a feature does not have hold no rows and score 0.

    Counts have the shape (..., features, bins), such as those of several windows, and figures (..., features) unless it says otherwise;
    what they are held against has (features, bins). A feature without rows on one side has NaN. With the tests of one feature each figure
    is that of `SmoothTest`.

    >>> one = SmoothTest(np.array([5.0, 5.0]), np.array([[-1.0, 1.0]]), np.eye(1), 50)
    >>> many, window = SmoothTests([one, one]), np.array([7.0, 3.0])
    >>> bool(np.isclose(many.p_values(np.stack([window, window])), one.p_value(window)).all())
    True
    """

    def __init__(self, tests: Sequence[SmoothTest]) -> None:
        self.tests = tests
        width, depth = max((t.reference.size for t in tests), default=0), max((len(t.basis) for t in tests), default=0)
        many = len(tests)
        self.reference, self.basis = np.zeros((many, width)), np.zeros((many, depth, width))
        self.degree = np.array([len(t.basis) for t in tests], np.int64)
        self.blocks = np.array([t.blocks for t in tests], np.float64)
        self.dispersion = np.array([t.dispersion for t in tests], np.float64)
        self.spread = np.zeros((many, depth))  # standard deviation of each score
        self._inverse, self._ways = np.zeros((many, depth, depth)), np.zeros((many, 2, depth))
        self._direction, self._along = np.zeros((many, depth)), np.zeros(many)  # along the direction: variance; 0: not looked for
        for f, test in enumerate(tests):
            bins, scores = test.reference.size, len(test.basis)
            self.reference[f, :bins], self.basis[f, :scores, :bins] = test.reference, test.basis
            self._inverse[f, :scores, :scores], self.spread[f, :scores] = test.inverse, np.sqrt(np.diag(test.covariance))
            self._ways[f, : len(test.ways), :scores] = test.ways
            if test.direction is not None and scores >= 2:
                self._direction[f, :scores] = test.direction
                self._along[f] = float(test.direction @ test.covariance @ test.direction)

    def sums(self, counts: Floats) -> Floats:
        """Each score summed up over the rows, shape (..., features, scores)."""
        return np.asarray(np.matmul(self.basis, counts[..., None])[..., 0])

    def p_values(self, counts: Floats, against: Floats | None = None) -> Floats:
        """`SmoothTest.p_value` of each feature."""
        other = self.reference if against is None else against
        n, n_other = counts.sum(-1), other.sum(-1)
        known = (n > 0) & (n_other > 0) & (self.blocks >= self.degree + 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = self.sums(counts) / n[..., None]
            if against is not None:
                scores = scores - self.sums(against) / n_other[:, None]
            worth = n * n_other / (n + n_other)
            together = self.tails(np.matmul(np.matmul(scores[..., None, :], self._inverse), scores[..., None])[..., 0, 0] * worth)
            t2 = (self._direction * scores).sum(-1) ** 2 * worth / self._along
        alone = np.minimum(together, self.tails(t2, np.ones_like(self.degree)))
        p_values = np.where(self._along > 0, alone * (2 - alone), together)
        for at in zip(*np.nonzero(known & (self.degree == 0)), strict=True):
            p_values[at] = chi_square(other[at[-1]], counts[at], min_expected=0).p_value
        return np.where(known, p_values, np.nan)

    def tails(self, t2: Floats, degree: NDArray[np.int64] | None = None) -> Floats:
        """`SmoothTest.tail` of each feature."""
        of = self.degree if degree is None else degree
        freedom = self.blocks - of
        known = (of > 0) & (freedom >= 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(known, fdtrc(of, freedom, t2 * freedom / (of * (self.blocks - 1))), np.nan)

    def moved(self, apart: Floats) -> Floats:
        """`SmoothTest.moved` of each feature, from how far the means of its scores lie apart, shape (..., features, scores)."""
        return np.asarray(np.nan_to_num(np.abs(np.matmul(self._ways, apart[..., None])[..., 0]).max(-1, initial=0.0)))
