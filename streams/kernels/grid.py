"""Places of numbers among edges in a few steps: equal cells tell which edges come into question, mostly none or one.

Which cell a number belongs to never falls as the number rises, however it is rounded: all edges of lower cells are below it, all of
higher ones above. So the grid only saves comparisons, and the edges alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof
from numpy.typing import NDArray

from driftline.streams.kernels.machine import (
    address,
    as_double,
    compiled,
    float64,
    inlined,
    int32,
    int64,
    room,
    set_float64,
    set_int32,
    set_int64,
    summing,
)
from driftline.streams.layout import KeptByLayout, Layout

CELLS = 512  # a feature
TOGETHER = 1024  # numbers of a feature that are added at once, at most
_GREATEST, _INFINITE = 2**63 - 1, 0x7FF << 52  # of whole numbers; the bits of infinity
_cells = room(4 * TOGETHER)


class Grid(NamedTuple):
    """Addresses. The edges of feature f begin at `edge[f]` of `edges`, two NaN behind them; `below[f, c]`: how many of them lie in cells
    before c, or the complement of that where more than two lie in c."""

    edges: int
    edge: int
    low: int
    per: int  # cells to one unit of the feature
    below: int


GRID = typeof(Grid(*[0] * len(Grid._fields)))


class Into(NamedTuple):
    """Addresses of what is added to: the counts of one feature, its two sums, and its two extremes, which are NaN before there are any."""

    counts: int
    sums: int
    extremes: int


@compiled
def cells_of(data: int, n: int, low: float, per: float, cells: int) -> None:
    """The cells of `n` numbers, as int32; of NaN it is the first."""
    for i in range(n):
        cell = (float64(data, i) - low) * per
        cell = cell if cell > 0.0 else 0.0
        set_int32(cells, i, np.int32(cell if cell < CELLS - 1.0 else CELLS - 1.0))


@compiled
def place_of(below: int, edges: int, cell: int, x: float) -> Any:
    """How many of the edges are at most `x`, which lies in this cell."""
    first = int32(below, cell)
    if first < 0:
        first = ~first
        after = int32(below, cell + 1)
        n = (after ^ (after >> 63)) - first
        while n > 1:  # without a branch that could be guessed wrong
            half = n >> 1
            first += half * (float64(edges, first + half - 1) <= x)
            n -= half
    # Of the two here those above the cell are above all that is in it.
    return first + (float64(edges, first) <= x) + (float64(edges, first + 1) <= x)


@inlined
def in_order(bits: Any) -> Any:
    """Whole numbers in the order of the floats that have these bits, and back."""
    return bits ^ ((bits >> 63) & _GREATEST)


@summing
def moments(data: int, n: int, centre: float, scale: float) -> Any:
    """The sum of `n` numbers, standardised, and of their squares, the least and the greatest of them `in_order`, and how many are NaN,
    which is none."""
    total, squares, least, most, none = 0.0, 0.0, _GREATEST, ~_GREATEST, 0
    for i in range(n):
        bits, z = int64(data, i), (float64(data, i) - centre) / scale
        there, key = bits & _GREATEST <= _INFINITE, in_order(bits)
        z = z if there else 0.0  # read before it is decided upon, so that there is no branch
        total += z
        squares += z * z
        least = min(least, key if there else _GREATEST)
        most = max(most, key if there else ~_GREATEST)
        none += not there
    return total, squares, least, most, none


@compiled
def add_numbers(grid: Grid, f: int, centre: float, scale: float, data: int, n: int, to: Into) -> Any:
    """Add `n` numbers, at most `TOGETHER`, to feature `f`; how many are none, NaN, which count nowhere."""
    below, edges, cells = grid.below + 4 * f * (CELLS + 1), grid.edges + 8 * int64(grid.edge, f), _cells()
    cells_of(data, n, float64(grid.low, f), float64(grid.per, f), cells)
    for i in range(n):
        at = place_of(below, edges, int32(cells, i), float64(data, i))
        set_int64(to.counts, at, int64(to.counts, at) + 1)
    total, squares, low, high, none = moments(data, n, centre, scale)
    least, most = as_double(np.uint64(in_order(low))), as_double(np.uint64(in_order(high)))
    set_int64(to.counts, 0, int64(to.counts, 0) - none)  # where a comparison with NaN has led
    if none < n:
        set_float64(to.sums, 0, float64(to.sums, 0) + total)
        set_float64(to.sums, 1, float64(to.sums, 1) + squares)
        set_float64(to.extremes, 0, least if not float64(to.extremes, 0) <= least else float64(to.extremes, 0))
        set_float64(to.extremes, 1, most if not float64(to.extremes, 1) >= most else float64(to.extremes, 1))
    return none


class Places:
    """The grid of the edges of several features."""

    def __init__(self, edges: Sequence[NDArray[np.float64]]) -> None:
        low, per = np.zeros(len(edges)), np.zeros(len(edges))
        below = np.zeros((len(edges), CELLS + 1), np.int32)
        for f, own in enumerate(edges):
            with np.errstate(all="ignore"):
                span = own[-1] - own[0] if len(own) > 1 else np.inf
                if len(own) > 1 and np.isfinite(CELLS / span):
                    low[f], per[f] = own[0], CELLS / span
                cell = np.nan_to_num((own - low[f]) * per[f], nan=0.0)
            cells = np.clip(cell, 0, CELLS - 1).astype(np.int64)
            each = np.bincount(cells, minlength=CELLS)
            below[f, 1:] = np.cumsum(each)
            below[f, :-1][each > 2] ^= -1
        ended = [np.append(own, [np.nan, np.nan]) for own in edges]
        edge = np.cumsum([0, *map(len, ended)]).astype(np.int64)
        self._kept: list[NDArray[Any]] = [np.concatenate([*ended, np.zeros(0)]), edge, low, per, below]
        self.grid = Grid._make(map(address, self._kept))


@KeptByLayout
def places_in(layout: Layout) -> Places:
    """The grid of a layout."""
    return Places(layout.edges)
