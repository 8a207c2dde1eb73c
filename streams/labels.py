"""Label drift: a window's labels against those of the reference, as rows for the store beside the prediction's. Pure.

Told and revised with the performance, as labels come; judged as every feature is, once so many of them are there that performance is.
"""

from __future__ import annotations

import numpy as np

from driftline.schemas.reference import NumericProfile, Profile
from driftline.schemas.results import DriftResult, FeaturePane
from driftline.streams.answers import BETWEEN, Answers, timed_out
from driftline.streams.appraisal import why_labels_wait
from driftline.streams.drift import (
    AT_ONCE,
    LABELS,
    TRAINING,
    measured,
    rows_of,
    share_of_window,
    too_few,
    verdict_of,
    why_unjudged,
    yardstick,
)
from driftline.streams.judge import Judged
from driftline.streams.layout import LABEL, Float64
from driftline.streams.sketch import bucket_start
from driftline.streams.stats import Batch

NO_LABELS = "no labels in the reference"


def label_counts(profile: Profile, answers: Answers) -> Float64:
    """Labelled rows by the bins of a profile of labels (`learning.label_profile`)."""
    if isinstance(profile, NumericProfile):
        buckets = np.array([*answers.labels], np.int64)
        place = np.searchsorted(np.array(profile.edges), bucket_start(buckets), side="right")
        return np.bincount(place, np.array([*answers.labels.values()], np.float64), len(profile.counts)).astype(np.float64)
    counts, other = np.zeros(len(profile.categories) + 1), len(profile.categories)
    places = {name: i for i, name in enumerate(profile.categories)}
    for key, count in answers.confusion.items():
        counts[places.get(key.split(BETWEEN)[1], other)] += count
    return counts


def label_bins(window: Judged, profile: Profile) -> FeaturePane:
    """A window's labels as a feature's row."""
    answers, key = window.pane.answers, window.key
    bins, numeric = label_counts(profile, answers).astype(np.int64).tolist(), isinstance(profile, NumericProfile)
    whole = answers.labels_batch() if numeric else Batch(0, 0.0)
    mean, variance = (whole.total / whole.n, whole.m2 / whole.n) if whole.n else (None, None)
    named = {} if isinstance(profile, NumericProfile) else dict(zip(profile.categories, bins, strict=False))
    return FeaturePane(
        key.model, key.version, key.segment, key.start, window.model.pane_ms, LABEL, "numeric" if numeric else "categorical",
        window.pane.n, window.pane.n - answers.n_labelled, 0, mean, variance, None, None, bins, named, window.pane.reference,
        window.revision,
    )  # fmt: skip


def label_drift(window: Judged) -> list[DriftResult]:
    """Every test of a window's labels, as the feature `(label)`; nothing for a model without labels, and while there is no reference."""
    layout, model = window.layout, window.model
    if layout is None or not model.labels or model.task == "ranking":
        return []
    answers = timed_out(window.pane.answers, model)[0] if window.timed_out else window.pane.answers
    common = {**window.common, "coverage": min(answers.n_labelled / window.pane.n, 1.0) if window.pane.n else 0.0}
    profile = layout.reference.labels
    if profile is None:
        return [
            DriftResult(
                feature=LABEL, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=model.policy.psi,
                n_reference=0, n=answers.n_labelled, verdict="insufficient", reason=NO_LABELS, **common,
            )
        ]  # fmt: skip
    known = yardstick(layout)
    label = measured(LABEL, profile, known.test(LABEL), label_counts(profile, answers))
    worth = known.null.calibrate(np.array([label.p_value]))
    level = share_of_window(model, window.key.segment, AT_ONCE * LABELS)
    reason = why_labels_wait(window, answers) or why_unjudged(label, window)
    found = not reason and bool(worth[0] <= level)
    verdict, why = verdict_of(label, reason or too_few([label], window, known, level)[0], found, window)
    return rows_of(window, label, TRAINING, float(worth[0]), verdict, why, common)
