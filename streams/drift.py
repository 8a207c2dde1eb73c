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
from itertools import chain
from types import MappingProxyType

import numpy as np

from driftline.schemas.config import DAY_MS, Model, Policy
from driftline.schemas.reference import JointProfile
from driftline.schemas.results import Columns, DriftResult, Verdict, columns_of, in_runs, taken
from driftline.streams.battery import Battery, Measured, side_by_side
from driftline.streams.calibration import Yardstick
from driftline.streams.judge import Judged
from driftline.streams.layout import PREDICTION, SCORE, Bool, Float64, Int64, KeptByLayout, Layout, some_of
from driftline.streams.packing import Column, finite, floats, texts, times, wholes
from driftline.streams.panes import Pane
from driftline.streams.segments import cells_expected
from driftline.streams.stats import benjamini_hochberg

TRAINING = "training"
CLOCK = "an id or a clock, or the reference was sorted by it: leave it out, or shuffle the table"
#: How the budget of false alarms is shared out: what windows show at once, in the whole and in segments; and what lasts over windows.
AT_ONCE, LASTING = 0.8, 0.2
LABELS = 0.1  # of what windows show at once, where a model has labels: theirs
TOGETHER = 0.1  # the same of features together, where they are judged
LATELY = 20_000  # features of windows whose figures are remembered
_WEEK_MS = 7 * DAY_MS
_Asked = tuple["Judged", Mapping[str, str], "Baseline"]  # a window, what is wrong with its data, and what it is compared with
_About = tuple[Layout, tuple[str, ...], bytes]
_lately: dict[_About, Measured] = {}


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


def drift(window: Judged, faults: Mapping[str, str] | None = None, baseline: Baseline | None = None) -> Sequence[DriftResult]:
    """Every test of every feature, as columns; one row a feature, verdict "learning", where there is no reference yet.

    `faults` says what is wrong with the data of some features (`quality.faults_of`): they, and the model's answers to them, do not drift.
    """
    return next(iter(drifts([(window, faults or {}, baseline or Baseline())])), [])


def drifts(windows: Sequence[_Asked], known: Mapping[int, Measured] = MappingProxyType({})) -> list[Columns[DriftResult]]:
    """`drift` of several windows of one model; those of one reference side by side, and as one part. `known` is what `measure` found of
    their panes.
    """
    of: defaultdict[Layout, list[_Asked]] = defaultdict(list)
    parts = [columns_of(rows) for window, _, _ in windows if window.layout is None and (rows := _learning(window))]
    for asked in windows:
        if asked[0].layout is not None and asked[0].layout.names:
            of[asked[0].layout].append(asked)
    return parts + [_judged(layout, mine, known) for layout, mine in of.items()]


def _judged(layout: Layout, asked: Sequence[_Asked], measured: Mapping[int, Measured]) -> Columns[DriftResult]:
    """The rows of windows of one model and reference."""
    known, tests, names, windows = yardstick(layout), battery(layout), layout.names, [window for window, _, _ in asked]
    model = windows[0].model
    found = side_by_side([_measured(window, layout, against, measured) for window, _, against in asked])
    reasons, faulty = list[str](), dict[int, str]()
    for w, (window, faults, against) in enumerate(asked):
        reasons += _unjudged(window, layout, found, w, against)
        wrong = {**_blamed(faults), **faults} if faults else {}
        faulty |= {w * len(names) + f: wrong[name] for f, name in enumerate(names) if name in wrong} if wrong else {}
    usable = np.array([not reason for reason in reasons], bool)
    usable[[*faulty]] = False
    usable = usable.reshape(found.n.shape)
    worth, tails = known.null.calibrate(np.stack([np.where(usable, found.p_value, np.nan), tests.tails(found.worth, model.policy.psi)]))
    allowed = np.array([level(model, window.key.segment) for window in windows])
    smallest = allowed / np.maximum(usable.sum(1), 1)  # what a feature that drifts alone must reach
    reasons = too_few(reasons, found, tests, tails, smallest[:, None])
    believed = np.stack([benjamini_hochberg(each, chance) for each, chance in zip(worth, allowed.tolist(), strict=True)])
    verdicts, reasons = verdicts_of(found, tests, reasons, believed, model.policy, faulty)
    baselines, coverage = [against.name for _, _, against in asked], [window.coverage for window in windows]
    return rows_of(windows, tests, found, baselines, worth, verdicts, reasons, coverage)


