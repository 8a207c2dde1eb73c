"""The label join of one model in one source partition. Pure: columns and offsets in, effects on panes out.

    predictions ──► ids ──► their predictions ─┐  a pair is a prediction and an outcome of the same id
    outcomes ─────► ids ──► their outcomes ────┘  whose event times are at most `horizon_ms` apart

What a prediction's label is, is a function of sets, not of arrival:

- an event is *late*, and only counted, when it lies more than `lateness_ms` behind the newest event before it in its own
  topic partition;
- a prediction is a *duplicate* when an earlier one of the same id and version is still remembered: its time, or that of its
  latest duplicate, is within `horizon_ms` of the newest prediction before this one;
- of the outcomes that pair with a prediction the last by (ts, offset) gives its label, the first by ts its label time.

Ids that have no room here live in the store (`cold`). Before an event of such an id is taken in, the id must come back whole: `wanted`
says which, `thaw` takes them in.

Architecture invariant: for given prefixes of the two topics the state is the same whatever order the two were read in, how they
were cut into batches, when `evict` ran, and which ids were in the store meanwhile. That is what makes a replay after a crash exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.streams import kernels
from driftline.streams.cold import OUTCOME, ColdIds, ColdRows
from driftline.streams.columns import SEVERAL, Columns, HashIndex, Rows, UInt64, all_differ

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NEVER = -(2**62)  # a watermark before any event
_BLOCK: Final = 65_536  # rows that are looked through at a time
_FEW: Final = 16  # rows, of which one at least must be past for any to be dropped at once


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

    def take(self, rows: Rows | Bool | slice) -> OutcomeRows:
        """The rows of these numbers, or under a mask."""
        return OutcomeRows(*(getattr(self, name)[rows] for name in OutcomeRows.__slots__))


@dataclass(frozen=True, slots=True)
class LabelEffects:
    """Changes of label state, one a row: `sign` +1 brings a label in, -1 takes it out again.

    `prediction` is the row in `Join.rows`; `outcome_offset` the highest outcome offset the state knows; `label_ts` the
    label time.
    """

    prediction: Rows
    sign: Int64
    label: Float64
    label_ts: Int64
    outcome_offset: Int64
    several: Bool  # the prediction came after more than one outcome


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What became of a batch of predictions: masks over it, and the accepted ones' rows in `Join.rows`."""

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
    parts = [part for part in parts if len(part.sign)]
    if len(parts) < 2:
        return parts[0] if parts else _no_effects()
    names = LabelEffects.__slots__
    return LabelEffects(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Orphans:
    """Outcomes that no prediction will ever meet; every field has shape (n,)."""

    offset: Int64
    ts: Int64
    id_hash: UInt64


@dataclass(frozen=True, slots=True)
class Leaving:
    """Ids on their way to the store. `rows` are those that it does not have yet, `mask` all of theirs in `Join.rows`."""

    rows: ColdRows
    mask: Bool


@dataclass(frozen=True, slots=True)
class _Ids:
    """What the rows of some ids come to; every field has shape (ids,)."""

    first: Rows  # the oldest row
    last_prediction: Int64  # event time, duplicates included; NEVER without a prediction
    last_outcome: Int64
    unstored: Bool  # whether the store lacks one of its predictions


@dataclass(frozen=True, slots=True)
class _Labels:
    """What outcomes say of predictions; every field has shape (n,), and where nothing is `told`, it is of no matter.

    `value` is that of the outcome of `ts` and `offset`, the last of those that pair, which may be `several`; `known` is the highest offset
    of these.
    """

    told: Bool
    several: Bool
    value: Float64
    ts: Int64
    offset: Int64
    first_ts: Int64
    known: Int64

    def take(self, rows: Rows | Bool) -> _Labels:
        """Those of these numbers, or under a mask."""
        return _Labels(*(getattr(self, name)[rows] for name in _Labels.__slots__))

    def with_one(self, ts: Int64, offset: Int64, value: Float64) -> _Labels:
        """With one more outcome each."""
        wins = ~self.told | (ts > self.ts) | ((ts == self.ts) & (offset > self.offset))
        return _Labels(
            np.ones(len(ts), bool), self.told, np.where(wins, value, self.value), np.where(wins, ts, self.ts),
            np.where(wins, offset, self.offset), np.where(self.told, np.minimum(ts, self.first_ts), ts),
            np.where(self.told, np.maximum(offset, self.known), offset),
        )  # fmt: skip


_KEPT: Final = ("value", "ts", "offset", "first_ts", "known")


@dataclass(frozen=True, slots=True)
class Floor:
    """From where the two topics must be read to rebuild a join, and the newest event time before those offsets."""

    predictions: int
    predictions_newest: int
    outcomes: int
    outcomes_newest: int

    @property
    def told(self) -> tuple[int, int, int, int]:
        """As a marker has it."""
        return self.predictions, self.predictions_newest, self.outcomes, self.outcomes_newest


@dataclass
class _Clock:
    """The newest event time of one topic partition, remembered at the start of each batch so that a floor has its time."""

    newest: int = NEVER
    marks: list[tuple[int, int]] = field(default_factory=list)

    def late(self, offset: Int64, ts: Int64, lateness_ms: int) -> Bool:
        """Which rows lie further behind the newest event time before them; moves the clock past all of them."""
        since, reader = self.newest, kernels.current()
        self.marks.append((int(offset[0]), since))
        if reader:
            late, self.newest = reader.late_rows(ts, since, lateness_ms)
        else:
            late, self.newest = ts < _newest_before(since, ts) - lateness_ms, max(since, int(ts.max()))
        return late

    def floor(self, needed: int) -> tuple[int, int]:
        """The last mark at or below `needed`; earlier marks are forgotten."""
        del self.marks[: max(bisect_right(self.marks, needed, key=lambda mark: mark[0]) - 1, 0)]
        return self.marks[0]


def _newest_before(since: int, ts: Int64) -> Int64:
    """The newest event time before each row; `since` is that before the first."""
    return np.maximum.accumulate(np.concatenate([[since], ts]))[:-1]


class Join:
    """See the module. `horizon_ms`: farthest distance in event time of a pair; `lateness_ms`: disorder plus grace.

    Rows of both kinds are one table; those of an id are a chain in it, predictions first. What a prediction's label is, the one outcome
    behind it says; where another came, a second table does, so that the thousandth correction costs no more than the first. Ids are
    64-bit hashes: of n ids held within a horizon two share one with a chance of n² / 2⁶⁵, which is 3 in a million for ten million ids,
    and those two would share their labels.
    """

    def __init__(self, horizon_ms: int, lateness_ms: int, floor: Floor | None = None) -> None:
        self.horizon_ms, self.lateness_ms = horizon_ms, lateness_ms
        self.rows = Columns(
            key=np.uint64, next=int, ts=int, offset=int, value=float, version=int, segments=int, bin=int, fingerprint=np.uint32,
            again=int, label=int, stored=bool,
        )  # fmt: skip
        self._corrected = Columns(value=float, ts=int, offset=int, first_ts=int, known=int)
        self._index = HashIndex()
        self._quarter_ms = (horizon_ms + lateness_ms) // 4
        self.cold = ColdIds(self._quarter_ms)
        self.decided = (NEVER, 0)  # of outcomes below this time and offset it is told whether they are orphans
        self._orphans: list[Orphans] = []
        start = floor or Floor(0, NEVER, 0, NEVER)
        self._prediction_clock = _Clock(start.predictions_newest, [(start.predictions, start.predictions_newest)])
        self._outcome_clock = _Clock(start.outcomes_newest, [(start.outcomes, start.outcomes_newest)])
        self._floor, self._floor_rises, self._outcomes_end = start, False, start.outcomes
        self._evict_at, self._evict_at_ts = 65_536, NEVER

    @property
    def newest_prediction(self) -> int:
        return self._prediction_clock.newest

    @property
    def newest_outcome(self) -> int:
        return self._outcome_clock.newest

    @property
    def oldest(self) -> int:
        """An id of which all events are older than this event time meets no event still to come."""
        return min(self.newest_prediction, self.newest_outcome) - self.lateness_ms - self.horizon_ms

    @property
    def floor(self) -> Floor:
        """From where this state can be rebuilt, with the store. Moves up when `evict` or `left` has dropped something."""
        if self._floor_rises:
            self._floor, self._floor_rises = self._find_floor(), False
        return self._floor

    def __len__(self) -> int:
        return self.rows.size

    @property
    def nbytes(self) -> int:
        """Memory of everything that grows with the rows."""
        return self.rows.nbytes + self._corrected.nbytes + self._index.nbytes + self.cold.nbytes

    def add_predictions(self, batch: PredictionRows) -> Arrivals:
        """Take in predictions; the effects are those of outcomes that were here before them."""
        n, since = len(batch.offset), self._prediction_clock.newest
        late = self._prediction_clock.late(batch.offset, batch.ts, self.lateness_ms)
        duplicate, conflict = np.zeros(n, bool), np.zeros(n, bool)
        every = ColdRows(
            batch.id_hash, batch.offset, batch.ts, batch.ts, batch.predicted, batch.version, batch.segments, batch.bin, batch.fingerprint
        )
        rows_of, rest, effects = self._enter_predictions(every, late)
        before = _newest_before(since, batch.ts) if rest.any() else batch.ts
        for chosen in _rounds(batch.id_hash, rest):
            at, heads = chosen, self._heads_of(batch.id_hash[chosen] if len(chosen) < n else batch.id_hash)
            if (heads >= 0).any():
                twin = self._remembered_twin(heads, batch.version[at], before[at])
                again = twin >= 0
                if again.any():
                    duplicate[at] = again
                    conflict[at[again]] = self.rows.take("fingerprint", twin[again]) != _short(batch.fingerprint[at[again]])
                    self._remember(twin[again], batch.ts[at[again]])
                    at, heads = at[~again], heads[~again]
            rows, following = self._add_rows_of_predictions(every.take(at) if len(at) < n else every, heads, stored=False)
            rows_of[at] = rows
            effects.append(self._label_arrivals(rows, following))
        accepted = rows_of >= 0
        rows = rows_of if accepted.all() else rows_of[accepted]
        return Arrivals(accepted, duplicate & ~conflict, conflict, late, rows, _concat(effects))

    def _enter_predictions(self, new: ColdRows, late: Bool) -> tuple[Rows, Bool, list[LabelEffects]]:
        """Take in what compiled code understands: the row of each prediction, -1 for none; which are left to be taken in; and effects."""
        n, reader = len(new), kernels.current()
        if reader is None:
            return np.full(n, -1), ~late, []
        self.rows.reserve(n)
        slots, room = self._index.slots(n, self.rows.all("key"))
        at, following = reader.predictions_entered(slots, room, *self.rows.told(("key", "version")), len(self), new.id_hash, late)
        self._index.size += int(np.count_nonzero(following < 0))
        if len(at) == n:
            rows = rows_of = self._append_predictions(new, following, stored=False)
            rest = np.zeros(n, bool)
        else:
            rows, rows_of, rest = self._append_predictions(new.take(at), following, stored=False), np.full(n, -1), ~late
            rows_of[at], rest[at] = rows, False
        return rows_of, rest, [self._label_arrivals(rows, following)]

    def add_outcomes(self, batch: OutcomeRows) -> tuple[Bool, LabelEffects]:
        """Take in outcomes; returns which were late, and what the others changed."""
        late = self._outcome_clock.late(batch.offset, batch.ts, self.lateness_ms)
        self._outcomes_end = int(batch.offset[-1]) + 1
        rest, effects = self._enter_outcomes(batch, late)
        for at in _rounds(batch.id_hash, rest):
            told = batch if len(at) == len(late) else batch.take(at)
            effects += self._add_rows_of_outcomes(told.id_hash, told.offset, told.ts, told.label, stored=False)
        return late, _concat(effects)

    def _enter_outcomes(self, batch: OutcomeRows, late: Bool) -> tuple[Bool, list[LabelEffects]]:
        """Take in what compiled code understands; which are left, and effects.

        Mostly ids are known, so room for all of them would be empty: it is made when it is needed, for twice as many as are new of the
        last, as the further it goes the fewer are known.
        """
        rest, effects, reader, begin, more = ~late, list[LabelEffects](), kernels.current(), 0, 0
        n = len(rest) if reader else 0
        while reader and begin < n:
            size, left = len(self), batch.take(slice(begin, n))
            self.rows.reserve(n - begin)
            self.rows.hold("next", -1, size + n - begin)
            slots, room = self._index.slots(more, self.rows.all("key"))
            told = self.rows.told(("key", "version", "next", "ts"))
            at, rows, end = reader.outcomes_entered(slots, room, *told, size, left.id_hash, left.ts, late[begin:], self.horizon_ms)
            new = left.take(slice(end) if len(at) == end else at)
            rest[at + begin] = False
            self._append_outcomes(new.id_hash, -1, new.offset, new.ts, new.label, stored=False)
            last, paired, label, ts, offset = rows[-SEVERAL:] < 0, np.flatnonzero(rows >= 0), new.label, new.ts, new.offset
            if len(paired) < len(rows):
                self._index.size += len(rows) - len(paired)
                rows, label, ts, offset = rows[paired], label[paired], ts[paired], offset[paired]
            effects.append(_effects(rows, 1, label, ts, offset))
            begin += end
            more = min(n - begin, 1 + 2 * (n - begin) * int(np.count_nonzero(last)) // max(len(last), 1))
        return rest, effects

    def answers(self) -> Float64:
        """All predictions and labels that are remembered, as they came."""
        told: Float64 = self.rows.all("value")
        return told[~np.isnan(told)]

    def rivals(self, rows: Rows) -> tuple[Rows, Rows]:
        """Earlier predictions of the same ids by other versions, by offset: places in `rows`, and their rows.

        Only those so near in event time that neither can have been forgotten when the other came.
        """
        span = max(self.horizon_ms - self.lateness_ms, 0)
        version, offset, ts = (self.rows.take(name, rows) for name in ("version", "offset", "ts"))
        places, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for at, others in self._predictions(self._heads_of(self.rows.take("key", rows))):
            rival = (self.rows.take("version", others) != version[at]) & (self.rows.take("offset", others) < offset[at])
            rival &= np.abs(self.rows.take("ts", others) - ts[at]) <= span
            places.append(at[rival])
            found.append(others[rival])
        return np.concatenate(places), np.concatenate(found)

    def outcomes_of(self, prediction: int) -> list[tuple[int, int, float]]:
        """(ts, offset, label) of every outcome that pairs with one prediction, in offset order."""
        row = np.array([prediction])
        ts = int(self.rows.take("ts", row)[0])
        found = []
        while (row := self.rows.take("next", row))[0] >= 0:
            outcome_ts = int(self.rows.take("ts", row)[0])
            if self.rows.take("version", row)[0] == OUTCOME and abs(outcome_ts - ts) <= self.horizon_ms:
                found.append((outcome_ts, int(self.rows.take("offset", row)[0]), float(self.rows.take("value", row)[0])))
        return sorted(found, key=lambda outcome: outcome[1])

    def wanted(self, keys: UInt64) -> UInt64:
        """Ids that must come back from the store before events of them are taken in, each once."""
        if not self.cold:
            return keys[:0]
        perhaps = np.unique(keys[self.cold.maybe(keys)])
        return perhaps[self._heads_of(perhaps) < 0]

    def thaw(self, rows: ColdRows, predictions: int, outcomes: int) -> None:
        """Take back what the store has of ids that are wanted: all of their rows below the positions reached in the two topics."""
        rows = _each_once(rows.take(rows.offset < np.where(rows.version == OUTCOME, outcomes, predictions)))
        is_outcome = rows.version == OUTCOME
        for at in _rounds(rows.id_hash, ~is_outcome):
            self._add_rows_of_predictions(rows.take(at), self._heads_of(rows.id_hash[at]), stored=True)
        for at in _rounds(rows.id_hash, is_outcome):
            self._add_rows_of_outcomes(rows.id_hash[at], rows.offset[at], rows.ts[at], rows.value[at], stored=True)

    def evict(self, *, force: bool = False) -> None:
        """Drop the ids that no event still to come can touch; before that, name the outcomes that no prediction will come for.

        Cheap to call often: it works when the state has doubled, or time has moved so far that part of it may go. Without the latter
        the floor of a model with little traffic would stay where the broker deletes.
        """
        if not (force or len(self) >= self._evict_at or self.newest_prediction >= self._evict_at_ts):
            return
        self._name_orphans()
        if self.rows.least("ts") < self._past_below:
            self._drop_past(force=force)
        self._evict_at = max(65_536, 2 * len(self))
        self._evict_at_ts = self.newest_prediction + self._quarter_ms
        self._floor_rises = True

    def _drop_past(self, *, force: bool) -> None:
        """Drop the ids that no event still to come can touch.

        To drop a few costs as much as to drop many: unless it is forced they wait for others, but not for long, as the floor waits too.
        """
        heads = self._is_head()
        drop, unstored = self._past(heads)
        # The store may have outcomes of it, which must not look like orphans there: then it leaves with its predictions.
        if self.cold and len(unstored):
            self._mark(drop, unstored[~self.cold.maybe(self.rows.take("key", unstored))])
        many = _FEW * np.count_nonzero(drop) >= len(drop)
        if drop.any() and (force or many or self.rows.least("ts") < self._past_below - 2 * self._quarter_ms):
            self._drop(drop, heads)

    def _past(self, heads: Bool) -> tuple[Bool, Rows]:
        """The rows of ids that are past; of those with a prediction that the store lacks, if it has any, their first rows instead."""
        if reader := kernels.current():
            told = self.rows.told(("ts", "next", "version", "again", "stored"))
            return reader.past_of(*told, heads, self._predictions_below, self._outcomes_below, ask=bool(self.cold))
        drop, left = np.zeros(len(self), bool), [np.empty(0, np.int64)]
        for part in self._parts():
            block = np.flatnonzero(heads[part] & (self.rows.take("ts", part) < self._past_below)) + part.start
            ids = self._about(block)
            gone = self._is_past(ids)
            unstored = gone & ids.unstored & bool(self.cold)
            left.append(block[unstored])
            self._mark(drop, block[gone & ~unstored])
        return drop, np.concatenate(left)

    def leaving(self, rows: int) -> Leaving:
        """The ids that have one of the oldest `rows` rows, and those that only wait to leave. Nothing changes before `left`."""
        mask = np.zeros(len(self), bool)
        for block in self._blocks(self._is_head()):
            ids = self._about(block)
            self._mark(mask, block[(ids.first < rows) | self._is_past(ids)])
        at = np.flatnonzero(mask & ~self.rows.all("stored"))
        ts, offset, version = (self.rows.take(name, at) for name in ("ts", "offset", "version"))
        decided = (ts < self.decided[0]) & (offset < self.decided[1])
        told = ColdRows(
            self.rows.take("key", at), offset, ts, ts + self.rows.take("again", at), self.rows.take("value", at), version,
            self.rows.take("segments", at), np.where(version == OUTCOME, decided, self.rows.take("bin", at)),
            self.rows.take("fingerprint", at).astype(np.uint64),
        )  # fmt: skip
        return Leaving(told, mask)

    def left(self, leaving: Leaving) -> None:
        """The store has them: forget them here. Nothing may have been taken in since they were chosen."""
        self.cold.add(leaving.rows.id_hash, leaving.rows.remembered)
        self._drop(leaving.mask, self._is_head())
        self._floor_rises = True

    def overdue(self) -> list[tuple[int, int]]:
        """Stretches of event time whose outcomes in the store can meet no prediction any more: which of them did not, it must say."""
        return self.cold.forget(self.oldest)

    def name(self, found: Orphans) -> None:
        """Outcomes without a prediction in the store; of ids that are here now, whoever came for them meanwhile is here too."""
        self._name(found)

    def take_orphans(self) -> Orphans:
        """The orphans named since the last call."""
        parts, self._orphans = self._orphans, []
        return Orphans(*(np.concatenate([getattr(part, name) for part in [_NO_ORPHANS, *parts]]) for name in Orphans.__slots__))

    @property
    def _predictions_below(self) -> int:
        """A prediction older than this may neither pair with an outcome still to come nor have a duplicate."""
        return min(self.newest_outcome - self.lateness_ms, self.newest_prediction) - self.horizon_ms

    @property
    def _outcomes_below(self) -> int:
        """An outcome older than this may not pair with a prediction still to come."""
        return self.newest_prediction - self.lateness_ms - self.horizon_ms

    @property
    def _past_below(self) -> int:
        """An id of which one row is not older than this event time is not past."""
        return max(self._predictions_below, self._outcomes_below)

    def _is_past(self, ids: _Ids) -> Bool:
        """Which ids no event still to come can touch."""
        past: Bool = (ids.last_prediction < self._predictions_below) & (ids.last_outcome < self._outcomes_below)
        return past

    def _find_floor(self) -> Floor:
        """Every row that only this process has lies at or above it, or was touched there; with none of them it is the last mark."""
        first_p, first_o = self._lowest_offsets(2**62)
        return Floor(*self._prediction_clock.floor(first_p), *self._outcome_clock.floor(first_o))

    def _lowest_offsets(self, most: int) -> tuple[int, int]:
        """Of predictions and of outcomes that only this process has; `most` where there is none."""
        if reader := kernels.current():
            return reader.lowest_offsets(*self.rows.told(("version", "stored", "offset")), len(self), most)
        predictions = outcomes = most
        for part in self._parts():
            only_here = ~self.rows.take("stored", part)
            is_outcome = self.rows.take("version", part) == OUTCOME
            offset = self.rows.take("offset", part)
            predictions = int(offset[only_here & ~is_outcome].min(initial=predictions))
            outcomes = int(offset[only_here & is_outcome].min(initial=outcomes))
        return predictions, outcomes

    def _parts(self) -> Iterator[slice]:
        for begin in range(0, len(self), _BLOCK):
            yield slice(begin, min(begin + _BLOCK, len(self)))

    def _is_head(self) -> Bool:
        """Which rows begin the chain of an id."""
        if reader := kernels.current():
            return reader.heads_of(*self.rows.told(("next",)), len(self))
        heads = np.ones(len(self), bool)
        for part in self._parts():
            following = self.rows.take("next", part)
            heads[following[following >= 0]] = False
        return heads

    def _blocks(self, heads: Bool) -> Iterator[Rows]:
        for part in self._parts():
            yield np.flatnonzero(heads[part]) + part.start

    def _about(self, heads: Rows) -> _Ids:
        n = len(heads)
        ids = _Ids(heads.copy(), np.full(n, NEVER), np.full(n, NEVER), np.zeros(n, bool))
        for at, rows in self._chains(heads):
            version, ts, again, stored = self.rows.take_all(("version", "ts", "again", "stored"), rows)
            outcome, last = version == OUTCOME, ts + again
            for times, kind in ((ids.last_prediction, ~outcome), (ids.last_outcome, outcome)):
                own, of_kind = (at, last) if kind.all() else (at[kind], last[kind])
                times[own] = np.maximum(times[own], of_kind)
            ids.first[at] = np.minimum(ids.first[at], rows)
            ids.unstored[at] |= ~outcome & ~stored
        return ids

    def _chains(self, heads: Rows) -> Iterator[tuple[Rows, Rows]]:
        """All rows of ids, one of each at a time: places in `heads`, and rows."""
        at, rows = np.arange(len(heads)), heads
        while len(rows := rows[(live := rows >= 0)]):
            at = at[live]
            yield at, rows
            rows = self.rows.take("next", rows)

    def _mark(self, mask: Bool, heads: Rows) -> None:
        for _, rows in self._chains(heads):
            mask[rows] = True

    def _name_orphans(self) -> None:
        """Name the outcomes that pair with no prediction, now that none can come any more; each once.

        Those that the store has are asked for there.
        """
        until, (decided_ts, decided_offset) = self._outcomes_below, self.decided
        for rows in self._undecided(until) if self.rows.least("ts") < until else ():
            self._name(Orphans(self.rows.take("offset", rows), self.rows.take("ts", rows), self.rows.take("key", rows)))
        self.decided = (max(until, decided_ts), max(self._outcomes_end, decided_offset))

    def _undecided(self, until: int) -> Iterator[Rows]:
        """Outcomes older than this of which it was not told whether they are orphans, but for those that the store has."""
        if reader := kernels.current():
            yield reader.old_outcomes(*self.rows.told(("ts", "version", "stored", "offset")), len(self), until, self.decided)
            return
        decided_ts, decided_offset = self.decided
        for part in self._parts():
            due = (self.rows.take("version", part) == OUTCOME) & ~self.rows.take("stored", part)
            rows = np.flatnonzero(due) + part.start
            ts, offset = self.rows.take("ts", rows), self.rows.take("offset", rows)
            yield rows[(ts < until) & ((ts >= decided_ts) | (offset >= decided_offset))]

    def _name(self, found: Orphans) -> None:
        """Of outcomes for which no prediction can come any more, those that pair with none that is here."""
        alone = np.ones(len(found.ts), bool)
        for at, rows in self._predictions(self._heads_of(found.id_hash)):
            alone[at] &= np.abs(self.rows.take("ts", rows) - found.ts[at]) > self.horizon_ms
        if alone.any():
            self._orphans.append(Orphans(found.offset[alone], found.ts[alone], found.id_hash[alone]))

    def _drop(self, mask: Bool, heads: Bool) -> None:
        keep = ~mask
        self._renumber("next", keep, keep)
        if self._corrected.size:
            corrected = np.zeros(self._corrected.size, bool)
            for part in self._parts():
                mine = self.rows.take("label", part)[keep[part]]
                corrected[mine[mine >= 0]] = True
            self._renumber("label", keep, corrected)
            self._corrected.keep(corrected)
        self.rows.keep(keep)
        self._index.rebuild(np.flatnonzero(heads[keep]), self.rows.all("key"))

    def _renumber(self, column: str, keep: Bool, kept: Bool) -> None:
        """Let rows that stay lead to where things will be of which `kept` says what stays; a chain stays or goes as a whole."""
        reader = kernels.current()
        if reader and reader.renumber(*self.rows.told((column,)), keep, kept):
            return
        place = np.cumsum(kept, dtype=np.int32) - np.int32(1)
        for part in self._parts():
            pointers = self.rows.take(column, part)
            there = np.flatnonzero((pointers >= 0) & keep[part])
            self.rows.put(column, there + part.start, place[pointers[there]])

    def _heads_of(self, keys: UInt64) -> Rows:
        """The first row of each id, -1 where it has none."""
        return self._index.find(keys, self.rows.all("key"))

    def _remembered_twin(self, heads: Rows, version: Int64, newest: Int64) -> Rows:
        """The remembered prediction of the same id and version, or -1."""
        twin = np.full(len(heads), -1, np.int64)
        for at, rows in self._predictions(heads):
            ts, again, own = self.rows.take_all(("ts", "again", "version"), rows)
            same = (own == version[at]) & (ts + again >= newest[at] - self.horizon_ms)
            twin[at[same]] = rows[same]  # at most one twin is remembered at a time, so the order of the chain is no matter
        return twin

    def _predictions(self, heads: Rows) -> Iterator[tuple[Rows, Rows]]:
        """The predictions of ids, one of each at a time: places in `heads`, and rows."""
        at = np.flatnonzero(heads >= 0)
        rows = heads[at]
        while len(rows):
            version, following = self.rows.take_all(("version", "next"), rows)
            own = version != OUTCOME
            if not own.all():
                at, rows, following = at[own], rows[own], following[own]
            if len(rows):
                yield at, rows
            more = following >= 0
            at, rows = at[more], following[more]

    def _remember(self, rows: Rows, ts: Int64) -> None:
        """A duplicate of each of these came at `ts`."""
        again = ts - self.rows.take("ts", rows)
        longer = again > self.rows.take("again", rows)
        self.rows.put("again", rows[longer], again[longer])
        self.rows.put("stored", rows[longer], np.zeros(int(longer.sum()), bool))

    def _add_rows_of_predictions(self, new: ColdRows, heads: Rows, *, stored: bool) -> tuple[Rows, Rows]:
        """Predictions of ids that differ from each other; `heads` as they are now. Their rows, and what follows each in its chain."""
        known, following = np.flatnonzero(heads >= 0), heads
        leads = follows = known
        if len(known):
            after_outcome = self.rows.take("version", heads[known]) == OUTCOME
            leads, follows, following = known[after_outcome], known[~after_outcome], heads.copy()
            following[follows] = self.rows.take("next", heads[follows])
        rows = self._append_predictions(new, following, stored=stored)
        if not len(known):
            self._begin(new.id_hash, rows)
            return rows, following
        self.rows.put("next", heads[follows], rows[follows])
        self._lead(new.id_hash[leads], rows[leads])
        fresh = heads < 0
        self._begin(new.id_hash[fresh], rows[fresh])
        return rows, following

    def _append_predictions(self, new: ColdRows, following: Rows, *, stored: bool) -> Rows:
        again = 0 if new.remembered is new.ts else new.remembered - new.ts
        return self.rows.append(
            len(new), key=new.id_hash, next=following, ts=new.ts, offset=new.offset, value=new.value, version=new.version,
            segments=new.segments, bin=new.bin, fingerprint=new.fingerprint, again=again, label=-1, stored=stored,
        )  # fmt: skip

    def _append_outcomes(self, keys: UInt64, following: Rows | int, offset: Int64, ts: Int64, label: Float64, *, stored: bool) -> Rows:
        return self.rows.append(
            len(keys), key=keys, next=following, ts=ts, offset=offset, value=label, version=OUTCOME, segments=0, bin=0, fingerprint=0,
            again=0, label=-1, stored=stored,
        )  # fmt: skip

    def _add_rows_of_outcomes(self, keys: UInt64, offset: Int64, ts: Int64, label: Float64, *, stored: bool) -> list[LabelEffects]:
        """Outcomes of ids that differ from each other, and what they change."""
        heads = self._heads_of(keys)
        effects, after = [], heads.copy()
        for at, current in self._predictions(heads):
            effects += self._changes(current, ts[at], offset[at], label[at])
            after[at] = current
        there = after >= 0
        following = after
        if known := bool(there.any()):
            following = after.copy()
            following[there] = self.rows.take("next", after[there])
        rows = self._append_outcomes(keys, following, offset, ts, label, stored=stored)
        if known:
            self.rows.put("next", after[there], rows[there])
            keys, rows = keys[~there], rows[~there]
        self._begin(keys, rows)
        return effects

    def _begin(self, keys: UInt64, rows: Rows) -> None:
        if len(keys):
            self._index.insert(keys, rows, self.rows.all("key"))

    def _lead(self, keys: UInt64, rows: Rows) -> None:
        if len(keys):
            self._index.replace(keys, rows, self.rows.all("key"))

    def _label_arrivals(self, rows: Rows, following: Rows) -> LabelEffects:
        """What the outcomes that waited for new predictions make of them."""
        rows = rows[following >= 0]
        if not len(rows):
            return _no_effects()
        labels = self._labels_of(rows)
        if not labels.told.all():
            rows, labels = rows[labels.told], labels.take(labels.told)
        # A label that was taken back is told too: a snapshot may still hold it.
        return LabelEffects(rows, np.ones(len(rows), np.int64), labels.value, labels.first_ts, labels.known, labels.several)

    def _changes(self, rows: Rows, ts: Int64, offset: Int64, label: Float64) -> list[LabelEffects]:
        """What one more outcome for each of these predictions changes, where they pair: old labels out, new ones in."""
        own_ts, following = self.rows.take_all(("ts", "next"), rows)
        pair = np.abs(own_ts - ts) <= self.horizon_ms
        if not pair.all():
            rows, ts, offset, label, following = rows[pair], ts[pair], offset[pair], label[pair], following[pair]
        first_ts, effects = ts, list[LabelEffects]()
        if (again := np.flatnonzero(following >= 0)).size:
            known, old = rows[again], self._labels_of(rows[again])
            new = old.with_one(ts[again], offset[again], label[again])
            self._keep_labels(known, new)
            if old.told.any():
                removed = old.take(old.told)
                effects.append(_effects(known[old.told], -1, removed.value, removed.first_ts, offset[again][old.told]))
            label, first_ts = label.copy(), ts.copy()
            label[again], first_ts[again] = new.value, new.first_ts
        return [*effects, _effects(rows, 1, label, first_ts, offset)]

    def _keep_labels(self, rows: Rows, labels: _Labels) -> None:
        """What more than one outcome says of these predictions."""
        places = self.rows.take("label", rows)
        new = places < 0
        added = labels.take(new)
        told = {name: getattr(added, name) for name in _KEPT}
        self.rows.put("label", rows[new], self._corrected.append(len(added.ts), **told))
        for name in _KEPT:
            self._corrected.put(name, places[~new], getattr(labels, name)[~new])

    def _labels_of(self, rows: Rows) -> _Labels:
        """What outcomes say of these predictions."""
        places = self.rows.take("label", rows)
        kept = places >= 0
        if not kept.any():
            return self._labels_behind(rows)
        behind, told = self._labels_behind(rows[~kept]), self._corrected.take_all(_KEPT, places[kept])
        columns = []
        for name, own in zip(_Labels.__slots__, (kept[kept], kept[kept], *told), strict=True):
            column = np.empty(len(rows), own.dtype)
            column[~kept], column[kept] = getattr(behind, name), own
            columns.append(column)
        return _Labels(*columns)

    def _labels_behind(self, rows: Rows) -> _Labels:
        """What the outcomes behind these predictions in their chains say."""
        if reader := kernels.current():
            found = reader.labels_of(*self.rows.told(("ts", "next", "version", "offset", "value")), rows, len(self), self.horizon_ms)
            return _Labels(found[0] > 0, found[0] > 1, found[1].view(np.float64), *found[2:])
        own_ts, n = self.rows.take("ts", rows), len(rows)
        labels = _Labels(np.zeros(n, bool), np.zeros(n, bool), np.zeros(n), *np.zeros((4, n), np.int64))
        for at, others in self._chains(self.rows.take("next", rows)):
            ts, offset, value, version = self.rows.take_all(("ts", "offset", "value", "version"), others)
            pair = (version == OUTCOME) & (np.abs(ts - own_ts[at]) <= self.horizon_ms)
            more = labels.take(at[pair]).with_one(ts[pair], offset[pair], value[pair])
            for name in _Labels.__slots__:
                getattr(labels, name)[at[pair]] = getattr(more, name)
        return labels


def _effects(rows: Rows, sign: int, label: Float64, label_ts: Int64, known: Int64) -> LabelEffects:
    """The same sign for all labels but those that were taken back."""
    n = len(rows)
    effects = LabelEffects(rows, np.full(n, sign), label, label_ts, known, np.zeros(n, bool))
    there = ~np.isnan(label)
    return effects if there.all() else LabelEffects(*(getattr(effects, name)[there] for name in LabelEffects.__slots__))


_NO_ORPHANS: Final = Orphans(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))


def _short(fingerprint: UInt64) -> UInt64:
    """Half of it tells contents apart well enough: two of one id are taken for the same with a chance of 2⁻³²."""
    return fingerprint & np.uint64(0xFFFFFFFF)


def _each_once(rows: ColdRows) -> ColdRows:
    """Of rows that are there more than once, those that were remembered longest."""
    same = (rows.ts, rows.id_hash, rows.offset, rows.version)  # a batch is many rows at one offset
    order = np.lexsort((-rows.remembered, *same))
    first = np.zeros(len(order), bool)
    first[:1] = True
    for column in same:
        first[1:] |= column[order][1:] != column[order][:-1]
    return rows.take(order[first])


def _rounds(keys: UInt64, mask: Bool) -> list[Rows]:
    """Row numbers under `mask`, in rounds: round r holds the r-th occurrence of every key, so keys differ within a round."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return []
    if all_differ(keys[rows] if len(rows) < len(keys) else keys):
        return [rows]
    order = np.argsort(keys[rows], kind="stable")
    sorted_keys = keys[rows[order]]
    new = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])
    position = np.arange(len(rows))
    occurrence = np.empty(len(rows), np.int64)
    occurrence[order] = position - np.maximum.accumulate(np.where(new, position, 0))
    return [rows[occurrence == r] for r in range(int(occurrence.max()) + 1)]
