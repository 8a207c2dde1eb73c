"""From verdicts to alerts and retrain requests. Pure: no clock, no I/O.

What should be open, resolved or asked for is a *fold* over one model version's windows in order of event time. What is sent is
the *difference* between what the fold says now and what was sent before:

    results ──evidence_of──► evidence of windows ──fold──► incidents ──difference──► events
                             (highest revision)           (all of them, anew)

So a revised window is folded again, and whatever it overturns is retracted; results that come twice or in another order end in
the same incidents with the same ids. Windows too old to be revised are folded into a base and forgotten, which bounds the state.

Architecture invariant: an incident's id is made of (model, version, cause, opening window), an event's of (incident, transition, window),
and of a generation only where the same transition had been taken back before.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from driftline.schemas.alerts import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    ALERT_RETRACTED,
    RETRAIN_REQUESTED,
    RETRAIN_WITHDRAWN,
    Alert,
    Cause,
    Finding,
    RetrainRequest,
    cloudevent_headers,
    deterministic_id,
)
from driftline.schemas.config import Model, Policy
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import DriftResult, PerformanceResult, QualityResult, Results

FINDINGS_KEPT = 16  # strongest findings kept of one table, segment and window, and listed in one event
WINDOWS_KEPT = 2_000  # windows of one model version that a revision can still change
FINDINGS_LIMIT = 5_000  # findings in all those windows
CODEC = 1

Kind = Literal["data", "error", "performance", "quality"]
Row = DriftResult | PerformanceResult | QualityResult
Version = tuple[str, str]

# A data fault is looked at first: the others ask whether one is open.
CAUSES: tuple[Cause, ...] = ("data fault", "data drift", "concept drift", "performance")
# Causes that one training would answer share a cool-down: "performance" is by definition a loss that data drift explains.
RETRAINED_AS: Mapping[Cause, Cause] = {"data drift": "data drift", "performance": "data drift", "concept drift": "concept drift"}
BAD = frozenset({"drift", "fault", "worse"})
JUDGED = BAD | {"ok"}


# ── evidence: what the results say about one window ─────────────────────────────────────────────────────────────────────────


class Verdicts(msgspec.Struct):
    """The part of `Results` that decides something; decoding into it skips the rest."""

    drift_results: list[DriftResult] = []
    performance_results: list[PerformanceResult] = []
    quality_results: list[QualityResult] = []


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
    tables: tuple[Sequence[Row], ...] = (results.drift_results, results.performance_results, results.quality_results)
    groups: defaultdict[tuple[Version, Kind, str, int, int, int], list[Row]] = defaultdict(list)
    for rows in tables:
        for row in rows:
            about = ((row.model, row.version), _kind(row), row.segment, row.window_start, row.window_end, row.revision)
            groups[about].append(row)
    evidence: defaultdict[Version, list[Evidence]] = defaultdict(list)
    for (version, kind, segment, start, end, revision), rows in groups.items():
        item = Evidence(
            *(kind, segment, start, end, revision),
            judged=any(row.verdict in JUDGED for row in rows),
            n=max(row.n for row in rows),
            n_labelled=max(row.n_labelled if isinstance(row, PerformanceResult) else 0 for row in rows),
            reference=rows[0].reference,
            policy=rows[0].policy,
            findings=strongest(_finding(row) for row in rows if row.verdict in BAD),
        )
        evidence[version].append(item)
    return dict(evidence)


def findings_of(results: Verdicts | Results) -> list[tuple[Key, int, Finding]]:
    """Every finding in one record of results, with the key and revision of its window; not limited in number.

    >>> row = DriftResult("churn", "7", "", 0, 60, "age", "psi", 0.5, 0.0, 0.1, 0.5, 0.2, 900, 800, "drift", "", "r", "p", True, 1.0, 4)
    >>> [(key.kind, revision, finding.feature, finding.cause) for key, revision, finding in findings_of(Results([row]))]
    [('data', 4, 'age', 'data drift')]
    """
    tables: tuple[Sequence[Row], ...] = (results.drift_results, results.performance_results, results.quality_results)
    return [
        (Key(_kind(row), row.segment, row.window_start, row.window_end), row.revision, _finding(row))
        for rows in tables
        for row in rows
        if row.verdict in BAD
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
        n=max(known.n, new.n),
        n_labelled=max(known.n_labelled, new.n_labelled),
        findings=strongest(findings.values()),
    )


def strongest(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The `FINDINGS_KEPT` findings that exceed their thresholds most, strongest first."""
    return tuple(sorted(findings, key=lambda f: (-strength(f), f.feature, f.test, f.segment, f.window_start))[:FINDINGS_KEPT])