def measure(windows: Iterable[tuple[Layout, Pane]], tests: tuple[str, ...]) -> dict[int, Measured]:
    """Work out beforehand what `drift` will ask about several windows and their references, by the identity of their panes; those of one
    reference side by side.
    """
    new: defaultdict[Layout, dict[_About, Pane]] = defaultdict(dict)
    abouts_of = dict[int, _About]()
    for layout, pane in windows:
        about = abouts_of[id(pane)] = _about(layout, tests, pane)
        if about not in _lately and len(new[layout]) < LATELY // max(len(layout.names), 1):
            new[layout][about] = pane
    for layout, panes in new.items():
        if not layout.names:
            continue
        known = battery(layout)
        for abouts in some_of([*panes], layout):
            counts = known.matrix(np.stack([panes[about].counts for about in abouts]), layout.starts)
            bounds = np.stack([panes[about].extremes for about in abouts])
            found = known.measured(counts, bounds, tests)
            for w, about in enumerate(abouts):
                _remember(about, found.of_window(w))
    return {pane: _lately[about] for pane, about in abouts_of.items() if about in _lately}


def _about(layout: Layout, tests: tuple[str, ...], pane: Pane, other: Int64 | None = None) -> _About:
    """What the figures of a window depend on."""
    content = hashlib.blake2b(pane.counts.tobytes(), digest_size=16)
    content.update(pane.extremes.tobytes())
    content.update(b"" if other is None else b"against" + other.tobytes())
    return layout, tests, content.digest()


