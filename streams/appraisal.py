"""One window's answers and labels: its performance, realised, estimated and combined, as rows for the store. Pure.

A metric is worse when it lies beyond the threshold and the difference to the reference is significant, with the level shared out over
the metrics judged and the looks at them. Estimates and the other metrics are told beside them and judged by nobody.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import chi2_contingency

from driftline.schemas.config import Model
from driftline.schemas.reference import PerformanceProfile
from driftline.schemas.results import PerformanceResult, Verdict
from driftline.streams.answers import BETWEEN, Answers, timed_out
from driftline.streams.causes import Change, typed, typed_by_gap
from driftline.streams.estimates import combination, expectation_of, gap, without_labels
from driftline.streams.judge import Judged
from driftline.streams.panes import Pane
from driftline.streams.performance import ERRORS, RELATIVE, judged_metrics, metrics
from driftline.streams.stats import UNKNOWN, Estimate, fairness, resampled

LOOKS = 5  # a window's performance is judged anew as labels come; neighbouring looks share most of them, so few count as new
GAP = "gap"  # realised less expected loss
FAIRNESS = ("demographic_parity", "disparate_impact", "equal_opportunity", "equalised_odds", "predictive_parity")
LEAST_GROUP = 30  # labelled rows of a protected group that is compared
NOT_JUDGED = "told, not judged; `judged` in the model's file names what is"

Basis = Literal["realised", "estimated", "weighted", "combined"]


class _Told(NamedTuple):
    """What all rows of one window share."""

    window: Judged
    labelled: int
    assumed: int
    coverage: float
    waits: str = ""  # why more labels are needed
    change: Change = ""

    def row(
        self, metric: str, basis: Basis, estimate: Estimate, before: float | None, verdict: tuple[float | None, bool | None, str]
    ) -> PerformanceResult:
        """One row. `verdict`: the threshold, whether the metric is worse (None: not judged), and why there is no verdict."""
        window, (threshold, worse, reason) = self.window, verdict
        value, lower, upper = map(_number, estimate)
        said: Verdict = "insufficient" if reason else "undefined" if worse is None else "worse" if worse else "ok"
        rows = (window.pane.n, self.labelled, self.coverage, window.maturity)
        why = reason or (NOT_JUDGED if worse is None else "")
        return PerformanceResult(
            *window.key, metric, basis, value, lower, upper, before, *rows, threshold, said, why, *window.by, window.revision,
            self.assumed, None, self.change,
        )  # fmt: skip


def performance(window: Judged, *, drifted: bool = False, fault: bool = False) -> list[PerformanceResult]:
    """Every metric of the task: realised with the labels known so far; estimated without; combined.

    `drifted`, `fault`: whether some feature of the window has drifted, and whether the data of some are faulty. With them and the labels
    every row tells what kind of change the window shows.
    """
    return performances([(window, drifted, fault)])[0]


def performances(windows: Sequence[tuple[Judged, bool, bool]]) -> list[list[PerformanceResult]]:
    """The same of several windows, each with `drifted` and `fault`."""
    known: list[tuple[_Told, Answers]] = []
    for window, drifted, fault in windows:
        answers, assumed = timed_out(window.pane.answers, window.model) if window.timed_out else (window.pane.answers, 0)
        n = window.pane.n
        told = _told(window, answers.n_labelled, assumed, n)
        known.append((told._replace(change=_change(told, answers, drifted, fault)), answers))
    combined = _combined(known)
    return [[*_realised(told, answers), *_expected(told, answers, found)] for (told, answers), found in zip(known, combined, strict=True)]


def _combined(windows: Sequence[tuple[_Told, Answers]]) -> list[dict[str, Estimate]]:
    """The combined figures of each window; none where there is no reference that knows labels."""
    known = [i for i, (told, _) in enumerate(windows) if told.window.layout and told.window.layout.reference.performance.n]
    asked = [
        (expectation_of(told.window.model, told.window.layout), _parts(told, answers))
        for told, answers in (windows[i] for i in known)
        if told.window.layout
    ]
    figures = dict(zip(known, combination(asked), strict=True))
    return [figures.get(i, {}) for i in range(len(windows))]


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


def _change(told: _Told, answers: Answers, drifted: bool, fault: bool) -> Change:
    """The kind of change; unknown while labels are waited for, but for a fault of the data."""
    window = told.window
    if fault or window.layout is None or told.waits:
        return "data fault" if fault else ""
    expectation = expectation_of(window.model, window.layout)
    if window.model.task != "regression":
        change = typed(expectation.every_score, answers.scores, drifted=drifted).change
        if change == "prior shift" and window.model.task == "multiclass" and not _other_shares(told, answers):
            return "concept drift"  # of several classes the score tells right from wrong: answers became worse, no class more frequent
        if change != "none":
            return change
    found = gap(expectation, _pane(window, answers), window.layout)
    threshold, worse, _ = _verdict_of_gap(told, found, window.layout.reference.performance)
    if window.model.task != "regression":  # too few rows to tell by the score; but answers are worth less than they were
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


def _realised(told: _Told, answers: Answers) -> Iterator[PerformanceResult]:
    model = told.window.model
    known = told.window.layout.reference.performance.metrics if told.window.layout else {}
    judged = judged_metrics(model)
    found = metrics(model, answers)
    beyond = _beyond(model, len(judged))
    for name, estimate in found.items():
        before = known.get(name)
        threshold, worse = _compare(name, estimate, before, model.policy.performance_drop, beyond)
        reason = _no_verdict(told, before, estimate.value)
        yield told.row(name, "realised", estimate, before, (threshold, worse if name in judged else None, reason))


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


def _expected(told: _Told, answers: Answers, combined: Mapping[str, Estimate]) -> Iterator[PerformanceResult]:
    window = told.window
    layout = window.layout
    if layout is None or not (profile := layout.reference.performance).n:
        return
    expectation, pane = expectation_of(window.model, layout), _pane(window, answers)
    estimated, weighted = without_labels(expectation, pane, layout)
    found: dict[Basis, Mapping[str, Estimate]] = {"estimated": estimated, "weighted": weighted, "combined": combined}
    for basis, figures in found.items():
        for name in expectation.told(basis):
            yield told.row(name, basis, figures.get(name, UNKNOWN), profile.metrics.get(name), (None, None, ""))
    if expectation.told("gap"):
        apart = gap(expectation, pane, layout)
        yield told.row(GAP, "realised", apart, 0.0, _verdict_of_gap(told, apart, profile))


def _verdict_of_gap(told: _Told, found: Estimate, profile: PerformanceProfile) -> tuple[float, bool, str]:
    model = told.window.model
    threshold = model.policy.performance_drop * (profile.metrics.get("mae", 0.0) if model.task == "regression" else 1.0)
    standard_error = (found.value - found.lower) / 1.96
    worse = found.value > threshold and found.value > _beyond(model, 1) * standard_error
    return threshold, worse, _no_verdict(told, 0.0, found.value)


# ── between the groups of a protected attribute ─────────────────────────────────────────────────────────────────────────────


def treatment(window: Judged, name: str) -> list[PerformanceResult]:
    """How alike a binary model treats the window's `groups`, those of the protected attribute `name`: the worst pair in each respect.

    Only the disparate impact is judged, by the policy's share.
    """
    model = window.model
    if model.task != "binary":
        return []
    groups = {segment: timed_out(each.answers, model)[0] if window.timed_out else each.answers for segment, each in window.groups.items()}
    n, labelled = sum(each.n for each in window.groups.values()), sum(each.n_labelled for each in groups.values())
    told = _told(replace(window, pane=replace(window.pane, n=n)), labelled, 0, n)
    rows = []
    for metric, estimate in _fairness(groups, model).items():
        reason = _no_verdict(told, 1.0, estimate.value)
        limit = model.policy.disparate_impact if metric == "disparate_impact" else None
        worse = estimate.upper < limit if limit is not None else None
        rows.append(told.row(f"{metric}:{name}", "realised", estimate, None, (limit, worse, reason)))
    return rows


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


def _number(value: float) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return float(value) if math.isfinite(value) else None
