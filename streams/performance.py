"""The metrics of a task from a pane's label counts, each with an interval."""

from __future__ import annotations

from driftline.schemas.config import Model
from driftline.streams.answers import BETWEEN, Answers
from driftline.streams.stats import Estimate, accuracy, auc_from_scores, f1, mae, precision, recall, rmse

#: Metrics of which less is better; their allowed drop is relative to the reference.
ERRORS = frozenset({"mae", "rmse"})


def metrics(model: Model, answers: Answers) -> dict[str, Estimate]:
    """Metric name → estimate with its 95 % interval; NaN where the labelled rows do not tell."""
    n = answers.n_labelled
    if model.task == "regression":
        absolute, squares = answers.sum_of("absolute"), answers.sum_of("squares")
        return {"mae": mae(n, absolute, squares), "rmse": rmse(n, squares)}
    confusion = {(key.split(BETWEEN)[0], key.split(BETWEEN)[1]): count for key, count in answers.confusion.items()}
    found = {"accuracy": accuracy(confusion)}
    if model.task == "binary":
        found |= {name: f(confusion, model.positive) for name, f in (("precision", precision), ("recall", recall), ("f1", f1))}
        scores = answers.scores
        if scores.any():
            area = auc_from_scores(scores[0], scores[1])
            found["auc"] = Estimate(area.value, area.lower, area.upper)
    return found
