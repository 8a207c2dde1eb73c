"""Performance without labels, and with few: what the reference's calibration and losses say of a window's answers. Pure.

    reference, labelled ──► chance of being right by score ─┐
                       └──► loss by place ──────────────────┼──► estimated, weighted: of all predictions, labels or none
    window, all predictions ────────────────────────────────┤
    window, labelled ───────────────────────────────────────┴──► combined (prediction-powered), and the gap to what was expected

All of it holds as long as an answer is worth what it was worth on the reference: under covariate shift, not under concept drift. So the
gap, realised loss less expected loss of the same rows, is itself a finding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.config import Model
from driftline.schemas.reference import LossProfile, PerformanceProfile
from driftline.streams import exact
from driftline.streams.answers import BETWEEN, OLD, SCORE_BINS, Answers, Float64, Int64, group_of, negative_of
from driftline.streams.causes import score_groups
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane
from driftline.streams.performance import PRICES, areas, mean_of_classes, metrics
from driftline.streams.places import expected as expected_errors
from driftline.streams.powered import Cells, Group, Windows
from driftline.streams.stats import (
    UNKNOWN,
    Estimate,
    LossModel,
    ScoreCalibration,
    Sums,
    accuracy_of,
    averaged,
    combined,
    estimated,
    estimated_accuracy,
    expected_classes,
    expected_confusion,
    f1_of,
    mean_cost,
    precision_of,
    recall_of,
    score_positions,
    specificity_of,
)
from driftline.streams.stats.calibration import brier_scores, log_losses
from driftline.streams.stats.cbpe import ratios_estimated

LEAST_ROWS = 100  # labelled rows of the reference that a calibration is learned from
LATELY = 2_000  # windows whose estimates are remembered
ALIKE = 1.01  # weights that vary by less are taken as one
BIN_ROWS = 25  # of the reference that neighbouring bins of the score are put together for, in the weighted form
OF_CELLS = {"accuracy": accuracy_of, "precision": precision_of, "recall": recall_of, "f1": f1_of, "specificity": specificity_of}
#: Numerator and denominator of a figure, by (true positive, false positive, false negative, true negative).
RATIOS: dict[str, tuple[Cells, Cells]] = {
    "accuracy": ((1, 0, 0, 1), (1, 1, 1, 1)), "precision": ((1, 0, 0, 0), (1, 1, 0, 0)), "recall": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "f1": ((2, 0, 0, 0), (2, 1, 1, 0)), "specificity": ((0, 0, 0, 1), (0, 1, 0, 1)),
}  # fmt: skip
_AT = score_positions(SCORE_BINS)
_SCORE_LOSSES = {"brier": np.stack([_AT**2, (1 - _AT) ** 2]), "log_loss": np.stack([-np.log1p(-_AT), -np.log(_AT)])}
_NEVER = Estimate(0.0, 0.0, 0.0)
_NONE = np.zeros((2, SCORE_BINS), np.int64)


def performance_profile(model: Model, answers: Answers, losses: Mapping[str, LossProfile] = MappingProxyType({})) -> PerformanceProfile:
    """What a reference keeps of its labelled rows."""
    known = {name: each.value for name, each in metrics(model, answers).items() if math.isfinite(each.value)}
    scored = {group: (counts[0].tolist(), counts[1].tolist()) for group, counts in answers.scored.items()}
    label = answers.labels_batch() if model.task == "regression" and answers.n_labelled else None
    mean, variance = (label.total / label.n, label.m2 / label.n) if label else (None, None)
    places = {str(place): (int(n), absolute / n, square / n) for place, (_, n, absolute, square) in _labelled_places(answers)}
    chances = {name: (counts[0].tolist(), counts[1].tolist()) for name, counts in answers.chances.actual.items()}
    return PerformanceProfile(answers.n_labelled, known, dict(answers.confusion), scored, dict(losses), mean, variance, places, chances)


def _labelled_places(answers: Answers) -> list[tuple[int, tuple[float, ...]]]:
    places, table = answers.places.table()
    return [(place, tuple(row)) for place, row in zip(places, table.tolist(), strict=True) if row[1]]


@dataclass(frozen=True, eq=False)
class Expectation:
    """What a version's reference lets one expect of its answers."""

    model: Model
    profile: PerformanceProfile

    @cached_property
    def scored(self) -> dict[str, Int64]:
        """The reference's labelled rows by predicted group, outcome and score."""
        return {group: np.array(counts, np.int64) for group, counts in self.profile.scored.items()}

    @cached_property
    def calibration(self) -> ScoreCalibration | None:
        """The chance by score of coming true; None without enough labelled rows of both outcomes."""
        return _calibration(self.every_score)

    @cached_property
    def every_score(self) -> Int64:
        """`scored` of all groups together."""
        return sum(self.scored.values(), _NONE)

    @cached_property
    def groups(self) -> tuple[Float64, Float64]:
        """Which bins of the score go together where the kind of a change is asked for, and `every_score` by these (`causes`)."""
        groups = score_groups(self.every_score.astype(np.float64))
        return groups, self.every_score @ groups

    @cached_property
    def chance(self) -> Float64:
        """The chances of the calibration, which there is, by score; shape (256,)."""
        assert self.calibration is not None
        return self.calibration.chances()

    @cached_property
    def losses_by_score(self) -> tuple[tuple[Float64, Float64], tuple[Float64, Float64]]:
        """The chance of a wrong answer, and its square: of groups for which what comes true is wrong, and of the others."""
        return (self.chance, self.chance**2), (1 - self.chance, (1 - self.chance) ** 2)

    def pooled(self, group: str) -> _Pooled:
        """The share of the reference's rows of a group that came true, by score."""
        if group not in self._pooled:
            self._pooled[group] = _pooled(self.scored.get(group, _NONE))
        return self._pooled[group]

    @cached_property
    def _pooled(self) -> dict[str, _Pooled]:
        return {}

    @cached_property
    def by_class(self) -> dict[str, ScoreCalibration]:
        """Of several classes: the chance of being of each, by its probability; empty without enough labelled rows of any."""
        found = {name: _calibration(np.array(counts, np.int64)) for name, counts in self.profile.chances.items()}
        known = {name: each for name, each in found.items() if each is not None}
        return known if len(known) == len(found) else {}

    @cached_property
    def losses(self) -> dict[str, LossModel]:
        """Of a regression: "absolute" and "squares"."""
        return {
            name: LossModel(loss.base, {feature: np.array(effect) for feature, effect in loss.effects.items()}, loss.residual_variance)
            for name, loss in self.profile.losses.items()
        }

    def told(self, basis: str) -> list[str]:
        """The metrics that are told of every window, by basis: "estimated", "weighted", "combined", or "gap", which is one itself.

        What is in the window does not matter: a row that was told once must be told with every revision, or it stays when the labels or
        predictions it rested on are taken away.
        """
        return self._told.get(basis, [])

    @cached_property
    def _told(self) -> dict[str, list[str]]:
        model, rows = self.model, int(sum(n for n, *_ in self.profile.places.values()))
        if model.task == "regression":
            errors = ["mae", "rmse"]
            found = {"estimated": errors, "gap": ["gap"]} if self.losses else {}
            return found | ({"combined": errors} if rows >= LEAST_ROWS else {})
        prices = [name for name, key in PRICES.items() if getattr(model, key)]
        cells = [*OF_CELLS, *prices]
        weighed = model.task == "binary" and self.every_score.sum() >= LEAST_ROWS
        found = {"weighted": cells} if weighed else {}
        if self.calibration is None or model.task == "ranking":
            return found
        if model.task == "binary":
            losses = [*_SCORE_LOSSES]
            return found | {"estimated": [*cells, "auc", *losses], "combined": [*cells, *losses], "gap": ["gap"]}
        macro = [f"{metric}_macro" for metric in ("precision", "recall", "f1", "specificity")]
        areas = ["auc_macro", "auc_weighted"] if self.by_class else []
        return found | {"estimated": ["accuracy", *macro, *prices, *areas], "combined": ["accuracy"], "gap": ["gap"]}

    def said(self, answers: Answers) -> tuple[Int64, Int64]:
        """All scored predictions: those of the negative class, and of the positive."""
        name = self.model.positive
        return sum((said for group, said in answers.said.items() if group != name), _NONE[0]), answers.said.get(name, _NONE[0])


