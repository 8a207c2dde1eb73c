"""What windows are compared with besides the reference: the same version's earlier windows, or another version's. Pure.

    judged windows, in order ──► Earlier ──► trailing:7d     all that began within so long before
                                        └──► hour-of-week    those of the same hour, up to four weeks back
    another version's panes ─────────────► version:6         of the same time, counted in this version's bins

A baseline holds whole windows that had no fault, were not excluded and were judged by the reference in force. A window's last rows come
when it is final; then all earlier ones are, so what is told in the end does not depend on when it was told first.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

import cramjam
import msgspec
import numpy as np

from driftline.schemas.config import DAY_MS, Model
from driftline.schemas.errors import refuse_newer
from driftline.schemas.load import parse_duration
from driftline.schemas.reference import CategoricalProfile, JointProfile, NumericProfile
from driftline.streams.drift import TRAINING, Baseline
from driftline.streams.joint import LEAST_WINDOWS, joint_profile, plan_of
from driftline.streams.judge import Judged
from driftline.streams.layout import Int64, Layout
from driftline.streams.panes import Pane

CODEC = 2
WEEK_MS = 7 * DAY_MS
WEEKS = 4  # that `hour-of-week` looks back
TRAILING, HOUR_OF_WEEK, VERSION = "trailing:", "hour-of-week", "version:"


class _Version(msgspec.Struct, array_like=True):
    """The first field of every codec, so that what comes after it may change."""

    codec: int


class _Kept(msgspec.Struct, array_like=True):
    """One window: the reference it was counted by ("" where it is no baseline), its rows, its counts and its joint sums, packed."""

    codec: int
    reference: str
    n: int
    counts: bytes
    joint: bytes = b""  # from codec 2 on; empty where not all rows have them


def span_ms(baselines: Iterable[str]) -> int:
    """How far back these baselines look, in milliseconds.

    >>> span_ms(["training", "trailing:2d"]) // DAY_MS, span_ms(["hour-of-week"]) // DAY_MS
    (2, 28)
    """
    return max((_reach(name) for name in baselines), default=0)


def kept_ms(model: Model) -> int:
    """How long a model's windows are remembered."""
    return max(span_ms(model.baselines), WEEK_MS if model.policy.volume_change > 1 else 0)


def _reach(name: str) -> int:
    if name.startswith(TRAILING):
        return parse_duration(name.removeprefix(TRAILING))
    return WEEKS * WEEK_MS if name == HOUR_OF_WEEK else 0


@dataclass
class Earlier:
    """A version's windows of the first configured length, by start; packed, for a week of them may be as large as a worker."""

    windows: dict[int, bytes] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)  # those that are written down

    def take(self, window: Judged, sound: bool) -> None:
        """Take in a window as judged, in place of what was known of it; `sound`: it may be a baseline."""
        if window.layout is None or window.provisional or not kept_ms(window.model) or window.key.start <= max(self.settled, default=-1):
            return
        good = sound and not window.excluded and span_ms(window.model.baselines) > 0
        joint, pane = window.pane.joint, window.pane
        summed = good and len(joint) > 0 and int(joint[0]) == pane.n
        counts = _packed(pane.counts) if good else b""
        kept = _Kept(CODEC, window.layout.hash if good else "", pane.n, counts, _packed(joint) if summed else b"")
        self.windows[window.key.start] = msgspec.msgpack.encode(kept)

    def put(self, start: int, record: bytes) -> None:
        """Take in a window as `records` gave it; refuses what a newer release wrote."""
        codec = msgspec.msgpack.decode(record, type=_Version).codec
        refuse_newer("a window of a baseline", codec, CODEC)
        self.windows[start] = record
        self.settled.add(start)

    def settle(self, before: int) -> dict[int, bytes]:
        """What is to be written down: windows that begin before `before` and were not yet."""
        new = {start: record for start, record in self.windows.items() if start < before and start not in self.settled}
        self.settled |= new.keys()
        return new

    def forget(self, before: int) -> list[int]:
        """Drop windows that begin before `before`; which those were."""
        old = [start for start in self.windows if start < before]
        for start in old:
            del self.windows[start]
        self.settled.difference_update(old)
        return old

    def usual(self, start: int) -> float | None:
        """Rows that a window of the week before one that begins at `start` has: the median; None where there are fewer than three."""
        rows = [msgspec.msgpack.decode(record, type=_Kept).n for at, record in self.windows.items() if start - WEEK_MS <= at < start]
        return float(np.median(rows)) if len(rows) > 2 else None

    def sum(self, starts: Iterable[int], layout: Layout) -> Int64 | None:
        """The counts of the windows that begin at `starts` and may be a baseline; None where there is none."""
        total = None
        for start in starts:
            record = self.windows.get(start)
            kept = msgspec.msgpack.decode(record, type=_Kept) if record else None
            if kept and kept.reference == layout.hash:
                counts = _unpacked(kept.counts)
                total = counts.copy() if total is None else total + counts
        return total

    def joint(self, starts: Iterable[int], layout: Layout) -> list[Int64]:
        """What features do together in the windows that begin at `starts`, those that know it."""
        kept = [msgspec.msgpack.decode(self.windows[start], type=_Kept) for start in starts if start in self.windows]
        return [_unpacked(each.joint) for each in kept if each.joint and each.reference == layout.hash]


