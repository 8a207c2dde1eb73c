"""The policy and its shell, one sentence each. Windows are hours; pictures show them from left to right:

`D` data drift, `E` a detector's signal, `P` performance worse, `F` data fault, `.` clean, `?` too few rows to judge, ` ` no window.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.schemas.alerts import Alert, RetrainRequest, decode
from driftline.schemas.config import HOUR_MS, Model, Policy, Window
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import (
    DriftResult,
    PerformanceResult,
    QualityResult,
    References,
    Results,
    Table,
    Verdict,
    decode_verdicts,
    encode_results,
    joined,
)
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams import ledger
from driftline.streams.agents.decide import Ledgers
from driftline.streams.agents.evaluate import pieces
from driftline.streams.ledger import Event, Ledger, apply
from driftline.streams.policy import Evidence, evidence_of, findings_of

START = 1_700_000_000_000 // HOUR_MS * HOUR_MS
MODEL = Model("churn", policy=Policy(resolve_after=2, retrain_after=1, cooldown_ms=24 * HOUR_MS))
OPENED, RESOLVED, RETRACTED = "alert.opened", "alert.resolved", "alert.retracted"
REQUESTED, WITHDRAWN = "retrain.requested", "retrain.withdrawn"


def hour(i: int, what: str, revision: int = 1, segment: str = "", effect: float = 0.5, length: int = 1) -> Results:
    """All tables of window `i`, as the picture's letters in `what` say."""
    about = ("churn", "7", segment, START + i * HOUR_MS, START + (i + length) * HOUR_MS)
    verdict = {letter: "insufficient" if "?" in what else bad if letter in what else "ok" for letter, bad in VERDICTS.items()}
    drift = [
        DriftResult(
            *about, feature, test, effect, 1e-9, 0.05, effect, 0.2, 900, 800, verdict[letter], "", "ref", "pol", True, 1.0, revision
        )
        for feature, test, letter in (("age", "psi", "D"), ("(error)", "adwin", "E"))
    ]
    metric = PerformanceResult(
        *about, "accuracy", "realised", 0.6, 0.5, 0.7, 0.8, 800, 700, 0.9, None, 0.05, verdict["P"], "", "ref", "pol", True, revision,
    )  # fmt: skip
    check = QualityResult(*about, "age", "missing_rate", 0.4, 0.1, 0.1, 800, verdict["F"], "", "ref", "pol", True, 1.0, revision)
    return Results(drift, [metric], [check])


VERDICTS: dict[str, Verdict] = {"D": "drift", "E": "drift", "P": "worse", "F": "fault"}


class Story:
    """One model version's results, told window after window; `said` is what was sent, in words."""

    def __init__(self, model: Model = MODEL) -> None:
        self.model, self.ledger = model, Ledger("churn", "7")
        self.events: list[Event] = []

    def tell(self, *records: Results) -> list[str]:
        events: list[Event] = []
        for record in records:
            self.ledger, said = apply(self.ledger, evidence_of(record)[("churn", "7")], self.model)
            events += said
        self.events += events
        return [words(event) for event in events]

    def picture(self, text: str) -> list[str]:
        return self.tell(*[hour(i, what) for i, what in enumerate(text) if what != " "])


