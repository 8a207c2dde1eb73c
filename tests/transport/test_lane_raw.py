"""LZ4 frames unpacked where they stay: what any reader of frames makes of them, and not a byte elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cramjam
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline.streams.transport.raw import _BLOCK_BYTES, _STORED, _USUAL_FRAME, _lz4_into

AROUND = 64
TEXT = b"%d of a text that is a little like itself "


def block(data: bytes, *, stored: bool = False) -> bytes:
    packed = data if stored else bytes(cramjam.lz4.compress_block(data, store_size=False))
    return struct.pack("<I", len(packed) | (_STORED if stored else 0)) + packed


def frame(*blocks: bytes) -> bytes:
    return _USUAL_FRAME + b"".join(blocks) + bytes(4)


def unpacked(data: bytes, room: int, into: Callable[[memoryview, memoryview], int] = _lz4_into) -> bytes | None:
    """What is unpacked into so much room; None if it is refused."""
    memory = np.full(room + 2 * AROUND, 0xA5, np.uint8)
    try:
        n = into(memoryview(data), memory[AROUND : AROUND + room].data)
    except cramjam.DecompressionError:
        n = -1
    assert {*memory[:AROUND].tolist(), *memory[AROUND + room :].tolist()} == {0xA5}
    return bytes(memory[AROUND : AROUND + n]) if n >= 0 else None


texts = st.builds(
    lambda i, n, noise: (b"".join(TEXT % (i + k) for k in range(n)) + noise)[:_BLOCK_BYTES],
    st.integers(0, 99), st.integers(0, 40), st.binary(max_size=40),
)  # fmt: skip
frames = st.lists(st.builds(lambda data, stored: block(data, stored=stored and data != b""), texts, st.booleans()), max_size=4).map(
    lambda blocks: frame(*blocks)
)


@given(frames, st.integers(0, 7_000))
def test_a_frame_is_unpacked_as_by_the_reader_of_frames(data: bytes, room: int) -> None:
    assert unpacked(data, room) == unpacked(data, room, cramjam.lz4.decompress_into)


@given(
    frames,
    st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 9_999),
    st.binary(max_size=9),
)
@example(frame(block(b"x" * 100)), [(0, _USUAL_FRAME[0])], 9_999, b"more")
def test_a_broken_frame_is_refused_or_read_as_by_the_reader_of_frames(
    data: bytes, changes: list[tuple[int, int]], end: int, more: bytes
) -> None:
    broken = bytearray(data)
    for at, value in changes:
        broken[at % len(broken)] = value
    for each in (broken, broken[:end], broken + more):
        assert unpacked(bytes(each), 8_000) == unpacked(bytes(each), 8_000, cramjam.lz4.decompress_into)


@pytest.mark.parametrize("size", [0, 1, _BLOCK_BYTES + 1, _STORED | _BLOCK_BYTES + 1, _STORED - 1, (1 << 32) - 1])
def test_a_block_that_says_another_size_than_it_has_is_not_believed(size: int) -> None:
    body = bytes(_BLOCK_BYTES + 1)
    data = _USUAL_FRAME + struct.pack("<I", size) + body + bytes(4)
    assert unpacked(data, 4 * _BLOCK_BYTES) == unpacked(data, 4 * _BLOCK_BYTES, cramjam.lz4.decompress_into)


def test_a_usual_frame_does_without_the_reader_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [b"a" * _BLOCK_BYTES, bytes(range(256)) * 9, b"end" * 99]
    data = frame(block(values[0]), block(values[1], stored=True), block(values[2]))
    monkeypatch.setattr(cramjam.lz4, "decompress_into", None)
    assert unpacked(data, sum(map(len, values))) == b"".join(values)
