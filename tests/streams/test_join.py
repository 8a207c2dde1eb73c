"""Labels and predictions meet: each case of the join, with time drawn. Horizon 100, lateness 50."""

from __future__ import annotations

import math
from collections import defaultdict
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.cold import ColdRows
from driftline.streams.columns import hash_ids
from driftline.streams.join import NEVER, Arrivals, Floor, Join, LabelEffects, OutcomeRows, PredictionRows

HORIZON, LATENESS = 100, 50
pytestmark = pytest.mark.usefixtures("either_reader")
BACK = math.nan  # a label that is taken back


class P(NamedTuple):
    """A prediction."""

    id: str
    ts: int
    version: int = 1
    content: int = 0


class O(NamedTuple):  # noqa: E742
    """An outcome."""

    id: str
    ts: int
    label: float


Labels = dict[tuple[str, int, int], dict[tuple[float, int], int]]


class Watched:
    """A join, and the labels that its effects add up to: prediction (id, version, ts) → (label, label time) → how often."""

    def __init__(self, floor: Floor | None = None) -> None:
        self.join = Join(HORIZON, LATENESS, floor)
        self.ids: dict[int, str] = {}
        self.net: defaultdict[int, defaultdict[tuple[float, int], int]] = defaultdict(lambda: defaultdict(int))
        self.names: dict[int, tuple[str, int, int]] = {}
        self.offsets = [0, 0]

    def predict(self, *events: P) -> Arrivals:
        first = self.offsets[0]
        self.offsets[0] += len(events)
        zeros = np.zeros(len(events), np.int64)
        arrivals = self.join.add_predictions(
            PredictionRows(
                np.arange(first, first + len(events)), np.array([e.ts for e in events]), hash_ids([e.id for e in events]),
                np.array([e.version for e in events]), zeros.astype(float), zeros, zeros, np.array([e.content for e in events], np.uint64),
            )
        )  # fmt: skip
        for row in arrivals.rows.tolist():
            offset = int(self.join.rows.take("offset", np.array([row]))[0])
            event = events[offset - first]
            self.names[offset] = (event.id, event.version, event.ts)
        self._take(arrivals.labels)
        return arrivals

    def tell(self, *events: O) -> list[bool]:
        first = self.offsets[1]
        self.offsets[1] += len(events)
        late, effects = self.join.add_outcomes(
            OutcomeRows(
                np.arange(first, first + len(events)), np.array([e.ts for e in events]), hash_ids([e.id for e in events]),
                np.array([e.label for e in events], float),
            )
        )  # fmt: skip
        self._take(effects)
        told: list[bool] = late.tolist()
        return told

    def _take(self, effects: LabelEffects) -> None:
        rows = zip(effects.prediction.tolist(), effects.sign.tolist(), effects.label.tolist(), effects.label_ts.tolist(), strict=True)
        for row, sign, label, label_ts in rows:
            if not math.isnan(label):
                self.net[int(self.join.rows.take("offset", np.array([row]))[0])][label, label_ts] += sign

    @property
    def labels(self) -> dict[tuple[str, int, int], tuple[float, int]]:
        """Prediction → its label and label time. More than one label of a prediction is an error."""
        found = {}
        for offset, counts in self.net.items():
            now = {key: n for key, n in counts.items() if n}
            assert set(now.values()) <= {1} and len(now) <= 1, now
            if now:
                found[self.names[offset]] = next(iter(now))
        return found


def joined(*steps: P | O) -> dict[tuple[str, int, int], tuple[float, int]]:
    """The labels after these events, one after another."""
    watched = Watched()
    for step in steps:
        watched.predict(step) if isinstance(step, P) else watched.tell(step)
    return watched.labels


def test_a_label_after_its_prediction_takes_effect() -> None:
    # predictions  ──a────────►
    # outcomes     ────────1──►
    assert joined(P("a", 1_000), O("a", 1_080, 1.0)) == {("a", 1, 1_000): (1.0, 1_080)}


def test_a_label_that_is_read_before_its_prediction_takes_effect_when_that_comes() -> None:
    assert joined(O("a", 1_080, 1.0), P("a", 1_000)) == {("a", 1, 1_000): (1.0, 1_080)}


def test_of_a_prediction_that_comes_later_it_is_said_whether_several_outcomes_waited() -> None:
    watched = Watched()
    watched.tell(O("once", 1_010, 1.0), O("twice", 1_010, 1.0), O("twice", 1_020, 0.0), O("far", 1_010, 1.0), O("far", 2_000, 1.0))
    effects = watched.predict(P("once", 1_000), P("twice", 1_000), P("far", 1_000)).labels
    assert effects.several.tolist() == [False, True, False]
    assert watched.predict(P("twice", 1_000, version=2)).labels.several.tolist() == [True]


