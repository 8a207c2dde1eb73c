"""From what compiled code made of a chunk to batches: the checks of `intake`, in columns.

A record that fails one is left to the strict decoder, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from driftline.schemas.config import Model
from driftline.streams import chances, derived
from driftline.streams.answers import SCORE_BINS, latency_bins
from driftline.streams.batch import Codes, Outcomes, Predictions, Topic
from driftline.streams.columns import parts
from driftline.streams.join import Bool, Float64, Int64, OutcomeRows, PredictionRows
from driftline.streams.registry import Incomplete, Registry
from driftline.streams.segments import Cells
from driftline.streams.values import ParsedValues

if TYPE_CHECKING:
    from driftline.streams.kernels.reader import Columns

NUMBER, ABSENT = -1, -3  # see kernels.texts
SEGMENT, ANSWER = -2, -5
RETRACTION = 3  # place among the kinds


class Columnar:
    """What compiled code understood of a chunk, model by model. `good` has the records whose events can be used; the others say nothing."""

    def __init__(self, columns: Columns, topic: Topic, registry: Registry) -> None:
        self._columns, self._registry, self._outcomes = columns, registry, topic == "outcomes"
        self.good: Bool = columns.parsed.ok.astype(bool)
        self._by_model = dict(self._fit())

    def predictions(self) -> Iterator[Predictions]:
        """The predictions of each model."""
        for model, (rows, classes, names) in self._by_model.items():
            yield self._predictions(self._registry.model(model), rows, classes, names)

    def outcomes(self) -> Iterator[Outcomes]:
        """The outcomes of each model."""
        p, offset = self._columns.parsed, self._columns.chunk.offset
        for model, (rows, labels, names) in self._by_model.items():
            label = np.where(p.enum[rows] == RETRACTION, np.nan, labels)
            yield Outcomes(model, rows, OutcomeRows(offset[rows], p.ts[rows], p.id_hash[rows], label), names)

    def unknown(self) -> dict[int, str]:
        """By the number of a usable event, its first field that is not known."""
        rows = np.flatnonzero(self.good & (self._columns.parsed.unknown != 0))
        return {row: self._columns.unknown(row) for row in rows.tolist()}

    def _fit(self) -> Iterator[tuple[str, tuple[Int64, Float64, list[str]]]]:
        """By model: its records that can be used, their answers as a column holds them, and the names of the classes."""
        p, texts = self._columns.parsed, self._columns.texts
        rows = np.flatnonzero(self.good)
        places, codes = texts.distinct(p.model[rows])
        for code, part in zip(codes, parts(places, len(codes)), strict=True):
            own = rows[part]
            name = texts.text(code)
            model = self._registry.model(name)
            fits = self._in_time(model, own)
            answers, names = self._answers(model, own, fits)
            self.good[own[~fits]] = False
            if fits.any():
                yield name, (own[fits], answers[fits], names)

    def _in_time(self, model: Model, rows: Int64) -> Bool:
        """Which records name a model that is known, and are not of the future. Rankings, whose answers are lists, are none of ours,
        nor are predictions of which the probability of every class counts."""
        timestamp = self._columns.chunk.timestamp[rows]
        try:
            known = self._registry.knows(model.model, int(timestamp.min())) and (model.labels or not self._outcomes)
            strictly = not self._outcomes and (chances.kept(model) or bool(derived.sources(model.features)))
            known = known and model.task != "ranking" and not strictly
        except Incomplete:
            known = False
        present: Bool = self._columns.parsed.ts[rows] <= timestamp + model.skew_ms
        return present if known else np.zeros(len(rows), bool)

    def _answers(self, model: Model, rows: Int64, fits: Bool) -> tuple[Float64, list[str]]:
        """Predictions or labels, class codes or numbers, NaN where there is none; clears `fits` of those that are none of the model's."""
        p, texts = self._columns.parsed, self._columns.texts
        codes, numbers = p.answer_code[rows], p.answer[rows]
        if model.task == "regression":
            fits &= (codes == NUMBER) | (codes == ABSENT)
            return numbers, []
        told = codes != ABSENT
        if model.task == "binary" and not model.classes:
            fits &= (codes != NUMBER) | (numbers == np.floor(numbers))
        texts.name_numbers(codes, numbers, ANSWER)
        fits &= told <= (codes >= 0)
        use = fits & told
        places, distinct = texts.distinct(codes[use])
        classes, names = Codes(), [texts.text(code) for code in distinct]
        if model.classes:
            known = np.array([name in model.classes for name in names], bool)
            fits[use] = known[places]
        answers = np.full(len(rows), np.nan)
        answers[use] = classes.of(names).astype(np.float64)[places]
        return answers, classes.names

    def _predictions(self, model: Model, rows: Int64, answers: Float64, classes: list[str]) -> Predictions:
        columns = self._columns
        p = columns.parsed
        version, versions = columns.texts.distinct(p.version[rows])
        segment, segments = self._segments(model, rows)
        score = self._scores(model, rows, answers, classes)
        told = ~np.isnan(score)
        bins = np.full(len(rows), -1)
        bins[told] = np.minimum((score[told] * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        chosen = PredictionRows(
            offset=columns.chunk.offset[rows], ts=p.ts[rows], id_hash=p.id_hash[rows], version=version, predicted=answers, bin=bins,
            segments=segment, fingerprint=p.fingerprint[rows],
        )  # fmt: skip
        names = [columns.texts.text(code) for code in versions]
        values = ParsedValues(columns, rows)
        return Predictions(model.model, rows, chosen, names, classes, segments, latency_bins(p.latency[rows]), p.failed[rows], values)

    def _segments(self, model: Model, rows: Int64) -> tuple[Int64, list[tuple[str, ...]]]:
        """A code for the declared segments of each row, and what they are."""
        p, texts = self._columns.parsed, self._columns.texts
        key = np.zeros(len(rows), np.int64)
        if not model.segments:
            return key, [()]
        row, at = _flat(p.first_segment, rows)
        cells = Cells(model)
        groups = np.full((len(rows), len(cells.names)), -1)
        for column, name in enumerate(cells.names):
            mine = p.segment[at] == texts.code(name.encode(), SEGMENT)
            groups[row[mine], column] = p.group[at[mine]]
            key = np.unique(key * (len(texts.arrays["end"]) + 1) + groups[:, column] + 1, return_inverse=True)[1]
        examples = np.zeros(int(key.max()) + 1, np.int64)
        examples[key] = np.arange(len(rows))
        codes = Codes()
        told = (zip(cells.names, groups[example].tolist(), strict=True) for example in examples.tolist())
        place = codes.of(cells.of({name: texts.text(group) for name, group in each if group >= 0}) for each in told)
        return place[key], codes.names

    def _scores(self, model: Model, rows: Int64, answers: Float64, classes: list[str]) -> Float64:
        """How probable the model says the positive class is, or, of several classes, the one it predicts; NaN where it does not say."""
        p, texts = self._columns.parsed, self._columns.texts
        score: Float64 = p.score[rows]
        row, at = _flat(p.first_class, rows)
        if not len(row):
            return score
        if model.task == "multiclass":
            wanted = np.array([texts.code(name.encode(), ANSWER) for name in classes])[answers[row].astype(np.int64)]
        else:
            wanted = np.full(len(row), texts.code(model.positive.encode(), ANSWER))
        mine = p.label[at] == wanted
        score = score.copy()
        score[row[mine]] = np.minimum(p.share[at[mine]], 1.0)
        return score


def _flat(first: Any, rows: Int64) -> tuple[Int64, Int64]:
    """For each of the values of some records, the place of its record in `rows`, and its own place."""
    if not first[-1]:
        return rows[:0], rows[:0]
    counts = first[rows + 1] - first[rows]
    row = np.repeat(np.arange(len(rows)), counts)
    return row, np.arange(len(row)) + np.repeat(first[rows] - (np.cumsum(counts) - counts), counts)
