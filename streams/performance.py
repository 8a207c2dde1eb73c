"""The metrics of a task from a pane's label counts, each with an interval."""

from __future__ import annotations

from driftline.schemas.config import Model
from driftline.streams.panes import BETWEEN, Pane
from driftline.streams.stats import Estimate, accuracy, auc_from_scores, f1, mae, precision, recall, rmse

#: Metrics of which less is better; their allowed drop is relative to the reference.
ERRORS = frozenset({"mae", "rmse"})


def metrics(model: Model, pane: Pane) -> dict[str, Estimate]:
    """Metric name → estimate with its 95 % interval; NaN where the labelled rows do not tell."""
    n = pane.n_labelled
    if model.task == "regression":
        _, absolute, squares = pane.errors.tolist()
        return {"mae": mae(n, absolute, squares), "rmse": rmse(n, squares)}
    confusion = {(key.split(BETWEEN)[0], key.split(BETWEEN)[1]): count for key, count in pane.confusion.items()}
    found = {"accuracy": accuracy(confusion)}
    if model.task == "binary":
        found |= {name: f(confusion, model.positive) for name, f in (("precision", precision), ("recall", recall), ("f1", f1))}
        if pane.scores.any():
            area = auc_from_scores(pane.scores[0], pane.scores[1])
            found["auc"] = Estimate(area.value, area.lower, area.upper)
    return found
