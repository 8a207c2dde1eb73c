"""The metrics of a task from a pane's counts and sums, each with an interval. To add one: its line in `METRICS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from driftline.schemas.config import Model, Task
from driftline.streams import chances
from driftline.streams.answers import BETWEEN, RANKS, Answers, Float64, Int64
from driftline.streams.stats import (
    UNKNOWN,
    Confusion,
    Estimate,
    accuracy,
    average_precision,
    averaged,
    ece,
    f1,
    kappa,
    lift,
    mae,
    mcc,
    mean_cost,
    mean_of_sums,
    precision,
    r2,
    recall,
    resampled,
    rmse,
)
from driftline.streams.stats.auc import aucs
from driftline.streams.stats.calibration import brier_scores, log_losses
from driftline.streams.stats.estimate import estimates_of


class Labelled:
    """Answers, and what several metrics ask of them, worked out once."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.by_score: dict[str, Estimate] = {}  # of `OF_SCORES` those that are wanted, of all windows at once

    @cached_property
    def confusion(self) -> Confusion:
        return confusion_of(self.answers)

    @cached_property
    def scores(self) -> tuple[Int64, Int64] | None:
        """Rows by score: of what did not come true, and of what did; None where there are none."""
        wrong, true = self.answers.scores
        return (wrong, true) if wrong.any() or true.any() else None


Metric = Callable[[Model, Labelled], Estimate]

#: Metrics of which less is better.
ERRORS: Final = frozenset({"mae", "rmse", "mape", "quantile_loss", "log_loss", "brier", "ece", "cost"})
#: Metrics in units of their own: the drop that is allowed is a share of the reference's value. The others are shares themselves.
RELATIVE: Final = frozenset({"mae", "rmse", "mape", "quantile_loss", "log_loss", "brier", "cost", "value", "lift"})
#: What a model's rows tell unless its file names `metrics`, and which of them have a verdict unless it names `judged`.
DEFAULT: Final[Mapping[Task, tuple[str, ...]]] = {
    "binary": ("accuracy", "precision", "recall", "f1", "auc", "log_loss", "brier"),
    "multiclass": ("accuracy", "precision_macro", "recall_macro", "f1_macro", "by_class"),
    "regression": ("mae", "rmse", "mape", "r2"),
    "ranking": RANKS,
}
JUDGED: Final[Mapping[Task, tuple[str, ...]]] = {
    "binary": ("accuracy", "precision", "recall", "f1", "auc"),
    "multiclass": ("accuracy",),
    "regression": ("mae", "rmse"),
    "ranking": ("ndcg",),
}
BY_CLASS: Final = {"precision": precision, "recall": recall, "f1": f1}


def confusion_of(answers: Answers) -> Confusion:
    """Labelled rows by (predicted, actual).

    >>> confusion_of(Answers(confusion={"1" + BETWEEN + "0": 3}))
    {('1', '0'): 3}
    """
    return {(key.split(BETWEEN)[0], key.split(BETWEEN)[1]): count for key, count in answers.confusion.items()}


def metrics(model: Model, answers: Answers) -> dict[str, Estimate]:
    """Metric name → estimate with its 95 % interval; NaN where the labelled rows do not tell. Without any score, what needs one is absent.

    Which: those that the model's file names (`all`: every one of its task; `by_class`: precision, recall and F1 of each class, as
    `recall:churned`), else those of `DEFAULT`; cost and value where the file gives prices.
    """
    return metrics_each([(model, answers)])[0]


def metrics_each(windows: Sequence[tuple[Model, Answers]]) -> list[dict[str, Estimate]]:
    """`metrics` of several windows; what goes by the score is worked out of all of them at once."""
    told, chosen = [Labelled(answers) for _, answers in windows], [_chosen(model, answers) for model, answers in windows]
    for name, figures in OF_SCORES.items():
        mine = [each for each, names, (model, _) in zip(told, chosen, windows, strict=True) if model.task == "binary" and name in names]
        scores = [each.scores for each in mine if each.scores]
        found = iter(figures(*map(np.stack, zip(*scores, strict=True))) if scores else ())
        for each in mine:
            each.by_score[name] = next(found) if each.scores else UNKNOWN
    return [_metrics(model, each, names) for (model, _), each, names in zip(windows, told, chosen, strict=True)]