_known: WeakKeyDictionary[Layout, Expectation] = WeakKeyDictionary()


def expectation_of(model: Model, layout: Layout) -> Expectation:
    """What the reference of a layout lets one expect; kept, for window after window asks."""
    known = _known.get(layout)
    if known is None or known.model is not model:
        known = _known[layout] = Expectation(model, layout.reference.performance)
    return known


def _calibration(counts: Int64) -> ScoreCalibration | None:
    wrong, true = counts
    return ScoreCalibration.fit(wrong, true) if counts.sum() >= LEAST_ROWS and wrong.any() and true.any() else None


_Found = tuple[dict[str, Estimate], dict[str, Estimate]]
_lately: dict[tuple[Expectation, bytes], _Found] = {}


def without_labels(windows: Sequence[tuple[Expectation, Pane, Layout]]) -> list[_Found]:
    """`estimates` and `weighted` of several windows; those of binary models are worked out of all at once, and remembered, for a window is
    told again and again as its labels come.
    """
    abouts = [_about(expectation, pane.answers) for expectation, pane, _ in windows]
    new = {about: pane.answers for about, (_, pane, _) in zip(abouts, windows, strict=True) if about and about not in _lately}
    known = {about: _lately[about] for about in abouts if about and about in _lately}
    made = dict(zip(new, _without_labels([(expectation, answers) for (expectation, _), answers in new.items()]), strict=True))
    known |= made
    _lately.update(made)
    while len(_lately) > LATELY:
        del _lately[next(iter(_lately))]
    return [
        known[about] if about else (estimates(expectation, pane, layout), {})
        for about, (expectation, pane, layout) in zip(abouts, windows, strict=True)
    ]


