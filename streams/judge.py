"""One window against its reference: drift, quality and performance, as rows for the store. Pure.

A drift verdict needs both: significance (a p-value that survives Benjamini-Hochberg over the window's features) and an effect (PSI
above the threshold, and above what no drift gives at this sample size).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from driftline.schemas.config import Model, policy_hash
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile
from driftline.schemas.results import DriftResult, FeaturePane, PerformancePane, PerformanceResult, QualityResult, Verdict
from driftline.streams.layout import Int64, Layout
from driftline.streams.panes import Pane, PaneKey
from driftline.streams.performance import ERRORS, metrics
from driftline.streams.stats import Estimate, benjamini_hochberg, chi_square, ks, ks_pvalue, null_quantile, psi

LOOKS = 5  # a window's performance is judged anew as labels come; neighbouring looks share most of them, so few count as new
PROVISIONAL = "provisional: the window is still open, and nothing came for a while"


class WindowKey(NamedTuple):
    """A window of one model version and segment; `start` and `end` are event time in milliseconds."""

    model: str
    version: str
    segment: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a window's rows are computed from, and what they all carry."""

    key: WindowKey
    model: Model
    layout: Layout | None
    pane: Pane  # the sum of the window's panes
    revision: int
    is_final: bool
    provisional: bool = False  # judged because nothing comes any more, not because the watermark passed: no verdict yet

    @property
    def coverage(self) -> float:
        return self.pane.answers.n_labelled / self.pane.n if self.pane.n else 0.0

    @property
    def common(self) -> dict[str, Any]:
        return {
            "model": self.key.model, "version": self.key.version, "segment": self.key.segment, "window_start": self.key.start,
            "window_end": self.key.end, "reference": self.layout.hash if self.layout else "", "policy": policy_hash(self.model),
            "is_final": self.is_final, "revision": self.revision,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Test:
    feature: int
    name: str
    value: float
    p_value: float
    n: int
    n_reference: int
    null: float


def drift(window: Judged) -> list[DriftResult]:
    """Every test of every feature; one row a feature, verdict "learning", where there is no reference yet."""
    layout, policy = window.layout, window.model.policy
    common = {**window.common, "coverage": window.coverage}
    if layout is None:
        reason = f"the first {window.model.learn_windows} windows become the reference"
        return [
            DriftResult(
                feature=name, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=None, n_reference=0,
                n=window.pane.n, verdict="learning", reason=reason, **common,
            )
            for name in sorted(window.pane.sketches)
        ]  # fmt: skip
    tests = [test for f in range(len(layout.names)) for test in _tests(layout, window.pane.counts, f)]
    effects = {test.feature: test for test in tests if test.name == "psi"}
    significant = np.zeros(len(tests), bool)
    for name in {test.name for test in tests}:
        of_name = np.array([i for i, test in enumerate(tests) if test.name == name])
        usable = np.array([_reason(tests[i], window) == "" for i in of_name])
        p_values = np.where(usable, [tests[i].p_value for i in of_name], np.nan)
        significant[of_name] = benjamini_hochberg(p_values, policy.significance)
    rows = []
    for test, found in zip(tests, significant.tolist(), strict=True):
        effect = effects[test.feature]
        reason = _reason(test, window)
        drifted = found and effect.value > max(policy.psi, effect.null)
        without: Verdict = "undefined" if "empty" in reason else "insufficient"
        verdict: Verdict = without if reason else "drift" if drifted else "ok"
        rows.append(
            DriftResult(
                feature=layout.names[test.feature], test=test.name, value=_number(test.value), p_value=_number(test.p_value),
                null_quantile=_number(test.null), effect=_number(effect.value), threshold=policy.psi, n_reference=test.n_reference,
                n=test.n, verdict=verdict, reason=reason, **common,
            )
        )  # fmt: skip
    return rows


def _reason(test: _Test, window: Judged) -> str:
    """Why there can be no verdict, or ""."""
    min_samples = window.model.policy.min_samples
    if not test.n_reference:
        return "the reference is empty"
    if not test.n:
        return "the window is empty: every value is missing or of a wrong type"
    if min(test.n, test.n_reference) < min_samples:
        return f"{min(test.n, test.n_reference)} values; {min_samples} are needed"
    if window.provisional:
        return PROVISIONAL
    return "" if math.isfinite(test.value) else "the distance is not defined: the histograms are empty"


def _tests(layout: Layout, counts: Int64, f: int) -> list[_Test]:
    profile = layout.profiles[f]
    current, _, _ = layout.stretch(counts, f)
    reference = _reference_counts(profile)
    n, n_reference = int(current.sum()), int(reference.sum())
    if not n or not n_reference:
        return [_Test(f, "psi", math.nan, math.nan, n, n_reference, math.nan)]
    chi = chi_square(reference, current)
    nulls = {name: null_quantile(name, reference, n) for name in ("psi", "ks", "chi_square")}
    found = [
        _Test(f, "psi", psi(reference, current), chi.p_value, n, n_reference, nulls["psi"]),
        _Test(f, "chi_square", chi.statistic, chi.p_value, n, n_reference, nulls["chi_square"]),
    ]
    if isinstance(profile, NumericProfile):
        distance = ks(reference, current)
        found.insert(1, _Test(f, "ks", distance, ks_pvalue(distance, n_reference, n), n, n_reference, nulls["ks"]))
    return found


def _reference_counts(profile: Profile) -> Int64:
    other = [profile.other] if isinstance(profile, CategoricalProfile) else []
    return np.array([*profile.counts, *other], np.int64)


def quality(window: Judged) -> list[QualityResult]:
    """Missing values, values of a wrong type and unseen categories, as shares of the window's rows.

    Rows in panes of another reference are not counted by this one, so they are no part of the whole either.
    """
    layout = window.layout
    if layout is None:
        return []
    rows = []
    for f, (name, profile) in enumerate(zip(layout.names, layout.profiles, strict=True)):
        bins, missing, errors = layout.stretch(window.pane.counts, f)
        n = int(bins.sum()) + missing + errors
        if not n:
            continue
        before = profile.missing / max(profile.n + profile.missing, 1)
        policy = window.model.policy
        checks = [
            ("missing_rate", missing / n, before, before + policy.missing_rise),
            ("type_error_rate", errors / n, 0.0, policy.type_errors),
        ]
        if isinstance(profile, CategoricalProfile):
            checks.append(("new_category_rate", int(bins[-1]) / n, profile.other / max(profile.n, 1), math.nan))
        for check, value, reference_value, threshold in checks:
            reason = f"{n} rows; {policy.min_samples} are needed" if n < policy.min_samples else PROVISIONAL if window.provisional else ""
            verdict: Verdict = "insufficient" if reason else "fault" if value > threshold else "ok"
            rows.append(
                QualityResult(
                    feature=name, check=check, value=value, reference_value=reference_value, threshold=_number(threshold), n=n,
                    verdict=verdict, reason=reason,
                    coverage=window.coverage, **window.common,
                )
            )  # fmt: skip
    return rows


def performance(window: Judged) -> list[PerformanceResult]:
    """Every metric of the task with the labels known so far.

    A metric is worse when it lies beyond the threshold and the difference to the reference is significant, with the level shared
    out over the window's metrics and the looks at them.
    """
    pane, policy = window.pane, window.model.policy
    known = window.layout.reference.performance.metrics if window.layout else {}
    found = metrics(window.model, pane.answers)
    beyond = NormalDist().inv_cdf(1 - policy.significance / (LOOKS * max(len(found), 1)))
    rows = []
    for name, estimate in found.items():
        before = known.get(name)
        threshold, worse = _compare(name, estimate, before, policy.performance_drop, beyond)
        reason = _no_performance_verdict(window, before, estimate.value)
        rows.append(
            PerformanceResult(
                metric=name, basis="realised", value=_number(estimate.value), lower=_number(estimate.lower), upper=_number(estimate.upper),
                reference_value=before, n=pane.n, n_labelled=pane.answers.n_labelled, coverage=window.coverage, maturity=None,
                threshold=threshold,
                verdict="insufficient" if reason else "worse" if worse else "ok", reason=reason, **window.common,
            )
        )  # fmt: skip
    return rows


def _compare(name: str, estimate: Estimate, before: float | None, drop: float, beyond: float) -> tuple[float | None, bool]:
    """The threshold, and whether the value lies past it by more than chance: `beyond` standard errors from the reference."""
    if before is None:
        return None, False
    threshold = before * (1 + drop) if name in ERRORS else before - drop
    sign = 1 if name in ERRORS else -1
    # The interval's arm on the reference's side; 1.96 standard errors make 95 %.
    arm = estimate.value - estimate.lower if name in ERRORS else estimate.upper - estimate.value
    return threshold, sign * (estimate.value - threshold) > 0 and sign * (estimate.value - before) > arm / 1.96 * beyond


def _no_performance_verdict(window: Judged, before: float | None, value: float) -> str:
    policy, labelled = window.model.policy, window.pane.answers.n_labelled
    if labelled < policy.min_samples:
        return f"{labelled} labels; {policy.min_samples} are needed"
    if window.coverage < policy.min_coverage:
        return f"{window.coverage:.0%} of the predictions have a label; {policy.min_coverage:.0%} are needed"
    if before is None:
        return "the reference tells no performance to compare with"
    if window.provisional:
        return PROVISIONAL
    return "" if math.isfinite(value) else "the labels do not tell this metric: one class is absent"


def feature_rows(key: PaneKey, model: Model, layout: Layout | None, pane: Pane, revision: int) -> list[FeaturePane]:
    """One pane's features as rows."""
    common: dict[str, Any] = {
        "model": key.model, "version": key.version, "segment": key.segment, "pane_start": key.start, "pane_ms": model.pane_ms,
        "n": pane.n, "reference": pane.reference, "revision": revision,
    }  # fmt: skip
    if layout is None:
        return [
            FeaturePane(
                feature=name, kind="numeric" if s.numeric_rows > s.text_rows else "categorical", missing=s.missing,
                type_errors=s.type_errors, minimum=_number(s.minimum), maximum=_number(s.maximum), bins=[], categories=s.texts,
                **_moments(s.numeric_rows, s.total, s.squares), **common,
            )
            for name, s in sorted(pane.sketches.items())
        ]  # fmt: skip
    rows = []
    for f, (name, profile) in enumerate(zip(layout.names, layout.profiles, strict=True)):
        bins, missing, errors = layout.stretch(pane.counts, f)
        if isinstance(profile, NumericProfile):
            scale, centre = float(layout.scale[f]), float(layout.centre[f])
            moments = _moments(int(bins.sum()), float(pane.sums[f, 0]), float(pane.sums[f, 1]), centre, scale)
            low, high = pane.extremes[f].tolist()
            rows.append(
                FeaturePane(
                    feature=name, kind="numeric", missing=missing, type_errors=errors, minimum=_number(low), maximum=_number(high),
                    bins=bins.tolist(), categories={}, **moments, **common,
                )
            )  # fmt: skip
        else:
            categories = {text: int(c) for text, c in zip(profile.categories, bins, strict=False) if c} | pane.novel.get(name, {})
            rows.append(
                FeaturePane(
                    feature=name, kind="categorical", missing=missing, type_errors=errors, mean=None, variance=None, minimum=None,
                    maximum=None, bins=bins.tolist(), categories=categories, **common,
                )
            )  # fmt: skip
    return rows


def _moments(n: int, total: float, squares: float, centre: float = 0.0, scale: float = 1.0) -> dict[str, Any]:
    """Mean and population variance from the sums of (x − centre) / scale and of its square; None beyond what a float holds.

    >>> _moments(2, 2e200, float("inf"))
    {'mean': 1e+200, 'variance': None}
    """
    if not n:
        return {"mean": None, "variance": None}
    mean = total / n
    return {"mean": _number(centre + scale * mean), "variance": _number(scale * scale * max(squares / n - mean * mean, 0.0))}


def performance_row(key: PaneKey, model: Model, pane: Pane, revision: int) -> PerformancePane:
    """One pane's predictions and labels as a row."""
    answers = pane.answers
    wrong, true = answers.scores.tolist()
    return PerformancePane(
        key.model, key.version, key.segment, key.start, model.pane_ms, pane.n, answers.n_labelled, answers.confusion, wrong, true,
        answers.sum_of("error"), answers.sum_of("absolute"), answers.sum_of("squares"), answers.delays.tolist(), pane.reference, revision,
    )  # fmt: skip


def _number(value: float | None) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
