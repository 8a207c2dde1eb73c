"""The label join of one model in one source partition. Pure: columns and offsets in, effects on panes out.

    predictions ──► ids ──► their predictions ─┐  a pair is a prediction and an outcome of the same id
    outcomes ─────► ids ──► their outcomes ────┘  whose event times are at most `horizon_ms` apart

What a prediction's label is, is a function of sets, not of arrival:

- an event is *late*, and only counted, when it lies more than `lateness_ms` behind the newest event before it in its own
  topic partition;
- a prediction is a *duplicate* when an earlier one of the same id and version is still remembered: its time, or that of its
  latest duplicate, is within `horizon_ms` of the newest prediction before this one;
- of the outcomes that pair with a prediction the last by (ts, offset) gives its label, the first by ts its label time.

Architecture invariant: for given prefixes of the two topics the state is the same whatever order the two were read in, how they
were cut into batches, and when `evict` ran. That is what makes a replay after a crash exact.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftline.streams.columns import Columns, HashIndex, Rows, UInt64

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NEVER = -(2**62)  # a watermark before any event


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """Predictions in offset order; every field has shape (n,). `bin` is the score's histogram bin, -1 without a score."""

    offset: Int64
    ts: Int64
    id_hash: UInt64
    version: Int64
    predicted: Float64
    bin: Int64
    segments: Int64
    fingerprint: UInt64


@dataclass(frozen=True, slots=True)
class OutcomeRows:
    """Outcomes in offset order; every field has shape (n,). A label of NaN takes the label back."""

    offset: Int64
    ts: Int64
    id_hash: UInt64
    label: Float64


@dataclass(frozen=True, slots=True)
class LabelEffects:
    """Changes of label state, one a row: `sign` +1 brings a label in, -1 takes it out again.

    `prediction` is the row in `Join.predictions`; `outcome_offset` the highest outcome offset the state knows; `label_ts` the
    label time.
    """

    prediction: Rows
    sign: Int64
    label: Float64
    label_ts: Int64
    outcome_offset: Int64
    on_arrival: Bool  # the prediction came after its outcomes


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What became of a batch of predictions: masks over it, and the accepted ones' rows in `Join.predictions`."""

    accepted: Bool
    duplicate: Bool
    conflict: Bool
    late: Bool
    rows: Rows
    labels: LabelEffects


def _no_effects() -> LabelEffects:
    i, f = np.empty(0, np.int64), np.empty(0)
    return LabelEffects(i, i, f, i, i, np.empty(0, bool))


