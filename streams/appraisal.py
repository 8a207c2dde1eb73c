"""One window's answers and labels: its performance, realised, estimated and combined, as rows for the store. Pure.

A metric is worse when it lies beyond the threshold and the difference to the reference is significant, with the level shared out over
the metrics judged and the looks at them. Estimates and the other metrics are told beside them and judged by nobody.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import chi2_contingency

from driftline.schemas.config import Model
from driftline.schemas.reference import PerformanceProfile
from driftline.schemas.results import Columns, PerformanceResult, Verdict
from driftline.streams.answers import BETWEEN, Answers, timed_out
from driftline.streams.causes import Change, typed_by_gap, typed_each
from driftline.streams.estimates import combination, expectation_of, gap, without_labels
from driftline.streams.judge import Judged
from driftline.streams.panes import Pane
from driftline.streams.performance import ERRORS, RELATIVE, judged_metrics, metrics_each
from driftline.streams.stats import UNKNOWN, Estimate, fairness, resampled

LOOKS = 5  # a window's performance is judged anew as labels come; neighbouring looks share most of them, so few count as new
GAP = "gap"  # realised less expected loss
FAIRNESS = ("demographic_parity", "disparate_impact", "equal_opportunity", "equalised_odds", "predictive_parity")
LEAST_GROUP = 30  # labelled rows of a protected group that is compared
NOT_JUDGED = "told, not judged; `judged` in the model's file names what is"

Basis = Literal["realised", "estimated", "weighted", "combined"]
_Expected = Mapping[Basis, Mapping[str, Estimate]]
_Verdict = tuple[float | None, bool | None, str]  # the threshold, whether the metric is worse (None: not judged), why there is no verdict


class _Told(NamedTuple):
    """What all rows of one window share."""

    window: Judged
    labelled: int
    assumed: int
    coverage: float
    waits: str = ""  # why more labels are needed


class _Figures:
    """The rows of one window in the making, column by column."""

    def __init__(self) -> None:
        self.metrics: list[str] = []
        self.bases: list[Basis] = []
        self.figures: list[Estimate] = []
        self.before: list[float | None] = []
        self.thresholds: list[float | None] = []
        self.verdicts: list[Verdict] = []
        self.reasons: list[str] = []

    def judged(self, metric: str, estimate: Estimate, before: float | None, verdict: _Verdict) -> None:
        """A realised figure."""
        threshold, worse, reason = verdict
        self.metrics.append(metric)
        self.bases.append("realised")
        self.figures.append(estimate)
        self.before.append(before)
        self.thresholds.append(threshold)
        self.verdicts.append("insufficient" if reason else "undefined" if worse is None else "worse" if worse else "ok")
        self.reasons.append(reason or (NOT_JUDGED if worse is None else ""))

    def told(self, metrics: Sequence[str], basis: Basis, known: Mapping[str, Estimate], before: Mapping[str, float]) -> None:
        """Figures that have no verdict."""
        many = len(metrics)
        self.metrics += metrics
        self.bases += [basis] * many
        self.figures += [known.get(name, UNKNOWN) for name in metrics]
        self.before += map(before.get, metrics)
        self.thresholds += [None] * many
        self.verdicts += ["undefined"] * many
        self.reasons += [NOT_JUDGED] * many

    def rows(self, told: _Told, change: Change = "") -> Columns[PerformanceResult]:
        """The rows."""
        window, many = told.window, len(self.metrics)
        figures = [[each if math.isfinite(each) else None for each in column] for column in zip(*self.figures, strict=True)] or [[], [], []]
        return Columns(
            PerformanceResult, many,
            (
                *([each] for each in window.key), self.metrics, self.bases, *figures, self.before, [window.pane.n], [told.labelled],
                [told.coverage], [window.maturity], self.thresholds, self.verdicts, self.reasons, *([each] for each in window.by),
                [window.revision], [told.assumed], [None], [change],
            ),
        )  # fmt: skip


def performance(window: Judged, *, drifted: bool = False, fault: bool = False) -> Columns[PerformanceResult]:
    """Every metric of the task: realised with the labels known so far; estimated without; combined.

    `drifted`, `fault`: whether some feature of the window has drifted, and whether the data of some are faulty. With them and the labels
    every row tells what kind of change the window shows.
    """
    return performances([(window, drifted, fault)])[0]


def performances(windows: Sequence[tuple[Judged, bool, bool]]) -> list[Columns[PerformanceResult]]:
    """The same of several windows, each with `drifted` and `fault`."""
    known: list[tuple[_Told, Answers]] = []
    for window, _, _ in windows:
        answers, assumed = timed_out(window.pane.answers, window.model) if window.timed_out else (window.pane.answers, 0)
        known.append((_told(window, answers.n_labelled, assumed, window.pane.n), answers))
    gaps = [_gap(told, answers) for told, answers in known]
    changes = _changes(known, gaps, [drifted for _, drifted, _ in windows], [fault for *_, fault in windows])
    realised = metrics_each([(told.window.model, answers) for told, answers in known])
    out = []
    for (told, _), figures, apart, change, expected in zip(known, realised, gaps, changes, _expected_of(known), strict=True):
        into = _Figures()
        _realised(into, told, figures)
        _expected(into, told, expected, apart)
        out.append(into.rows(told, change))
    return out


def _expected_of(windows: Sequence[tuple[_Told, Answers]]) -> list[_Expected]:
    """What is expected of each window without labels, or with few; nothing where there is no reference that knows labels."""
    asked = [
        (i, expectation_of(told.window.model, layout), told, answers, layout)
        for i, (told, answers) in enumerate(windows)
        if (layout := told.window.layout) and layout.reference.performance.n
    ]
    without = without_labels([(each, _pane(told.window, answers), layout) for _, each, told, answers, layout in asked])
    combined = combination([(each, _parts(told, answers)) for _, each, told, answers, _ in asked])
    found: list[_Expected] = [{} for _ in windows]
    for (i, *_), (estimated, weighted), together in zip(asked, without, combined, strict=True):
        found[i] = {"estimated": estimated, "weighted": weighted, "combined": together}
    return found


def _parts(told: _Told, answers: Answers) -> list[tuple[float, Answers]]:
    """A window's panes by weight. Not by their maturity, which moves on without it being told again: a row is a function of its panes."""
    parts = [(each.n / max(each.answers.n_labelled, each.n / 100), each.answers) for each in told.window.panes if each.n]
    return [(1.0, answers)] if told.window.timed_out or not parts else parts


