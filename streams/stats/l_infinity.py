"""L-infinity: the largest change of any single bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, shares


@Measure
def l_infinity(reference: ArrayLike, current: ArrayLike) -> Floats:
    """L-infinity distance of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,). Meant for categories: with many narrow bins no single one changes much.

    Notes
    -----
    Formula: `max(|p - q|)` over shares `p` and `q`.
    Range: [0, 1]; 0 for equal shapes, NaN where a side has no rows. Symmetric, a metric. It names one bin: the one that changed most.
    Small n: with no drift below some three standard errors of the largest share,
    `3 * sqrt(p * (1 - p) * (1 / n_reference + 1 / n_current))`.

    References
    ----------
    The same figure as NannyML's `l_infinity` for categories.

    Examples
    --------
    >>> round(l_infinity([5, 5, 0], [5, 2, 3]), 3)
    0.3
    """
    return np.asarray(np.abs(shares(reference) - shares(current)).max(axis=-1))
