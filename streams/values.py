"""The values of a batch's predictions, on their way into panes: as events, or as compiled code has parsed them. Either way the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from driftline.schemas.config import FeatureType, Model
from driftline.schemas.events import Prediction
from driftline.schemas.reference import NumericProfile
from driftline.streams import derived, kernels
from driftline.streams.join import Int64
from driftline.streams.joint import Plan
from driftline.streams.layout import PREDICTION, SCORE, Coded, Encoded, Layout, coded, is_added
from driftline.streams.panes import Pane

if TYPE_CHECKING:
    from driftline.streams.kernels.reader import Columns


class Values(Protocol):
    """Features, prediction and score of predictions of one model."""

    def take(self, rows: Int64) -> Values:
        """Those of these rows, ascending, which are then numbered from 0."""

    def fold(self, pane: Pane, layout: Layout | None, rows: Int64, model: Model) -> None:
        """Add rows to a pane, by the reference it was begun with, or without one."""

    def joint_sums(self, layout: Layout, plan: Plan, rows: Int64) -> Int64:
        """What the plan of the layout's reference sums up of rows."""


@dataclass(frozen=True, slots=True)
class EventValues:
    """Values of decoded events."""

    events: Sequence[Prediction]
    _encoded: dict[str, Encoded] = field(default_factory=dict)  # by the hash of a layout
    _raw: list[dict[str, Sequence[Any]]] = field(default_factory=list)

    def take(self, rows: Int64) -> EventValues:
        """See `Values`."""
        return EventValues([self.events[i] for i in rows.tolist()])

    def fold(self, pane: Pane, layout: Layout | None, rows: Int64, model: Model) -> None:
        """See `Values`."""
        if layout is None:
            if not self._raw:
                self._raw.append(_columns(self.events, None, model))
            pane.add_raw(self._raw[0], rows, _types(model))
            return
        encoded = self._encoded.get(layout.hash)
        if encoded is None:
            encoded = self._encoded[layout.hash] = layout.encode(_columns(self.events, layout, model), len(self.events))
            encoded.novel.extend(_added(self.events, layout, model))
        pane.add_encoded(layout, encoded, rows)

    def joint_sums(self, layout: Layout, plan: Plan, rows: Int64) -> Int64:
        """See `Values`; rows that were folded before."""
        return plan.sums(self._encoded[layout.hash].z[np.ix_(rows, plan.features)])


