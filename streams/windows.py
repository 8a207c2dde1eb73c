"""Window arithmetic: which windows a pane belongs to, which panes make a window. Pure.

panes     |0 |1 |2 |3 |4 |5 |6 |7 |         windows of 4 panes, one begun every 2:
windows   [0          )                     pane 3 lies in the windows that start at 0 and at 2
                [2          )
"""

from __future__ import annotations

from driftline.schemas.config import Window


def windows_of(window: Window, pane_start: int) -> range:
    """Starts of the windows that contain the pane which starts at `pane_start`.

    >>> list(windows_of(Window(length_ms=4, every_ms=2), 3))
    [0, 2]
    """
    last = pane_start // window.every_ms * window.every_ms
    first = (pane_start - window.length_ms) // window.every_ms * window.every_ms + window.every_ms
    return range(first, last + 1, window.every_ms)


def panes_of(window: Window, start: int, pane_ms: int) -> range:
    """Starts of the panes that make up a window.

    >>> list(panes_of(Window(length_ms=4, every_ms=2), 2, 1))
    [2, 3, 4, 5]
    """
    return range(start, start + window.length_ms, pane_ms)