def words(event: Event) -> str:
    """`alert.opened data drift 0-1`: kind, cause, and the window in hours from the start."""
    kind = event.type.removeprefix("driftline.").removesuffix(".v1")
    start, end = ((ms - START) // HOUR_MS for ms in (event.payload.window_start, event.payload.window_end))
    return f"{kind} {event.payload.cause} {start}-{end}"


def request_of(story: Story) -> RetrainRequest:
    (request,) = [event.payload for event in story.events if isinstance(event.payload, RetrainRequest)]
    return request


def test_a_drifted_window_opens_one_alert_and_asks_for_one_retrain() -> None:
    assert Story().picture("..DDDD") == [f"{OPENED} data drift 2-3", f"{REQUESTED} data drift 2-3"]


def test_an_alert_names_a_feature_before_what_features_do_together() -> None:
    story, first = Story(), hour(0, "D", effect=0.3)
    together = replace(first.drift_results[0], feature="(domain classifier)", test="domain_classifier", effect=126.0)
    story.tell(Results([together, *first.drift_results]))
    (alert,) = [event.payload for event in story.events if isinstance(event.payload, Alert)]
    assert [finding.feature for finding in alert.findings] == ["age", "(domain classifier)"]
    assert alert.message.split("Strongest: ")[1].startswith("age, psi")


def test_an_incident_is_over_after_enough_clean_windows_in_a_row() -> None:
    assert Story().picture("D.D..")[2:] == [f"{RESOLVED} data drift 0-5"]


def test_windows_with_too_few_rows_neither_open_nor_end_anything() -> None:
    assert Story().picture("??D?.?") == [f"{OPENED} data drift 2-3", f"{REQUESTED} data drift 2-3"]


def test_a_second_incident_within_the_cool_down_alerts_but_asks_for_no_retrain() -> None:
    assert Story().picture("D..D")[-1] == f"{OPENED} data drift 3-4"


def test_after_the_cool_down_the_same_cause_asks_again() -> None:
    assert Story().picture("D.." + "." * 21 + "D")[-2:] == [f"{OPENED} data drift 24-25", f"{REQUESTED} data drift 24-25"]


def test_retrain_after_two_windows_waits_for_the_second_in_a_row() -> None:
    patient = replace(MODEL, policy=replace(MODEL.policy, retrain_after=2))
    assert Story(patient).picture("D.DD") == [f"{OPENED} data drift 0-1", f"{REQUESTED} data drift 0-4"]


def test_a_data_fault_alerts_and_never_asks_for_a_retrain() -> None:
    assert Story().picture("FFF..") == [f"{OPENED} data fault 0-1", f"{RESOLVED} data fault 0-5"]


def test_drift_during_a_data_fault_asks_once_the_fault_is_over_and_trains_on_the_time_after_it() -> None:
    story = Story()
    said = story.tell(hour(0, "FD"), hour(1, "D"), hour(2, "D"))
    assert said == [f"{OPENED} data fault 0-1", f"{OPENED} data drift 0-1", f"{RESOLVED} data fault 0-3", f"{REQUESTED} data drift 0-3"]
    request = request_of(story)
    assert (request.training_start, request.training_end) == (START + HOUR_MS, START + 3 * HOUR_MS)
    assert (request.rows, request.labelled_rows) == (1600, 1400)


def test_labels_that_trickle_in_revise_the_request_and_nothing_else_is_said_again() -> None:
    story = Story()
    story.picture("D..")
    for labelled in (750, 800):
        revised = hour(0, "D", revision=labelled)
        metrics = [replace(row, n_labelled=labelled) for row in revised.performance_results]
        assert story.tell(Results(revised.drift_results, metrics, revised.quality_results)) == [f"{REQUESTED} data drift 0-1"]
    requests = [event.payload for event in story.events if isinstance(event.payload, RetrainRequest)]
    assert [request.labelled_rows for request in requests] == [700, 750, 800] and len({request.id for request in requests}) == 1


def test_worse_performance_is_concept_drift_unless_data_drift_explains_it() -> None:
    assert Story().picture("P")[0] == f"{OPENED} concept drift 0-1"
    assert Story().tell(hour(0, "D"), hour(1, "P"))[2:] == [f"{OPENED} performance 1-2"]
    assert Story().tell(hour(0, "DP")) == [f"{OPENED} data drift 0-1", f"{REQUESTED} data drift 0-1", f"{OPENED} performance 0-1"]


def test_concept_drift_is_not_over_while_performance_stays_worse_for_another_reason() -> None:
    story = Story()
    story.tell(hour(0, "P"), hour(1, "DP"), hour(2, "DP"), hour(3, "DP"))
    assert f"{RESOLVED} concept drift" not in " ".join(words(event) for event in story.events)


def test_concept_drift_after_data_drift_asks_for_its_own_retrain_unless_the_first_one_already_holds_it() -> None:
    assert Story().tell(hour(0, "DE"))[1:] == [f"{REQUESTED} data drift 0-1", f"{OPENED} concept drift 0-1"]
    later = Story().tell(hour(0, "D"), hour(1, "D"), hour(2, "E"))
    assert later[-2:] == [f"{OPENED} concept drift 2-3", f"{REQUESTED} concept drift 2-3"]


def test_a_detectors_signal_over_a_few_panes_belongs_to_the_window_that_holds_it_and_begins_the_training_range() -> None:
    story = Story()
    signal = hour(1, "E")
    row = replace(signal.drift_results[1], window_start=START + 70 * 60_000, window_end=START + 80 * 60_000)
    said = story.tell(hour(0, "."), Results(drift_results=[row]))
    assert said == [f"{OPENED} concept drift 1-2", f"{REQUESTED} concept drift 1-2"]
    assert request_of(story).training_start == START + 70 * 60_000


def test_a_revision_that_overturns_the_window_retracts_the_alert_and_withdraws_the_request() -> None:
    story = Story()
    story.tell(hour(0, "."), hour(1, "D"))
    opened, requested = story.events
    assert story.tell(hour(1, ".", revision=2)) == [f"{RETRACTED} data drift 1-2", f"{WITHDRAWN} data drift 1-2"]
    retracted, withdrawn = story.events[2:]
    assert isinstance(opened.payload, Alert) and isinstance(retracted.payload, Alert)
    assert opened.payload.incident == retracted.payload.incident and opened.id != retracted.id
    assert requested.payload.id == withdrawn.payload.id and requested.id != withdrawn.id


def test_what_was_taken_back_and_is_true_again_is_said_under_new_ids() -> None:
    story = Story()
    story.tell(hour(0, "D"), hour(0, ".", revision=2), hour(0, "D", revision=3))
    assert [words(event) for event in story.events[4:]] == [f"{OPENED} data drift 0-1", f"{REQUESTED} data drift 0-1"]
    assert len({event.id for event in story.events}) == 6
    assert story.events[0].payload.incident == story.events[4].payload.incident


def test_a_resolved_incident_that_a_revision_prolongs_is_open_again() -> None:
    story = Story()
    story.picture("D..")
    assert story.tell(hour(2, "D", revision=2)) == [f"{OPENED} data drift 0-1", f"{REQUESTED} data drift 0-1"]


def test_an_older_revision_changes_nothing() -> None:
    story = Story()
    story.tell(hour(0, "D", revision=5))
    assert story.tell(hour(0, ".", revision=4))[:1] == [f"{OPENED} data drift 0-1"]
    assert not any(item.retracted for item in story.ledger.published.values())


def test_a_revision_that_still_says_drift_sends_the_same_events_with_the_revised_figures() -> None:
    story = Story()
    story.tell(hour(0, "D"))
    story.tell(hour(0, "D", revision=2, effect=0.4))
    first, again = story.events[:2], story.events[2:]
    assert [event.id for event in again] == [event.id for event in first]
    assert [event.payload for event in again] != [event.payload for event in first]


def test_revised_figures_of_a_resolved_incident_leave_its_end_the_last_word() -> None:
    story = Story()
    story.picture("D..")
    assert story.tell(hour(0, "D", revision=2, effect=0.4))[-1] == f"{RESOLVED} data drift 0-3"


def test_the_same_results_again_send_the_same_events_again() -> None:
    story = Story()
    story.tell(hour(0, "D"))
    story.tell(hour(0, "D"))
    assert story.events[:2] == story.events[2:]


def test_segments_are_listed_in_one_incident() -> None:
    both = evidence_of(hour(0, "D"))["churn", "7"] + evidence_of(hour(0, "D", segment="plan=pro", effect=0.9))["churn", "7"]
    _, (opened, requested) = apply(Ledger("churn", "7"), both, MODEL)
    assert isinstance(opened.payload, Alert)
    assert [finding.segment for finding in opened.payload.findings] == ["plan=pro", ""]
    assert requested.topic == "retrain"


def test_windows_of_several_lengths_have_incidents_of_their_own_and_one_retrain() -> None:
    model = replace(MODEL, windows=(Window(HOUR_MS, HOUR_MS), Window(2 * HOUR_MS, 2 * HOUR_MS)))
    story = Story(model)
    said = story.tell(hour(0, "D"), hour(1, "D"), hour(0, "D", length=2))
    assert said == [f"{OPENED} data drift 0-1", f"{REQUESTED} data drift 0-1", f"{OPENED} data drift 0-2"]


def test_parts_of_one_window_in_several_records_are_put_together() -> None:
    part, other = hour(0, "D").drift_results, hour(0, "D", effect=0.3).drift_results
    story = Story()
    assert len(story.tell(Results(part))) == 2
    story.tell(Results([replace(other[0], feature="income")]))
    assert len({event.id for event in story.events}) == 2
    (evidence,) = [item for item in story.ledger.evidence.values() if item.kind == "data"]
    assert [finding.feature for finding in evidence.findings] == ["age", "income"]


def test_the_message_says_what_drifted_how_much_against_what_since_when_and_on_how_many_rows() -> None:
    story = Story()
    story.tell(hour(0, "D"))
    assert [event.payload.message for event in story.events] == [
        "churn version 7: data drift since 2023-11-14 22:00:00 UTC. Strongest: age, psi 0.5 (effect 0.5, threshold 0.2, p 1e-09), n = 800. "
        "Compared with reference ref.",
        "Train churn version 7 anew on 2023-11-14 22:00:00 UTC to 2023-11-14 23:00:00 UTC (800 rows, 700 labelled): data drift since "
        "2023-11-14 22:00:00 UTC. Strongest: age, psi 0.5 (effect 0.5, threshold 0.2, p 1e-09), n = 800.",
    ]


def test_names_in_the_query_cannot_leave_their_quotes() -> None:
    rows = [replace(row, model="a'b\\", version="'; DROP") for row in hour(0, "D").drift_results]
    evidence = evidence_of(Results(drift_results=rows))["a'b\\", "'; DROP"]
    _, events = apply(Ledger("a'b\\", "'; DROP"), evidence, Model("a'b\\"))
    assert "model = 'a\\'b\\\\' AND version = '\\'; DROP'" in events[0].payload.sql


def test_the_query_of_every_alert_and_request_shows_its_evidence_in_the_store(tmp_path: Path) -> None:
    name = "it's a \\model"
    said = {}
    with ClickHouse.connect(f"chdb://{tmp_path}/store") as store:
        store.migrate()
        for i, letter in enumerate("DEPF"):
            record = hour(30 * i, letter)
            for table in ("drift_results", "performance_results", "quality_results"):
                rows = [replace(row, model=name) for row in getattr(record, table)]
                setattr(record, table, Table(rows))
                store.insert(table, rows, f"{table}{i}")
            _, events = apply(Ledger(name, "7"), evidence_of(record)[name, "7"], Model(name))
            for event in events:
                said[letter, event.topic] = [row["verdict"] for row in store.query(event.payload.sql).to_pylist()]
    assert said == {
        ("D", "alerts"): ["drift"], ("D", "retrain"): ["drift"], ("E", "alerts"): ["drift"], ("E", "retrain"): ["drift"],
        ("P", "alerts"): ["worse"], ("P", "retrain"): ["worse"], ("F", "alerts"): ["fault"],
    }  # fmt: skip


def test_severity_is_critical_for_a_measured_loss_and_for_twice_the_threshold() -> None:
    severities = {}
    for name, record in {"mild": hour(0, "D", effect=0.3), "strong": hour(0, "D", effect=0.4), "loss": hour(0, "P")}.items():
        _, (event, *_) = apply(Ledger("churn", "7"), evidence_of(record)["churn", "7"], MODEL)
        assert isinstance(event.payload, Alert)
        severities[name] = event.payload.severity
    assert severities == {"mild": "warning", "strong": "critical", "loss": "critical"}


def test_an_event_carries_its_key_headers_and_value() -> None:
    story = Story()
    story.tell(hour(0, "D"))
    event = story.events[0]
    headers = dict(event.headers)
    assert (event.key, headers["ce_id"], headers["ce_subject"]) == (b"churn", event.id.encode(), b"churn/7")
    assert headers["ce_time"] == b"2023-11-14T23:00:00.000Z"
    assert decode(event.type, event.value) == event.payload


def test_findings_of_lists_every_finding_with_its_cause() -> None:
    assert {(finding.feature, finding.cause) for _, _, finding in findings_of(hour(0, "DEPF"))} == {
        ("age", "data drift"), ("(error)", "concept drift"), ("accuracy", "performance"), ("age", "data fault"),
    }  # fmt: skip


def test_windows_beyond_the_limit_are_settled_and_their_incident_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "WINDOWS_KEPT", 5)
    story = Story()
    assert len(story.picture("D" * 20)) == 2
    assert len({(key.window_start, key.window_end) for key in story.ledger.evidence}) == 5
    story.tell(hour(0, ".", revision=9))
    assert story.tell(hour(20, "."), hour(21, ".")) == [f"{RESOLVED} data drift 0-22"]


