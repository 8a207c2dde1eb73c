"""What windows are compared with besides the reference."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from driftline.schemas.config import DAY_MS, HOUR_MS, Exclusion, Model, Policy
from driftline.schemas.errors import DriftlineError
from driftline.streams.baselines import WEEK_MS, Earlier, baselines_of, recounted
from driftline.streams.drift import Baseline
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import reference_from_frame

NAMED = ("training", "trailing:1d", "hour-of-week", "version:6")
MODEL = Model("m", features={"x": "numeric", "c": "categorical"}, baselines=NAMED, policy=Policy(volume_change=3))


def rows(seed: int, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.standard_normal(n), "c": rng.choice(["a", "b"], n)})


LAYOUT = Layout(reference_from_frame(rows(0, 3_000), MODEL, "7"))


def pane_of(layout: Layout, frame: pd.DataFrame) -> Pane:
    pane = empty_pane(layout)
    pane.add_encoded(layout, layout.encode({str(name): frame[name].tolist() for name in frame}, len(frame)), np.arange(len(frame)))
    return pane


def window(start: int, n: int = 400, *, model: Model = MODEL, segment: str = "", provisional: bool = False) -> Judged:
    pane = pane_of(LAYOUT, rows(start // HOUR_MS % 1_000, n))
    return Judged(WindowKey("m", "7", segment, start, start + HOUR_MS), model, LAYOUT, pane, 1, True, (pane,), provisional)


def against(judged: Judged, earlier: Earlier) -> dict[str, Baseline]:
    return {baseline.name: baseline for baseline in baselines_of(judged, earlier, {})}


def earlier_of(*starts: int) -> Earlier:
    earlier = Earlier()
    for start in starts:
        earlier.take(window(start), sound=True)
    return earlier


def n_of(baseline: Baseline) -> int:
    assert baseline.counts is not None
    return int(LAYOUT.stretch(baseline.counts, 0)[0].sum())


NOW = 100 * DAY_MS


def test_a_trailing_baseline_is_the_sum_of_the_windows_before() -> None:
    found = against(window(NOW), earlier_of(NOW - 25 * HOUR_MS, NOW - 24 * HOUR_MS, NOW - HOUR_MS, NOW))["trailing:1d"]
    assert n_of(found) == 800
    one, other = (window(NOW - hours * HOUR_MS).pane.counts for hours in (24, 1))
    assert found.counts is not None
    assert np.array_equal(found.counts, one + other)


def test_the_same_hour_of_the_week_looks_four_weeks_back() -> None:
    weeks = [NOW - week * WEEK_MS for week in range(1, 6)]
    assert n_of(against(window(NOW), earlier_of(*weeks, NOW - HOUR_MS))["hour-of-week"]) == 4 * 400


def test_without_such_windows_the_baseline_says_so() -> None:
    assert against(window(NOW), Earlier())["trailing:1d"].missing == "no sound window of the last 1d is known"


def test_faulty_excluded_and_open_windows_are_no_baseline() -> None:
    holiday = Exclusion(datetime(1970, 4, 10, 21, tzinfo=UTC), datetime(1970, 4, 10, 22, tzinfo=UTC), "holiday")
    model = Model("m", features=MODEL.features, baselines=NAMED, exclude=(holiday,))
    start = int(holiday.begin.timestamp() * 1000)
    earlier = Earlier()
    earlier.take(window(start, model=model), sound=True)
    earlier.take(window(start + HOUR_MS, model=model), sound=False)
    earlier.take(window(start + 2 * HOUR_MS, model=model, provisional=True), sound=True)
    assert against(window(start + 3 * HOUR_MS, model=model), earlier)["trailing:1d"].missing
    earlier.take(window(start + 2 * HOUR_MS, model=model), sound=True)
    assert n_of(against(window(start + 3 * HOUR_MS, model=model), earlier)["trailing:1d"]) == 400


def test_another_version_with_the_same_edges_is_compared_and_others_say_what_to_do() -> None:
    frame = rows(5, 900)
    other = Layout(reference_from_frame(rows(9, 2_000), MODEL, "6"))  # of its own rows: other edges, the same categories
    there = pane_of(other, frame)
    found = {each.name: each for each in baselines_of(window(NOW), Earlier(), {"6": (other, there)})}["version:6"]
    assert set(found.missing_of) == {"x"}
    assert "promote" in found.missing_of["x"]
    assert found.counts is not None
    told = dict(zip([*other.profiles[1].categories, ""], other.stretch(there.counts, 1)[0].tolist(), strict=True))  # type: ignore[union-attr]
    ours = dict(zip([*LAYOUT.profiles[1].categories, ""], LAYOUT.stretch(found.counts, 1)[0].tolist(), strict=True))  # type: ignore[union-attr]
    assert told == ours


def test_recounting_by_the_same_reference_changes_nothing() -> None:
    counts = window(NOW).pane.counts
    again, elsewhere = recounted(counts, LAYOUT, LAYOUT)
    assert (np.array_equal(again, counts), elsewhere) == (True, [])


def test_a_version_without_rows_says_so() -> None:
    assert against(window(NOW), Earlier())["version:6"].missing == "version 6 has no rows in this window"


def test_segments_are_compared_with_the_reference_only() -> None:
    assert [each.name for each in baselines_of(window(NOW, segment="plan=pro"), Earlier(), {})] == ["training"]


def test_what_is_written_down_comes_back_and_is_written_once() -> None:
    earlier = earlier_of(NOW - 2 * HOUR_MS, NOW - HOUR_MS)
    records = earlier.settle(NOW)
    assert earlier.settle(NOW) == {}
    came = Earlier()
    for start, record in records.items():
        came.put(start, record)
    assert came.windows == earlier.windows
    assert came.settle(NOW) == {}
    assert sorted(came.forget(NOW - HOUR_MS)) == [NOW - 2 * HOUR_MS]


def test_what_a_newer_release_wrote_is_refused() -> None:
    import msgspec

    with pytest.raises(DriftlineError, match="state_too_new"):
        Earlier().put(0, msgspec.msgpack.encode((99, "", 0, b"")))


def test_usual_rows_are_the_median_of_the_week_before() -> None:
    earlier = Earlier()
    for hours, n in ((1, 100), (2, 200), (3, 900), (200, 5)):
        earlier.take(window(NOW - hours * HOUR_MS, n), sound=True)
    assert earlier.usual(NOW) == 200
    assert Earlier().usual(NOW) is None


def test_a_model_that_needs_no_earlier_windows_keeps_none() -> None:
    earlier = Earlier()
    earlier.take(window(NOW, model=Model("m")), sound=True)
    assert earlier.windows == {}
