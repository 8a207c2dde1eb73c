"""One model's part of a source partition: its join, and the codes its columns use. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from driftline.schemas.config import Model
from driftline.streams import chances
from driftline.streams.batch import Codes, Outcomes, Predictions
from driftline.streams.cold import OUTCOME, ColdRows, NamedRows
from driftline.streams.columns import Rows, constant, distinct, spans_of
from driftline.streams.join import NEVER, Float64, Floor, Int64, Join, OutcomeRows, PredictionRows
from driftline.streams.panes import Fence, PaneKey

FLOORS: Final = 8  # of the past, that are remembered
PANES: Final = 10_000  # whose keys are remembered, of all models
MORE_NAMES: Final = 10_000  # than are in use that are kept before they are looked through


class Shard:
    """One model's part of the partition: its join, and the codes its columns use."""

    def __init__(self, model: Model, floor: Floor, history: Sequence[tuple[Fence, Floor]]) -> None:
        self.model = model
        self.floor = floor if model.labels else _without_outcomes(floor)  # records below it are not needed any more
        self.history = [*history]  # from which positions on which floor held, earliest first
        self.join = Join(model.horizon_ms, model.disorder_ms + model.grace_ms, self.floor)
        self.versions, self.classes, self.segments = Codes(), Codes(), Codes()

    def remember_floor(self, positions: Fence) -> None:
        """The floor of now holds from `positions` on. Of many the first and the last stay; an earlier floor than needed does no harm."""
        if self.join.floor != self.history[-1][1]:
            self.history.append((positions, self.join.floor))
        if len(self.history) > FLOORS:
            del self.history[1:-1:2]

    def predictions(self, batch: Predictions) -> PredictionRows:
        """The rows of a batch in the codes of this shard."""
        rows = batch.rows
        version, segments = self.versions.recoded(rows.version, batch.versions), self.segments.recoded(rows.segments, batch.segments)
        return replace(rows, version=version, segments=segments, predicted=self._answers(rows.predicted, batch.classes))

    def outcomes(self, batch: Outcomes) -> OutcomeRows:
        """The rows of a batch in the codes of this shard."""
        return replace(batch.rows, label=self._answers(batch.rows.label, batch.classes))

    def _answers(self, codes: Float64, names: list[str]) -> Float64:
        """Class codes of a batch as those of the shard; numbers of a regression, and NaN, as they are."""
        if self.model.task == "regression" or not names:
            return codes
        own = self.classes.of(names)
        if np.array_equal(own, np.arange(len(own))):
            return codes
        told = ~np.isnan(codes)
        out = codes.copy()
        out[told] = own[codes[told].astype(np.int64)]
        return out

    def forget_names(self) -> None:
        """Rankings, and classes with their probabilities, are as many as the predictions, and cells may be; forget those that the join
        has forgotten. Classes alone are few and stay."""
        most = 2 * len(self.join) + MORE_NAMES
        if (self.model.task == "ranking" or chances.kept(self.model)) and len(self.classes) > most:
            self.classes.keep(np.unique(self.join.answers()).astype(np.int64).tolist())
        if len(self.segments) > most:
            self.segments.keep(np.unique(self.join.rows.all("segments")).tolist())

    def about(self, rows: Rows) -> list[Int64]:
        """Version and segments of predictions of the join, of which the first is asked where all have the same."""
        alike = len(self.versions) < 2 and len(self.segments) < 2
        columns = self.join.rows.take_all(("version", "segments"), rows[:1] if alike else rows)
        return [constant(int(column[0]), len(rows)) for column in columns] if alike and len(rows) else columns

    def panes(self, versions: Int64, ts: Int64, segments: Int64) -> tuple[Int64, list[tuple[PaneKey, ...]]]:
        """For each row a place in a list, and in this the panes it belongs to: the whole first, then one for each cell it is in."""
        minutes, place = spans_of(ts, self.model.pane_ms)
        if len(self.versions) < 2 and len(self.segments) < 2:
            same = [int(column[0]) if len(ts) else 0 for column in (versions, segments)]
            return place, [self._panes(minute, *same) for minute in minutes.tolist()]
        for column in (versions, segments):
            values, at = distinct(column)
            place = distinct(place * len(values) + at)[1]
        some = np.zeros(int(place.max(initial=-1)) + 1, np.int64)
        some[place] = np.arange(len(place))
        table = ((ts // self.model.pane_ms)[some], versions[some], segments[some])
        return place, [self._panes(*row) for row in zip(*(column.tolist() for column in table), strict=True)]

    def _panes(self, minute: int, version: int, segments: int) -> tuple[PaneKey, ...]:
        return _panes_of(self.model.model, self.versions.names[version], self.segments.names[segments], minute * self.model.pane_ms)

    def named(self, rows: ColdRows) -> NamedRows:
        """Rows of the join with the names behind their codes."""
        classes = None if self.model.task == "regression" else self.classes.names
        return NamedRows(self.model.model, rows, self.versions.names, self.segments.names, classes)

    def coded(self, named: NamedRows) -> ColdRows:
        """The inverse of `named`, whatever codes the rows come with."""
        rows, out = named.rows, named.rows.version == OUTCOME
        version, segments = np.full(len(rows), OUTCOME), np.zeros(len(rows), np.int64)
        version[~out] = self.versions.of(named.versions)[rows.version[~out]]
        segments[~out] = self.segments.of(named.segments)[rows.segments[~out]]
        return replace(rows, version=version, segments=segments, value=self._answers(rows.value, self._known(named.classes or ())))

    def _known(self, classes: Sequence[str]) -> list[str]:
        """Names of classes as the model's file wants them now; it may have asked for their probabilities once."""
        return [*classes] if chances.kept(self.model) else [chances.plain(name) for name in classes]


@lru_cache(PANES)
def _panes_of(model: str, version: str, cells: tuple[str, ...], start: int) -> tuple[PaneKey, ...]:
    """The same keys for each chunk, since what is the same object is looked up without a look at what is in it."""
    return (*[PaneKey(model, version, cell, start) for cell in ("", *cells)],)


def floor_for(fences: Sequence[Fence], history: Sequence[tuple[Fence, Floor]]) -> Floor:
    """The last floor that held at every one of these fences; the first of all, where none did."""
    held = [floor for since, floor in history if all(fence.covers(since) for fence in fences)]
    return held[-1] if held else history[0][1]


def _without_outcomes(floor: Floor) -> Floor:
    """The floor of a model that has no labels: all outcomes there could be are behind it."""
    return replace(floor, outcomes=-NEVER, outcomes_newest=-NEVER)
