"""What a pane knows of its model's answers: all predictions by class, score and latency, and, as labels come, how right they were. Pure.

    all predictions      predicted · said (by score) · latencies · failures
        └─ labelled      confusion · scored (by score) · sums of errors · delays        the rest have no label yet
    labels of this time  losses

Everything is a count or an exact sum: panes add up in any order, and a label that is corrected goes out as it came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.config import Model
from driftline.streams import chances, exact, kernels, places
from driftline.streams.chances import Chances, ChancesWire, add_counts
from driftline.streams.columns import constant, parts
from driftline.streams.places import Places, PlacesWire
from driftline.streams.sketch import bucket_of
from driftline.streams.stats import Batch, average_precision_at, hit, ndcg, reciprocal_rank

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
K = TypeVar("K", str, int)
Into = TypeVar("Into", "Answers", "Losses")
Rows = TypeVar("Rows", "AnswerRows", "LabelRows", "RivalRows")

SCORE_BINS = 256
DELAY_BINS = 32
LATENCY_BINS = 256
DENSE = 4  # counters a row, at most, that are counted all rather than those that come
GROUPS = 64  # declared classes whose scores are kept apart in a multiclass task
LARGEST_LABEL = 2.0**64  # of a regression, whose labels are told apart: larger ones count as it, those below its inverse as 0
LARGEST_SHARE = 1e150  # of an error in its label; beyond it the label counts as 0, for which there is no share
BETWEEN = "\x1f"  # parts predicted from actual class in a confusion key
OLD = BETWEEN  # the group of scores that were counted before scores were kept by predicted class

#: Sums over the labelled rows of a regression, with e = prediction − label and y = label; a share is |e| / |y|.
RANKS = ("ndcg", "map", "mrr", "hit_rate")  # of each labelled ranking, over the model's `top` first items
SUMS = ("error", "absolute", "squares", "over_squares", "label", "label_squares", "share", "share_squares", "shares")


class AnswerRows(NamedTuple):
    """Predictions in the terms of a pane; arrays of shape (n,)."""

    predicted: Float64  # a class code, or a number
    bin: Int64  # of the score; -1 without one
    latency: Int64  # its histogram's bin; -1 where it was not told
    failed: Int64  # 1 where the service says that it could not answer as it should, else 0

    def take(self, rows: Int64) -> AnswerRows:
        """The rows of these numbers."""
        return AnswerRows(self.predicted[rows], self.bin[rows], self.latency[rows], self.failed[rows])


class RivalRows(NamedTuple):
    """Label effects on ids that an earlier answer of another version has too; arrays of shape (n,)."""

    sign: Int64
    rival: Int64  # the other version's code
    loss: Float64
    rival_loss: Float64

    def take(self, rows: Int64) -> RivalRows:
        """The rows of these numbers."""
        return RivalRows(self.sign[rows], self.rival[rows], self.loss[rows], self.rival_loss[rows])


class LabelRows(NamedTuple):
    """Label effects in the terms of a pane; arrays of shape (n,). `delay_ms` is label time less prediction time."""

    sign: Int64
    predicted: Float64  # a class code, or a number
    label: Float64
    bin: Int64
    delay_ms: Int64

    def take(self, rows: Int64) -> LabelRows:
        """The rows of these numbers."""
        return LabelRows(self.sign[rows], self.predicted[rows], self.label[rows], self.bin[rows], self.delay_ms[rows])


@dataclass(slots=True)
class Losses:
    """Losses by label time, which detectors read: 0/1 of a class, |prediction − label| of a number.

    A residual is what came true, 0 or 1, less the score, for the `scored` rows. Sums are exact, in units of 2^-1152.
    """

    n: int = 0
    total: int = 0
    squares: int = 0
    scored: int = 0
    residual: int = 0
    residual_squares: int = 0

    def add(self, other: Losses) -> None:
        """Merge the losses of another pane."""
        self.n += other.n
        self.total += other.total
        self.squares += other.squares
        self.scored += other.scored
        self.residual += other.residual
        self.residual_squares += other.residual_squares

    def add_labels(self, rows: LabelRows, names: Sequence[str], model: Model) -> None:
        """Fold label effects in. `names` are those of the class codes."""
        fold_losses([self], np.zeros(len(rows.sign), np.int64), rows, names, model)

    def add_figures(self, loss: Float64, sign: Int64) -> None:
        """Fold losses in that may be any numbers; NaN where there is none."""
        known = ~np.isnan(loss)
        loss, sign = loss[known], sign[known]
        self.n += int(sign.sum())
        total, squares = exact.exact_sums([loss, np.square(loss)], sign)
        self.total += total
        self.squares += squares

    def batch(self, residual: bool = False) -> Batch:
        """The losses, or the residuals, as a detector takes them.

        >>> Losses.of([0.0, 1.0, 1.0, 0.0]).batch()
        Batch(n=4, total=2.0, m2=1.0)
        """
        n, total, squares = (self.scored, self.residual, self.residual_squares) if residual else (self.n, self.total, self.squares)
        if n <= 0:
            return Batch(0, 0.0)
        mean = exact.to_float(total) / n
        # n Σx² − (Σx)² without cancellation: both are whole numbers.
        m2 = exact.to_float(((n * squares << exact.UNIT_BITS) - total * total) // n >> exact.UNIT_BITS)
        return Batch(n, mean * n, max(m2, 0.0))

    @classmethod
    def of(cls, values: Sequence[float]) -> Losses:
        """The losses of some rows, which have no score."""
        total, squares = exact.exact_sums([[*values], [value * value for value in values]])
        return cls(len(values), total, squares)


def losses_of(answer: Float64, label: Float64, names: Sequence[str], model: Model) -> Float64:
    """0 or 1 of a class, the distance of a number, one less the NDCG of a ranking (NaN where nothing is relevant); shape (n,).

    >>> losses_of(np.array([1.0, 0.0]), np.array([1.0, 1.0]), ["a", "b"], Model("m")).tolist()
    [0.0, 1.0]
    """
    if model.task == "ranking":
        loss: Float64 = 1 - _ranked(answer, label, names, model.top)[0]
        return loss
    if chances.kept(model):
        (answer, label), _, _ = chances.apart(names, answer, label)
    loss = np.abs(answer - label) if model.task == "regression" else (answer != label).astype(np.float64)
    return loss


def _ranked(answer: Float64, label: Float64, names: Sequence[str], top: int) -> Float64:
    """`RANKS` of rankings and what was relevant, given as codes of their JSON; shape (4, n), NaN where nothing is relevant."""
    figures = np.empty((len(RANKS), len(answer)))
    for i, (said, told) in enumerate(zip(answer.astype(np.int64).tolist(), label.astype(np.int64).tolist(), strict=True)):
        items, relevance = _items(names[said]), _relevance(names[told])
        figures[:, i] = (
            ndcg(items, relevance, top), average_precision_at(items, relevance, top), reciprocal_rank(items, relevance, top),
            hit(items, relevance, top),
        )  # fmt: skip
    return figures


def _items(text: str) -> list[str]:
    return msgspec.json.decode(text, type=list[str]) if text.startswith("[") else [text]


def _relevance(text: str) -> dict[str, float]:
    """Of a list its items are relevant, of a text it is the one that is."""
    return msgspec.json.decode(text, type=dict[str, float]) if text.startswith("{") else dict.fromkeys(_items(text), 1.0)


def _came_true(rows: LabelRows, names: Sequence[str], model: Model) -> Int64:
    """What the score was the chance of: the positive class, or, of several classes, the predicted one."""
    if model.task == "multiclass":
        return np.asarray(rows.predicted == rows.label, np.int64)
    return _positives(names, model).take(rows.label.astype(np.int64))


def _positives(names: Sequence[str], model: Model) -> Int64:
    """1 of the positive class, 0 of the others."""
    return np.array([name == model.positive for name in names], np.int64)


def group_of(name: str, model: Model) -> str:
    """Under which name the scores of a predicted class are kept: "" for those that are not kept apart.

    >>> group_of("1", Model("m")), group_of("0", Model("m")), group_of("a", Model("m", task="multiclass", classes=("a", "b")))
    ('1', '', 'a')
    """
    apart = (model.positive,) if model.task == "binary" else model.classes[:GROUPS]
    return name if name in apart else ""


def latency_bins(latency_ms: Float64) -> Int64:
    """The histogram's bins of latencies, eight to each doubling from 2^-7 ms up; -1 for what is negative or NaN, not told.

    >>> latency_bins(np.array([np.nan, 0.0, 1.0, 2.0, 1e300])).tolist()
    [-1, 0, 57, 65, 255]
    """
    if np.isnan(latency_ms).all():
        return constant(-1, len(latency_ms))
    with np.errstate(invalid="ignore", divide="ignore"):
        bins = np.floor(8 * (np.log2(np.maximum(latency_ms, 2**-8)) + 7)) + 1
    return np.where(latency_ms >= 0, np.clip(np.nan_to_num(bins), 0, LATENCY_BINS - 1), -1).astype(np.int64)


def latency_at(bin: int) -> float:
    """The lower end of a latency bin, in milliseconds.

    >>> latency_at(57), latency_at(65)
    (1.0, 2.0)
    """
    return 0.0 if bin == 0 else float(2 ** ((bin - 1) / 8 - 7))


def _zeros(*shape: int) -> Int64:
    return np.zeros(shape, np.int64)


@dataclass(slots=True)
class Answers:
    """See the module.

    `said[group]` has shape (256,): all predictions by score. `scored[group]` has shape (2, 256): labelled ones, of what did not come
    true (row 0) and of what did (row 1). `sums` are those that `SUMS` names, exact, in units of 2^-1152; the last is a count.
    `ranks` are the sums of `RANKS`, those of their squares, and how many rankings have anything relevant.
    `rivals[version]`: of labels of this time whose id that version had answered before, how many; and on how many of them this answer
    alone was right, and that one alone (of numbers: nearer).
    """

    n_labelled: int = 0
    predicted: dict[str, int] = field(default_factory=dict)
    said: dict[str, Int64] = field(default_factory=dict)
    latencies: Int64 = field(default_factory=lambda: _zeros(LATENCY_BINS))
    failures: int = 0
    confusion: dict[str, int] = field(default_factory=dict)
    scored: dict[str, Int64] = field(default_factory=dict)
    sums: list[int] = field(default_factory=lambda: [0] * len(SUMS))
    delays: Int64 = field(default_factory=lambda: _zeros(DELAY_BINS))
    losses: Losses = field(default_factory=Losses)
    rivals: dict[str, list[int]] = field(default_factory=dict)
    ranks: list[int] = field(default_factory=lambda: [0] * (2 * len(RANKS) + 1))
    chances: Chances = field(default_factory=Chances)
    labels: dict[int, int] = field(default_factory=dict)  # of a regression: labelled rows by the bucket of the label (`sketch.bucket_of`)
    places: Places = field(default_factory=Places)  # of a regression

    def add_predictions(self, rows: AnswerRows, names: Sequence[str], model: Model) -> None:
        """Fold predictions in. `names` are those of the class codes."""
        fold_predictions([self], [(np.zeros(len(rows.bin), np.int64), rows)], names, model)

    def add_labels(self, rows: LabelRows, names: Sequence[str], model: Model) -> None:
        """Fold label effects in. `names` are those of the class codes."""
        fold_labels([self], np.zeros(len(rows.sign), np.int64), rows, names, model)

    def add_rivals(self, rows: RivalRows, versions: Sequence[str]) -> None:
        """Fold label effects on ids in that another version has answered too. `versions` are the names of the codes."""
        for code in np.unique(rows.rival).tolist():
            of = rows.take(np.flatnonzero(rows.rival == code))
            better, worse = int(of.sign[of.loss < of.rival_loss].sum()), int(of.sign[of.loss > of.rival_loss].sum())
            _add_tally(self.rivals, versions[code], [int(of.sign.sum()), better, worse])

    def add_errors(self, rows: LabelRows) -> None:
        """Fold label effects of a regression in, but for what all models have."""
        error, label = rows.predicted - rows.label, rows.label
        squares = np.square(error)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.abs(error) / np.abs(label)
        known = share < LARGEST_SHARE
        share = np.where(known, share, 0.0)
        parts = [error, np.abs(error), squares, np.where(error > 0, squares, 0.0), label, np.square(label), share, np.square(share)]
        told = exact.exact_sums(parts, rows.sign)
        self.sums = [a + b for a, b in zip(self.sums, [*told, int(rows.sign[known].sum())], strict=True)]
        buckets, place = np.unique(label_buckets(label), return_inverse=True)
        net = np.bincount(place, rows.sign, len(buckets)).astype(np.int64)
        for bucket, count in zip(buckets[net != 0].tolist(), net[net != 0].tolist(), strict=True):
            _add_count(self.labels, bucket, count)
        self.places.add_errors(rows.predicted, error, rows.sign)

    def add_ranks(self, rows: LabelRows, names: Sequence[str], model: Model) -> None:
        """Fold label effects of a ranking in, but for what all models have."""
        figures = _ranked(rows.predicted, rows.label, names, model.top)
        known = ~np.isnan(figures[0])
        figures, sign = figures[:, known], rows.sign[known]
        told = exact.exact_sums([*figures, *np.square(figures)], sign)
        self.ranks = [a + b for a, b in zip(self.ranks, [*told, int(sign.sum())], strict=True)]

    def add(self, other: Answers) -> None:
        """Merge another pane's answers into these."""
        self.n_labelled += other.n_labelled
        self.add_by_name(other)
        for name, counts in other.said.items():
            add_counts(self.said, name, counts)
        for name, counts in other.scored.items():
            add_counts(self.scored, name, counts)
        self.latencies += other.latencies
        self.failures += other.failures
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        self.ranks = [a + b for a, b in zip(self.ranks, other.ranks, strict=True)]
        self.delays += other.delays
        self.losses.add(other.losses)
        self.chances.add(other.chances)
        self.places.add(other.places)

    def add_by_name(self, other: Answers | AnswersWire) -> None:
        """Merge the counts by name, which a snapshot holds as they are."""
        _add_each(self.predicted, other.predicted)
        _add_each(self.confusion, other.confusion)
        _add_each(self.labels, other.labels)
        for name, tally in other.rivals.items():
            _add_tally(self.rivals, name, tally)

    def sum_of(self, name: str) -> float:
        """One of `SUMS` as a float."""
        return exact.to_float(self.sums[SUMS.index(name)])

    def labels_batch(self) -> Batch:
        """The labels of a regression: how many, their sum, and their squared deviations from their mean."""
        return Losses(self.n_labelled, self.sums[SUMS.index("label")], self.sums[SUMS.index("label_squares")]).batch()

    def ranked(self, name: str) -> tuple[int, float, float]:
        """Of one of `RANKS`: rankings with anything relevant, the sum, and the sum of squares."""
        i = RANKS.index(name)
        return self.ranks[-1], exact.to_float(self.ranks[i]), exact.to_float(self.ranks[len(RANKS) + i])

    @property
    def scores(self) -> Int64:
        """Labelled rows by score, shape (2, 256): of what did not come true and of what did."""
        return sum(self.scored.values(), _zeros(2, SCORE_BINS))