def test_a_label_may_be_dated_before_its_prediction() -> None:
    assert joined(P("a", 1_000), O("a", 960, 1.0)) == {("a", 1, 1_000): (1.0, 960)}


def test_a_label_of_the_same_time_pairs() -> None:
    assert joined(P("a", 1_000), O("a", 1_000, 1.0)) == {("a", 1, 1_000): (1.0, 1_000)}


@pytest.mark.parametrize(("distance", "pairs"), [(-101, False), (-100, True), (100, True), (101, False)])
def test_a_label_pairs_up_to_the_horizon(distance: int, pairs: bool) -> None:
    # ─────┬───────────┬───────────┬────►
    #     900   prediction 1 000  1 100
    for first, second in ((P("a", 1_000), O("a", 1_000 + distance, 1.0)), (O("a", 1_000 + distance, 1.0), P("a", 1_000))):
        assert bool(joined(first, second)) is pairs


def test_a_label_of_another_id_has_no_effect() -> None:
    assert joined(P("a", 1_000), O("b", 1_000, 1.0)) == {}


def test_a_correction_replaces_the_label_and_keeps_its_time() -> None:
    assert joined(P("a", 1_000), O("a", 1_010, 0.0), O("a", 1_050, 1.0)) == {("a", 1, 1_000): (1.0, 1_010)}


def test_the_last_label_by_event_time_counts_though_it_is_read_first() -> None:
    assert joined(P("a", 1_000), O("a", 1_050, 1.0), O("a", 1_010, 0.0)) == {("a", 1, 1_000): (1.0, 1_010)}


def test_of_two_labels_of_one_time_the_later_record_counts() -> None:
    assert joined(P("a", 1_000), O("a", 1_050, 1.0), O("a", 1_050, 0.0)) == {("a", 1, 1_000): (0.0, 1_050)}


