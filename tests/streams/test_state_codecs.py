"""State that an earlier version wrote is read, and what a newer one wrote is refused, piece by piece.

`state.json` has, by piece and codec, what was written once (base64). Whoever raises a codec adds a line; the old ones stay.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.progress import (
    CODEC,
    PROGRESS_CODEC,
    Marker,
    Progress,
    decode_marker,
    decode_progress,
    encode_marker,
    encode_progress,
)
from driftline.streams import lasting, ledger, panes
from driftline.streams.agents import positions
from driftline.streams.agents.positions import Position, decode_position, encode_position
from driftline.streams.answers import LabelRows, Losses
from driftline.streams.detection import Detection, Watch
from driftline.streams.lasting import WIDTH, Lasting
from driftline.streams.ledger import Ledger
from driftline.streams.panes import Fence, Pane, decode_pane, empty_pane, encode_pane, epoch_of
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.stats import Adwin

WRITTEN: dict[str, str] = json.loads(Path(__file__).with_name("state.json").read_text())
MARKER = Marker(
    CODEC, (7, 8), [("m", "1", "", 60_000, 5, 6)], {"m": (1, 2, 3, 4)}, {"accepted": 7}, {"predictions": (9, [3])}, [(1, 2, 3)],
    {"m": (4, 5)}, {"m": [(5, 6, 1, 2, 3, 4)]}, {"m": 60_000},
)  # fmt: skip
WATCH = Watch(Adwin(delta=0.05))


def pane() -> Pane:
    """One with a row, a sketch and a label."""
    one = empty_pane(None)
    one.add_raw({"x": [1.5]}, np.array([0]), {})
    zero = np.zeros(1, np.int64)
    one.answers.add_labels(LabelRows(zero + 1, np.array([0.0]), np.array([1.0]), zero - 1, zero), ["0", "1"], Model("m"))
    return one


def detection() -> Detection:
    """One whose base has read a pane."""
    one = Detection(WATCH)
    one.read([(60, Losses.of([1.0, 0.0]))], -(2**62))
    one.settle(120)
    return one


def of_marker(value: bytes) -> Any:
    """What the first codec had already."""
    read = decode_marker(value)
    return read.positions, read.panes, read.floors, read.counters, read.breakers


def of_pane(snapshot: bytes) -> Any:
    """What is in a snapshot."""
    one, fence = decode_pane(snapshot)
    return epoch_of(snapshot), fence, one.n, one.sketches["x"].counts, one.answers.confusion, one.answers.losses.n


def of_detection(data: bytes) -> Any:
    """The base of a detector, and how far it reaches."""
    read = Detection.from_bytes(WATCH, data)
    return read.since, read.base


def of_lasting(data: bytes) -> Any:
    """All that is written of it."""
    read = Lasting.from_bytes(data)
    return read.reference, read.settled, read.revision, read.sums.tolist()


@dataclass(frozen=True)
class Piece:
    """One piece of state: its codec now, an example as it is written now, and how its content is read."""

    codec: int
    example: Callable[[], bytes]
    content: Callable[[bytes], Any]


PIECES = {
    "marker": Piece(CODEC, lambda: encode_marker(MARKER), of_marker),
    "progress": Piece(
        PROGRESS_CODEC,
        lambda: encode_progress(Progress(3, (7, 8), {"m": (1, 2)}, ["m"], True, {"late": 1}, ["outcomes"], 9)),
        decode_progress,
    ),
    "pane": Piece(panes.CODEC, lambda: encode_pane(pane(), Fence(7, 8), 9), of_pane),
    "position": Piece(positions.CODEC, lambda: encode_position(Position(7, "an id")), decode_position),
    "detector": Piece(1, lambda: detection().to_bytes(), of_detection),
    "lasting": Piece(lasting.CODEC, lambda: Lasting("abc", 60_000, 7, np.ones((1, WIDTH))).to_bytes(), of_lasting),
    "ledger": Piece(ledger.CODEC, lambda: Ledger("m", "1", 60_000).to_bytes(), Ledger.from_bytes),
}
NEWER: dict[str, Callable[[bytes], bytes]] = {
    "progress": lambda data: bytes([data[0] + 1]) + b"anything",
    "marker": lambda data: bytes([data[0] + 1]) + b"anything",
    "position": lambda data: bytes([data[0] + 1]) + b"anything",
    "detector": lambda data: data[:8] + msgspec.msgpack.encode([msgspec.msgpack.decode(data[8:])[0], 99, {}]),
    "lasting": lambda data: bytes([data[0] + 1]) + b"anything",
    "ledger": lambda data: bytes([data[0] + 1]) + b"anything",
}


@pytest.mark.parametrize("name", PIECES)
def test_what_was_written_once_is_read_as_it_was_meant(name: str) -> None:
    piece = PIECES[name]
    line = f'"{name}/{piece.codec}": "{base64.b64encode(piece.example()).decode()}"'
    assert f"{name}/{piece.codec}" in WRITTEN, f"add to state.json: {line}"
    for about, text in WRITTEN.items():
        if about.partition("/")[0] == name:
            assert piece.content(base64.b64decode(text)) == piece.content(piece.example()), about


@pytest.mark.parametrize("name", NEWER)
def test_what_a_newer_version_wrote_is_refused(name: str) -> None:
    newer = NEWER[name](PIECES[name].example())
    with pytest.raises(DriftlineError, match=r"fix: run the version that wrote it, or a newer one"):
        PIECES[name].content(newer)


def test_a_marker_from_before_panes_had_a_length_is_read() -> None:
    old = Marker(*(getattr(MARKER, name) for name in MARKER.__struct_fields__[:-1]))
    assert decode_marker(encode_marker(old)).pane_ms == {}


def test_open_panes_of_another_length_than_the_model_s_file_asks_for_are_refused() -> None:
    with pytest.raises(DriftlineError, match=r'open panes of 60 s, and its file says 300 s now\n  fix: set pane = "60000ms" again'):
        Partition(0, Registry({"m": Model("m", pane_ms=300_000)}), {}, MARKER)
    Partition(0, Registry({"m": Model("m", pane_ms=60_000)}), {}, MARKER)
    Partition(0, Registry({}), {}, MARKER)  # its file is gone, and with it its windows
