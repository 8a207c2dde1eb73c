"""A pane: the smallest slice of event time that is kept, for one model version, segment and source partition.

Panes add up to windows, over time and over partitions; labels that change are taken out as exactly as they were put in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cramjam
import msgspec
import numpy as np

from driftline.schemas.config import FeatureType
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.streams.layout import SCORE, Encoded, Float64, Int64, Layout, category_text, numeric_column
from driftline.streams.sketch import Sketch, add_texts, bucket_start, sketch_of

CODEC = 1
SCORE_BINS = 256
DELAY_BINS = 32
NOVEL = 50  # unseen categories kept by name, per feature and pane
BETWEEN = "\x1f"  # parts predicted from actual class in a confusion key


class PaneKey(NamedTuple):
    """What a pane is about. `segment` is "" for the whole, else "name=value"; `start` is event time in milliseconds."""

    model: str
    version: str
    segment: str
    start: int


class Fence(NamedTuple):
    """Positions in the two source topics: a snapshot knows every record *below* them."""

    predictions: int = 0
    outcomes: int = 0

    def covers(self, other: Fence) -> bool:
        """Whether this fence knows all that `other` knows."""
        return self.predictions >= other.predictions and self.outcomes >= other.outcomes


class Losses(msgspec.Struct):
    """Losses by label time: 0/1 of a class, |prediction − label| of a number. What concept-drift detectors read."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, other: Losses) -> None:
        self.n += other.n
        self.total += other.total
        self.squares += other.squares


class LabelRows(NamedTuple):
    """Label effects in the terms of a pane; arrays of shape (n,). `delay_ms` is label time less prediction time."""

    sign: Int64
    predicted: Float64  # a class code, or a number
    label: Float64
    bin: Int64
    delay_ms: Int64

    def take(self, rows: Int64) -> LabelRows:
        """The rows of these numbers."""
        return LabelRows(self.sign[rows], self.predicted[rows], self.label[rows], self.bin[rows], self.delay_ms[rows])


@dataclass(slots=True)
class Pane:
    """Counts of one slice. With a reference: `counts`, `sums`, `extremes`, `novel`; without one: `sketches`.

    `sums` has shape (features, 2): sums of z and z²; `extremes` the smallest and largest value. `scores` has shape (2, 256):
    labelled rows by score, of the negative and of the positive class. `errors` are Σe, Σ|e|, Σe².
    """

    reference: str
    counts: Int64
    sums: Float64
    extremes: Float64
    n: int = 0
    novel: dict[str, dict[str, int]] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    n_labelled: int = 0
    confusion: dict[str, int] = field(default_factory=dict)
    scores: Int64 = field(default_factory=lambda: np.zeros((2, SCORE_BINS), np.int64))
    errors: Float64 = field(default_factory=lambda: np.zeros(3))
    delays: Int64 = field(default_factory=lambda: np.zeros(DELAY_BINS, np.int64))
    losses: Losses = field(default_factory=Losses)

    def add_encoded(self, layout: Layout, encoded: Encoded, rows: Int64) -> None:
        """Fold rows of predictions in, by the reference this pane was begun with."""
        self.n += len(rows)
        self.counts += np.bincount(encoded.flat[rows].ravel(), minlength=layout.length)
        with np.errstate(over="ignore", invalid="ignore"):
            z, x = encoded.z[rows], encoded.x[rows]
            self.sums[:, 0] += z.sum(0)
            self.sums[:, 1] += np.square(z).sum(0)
        self.extremes[:, 0] = np.fmin(self.extremes[:, 0], np.fmin.reduce(x, 0))
        self.extremes[:, 1] = np.fmax(self.extremes[:, 1], np.fmax.reduce(x, 0))
        if encoded.novel:
            here = set(rows.tolist())
            for row, f, text in encoded.novel:
                if row in here:
                    add_texts(self.novel.setdefault(layout.names[f], {}), [(text, 1)], NOVEL)

    def add_raw(self, columns: Mapping[str, Sequence[Any]], rows: Int64, types: Mapping[str, FeatureType]) -> None:
        """Fold rows of predictions in without a reference."""
        chosen = rows.tolist()
        for name, values in columns.items():
            part = [values[i] for i in chosen]
            sketch = _sketch_column(part, types.get(name))
            mine = self.sketches.get(name)
            if mine is None:
                if (name not in types or name == SCORE) and all(value is None for value in part):
                    continue  # it came with another pane's rows: what a pane holds must not depend on who travelled with it
                # Rows seen before this feature first came did not have it.
                mine = self.sketches[name] = Sketch(missing=self.n)
            mine.add(sketch)
        for name, mine in self.sketches.items():
            if name not in columns:
                mine.missing += len(chosen)
        self.n += len(chosen)

    def add_labels(self, rows: LabelRows, classes: Sequence[str] | None, positive: str) -> None:
        """Fold label effects in. `classes` names the class codes; None for a regression."""
        self.n_labelled += int(rows.sign.sum())
        exponent = np.log2(np.maximum(rows.delay_ms, 0) / 1000 + 1).astype(np.int64)
        np.add.at(self.delays, np.minimum(exponent, DELAY_BINS - 1), rows.sign)
        if classes is None:
            error = rows.predicted - rows.label
            self.errors += [(rows.sign * part).sum() for part in (error, np.abs(error), np.square(error))]
            return
        pairs = np.stack([rows.predicted, rows.label]).astype(np.int64)
        for (predicted, actual), net in _net_counts(pairs, rows.sign):
            key = classes[predicted] + BETWEEN + classes[actual]
            self.confusion[key] = self.confusion.get(key, 0) + net
            if not self.confusion[key]:
                del self.confusion[key]
        is_positive = np.array([name == positive for name in classes])[pairs[1]].astype(np.int64)
        scored = rows.bin >= 0
        np.add.at(self.scores, (is_positive[scored], rows.bin[scored]), rows.sign[scored])

    def add(self, other: Pane) -> None:
        """Merge another pane of the same reference into this one."""
        if other.reference != self.reference:
            raise ValueError(f"panes of references {self.reference!r} and {other.reference!r} do not add up")
        for name in self.sketches.keys() | other.sketches.keys():
            mine = self.sketches.setdefault(name, Sketch(missing=self.n))
            mine.add(other.sketches.get(name) or Sketch(missing=other.n))
        self.n += other.n
        self.counts += other.counts
        with np.errstate(over="ignore", invalid="ignore"):
            self.sums += other.sums
        self.extremes[:, 0] = np.fmin(self.extremes[:, 0], other.extremes[:, 0])
        self.extremes[:, 1] = np.fmax(self.extremes[:, 1], other.extremes[:, 1])
        for name, texts in other.novel.items():
            add_texts(self.novel.setdefault(name, {}), texts.items(), NOVEL)
        self.n_labelled += other.n_labelled
        for key, count in other.confusion.items():
            self.confusion[key] = self.confusion.get(key, 0) + count
        self.scores += other.scores
        self.errors += other.errors
        self.delays += other.delays
        self.losses.add(other.losses)


