"""How long labels take: the delays of one model version's panes, and how mature a window is that still waits for labels. Pure.

What is not labelled yet is censored, not lost: the Kaplan–Meier curve counts it as waiting for as long as the outcomes' watermark says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.streams.answers import DELAY_BINS, Answers, Int64
from driftline.streams.join import NEVER
from driftline.streams.stats import DelayCurve

LEAST_LABELS = 100  # before a curve is drawn
#: Upper ends of the delay bins, in milliseconds.
ENDS = (2.0 ** np.arange(1, DELAY_BINS + 1) - 1) * 1000


@dataclass
class Delays:
    """The delays of one series: for each pane its rows and its labels by delay."""

    pane_ms: int
    panes: dict[int, tuple[int, Int64]] = field(default_factory=dict)
    _kept: tuple[int, DelayCurve | None] | None = None  # the last curve and its moment; every window of a round asks for the same
    _known: dict[int, float] = field(default_factory=dict)  # the maturity that it gives to panes, by start

    def put(self, start: int, rows: int, answers: Answers) -> None:
        """What is known of the pane now; replaces what was known before."""
        known = self.panes.get(start)
        if known is None or known[0] != rows or not np.array_equal(known[1], answers.delays):
            self.panes[start], self._kept = (rows, answers.delays.copy()), None

    def drop(self, before: int) -> None:
        """Forget the panes that start before this."""
        gone = [start for start in self.panes if start < before]
        for start in gone:
            del self.panes[start]
        self._kept = None if gone else self._kept

    def curve(self, now: int) -> DelayCurve | None:
        """The share of predictions whose label has come, by age; None where too few labels have.

        Parameters
        ----------
        now
            The outcomes' watermark, milliseconds of event time.

        Examples
        --------
        >>> delays = Delays(60_000)
        >>> answers = Answers(delays=np.bincount([0] * 150 + [5] * 50, minlength=DELAY_BINS))  # at once, or after half a minute
        >>> delays.put(0, 200, answers)
        >>> curve = delays.curve(3_600_000)
        >>> curve.maturity([1_000, 120_000]).tolist()
        [0.75, 1.0]
        """
        if self._kept is None or self._kept[0] != now:
            self._kept = (now, self._drawn(now))
            self._known.clear()
        return self._kept[1]

    def maturities(self, starts: Sequence[int], now: int) -> tuple[float, ...]:
        """The share of the labels that will ever come that is expected by `now`, of each pane; nothing where no curve is known."""
        curve = self.curve(now)
        if curve is None:
            return ()
        if new := [start for start in starts if start not in self._known]:
            ages = np.maximum(now - np.array(new) - self.pane_ms / 2, 0)
            self._known.update(zip(new, curve.maturity(ages).tolist(), strict=True))
        return tuple([self._known[start] for start in starts])

    def _drawn(self, now: int) -> DelayCurve | None:
        if now == NEVER or not self.panes:
            return None
        starts = np.array(sorted(self.panes))
        rows, delays = np.array([self.panes[s][0] for s in starts]), np.stack([self.panes[s][1] for s in starts])
        if delays.sum() < LEAST_LABELS:
            return None
        age = np.maximum(now - starts - self.pane_ms / 2, 0)
        waiting = np.bincount(np.minimum(np.searchsorted(ENDS, age), DELAY_BINS - 1), np.maximum(rows - delays.sum(1), 0), DELAY_BINS)
        return DelayCurve.fit(ENDS, np.maximum(delays.sum(0), 0), waiting)
