"""How far apart histograms lie, of all features of some windows in one compiled pass. Its twin is `apart.by_numpy`.

Numbers are added up in the order in which NumPy does it, so that figures are the same to the last bit as long as NumPy keeps to it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, compiled, entry, float64, set_float64

Float64 = NDArray[np.float64]
FIGURES, COUNTED = 9, 5  # of `apart.Apart`, and the first that is a count
_LANES, _BLOCK = 8, 128  # as NumPy adds numbers up
_SMALLEST = np.finfo(np.float64).tiny


@compiled
def added(numbers: int, n: int) -> float:
    """The sum of numbers, in NumPy's order: halves of what is long, and eight sums side by side."""
    if n > _BLOCK:
        half = n // 2 - n // 2 % _LANES
        return added(numbers, half) + added(numbers + 8 * half, n - half)
    total, since = 0.0, 0
    if n >= _LANES:
        a, b, c, d = float64(numbers, 0), float64(numbers, 1), float64(numbers, 2), float64(numbers, 3)
        e, f, g, h = float64(numbers, 4), float64(numbers, 5), float64(numbers, 6), float64(numbers, 7)
        since = n - n % _LANES
        for i in range(_LANES, since, _LANES):
            a, b, c, d = a + float64(numbers, i), b + float64(numbers, i + 1), c + float64(numbers, i + 2), d + float64(numbers, i + 3)
            e, f, g, h = e + float64(numbers, i + 4), f + float64(numbers, i + 5), g + float64(numbers, i + 6), h + float64(numbers, i + 7)
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(since, n):
        total += float64(numbers, i)
    return total


@compiled
def relative_entropy(x: float, y: float) -> float:
    """`x log(x / y)` as `scipy.special.rel_entr` has it."""
    if x <= 0.0 or y <= 0.0:
        return 0.0 if x == 0.0 and y >= 0.0 else np.inf
    ratio = x / y
    if 0.5 < ratio < 2.0:
        return x * math.log1p((x - y) / y)
    if ratio > _SMALLEST:
        return x * math.log(ratio)
    return x * (math.log(x) - math.log(y))


@compiled
def misfit(pooled: float, both: float, before: float, after: float) -> float:
    """What a pool of bins adds to chi-square."""
    expected = both * after / (before + after)
    return (pooled - expected) ** 2 / expected * (1 + after / before)


@compiled
def pooled(reference: int, counts: int, bins: int, before: float, after: float, least: float) -> tuple[float, int]:
    """Chi-square and how many pools of neighbours it is of; each but the last is closed as soon as it expects enough."""
    fewer, total = min(before, after), before + after
    width, pools, enough = bins, 0, True
    statistic, held, both, now, last_both, last_now = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    while width and not fewer * (float64(reference, width - 1) + float64(counts, width - 1)) / total > 0.0:
        width -= 1
    for j in range(width):
        if enough:
            if pools > 1:
                statistic += misfit(last_now, last_both, before, after)
            last_both, last_now, both, now, held, pools = both, now, 0.0, 0.0, 0.0, pools + 1
        here = float64(reference, j) + float64(counts, j)
        held += fewer * here / total
        both, now, enough = both + here, now + float64(counts, j), held >= least
    if pools > 1 and not enough:
        return statistic + misfit(last_now + now, last_both + both, before, after), pools - 1
    if pools > 1:
        statistic += misfit(last_now, last_both, before, after)
    return statistic + misfit(now, both, before, after), pools


@compiled
def pools_of(counts: int, bins: int, rows: float, fewer: float, least: float) -> int:
    """How many pools there would be with no drift: both sides of this shape, the smaller one has `fewer` rows."""
    width, pools, enough, held = bins, 0, True, 0.0
    while width and not float64(counts, width - 1) * fewer / rows > 0.0:
        width -= 1
    for j in range(width):
        if enough:
            held, pools = 0.0, pools + 1
        held += float64(counts, j) * fewer / rows
        enough = held >= least
    return pools - 1 if pools > 1 and not enough else pools


@compiled
def divergences(shares: int, bins: int, before: float, after: float, live: int, terms: int, entropy: int) -> tuple[float, float]:
    """The PSI, and Jensen-Shannon's distance where it is asked for; of the shares in each bin of both sides, one after the other."""
    own_p, own_q, other = before / (before + 0.5 * live), after / (after + 0.5 * live), np.nan
    for j in range(bins):
        p, q = float64(shares, j), float64(shares, bins + j)
        mean = (p + q) / 2
        p, q = mean + (p - mean) * own_p, mean + (q - mean) * own_q
        set_float64(terms, j, relative_entropy(p, q) + relative_entropy(q, p))
    psi = added(terms, bins)
    if entropy:
        for j in range(bins):
            p, q = float64(shares, j), float64(shares, bins + j)
            mean = (p + q) / 2
            set_float64(terms, j, relative_entropy(p, mean) + relative_entropy(q, mean))
        other = math.sqrt(max(0.0, added(terms, bins) / 2 / math.log(2)))
    return psi, other