def label_buckets(labels: Float64) -> Int64:
    """The buckets that labels of a regression are counted in, 1 % wide.

    >>> label_buckets(np.array([0.0, 1e-300, 2.0, 1e300])).tolist() == label_buckets(np.array([-1e-200, 0.0, 2.0, 1e20])).tolist()
    True
    """
    within = np.clip(labels, -LARGEST_LABEL, LARGEST_LABEL)
    return bucket_of(np.where(np.abs(within) < 1 / LARGEST_LABEL, 0.0, within))


def copy_of(answers: Answers) -> Answers:
    """Answers that may be changed without changing the others."""
    out = Answers()
    out.add(answers)
    return out


def _add_count(into: dict[K, int], name: K, count: int) -> None:
    _add_each(into, {name: count})


def _add_each(into: dict[K, int], counts: Mapping[K, int]) -> None:
    for name, count in counts.items():
        total = into.get(name, 0) + count
        if total:
            into[name] = total
        else:
            into.pop(name, None)


def _add_tally(into: dict[str, list[int]], name: str, tally: Sequence[int]) -> None:
    """A tally of zeros stays: of a pair that was taken back a row was told, and whoever evaluates after a crash must correct it."""
    into[name] = [a + b for a, b in zip(into.get(name, [0, 0, 0]), tally, strict=True)]


