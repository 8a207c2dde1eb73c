"""What is told when something about windows changes that were told before. What is judged in them is tested with the judges."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import structs

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.progress import Progress, encode_progress, progress_key
from driftline.schemas.reference import Entry, NumericProfile, Reference
from driftline.schemas.results import DriftResult, Results
from driftline.streams.answers import LabelRows
from driftline.streams.evaluation import Evaluation
from driftline.streams.join import NEVER
from driftline.streams.panes import Fence, PaneKey, empty_pane, encode_key, encode_pane
from driftline.streams.registry import Registry

MODEL = Model("m", pane_ms=10, windows=(Window(20, 20),), horizon_ms=50, disorder_ms=0, grace_ms=0, policy=Policy(min_samples=1))
REFERENCE = Reference("m", "1", {"x": NumericProfile([0.0, 0.5], [0, 10, 10], 20, 0, 0.5, 1.0)}, rows=20, effective_from=20)


class Story:
    """An evaluation, its table, and the source partitions it hears of."""

    def __init__(self, partitions: int = 1, model: Model = MODEL) -> None:
        self.registry = Registry({"m": model})
        self.partitions = partitions
        self.disk: dict[bytes, bytes] = {}
        self.evaluation = Evaluation(self.registry, partitions, {})
        self.written: list[tuple[bytes, bytes]] = []  # last, in order

    def crash(self) -> None:
        self.evaluation = Evaluation(self.registry, self.partitions, dict(self.disk))

    def knows(self, *entries: Entry) -> None:
        for entry in entries:
            self.registry.add(entry, 0)

    def pane(self, start: int, fence: int, n: int = 2, losses: int = 0, partition: int = 0, upto: float = 0.25, epoch: int = 0) -> None:
        """A snapshot with `n` predictions of x from 0.25 up to another number, of which `losses` are labelled, wrongly."""
        layout = self.registry.layout("m", "1", start)
        pane = empty_pane(layout)
        columns = {"x": np.linspace(0.25, upto, n).tolist()}
        if layout:
            pane.add_encoded(layout, layout.encode(columns, n), np.arange(n))
        else:
            pane.add_raw(columns, np.arange(n), {"x": "numeric"})
        ones = np.ones(losses)
        rows = LabelRows(ones.astype(np.int64), 0 * ones, ones, np.full(losses, -1), 0 * ones.astype(np.int64))
        pane.answers.losses.add_labels(rows, ["0", "1"], MODEL)
        snapshot = encode_pane(pane, Fence(fence, 0), epoch)
        self.evaluation.take(encode_key(PaneKey("m", "1", "", start), partition), snapshot)

    def hear(self, *newest: int) -> None:
        """The source partitions tell their newest event time."""
        for k, at in enumerate(newest):
            self.evaluation.take(progress_key(k), encode_progress(Progress(k, (at + 9, at + 9), {"m": (at, at)}, [], True, {})))

    def passed(self, *newest: int) -> Results:
        """The same; what is told then."""
        self.hear(*newest)
        out = self.evaluation.evaluate()
        self.written = list(out.state.items())
        self.disk |= out.state
        for key in out.removed:
            self.disk.pop(key, None)
        return out.results.get("m", Results())


def signal(results: Results, start: int) -> DriftResult:
    [row] = [row for row in results.drift_results if row.feature == "(error)" and row.window_start == start]
    return row


def features(results: Results, start: int) -> list[tuple[str, str]]:
    rows = [row for row in results.drift_results if row.feature != "(error)" and row.window_start == start]
    return sorted((row.feature, row.reference) for row in rows if row.test == "psi")


def test_a_reference_that_comes_late_revises_the_windows_of_its_time() -> None:
    story = Story()
    for start in (0, 20, 40):
        story.pane(start, 5)
    before = story.passed(60)
    assert [features(before, start) for start in (0, 20, 40)] == [[("x", "")]] * 3
    story.knows(REFERENCE)
    assert story.evaluation.outdated
    after = story.passed(60)
    told = [("(label)", REFERENCE.hash), ("x", REFERENCE.hash)]
    assert [features(after, start) for start in (0, 20, 40)] == [[], told, told]
    assert {row.reference for row in after.feature_panes} == {REFERENCE.hash}
    assert not story.evaluation.outdated
    assert story.passed(60) == Results()


def test_a_window_from_before_the_reference_names_its_features_though_some_panes_have_come_under_it() -> None:
    hopping = Model("m", pane_ms=10, windows=(Window(20, 10),), horizon_ms=50, disorder_ms=0, grace_ms=0, policy=Policy(min_samples=1))
    story = Story(model=hopping)
    story.pane(20, 5)
    assert features(story.passed(60), 10) == [("x", "")]
    story.knows(REFERENCE)
    assert features(story.passed(60), 10) == [("x", "")]


def test_labels_that_are_taken_back_leave_a_row_that_says_so() -> None:
    story = Story()
    story.pane(0, 5, losses=2)
    first = signal(story.passed(60), 0)
    story.pane(0, 6)
    second = signal(story.passed(60), 0)
    assert (first.n, first.value, first.verdict) == (2, 1.0, "ok")
    assert (second.n, second.value, second.verdict) == (0, None, "insufficient")
    assert second.revision > first.revision


def test_a_detector_s_row_has_a_higher_revision_when_an_earlier_pane_changed() -> None:
    story = Story()
    story.pane(0, 5, losses=2)
    story.pane(20, 5, losses=2)
    first = signal(story.passed(60), 20)
    story.pane(0, 6, losses=1)
    second = signal(story.passed(60), 20)
    assert second.revision > first.revision


def test_a_detector_s_rows_have_no_lower_revision_after_panes_were_forgotten_and_a_crash() -> None:
    story = Story()
    for start in range(0, 400, 20):
        story.pane(start, 5, losses=1)
    before = signal(story.passed(400), 380)
    assert min(PaneKey(*_key).start for _key in _panes(story)) > 0
    story.crash()
    assert signal(story.passed(400), 380).revision == before.revision


def test_state_that_a_crash_cut_off_forgets_nothing() -> None:
    story = Story()
    story.knows(structs.replace(REFERENCE, effective_from=0))
    for start in range(0, 400, 20):
        story.pane(start, 5, losses=1)
    story.passed(60)
    before = dict(story.disk)
    wanted, written = lasting(story.passed(400), 360), story.written
    assert any(key.startswith(b"forgotten/") for key, _ in written)
    for cut in range(len(written) + 1):
        story.disk = before | dict(written[:cut])
        story.crash()
        assert lasting(story.passed(400), 360) == wanted


def test_state_that_a_crash_cut_off_lowers_no_revision_though_a_later_owner_knew_less() -> None:
    def comes() -> int:
        story.pane(0, 9, losses=1, epoch=2)
        story.pane(0, 7, losses=1, epoch=4)
        return signal(story.passed(40), 0).revision

    story = Story()
    story.pane(0, 5)
    story.passed(20)
    before = dict(story.disk)
    told, written = comes(), story.written
    for cut in range(len(written) + 1):
        story.disk = before | dict(written[:cut])
        story.crash()
        assert comes() >= told


def lasting(results: Results, start: int) -> list[DriftResult]:
    return [row for row in results.drift_results if row.window_start == start and row.test in {"lasting", "adwin"}]


def _panes(story: Story) -> list[Any]:
    return [(*series, start) for series, starts in story.evaluation._parts.items() for start in starts]


def test_a_snapshot_of_a_forgotten_pane_is_not_told_without_the_other_partitions() -> None:
    story = Story(partitions=2)
    for start in range(0, 400, 20):
        story.pane(start, 5, partition=0)
        story.pane(start, 5, partition=1)
    story.passed(400, 400)
    for _ in range(2):
        story.pane(0, 500, partition=1)
        told = story.passed(401, 401)
        assert [row.pane_start for row in told.performance_panes if row.pane_start == 0] == []
        story.crash()


def test_a_quiet_partition_keeps_what_it_may_still_change() -> None:
    story = Story(partitions=2)
    for start in range(0, 400, 20):
        story.pane(start, 5, partition=0)
    story.pane(0, 5, partition=1)
    story.evaluation.take(progress_key(1), encode_progress(Progress(1, (9, 9), {"m": (0, NEVER)}, ["m"], True, {})))
    story.passed(400)
    story.pane(0, 6, n=4, partition=1)
    [row] = [row for row in story.passed(401).performance_panes if row.pane_start == 0]
    assert row.n == 6


def test_a_window_that_has_just_closed_is_told_at_once_and_then_no_more_until_something_in_it_changes() -> None:
    story = Story()
    story.knows(structs.replace(REFERENCE, effective_from=0))
    for at in (0, 20):
        story.pane(at, 5)
    story.hear(30)
    told = story.evaluation.first_rows()["m"]
    assert {row.window_start for row in told.drift_results} == {0} == {row.pane_start for row in told.feature_panes}
    assert story.evaluation.first_rows() == {}
    assert {row.window_start for row in story.passed(30).drift_results if row.test != "adwin"} == set()
    story.pane(0, 6, n=3)
    assert story.evaluation.first_rows() == {}  # it was told before: that can wait
    assert {row.n for row in story.passed(30).drift_results if row.feature == "x"} == {3}


def test_rows_of_drift_say_when_it_began_and_no_others() -> None:
    story = Story(model=structs.replace(MODEL, policy=Policy(min_samples=1, false_alarms=1e9)))
    even = NumericProfile([0.0, 0.5], [0, 1_000, 1_000], 2_000, 0, 0.5, 500.0)
    story.knows(structs.replace(REFERENCE, features={"x": even, "y": even}, rows=2_000, effective_from=0))
    story.pane(30, 5, n=2_000, upto=0.45)
    told = story.passed(60).drift_results
    assert {(row.feature, row.began) for row in told if row.verdict == "drift"} == {("x", 30)}
    assert {row.began for row in told if row.feature == "y"} == {None}


def test_a_window_that_closes_final_is_told_by_the_evaluation_alone() -> None:
    story = Story()
    story.pane(0, 5)
    story.hear(400)
    assert story.evaluation.first_rows() == {}
    assert {row.is_final for row in story.passed(400).drift_results if row.window_start == 0} == {True}


def test_no_window_is_told_at_once_before_one_that_ended_earlier() -> None:
    """Whoever decides would open an incident where it does not begin, and have to take it back."""
    story = Story()
    for at in (0, 360):
        story.pane(at, 5)
    story.hear(400)
    assert story.evaluation.first_rows() == {}  # the first is final already, so it is for the evaluation
    told = [row.window_start for row in story.passed(400).drift_results if row.test == "psi"]
    assert sorted(set(told)) == list(dict.fromkeys(told)) == [0, 360]
    story.pane(380, 6)
    story.hear(405)
    assert {row.window_start for row in story.evaluation.first_rows()["m"].drift_results} == {380}


def test_a_window_that_was_told_when_nothing_came_any_more_is_told_at_once_again_when_it_has_ended() -> None:
    """Left to the evaluation, it would come after the next window."""
    story = Story()
    story.pane(20, 5, n=1)
    story.evaluation.take(progress_key(0), encode_progress(Progress(0, (9, 9), {"m": (25, 25)}, ["m"], True, {})))
    assert {row.window_start for row in story.evaluation.first_rows()["m"].drift_results} == {20}
    assert story.evaluation.first_rows() == {}
    story.pane(20, 70, n=5)
    story.pane(40, 70)
    story.hear(65)
    told = story.evaluation.first_rows()["m"].drift_results
    assert {(row.window_start, row.n) for row in told if row.feature == "x"} == {(20, 5), (40, 2)}


def test_a_window_that_was_told_at_once_is_told_anew_under_the_reference_that_is_learned_then() -> None:
    story = Story(model=structs.replace(MODEL, learn_windows=1))
    for at in (0, 20):
        story.pane(at, 5, n=5)
    story.hear(45)
    assert features(story.evaluation.first_rows()["m"], 20) == [("x", "")]
    [(_, reference)] = {row for row in features(story.passed(45), 20) if row[0] == "x"}
    assert reference


def test_what_is_learned_does_not_depend_on_when_the_panes_of_a_slow_beginning_are_forgotten() -> None:
    model = structs.replace(MODEL, learn_windows=2, policy=Policy(min_samples=10))
    panes = [(0, 1), (20, 1), (40, 1), (60, 9), (80, 9), (100, 9), (400, 9), (420, 9)]
    at_once, step_by_step = Story(model=model), Story(model=model)
    for start, n in panes:
        at_once.pane(start, 5, n)
    at_once.passed(450)
    for start, n in panes:
        step_by_step.pane(start, 5, n)
        step_by_step.passed(start + 10)
    step_by_step.passed(450)
    first, second = (story.registry.layout("m", "1", 2**62) for story in (at_once, step_by_step))
    assert first is not None and second is not None
    assert first.reference == second.reference
    assert (first.reference.effective_from, first.reference.rows) == (80, 10)


def told_at(story: Story, now_s: float) -> set[int]:
    """Windows whose rows `first_rows` or `evaluate` tell at a clock reading, with a verdict."""
    rows = [story.evaluation.first_rows(now_s).get("m", Results()), story.evaluation.evaluate(now_s).results.get("m", Results())]
    return {row.window_start for each in rows for row in each.drift_results if row.feature == "x" and "provisional" not in row.reason}


def test_after_a_lull_a_window_waits_for_the_partitions_that_have_not_said_yet_that_they_go_on() -> None:
    story = Story(2, structs.replace(MODEL, max_wait_ms=1_000, horizon_ms=1_000))
    story.knows(structs.replace(REFERENCE, effective_from=0))

    def tell(partition: int, newest: int, *, quiet: bool) -> None:
        about = Progress(partition, (newest, newest), {"m": (newest, newest)}, ["m"] if quiet else [], True, {})
        story.evaluation.take(progress_key(partition), encode_progress(about))

    for partition in (0, 1):
        story.pane(0, 5, partition=partition)
        tell(partition, 19, quiet=True)
    assert told_at(story, 100.0) == set()
    story.pane(20, 9, partition=0)
    tell(0, 45, quiet=False)
    assert told_at(story, 110.0) == set()
    assert story.evaluation.waits_until_s() == 111.0
    story.pane(20, 9, n=3, partition=1)
    tell(1, 45, quiet=False)
    assert told_at(story, 110.3) == {0, 20}
    story.pane(60, 12, partition=0)
    tell(0, 85, quiet=False)
    tell(1, 45, quiet=True)
    assert told_at(story, 110.6) == set()
    tell(0, 86, quiet=False)
    assert told_at(story, 111.05) == {60}  # no lull: the other one is silent by itself


def test_after_a_lull_a_window_does_not_wait_for_a_partition_that_stays_silent_for_longer_than_the_model_allows() -> None:
    story = Story(2, structs.replace(MODEL, max_wait_ms=1_000))
    for partition, quiet in ((0, []), (1, ["m"])):
        story.pane(0, 5, partition=partition)
        about = Progress(partition, (9, 9), {"m": (45 if not quiet else 15, 9)}, quiet, True, {})
        story.evaluation.take(progress_key(partition), encode_progress(about))
    assert told_at(story, 100.0) == set()
    assert told_at(story, 100.9) == set()
    assert told_at(story, 101.0) == {0}
