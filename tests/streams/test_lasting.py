"""Small drift that lasts: gathered over windows, and the same however often and in whatever order they were judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.schemas.config import HOUR_MS, Model, Policy
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import DriftResult
from driftline.streams.drift import drift
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.lasting import Lasting, needed
from driftline.streams.layout import Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import reference_from_frame

MODEL = Model("m", features={"x": "numeric", "y": "numeric"}, tests=("psi",), policy=Policy(false_alarms=1.0))
Values = NDArray[np.float64]


def rows_of(seed: int, n: int, shift: float = 0.0) -> pd.DataFrame:
    z = np.random.default_rng(seed).standard_normal((n, 2))
    z[:, 0] += shift
    return pd.DataFrame(z, columns=["x", "y"])


LAYOUT = Layout(reference_from_frame(rows_of(0, 20_000), MODEL, "1"))


def window(at: int, seed: int, shift: float = 0.0, n: int = 1_000, revision: int = 1) -> Judged:
    table, pane = rows_of(seed, n, shift), empty_pane(LAYOUT)
    pane.add_encoded(LAYOUT, LAYOUT.encode({str(name): table[name].tolist() for name in table}, n), np.arange(n))
    return Judged(WindowKey("m", "1", "", at * HOUR_MS, (at + 1) * HOUR_MS), MODEL, LAYOUT, pane, revision, True, (pane,))


def take(lasting: Lasting, judged: Judged) -> list[DriftResult]:
    rows = [*drift(judged)]
    lasting.take([(judged, rows)])
    return rows


def after(lasting: Lasting, at: int) -> dict[str, DriftResult]:
    return {row.feature: row for row in lasting.rows(MODEL, at * HOUR_MS) if row.window_start == at * HOUR_MS}


def test_a_shift_that_no_window_shows_is_found_when_it_stays() -> None:
    lasting, at_once = Lasting(), set()
    for at in range(40):
        at_once |= {row.verdict for row in take(lasting, window(at, 100 + at, 0.14))}
    assert at_once == {"ok"}
    found = after(lasting, 39)
    assert (found["x"].verdict, found["y"].verdict) == ("drift", "ok")
    assert "small but lasting" in found["x"].reason
    assert (found["x"].test, found["x"].severity, found["x"].direction) == ("lasting", "warning", "up")


def test_windows_without_drift_gather_nothing() -> None:
    lasting = Lasting()
    for at in range(60):
        take(lasting, window(at, 200 + at))
    assert {row.verdict for row in lasting.rows(MODEL, 0)} == {"ok"}


def test_the_evidence_ends_soon_after_its_cause() -> None:
    lasting = Lasting()
    for at in range(60):
        take(lasting, window(at, 300 + at, 0.25 if at < 40 else 0.0))
    assert (after(lasting, 39)["x"].verdict, after(lasting, 59)["x"].verdict) == ("drift", "ok")


def test_a_window_that_drifts_by_itself_speaks_for_itself_and_adds_nothing() -> None:
    lasting = Lasting()
    take(lasting, window(0, 1))
    before = after(lasting, 0)["x"].value
    assert {row.feature for row in take(lasting, window(1, 2, 2.0)) if row.verdict == "drift"} == {"x"}
    row = after(lasting, 1)["x"]
    assert (row.value, row.verdict) == (before, "undefined")
    assert "drifts by itself" in row.reason


def test_an_alarm_needs_more_evidence_the_more_features_there_are_and_the_smaller_the_budget_is() -> None:
    strict = Model("m", policy=Policy(false_alarms=0.1))
    assert needed(MODEL, 2) < needed(MODEL, 20) < needed(strict, 20)


def test_provisional_windows_and_those_without_a_reference_do_not_count() -> None:
    open_window = Judged(WindowKey("m", "1", "", 0, HOUR_MS), MODEL, LAYOUT, empty_pane(LAYOUT), 1, False, provisional=True)
    learning = Judged(WindowKey("m", "1", "", 0, HOUR_MS), MODEL, None, empty_pane(None), 1, False)
    assert [Lasting().take([(each, drift(each))]) for each in (open_window, learning)] == [None, None]


def test_what_a_newer_release_wrote_is_refused() -> None:
    with pytest.raises(DriftlineError, match="state_too_new"):
        Lasting.from_bytes(bytes([99]))


WINDOWS = [window(at, 400 + at, 0.2) for at in range(6)]
JUDGED = [(each, drift(each)) for each in WINDOWS]
REVISED = window(2, 999, -0.1, revision=5)


@settings(max_examples=25)
@given(order=st.permutations(range(6)), settled=st.integers(0, 6), again=st.booleans())
def test_any_order_any_revision_and_a_crash_anywhere_give_the_same_evidence(order: list[int], settled: int, again: bool) -> None:
    plain = Lasting()
    for each, rows in JUDGED:
        plain.take([(each, rows)])
    plain.take([(REVISED, drift(REVISED))])
    lasting = Lasting()
    lasting.take([(REVISED, drift(REVISED))]) if not again else None
    for at in order:
        if at != 2 or again:
            lasting.take([JUDGED[at]])
    lasting.take([(REVISED, drift(REVISED))])
    told = [*lasting.rows(MODEL, 0)]
    lasting.settle(settled * HOUR_MS, MODEL)
    came = Lasting.from_bytes(lasting.to_bytes())  # after a crash the windows that can be revised are judged again
    for at in range(settled, 6):
        came.take([(REVISED, drift(REVISED)) if at == 2 else JUDGED[at]])
    assert told == [*plain.rows(MODEL, 0)]
    assert [*came.rows(MODEL, settled * HOUR_MS)] == [row for row in told if row.window_start >= settled * HOUR_MS]


@settings(max_examples=25)
@given(order=st.permutations(range(6)), settled=st.integers(0, 6), revised=st.booleans())
def test_who_asks_after_every_window_is_told_what_who_asks_once_is_told(order: list[int], settled: int, revised: bool) -> None:
    lasting, plain, told = Lasting(), Lasting(), dict[tuple[int, str], DriftResult]()
    for at in order:
        take_in(JUDGED[at], lasting, plain)
        told |= {(row.window_start, row.feature): row for row in lasting.rows(MODEL, at * HOUR_MS)}
    assert told == {(row.window_start, row.feature): row for row in plain.rows(MODEL, 0)}
    if revised:
        take_in((REVISED, drift(REVISED)), lasting, plain)
    if settled:
        once = plain.rows(MODEL, 0)
        lasting.settle(settled * HOUR_MS, MODEL)
        assert [*lasting.rows(MODEL, settled * HOUR_MS)] == [row for row in once if row.window_start >= settled * HOUR_MS]
    later = window(6, 406, 0.2)
    take_in((later, drift(later)), lasting, plain)
    assert [*lasting.rows(MODEL, 6 * HOUR_MS)] == [row for row in plain.rows(MODEL, 0) if row.window_start == 6 * HOUR_MS]


def take_in(judged: tuple[Judged, Sequence[DriftResult]], *all_of: Lasting) -> None:
    for each in all_of:
        each.take([judged])
