"""What was sent, and what must be sent now: the difference between what `policy` says and what receivers were told. Pure.

A revised window is folded again, and whatever that overturns is retracted; results that come twice or in another order end in the
same incidents with the same ids. Windows too old to be revised are folded into a base and forgotten, which bounds the state.

Architecture invariant: an event's id is made of (incident, transition, window), and of a generation only where something about the
incident had been taken back before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import cramjam
import msgspec
from msgspec.structs import replace

from driftline.schemas.alerts import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    ALERT_RETRACTED,
    RETRAIN_REQUESTED,
    RETRAIN_WITHDRAWN,
    Alert,
    Finding,
    RetrainRequest,
    cloudevent_headers,
    deterministic_id,
)
from driftline.schemas.config import Model
from driftline.schemas.errors import refuse_newer
from driftline.streams.policy import (
    CAUSES,
    FINDINGS_KEPT,
    Base,
    Evidence,
    Incident,
    Key,
    Request,
    Step,
    fold,
    join,
    settle,
    step_of,
    steps_of,
    strength,
)

WINDOWS_KEPT = 2_000  # windows of one model version that a revision can still change
EVIDENCE_KEPT = 10_000  # pieces of evidence and findings in all those windows
PATIENCE = 4  # times as long as results can be under way: how long a window waits for a segment that nobody judges any more
CODEC = 2


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
        return bytes([CODEC]) + bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode(state, order="deterministic")))

    @staticmethod
    def from_bytes(data: bytes) -> Ledger:
        """The ledger in `data`; raises `DriftlineError` when a newer release wrote it.

        >>> Ledger.from_bytes(Ledger("churn", "7").to_bytes()) == Ledger("churn", "7")
        True
        """
        refuse_newer("the state of decide", data[0], CODEC)
        s = _decoder.decode(zlib.decompress(data[1:]) if data[0] == 1 else bytes(cramjam.lz4.decompress_block(data[1:])))
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
        key = item.key
        old = known.get(key)
        new = item if old is None else join(old, item)
        if windows[-1][1] <= ledger.floor or new == old:
            again.append(windows[-1])
        else:
            known[key] = new
    if not windows:
        return ledger, []
    steps = steps_of(model, known.values())
    _, incidents = fold(ledger.base, steps, model, ledger.version)
    told = min(start for start, _ in windows), max(end for _, end in windows)
    published: dict[str, Published] = {}
    events: list[Event] = []
    # What is taken back is said before what is new.
    for name in sorted({*ledger.published, *incidents}, key=lambda name: (name in incidents, _opening(incidents, ledger, name))):
        before = ledger.published.get(name)
        now = before if before and _is_over(before, ledger.floor) else _publish(before, incidents.get(name))
        say = _say(ledger, before, now, again)
        published[name] = _told(now, *told) if say and now != before else now
        events += say
    return _settle(Ledger(ledger.model, ledger.version, ledger.floor, ledger.base, known, published), steps, model), events


def _say(ledger: Ledger, before: Published | None, now: Published, again: Iterable[tuple[int, int]]) -> list[Event]:
    """What is new about an incident; everything, where windows whose change made us speak before have come again.

    An event whose figures were revised comes again under its id, so that what is stored of it ends as the figures do. What followed
    it in its topic comes again too: the last event about an incident there is always its state.
    """
    repeat = before is not None and any(start < before.told_end and end > before.told_start for start, end in again)
    if now == before and not repeat:
        return []
    said = {event.id: event.value for event in events_of(ledger, before)} if before and not repeat else {}
    revised: set[str] = set()
    events = []
    for event in events_of(ledger, now):
        if said.get(event.id) != event.value:
            revised.add(event.topic)
        if event.topic in revised:
            events.append(event)
    return events


def _told(item: Published, start: int, end: int) -> Published:
    spoke_before = item.told_end > 0
    return replace(item, told_start=min(start, item.told_start) if spoke_before else start, told_end=max(end, item.told_end))


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
    floor = max([ledger.floor, _final(steps, model), _beyond_limits(steps)])
    if floor == ledger.floor:
        return ledger
    base = settle(ledger.base, [step for step in steps if step.end <= floor], model, ledger.version)
    evidence = {item.key: item for step in steps if step.end > floor for item in step.evidence}
    # What this very evidence said may have to be said again after a crash, however old it is.
    published = {name: item for name, item in ledger.published.items() if item.told_end > floor or not _is_over(item, floor)}
    return Ledger(ledger.model, ledger.version, floor, base, evidence, published)


def _final(steps: Sequence[Step], model: Model) -> int:
    """Up to where windows are final, and so old that no result about them can still be under way.

    A window is final when all that was said of it is: its segments may be told by a later owner than the whole was. It waits
    `PATIENCE` times as long for a word that does not come.
    """
    if not steps:
        return 0
    longest = max(window.length_ms for window in model.windows)
    slack = model.horizon_ms + model.grace_ms + model.disorder_ms + longest
    newest = steps[-1].end
    spoken = max((step.end for step in steps if any(item.is_final for item in step.evidence)), default=0)
    open_ends = [step.end for step in steps if not all(item.is_final for item in step.evidence)]
    first_open = min((end for end in open_ends if end > newest - PATIENCE * slack), default=newest)
    return min(newest - slack, spoken, first_open - 1)


def _beyond_limits(steps: Sequence[Step]) -> int:
    """The end of the newest window for which there is no room; 0 when there is room for all."""
    weight = 0
    for i, step in enumerate(reversed(steps)):
        weight += sum(1 + len(item.findings) for item in step.evidence)
        if i >= WINDOWS_KEPT or (weight > EVIDENCE_KEPT and step.end < steps[-1].end):
            return step.end
    return 0


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
    who = f"{ledger.model} version {ledger.version}: {_words(incident)}"
    since, windows = f"since {_time(incident.window_start)}", f"{incident.windows} window{'s' if incident.windows > 1 else ''}"
    message = {
        ALERT_OPENED: f"{who} {since}. {_summary(incident.findings)} Compared with reference {incident.reference}.",
        ALERT_RESOLVED: f"{who} {since} is over: clean up to {_time(end)}, after {windows} with findings.",
        ALERT_RETRACTED: f"{who} {since} is retracted: figures revised by late events or labels no longer show it beginning there.",
    }[kind]
    alert = Alert(
        name, incident.id, ledger.model, ledger.version, incident.cause, "critical" if serious else "warning", start, end,
        list(incident.findings), incident.reference, incident.policy, message, _sql(ledger, incident.findings, start, end),
    )  # fmt: skip
    return Event("alerts", kind, name, end, alert)


def _retrain(ledger: Ledger, item: Published, kind: str, request: Request) -> Event:
    incident, start, end = item.incident, request.training_start, request.window_end
    who, why = f"{ledger.model} version {ledger.version}", f"{_words(incident)} since {_time(incident.window_start)}"
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


def _words(incident: Incident) -> str:
    return "worse performance" if incident.cause == "performance" else incident.cause


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
    said = f" ({worst.reason})" if worst.reason else ""
    more = len(findings) - 1
    others = f" {more}{' or more' if len(findings) == FINDINGS_KEPT else ''} other finding{'s' if more > 1 else ''}." if more else ""
    return f"Strongest: {worst.feature}, {worst.test}{value}{f' ({shown})' if shown else ''}{where}, n = {worst.n}{said}.{others}"


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