@dataclass(frozen=True, slots=True)
class ParsedValues:
    """Values that compiled code has parsed; `rows` are their numbers in the columns of their chunk."""

    columns: Columns
    rows: Int64

    def take(self, rows: Int64) -> ParsedValues:
        """See `Values`."""
        return ParsedValues(self.columns, self.rows[rows])

    def fold(self, pane: Pane, layout: Layout | None, rows: Int64, model: Model) -> None:
        """See `Values`."""
        if layout is None:
            pane.add_raw(self.columns.by_feature(self.rows[rows], model.features), np.arange(len(rows)), _types(model))
        else:
            self.columns.fold(pane, layout, self.rows[rows], model.features)

    def joint_sums(self, layout: Layout, plan: Plan, rows: Int64) -> Int64:
        """See `Values`."""
        return plan.sums(self.columns.standardised(layout, plan.features, self.rows[rows]))


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """Values that came in columns: of float64 with NaN for what is absent, of `Coded` texts, or of any values. `rows` are those used, if
    not all; `said` are the predictions as categories, where these are known already."""

    features: Mapping[str, Any]
    prediction: Any
    score: Any
    rows: Int64 | None
    said: Coded | None = None
    #: By the hash of a layout, with the features that it does not know though it should.
    _sheets: dict[str, tuple[Sheet, list[str]]] = field(default_factory=dict)
    _raw: list[dict[str, Sequence[Any]]] = field(default_factory=list)

    def take(self, rows: Int64) -> ColumnValues:
        """See `Values`."""
        return ColumnValues(self.features, self.prediction, self.score, self._used(rows), self.said, self._sheets)

    def _used(self, rows: Int64) -> Int64:
        """The numbers in the columns of some of the rows that are used."""
        return rows if self.rows is None else self.rows[rows]

    def fold(self, pane: Pane, layout: Layout | None, rows: Int64, model: Model) -> None:
        """See `Values`."""
        if layout is None:
            if not self._raw:
                wanted, used = model.features or self.features, np.arange(len(self.prediction)) if self.rows is None else self.rows
                own = {name: _listed(column, used) for name, column in self._columns().items() if name in wanted or name in _OWN}
                self._raw.append(derived.derive({**{name: [None] * len(used) for name in model.features}, **own}, model.features, {}))
            pane.add_raw(self._raw[0], rows, _types(model))
            return
        if layout.hash not in self._sheets:
            strange = self.features.keys() - layout.known
            others = [name for name in self.features if name in strange and is_added(name, layout, model.features)]
            self._sheets[layout.hash] = self._sheet(layout, model), others
        sheet, others = self._sheets[layout.hash]
        mine = self._used(rows)
        sheet.fold(pane, mine)
        if others:
            met = ((name, _told(self.features[name], mine)) for name in others)
            pane.add_features((name, n) for name, n in met if n)

    def joint_sums(self, layout: Layout, plan: Plan, rows: Int64) -> Int64:
        """See `Values`. What is no column of numbers holds none."""
        sheet, _ = self._sheets[layout.hash]
        if isinstance(sheet, _Encoded):
            return plan.sums(sheet.encoded.z[np.ix_(self._used(rows), plan.features)])
        columns, z = self._columns(), np.zeros((len(rows), len(plan.names)))
        for i, (name, f) in enumerate(zip(plan.names, plan.features.tolist(), strict=True)):
            if isinstance(column := columns.get(name), np.ndarray):
                with np.errstate(over="ignore"):
                    z[:, i] = (column[self._used(rows)] - layout.centre[f]) / layout.scale[f]
        return plan.sums(np.nan_to_num(z, posinf=np.inf, neginf=-np.inf))

    def _sheet(self, layout: Layout, model: Model) -> Sheet:
        if derived.sources(model.features):
            return self._derived(layout, model)
        columns, reader = self._for(layout), kernels.current()
        return reader.sheet(layout, columns) if reader else _Encoded(layout, layout.encode(columns, len(self.prediction)))

    def _derived(self, layout: Layout, model: Model) -> _Encoded:
        """The columns of all rows as events would have them, with those that are derived from texts and vectors."""
        n = len(self.prediction)
        listed = {name: _listed(column, np.arange(n)) for name, column in self._columns().items()}
        return _Encoded(layout, layout.encode(derived.derive(listed, model.features, layout.reference.vocabularies), n))

    def _columns(self) -> dict[str, Any]:
        columns = {name: column for name, column in self.features.items() if name not in _OWN} | {PREDICTION: self.prediction}
        return columns if self.score is None else columns | {SCORE: self.score}

    def _for(self, layout: Layout) -> dict[str, Sequence[Any]]:
        """The columns of a layout, of all rows: numbers where it has numbers, `Coded` otherwise."""
        columns, out = self._columns(), dict[str, Sequence[Any]]()
        for name, profile in zip(layout.names, layout.profiles, strict=True):
            column = columns.get(name)
            if column is not None:
                as_it_is = isinstance(column, np.ndarray) and isinstance(profile, NumericProfile)
                out[name] = column if as_it_is else self.said if self.said and name == PREDICTION else coded(column)
        return out


class Sheet(Protocol):
    """Columns in the terms of a layout."""

    def fold(self, pane: Pane, rows: Int64) -> None:
        """Add these rows to a pane of the layout."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What compiled code does with columns, without it."""

    layout: Layout
    encoded: Encoded

    def fold(self, pane: Pane, rows: Int64) -> None:
        """See `Sheet`."""
        pane.add_encoded(self.layout, self.encoded, rows)