def empty_pane(layout: Layout | None) -> Pane:
    """A pane of no rows, for a reference or for learning one."""
    width = len(layout.names) if layout else 0
    extremes = np.full((width, 2), np.nan)
    return Pane(layout.hash if layout else "", np.zeros(layout.length if layout else 0, np.int64), np.zeros((width, 2)), extremes)


def rebin(pane: Pane, layout: Layout) -> Pane:
    """A pane that was begun without a reference, in the terms of one. Counts are exact where edges lie on bucket boundaries."""
    out = empty_pane(layout)
    out.n, out.n_labelled, out.confusion, out.losses = pane.n, pane.n_labelled, dict(pane.confusion), pane.losses
    out.scores, out.errors, out.delays = pane.scores.copy(), pane.errors.copy(), pane.delays.copy()
    for f, (name, profile) in enumerate(zip(layout.names, layout.profiles, strict=True)):
        sketch = pane.sketches.get(name) or Sketch(missing=pane.n)
        start, bins = int(layout.starts[f]), int(layout.bins[f])
        stretch = out.counts[start : start + bins + 2]
        if isinstance(profile, NumericProfile):
            _rebin_numbers(sketch, profile, stretch)
            centre, scale, m = layout.centre[f], layout.scale[f], sketch.numeric_rows
            with np.errstate(over="ignore", invalid="ignore"):
                out.sums[f, 0] = (sketch.total - m * centre) / scale
                out.sums[f, 1] = (sketch.squares - 2 * centre * sketch.total + m * centre**2) / scale**2
            out.extremes[f] = [np.nan if v is None else v for v in (sketch.minimum, sketch.maximum)]
        else:
            novel = _rebin_texts(sketch, profile, stretch)
            if novel:
                add_texts(out.novel.setdefault(name, {}), novel.items(), NOVEL)
    return out


def _rebin_numbers(sketch: Sketch, profile: NumericProfile, stretch: Int64) -> None:
    place = np.searchsorted(np.array(profile.edges), bucket_start(np.array(sketch.buckets, np.int64)), side="right")
    np.add.at(stretch, place, np.array(sketch.counts, np.int64))
    stretch[-2:] += [sketch.missing, sketch.type_errors + sketch.text_rows]


def _rebin_texts(sketch: Sketch, profile: CategoricalProfile, stretch: Int64) -> dict[str, int]:
    codes = {text: i for i, text in enumerate(profile.categories)}
    novel = {text: n for text, n in sketch.texts.items() if text not in codes}
    for text, n in sketch.texts.items():
        stretch[codes.get(text, -3)] += n
    stretch[-3] += sketch.text_rows - sum(sketch.texts.values()) + sketch.numeric_rows
    stretch[-2:] += [sketch.missing, sketch.type_errors]
    return novel


