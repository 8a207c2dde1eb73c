"""A reference of what a version did in a range of time, from its panes in the store: their rows added up, in the bins they have. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Calibration, CategoricalProfile, NumericProfile, Profile, Reference
from driftline.streams.calibration import blocks_for, calibration, clocks
from driftline.streams.layout import LABEL, Int64
from driftline.streams.profile import MAX_CATEGORIES
from driftline.streams.stats import Moments, least_known

Row = Mapping[str, Any]  # of `feature_panes`, its begin as `start`


def reference_from_panes(known: Reference, panes: Sequence[Row], model: Model, effective_from: int) -> Reference:
    """The profile of the rows in `panes`, in force from `effective_from` on.

    Parameters
    ----------
    known
        The reference that counted them. Its edges stay; its performance and labels too, for these rows do not hold what a
        reference keeps of labels. What features do together goes: it is told in the old standard deviations, and rows do not hold it.
    panes
        Rows of `feature_panes` of the whole (no segment), each pane and feature once.

    Raises
    ------
    DriftlineError
        `reference_empty` where there is none.
    """
    if not panes:
        fix = "give a range in which this reference was in force: driftline reference show says since when"
        raise DriftlineError("reference_empty", f"the store has no panes of {known.model} {known.version} counted by {known.hash}", fix)
    by_feature = {name: list(rows) for name, rows in groupby(sorted(panes, key=itemgetter("feature", "start")), key=itemgetter("feature"))}
    profiles, counted = {}, {}
    for name, old in known.features.items():
        rows = by_feature.get(name, [])
        profiles[name] = _numbers(old, rows) if isinstance(old, NumericProfile) else _categories(rows)
        counted[name] = _counted(profiles[name], rows)
    starts = {row["start"]: int(row["n"]) for row in panes}
    total = sum(starts.values())
    blocks = {name: _blocks(counts, by_feature[name], starts) for name, counts in counted.items() if len(counts)}
    window = round(total * model.windows[0].length_ms / (len(starts) * model.pane_ms))
    learned = _with_labels(calibration(profiles, blocks, total, window), known.calibration)
    return msgspec.structs.replace(
        known, features=profiles, rows=total, origin="stored", effective_from=effective_from, calibration=learned, joint=None,
        clocks=clocks(profiles, blocks),
    )  # fmt: skip


def _with_labels(learned: Calibration, known: Calibration) -> Calibration:
    """How much the labels waver is kept with them."""
    if LABEL not in known.covariances or not learned.blocks:
        return learned
    lengths = {**learned.lengths, LABEL: known.lengths.get(LABEL, known.blocks)}
    return msgspec.structs.replace(learned, lengths=lengths, covariances={**learned.covariances, LABEL: known.covariances[LABEL]})


def _numbers(old: NumericProfile, rows: Sequence[Row]) -> NumericProfile:
    counts = np.zeros(len(old.counts), np.int64)
    for row in rows:
        counts += np.array(row["bins"], np.int64)
    whole = Moments(0, 0.0, 0.0)
    for row in rows:
        n = int(sum(row["bins"]))
        if n and row["mean"] is not None and row["variance"] is not None:
            whole = _merged(whole, Moments(n, row["mean"], row["variance"] * n))
    low = [row["minimum"] for row in rows if row["minimum"] is not None]
    high = [row["maximum"] for row in rows if row["maximum"] is not None]
    missing = sum(int(row["missing"]) for row in rows)
    n, bounds = int(counts.sum()), (min(low, default=None), max(high, default=None))
    return NumericProfile(old.edges, [int(count) for count in counts], n, missing, whole.mean, whole.m2, *bounds)


def _merged(one: Moments, other: Moments) -> Moments:
    n = one.n + other.n
    apart = other.mean - one.mean
    return Moments(n, one.mean + apart * other.n / n, one.m2 + other.m2 + apart * apart * one.n * other.n / n)


def _categories(rows: Sequence[Row]) -> CategoricalProfile:
    named: dict[str, int] = {}
    for row in rows:
        for name, n in dict(row["categories"]).items():
            named[name] = named.get(name, 0) + int(n)
    least = least_known([*named.values()])
    kept = [pair for pair in sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_CATEGORIES] if pair[1] >= least]
    n, missing = sum(int(sum(row["bins"])) for row in rows), sum(int(row["missing"]) for row in rows)
    counts = [count for _, count in kept]
    return CategoricalProfile([name for name, _ in kept], counts, n - sum(counts), n, missing)


def _counted(profile: Profile, rows: Sequence[Row]) -> Int64:
    """Each pane's counts in the bins of the new profile, shape (panes, bins)."""
    if isinstance(profile, NumericProfile):
        return np.array([row["bins"] for row in rows], np.int64)
    table = []
    for row in rows:
        names = dict(row["categories"])
        named = [int(names.get(name, 0)) for name in profile.categories]
        table.append([*named, int(sum(row["bins"])) - sum(named)])
    return np.array(table, np.int64)


def _blocks(counts: Int64, rows: Sequence[Row], starts: Mapping[Any, int]) -> Int64:
    """Panes put together, in order of time, into as many blocks of about equal rows as a reference has; each pane is in one."""
    n = np.array([starts[row["start"]] for row in rows])
    many = max(blocks_for(int(n.sum())), 1)
    block = np.minimum((np.cumsum(n) - n) * many // max(int(n.sum()), 1), many - 1)
    out = np.zeros((many, counts.shape[1]), np.int64)
    np.add.at(out, block, counts)
    return out
