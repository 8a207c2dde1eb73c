"""Small drift that lasts: evidence gathered over a version's windows in order, revisable like everything else. Pure.

    settled windows ──► base ──► window ──► window ──► … each feature's evidence after it
    (never revised)     (state)  (scores of the windows that can still be revised)

A window that is revised changes the evidence of all later ones, which are told again. Windows that show drift by themselves, or have a
fault, add nothing: they speak for themselves.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.special import ndtri

from driftline.schemas.config import DAY_MS, Model
from driftline.schemas.errors import refuse_newer
from driftline.schemas.results import Columns, DriftResult, Table, columns_of, in_runs, joined
from driftline.streams.calibration import ALL_SCORES, DEGREE
from driftline.streams.drift import LASTING, TRAINING, battery
from driftline.streams.judge import Judged
from driftline.streams.layout import Float64, Layout, some_of
from driftline.streams.packing import Column, floats, rows_at, texts
from driftline.streams.stats import DriftEvidence
from driftline.streams.stats.drift_evidence import BETS, gathered

TEST = "lasting"
BY_ITSELF = "the window drifts by itself, as its other rows say: it adds nothing to the evidence of small drift"
CODEC = 1
REFERENCE_ERROR = 0.01  # chance that a reference is further off than is given away for it, over all features
WIDTH = 2 * ALL_SCORES * BETS.size  # sums a feature: two directions of each score, and each bet
MOST = 3.0  # standard errors of a window, beyond what is given away, that count
_LINGER = 4.0  # evidence is bounded at so many times what an alarm needs, so that it ends soon after its cause
_OTHERS: dict[str, Column] = {name: [None] for name in ("value", "p_value", "null_quantile", "significance")}

_NOTHING: Columns[DriftResult] = Columns(DriftResult, 0, tuple([] for _ in DriftResult.__struct_fields__))


@dataclass(frozen=True, slots=True)
class Step:
    """One window: its scores and what is given away of them, shapes (features, ALL_SCORES), NaN where there are none."""

    start: int
    revision: int
    layout: Layout
    scores: Float64
    given_away: Float64
    rows: Columns[DriftResult]  # of the features' PSI


class _State(msgspec.Struct):
    """The base as it is written down."""

    reference: str
    settled: int
    revision: int
    sums: bytes


class _Evidence(NamedTuple):
    """What is told of a window: the evidence of each of its rows, and of what revision it is."""

    step: Step
    evidence: Float64
    revision: int


class _Reached(NamedTuple):
    """The evidence after the window that begins at `start`, from the base and every one of the steps up to it."""

    start: int
    model: Model
    reference: str
    revision: int
    sums: Float64


@dataclass
class Lasting:
    """See the module. `reference` is the hash of the one that `sums`, shape (features, WIDTH), belong to."""

    reference: str = ""
    settled: int = 0  # begin of the first window that is not in `sums`
    revision: int = 0  # of the windows in them
    sums: Float64 = field(default_factory=lambda: np.zeros((0, WIDTH)))
    steps: dict[int, Step] = field(default_factory=dict)
    #: Where the last rows left off: most that are asked for follow on.
    _reached: _Reached | None = field(default=None, compare=False, repr=False)

    def take(self, told: Iterable[tuple[Judged, Sequence[DriftResult]]]) -> int | None:
        """Take in windows as judged, each with its rows, in place of what was known of them; where the first begins that counts here."""
        of: defaultdict[Layout, list[tuple[Judged, Columns[DriftResult]]]] = defaultdict(list)
        for window, rows in told:
            layout = window.layout
            if layout is not None and layout.names and not window.provisional and window.key.start >= self.settled:
                of[layout].append((window, of_psi(columns_of(rows)) if rows else _NOTHING))
        taken = [
            Step(window.key.start, window.revision, layout, scores, away, rows)
            for layout, mine in of.items()
            for (window, rows), (scores, away) in zip(mine, _scores(layout, mine), strict=True)
        ]
        self.steps |= {step.start: step for step in taken}
        since = min((step.start for step in taken), default=None)
        if self._reached and since is not None and since <= self._reached.start:
            self._reached = None
        return since

    def rows(self, model: Model, since: int) -> Table[DriftResult]:
        """The evidence after each window from `since` on, a row a feature, as columns."""
        told = list[_Evidence]()
        sums, reference, revision, starts = self.sums, self.reference, self.revision, sorted(self.steps)
        if (before := self._reached) and before.start < since and before.model is model:
            sums, reference, revision = before.sums, before.reference, before.revision
            starts = [start for start in starts if start > before.start]
        for start in starts:
            step = self.steps[start]
            revision += step.revision
            sums = _after(sums if reference == step.layout.hash else _nothing(step.layout), step, model)
            reference = step.layout.hash
            if start >= since and step.rows:
                told.append(_Evidence(step, _evidence(step, sums), revision))
        if starts:
            self._reached = _Reached(starts[-1], model, reference, revision, sums)
        return Table(_told(told, model)) if told else Table()

    def settle(self, before: int, model: Model) -> None:
        """Put windows that begin before `before` into the base: nothing will revise them."""
        for start in sorted(start for start in self.steps if start < before):
            step = self.steps.pop(start)
            self.sums = _after(self.sums if self.reference == step.layout.hash else _nothing(step.layout), step, model)
            self.reference, self.revision = step.layout.hash, self.revision + step.revision
        self.settled = max(self.settled, before)
        if self._reached and self._reached.start < before:
            self._reached = None

    def to_bytes(self) -> bytes:
        """A version byte, then MessagePack; the steps are judged again after a crash."""
        state = _State(self.reference, self.settled, self.revision, self.sums.astype(np.float64).tobytes())
        return bytes([CODEC]) + msgspec.msgpack.encode(state)

    @staticmethod
    def from_bytes(data: bytes) -> Lasting:
        """The inverse; refuses what a newer release wrote.

        >>> Lasting.from_bytes(Lasting("abc", 60_000, 7).to_bytes()).settled
        60000
        """
        refuse_newer("evidence of lasting drift", data[0], CODEC)
        state = msgspec.msgpack.decode(data[1:], type=_State)
        return Lasting(state.reference, state.settled, state.revision, np.frombuffer(state.sums).reshape(-1, WIDTH).copy())


def needed(model: Model, features: int) -> float:
    """The evidence at which a feature alarms: all of them together do so by chance within the budget.

    >>> round(needed(Model("m"), 10))  # hourly windows: once in 8 400 of them, for ten features
    84000
    """
    windows = 7 * DAY_MS / model.windows[0].length_ms
    return max(features, 1) * max(windows / (model.policy.false_alarms * LASTING), 1.0)


def _nothing(layout: Layout) -> Float64:
    return np.zeros((len(layout.names), WIDTH))


def _after(sums: Float64, step: Step, model: Model) -> Float64:
    most = _LINGER * needed(model, len(step.layout.names)) * WIDTH
    return gathered(sums, step.scores, step.given_away, most)


def of_psi(rows: Columns[DriftResult]) -> Columns[DriftResult]:
    """Those of the features' PSI against the reference, without its own figures."""
    psi = set(rows.having("test", "psi")) & {*rows.having("baseline", TRAINING)}
    told = rows.with_columns(_OTHERS)
    return told if len(psi) == rows.rows else rows_at(told, np.array(sorted(psi), np.int64))