def _chosen(model: Model, answers: Answers) -> list[str]:
    names, known = model.metrics or DEFAULT[model.task], METRICS[model.task]
    chosen = [name for name in known if name in names or "all" in names or (name in PRICES and getattr(model, PRICES[name]))]
    return [name for name in chosen if _tells(answers, name, model)]


def _metrics(model: Model, told: Labelled, chosen: Sequence[str]) -> dict[str, Estimate]:
    names, known = model.metrics or DEFAULT[model.task], METRICS[model.task]
    found = {name: known[name](model, told) for name in chosen}
    if model.task == "multiclass" and ("by_class" in names or "all" in names):
        for each in sorted({name for pair in told.confusion for name in pair}):
            found |= {f"{name}:{each}": figure(told.confusion, each) for name, figure in BY_CLASS.items()}
    return found


def _tells(answers: Answers, name: str, model: Model) -> bool:
    """Whether there is any of the scores that a metric needs."""
    if model.task == "multiclass" and name in chances.ASKED:
        return chances.kept(model)  # not by what is in the window: a row that was told once is told again
    return name not in SCORED or bool(answers.said or answers.scored)


def judged_metrics(model: Model) -> tuple[str, ...]:
    """The metrics that have a verdict."""
    return model.judged or JUDGED[model.task]


def _of_confusion(figure: Callable[[Confusion], Estimate]) -> Metric:
    return lambda _, told: figure(told.confusion)


def _of_positive(figure: Callable[[Confusion, str], Estimate]) -> Metric:
    return lambda model, told: figure(told.confusion, model.positive)


def _of_scores(figure: Callable[[Int64, Int64], Estimate]) -> Metric:
    return lambda _, told: figure(*told.scores) if told.scores else UNKNOWN


def _at_once(name: str) -> Metric:
    return lambda _, told: told.by_score[name]


def areas(negative: Int64 | Float64, positive: Int64 | Float64) -> list[Estimate]:
    """The areas under the ROC curve of several windows, rows by score of either class, shape (windows, bins)."""
    value, _, lower, upper = aucs(negative, positive)
    return estimates_of(value, lower, upper)


def _of_rankings(name: str) -> Metric:
    """A mean over the rankings that have anything relevant."""

    def metric(_: Model, told: Labelled) -> Estimate:
        mean = mean_of_sums(*told.answers.ranked(name))
        return mean if math.isnan(mean.value) else mean._replace(lower=max(0.0, mean.lower), upper=min(1.0, mean.upper))

    return metric


def _specificity(confusion: Confusion, positive: str) -> Estimate:
    """Share of what is not positive that was predicted so."""
    turned = {("" if predicted == positive else "-", "" if actual == positive else "-"): 0 for predicted, actual in confusion}
    for (predicted, actual), n in confusion.items():
        turned["" if predicted == positive else "-", "" if actual == positive else "-"] += n
    return recall(turned, "-")


def _auc(negative: Int64, positive: Int64) -> Estimate:
    return areas(negative[None], positive[None])[0]


def _average_precision(negative: Int64, positive: Int64) -> Estimate:
    return average_precision(negative, positive) if positive.any() else UNKNOWN


def _lift(negative: Int64, positive: Int64) -> Estimate:
    return resampled(lambda table: lift(table[0], table[1]), np.stack([negative, positive]))


def _priced(name: str) -> Metric:
    def metric(model: Model, told: Labelled) -> Estimate:
        prices = getattr(model, PRICES[name])
        return mean_cost(told.confusion, {pair: prices.get("/".join(pair), 0.0) for pair in told.confusion})

    return metric


def _mape(_: Model, told: Labelled) -> Estimate:
    """Of the rows whose label is not 0."""
    answers = told.answers
    return _not_negative(mean_of_sums(answers.sums[-1], answers.sum_of("share"), answers.sum_of("share_squares")))


def _quantile_loss(model: Model, told: Labelled) -> Estimate:
    """Pinball loss of the model's `quantile`, from the errors on either side."""
    answers = told.answers
    q, n = model.quantile, answers.n_labelled
    error, absolute, squares, over = (answers.sum_of(name) for name in ("error", "absolute", "squares", "over_squares"))
    total = (1 - q) * (absolute + error) / 2 + q * (absolute - error) / 2
    return _not_negative(mean_of_sums(n, total, (1 - q) ** 2 * over + q**2 * (squares - over)))


def _r2(_: Model, told: Labelled) -> Estimate:
    answers = told.answers
    return r2(answers.n_labelled, answers.sum_of("squares"), answers.labels_batch().m2)


