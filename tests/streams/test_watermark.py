"""How far a model's event time has come, over partitions that lead, lag, are quiet or never met it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.progress import Progress
from driftline.streams.join import NEVER
from driftline.streams.watermark import Patience, Watermark, watermark

MODEL = Model("m", disorder_ms=10, grace_ms=100, horizon_ms=1_000)


def told(partition: int, predictions: int | None, outcomes: int = NEVER, *, quiet: bool = False, caught_up: bool = True) -> Progress:
    """The progress of a partition; `predictions` None: it never met the model."""
    newest = {} if predictions is None else {"m": (predictions, outcomes)}
    return Progress(partition, (9, 9), newest, ["m"] if quiet else [], caught_up, {})


def of(*progress: Progress, partitions: int | None = None) -> Watermark:
    return watermark(MODEL, {p.partition: p for p in progress}, partitions or len(progress))._replace(slowest=(NEVER, NEVER))


def test_it_stays_the_allowed_disorder_behind_the_newest_event() -> None:
    assert of(told(0, 500, 300)) == Watermark(490, 290)


def test_the_partition_furthest_behind_holds_it_back() -> None:
    # partition 0   ──────────────► 500
    # partition 1   ──────► 200
    assert of(told(0, 500, 300), told(1, 200, 400)) == Watermark(190, 290)


def test_a_partition_that_has_told_nothing_holds_everything_back() -> None:
    assert of(told(0, 500, 300), partitions=2) == Watermark()


def test_a_partition_that_lags_and_has_not_met_the_model_holds_everything_back() -> None:
    assert of(told(0, 500, 300), told(1, None, caught_up=False)) == Watermark()


def test_a_partition_that_has_read_everything_and_never_met_the_model_does_not_count() -> None:
    assert of(told(0, 500, 300), told(1, None)) == Watermark(490, 290)


def test_a_quiet_partition_does_not_count() -> None:
    assert of(told(0, 500, 300), told(1, 200, 100, quiet=True)) == Watermark(490, 290)


def test_when_all_are_quiet_what_was_seen_may_be_judged() -> None:
    assert of(told(0, 500, 300, quiet=True), told(1, 200, 400, quiet=True)) == Watermark(490, 390, everything=True)


def test_a_model_that_nobody_met_has_nothing_to_judge() -> None:
    assert of(told(0, None), told(1, None)) == Watermark()


def test_without_an_outcome_the_outcomes_have_no_watermark() -> None:
    assert of(told(0, 500)) == Watermark(490, NEVER)


def test_progress_of_partitions_beyond_the_count_is_passed_over() -> None:
    assert of(told(0, 500, 300), told(1, 200, 100), partitions=1) == Watermark(490, 290)


def test_a_window_is_final_a_grace_behind_predictions_and_a_horizon_more_behind_outcomes() -> None:
    # event time   ───────────┬──────────┬─────────► 5 000 predictions, 5 000 outcomes
    #                       3 900      4 900
    #              outcomes − grace − horizon   predictions − grace
    assert Watermark(slowest=(5_000, 5_000)).final(MODEL) == 3_900


def test_a_quiet_partition_keeps_windows_from_being_final_since_it_may_bring_older_events() -> None:
    quiet = {0: told(0, 500, 300), 1: told(1, 200, 100, quiet=True), 2: told(2, None)}
    assert watermark(MODEL, quiet, 3).slowest == (190, 90)
    assert watermark(MODEL, quiet, 1).slowest == (490, 290)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=5), st.data())
def test_it_never_falls_while_no_partition_falls_behind_itself(newest: list[tuple[int, int]], data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)), min_size=len(newest), max_size=len(newest)))
    before = of(*(told(k, p, o) for k, (p, o) in enumerate(newest)))
    after = of(*(told(k, p + dp, o + do) for k, ((p, o), (dp, do)) in enumerate(zip(newest, steps, strict=True))))
    assert after.predictions >= before.predictions
    assert after.outcomes >= before.outcomes


Step = tuple[float, int, bool]  # seconds since the one before, how far the watermark moves, whether every partition is idle


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9, 1.0, 3.0]), st.sampled_from([0, 0, 5, 70]), st.booleans()), max_size=40))
def test_patience_holds_nothing_back_for_longer_than_a_partition_may_be_silent(steps: list[Step]) -> None:
    model, patience, now_s = Model("m", disorder_ms=0, max_wait_ms=1_000), Patience(), 0.0
    said = [(-1.0, NEVER)]  # when, and the watermark then
    for later_s, further, everything in steps:
        now_s += later_s
        newest = max(said[-1][1], 0) + further
        limited = patience.limit(Watermark(newest, newest, everything, (0, 0)), newest, model, now_s)
        said.append((now_s, newest))
        assert limited.predictions <= newest
        assert limited.predictions >= max(at for when_s, at in said if when_s <= now_s - 1.0)
        assert (patience.until_s <= now_s + 1.0) == (limited.predictions < newest)
