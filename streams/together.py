"""Drift of what numeric features do together: a window's joint sums against the reference's, as rows for the store. Pure.

None of it need show in any feature by itself. Of the whole only, and where the model's file says `multivariate = true`: the sums cost
ingest something. Against the reference, the days before (which a learned reference needs, for it has no sums), and another version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from driftline.schemas.reference import JointProfile
from driftline.schemas.results import DriftResult, Verdict
from driftline.streams.baselines import HOUR_OF_WEEK, VERSION
from driftline.streams.drift import AT_ONCE, TOGETHER, TRAINING, Baseline, share_of_window
from driftline.streams.joint import LEAST_WINDOWS, NAMES, TESTS, Float64, Summary, null_of, plan_of, together_of, values, worth
from driftline.streams.judge import Judged
from driftline.streams.stats import benjamini_hochberg

_NONE = np.full(len(TESTS), math.nan)
SUMMED = "rows have joint sums: the others came before their reference"
_NO_JOINT = 'the reference has no joint statistics: make one of a table (driftline reference build), or add the baseline "trailing:7d"'
_NOT_BEFORE = f"fewer than {2 * LEAST_WINDOWS} sound windows of that time are known with joint sums"
_NOT_THERE = "the other version has no joint sums in this window, or not those of this reference (driftline reference promote)"


class _Figures(NamedTuple):
    """Arrays of shape (4,), in the order of `TESTS`."""

    value: Float64 = _NONE
    p_value: Float64 = _NONE
    null: Float64 = _NONE  # of the value
    effect: Float64 = _NONE
    null_effect: Float64 = _NONE
    most_missed: Float64 = _NONE  # the p-value of a window whose effect is just the one that matters
    direction: tuple[str, ...] = ("",) * len(TESTS)


def joint_drift(window: Judged, faults: Mapping[str, str] | None = None, baseline: Baseline | None = None) -> list[DriftResult]:
    """A row for each of `joint.TESTS`, as the features `joint.NAMES`; none where the model does not ask, or has one numeric feature, and
    against the same hour of other weeks: four windows do not tell how they waver.

    `effect` is on the scale of the PSI (`Together.effects`), and is held against the same limit as that of any feature. `faults` says what
    is wrong with the data of some features: then all of them together say nothing.
    """
    layout, model, against = window.layout, window.model, baseline or Baseline()
    plan = plan_of(layout) if layout and model.multivariate and not window.key.segment else None
    if layout is None or plan is None or against.name == HOUR_OF_WEEK:
        return []
    profile, sums = layout.reference.joint if against.name == TRAINING else against.joint, window.pane.joint
    rows = int(sums[0]) if profile and len(sums) else 0
    found = _figures(profile, Summary.of(sums), model.policy.psi) if profile and rows else _Figures()
    asked = sum(name != HOUR_OF_WEEK for name in model.baselines)
    allowed = share_of_window(model, "", AT_ONCE * TOGETHER / max(asked, 1))
    reason = _reason(window, profile, rows, against.name)
    believed = benjamini_hochberg(np.where(bool(reason), np.nan, found.p_value), allowed)
    wrong = next((f"the inputs are faulty: {name}, {why}" for name, why in sorted((faults or {}).items()) if name in plan.names), "")
    told = []
    for i, (name, test) in enumerate(zip(NAMES, TESTS, strict=True)):
        effect = float(found.effect[i])
        verdict: Verdict = "ok"
        few = "" if reason or found.most_missed[i] <= allowed / len(TESTS) else f"not enough data for a verdict at this budget: {rows} rows"
        why = reason or few
        if wrong:
            verdict, why = "fault", wrong
        elif believed[i] and effect > max(model.policy.psi, float(found.null_effect[i])):
            verdict, why = "drift", ""
        elif why:
            verdict = "insufficient"
        told.append(
            DriftResult(
                feature=name, test=test, value=_number(found.value[i]), p_value=_number(found.p_value[i]),
                null_quantile=_number(found.null[i]), effect=_number(effect), threshold=model.policy.psi,
                n_reference=profile.sums[0] if profile else 0, n=rows, verdict=verdict, reason=why,
                significance=_number(found.p_value[i]), direction=found.direction[i], coverage=window.coverage, baseline=against.name,
                severity="" if verdict != "drift" else "critical" if effect >= 2 * model.policy.psi else "warning", **window.common,
            )
        )  # fmt: skip
    return told


def _figures(profile: JointProfile, window: Summary, psi: float) -> _Figures:
    known = together_of(profile)
    distances = known.distances(window)
    root = math.sqrt(worth(window.n, profile.sums[0]))
    figures = _Figures(values(distances.each), effect=known.effects(distances.each), direction=distances.most)
    if not profile.windows:
        return figures
    null = null_of(profile)
    usual = null.quantile / root
    return figures._replace(
        p_value=null.tail(distances.each * root), null=values(usual), null_effect=known.effects(usual),
        most_missed=null.tail(known.far(psi) * root + np.sqrt(null.mean)),
    )  # fmt: skip


def _reason(window: Judged, profile: JointProfile | None, rows: int, against: str) -> str:
    """Why there can be no verdict, or ""."""
    if profile is None:
        return _NO_JOINT if against == TRAINING else _NOT_THERE if against.startswith(VERSION) else _NOT_BEFORE
    if rows < window.pane.n:
        return f"{rows} of {window.pane.n} {SUMMED}"
    if rows < window.model.policy.min_samples:
        return f"{rows} rows; {window.model.policy.min_samples} are needed"
    if window.unjudged:
        return window.unjudged
    return "" if profile.windows else "not enough data for a verdict: the reference has too few rows to know how it wavers"


def _number(value: float) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return float(value) if math.isfinite(value) else None