def _not_negative(estimate: Estimate) -> Estimate:
    return estimate if math.isnan(estimate.value) else estimate._replace(lower=max(0.0, estimate.lower))


def _of_chances(figure: Callable[[Int64, Int64], Estimate], *, weighted: bool = False) -> Metric:
    """A figure of one class against the rest, averaged over the classes that are there; by their rows where `weighted`."""

    def metric(_: Model, told: Labelled) -> Estimate:
        found = [(figure(*counts), counts[1].sum() if weighted else 1) for counts in told.answers.chances.actual.values()]
        return mean_of_classes([(each, weight) for each, weight in found if not math.isnan(each.value)])

    return metric


def mean_of_classes(each: Sequence[tuple[Estimate, float]]) -> Estimate:
    """The weighted mean of estimates. Its interval is the mean of theirs: wide enough however they hang together.

    >>> mean_of_classes([(Estimate(0.5, 0.25, 0.75), 1), (Estimate(1.0, 1.0, 1.0), 1)])
    Estimate(value=0.75, lower=0.625, upper=0.875)
    """
    total = sum(weight for _, weight in each)
    return Estimate(*(float(sum(e[i] * weight for e, weight in each) / total) for i in range(3))) if total else UNKNOWN


def _of_chance_sums(name: str) -> Metric:
    def metric(_: Model, told: Labelled) -> Estimate:
        known = told.answers.chances
        return _not_negative(mean_of_sums(known.n, known.sum_of(name), known.sum_of(f"{name}_squares")))

    return metric


PRICES: Final = {"cost": "costs", "value": "values"}
#: What all windows are told at once, from rows by score of what did not come true and of what did, shape (windows, bins).
OF_SCORES: Final = {"auc": areas, "log_loss": log_losses, "brier": brier_scores}
SCORED: Final = frozenset({"auc", "average_precision", "log_loss", "brier", "ece", "lift"})
_ANY_CLASSES: Final[dict[str, Metric]] = {
    "accuracy": _of_confusion(accuracy),
    "mcc": _of_confusion(mcc),
    "kappa": _of_confusion(kappa),
    "cost": _priced("cost"),
    "value": _priced("value"),
    "ece": _of_scores(ece),
}
_AVERAGES: Final[dict[str, Metric]] = {
    "precision_macro": _of_confusion(lambda table: averaged(table, "precision", "macro")),
    "precision_weighted": _of_confusion(lambda table: averaged(table, "precision", "weighted")),
    "recall_macro": _of_confusion(lambda table: averaged(table, "recall", "macro")),
    "recall_weighted": _of_confusion(lambda table: averaged(table, "recall", "weighted")),
    "f1_macro": _of_confusion(lambda table: averaged(table, "f1", "macro")),
    "f1_weighted": _of_confusion(lambda table: averaged(table, "f1", "weighted")),
    "f1_micro": _of_confusion(lambda table: averaged(table, "f1", "micro")),
    "specificity_macro": _of_confusion(lambda table: averaged(table, "specificity", "macro")),
    "auc_macro": _of_chances(_auc),
    "auc_weighted": _of_chances(_auc, weighted=True),
    "average_precision_macro": _of_chances(_average_precision),
    "average_precision_weighted": _of_chances(_average_precision, weighted=True),
    "log_loss": _of_chance_sums("log_loss"),
    "brier": _of_chance_sums("brier"),
}
METRICS: Final[Mapping[Task, Mapping[str, Metric]]] = {
    "binary": {
        **_ANY_CLASSES,
        "precision": _of_positive(precision),
        "recall": _of_positive(recall),
        "f1": _of_positive(f1),
        "specificity": _of_positive(_specificity),
        "auc": _at_once("auc"),
        "average_precision": _of_scores(average_precision),
        "log_loss": _at_once("log_loss"),
        "brier": _at_once("brier"),
        "lift": _of_scores(_lift),
    },
    "multiclass": {**_ANY_CLASSES, **_AVERAGES},
    "regression": {
        "mae": lambda _, told: mae(told.answers.n_labelled, told.answers.sum_of("absolute"), told.answers.sum_of("squares")),
        "rmse": lambda _, told: rmse(told.answers.n_labelled, told.answers.sum_of("squares")),
        "mape": _mape,
        "r2": _r2,
        "quantile_loss": _quantile_loss,
    },
    "ranking": {name: _of_rankings(name) for name in RANKS},
}