def fold_predictions(into: Sequence[Answers], parts: Sequence[tuple[Int64, AnswerRows]], names: Sequence[str], model: Model) -> None:
    """Fold predictions into the answers of several panes, each with the place of its own, -1 for none. `names` are those of the codes."""
    reader, groups = kernels.current(), _Groups(names, model)
    dense = _is_dense(into, len(names) + SCORE_BINS * groups.width, sum(len(place) for place, _ in parts))
    if reader is None or not dense or model.task not in ("binary", "multiclass") or chances.kept(model):
        _fold_answers(into, *in_places(parts), names, model)
        return
    targets = [(each.latencies, *[_array(each.said, name, (SCORE_BINS,)) for name in groups.names]) for each in into]
    shapes = [(LATENCY_BINS,), *[(SCORE_BINS,)] * groups.width]
    sums = reader.answers_tallied([(place, *rows) for place, rows in parts], groups.of_each, shapes, targets)
    for answers, (_, *said), (failures, *counts) in zip(into, targets, sums.tolist(), strict=True):
        answers.failures += failures
        _add_each(answers.predicted, {name: count for name, count in zip(names, counts, strict=True) if count})
        for name, counted in zip(groups.names, said, strict=True):
            if not np.count_nonzero(counted):
                del answers.said[name]