def strength(finding: Finding) -> float:
    """The effect, or the change against the reference, in multiples of what is allowed (of 1 where no limit is known); 0 or more."""
    effect, limit = finding.effect or 0.0, finding.threshold
    if limit is not None and finding.verdict != "drift":
        limit -= (finding.value or 0.0) - effect  # thresholds of metrics and checks are absolute: this much past the reference
    return abs(effect / (limit or 1.0))


def _kind(row: Row) -> Kind:
    if isinstance(row, DriftResult):
        return "error" if row.feature == "(error)" else "data"
    return "performance" if isinstance(row, PerformanceResult) else "quality"


def _finding(row: Row) -> Finding:
    where = (row.segment, row.window_start, row.window_end)
    if isinstance(row, DriftResult):
        cause: Cause = "concept drift" if row.feature == "(error)" else "data drift"
        figures = (row.value, row.threshold, row.p_value, row.effect, row.null_quantile)
        return Finding(row.feature, row.test, *where, *figures, row.n, row.verdict, cause)
    change = None if row.value is None or row.reference_value is None else row.value - row.reference_value
    figures = (row.value, row.threshold, None, change, None)
    if isinstance(row, PerformanceResult):
        return Finding(row.metric, row.basis, *where, *figures, row.n_labelled, row.verdict, "performance")
    return Finding(row.feature, row.check, *where, *figures, row.n, row.verdict, "data fault")


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


class Base(msgspec.Struct):
    """The fold's state after some window. Streaks are by cause and window length, written "data drift/3600000"."""

    streaks: dict[str, Streak] = {}
    asks: list[Ask] = []

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

    def findings(self, kind: Kind) -> list[Finding]:
        return [finding for item in self.evidence if item.kind == kind for finding in item.findings]

    def judged(self, *kinds: Kind) -> bool:
        return any(item.judged for item in self.evidence if item.kind in kinds)


def step_of(model: Model, start: int, end: int) -> tuple[int, int]:
    """The fold's window for evidence of [start, end): itself, or, where no configured window is that long (a detector's signal over a
    few panes), the shortest configured one that holds its end.

    >>> from driftline.schemas.config import Window
    >>> step_of(Model("m", windows=(Window(60, 60), Window(30, 30))), 0, 60), step_of(Model("m", windows=(Window(30, 30),)), 42, 47)
    ((0, 60), (30, 60))
    """
    if any(window.length_ms == end - start for window in model.windows):
        return start, end
    shortest = min(model.windows, key=lambda window: window.length_ms)
    first = (end - 1) // shortest.every_ms * shortest.every_ms
    return first, first + shortest.length_ms


def steps_of(model: Model, evidence: Iterable[Evidence]) -> list[Step]:
    """The windows that `evidence` is about, in order of their ends."""
    steps: dict[tuple[int, int], Step] = {}
    for item in evidence:
        window = step_of(model, item.window_start, item.window_end)
        steps.setdefault(window, Step(*window)).evidence.append(item)
    return sorted(steps.values(), key=lambda step: (step.end, step.start))


def fold(base: Base, steps: Sequence[Step], model: Model, version: str) -> tuple[Base, dict[str, Incident]]:
    """The state after `steps`, and every incident that was open in `base` or that they opened.

    Windows of several lengths go through side by side: each length has its own streaks and incidents, all share the retrains.
    """
    state = Base(dict(base.streaks), list(base.asks))
    incidents = {streak.incident.id: streak.incident for streak in base.streaks.values() if streak.incident}
    for _, group in groupby(steps, key=lambda step: step.end):
        judged = [(step, judge(step, state.streak("data drift", step.length).drifted > 0)) for step in group]
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


