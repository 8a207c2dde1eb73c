"""Concept drift: a sequential detector over a model version's losses in label time, pane by pane, in order. Pure.

Partitions have no order between them, so order is made first: a pane of label time is read once the outcomes' watermark has passed
it. A pane that is revised later is read again from the state before it, so any order of arrival ends in the same alarms.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from driftline.streams.answers import Losses
from driftline.streams.stats import Adwin, AdwinState, Signal


@dataclass(frozen=True, slots=True)
class Step:
    """One pane of label time as the detector saw it, and the state after it."""

    start: int
    losses: Losses
    state: AdwinState
    signal: Signal | None


@dataclass
class Detection:
    """A detector, its `base`, the state after all panes that start before `since`, and its steps from there on."""

    detector: Adwin
    base: AdwinState
    since: int = -(2**62)
    steps: list[Step] = field(default_factory=list)

    def read(self, panes: list[tuple[int, Losses]], changed_from: int) -> list[Step]:
        """Read the closed panes that start at `changed_from` or later again, and those not read yet; returns their steps.

        `panes` are all closed panes since the base, in order. Those the base knows may be among them, told again after a crash: they
        are passed over.
        """
        at = bisect_left(self.steps, changed_from, key=lambda step: step.start)
        del self.steps[at:]
        state = self.steps[-1].state if self.steps else self.base
        new = []
        unread = self.steps[-1].start + 1 if self.steps else self.since
        for start, losses in panes[bisect_left(panes, unread, key=lambda pane: pane[0]) :]:
            signal = None
            if losses.n > 0:
                state, signal = self.detector.update(state, losses.batch())
            new.append(Step(start, losses, state, signal))
        self.steps += new
        return new

    def settle(self, before: int) -> None:
        """Panes that start before this can change no more: fold them into the base."""
        at = bisect_left(self.steps, before, key=lambda step: step.start)
        if at:
            self.base = self.steps[at - 1].state
            del self.steps[:at]
        self.since = max(self.since, before)

    def to_bytes(self) -> bytes:
        """What a new owner begins with: the base and how far it reaches."""
        return self.since.to_bytes(8, signed=True) + self.base.to_bytes()

    @classmethod
    def from_bytes(cls, detector: Adwin, data: bytes) -> Detection:
        """The inverse of `to_bytes`."""
        return cls(detector, AdwinState.from_bytes(data[8:]), int.from_bytes(data[:8], signed=True))