def _remember(about: _About, found: Measured) -> None:
    _lately[about] = found
    while len(_lately) > max(LATELY // found.n.size, 1):
        del _lately[next(iter(_lately))]


def _measured(window: Judged, layout: Layout, against: Baseline, known: Mapping[int, Measured] = MappingProxyType({})) -> Measured:
    """The figures of every feature; those of windows judged lately are remembered, for each is judged once more when it is final."""
    pane, tests, other = window.pane, battery(layout), against.counts
    if other is None and (found := known.get(id(pane))):
        return found
    about = _about(layout, window.model.tests, pane, other)
    if about not in _lately:
        rows = None if other is None else tests.matrix(other, layout.starts)
        _remember(about, tests.measured(tests.matrix(pane.counts, layout.starts)[None], pane.extremes[None], window.model.tests, rows))
    return _lately[about]


def _learning(window: Judged) -> Sequence[DriftResult]:
    model = window.model
    reason = f"the first {model.learn_windows} windows in a row with {model.policy.min_samples} rows together become the reference"
    rows = [
        DriftResult(
            feature=name, test="psi", value=None, p_value=None, null_quantile=None, effect=None, threshold=None, n_reference=0,
            n=window.pane.n, verdict="learning", reason=reason, coverage=window.coverage, **window.common,
        )
        for name in sorted(window.pane.sketches)
    ]  # fmt: skip
    return columns_of(rows) if rows else rows


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


def _unjudged(window: Judged, layout: Layout, found: Measured, w: int, against: Baseline) -> list[str]:
    """Of each feature of a window, which is the `w`th of those found, why there can be no verdict, or ""."""
    effect, n, n_reference = found.effect[w], found.n[w], found.n_reference[w]
    least = max(window.model.policy.min_samples, 1)
    fine = np.isfinite(effect) & (np.minimum(n, n_reference) >= least)
    if fine.all() and not (against.missing or against.missing_of or window.unjudged or layout.reference.clocks):
        return [""] * len(layout.names)
    return [
        against.missing or against.missing_of.get(name) or why_unjudged(name, each, before, far, window)
        for name, each, before, far in zip(layout.names, n.tolist(), n_reference.tolist(), effect.tolist(), strict=True)
    ]


def why_unjudged(feature: str, n: int, n_reference: int, effect: float, window: Judged) -> str:
    """Why there can be no verdict, or ""."""
    least = window.model.policy.min_samples
    if not n_reference:
        return "the reference is empty"
    if not n:
        return "the window is empty: every value is missing or of a wrong type"
    if min(n, n_reference) < least:
        return f"{min(n, n_reference)} values; {least} are needed"
    if window.unjudged:
        return window.unjudged
    if window.layout is not None and feature in window.layout.reference.clocks:
        return CLOCK
    return "" if math.isfinite(effect) else "the distance is not defined: the histograms are empty"


def too_few(reasons: Sequence[str], found: Measured, tests: Battery, tails: Float64, smallest: float | Float64) -> list[str]:
    """The reasons, and where there are none whether the rows could not show a drift of the size that matters; then it is not known either
    that there is none.

    `tails`: the p-value of each feature, as the reference has it, were there a drift of that size and nothing else.
    """
    told = (tails <= smallest) | tests.lone  # a constant is another one or it is not
    reasons, n, n_reference, worth = [*reasons], found.n.ravel(), found.n_reference.ravel(), found.worth.ravel()
    for i in np.flatnonzero(~told).tolist():
        what = f"{n[i]} values against {n_reference[i]}, worth {worth[i]:.0f} independent ones"
        reasons[i] = reasons[i] or f"not enough data for a verdict at this budget: {what}"
    return reasons


def verdicts_of(
    found: Measured, tests: Battery, reasons: Sequence[str], believed: Bool, policy: Policy, faults: Mapping[int, str]
) -> tuple[list[Verdict], list[str]]:
    """The verdict on each feature of each window, end to end, and why there is none or a fault; `faults` by place in that order."""
    verdicts: list[Verdict] = ["ok"] * len(reasons)
    reasons = [*reasons]
    for i, reason in enumerate(reasons):
        if reason:
            verdicts[i] = "undefined" if "empty" in reason else "insufficient"
    if believed.any():
        far = found.effect > np.fmax(policy.psi, found.null)
        wide = found.moved > np.where(tests.numeric, policy.shift, policy.share)
        for i in np.flatnonzero(believed.reshape(far.shape) & (far | wide)).tolist():
            moved, numeric = found.moved.item(i), tests.numeric[i % len(tests.numeric)]
            moves = (
                f"its place or spread moved by {moved:.2f} standard deviations"
                if numeric
                else f"a share changed by {100 * moved:.1f} points"
            )
            verdicts[i], reasons[i] = "drift", "" if far.item(i) else moves
    for i, fault in faults.items():
        if found.n.item(i) and found.n_reference.item(i):
            verdicts[i], reasons[i] = "fault", fault
    return verdicts, reasons


def rows_of(
    windows: Sequence[Judged],
    tests: Battery,
    found: Measured,
    baselines: Sequence[str],
    significance: Float64,
    verdicts: Sequence[Verdict],
    reasons: Sequence[str],
    coverage: Sequence[float],
) -> Columns[DriftResult]:
    """A row a test of each feature, of each window by itself, which are all of one model; what is of a feature lies end to end."""
    model, many = windows[0].model, len(windows)
    told, psi = tests.rows(model.tests), model.policy.psi
    there = (found.n > 0) & (found.n_reference > 0)
    shown = there[:, told.features] | told.always
    left = np.flatnonzero(shown)
    at = (np.arange(many)[:, None] * len(tests.names) + told.features).ravel()[left]  # of each row the feature
    figures = finite(found.figures.reshape(many, -1, 3)[:, told.places].reshape(-1, 3)[left].T)
    effects, chances = finite(np.stack([found.effect.ravel(), significance.ravel()])[:, at])
    severities: Column = [""]
    if "drift" in verdicts:
        far = zip(verdicts, found.effect.ravel().tolist(), strict=True)
        severities = texts(["" if verdict != "drift" else "critical" if effect >= 2 * psi else "warning" for verdict, effect in far], at)
    names, kinds = (times(each, many) for each in (told.names, told.tests))
    if len(left) < shown.size:
        names, kinds = (taken(each, left.tolist(), shown.size) for each in (names, kinds))
    about = [(*w.key, *w.by, share, w.revision, name) for w, share, name in zip(windows, coverage, baselines, strict=True)]
    runs = {w: size for w, size in enumerate(shown.sum(1).tolist()) if size}
    of_windows = [in_runs(each, [*runs.values()]) for each in zip(*[about[w] for w in runs], strict=True)] or [[] for _ in about[0]]
    *key, reference, policy, is_final, covered, revision, baseline = of_windows
    n_reference, n = (wholes(each.ravel()[at]) for each in (found.n_reference, found.n))
    return Columns(DriftResult, len(left), (
        *key, names, kinds, *map(floats, (*figures, effects)), [psi], n_reference, n, texts(verdicts, at), texts(reasons, at),
        reference, policy, is_final, covered, revision, floats(chances), texts([*chain.from_iterable(found.directions)], at),
        severities, baseline, [None], [{}], [{}],
    ))  # fmt: skip