def test_a_retrain_counts_the_rows_of_settled_windows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "WINDOWS_KEPT", 3)
    story = Story(replace(MODEL, policy=replace(MODEL.policy, retrain_after=7)))
    story.picture(".." + "D" * 4)
    story.ledger = Ledger.from_bytes(story.ledger.to_bytes())
    story.tell(*[hour(i, "D") for i in range(6, 9)])
    assert (request_of(story).rows, request_of(story).labelled_rows) == (7 * 800, 7 * 700)


def test_windows_whose_labels_are_still_to_come_are_not_settled_however_old() -> None:
    quick = replace(MODEL, horizon_ms=HOUR_MS, grace_ms=0, disorder_ms=0)
    final, waiting = Story(quick), Story(quick)
    final.tell(*[hour(i, ".") for i in range(10)])
    waiting.tell(*[provisional(hour(i, ".")) for i in range(10)])
    assert len({key.window_start for key in final.ledger.evidence}) == 2
    assert waiting.tell(hour(0, "P", revision=2)) == [
        f"{OPENED} concept drift 0-1",
        f"{REQUESTED} concept drift 0-1",
        f"{RESOLVED} concept drift 0-3",
    ]


def test_a_window_is_not_settled_before_its_segments_are_final_but_not_for_ever() -> None:
    quick = replace(MODEL, horizon_ms=HOUR_MS, grace_ms=0, disorder_ms=0)
    story = Story(quick)
    story.tell(hour(0, "."), provisional(hour(0, ".", segment="region=eu")), *[hour(i, ".") for i in range(1, 8)])
    assert oldest(story) == START
    story.tell(hour(0, ".", revision=2, segment="region=eu"))
    assert oldest(story) > START

    silent = Story(quick)
    silent.tell(hour(0, "."), provisional(hour(0, ".", segment="region=eu")), *[hour(i, ".") for i in range(1, 12)])
    assert oldest(silent) > START