def test_a_label_that_is_corrected_again_and_again_is_looked_up_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, behind = list[int](), Join._labels_behind

    def counted(join: Join, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
        looked.append(len(rows))
        return behind(join, rows)

    monkeypatch.setattr(Join, "_labels_behind", counted)
    labels = joined(P("a", 0), P("a", 0, version=2), *(O("a", ts, float(ts)) for ts in range(50)))
    assert (sum(looked), labels) == (2, {("a", version, 0): (49.0, 0) for version in (1, 2)})


def test_a_retraction_takes_the_label_out() -> None:
    assert joined(P("a", 1_000), O("a", 1_010, 1.0), O("a", 1_050, BACK)) == {}


def test_a_retraction_that_is_read_before_the_prediction_leaves_it_without_a_label() -> None:
    assert joined(O("a", 1_010, 1.0), O("a", 1_050, BACK), P("a", 1_000)) == {}


def test_a_label_after_a_retraction_counts_again() -> None:
    assert joined(P("a", 1_000), O("a", 1_010, 1.0), O("a", 1_020, BACK), O("a", 1_030, 0.0)) == {("a", 1, 1_000): (0.0, 1_010)}


def test_the_same_label_twice_counts_once() -> None:
    assert joined(P("a", 1_000), O("a", 1_010, 1.0), O("a", 1_010, 1.0)) == {("a", 1, 1_000): (1.0, 1_010)}


def test_a_label_goes_to_every_version_of_its_id() -> None:
    found = joined(P("a", 1_000, 1), P("a", 1_005, 2), O("a", 1_010, 1.0), P("a", 1_008, 3))
    assert found == {("a", 1, 1_000): (1.0, 1_010), ("a", 2, 1_005): (1.0, 1_010), ("a", 3, 1_008): (1.0, 1_010)}


def test_the_first_of_two_predictions_of_one_id_and_version_counts() -> None:
    watched = Watched()
    arrivals = watched.predict(P("a", 1_000), P("a", 1_020), P("a", 1_000, 2))
    assert (arrivals.accepted.tolist(), arrivals.duplicate.tolist()) == ([True, False, True], [False, True, False])


def test_a_second_prediction_with_other_content_is_a_conflict() -> None:
    watched = Watched()
    watched.predict(P("a", 1_000, content=1))
    arrivals = watched.predict(P("a", 1_000, content=2))
    assert (arrivals.conflict.tolist(), arrivals.duplicate.tolist(), arrivals.accepted.tolist()) == ([True], [False], [False])


def test_an_id_may_be_used_again_after_the_horizon() -> None:
    # predictions  ──a──────────────x──a──►      x at 1 101: a is a horizon behind and forgotten
    watched = Watched()
    arrivals = watched.predict(P("a", 1_000), P("x", 1_101), P("a", 1_102))
    assert arrivals.accepted.tolist() == [True, True, True]


def test_each_use_of_an_id_has_its_own_label() -> None:
    watched = Watched()
    watched.predict(P("a", 1_000), P("x", 1_201), P("a", 1_202))
    watched.tell(O("a", 1_010, 1.0), O("a", 1_210, 0.0))
    assert watched.labels == {("a", 1, 1_000): (1.0, 1_010), ("a", 1, 1_202): (0.0, 1_210)}


def test_a_duplicate_keeps_its_id_in_mind_for_longer() -> None:
    # predictions  ──a──────a'─────x──a──►       a' at 1 080 is remembered until 1 180
    watched = Watched()
    arrivals = watched.predict(P("a", 1_000), P("a", 1_080), P("x", 1_150), P("a", 1_150))
    assert arrivals.duplicate.tolist() == [False, True, False, True]


def test_a_prediction_too_far_behind_the_newest_is_late() -> None:
    watched = Watched()
    arrivals = watched.predict(P("x", 1_000), P("a", 950), P("b", 949))
    assert arrivals.late.tolist() == [False, False, True]


def test_a_late_label_has_no_effect() -> None:
    watched = Watched()
    watched.predict(P("a", 1_000))
    assert watched.tell(O("x", 1_060, 1.0), O("a", 1_009, 1.0)) == [False, True]
    assert watched.labels == {}


def test_lateness_is_judged_in_each_topic_by_itself() -> None:
    watched = Watched()
    watched.predict(P("a", 1_000), P("x", 9_000))
    assert watched.tell(O("a", 1_010, 1.0)) == [False]
    assert watched.labels == {("a", 1, 1_000): (1.0, 1_010)}


def test_a_join_that_begins_at_a_floor_has_the_clock_it_had_there() -> None:
    watched = Watched(Floor(0, 1_000, 0, NEVER))
    assert watched.predict(P("a", 949), P("b", 950)).late.tolist() == [True, False]


def test_what_no_event_can_touch_any_more_is_dropped_and_the_floor_moves() -> None:
    # predictions  ──a───────────────────────x──►
    # outcomes     ────1─────────────────────x──►
    watched = Watched()
    for at in (1_000, 2_000):
        watched.predict(P(f"p{at}", at))
        watched.tell(O(f"p{at}", at, 1.0))
    watched.join.evict(force=True)
    assert (len(watched.join), watched.join.floor) == (2, Floor(1, 1_000, 1, 1_000))


def test_a_prediction_waits_for_its_label_while_outcomes_lag() -> None:
    watched = Watched()
    watched.predict(P("a", 1_000), P("x", 9_000))
    watched.join.evict(force=True)
    watched.tell(O("a", 1_010, 1.0))
    assert ("a", 1, 1_000) in watched.labels


def test_an_id_that_the_store_may_have_leaves_with_its_prediction_and_is_not_dropped() -> None:
    """Or an outcome of it that is there would look like an orphan. What the store has whole, or cannot have, is dropped."""
    watched = Watched()
    join = watched.join
    watched.predict(P("there", 0))
    join.left(join.leaving(1))
    watched.predict(P("there", 10, version=2), P("only here", 20))
    whole = hash_ids(["whole"])
    i, f = np.zeros(1, np.int64), np.zeros(1)
    join.thaw(ColdRows(whole, i, i + 30, i + 30, f, i, i, i, i.astype(np.uint64)), 1, 0)
    watched.predict(P("new", 1_000))
    watched.tell(O("new", 1_000, 1.0))
    join.evict(force=True)
    assert np.isin(hash_ids(["there", "only here", "whole", "new"]), join.rows.all("key")).tolist() == [True, False, False, True]


def test_little_traffic_is_dropped_as_time_goes_on() -> None:
    watched = Watched()
    for at in range(0, 20_000, 20):
        watched.predict(P(str(at), at))
        watched.tell(O(str(at), at, 1.0))
        watched.join.evict()
    assert len(watched.join) < 100
    assert watched.join.floor.predictions > 900


def test_a_few_of_many_that_are_past_wait_for_others_but_not_for_long() -> None:
    # predictions  ──old──many──────x──►
    # outcomes     ──────────y──────z──►
    watched = Watched()
    watched.predict(P("old", 0))
    watched.predict(*[P(str(i), 160) for i in range(100)])
    watched.tell(O("y", 160, 1.0))
    watched.join.evict()
    assert (len(watched.join), watched.join.floor.predictions) == (102, 0)
    watched.predict(P("x", 240))
    watched.tell(O("z", 240, 1.0))
    watched.join.evict()
    assert (len(watched.join), watched.join.floor.predictions) == (103, 1)


@pytest.mark.parametrize("known", [0, 30, 270, 300])
def test_however_many_ids_of_a_batch_of_outcomes_are_new_each_meets_its_prediction(known: int) -> None:
    ids = [str(i) for i in range(300)]
    watched, order = Watched(), Random(known)
    for i in range(0, known, 10):
        watched.predict(*[P(id, 1_000) for id in ids[i : i + 10]])
    told = [O(id, 1_000 + label, float(label)) for id in ids for label in (1, 2)]
    order.shuffle(told)
    watched.tell(*told)
    if known < len(ids):
        watched.predict(*[P(id, 1_000) for id in ids[known:]])
    assert watched.labels == {(id, 1, 1_000): (2.0, 1_001) for id in ids}
    assert np.bincount(watched.join._heads_of(watched.join.rows.all("key"))).max() == 3


times = st.integers(0, 60).map(lambda step: 1_000 + 10 * step)
predictions = st.builds(P, st.sampled_from("ab"), times, st.integers(1, 2), st.integers(0, 1))
outcomes = st.builds(O, st.sampled_from("ab"), times, st.sampled_from([0.0, 1.0, BACK]))


@given(st.lists(predictions, max_size=25), st.lists(outcomes, max_size=25), st.randoms(use_true_random=False))
def test_dropping_changes_nothing_whenever_it_happens(p: list[P], o: list[O], random: Random) -> None:
    kept, dropping = Watched(), Watched()
    queues: list[list[P | O]] = [[*p], [*o]]
    while any(queues):
        queue = random.choice([q for q in queues if q])
        event = queue.pop(0)
        for watched in (kept, dropping):
            watched.predict(event) if isinstance(event, P) else watched.tell(event)
        if random.random() < 0.5:
            dropping.join.evict(force=True)
    assert dropping.labels == kept.labels
    assert (dropping.net, dropping.names) == (kept.net, kept.names)


@given(st.lists(predictions, max_size=25), st.lists(outcomes, max_size=25), st.integers(0, 25), st.integers(0, 25))
def test_what_was_read_first_and_how_it_was_cut_changes_nothing(p: list[P], o: list[O], cut_p: int, cut_o: int) -> None:
    results = []
    for order in ("pppooo", "oooppp", "popopo"):
        watched = Watched()
        parts: dict[str, Any] = {"p": [p[:cut_p], p[cut_p:], []], "o": [o[:cut_o], o[cut_o:], []]}
        for topic in order:
            part = parts[topic].pop(0)
            if part:
                watched.predict(*part) if topic == "p" else watched.tell(*part)
        results.append((watched.labels, watched.names))
    assert results[0] == results[1] == results[2]


def test_an_outcome_alone_is_named_once_and_when_no_prediction_can_come_any_more() -> None:
    watched, named = Watched(), list[list[int]]()
    for outcome in (O("a", 0, 1.0), O("b", HORIZON, 1.0), O("c", HORIZON, 1.0), O("d", HORIZON, 1.0)):
        watched.tell(outcome)
    for ts in (0, HORIZON + LATENESS + 1, 2 * HORIZON + LATENESS, 2 * HORIZON + LATENESS + 1):
        watched.predict(P("c", ts))
        watched.join.evict(force=True)
        named.append(watched.join.take_orphans().offset.tolist())
    assert named == [[], [0], [], [1, 3]]
    assert (watched.join.floor.predictions, watched.join.floor.outcomes) == (0, 2)


@pytest.mark.parametrize("labelled", [0.0, 0.3])
def test_a_waiting_prediction_takes_less_than_64_bytes_at_any_moment(labelled: float) -> None:
    join = Join(7 * 86_400_000, 3_600_000)
    rng = np.random.default_rng(0)
    for first in range(0, 600_000, 5_000):
        at = np.arange(first, first + 5_000)
        keys = rng.integers(0, 2**64, 5_000, dtype=np.uint64)
        ts = 1_767_571_200_000 + 20 * at
        join.add_predictions(PredictionRows(at, ts, keys, at % 3, (at % 2).astype(float), at % 256, at % 5, keys))
        told = keys[: int(labelled * 5_000)]
        if len(told):
            join.add_outcomes(OutcomeRows(np.arange(len(told)) + first, ts[: len(told)] + 10, told, np.ones(len(told))))
        join.evict()
        if first >= 100_000:
            assert join.nbytes < 64 * len(join)
