"""Cramér's V: chi-square without the sample size in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, rows, shares


@Measure
def cramers_v(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Cramér's V of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).

    Notes
    -----
    Formula: `sqrt(chi_square / (n_reference + n_current))` of the 2 × bins table; no bins are pooled.
    Range: [0, 1], 1 when no bin has rows of both; 0 for equal shapes, NaN where a side has no rows. Symmetric. It depends on how the rows
    are split: a window much smaller than the reference can only reach a small V for the same change of shape.
    Small n: with no drift about `sqrt((bins - 1) / (n_reference + n_current))`.

    References
    ----------
    Cramér, Mathematical Methods of Statistics (1946); agrees with `scipy.stats.contingency.association(method="cramer")`.

    Examples
    --------
    >>> round(cramers_v([50, 50], [70, 30]), 4)
    0.2041
    """
    n, m = rows(reference)[..., None], rows(current)[..., None]
    p, q = shares(reference), shares(current)
    pooled = (n * p + m * q) / (n + m)
    spread = np.divide((p - q) ** 2, pooled, out=np.zeros_like(pooled), where=~(pooled == 0))
    return np.asarray(np.sqrt((spread * n * m / (n + m) ** 2).sum(axis=-1)))