def _packed(counts: Int64) -> bytes:
    return bytes(cramjam.lz4.compress_block(counts.tobytes()))


def _unpacked(packed: bytes) -> Int64:
    return np.frombuffer(bytes(cramjam.lz4.decompress_block(packed)), np.int64)


def baselines_of(window: Judged, earlier: Earlier, others: MutableMapping[str, tuple[Layout | None, Pane]]) -> list[Baseline]:
    """Everything that a window is compared with, in the order of the configuration.

    `others` holds, by version, the reference and the panes' sum of the same time for each `version:…` that the model names. Segments are
    compared with the reference only.
    """
    if window.layout is None or window.key.segment:
        return [Baseline()]
    return [_baseline(name, window, window.layout, earlier, others) for name in window.model.baselines]


def _baseline(
    name: str, window: Judged, layout: Layout, earlier: Earlier, others: MutableMapping[str, tuple[Layout | None, Pane]]
) -> Baseline:
    start = window.key.start
    if name == TRAINING:
        return Baseline()
    if name.startswith(VERSION):
        version = name.removeprefix(VERSION)
        theirs, pane = others.get(version, (None, None))
        if theirs is None or pane is None or not pane.n:
            return Baseline(name, np.zeros(layout.length, np.int64), f"version {version} has no rows in this window")
        counts, elsewhere = recounted(pane.counts, theirs, layout)
        why = f"version {version} counts it in other bins: give both one reference (driftline reference promote)"
        return Baseline(name, counts, missing_of=dict.fromkeys(elsewhere, why), joint=_joint_of(pane, theirs, layout))
    if name == HOUR_OF_WEEK:
        starts, said = [start - weeks * WEEK_MS for weeks in range(1, WEEKS + 1)], f"the same hour of the last {WEEKS} weeks"
    else:
        starts = [at for at in sorted(earlier.windows) if start - _reach(name) <= at and at + window.model.windows[0].length_ms <= start]
        said = f"the last {name.removeprefix(TRAILING)}"
    found = earlier.sum(starts, layout)
    missing = f"no sound window of {said} is known" if found is None else ""
    joint = _joint_before(window, earlier.joint(starts, layout)) if window.model.multivariate and name != HOUR_OF_WEEK else None
    return Baseline(name, np.zeros(layout.length, np.int64) if found is None else found, missing, joint=joint)


def _joint_before(window: Judged, windows: list[Int64]) -> JointProfile | None:
    """What features did together in earlier windows, and how those waver, later ones against earlier ones; None where they are too few."""
    plan = plan_of(window.layout) if window.layout else None
    if plan is None or len(windows) < 2 * LEAST_WINDOWS:
        return None
    return joint_profile(plan, windows, np.sum(windows, axis=0), window.pane.n)


def _joint_of(pane: Pane, theirs: Layout, ours: Layout) -> JointProfile | None:
    """The same of another version whose features are summed as ours are; how they waver, our reference tells."""
    known = ours.reference.joint
    if known is None or not len(pane.joint) or int(pane.joint[0]) != pane.n or theirs.reference.features != ours.reference.features:
        return None
    return msgspec.structs.replace(known, sums=pane.joint.tolist())


def recounted(counts: Int64, theirs: Layout, ours: Layout) -> tuple[Int64, list[str]]:
    """Counts of one layout in the bins of another, and the features of which that cannot be done exactly.

    Numbers need the same edges. Categories are brought together by name.
    """
    out, elsewhere = np.zeros(ours.length, np.int64), []
    for f, (name, profile) in enumerate(zip(ours.names, ours.profiles, strict=True)):
        stretch = out[ours.starts[f] : ours.starts[f] + ours.bins[f] + 2]
        other = theirs.reference.features.get(name)
        if isinstance(profile, NumericProfile) and isinstance(other, NumericProfile) and profile.edges == other.edges:
            at = int(theirs.starts[theirs.names.index(name)])
            stretch[:] = counts[at : at + len(stretch)]
        elif isinstance(profile, CategoricalProfile) and isinstance(other, CategoricalProfile):
            bins, missing, errors = theirs.stretch(counts, theirs.names.index(name))
            place = {text: i for i, text in enumerate(profile.categories)}
            for text, rows in zip([*other.categories, ""], bins.tolist(), strict=True):
                stretch[place.get(text, len(place))] += rows
            stretch[-2:] = missing, errors
        else:
            elsewhere.append(name)
    return out, elsewhere


def versions_named(model: Model) -> list[str]:
    """The other versions that the model's windows are compared with."""
    return [name.removeprefix(VERSION) for name in model.baselines if name.startswith(VERSION)]
