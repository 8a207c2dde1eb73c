"""Kullback–Leibler divergence: what it costs to describe the current rows by the reference's shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from driftline.streams.stats.counts import Floats, Measure
from driftline.streams.stats.smoothing import floored, smoothed


@Measure
def kl(reference: ArrayLike, current: ArrayLike, *, floor: float | None = None) -> Floats:
    """Kullback–Leibler divergence of the current rows from the reference.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,).
    floor
        As in `psi`, whose smoothing is used otherwise. Tools that report `scipy.stats.entropy(p, q)` have the sides the other way round.

    Notes
    -----
    Formula: `sum(q * log(q / p))` over shares `p` of the reference and `q` of the current rows, in nats, smoothed as `psi` is.
    Range: [0, inf); 0 for equal shapes, NaN where a side has no rows. Not symmetric; both directions together are the PSI.
    Small n: with no drift about `(bins - 1) / 2 * (1 / n_reference + 1 / n_current)`.

    References
    ----------
    Kullback and Leibler, Ann. Math. Statist. 22 (1951).

    Examples
    --------
    >>> round(kl([500, 500], [900, 100]), 3), round(kl([900, 100], [500, 500]), 3)
    (0.367, 0.51)
    """
    p, q = smoothed(reference, current) if floor is None else floored(reference, current, floor)
    return np.asarray(rel_entr(q, p).sum(axis=-1))
