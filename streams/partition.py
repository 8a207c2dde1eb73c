"""One source partition at ingest: join what `intake` read, fold it into panes. Pure: chunks in; dead letters, snapshots and a marker out.

    predictions k ─┐            ┌─► join of model A ─► panes ─┐
                   ├─► intake ──┤                             ├─► flush: snapshots, marker, progress
    outcomes k ────┘            └─► join of model B ─► panes ─┘

Architecture invariant: a pane's content is a function of the two prefixes its fence names. Records that a pane's snapshot already
knows rebuild the join and leave the pane as it is.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError, Rejected, refuse_newer
from driftline.schemas.progress import CODEC, Marker, Progress, encode_marker
from driftline.schemas.results import Orphan
from driftline.streams.answers import AnswerRows, Answers, LabelRows, RivalRows, fold_predictions, fold_told, in_places, losses_of
from driftline.streams.batch import Batch, DeadLetter, Outcomes, Predictions, Topic
from driftline.streams.breaker import Breaker
from driftline.streams.columns import parts
from driftline.streams.intake import Intake
from driftline.streams.join import NEVER, Floor, Int64, LabelEffects, PredictionRows
from driftline.streams.joint import plan_of
from driftline.streams.layout import Layout
from driftline.streams.panes import (
    Fence,
    Pane,
    PaneKey,
    decode_pane,
    empty_pane,
    encode_panes,
    fence_of,
)
from driftline.streams.registry import Registry
from driftline.streams.segments import Places
from driftline.streams.shard import Shard, floor_for
from driftline.streams.tiers import HOT_ROWS, Tiers
from driftline.streams.transport.chunk import Chunk
from driftline.streams.values import Values

UNKNOWN_NAMES = 100  # of fields that are not known, kept until somebody says them
OPEN_PANES = 4_000  # decoded panes kept in memory between flushes; the rest are snapshots


@dataclass(frozen=True, slots=True)
class Flush:
    """What must be durable before the positions may be committed: snapshots first, then the marker."""

    snapshots: list[tuple[PaneKey, bytes]]
    removed: list[PaneKey]
    orphans: list[Orphan]
    marker: bytes


@dataclass(slots=True)
class _Pending:
    """What the next flush folds into the panes of one model, in one go. Rows come with the number of a pane, -1 for none.

    A pane that loses its place meanwhile is forgotten, and its number stays.
    """

    numbers: dict[PaneKey, int] = field(default_factory=dict)
    given: int = 0
    predictions: list[tuple[Int64, AnswerRows]] = field(default_factory=list)
    labels: list[tuple[Int64, Int64, LabelRows]] = field(default_factory=list)  # numbers by prediction time and by label time
    rivals: list[tuple[Int64, RivalRows]] = field(default_factory=list)

    def number(self, key: PaneKey) -> int:
        """The number of a pane."""
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = self.given
            self.given += 1
        return number

    def renumber(self, first: int) -> None:
        """Count those that still have a place from `first` on, in every column of numbers."""
        if first == 0 and len(self.numbers) == self.given:
            return  # they are
        place = np.full(self.given + 1, -1)  # the last one: of no pane
        place[np.fromiter(self.numbers.values(), np.int64)] = np.arange(first, first + len(self.numbers))
        self.predictions = [(place[numbers], rows) for numbers, rows in self.predictions]
        self.labels = [(place[mine], place[at], rows) for mine, at, rows in self.labels]
        self.rivals = [(place[numbers], rows) for numbers, rows in self.rivals]


class Partition:
    """State of one source partition.

    Parameters
    ----------
    number
        The partition.
    registry
        Configuration and references.
    stored
        Snapshots by pane, as recovered; flushed snapshots are put there too.
    marker
        The recovered marker, or None for a beginning.
    epoch
        Of this owner; stands in its snapshots and its progress.
    partitions
        Of the source topics; None if rows of batches need not belong here.
    hot_rows, life
        As in `Tiers`.
    """

    def __init__(
        self,
        number: int,
        registry: Registry,
        stored: MutableMapping[PaneKey, bytes],
        marker: Marker | None = None,
        epoch: int = 0,
        partitions: int | None = None,
        *,
        hot_rows: int = HOT_ROWS,
        life: int = 0,
    ) -> None:
        if marker:
            refuse_newer(f"the marker of partition {number}", marker.codec, CODEC)
        for name, pane_ms in (marker.pane_ms if marker else {}).items():
            if name in registry.configured:  # a model whose file was taken away has no windows any more
                _refuse_other_panes(registry.configured[name], pane_ms)
        self.number, self._registry, self._stored, self._epoch = number, registry, stored, epoch
        self._intake = Intake(registry, partitions)
        self._start = Fence(*marker.positions) if marker else Fence()
        self._listed = {PaneKey(*row[:4]): Fence(*row[4:]) for row in marker.panes} if marker else {}
        # What the marker does not list is final, or of a flush that was cut off: then its records are read again.
        self._orphans = [key for key in stored if key not in self._listed]
        for key in self._orphans:
            del stored[key]
        self._fences = {key: self._effective_fence(key) for key in self._listed}
        self._shards = {name: self._recovered_shard(name, marker) for name in marker.floors} if marker else {}
        self.tiers = Tiers(self._shards, hot_rows, life, marker.lives if marker else ())
        self._panes: OrderedDict[PaneKey, Pane] = OrderedDict()
        self._dirty: set[PaneKey] = set()
        self._pending: defaultdict[str, _Pending] = defaultdict(_Pending)  # by model
        self._places = Places()
        for key in [*self._listed]:
            self._has_place(key, registry.model(key.model))
        self.counters = Counter(marker.counters if marker else {})
        self._breakers = {topic: Breaker(*(marker.breakers.get(topic, ()) if marker else ())) for topic in Fence._fields}
        self._newest = {name: _newest(shard) for name, shard in self._shards.items()}
        self.met: set[str] = set()  # models of the records since somebody emptied it
        self.unknown: Counter[str] = Counter()  # records by a field of theirs that is not known, since somebody emptied it
        self._highest = Fence(
            max([self._start.predictions, *(f.predictions for f in self._fences.values())]),
            max([self._start.outcomes, *(f.outcomes for f in self._fences.values())]),
        )
        self.positions = self._replay_from()
        for key, snapshot in stored.items():
            if self._listed[key] != fence_of(snapshot):
                self._open(key, None)  # not what the last owner listed: what we make of it is published again

    def _recovered_shard(self, name: str, marker: Marker) -> Shard:
        """The shard of a model, from a floor low enough for each of its panes.

        One that had no labels until now, and is to have them, waits for those to come.
        """
        model, last = self._registry.model(name), Floor(*marker.floors[name])
        history = [(Fence(*row[:2]), Floor(*row[2:])) for row in marker.history.get(name, ())]
        history = history or [(Fence(), Floor(0, NEVER, 0, NEVER)), (self._start, last)]
        floor = floor_for([fence for key, fence in self._fences.items() if key.model == name], history)
        if model.labels and last.outcomes_newest == -NEVER:
            floor = replace(floor, outcomes=self._start.outcomes, outcomes_newest=NEVER)
        shard = Shard(model, floor, history)
        shard.join.decided = marker.decided.get(name, shard.join.decided)
        return shard

    def _effective_fence(self, key: PaneKey) -> Fence:
        """Up to where a recovered snapshot is right. A snapshot as new as the marker lists is right up to the marker."""
        snapshot = self._stored.get(key)
        if snapshot is None:
            return Fence()
        have = fence_of(snapshot)
        if not have.covers(self._listed[key]):
            return have  # overwritten by a stale writer: read again from there
        return self._start if self._start.covers(have) else have

    def _replay_from(self) -> Fence:
        """Low enough for the join and for the pane that is furthest behind."""
        floors = [shard.floor for shard in self._shards.values()]
        fences = list(self._fences.values())
        return Fence(
            min([self._start.predictions, *(f.predictions for f in floors), *(f.predictions for f in fences)]),
            min([self._start.outcomes, *(f.outcomes for f in floors), *(f.outcomes for f in fences)]),
        )

    @property
    def recovered(self) -> bool:
        """Whether all that the marker and the snapshots knew has been read again. Until then nothing is flushed."""
        return self.positions.covers(self._highest)

    @property
    def needed(self) -> Fence:
        """Where the topics must at least end: what was processed before."""
        return self._highest

    @property
    def uncounted(self) -> Fence:
        """From where the panes have yet to count. What is read again below it rebuilds the join and nothing else."""
        fences = [self._start, *self._fences.values()]
        return Fence(min(fence.predictions for fence in fences), min(fence.outcomes for fence in fences))

    @property
    def told(self) -> Fence:
        """From where on dead letters are told. What lies below was told before the marker."""
        return self._start

    @property
    def models(self) -> int:
        """How many models have had events here."""
        return len(self._shards)

    @property
    def dirty(self) -> bool:
        return bool(self._dirty)

    def skip_to(self, *, predictions: int | None = None, outcomes: int | None = None) -> None:
        """Move past offsets that the broker no longer has."""
        p, o = self.positions
        self.positions = Fence(p if predictions is None else max(p, predictions), o if outcomes is None else max(o, outcomes))

    def read(self, chunk: Chunk, topic: Topic) -> Batch[Predictions] | Batch[Outcomes]:
        """What a chunk that begins at the position of its topic holds, decoded and checked. Changes nothing.

        Raises `Incomplete` where it cannot be said yet whether a model is known.
        """
        return self._intake.read_predictions(chunk) if topic == "predictions" else self._intake.read_outcomes(chunk)

    def apply(self, batch: Batch[Predictions] | Batch[Outcomes]) -> list[DeadLetter]:
        """Take in what was read; the dead letters of the chunk that were not told before."""
        dead = [*batch.dead]
        for rows in batch.by_model:
            dead += self._add_predictions(rows) if isinstance(rows, Predictions) else self._add_outcomes(rows)
        first = int(np.searchsorted(batch.chunk.offset, getattr(self._start, batch.topic)))
        unknown = [name[:60] for i, name in batch.unknown.items() if i >= first]
        self.counters["unknown_fields"] += len(unknown)
        self.unknown.update(name for name in unknown if name in self.unknown or len(self.unknown) < UNKNOWN_NAMES)
        self.counters["ignored"] += int((batch.ignored >= getattr(self._start, batch.topic)).sum())
        self.positions = self.positions._replace(**{batch.topic: batch.chunk.end})
        return self._count_dead(dead, batch.chunk, batch.topic)

    def add_predictions(self, chunk: Chunk) -> list[DeadLetter]:
        """`read` and `apply`."""
        return self.apply(self.read(chunk, "predictions"))

    def add_outcomes(self, chunk: Chunk) -> list[DeadLetter]:
        """`read` and `apply`."""
        return self.apply(self.read(chunk, "outcomes"))

    def _count_dead(self, dead: list[DeadLetter], chunk: Chunk, topic: Topic) -> list[DeadLetter]:
        """Dead letters that were not told before the marker, in order."""
        first = int(np.searchsorted(chunk.offset, getattr(self._start, topic)))
        told = {letter.index: letter for letter in reversed(dead) if letter.index >= first}  # one a record, the first of a batch's
        new = [told[index] for index in sorted(told)]
        consumed = max(len(chunk) - first, 0)
        self.counters["dead_letters"] += len(new)
        self.counters["consumed"] += consumed
        self._breakers[topic].add(consumed, (letter.index - first for letter in new))
        return new

    @property
    def tripped(self) -> list[str]:
        """Topics, "predictions" or "outcomes", of which too many of the last records were dead letters; none while recovering."""
        return [topic for topic, breaker in self._breakers.items() if breaker.tripped] if self.recovered else []

    def _shard(self, name: str) -> Shard:
        self.met.add(name)
        shard = self._shards.get(name)
        if shard is None:
            floor = Floor(self._start.predictions, NEVER, self._start.outcomes, NEVER)
            shard = self._shards[name] = Shard(self._registry.model(name), floor, [(self._start, floor)])
            self._newest[name] = _newest(shard)
        return shard

    def _add_predictions(self, batch: Predictions) -> list[DeadLetter]:
        shard = self._shard(batch.model)
        batch = batch.since(shard.floor.predictions)
        if not len(batch.index):
            return []
        rows = shard.predictions(batch)
        arrivals = shard.join.add_predictions(rows)
        self._newest[batch.model] = _newest(shard)
        new = rows.offset >= self._start.predictions
        for what in ("accepted", "duplicate", "late"):
            self.counters[what] += int(np.count_nonzero(getattr(arrivals, what) & new))
        answers = AnswerRows(rows.predicted, rows.bin, batch.latency, batch.failed)
        self._fold_features(shard, batch, rows, answers, np.flatnonzero(arrivals.accepted))
        self._fold_labels(shard, arrivals.labels)
        shard.join.evict()
        conflict = Rejected("duplicate_conflict", "an earlier prediction of this id and version has other content; the first one counts")
        return [DeadLetter(int(batch.index[i]), conflict) for i in np.flatnonzero(arrivals.conflict)]

    def _add_outcomes(self, batch: Outcomes) -> list[DeadLetter]:
        shard = self._shard(batch.model)
        batch = batch.since(shard.floor.outcomes)
        if not len(batch.index):
            return []
        rows = shard.outcomes(batch)
        late, effects = shard.join.add_outcomes(rows)
        self._newest[batch.model] = _newest(shard)
        new = rows.offset >= self._start.outcomes
        self.counters["late_outcomes"] += int(np.count_nonzero(late & new))
        self.counters["outcomes"] += int(np.count_nonzero(~late & new))
        self._fold_labels(shard, effects)
        shard.join.evict()
        return []

    def _fold_features(self, shard: Shard, batch: Predictions, rows: PredictionRows, answers: AnswerRows, accepted: Int64) -> None:
        values, told = batch.values, (rows.version, rows.ts, rows.segments, rows.offset)
        if len(accepted) < len(rows.ts):
            values, answers = values.take(accepted), answers.take(accepted)
            told = (rows.version[accepted], rows.ts[accepted], rows.segments[accepted], rows.offset[accepted])
        *about, offset = told
        place, panes = shard.panes(*about)
        under: dict[tuple[str, Layout | None], list[tuple[Sequence[PaneKey], Int64]]] = {}
        for keys, part in zip(panes, parts(place, len(panes)), strict=True):
            whole = keys[0]
            under.setdefault((whole.version, self._registry.layout(*whole[:2], whole.start)), []).append((keys, part))
        taken: list[tuple[int, Int64]] = []
        for (_, layout), groups in under.items():
            if len(under) == 1:
                taken += self._fold_under(shard, layout, values, offset, groups)
                continue
            own = np.sort(np.concatenate([part for _, part in groups]))
            within = [(keys, np.searchsorted(own, part)) for keys, part in groups]
            folded = self._fold_under(shard, layout, values.take(own), offset[own], within)
            taken += [(number, own[part]) for number, part in folded]
        if taken:
            numbers = np.repeat([number for number, _ in taken], [len(part) for _, part in taken])
            each = [part for _, part in taken]
            those = answers if _in_order(each, len(offset)) else answers.take(np.concatenate(each))
            self._pending[shard.model.model].predictions.append((numbers, those))

    def _fold_under(
        self, shard: Shard, layout: Layout | None, values: Values, offset: Int64, groups: list[tuple[Sequence[PaneKey], Int64]]
    ) -> Iterator[tuple[int, Int64]]:
        """Fold rows of one version and one reference (or none) into their panes; what was folded, by the number of the pane."""
        pending = self._pending[shard.model.model]
        for keys, part in groups:
            for key in self._with_place(keys, shard):
                fresh = part if offset[part[0]] >= self._highest.predictions else part[offset[part] >= self._fence(key).predictions]
                if not len(fresh):
                    continue
                pane = self._open(key, layout)
                yield pending.number(key), fresh
                # Another than `layout` where a reference was put in force for a time that had already begun.
                under = self._registry.by_hash(pane.reference)
                values.fold(pane, under, fresh, shard.model)
                if shard.model.multivariate and not key.segment and under and (plan := plan_of(under)):
                    pane.add_joint(values.joint_sums(under, plan, fresh))

    def _fold_labels(self, shard: Shard, effects: LabelEffects) -> None:
        """Bring label effects to the panes of the predictions, and losses to the panes of the label times."""
        if not len(effects.sign):
            return
        if effects.several.any():
            effects = self._settle_arrivals(shard, effects)
        told = ~np.isnan(effects.label)
        if not told.all():
            effects = LabelEffects(*(getattr(effects, name)[told] for name in LabelEffects.__slots__))
        if len(effects.label):
            self._fold_told(shard, effects)

    def _fold_told(self, shard: Shard, effects: LabelEffects) -> None:
        at = effects.prediction
        ts, predicted, bins = shard.join.rows.take_all(("ts", "value", "bin"), at)
        version, segments = shard.about(at)
        rows = LabelRows(effects.sign, predicted, effects.label, bins, effects.label_ts - ts)
        mine = self._numbers(shard, shard.panes(version, ts, segments), at, effects.outcome_offset)
        losses = self._numbers(shard, shard.panes(version, effects.label_ts, segments), at, effects.outcome_offset)
        self._pending[shard.model.model].labels += [(one, other, rows) for one, other in zip(mine, losses, strict=True)]
        if len(shard.versions.names) > 1:
            self._fold_rivals(shard, effects, rows)

    def _numbers(self, shard: Shard, panes: tuple[Int64, Sequence[Sequence[PaneKey]]], rows: Int64, outcome: Int64) -> list[Int64]:
        """For each pair, a row of the join and the offset of an outcome, the numbers of the panes it changes, -1 for none: of the whole,
        and of each of its cells.

        A pane whose snapshot knows the pair is none of them: then both sides lie below its fence.
        """
        place, each = panes
        pending, out = self._pending[shard.model.model], []
        for depth in range(max(map(len, each))):
            keys = [keys[depth] if depth < len(keys) else None for keys in each]
            known, changed = None, np.ones(len(keys), bool)
            if not self.recovered:
                fences = np.array([self._fence(key) if key else Fence() for key in keys])[place]
                known = (shard.join.rows.take("offset", rows) < fences[:, 0]) & (outcome < fences[:, 1])
                changed = np.bincount(place[~known], minlength=len(keys)) > 0
            numbers = np.full(len(keys), -1)
            for i, key in enumerate(keys):
                if key in pending.numbers:  # open already
                    numbers[i] = pending.numbers[key]
                elif key and self._has_place(key, shard.model) and changed[i]:
                    self._open(key, None)
                    numbers[i] = pending.number(key)
            told = numbers[place]
            if known is not None:
                told[known] = -1
            out.append(told)
        return out

    def _fold_rivals(self, shard: Shard, effects: LabelEffects, labels: LabelRows) -> None:
        """Where another version has answered the same id before: which of the two the label proves right, at the label's time."""
        at, others = shard.join.rivals(effects.prediction)
        if not len(at):
            return
        later = labels.take(at)
        rivals = RivalRows(
            later.sign, shard.join.rows.take("version", others), losses_of(later.predicted, later.label, shard.classes.names, shard.model),
            losses_of(shard.join.rows.take("value", others), later.label, shard.classes.names, shard.model),
        )  # fmt: skip
        mine = effects.prediction[at]
        version = shard.join.rows.take("version", mine)
        place, panes = shard.panes(version, effects.label_ts[at], np.zeros_like(version))
        wholes = [keys[:1] for keys in panes]
        (numbers,) = self._numbers(shard, (place, wholes), mine, effects.outcome_offset[at])
        self._pending[shard.model.model].rivals.append((numbers, rivals))

    def _with_place(self, keys: Sequence[PaneKey], shard: Shard) -> Iterator[PaneKey]:
        """The whole, and those of its cells that have a place in the pane."""
        return (key for key in keys if self._has_place(key, shard.model))

    def _has_place(self, key: PaneKey, model: Model) -> bool:
        lost = self._places.ask(key, model)
        if lost is not None and lost != key:
            self._drop(lost)
        return lost != key

    def _drop(self, key: PaneKey) -> None:
        """Forget a cell that has lost its place, as if it had never been there."""
        for kept in (self._panes, self._stored, self._fences):
            kept.pop(key, None)
        if pending := self._pending.get(key.model):
            pending.numbers.pop(key, None)
        self._dirty.discard(key)
        if self._listed.pop(key, None):
            self._orphans.append(key)

    def _settle_arrivals(self, shard: Shard, effects: LabelEffects) -> LabelEffects:
        """Tell the pairs of a prediction that arrived after several outcomes one outcome at a time, in offset order.

        During a replay a snapshot may know the first few of them only: so each step meets the fence on its own. And another owner
        may have read the prediction before them, and published a pane that only a state in between touches: so every pane that any
        order of reading touches is touched here too, and published again (docs/decisions/0010-owners.md).
        """
        steps: list[tuple[int, int, float, int, int, bool]] = []
        for i in np.flatnonzero(effects.several).tolist():
            row = int(effects.prediction[i])
            winner: tuple[int, int, float] | None = None
            first = -NEVER
            for ts, offset, label in shard.join.outcomes_of(row):
                if winner is not None and not np.isnan(winner[2]):
                    steps.append((row, -1, winner[2], first, offset, False))
                if winner is None or (ts, offset) > winner[:2]:
                    winner = (ts, offset, label)
                first = min(first, ts)
                steps.append((row, 1, winner[2], first, offset, False))
        rest = LabelEffects(*(getattr(effects, name)[~effects.several] for name in LabelEffects.__slots__))
        told = [np.array(column) for column in zip(*steps, strict=True)]
        return LabelEffects(*(np.concatenate([getattr(rest, name), part]) for name, part in zip(LabelEffects.__slots__, told, strict=True)))

    def _fence(self, key: PaneKey) -> Fence:
        return self._fences.get(key, self._start)

    def _open(self, key: PaneKey, layout: Layout | None) -> Pane:
        """The pane, about to be changed."""
        pane = self._panes.get(key)
        if pane is None:
            snapshot = self._stored.get(key)
            layout = layout or self._registry.layout(key.model, key.version, key.start)
            pane = self._panes[key] = decode_pane(snapshot)[0] if snapshot else empty_pane(layout)
        self._dirty.add(key)
        return pane

    def flush(self) -> Flush:
        """Snapshots of the panes that changed, and the marker that lists them all; nothing is dirty afterwards."""
        if not self.recovered:
            raise RuntimeError("a partition that is still replaying has no fence to write")
        self._apply_pending()
        changed = sorted(self._dirty)
        snapshots = [*zip(changed, encode_panes([self._panes[key] for key in changed], self.positions, self._epoch), strict=True)]
        self._stored.update(snapshots)
        self._listed.update(dict.fromkeys(changed, self.positions))
        self._dirty.clear()
        removed = self._remove_final()
        while len(self._panes) > OPEN_PANES:
            self._panes.popitem(last=False)
        return Flush(snapshots, removed, self.tiers.take_orphans(self.number), encode_marker(self.marker()))

    def _apply_pending(self) -> None:
        alike: defaultdict[tuple[str, ...], list[tuple[Shard, _Pending]]] = defaultdict(list)
        for name, pending in self._pending.items():
            alike[_counted_by(self._shards[name])].append((self._shards[name], pending))
        for each in alike.values():
            self._fold_pending(each)
        self._pending.clear()
        for shard in self._shards.values():
            shard.forget_names()

    def _fold_pending(self, each: Sequence[tuple[Shard, _Pending]]) -> None:
        """Fold what waits of models whose answers are counted alike: all of them in one go."""
        into: list[Answers] = []
        predictions: list[tuple[Int64, AnswerRows]] = []
        labels: list[tuple[Int64, Int64, LabelRows]] = []
        for shard, pending in each:
            pending.renumber(len(into))
            into += [self._panes[key].answers for key in pending.numbers]
            predictions += pending.predictions
            labels += pending.labels
            for told in pending.rivals:
                at, rivals = in_places([told])
                for pane in np.unique(at).tolist():
                    into[pane].add_rivals(rivals.take(np.flatnonzero(at == pane)), shard.versions.names)
        classes, model = each[0][0].classes.names, each[0][0].model
        if predictions:
            fold_predictions(into, predictions, classes, model)
        if labels:
            fold_told(into, labels, classes, model)

    def _remove_final(self) -> list[PaneKey]:
        """Forget panes that no event still to come can touch."""
        orphans = [key for key in self._orphans if key not in self._listed]
        self._orphans.clear()
        final = []
        for key in self._listed:
            shard = self._shards.get(key.model)
            if shard is None:
                continue
            model, join = shard.model, shard.join
            end = key.start + model.pane_ms
            lateness = model.disorder_ms + model.grace_ms
            # A label time lies up to a horizon before its prediction, and a correction up to a horizon after it.
            predictions_past = join.newest_prediction - lateness > end + model.horizon_ms
            if predictions_past and join.newest_outcome - lateness > end + 2 * model.horizon_ms:
                final.append(key)
        for key in final:
            self._stored.pop(key, None)
            self._panes.pop(key, None)
            self._places.forget(key, self._shards[key.model].model)
            del self._listed[key]
        return final + orphans

    def marker(self) -> Marker:
        """Where a new owner starts from."""
        floors, history, decided = {}, {}, {}
        for name, shard in self._shards.items():
            shard.remember_floor(self.positions)
            floors[name] = shard.join.floor.told
            history[name] = [(*since, *floor.told) for since, floor in shard.history]
            decided[name] = shard.join.decided
        panes = [(*key, *fence) for key, fence in self._listed.items()]
        breakers = {topic: breaker.state for topic, breaker in self._breakers.items()}
        counters = dict(self.counters)
        pane_ms = {name: self._registry.model(name).pane_ms for name in {key.model for key in self._listed}}
        return Marker(CODEC, (*self.positions,), panes, floors, counters, breakers, self.tiers.lives, decided, history, pane_ms)

    def progress(self, quiet: Mapping[str, bool], caught_up: bool, paused: Sequence[str] = ()) -> Progress:
        """How far the partition has come; `quiet` by model, `caught_up` and the `paused` topics are the shell's to know."""
        newest = {**self._newest}
        silent = sorted(name for name in newest if quiet.get(name))
        return Progress(self.number, (*self.positions,), newest, silent, caught_up, dict(self.counters), [*paused], self._epoch)


