"""Drift of one window: every feature against its baseline, as rows for the store. Pure.

A verdict of drift needs both: significance (the smooth test's p-value, made honest by the reference's own wavering, that survives
Benjamini-Hochberg over the window's features at the level the budget of false alarms leaves for it) and an effect: PSI above the threshold,
and above what no drift gives at this sample size; or a move of the whole feature or of one category. What a fault of the data explains is
no drift.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from driftline.schemas.config import DAY_MS, Model
from driftline.schemas.reference import JointProfile, NumericProfile
from driftline.schemas.results import DriftResult, Verdict
from driftline.streams.battery import Battery, Measured
from driftline.streams.calibration import Yardstick
from driftline.streams.judge import Judged
from driftline.streams.layout import LABEL, PREDICTION, SCORE, Float64, Int64, KeptByLayout, Layout
from driftline.streams.panes import Pane
from driftline.streams.segments import cells_expected
from driftline.streams.stats import TESTS, benjamini_hochberg

Severity = Literal["", "warning", "critical"]
TRAINING = "training"
CLOCK = "an id or a clock, or the reference was sorted by it: leave it out, or shuffle the table"
#: How the budget of false alarms is shared out: what windows show at once, in the whole and in segments; and what lasts over windows.
AT_ONCE, LASTING = 0.8, 0.2
LABELS = 0.1  # of what windows show at once, where a model has labels: theirs
TOGETHER = 0.1  # the same of features together, where they are judged
LATELY = 20_000  # features of windows whose figures are remembered
AT_A_TIME = 16_000  # bins of windows that are measured side by side: with fewer NumPy's calls cost more than what they do
_WEEK_MS = 7 * DAY_MS
_About = tuple[Layout, tuple[str, ...], bytes]
_lately: dict[_About, list[Measured]] = {}


@dataclass(frozen=True, slots=True)
class Baseline:
    """What windows are compared with: the reference's own rows, or other rows counted in its bins (a vector of a layout's counts)."""

    name: str = TRAINING
    counts: Int64 | None = None
    missing: str = ""  # why there is none
    missing_of: Mapping[str, str] = field(default_factory=dict)  # by feature, where some have none
    joint: JointProfile | None = None  # what its features do together; of the reference it stands there

    @property
    def digest(self) -> int:
        """Two baselines of the same rows have the same."""
        return zlib.crc32(b"" if self.counts is None else self.counts.tobytes())


def level(model: Model, segment: str) -> float:
    """The chance of a false alarm that the features of one window may take, so that all of a week stay within the budget.

    >>> round(level(Model("m", labels=False), "") * 7 * 24, 3)  # hourly windows and no segments
    0.08
    """
    share = 1 - LABELS * model.labels - TOGETHER * model.multivariate
    return share_of_window(model, segment, AT_ONCE * share / max(len(model.baselines), 1))


def share_of_window(model: Model, segment: str, share: float) -> float:
    """What one window may take of this share of the budget: the chance of a false alarm."""
    windows = sum(_WEEK_MS / window.every_ms for window in model.windows)
    budget = model.policy.false_alarms * share / windows
    if model.segments:
        budget /= 2 * (cells_expected(model) if segment else 1)
    return min(budget, 0.5)


def drift(window: Judged, faults: Mapping[str, str] | None = None, baseline: Baseline | None = None) -> list[DriftResult]:
    """Every test of every feature; one row a feature, verdict "learning", where there is no reference yet.

    `faults` says what is wrong with the data of some features (`quality.faults_of`): they, and the model's answers to them, do not drift.
    """
    layout, against = window.layout, baseline or Baseline()
    if layout is None:
        return _learning(window)
    known, tests = yardstick(layout), battery(layout)
    features = _measured(window, layout, against)
    reasons = [against.missing or against.missing_of.get(feature.name) or why_unjudged(feature, window) for feature in features]
    wrong = {**_blamed(faults or {}), **(faults or {})}
    p_values = np.array([feature.p_value for feature in features])
    usable = np.array([not reason and feature.name not in wrong for feature, reason in zip(features, reasons, strict=True)], bool)
    chances = np.stack([np.where(usable, p_values, np.nan), tests.tails(features, window.model.policy.psi)])
    worth, tails = known.null.calibrate(chances) if features else chances
    allowed = level(window.model, window.key.segment)
    believed = benjamini_hochberg(worth, allowed)
    smallest = allowed / max(int(usable.sum()), 1)  # what a feature that drifts alone must reach
    rows: list[DriftResult] = []
    reasons = [reason or few for reason, few in zip(reasons, too_few(features, tails, smallest), strict=True)]
    for feature, reason, significance, found in zip(features, reasons, worth.tolist(), believed.tolist(), strict=True):
        verdict, why = verdict_of(feature, reason, found, window, wrong.get(feature.name, ""))
        rows += rows_of(window, feature, against.name, significance, verdict, why, window.coverage)
    return rows


def measure(windows: Iterable[tuple[Layout, Pane]], tests: tuple[str, ...]) -> None:
    """Work out beforehand what `drift` will ask about several windows and their references; those of one reference side by side."""
    new: defaultdict[Layout, dict[_About, Pane]] = defaultdict(dict)
    for layout, pane in windows:
        about = _about(layout, tests, pane)
        if about not in _lately and len(new[layout]) < LATELY // max(len(layout.names), 1):
            new[layout][about] = pane
    for layout, panes in new.items():
        known, many = battery(layout), max(AT_A_TIME // max(layout.length, 1), 1)
        for start in range(0, len(panes), many):
            abouts = [*panes][start : start + many]
            counts = known.matrix(np.stack([panes[about].counts for about in abouts]), layout.starts)
            bounds = np.stack([panes[about].extremes for about in abouts])
            for about, found in zip(abouts, known.measured(counts, bounds, tests), strict=True):
                _remember(about, found)


def _about(layout: Layout, tests: tuple[str, ...], pane: Pane, other: Int64 | None = None) -> _About:
    """What the figures of a window depend on."""
    content = hashlib.blake2b(pane.counts.tobytes(), digest_size=16)
    content.update(pane.extremes.tobytes())
    content.update(b"" if other is None else b"against" + other.tobytes())
    return layout, tests, content.digest()


def _remember(about: _About, found: list[Measured]) -> None:
    _lately[about] = found
    while len(_lately) > max(LATELY // max(len(found), 1), 1):
        del _lately[next(iter(_lately))]


def _measured(window: Judged, layout: Layout, against: Baseline) -> list[Measured]:
    """The figures of every feature; those of windows judged lately are remembered, for each is judged once more when it is final."""
    pane, tests, other = window.pane, battery(layout), against.counts
    about = _about(layout, window.model.tests, pane, other)
    if about not in _lately:
        rows = None if other is None else tests.matrix(other, layout.starts)
        [found] = tests.measured(tests.matrix(pane.counts, layout.starts)[None], pane.extremes[None], window.model.tests, rows)
        _remember(about, found)
    return _lately[about]


def _learning(window: Judged) -> list[DriftResult]:
    model = window.model
    reason = f"the first {model.learn_windows} windows in a row with {model.policy.min_samples} rows together become the reference"
    return [
        DriftResult(
            feature=name, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=None, n_reference=0,
            n=window.pane.n, verdict="learning", reason=reason, coverage=window.coverage, **window.common,
        )
        for name in sorted(window.pane.sketches)
    ]  # fmt: skip


@KeptByLayout
def yardstick(layout: Layout) -> Yardstick:
    """The tests of a layout's features, made once."""
    return Yardstick(layout.reference)


