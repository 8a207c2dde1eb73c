"""Prediction-powered figures of many windows at once: what labels of some rows and estimates of all say together. Pure.

    of each window, by predicted group: labelled rows by outcome and score, the others by score
        └─► eight sums a window and kind of group ──► any loss that goes by the outcome alone: numerators, denominators, Newton's steps

A ratio of two means, as precision is, is where the mean of `numerator - ratio * denominator` is 0. All windows and figures are arrays
(windows, figures), so that a window that is told again as labels come costs microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from driftline.streams.answers import SCORE_BINS, Float64, Int64
from driftline.streams.stats.combined import combined_each

STEPS = 3  # of Newton's method
#: What a row counts by (true positive, false positive, false negative, true negative); of a group that is not apart the last two.
Cells = tuple[float, float, float, float]
_HIT, _FALSE_ALARM, _MISS, _REST = range(4)
#: Cells of what did not come true, and of what did: of groups that are not apart, and of those that are.
_OUTCOMES = ((_REST, _MISS), (_FALSE_ALARM, _HIT))


class Group(NamedTuple):
    """Rows of one window and predicted group: labelled ones by outcome and score, shape (2, bins), the others by score, shape (bins,).

    `apart`: of the positive class, whose right answers are hits; of the others they are the rest. `chance`: of coming true by score,
    shape (bins,).
    """

    window: int
    apart: bool
    scored: Float64 | Int64
    rest: Float64 | Int64
    chance: Float64


class _Sums(NamedTuple):
    """Over the rows of many windows, what `combined_each` takes; arrays that broadcast to (windows, figures)."""

    labelled: Float64
    realised: Float64
    realised_squares: Float64
    expected: Float64
    expected_squares: Float64
    product: Float64
    rest: Float64
    expected_rest: Float64
    expected_rest_squares: Float64

    def mean(self) -> tuple[Float64, Float64]:
        """The mean loss over all rows, and half of its interval."""
        return combined_each(*self)


class Windows:
    """The sums of `windows` windows, of one model or of many; those of a window are the same whatever the others are."""

    def __init__(self, groups: Sequence[Group], windows: int) -> None:
        self._windows = windows
        self._at = np.array([each.window for each in groups], np.int64)
        self._kind = np.array([each.apart for each in groups], np.int64)
        self._scored = np.array([each.scored for each in groups], np.float64).reshape(len(groups), 2, -1 if groups else SCORE_BINS)
        chances = {id(group.chance): group.chance for group in groups}  # as many as there are references, which may be few
        places = {name: place for place, name in enumerate(chances)}
        of = np.array([places[id(group.chance)] for group in groups], np.int64)
        self._of = slice(None) if len(places) == 1 else of  # of one reference there is one for all
        self._rest, self._chance = (
            np.array(each, np.float64).reshape(len(each), self._scored.shape[2])
            for each in ([group.rest for group in groups], [*chances.values()])
        )
        powers = _powers(self._chance)[self._of]
        told = np.concatenate([(self._scored @ powers).reshape(-1, 6), _times(self._rest, powers)], 1)
        self._told = np.zeros((windows, 2, 9))
        np.add.at(self._told, (self._at, self._kind), told)

    def of_outcome(self, cells: Float64) -> _Sums:
        """Of losses by what became of a row; `cells` has shape (…, 4) that broadcasts to (windows, figures, 4)."""
        parts = [self._of_kind(kind, cells[..., wrong], cells[..., true]) for kind, (wrong, true) in enumerate(_OUTCOMES)]
        return _Sums(*(a + b for a, b in zip(*parts, strict=True)))

    def _of_kind(self, kind: int, if_wrong: Float64, if_true: Float64) -> _Sums:
        """A row's expected loss is `if_wrong + more * chance`."""
        told = self._told[:, kind, :, None].swapaxes(0, 1)
        (wrong, wrong_chance, wrong_square), (true, true_chance, true_square), (rest, rest_chance, rest_square) = told.reshape(3, 3, -1, 1)
        more, labelled, chance, square = if_true - if_wrong, wrong + true, wrong_chance + true_chance, wrong_square + true_square
        once, both, twice = if_wrong**2, 2 * if_wrong * more, more**2
        return _Sums(
            labelled, if_wrong * wrong + if_true * true, once * wrong + if_true**2 * true,
            if_wrong * labelled + more * chance, once * labelled + both * chance + twice * square,
            if_wrong * (if_wrong * wrong + more * wrong_chance) + if_true * (if_wrong * true + more * true_chance),
            rest, if_wrong * rest + more * rest_chance, once * rest + both * rest_chance + twice * rest_square,
        )  # fmt: skip

    def of_score(self, loss: Float64) -> _Sums:
        """Of one loss by outcome and score, shape (2, bins)."""
        to_expect = self._chance * loss[1] + (1 - self._chance) * loss[0]
        powers = _powers(to_expect)[self._of]
        realised = (
            np.stack([np.broadcast_to(each, to_expect.shape), np.broadcast_to(each**2, to_expect.shape), each * to_expect], 2)
            for each in loss
        )
        told = [
            sum(_times(self._scored[:, i], each[self._of]) for i, each in enumerate(realised)), _times(self._scored.sum(1), powers),
            _times(self._rest, powers),
        ]  # fmt: skip
        sums = np.zeros((self._windows, 9))
        np.add.at(sums, self._at, np.concatenate(told, 1))
        total, squares, product, labelled, expected, expected_squares, *rest = sums[:, :, None].swapaxes(0, 1)
        return _Sums(labelled, total, squares, expected, expected_squares, product, rest[0], rest[1], rest[2])

    def ratios(self, figures: Sequence[tuple[Cells, Cells]]) -> Float64:
        """Ratios of the mean of a numerator to that of a denominator, of each window: value, lower and upper, shape (windows, figures, 3).

        NaN where there is nothing of the kind, or nothing known.
        """
        above, below = (np.array([pair[i] for pair in figures], np.float64) for i in range(2))
        with np.errstate(invalid="ignore", divide="ignore"):
            both = self.of_outcome(np.concatenate([below, above])).mean()[0]
            bottom, top = both[:, : len(below)], both[:, len(below) :]
            bottom = np.where(bottom > 0, bottom, np.nan)
            value = top / bottom
            for _ in range(STEPS):
                rest, half = self.of_outcome(above - value[..., None] * below).mean()
                value = value + rest / bottom
            return _estimates(value, half / bottom)

    def means(self, loss: Float64) -> Float64:
        """The mean of a loss by outcome and score, of each window, shape (windows, 1, 3); NaN below two labelled rows."""
        return _estimates(*self.of_score(loss).mean())


def _powers(chance: Float64) -> Float64:
    """One, itself and its square, of chances of shape (groups, bins); shape (groups, bins, 3)."""
    return np.stack([np.ones_like(chance), chance, chance**2], 2)


def _times(rows: Float64, figures: Float64) -> Float64:
    """Sums over rows of shape (groups, bins) of figures of shape (groups, bins, 3); shape (groups, 3)."""
    told: Float64 = (rows[:, None] @ figures)[:, 0]
    return told


def _estimates(value: Float64, half: Float64) -> Float64:
    return np.stack([value, value - half, value + half], -1)
