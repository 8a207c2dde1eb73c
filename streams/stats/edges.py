"""Bin edges from a reference: fine where the rows are, even where they are not, and a bin of its own for every value that repeats.

Bins are half-open, `[edge, next edge)`, with one more below the first edge and one more from the last edge up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.counts import Floats

#: A value with at least this share of the rows gets a bin of its own.
ATOM_SHARE = 0.01
MAX_EDGES = 64
#: By a rule of one's own: 512 quantile bins and the ends.
RULE_EDGES = 513


class _Cells(NamedTuple):
    """Where rows may be, in ascending order: cell i holds `rows[i]` rows in `[lower[i], upper[i])`."""

    lower: Floats
    upper: Floats
    rows: Floats


def numeric_edges(values: ArrayLike, bins: int = 32, max_edges: int = MAX_EDGES) -> Floats:
    """Edges for a numeric feature: quantiles, the equal widths of NumPy's `doane` rule, and atoms.

    Parameters
    ----------
    values
        The reference's values, any shape. NaN and infinities are left out.
    bins
        Quantile bins wished for. Fewer come out where values repeat.
    max_edges
        Upper limit of the number of edges, at least 4. Atoms come first, then quantiles, then as many of the equal widths as fit.

    Returns
    -------
    array of float64, shape (edges,)
        Finite and strictly ascending; 1 <= edges <= max_edges. A value that holds 1 % of the rows is an atom, and every value is when
        they are few and repeat: an edge at it and, where the limit allows, one just above it. The first edge is the smallest value and
        the last one lies just above the largest, so rows out of the reference's range have bins of their own. A constant `c` gives
        `[c, nextafter(c)]`; no value at all is treated as the constant 0.

    Notes
    -----
    Formula: `quantiles(i / bins)`, `low + span * i / doane` and the values that repeat, with
    `doane = 1 + log2(n) + log2(1 + |skewness| / its error)`.
    Range: finite and strictly ascending, at most `max_edges`.
    Small n: few values have an edge each if they repeat; no value at all counts as the constant 0.

    References
    ----------
    Doane, Aesthetic frequency classifications, American Statistician 30 (1976); `numpy.histogram_bin_edges`.

    Examples
    --------
    >>> numeric_edges([3.0, 3.0]).tolist()
    [3.0, 3.0000000000000004]
    >>> bin_counts([0, 1, 1, 5], numeric_edges([0, 0, 1, 1])).tolist()  # below 0 | 0 | between | 1 | above
    [0, 1, 0, 2, 1]
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    value, rows = np.unique(finite if finite.size else np.zeros(1), return_counts=True)
    with np.errstate(over="ignore"):
        cells = _Cells(value, np.nextafter(value, np.inf), rows.astype(np.float64))
    return _choose(cells, _doane(cells), bins, max_edges)