def _newest(shard: Shard) -> tuple[int, int]:
    """The newest event time of a model's predictions, and of its outcomes."""
    return shard.join.newest_prediction, shard.join.newest_outcome


def _in_order(each: Sequence[Int64], n: int) -> bool:
    """Whether these, each of different rows that ascend, are all `n` rows one after another."""
    ends = [0, *accumulate(map(len, each))]
    return ends[-1] == n and all(part[0] == begin and part[-1] == end - 1 for part, (begin, end) in zip(each, pairwise(ends), strict=True))


def _refuse_other_panes(model: Model, pane_ms: int) -> None:
    """Raise `DriftlineError` where a model's file asks for panes of another length than its open ones have: no window would hold both."""
    if model.pane_ms != pane_ms:
        raise DriftlineError(
            "pane_changed",
            f"model {model.model!r} has open panes of {pane_ms / 1000:g} s, and its file says {model.pane_ms / 1000:g} s now",
            f'set pane = "{pane_ms}ms" again, or publish under another model name from now on',
        )


def _counted_by(shard: Shard) -> tuple[str, ...]:
    """What decides how rows are folded into answers: two models for which it is the same have the same codes for the same classes."""
    model = shard.model
    return (model.task, model.positive, *shard.classes.names) if model.task == "binary" else (model.task, model.model)
