"""From verdicts to incidents. Pure: no clock, no I/O.

Which incidents there are is a *fold* over one model version's windows in order of event time; what of it is sent is the business of
`ledger`. The fold is small and quick, so it is done again whenever a window is revised, and says then what is true now:

    results ──evidence_of──► evidence of windows ──steps_of, fold──► incidents, their ends, their retrain requests
                             (highest revision)

Architecture invariant: an incident's id is made of (model, version, cause, opening window) and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, pairwise
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from driftline.schemas.alerts import Cause, Finding, deterministic_id
from driftline.schemas.config import Model, Policy
from driftline.schemas.results import Columns, DriftResult, PerformanceResult, QualityResult, Results, Table, Verdicts
from driftline.streams.joint import NAMES as JOINT

COUNTED = 2_000  # settled windows whose rows are remembered
FOREVER = 2**62
FINDINGS_KEPT = 16  # strongest findings kept of one table, segment and window, and listed in one event

Kind = Literal["data", "lasting", "error", "performance", "quality", "service", "label"]
Row = DriftResult | PerformanceResult | QualityResult
Version = tuple[str, str]

# A data fault is looked at first: the others ask whether one is open.
CAUSES: tuple[Cause, ...] = ("data fault", "service health", "data drift", "prior shift", "concept drift", "performance")
# Causes that one training would answer share a cool-down: a loss that data drift explains, and a shift of the classes, which shows in the
# data too.
RETRAINED_AS: Mapping[Cause, Cause] = {
    "data drift": "data drift", "performance": "data drift", "concept drift": "concept drift", "prior shift": "data drift",
}  # fmt: skip
# What worse performance speaks for, by the kind of change its window shows; where that is not known, `judge` decides.
WORSE_IS: Mapping[str, Cause] = {
    "concept drift": "concept drift", "prior shift": "prior shift", "covariate drift": "data drift", "data fault": "data drift",
}  # fmt: skip
BAD = frozenset({"drift", "fault", "worse"})
_OWN: Mapping[str, Kind] = {"(error)": "error", "(label)": "label"}
_ABOUT = ("model", "version", "segment", "window_start", "window_end", "revision")


# ── evidence: what the results say about one window ─────────────────────────────────────────────────────────────────────────


class Key(NamedTuple):
    """What one piece of evidence is about."""

    kind: Kind
    segment: str
    window_start: int
    window_end: int


class Evidence(msgspec.Struct, frozen=True, array_like=True):
    """What one table says about one segment in one window: its findings, and whether it was judged at all.

    `judged` parts a clean window (it ends an incident) from one with too few rows (it ends nothing).
    """

    kind: Kind
    segment: str
    window_start: int
    window_end: int
    revision: int
    judged: bool
    is_final: bool
    n: int
    n_labelled: int
    reference: str
    policy: str
    findings: tuple[Finding, ...]

    @property
    def key(self) -> Key:
        return Key(self.kind, self.segment, self.window_start, self.window_end)


def evidence_of(results: Verdicts | Results) -> dict[Version, list[Evidence]]:
    """The evidence in one record of results, by (model, version)."""
    evidence: defaultdict[Version, list[Evidence]] = defaultdict(list)
    for table in (results.drift_results, results.performance_results, results.quality_results):
        for version, item in _evidence_of_table(table):
            evidence[version].append(item)
    return dict(evidence)


def _evidence_of_table(table: Table[Any]) -> Iterator[tuple[Version, Evidence]]:
    """One piece of each window, segment, revision and kind. Of most rows little is looked at: they found nothing."""
    found: defaultdict[tuple[Any, ...], list[_Said]] = defaultdict(list)
    for about, said in chain.from_iterable(map(_said, table.parts())):
        found[about].append(said)
    for (model, version, segment, start, end, revision, kind), each in found.items():
        bad = [row for said in each for row in said.bad]
        item = Evidence(
            *(kind, segment, start, end, revision),
            judged=bool(bad) or any("ok" in said.verdict for said in each),
            is_final=any(any(said.is_final) for said in each),
            n=max(max(said.n) for said in each),
            n_labelled=max(max(said.n_labelled) for said in each),
            reference=each[0].reference[0],
            policy=each[0].policy[0],
            findings=strongest(map(_finding, bad)) if bad else (),
        )
        yield (model, version), item


class _Said(NamedTuple):
    """Of rows next to one another that are about the same: those that speak for something, and what is told of some columns."""

    bad: list[Row]
    verdict: Sequence[str]
    is_final: Sequence[bool]
    n: Sequence[int]
    reference: Sequence[str]
    policy: Sequence[str]
    n_labelled: Sequence[int] = (0,)


def _said(part: Columns[Row]) -> Iterator[tuple[tuple[Any, ...], _Said]]:
    """What the rows of each window, segment, revision and kind say."""
    abouts, ends = zip(*_runs(part), strict=True)
    told = [part.told_in(name, ends) for name in _Said._fields[1:] if name in part.kind.__struct_fields__]
    numbers = part.having("verdict", *BAD)
    bad = [*part.take(numbers)] if numbers else []
    places = [bisect_left(numbers, end) for end in (0, *ends)]
    for about, (begin, end), *columns in zip(abouts, pairwise(places), *told, strict=True):
        yield about, _Said([*filter(_is_bad, bad[begin:end])], *columns)


def _runs(part: Columns[Row]) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Each window, segment, revision and kind of rows next to one another, and before which row it ends."""
    kinds, others = _kinds(part)
    apart = sorted(kinds)
    for about, begin, end in part.spans(*_ABOUT):
        if bisect_left(apart, begin) == bisect_left(apart, end):
            yield (*about, others), end
            continue
        for kind, together in groupby(range(begin, end), kinds.get):
            yield (*about, kind or others), max(together) + 1


