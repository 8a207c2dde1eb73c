"""Benjamini–Hochberg: which of many tests to believe, so that false ones stay a chosen share of those believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike, q: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected at false-discovery rate `q`.

    Parameters
    ----------
    p_values
        Any shape, in [0, 1]. NaN means not tested: never rejected and not counted in `m`.
    q
        Expected share of false rejections among all rejections, in (0, 1). When nothing drifts at all, it is also the probability of
        any rejection. Holds for independent p-values and for those with positive dependence.

    Returns
    -------
    array of bool
        The shape of `p_values`.

    Notes
    -----
    Formula: rejects `p[1] … p[k]` in ascending order, with the largest k such that `p[k] <= q * k / m`, m being how many were tested.
    Range: [0, 1] for p-values; NaN means not tested: never rejected and not counted in m.
    Small n: exact for any m; with one p-value it is `p <= q`, with none nothing is rejected.

    References
    ----------
    Benjamini and Hochberg, J. R. Statist. Soc. B 57 (1995); agrees with `scipy.stats.false_discovery_control(p) <= q`.

    Examples
    --------
    >>> benjamini_hochberg([0.001, 0.02, 0.03, 0.5, float("nan")], 0.05).tolist()
    [True, True, True, False, False]
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.sort(p[~np.isnan(p)])
    below = np.flatnonzero(tested <= q * np.arange(1, tested.size + 1) / max(tested.size, 1))
    return np.zeros(p.shape, dtype=bool) if below.size == 0 else p <= tested[below[-1]]