def _about(expectation: Expectation, answers: Answers) -> tuple[Expectation, bytes] | None:
    """What the figures of a window of a binary model depend on."""
    if expectation.model.task != "binary":
        return None
    content = hashlib.blake2b(digest_size=16)
    for group in expectation.said(answers):
        content.update(group.tobytes())
    return expectation, content.digest() + bytes([bool(answers.said)])


def _without_labels(windows: Sequence[tuple[Expectation, Answers]]) -> list[_Found]:
    """Of binary models, which may have references of their own."""
    found: list[_Found] = [({}, {}) for _ in windows]
    for place, (basis, figures) in enumerate((("estimated", _estimated), ("weighted", _weighted))):
        mine = [i for i, (expectation, answers) in enumerate(windows) if answers.said and expectation.told(basis)]
        for i, each in zip(mine, figures([windows[i] for i in mine]) if mine else (), strict=True):
            found[i][place].update(each)
    return found


def _estimated(windows: Sequence[tuple[Expectation, Answers]]) -> list[dict[str, Estimate]]:
    """CBPE of binary models: of each its calibration says how likely a score is to come true."""
    negative, positive = _rows_said(windows)
    chance, against, unsure = _alike([each.calibration.known for each, _ in windows if each.calibration])
    cells = [(rows * of).sum(-1) for rows, of in ((positive, chance), (positive, against), (negative, chance), (negative, against))]
    variances = [(rows * unsure).sum(-1) for rows in (positive, negative)]
    every = negative + positive
    wrong, true = every * against, every * chance
    losses = zip(areas(wrong, true), brier_scores(wrong, true), log_losses(wrong, true), strict=True)
    found = _of_cells(np.stack(cells, 1), np.stack(variances, 1), [each.model for each, _ in windows])
    return [told | dict(zip(("auc", "brier", "log_loss"), each, strict=True)) for told, each in zip(found, losses, strict=True)]