def edges_by(values: ArrayLike, rule: str) -> Floats:
    """Edges by a rule of one's own, where those of `numeric_edges` are not wanted.

    Parameters
    ----------
    values
        The reference's values, any shape. NaN and infinities are left out.
    rule
        `"quantile:N"`: N bins of equal rows, and one for each value that repeats and would make its bin hold more; `"doane"`: equal
        widths by NumPy's rule; or the edges themselves, as `"6, 12, 24"`.

    Returns
    -------
    array of float64, shape (edges,)
        Finite and strictly ascending, at most 513. By a rule, the first is the smallest value and the last lies just above the largest.

    Notes
    -----
    Formula: `quantiles(i / N)`, or `low + span * i / doane`, or what is given.
    Range: finite and strictly ascending, at most 513.
    Small n: fewer bins come out than asked for where there are fewer values; no value at all counts as the constant 0.

    References
    ----------
    Doane, American Statistician 30 (1976); agrees with `numpy.histogram_bin_edges`.

    Examples
    --------
    >>> edges_by(range(100), "quantile:4")[:-1].tolist(), edges_by([1.0], "65, 18, 30").tolist()
    ([0.0, 25.0, 50.0, 75.0], [18.0, 30.0, 65.0])
    """
    if rule != "doane" and not rule.startswith("quantile:"):
        return _distinct(np.array([float(edge) for edge in rule.split(",")]))
    flat = np.asarray(values, dtype=np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    value, rows = np.unique(finite if finite.size else np.zeros(1), return_counts=True)
    with np.errstate(over="ignore"):
        cells = _Cells(value, np.nextafter(value, np.inf), rows.astype(np.float64))
    return _between_ends(cells, _doane(cells)[:-1] if rule == "doane" else _quantiles_and_atoms(cells, int(rule.removeprefix("quantile:"))))


def with_bounds(edges: ArrayLike, bounds: tuple[float, float]) -> Floats:
    """Edges, and those that part the values within `bounds`, both inclusive, from the others. Infinite bounds part nothing.

    >>> with_bounds([1.0, 2.0], (0.0, np.inf)).tolist()
    [0.0, 1.0, 2.0]
    """
    with np.errstate(over="ignore"):
        return _distinct(np.append(np.asarray(edges, dtype=np.float64), [bounds[0], np.nextafter(bounds[1], np.inf)]))


def weighted_edges(
    lower: ArrayLike, upper: ArrayLike, counts: ArrayLike, bins: int = 32, max_edges: int = MAX_EDGES, rule: str | None = None
) -> Floats:
    """Edges for a numeric feature that is known as a sketch only: rows counted in buckets `[lower, upper)`.

    Every edge is a bound of some bucket, so the sketch can be binned again by these edges exactly (`bin_buckets`).

    Parameters
    ----------
    lower, upper
        Bounds of the buckets that hold rows, shape (buckets,), ascending and not overlapping; `upper` is the lower bound of the
        bucket that comes next, empty or not.
    counts
        Rows of each bucket, shape (buckets,); empty buckets are ignored.
    bins, max_edges
        As in `numeric_edges`. A bucket counts as an atom as a single value would.
    rule
        As in `edges_by`. Edges that are given stay where they are: a bucket that holds one counts whole on the side of its lower bound.

    Returns
    -------
    array of float64, shape (edges,)
        Finite and strictly ascending.

    Examples
    --------
    >>> weighted_edges([0.0, 2.0, 8.0], [1.0, 3.0, 9.0], [5, 1, 5]).tolist()
    [0.0, 1.0, 2.0, 3.0, 8.0, 9.0]
    """
    if rule is not None and rule != "doane" and not rule.startswith("quantile:"):
        return edges_by([], rule)
    low, high, rows = (np.asarray(each, dtype=np.float64) for each in (lower, upper, counts))
    held = rows > 0
    if not held.any():
        return numeric_edges([])
    cells = _Cells(low[held], high[held], rows[held])
    even = _doane(cells)
    snapped = cells.lower[np.minimum(np.searchsorted(cells.lower, even), cells.lower.size - 1)]
    if rule is not None:
        return _between_ends(cells, snapped[:-1] if rule == "doane" else _quantiles_and_atoms(cells, int(rule.removeprefix("quantile:"))))
    return _choose(cells, snapped, bins, max_edges)


def bin_counts(values: ArrayLike, edges: ArrayLike) -> NDArray[np.int64]:
    """Rows in each bin, shape (len(edges) + 1,): below the first edge, between edges, from the last edge up. NaN is in none.

    >>> bin_counts([0.5, 1.0, 1.5, 9.0, float("nan")], [1.0, 2.0]).tolist()
    [1, 2, 1]
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)  # NaN last
    present = ordered.size - int(np.isnan(ordered).sum())
    # Searching the few edges in the sorted values is several times faster than searching each value in the edges.
    below = np.searchsorted(ordered[:present], np.asarray(edges, dtype=np.float64), side="left")
    return np.diff(np.concatenate(([0], below, [present]))).astype(np.int64)


def bin_buckets(lower: ArrayLike, counts: ArrayLike, edges: ArrayLike) -> NDArray[np.int64]:
    """The same for a sketch: each bucket's rows go to the bin of its lower bound. Exact when the edges are bounds of buckets.

    >>> bin_buckets([0.0, 2.0, 8.0], [5, 1, 5], [2.0, 9.0]).tolist()
    [5, 6, 0]
    """
    bounds = np.asarray(edges, dtype=np.float64)
    total = np.zeros(bounds.size + 1, dtype=np.int64)
    np.add.at(total, np.searchsorted(bounds, np.asarray(lower, dtype=np.float64), side="right"), np.asarray(counts, dtype=np.int64))
    return total


def _between_ends(cells: _Cells, between: Floats) -> Floats:
    """The ends of the cells, and of the edges between them as many as fit."""
    ends = np.array([cells.lower[0], cells.upper[-1]])
    return _distinct(np.concatenate((ends, _thin(np.setdiff1d(between, ends), RULE_EDGES - 2))))


def _choose(cells: _Cells, even: Floats, bins: int, max_edges: int) -> Floats:
    """Edges in order of importance, until `max_edges` are taken."""
    ends = np.array([cells.lower[0], cells.upper[-1]])
    is_atom = _atoms(cells, max_edges - ends.size)
    # Where the next cell is not an atom, rows lie right behind the atom and must be told from it.
    behind = np.append(~is_atom[1:], False)
    essential = (ends, cells.lower[is_atom], cells.upper[is_atom & behind])
    between = cells.upper[is_atom & ~behind]
    rest = _Cells(*(column[~is_atom] for column in cells))
    edges = _distinct(np.concatenate(essential))
    # Equal widths would split only empty gaps where every value is an atom.
    for more in (_quantiles(rest, bins), between, even if rest.rows.size else even[:0]):
        edges = _distinct(np.concatenate((edges, _thin(np.setdiff1d(more, edges), max_edges - edges.size))))
    return edges


def _atoms(cells: _Cells, limit: int) -> NDArray[np.bool_]:
    """Cells that get a bin of their own: all, when they are few and repeat; else the heaviest of those with 1 % of the rows."""
    total = cells.rows.sum()
    if cells.rows.size <= limit and total >= 2 * cells.rows.size:
        return np.ones(cells.rows.size, dtype=bool)
    # A value that was seen once is no repetition, however few rows there are.
    is_atom = (cells.rows >= ATOM_SHARE * total) & (cells.rows > 1)
    heaviest_first = np.argsort(-np.where(is_atom, cells.rows, 0), kind="stable")
    is_atom[heaviest_first[limit // 2 :]] = False
    return np.asarray(is_atom)


def _quantiles(cells: _Cells, bins: int) -> Floats:
    """Lower bounds of the cells that hold the quantiles 1/bins, 2/bins, …"""
    if cells.rows.size == 0:
        return cells.lower
    reached = np.cumsum(cells.rows)
    wanted = reached[-1] * np.arange(1, bins) / bins
    return np.asarray(cells.lower[np.minimum(np.searchsorted(reached, wanted, side="right"), reached.size - 1)])


def _quantiles_and_atoms(cells: _Cells, bins: int) -> Floats:
    """Lower bounds of the cells that hold quantiles; and upper bounds of those that repeat and would make their bin too full."""
    total, reached = cells.rows.sum(), np.append(0.0, np.cumsum(cells.rows))
    starts = np.unique(np.append(np.searchsorted(cells.lower, _quantiles(cells, bins)), 0))
    held = np.diff(reached[np.append(starts, cells.rows.size)])
    full = (held * bins > total) | (cells.rows[starts] * bins >= total)
    return np.concatenate((cells.lower[starts], cells.upper[starts[full & (cells.rows[starts] > 1)]]))


def _doane(cells: _Cells) -> Floats:
    """Edges of equal width between the smallest and the largest lower bound; how many, by Doane's rule."""
    low, high = cells.lower[0], cells.lower[-1]
    n = cells.rows.sum()
    with np.errstate(over="ignore"):
        span = high - low
    if n < 3 or not 0 < span < np.inf:
        return np.empty(0)
    unit = (cells.lower - low) / span
    mean = np.average(unit, weights=cells.rows)
    deviation = np.sqrt(np.average((unit - mean) ** 2, weights=cells.rows))
    skewness = np.average(((unit - mean) / deviation) ** 3, weights=cells.rows)
    its_error = np.sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
    bins = int(np.ceil(1 + np.log2(n) + np.log2(1 + abs(skewness) / its_error)))
    return np.asarray(low + span * np.linspace(0, 1, bins + 1))


def _distinct(edges: Floats) -> Floats:
    """Ascending, without repetition; the edge above the largest finite number is none."""
    return np.unique(edges[np.isfinite(edges)])


def _thin(edges: Floats, limit: int) -> Floats:
    """At most `limit` of the edges, spread evenly over them."""
    if edges.size <= limit:
        return edges
    picked = np.linspace(0, edges.size - 1, max(0, limit) + 2)[1:-1].round().astype(np.intp)
    return np.asarray(edges[picked])
