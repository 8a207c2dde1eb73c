"""Which segments carry a drift: every drifted feature's PSI split exactly over the values of each watched segment. Pure.

Looked for over all drifted features and all segments at once, and told only where the control of false discoveries lets it pass: a
segment that carries no more than its share of the rows is no cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from driftline.schemas.results import DriftResult
from driftline.streams.calibration import counts_of
from driftline.streams.drift import TRAINING, yardstick
from driftline.streams.judge import Judged
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane
from driftline.streams.segments import name_of
from driftline.streams.stats import Carried, benjamini_hochberg, psi_by_group

NAMED = 3  # segments told of one feature
REST = "others"  # rows without a value of the segment's name


def carried(window: Judged, rows: Sequence[DriftResult], groups: Mapping[str, Pane]) -> list[DriftResult]:
    """The rows, those of a drift of the whole with the segments that carry it as their reason.

    `groups` holds the same window of each segment, by "name=value", in the terms of the window's layout.
    """
    layout = window.layout
    found = {row.feature for row in rows if row.verdict == "drift" and row.baseline == TRAINING and not row.segment}
    if layout is None or not groups or not found:
        return list(rows)
    candidates = [(feature, name, part) for feature in sorted(found) for name, part in _parts(window, layout, feature, groups)]
    passed = benjamini_hochberg(np.array([part.p_value for _, _, part in candidates]), window.model.policy.significance)
    said: dict[str, list[str]] = {}
    for (feature, name, part), real in sorted(zip(candidates, passed.tolist(), strict=True), key=lambda each: -each[0][2].psi):
        whole = next(row.effect for row in rows if row.feature == feature and row.effect is not None)
        if real and part.psi > 0 and whole:
            said.setdefault(feature, []).append(f"{name} carries {part.psi / whole:.0%} of it with {part.rows:.0%} of the rows")
    return [
        msgspec.structs.replace(row, reason="; ".join(said[row.feature][:NAMED]))
        if row.verdict == "drift" and row.feature in said and not row.reason
        else row
        for row in rows
    ]


def _parts(window: Judged, layout: Layout, feature: str, groups: Mapping[str, Pane]) -> list[tuple[str, Carried]]:
    """What the values of each segment's name add to a feature's PSI; those with rows enough."""
    f = layout.names.index(feature)
    whole = layout.stretch(window.pane.counts, f)[0]
    reference, dispersion = counts_of(layout.profiles[f]), yardstick(layout).test(feature).dispersion
    parts: list[tuple[str, Carried]] = []
    for name in window.model.segments:
        counts = {
            segment: layout.stretch(pane.counts, f)[0]
            for segment, pane in groups.items()
            if name_of(segment, window.model) == name and pane.reference == layout.hash
        }
        rest = np.maximum(whole - np.sum(list(counts.values()), axis=0), 0) if counts else whole
        split = psi_by_group(reference, {**counts, REST: rest}, dispersion)
        least = window.model.policy.min_samples
        parts += [(segment, part) for segment, part in split.items() if segment != REST and counts[segment].sum() >= least]
    return parts