def _weighted(windows: Sequence[tuple[Expectation, Answers]]) -> list[dict[str, Estimate]]:
    """The importance-weighted form, for binary models: the reference's labelled rows, each as often as its score comes in the window.

    Unlike the calibrated form it takes nothing for granted of how the chance moves with the score, and its interval has the
    reference's own sampling error in it.
    """
    cells, variances = [], []
    for rows, positive in zip(_rows_said(windows)[::-1], (True, False), strict=True):
        pooled = [each.pooled(each.model.positive if positive else "") for each, _ in windows]
        run, worth, chance, no_chance, unsure = _alike(pooled)
        here = np.bincount((run + SCORE_BINS * np.arange(len(rows))[:, None]).ravel(), rows.ravel(), rows.size)
        cells += [(rows * chance).sum(-1), (rows * no_chance).sum(-1)]
        variances.append((rows * unsure).sum(-1) + (np.square(here.reshape(rows.shape)) * worth).sum(-1))
    return _of_cells(np.stack(cells, 1), np.stack(variances, 1), [each.model for each, _ in windows])


def _rows_said(windows: Sequence[tuple[Expectation, Answers]]) -> tuple[Float64, Float64]:
    """Scored predictions by score, shape (windows, bins): of the negative class, and of the positive."""
    negative, positive = zip(*(expectation.said(answers) for expectation, answers in windows), strict=True)
    return np.array(negative, np.float64), np.array(positive, np.float64)


def _alike(each: Sequence[tuple[NDArray[Any], ...]]) -> Iterator[NDArray[Any]]:
    """What windows have by score, shape (windows, bins); most are of one reference."""
    same = all(one[0] is each[0][0] for one in each)
    return (column[0][None] if same else np.stack(column) for column in zip(*each, strict=True))


def estimates(expectation: Expectation, pane: Pane, layout: Layout) -> dict[str, Estimate]:
    """Metric name → what it would be on average over the unknown labels (CBPE; DLE for a regression); empty where nothing is known."""
    if expectation.model.task == "regression":
        return _of_losses(expectation, pane, layout)
    calibration, answers = expectation.calibration, pane.answers
    if calibration is None or not answers.said:
        return {}
    if expectation.model.task == "multiclass":
        return _of_classes(expectation, calibration, answers)
    return _estimated([(expectation, answers)])[0]


class _Pooled(NamedTuple):
    """The share that came true by score, over runs of bins with `BIN_ROWS` rows each, and what its own error is made of."""

    run: Int64  # of each bin, numbered through
    worth: Float64  # of each run: the variance of its share
    chance: Float64  # of each bin, like the next two: of coming true, of not, and the variance of a row
    no_chance: Float64
    unsure: Float64


