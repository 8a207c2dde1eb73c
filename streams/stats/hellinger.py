"""Hellinger distance: the angle between two histograms, near enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, shares


@Measure
def hellinger(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Hellinger distance of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,). Nothing is smoothed.

    Notes
    -----
    Formula: `sqrt(sum((sqrt(p) - sqrt(q))**2) / 2)` over shares `p` and `q`.
    Range: [0, 1], 1 when no bin has rows of both; 0 for equal shapes, NaN where a side has no rows. Symmetric, a metric.
    Small n: with no drift about `sqrt((bins - 1) * (1 / n_reference + 1 / n_current) / 8)`.

    References
    ----------
    Hellinger, J. reine angew. Math. 136 (1909); the same figure as NannyML's for the same bins.

    Examples
    --------
    >>> round(hellinger([500, 500], [700, 300]), 4), hellinger([1, 0], [0, 1])
    (0.1452, 1.0)
    """
    apart = np.sqrt(shares(reference)) - np.sqrt(shares(current))
    return np.asarray(np.sqrt((apart**2).sum(axis=-1) / 2))
