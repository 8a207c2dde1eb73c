"""A detector over label time: panes in order, revised when one changes, and folded away when none can."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.answers import Losses
from driftline.streams.detection import Detection
from driftline.streams.stats import Adwin

DETECTOR = Adwin(delta=0.05)
Panes = dict[int, Losses]


def pane(n: int, wrong: int) -> Losses:
    return Losses.of([1.0] * wrong + [0.0] * (n - wrong))


def detection() -> Detection:
    return Detection(DETECTOR, DETECTOR.start())


def read_whole(panes: Panes) -> Detection:
    """The detector after all panes at once."""
    whole = detection()
    whole.read(sorted(panes.items()), -(2**62))
    return whole


def rising() -> Panes:
    """Forty panes of 50 labels: 5 wrong in each, from the twentieth on 25."""
    return {60 * i: pane(50, 5 if i < 20 else 25) for i in range(40)}


def test_a_rise_of_the_loss_is_signalled_in_the_pane_where_it_shows() -> None:
    signals = [step for step in read_whole(rising()).steps if step.signal]
    assert signals[0].signal is not None
    assert (signals[0].signal.direction, 20 * 60 <= signals[0].start <= 25 * 60) == ("up", True)


def test_panes_that_come_one_after_another_read_as_all_at_once() -> None:
    one_by_one, panes = detection(), rising()
    for start in panes:
        one_by_one.read([item for item in panes.items() if item[0] <= start], start)
    assert one_by_one.steps == read_whole(panes).steps


def test_a_revised_pane_is_read_again_with_all_after_it() -> None:
    # panes    0 ─ 60 ─ 120 ─ … ─ 1 200 ─ … ─ 2 340
    #                               ^ labels come late
    panes = rising()
    revised = read_whole(panes)
    panes[1_200] = pane(80, 60)
    again = revised.read(sorted(panes.items()), 1_200)
    assert [step.start for step in again] == [start for start in panes if start >= 1_200]
    assert revised.steps == read_whole(panes).steps


def test_a_pane_that_comes_between_others_is_read_in_its_place() -> None:
    panes = rising()
    late = panes.pop(600)
    detected = read_whole(panes)
    panes[600] = late
    detected.read(sorted(panes.items()), 600)
    assert detected.steps == read_whole(panes).steps


def test_nothing_new_is_read_once() -> None:
    detected = read_whole(rising())
    assert detected.read(sorted(rising().items()), 10**9) == []


def test_a_pane_whose_labels_were_all_taken_back_leaves_the_state_as_it_is() -> None:
    detected = detection()
    [first, second] = detected.read([(0, pane(50, 5)), (60, Losses())], 0)
    assert (second.state, second.signal) == (first.state, None)


def test_settled_panes_are_in_the_base() -> None:
    whole, settled = read_whole(rising()), read_whole(rising())
    settled.settle(1_000)
    assert [step for step in whole.steps if step.start >= 1_000] == settled.steps
    assert settled.base == whole.steps[16].state  # the pane at 960


def test_settled_panes_that_come_again_are_passed_over() -> None:
    # After a crash the topic is read again from the last commit, and brings panes that the stored base knows.
    settled = read_whole(rising())
    settled.settle(1_000)
    settled.read(sorted(rising().items()), 0)
    assert settled.steps == [step for step in read_whole(rising()).steps if step.start >= 1_000]


def test_a_stored_detection_goes_on_as_the_one_that_was_stored() -> None:
    settled = read_whole(rising())
    settled.settle(1_000)
    again = Detection.from_bytes(DETECTOR, settled.to_bytes())
    again.read(sorted(rising().items()), 0)
    assert (again.base, again.steps) == (settled.base, settled.steps)


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.integers(0, 60), st.floats(0, 1)), max_size=15), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(of: dict[int, tuple[int, float]], random: Random) -> None:
    panes = {60 * i: pane(n, round(n * share)) for i, (n, share) in of.items()}
    arrivals = list(panes)
    random.shuffle(arrivals)
    detected, here = detection(), Panes()
    for start in arrivals:
        here[start] = panes[start]
        detected.read(sorted(here.items()), start)
    assert detected.steps == read_whole(panes).steps
