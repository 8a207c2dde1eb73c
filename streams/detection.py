"""Concept drift: sequential detectors over a model version's losses in label time, pane by pane, in order. Pure.

Partitions have no order between them, so order is made first: a pane of label time is read once the outcomes' watermark has passed
it. A pane that is revised later is read again from the state before it, so any order of arrival ends in the same alarms.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import PerformanceProfile
from driftline.streams.answers import Losses
from driftline.streams.stats import DETECTORS, Adwin, Batch, Bocpd, Detector, EDetector, Signal, change_point

RESIDUAL = ":residual"  # ends the name of a detector over what came true less the score
UNKNOWN_ERROR = 0.15  # the baseline where the reference has no labels
LOOK_BACK = 500  # panes before an alarm in which its beginning is looked for
SCALES = (1e-30, 1e30)  # of the losses of a regression; an error beyond them is no unit to measure others by
LARGEST = 1e150  # sum of losses, in that unit, that a detector reads


class Watch(NamedTuple):
    """A detector, and what it reads: residuals or losses, the latter in units of `scale`."""

    detector: Detector[Any]
    residual: bool = False
    scale: float = 1.0

    def batch(self, losses: Losses) -> Batch:
        """A pane as the detector takes it: losses as they are, residuals moved from [-1, 1] to [0, 1]."""
        n, total, m2 = losses.batch(self.residual)
        if self.residual:
            return Batch(n, (total + n) / 2, m2 / 4)
        return Batch(n, min(total / self.scale, LARGEST), min(m2 / self.scale / self.scale, LARGEST**2))

    def level(self, mean: float) -> float:
        """A mean of the detector's values in the terms of the losses or residuals."""
        return 2 * mean - 1 if self.residual else mean * self.scale


def watches(model: Model, profile: PerformanceProfile) -> dict[str, Watch]:
    """The model's detectors by name. What they must know of the losses comes from how the model did on its reference.

    The e-detector tolerates half of the drop that the policy allows, and gives a false alarm every `labels_per_week / false_alarms`
    labels on average at most.

    >>> watches(Model("m", detectors=("e_detector",)), PerformanceProfile(100, {"accuracy": 0.75}))["e_detector"].detector
    EDetector(baseline=0.275, average_run_length=100000.0, direction='up', bets=(0.05, 0.1, 0.2, 0.4, 0.7))
    """
    mae = profile.metrics.get("mae", 0.0) if model.task == "regression" else 0.0
    scale = mae if SCALES[0] < mae < SCALES[1] else 1.0
    found: dict[str, Watch] = {name: Watch(_detector(name, model, profile, residual=False), False, scale) for name in model.detectors}
    if model.task in ("binary", "multiclass"):
        found |= {name + RESIDUAL: Watch(_detector(name, model, profile, residual=True), True) for name in model.residual_detectors}
    return found


def _detector(name: str, model: Model, profile: PerformanceProfile, *, residual: bool) -> Detector[Any]:
    policy, accuracy = model.policy, profile.metrics.get("ndcg" if model.task == "ranking" else "accuracy")
    error = 0.5 if residual else None if accuracy is None else 1 - accuracy
    if name == "adwin":
        return Adwin(delta=policy.adwin_delta)
    if name == "e_detector":
        tolerated = policy.performance_drop / (4 if residual else 2)  # residuals are halved
        baseline = UNKNOWN_ERROR if error is None else min(error + tolerated, 0.99)
        return EDetector(baseline=baseline, average_run_length=max(model.labels_per_week / policy.false_alarms, 2.0))
    if name == "bocpd" and error is not None:
        return Bocpd(prior_mean=error, prior_var=0.1, data_var=max(error * (1 - error), 0.01), hazard=0.0001)
    return DETECTORS[name]


@dataclass(frozen=True, slots=True)
class Step:
    """One pane of label time as the detector saw it, and the state after it."""

    start: int
    losses: Losses
    state: Any
    signal: Signal | None


@dataclass
class Detection:
    """What is watched, the detector's `base`, the state after all panes that start before `since`, and its steps from there on."""

    watch: Watch
    base: Any = None
    since: int = -(2**62)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base = self.watch.detector.start() if self.base is None else self.base

    def watching(self, watch: Watch) -> bool:
        """Go on with another configuration of the same detector; whether it differs, so that all steps must be read again."""
        if watch == self.watch:
            return False
        self.watch, self.steps = watch, []
        return True

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
            batch = self.watch.batch(losses)
            if batch.n > 0:
                state, signal = self.watch.detector.update(state, batch)
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
        base: bytes = self.base.to_bytes()
        return self.since.to_bytes(8, signed=True) + base

    @classmethod
    def from_bytes(cls, watch: Watch, data: bytes) -> Detection:
        """The inverse of `to_bytes`; refuses the state of another detector, or one that a newer version wrote."""
        try:
            base = type(watch.detector.start()).from_bytes(data[8:])
        except ValueError as error:
            fix = "run the version that wrote it, or a newer one"
            raise DriftlineError("state_too_new", f"the state of a detector: {error}", fix) from error
        return cls(watch, base, int.from_bytes(data[:8], signed=True))

    def within(self, start: int, end: int) -> range:
        """The numbers of the steps of panes that begin in `[start, end)`."""
        return range(*(bisect_left(self.steps, at, key=lambda step: step.start) for at in (start, end)))

    def alarm(self, start: int, end: int) -> tuple[Signal, int] | None:
        """The first alarm in `[start, end)` and when the change began; a fall of the loss is none, a residual may move either way."""
        for i in self.within(start, end):
            signal, level = self.steps[i].signal, self.watch.level
            if signal and (self.watch.residual or signal.direction == "up"):
                told = replace(signal, mean_before=level(signal.mean_before), mean_after=level(signal.mean_after))
                return told, self._began(i)
        return None

    def _began(self, i: int) -> int:
        """The start of the pane where the level that step `i` alarms of is best cut off; looked for since the alarm before."""
        first = next((j + 1 for j in range(i - 1, max(i - LOOK_BACK, 0) - 1, -1) if self.steps[j].signal), max(i - LOOK_BACK, 0))
        found = change_point([self.watch.batch(step.losses) for step in self.steps[first : i + 1]])
        return self.steps[i if found is None else first + found.at].start
