"""Jensen–Shannon: how far both histograms are from their mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from driftline.streams.stats.counts import Floats, Measure, shares


@Measure
def jensen_shannon(reference: ArrayLike, current: ArrayLike, *, base: float = 2.0, root: bool = True) -> Floats:
    """Jensen–Shannon distance of two histograms over the same bins.

    Parameters
    ----------
    reference, current
        Counts, shape (bins,). Nothing is smoothed.
    base, root
        Logarithm and square root. Base 2 with the root is NannyML's figure; base e with the root is SciPy's default and Evidently's;
        without the root it is the divergence.

    Notes
    -----
    Formula: `sqrt((KL(p, m) + KL(q, m)) / 2)` with `m = (p + q) / 2`, over shares `p` and `q`.
    Range: [0, 1] for base 2 (up to `sqrt(log(2))` = 0.83 for base e); 0 for equal shapes, NaN where a side has no rows. Symmetric, a
    metric.
    Small n: with no drift about `sqrt((bins - 1) * (1 / n_reference + 1 / n_current) / 8 / log(base))`.

    References
    ----------
    Lin, IEEE Trans. Inf. Theory 37 (1991); Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003).

    Examples
    --------
    >>> jensen_shannon([1, 0], [0, 1])
    1.0
    >>> round(jensen_shannon([500, 500], [700, 300]), 4), round(jensen_shannon([500, 500], [700, 300], base=math.e), 4)
    (0.1741, 0.1449)
    """
    p, q = shares(reference), shares(current)
    mean = (p + q) / 2
    divergence = np.maximum(0.0, (rel_entr(p, mean) + rel_entr(q, mean)).sum(axis=-1) / 2 / math.log(base))
    return np.asarray(np.sqrt(divergence) if root else divergence)
