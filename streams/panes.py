"""A pane: the smallest slice of event time that is kept, for one model version, segment and source partition.

Panes add up to windows, over time and over partitions; labels that change are taken out as exactly as they were put in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

import cramjam
import msgspec
import numpy as np

from driftline.schemas.config import FeatureType
from driftline.schemas.errors import refuse_newer
from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.streams import kernels
from driftline.streams.answers import (
    Answers,
    AnswersWire,
    add_arrays,
    arrays_length,
    arrays_of,
    copy_of,
    from_old,
    from_wire,
    merged,
    to_wire,
)
from driftline.streams.layout import SCORE, Encoded, Float64, Int64, Layout, category_text, numeric_column
from driftline.streams.sketch import Sketch, add_texts, bucket_start, sketch_of

CODEC = 9
NOVEL = 50  # unseen categories kept by name, per feature and pane; and features that the reference does not know
TOGETHER = 64  # panes whose numbers are packed side by side
ADDED = ""  # stands among the features of `Pane.novel` for those that the reference does not know: rows that have each


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


@dataclass(slots=True)
class Pane:
    """Counts of one slice. With a reference: `counts`, `sums`, `extremes`, `novel`; without one: `sketches`.

    `sums` has shape (features, 2): sums of z and z²; `extremes` the smallest and largest value.
    """

    reference: str
    counts: Int64
    sums: Float64
    extremes: Float64
    n: int = 0
    novel: dict[str, dict[str, int]] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)
    joint: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))  # sums of features together (`joint.Plan`); empty: none

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
                    add_texts(self.novel.setdefault(ADDED if f < 0 else layout.names[f], {}), [(text, 1)], NOVEL)

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

    def add_features(self, met: Iterable[tuple[str, int]]) -> None:
        """Count rows that have features which the reference does not know."""
        if several := list(met):
            add_texts(self.novel.setdefault(ADDED, {}), several, NOVEL)

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
        self.add_novel(other.novel)
        self.answers.add(other.answers)
        self.add_joint(other.joint)

    def add_novel(self, novel: Mapping[str, Mapping[str, int]]) -> None:
        """Add what the reference does not know."""
        for name, texts in novel.items():
            add_texts(self.novel.setdefault(name, {}), texts.items(), NOVEL)

    def add_joint(self, sums: Int64) -> None:
        """Add sums of features together, of the same plan."""
        if len(sums):
            self.joint = self.joint + sums if len(self.joint) else sums.copy()


def empty_pane(layout: Layout | None) -> Pane:
    """A pane of no rows, for a reference or for learning one."""
    width = len(layout.names) if layout else 0
    extremes = np.empty((width, 2))
    extremes.fill(np.nan)
    return Pane(layout.hash if layout else "", np.zeros(layout.length if layout else 0, np.int64), np.zeros((width, 2)), extremes)


def rebin(pane: Pane, layout: Layout) -> Pane:
    """A pane that was begun without a reference, in the terms of one. Counts are exact where edges lie on bucket boundaries."""
    out = empty_pane(layout)
    out.n, out.answers = pane.n, copy_of(pane.answers)
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
    others = ((name, s.numeric_rows + s.text_rows + s.type_errors) for name, s in pane.sketches.items() if name not in layout.known)
    out.add_features((name, n) for name, n in others if n)
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


class _Wire(msgspec.Struct, array_like=True):
    codec: int
    fence: tuple[int, int]
    reference: str
    n: int
    counts: bytes  # up to codec 7 int64; since then those of the answers are behind them, of as many bytes each as told last; now `_packed`
    sums: bytes
    extremes: bytes
    novel: dict[str, dict[str, int]]
    sketches: dict[str, Sketch]
    answers: AnswersWire
    joint: bytes = b""  # from codec 7 on


class _OldLosses(msgspec.Struct):
    n: int
    total: float
    squares: float


class _Wire1(msgspec.Struct, array_like=True):
    """What codec 1 wrote."""

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
    losses: _OldLosses


class _Version(msgspec.Struct, array_like=True):
    """The first field of every codec, so that what comes after it may change."""

    codec: int


_decoder, _decoder1 = msgspec.msgpack.Decoder(_Wire), msgspec.msgpack.Decoder(_Wire1)
_version_decoder = msgspec.msgpack.Decoder(_Version)
_key_decoder = msgspec.json.Decoder(tuple[str, str, str, int, int])
_HEAD = bytes([0x90 + len(_Wire.__struct_fields__), CODEC])  # as this version writes: an array of so many, the codec first
_FENCE, _FRONT = struct.Struct(">QQ"), struct.Struct(">QQQ")
_KINDS = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<i8"}  # of numbers of so many bytes, in codec 8
_OWNED = 1 << 63  # set in the first eight bytes when they are an epoch; the first snapshots began with the fence


def encode_pane(pane: Pane, fence: Fence, epoch: int = 0) -> bytes:
    """A snapshot: the pane, the fence up to which it knows its partition, and the epoch of the owner that wrote it; one blob."""
    return encode_panes([pane], fence, epoch)[0]


def encode_panes(panes: Sequence[Pane], fence: Fence, epoch: int = 0) -> list[bytes]:
    """`encode_pane` of each of these; their numbers are packed side by side."""
    front, snapshots = _FRONT.pack(_OWNED | epoch, *fence), list[bytes]()
    for begin in range(0, len(panes), TOGETHER):
        some = panes[begin : begin + TOGETHER]
        for pane, numbers in zip(some, _packed_each([[pane.counts, *arrays_of(pane.answers)] for pane in some]), strict=True):
            wire = _Wire(
                CODEC, fence, pane.reference, pane.n, numbers, pane.sums.tobytes(), pane.extremes.tobytes(), pane.novel, pane.sketches,
                to_wire(pane.answers), pane.joint.tobytes(),
            )  # fmt: skip
            snapshots.append(b"".join((front, cramjam.lz4.compress_block(msgspec.msgpack.encode(wire)))))
    return snapshots


def _packed_each(each: Sequence[Sequence[Int64]]) -> list[bytes]:
    """`_packed` numbers of each of several lists of arrays, end to end."""
    reader = kernels.current()
    return reader.packed(each) if reader else [_packed(np.concatenate(arrays)) for arrays in each]


def _packed(numbers: Int64) -> bytes:
    """The lowest byte of each number, then the next of each, up to the highest that any needs; how many that are says the last.

    Most counts need one. What the others have above it stands among zeros, which compress to nothing.

    >>> _packed(np.array([1, 2, 259])), len(_packed(np.array([0, -1])))
    (b'\\x01\\x02\\x03\\x00\\x00\\x01\\x02', 17)
    """
    together = int(np.bitwise_or.reduce(numbers))
    width = 8 if together < 0 else max((together.bit_length() + 7) // 8, 1)
    by_byte = numbers.astype("<i8", copy=False).view(np.uint8)
    return b"".join([*[by_byte[i::8].tobytes() for i in range(width)], bytes([width])])


def _unpacked(*packed: bytes) -> Int64:
    """The sum of numbers that are `_packed`, as many in each.

    >>> _unpacked(_packed(np.array([1, -2])), _packed(np.array([0, 259]))).tolist()
    [1, 257]
    """
    width = max([data[-1] for data in packed])
    size = (len(packed[0]) - 1) // packed[0][-1] * width
    every = np.frombuffer(b"".join([data[:-1].ljust(size, b"\0") for data in packed]), np.uint8)
    by_byte = np.add.reduce(every.reshape(len(packed), width, -1), 0, np.uint32)
    total: Int64 = by_byte[0].astype(np.int64)
    for i in range(1, width):
        total += by_byte[i].astype(np.int64) << 8 * i
    return total


def fence_of(snapshot: bytes) -> Fence:
    """The fence of a snapshot, without decoding the rest."""
    return Fence(*_FENCE.unpack_from(snapshot, 8 if snapshot[0] & 0x80 else 0))


def epoch_of(snapshot: bytes) -> int:
    """The epoch of the owner that wrote a snapshot; 0 where there were no epochs yet.

    >>> epoch_of(encode_pane(empty_pane(None), Fence(7, 8), 9)), fence_of(encode_pane(empty_pane(None), Fence(7, 8), 9))
    (9, Fence(predictions=7, outcomes=8))
    """
    first = int.from_bytes(snapshot[:8])
    return first ^ _OWNED if first & _OWNED else 0


def decode_pane(snapshot: bytes) -> tuple[Pane, Fence]:
    """The pane and the fence in a snapshot; refuses one that a newer version wrote."""
    return _pane_of(_wire_of(snapshot)), fence_of(snapshot)


def sum_of_snapshots(snapshots: Sequence[bytes], layout: Layout | None) -> Pane:
    """The sum of the panes in snapshots, as `sum_of` has it; what most of them are is added up before panes are made of it."""
    wires = [_wire_of(snapshot) for snapshot in snapshots]
    alike = [wire for wire in wires if _is_packed(wire) and layout and wire.reference == layout.hash and not wire.sketches]
    if layout is None or not wires or len(alike) < len(wires):
        return sum_of((_pane_of(wire) for wire in wires), layout)
    counts, answers = np.zeros(layout.length, np.int64), merged([wire.answers for wire in alike])
    for some in _of_the_same_groups(alike):
        numbers = _unpacked(*[wire.counts for wire in some])
        counts += numbers[: layout.length]
        add_arrays(answers, some[0].answers, numbers[layout.length :])
    told = [wire.sums for wire in alike], [wire.extremes for wire in alike]
    sums, bounds = (np.frombuffer(b"".join(each)).reshape(len(alike), -1, 2) for each in told)
    extremes = np.empty(bounds.shape[1:])
    np.fmin.reduce(bounds[:, :, 0], 0, out=extremes[:, 0])
    np.fmax.reduce(bounds[:, :, 1], 0, out=extremes[:, 1])
    with np.errstate(over="ignore", invalid="ignore"):  # one after another: sums of floats must come out alike whoever adds them
        total = Pane(layout.hash, counts, np.add.reduce(sums, 0, initial=0.0), extremes, sum([wire.n for wire in alike]), answers=answers)
    for wire in alike:
        total.add_novel(wire.novel)
        total.add_joint(np.frombuffer(wire.joint, np.int64))
    return total


def _of_the_same_groups(wires: Iterable[_Wire]) -> Iterable[list[_Wire]]:
    """Parts of these: those whose numbers stand for the same."""
    found: dict[tuple[tuple[str, ...], ...], list[_Wire]] = {}
    for wire in wires:
        found.setdefault((tuple(wire.answers.said), tuple(wire.answers.scored)), []).append(wire)
    return found.values()


def sum_of(panes: Iterable[Pane], layout: Layout | None) -> Pane:
    """The sum of panes in the terms of `layout`. Of a pane of another reference the features do not count, its labels do."""
    total = empty_pane(layout)
    for pane in panes:
        if pane.reference == total.reference:
            total.add(pane)
        elif layout and not pane.reference:
            total.add(rebin(pane, layout))
        else:
            total.add(labels_only(pane, layout))
    return total


def labels_only(pane: Pane, layout: Layout | None) -> Pane:
    """A pane without its features, in the terms of `layout`."""
    out = empty_pane(layout)
    out.n, out.answers = pane.n, pane.answers
    return out


def _wire_of(snapshot: bytes) -> _Wire | _Wire1:
    body = bytes(cramjam.lz4.decompress_block(memoryview(snapshot)[24 if snapshot[0] & 0x80 else 16 :]))
    if body.startswith(_HEAD):
        return _decoder.decode(body)
    codec = _version_decoder.decode(body).codec
    refuse_newer("a pane snapshot", codec, CODEC)
    if codec == 1:
        return _decoder1.decode(body)
    wire = _decoder.decode(body)
    if codec == 8:  # had all bytes of a number together
        wire.counts = _packed(np.frombuffer(wire.counts[:-1], _KINDS[wire.counts[-1]]).astype(np.int64))
    return wire


def _is_packed(wire: _Wire | _Wire1) -> TypeGuard[_Wire]:
    return wire.codec >= 8


def _pane_of(wire: _Wire | _Wire1) -> Pane:
    sums, extremes = (np.frombuffer(data).reshape(-1, 2).copy() for data in (wire.sums, wire.extremes))
    counts = _unpacked(wire.counts) if _is_packed(wire) else np.frombuffer(wire.counts, np.int64).copy()
    if isinstance(wire, _Wire1):
        losses = (wire.losses.n, wire.losses.total, wire.losses.squares)
        answers = from_old(wire.n_labelled, wire.confusion, wire.scores, wire.errors, wire.delays, losses)
    elif _is_packed(wire):
        answers, features = merged([wire.answers]), len(counts) - arrays_length(wire.answers)
        add_arrays(answers, wire.answers, counts[features:])
        counts = counts[:features].copy()
    else:
        answers = from_wire(wire.answers)
    joint = np.zeros(0, np.int64) if isinstance(wire, _Wire1) else np.frombuffer(wire.joint, np.int64).copy()
    return Pane(wire.reference, counts, sums, extremes, wire.n, wire.novel, wire.sketches, answers, joint)


def encode_key(key: PaneKey, partition: int) -> bytes:
    """The record key of a pane's snapshot of one source partition."""
    return msgspec.json.encode([*key, partition])


def decode_key(key: bytes) -> tuple[PaneKey, int]:
    """The inverse of `encode_key`.

    >>> decode_key(encode_key(PaneKey("m", "1", "", 60_000), 3))
    (PaneKey(model='m', version='1', segment='', start=60000), 3)
    """
    model, version, segment, start, partition = _key_decoder.decode(key)
    return PaneKey(model, version, segment, start), partition
