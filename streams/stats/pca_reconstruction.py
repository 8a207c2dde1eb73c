"""PCA reconstruction error: how much of a window lies outside the directions in which the reference varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.cross_moments import CrossMoments, merge_all
from driftline.streams.stats.mean_shift import Shift


@dataclass(frozen=True, slots=True, eq=False)
class PcaReconstruction:
    """The reference's scale and principal directions, and how its own blocks are reconstructed.

    Attributes
    ----------
    mean, scale
        Of each feature, shape (k,); a constant feature has scale 1.
    directions
        The leading principal components of the standardised features, shape (kept, k).
    expected, spread
        Mean and standard deviation, over blocks, of the block's error, the latter as of a single row.
    blocks
        How many.
    """

    mean: Floats
    scale: Floats
    directions: Floats
    expected: float
    spread: float
    blocks: int

    @classmethod
    def fit(cls, blocks: Sequence[CrossMoments], share: float = 0.65) -> PcaReconstruction:
        """Learn from consecutive blocks of the reference.

        Parameters
        ----------
        blocks
            At least ten, of some hundred rows each; longer than neighbouring rows are alike, so autocorrelation is in the spread.
        share
            Of the variance that the kept components explain; NannyML's default.

        Notes
        -----
        Formula: `error = mean(|z - z @ V' V|**2) / k` of standardised rows z, V being the leading components.
        Range: [0, 1] on the reference; any for a window.
        Small n: with few blocks the spread is uncertain; below 3 `test` says NaN.

        References
        ----------
        The idea: NannyML's DataReconstructionDriftCalculator. It averages the norm of a row's residual, which cannot be had from sums;
        this is the mean of its square, which can.
        """
        whole = merge_all(list(blocks))
        variance = np.diag(whole.covariance)
        scale = np.where(variance > 0, np.sqrt(variance), 1.0)
        values, vectors = np.linalg.eigh(whole.covariance / np.outer(scale, scale))
        explained = np.cumsum(values[::-1]) / max(values.sum(), 1e-300)
        kept = min(int(np.searchsorted(explained, share)) + 1, max(1, values.size - 1))
        bare = cls(whole.mean, scale, vectors.T[::-1][:kept].copy(), 0.0, 0.0, len(blocks))
        errors = np.array([bare.error(block) for block in blocks])
        rows = np.array([block.n for block in blocks])
        expected = float(np.average(errors, weights=rows))
        spread = math.sqrt(float((rows * (errors - expected) ** 2).sum()) / max(1, len(blocks) - 1))
        return cls(bare.mean, bare.scale, bare.directions, expected, spread, len(blocks))

    def error(self, window: CrossMoments) -> float:
        """Mean squared residual of a row, per feature, in standard deviations squared. NaN without rows."""
        if window.n == 0:
            return math.nan
        apart = (window.mean - self.mean) / self.scale
        second = window.comoment / window.n / np.outer(self.scale, self.scale) + np.outer(apart, apart)
        inside = float(np.einsum("ij,jk,ik->", self.directions, second, self.directions))
        return max(0.0, float(np.trace(second)) - inside) / self.mean.size

    def test(self, window: CrossMoments) -> Shift:
        """Whether a window's error differs from the reference's, by t with the blocks' degrees of freedom; `effect` is the ratio less 1.

        Notes
        -----
        Formula: `t = (error / expected - 1) * expected / (spread / sqrt(n))`, the mean squared residual against that of the reference's
        blocks.
        Range: (-inf, inf); the effect `error / expected - 1` from -1 up. Infinite where the reference had no residual and the window has.
        Small n: NaN without rows or with fewer than 3 blocks. With b blocks the p-value has the tails of b - 1 degrees of freedom; windows
        much shorter than a block count as if their rows were like the block's.

        References
        ----------
        The idea: NannyML's DataReconstructionDriftCalculator (see `fit`).

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(4000, 1)) + 0.3 * rng.normal(size=(4000, 3))  # three features that go together
        >>> pca = PcaReconstruction.fit([CrossMoments.of(block) for block in np.split(x, 20)])
        >>> broken = CrossMoments.of(rng.normal(size=(200, 3)))  # the same each by itself, but no longer together
        >>> pca.test(broken).p_value < 1e-6, pca.test(CrossMoments.of(x[:200])).p_value > 0.01
        (True, True)
        """
        if window.n == 0 or self.blocks < 3:
            return Shift(math.nan, math.nan, math.nan)
        error = self.error(window)
        effect = error / self.expected - 1 if self.expected > 0 else math.copysign(math.inf, error) if error else 0.0
        if self.spread == 0:
            return Shift(0.0 if effect == 0 else math.inf, 1.0 if effect == 0 else 0.0, effect)
        statistic = (error - self.expected) / (self.spread / math.sqrt(window.n))
        return Shift(statistic, float(2 * stdtr(self.blocks - 1, -abs(statistic))), effect)
