"""Performance without labels, and with few: what the reference's calibration and losses say of a window's answers. Pure.

    reference, labelled ──► chance of being right by score ─┐
                       └──► loss by place ──────────────────┼──► estimated, weighted: of all predictions, labels or none
    window, all predictions ────────────────────────────────┤
    window, labelled ───────────────────────────────────────┴──► combined (prediction-powered), and the gap to what was expected

All of it holds as long as an answer is worth what it was worth on the reference: under covariate shift, not under concept drift. So the
gap, realised loss less expected loss of the same rows, is itself a finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.reference import LossProfile, PerformanceProfile
from driftline.streams.answers import BETWEEN, OLD, SCORE_BINS, Answers, Float64, Int64, group_of, negative_of
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane
from driftline.streams.performance import PRICES, mean_of_classes, metrics
from driftline.streams.stats import (
    UNKNOWN,
    Estimate,
    ExpectedConfusion,
    LossModel,
    ScoreCalibration,
    Sums,
    accuracy_of,
    auc_from_scores,
    averaged,
    brier,
    combined,
    estimated,
    estimated_accuracy,
    expected_classes,
    expected_confusion,
    f1_of,
    log_loss,
    mean_cost,
    precision_of,
    recall_of,
    specificity_of,
)

LEAST_ROWS = 100  # labelled rows of the reference that a calibration is learned from
ALIKE = 1.01  # weights that vary by less are taken as one
BIN_ROWS = 25  # of the reference that neighbouring bins of the score are put together for, in the weighted form
OF_CELLS = {"accuracy": accuracy_of, "precision": precision_of, "recall": recall_of, "f1": f1_of, "specificity": specificity_of}
_NEVER = Estimate(0.0, 0.0, 0.0)
_NONE = np.zeros((2, SCORE_BINS), np.int64)


def performance_profile(model: Model, answers: Answers, losses: Mapping[str, LossProfile] = MappingProxyType({})) -> PerformanceProfile:
    """What a reference keeps of its labelled rows."""
    known = {name: each.value for name, each in metrics(model, answers).items() if math.isfinite(each.value)}
    scored = {group: (counts[0].tolist(), counts[1].tolist()) for group, counts in answers.scored.items()}
    label = answers.labels_batch() if model.task == "regression" and answers.n_labelled else None
    mean, variance = (label.total / label.n, label.m2 / label.n) if label else (None, None)
    chances = {name: (counts[0].tolist(), counts[1].tolist()) for name, counts in answers.chances.actual.items()}
    return PerformanceProfile(answers.n_labelled, known, dict(answers.confusion), scored, dict(losses), mean, variance, chances)


@dataclass(frozen=True)
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
        return _calibration(sum(self.scored.values(), _NONE))

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

    def _said(self, answers: Answers) -> tuple[Int64, Int64]:
        """All scored predictions: those of the negative class, and of the positive."""
        positive = answers.said.get(self.model.positive, _NONE[0])
        return sum(answers.said.values(), _NONE[0]) - positive, positive


def _calibration(counts: Int64) -> ScoreCalibration | None:
    wrong, true = counts
    return ScoreCalibration.fit(wrong, true) if counts.sum() >= LEAST_ROWS and wrong.any() and true.any() else None


def estimates(expectation: Expectation, pane: Pane, layout: Layout) -> dict[str, Estimate]:
    """Metric name → what it would be on average over the unknown labels (CBPE; DLE for a regression); empty where nothing is known."""
    if expectation.model.task == "regression":
        return _of_losses(expectation, pane, layout)
    calibration, answers = expectation.calibration, pane.answers
    if calibration is None or not answers.said:
        return {}
    if expectation.model.task == "multiclass":
        return _of_classes(expectation, calibration, answers)
    negative, positive = expectation._said(answers)
    found = _of_cells(expected_confusion(calibration, negative, positive), expectation.model)
    wrong, true = expected_classes(calibration, negative + positive)
    area = auc_from_scores(wrong, true)
    return found | {
        "auc": Estimate(area.value, area.lower, area.upper),
        "brier": brier(wrong, true).score,
        "log_loss": log_loss(wrong, true),
    }


def weighted(expectation: Expectation, answers: Answers) -> dict[str, Estimate]:
    """The importance-weighted form, for a binary model: the reference's labelled rows, each as often as its score comes in the window.

    Unlike the calibrated form it takes nothing for granted of how the chance moves with the score, and its interval has the
    reference's own sampling error in it.
    """
    model, total = expectation.model, sum(expectation.scored.values(), _NONE)
    if model.task != "binary" or total.sum() < LEAST_ROWS or not answers.said:
        return {}
    cells = {}
    for name, said in zip(("negative", "positive"), expectation._said(answers), strict=True):
        group = model.positive if name == "positive" else ""
        chance, spread = _pooled(expectation.scored.get(group, _NONE), said)
        cells[name] = (float(said @ chance), float(said @ (1 - chance)), float(said @ (chance * (1 - chance))) + spread)
    (fn, tn, negative_variance), (tp, fp, positive_variance) = cells["negative"], cells["positive"]
    return _of_cells(ExpectedConfusion(tp, fp, fn, tn, positive_variance, negative_variance), model)


def _pooled(scored: Int64, said: Int64) -> tuple[Float64, float]:
    """The share that came true by score, over runs of bins with `BIN_ROWS` rows each; and what its own error adds to the variance."""
    rows = scored.sum(0)
    run = (np.cumsum(rows) - rows) // BIN_ROWS
    total, true, here = (np.bincount(run, each) for each in (rows, scored[1], said))
    share = (true + 0.5) / (total + 1)
    return share[run], float((here**2 * share * (1 - share) / (total + 1)).sum())


def _of_cells(expected: ExpectedConfusion, model: Model) -> dict[str, Estimate]:
    found = {name: estimated(expected, figure) for name, figure in OF_CELLS.items()}
    priced = {name: estimated(expected, _price(model, key)) for name, key in PRICES.items() if getattr(model, key)}
    return {name: _in_unit(each) for name, each in found.items()} | priced


def _in_unit(each: Estimate) -> Estimate:
    return Estimate(each.value, max(each.lower, 0.0), min(each.upper, 1.0))


def _price(model: Model, key: str) -> _Figure:
    positive, negative = model.positive, negative_of(model)
    prices = [getattr(model, key).get(f"{p}/{a}", 0.0) for p in (positive, negative) for a in (positive, negative)]
    return _Figure(*prices)


@dataclass(frozen=True)
class _Figure:
    """Mean price of a row by what became of it."""

    hit: float
    false_alarm: float
    miss: float
    rest: float

    def __call__(self, tp: float, fp: float, fn: float, tn: float) -> float:
        return (self.hit * tp + self.false_alarm * fp + self.miss * fn + self.rest * tn) / (tp + fp + fn + tn)


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
    """Of several classes, by the probability of each: every class against the rest, and the mean over the classes."""
    each: dict[str, list[tuple[Estimate, float]]] = {}
    for name, calibration in expectation.by_class.items():
        others, own = answers.chances.predicted.get(name, _NONE)
        expected = expected_confusion(calibration, others, own)
        wrong, true = expected_classes(calibration, others + own)
        rows, area = float(true.sum()), auc_from_scores(wrong, true)
        for metric in ("precision", "recall", "f1", "specificity"):
            figure = estimated(expected, OF_CELLS[metric])
            # What is never predicted is precise never, as in the realised figure.
            each.setdefault(f"{metric}_macro", []).append((_NEVER if math.isnan(figure.value) else _in_unit(figure), 1.0))
        each.setdefault("auc_macro", []).append((Estimate(area.value, area.lower, area.upper), 1.0))
        each.setdefault("auc_weighted", []).append((Estimate(area.value, area.lower, area.upper), rows))
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


def combination(expectation: Expectation, parts: Sequence[tuple[float, Answers]]) -> dict[str, Estimate]:
    """Accuracy of all the window's predictions from the labels of some and the estimate of all: prediction-powered inference.

    Parameters
    ----------
    parts
        The window's panes, each with its weight: one over the share of its labels that is there by now takes the lead from labels that
        come early. With one weight for all, labels are taken to be missing at random.
    """
    calibration = expectation.calibration
    if expectation.model.task == "regression" or calibration is None:
        return {}
    chance = calibration.chances()
    told = [(weight, _sums(expectation.model, group, each, chance)) for weight, each in parts for group in _groups(each)]
    rows, weighed, squared = (sum(weight**power * part[0].n for weight, part in told) for power in (0, 1, 2))
    if not rows or not weighed:
        return {}
    alike = weighed / squared  # weights that differ make as many rows worth fewer
    realised, of_same = (Sums(*np.sum([np.multiply(part[i], weight * alike) for weight, part in told], axis=0)) for i in range(2))
    product = sum(part[3] * weight * alike for weight, part in told)
    rest = Sums(*np.sum([part[2] for _, part in told], axis=0))
    if squared * rows > ALIKE * weighed**2:  # labelled rows that are weighed stand for all rows, no longer for the others alone
        rest = Sums(*np.add(rest, np.sum([part[1] for _, part in told], axis=0)))
    error = combined(realised, of_same, product, rest)
    return {"accuracy": Estimate(*(min(max(1 - part, 0.0), 1.0) for part in (error.value, error.upper, error.lower)))}


def _groups(answers: Answers) -> list[str]:
    return sorted((answers.said.keys() | answers.scored.keys()) - {OLD})


def _sums(model: Model, group: str, answers: Answers, chance: Float64) -> tuple[Sums, Sums, Sums, float]:
    """Of one predicted group: the realised errors, the expected ones of the same rows, those of the rest, and realised × expected."""
    scored = answers.scored.get(group, _NONE)
    # By the group's answer, what did not come true is right or wrong.
    wrong_row = 1 if model.task == "binary" and group != model.positive else 0
    expected = chance if wrong_row else 1 - chance
    wrong, labelled = scored[wrong_row], scored.sum(0)
    rest = np.maximum(answers.said.get(group, _NONE[0]) - labelled, 0)
    errors = float(wrong.sum())
    return (
        Sums(float(labelled.sum()), errors, errors),
        Sums(float(labelled.sum()), float(labelled @ expected), float(labelled @ expected**2)),
        Sums(float(rest.sum()), float(rest @ expected), float(rest @ expected**2)),
        float(wrong @ expected),
    )


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
    calibration = expectation.calibration
    if calibration is None or not answers.scored:
        return UNKNOWN
    chance = calibration.chances()
    parts = [_sums(model, group, answers, chance) for group in _groups(answers)]
    realised, told_sums, _ = (Sums(*np.sum([part[i] for part in parts], axis=0)) for i in range(3))
    if realised.n < 2:
        return UNKNOWN
    n = realised.n
    # Rows waver around their own chance, and the calibration around the truth as its rows do.
    unsure = max(told_sums.total - told_sums.total_sq, 0.0) / n
    return _around(realised.mean - told_sums.mean, 1.96 * math.sqrt(max(unsure, 1 / n) * (1 / n + 1 / max(expectation.profile.n, 1))))


def _around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)
