"""A reference learned from the first windows of a model that has none."""

from __future__ import annotations

import math
import sys

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Profile, Reference
from driftline.streams.layout import PREDICTION, SCORE
from driftline.streams.panes import Pane
from driftline.streams.performance import metrics
from driftline.streams.sketch import Sketch, bucket_start
from driftline.streams.stats import bin_buckets, weighted_edges


def learn(model: Model, version: str, pane: Pane, effective_from: int) -> Reference:
    """The profile of a pane that was kept without a reference, in force from `effective_from` on.

    Its edges lie on the sketch's bucket boundaries, so panes that were begun as sketches are counted by it exactly.
    """
    answer = "numeric" if model.task == "regression" else "categorical"
    kinds = {**model.features, PREDICTION: answer, SCORE: "numeric"}
    features = {name: _profile(sketch, kinds.get(name)) for name, sketch in sorted(pane.sketches.items())}
    known = {name: estimate.value for name, estimate in metrics(model, pane.answers).items() if np.isfinite(estimate.value)}
    performance = PerformanceProfile(pane.answers.n_labelled, known if pane.answers.n_labelled >= model.policy.min_samples else {})
    return Reference(model.model, version, features, pane.n, performance, "learned", effective_from)


def _profile(sketch: Sketch, kind: str | None) -> Profile:
    numeric = kind == "numeric" if kind else sketch.numeric_rows > sketch.text_rows
    return _numeric(sketch) if numeric else _categorical(sketch)


def _numeric(sketch: Sketch) -> NumericProfile:
    buckets, counts = np.array(sketch.buckets, np.int64), np.array(sketch.counts, np.int64)
    lower, upper = bucket_start(buckets), bucket_start(buckets + 1)
    n = int(counts.sum())
    edges = weighted_edges(lower, upper, counts) if n else np.array([0.0])
    mean = sketch.total / n if n else 0.0
    m2 = max(sketch.squares - n * mean * mean, 0.0)
    if not math.isfinite(m2):  # the sums overflow; what travels as JSON must be finite
        with np.errstate(over="ignore"):
            mean = float(lower @ (counts / n))
            m2 = min(float(counts @ np.square(lower - mean)), sys.float_info.max)
    return NumericProfile(
        edges.tolist(), bin_buckets(lower, counts, edges).tolist(), n, sketch.missing, mean, m2, sketch.minimum, sketch.maximum
    )


def _categorical(sketch: Sketch) -> CategoricalProfile:
    texts = sorted(sketch.texts.items(), key=lambda item: (-item[1], item[0]))
    n = sketch.text_rows + sketch.numeric_rows
    return CategoricalProfile([t for t, _ in texts], [c for _, c in texts], n - sum(c for _, c in texts), n, sketch.missing)
