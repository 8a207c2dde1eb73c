"""Total variation: the share of rows that would have to change their bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, shares


@Measure
def total_variation(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Total variation distance of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,). Nothing is smoothed.

    Notes
    -----
    Formula: `sum(|p - q|) / 2` over shares `p` and `q`.
    Range: [0, 1]; 0 for equal shapes, NaN where a side has no rows. Symmetric, a metric. Half of what some tools call the L1 distance.
    Small n: with no drift at most about `sqrt((bins - 1) * (1 / n_reference + 1 / n_current) / (2 * pi))`.

    References
    ----------
    Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), chapter 4.

    Examples
    --------
    >>> round(total_variation([5, 5, 0], [5, 0, 5]), 3)
    0.5
    """
    return np.asarray(np.abs(shares(reference) - shares(current)).sum(axis=-1) / 2)
