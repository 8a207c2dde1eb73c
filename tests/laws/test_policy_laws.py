"""Laws of the policy: whatever the order, the number of deliveries or the crashes, receivers end up believing what the windows say."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.schemas.alerts import ALERT_OPENED, ALERT_RESOLVED, RETRAIN_REQUESTED
from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.results import DriftResult, PerformanceResult, QualityResult, Results, Verdict
from driftline.streams.ledger import Event, Ledger, apply, events_of
from driftline.streams.policy import Base, Evidence, Incident, evidence_of, fold, join, steps_of

LENGTH = 60
VERSION = ("churn", "7")


@dataclass
class Receiver:
    """A receiver: the last event about a thing is what it believes. A `careful` one drops ids it has seen; a store does not."""

    careful: bool = True
    seen: set[str] = field(default_factory=set)
    alerts: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    last: dict[str, Event] = field(default_factory=dict)  # alerts

    def take(self, events: list[Event]) -> None:
        for event in events:
            if not self.careful or event.id not in self.seen:
                self.seen.add(event.id)
                (self.alerts if event.topic == "alerts" else self.cases)[event.payload.incident] = event.type
                if event.topic == "alerts":
                    self.last[event.payload.incident] = event

    def beliefs(self) -> tuple[set[str], set[str], set[str]]:
        """Incidents that are open, that are over, and that ask for a retrain."""
        return (
            {name for name, kind in self.alerts.items() if kind == ALERT_OPENED},
            {name for name, kind in self.alerts.items() if kind == ALERT_RESOLVED},
            {name for name, kind in self.cases.items() if kind == RETRAIN_REQUESTED},
        )


def results(table: str, segment: str, window: int, revision: int, verdict: Verdict) -> Results:
    """One row of one table about window number `window`."""
    start, end = window * LENGTH, (window + 1) * LENGTH
    about = (*VERSION, segment, start, end)
    if table == "quality":
        quality = QualityResult(*about, "age", "missing_rate", 0.5, 0.1, 0.1, 900, verdict, "", "r", "p", True, 1.0, revision)
        return Results(quality_results=[quality])
    if table == "performance":
        metric = PerformanceResult(
            *about, "accuracy", "realised", 0.6, 0.5, 0.7, 0.8, 900, 800, 0.9, None, 0.05, verdict, "", "r", "p", True, revision,
        )  # fmt: skip
        return Results(performance_results=[metric])
    feature = "(error)" if table == "error" else "age"
    drift = DriftResult(
        *about, feature, "psi", 0.5 + revision, 0.0, 0.1, 0.5 + revision, 0.2, 900, 800, verdict, "", "r", "p", True, 1.0, revision
    )
    return Results(drift_results=[drift])


BAD: dict[str, Verdict] = {"data": "drift", "error": "drift", "performance": "worse", "quality": "fault"}
policies = st.builds(
    Policy,
    resolve_after=st.integers(1, 3),
    retrain_after=st.integers(1, 3),
    cooldown_ms=st.sampled_from([0, 2 * LENGTH, 1000 * LENGTH]),
)
models = st.builds(lambda policy: Model("churn", policy=policy, windows=(Window(LENGTH, LENGTH),)), policies)


def forgetful(model: Model) -> Model:
    """The same model, whose windows settle as soon as two newer ones are there."""
    return replace(model, horizon_ms=LENGTH, grace_ms=0, disorder_ms=0)


@st.composite
def worlds(draw: st.DrawFn) -> list[Evidence]:
    """Revisions of up to eight windows, each of which may say anything, in order of event time."""
    world = []
    for window in range(draw(st.integers(1, 8))):
        for table, bad in BAD.items():
            for segment in draw(st.sampled_from([[""], ["", "plan=pro"]])):
                for revision in range(draw(st.integers(0, 2))):
                    verdict = draw(st.sampled_from([bad, "ok", "insufficient"]))
                    world += evidence_of(results(table, segment, window, revision, verdict))[VERSION]
    return world


@st.composite
def chunked(draw: st.DrawFn, items: list[Evidence]) -> list[list[Evidence]]:
    """`items` in order, in chunks of any size."""
    chunks: list[list[Evidence]] = []
    left = items
    while left:
        size = draw(st.integers(1, len(left)))
        chunks.append(left[:size])
        left = left[size:]
    return chunks


def truth(world: list[Evidence], model: Model) -> dict[str, Incident]:
    """What one fold over the highest revisions says."""
    latest: dict[object, Evidence] = {}
    for item in world:
        latest[item.key] = join(latest[item.key], item) if item.key in latest else item
    return fold(Base(), steps_of(model, latest.values()), model, "7")[1]


def expected(incidents: dict[str, Incident]) -> tuple[set[str], set[str], set[str]]:
    return (
        {name for name, incident in incidents.items() if incident.resolved is None},
        {name for name, incident in incidents.items() if incident.resolved is not None},
        {name for name, incident in incidents.items() if incident.request},
    )


@given(st.data(), worlds(), models)
def test_any_order_and_any_number_of_deliveries_ends_in_the_same_beliefs(data: st.DataObject, world: list[Evidence], model: Model) -> None:
    again = data.draw(st.lists(st.sampled_from(world), max_size=10)) if world else []
    delivered = data.draw(st.permutations(world + again))
    ledger, receiver = Ledger(*VERSION), Receiver(data.draw(st.booleans()))
    for chunk in data.draw(chunked(delivered)):
        ledger, events = apply(ledger, chunk, model)
        receiver.take(events)
    incidents = truth(world, model)
    assert receiver.beliefs() == expected(incidents)
    assert {name: item.incident for name, item in ledger.published.items() if not item.retracted} == incidents
    if not receiver.careful:
        last = [[event for event in events_of(ledger, item) if event.topic == "alerts"][-1] for item in ledger.published.values()]
        assert receiver.last == {event.payload.incident: event for event in last}


@given(st.data(), worlds(), models)
def test_a_crash_anywhere_between_folding_and_sending_loses_nothing(data: st.DataObject, world: list[Evidence], model: Model) -> None:
    model = data.draw(st.sampled_from([model, forgetful(model)]))
    chunks = data.draw(chunked(world))
    ledger, receiver, at = Ledger(*VERSION), Receiver(data.draw(st.booleans())), 0
    for _ in range(data.draw(st.integers(0, 4))):  # crashes: each loses the events of its last chunks, with or without their state
        upto = data.draw(st.integers(at, len(chunks)))
        for i in range(at, upto):
            ledger, events = apply(ledger, chunks[i], model)
            receiver.take(events)
            at = i + 1
        kept = Ledger.from_bytes(ledger.to_bytes())
        for chunk in chunks[at : at + data.draw(st.integers(1, 3))]:
            ledger, _ = apply(ledger, chunk, model)
        ledger = data.draw(st.sampled_from([kept, ledger]))
    for chunk in chunks[at:]:
        ledger, events = apply(ledger, chunk, model)
        receiver.take(events)
    assert receiver.beliefs() == expected(truth(world, model))


@given(worlds(), models)
def test_the_same_evidence_again_changes_no_state_and_says_the_same(world: list[Evidence], model: Model) -> None:
    once, events = apply(Ledger(*VERSION), world, model)
    twice, repeated = apply(once, world, model)
    assert twice.to_bytes() == once.to_bytes()
    assert repeated == events


@given(worlds(), models)
def test_state_goes_into_bytes_and_back(world: list[Evidence], model: Model) -> None:
    ledger, _ = apply(Ledger(*VERSION), world, model)
    assert Ledger.from_bytes(ledger.to_bytes()) == ledger


@given(st.data(), worlds(), models)
def test_settling_old_windows_changes_nothing_that_is_said(data: st.DataObject, world: list[Evidence], model: Model) -> None:
    final = list({item.key: item for item in world}.values())  # the last revision is the highest
    said = []
    for setting in (model, forgetful(model)):
        ledger, receiver = Ledger(*VERSION), Receiver()
        for chunk in data.draw(chunked(final)):
            ledger, events = apply(ledger, chunk, setting)
            receiver.take(events)
        said.append(receiver.beliefs())
    assert said[0] == said[1]


@given(worlds(), models)
def test_no_request_comes_from_a_data_fault_or_while_one_is_open(world: list[Evidence], model: Model) -> None:
    incidents = truth(world, model).values()
    faults = [(fault.window_start, fault.resolved) for fault in incidents if fault.cause == "data fault"]
    for incident in incidents:
        if incident.request:
            assert incident.cause != "data fault"
            now = incident.request.window_end
            assert not any(start < now and (end is None or now < end) for start, end in faults)
            assert incident.request.training_start < incident.request.window_end


@given(worlds(), models)
def test_nothing_is_opened_where_nothing_was_judged(world: list[Evidence], model: Model) -> None:
    unjudged = [replace(item, judged=False, findings=()) for item in world]
    _, events = apply(Ledger(*VERSION), unjudged, model)
    assert events == []


@given(worlds(), models)
def test_requests_for_one_cause_are_a_cool_down_apart(world: list[Evidence], model: Model) -> None:
    for causes in ({"data drift", "performance"}, {"concept drift"}):
        times = sorted(i.request.window_end for i in truth(world, model).values() if i.request and i.cause in causes)
        assert all(later - earlier >= model.policy.cooldown_ms for earlier, later in pairwise(times))
