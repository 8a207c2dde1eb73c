"""How far apart histograms lie, of all features of some windows: what every test asks of their bins, in one pass over them. Pure.

histograms (windows, features, bins) ──► figures, each of shape (windows, features), from which alone all else is computed
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from driftline.streams import kernels
from driftline.streams.layout import Float64
from driftline.streams.stats import jensen_shannon, ks, psi, wasserstein
from driftline.streams.stats.chi_square import LEAST_POOLED, chi_squares, null_pools
from driftline.streams.stats.chi_square_like import LEAST_EXPECTED, ChiSquareLike
from driftline.streams.stats.counts import live_bins


class Sample(NamedTuple):
    """Rows that windows are compared with, shape (features, bins), and how many rows each has, shape (windows, features)."""

    counts: Float64
    size: Float64


class Apart(NamedTuple):
    """Each of shape (windows, features). Where a side has no rows the distances are NaN, and what is counted 0."""

    psi: Float64
    ks: Float64
    jensen_shannon: Float64
    wasserstein: Float64
    chi_square: Float64
    freedom: Float64  # degrees of it
    null_freedom: Float64  # the same with no drift
    live: Float64  # bins with a row on either side
    near: Float64  # 1 where each of them expects so many rows that the limit of many rows holds, else 0


def apart(reference: Float64, counts: Float64, alike: Sample, places: Float64 | None, entropy: bool) -> Apart:
    """The figures of windows' histograms `counts`, shape (windows, features, bins), against `reference`, shape (features, bins).

    Parameters
    ----------
    alike
        What is compared with, where rows that say no more than one are counted as one.
    places
        The value that each bin stands for, like `counts`; None: nobody asks for Wasserstein's distance.
    entropy
        Whether anybody asks for that of Jensen and Shannon.
    """
    if reader := kernels.current():
        return Apart(*reader.apart(reference, counts, *alike, places, entropy, LEAST_POOLED, LEAST_EXPECTED))
    return by_numpy(reference, counts, alike, places, entropy)


def by_numpy(reference: Float64, counts: Float64, alike: Sample, places: Float64 | None, entropy: bool) -> Apart:
    """`apart` without compiled code."""
    known, unknown = (reference.sum(-1) > 0) & (counts.sum(-1) > 0), np.full(alike.size.shape, np.nan)
    statistic, freedom = chi_squares(reference, counts)
    counted = freedom, null_pools(*alike) - 1, live_bins(reference, counts), ChiSquareLike.holds(reference, counts)
    return Apart(
        psi.each(reference, counts), ks.each(reference, counts), jensen_shannon.each(reference, counts) if entropy else unknown,
        unknown if places is None else wasserstein.each(reference, counts, places), statistic,
        *(np.where(known, each, 0.0) for each in counted),
    )  # fmt: skip