def judge(step: Step, drifted_before: bool) -> dict[Cause, tuple[list[Finding], bool]]:
    """For every cause, the window's findings and whether it is clean of it; neither when too little is known.

    Worse performance is called "performance" where data drift in the same or the previous judged window explains it, else
    "concept drift"; while it lasts, the window is clean of neither. A detector's signal is concept drift.
    """
    data, errors, worse = step.findings("data"), step.findings("error"), step.findings("performance")
    faults = step.findings("quality")
    explained = bool(data) or drifted_before
    concept = errors if explained else errors + [replace(finding, cause="concept drift") for finding in worse]
    return {
        "data fault": (faults, step.judged("quality")),
        "data drift": (data, step.judged("data")),
        "concept drift": (concept, step.judged("error", "performance") and not worse),
        "performance": (worse if explained else [], step.judged("performance") and not worse),
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
    signals = [finding.window_start for finding in (*incident.findings, *findings) if finding.feature == "(error)"]
    change = min(signals, default=incident.window_start)
    if state.fault_open() or state.asked(answers, change, step.end, policy.cooldown_ms):
        return None
    # Rows of a faulty window teach nothing: the training range begins after the last of them.
    start = max(change, state.streak("data fault", step.length).last)
    rows, labelled = _rows(steps, step, start)
    state.asks = [ask for ask in state.asks if step.end < ask.end + policy.cooldown_ms] + [Ask(answers, step.end)]
    request = Request(step.start, step.end, start, rows, labelled, step.end + policy.cooldown_ms, strongest(findings))
    return replace(incident, request=request)


def _rows(steps: Sequence[Step], last: Step, start: int) -> tuple[int, int]:
    """Rows and labelled rows of the windows of `last`'s length that reach into [start, last.end), none counted twice.

    Only windows that are still kept count, which are all that can be revised.
    """
    rows = labelled = 0
    free = last.end
    for step in reversed(steps):
        if step.length == last.length and step.end <= free and step.end > start:
            rows, labelled, free = rows + step.rows, labelled + step.labelled_rows, step.start
    return rows, labelled


# ── the ledger: what is known and what was sent ─────────────────────────────────────────────────────────────────────────────


class Published(msgspec.Struct, frozen=True):
    """What receivers were told of one incident."""

    incident: Incident
    generation: int = 0  # how often something about it was taken back and then said again
    retracted: bool = False
    withdrawn: Request | None = None  # a request that was taken back while the incident stays
    told_start: int = 0  # the windows whose change made us say it; when they come again, so does it
    told_end: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent to send. `topic` is the name of a property of `schemas.topics.Topics`."""

    topic: Literal["alerts", "retrain"]
    type: str
    id: str
    time_ms: int  # event time
    payload: Alert | RetrainRequest

    @property
    def key(self) -> bytes:
        return self.payload.model.encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self.payload)

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return cloudevent_headers(self.type, self.id, f"{self.payload.model}/{self.payload.version}", self.time_ms)


class _State(msgspec.Struct):
    """The ledger as it is written down."""

    model: str
    version: str
    floor: int
    base: Base
    evidence: list[Evidence]
    published: list[Published]


_decoder = msgspec.msgpack.Decoder(_State)


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that `decide` knows of one model version. Windows that end at `floor` or before are settled: only `base` remembers them."""

    model: str
    version: str
    floor: int = 0
    base: Base = field(default_factory=Base)
    evidence: dict[Key, Evidence] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)  # by incident

    def to_bytes(self) -> bytes:
        """A version byte, then compressed MessagePack; equal ledgers give equal bytes."""
        evidence = [self.evidence[key] for key in sorted(self.evidence)]
        published = [self.published[name] for name in sorted(self.published)]
        state = _State(self.model, self.version, self.floor, self.base, evidence, published)
        return bytes([CODEC]) + zlib.compress(msgspec.msgpack.encode(state, order="deterministic"), level=1)

    @staticmethod
    def from_bytes(data: bytes) -> Ledger:
        """The ledger in `data`; raises `DriftlineError` when a newer release wrote it.

        >>> Ledger.from_bytes(Ledger("churn", "7").to_bytes()) == Ledger("churn", "7")
        True
        """
        if data[0] != CODEC:
            raise DriftlineError(
                "state_version",
                f"the state of decide has version {data[0]}, this release reads version {CODEC}",
                "start the release that wrote it, or a newer one; state is never read by guessing",
            )
        s = _decoder.decode(zlib.decompress(data[1:]))
        evidence = {item.key: item for item in s.evidence}
        return Ledger(s.model, s.version, s.floor, s.base, evidence, {item.incident.id: item for item in s.published})


