"""One window that is to be judged, and its panes as rows for the store. Pure.

What its features say is in `drift` and `quality`, what its answers and labels say in `appraisal`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from driftline.schemas.config import Model, policy_hash
from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.schemas.results import Columns, FeaturePane, PerformancePane
from driftline.streams.layout import Bool, Int64, KeptByLayout, Layout, some_of
from driftline.streams.packing import Column, counts, floats, texts, wholes
from driftline.streams.panes import Pane, PaneKey

PROVISIONAL = "provisional: the window is still open, and nothing came for a while"


class WindowKey(NamedTuple):
    """A window of one model version and segment; `start` and `end` are event time in milliseconds."""

    model: str
    version: str
    segment: str
    start: int
    end: int


@dataclass(frozen=True)
class Judged:
    """What a window's rows are computed from, and what they all carry, computed once: a window has hundreds of rows."""

    key: WindowKey
    model: Model
    layout: Layout | None
    pane: Pane  # the sum of the window's panes
    revision: int
    is_final: bool
    panes: tuple[Pane, ...] = ()  # where they are known one by one, in order of time
    provisional: bool = False  # judged because nothing comes any more, not because the watermark passed: no verdict yet
    timed_out: bool = False  # no label will come any more: what has none counts as the model's `missing_label`
    maturities: tuple[float, ...] = ()  # of each of `panes`: the share of the labels that will ever come that is expected by now
    groups: Mapping[str, Pane] = field(default_factory=dict)  # by segment, where several are looked at together
    newest: int | None = None  # end of the last pane with rows
    usual: float | None = None  # rows that earlier windows had

    @cached_property
    def excluded(self) -> str:
        """Why nobody should judge this time, or ""."""
        return next((each.why for each in self.model.exclude if each.touches(self.key.start, self.key.end)), "")

    @cached_property
    def unjudged(self) -> str:
        """Why no verdict is to be made of any figure, or ""."""
        return PROVISIONAL if self.provisional else f"excluded: {self.excluded}" if self.excluded else ""

    @cached_property
    def coverage(self) -> float:
        return self.pane.answers.n_labelled / self.pane.n if self.pane.n else 0.0

    @cached_property
    def maturity(self) -> float | None:
        """Share of the labels that will ever come that is expected by now; None where the delays are not known."""
        if self.timed_out:
            return 1.0
        rows = [pane.n for pane in self.panes]
        if not self.maturities or not sum(rows):
            return None
        there = min(self.pane.answers.n_labelled / self.pane.n, 1.0)  # of all rows, so at least of those that get a label
        if len(rows) == 1:  # NumPy asks more about one number than it is worth
            return max(self.maturities[0] * rows[0] / rows[0], there)
        return max(float(np.average(self.maturities, weights=rows)), there)

    @cached_property
    def by(self) -> tuple[str, str, bool]:
        """By what every row is judged: `reference`, `policy`, `is_final`, which stand side by side in each table, as `key`'s fields do.

        Rows that come by the hundred are made of these in the order of their columns: by name each would take four times as long.
        """
        return self.layout.hash if self.layout else "", policy_hash(self.model), self.is_final

    @cached_property
    def common(self) -> dict[str, Any]:
        """The same by name."""
        names = ("model", "version", "segment", "window_start", "window_end", "reference", "policy", "is_final", "revision")
        return dict(zip(names, (*self.key, *self.by, self.revision), strict=True))


def feature_rows(key: PaneKey, model: Model, layout: Layout | None, pane: Pane, revision: int) -> Sequence[FeaturePane]:
    """One pane's features as rows, which are columns where there is a reference."""
    [rows] = feature_rows_each(model, [(key, layout, pane, revision)])
    return rows


def feature_rows_each(model: Model, panes: Sequence[tuple[PaneKey, Layout | None, Pane, int]]) -> list[Sequence[FeaturePane]]:
    """The same of some panes, each with its reference and its revision; those of one reference side by side."""
    rows: list[Sequence[FeaturePane]] = [[] for _ in panes]
    of: defaultdict[Layout, list[int]] = defaultdict(list)
    for i, (key, layout, pane, revision) in enumerate(panes):
        if layout is None:
            rows[i] = _sketched(key, model, pane, revision)
        else:
            of[layout].append(i)
    for layout, mine in of.items():
        for some in some_of(mine, layout):
            for i, told in zip(some, _counted(model, layout, [panes[i] for i in some]), strict=True):
                rows[i] = told
    return rows


def _sketched(key: PaneKey, model: Model, pane: Pane, revision: int) -> list[FeaturePane]:
    common: dict[str, Any] = {
        "model": key.model, "version": key.version, "segment": key.segment, "pane_start": key.start, "pane_ms": model.pane_ms,
        "n": pane.n, "reference": pane.reference, "revision": revision,
    }  # fmt: skip
    return [
        FeaturePane(
            feature=name, kind="numeric" if s.numeric_rows > s.text_rows else "categorical", missing=s.missing,
            type_errors=s.type_errors, minimum=_number(s.minimum), maximum=_number(s.maximum), bins=[], categories=s.texts,
            mean=mean, variance=variance, **common,
        )
        for name, s in sorted(pane.sketches.items())
        for mean, variance in [_moments(s.numeric_rows, s.total, s.squares)]
    ]  # fmt: skip