def _concat(parts: list[LabelEffects]) -> LabelEffects:
    if not parts:
        return _no_effects()
    names = LabelEffects.__slots__
    return LabelEffects(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Floor:
    """From where the two topics must be read to rebuild a join, and the newest event time before those offsets."""

    predictions: int
    predictions_newest: int
    outcomes: int
    outcomes_newest: int


@dataclass
class _Clock:
    """The newest event time of one topic partition, remembered at the start of each batch so that a floor has its time."""

    newest: int = NEVER
    marks: list[tuple[int, int]] = field(default_factory=list)

    def before(self, offset: Int64, ts: Int64) -> Int64:
        """The newest event time before each row; moves the clock past all of them."""
        self.marks.append((int(offset[0]), self.newest))
        running = np.maximum.accumulate(np.concatenate([[self.newest], ts]))
        self.newest = int(running[-1])
        return running[:-1]

    def floor(self, needed: int) -> tuple[int, int]:
        """The last mark at or below `needed`; earlier marks are forgotten."""
        del self.marks[: max(bisect_right(self.marks, needed, key=lambda mark: mark[0]) - 1, 0)]
        return self.marks[0]


class Join:
    """See the module. `horizon_ms`: farthest distance in event time of a pair; `lateness_ms`: disorder plus grace."""

    def __init__(self, horizon_ms: int, lateness_ms: int, floor: Floor | None = None) -> None:
        self.horizon_ms, self.lateness_ms = horizon_ms, lateness_ms
        self.predictions = Columns(
            id=np.int64, next=np.int64, version=np.int32, ts=np.int64, offset=np.int64, predicted=np.float64, bin=np.int16,
            segments=np.int32, fingerprint=np.uint64, remembered=np.int64, label=np.float64, label_ts=np.int64,
            label_offset=np.int64, first_ts=np.int64, known=np.int64,
        )  # fmt: skip
        self.outcomes = Columns(id=np.int64, next=np.int64, ts=np.int64, offset=np.int64, label=np.float64)
        self._ids = Columns(key=np.uint64, prediction=np.int64, outcome=np.int64, last_prediction=np.int64, last_outcome=np.int64)
        self._index = HashIndex()
        start = floor or Floor(0, NEVER, 0, NEVER)
        self._prediction_clock = _Clock(start.predictions_newest, [(start.predictions, start.predictions_newest)])
        self._outcome_clock = _Clock(start.outcomes_newest, [(start.outcomes, start.outcomes_newest)])
        self._floor = start
        self._evict_at, self._evict_at_ts = 65_536, NEVER

    @property
    def newest_prediction(self) -> int:
        return self._prediction_clock.newest

    @property
    def newest_outcome(self) -> int:
        return self._outcome_clock.newest

    @property
    def floor(self) -> Floor:
        """From where this state can be rebuilt. Moves up when `evict` has dropped something."""
        return self._floor

    def __len__(self) -> int:
        return self.predictions.size + self.outcomes.size

    def add_predictions(self, batch: PredictionRows) -> Arrivals:
        """Take in predictions; the effects are those of outcomes that were here before them."""
        n = len(batch.offset)
        before = self._prediction_clock.before(batch.offset, batch.ts)
        late = batch.ts < before - self.lateness_ms
        duplicate, conflict = np.zeros(n, bool), np.zeros(n, bool)
        rows_of = np.full(n, -1, np.int64)
        effects = []
        for at in _rounds(batch.id_hash, ~late):
            ids = self._ids_of(batch.id_hash[at])
            twin = self._remembered_twin(ids, batch.version[at], before[at])
            again = twin >= 0
            duplicate[at] = again
            conflict[at[again]] = self.predictions["fingerprint"][twin[again]] != batch.fingerprint[at[again]]
            remembered = self.predictions["remembered"]
            remembered[twin[again]] = np.maximum(remembered[twin[again]], batch.ts[at[again]])
            last = self._ids["last_prediction"]
            last[ids] = np.maximum(last[ids], batch.ts[at])
            rows = self._append_predictions(batch, at[~again], ids[~again])
            rows_of[at[~again]] = rows
            effects.append(self._label_arrivals(rows))
        accepted = rows_of >= 0
        return Arrivals(accepted, duplicate & ~conflict, conflict, late, rows_of[accepted], _concat(effects))

    def add_outcomes(self, batch: OutcomeRows) -> tuple[Bool, LabelEffects]:
        """Take in outcomes; returns which were late, and what the others changed."""
        before = self._outcome_clock.before(batch.offset, batch.ts)
        late = batch.ts < before - self.lateness_ms
        effects = []
        for at in _rounds(batch.id_hash, ~late):
            ids = self._ids_of(batch.id_hash[at])
            rows = self.outcomes.append(
                len(at), id=ids, next=self._ids["outcome"][ids], ts=batch.ts[at], offset=batch.offset[at], label=batch.label[at]
            )
            self._ids["outcome"][ids] = rows
            last = self._ids["last_outcome"]
            last[ids] = np.maximum(last[ids], batch.ts[at])
            mine, current = at, self._ids["prediction"][ids]
            while len(current := current[(live := current >= 0)]):
                mine = mine[live]
                effects.append(self._fold(current, batch.ts[mine], batch.offset[mine], batch.label[mine], arrival=False))
                current = self.predictions["next"][current]
        return late, _concat(effects)

    def outcomes_of(self, prediction: int) -> list[tuple[int, int, float]]:
        """(ts, offset, label) of every outcome that pairs with one prediction, in offset order."""
        row = int(self._ids["outcome"][self.predictions["id"][prediction]])
        ts = int(self.predictions["ts"][prediction])
        found = []
        while row >= 0:
            outcome_ts = int(self.outcomes["ts"][row])
            if abs(outcome_ts - ts) <= self.horizon_ms:
                found.append((outcome_ts, int(self.outcomes["offset"][row]), float(self.outcomes["label"][row])))
            row = int(self.outcomes["next"][row])
        return sorted(found, key=lambda outcome: outcome[1])

    def evict(self, *, force: bool = False) -> None:
        """Drop the ids that no event still to come can touch.

        Cheap to call often: it works when the state has doubled, or time has moved so far that most of it may go. Without the latter
        the floor of a model with little traffic would stay where the broker deletes.
        """
        horizon, lateness = self.horizon_ms, self.lateness_ms
        if not (force or len(self) >= self._evict_at or self.newest_prediction >= self._evict_at_ts):
            return
        last_p, last_o = self._ids["last_prediction"], self._ids["last_outcome"]
        gone = (
            (self.newest_outcome - lateness > last_p + horizon)  # no outcome may still pair with its predictions
            & (self.newest_prediction > last_p + horizon)  # no prediction may still be a duplicate of them
            & (self.newest_prediction - lateness > last_o + horizon)  # no prediction may still pair with its outcomes
        )
        if gone.any():
            self._drop(gone)
        self._evict_at = max(65_536, 2 * len(self))
        self._evict_at_ts = self.newest_prediction + horizon + lateness
        self._floor = self._find_floor()

    def _find_floor(self) -> Floor:
        """Every live row lies at or above it; with no row left it is the last mark."""
        p, o = self.predictions["offset"], self.outcomes["offset"]
        last = 2**62
        p_offset, p_newest = self._prediction_clock.floor(int(p.min(initial=last)))
        o_offset, o_newest = self._outcome_clock.floor(int(o.min(initial=last)))
        return Floor(p_offset, p_newest, o_offset, o_newest)

    def _drop(self, gone: Bool) -> None:
        new_id = np.cumsum(~gone) - 1
        for table, head in ((self.predictions, "prediction"), (self.outcomes, "outcome")):
            keep = ~gone[table["id"]]
            new_row = np.append(np.cumsum(keep) - 1, -1)  # the last entry keeps -1 as it is
            table.keep(keep)
            table["id"][:] = new_id[table["id"]]
            table["next"][:] = new_row[table["next"]]  # a chain belongs to one id, so it stays or goes as a whole
            self._ids[head][:] = new_row[self._ids[head]]
        self._ids.keep(~gone)
        self._index = HashIndex()
        self._index.insert(self._ids["key"], np.arange(self._ids.size))

    def _ids_of(self, keys: UInt64) -> Rows:
        """The id rows of keys that differ from each other; new ones are made."""
        ids = self._index.find(keys)
        new = ids < 0
        if new.any():
            ids[new] = self._ids.append(int(new.sum()), key=keys[new], prediction=-1, outcome=-1, last_prediction=NEVER, last_outcome=NEVER)
            self._index.insert(keys[new], ids[new])
        return ids

    def _remembered_twin(self, ids: Rows, version: Int64, newest: Int64) -> Rows:
        """The remembered prediction of the same id and version, or -1."""
        twin = np.full(len(ids), -1, np.int64)
        at = np.arange(len(ids))
        current = self._ids["prediction"][ids]
        table = self.predictions
        while len(current := current[(live := current >= 0)]):
            at = at[live]
            same = (table["version"][current] == version[at]) & (table["remembered"][current] >= newest[at] - self.horizon_ms)
            twin[at[same]] = current[same]  # at most one twin is remembered at a time, so the order of the chain is no matter
            current = table["next"][current]
        return twin

    def _append_predictions(self, batch: PredictionRows, at: Rows, ids: Rows) -> Rows:
        rows = self.predictions.append(
            len(at), id=ids, next=self._ids["prediction"][ids], version=batch.version[at], ts=batch.ts[at], offset=batch.offset[at],
            predicted=batch.predicted[at], bin=batch.bin[at], segments=batch.segments[at], fingerprint=batch.fingerprint[at],
            remembered=batch.ts[at], label=np.nan, label_ts=NEVER, label_offset=-1, first_ts=-NEVER, known=-1,
        )  # fmt: skip
        self._ids["prediction"][ids] = rows
        return rows

    def _label_arrivals(self, rows: Rows) -> LabelEffects:
        """Fold the outcomes that wait for new predictions, and tell the state that results."""
        current = self._ids["outcome"][self.predictions["id"][rows]]
        at = rows
        while len(current := current[(live := current >= 0)]):
            at = at[live]
            out = self.outcomes
            self._fold(at, out["ts"][current], out["offset"][current], out["label"][current], arrival=True)
            current = out["next"][current]
        touched = rows[self.predictions["known"][rows] >= 0]
        return self._effects(touched, np.ones(len(touched), np.int64), on_arrival=True)

    def _fold(self, rows: Rows, ts: Int64, offset: Int64, label: Float64, *, arrival: bool) -> LabelEffects:
        """Let one outcome per prediction act on it, where they pair; the effects are old state out, new state in."""
        table = self.predictions
        pair = np.abs(table["ts"][rows] - ts) <= self.horizon_ms
        rows, ts, offset, label = rows[pair], ts[pair], offset[pair], label[pair]
        known = np.maximum(table["known"][rows], offset)
        removed = _no_effects() if arrival else self._effects(rows, np.full(len(rows), -1, np.int64), known=offset)
        table["known"][rows] = known
        wins = (ts > table["label_ts"][rows]) | ((ts == table["label_ts"][rows]) & (offset > table["label_offset"][rows]))
        winners = rows[wins]
        table["label"][winners], table["label_ts"][winners], table["label_offset"][winners] = label[wins], ts[wins], offset[wins]
        table["first_ts"][rows] = np.minimum(table["first_ts"][rows], ts)
        if arrival:
            return _no_effects()
        return _concat([removed, self._effects(rows, np.ones(len(rows), np.int64), known=offset)])

    def _effects(self, rows: Rows, sign: Int64, *, known: Int64 | None = None, on_arrival: bool = False) -> LabelEffects:
        table = self.predictions
        label = table["label"][rows]
        # On arrival a taken-back label is told too: a snapshot may still hold the label that it took back.
        told = np.ones(len(rows), bool) if on_arrival else ~np.isnan(label)
        rows = rows[told]
        offsets = table["known"][rows] if known is None else known[told]
        return LabelEffects(rows, sign[told], label[told], table["first_ts"][rows], offsets, np.full(len(rows), on_arrival))


def _rounds(keys: UInt64, mask: Bool) -> list[Rows]:
    """Row numbers under `mask`, in rounds: round r holds the r-th occurrence of every key, so keys differ within a round."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return []
    order = np.argsort(keys[rows], kind="stable")
    sorted_keys = keys[rows[order]]
    new = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])
    if new.all():
        return [rows]
    position = np.arange(len(rows))
    occurrence = np.empty(len(rows), np.int64)
    occurrence[order] = position - np.maximum.accumulate(np.where(new, position, 0))
    return [rows[occurrence == r] for r in range(int(occurrence.max()) + 1)]
