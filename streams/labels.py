"""Label drift: a window's labels against those of the reference, as rows for the store beside the prediction's. Pure.

Told and revised with the performance, as labels come; judged as every feature is, once so many of them are there that performance is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from driftline.schemas.reference import NumericProfile, Profile
from driftline.schemas.results import Columns, DriftResult, FeaturePane, columns_of
from driftline.streams.answers import BETWEEN, Answers, timed_out
from driftline.streams.appraisal import why_labels_wait
from driftline.streams.battery import Battery
from driftline.streams.drift import (
    AT_ONCE,
    LABELS,
    TRAINING,
    rows_of,
    share_of_window,
    too_few,
    verdicts_of,
    why_unjudged,
    yardstick,
)
from driftline.streams.judge import Judged
from driftline.streams.layout import LABEL, Float64, KeptByLayout, Layout
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


@KeptByLayout
def _battery(layout: Layout) -> Battery:
    """The tests of a reference's labels, of which it has some."""
    profile = layout.reference.labels
    assert profile is not None
    return Battery([LABEL], [profile], [yardstick(layout).test(LABEL)])


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


def label_drift(windows: Sequence[Judged]) -> Iterator[Columns[DriftResult]]:
    """Every test of the labels of windows, of any models, as the feature `(label)`: of those of one reference as one part. Nothing for a
    model without labels, and of windows for which there is no reference yet.
    """
    of: dict[tuple[Layout, bool], list[tuple[Judged, Answers]]] = defaultdict(list)  # by reference, and whether it is a segment
    for window in windows:
        layout, model = window.layout, window.model
        if layout is None or not model.labels or model.task == "ranking":
            continue
        answers = timed_out(window.pane.answers, model)[0] if window.timed_out else window.pane.answers
        if layout.reference.labels is None:
            yield columns_of([_unknown(window, answers)])
        else:
            of[layout, window.key.segment != ""].append((window, answers))
    for (layout, _), each in of.items():
        yield _judged(layout, each)


def _unknown(window: Judged, answers: Answers) -> DriftResult:
    return DriftResult(
        feature=LABEL, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=window.model.policy.psi,
        n_reference=0, n=answers.n_labelled, verdict="insufficient", reason=NO_LABELS, coverage=_coverage(window, answers), **window.common,
    )  # fmt: skip


def _coverage(window: Judged, answers: Answers) -> float:
    return min(answers.n_labelled / window.pane.n, 1.0) if window.pane.n else 0.0


def _judged(layout: Layout, windows: Sequence[tuple[Judged, Answers]]) -> Columns[DriftResult]:
    """Of windows of one reference, which has labels."""
    profile, known, model = layout.reference.labels, yardstick(layout), windows[0][0].model
    assert profile is not None
    tests, level = _battery(layout), share_of_window(model, windows[0][0].key.segment, AT_ONCE * LABELS)
    counts = np.stack([label_counts(profile, answers)[None] for _, answers in windows])
    found = tests.measured(counts, np.full((len(windows), 1, 2), np.nan), model.tests)
    worth, tails = known.null.calibrate(np.stack([found.p_value, tests.tails(found.worth, model.policy.psi)]))
    figures = zip(found.n[:, 0].tolist(), found.n_reference[:, 0].tolist(), found.effect[:, 0].tolist(), strict=True)
    reasons = [
        why_labels_wait(window, answers) or why_unjudged(LABEL, *each, window)
        for (window, answers), each in zip(windows, figures, strict=True)
    ]
    believed = (worth[:, 0] <= level) & ~np.array([*map(bool, reasons)])
    verdicts, reasons = verdicts_of(found, tests, too_few(reasons, found, tests, tails, level), believed, model.policy, {})
    coverage = [_coverage(*each) for each in windows]
    return rows_of([window for window, _ in windows], tests, found, [TRAINING] * len(windows), worth, verdicts, reasons, coverage)
