"""What every sink promises, over all of them: ClickHouse over HTTP and in the process, and Parquet files. A new sink joins `place`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import QualityResult
from driftline.sinks.sink import Sinks

HOUR = 3_600_000
Place = Any


def row(number: int = 0, **changes: object) -> QualityResult:
    """One check of the window that begins `number` hours after the epoch."""
    window = (number * HOUR, (number + 1) * HOUR)
    plain = QualityResult("churn", "7", "", *window, "age", "missing_rate", 0.25, None, 0.5, 400, "ok", "", "ref", "pol", True, 1.0, 5)
    return msgspec.structs.replace(plain, **changes)


def hours(rows: list[dict[str, Any]]) -> list[int]:
    """The windows of rows, as hours after the epoch."""
    return sorted(int(found["window_start"].timestamp() // 3600) for found in rows)


def test_rows_are_there_when_the_call_returns(place: Place) -> None:
    place.open().insert("quality_results", [row(i) for i in range(30)], "t")
    assert hours(place.stored("quality_results")) == list(range(30))


def test_a_block_that_is_written_again_changes_nothing(place: Place) -> None:
    sink = place.open()
    for _ in range(3):
        sink.insert("quality_results", [row(0), row(40)], "t")
    assert hours(place.stored("quality_results")) == [0, 40]


def test_a_token_that_was_seen_makes_whatever_comes_with_it_nothing(place: Place) -> None:
    sink = place.open()
    for i in (3, 4):
        sink.insert("quality_results", [row(i)], "t")
    assert hours(place.stored("quality_results")) == [3]


def test_a_block_that_is_written_again_after_a_restart_changes_nothing(place: Place) -> None:
    for _ in range(2):
        with place.open() as sink:
            sink.insert("quality_results", [row(0), row(40)], "t")
    assert hours(place.stored("quality_results")) == [0, 40]


def test_rows_that_come_again_in_other_blocks_are_seen_once(place: Place) -> None:
    sink = place.open()
    rows = [row(i) for i in range(6)]
    for first, end in ((0, 4), (2, 6), (0, 1)):
        sink.insert("quality_results", rows[first:end], f"t{first}-{end}")
    assert hours(place.seen("quality_results")) == list(range(6))


def test_an_empty_block_is_nothing(place: Place) -> None:
    sink = place.open()
    sink.insert("quality_results", [], "t")
    sink.insert("quality_results", [row()], "t")
    assert hours(place.stored("quality_results")) == [0]


@pytest.mark.parametrize("order", [(5, 9), (9, 5)])
def test_the_higher_revision_is_seen_whichever_comes_first(place: Place, order: tuple[int, int]) -> None:
    sink = place.open()
    for revision in order:
        sink.insert("quality_results", [row(n=revision, revision=revision)], f"t{revision}")
    assert [found["n"] for found in place.seen("quality_results")] == [9]


def test_of_two_revisions_in_one_block_the_higher_is_seen(place: Place) -> None:
    place.open().insert("quality_results", [row(n=2, revision=2), row(n=1, revision=1)], "t")
    assert [found["n"] for found in place.seen("quality_results")] == [2]


BAD: list[dict[str, object]] = [{"n": -1}, {"n": 2**64}, {"feature": "\ud800"}, {"model": None}, {"value": "much"}]


def test_bad_rows_are_handed_back_and_the_others_stored(place: Place) -> None:
    rejected: list[tuple[int, DriftlineError]] = []
    sink = place.open()
    bad = {4 * i: changes for i, changes in enumerate(BAD)}
    rows = [row(i, **bad.get(i, {})) for i in range(20)]
    for _ in range(2):
        sink.insert("quality_results", rows, "t", lambda number, error: rejected.append((number, error)))
    assert [number for number, _ in rejected] == [*bad, *bad]
    assert {error.code for _, error in rejected} == {"store_rejected"}
    assert hours(place.stored("quality_results")) == [i for i in range(20) if i not in bad]


def test_a_refused_row_that_nobody_takes_stops_with_the_row_in_the_message(place: Place) -> None:
    with pytest.raises(DriftlineError, match=r"(.|\n)*window_start=10800000") as caught:
        place.open().insert("quality_results", [row(i, n=-1 if i == 3 else 1) for i in range(8)], "t")
    assert caught.value.code == "store_rejected"


def test_a_block_of_bad_rows_stops_instead_of_being_taken_apart(place: Place) -> None:
    rejected: list[int] = []
    with pytest.raises(DriftlineError, match="more than 100 rows of one block"):
        place.open().insert("quality_results", [row(i, n=-1) for i in range(300)], "t", lambda number, _: rejected.append(number))
    assert rejected == list(range(100))


def test_a_table_that_does_not_exist_stops_at_once(place: Place) -> None:
    with pytest.raises(DriftlineError) as caught:
        place.open(sleep=lambda _: pytest.fail("waited")).insert("quality_result", [row()], "t")
    assert caught.value.code == "store_schema"


def test_what_passes_is_waited_for_and_then_stored_once(place: Place) -> None:
    said: list[str] = []

    def sleep(_: float) -> None:
        if len(said) == expected:
            place.mend()

    sink = place.open(sleep=sleep, on_retry=lambda error, attempt, _: said.append(f"{attempt} {error.code}"))
    expected = place.disturb()
    sink.insert("quality_results", [row(i) for i in range(4)], "t")
    assert hours(place.seen("quality_results")) == list(range(4))
    assert [text.split()[0] for text in said] == [str(attempt) for attempt in range(1, expected + 1)]
    assert {text.split()[1] for text in said} <= {"store_busy", "store_partial"}


def test_ten_minutes_without_the_store_lose_nothing(place: Place) -> None:
    """On a clock of its own: each wait moves it, and after ten minutes of waiting the store is back."""
    clock = 0.0

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        if clock < 600:
            place.disturb()
        else:
            place.mend()

    sink = place.open(sleep=sleep)
    away = place.disturb()
    for i in range(20):
        sink.insert("quality_results", [row(i)], f"t{i}")
    assert clock >= 600 or not away
    assert hours(place.seen("quality_results")) == list(range(20))


def test_closing_ends_the_waiting(place: Place) -> None:
    waiting, errors = threading.Event(), []

    def told(*_: object) -> None:
        waiting.set()
        place.disturb()

    sink = place.open(on_retry=told)
    if not place.disturb():
        return  # inside the process nothing can be away

    def insert() -> None:
        with pytest.raises(DriftlineError) as caught:
            sink.insert("quality_results", [row()], "t")
        errors.append(caught.value.code)

    thread = threading.Thread(target=insert)
    thread.start()
    assert waiting.wait(30)
    sink.close()
    thread.join(30)
    place.mend()
    assert errors == ["store_closed"]


def test_a_closed_sink_says_so(place: Place) -> None:
    sink = place.open()
    sink.close()
    with pytest.raises(DriftlineError) as caught:
        sink.insert("quality_results", [row()], "t")
    assert caught.value.code == "store_closed"


def test_threads_may_write_at_once(place: Place) -> None:
    sink = place.open()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: sink.insert("quality_results", [row(i)], f"t{i}"), range(24)))
    assert hours(place.stored("quality_results")) == list(range(24))


def test_several_sinks_hold_the_same_and_a_row_that_one_refuses_is_handed_back(place: Place) -> None:
    rejected: list[int] = []
    take: Callable[[int, DriftlineError], object] = lambda number, _: rejected.append(number)  # noqa: E731
    both = Sinks(place.open(), place.open())
    both.insert("quality_results", [row(0), row(1, n=-1)], "t", take)
    assert hours(place.seen("quality_results")) == [0]
    assert rejected == [1, 1]
    both.close()
