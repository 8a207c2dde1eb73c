"""A chunk's events as columns, by compiled code, where all of their bytes are understood."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from driftline.streams.forms import Form
from driftline.streams.kernels.apart import apart
from driftline.streams.kernels.batches import Gathered, Prints, read_batches
from driftline.streams.kernels.chains import heads_of, lowest_offsets, old_outcomes, past_of, renumber
from driftline.streams.kernels.columnwise import Columnwise
from driftline.streams.kernels.entering import late_rows, outcomes_entered, predictions_entered
from driftline.streams.kernels.fold import AllTerms
from driftline.streams.kernels.grammar import Parsed, grammar
from driftline.streams.kernels.ids import hash_stretches, hashes_of_own, partitions_of
from driftline.streams.kernels.lookup import (
    add_column,
    find_slots,
    known_small,
    place,
    places_of,
    recoded_small,
    score_bins,
    small_numbers,
    spans_of,
)
from driftline.streams.kernels.machine import address
from driftline.streams.kernels.packs import packed
from driftline.streams.kernels.parse import parse
from driftline.streams.kernels.records import index_batch
from driftline.streams.kernels.rooms import Rooms, Tables
from driftline.streams.kernels.table import all_differ, append_rows, keep_rows, labels_of, take_rows
from driftline.streams.kernels.tally import answers_tallied, tally
from driftline.streams.kernels.texts import LIST, NUMBER, PREDICTED, SCORED, Texts
from driftline.streams.kernels.words import words_of
from driftline.streams.layout import PREDICTION, SCORE, Layout
from driftline.streams.panes import Pane
from driftline.streams.transport.chunk import Chunk

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """What was understood of a chunk: row r of `parsed` is record r where `parsed.ok`. Its codes are those of `texts`."""

    chunk: Chunk
    parsed: Parsed
    texts: Texts
    terms: AllTerms

    def fold(self, pane: Pane, layout: Layout, rows: Int64, wanted: Collection[str]) -> None:
        """Add predictions to a pane of this layout; of features that it does not know those `wanted` are counted, or all."""
        self.terms.of(layout).fold(pane, self.parsed, rows, wanted)

    def standardised(self, layout: Layout, features: Int64, rows: Int64) -> NDArray[np.float64]:
        """Numeric features of predictions in the reference's standard deviations, shape (n, k), 0 where one is absent."""
        return self.terms.of(layout).standardised(self.parsed, features, rows)

    def by_feature(self, rows: Int64, wanted: Collection[str]) -> dict[str, Sequence[Any]]:
        """The values of predictions as `Pane.add_raw` takes them; of the features that are wanted, or of all."""
        p, texts = self.parsed, self.texts
        counts = p.first[rows + 1] - p.first[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(len(row)) + np.repeat(p.first[rows] - (np.cumsum(counts) - counts), counts)
        names, own = p.name[at], {PREDICTED: PREDICTION, SCORED: SCORE}
        columns = {name: np.full(len(rows), None, object) for name in wanted if name not in own.values()}
        for code in dict.fromkeys(names.tolist()):
            name = own.get(code) or texts.text(code)
            if code not in own and (name in own.values() or (wanted and name not in wanted)):
                continue
            mine = names == code
            column = columns.setdefault(name, np.full(len(rows), None, object))
            column[row[mine]] = self._values(at[mine])
        return {name: column.tolist() for name, column in columns.items()}

    def _values(self, at: Int64) -> NDArray[Any]:
        """Numbers and texts of values; [] for a list of numbers."""
        codes = self.parsed.code[at]
        values: NDArray[Any] = self.parsed.value[at].astype(object)
        for i in np.flatnonzero(codes != NUMBER).tolist():
            values[i] = [] if codes[i] == LIST else self.texts.text(int(codes[i]))
        return values

    def unknown(self, row: int) -> str:
        """The first field that is not known of a record that has one. Of its name, what stands before a backtick."""
        begin, end = int(self.parsed.unknown[row]), int(self.parsed.unknown_end[row])
        base = address(np.frombuffer(self.chunk.data, np.uint8))
        return bytes(self.chunk.data[begin - base : end - base]).decode().split("`")[0]


class Reader:
    """Reads chunks. What a text means is remembered from one to the next."""

    def __init__(self) -> None:
        self._renew()
        self._rooms, self._tables = Rooms(), Tables()
        self._grammars = {"predictions": grammar("predictions"), "outcomes": grammar("outcomes")}

    def read(self, chunk: Chunk, topic: Literal["predictions", "outcomes"]) -> Columns:
        """The columns of a chunk."""
        if self._texts.full:
            self._renew()
        texts, n, data = self._texts, len(chunk), np.frombuffer(chunk.data or b"\0", np.uint8)
        parsed = self._rooms.take(n, len(data))
        columns = (chunk.key_start, chunk.key_end, chunk.value_start, chunk.value_end)
        key_start, key_end, start, end = [np.ascontiguousarray(column) for column in columns]
        parse(
            texts.table, self._grammars[topic], n, address(data), len(data), address(key_start), address(key_end), address(start),
            address(end), parsed.addresses(), texts.stamp,
        )  # fmt: skip
        texts.stamp += n
        return Columns(chunk, parsed, texts, self._terms)

    def read_batches(self, form: Form, data: Any, starts: Int64, ends: Int64, most: int, prints: Prints) -> Gathered | None:
        """See `batches.read_batches`."""
        return read_batches(self._tables, form, data, starts, ends, most, prints)

    take_rows = staticmethod(take_rows)
    labels_of = staticmethod(labels_of)
    late_rows = staticmethod(late_rows)
    predictions_entered = staticmethod(predictions_entered)
    outcomes_entered = staticmethod(outcomes_entered)
    append_rows = staticmethod(append_rows)
    keep_rows = staticmethod(keep_rows)
    heads_of = staticmethod(heads_of)
    past_of = staticmethod(past_of)
    old_outcomes = staticmethod(old_outcomes)
    lowest_offsets = staticmethod(lowest_offsets)
    renumber = staticmethod(renumber)
    all_differ = staticmethod(all_differ)
    find_slots = staticmethod(find_slots)
    place = staticmethod(place)
    hash_stretches = staticmethod(hash_stretches)
    hashes_of_own = staticmethod(hashes_of_own)
    partitions_of = staticmethod(partitions_of)
    known_small = staticmethod(known_small)
    recoded_small = staticmethod(recoded_small)
    small_numbers = staticmethod(small_numbers)
    score_bins = staticmethod(score_bins)
    spans_of = staticmethod(spans_of)
    places_of = staticmethod(places_of)
    add_column = staticmethod(add_column)
    words_of = staticmethod(words_of)
    tally = staticmethod(tally)
    answers_tallied = staticmethod(answers_tallied)
    packed = staticmethod(packed)
    apart = staticmethod(apart)
    index_batch = staticmethod(index_batch)  # may be called from any thread
    sheet = Columnwise

    def _renew(self) -> None:
        self._texts = Texts()
        self._terms = AllTerms(self._texts)
