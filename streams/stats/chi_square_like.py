"""The null distribution of every divergence that is, near 0, a known multiple of chi-square."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, chdtri

from driftline.streams.stats.counts import live_bins, rows
from driftline.streams.stats.smoothing import own_weight

#: Rows a bin must expect on either side for the limit to be used.
LEAST_EXPECTED = 10.0


@dataclass(frozen=True, slots=True)
class ChiSquareLike:
    """`factor(n, m) * value**power` is `(1 / n + 1 / m)` times chi-square with `bins in use - 1` degrees of freedom.

    Every f-divergence of two histograms is half its second derivative times `sum((p - q)**2 / mean)` when they are near to each other.
    It holds where every bin in use expects 10 rows on either side, p-values then being right to about a third of themselves; with fewer
    rows a bin, divergences are larger than this says.

    Parameters
    ----------
    factor
        Of the reference's and the current rows.
    power
        2 for measures that take a root.
    smoothed
        Whether the measure uses `smoothed` shares, which pull both sides together by a known factor.

    References
    ----------
    Csiszár and Shields, Information Theory and Statistics (2004), theorem 4.1; Yurdakul, Statistical properties of the population
    stability index (2018).

    Examples
    --------
    >>> null = ChiSquareLike(lambda n, m: 1.0)
    >>> round(null.quantile([100] * 10, 500, 0.95), 4), round(null.p_value(0.0508, [100] * 10, [50] * 10), 3)
    (0.0508, 0.05)
    """

    factor: Callable[[float, float], float]
    power: int = 1
    smoothed: bool = False

    @staticmethod
    def holds(reference: ArrayLike, current: ArrayLike) -> bool:
        """Whether every bin in use expects enough rows on both sides for the limit to be near."""
        pooled = np.asarray(reference, dtype=np.float64) + np.asarray(current, dtype=np.float64)
        smaller = min(float(rows(reference)), float(rows(current))) / pooled.sum()
        return bool((pooled[pooled > 0] * smaller >= LEAST_EXPECTED).all())

    def p_value(self, value: float, reference: ArrayLike, current: ArrayLike) -> float:
        """Probability of a value this large or larger when nothing drifted; 1 where all rows share a bin."""
        dof = float(live_bins(reference, current)) - 1
        return float(chdtrc(dof, value**self.power / self._unit(reference, current))) if dof > 0 else 1.0

    def quantile(self, reference: ArrayLike, n_current: int, quantile: float) -> float:
        """The value that stays above with probability `quantile` when nothing drifted."""
        counts = np.asarray(reference, dtype=np.float64)
        dof = int((counts > 0).sum()) - 1
        if dof == 0:
            return 0.0
        unit = self._unit(counts, counts * (n_current / counts.sum()))
        return float((chdtri(dof, 1 - quantile) * unit) ** (1 / self.power))

    def _unit(self, reference: ArrayLike, current: ArrayLike) -> float:
        """What one unit of chi-square is in `value**power`."""
        n, m = float(rows(reference)), float(rows(current))
        pull = sum(float(weight) for weight in own_weight(reference, current)) / 2 if self.smoothed else 1.0
        return (1 / n + 1 / m) * pull**2 / self.factor(n, m)