@KeptByLayout
def battery(layout: Layout) -> Battery:
    """The same, for all features at once."""
    return Battery(layout.names, layout.profiles, [yardstick(layout).test(name) for name in layout.names])


def _blamed(faults: Mapping[str, str]) -> dict[str, str]:
    """The model's answers follow its inputs: where those are faulty, they say nothing."""
    inputs = {name: why for name, why in faults.items() if name not in {PREDICTION, SCORE}}
    if not inputs:
        return {}
    name, why = next(iter(sorted(inputs.items())))
    return dict.fromkeys((PREDICTION, SCORE), f"the inputs are faulty: {name}, {why}")


def why_unjudged(feature: Measured, window: Judged) -> str:
    """Why there can be no verdict, or ""."""
    least = window.model.policy.min_samples
    if not feature.n_reference:
        return "the reference is empty"
    if not feature.n:
        return "the window is empty: every value is missing or of a wrong type"
    if min(feature.n, feature.n_reference) < least:
        return f"{min(feature.n, feature.n_reference)} values; {least} are needed"
    if window.unjudged:
        return window.unjudged
    if window.layout is not None and feature.name in window.layout.reference.clocks:
        return CLOCK
    return "" if math.isfinite(feature.effect) else "the distance is not defined: the histograms are empty"


