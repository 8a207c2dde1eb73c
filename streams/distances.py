"""The distances that a model's file asks for, of all features of some windows at once, and what each is worth. Pure.

histograms ──► values, shape (windows, features) ──► their p-values, and what 95 % of windows without drift stay below:
                                                      by the limit of many rows where that holds, else from draws, which are kept
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.reference import NumericProfile, Profile
from driftline.streams.layout import Float64
from driftline.streams.stats import TESTS, bin_positions
from driftline.streams.stats.bootstrap import kept_quantile, kept_tail, two_digits
from driftline.streams.stats.chi_square_like import expected_rows
from driftline.streams.stats.counts import Floats

QUANTILE = 0.95
_Drawn = tuple[Callable[..., Floats], bytes, int, tuple[bytes, ...]]  # what `kept_draws` takes


class Figures(NamedTuple):
    """What one test says of every feature, each shape (windows, features); NaN: it does not fit, or a side has no rows."""

    values: Float64
    p_values: Float64
    nulls: Float64


class Sample(NamedTuple):
    """Rows that windows are compared with, shape (features, bins), and how many rows each has, shape (windows, features)."""

    counts: Float64
    size: Float64


class Distances:
    """Those of several features, made once for a reference.

    The outer bins of a window reach to its own extremes. What a distance would be with no drift is asked for those of the reference: else
    each window would be a question of its own, with the same answer, since next to no rows lie out there then.
    """

    def __init__(self, profiles: Sequence[Profile], bins: Sequence[int], width: int) -> None:
        self._bins, self._numeric = [*bins], np.array([isinstance(profile, NumericProfile) for profile in profiles], bool)
        self._usual = np.zeros((len(profiles), width))  # the value that each bin stands for
        self._outer, self._reach = np.zeros((len(profiles), 2)), np.zeros((len(profiles), 2))  # outermost edges; furthest values seen
        for f, profile in enumerate(profiles):
            if isinstance(profile, NumericProfile):
                seen = [bound for bound in (profile.minimum, profile.maximum) if bound is not None and math.isfinite(bound)]
                self._outer[f] = profile.edges[0], profile.edges[-1]
                self._reach[f] = min([profile.edges[0], *seen]), max([profile.edges[-1], *seen])
                own = bin_positions(profile.edges, *self._reach[f].tolist())
                self._usual[f, : own.size], self._usual[f, own.size :] = own, own[-1]
        self._keys = [row[:own].tobytes() for row, own in zip(self._usual, self._bins, strict=True)]
        self._places = [(key,) for key in self._keys]

    def told(self, names: Sequence[str], counts: Float64, bounds: Float64, reference: Sample, alike: Sample) -> dict[str, Figures]:
        """The figures of these tests.

        Parameters
        ----------
        counts, bounds
            Of the windows: shape (windows, features, bins), and their smallest and largest values, shape (windows, features, 2), NaN where
            not known.
        reference, alike
            What it is compared with; and the same where rows that say no more than one are counted as one.
        """
        if not names:
            return {}
        there, tests = reference.counts.any(-1) & counts.any(-1), [TESTS[name] for name in names]
        placed = any(test.needs == "positions" or not test.distance for test in tests)
        places = self._positions(bounds) if placed else self._usual
        fits = {name: there & (self._numeric | (TESTS[name].needs == "bins")) for name in names}
        found = {name: self._known(name, fits[name], counts, places, reference, alike) for name in names}
        drawn = [name for name in names if TESTS[name].distance]
        for name, f, windows, asked in self._draws({name: fits[name] & np.isnan(found[name].p_values) for name in drawn}, reference):
            tail, (values, p_values, _) = kept_tail(*asked), found[name]
            for w in windows:
                p_values[w, f] = tail.probability(values.item(w, f))
        for name, f, windows, asked in self._draws({name: fits[name] & np.isnan(found[name].nulls) for name in drawn}, alike):
            null = kept_quantile(*asked, QUANTILE)
            for w in windows:
                found[name].nulls[w, f] = null
        return found

    def _known(self, name: str, fits: NDArray[np.bool_], counts: Float64, at: Float64, reference: Sample, alike: Sample) -> Figures:
        """What need not be drawn of one test."""
        test, out = TESTS[name], Figures(*np.full((3, *fits.shape), np.nan))
        if test.distance:
            out.values[fits] = test.distance.each(reference.counts, counts, *([at] if test.needs == "positions" else []))[fits]
        if test.limit:
            near = fits & test.limit.holds(reference.counts, counts)
            out.p_values[near] = test.limit.p_value(out.values, reference.counts, counts)[near]
            near = fits & test.limit.holds(alike.counts, expected_rows(*alike))
            out.nulls[near] = test.limit.quantile(*alike, QUANTILE)[near]
        for w, f in np.argwhere(fits).tolist() if test.p_value or not test.distance else ():
            bins = self._bins[f]
            before, now = reference.counts[f, :bins], counts[w, f, :bins]
            if test.p_value:
                out.p_values[w, f] = test.p_value(float(out.values[w, f]), before, now)
            else:
                out.values[w, f], out.p_values[w, f] = test.measure(before, now, at[w, f, :bins])
                out.nulls[w, f] = _null_quantile(name, alike.counts[f, :bins].tobytes(), int(alike.size[w, f]), self._keys[f])
        return out

    def _positions(self, bounds: Float64) -> Float64:
        """The value of each bin in windows of these bounds, shape (windows, features, bins); bins that are none are as the last."""
        seen = np.where(np.isfinite(bounds) & self._numeric[:, None], bounds, np.nan)
        low, high = np.fmin(self._reach[:, 0], np.fmin.reduce(seen, -1)), np.fmax(self._reach[:, 1], np.fmax.reduce(seen, -1))
        last = np.arange(self._usual.shape[1]) >= np.array(self._bins)[:, None] - 1
        at = np.where(last, (self._outer[:, 1] / 2 + high / 2)[..., None], self._usual)
        at[..., 0] = low / 2 + self._outer[:, 0] / 2
        return at

    def _draws(self, wanted: Mapping[str, NDArray[np.bool_]], sample: Sample) -> Iterator[tuple[str, int, list[int], _Drawn]]:
        """What to draw for each test and feature, and the windows with so many rows; tests of a feature follow on: they share samples."""
        tests = [(name, TESTS[name].distance, TESTS[name].needs == "positions") for name in wanted]
        asked = np.array([*wanted.values()], bool).reshape(len(tests), *sample.size.shape)
        features = np.flatnonzero(asked.any((0, 1))).tolist()
        counts, sizes, mine = sample.counts[features].astype(np.int64), two_digits(sample.size).T.tolist(), asked.T.tolist()
        for f, row in zip(features, counts, strict=True):
            shape = row[: self._bins[f]].tobytes()
            alike: dict[int, list[int]] = {}
            for w, size in enumerate(sizes[f]):
                alike.setdefault(size, []).append(w)
            for size, windows in alike.items():
                for t, (name, distance, placed) in enumerate(tests):
                    if distance and (these := [w for w in windows if mine[f][w][t]]):
                        yield name, f, these, (distance.each, shape, size, self._places[f] if placed else ())


@lru_cache(maxsize=16_384)
def _null_quantile(test: str, reference: bytes, n: int, at: bytes) -> float:
    """What a test stays below in 95 % of windows of `n` rows; the same for window after window."""
    return TESTS[test].null_quantile(np.frombuffer(reference), n, QUANTILE, np.frombuffer(at))
