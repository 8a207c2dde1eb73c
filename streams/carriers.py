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

NAMED = 3  # segments told of one feature in words
CELLS = 200  # of one name that are told apart: those with most rows
REST = "(rest)"  # rows of smaller cells, and those without a value


def carried(window: Judged, rows: Sequence[DriftResult], groups: Mapping[str, Pane]) -> list[DriftResult]:
    """The rows, those of a drift of the whole with their `split` over segments, and the `carriers` among them, also as their reason.

    `groups` holds the same window of each segment, by "name=value", in the terms of the window's layout.
    """
    layout = window.layout
    found = {row.feature: row.effect for row in rows if _is_of_the_whole(row) and row.effect}
    if layout is None or not groups or not found:
        return list(rows)
    splits = {feature: _split(window, layout, feature, groups) for feature in sorted(found)}
    candidates = [(feature, cell, part) for feature, split in splits.items() for cell, part in split.items() if not cell.endswith(REST)]
    passed = benjamini_hochberg(np.array([part.p_value for _, _, part in candidates]), window.model.policy.significance)
    carriers: dict[str, dict[str, Carried]] = {}
    for (feature, cell, part), real in sorted(zip(candidates, passed.tolist(), strict=True), key=lambda each: -each[0][2].psi):
        if real and part.psi > 0:
            carriers.setdefault(feature, {})[cell] = part
    return [_with(row, splits[row.feature], carriers.get(row.feature, {})) if _is_of_the_whole(row) and row.effect else row for row in rows]


def _is_of_the_whole(row: DriftResult) -> bool:
    return row.verdict == "drift" and row.baseline == TRAINING and not row.segment


def _with(row: DriftResult, split: Mapping[str, Carried], carriers: Mapping[str, Carried]) -> DriftResult:
    shares = {cell: part.psi / (row.effect or 1.0) for cell, part in carriers.items()}
    said = [f"{cell} carries {shares[cell]:.0%} of it with {part.rows:.0%} of the rows" for cell, part in carriers.items()]
    reason = "; ".join(filter(None, [row.reason, *said[:NAMED]]))
    return msgspec.structs.replace(row, reason=reason, split={cell: part.psi for cell, part in split.items()}, carriers=shares)


def _split(window: Judged, layout: Layout, feature: str, groups: Mapping[str, Pane]) -> dict[str, Carried]:
    """What the cells of each watched name add to a feature's PSI, those with rows enough by themselves; of each name all of it."""
    f = layout.names.index(feature)
    whole = layout.stretch(window.pane.counts, f)[0]
    reference, dispersion = counts_of(layout.profiles[f]), yardstick(layout).test(feature).dispersion
    parts: dict[str, Carried] = {}
    for name in window.model.segments:
        counts = {
            cell: layout.stretch(pane.counts, f)[0]
            for cell, pane in groups.items()
            if name_of(cell, window.model) == name and pane.reference == layout.hash
        }
        large = [cell for cell in counts if counts[cell].sum() >= window.model.policy.min_samples]
        large = sorted(large, key=lambda cell: (-int(counts[cell].sum()), cell))[:CELLS]
        rest = np.maximum(whole - np.sum([counts[cell] for cell in large], axis=0), 0) if large else whole
        parts |= psi_by_group(reference, {**{cell: counts[cell] for cell in large}, f"{name}={REST}": rest}, dispersion)
    return parts
