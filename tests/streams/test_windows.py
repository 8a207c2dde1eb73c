"""Which windows a pane lies in, and which panes make a window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Window
from driftline.streams.windows import panes_of, windows_of

pane_sizes = st.integers(1, 3_600_000)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, int]:
    """A window and its pane: both lengths are multiples of the pane, and windows leave no gap."""
    pane_ms = draw(pane_sizes)
    every = draw(st.integers(1, 30))
    return Window(pane_ms * draw(st.integers(every, 60)), pane_ms * every), pane_ms


def test_a_pane_lies_in_one_tumbling_window() -> None:
    # pane      0 1 2 3 | 4 5 6 7 |
    #                       ^
    assert list(windows_of(Window(4, 4), 5)) == [4]


def test_a_pane_lies_in_every_hopping_window_over_it() -> None:
    # pane      0 1 2 3 4 5 6 7
    #                   ^
    # windows   0-----3
    #             1 … begun every 2: 2-----5, 4-----7
    assert list(windows_of(Window(4, 2), 4)) == [2, 4]


def test_windows_before_the_epoch_are_counted_down() -> None:
    assert list(windows_of(Window(4, 2), -1)) == [-4, -2]


def test_a_hop_that_does_not_divide_the_length_gives_one_window_more_or_less() -> None:
    # windows   0---------4     every 3, length 5: pane 3 lies in two, pane 2 in one
    #                 3---------7
    assert (list(windows_of(Window(5, 3), 3)), list(windows_of(Window(5, 3), 2))) == ([0, 3], [0])


@given(windows(), st.integers(-(10**6), 10**6))
def test_a_pane_lies_in_a_window_exactly_when_the_window_is_made_of_it(of: tuple[Window, int], number: int) -> None:
    (window, pane_ms), start = of, number * of[1]
    near = range(start // window.every_ms * window.every_ms - 70 * window.every_ms, start + 2 * window.every_ms, window.every_ms)
    assert [w for w in near if start in panes_of(window, w, pane_ms)] == list(windows_of(window, start))


@given(windows(), st.integers(-(10**6), 10**6))
def test_a_windows_panes_fill_it_without_gap_or_overlap(of: tuple[Window, int], number: int) -> None:
    window, pane_ms = of
    start = number * window.every_ms
    panes = panes_of(window, start, pane_ms)
    assert [panes[0], panes[-1] + pane_ms] == [start, start + window.length_ms]
    assert len(panes) * pane_ms == window.length_ms
