"""When a finding began: the pane of its window where its level is best cut in two. Pure.

The reference stands before them. So where all of them are beyond it, it began with the first, or earlier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from driftline.schemas.reference import CategoricalProfile, PerformanceProfile
from driftline.streams.answers import BETWEEN
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane
from driftline.streams.stats import Batch, change_point

Panes = Sequence[tuple[int, Pane]]  # by start, in order


def onset_of_feature(panes: Panes, layout: Layout, feature: int) -> int | None:
    """When a feature that drifted in the window of these panes left its reference; None where they do not tell.

    A row counts as much as its bin has become more frequent in the window than it was: the logarithm of that is the level that is cut.
    """
    profile = layout.profiles[feature]
    other = [profile.other] if isinstance(profile, CategoricalProfile) else []
    before = np.array([*profile.counts, *other], np.float64)
    counts = [
        layout.stretch(pane.counts, feature)[0] if pane.reference == layout.hash else np.zeros(len(before), np.int64) for _, pane in panes
    ]
    now = np.sum(counts, axis=0) if counts else before
    if not np.sum(now) or not before.sum():
        return None
    if len(panes) == 1:  # one place to cut: between the reference and it
        return panes[0][0]
    lifted = np.log((now + 0.5) / (np.sum(now) + 0.5 * len(before))) - np.log((before + 0.5) / (before.sum() + 0.5 * len(before)))
    reference, *batches = (_batch(int(each.sum()), float(each @ lifted), float(each @ lifted**2)) for each in (before, *counts))
    return _cut(panes, batches, reference)


def onset_of_loss(panes: Panes, profile: PerformanceProfile) -> int | None:
    """When the labelled rows of the panes began to be worse than those of the reference; None where it fell, or nothing tells."""
    return _cut(panes, [_losses(pane) for _, pane in panes], _known(profile), "up")


def _known(profile: PerformanceProfile) -> Batch:
    """The losses of the reference's labelled rows."""
    if profile.confusion:
        return _of_confusion(profile.confusion)
    if profile.places:
        n, absolute, squares = np.sum([(n, n * absolute, n * square) for n, absolute, square in profile.places.values()], axis=0).tolist()
        return _batch(int(n), absolute, squares)
    lost = 1 - profile.metrics.get("ndcg", math.nan)
    return Batch(0, 0.0) if math.isnan(lost) else Batch(profile.n, profile.n * lost, profile.n * lost * (1 - lost))


def _batch(n: int, total: float, squares: float) -> Batch:
    return Batch(n, total, max(squares - total * total / n, 0.0)) if n else Batch(0, 0.0)


def _of_confusion(confusion: Mapping[str, int]) -> Batch:
    wrong = float(sum(count for pair, count in confusion.items() if len(set(pair.split(BETWEEN))) > 1))
    return _batch(sum(confusion.values()), wrong, wrong)


def _losses(pane: Pane) -> Batch:
    answers = pane.answers
    n = answers.n_labelled
    if n <= 0:
        return Batch(0, 0.0)
    if answers.ranks[-1]:
        n, total, squares = answers.ranked("ndcg")
        return Batch(n, n - total, max(squares - total * total / n, 0.0))
    if not answers.confusion:
        return _batch(n, answers.sum_of("absolute"), answers.sum_of("squares"))
    return _of_confusion(answers.confusion)


def _cut(panes: Panes, batches: Sequence[Batch], reference: Batch, direction: str = "") -> int | None:
    if not sum(batch.n for batch in batches):
        return None
    # As many rows of it as there are others, or it would outweigh them.
    share = min(sum(batch.n for batch in batches) / reference.n, 1.0) if reference.n else 0.0
    found = change_point([(reference.n * share, reference.total * share, reference.m2 * share), *batches])  # type: ignore[list-item]
    if found is None or (direction and found.signal.direction != direction):
        return None
    return panes[found.at - 1][0]
