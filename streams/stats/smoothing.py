"""Shares that are never 0 on one side only, for the measures that divide by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats, live_bins, rows, shares

#: Rows a side is lent, spread like the mean of both histograms, for every bin in use.
PSEUDO_ROWS_PER_BIN = 0.5


def smoothed(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    """Shares of both sides, each lent half a row per bin in use in the mean shape of the two.

    Equal shapes stay equal, and bins empty on both sides stay empty. Shapes (..., bins).

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


def floored(reference: ArrayLike, current: ArrayLike, floor: float) -> tuple[Floats, Floats]:
    """Shares of both sides with every 0 replaced by `floor`, the way other tools do it; nothing is made to sum to 1 again.

    >>> floored([1, 0], [1, 1], 0.0001)[0].tolist()
    [1.0, 0.0001]
    """
    p, q = shares(reference), shares(current)
    return np.asarray(np.where(p == 0, floor, p)), np.asarray(np.where(q == 0, floor, q))