def oldest(story: Story) -> int:
    return min(key.window_start for key in story.ledger.evidence)


def provisional(record: Results) -> Results:
    return Results(
        [replace(row, is_final=False) for row in record.drift_results],
        [replace(row, is_final=False) for row in record.performance_results],
        [replace(row, is_final=False) for row in record.quality_results],
    )


def test_state_of_a_newer_release_is_refused_with_the_fix() -> None:
    data = Ledger("churn", "7").to_bytes()
    with pytest.raises(DriftlineError, match="has codec 3; this version reads up to 2") as refused:
        Ledger.from_bytes(bytes([3]) + data[1:])
    assert refused.value.code == "state_too_new"


def test_the_shell_keeps_versions_apart_and_comes_back_from_its_table() -> None:
    other = Results(drift_results=[replace(row, version="8") for row in hour(0, "D").drift_results])
    ledgers = Ledgers({"churn": MODEL})
    events, state = ledgers.handle([encode_results(hour(0, "D")), None, encode_results(other)])
    assert [(event.payload.version, event.topic) for event in events] == [
        ("7", "alerts"),
        ("7", "retrain"),
        ("8", "alerts"),
        ("8", "retrain"),
    ]
    assert [key for key, _ in state] == [b'["churn","7"]', b'["churn","8"]']
    again = Ledgers({"churn": MODEL})
    again.load(state)
    repeated, unchanged = again.handle([encode_results(hour(0, "D"))])
    assert [event.id for event in repeated] == [event.id for event in events[:2]]
    assert unchanged == []


