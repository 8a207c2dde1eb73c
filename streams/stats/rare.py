"""What rare values can say: which categories of a sample are known well enough to be told by name, and rows too few to be no accident."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats

FEW = 20  # categories of which none is picked for being common
OVER = 0.5  # of a sample's standard error: by how much the share of the named may be taken too high
LEAST_EXPECTED = 5.0  # rows of a bin from which their number is about normal


def least_known(counts: ArrayLike, rows: float | None = None) -> int:
    """The rows that a category needs in a sample to be told by name, the rest being counted together.

    Who is picked for having many rows in one sample has fewer in the next: of all categories with `c` rows or more the next sample holds
    `c * n_c` rows fewer than this one, `n_c` being the categories of just `c` rows; what was never seen comes in their place.

    Parameters
    ----------
    counts
        Rows by category, shape (categories,).
    rows
        Of the whole sample, where `counts` are some of its categories, picked whatever their rows; default: the sum.

    Notes
    -----
    Formula: the least `c` with `c * n_c <= sqrt(rows) / 2`, about half a standard error of the sample; `n_c` is the mean over the counts
    from `c` to `2 c`, since that of one count wavers.
    Range: [1, inf); 1 where up to 20 categories came, or hardly one came once; one more than the largest count where none is known.
    Small n: of many categories in few rows none may be known: a column of ids has no names.

    References
    ----------
    Good, The population frequencies of species and the estimation of population parameters, Biometrika 40 (1953).

    Examples
    --------
    >>> least_known([500, 300, 200, 1]), least_known([100] * 50), least_known([500, 100, 50, 40] + [1] * 300)
    (1, 1, 40)
    """
    ordered = np.sort(np.asarray(counts, np.int64))
    n = int(ordered.sum())
    if ordered.size <= FEW or not n:
        return 1
    total = n if rows is None else rows
    at_least, sums = np.unique([1, *ordered.tolist()]), np.concatenate([[0], np.cumsum(ordered)])
    # n_c of one c wavers: the mean over the counts from c to 2 c.
    among = sums[np.searchsorted(ordered, 2 * at_least)] - sums[np.searchsorted(ordered, at_least)]
    fine = np.flatnonzero(among / at_least * (total / n) <= OVER * np.sqrt(total))
    return int(at_least[fine[0]]) if fine.size else int(ordered[-1]) + 1


def without_straggler(counts: ArrayLike, reference: ArrayLike, alike: ArrayLike = 1.0) -> Floats:
    """Counts less one row of the rare bin that has most above its few expected ones: a single row of a rare value is no evidence.

    Parameters
    ----------
    counts, reference
        Shapes (..., bins).
    alike
        How many rows come together and count as one, shape (...).

    Notes
    -----
    Formula: `counts - min(counts - expected, alike)` in the bin with the largest `(counts - expected)² / expected` of those that have more
    than the `expected` rows, and expect fewer than `5 alike`.
    Range: [0, inf); no bin has more than before, and the others are as they were.
    Small n: this is for it. One row of what comes once in 500 rows lies four standard errors off in a window of 30.

    References
    ----------
    The limit of five expected rows is Cochran's, The chi-square test of goodness of fit, Annals of Mathematical Statistics 23 (1952).

    Examples
    --------
    >>> without_straggler([29, 1], [998, 2]).round(2).tolist(), without_straggler([20, 10], [998, 2]).tolist()
    ([29.0, 0.06], [20.0, 9.0])
    """
    now, before = np.asarray(counts, np.float64), np.asarray(reference, np.float64)
    together = np.asarray(alike, np.float64)[..., None]
    expected = before * (now.sum(-1, keepdims=True) / np.maximum(before.sum(-1, keepdims=True), 1e-300))
    excess = np.where(expected < LEAST_EXPECTED * together, np.maximum(now - expected, 0.0), 0.0)
    strange = excess**2 / np.maximum(expected, 1e-9)
    at, told = strange.argmax(-1, keepdims=True), now.copy()
    most = np.minimum(np.take_along_axis(excess, at, -1), together)
    np.put_along_axis(told, at, np.take_along_axis(now, at, -1) - most, -1)
    return told