def why_labels_wait(window: Judged, answers: Answers) -> str:
    """Why more labels are needed before anything that needs them is judged, or ""."""
    return _told(window, answers.n_labelled, 0, window.pane.n).waits


def _told(window: Judged, labelled: int, assumed: int, n: int) -> _Told:
    told = _Told(window, labelled, assumed, min(labelled / n, 1.0) if n else 0.0)
    return told._replace(waits=_waits(told))


def _gap(told: _Told, answers: Answers) -> Estimate:
    window = told.window
    return gap(expectation_of(window.model, window.layout), _pane(window, answers), window.layout) if window.layout else UNKNOWN


def _changes(
    windows: Sequence[tuple[_Told, Answers]], gaps: Sequence[Estimate], drifted: Sequence[bool], faults: Sequence[bool]
) -> list[Change]:
    """The kind of change of each; unknown while labels are waited for, but for a fault of the data."""
    known = [not fault and told.window.layout is not None and not told.waits for (told, _), fault in zip(windows, faults, strict=True)]
    scored = [i for i, (told, _) in enumerate(windows) if known[i] and told.window.model.task != "regression"]
    kinds = dict(zip(scored, _typed([windows[i] for i in scored], [drifted[i] for i in scored]), strict=True))
    return [
        ("data fault" if fault else "") if not known[i] else _change(*windows[i], gaps[i], kinds.get(i), drifted=drifted[i])
        for i, fault in enumerate(faults)
    ]


