"""What a run looks like: news are told once, and nothing in them can harm a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, Literal

from rich.console import Console

from driftline.live import Clock, Look, News, line, news, picture
from driftline.story import START_MS, story

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def drift(
    feature: str = "usage", window: int = 0, tests: tuple[str, ...] = (), segment: str = "region=us", shift: float | None = 0.5
) -> dict[str, Any]:
    start = NOON + window * timedelta(minutes=30)
    return {
        "segment": segment,
        "feature": feature,
        "start": start,
        "end": start + timedelta(minutes=30),
        "shift": shift,
        "tests": list(tests),
    }


def performance(window: int, value: float, verdict: str) -> dict[str, Any]:
    start = NOON + window * timedelta(minutes=30)
    end = start + timedelta(minutes=30)
    return {"metric": "accuracy", "start": start, "end": end, "value": value, "reference_value": 0.8, "verdict": verdict}


CALM = Look(drift=[drift()])
FOUND = replace(
    CALM,
    drift=[drift(), drift(window=1, tests=("ks", "psi")), drift(window=2, tests=("psi",))],
    performance=[performance(0, 0.8, "ok"), performance(1, 0.6, "worse")],
    alerts=[{"id": "a", "cause": "data drift", "state": "opened", "severity": "warning", "message": "usage drifts"}],
    retrains=[{"id": "c", "cause": "data drift", "state": "requested", "message": "train anew"}],
)


def drawn(look: Look, told: list[News], width: int = 100, colours: Literal["truecolor"] | None = "truecolor") -> str:
    console = Console(file=StringIO(), width=width, force_terminal=colours is not None, color_system=colours)
    console.print(picture(story(7, "full", 10), Clock(5, 20, START_MS, 2.0), look, told))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_first_window_judged_is_news_even_without_drift() -> None:
    assert [item.text for item in news(Look(), CALM)] == ["window 12:00–12:30, the first: none of 1 distributions drifts"]


def test_a_feature_is_told_once_with_its_first_window() -> None:
    assert [item.text for item in news(CALM, FOUND) if item.kind == "drift"] == [
        "usage drifts in region=us, window 12:30–13:00, PSI 0.50 by ks, psi"
    ]


def test_everything_found_is_told_and_in_order() -> None:
    assert [item.kind for item in news(CALM, FOUND)] == ["drift", "worse", "alert", "retrain"]


def test_what_was_told_is_not_told_again() -> None:
    assert news(FOUND, FOUND) == []


def test_a_change_of_state_is_news() -> None:
    resolved = replace(FOUND, alerts=[FOUND.alerts[0] | {"state": "resolved"}])
    assert [item.text for item in news(FOUND, resolved)] == ["resolved: usage drifts"]


def test_the_picture_marks_the_windows_with_drift() -> None:
    assert drawn(FOUND, []).count("●") == 2


def test_the_picture_fits_a_narrow_terminal() -> None:
    page = drawn(FOUND, [News("alert", "x" * 500)], width=80, colours=None)
    assert max(len(shown) for shown in page.splitlines()) <= 80


def test_markup_and_control_characters_in_names_do_nothing() -> None:
    evil = "[bold red]a[/]\x1b[2J\x07"
    look = replace(CALM, drift=[drift(evil, tests=("psi",))])
    page = drawn(look, news(Look(), look))
    assert "[bold red]" in page
    assert "\x1b[2J" not in page
    assert "\x07" not in page


def test_a_line_of_news_says_when_it_was_seen() -> None:
    assert line(News("drift", "usage drifts", 4.26)).plain == "  4.3 s ~ drift   usage drifts"


def test_an_effect_that_is_not_known_leaves_the_cell_empty() -> None:
    look = replace(CALM, drift=[drift(shift=None, tests=("adwin",)), drift("age")])
    assert "age" in drawn(look, news(Look(), look))
