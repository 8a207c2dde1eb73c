"""Population stability index: how far apart two histograms are, each counted from the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from driftline.streams.stats.counts import Floats, live_bins, rows, shares

#: Rows a side is lent, spread like the mean of both histograms, for every bin in use.
PSEUDO_ROWS_PER_BIN = 0.5


def psi(reference: ArrayLike, current: ArrayLike, *, floor: float | None = None) -> float:
    """Population stability index of two histograms over the same bins.

    `sum((p - q) * log(p / q))`, natural logarithm, over shares `p` of the reference and `q` of the current rows.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    floor
        None smooths (see Notes). A number instead replaces every share of 0 by it and smooths nothing, as other tools do
        (0.0001 is their usual figure); the value then jumps with every empty bin.

    Returns
    -------
    float
        From 0 up; 0 for equal shapes, NaN where a side has no rows. Symmetric. Below 0.1 is usually read as no shift, above 0.2 or
        0.25 as a large one, but with no drift at all it is about `(bins - 1) * (1 / n_reference + 1 / n_current)`: read it beside
        `null_quantile`. A normal that moves by one sigma has a PSI of 1.

    Notes
    -----
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
    """
    return float(psi_each(reference, current, floor=floor))


def psi_each(reference: ArrayLike, current: ArrayLike, *, floor: float | None = None) -> Floats:
    """`psi` along the last axis: shapes (..., bins) give (...). Pad histograms of fewer bins with zeros on both sides.

    >>> psi_each([[5, 5, 0], [5, 5, 9]], [[9, 1, 0], [5, 5, 9]]).round(3).tolist()
    [0.704, 0.0]
    """
    if floor is None:
        p, q = smoothed(reference, current)
    else:
        p, q = (np.where(share == 0, floor, share) for share in (shares(reference), shares(current)))
    return np.asarray((rel_entr(p, q) + rel_entr(q, p)).sum(axis=-1))


def smoothed(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Shares of both sides, each lent half a row per bin in use in the mean shape of the two; never 0 on one side only.

    >>> p, q = smoothed([10, 0], [0, 10])
    >>> p.round(3).tolist(), q.round(3).tolist()
    ([0.955, 0.045], [0.045, 0.955])
    """
    p, q = shares(reference), shares(current)
    mean = (p + q) / 2
    own_p, own_q = own_weight(reference, current)
    return mean + (p - mean) * own_p[..., None], mean + (q - mean) * own_q[..., None]


def own_weight(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """What smoothing leaves of each side's own shape: n / (n + rows lent), for the reference and the current rows.

    >>> tuple(float(weight) for weight in own_weight([10, 20], [1, 0]))  # two bins in use: one row lent
    (0.967741935483871, 0.5)
    """
    lent = PSEUDO_ROWS_PER_BIN * live_bins(reference, current)
    n, m = rows(reference), rows(current)
    with np.errstate(invalid="ignore"):
        return np.asarray(n / (n + lent)), np.asarray(m / (m + lent))
