"""A figure with its interval, and the interval of a share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from driftline.streams.stats.counts import Floats


class Estimate(NamedTuple):
    """A value and its confidence interval, `lower <= value <= upper`. NaN in all three: there were no rows to tell from."""

    value: float
    lower: float
    upper: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@lru_cache(maxsize=64)
def normal_score(confidence: float) -> float:
    """How many standard errors a two-sided interval reaches to either side.

    >>> round(normal_score(0.95), 2)
    1.96
    """
    return float(ndtri((1 + confidence) / 2))


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: `successes` out of `n` independent rows, `0 <= successes <= n`.

    Notes
    -----
    Formula: `(p + z² / 2n ± z * sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n)`.
    Range: [0, 1], never of length 0, also at 0 or n successes.
    Small n: n = 0 gives (0, 1); its coverage is close to `confidence` from a handful of rows on. `n` may be an effective number of rows.

    References
    ----------
    Wilson, J. Amer. Statist. Assoc. 22 (1927); agrees with `scipy.stats.binomtest(…).proportion_ci(method="wilson")`.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = normal_score(confidence) ** 2
    share = successes / n
    centre = share + z2 / (2 * n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    scale = 1 + z2 / n
    # Rounding must not push a bound across the share itself.
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def wilsons(successes: Floats, n: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """`wilson` of many shares at once, each of more rows than none.

    >>> [bound.round(3).tolist() for bound in wilsons(np.array([8.0, 0.0]), np.array([10.0, 10.0]))]
    [[0.49, 0.0], [0.943, 0.278]]
    """
    z2 = normal_score(confidence) ** 2
    share = successes / n
    centre, half, scale = share + z2 / (2 * n), np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))), 1 + z2 / n
    return np.maximum(0.0, np.minimum(share, (centre - half) / scale)), np.minimum(1.0, np.maximum(share, (centre + half) / scale))


def share(successes: float, n: float, confidence: float = 0.95) -> Estimate:
    """`successes / n` with Wilson's interval; UNKNOWN when n = 0.

    >>> tuple(round(part, 3) for part in share(8, 10))
    (0.8, 0.49, 0.943)
    """
    return Estimate(successes / n, *wilson(successes, n, confidence)) if n > 0 else UNKNOWN


def mean_of_sums(n: int, total: float, total_sq: float, confidence: float = 0.95) -> Estimate:
    """Mean of `n` values from their sum and sum of squares, with the normal interval.

    Notes
    -----
    Formula: `total / n ± z * s / √n`, with `s² = (squares - total² / n) / (n - 1)`.
    Range: (-inf, inf).
    Small n: no rows: UNKNOWN; one row gives an interval without bounds. Meant for 30 rows and more.

    References
    ----------
    Student, Biometrika 6 (1908), in its normal limit.

    Examples
    --------
    >>> tuple(round(part, 3) for part in mean_of_sums(100, 80.0, 100.0))
    (0.8, 0.682, 0.918)
    """
    if n <= 0:
        return UNKNOWN
    mean = total / n
    if n == 1:
        return Estimate(mean, -math.inf, math.inf)
    half = normal_score(confidence) * math.sqrt(max(0.0, total_sq - total * mean) / (n - 1) / n)
    return Estimate(mean, mean - half, mean + half)


def means_of_sums(n: Floats, total: Floats, total_sq: Floats, confidence: float = 0.95) -> list[Estimate]:
    """`mean_of_sums` of many at once.

    >>> means_of_sums(np.array([100.0]), np.array([80.0]), np.array([100.0])) == [mean_of_sums(100, 80.0, 100.0)]
    True
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, total / n, np.nan)
        half = normal_score(confidence) * np.sqrt(np.maximum(0.0, total_sq - total * mean) / (n - 1) / n)
    half = np.where(n == 1, np.inf, half)
    return estimates_of(mean, mean - half, mean + half)


def estimates_of(value: Floats, lower: Floats, upper: Floats) -> list[Estimate]:
    """Many estimates from the columns of their parts.

    >>> estimates_of(np.array([0.5]), np.array([0.25]), np.array([1.0]))
    [Estimate(value=0.5, lower=0.25, upper=1.0)]
    """
    return [*map(Estimate._make, zip(value.tolist(), lower.tolist(), upper.tolist(), strict=True))]


def resampled(
    figure: Callable[[NDArray[np.int64]], ArrayLike],
    counts: ArrayLike,
    confidence: float = 0.95,
    draws: int = 200,
    *,
    at_once: bool = False,
) -> Estimate:
    """A figure of a table of counts, with the interval of its values when the rows are drawn again (percentile bootstrap, fixed seed).

    `at_once`: the figure takes many tables, shape
    (tables, …), and gives as many values.

    Notes
    -----
    Formula: `quantiles((1 - confidence) / 2, (1 + confidence) / 2)` of the figure over multinomial draws of the table.
    Range: that of the figure.
    Small n: NaN or no rows: UNKNOWN. Draws for which the figure is NaN are left out; below 30 rows or so the interval is too short.

    References
    ----------
    Efron, Bootstrap methods, Ann. Statist. 7 (1979).

    Examples
    --------
    >>> resampled(lambda counts: counts[0] / counts.sum(), [30, 70])
    Estimate(value=0.3, lower=0.22, upper=0.4)
    """
    table = np.asarray(counts, dtype=np.int64)
    n = int(table.sum())

    def each(tables: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(figure(tables) if at_once else [figure(one) for one in tables], np.float64)

    value = float(each(table[None])[0]) if n else math.nan
    if math.isnan(value):
        return UNKNOWN
    drawn = np.random.default_rng(n).multinomial(n, table.ravel() / n, draws).reshape(draws, *table.shape)
    low, high = np.nanquantile(np.append(each(drawn), value), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