def apply(ledger: Ledger, evidence: Iterable[Evidence], model: Model) -> tuple[Ledger, list[Event]]:
    """The ledger after `evidence`, and the events to send.

    Sent is what changed, and again everything about incidents that this same evidence once changed: whoever crashed before sending
    applies it a second time, and receivers drop what they have by its id.
    """
    known = dict(ledger.evidence)
    windows: list[tuple[int, int]] = []
    again: list[tuple[int, int]] = []
    for item in evidence:
        windows.append(step_of(model, item.window_start, item.window_end))
        old = known.get(item.key)
        new = item if old is None else join(old, item)
        if windows[-1][1] <= ledger.floor or new == old:
            again.append(windows[-1])
        else:
            known[item.key] = new
    if not windows:
        return ledger, []
    steps = steps_of(model, known.values())
    _, incidents = fold(ledger.base, steps, model, ledger.version)
    told = {"told_start": min(start for start, _ in windows), "told_end": max(end for _, end in windows)}
    published: dict[str, Published] = {}
    events: list[Event] = []
    # What is taken back is said before what is new.
    for name in sorted({*ledger.published, *incidents}, key=lambda name: (name in incidents, _opening(incidents, ledger, name))):
        before = ledger.published.get(name)
        now = before if before and _is_over(before, ledger.floor) else _publish(before, incidents.get(name))
        say = _say(ledger, before, now, again)
        published[name] = replace(now, **told) if say and now != before else now
        events += say
    return _settle(Ledger(ledger.model, ledger.version, ledger.floor, ledger.base, known, published), steps, model), events


def _say(ledger: Ledger, before: Published | None, now: Published, again: Iterable[tuple[int, int]]) -> list[Event]:
    """What is new about an incident; everything, where windows whose change made us speak before have come again."""
    repeat = before is not None and any(start < before.told_end and end > before.told_start for start, end in again)
    if now == before and not repeat:
        return []
    said = {event.id for event in events_of(ledger, before)} if before and not repeat else set()
    return [event for event in events_of(ledger, now) if event.id not in said]


def _opening(incidents: Mapping[str, Incident], ledger: Ledger, name: str) -> tuple[int, int, int]:
    incident = incidents[name] if name in incidents else ledger.published[name].incident
    return incident.window_end, incident.window_start, CAUSES.index(incident.cause)


def _publish(before: Published | None, incident: Incident | None) -> Published:
    """What receivers must now believe about an incident, given what they were told and what the fold says (None: it never was)."""
    if before is None:
        assert incident is not None
        return Published(incident)
    if incident is None:
        return replace(before, retracted=True)
    old = before.incident
    again = before.retracted or (old.resolved is not None and incident.resolved is None) or (before.withdrawn and incident.request)
    withdrawn = None if incident.request else old.request or before.withdrawn
    return replace(before, incident=incident, generation=before.generation + bool(again), retracted=False, withdrawn=withdrawn)


def _settle(ledger: Ledger, steps: Sequence[Step], model: Model) -> Ledger:
    """Fold the windows that nothing can revise any more, and those beyond the limits, into the base, and forget them."""
    if not steps:
        return ledger
    longest = max(window.length_ms for window in model.windows)
    floor = max(ledger.floor, steps[-1].end - model.horizon_ms - model.grace_ms - model.disorder_ms - longest)
    findings = 0
    for i, step in enumerate(reversed(steps)):
        findings += sum(len(item.findings) for item in step.evidence)
        if i >= WINDOWS_KEPT or (i and findings > FINDINGS_LIMIT):
            floor = max(floor, step.end)
            break
    if floor == ledger.floor or steps[0].end > floor:
        return ledger
    base, _ = fold(ledger.base, [step for step in steps if step.end <= floor], model, ledger.version)
    evidence = {item.key: item for step in steps if step.end > floor for item in step.evidence}
    # What this very evidence said may have to be said again after a crash, however old it is.
    published = {name: item for name, item in ledger.published.items() if item.told_end > floor or not _is_over(item, floor)}
    return Ledger(ledger.model, ledger.version, floor, base, evidence, published)


def _is_over(item: Published, floor: int) -> bool:
    """Whether no revision after `floor` can change what was said of an incident."""
    end = item.incident.window_end if item.retracted else item.incident.resolved
    return end is not None and end <= floor


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def events_of(ledger: Ledger, item: Published) -> list[Event]:
    """Everything that is true of one incident, in the order in which it came to be."""
    incident = item.incident
    opening = (incident.window_start, incident.window_end)
    request = incident.request or item.withdrawn
    if item.retracted:
        taken_back = [_retrain(ledger, item, RETRAIN_WITHDRAWN, request)] if request else []
        return [_alert(ledger, item, ALERT_RETRACTED, *opening), *taken_back]
    events = [_alert(ledger, item, ALERT_OPENED, *opening)]
    if request:
        events.append(_retrain(ledger, item, RETRAIN_REQUESTED if incident.request else RETRAIN_WITHDRAWN, request))
    if incident.resolved is not None:
        events.append(_alert(ledger, item, ALERT_RESOLVED, incident.window_start, incident.resolved))
    return events