def test_a_record_of_many_windows_is_evidence_of_each() -> None:
    several, alone = Results(), list[Evidence]()
    for i, said in enumerate(["DEPF", "", "D", "F", "EP"]):
        one = hour(i, said)
        for name, table in one.tables().items():
            getattr(several, name).extend(table)
        alone += evidence_of(one)["churn", "7"]
    together = evidence_of(decode_verdicts(encode_results(several)))["churn", "7"]
    assert {item.key: item for item in together} == {item.key: item for item in alone}
    assert len(together) == len(alone) == len({item.key for item in alone}) > 10


def test_records_without_verdicts_are_passed_over() -> None:
    record = Results(references=[References("churn", "7", "ref", "training", 0, 900, "{}", 1)])
    assert Ledgers({}).handle([encode_results(record)]) == ([], [])


@pytest.mark.parametrize("together", [False, True])
def test_evaluate_sends_all_verdicts_on_one_window_in_one_record(together: bool) -> None:
    results = Results()
    for i in range(6):
        for n in range(400):
            one = hour(i, "DF", segment=f"n={n}")
            results.drift_results.extend(one.drift_results)
            results.quality_results.extend(one.quality_results)
    if together:
        of_drift, of_quality = (joined([*table.parts()]) for table in (results.drift_results, results.quality_results))
        results = Results(drift_results=of_drift, quality_results=of_quality)
    records = list(pieces(results))
    assert [row for record in records for row in record.drift_results] == [*results.drift_results]
    windows = [{r.window_start for r in record.drift_results} | {r.window_start for r in record.quality_results} for record in records]
    assert len(records) > 1
    assert sum(len(starts) for starts in windows) == len(set().union(*windows)) == 6
