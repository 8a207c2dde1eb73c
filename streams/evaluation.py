"""State of one partition of `panes`: snapshots in; judged windows, merged panes and learned references out. Pure.

    snapshots, progress ──► take ──► evaluate ──► results     rows for the store and findings for decide
                                          │
                                          ├────► learned      references, published on `models`
                                          └────► state        what must be written to the table afterwards

Results first, state second, commit third: whatever is read again gives the same rows with the same revisions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from driftline.schemas.config import Model, Window, policy_hash
from driftline.schemas.progress import Progress, decode_progress
from driftline.schemas.reference import Reference
from driftline.schemas.results import DriftResult, References, Results
from driftline.streams.answers import Losses
from driftline.streams.detection import Detection, Step
from driftline.streams.exact import to_float
from driftline.streams.judge import Judged, WindowKey, drift, feature_rows, performance, performance_row, quality
from driftline.streams.layout import Layout
from driftline.streams.learning import learn
from driftline.streams.panes import Pane, PaneKey, decode_key, decode_pane, empty_pane, fence_of, rebin
from driftline.streams.registry import Registry
from driftline.streams.stats import Adwin
from driftline.streams.watermark import Watermark, watermark
from driftline.streams.windows import panes_of, windows_of

MERGED = 20_000  # merged panes kept decoded
ERROR = "(error)"


class Series(NamedTuple):
    """What windows follow one another in: a model version and segment."""

    model: str
    version: str
    segment: str


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
    windows: set[tuple[Series, Window, int]] = field(default_factory=set)  # changed or never judged
    unfinal: set[tuple[Series, Window, int]] = field(default_factory=set)  # judged, and to be judged once more when final
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
        self._merged: dict[PaneKey, tuple[Pane, int]] = {}
        self._progress: dict[int, Progress] = {}
        self._models: dict[str, _ModelState] = defaultdict(_ModelState)
        self._detections: dict[tuple[str, str], Detection] = {}
        self._told_panes: dict[PaneKey, int] = {}  # rows told of each pane's features
        self._told_windows: dict[WindowKey, tuple[int, Layout | None, bool, bool]] = {}
        self._told_references: set[tuple[str, str, str]] = set()
        self._changed: dict[bytes, bytes] = {}
        self._recover()

    def _recover(self) -> None:
        """Everything that was not final when the state was written is judged again; the same rows come out."""
        for key, value in self._stored.items():
            if key.startswith(b"progress/"):
                self._progress[int(key[9:])] = decode_progress(value)
        for key in [k for k in self._stored if k.startswith(b"[")]:
            self._index(key)
        for key in [k for k in self._stored if k.startswith(b"detector/")]:
            model, version = _detector_names(key)
            self._detections[model, version] = Detection.from_bytes(self._detector(model), self._stored[key])

    def _index(self, key: bytes) -> None:
        pane, partition = decode_key(key)
        self._parts[Series(*pane[:3])][pane.start][partition] = key
        self._merged.pop(pane, None)
        state, model = self._models[pane.model], self._registry.model(pane.model)
        state.panes.add(pane)
        for window in model.windows:
            state.windows.update((Series(*pane[:3]), window, start) for start in windows_of(window, pane.start))
        if not pane.segment:
            state.changed_losses[pane.version] = min(pane.start, state.changed_losses.get(pane.version, pane.start))

    def take(self, key: bytes, value: bytes | None) -> None:
        """One record of the topic. Of two snapshots of a pane the one with the higher fence stays."""
        if value is None:  # a source partition is done with the pane; here it stays until the last window with it is final
            return
        if key.startswith(b"progress/"):
            told, known = decode_progress(value), self._progress.get(int(key[9:]))
            if known is None or sum(told.positions) >= sum(known.positions):
                self._progress[told.partition] = told
                self._stored[key] = self._changed[key] = value
            return
        known_snapshot = self._stored.get(key)
        if known_snapshot is None or sum(fence_of(value)) >= sum(fence_of(known_snapshot)):
            self._stored[key] = self._changed[key] = value
            self._index(key)

    def evaluate(self) -> Evaluated:
        """Judge what is due: windows that the watermark has passed and that are new or changed."""
        out = Evaluated()
        for name, state in self._models.items():
            model = self._registry.model(name)
            state.watermark = watermark(model, self._progress, self._partitions)
            self._learn(model, state, out)
            self._tell_panes(model, state, out.results)
            self._tell_windows(model, state, out.results)
            self._detect(model, state, out.results)
            self._forget(model, state, out)
        out.state |= self._changed
        self._changed = {}
        out.results = {name: results for name, results in out.results.items() if results != Results()}
        return out

    def _closed(self, state: _ModelState, end: int) -> bool:
        return end <= state.watermark.predictions or state.watermark.everything

    def _learn(self, model: Model, state: _ModelState, out: Evaluated) -> None:
        """Make a reference of the first closed windows of a version that has none."""
        window = model.windows[0]
        for series in [s for s in self._parts if s.model == model.model and not s.segment]:
            if self._registry.layout(series.model, series.version, 2**62) is not None:
                continue
            starts = sorted({start for pane in self._parts[series] for start in windows_of(window, pane)})
            starts = [s for s in starts if s + window.length_ms <= state.watermark.predictions][: model.learn_windows]
            if len(starts) < model.learn_windows:
                continue
            end = starts[-1] + window.length_ms
            panes = [PaneKey(*series, start) for start in sorted(self._parts[series]) if starts[0] <= start < end]
            whole = self._sum(panes, None)
            if whole.n >= model.policy.min_samples:
                reference = learn(model, series.version, whole, end)
                self._registry.add(reference, 0)
                self._merged = {key: kept for key, kept in self._merged.items() if key.model != model.model}
                out.learned.append(reference)

    def _tell_panes(self, model: Model, state: _ModelState, results: dict[str, Results]) -> None:
        closed = sorted(key for key in state.panes if self._closed(state, key.start + model.pane_ms))
        for key in closed:
            pane, revision = self._pane(key)
            if self._told_panes.get(key) != pane.n:
                self._told_panes[key] = pane.n
                results[model.model].feature_panes.extend(
                    feature_rows(key, model, self._registry.by_hash(pane.reference), pane, revision) if pane.n else ()
                )
            results[model.model].performance_panes.append(performance_row(key, model, pane, revision))
        state.panes.difference_update(closed)

    def _tell_windows(self, model: Model, state: _ModelState, results: dict[str, Results]) -> None:
        final = state.watermark.final(model)
        closed = {w for w in state.windows if self._closed(state, w[2] + w[1].length_ms)}
        due = closed | {w for w in state.unfinal if w[2] + w[1].length_ms <= final}
        for series, window, start in sorted(due, key=lambda w: (w[2] + w[1].length_ms, w[0], w[1].length_ms)):
            end = start + window.length_ms
            is_final = end <= final
            judged = self._judged(model, series, window, start, is_final, provisional=end > state.watermark.predictions)
            if not judged.pane.n:
                continue
            told = (judged.pane.n, judged.layout, is_final, judged.provisional)
            if self._told_windows.get(judged.key) != told:  # labels alone do not change the features
                self._told_windows[judged.key] = told
                self._tell_reference(judged.layout, results[model.model])
                results[model.model].drift_results.extend(drift(judged))
                results[model.model].quality_results.extend(quality(judged))
            results[model.model].performance_results.extend(performance(judged))
            if is_final:
                self._told_windows.pop(judged.key, None)
        state.unfinal = {w for w in state.unfinal | due if w[2] + w[1].length_ms > final}
        state.windows -= {w for w in closed if w[2] + w[1].length_ms <= state.watermark.predictions}

    def _judged(self, model: Model, series: Series, window: Window, start: int, is_final: bool, provisional: bool) -> Judged:
        layout = self._registry.layout(series.model, series.version, start)
        have = self._parts[series]
        keys = [PaneKey(*series, pane) for pane in panes_of(window, start, model.pane_ms) if pane in have]
        revision = sum(self._pane(key)[1] for key in keys)
        key = WindowKey(*series, start, start + window.length_ms)
        return Judged(key, model, layout, self._sum(keys, layout), revision, is_final, provisional)

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
        for version, changed_from in list(state.changed_losses.items()):
            detection = self._detections.setdefault((model.model, version), self._new_detection(model.model))
            panes = [(s, p) for s, p in self._losses(model, version) if s + model.pane_ms <= until]
            read = detection.read(panes, changed_from)
            state.signals.update((version, step.start // window.length_ms * window.length_ms) for step in read)
            unread = [s for s in self._parts[Series(model.model, version, "")] if s + model.pane_ms > until]
            if unread:
                state.changed_losses[version] = min(unread)
            else:
                del state.changed_losses[version]
        closed = {w for w in state.signals if w[1] + window.length_ms <= until}
        final = state.watermark.final(model) - model.horizon_ms - window.length_ms  # a correction lies up to a horizon after its label
        due = closed | {w for w in state.unfinal_signals if w[1] <= final}
        for version, start in sorted(due):
            row = self._signal_row(model, version, start, start + window.length_ms, is_final=start <= final)
            if row:
                results[model.model].drift_results.append(row)
        state.unfinal_signals = {w for w in state.unfinal_signals | due if w[1] > final}
        state.signals -= closed

    def _losses(self, model: Model, version: str) -> Iterator[tuple[int, Losses]]:
        series = Series(model.model, version, "")
        for start in sorted(self._parts[series]):
            losses = self._pane(PaneKey(*series, start))[0].answers.losses
            if losses.n:
                yield start, losses

    def _signal_row(self, model: Model, version: str, start: int, end: int, is_final: bool) -> DriftResult | None:
        """A detector's alarms in one window of label time. A fall of the loss is no alarm."""
        detection = self._detections[model.model, version]
        steps = [step for step in detection.steps if start <= step.start < end]
        n = sum(step.losses.n for step in steps)
        if not n:
            return None
        risen: list[Step] = [step for step in steps if step.signal and step.signal.direction == "up"]
        signal = risen[0].signal if risen else None
        layout = self._registry.layout(model.model, version, start)
        keys = [PaneKey(model.model, version, "", step.start) for step in steps]
        return DriftResult(
            model=model.model, version=version, segment="", window_start=start, window_end=end, feature=ERROR, test="adwin",
            value=signal.mean_after if signal else to_float(sum(step.losses.total for step in steps)) / n, p_value=None, null_quantile=None,
            effect=signal.mean_after - signal.mean_before if signal else None, threshold=None,
            n_reference=signal.n_before if signal else 0, n=n, verdict="drift" if signal else "ok",
            reason=f"the loss rose from {signal.mean_before:.4g} to {signal.mean_after:.4g} about {signal.n_after} labels before the alarm"
            if signal else "",
            reference=layout.hash if layout else "", policy=policy_hash(model), is_final=is_final, coverage=1.0,
            revision=sum(self._pane(key)[1] for key in keys),
        )  # fmt: skip

    def _forget(self, model: Model, state: _ModelState, out: Evaluated) -> None:
        """Drop panes of which every window is final and told, oldest first; the detectors' bases move past them."""
        longest = max(window.length_ms for window in model.windows)
        before = (state.watermark.final(model) - model.horizon_ms - longest - model.pane_ms) // model.pane_ms * model.pane_ms
        for series in [s for s in self._parts if s.model == model.model]:
            old = sorted(start for start in self._parts[series] if start < before)
            for start in old:
                key = PaneKey(*series, start)
                for record_key in self._parts[series].pop(start).values():
                    self._stored.pop(record_key, None)
                    self._changed.pop(record_key, None)
                    out.removed.append(record_key)
                self._merged.pop(key, None)
                self._told_panes.pop(key, None)
            if old and not series.segment:
                detection = self._detections.setdefault((model.model, series.version), self._new_detection(model.model))
                detection.settle(before)
                out.state[_detector_key(model.model, series.version)] = detection.to_bytes()

    def _detector(self, model: str) -> Adwin:
        return Adwin(delta=self._registry.model(model).policy.adwin_delta)

    def _new_detection(self, model: str) -> Detection:
        detector = self._detector(model)
        return Detection(detector, detector.start())

    def _pane(self, key: PaneKey) -> tuple[Pane, int]:
        """A pane merged over its source partitions, in the terms of the reference in force, and its revision."""
        kept = self._merged.get(key)
        if kept is None:
            # In the order of partitions, not of arrival: sums of floats must come out alike after a crash.
            snapshots = [self._stored[k] for _, k in sorted(self._parts[Series(*key[:3])][key.start].items())]
            decoded = [decode_pane(snapshot) for snapshot in snapshots]
            layout = self._registry.layout(key.model, key.version, key.start)
            pane = _sum((pane for pane, _ in decoded), layout)
            kept = self._merged[key] = (pane, sum(sum(fence) for _, fence in decoded))
            if len(self._merged) > MERGED:
                del self._merged[next(iter(self._merged))]
        return kept

    def _sum(self, keys: Iterable[PaneKey], layout: Layout | None) -> Pane:
        return _sum((self._pane(key)[0] for key in keys), layout)


def _sum(panes: Iterable[Pane], layout: Layout | None) -> Pane:
    """The sum of panes in the terms of `layout`. Of a pane of another reference the features do not count, its labels do."""
    total = empty_pane(layout)
    for pane in panes:
        if pane.reference == total.reference:
            total.add(pane)
        elif layout and not pane.reference:
            total.add(rebin(pane, layout))
        else:
            total.add(_labels_only(pane, layout))
    return total


def _labels_only(pane: Pane, layout: Layout | None) -> Pane:
    out = empty_pane(layout)
    out.n, out.answers = pane.n, pane.answers
    return out


def _detector_key(model: str, version: str) -> bytes:
    return b"detector/" + msgspec.json.encode([model, version])


def _detector_names(key: bytes) -> tuple[str, str]:
    model, version = msgspec.json.decode(key.removeprefix(b"detector/"), type=tuple[str, str])
    return model, version