def findings_of(results: Verdicts | Results) -> list[tuple[Key, int, Finding]]:
    """Every finding in one record of results, with the key and revision of its window; not limited in number.

    >>> row = DriftResult("churn", "7", "", 0, 60, "age", "psi", 0.5, 0.0, 0.1, 0.5, 0.2, 900, 800, "drift", "", "r", "p", True, 1.0, 4)
    >>> [(key.kind, revision, finding.feature, finding.cause) for key, revision, finding in findings_of(Results([row]))]
    [('data', 4, 'age', 'data drift')]
    """
    tables: tuple[Table[Any], ...] = (results.drift_results, results.performance_results, results.quality_results)
    return [
        (Key(about[-1], row.segment, row.window_start, row.window_end), row.revision, _finding(row))
        for table in tables
        for part in table.parts()
        for about, said in _said(part)
        for row in said.bad
    ]


def join(known: Evidence, new: Evidence) -> Evidence:
    """What is known after `new` about the same key: the higher revision; parts of one revision are put together.

    The same revision judged under another policy or reference replaces: the configuration was changed.
    """
    if known.revision != new.revision:
        return max(known, new, key=lambda item: item.revision)
    if (known.policy, known.reference) != (new.policy, new.reference):
        return new
    findings = {(finding.feature, finding.test): finding for finding in known.findings + new.findings}
    return replace(
        new,
        judged=known.judged or new.judged,
        is_final=known.is_final or new.is_final,
        n=max(known.n, new.n),
        n_labelled=max(known.n_labelled, new.n_labelled),
        findings=strongest(findings.values()),
    )