def _scores(layout: Layout, windows: Sequence[tuple[Judged, Columns[DriftResult]]]) -> Iterator[tuple[Float64, Float64]]:
    """Of each window's features whose verdict is ok, or lacks only rows; windows side by side."""
    # A PSI is about the square of a shift in standard deviations. Half of it is given away, so that a whole one shows in time.
    policy, known, names = windows[0][0].model.policy, battery(layout), layout.names
    evidence = DriftEvidence(allowance(len(names)), math.sqrt(policy.lasting_psi) / 2)
    for some in some_of(windows, layout):
        counts = known.matrix(np.stack([window.pane.counts for window, _ in some]), layout.starts)
        told, away = evidence.scores_of_all(known.smooth, counts)
        used = ~np.isnan(told)
        for w, (_, rows) in enumerate(some):
            features, ok = rows.column("feature"), rows.having("verdict", "ok")
            if len(ok) < len(features) or features != names:
                judged = {features[i] for i in ok}
                used[w] &= np.array([name in judged for name in names], bool)[:, None]
        scores, given_away = np.full((*used.shape[:2], ALL_SCORES), np.nan), np.zeros((*used.shape[:2], ALL_SCORES))
        width = told.shape[-1]
        scores[..., :width], given_away[..., :width] = np.where(used, told, np.nan), np.where(used, away, 0.0)
        # No single window is to alarm by itself: of rare values that come together a few rows are many standard errors.
        yield from zip(np.clip(scores, -given_away - MOST, given_away + MOST), given_away, strict=True)


def allowance(features: int) -> float:
    """Standard errors of the reference that are given away: of all scores of all features one is as far off once in a hundred references.

    >>> round(allowance(10), 1), round(allowance(1_000), 1)
    (3.7, 4.7)
    """
    return float(-ndtri(REFERENCE_ERROR / (2 * DEGREE * max(features, 1))))


def _evidence(step: Step, sums: Float64) -> Float64:
    """Of each of a step's rows."""
    used, features = 2 * BETS.size * battery(step.layout).smooth.degree, step.rows.column("feature")
    evidence: Float64 = np.divide(sums.sum(1), used, out=np.zeros(len(used)), where=used > 0)
    if features != step.layout.names:
        place = {name: f for f, name in enumerate(step.layout.names)}
        evidence = evidence[[place[name] for name in features]]
    return evidence


def _told(found: Sequence[_Evidence], model: Model) -> Columns[DriftResult]:
    """The rows of all of these as one part."""
    rows, sizes = joined([each.step.rows for each in found]), [each.step.rows.rows for each in found]
    evidence = np.concatenate([each.evidence for each in found])
    limits = [needed(model, len(each.step.layout.names)) for each in found]
    of = np.repeat(limits, sizes)
    drifted, small = rows.having("verdict", "drift"), np.flatnonzero(evidence >= of)
    judged: dict[str, Column] = {"severity": [""]}
    if drifted or len(small):
        verdicts, reasons, severities = [*rows.column("verdict")], [*rows.column("reason")], [""] * rows.rows
        for i in small.tolist():
            if verdicts[i] == "ok":
                verdicts[i], severities[i] = "drift", "warning"
                reasons[i] = f"small but lasting: evidence of {evidence[i]:.3g} over the windows, where no drift gives {of[i]:.3g}"
        for i in drifted:
            verdicts[i], reasons[i] = "undefined", BY_ITSELF
        judged = {"verdict": texts(verdicts), "reason": texts(reasons), "severity": texts(severities)}
    return rows.with_columns({
        "test": [TEST], "value": floats(evidence), "null_quantile": in_runs(limits, sizes), "threshold": [model.policy.lasting_psi],
        "revision": in_runs([each.revision for each in found], sizes), **judged,
    })  # fmt: skip
