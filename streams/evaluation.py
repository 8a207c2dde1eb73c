"""State of one partition of `panes`: snapshots in; judged windows, merged panes and learned references out. Pure.

    snapshots, progress ──► take ──► evaluate ──► results     rows for the store and findings for decide
                              │           │
                              │           ├────► learned      references, published on `models`
                              │           └────► state        what must be written to the table afterwards
                              └─► first_rows ──► results      of windows that have just closed; the rest can wait

Results first, state second, commit third: whatever is read again gives the same rows with the same revisions.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np

from driftline.schemas.config import Model, Window, policy_hash
from driftline.schemas.progress import Progress, decode_progress
from driftline.schemas.reference import PerformanceProfile, Reference
from driftline.schemas.results import Columns, DriftResult, PerformanceResult, QualityResult, References, Results, columns_of
from driftline.streams.answers import Losses
from driftline.streams.appraisal import performance, performances, treatment
from driftline.streams.baselines import Earlier, baselines_of, kept_ms, versions_named
from driftline.streams.battery import Measured
from driftline.streams.carriers import REST, carried
from driftline.streams.contests import Contest, Tally, comparison_row, tally_of
from driftline.streams.delays import Delays
from driftline.streams.detection import Detection, watches
from driftline.streams.drift import Baseline, drifts, measure
from driftline.streams.join import NEVER
from driftline.streams.judge import Judged, WindowKey, feature_rows_each, performance_rows
from driftline.streams.labels import label_drift
from driftline.streams.lasting import Lasting, of_psi
from driftline.streams.layout import Layout
from driftline.streams.learning import learn
from driftline.streams.onset import onset_of_feature, onset_of_loss
from driftline.streams.panes import Pane, PaneKey, decode_key, empty_pane, epoch_of, fence_of, labels_only, sum_of, sum_of_snapshots
from driftline.streams.quality import Look, faults_each, looks, quality_each, without_cell
from driftline.streams.registry import Registry
from driftline.streams.segments import is_crowded, name_of, places, without_place
from driftline.streams.service import service_each
from driftline.streams.sketch import Sketch
from driftline.streams.together import joint_drift
from driftline.streams.watermark import Patience, Watermark, watermark
from driftline.streams.windows import panes_of, windows_of

MERGED = 20_000  # merged panes kept decoded
TOGETHER = 64  # windows that are judged in one go: each is in memory until then
ERROR = "(error)"
POOLED, GROUPS = "(pooled)", "(groups)"  # values for segments with too few labels each, and for all groups of a protected attribute
_KEY = ("model", "version", "segment", "window_start", "window_end")
RAISED = b"raised/"  # before a snapshot's key: its revision, where that is not the sum of its fence


class Series(NamedTuple):
    """What windows follow one another in: a model version and segment."""

    model: str
    version: str
    segment: str


class _Whole(NamedTuple):
    """A window before it is judged: its panes in order of time, under these keys, and their sum."""

    key: WindowKey
    layout: Layout | None
    keys: list[PaneKey]
    panes: tuple[Pane, ...]
    pane: Pane


class _New(NamedTuple):
    """A window whose features are to be told."""

    about: tuple[Series, Window, int]
    window: Judged
    against: list[Baseline]
    is_faulty: bool
    faults: dict[str, str]


@dataclass
class Evaluated:
    """What one evaluation found. `state` and `removed` are for the table, once `results` and `learned` are durable."""

    results: dict[str, Results] = field(default_factory=lambda: defaultdict(Results))  # by model
    learned: list[Reference] = field(default_factory=list)
    state: dict[bytes, bytes] = field(default_factory=dict)
    removed: list[bytes] = field(default_factory=list)


@dataclass
class _ModelState:
    """What is due for one model."""

    watermark: Watermark = field(default_factory=Watermark)
    patience: Patience = field(default_factory=Patience)
    windows: set[tuple[Series, Window, int]] = field(default_factory=set)  # changed or never judged
    unfinal: set[tuple[Series, Window, int]] = field(default_factory=set)  # judged, and to be judged once more when final
    provisional: set[tuple[Series, Window, int]] = field(
        default_factory=set
    )  # judged last when nothing came any more, before they had ended
    waiting: dict[tuple[Series, Window, int], tuple[bool, bool, bool]] = field(
        default_factory=dict
    )  # told: whether mature, timed out; by its middle too
    delays: dict[str, Delays] = field(default_factory=dict)  # by version
    panes: set[PaneKey] = field(default_factory=set)
    changed_losses: dict[str, int] = field(default_factory=dict)  # version → earliest changed pane
    signals: set[tuple[str, int]] = field(default_factory=set)  # (version, window) of label time to tell
    unfinal_signals: set[tuple[str, int]] = field(default_factory=set)  # told, and to be told once more when final


class Evaluation:
    """See the module.

    Parameters
    ----------
    partitions
        How many source partitions report progress.
    stored
        The table as recovered: snapshots and progress by record key, and the detectors' bases.
    """

    def __init__(self, registry: Registry, partitions: int, stored: MutableMapping[bytes, bytes]) -> None:
        self._registry, self._partitions, self._stored = registry, partitions, stored
        self._parts: dict[Series, dict[int, dict[int, bytes]]] = defaultdict(lambda: defaultdict(dict))  # start → partition → record key
        self._of: dict[str, dict[str, set[Series]]] = defaultdict(lambda: defaultdict(set))  # those of `_parts` by model and version
        self._merged: dict[PaneKey, tuple[Pane, int]] = {}
        self._progress: dict[int, Progress] = {}
        self._models: dict[str, _ModelState] = defaultdict(_ModelState)
        self._detections: dict[tuple[str, str], dict[str, Detection]] = defaultdict(dict)  # by name
        self._lasting: dict[tuple[str, str], Lasting] = defaultdict(Lasting)
        self._contests: dict[tuple[str, str, str], Contest] = {}  # by model and two versions, in the order of their names
        self._earlier: dict[tuple[str, str], Earlier] = defaultdict(Earlier)
        self._told_panes: dict[PaneKey, int] = {}  # rows told of each pane's features
        self._told_windows: dict[WindowKey, tuple[object, ...]] = {}
        self._features: dict[WindowKey, tuple[bool, bool]] = {}  # told of each window: whether features drifted, whether data were faulty
        self._told_references: set[tuple[str, str, str]] = set()
        self._forgotten: dict[tuple[str, str], tuple[int, int]] = {}  # of a version: before when panes are, and their revisions' sum
        self._left_over: list[bytes] = []  # of the table, to be removed
        self._changes_seen = registry.changes
        self._in_force: dict[tuple[str, str], dict[int, str]] = {}  # references of a version that its rows were told under
        self._left_out: dict[tuple[str, str, range], set[str]] = {}  # segments without a place, for as long as one evaluation takes
        self._changed: dict[bytes, bytes] = {}
        #: Windows whose labels are yet to be told: whether features drifted, whether data were faulty.
        self._labels: list[tuple[Judged, bool, bool]] = []
        self._moved: set[str] = set()  # models of which progress has come since windows that close were last looked for
        self._recover()

    def _recover(self) -> None:
        """Everything that was not final when the state was written is judged again; the same rows come out."""
        for key, value in self._stored.items():
            if key.startswith(b"progress/"):
                self._progress[int(key[9:])] = decode_progress(value)
        for key in [k for k in self._stored if k.startswith(b"forgotten/")]:
            self._forgotten[_names(key)] = msgspec.msgpack.decode(self._stored[key], type=tuple[int, int])
        for key in [k for k in self._stored if k.startswith(b"[")]:
            pane, partition = decode_key(key)
            if pane.start >= self._kept_since(pane.model, pane.version):
                self._index(key, pane, partition)
            else:  # it was not removed any more
                self._left_over += [kept for kept in (key, RAISED + key) if self._stored.pop(kept, None) is not None]
        for key in [k for k in self._stored if k.startswith(b"detector/")]:
            model, version, *rest = msgspec.json.decode(key.partition(b"/")[2], type=list[str])
            name = rest[0] if rest else "adwin"  # which was the only one once, and not named
            watch = watches(self._registry.model(model), self._profile(model, version)).get(name)
            if watch:
                self._detections[model, version][name] = Detection.from_bytes(watch, self._stored[key])
        for key in [k for k in self._stored if k.startswith(b"contest/")]:
            model, first, second = msgspec.json.decode(key.partition(b"/")[2], type=tuple[str, str, str])
            self._contests[model, first, second] = Contest.from_bytes(self._stored[key])
        for key in [k for k in self._stored if k.startswith(b"lasting/")]:
            self._lasting[_names(key)] = Lasting.from_bytes(self._stored[key])
        for key in [k for k in self._stored if k.startswith(b"earlier/")]:
            name, version, start = msgspec.json.decode(key.partition(b"/")[2], type=tuple[str, str, str])
            self._earlier[name, version].put(int(start), self._stored[key])

    def _index(self, key: bytes, pane: PaneKey, partition: int) -> None:
        series = Series(*pane[:3])
        self._parts[series][pane.start][partition] = key
        self._of[pane.model][pane.version].add(series)
        self._due(pane)

    def _kept_since(self, model: str, version: str) -> int:
        """Panes that start before this are forgotten."""
        return self._forgotten.get((model, version), (NEVER, 0))[0]

    def _due(self, pane: PaneKey) -> None:
        """Everything that a pane is part of is to be told."""
        self._merged.pop(pane, None)
        state, model = self._models[pane.model], self._registry.model(pane.model)
        state.panes.add(pane)
        kept_since, series = self._kept_since(pane.model, pane.version), Series(*pane[:3])
        for window in model.windows:
            state.windows.update([(series, window, start) for start in windows_of(window, pane.start) if start >= kept_since])
        if not pane.segment:
            state.changed_losses[pane.version] = min(pane.start, state.changed_losses.get(pane.version, pane.start))

    def take(self, key: bytes, value: bytes | None) -> None:
        """One record of the topic. Of two snapshots of a pane the one of the later owner stays, and of one owner the higher fence."""
        if value is None:  # a source partition is done with the pane; here it stays until the last window with it is final
            return
        if key.startswith(b"progress/"):
            told, known = decode_progress(value), self._progress.get(int(key[9:]))
            if known is None or (told.epoch, sum(told.positions)) >= (known.epoch, sum(known.positions)):
                self._progress[told.partition] = told
                self._moved.update(told.newest)
                self._stored[key] = self._changed[key] = value
            return
        pane, partition = decode_key(key)
        if pane.start < self._kept_since(pane.model, pane.version):
            return  # told and forgotten; its other partitions' snapshots are gone
        if (before := self._stored.get(key)) is not None:
            now, known_rank = _rank(value), _rank(before)
            if now < known_rank:
                return
            if now > known_rank:
                self._raise(key, now[1])
        self._changed.pop(key, None)  # behind what it is raised to: of what is written a part may be lost, from some record on
        self._stored[key] = self._changed[key] = value
        self._index(key, pane, partition)

    def _raise(self, key: bytes, knows: int) -> None:
        """A later owner's snapshot may know fewer records than the one that it replaces, but its revision must be higher."""
        before = self._revision(key)
        if knows <= before:
            self._stored[RAISED + key] = self._changed[RAISED + key] = (before + 1).to_bytes(8)

    def _revision(self, key: bytes) -> int:
        """Of one snapshot: the records it knows, or more (see `_raise`)."""
        return max(sum(fence_of(self._stored[key])), int.from_bytes(self._stored.get(RAISED + key, b"")))

    @property
    def outdated(self) -> bool:
        """Whether a reference has come since the last evaluation."""
        return self._changes_seen != self._registry.changes

    def waits_until_s(self) -> float:
        """When windows are to be looked at that wait for partitions which were idle; infinite where none do."""
        return min((state.patience.until_s for state in self._models.values()), default=math.inf)

    def evaluate(self, now_s: float = math.inf) -> Evaluated:
        """Judge what is due: windows that the watermark has passed and that are new or changed.

        `now_s` is any clock that does not go back; without it nothing waits for partitions that were idle (`Patience`).
        """
        out = Evaluated()
        for _ in self.steps(out, now_s):
            pass
        return out

    def steps(self, out: Evaluated, now_s: float = math.inf) -> Iterator[None]:
        """`evaluate` into `out`, model by model: a thousand take long. Between two of them others may work, but nothing may be taken."""
        out.removed, self._left_over = self._left_over, []
        self._changes_seen = self._registry.changes
        self._left_out.clear()
        told: list[tuple[Model, _ModelState]] = []
        for name, state in self._models.items():
            model = self._registry.model(name)
            state.watermark = self._watermark(model, state, now_s)
            self._learn(model, state, out)
            self._revise(model)
            self._tell_panes(model, state, out.results, state.panes)
            self._tell_windows(model, state, out.results)
            self._detect(model, state, out.results)
            told.append((model, state))
            yield
            if not self._labels or len(told) == TOGETHER:
                self._finish(told, out)
        self._finish(told, out)
        out.state |= self._changed
        self._changed = {}
        out.results = {name: results for name, results in out.results.items() if results.tables()}

    def _finish(self, told: list[tuple[Model, _ModelState]], out: Evaluated) -> None:
        """What the labels of windows say, and then, of models all of whose windows are told, what may be forgotten."""
        self._tell_labels(out.results)
        for model, state in told:
            self._forget(model, state, out)
        told.clear()

    def first_rows(self, now_s: float = math.inf) -> dict[str, Results]:
        """By model, the rows of windows that have closed and were not told since, and of their panes; `evaluate` does all else.

        It writes no state: after a crash they are told again. Windows that are final at once are left to `evaluate`, whose last rows are
        told from everything there is, and with them all that end later: who decides would else take a later one for the beginning.
        """
        out: dict[str, Results] = defaultdict(Results)
        self._left_out.clear()
        for name in sorted(self._moved & self._models.keys()):
            model, state = self._registry.model(name), self._models[name]
            state.watermark = self._watermark(model, state, now_s)
            self._revise(model)
            ended = {w for w in state.provisional if _end(w) <= state.watermark.predictions}
            new = {w for w in state.windows if self._closed(state, _end(w)) and (w not in state.unfinal or w in ended)}
            final = state.watermark.final(model)
            left = min((_end(w) for w in new if _end(w) <= final), default=math.inf)
            new = {w for w in new if _end(w) < left}
            if new:
                self._tell_panes(model, state, out, self._panes_within(model, new))
                self._tell(model, state, out, new | self._after_changed(model, state, new))
                state.unfinal |= new
        self._tell_labels(out)
        self._moved.clear()
        return {name: results for name, results in out.items() if results.tables()}

    def _watermark(self, model: Model, state: _ModelState, now_s: float) -> Watermark:
        newest = {k: progress.newest.get(model.model) for k, progress in self._progress.items()}
        return state.patience.limit(watermark(model, self._progress, self._partitions), newest, model, now_s)

    def _panes_within(self, model: Model, windows: Iterable[tuple[Series, Window, int]]) -> set[PaneKey]:
        """The panes of these windows that were never told."""
        keys = {PaneKey(*series, at) for series, window, start in windows for at in panes_of(window, start, model.pane_ms)}
        return {key for key in keys & self._models[model.model].panes if key not in self._told_panes}

    def _closed(self, state: _ModelState, end: int) -> bool:
        return end <= state.watermark.predictions or state.watermark.everything

    def _learn(self, model: Model, state: _ModelState, out: Evaluated) -> None:
        """Make a reference of the first closed windows in a row that have rows enough together, of a version that has none.

        Those before them have too few whenever one looks, so what is learned does not depend on when panes are forgotten.
        """
        window, number = model.windows[0], model.learn_windows
        for series in [Series(model.model, version, "") for version in self._of[model.model]]:
            if self._registry.layout(series.model, series.version, 2**62) is not None:
                continue
            starts = sorted({start for pane in self._parts[series] for start in windows_of(window, pane)})
            excluded = {s for s in starts if any(each.touches(s, s + window.length_ms) for each in model.exclude)}
            starts = [s for s in starts if s not in excluded and s + window.length_ms <= state.watermark.predictions]
            for run in (starts[i : i + number] for i in range(len(starts) - number + 1)):
                learned = {pane for start in run for pane in panes_of(window, start, model.pane_ms)}
                panes = [PaneKey(*series, start) for start in sorted(learned & self._parts[series].keys())]
                if sum(self._pane(key)[0].n for key in panes) >= model.policy.min_samples:
                    end = run[-1] + window.length_ms
                    reference = learn(model, series.version, self._sum(panes, None), end, [self._pane(key)[0] for key in panes])
                    self._registry.add(reference, 0)
                    out.learned.append(reference)
                    break

    def _revise(self, model: Model) -> None:
        """A reference may come to be in force for a time that was told without it: what is kept of that time is due once more."""
        for version, mine in self._of[model.model].items():
            now = self._registry.in_force(model.model, version)
            before = self._in_force.get((model.model, version))
            self._in_force[model.model, version] = now
            changed = () if before is None else before.items() ^ now.items()
            if not changed:
                continue
            since = min(at for at, _ in changed)
            self._told_panes = {k: n for k, n in self._told_panes.items() if k[:2] != (model.model, version)}
            self._told_windows = {k: told for k, told in self._told_windows.items() if k[:2] != (model.model, version)}
            for series in mine:
                for start in [start for start in self._parts[series] if start >= since]:
                    self._due(PaneKey(*series, start))

    def _tell_panes(self, model: Model, state: _ModelState, results: dict[str, Results], panes: Iterable[PaneKey]) -> None:
        closed = sorted(key for key in panes if self._closed(state, key.start + model.pane_ms))
        told: list[tuple[PaneKey, Pane, int]] = []
        new: list[tuple[PaneKey, Layout | None, Pane, int]] = []
        for key in closed:
            if key.segment in self._without_place(model, key.version, range(key.start, key.start + 1)):
                continue
            pane, revision = self._pane(key)
            told.append((key, pane, revision))
            if not key.segment:
                state.delays.setdefault(key.version, Delays(model.pane_ms)).put(key.start, pane.n, pane.answers)
            if self._told_panes.get(key) != pane.n:
                self._told_panes[key] = pane.n
                new += [(key, self._registry.by_hash(pane.reference), pane, revision)] if pane.n else []
        for rows in feature_rows_each(model, new):
            results[model.model].feature_panes.extend(rows)
        if told:
            results[model.model].performance_panes.extend(performance_rows(model, told))
        state.panes.difference_update(closed)

    def _tell_windows(self, model: Model, state: _ModelState, results: dict[str, Results]) -> None:
        final = state.watermark.final(model)
        for delays in state.delays.values():  # by the watermark alone, so that they tell the same whenever older panes were forgotten
            delays.drop(_past(model, state))
        due = {w for w in state.windows if self._closed(state, _end(w))}
        due |= {w for w in state.unfinal if _end(w) <= final} | self._ripened(model, state)
        due |= self._after_changed(model, state, due)
        self._tell(model, state, results, due)
        state.unfinal = {w for w in state.unfinal | due if _end(w) > final}
        state.waiting = {w: ripe for w, ripe in state.waiting.items() if w in state.unfinal}

    def _tell(self, model: Model, state: _ModelState, results: dict[str, Results], due: set[tuple[Series, Window, int]]) -> None:
        """The rows of windows that are due, oldest first."""
        gathered: dict[str, int] = {}  # version → the first window whose evidence of lasting drift is another
        order = [
            (series, window, start)
            for series, window, start in sorted(due, key=lambda w: (_end(w), w[0], w[1].length_ms))
            if series.segment not in self._without_place(model, series.version, panes_of(window, start, model.pane_ms))
        ]
        for at in range(0, len(order), TOGETHER):
            self._tell_some(model, state, results, order[at : at + TOGETHER], gathered)
        for version, since in gathered.items():
            results[model.model].drift_results.extend(self._lasting[model.model, version].rows(model, since))
        self._tell_across(model, state, due, results[model.model])
        state.windows -= {w for w in due if _end(w) <= state.watermark.predictions}

    def _tell_some(
        self,
        model: Model,
        state: _ModelState,
        results: dict[str, Results],
        windows: Sequence[tuple[Series, Window, int]],
        gathered: dict[str, int],
    ) -> None:
        """The rows of windows in order of time; what they all ask for is worked out side by side."""
        wholes = [self._whole(model, *about) for about in windows]
        new = ((whole.layout, whole.pane) for whole in wholes if self._told_windows.get(whole.key, ())[:2] != (whole.pane.n, whole.layout))
        about = [(layout, pane) for layout, pane in new if layout and pane.n]
        measured, seen = measure(about, model.tests), looks(about)
        # What windows before one say may be part of what it is compared with: then they are told one after another.
        step = 1 if kept_ms(model) else len(wholes)
        for at in range(0, len(wholes), step):
            some = slice(at, at + step)
            judged = [self._waiting(model, state, *each) for each in zip(windows[some], wholes[some], strict=True)]
            told = [(about, window) for about, window in zip(windows[some], judged, strict=True) if window.pane.n]
            self._tell_features(model, results[model.model], told, measured, seen, gathered)
            self._labels += [(window, *self._features[window.key]) for _, window in told]
            for _, window in told:
                if window.is_final:
                    self._told_windows.pop(window.key, None)
                    self._features.pop(window.key, None)
        if len(self._labels) >= TOGETHER:
            self._tell_labels(results)

    def _waiting(self, model: Model, state: _ModelState, about: tuple[Series, Window, int], whole: _Whole) -> Judged:
        """A window as it is judged, and what it waits for."""
        series, window, start = about
        end = start + window.length_ms
        judged = self._judged(model, whole, end <= state.watermark.final(model), provisional=end > state.watermark.predictions)
        (state.provisional.add if judged.provisional else state.provisional.discard)(about)
        seems = self._seems_mature(model, state, series.version, start + (window.length_ms - model.pane_ms) // 2)
        state.waiting[about] = (*_ripeness(judged), seems)
        return judged

    def _tell_features(
        self,
        model: Model,
        results: Results,
        windows: Sequence[tuple[tuple[Series, Window, int], Judged]],
        measured: Mapping[int, Measured],
        seen: Mapping[int, Look],
        gathered: dict[str, int],
    ) -> None:
        """What the features of windows say, where that is not told yet: labels alone do not change it."""
        due: list[tuple[tuple[Series, Window, int], Judged, list[Baseline]]] = []
        for about, judged in windows:
            against = self._against(judged)
            told = (judged.pane.n, judged.layout, judged.is_final, judged.provisional, judged.usual, tuple(each.digest for each in against))
            if self._told_windows.get(judged.key) != told:
                self._told_windows[judged.key] = told
                self._tell_reference(judged.layout, results)
                due.append((about, judged, against))
        checks = quality_each([judged for _, judged, _ in due], seen)
        for part in chain(checks, service_each(judged for _, judged, _ in due)):
            results.quality_results.extend(part)
        wrong = faults_each(checks)
        new = [_New(about, judged, against, judged.key in wrong, wrong.get(judged.key, {})) for about, judged, against in due]
        following: defaultdict[str, list[tuple[Judged, Sequence[DriftResult]]]] = defaultdict(list)  # by version
        found = self._drifts(new, measured)
        for rows in found:
            results.drift_results.extend(rows)
        of_window, drifts_of = _by_window(map(of_psi, found)), {key for part in found for key in _drifting(part)}
        for about, judged, against, faulty, faults in new:
            series, window, start = about
            together = [row for each in against for row in joint_drift(judged, faults, each)]
            results.drift_results.extend(together)
            drifted = judged.key in drifts_of or any(row.verdict == "drift" for row in together)
            self._features[judged.key] = (drifted, faulty)
            if not series.segment and window == model.windows[0] and start % window.length_ms == 0:
                self._earlier[model.model, series.version].take(judged, not faulty)
                following[series.version].append((judged, of_window.get(judged.key, ())))
        for version, told_of in following.items():
            if (since := self._lasting[model.model, version].take(told_of)) is not None:
                gathered[version] = min(since, gathered.get(version, since))

    def _tell_labels(self, results: dict[str, Results]) -> None:
        """What the labels of windows say; all of them together, of whatever model, for most are told again and again as labels come."""
        windows, self._labels = self._labels, []
        if not windows:
            return
        for (judged, _, _), rows in zip(windows, performances(windows), strict=True):
            results[judged.model.model].performance_results.extend(self._worse_since(judged, rows))
        for labels in label_drift([judged for judged, _, _ in windows]):
            results[labels.told("model")[0]].drift_results.extend(labels)

    def _worse_since(self, window: Judged, rows: Columns[PerformanceResult]) -> Columns[PerformanceResult]:
        """Rows of metrics that are worse with the moment it began."""
        if not rows.having("verdict", "worse"):
            return rows
        began = onset_of_loss(self._timed(window), window.layout.reference.performance if window.layout else PerformanceProfile())
        return columns_of([msgspec.structs.replace(row, began=began) if row.verdict == "worse" else row for row in rows])

    def _after_changed(self, model: Model, state: _ModelState, due: set[tuple[Series, Window, int]]) -> set[tuple[Series, Window, int]]:
        """Windows whose baselines hold one that is due."""
        first: dict[str, int] = {}
        for series, _, start in due if kept_ms(model) else ():
            first[series.version] = min(start, first.get(series.version, start))
        return {w for w in state.unfinal if not w[0].segment and w[2] > first.get(w[0].version, w[2])}

    def _against(self, window: Judged) -> list[Baseline]:
        """Everything that a window is to be compared with."""
        key, others = window.key, {}
        for version in versions_named(window.model) if not key.segment else ():
            layout, series = self._registry.layout(key.model, version, key.start), Series(key.model, version, "")
            panes = [PaneKey(*series, start) for start in sorted(self._parts[series]) if key.start <= start < key.end]
            others[version] = layout, self._sum(panes, layout)
        return baselines_of(window, self._earlier[key.model, key.version], others)

    def _ripened(self, model: Model, state: _ModelState) -> set[tuple[Series, Window, int]]:
        """Windows of which no row has changed, but that have become mature or immature, or timed out, since they were told."""
        found = set()
        for about, (mature, timed_out, seemed) in state.waiting.items():
            series, window, start = about
            seems = self._seems_mature(model, state, series.version, start + (window.length_ms - model.pane_ms) // 2)
            if (seems and not mature) or seems != seemed or (self._timed_out(model, start + window.length_ms) and not timed_out):
                found.add(about)
        return found

    def _seems_mature(self, model: Model, state: _ModelState, version: str, middle: int) -> bool:
        """Whether a window is mature as far as its middle tells: cheap enough to ask of every window at every evaluation."""
        delays = state.delays.get(version)
        now = delays.maturities([middle], state.watermark.outcomes) if delays else ()
        return not now or now[0] >= model.policy.min_maturity

    def _timed_out(self, model: Model, end: int) -> bool:
        """Whether no label of a window that ends there is waited for any longer.

        Where a missing label says something, predictions tell the time as well: outcomes may come too rarely to do it.
        """
        at = self._models[model.model].watermark
        newest = at.outcomes if model.missing_label == "unknown" else max(at.outcomes, at.predictions)
        return end + model.horizon_ms + model.grace_ms <= newest

    def _timed(self, window: Judged) -> list[tuple[int, Pane]]:
        """The panes of a window, by start. Not those before it: their labels change without it being told again."""
        key = window.key
        series = Series(*key[:3])
        starts = sorted(start for start in self._parts[series] if key.start <= start < key.end)
        return [(start, self._pane(PaneKey(*series, start))[0]) for start in starts]

    def _drifts(self, windows: Sequence[_New], measured: Mapping[int, Measured]) -> list[Columns[DriftResult]]:
        """What the features of windows say against each baseline; of drift with the moment it began, and who carries it."""
        judged, found = {new.window.key: new.window for new in windows}, list[Columns[DriftResult]]()
        for part in drifts([(new.window, new.faults, each) for new in windows for each in new.against], measured):
            drifted = part.having("verdict", "drift")
            if not drifted:
                found.append(part)
                continue
            names, began = part.column("feature"), [*part.column("began")]
            for key, begin, end in _windows_of(part):
                here = drifted[bisect_left(drifted, begin) : bisect_left(drifted, end)]
                told = self._begun(judged[key], {names[i] for i in here}) if here else {}
                for i in here:
                    began[i] = told.get(names[i])
            found += self._carried(judged, part.with_columns({"began": began}))
        return found

    def _begun(self, window: Judged, features: Collection[str]) -> dict[str, int | None]:
        """When the drift of each of these features began."""
        layout = window.layout
        if layout is None:
            return {}
        panes, places = self._timed(window), {name: f for f, name in enumerate(layout.names)}
        return {name: onset_of_feature(panes, layout, places[name]) for name in features if name in places}

    def _carried(self, windows: Mapping[WindowKey, Judged], rows: Columns[DriftResult]) -> Iterator[Columns[DriftResult]]:
        """Rows of drift with the segments that carry it."""
        if not next(iter(windows.values())).model.segments:
            yield rows
            return
        for key, mine in _by_window([rows]).items():
            yield mine if key.segment or not _drifted(mine) else columns_of(carried(windows[key], [*mine], self._cells(windows[key])))

    def _cells(self, window: Judged) -> dict[str, Pane]:
        """The sum of a window's panes in each cell of its segments."""
        key, groups = window.key, {}
        starts = panes_of(Window(key.end - key.start, key.end - key.start), key.start, window.model.pane_ms)
        left_out = self._without_place(window.model, key.version, starts)
        for series in sorted(self._of[key.model][key.version]):
            if name_of(series.segment, window.model) and series.segment not in left_out:
                panes = [PaneKey(*series, start) for start in starts if start in self._parts[series]]
                groups[series.segment] = self._sum(panes, window.layout)
        return groups

    def _tell_across(self, model: Model, state: _ModelState, due: set[tuple[Series, Window, int]], results: Results) -> None:
        """What several segments of one name say together: those with too few labels each put together, and how alike they are treated.

        Told whenever one of them is, with a revision of its own: segments and the whole do not change at the same moment.
        """
        final = state.watermark.final(model)
        about = {(series.version, window, start) for series, window, start in due if series.segment}
        for version, window, start in sorted(about, key=lambda w: (w[2] + w[1].length_ms, w[0], w[1].length_ms)):
            end, layout = start + window.length_ms, self._registry.layout(model.model, version, start)
            starts = panes_of(window, start, model.pane_ms)
            left_out = self._without_place(model, version, starts)
            for name in model.segments:
                groups, revision = self._groups(Series(model.model, version, f"{name}="), starts, left_out)
                if len(groups) < 2 or not any(pane.n for pane in groups.values()):  # panes of label time alone say nothing here
                    continue
                pooled = Judged(
                    WindowKey(model.model, version, f"{name}={POOLED}", start, end), model, layout, _few(groups.values(), model, layout),
                    revision, end <= final, (), end > state.watermark.predictions, self._timed_out(model, end), (), groups,
                )  # fmt: skip
                results.performance_results.extend(performance(pooled))
                if is_crowded(name, groups, model):
                    results.quality_results.append(self._rest(pooled, name, starts))
                if name in model.protected:
                    together = replace(pooled, key=pooled.key._replace(segment=f"{name}={GROUPS}"))
                    results.performance_results.extend(treatment(together, name))

    def _without_place(self, model: Model, version: str, starts: range) -> set[str]:
        """The segments that have no place in these panes together; none where there can be no more than there are places."""
        mine = self._of[model.model][version]
        if len(mine) <= min((places(name, model) for name in model.segments), default=0) + 1:
            return set()
        about = model.model, version, starts
        if about not in self._left_out:
            there = (series.segment for series in mine if any(start in self._parts[series] for start in starts))
            self._left_out[about] = without_place(there, model)
        return self._left_out[about]

    def _rest(self, pooled: Judged, name: str, starts: Iterable[int]) -> QualityResult:
        """How many of a window's rows are in no cell of a name whose places are taken."""
        series = Series(*pooled.key[:2], "")
        whole = [self._pane(PaneKey(*series, start)) for start in starts if start in self._parts[series]]
        known = pooled.revision + sum(revision for _, revision in whole)
        about = replace(pooled, key=pooled.key._replace(segment=f"{name}={REST}"), revision=known)
        return without_cell(about, name, sum(pane.n for pane, _ in whole))

    def _groups(self, name: Series, starts: Iterable[int], left_out: Collection[str]) -> tuple[dict[str, Pane], int]:
        """The answers of a window in each segment whose name begins so, and the sum of their revisions."""
        groups: dict[str, Pane] = {}
        total = 0
        for series in sorted(s for s in self._of[name.model][name.version] if s.segment.startswith(name.segment)):
            if series.segment in left_out:
                continue
            keys = [PaneKey(*series, start) for start in starts if start in self._parts[series]]
            if keys:
                total += sum(self._pane(key)[1] for key in keys)
                groups[series.segment] = sum_of((labels_only(self._pane(key)[0], None) for key in keys), None)
        return groups, total

    def _whole(self, model: Model, series: Series, window: Window, start: int) -> _Whole:
        """A window's panes, and their sum."""
        layout, have = self._registry.layout(series.model, series.version, start), self._parts[series]
        keys = [PaneKey(*series, pane) for pane in panes_of(window, start, model.pane_ms) if pane in have]
        panes = tuple(self._pane(key)[0] for key in keys)
        alone = len(panes) == 1 and layout is not None and panes[0].reference == layout.hash
        pane = panes[0] if alone else sum_of(panes, layout)
        if layout is None:
            self._name_features(pane, panes)
        return _Whole(WindowKey(*series, start, start + window.length_ms), layout, keys, panes, pane)

    def _judged(self, model: Model, whole: _Whole, is_final: bool, provisional: bool) -> Judged:
        key, layout, keys, panes, pane = whole
        revision = sum(self._pane(each)[1] for each in keys)
        at, delays = self._models[model.model].watermark, self._models[model.model].delays.get(key.version)
        mature = delays.maturities([each.start for each in keys], at.outcomes) if delays else ()
        newest = max((each.start + model.pane_ms for each, part in zip(keys, panes, strict=True) if part.n), default=None)
        usual = None if key.segment else self._earlier[key.model, key.version].usual(key.start)
        return Judged(
            key, model, layout, pane, revision, is_final, panes, provisional, self._timed_out(model, key.end), mature,
            newest=newest, usual=usual,
        )  # fmt: skip

    def _name_features(self, pane: Pane, parts: Iterable[Pane]) -> None:
        """A window from before the reference names the features of all its panes, also of those that have come under it since."""
        for reference in {part.reference for part in parts}:
            for name in layout.names if (layout := self._registry.by_hash(reference)) else ():
                pane.sketches.setdefault(name, Sketch())

    def _tell_reference(self, layout: Layout | None, results: Results) -> None:
        if layout is None:
            return
        r = layout.reference
        if (r.model, r.version, layout.hash) not in self._told_references:
            self._told_references.add((r.model, r.version, layout.hash))
            content = msgspec.json.encode(r).decode()
            row = References(r.model, r.version, layout.hash, r.origin, r.effective_from, r.rows, content, r.effective_from)
            results.references.append(row)

    def _detect(self, model: Model, state: _ModelState, results: dict[str, Results]) -> None:
        """Run the detectors on over closed label time, and tell the windows whose panes they read.

        A pane of label time is whole when the outcomes have passed it and the predictions too: an outcome that was read before its
        prediction pairs only when that one comes.
        """
        window = model.windows[0]
        until = min(state.watermark.outcomes, state.watermark.predictions)
        self._compare(model, state, until, results)
        for version, changed_from in list(state.changed_losses.items()):
            panes = [*self._losses(model, version, until)]
            for detection, begin in self._watched(model, version, changed_from):
                read = detection.read(panes, begin)
                starts = {step.start // window.length_ms * window.length_ms for step in read}
                since = max(self._kept_since(model.model, version), detection.since)  # what lies before was told, and is not whole any more
                state.signals.update((version, start) for start in starts if start >= since)
            unread = [s for s in self._parts[Series(model.model, version, "")] if s + model.pane_ms > until]
            if unread:
                state.changed_losses[version] = min(unread)
            else:
                del state.changed_losses[version]
        closed = {w for w in state.signals if w[1] + window.length_ms <= until}
        final = state.watermark.final(model) - model.horizon_ms - window.length_ms  # a correction lies up to a horizon after its label
        due = closed | {w for w in state.unfinal_signals if w[1] <= final}
        for version in sorted({version for version, _ in due}):
            told = sorted(start for name, start in due if name == version)
            begins, revisions = self._revisions(model, version, told[-1] + window.length_ms)
            rows = list[DriftResult]()
            for start in told:
                end = start + window.length_ms
                known = revisions[bisect_left(begins, end)]
                rows += self._signal_rows(model, version, start, end, known, is_final=start <= final)
            results[model.model].drift_results.extend(rows)
        state.unfinal_signals = {w for w in state.unfinal_signals | due if w[1] > final}
        state.signals -= closed

    def _compare(self, model: Model, state: _ModelState, until: int, results: dict[str, Results]) -> None:
        """Bring the comparisons of versions that answer the same ids up to date, and tell the windows of label time that changed."""
        length = model.windows[0].length_ms
        final = state.watermark.final(model) - model.horizon_ms - length
        changed = self._rivals(model, state.changed_losses, until)
        mine = {pair[1:]: contest for pair, contest in self._contests.items() if pair[0] == model.model}
        for (first, second), contest in mine.items():
            since = changed.get((first, second), 2**62)
            read = contest.read(self._tallies(model, (first, second), since, until), since)
            due = {start // length * length for start in read} | {start for start in contest.unfinal if start <= final}
            for start in sorted(due):
                row = comparison_row(model, (first, second), contest.at(start + length), start, start + length, is_final=start <= final)
                results[model.model].comparisons.append(row)
            contest.unfinal = {start for start in contest.unfinal | due if start > final}

    def _rivals(self, model: Model, changed_losses: Mapping[str, int], until: int) -> dict[tuple[str, str], int]:
        """From where each pair of versions must be compared again; pairs that are new begin their comparison.

        Panes that are still open are not looked at, for nothing is told of them yet.
        """
        found: dict[tuple[str, str], int] = {}
        for version, since in changed_losses.items():
            series = Series(model.model, version, "")
            starts = [start for start in self._parts[series] if since <= start <= until - model.pane_ms]
            met = {name for start in starts for name in self._pane(PaneKey(*series, start))[0].answers.rivals}
            for name in met:
                self._contests.setdefault((model.model, min(version, name), max(version, name)), Contest())
            for _, first, second in [pair for pair in self._contests if pair[0] == model.model and version in pair[1:]]:
                found[first, second] = min(since, found.get((first, second), since))
        return found

    def _tallies(self, model: Model, pair: tuple[str, str], since: int, until: int) -> Iterator[Tally]:
        """What the closed panes from `since` on know of a pair."""
        both = [Series(model.model, version, "") for version in pair]
        for start in sorted(start for start in set().union(*(self._parts[s] for s in both)) if since <= start <= until - model.pane_ms):
            panes = [self._pane(PaneKey(*s, start)) if start in self._parts[s] else (empty_pane(None), 0) for s in both]
            first, second = (pane.answers for pane, _ in panes)
            if pair[1] in first.rivals or pair[0] in second.rivals:
                yield tally_of(start, first, second, pair, panes[0][1] + panes[1][1])

    def _losses(self, model: Model, version: str, until: int) -> Iterator[tuple[int, Losses]]:
        """Of the panes that have closed; one that is open would be added up for its few new rows."""
        series = Series(model.model, version, "")
        for start in sorted(start for start in self._parts[series] if start <= until - model.pane_ms):
            yield start, self._pane(PaneKey(*series, start))[0].answers.losses

    def _watched(self, model: Model, version: str, changed_from: int) -> Iterator[tuple[Detection, int]]:
        """The detectors of a version, and from where each has to read: from the beginning where it is to know something else."""
        mine = self._detections[model.model, version]
        wanted = watches(model, self._profile(model.model, version))
        for name in mine.keys() - wanted.keys():
            del mine[name]
        for name, watch in wanted.items():
            new = mine.setdefault(name, Detection(watch)).watching(watch)
            yield mine[name], NEVER if new else changed_from

    def _profile(self, model: str, version: str) -> PerformanceProfile:
        layout = self._registry.layout(model, version, 2**62)
        return layout.reference.performance if layout else PerformanceProfile()

    def _revisions(self, model: Model, version: str, before: int) -> tuple[list[int], list[int]]:
        """When the panes of a version begin, of those before this, and the sum of the revisions of all before each; last, of all."""
        series = Series(model.model, version, "")
        starts = sorted(start for start in self._parts[series] if start < before)
        forgotten = self._forgotten.get((model.model, version), (0, 0))[1]
        return starts, [*accumulate((self._pane(PaneKey(*series, start))[1] for start in starts), initial=forgotten)]

    def _signal_rows(self, model: Model, version: str, start: int, end: int, revision: int, is_final: bool) -> Iterator[DriftResult]:
        """Each detector's first alarm in one window of label time, or that there was none.

        A window without labels has its rows too: labels may have been taken back. All panes before its end are in their revision, since
        a label that changes one of them can bring an alarm here, or take it away.
        """
        layout = self._registry.layout(model.model, version, start)
        for name, detection in sorted(self._detections[model.model, version].items()):
            level = detection.watch.level
            seen = [detection.watch.batch(detection.steps[i].losses) for i in detection.within(start, end)]
            n = sum(batch.n for batch in seen)
            mean = level(sum(batch.total for batch in seen) / n) if n else None
            alarm = detection.alarm(start, end)
            signal, began = alarm or (None, None)
            moved = "the residual moved" if detection.watch.residual else "the loss rose"
            yield DriftResult(
                model=model.model, version=version, segment="", window_start=start, window_end=end, feature=ERROR, test=name,
                value=signal.mean_after if signal else mean, p_value=None, null_quantile=None,
                effect=signal.mean_after - signal.mean_before if signal else None, threshold=None,
                n_reference=signal.n_before if signal else 0, n=n, verdict="drift" if signal else "ok" if n else "insufficient",
                reason=f"{moved} from {signal.mean_before:.4g} to {signal.mean_after:.4g} about {signal.n_after} labels before the alarm"
                if signal else "" if n else "no labels came in this window",
                reference=layout.hash if layout else "", policy=policy_hash(model), is_final=is_final, coverage=1.0,
                revision=revision, began=began,
            )  # fmt: skip

    def _forget(self, model: Model, state: _ModelState, out: Evaluated) -> None:
        """Drop panes of which every window is final and told, oldest first; the detectors' bases move past them."""
        before = _past(model, state)
        for series in sorted(set().union(*self._of[model.model].values())):
            old = sorted(start for start in self._parts[series] if start < before)
            revisions = self._forgotten.get((model.model, series.version), (0, 0))[1]
            for start in old:
                key = PaneKey(*series, start)
                if not series.segment:
                    revisions += self._pane(key)[1]
                for record_key in self._parts[series].pop(start).values():
                    for kept in (record_key, RAISED + record_key):
                        self._changed.pop(kept, None)
                        if self._stored.pop(kept, None) is not None:
                            out.removed.append(kept)
                self._merged.pop(key, None)
                self._told_panes.pop(key, None)
            if old and not series.segment:
                for name, detection in self._detections[model.model, series.version].items():
                    detection.settle(before)
                    out.state[_key("detector", model.model, series.version, name)] = detection.to_bytes()
                for (name, first, second), contest in self._contests.items():
                    if name == model.model and series.version in (first, second):
                        contest.settle(before)
                        out.state[_key("contest", model.model, first, second)] = contest.to_bytes()
                lasting = self._lasting[model.model, series.version]
                lasting.settle(before, model)
                out.state[_key("lasting", model.model, series.version)] = lasting.to_bytes()
                earlier, names = self._earlier[model.model, series.version], (model.model, series.version)
                out.state |= {_key("earlier", *names, str(at)): record for at, record in earlier.settle(before).items()}
                out.removed += [_key("earlier", *names, str(at)) for at in earlier.forget(before - kept_ms(model))]
                # Written last: who finds it finds the bases too, and until then the panes make them once more.
                self._forgotten[names] = (before, revisions)
                out.state[_key("forgotten", *names)] = msgspec.msgpack.encode(self._forgotten[names])

    def _pane(self, key: PaneKey) -> tuple[Pane, int]:
        """A pane merged over its source partitions, in the terms of the reference in force, and its revision."""
        kept = self._merged.get(key)
        if kept is None:
            # In the order of partitions, not of arrival: sums of floats must come out alike after a crash.
            record_keys = [k for _, k in sorted(self._parts[Series(*key[:3])][key.start].items())]
            layout = self._registry.layout(key.model, key.version, key.start)
            pane = sum_of_snapshots([self._stored[k] for k in record_keys], layout)
            kept = self._merged[key] = (pane, sum(self._revision(k) for k in record_keys))
            if len(self._merged) > MERGED:
                del self._merged[next(iter(self._merged))]
        return kept

    def _sum(self, keys: Iterable[PaneKey], layout: Layout | None) -> Pane:
        return sum_of((self._pane(key)[0] for key in keys), layout)


def _end(window: tuple[Series, Window, int]) -> int:
    return window[2] + window[1].length_ms


def _windows_of(part: Columns[DriftResult]) -> Iterator[tuple[WindowKey, int, int]]:
    """Where the rows of each window are in a part: from where to before where."""
    for about, runs in groupby(part.spans(*_KEY), itemgetter(0)):
        first, *others = runs
        yield WindowKey(*about), first[1], (others or [first])[-1][2]


def _drifting(part: Columns[DriftResult]) -> Iterator[WindowKey]:
    """The windows with rows of drift."""
    if drifted := part.having("verdict", "drift"):
        yield from (key for key, begin, end in _windows_of(part) if bisect_left(drifted, begin) < bisect_left(drifted, end))


def _by_window(parts: Iterable[Columns[DriftResult]]) -> dict[WindowKey, Columns[DriftResult]]:
    return {key: part[begin:end] for part in parts for key, begin, end in _windows_of(part)}


def _drifted(rows: Sequence[DriftResult]) -> bool:
    return isinstance(rows, Columns) and bool(rows.having("verdict", "drift"))


def _past(model: Model, state: _ModelState) -> int:
    """Panes that start before this are of final windows only, and so old that no label for them is still waited for."""
    longest = max(window.length_ms for window in model.windows)
    return (state.watermark.final(model) - model.horizon_ms - longest - model.pane_ms) // model.pane_ms * model.pane_ms


def _few(groups: Collection[Pane], model: Model, layout: Layout | None) -> Pane:
    """The answers of the groups that have too few labels each. Which those are changes as labels come, what is told of them does not."""
    pane = empty_pane(layout)
    for each in groups:
        if each.answers.n_labelled < model.policy.min_samples:
            pane.n += each.n
            pane.answers.add(each.answers)
    for each in groups:
        for group, said in each.answers.said.items():
            pane.answers.said.setdefault(group, np.zeros_like(said))
    return pane


def _ripeness(window: Judged) -> tuple[bool, bool]:
    """Whether enough of the labels to come are expected by now, and whether none is waited for any longer."""
    return window.maturity is None or window.maturity >= window.model.policy.min_maturity, window.timed_out


def _rank(snapshot: bytes) -> tuple[int, int]:
    return epoch_of(snapshot), sum(fence_of(snapshot))


def _key(kind: str, *names: str) -> bytes:
    return kind.encode() + b"/" + msgspec.json.encode(names)


def _names(key: bytes) -> tuple[str, str]:
    model, version = msgspec.json.decode(key.partition(b"/")[2], type=tuple[str, str])
    return model, version