def _event_id(item: Published, kind: str, start: int, end: int) -> str:
    return deterministic_id(item.incident.id, kind, start, end, *([item.generation] if item.generation else []))


def _alert(ledger: Ledger, item: Published, kind: str, start: int, end: int) -> Event:
    incident = item.incident
    name = _event_id(item, kind, start, end)
    serious = incident.cause in ("concept drift", "performance") or any(strength(finding) >= 2 for finding in incident.findings)
    who = f"{ledger.model} version {ledger.version}: {incident.cause}"
    since = f"since {_time(incident.window_start)}"
    message = {
        ALERT_OPENED: f"{who} {since}. {_summary(incident.findings)} Compared with reference {incident.reference}.",
        ALERT_RESOLVED: f"{who} {since} is over: clean up to {_time(end)}, after {incident.windows} windows with findings.",
        ALERT_RETRACTED: f"{who} {since} is retracted: figures revised by late events or labels no longer show it beginning there.",
    }[kind]
    alert = Alert(
        name, incident.id, ledger.model, ledger.version, incident.cause, "critical" if serious else "warning", start, end,
        list(incident.findings), incident.reference, incident.policy, message, _sql(ledger, incident.findings, start, end),
    )  # fmt: skip
    return Event("alerts", kind, name, end, alert)


def _retrain(ledger: Ledger, item: Published, kind: str, request: Request) -> Event:
    incident, start, end = item.incident, request.training_start, request.window_end
    who, why = f"{ledger.model} version {ledger.version}", f"{incident.cause} since {_time(incident.window_start)}"
    data = f"{_time(start)} to {_time(end)} ({request.rows} rows, {request.labelled_rows} labelled)"
    message = {
        RETRAIN_REQUESTED: f"Train {who} anew on {data}: {why}. {_summary(request.evidence)}",
        RETRAIN_WITHDRAWN: f"Do not train {who} anew for {why}: revised figures overturned the request.",
    }[kind]
    payload = RetrainRequest(
        deterministic_id(incident.id, "retrain"), incident.id, ledger.model, ledger.version, incident.cause,
        incident.window_start, end, start, end, request.rows, request.labelled_rows, list(request.evidence),
        incident.reference, incident.policy, request.expires, message, _sql(ledger, request.evidence, incident.window_start, end),
    )  # fmt: skip
    return Event("retrain", kind, _event_id(item, kind, request.window_start, end), end, payload)


def _summary(findings: Sequence[Finding]) -> str:
    """The strongest finding in words, and how many more there are.

    >>> _summary([Finding("age", "psi", "plan=pro", 0, 60, 0.51234, 0.2, 1e-9, 0.51234, 0.03, 800, "drift", "data drift")])
    'Strongest: age, psi 0.5123 (effect 0.5123, threshold 0.2, p 1e-09) in segment plan=pro, n = 800.'
    """
    worst = findings[0]
    figures = {"effect" if worst.verdict == "drift" else "change": worst.effect, "threshold": worst.threshold, "p": worst.p_value}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if value is not None)
    value = "" if worst.value is None else f" {worst.value:.4g}"
    where = f" in segment {worst.segment}" if worst.segment else ""
    more = len(findings) - 1
    others = f" {more}{' or more' if len(findings) == FINDINGS_KEPT else ''} other finding{'s' if more > 1 else ''}." if more else ""
    return f"Strongest: {worst.feature}, {worst.test}{value}{f' ({shown})' if shown else ''}{where}, n = {worst.n}.{others}"


def _sql(ledger: Ledger, findings: Sequence[Finding], start: int, end: int) -> str:
    """A query on the stable views that shows the evidence, for ClickHouse."""
    worst = findings[0]
    view = {"drift": "v_drift", "worse": "v_performance", "fault": "v_quality"}[worst.verdict]
    start = min(start, worst.window_start)
    return (
        f"SELECT * FROM {view} WHERE model = {literal(ledger.model)} AND version = {literal(ledger.version)} "
        f"AND window_start >= fromUnixTimestamp64Milli({start}, 'UTC') AND window_end <= fromUnixTimestamp64Milli({end}, 'UTC') "
        f"AND verdict = {literal(worst.verdict)} ORDER BY window_start, segment LIMIT 1000"
    )


def literal(text: str) -> str:
    r"""`text` as a string literal of ClickHouse's SQL.

    >>> print(literal("it's a \\"))
    'it\'s a \\'
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
