"""The distances that a model's file asks for, of all features of some windows at once, and what each is worth. Pure.

histograms ──► values, shape (windows, features) ──► their p-values, and what 95 % of windows without drift stay below:
                                                      by the limit of many rows where that holds, else from draws, which are kept
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from driftline.schemas.reference import NumericProfile, Profile
from driftline.streams.apart import Apart, Sample
from driftline.streams.layout import Bool, Float64
from driftline.streams.stats import TESTS, bin_positions
from driftline.streams.stats.bootstrap import kept_quantile, kept_tail, tail_probabilities, two_digits

QUANTILE = 0.95
PASSED = ("jensen_shannon", "wasserstein")  # of `Apart`


class Figures(NamedTuple):
    """What one test says of every feature, each shape (windows, features); NaN: it does not fit, or a side has no rows."""

    values: Float64
    p_values: Float64
    nulls: Float64


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

    def told(
        self, names: Sequence[str], counts: Float64, places: Float64 | None, known: Apart, reference: Sample, alike: Sample
    ) -> dict[str, Figures]:
        """The figures of these tests.

        Parameters
        ----------
        counts, places
            Of the windows, shape (windows, features, bins): their rows, and the value that each bin stands for where a test asks for it.
        known
            What one pass over their bins has found.
        reference, alike
            What it is compared with; and the same where rows that say no more than one are counted as one.
        """
        there = known.live > 0
        fits = {name: there & (self._numeric | (TESTS[name].needs == "bins")) for name in names}
        found = {name: self._known(name, fits[name], counts, places, known, reference, alike) for name in names}
        drawn = [name for name in names if TESTS[name].distance]
        if drawn:
            self._draw({name: found[name].p_values for name in drawn}, fits, reference, {name: found[name].values for name in drawn})
            self._draw({name: found[name].nulls for name in drawn}, fits, alike, None)
        return found

    def _known(
        self, name: str, fits: Bool, counts: Float64, places: Float64 | None, known: Apart, reference: Sample, alike: Sample
    ) -> Figures:
        """What need not be drawn of one test."""
        test, out = TESTS[name], Figures(*np.full((3, *fits.shape), np.nan))
        at = self._usual if places is None else places
        if test.distance:
            if name in PASSED:
                each = getattr(known, name)
            else:
                each = test.distance.each(reference.counts, counts, *([at] if test.needs == "positions" else []))
            out.values[fits] = each[fits]
        if test.limit:
            near, n = fits & (known.near > 0), reference.counts.sum(-1)
            out.p_values[near] = test.limit.tail(out.values, n, reference.size, known.live)[near]
            near = fits & test.limit.holds_in_shape(*alike)
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

    def places(self, bounds: Float64) -> Float64:
        """The value of each bin in windows of these bounds, shape (windows, features, bins); bins that are none are as the last."""
        seen = np.where(np.isfinite(bounds) & self._numeric[:, None], bounds, np.nan)
        low, high = np.fmin(self._reach[:, 0], np.fmin.reduce(seen, -1)), np.fmax(self._reach[:, 1], np.fmax.reduce(seen, -1))
        last = np.arange(self._usual.shape[1]) >= np.array(self._bins)[:, None] - 1
        at = np.where(last, (self._outer[:, 1] / 2 + high / 2)[..., None], self._usual)
        at[..., 0] = low / 2 + self._outer[:, 0] / 2
        return at

    def _draw(self, into: Mapping[str, Float64], fits: Mapping[str, Bool], sample: Sample, values: Mapping[str, Float64] | None) -> None:
        """Fill what is NaN of each test: how likely its values are in samples of so many rows, or what 95 % of those stay below.

        A feature's tests are asked for one after another: they share samples.
        """
        names, sizes = [*into], two_digits(sample.size)
        f, w, t = np.nonzero(np.stack([fits[name] & np.isnan(into[name]) for name in names]).T)
        if not len(f):
            return
        size = sizes[w, f]
        _, first, of = np.unique((f * (int(size.max()) + 1) + size) * len(names) + t, return_index=True, return_inverse=True)
        asked = [*zip(f[first].tolist(), size[first].tolist(), t[first].tolist(), strict=True)]  # each question once
        shapes = {g: sample.counts[g, : self._bins[g]].astype(np.int64).tobytes() for g, _, _ in asked}
        drawn = [
            (distance.each, shapes[g], rows, self._places[g] if TESTS[names[k]].needs == "positions" else ())
            for g, rows, k in asked
            if (distance := TESTS[names[k]].distance)
        ]
        if values is None:
            found = np.array([kept_quantile(*each, QUANTILE) for each in drawn])[of]
        else:
            found = tail_probabilities([kept_tail(*each) for each in drawn], of, np.stack([values[name] for name in names])[t, w, f])
        for k, name in enumerate(names):
            mine = t == k
            into[name][w[mine], f[mine]] = found[mine]


@lru_cache(maxsize=16_384)
def _null_quantile(test: str, reference: bytes, n: int, at: bytes) -> float:
    """What a test stays below in 95 % of windows of `n` rows; the same for window after window."""
    return TESTS[test].null_quantile(np.frombuffer(reference), n, QUANTILE, np.frombuffer(at))
