"""Drift of one window: every feature against its baseline, as rows for the store. Pure.

A verdict of drift needs both: significance (the smooth test's p-value, made honest by the reference's own wavering, that survives
Benjamini-Hochberg over the window's features at the level the budget of false alarms leaves for it) and an effect: PSI above the threshold,
and above what no drift gives at this sample size; or a move of the whole feature or of one category. What a fault of the data explains is
no drift.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from driftline.schemas.config import DAY_MS, Model
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile
from driftline.schemas.results import DriftResult, Verdict
from driftline.streams.calibration import Yardstick, counts_of
from driftline.streams.judge import Judged
from driftline.streams.layout import LABEL, PREDICTION, SCORE, Float64, Int64, Layout
from driftline.streams.segments import cells_expected
from driftline.streams.stats import TESTS, SmoothTest, benjamini_hochberg, bin_positions, chi_square, l_infinity, null_draws, psi

TRAINING = "training"
CLOCK = "an id or a clock, or the reference was sorted by it: leave it out, or shuffle the table"
#: How the budget of false alarms is shared out: what windows show at once, in the whole and in segments; and what lasts over windows.
AT_ONCE, LASTING = 0.8, 0.2
LABELS = 0.1  # of what windows show at once, where a model has labels: theirs
TOGETHER = 0.1  # the same of features together, where they are judged
NULL_DRAWS = 199
_WEEK_MS = 7 * DAY_MS
_QUIET = 1e-9  # a direction is told only where something moved


@dataclass(frozen=True, slots=True)
class Baseline:
    """What windows are compared with: the reference's own rows, or other rows counted in its bins (a vector of a layout's counts)."""

    name: str = TRAINING
    counts: Int64 | None = None
    missing: str = ""  # why there is none
    missing_of: Mapping[str, str] = field(default_factory=dict)  # by feature, where some have none

    @property
    def digest(self) -> int:
        """Two baselines of the same rows have the same."""
        return zlib.crc32(b"" if self.counts is None else self.counts.tobytes())


@dataclass(frozen=True, slots=True)
class Measured:
    """One feature's histograms and how far apart they are; `bounds`: the smallest and largest value of the window."""

    name: str
    profile: Profile
    reference: Float64
    counts: Float64
    test: SmoothTest
    p_value: float
    effect: float
    null: float  # of the effect
    bounds: tuple[float, float] = (math.nan, math.nan)
    moved: float = 0.0  # standard deviations of a numeric feature; of categories the largest change of a share; 0 or more
    n: int = field(init=False)
    n_reference: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", int(self.counts.sum()))
        object.__setattr__(self, "n_reference", int(self.reference.sum()))


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
    known = yardstick(layout)
    features = [_of_feature(window, layout, known, f, against) for f in range(len(layout.names))]
    reasons = [against.missing or against.missing_of.get(feature.name) or why_unjudged(feature, window) for feature in features]
    wrong = {**_blamed(faults or {}), **(faults or {})}
    p_values = np.array([feature.p_value for feature in features])
    usable = np.array([not reason and feature.name not in wrong for feature, reason in zip(features, reasons, strict=True)], bool)
    worth = known.null.calibrate(np.where(usable, p_values, np.nan)) if features else p_values
    allowed = level(window.model, window.key.segment)
    believed = benjamini_hochberg(worth, allowed)
    smallest = allowed / max(int(usable.sum()), 1)  # what a feature that drifts alone must reach
    rows: list[DriftResult] = []
    common = {**window.common, "coverage": window.coverage}
    reasons = [reason or few for reason, few in zip(reasons, too_few(features, window, known, smallest), strict=True)]
    for feature, reason, significance, found in zip(features, reasons, worth.tolist(), believed.tolist(), strict=True):
        verdict, why = verdict_of(feature, reason, found, window, wrong.get(feature.name, ""))
        rows += rows_of(window, feature, against.name, significance, verdict, why, common)
    return rows


def _learning(window: Judged) -> list[DriftResult]:
    reason = f"the first {window.model.learn_windows} windows become the reference"
    return [
        DriftResult(
            feature=name, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=None, n_reference=0,
            n=window.pane.n, verdict="learning", reason=reason, coverage=window.coverage, **window.common,
        )
        for name in sorted(window.pane.sketches)
    ]  # fmt: skip


@lru_cache(maxsize=256)
def yardstick(layout: Layout) -> Yardstick:
    """The tests of a layout's features, made once."""
    return Yardstick(layout.reference)


def _of_feature(window: Judged, layout: Layout, known: Yardstick, f: int, against: Baseline) -> Measured:
    counts = layout.stretch(window.pane.counts, f)[0].astype(np.float64)
    other = None if against.counts is None else layout.stretch(against.counts, f)[0].astype(np.float64)
    low, high = window.pane.extremes[f].tolist()
    return measured(layout.names[f], layout.profiles[f], known.test(layout.names[f]), counts, other, (low, high))


def measured(
    name: str,
    profile: Profile,
    test: SmoothTest,
    counts: Float64,
    other: Float64 | None = None,
    bounds: tuple[float, float] = (math.nan,) * 2,
) -> Measured:
    """The counts of a window against those of a profile, or against others in its bins."""
    reference = counts_of(profile) if other is None else other
    if not counts.sum() or not reference.sum():
        return Measured(name, profile, reference, counts, test, math.nan, math.nan, math.nan, bounds)
    null = _null_of_psi(reference, counts, test.dispersion)
    numeric = isinstance(profile, NumericProfile)
    moved = test.moved(counts, other) if numeric else l_infinity(reference, counts)
    return Measured(name, profile, reference, counts, test, test.p_value(counts, other), psi(reference, counts), null, bounds, moved)


