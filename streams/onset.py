"""When a finding began: the pane where its level is best cut in two, by the panes of its window and those before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftline.schemas.reference import CategoricalProfile
from driftline.streams.answers import BETWEEN
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane
from driftline.streams.stats import Batch, change_point

Panes = Sequence[tuple[int, Pane]]  # by start, in order


def onset_of_feature(panes: Panes, layout: Layout, feature: int, since: int) -> int | None:
    """When a feature that drifted in the window which begins at `since` left its reference; None where the panes do not tell.

    A row counts as much as its bin has become more frequent in the window than it was: the logarithm of that is the level that is cut.
    """
    profile = layout.profiles[feature]
    other = [profile.other] if isinstance(profile, CategoricalProfile) else []
    before = np.array([*profile.counts, *other], np.float64)
    counts = [
        layout.stretch(pane.counts, feature)[0] if pane.reference == layout.hash else np.zeros(len(before), np.int64) for _, pane in panes
    ]
    now = np.sum([each for (start, _), each in zip(panes, counts, strict=True) if start >= since], axis=0) if counts else before
    if not np.sum(now) or not before.sum():
        return None
    lifted = np.log((now + 0.5) / (np.sum(now) + 0.5 * len(before))) - np.log((before + 0.5) / (before.sum() + 0.5 * len(before)))
    batches = []
    for each in counts:
        n, total = int(each.sum()), float(each @ lifted)
        batches.append(Batch(n, total, max(float(each @ lifted**2) - total * total / n, 0.0) if n else 0.0))
    return _cut(panes, batches)


def onset_of_loss(panes: Panes) -> int | None:
    """When the labelled rows of the panes began to be worse; None where it fell, or nothing tells."""
    return _cut(panes, [_losses(pane) for _, pane in panes], "up")


def _losses(pane: Pane) -> Batch:
    answers = pane.answers
    n = answers.n_labelled
    if n <= 0:
        return Batch(0, 0.0)
    if answers.ranks[-1]:
        n, total, squares = answers.ranked("ndcg")
        return Batch(n, n - total, max(squares - total * total / n, 0.0))
    if not answers.confusion:
        total = answers.sum_of("absolute")
        return Batch(n, total, max(answers.sum_of("squares") - total * total / n, 0.0))
    wrong = float(sum(count for pair, count in answers.confusion.items() if len(set(pair.split(BETWEEN))) > 1))
    return Batch(n, wrong, max(wrong - wrong * wrong / n, 0.0))


def _cut(panes: Panes, batches: Sequence[Batch], direction: str = "") -> int | None:
    found = change_point(batches)
    if found is None or (direction and found.signal.direction != direction):
        return None
    return panes[found.at][0]