def _pooled(scored: Int64) -> _Pooled:
    rows = scored.sum(0)
    _, run = np.unique((np.cumsum(rows) - rows) // BIN_ROWS, return_inverse=True)
    total, true = (np.bincount(run, each, SCORE_BINS) for each in (rows, scored[1]))
    share = (true + 0.5) / (total + 1)
    chance = share[run]
    return _Pooled(run, share * (1 - share) / (total + 1), chance, 1 - chance, chance * (1 - chance))


def _of_cells(cells: Float64, variances: Float64, models: Sequence[Model]) -> list[dict[str, Estimate]]:
    """Every ratio of expected cells, shape (windows, 4), and of the variances that labels would still add, shape (windows, 2)."""
    found: list[dict[str, Estimate]] = [{} for _ in models]
    alike: dict[tuple[tuple[str, tuple[Cells, Cells]], ...], list[int]] = {}
    for i, model in enumerate(models):
        alike.setdefault((*_ratios(model).items(),), []).append(i)
    for ratios, mine in alike.items():
        above, below = np.array([pair for _, pair in ratios], np.float64).swapaxes(0, 1)
        value, half = ratios_estimated(cells[mine], variances[mine], above, below)
        parts, names = np.stack([value, value - half, value + half], 2), [name for name, _ in ratios]
        parts[:, : len(RATIOS)] = np.minimum(np.maximum(parts[:, : len(RATIOS)], 0.0), 1.0)
        for i, each in zip(mine, parts.tolist(), strict=True):
            found[i] = dict(zip(names, map(Estimate._make, each), strict=True))
    return found


def _in_unit(each: Estimate) -> Estimate:
    return Estimate(*(min(max(part, 0.0), 1.0) for part in each))


def _price(model: Model, key: str) -> Cells:
    """Mean price of a row by what became of it."""
    positive, negative = model.positive, negative_of(model)
    hit, false_alarm, miss, rest = (getattr(model, key).get(f"{p}/{a}", 0.0) for p in (positive, negative) for a in (positive, negative))
    return hit, false_alarm, miss, rest


def _of_classes(expectation: Expectation, calibration: ScoreCalibration, answers: Answers) -> dict[str, Estimate]:
    """Of several classes: right by the confidence; a wrong answer's true class as often as the reference had it for that prediction."""
    found = {"accuracy": estimated_accuracy(calibration, sum(answers.said.values(), _NONE[0]))}
    chances = calibration.chances()
    before: dict[str, dict[str, int]] = {}
    for key, count in expectation.profile.confusion.items():
        predicted, actual = key.split(BETWEEN)
        before.setdefault(predicted, {})[actual] = count
    table: dict[tuple[str, str], int] = {}
    for name, count in answers.predicted.items():
        said = answers.said.get(group_of(name, expectation.model))
        others = {actual: n for actual, n in before.get(name, {}).items() if actual != name}
        if said is None or not said.any():
            return found
        right = round(count * float(said @ chances) / float(said.sum()))
        table[name, name] = right
        for actual, n in others.items():
            table[name, actual] = round((count - right) * n / sum(others.values()))
    macro: tuple[Literal["precision", "recall", "f1", "specificity"], ...] = ("precision", "recall", "f1", "specificity")
    found |= {f"{metric}_macro": averaged(table, metric) for metric in macro}
    for name, key in PRICES.items():
        if prices := getattr(expectation.model, key):
            found[name] = mean_cost(table, {pair: prices.get("/".join(pair), 0.0) for pair in table})
    return found | _of_chances(expectation, answers)


def _of_chances(expectation: Expectation, answers: Answers) -> dict[str, Estimate]:
    """Of several classes, by the probability of each: every class against the rest, and the mean over the classes; empty where no
    prediction came with them.
    """
    each: dict[str, list[tuple[Estimate, float]]] = {}
    if not answers.chances.predicted:
        return {}
    for name, calibration in expectation.by_class.items():
        others, own = answers.chances.predicted.get(name, _NONE)
        expected = expected_confusion(calibration, others, own)
        wrong, true = expected_classes(calibration, others + own)
        rows, area = float(true.sum()), areas(wrong[None], true[None])[0]
        for metric in ("precision", "recall", "f1", "specificity"):
            figure = estimated(expected, OF_CELLS[metric])
            # What is never predicted is precise never, as in the realised figure.
            each.setdefault(f"{metric}_macro", []).append((_NEVER if math.isnan(figure.value) else _in_unit(figure), 1.0))
        each.setdefault("auc_macro", []).append((area, 1.0))
        each.setdefault("auc_weighted", []).append((area, rows))
    found = {name: mean_of_classes([(figure, weight) for figure, weight in parts if weight]) for name, parts in each.items()}
    return {name: figure for name, figure in found.items() if math.isfinite(figure.value)}


def _of_losses(expectation: Expectation, pane: Pane, layout: Layout) -> dict[str, Estimate]:
    known = expectation.losses
    counts = {name: pane.counts[layout.starts[f] : layout.starts[f] + layout.bins[f] + 2] for f, name in enumerate(layout.names)}
    counts = {name: each for name, each in counts.items() if known and name in known["absolute"].effects}
    if not counts or not pane.counts.size or not pane.n:
        return {}
    squares = known["squares"].estimate(counts)
    return {"mae": known["absolute"].estimate(counts), "rmse": Estimate(*(math.sqrt(part) for part in squares))}


#: A window's panes, each with its weight.
Parts = Sequence[tuple[float, Answers]]


def combination(windows: Sequence[tuple[Expectation, Parts]]) -> list[dict[str, Estimate]]:
    """Figures of all the windows' predictions from the labels of some and the estimate of all: prediction-powered inference.

    Parameters
    ----------
    windows
        Of each window what its reference lets one expect, and its panes, each with its weight: one over the share of its predictions that
        have a label takes the lead from labels that come early. With one weight for all, labels are taken to be missing at random.
    """
    out: list[dict[str, Estimate]] = [{} for _ in windows]
    alike: dict[tuple[object, ...], list[int]] = {}  # windows whose figures are made of the same ratios
    for i, (expectation, parts) in enumerate(windows):
        if expectation.model.task == "regression":
            out[i] = _combined_errors(expectation.profile, parts)
        elif expectation.calibration is not None:
            alike.setdefault((expectation.model.task, *_ratios(expectation.model).items()), []).append(i)
    for mine in alike.values():
        for i, figures in zip(mine, _combined_ratios([windows[i] for i in mine]), strict=True):
            out[i] = figures
    return out


def _combined_ratios(windows: Sequence[tuple[Expectation, Parts]]) -> list[dict[str, Estimate]]:
    """Of windows of models of one task and one set of prices, which may have references of their own."""
    model = windows[0][0].model
    groups = [
        Group(i, model.task == "multiclass" or name == each.model.positive, *rows, each.chance)
        for i, (each, parts) in enumerate(windows)
        for name, rows in _merged(parts).items()
    ]
    sums, ratios = Windows(groups, len(windows)), _ratios(model)
    names, shares = [*ratios], len(ratios.keys() - PRICES.keys())
    told = sums.ratios([*ratios.values()])
    told[:, :shares] = np.minimum(np.maximum(told[:, :shares], 0.0), 1.0)
    if model.task == "binary":
        names += _SCORE_LOSSES
        told = np.concatenate([told, *(np.maximum(sums.means(loss), 0.0) for loss in _SCORE_LOSSES.values())], 1)
    figures = (map(Estimate._make, each) for each in told.tolist())
    return [{name: each for name, each in zip(names, mine, strict=True) if math.isfinite(each.value)} for mine in figures]


def _ratios(model: Model) -> dict[str, tuple[Cells, Cells]]:
    """What stands above and below the line of each figure, by (true positive, false positive, false negative, true negative).

    Of several classes the first two stand for right and wrong.
    """
    if model.task == "multiclass":
        return {"accuracy": RATIOS["accuracy"]}
    return RATIOS | {name: (_price(model, key), (1.0, 1.0, 1.0, 1.0)) for name, key in PRICES.items() if getattr(model, key)}


#: Of a predicted group: labelled rows by what came true and the score, each as often as its weight says; and the others by score.
_Rows = tuple[Float64, Float64]


def _merged(parts: Sequence[tuple[float, Answers]]) -> dict[str, _Rows]:
    """All parts together, by group."""
    scale, differ = _scale([(weight, sum(int(told.sum()) for told in each.scored.values())) for weight, each in parts])
    out: dict[str, _Rows] = {}
    for weight, each in parts:
        for group in _groups(each):
            told = each.scored.get(group, _NONE)
            labelled = told[0] + told[1]
            scored = np.asarray(weight * scale * told, np.float64)
            rest = np.maximum(each.said.get(group, _NONE[0]) - labelled, 0)
            rest = np.asarray(rest + labelled if differ else rest, np.float64)
            before = out.get(group)
            out[group] = (before[0] + scored, before[1] + rest) if before else (scored, rest)
    return out


def _scale(told: Sequence[tuple[float, float]]) -> tuple[float, bool]:
    """By what weights of so many labelled rows are multiplied: those that differ make as many rows worth fewer. And whether they differ;
    then labelled rows stand for all rows, no longer for the others alone.
    """
    rows, weighed, squared = (sum(weight**power * n for weight, n in told) for power in (0, 1, 2))
    return (weighed / squared, squared * rows > ALIKE * weighed**2) if squared else (1.0, False)


#: Sums of the realised loss of labelled rows, of the expected one of the same rows, of that of all others, and of realised × expected.
_Four = tuple[Sums, Sums, Sums, float]


def _powered(parts: Sequence[_Four]) -> Estimate:
    """The mean of a loss over all rows."""
    if not parts:
        return UNKNOWN
    realised, of_same, rest, product = zip(*parts, strict=True)
    return combined(_added(realised), _added(of_same), sum(product), _added(rest))


def _added(parts: Iterable[Sums]) -> Sums:
    return Sums(*map(sum, zip(Sums(0, 0.0, 0.0), *parts, strict=True)))


def _groups(answers: Answers) -> list[str]:
    return sorted((answers.said.keys() | answers.scored.keys()) - {OLD})


def _combined_errors(profile: PerformanceProfile, parts: Sequence[tuple[float, Answers]]) -> dict[str, Estimate]:
    """Of a regression: its mean absolute error and root mean squared error; the estimate is by the size of the prediction."""
    if sum(n for n, *_ in profile.places.values()) < LEAST_ROWS:
        return {}
    scale, differ = _scale([(weight, each.n_labelled) for weight, each in parts])
    absolute, squares = (_powered([_sums_of_places(each, profile, i, weight * scale, differ) for weight, each in parts]) for i in range(2))
    if not (math.isfinite(absolute.value) and math.isfinite(squares.value)):
        return {}
    return {"mae": _not_negative(absolute), "rmse": Estimate(*(math.sqrt(part) for part in _not_negative(squares)))}


def _sums_of_places(
    answers: Answers, profile: PerformanceProfile, which: int, weight: float, differ: bool
) -> tuple[Sums, Sums, Sums, float]:
    """Of |e| (0) or e² (1)."""
    places, table = answers.places.table()
    told = expected_errors(profile.places, places)[which]
    everything, labelled, absolute, squares = table.T
    rest, of = (everything if differ else np.maximum(everything - labelled, 0)), (absolute, squares)[which]
    spread = (float(squares.sum()), exact.to_float(answers.places.fourth))[which]
    return (
        Sums(*np.multiply((labelled.sum(), of.sum(), spread), weight).tolist()),
        Sums(*np.multiply((labelled.sum(), labelled @ told, labelled @ told**2), weight).tolist()),
        Sums(float(rest.sum()), float(rest @ told), float(rest @ told**2)),
        float(of @ told) * weight,
    )


def _not_negative(each: Estimate) -> Estimate:
    return Estimate(*(max(part, 0.0) for part in each))


def gap(expectation: Expectation, pane: Pane, layout: Layout) -> Estimate:
    """Realised less expected loss: the error rate of the labelled rows less what the reference says of the same rows; for a regression the
    mean absolute error less the estimate of all. Above 0 beyond its interval the concept has changed, whatever the features did.
    """
    model, answers = expectation.model, pane.answers
    if model.task == "regression":
        told = estimates(expectation, pane, layout).get("mae", UNKNOWN)
        labelled = answers.n_labelled
        if labelled < 2 or math.isnan(told.value):
            return UNKNOWN
        mean = answers.sum_of("absolute") / labelled
        spread = max(answers.sum_of("squares") / labelled - mean * mean, 0.0) * (1 / labelled + 1 / max(expectation.profile.n, 1))
        return _around(mean - told.value, 1.96 * math.sqrt(spread))
    if expectation.calibration is None or not answers.scored:
        return UNKNOWN
    n = wrong = expected = squares = 0.0
    for name in _groups(answers):
        apart = model.task == "multiclass" or name == model.positive  # of the others what came true is wrong
        scored, (chance, square) = answers.scored.get(name, _NONE), expectation.losses_by_score[apart]
        labelled = scored.sum(0)
        n, wrong = n + float(labelled.sum()), wrong + float(scored[0 if apart else 1].sum())
        labelled = labelled.astype(np.float64)
        expected, squares = expected + float(labelled @ chance), squares + float(labelled @ square)
    if n < 2:
        return UNKNOWN
    # Rows waver around their own chance, and the calibration around the truth as its rows do.
    unsure = max(expected - squares, 0.0) / n
    return _around((wrong - expected) / n, 1.96 * math.sqrt(max(unsure, 1 / n) * (1 / n + 1 / max(expectation.profile.n, 1))))


def _around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)
