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

from driftline.streams.kernels.machine import address, compiled, float64, inlined, int32, int64
from driftline.streams.layout import KeptByLayout, Layout

CELLS = 512  # a feature


class Grid(NamedTuple):
    """Addresses. `below[f, c]`: how many edges of feature f lie in cells before c; its edges begin at `edge[f]` of `edges`."""

    edges: int
    edge: int
    low: int
    per: int  # cells to one unit of the feature
    below: int


GRID = typeof(Grid(*[0] * len(Grid._fields)))


@inlined
def grid_of(grid: Grid, f: int) -> Any:
    """What `place_of` must know of a feature. Whoever asks for many places asks for this once: no compiler sees that it stays."""
    edges, below = grid.edges + 8 * int64(grid.edge, f), grid.below + 4 * f * (CELLS + 1)
    return float64(grid.low, f), float64(grid.per, f), below, edges


@compiled
def place_of(low: float, per: float, below: int, edges: int, x: float) -> Any:
    """How many of the edges are at most `x`, which is not NaN."""
    cell = (x - low) * per
    cell = cell if cell > 0.0 else 0.0
    at = int(cell if cell < CELLS - 1 else CELLS - 1)
    first = int32(below, at)
    n = int32(below, at + 1) - first
    while n > 1:  # without a branch that could be guessed wrong
        half = n >> 1
        first += half * (float64(edges, first + half - 1) <= x)
        n -= half
    return first + ((n == 1) & (float64(edges, first) <= x))


@inlined
def with_number(x: float, centre: float, scale: float, total: float, squares: float, least: float, most: float) -> Any:
    """The sums of standardised numbers, their least and their greatest, with one more. What is NaN in the last two is nothing yet."""
    z = (x - centre) / scale
    return total + z, squares + z * z, least if least <= x else x, most if most >= x else x


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
            below[f, 1:] = np.cumsum(np.bincount(cells, minlength=CELLS))
        edge = np.cumsum([0, *map(len, edges)]).astype(np.int64)
        # One more, since the edge after the last is looked at, though it does not count.
        self._kept: list[NDArray[Any]] = [np.concatenate([*edges, np.zeros(1)]), edge, low, per, below]
        self.grid = Grid._make(map(address, self._kept))


@KeptByLayout
def places_in(layout: Layout) -> Places:
    """The grid of a layout."""
    return Places(layout.edges)