def _counted(model: Model, layout: Layout, panes: Sequence[tuple[PaneKey, Layout | None, Pane, int]]) -> Iterator[Columns[FeaturePane]]:
    """Of panes of one reference; figures have the shape (panes, features)."""
    shape, every = _shape(layout), np.stack([pane.counts for _, _, pane, _ in panes])
    missing, errors = every[:, shape.ends], every[:, shape.ends + 1]
    n = (np.add.reduceat(every, layout.starts, axis=1) if layout.names else missing) - missing - errors
    low, high = np.stack([pane.extremes for _, _, pane, _ in panes]).transpose(2, 0, 1)
    with np.errstate(all="ignore"):  # as `_moments`
        mean, square = (np.stack([pane.sums for _, _, pane, _ in panes]) / n[..., None]).transpose(2, 0, 1)
        spread = square - mean * mean
        variance = layout.scale * layout.scale * np.where(spread < 0.0, 0.0, spread)
        figures = np.stack([layout.centre + layout.scale * mean, variance, low, high], 1)
    known = np.isfinite(figures) & shape.numeric
    known[:, :2] &= (n > 0)[:, None]
    figures, bins, nothing = np.where(known, figures, np.nan), every[:, shape.inside], dict[str, int]()
    for p, (key, _, pane, revision) in enumerate(panes):
        named = [nothing] * len(layout.names)
        for f, start, end, categories in shape.categories:
            counted = zip(categories, pane.counts[start:end].tolist(), strict=False)
            named[f] = {text: c for text, c in counted if c} | pane.novel.get(layout.names[f], {})
        about = ([each] for each in (key.model, key.version, key.segment, key.start, model.pane_ms))
        yield Columns(FeaturePane, len(layout.names), (
            *about, shape.names, shape.kinds, [pane.n], wholes(missing[p]), wholes(errors[p]), *map(floats, figures[p]),
            counts(bins[p], layout.bins), named, [pane.reference], [revision],
        ))  # fmt: skip


class _Shape(NamedTuple):
    """What of the rows of a layout's features is the same in every pane."""

    names: Column
    kinds: Column
    numeric: Bool
    ends: Int64  # of the bins in a vector of counts
    inside: Int64  # the places of all bins in it
    categories: list[tuple[int, int, int, list[str]]]  # by the number of the feature: where its bins are, and what they count


@KeptByLayout
def _shape(layout: Layout) -> _Shape:
    numeric, ends = [isinstance(profile, NumericProfile) for profile in layout.profiles], layout.starts + layout.bins
    spans = [*zip(layout.starts.tolist(), ends.tolist(), strict=True)]
    return _Shape(
        texts(layout.names),
        texts(["numeric" if each else "categorical" for each in numeric]),
        np.array(numeric, bool),
        ends,
        np.array([place for span in spans for place in range(*span)], np.int64),
        [(f, *spans[f], profile.categories) for f, profile in enumerate(layout.profiles) if isinstance(profile, CategoricalProfile)],
    )


def _moments(n: int, total: float, squares: float, centre: float = 0.0, scale: float = 1.0) -> tuple[float | None, float | None]:
    """Mean and population variance from the sums of (x − centre) / scale and of its square; None beyond what a float holds.

    >>> _moments(2, 2e200, float("inf"))
    (1e+200, None)
    """
    if not n:
        return None, None
    mean = total / n
    return _number(centre + scale * mean), _number(scale * scale * max(squares / n - mean * mean, 0.0))


def performance_row(key: PaneKey, model: Model, pane: Pane, revision: int) -> PerformancePane:
    """One pane's predictions and labels as a row."""
    [row] = performance_rows(model, [(key, pane, revision)])
    return row


def performance_rows(model: Model, panes: Sequence[tuple[PaneKey, Pane, int]]) -> Columns[PerformancePane]:
    """The predictions and labels of some panes as rows, with the revision of each."""
    told = [
        (
            key.model, key.version, key.segment, key.start, model.pane_ms, pane.n, answers.n_labelled, answers.confusion,
            *answers.scores, answers.sum_of("error"), answers.sum_of("absolute"), answers.sum_of("squares"), answers.delays,
            pane.reference, revision, answers.predicted, answers.latencies, answers.failures, answers.sum_of("label"),
            answers.sum_of("label_squares"),
        )
        for key, pane, revision in panes
        for answers in [pane.answers]
    ]  # fmt: skip
    columns = ([*column] for column in zip(*told, strict=True))
    return Columns(PerformancePane, len(told), tuple(
        counts(np.concatenate(column), np.array([each.size for each in column])) if isinstance(column[0], np.ndarray) else column
        for column in columns
    ))  # fmt: skip


def _number(value: float | None) -> float | None:
    """None where there is no finite number: a store has no use for NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
