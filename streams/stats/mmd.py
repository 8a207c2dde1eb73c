"""Maximum mean discrepancy by random features: whether anything at all changed in the joint distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.cross_moments import CrossMoments
from driftline.streams.stats.mean_shift import Shift


@dataclass(frozen=True, slots=True)
class RandomFeatures:
    """A map from k standardised features to `size` cosines whose inner products are nearly the Gaussian kernel's.

    The mean of a window's cosines stands for its whole distribution, and merges. `mmd` is valid for any size, a larger one is sharper.

    Parameters
    ----------
    mean, scale
        Of each feature in the reference, length k. Missing values count as the mean.
    bandwidth
        Width of the kernel in standard deviations; None: the root of k, near the usual median distance.
    size, seed
        How many cosines, and which: the same on every worker.

    Notes
    -----
    Formula: `sqrt(2 / size) * cos(z @ directions + phase)` of the standardised row z, with normal directions over the bandwidth and uniform
    phases.
    Range: [-sqrt(2 / size), sqrt(2 / size)].
    Small n: a map of single rows; its error in the kernel is about `sqrt(2 / size)`, whatever n is.

    References
    ----------
    Rahimi and Recht, Random features for large-scale kernel machines, NIPS 2007.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    bandwidth: float | None = None
    size: int = 100
    seed: int = 0

    def __call__(self, rows: ArrayLike) -> Floats:
        """Cosines of rows, shape (n, k) → (n, size), in [-sqrt(2 / size), sqrt(2 / size)].

        >>> features = RandomFeatures((0.0, 0.0), (1.0, 1.0), size=5000)
        >>> a, b = features([[0.0, 0.0], [1.0, 1.0]])
        >>> abs(a @ b - math.exp(-1 / 2)) < 0.03  # the kernel of two points at distance sqrt(2), bandwidth sqrt(2)
        np.True_
        """
        rng = np.random.default_rng(self.seed)
        width = self.bandwidth if self.bandwidth is not None else math.sqrt(len(self.mean))
        directions = rng.standard_normal((len(self.mean), self.size)) / width
        phase = rng.uniform(0, 2 * math.pi, self.size)
        scale = np.where(np.asarray(self.scale) > 0, self.scale, 1.0)
        table = np.nan_to_num((np.asarray(rows, dtype=np.float64) - np.asarray(self.mean)) / scale, nan=0.0, posinf=1e6, neginf=-1e6)
        return np.asarray(math.sqrt(2 / self.size) * np.cos(table @ directions + phase))


def mmd(reference: CrossMoments, current: CrossMoments) -> Shift:
    """Maximum mean discrepancy of two samples, from the moments of their random features.

    Parameters
    ----------
    reference, current
        `CrossMoments.of(features(rows))`, of the same `RandomFeatures`, merged as one likes.

    Notes
    -----
    Formula: `sqrt(max(0, |mean_reference - mean_current|**2 - noise))` over means of random features,
    `noise = tr(C_reference) / n + tr(C_current) / m` being what chance adds; the statistic is the squared distance over `noise`.
    Range: [0, sqrt(2)] for the effect, [0, inf) for the statistic, near 1 with no drift. Independent rows are assumed.
    Small n: NaN below two rows a side. The p-value matches the null's mean and variance, a weighted sum of chi-squares, by a scaled
    chi-square: within a third of itself from 100 rows a side on.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, A kernel two-sample test, JMLR 13 (2012); Rahimi and Recht, Random features for
    large-scale kernel machines, NIPS 2007.

    Examples
    --------
    >>> rng, features = np.random.default_rng(0), RandomFeatures((0.0, 0.0), (1.0, 1.0), bandwidth=0.7)
    >>> circle = rng.normal(size=(500, 2))
    >>> circle /= np.linalg.norm(circle, axis=1, keepdims=True) / math.sqrt(2)  # the same means, variances and correlation
    >>> mmd(CrossMoments.of(features(rng.normal(size=(2000, 2)))), CrossMoments.of(features(circle))).p_value < 1e-6
    True
    """
    if min(reference.n, current.n) < 2:
        return Shift(math.nan, math.nan, math.nan)
    apart = current.mean - reference.mean
    squared = float(apart @ apart)
    # Covariance of the difference of the means.
    covariance = reference.covariance / reference.n + current.covariance / current.n
    mean, spread = float(np.trace(covariance)), float((covariance**2).sum())
    if mean <= 1e-15:
        return Shift(math.inf if squared > 1e-15 else 0.0, 0.0 if squared > 1e-15 else 1.0, math.sqrt(squared))
    freedom = mean**2 / spread
    return Shift(squared / mean, float(chdtrc(freedom, squared / mean * freedom)), math.sqrt(max(0.0, squared - mean)))
