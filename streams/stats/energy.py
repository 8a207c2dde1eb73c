"""Energy distance: the root of the squared area between two cumulative distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, Measure, cumulative_gap


@Measure
def energy(reference: ArrayLike, current: ArrayLike, positions: ArrayLike) -> Floats:
    """Energy distance of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    positions
        The value each bin stands for, shape (bins,), ascending (`bin_positions`).

    Notes
    -----
    Formula: `sqrt(2 * integral((F - G)**2))` over the cumulative distributions.
    Range: [0, inf), in the root of the feature's unit; 0 for equal shapes, NaN where a side has no rows. Symmetric, a metric.
    Small n: with no drift about the root of 1 to 1.2 standard deviations times `(1 / n_reference + 1 / n_current)`.

    Exact when each distinct value has its own bin; otherwise its square is off by at most `2 * sum((p + q) * width)`, four times the mean
    width of the bins. Two continuous samples in the usual edges come within 0.02 of the root of a standard deviation.

    References
    ----------
    Székely and Rizzo, J. Statist. Plann. Inference 143 (2013); agrees with `scipy.stats.energy_distance`.

    Examples
    --------
    >>> energy([1, 1, 0], [0, 1, 1], [0.0, 1.0, 5.0])
    1.5811388300841898
    """
    gap, step = cumulative_gap(reference, current), np.diff(np.asarray(positions, dtype=np.float64), axis=-1)
    return np.asarray(np.sqrt(2 * (gap[..., :-1] ** 2 * step).sum(axis=-1) + 0 * gap[..., -1]))
