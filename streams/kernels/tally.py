"""Labels into what panes count of them, in compiled code. Its twins are `answers.fold_labels` and `answers.fold_losses`.

Predictions too, twin: `answers._fold_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.columns import is_constant
from driftline.streams.kernels.machine import address, as_double, entry, int64, leading_zeros, set_int64, uint64

Int64 = NDArray[np.int64]


@entry(types.int64(*[types.int64] * 12))
def tally_rows(
    rows: int, n: int, group_of: int, came: int, classes: int, bins: int, delays: int, panes: int, targets: int, groups: int, sums: int,
    by_class: int,
) -> int:  # fmt: skip
    """Add `n` rows; the number of the first that does not fit in, else -1. See `tally`.

    `rows` has the addresses of the columns, `targets` of each pane those of its delays and of the scores of each group.
    """
    mine, at_label, signs, said, actual = int64(rows, 0), int64(rows, 1), int64(rows, 2), int64(rows, 3), int64(rows, 4)
    scores, waits, width = int64(rows, 5), int64(rows, 6), 6 + classes * classes
    for i in range(n):
        pane, later, sign, score = int64(mine, i), int64(at_label, i), int64(signs, i), int64(scores, i)
        predicted: Any = np.int64(as_double(uint64(said, i)))
        label: Any = np.int64(as_double(uint64(actual, i)))
        if not (0 <= predicted < classes and 0 <= label < classes and pane < panes and later < panes and score < bins):
            return i
        true: Any = int64(came, label) if by_class else np.int64(predicted == label)
        if pane >= 0:
            to, into = targets + 8 * (1 + groups) * pane, sums + 8 * width * pane
            delay = min(63 - leading_zeros(np.uint64(max(int64(waits, i), 0) // 1000 + 1)), delays - 1)
            set_int64(into, 0, int64(into, 0) + sign)
            set_int64(into, 6 + predicted * classes + label, int64(into, 6 + predicted * classes + label) + sign)
            set_int64(int64(to, 0), delay, int64(int64(to, 0), delay) + sign)
            if score >= 0:
                scored = int64(to, 1 + int64(group_of, predicted)) + 8 * (true * bins + score)
                set_int64(scored, 0, int64(scored, 0) + sign)
        if later >= 0:
            into = sums + 8 * width * later
            set_int64(into, 1, int64(into, 1) + sign)
            set_int64(into, 2, int64(into, 2) + sign * np.int64(predicted != label))
            if score >= 0:
                halves = 2 * (bins * true - score) - 1
                set_int64(into, 3, int64(into, 3) + sign)
                set_int64(into, 4, int64(into, 4) + sign * halves)
                set_int64(into, 5, int64(into, 5) + sign * halves * halves)
    return -1


def tally(
    parts: Sequence[tuple[NDArray[Any], ...]],
    group_of: Int64,
    came: Int64 | None,
    shapes: Sequence[tuple[int, ...]],
    into: Sequence[tuple[Int64, ...] | None],
) -> Int64:
    """Add labels to what panes count of them.

    Parameters
    ----------
    parts
        Columns of rows: the pane of the prediction, that of the label's time, -1 for none, and the fields of `answers.LabelRows`.
    group_of
        Of each class that may be predicted, the group of its scores.
    came
        Of each class 1 where it is what a score is the chance of; None where that is the predicted one.
    shapes, into
        Of each pane its delays, and its scores by group, arrays of these shapes; None where no row has it for the pane of its prediction.

    Returns
    -------
    The other sums of each pane, shape (panes, 6 + classes²): labels; the five sums of `answers.Losses`, residuals in half bins; pairs
    of classes.
    """
    classes, (delays,), bins, by_class = len(group_of), shapes[0], shapes[1][-1], group_of if came is None else came
    if any(each and [array.shape for array in each] != shapes for each in into):
        raise IndexError("panes that count labels in arrays of other shapes")
    sums, none = np.zeros((len(into), 6 + classes * classes), np.int64), [0] * len(shapes)
    targets = np.array([[*map(address, each)] if each else none for each in into], np.int64)
    for part in parts:
        columns = [np.ascontiguousarray(column) for column in part]
        rows = np.array([*map(address, columns)], np.int64)
        wrong = tally_rows(
            address(rows), len(columns[0]), address(group_of), address(by_class), classes, bins, delays, len(into), address(targets),
            len(shapes) - 1, address(sums), int(came is not None),
        )  # fmt: skip
        if wrong >= 0:
            raise IndexError(f"row {wrong} of labels has a class, a score or a pane that there is not")
    return sums


@entry(types.int64(*[types.int64] * 10))
def tally_answers(
    rows: int, n: int, group_of: int, classes: int, bins: int, waits: int, panes: int, targets: int, groups: int, sums: int
) -> int:
    """Add `n` predictions; the number of the first that does not fit in, else -1. See `answers_tallied`.

    `rows` has the addresses of the columns, and of latencies and failures 0 where one number stands for all, else 1. `targets` has of each
    pane those of its latencies and of the scores of each group.
    """
    places, said, scores = int64(rows, 0), int64(rows, 1), int64(rows, 2)
    latencies, failures, late, fail, width = int64(rows, 3), int64(rows, 4), int64(rows, 5), int64(rows, 6), 1 + classes
    for i in range(n):
        pane, score, latency, failed = int64(places, i), int64(scores, i), int64(latencies, late * i), int64(failures, fail * i)
        if pane < 0:
            continue
        predicted: Any = np.int64(as_double(uint64(said, i)))
        if not (0 <= predicted < classes and pane < panes and score < bins and latency < waits):
            return i
        to, into = targets + 8 * (1 + groups) * pane, sums + 8 * width * pane
        set_int64(into, 0, int64(into, 0) + failed)
        set_int64(into, 1 + predicted, int64(into, 1 + predicted) + 1)
        if latency >= 0:
            set_int64(int64(to, 0), latency, int64(int64(to, 0), latency) + 1)
        if score >= 0:
            scored = int64(to, 1 + int64(group_of, predicted))
            set_int64(scored, score, int64(scored, score) + 1)
    return -1


def answers_tallied(
    parts: Sequence[tuple[NDArray[Any], ...]], group_of: Int64, shapes: Sequence[tuple[int, ...]], into: Sequence[tuple[Int64, ...]]
) -> Int64:
    """Add predictions to what panes count of them.

    Parameters
    ----------
    parts
        Columns of rows: the pane, -1 for none, and the fields of `answers.AnswerRows`, of which the last two may be constant.
    group_of
        Of each class the group of its scores.
    shapes, into
        Of each pane its latencies, and its scores by group, arrays of these shapes.

    Returns
    -------
    The other sums of each pane, shape (panes, 1 + classes): failures, and predictions of each class.
    """
    classes, ((waits,), *by_score) = len(group_of), shapes
    if any([array.shape for array in each] != shapes for each in into):
        raise IndexError("panes that count predictions in arrays of other shapes")
    sums, targets = np.zeros((len(into), 1 + classes), np.int64), np.array([[*map(address, each)] for each in into], np.int64)
    for part in parts:
        told = [column[:1] if is_constant(column) else column for column in part[3:]]
        columns = [np.ascontiguousarray(column) for column in (*part[:3], *told)]
        rows = np.array([*map(address, columns), *[not is_constant(column) for column in part[3:]]], np.int64)
        wrong = tally_answers(
            address(rows), len(columns[0]), address(group_of), classes, by_score[0][0], waits, len(into), address(targets), len(by_score),
            address(sums),
        )  # fmt: skip
        if wrong >= 0:
            raise IndexError(f"row {wrong} of predictions has a class, a score, a latency or a pane that there is not")
    return sums
