"""G-test: the likelihood-ratio form of the chi-square test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, rel_entr

from driftline.streams.stats.chi_square import ChiSquare, expected_counts, pooled_table


def g_test(reference: ArrayLike, current: ArrayLike, *, min_expected: float = 5.0) -> ChiSquare:
    """Two-sample homogeneity test by the likelihood ratio.

    Parameters as in `chi_square`.

    Notes
    -----
    Formula: `2 * sum(observed * log(observed / expected))` over the 2 × bins table.
    Range: [0, inf); 0 for equal shapes, NaN where a side has no rows. In nats and per row it is twice the mutual information of "which
    side" and "which bin", which is why it adds up over a hierarchy of bins.
    Small n: pooled as `chi_square` is, and so the results of data that cannot tell.

    References
    ----------
    Wilks, Ann. Math. Statist. 6 (1935); agrees with `scipy.stats.chi2_contingency(lambda_="log-likelihood", correction=False)`.

    Examples
    --------
    >>> result = g_test([500, 300, 200], [450, 350, 200])
    >>> round(result.statistic, 3), round(result.p_value, 3), result.dof
    (6.483, 0.039, 2)
    """
    table = pooled_table(reference, current, min_expected)
    if table is None:
        return ChiSquare(np.nan, np.nan, 0)
    dof = table.shape[1] - 1
    if dof == 0:
        return ChiSquare(0.0, 1.0, 0)
    statistic = max(0.0, 2 * float(rel_entr(table, expected_counts(table)).sum()))
    return ChiSquare(statistic, float(chdtrc(dof, statistic)), dof)
