"""How much a reference wavers by itself: learned from its blocks when it is made, asked when a window is judged. Pure.

    rows of the reference in order of time ──► blocks ──► per feature: covariance of the scores' means
                                                    └───► over all features: p-values of its later half against its earlier half

Neighbouring rows that are alike (customers of one day, one batch, one campaign) make windows differ without drift; blocks show by how
much, and the later half shows what the p-values are worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.schemas.reference import Calibration, CategoricalProfile, NumericProfile, Profile, Reference
from driftline.streams.layout import LABEL
from driftline.streams.stats import PooledNull, SmoothTest, category_basis, score_basis, shared_between_blocks
from driftline.streams.stats.smooth_test import block_scores, blocks_worth, location

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

BLOCKS = 200
LEAST_BLOCKS = 30
BLOCK_ROWS = 50  # wished for, where the reference has rows enough
DEGREE = 4
ALL_SCORES = 8  # a numeric feature with no more bins in use is told apart by each of them
TELLS = 0.95  # share of the variance of the rows' places that a feature explains which is an id, or a clock
INDEPENDENT = 1_000_000  # blocks of a profile that has none: its rows are taken as independent of each other


def blocks_for(rows: int) -> int:
    """Into how many blocks a reference of so many rows is cut; 0 for one too short to know.

    >>> blocks_for(100), blocks_for(1_000), blocks_for(4_000), blocks_for(1_000_000)
    (0, 30, 80, 200)
    """
    return 0 if rows < 10 * LEAST_BLOCKS else min(max(rows // BLOCK_ROWS, LEAST_BLOCKS), BLOCKS)


def calibration(profiles: Mapping[str, Profile], blocks: Mapping[str, Int64], rows: int, window_rows: int | None = None) -> Calibration:
    """What the blocks of a reference say.

    Parameters
    ----------
    profiles
        The reference's features.
    blocks
        For each feature its counts in consecutive blocks, shape (blocks, bins), in order of time.
    rows
        In all blocks.
    window_rows
        Rows of the windows that will be judged, where that is known.
    """
    used = {name: counts[counts.sum(1) > 0] for name, counts in blocks.items()}
    used = {name: counts for name, counts in used.items() if len(counts) > 1}
    if not used:
        return Calibration()
    many = max(map(len, used.values()))
    without = set(clocks(profiles, blocks))  # as unlike from block to block as can be, which says nothing of other features
    pooled = {name: counts for name, counts in used.items() if name not in without} or used
    shared = shared_between_blocks([pooled[name] for name in pooled if isinstance(profiles[name], NumericProfile)] or list(pooled.values()))
    covariances, lengths = {}, {}
    for name, counts in used.items():
        scores = block_scores(counts.astype(np.float64), basis_of(profiles[name]))
        covariance = scores.T @ scores / (len(scores) - 1) * shared
        lengths[name] = blocks_worth(scores)
        covariances[name] = [_short(value) for value in covariance[np.triu_indices(len(covariance))].tolist()]
    null = _pooled(profiles, pooled, _blocks_per_window(many, len(pooled), rows, window_rows)).thinned()
    ranks = np.arange(1, null.values.size + 1) if null.ranks is None else null.ranks
    values = [_short(value) for value in null.values.tolist()]
    lengths = {name: worth for name, worth in lengths.items() if worth != many}
    return Calibration(many, lengths, covariances, values, ranks.astype(int).tolist(), null.size or null.values.size)


def clocks(profiles: Mapping[str, Profile], blocks: Mapping[str, Int64]) -> list[str]:
    """Features whose value tells where in the reference a row stands, or which row it is: counters, times, ids; arguments as above.

    Such a feature has never been twice as it was, so the reference cannot tell how it wavers; a table that was sorted by a feature makes
    one of it. Told from `LEAST_BLOCKS` blocks on.

    >>> place = NumericProfile(list(map(float, range(1, 40))), [10] * 40, 400, 0, 20.0, 53_300.0)
    >>> clocks({"n": place, "x": place}, {"n": 10 * np.eye(40, dtype=int), "x": np.ones((40, 40), int)})
    ['n']
    """
    told = (name for name, counts in blocks.items() if name != LABEL and (_names_rows(profiles[name]) or _tells_place(counts)))
    return sorted(told)


def _names_rows(profile: Profile) -> bool:
    """Whether nearly every category has one row only, or none so many that it is known by name: an id. Those kept are the commonest."""
    return (
        isinstance(profile, CategoricalProfile)
        and profile.other > 0
        and profile.n > 300
        and sum(profile.counts) <= 1.1 * len(profile.counts)
    )


def _tells_place(counts: Int64) -> bool:
    """How much of the variance of the blocks' places lies between bins, and not inside them."""
    in_block, in_bin = counts.sum(1), counts.sum(0)
    if np.count_nonzero(in_block) < LEAST_BLOCKS:
        return False
    place = np.arange(len(counts), dtype=np.float64)
    place -= place @ in_block / in_block.sum()
    between = np.square(place @ counts) / np.maximum(in_bin, 1)
    return bool(between.sum() > TELLS * (np.square(place) @ in_block))


