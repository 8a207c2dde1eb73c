"""A figure with its interval, and the interval of a share."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import ndtri


class Estimate(NamedTuple):
    """A value and its confidence interval, `lower <= value <= upper`. NaN in all three: there were no rows to tell from."""

    value: float
    lower: float
    upper: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def normal_score(confidence: float) -> float:
    """How many standard errors a two-sided interval reaches to either side.

    >>> round(normal_score(0.95), 2)
    1.96
    """
    return float(ndtri((1 + confidence) / 2))


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: `successes` out of `n` independent rows, `0 <= successes <= n`.

    Inside [0, 1] and never of length 0, also at 0 or n successes; its coverage is close to `confidence` from a handful of rows on.
    `n` may be an effective number of rows. n = 0 gives (0, 1).

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


def share(successes: float, n: float, confidence: float = 0.95) -> Estimate:
    """`successes / n` with Wilson's interval; UNKNOWN when n = 0.

    >>> tuple(round(part, 3) for part in share(8, 10))
    (0.8, 0.49, 0.943)
    """
    return Estimate(successes / n, *wilson(successes, n, confidence)) if n > 0 else UNKNOWN