_OWN = (PREDICTION, SCORE)


def _added(events: Sequence[Prediction], layout: Layout, model: Model) -> Iterator[tuple[int, int, str]]:
    """Rows that have a feature which the reference does not know, as `Encoded.novel` lists them."""
    for row, event in enumerate(events):
        if not event.features.keys() <= layout.known:
            for name, value in event.features.items():
                if value is not None and is_added(name, layout, model.features):
                    yield row, -1, name


def _told(column: Any, rows: Int64) -> int:
    """How many of these rows of a column hold something."""
    if isinstance(column, Coded):
        return int((column.code[rows] >= 0).sum())
    if isinstance(column, np.ndarray):
        return int((~np.isnan(column[rows])).sum())
    return sum(column[i] is not None for i in rows.tolist())


def _listed(column: Any, rows: Int64) -> list[Any]:
    """Values as events have them."""
    if isinstance(column, Coded):
        texts = column.take(rows).list()
        return [None if text is None else text == "true" for text in texts] if column.bools else texts
    if isinstance(column, np.ndarray):
        return [None if value != value else value for value in column[rows].tolist()]  # noqa: PLR0124
    return [column[i] for i in rows.tolist()]


@dataclass(frozen=True, slots=True)
class MixedValues:
    """Values of several kinds: row r is row `at[r]` of `parts[part[r]]`."""

    parts: Sequence[Values]
    part: Int64
    at: Int64

    def take(self, rows: Int64) -> MixedValues:
        """See `Values`."""
        return MixedValues(self.parts, self.part[rows], self.at[rows])

    def fold(self, pane: Pane, layout: Layout | None, rows: Int64, model: Model) -> None:
        """See `Values`."""
        for number, values in enumerate(self.parts):
            own = self.at[rows[self.part[rows] == number]]
            if len(own):
                values.fold(pane, layout, own, model)

    def joint_sums(self, layout: Layout, plan: Plan, rows: Int64) -> Int64:
        """See `Values`."""
        total = np.zeros(plan.length, np.int64)
        for number, values in enumerate(self.parts):
            own = self.at[rows[self.part[rows] == number]]
            if len(own):
                total += values.joint_sums(layout, plan, own)
        return total


def _types(model: Model) -> dict[str, FeatureType]:
    """Types for learning: what is configured, and those of the model's own columns."""
    answer: FeatureType = "numeric" if model.task == "regression" else "categorical"
    return {**derived.expanded(model.features), PREDICTION: answer, SCORE: "numeric"}


def _columns(events: Sequence[Prediction], layout: Layout | None, model: Model) -> dict[str, Sequence[Any]]:
    """One column per feature: those of the reference, or without one all that the events have."""
    names = layout.names if layout else list(model.features or dict.fromkeys(name for event in events for name in event.features))
    raw = [name for name in names if name not in {PREDICTION, SCORE}]
    if of := derived.sources(model.features):
        made = {each for name, kind in of.items() for each in derived.names_of(name, kind)}
        raw = list(dict.fromkeys([*(name for name in raw if name not in made), *of]))
    columns: dict[str, Sequence[Any]] = _transposed([event.features for event in events], raw)
    if of:
        columns = derived.derive(columns, model.features, layout.reference.vocabularies if layout else {})
    columns[PREDICTION] = [event.top for event in events]
    if any(event.score is not None for event in events):
        columns[SCORE] = [event.score for event in events]
    return columns


def _transposed(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Sequence[Any]]:
    """Rows of named values as columns, None where a row lacks a name. Rows that lack none, the usual ones, need no look-up in Python."""
    if len(names) > 1:
        with contextlib.suppress(KeyError):
            return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
    return {name: [row.get(name) for row in rows] for name in names}
