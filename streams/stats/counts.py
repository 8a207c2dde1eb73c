"""What every test here works on: two histograms over the same bins, alone or stacked with one row a feature."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Generic, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
P = ParamSpec("P")


class Measure(Generic[P]):
    """Turns a function along the last axis into one for a pair of histograms that returns a float; `each` is the function itself.

    `each` takes stacks of histograms, shapes (..., bins), and returns shape (...). Histograms of fewer bins are padded with zeros on
    both sides: bins that are empty on both sides change no figure here.

    >>> @Measure
    ... def largest(reference: ArrayLike, current: ArrayLike) -> Floats:
    ...     return np.asarray(np.maximum(reference, current).max(axis=-1))
    >>> largest([1.0, 2.0], [0.0, 3.0]), largest.each([[1.0, 2.0], [5.0, 0.0]], [0.0, 3.0]).tolist()
    (3.0, [3.0, 5.0])
    """

    def __init__(self, each: Callable[P, Floats]) -> None:
        self.each = each
        update_wrapper(self, each)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> float:
        return float(self.each(*args, **kwargs))


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
    """How many bins have a row on either side, along the last axis.

    >>> float(live_bins([1, 0, 0], [0, 2, 0]))
    2.0
    """
    return np.asarray(((np.asarray(reference) + np.asarray(current)) > 0).sum(axis=-1), dtype=np.float64)


def cumulative_gap(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Difference of the cumulative shares after each bin, exactly 0 where rounding alone makes one; shape (..., bins).

    >>> cumulative_gap([1, 1, 0], [0, 1, 1]).tolist()
    [0.5, 0.5, 0.0]
    """
    gap = np.cumsum(shares(reference) - shares(current), axis=-1)
    return np.asarray(np.where(np.abs(gap) < 1e-14 * gap.shape[-1], 0.0, gap))