def too_few(features: Sequence[Measured], tails: Float64, smallest: float) -> list[str]:
    """Where the rows could not show a drift of the size that matters; then it is not known either that there is none.

    `tails`: the p-value of each feature, as the reference has it, were there a drift of that size and nothing else.
    """
    found = []
    for feature, chance in zip(features, tails.tolist(), strict=True):
        told = chance <= smallest or feature.lone  # a constant is another one or it is not
        what = f"{feature.n} values against {feature.n_reference}, worth {feature.worth:.0f} independent ones"
        found.append("" if told else f"not enough data for a verdict at this budget: {what}")
    return found


def verdict_of(feature: Measured, reason: str, found: bool, window: Judged, fault: str = "") -> tuple[Verdict, str]:
    """The verdict on a feature, and why there is none or a fault."""
    if fault and feature.n and feature.n_reference:
        return "fault", fault
    policy, numeric = window.model.policy, isinstance(feature.profile, NumericProfile)
    if found and feature.effect > max(policy.psi, feature.null):
        return "drift", ""
    if found and numeric and feature.moved > policy.shift:
        return "drift", f"its place or spread moved by {feature.moved:.2f} standard deviations"
    if found and not numeric and feature.moved > policy.share:
        return "drift", f"a share changed by {100 * feature.moved:.1f} points"
    if "empty" in reason:
        return "undefined", reason
    return ("insufficient", reason) if reason else ("ok", "")


def rows_of(
    window: Judged, feature: Measured, baseline: str, significance: float, verdict: Verdict, reason: str, coverage: float
) -> list[DriftResult]:
    """A row a test."""
    policy = window.model.policy
    effect, significant = _number(feature.effect), _number(significance)
    severity: Severity = "" if verdict != "drift" else "critical" if feature.effect >= 2 * policy.psi else "warning"
    figures = feature.figures or [(name, math.nan, math.nan, math.nan) for name in _unknown(feature, window.model)]
    return [
        DriftResult(
            *window.key, feature.name, name, _number(value), _number(p_value), _number(null), effect, policy.psi, feature.n_reference,
            feature.n, verdict, reason, *window.by, coverage, window.revision, significant, feature.direction, severity, baseline,
        )
        for name, value, p_value, null in figures
    ]  # fmt: skip


def _unknown(feature: Measured, model: Model) -> list[str]:
    """The tests that are told of a feature without rows. Labels may be taken back, down to none, so each of their rows is told then too."""
    numeric = isinstance(feature.profile, NumericProfile)
    every: dict[str, None] = dict.fromkeys(("psi", *model.tests)) if feature.name == LABEL else {"psi": None}
    return [name for name in every if numeric or TESTS[name].needs == "bins"]


def _number(value: float | None) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