def _typed(windows: Sequence[tuple[_Told, Answers]], drifted: Sequence[bool]) -> list[Change]:
    """The kind of change by the scores."""
    if not windows:
        return []
    expected = [expectation_of(told.window.model, told.window.layout).groups for told, _ in windows if told.window.layout]
    now = [answers.scores @ groups for (_, answers), (groups, _) in zip(windows, expected, strict=True)]
    return [each.change for each in typed_each(np.stack([before for _, before in expected]), np.stack(now), drifted)]


def _change(told: _Told, answers: Answers, found: Estimate, by_score: Change | None, *, drifted: bool) -> Change:
    """The kind of change by the scores, where these say one; else by the gap."""
    window = told.window
    if by_score == "prior shift" and window.model.task == "multiclass" and not _other_shares(told, answers):
        return "concept drift"  # of several classes the score tells right from wrong: answers became worse, no class more frequent
    if by_score not in (None, "none"):
        return by_score
    profile = window.layout.reference.performance if window.layout else PerformanceProfile()
    threshold, worse, _ = _verdict_of_gap(told, found, profile)
    if by_score is not None:  # too few rows to tell by the score; but answers are worth less than they were
        return "concept drift" if worse else "none"
    return typed_by_gap(found.value, threshold, worse=worse, drifted=drifted).change


def _other_shares(told: _Told, answers: Answers) -> bool:
    """Whether the classes of the labels are as frequent as the reference's no longer."""
    layout = told.window.layout
    counts = [_actual(each) for each in (layout.reference.performance.confusion if layout else {}, answers.confusion)]
    table = np.array([[each.get(name, 0) for name in sorted(counts[0].keys() | counts[1].keys())] for each in counts])
    return table.shape[1] > 1 and bool(chi2_contingency(table).pvalue < told.window.model.policy.significance)


def _actual(confusion: Mapping[str, int]) -> Counter[str]:
    found = Counter[str]()
    for pair, count in confusion.items():
        found[pair.split(BETWEEN)[1]] += count
    return found


def _realised(into: _Figures, told: _Told, figures: Mapping[str, Estimate]) -> None:
    model = told.window.model
    known = told.window.layout.reference.performance.metrics if told.window.layout else {}
    judged = judged_metrics(model)
    beyond = _beyond(model, len(judged))
    for name, estimate in figures.items():
        before = known.get(name)
        threshold, worse = _compare(name, estimate, before, model.policy.performance_drop, beyond)
        reason = _no_verdict(told, before, estimate.value)
        into.judged(name, estimate, before, (threshold, worse if name in judged else None, reason))


def _pane(window: Judged, answers: Answers) -> Pane:
    """The window's pane with these answers."""
    return window.pane if answers is window.pane.answers else replace(window.pane, answers=answers)


def _beyond(model: Model, many: int) -> float:
    """How many standard errors a difference must have."""
    return _standard_errors(model.policy.significance, many)


@lru_cache(maxsize=1_024)
def _standard_errors(significance: float, many: int) -> float:
    return NormalDist().inv_cdf(1 - significance / (LOOKS * max(many, 1)))


def _compare(name: str, estimate: Estimate, before: float | None, drop: float, beyond: float) -> tuple[float | None, bool]:
    """The threshold, and whether the value lies past it by more than chance: `beyond` standard errors from the reference."""
    if before is None:
        return None, False
    sign = 1 if name in ERRORS else -1
    threshold = before + sign * drop * (abs(before) if name in RELATIVE else 1.0)
    # The interval's arm on the reference's side; 1.96 standard errors make 95 %.
    arm = estimate.value - estimate.lower if name in ERRORS else estimate.upper - estimate.value
    return threshold, sign * (estimate.value - threshold) > 0 and sign * (estimate.value - before) > arm / 1.96 * beyond


def _no_verdict(told: _Told, before: float | None, value: float) -> str:
    """Why the realised figure cannot be judged, or ""."""
    if told.waits:
        return told.waits
    if before is None:
        return "the reference tells no performance to compare with"
    if told.window.unjudged:
        return told.window.unjudged
    return "" if math.isfinite(value) else "the labels do not tell this metric: one class is absent"