@compiled
def gaps(shares: int, bins: int, places: int, terms: int) -> tuple[float, float]:
    """The largest gap of the cumulative shares, and the area of all where it is known what each bin stands for."""
    gap, last, largest = 0.0, 0.0, 0.0
    for j in range(bins):
        gap += float64(shares, j) - float64(shares, bins + j)
        last = 0.0 if abs(gap) < 1e-14 * bins else abs(gap)
        largest = max(largest, last)
        if places and j + 1 < bins:
            set_float64(terms, j, last * (float64(places, j + 1) - float64(places, j)))
    return largest, added(terms, bins - 1) if places else np.nan


@entry(types.void(*[types.int64] * 11, types.float64, types.float64))
def pass_over(
    windows: int, features: int, bins: int, reference: int, counts: int, alike: int, sizes: int, places: int, entropy: int, terms: int,
    into: int, pool: float, bin_: float,
) -> None:  # fmt: skip
    """See `apart`. `terms` is room for three numbers a bin; `places` is 0 where nobody asks for what bins stand for."""
    shares = terms + 8 * bins
    many = windows * features
    for k in range(many):
        mine, now, shape = reference + 8 * bins * (k % features), counts + 8 * bins * k, alike + 8 * bins * (k % features)
        before, after, like, live = 0.0, 0.0, 0.0, 0
        for j in range(bins):
            before, after, like = before + float64(mine, j), after + float64(now, j), like + float64(shape, j)
            live += float64(mine, j) + float64(now, j) > 0.0
        if not (before > 0.0 and after > 0.0):
            for figure in range(FIGURES):
                set_float64(into, figure * many + k, np.nan if figure < COUNTED else 0.0)
            continue
        fewer = min(before, after)
        for j in range(bins):
            set_float64(shares, j, float64(mine, j) / before)
            set_float64(shares, bins + j, float64(now, j) / after)
        psi, other = divergences(shares, bins, before, after, live, terms, entropy)
        largest, area = gaps(shares, bins, places + 8 * bins * k if places else 0, terms)
        statistic, pools = pooled(mine, now, bins, before, after, pool)
        enough = 1.0
        for j in range(bins):
            both = float64(mine, j) + float64(now, j)
            if both > 0.0 and not both * (fewer / (before + after)) >= bin_:
                enough = 0.0
        set_float64(into, k, psi)
        set_float64(into, many + k, largest)
        set_float64(into, 2 * many + k, other)
        set_float64(into, 3 * many + k, area)
        set_float64(into, 4 * many + k, statistic if pools > 1 else 0.0)
        set_float64(into, 5 * many + k, max(pools - 1, 0))
        set_float64(into, 6 * many + k, max(pools_of(shape, bins, like, min(like, float64(sizes, k)), pool) - 1, 0))
        set_float64(into, 7 * many + k, live)
        set_float64(into, 8 * many + k, enough)


def apart(
    reference: Float64, counts: Float64, alike: Float64, sizes: Float64, places: Float64 | None, entropy: bool, pool: float, bin_: float
) -> Float64:
    """The figures of `apart.Apart`, shape (figures, windows, features). See `apart.apart`.

    Parameters
    ----------
    pool, bin_
        Rows that a pool must expect for chi-square, and a bin for its limit to hold.
    """
    windows, features, bins = counts.shape
    if reference.shape != (features, bins) or alike.shape != (features, bins) or sizes.shape != (windows, features):
        raise IndexError("histograms of other features than the windows'")
    if places is not None and places.shape != counts.shape:
        raise IndexError("places of other bins than the windows'")
    before, now, shape, sizes = (np.ascontiguousarray(each, np.float64) for each in (reference, counts, alike, sizes))
    at = None if places is None else np.ascontiguousarray(places, np.float64)
    terms, into = np.empty(3 * max(bins, 1)), np.empty((FIGURES, windows, features))
    pass_over(
        windows, features, bins, address(before), address(now), address(shape), address(sizes), 0 if at is None else address(at),
        int(entropy), address(terms), address(into), pool, bin_,
    )  # fmt: skip
    return into