def strongest(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The `FINDINGS_KEPT` findings that exceed their thresholds most, strongest first; of features together last: they blame none."""
    # Of the tests of one feature, which share its effect, the test that measures the effect comes first.
    order = sorted(
        findings, key=lambda f: (f.feature in JOINT, -strength(f), f.value != f.effect, f.feature, f.test, f.segment, f.window_start)
    )
    return tuple(order[:FINDINGS_KEPT])


def strength(finding: Finding) -> float:
    """The effect, or the change against the reference, in multiples of what is allowed (of 1 where no limit is known); 0 or more."""
    effect, limit = finding.effect or 0.0, finding.threshold
    if limit is not None and finding.verdict != "drift":
        limit -= (finding.value or 0.0) - effect  # thresholds of metrics and checks are absolute: this much past the reference
    return abs(effect / (limit or 1.0))


def began_of(finding: Finding) -> int:
    """When a finding began: by the panes of its window, else with the window."""
    return finding.window_start if finding.began is None else finding.began


def _is_bad(row: Row) -> bool:
    """Whether a row speaks for something; a feature's fault is told by its row of quality, not by those of drift."""
    return row.verdict in BAD and not (isinstance(row, DriftResult) and row.verdict == "fault")


def _kinds(part: Columns[Row]) -> tuple[dict[int, Kind], Kind]:
    """Of what kind rows are, by number, and of what kind all others."""
    if part.kind is PerformanceResult:
        return {}, "performance"
    if part.kind is QualityResult:
        return dict.fromkeys(part.having("feature", "(service)"), "service"), "quality"
    lasting: dict[int, Kind] = dict.fromkeys(part.having("test", "lasting"), "lasting")
    return lasting | {i: kind for name, kind in _OWN.items() for i in part.having("feature", name)}, "data"


def _finding(row: Row) -> Finding:
    where = (row.segment, row.window_start, row.window_end)
    if isinstance(row, DriftResult):
        speaks: Mapping[Kind, Cause] = {"error": "concept drift", "label": "prior shift"}
        cause: Cause = speaks.get(_OWN.get(row.feature, "data"), "data drift")
        worth = row.p_value if row.significance is None else row.significance
        figures = (row.value, row.threshold, worth, row.effect, row.null_quantile)
        return Finding(row.feature, row.test, *where, *figures, row.n, row.verdict, cause, row.reason, row.began, row.carriers)
    change = None if row.value is None or row.reference_value is None else row.value - row.reference_value
    figures = (row.value, row.threshold, None, change, None)
    if isinstance(row, PerformanceResult):
        cause = WORSE_IS.get(row.change, "performance")
        return Finding(row.metric, row.basis, *where, *figures, row.n_labelled, row.verdict, cause, "", row.began)
    cause = "service health" if row.feature == "(service)" else "data fault"
    return Finding(row.feature, row.check, *where, *figures, row.n, row.verdict, cause, row.reason)


# ── the fold: from windows in order to incidents ────────────────────────────────────────────────────────────────────────────


class Request(msgspec.Struct, frozen=True):
    """The retrain an incident asked for, in the window that was one drifted window too many."""

    window_start: int
    window_end: int
    training_start: int
    rows: int
    labelled_rows: int
    expires: int
    evidence: tuple[Finding, ...]


class Incident(msgspec.Struct, frozen=True):
    """One cause of one model version from its first window with findings until it is over."""

    id: str
    cause: Cause
    window_start: int  # of the opening window
    window_end: int
    findings: tuple[Finding, ...]  # of the opening window
    reference: str
    policy: str
    windows: int = 0  # with findings, so far
    request: Request | None = None
    resolved: int | None = None  # end of the clean window that ended it


class Streak(msgspec.Struct, frozen=True):
    """How one cause stands after some window: windows in a row with findings or without, and the incident that is open."""

    drifted: int = 0
    clean: int = 0
    last: int = 0  # end of the last window with findings
    incident: Incident | None = None


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A retrain that was asked for: the cause it answers, and the end of its training range."""

    cause: Cause
    end: int


class Counted(NamedTuple):
    """A window and how many rows it had."""

    start: int
    end: int
    rows: int
    labelled_rows: int


class Base(msgspec.Struct):
    """The fold's state after some window. Streaks are by cause and window length, written "data drift/3600000".

    `counted` are the settled windows that a retrain of an open incident would still be asked for with.
    """

    streaks: dict[str, Streak] = {}
    asks: list[Ask] = []
    counted: list[Counted] = []

    def streak(self, cause: Cause, length: int) -> Streak:
        return self.streaks.get(f"{cause}/{length}", Streak())

    def fault_open(self) -> bool:
        return any(streak.incident for name, streak in self.streaks.items() if name.startswith("data fault/"))

    def asked(self, cause: Cause, change: int, now: int, cooldown_ms: int) -> bool:
        """Whether a retrain of the last `cooldown_ms` answers a change of `cause` that began at `change`: it was for the same
        cause, or its data already hold the change."""
        return any(now < ask.end + cooldown_ms and (ask.cause == cause or change < ask.end) for ask in self.asks)


@dataclass(slots=True)
class Step:
    """One window of the fold with all its evidence, whatever the segment."""

    start: int
    end: int
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def rows(self) -> int:
        return max((item.n for item in self.evidence if item.segment == ""), default=0)

    @property
    def labelled_rows(self) -> int:
        return max((item.n_labelled for item in self.evidence if item.segment == ""), default=0)

    @property
    def waits(self) -> bool:
        """Whether what is known of its performance may still change: its labels are on their way."""
        return any(item.kind == "performance" and not item.is_final for item in self.evidence)


def step_of(model: Model, start: int, end: int) -> tuple[int, int]:
    """The fold's window for evidence of [start, end): itself, or, where no configured window is that long (a detector's signal over a
    few panes), the shortest configured one that holds its end.

    >>> from driftline.schemas.config import Window
    >>> step_of(Model("m", windows=(Window(60, 60), Window(30, 30))), 0, 60), step_of(Model("m", windows=(Window(30, 30),)), 42, 47)
    ((0, 60), (30, 60))
    """
    for window in model.windows:
        if window.length_ms == end - start:
            return start, end
    shortest = min(model.windows, key=lambda window: window.length_ms)
    first = (end - 1) // shortest.every_ms * shortest.every_ms
    return first, first + shortest.length_ms


def steps_of(model: Model, evidence: Iterable[Evidence]) -> list[Step]:
    """The windows that `evidence` is about, in order of their ends."""
    together: defaultdict[tuple[int, int], list[Evidence]] = defaultdict(list)
    for item in evidence:
        together[step_of(model, item.window_start, item.window_end)].append(item)
    return [Step(start, end, together[start, end]) for start, end in sorted(together, key=lambda window: (window[1], window[0]))]


def fold(base: Base, steps: Sequence[Step], model: Model, version: str) -> tuple[Base, dict[str, Incident]]:
    """The state after `steps`, and every incident that was open in `base` or that they opened.

    Windows of several lengths go through side by side: each length has its own streaks and incidents, all share the retrains.
    """
    state = Base(dict(base.streaks), list(base.asks), base.counted)
    incidents = {streak.incident.id: streak.incident for streak in base.streaks.values() if streak.incident}
    for _, group in groupby(steps, key=lambda step: step.end):
        judged = [(step, judge(step, state.streak("data drift", step.length).drifted > 0, fault=state.fault_open())) for step in group]
        for cause in CAUSES:
            for step, verdict in judged:
                findings, clean = verdict[cause]
                if not findings and not clean:
                    continue
                streak = _drifted(state, step, cause, findings, model, version) if findings else _clean(state, step, cause, model.policy)
                if streak.incident:
                    incidents[streak.incident.id] = streak.incident
                    if findings and (asked := _ask(state, steps, step, findings, streak, model.policy)):
                        streak = replace(streak, incident=asked)
                        incidents[asked.id] = asked
                over = streak.incident is not None and streak.incident.resolved is not None
                state.streaks[f"{cause}/{step.length}"] = replace(streak, incident=None) if over else streak
    return state, incidents


def judge(step: Step, drifted_before: bool, *, fault: bool = False) -> dict[Cause, tuple[list[Finding], bool]]:
    """For every cause, the window's findings and whether it is clean of it; neither when too little is known.

    Worse performance speaks for the kind of change its window shows: concept drift, prior shift, or, where drift of the data or a fault
    of them explains it, "performance". Where the kind is not known, data drift in the same or the previous judged window decides. While it
    lasts, the window is clean of none of these. A detector's signal is concept drift, but while the data are faulty, in this window or in
    an incident that is open (`fault`): then they explain it. Labels that drift are a prior shift where nothing of all this explains them.
    That a detector gives no signal is no all-clear while the window's labels are on their way.
    """
    found: defaultdict[Kind, list[Finding]] = defaultdict(list)
    judged: set[Kind] = set()
    for item in step.evidence:
        found[item.kind] += item.findings
        if item.judged:
            judged.add(item.kind)
    data, errors, worse = found["data"] + found["lasting"], found["error"], found["performance"]
    faults, labels = found["quality"], found["label"]
    explained = bool(data) or drifted_before
    told: dict[Cause, list[Finding]] = {"concept drift": [], "prior shift": [], "performance": []}
    alarmed: Cause = "performance" if fault or faults else "concept drift"
    told[alarmed] += [replace(finding, cause=alarmed) for finding in errors]
    for finding in worse:
        unknown: Cause = "performance" if explained else "concept drift"
        cause: Cause = unknown if finding.cause == "performance" else "performance" if finding.cause == "data drift" else finding.cause
        told[cause].append(replace(finding, cause=cause))
    if not (explained or errors or worse or fault or faults):
        told["prior shift"] += labels
    performed = "performance" in judged
    return {
        "data fault": (faults, "quality" in judged),
        "service health": (found["service"], "service" in judged),
        "data drift": (data, "data" in judged),
        "prior shift": (told["prior shift"], (performed or "label" in judged) and not worse and not labels),
        "concept drift": (told["concept drift"], not worse and (performed or ("error" in judged and not step.waits))),
        "performance": (told["performance"], performed and not worse),
    }


def _drifted(state: Base, step: Step, cause: Cause, findings: list[Finding], model: Model, version: str) -> Streak:
    """One more window with findings: the incident goes on, or begins here."""
    streak = state.streak(cause, step.length)
    incident = streak.incident
    if incident is None:
        name = deterministic_id(model.model, version, cause, step.start, step.end)
        source = max((item for item in step.evidence if item.findings), key=lambda item: item.key)
        incident = Incident(name, cause, step.start, step.end, strongest(findings), source.reference, source.policy)
    return Streak(streak.drifted + 1, 0, step.end, replace(incident, windows=incident.windows + 1))


def _clean(state: Base, step: Step, cause: Cause, policy: Policy) -> Streak:
    """One more window without findings: after enough of them the incident is over."""
    streak = state.streak(cause, step.length)
    clean = streak.clean + 1
    incident = streak.incident
    if incident and clean >= policy.resolve_after:
        incident = replace(incident, resolved=step.end)
    return Streak(0, clean, streak.last, incident)


def _ask(state: Base, steps: Sequence[Step], step: Step, findings: list[Finding], streak: Streak, policy: Policy) -> Incident | None:
    """The incident with its retrain request, where this window is the one that asks for it."""
    incident = streak.incident
    if incident is None or incident.request or incident.cause not in RETRAINED_AS or streak.drifted < policy.retrain_after:
        return None
    answers = RETRAINED_AS[incident.cause]
    change = min((began_of(finding) for finding in (*incident.findings, *findings)), default=incident.window_start)
    if state.fault_open() or state.asked(answers, change, step.end, policy.cooldown_ms):
        return None
    # Rows of a faulty window teach nothing: the training range begins after the last of them.
    start = max(change, state.streak("data fault", step.length).last)
    reached = [_counted(other) for other in steps if other.length == step.length and start < other.end <= step.end]
    rows, labelled = _rows([*state.counted, *reached], step, start)
    state.asks = [ask for ask in state.asks if step.end < ask.end + policy.cooldown_ms] + [Ask(answers, step.end)]
    request = Request(step.start, step.end, start, rows, labelled, step.end + policy.cooldown_ms, strongest(findings))
    return replace(incident, request=request)


def _rows(windows: Sequence[Counted], last: Step, start: int) -> tuple[int, int]:
    """Rows and labelled rows of the windows of `last`'s length that reach into [start, last.end), none counted twice."""
    rows = labelled = 0
    free = last.end
    for window in reversed(windows):
        if window.end - window.start == last.length and window.end <= free and window.end > start:
            rows, labelled, free = rows + window.rows, labelled + window.labelled_rows, window.start
    return rows, labelled


def _counted(step: Step) -> Counted:
    return Counted(step.start, step.end, step.rows, step.labelled_rows)


def settle(base: Base, steps: Sequence[Step], model: Model, version: str) -> Base:
    """The state after `steps`, which can change no more. Of their rows it keeps the number where an incident may still ask for them."""
    after, _ = fold(base, steps, model, version)
    incidents = [streak.incident for streak in after.streaks.values() if streak.incident and not streak.incident.request]
    since = min((at for i in incidents for at in (i.window_start, *(finding.window_start for finding in i.findings))), default=FOREVER)
    after.counted = [window for window in [*base.counted, *map(_counted, steps)] if window.end > since][-COUNTED:]
    return after
