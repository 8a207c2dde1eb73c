"""The null distribution of every divergence that is, near 0, a known multiple of chi-square."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from driftline.streams.stats.chi_square import chi_square_quantiles
from driftline.streams.stats.counts import Floats, live_bins, rows
from driftline.streams.stats.smoothing import PSEUDO_ROWS_PER_BIN

#: Rows a bin must expect on either side for the limit to be used.
LEAST_EXPECTED = 10.0


@dataclass(frozen=True, slots=True)
class ChiSquareLike:
    """`factor(n, m) * value**power` is `(1 / n + 1 / m)` times chi-square with `bins in use - 1` degrees of freedom.

    Every f-divergence of two histograms is half its second derivative times `sum((p - q)**2 / mean)` when they are near to each other.
    Counts may be stacked, one row a feature: shapes (..., bins), and (...) for everything else.
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
    >>> round(float(null.quantile([100] * 10, 500, 0.95)), 4), round(float(null.p_value(0.0508, [100] * 10, [50] * 10)), 3)
    (0.0508, 0.05)
    """

    factor: Callable[[Floats, Floats], Floats | float]
    power: int = 1
    smoothed: bool = False

    @staticmethod
    def holds(reference: ArrayLike, current: ArrayLike) -> NDArray[np.bool_]:
        """Whether every bin in use expects enough rows on both sides for the limit to be near."""
        pooled = np.asarray(reference, dtype=np.float64) + np.asarray(current, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            smaller = np.minimum(rows(reference), rows(current)) / rows(pooled)
            return np.asarray(((pooled <= 0) | (pooled * smaller[..., None] >= LEAST_EXPECTED)).all(-1))

    @staticmethod
    def holds_in_shape(reference: ArrayLike, n_current: ArrayLike) -> NDArray[np.bool_]:
        """`holds` for windows of so many rows in the reference's shape: the bin that expects fewest decides."""
        counts, m = np.asarray(reference, np.float64), np.asarray(n_current, np.float64)
        fewest, n = np.where(counts > 0, counts, np.inf).min(-1, initial=np.inf), rows(counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.minimum(n, m) * (fewest / n) >= LEAST_EXPECTED)

    def p_value(self, value: ArrayLike, reference: ArrayLike, current: ArrayLike) -> Floats:
        """Probability of a value this large or larger when nothing drifted; 1 where all rows share a bin."""
        return self.tail(value, rows(reference), rows(current), live_bins(reference, current))

    def tail(self, value: ArrayLike, n: Floats, m: Floats, live: Floats) -> Floats:
        """`p_value` by the rows of both sides and the bins in use."""
        with np.errstate(invalid="ignore", divide="ignore"):
            squares = np.asarray(value, np.float64) ** self.power / self._unit(n, m, live)
        return np.where(live > 1, chdtrc(np.maximum(live - 1, 1), squares), 1.0)

    def quantile(self, reference: ArrayLike, n_current: ArrayLike, quantile: float) -> Floats:
        """The value that stays above with probability `quantile` when nothing drifted."""
        live = live_bins(reference, reference)
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = self._unit(rows(reference), np.asarray(n_current, np.float64), live)
            return np.where(live > 1, (chi_square_quantiles(np.maximum(live - 1, 0), quantile) * unit) ** (1 / self.power), 0.0)

    def _unit(self, n: Floats, m: Floats, live: Floats) -> Floats:
        """What one unit of chi-square is in `value**power`."""
        pull = sum(each / (each + PSEUDO_ROWS_PER_BIN * live) for each in (n, m)) / 2 if self.smoothed else 1.0
        return np.asarray((1 / n + 1 / m) * pull**2 / self.factor(n, m))


def expected_rows(reference: ArrayLike, n_current: ArrayLike) -> Floats:
    """What each bin of a window of so many rows expects, in the reference's shape.

    >>> expected_rows([30, 10], 8).tolist()
    [6.0, 2.0]
    """
    counts = np.asarray(reference, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(counts * (np.asarray(n_current, np.float64) / rows(counts))[..., None])
