"""What every test here works on: two histograms over the same bins, alone or stacked with one row a feature."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def shares(counts: ArrayLike) -> Floats:
    """Share of the rows in each bin, along the last axis; NaN where a histogram has no rows at all.

    >>> shares([1, 3]).tolist(), shares([[0, 0], [2, 2]]).tolist()
    ([0.25, 0.75], [[nan, nan], [0.5, 0.5]])
    """
    values = np.asarray(counts, dtype=np.float64)
    total = values.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0))


def rows(counts: ArrayLike) -> Floats:
    """Rows in each histogram, along the last axis.

    >>> float(rows([1, 3]))
    4.0
    """
    return np.asarray(np.asarray(counts, dtype=np.float64).sum(axis=-1))


def live_bins(reference: ArrayLike, current: ArrayLike) -> Floats:
    """How many bins have a row on either side, along the last axis. Bins empty on both sides never count anywhere.

    >>> float(live_bins([1, 0, 0], [0, 2, 0]))
    2.0
    """
    return np.asarray(((np.asarray(reference) + np.asarray(current)) > 0).sum(axis=-1), dtype=np.float64)