def _is_dense(into: Sequence[Answers], counters: int, rows: int) -> bool:
    """Whether so many rows are worth so many counters in each pane."""
    return len(into) * counters <= DENSE * rows + 65_536


def _fold_answers(into: Sequence[Answers], place: Int64, rows: AnswerRows, names: Sequence[str], model: Model) -> None:
    """Fold predictions into the answers of several panes: row i into those at `place[i]`."""
    told = rows.latency >= 0
    for at, bins, counts in _histograms(place[told], rows.latency[told], LATENCY_BINS):
        into[at].latencies[bins] += counts
    if rows.failed.any():
        for at, _, count in _entries(place, np.zeros_like(place), 1, rows.failed):
            into[at].failures += count
    if model.task == "regression":
        for answers, own in _each(into, place):
            answers.places.add_predictions(rows.predicted[own])
    if model.task in ("regression", "ranking"):
        return
    if chances.kept(model):
        (predicted,), names, said = chances.apart(names, rows.predicted)
        rows = rows._replace(predicted=predicted)
        for answers, own in _each(into, place):
            codes = predicted[own].astype(np.int64).tolist()
            answers.chances.add_predictions([said[i] for i in own.tolist()], [names[code] for code in codes], model)
    codes, width = rows.predicted.astype(np.int64), len(names)
    for at, code, count in _entries(place, codes, width):
        _add_count(into[at].predicted, names[code], count)
    scored, groups = rows.bin >= 0, _Groups(names, model)
    for at, bins, counts in _histograms(place[scored] * groups.width + groups.of(codes[scored]), rows.bin[scored], SCORE_BINS):
        _add_at(into[at // groups.width].said, groups.names[at % groups.width], bins, counts, (SCORE_BINS,))


def fold_told(into: Sequence[Answers], parts: Sequence[tuple[Int64, Int64, LabelRows]], names: Sequence[str], model: Model) -> None:
    """Fold label effects into the answers of several panes: each with the place of the pane of its prediction, and of that of its label's
    time, which gets the loss; -1 for none.
    """
    reader, groups = kernels.current(), _Groups(names, model)
    dense = _is_dense(into, len(names) ** 2 + 2 * SCORE_BINS * groups.width, sum(len(mine) for mine, _, _ in parts))
    if reader is None or not dense or model.task not in ("binary", "multiclass") or chances.kept(model):
        fold_labels(into, *in_places([(mine, rows) for mine, _, rows in parts]), names, model)
        fold_losses([each.losses for each in into], *in_places([(at, rows) for _, at, rows in parts]), names, model)
        return
    there = np.zeros(len(into) + 1, bool)
    for mine, _, _ in parts:
        there[mine] = True
    targets = [_targets(answers, groups) if told else None for answers, told in zip(into, there.tolist()[:-1], strict=True)]
    came = None if model.task == "multiclass" else _positives(names, model)
    shapes = [(DELAY_BINS,), *[(2, SCORE_BINS)] * groups.width]
    sums = reader.tally([(mine, at, *rows) for mine, at, rows in parts], groups.of_each, came, shapes, targets)
    pairs = [a + BETWEEN + b for a in names for b in names]
    for answers, told, (n, _, _, _, _, _, *counts) in zip(into, targets, sums.tolist(), strict=True):
        if told:
            answers.n_labelled += n
            _add_each(answers.confusion, {pair: count for pair, count in zip(pairs, counts, strict=True) if count})
            for name, scored in zip(groups.names, told[1:], strict=True):
                if not np.count_nonzero(scored):
                    del answers.scored[name]
    _add_losses([each.losses for each in into], sums[:, 1:6].T.tolist())


def _targets(answers: Answers, groups: _Groups) -> tuple[Int64, ...]:
    """The delays of answers, and their scores by group, of those too that have none yet; for compiled code to add to."""
    return (answers.delays, *[_array(answers.scored, name, (2, SCORE_BINS)) for name in groups.names])


def _array(of: dict[str, Int64], name: str, shape: tuple[int, ...]) -> Int64:
    """The array of a name, one of zeros where there is none yet."""
    found = of.get(name)
    if found is None:
        found = of[name] = _zeros(*shape)
    return found


def in_places(told: Sequence[tuple[Int64, Rows]]) -> tuple[Int64, Rows]:
    """The places of rows, and the rows, but for those that are in none; `told` are parts of both, end to end."""
    at = np.concatenate([places for places, _ in told])
    rows = type(told[0][1])(*map(np.concatenate, zip(*(part for _, part in told), strict=True)))
    there = at >= 0
    return (at, rows) if there.all() else (at[there], rows.take(np.flatnonzero(there)))


def fold_labels(into: Sequence[Answers], place: Int64, rows: LabelRows, names: Sequence[str], model: Model) -> None:
    """Fold label effects into the answers of several panes, as `_fold_answers` does."""
    for at, _, count in _entries(place, np.zeros_like(place), 1, rows.sign):
        into[at].n_labelled += count
    seconds = np.maximum(rows.delay_ms, 0) // 1000 + 1
    for at, bins, net in _histograms(place, np.minimum(np.frexp(seconds)[1] - 1, DELAY_BINS - 1), DELAY_BINS, rows.sign):
        into[at].delays[bins] += net
    if model.task in ("regression", "ranking"):
        for answers, own in _each(into, place):
            if model.task == "regression":
                answers.add_errors(rows.take(own))
            else:
                answers.add_ranks(rows.take(own), names, model)
        return
    if chances.kept(model):
        (predicted, label), names, said = chances.apart(names, rows.predicted, rows.label)
        rows = rows._replace(predicted=predicted, label=label)
        for answers, own in _each(into, place):
            codes = label[own].astype(np.int64).tolist()
            answers.chances.add_labels([said[i] for i in own.tolist()], [names[code] for code in codes], rows.sign[own], model)
    codes, actual, width = rows.predicted.astype(np.int64), rows.label.astype(np.int64), len(names)
    for at, pair, count in _entries(place, codes * width + actual, width * width, rows.sign):
        _add_count(into[at].confusion, names[pair // width] + BETWEEN + names[pair % width], count)
    scored, groups = rows.bin >= 0, _Groups(names, model)
    group, told = groups.of(codes[scored]), _came_true(rows, names, model)[scored] * SCORE_BINS + rows.bin[scored]
    for at, bins, net in _histograms(place[scored] * groups.width + group, told, 2 * SCORE_BINS, rows.sign[scored]):
        _add_at(into[at // groups.width].scored, groups.names[at % groups.width], bins, net, (2, SCORE_BINS))


def fold_losses(into: Sequence[Losses], place: Int64, rows: LabelRows, names: Sequence[str], model: Model) -> None:
    """Fold label effects into the losses of several panes, as `_fold_answers` does."""
    if chances.kept(model):
        (predicted, label), names, _ = chances.apart(names, rows.predicted, rows.label)
        rows = rows._replace(predicted=predicted, label=label)
    if model.task in ("regression", "ranking"):
        loss = losses_of(rows.predicted, rows.label, names, model)
        for losses, own in _each(into, place):
            losses.add_figures(loss[own], rows.sign[own])
        return
    # Losses are whole numbers, residuals whole numbers of half bins: their sums are exact in int64, and shifted into place.
    scored = np.where(rows.bin < 0, 0, rows.sign)
    halves = 2 * (SCORE_BINS * _came_true(rows, names, model) - rows.bin) - 1
    wrong = np.where(rows.predicted != rows.label, rows.sign, 0)
    _add_losses(into, [_sums_at(place, each, len(into)) for each in (rows.sign, wrong, scored, scored * halves, scored * halves * halves)])


def _add_losses(into: Sequence[Losses], sums: Sequence[Sequence[int]]) -> None:
    """Add to the losses of panes: rows, wrong ones, scored ones, and their residuals and squared residuals in half bins."""
    unit, half_bin = exact.UNIT_BITS, SCORE_BINS.bit_length()
    for losses, (n, total, told, residual, squares) in zip(into, zip(*sums, strict=True), strict=True):
        losses.n += n
        losses.total += total << unit
        losses.squares += total << unit
        losses.scored += told
        losses.residual += residual << (unit - half_bin)
        losses.residual_squares += squares << (unit - 2 * half_bin)


class _Groups:
    """The groups of scores (`group_of`) of the classes of these names, numbered."""

    def __init__(self, names: Sequence[str], model: Model) -> None:
        each = [group_of(name, model) for name in names]
        self.names = [*dict.fromkeys(each)]
        self.width = len(self.names)
        number = {name: i for i, name in enumerate(self.names)}
        self.of_each = np.array([number[name] for name in each], np.int64)

    def of(self, codes: Int64) -> Int64:
        return self.of_each[codes]


def _counted(key: Int64, sign: Int64 | None) -> tuple[Int64, Int64]:
    """Keys, ascending, and how often each comes, or the sum of its signs, where that is not 0."""
    if int(key.max(initial=0)) < DENSE * len(key) + 65_536:
        net = np.bincount(key, sign)  # floats hold counts of less than 2^53
        keys = np.flatnonzero(net)
        return keys, net[keys].astype(np.int64)
    keys, at = np.unique(key, return_inverse=True)
    net = np.bincount(at, sign).astype(np.int64)
    return keys[net != 0], net[net != 0]


def _entries(place: Int64, inner: Int64, width: int, sign: Int64 | None = None) -> Iterator[tuple[int, int, int]]:
    """By place each of the values of `inner`, ascending, below `width`, and how often it comes, or the sum of its signs, where not 0."""
    keys, net = _counted(place * width + inner, sign)
    at = keys // width
    return zip(at.tolist(), (keys - at * width).tolist(), net.tolist(), strict=True)


def _histograms(place: Int64, inner: Int64, width: int, sign: Int64 | None = None) -> Iterator[tuple[int, Int64 | slice, Int64]]:
    """The same by place: which values, and what to add to their counts. Of places with many rows all values: to add is cheaper than to say
    which.
    """
    if not len(place):
        return
    key, size = place * width + inner, (int(place.max()) + 1) * width
    if size <= DENSE * len(key) + 65_536:
        whole = np.bincount(key, sign, size).astype(np.int64).reshape(-1, width)
        for at in np.flatnonzero(whole.any(1)).tolist():
            yield at, slice(None), whole[at]
        return
    keys, net = _counted(key, sign)
    there = keys // width
    cuts = (np.flatnonzero(there[1:] != there[:-1]) + 1).tolist()
    inner = keys - there * width
    for begin, end in zip([0, *cuts] if len(keys) else (), [*cuts, len(keys)], strict=False):
        yield int(there[begin]), inner[begin:end], net[begin:end]


def _each(into: Sequence[Into], place: Int64) -> Iterator[tuple[Into, Int64]]:
    """Each that rows go into, with their numbers."""
    return ((each, rows) for each, rows in zip(into, parts(place, len(into)), strict=True) if len(rows))


def _sums_at(place: Int64, values: Int64, n: int) -> list[int]:
    """The sum of the whole numbers at each of so many places; none reaches 2^53."""
    return np.bincount(place, values, n).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _add_at(into: dict[str, Int64], name: str, bins: Int64 | slice, counts: Int64, shape: tuple[int, ...]) -> None:
    """Add to some elements of an array, numbered through. Arrays of zeros are left out."""
    total = _array(into, name, shape)
    total.reshape(-1)[bins] += counts
    if not np.count_nonzero(total):
        del into[name]


class AnswersWire(msgspec.Struct, array_like=True):
    """Answers as a snapshot holds them; sums as bytes, none where all are 0. Up to codec 7 of panes arrays are bytes of int64; since then
    they stand with the pane's own (`arrays_of`), and only of whom there are is told here.
    """

    n_labelled: int
    predicted: dict[str, int]
    said: dict[str, bytes]
    latencies: bytes
    failures: int
    confusion: dict[str, int]
    scored: dict[str, bytes]
    sums: list[bytes]
    delays: bytes
    losses: tuple[int, bytes, bytes, int, bytes, bytes]
    rivals: dict[str, list[int]] = {}  # from codec 3 of panes on, like the next
    ranks: list[bytes] = []
    chances: ChancesWire = chances.NOTHING  # from codec 4 on
    labels: dict[int, int] = {}  # from codec 5 on
    places: PlacesWire = places.NOTHING  # from codec 6 on


def to_wire(answers: Answers) -> AnswersWire:
    """For the codec of panes; all but the arrays."""
    loss = answers.losses
    sums = [exact.to_bytes(each) for each in (loss.total, loss.squares, loss.residual, loss.residual_squares)]
    return AnswersWire(
        answers.n_labelled, answers.predicted, dict.fromkeys(sorted(answers.said), b""), b"", answers.failures, answers.confusion,
        dict.fromkeys(sorted(answers.scored), b""), _sums(answers.sums), b"",
        (loss.n, sums[0], sums[1], loss.scored, sums[2], sums[3]), answers.rivals, _sums(answers.ranks), chances.to_wire(answers.chances),
        answers.labels, places.to_wire(answers.places),
    )  # fmt: skip


def arrays_of(answers: Answers) -> list[Int64]:
    """The arrays of answers in the order in which a snapshot has them, end to end."""
    said, scored = ([arrays[name].reshape(-1) for name in sorted(arrays)] for arrays in (answers.said, answers.scored))
    return [answers.latencies, answers.delays, *said, *scored]


def arrays_length(wire: AnswersWire) -> int:
    """How many numbers `arrays_of` the same answers has."""
    return LATENCY_BINS + DELAY_BINS + SCORE_BINS * (len(wire.said) + 2 * len(wire.scored))


def add_arrays(answers: Answers, wire: AnswersWire, told: Int64) -> None:
    """Add `arrays_of` answers whose wire names the same groups."""
    answers.latencies += told[:LATENCY_BINS]
    answers.delays += told[LATENCY_BINS : LATENCY_BINS + DELAY_BINS]
    by_score = told[LATENCY_BINS + DELAY_BINS :].reshape(-1, SCORE_BINS)
    for at, name in enumerate(wire.said):
        add_counts(answers.said, name, by_score[at])
    for at, name in zip(range(len(wire.said), len(by_score), 2), wire.scored, strict=True):
        add_counts(answers.scored, name, by_score[at : at + 2])


def from_wire(wire: AnswersWire) -> Answers:
    """Of a snapshot of codec 2 to 7, which has the arrays of answers among them."""
    out = merged([wire])
    out.latencies, out.delays = _unpacked(wire.latencies), _unpacked(wire.delays)
    out.said = {name: _unpacked(data) for name, data in wire.said.items()}
    out.scored = {name: _unpacked(data).reshape(2, -1) for name, data in wire.scored.items()}
    return out


def merged(wires: Sequence[AnswersWire]) -> Answers:
    """The sum of the answers, but for their arrays."""
    out = Answers(
        sum(wire.n_labelled for wire in wires), failures=sum(wire.failures for wire in wires),
        sums=exact.sums_of([wire.sums for wire in wires], len(SUMS)), losses=_losses([wire.losses for wire in wires]),
        ranks=exact.sums_of([wire.ranks for wire in wires], 2 * len(RANKS) + 1),
    )  # fmt: skip
    for wire in wires:
        out.add_by_name(wire)
        if wire.chances != chances.NOTHING:
            out.chances.add(chances.from_wire(wire.chances))
        if wire.places != places.NOTHING:
            out.places.add(places.from_wire(wire.places))
    return out


def _sums(sums: Sequence[int]) -> list[bytes]:
    return [exact.to_bytes(each) for each in sums] if any(sums) else []


def _losses(wires: Sequence[tuple[int, bytes, bytes, int, bytes, bytes]]) -> Losses:
    """Of several panes, in the order of the fields."""
    n, total, squares, scored, residual, residual_squares = zip(*wires, strict=True)
    sums = exact.sums_of(list(zip(total, squares, residual, residual_squares, strict=True)), 4)
    return Losses(sum(n), sums[0], sums[1], sum(scored), sums[2], sums[3])


def _unpacked(data: bytes) -> Int64:
    return np.frombuffer(data, np.int64).copy()


def from_old(n_labelled: int, confusion: dict[str, int], scores: bytes, errors: bytes, delays: bytes, losses: Sequence[float]) -> Answers:
    """From the parts of a snapshot of codec 1, which knew the labelled rows only, and their scores by the actual class alone."""
    counts = _unpacked(scores).reshape(2, -1)
    total = exact.exact_sums([[each] for each in (*np.frombuffer(errors).tolist(), *losses[1:])])
    sums = [*total[:3], *[0] * (len(SUMS) - 3)]
    scored = {OLD: counts} if counts.any() else {}
    told = Losses(int(losses[0]), total[3], total[4])
    return Answers(n_labelled, confusion=confusion, scored=scored, sums=sums, delays=_unpacked(delays), losses=told)


def negative_of(model: Model) -> str:
    """The class of a binary model that is not the positive one.

    >>> negative_of(Model("m")), negative_of(Model("m", positive="no", classes=("no", "yes")))
    ('0', 'yes')
    """
    others = [name for name in model.classes if name != model.positive]
    return others[0] if others else "1" if model.positive == "0" else "0"


def timed_out(answers: Answers, model: Model) -> tuple[Answers, int]:
    """The answers with every prediction that has no label counted as the model's `missing_label` says; and how many those are."""
    if model.missing_label == "unknown" or model.task != "binary":
        return answers, 0
    out = copy_of(answers)
    label = model.positive if model.missing_label == "positive" else negative_of(model)
    labelled: dict[str, int] = {}
    for key, count in answers.confusion.items():
        _add_count(labelled, key.split(BETWEEN)[0], count)
    assumed = 0
    for name, count in answers.predicted.items():
        missing = max(count - labelled.get(name, 0), 0)
        _add_count(out.confusion, name + BETWEEN + label, missing)
        assumed += missing
    for group, said in answers.said.items():
        waiting = said - answers.scored[group].sum(0) if group in answers.scored else said
        counts = _zeros(2, SCORE_BINS)
        counts[int(label == model.positive)] = np.maximum(waiting, 0)
        add_counts(out.scored, group, counts)
    out.n_labelled += assumed
    return out, assumed