def _null_of_psi(reference: Float64, counts: Float64, dispersion: float) -> float:
    """The PSI that no drift stays below in 95 % of windows: drawn for a size near this one, and brought to this one."""
    n, m = (max(float(side.sum()) / dispersion, 1.0) for side in (reference, counts))
    near = 2 ** (math.floor(2 * math.log2(m)) / 2)
    shape = np.maximum(np.rint(reference / dispersion), reference > 0).astype(np.int64)
    return _drawn_null(shape.tobytes(), round(near)) * (1 / n + 1 / m) / (1 / n + 1 / round(near))


@lru_cache(maxsize=32_768)
def _drawn_null(shape: bytes, n: int) -> float:
    return float(np.quantile(null_draws(psi.each, np.frombuffer(shape, np.int64), n, draws=NULL_DRAWS), 0.95))


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


def too_few(features: Sequence[Measured], window: Judged, known: Yardstick, smallest: float) -> list[str]:
    """Where the rows could not show a drift of the size that matters; then it is not known either that there is none."""
    sizes = [(f.n * f.n_reference / max(f.n + f.n_reference, 1) / f.test.dispersion, len(f.test.basis)) for f in features]
    tails = [f.test.tail(scores + worth * window.model.policy.psi) for f, (worth, scores) in zip(features, sizes, strict=True)]
    found = []
    for feature, (worth, scores), chance in zip(features, sizes, known.null.calibrate(tails).tolist(), strict=True):
        told = chance <= smallest or (not scores and feature.test.blocks > 0)  # a constant is another one or it is not
        what = f"{feature.n} values against {feature.n_reference}, worth {worth:.0f} independent ones"
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
    window: Judged, feature: Measured, baseline: str, significance: float, verdict: Verdict, reason: str, common: Mapping[str, Any]
) -> list[DriftResult]:
    """A row a test."""
    policy, direction = window.model.policy, _direction(feature)
    rows = []
    for name, value, p_value, null in _figures(window, feature):
        rows.append(
            DriftResult(
                feature=feature.name, test=name, value=_number(value), p_value=_number(p_value), null_quantile=_number(null),
                effect=_number(feature.effect), threshold=policy.psi, n_reference=feature.n_reference, n=feature.n, verdict=verdict,
                reason=reason, significance=_number(significance), direction=direction, baseline=baseline,
                severity="" if verdict != "drift" else "critical" if feature.effect >= 2 * policy.psi else "warning",
                **common,
            )
        )  # fmt: skip
    return rows


def _figures(window: Judged, feature: Measured) -> list[tuple[str, float, float, float]]:
    """Name, value, p-value of independent rows, and null quantile of every test that the model wants and the feature allows."""
    reference, counts = feature.reference, feature.counts
    numeric = isinstance(feature.profile, NumericProfile)
    wanted = [name for name in dict.fromkeys(("psi", *window.model.tests)) if numeric or TESTS[name].needs == "bins"]
    if not counts.sum() or not reference.sum():
        # Labels may be taken back, down to none, so each of their rows is told then too.
        return [(name, math.nan, math.nan, math.nan) for name in (wanted if feature.name == LABEL else ("psi",))]
    figures: list[tuple[str, float, float, float]] = []
    chi = chi_square(reference, counts)
    for name in wanted:
        test = TESTS[name]
        if name == "psi":
            figures.append((name, feature.effect, chi.p_value, feature.null))
            continue
        at = _positions(feature) if test.needs == "positions" else np.arange(counts.size, dtype=np.float64)
        value, p_value = (chi.statistic, chi.p_value) if name == "chi_square" else test.measure(reference, counts, at)
        alike = feature.test.dispersion
        shape = reference if alike == 1 else np.maximum(np.rint(reference / alike), 1.0 * (reference > 0))
        null = _null_quantile(name, shape.tobytes(), max(round(counts.sum() / alike), 1), at.tobytes())
        figures.append((name, value, p_value, null))
    return figures


@lru_cache(maxsize=16_384)
def _null_quantile(test: str, reference: bytes, n: int, at: bytes) -> float:
    """What a test stays below in 95 % of windows of `n` rows; the same for window after window."""
    return TESTS[test].null_quantile(np.frombuffer(reference), n, 0.95, np.frombuffer(at))


def _positions(feature: Measured) -> Float64:
    """The value each bin stands for; the outer bins reach to what was seen on either side."""
    profile = feature.profile
    assert isinstance(profile, NumericProfile)
    seen = [bound for bound in (profile.minimum, profile.maximum, *feature.bounds) if bound is not None and math.isfinite(bound)]
    return bin_positions(profile.edges, min(seen, default=profile.edges[0]), max(seen, default=profile.edges[-1]))


def _direction(feature: Measured) -> str:
    """Which way a feature moved: up, down, wider, narrower; of categories, which one moved most."""
    if not feature.n or not feature.n_reference:
        return ""
    moved = feature.counts / feature.n - feature.reference / feature.n_reference
    if isinstance(feature.profile, CategoricalProfile):
        most = int(np.abs(moved).argmax())
        names = [*feature.profile.categories, "others"]
        return f"{'more' if moved[most] > 0 else 'less'} {names[most]}" if abs(moved[most]) > _QUIET else ""
    scores = feature.test.basis[:2] @ moved if len(feature.test.basis) else np.cumsum(-moved)[:-1]
    if not len(scores) or np.abs(scores).max() <= _QUIET:
        return ""
    if not len(feature.test.basis):
        return "up" if scores.sum() > 0 else "down"
    if len(scores) == 1 or abs(scores[0]) >= abs(scores[1]):
        return "up" if scores[0] > 0 else "down"
    return "wider" if scores[1] > 0 else "narrower"


def _number(value: float | None) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
