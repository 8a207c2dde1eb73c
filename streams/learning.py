"""A reference learned from the first windows of a model that has none."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec
import numpy as np

from driftline.schemas.config import Bounds, EdgeRule, Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, PerformanceProfile, Profile, Reference
from driftline.streams.answers import BETWEEN, Answers
from driftline.streams.calibration import LEAST_BLOCKS, blocks_for, calibration, clocks
from driftline.streams.derived import expanded
from driftline.streams.estimates import performance_profile
from driftline.streams.labels import label_counts
from driftline.streams.layout import LABEL, PREDICTION, SCORE, Layout
from driftline.streams.panes import Pane, empty_pane, rebin
from driftline.streams.sketch import TEXTS, Sketch, bucket_start
from driftline.streams.stats import bin_buckets, least_known, weighted_edges, with_bounds


def learn(model: Model, version: str, pane: Pane, effective_from: int, parts: Sequence[Pane] = ()) -> Reference:
    """The profile of a pane that was kept without a reference, in force from `effective_from` on.

    Its edges lie on the sketch's bucket boundaries, so panes that were begun as sketches are counted by it exactly; but for edges and
    bounds that the model's file gives, beside which a bucket is 1 % wide. `parts`, the panes
    that the pane is the sum of, in order of time, tell how much the features waver by themselves.
    """
    answer = "numeric" if model.task == "regression" else "categorical"
    kinds = {**expanded(model.features), PREDICTION: answer, SCORE: "numeric"}
    features = {name: _profile(sketch, kinds.get(name), name, model) for name, sketch in sorted(pane.sketches.items())}
    labelled = pane.answers.n_labelled
    performance, labels = PerformanceProfile(labelled), None
    if labelled >= model.policy.min_samples:
        performance, labels = performance_profile(model, pane.answers), label_profile(model, pane.answers)
    made = Reference(model.model, version, features, pane.n, performance, "learned", effective_from, labels=labels)
    return _calibrated(made, parts, pane.n // model.learn_windows) if parts else made


def _calibrated(made: Reference, parts: Sequence[Pane], window_rows: int) -> Reference:
    """With what the panes say of it, put together into blocks where they are many or small."""
    layout, together = Layout(made), _blocks(parts)
    panes = []
    for block in together:
        total = empty_pane(layout)
        for part in block:
            total.add(rebin(part, layout))
        panes.append(total)
    blocks = {name: np.array([layout.stretch(pane.counts, f)[0] for pane in panes]) for f, name in enumerate(layout.names)}
    profiles = made.features
    if made.labels is not None:
        blocks[LABEL] = np.array([label_counts(made.labels, pane.answers) for pane in panes])
        profiles = {**profiles, LABEL: made.labels}
    return msgspec.structs.replace(made, calibration=calibration(profiles, blocks, made.rows, window_rows), clocks=clocks(profiles, blocks))


def _blocks(parts: Sequence[Pane]) -> list[list[Pane]]:
    """Consecutive panes in groups of at least so many rows that there are no more blocks than a reference of their rows has."""
    rows = sum(part.n for part in parts)
    least = rows / max(blocks_for(rows), LEAST_BLOCKS)
    groups: list[list[Pane]] = []
    room = 0.0
    for part in parts:
        if not part.n:
            continue
        if room <= 0:
            groups.append([])
            room = least
        groups[-1].append(part)
        room -= part.n
    return groups


def label_profile(model: Model, answers: Answers) -> Profile | None:
    """The labels that answers have, as a feature; None without any, and of rankings.

    Edges of a regression's lie on bucket boundaries, so every pane's labels are counted by it exactly.
    """
    if not answers.n_labelled or model.task == "ranking":
        return None
    if model.task != "regression":
        named: dict[str, int] = {}
        for key, count in answers.confusion.items():
            name = key.split(BETWEEN)[1]
            named[name] = named.get(name, 0) + count
        kept = dict(sorted(named.items(), key=lambda item: (-item[1], item[0]))[:TEXTS])
        return _categorical(Sketch(texts=kept, text_rows=answers.n_labelled))
    buckets, whole = sorted(answers.labels), answers.labels_batch()
    ends = bucket_start(np.array([buckets[0], buckets[-1] + 1], np.int64)).tolist() if buckets else [None, None]
    counts = [answers.labels[bucket] for bucket in buckets]
    made = _numeric(Sketch(buckets, counts, minimum=ends[0], maximum=ends[1]))
    return msgspec.structs.replace(made, mean=whole.total / whole.n, m2=min(whole.m2, sys.float_info.max))


def _profile(sketch: Sketch, kind: str | None, name: str, model: Model) -> Profile:
    numeric = kind == "numeric" if kind else sketch.numeric_rows > sketch.text_rows
    if not numeric:
        return _categorical(sketch)
    own = name in {PREDICTION, SCORE}
    return _numeric(sketch, None if own else model.edges.get(name, model.edges.get("*")), model.ranges.get(name))


def _numeric(sketch: Sketch, rule: EdgeRule | None = None, bounds: Bounds | None = None) -> NumericProfile:
    buckets, counts = np.array(sketch.buckets, np.int64), np.array(sketch.counts, np.int64)
    lower, upper = bucket_start(buckets), bucket_start(buckets + 1)
    n = int(counts.sum())
    edges = weighted_edges(lower, upper, counts, rule=rule) if n else np.array([0.0])
    edges = edges if bounds is None else with_bounds(edges, bounds)
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
    least = least_known([*sketch.texts.values()], sketch.text_rows)
    texts = sorted((item for item in sketch.texts.items() if item[1] >= least), key=lambda item: (-item[1], item[0]))
    n = sketch.text_rows + sketch.numeric_rows
    return CategoricalProfile([t for t, _ in texts], [c for _, c in texts], n - sum(c for _, c in texts), n, sketch.missing)