def _sketch_column(values: Sequence[Any], kind: FeatureType | None) -> Sketch:
    """Numbers as numbers and texts as texts, unless the configuration says which of the two a feature is."""
    if kind == "numeric":
        numbers, errors = numeric_column(values)
        present = numbers[~np.isnan(numbers)]
        return sketch_of(present, [], len(values) - len(present) - int(errors.sum()), int(errors.sum()))
    if kind == "categorical":
        texts = [category_text(v) for v in values]
        good = [t for t in texts if isinstance(t, str)]
        return sketch_of(np.empty(0), good, sum(t is False for t in texts), sum(t is True for t in texts))
    numbers, errors = numeric_column(values)
    present = numbers[~np.isnan(numbers)]
    texts = [category_text(values[i]) for i in np.flatnonzero(errors).tolist()]
    good = [t for t in texts if isinstance(t, str)]
    return sketch_of(present, good, len(values) - len(present) - len(texts), len(texts) - len(good))


def _net_counts(pairs: Int64, sign: Int64) -> list[tuple[tuple[int, int], int]]:
    width = int(pairs.max(initial=0)) + 1
    keys, inverse = np.unique(pairs[0] * width + pairs[1], return_inverse=True)
    net = np.zeros(len(keys), np.int64)
    np.add.at(net, inverse, sign)
    return [(divmod(k, width), count) for k, count in zip(keys.tolist(), net.tolist(), strict=True) if count]


class _Wire(msgspec.Struct, array_like=True):
    codec: int
    fence: tuple[int, int]
    reference: str
    n: int
    counts: bytes
    sums: bytes
    extremes: bytes
    novel: dict[str, dict[str, int]]
    sketches: dict[str, Sketch]
    n_labelled: int
    confusion: dict[str, int]
    scores: bytes
    errors: bytes
    delays: bytes
    losses: Losses


class _Version(msgspec.Struct, array_like=True):
    """The first field of every codec, so that what comes after it may change."""

    codec: int


_decoder = msgspec.msgpack.Decoder(_Wire)
_version_decoder = msgspec.msgpack.Decoder(_Version)


def encode_pane(pane: Pane, fence: Fence) -> bytes:
    """A snapshot: the pane and the fence up to which it knows its partition; one compressed blob."""
    wire = _Wire(
        CODEC, fence, pane.reference, pane.n, pane.counts.tobytes(), pane.sums.tobytes(), pane.extremes.tobytes(), pane.novel,
        pane.sketches, pane.n_labelled, pane.confusion, pane.scores.tobytes(), pane.errors.tobytes(), pane.delays.tobytes(), pane.losses,
    )  # fmt: skip
    body = bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode(wire)))
    return fence.predictions.to_bytes(8) + fence.outcomes.to_bytes(8) + body


def fence_of(snapshot: bytes) -> Fence:
    """The fence of a snapshot, without decoding the rest."""
    return Fence(int.from_bytes(snapshot[:8]), int.from_bytes(snapshot[8:16]))


def decode_pane(snapshot: bytes) -> tuple[Pane, Fence]:
    """The pane and the fence in a snapshot; refuses one that a newer version wrote."""
    body = bytes(cramjam.lz4.decompress_block(snapshot[16:]))
    codec = _version_decoder.decode(body).codec
    if codec > CODEC:
        raise DriftlineError(
            "state_too_new", f"a pane snapshot has codec {codec}; this version reads up to {CODEC}",
            "run the version that wrote it, or a newer one",
        )  # fmt: skip
    wire = _decoder.decode(body)
    counts = np.frombuffer(wire.counts, np.int64).copy()
    sums, extremes = (np.frombuffer(data).reshape(-1, 2).copy() for data in (wire.sums, wire.extremes))
    scores = np.frombuffer(wire.scores, np.int64).reshape(2, SCORE_BINS).copy()
    pane = Pane(
        wire.reference, counts, sums, extremes, wire.n, wire.novel, wire.sketches, wire.n_labelled, wire.confusion, scores,
        np.frombuffer(wire.errors).copy(), np.frombuffer(wire.delays, np.int64).copy(), wire.losses,
    )  # fmt: skip
    return pane, fence_of(snapshot)


def encode_key(key: PaneKey, partition: int) -> bytes:
    """The record key of a pane's snapshot of one source partition."""
    return msgspec.json.encode([*key, partition])


def decode_key(key: bytes) -> tuple[PaneKey, int]:
    """The inverse of `encode_key`.

    >>> decode_key(encode_key(PaneKey("m", "1", "", 60_000), 3))
    (PaneKey(model='m', version='1', segment='', start=60000), 3)
    """
    model, version, segment, start, partition = msgspec.json.decode(key, type=tuple[str, str, str, int, int])
    return PaneKey(model, version, segment, start), partition