def _pooled(profiles: Mapping[str, Profile], used: Mapping[str, Int64], blocks_per_window: int) -> PooledNull:
    bases = [score_basis if isinstance(profiles[name], NumericProfile) else _categories for name in used]
    return PooledNull.fit(list(used.values()), blocks_per_window, DEGREE, bases)


def _categories(counts: ArrayLike, degree: int) -> Float64:
    return category_basis(counts)


def _blocks_per_window(blocks: int, features: int, rows: int, window_rows: int | None) -> int:
    """As long as the windows, but so short that the later half gives some two hundred p-values."""
    wanted = blocks // 40 if window_rows is None else round(window_rows * blocks / max(rows, 1))
    return max(1, min(wanted, blocks // 2 * features // 200, blocks // 4))


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def counts_of(profile: Profile) -> Float64:
    """The reference's rows by bin, as a pane counts them."""
    other = [profile.other] if isinstance(profile, CategoricalProfile) else []
    return np.array([*profile.counts, *other], np.float64)


def basis_of(profile: Profile) -> Float64:
    """The scores that a feature's windows are tested by, shape (J, bins)."""
    counts = counts_of(profile)
    if not counts.sum():
        return np.empty((0, len(counts)))
    if isinstance(profile, CategoricalProfile):
        return category_basis(counts)
    in_use = int((counts > 0).sum())
    return score_basis(counts, in_use - 1 if in_use <= ALL_SCORES else DEGREE)


class Yardstick:
    """The tests of one reference's features, made when first asked for."""

    def __init__(self, reference: Reference) -> None:
        self._known = reference.calibration
        self._profiles = {**reference.features, **({LABEL: reference.labels} if reference.labels else {})}
        self._tests: dict[str, SmoothTest] = {}

    def test(self, feature: str) -> SmoothTest:
        """The smooth test of a feature."""
        test = self._tests.get(feature)
        if test is None:
            test = self._tests[feature] = self._made(self._profiles[feature], feature)
        return test

    def _made(self, profile: Profile, feature: str) -> SmoothTest:
        basis, known, counts = basis_of(profile), self._known, counts_of(profile)
        direction = location(counts, basis) if isinstance(profile, NumericProfile) and len(basis) else None
        if not known.blocks:
            return SmoothTest(counts, basis, np.eye(len(basis)), INDEPENDENT, direction)
        covariance = np.zeros((len(basis), len(basis)))
        upper = np.triu_indices(len(basis))
        covariance[upper] = known.covariances.get(feature, [0.0] * len(upper[0]))
        covariance += np.triu(covariance, 1).T
        blocks = known.lengths.get(feature, known.blocks) if feature in known.covariances else 0
        return SmoothTest(counts, basis, covariance, blocks, direction)

    @cached_property
    def null(self) -> PooledNull:
        """What p-values are worth here."""
        known = self._known
        return PooledNull(np.array(known.null_values), np.array(known.null_ranks, np.float64), known.null_size)