def _waits(told: _Told) -> str:
    """Why more labels are needed, or ""."""
    model, maturity = told.window.model, told.window.maturity
    policy = model.policy
    if model.missing_label != "unknown" and not told.window.timed_out:
        return f"a prediction without a label counts as {model.missing_label} once its horizon has passed"
    if told.labelled < policy.min_samples:
        return f"{told.labelled} labels; {policy.min_samples} are needed"
    if told.coverage < policy.min_coverage:
        return f"{told.coverage:.0%} of the predictions have a label; {policy.min_coverage:.0%} are needed"
    if maturity is not None and maturity < policy.min_maturity:
        return f"{maturity:.0%} of the labels to come are expected by now; {policy.min_maturity:.0%} are needed"
    return ""


# ── without labels, or with few ─────────────────────────────────────────────────────────────────────────────────────────────


def _expected(into: _Figures, told: _Told, found: _Expected, apart: Estimate) -> None:
    window = told.window
    layout = window.layout
    if layout is None or not (profile := layout.reference.performance).n:
        return
    expectation = expectation_of(window.model, layout)
    for basis, figures in found.items():
        into.told(expectation.told(basis), basis, figures, profile.metrics)
    if expectation.told(GAP):
        into.judged(GAP, apart, 0.0, _verdict_of_gap(told, apart, profile))


def _verdict_of_gap(told: _Told, found: Estimate, profile: PerformanceProfile) -> tuple[float, bool, str]:
    model = told.window.model
    threshold = model.policy.performance_drop * (profile.metrics.get("mae", 0.0) if model.task == "regression" else 1.0)
    standard_error = (found.value - found.lower) / 1.96
    worse = found.value > threshold and found.value > _beyond(model, 1) * standard_error
    return threshold, worse, _no_verdict(told, 0.0, found.value)


# ── between the groups of a protected attribute ─────────────────────────────────────────────────────────────────────────────


def treatment(window: Judged, name: str) -> Columns[PerformanceResult]:
    """How alike a binary model treats the window's `groups`, those of the protected attribute `name`: the worst pair in each respect.

    Only the disparate impact is judged, by the policy's share.
    """
    model, into = window.model, _Figures()
    if model.task != "binary":
        return into.rows(_told(window, 0, 0, 0))
    groups = {segment: timed_out(each.answers, model)[0] if window.timed_out else each.answers for segment, each in window.groups.items()}
    n, labelled = sum(each.n for each in window.groups.values()), sum(each.n_labelled for each in groups.values())
    told = _told(replace(window, pane=replace(window.pane, n=n)), labelled, 0, n)
    for metric, estimate in _fairness(groups, model).items():
        reason = _no_verdict(told, 1.0, estimate.value)
        limit = model.policy.disparate_impact if metric == "disparate_impact" else None
        worse = estimate.upper < limit if limit is not None else None
        into.judged(f"{metric}:{name}", estimate, None, (limit, worse, reason))
    return into.rows(told)


def _fairness(groups: Mapping[str, Answers], model: Model) -> dict[str, Estimate]:
    names = sorted(groups)
    pairs = sorted({key for each in groups.values() for key in each.confusion})
    table = np.array([[groups[name].confusion.get(pair, 0) for pair in pairs] for name in names], np.int64)
    split = [(pair.split(BETWEEN)[0], pair.split(BETWEEN)[1]) for pair in pairs]

    def figure(metric: str) -> Any:
        def of(counts: np.ndarray[Any, Any]) -> float:
            confusions = {name: dict(zip(split, row, strict=True)) for name, row in zip(names, counts.tolist(), strict=True)}
            return float(getattr(fairness(confusions, model.positive, LEAST_GROUP), metric))

        return of

    return {metric: resampled(figure(metric), table, draws=50) if table.size else UNKNOWN for metric in FAIRNESS}
