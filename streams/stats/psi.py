"""Population stability index: how far apart two histograms are, each counted from the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from driftline.streams.stats.counts import Floats, Measure
from driftline.streams.stats.smoothing import floored, smoothed


@Measure
def psi(reference: ArrayLike, current: ArrayLike, *, floor: float | None = None) -> Floats:
    """Population stability index of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    floor
        None smooths (see Notes). A number instead replaces every share of 0 by it and smooths nothing, as other tools do
        (0.0001 is their usual figure); the value then jumps with every empty bin.

    Notes
    -----
    Formula: `sum((p - q) * log(p / q))`, natural logarithm, over shares `p` of the reference and `q` of the current rows.
    Range: [0, inf); 0 for equal shapes, NaN where a side has no rows. Symmetric. Below 0.1 is usually read as no shift, above 0.2 or 0.25
    as a large one. A normal that moves by one sigma has a PSI of 1.
    Small n: with no drift at all it is about `(bins - 1) * (1 / n_reference + 1 / n_current)`: read it beside `null_quantile`, which is
    drawn where a bin expects fewer than 10 rows.

    Smoothing: with `b` bins in use (a row on either side), each side gets `b / 2` more rows, spread like the mean of both shapes.
    So equal shapes stay at 0, a bin that is empty on one side costs a few units at most, and bins empty on both sides change nothing.
    At `n` rows a side the figure is lowered by the factor `(n / (n + b / 2)) ** 2`, to first order.

    References
    ----------
    Siddiqi, Credit Risk Scorecards (2006); the index is Jeffreys' divergence, Proc. R. Soc. A 186 (1946).

    Examples
    --------
    >>> round(psi([500, 500], [700, 300]), 4)
    0.1691
    >>> psi([10, 20, 30], [100, 200, 300])
    0.0
    >>> round(psi([500, 500, 0], [0, 500, 500]), 2), round(psi([500, 500, 0], [0, 500, 500], floor=1e-4), 2)
    (7.19, 8.52)
    >>> psi.each([[5, 5, 0], [5, 5, 9]], [[9, 1, 0], [5, 5, 9]]).round(3).tolist()
    [0.704, 0.0]
    """
    p, q = smoothed(reference, current) if floor is None else floored(reference, current, floor)
    return np.asarray((rel_entr(p, q) + rel_entr(q, p)).sum(axis=-1))
