"""What ingest writes beside its panes: the marker it starts from again, and the progress that lets windows close."""

from __future__ import annotations

import zlib

import msgspec

from driftline.schemas.errors import refuse_newer

CODEC = 2  # of markers; 2: lives, decided, history
PROGRESS_CODEC = 2  # 2: begins with this byte; before, with MessagePack's head of an array, above 127


class Marker(msgspec.Struct, array_like=True, frozen=True):
    """All of one source partition up to `positions` is in the panes listed, each at the fence listed.

    `floors` says, per model, from where the join is rebuilt: (predictions offset, newest event time before it, outcomes offset,
    newest event time before that). `pane_ms` is, per model, the length of the panes listed.

    What the store holds for the join counts up to the slice told for each of `lives`: (life, last slice, newest event time in it).
    `history` says of each model's earlier floors from which positions on they held: (predictions position, outcomes position, and four
    numbers like those of a floor).
    """

    codec: int
    positions: tuple[int, int]
    panes: list[tuple[str, str, str, int, int, int]]  # model, version, segment, start, fence of predictions, of outcomes
    floors: dict[str, tuple[int, int, int, int]]
    counters: dict[str, int]
    breakers: dict[str, tuple[int, list[int]]] = {}  # by topic: records seen, and which of the last ones were dead letters
    lives: list[tuple[int, int, int]] = []  # of starts of the partition that put rows into the store
    decided: dict[str, tuple[int, int]] = {}  # by model: event time and offset below which orphans were named
    history: dict[str, list[tuple[int, int, int, int, int, int]]] = {}
    pane_ms: dict[str, int] = {}


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """How far one source partition has come, told to every partition of `panes` after the snapshots it speaks of.

    `newest` holds, per model, the newest event time of its predictions and of its outcomes. `quiet` names models that had no record
    for their `max_wait_ms` while the partition had no lag; `caught_up` says that it has none now.
    """

    partition: int
    positions: tuple[int, int]
    newest: dict[str, tuple[int, int]]
    quiet: list[str]
    caught_up: bool
    counters: dict[str, int]
    paused: list[str] = []  # topics, "predictions" or "outcomes", that wait because too many of their records are dead letters
    epoch: int = 0  # of the owner that tells it


def progress_key(partition: int) -> bytes:
    """The record key of a partition's progress; pane snapshots have JSON lists for keys, so they never meet."""
    return b"progress/%d" % partition


_marker = msgspec.msgpack.Decoder(Marker)
_progress = msgspec.msgpack.Decoder(Progress)
_encode = msgspec.msgpack.encode


def encode_marker(marker: Marker) -> bytes:
    """A byte that says the codec, then compressed MessagePack: thousands of open panes look much alike."""
    return bytes([marker.codec]) + zlib.compress(_encode(marker), level=1)


def decode_marker(value: bytes) -> Marker:
    """The marker in a record's value; refuses one that a newer version wrote, whatever else is in it."""
    codec = value[0]
    refuse_newer("a marker", codec, CODEC)
    return _marker.decode(zlib.decompress(value[1:]))


def encode_progress(progress: Progress) -> bytes:
    """A byte that says the codec, then MessagePack."""
    return bytes([PROGRESS_CODEC]) + _encode(progress)


def decode_progress(value: bytes) -> Progress:
    """The inverse; refuses what a newer version wrote."""
    if value[0] > 127:
        return _progress.decode(value)
    refuse_newer("the progress of a partition", value[0], PROGRESS_CODEC)
    return _progress.decode(value[1:])
