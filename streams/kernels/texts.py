"""Texts as small integers, in compiled code: a table of (owner, bytes), the code of each its number in order of appearance.

A feature's name is the owner of its values, so that one text has a code of its own in each feature. Numbers that stand for a category are
entries as well, by their bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.schemas.events import text_of
from driftline.streams.kernels.machine import (
    address,
    as_bits,
    byte,
    compiled,
    entry,
    float64,
    int32,
    int64,
    same,
    set_byte,
    set_float64,
    set_int32,
    set_int64,
    set_uint64,
    uint64,
    word,
)

ENTRIES, BYTES = 1 << 15, 1 << 21
FULL_ENTRIES, FULL_BYTES = ENTRIES // 2, BYTES // 2  # from here on a table is replaced before the next chunk
FULL = -1
MEMO_BITS = 11
NUMBER, LIST, ABSENT = -1, -2, -3  # codes of values that are no text

#: Owners that are no feature: of names of features and of segments, of models and versions, of predictions and labels.
FEATURE, SEGMENT, MODEL, VERSION, ANSWER, OWN = -1, -2, -3, -4, -5, -6
PREDICTED, SCORED = 0, 1  # entries that every table begins with: columns of the model's own

STEP, MULTIPLIER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)
SLOTS = np.uint64(2 * ENTRIES - 1)
PRIME, BASIS = np.uint64(1099511628211), np.uint64(14695981039346656037)


class Table(NamedTuple):
    """Addresses of a table's arrays; entry `c` is the bytes from `start` to `end` of `buffer`, or a number where `end` is -1.

    Behind each text stand the quote and the colon that follow it where it is a key.
    """

    slots: int
    hashes: int
    owner: int
    start: int
    end: int
    number: int
    buffer: int
    used: int  # entries, bytes
    names: int  # of features, see `parse.features`
    memo: int  # of short texts, see `recall`


@compiled
def mixed(h: Any) -> Any:
    """The finaliser of MurmurHash3: every input bit reaches every output bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@compiled
def hash_id(i: int, end: int) -> Any:
    """See `columns.hash_ids`."""
    h = BASIS
    while i < end:
        h = (h ^ np.uint64(byte(i, 0))) * PRIME
        i += 1
    return mixed(h)


@compiled
def stirred(w: Any) -> Any:
    """One word of a fingerprint, with its place in it."""
    w = (w ^ (w >> np.uint64(32))) * MULTIPLIER
    return w ^ (w >> np.uint64(29))


@compiled
def hash_bytes(i: int, end: int) -> Any:
    """See `columns.fingerprints`."""
    h, place = np.uint64(end - i), STEP
    while i + 8 <= end:
        h += stirred(word(i, 0) + place)
        place += STEP
        i += 8
    if i < end:
        h += stirred(rest_of_word(i, end - i) + place)
    return mixed(h)


@compiled
def rest_of_word(i: int, n: int) -> Any:
    """The `n` bytes at `i`, 1 to 7, as a word; without a loop, whose end the processor would guess wrong."""
    if n >= 4:
        low, high = int32(i, 0) & 0xFFFFFFFF, int32(i + n - 4, 0) & 0xFFFFFFFF
        return np.uint64(low) | np.uint64(high) << np.uint64(8 * n - 32)
    middle = n >> 1
    return np.uint64(byte(i, 0)) | np.uint64(byte(i, middle)) << np.uint64(8 * middle) | np.uint64(byte(i, n - 1)) << np.uint64(8 * n - 8)


@compiled
def is_entry(t: Table, code: int, i: int, n: int) -> bool:
    """Whether the `n` bytes at `i` are the text of an entry."""
    start = int64(t.start, code)
    return int64(t.end, code) - start == n and same(t.buffer + start, i, n)


@compiled
def place(t: Table, at: Any, code: int, h: Any, owner: int) -> None:
    set_int32(t.slots, at, code)
    set_uint64(t.hashes, code, h)
    set_int32(t.owner, code, owner)
    set_int64(t.used, 0, code + 1)


@compiled
def intern(t: Table, i: int, end: int, owner: int) -> int:
    """The code of a text of `owner`; `FULL` if it is new and there is no room."""
    h = hash_bytes(i, end) + np.uint64(owner + 8) * STEP
    at: Any = np.int64(h & SLOTS)
    code = int32(t.slots, at)
    while code >= 0:
        if uint64(t.hashes, code) == h and int32(t.owner, code) == owner and is_entry(t, code, i, end - i):
            return code
        at = (at + 1) & (2 * ENTRIES - 1)
        code = int32(t.slots, at)
    code, start = int64(t.used, 0), int64(t.used, 1)
    if code == ENTRIES or start + end - i + 2 > BYTES:
        return FULL
    place(t, at, code, h, owner)
    set_int64(t.start, code, start)
    set_int64(t.end, code, start + end - i)
    set_int64(t.used, 1, start + end - i + 2)
    for k in range(end - i):
        set_byte(t.buffer, start + k, byte(i, k))
    set_byte(t.buffer, start + end - i, 34)
    set_byte(t.buffer, start + end - i + 1, 58)
    return code


@compiled
def short(i: int, n: int) -> Any:
    """The `n` bytes at `i`, 1 to 16, as two words that no other text of this length gives. Eight bytes at `i` are looked at."""
    return (word(i, 0), word(i + n - 8, 0)) if n > 8 else (word(i, 0) << np.uint64(64 - 8 * n), np.uint64(0))


@compiled
def memo_place(t: Table, first: Any, last: Any, tag: Any) -> int:
    h = (first ^ (last >> np.uint64(7)) ^ (tag * STEP)) * MULTIPLIER
    return int(t.memo + np.int64(h >> np.uint64(64 - MEMO_BITS)) * 32)


@compiled
def recall(t: Table, i: int, n: int, owner: int) -> int:
    """The code of a text of 1 to 16 bytes if it is among those that came lately; else `FULL`."""
    (first, last), tag = short(i, n), np.uint64((owner + 8) << 8 | n)
    at = memo_place(t, first, last, tag)
    if uint64(at, 0) == first and uint64(at, 1) == last and uint64(at, 2) == tag:
        return int64(at, 3)
    return FULL


@compiled
def remember(t: Table, i: int, n: int, owner: int, code: int) -> None:
    """Let `recall` find a text the next time, in the place of another."""
    (first, last), tag = short(i, n), np.uint64((owner + 8) << 8 | n)
    at = memo_place(t, first, last, tag)
    set_uint64(at, 0, first)
    set_uint64(at, 1, last)
    set_uint64(at, 2, tag)
    set_int64(at, 3, code)


@compiled
def intern_number(t: Table, value: float, owner: int) -> int:
    """The code of a number that is a category of `owner`; `FULL` if it is new and there is no room."""
    h = mixed(as_bits(value)) + np.uint64(owner + 8) * STEP
    at: Any = np.int64(h & SLOTS)
    code = int32(t.slots, at)
    while code >= 0:
        if uint64(t.hashes, code) == h and int32(t.owner, code) == owner and int64(t.end, code) < 0 and float64(t.number, code) == value:
            return code
        at = (at + 1) & (2 * ENTRIES - 1)
        code = int32(t.slots, at)
    code = int64(t.used, 0)
    if code == ENTRIES:
        return FULL
    place(t, at, code, h, owner)
    set_int64(t.start, code, 0)
    set_int64(t.end, code, -1)
    set_float64(t.number, code, value)
    return code


TABLE = typeof(Table(*[0] * len(Table._fields)))


@entry(types.int64(TABLE, types.int64, types.int64, types.int64))
def text_code(t: Table, text: int, size: int, owner: int) -> int:
    """`intern` of the `size` bytes at `text`, for Python."""
    return intern(t, text, text + size, owner)


@entry(types.void(TABLE, types.int64, types.int64, types.int64, types.int64))
def number_codes(t: Table, n: int, code: int, value: int, owner: int) -> None:
    """Give the numbers among `n` values a code of `owner`; `FULL` is where they had none and where there is no room."""
    for k in range(n):
        if int32(code, k) == NUMBER:
            set_int32(code, k, intern_number(t, float64(value, k), owner))


@entry(types.int64(types.int64, types.int64, types.int64, types.int64, types.int64))
def in_order(n: int, code: int, scratch: int, place: int, distinct: int) -> int:
    """Number the codes in order of appearance: `place` has one a code, `distinct` each code once; how many there are.

    `scratch` has -1 for every code there may be, before and after.
    """
    size = 0
    for k in range(n):
        c = int32(code, k)
        at = int32(scratch, c)
        if at < 0:
            at = size
            set_int32(scratch, c, at)
            set_int32(distinct, at, c)
            size += 1
        set_int64(place, k, at)
    for k in range(size):
        set_int32(scratch, int32(distinct, k), -1)
    return size


def _number_of(name: str) -> float:
    """The number that is named so as a category; NaN without one."""
    try:
        value = float(name)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) and text_of(value) == name else np.nan


class Texts:
    """A table and its memory.

    >>> texts = Texts()
    >>> texts.code(b"plan", FEATURE), texts.text(2)
    (2, 'plan')
    """

    def __init__(self) -> None:
        kinds = {"hashes": "u8", "owner": "i4", "start": "i8", "end": "i8", "number": "f8"}
        self.arrays: dict[str, Any] = {name: np.empty(ENTRIES, kind) for name, kind in kinds.items()}
        self.arrays |= {"slots": np.full(2 * ENTRIES, -1, np.int32), "buffer": np.empty(BYTES + 8, np.uint8), "used": np.zeros(2, np.int64)}
        self.arrays |= {"names": np.zeros((ENTRIES, 4), np.int64), "memo": np.zeros((1 << MEMO_BITS, 4), np.uint64)}
        self._scratch = np.full(ENTRIES, -1, np.int32)
        self.stamp = 1
        self.table = Table(**{name: address(array) for name, array in self.arrays.items()})
        for name in (b"(prediction)", b"(score)"):
            self.code(name, OWN)

    def code(self, text: bytes, owner: int) -> int:
        """The code of a text."""
        return int(text_code(self.table, address(np.frombuffer(text or b"\0", np.uint8)), len(text), owner))

    def codes_of_numbers(self, names: Sequence[str], owner: int) -> list[int]:
        """The codes that the numbers have which stand for these categories; -1 where a name is no number's."""
        values = np.array([_number_of(name) for name in names], np.float64)
        codes = np.where(np.isnan(values), ABSENT, NUMBER).astype(np.int32)
        self.name_numbers(codes, values, owner)
        return [int(code) for code in np.maximum(codes, FULL)]

    def text(self, code: int) -> str:
        """The text of a code; of a number, as a category is named."""
        start, end = int(self.arrays["start"][code]), int(self.arrays["end"][code])
        return text_of(float(self.arrays["number"][code])) if end < 0 else self.arrays["buffer"][start:end].tobytes().decode()

    def distinct(self, codes: NDArray[np.int32]) -> tuple[NDArray[np.int64], list[int]]:
        """The place of each code among the distinct ones, and these in order of appearance."""
        n = len(codes)
        place, distinct = np.empty(n, np.int64), np.empty(n, np.int32)
        size = in_order(n, address(codes), address(self._scratch), address(place), address(distinct))
        return place, distinct[:size].tolist()

    def name_numbers(self, codes: NDArray[np.int32], values: NDArray[np.float64], owner: int) -> None:
        """Give codes to numbers, in place; -1 is left where the table is full."""
        number_codes(self.table, len(codes), address(codes), address(values), owner)

    @property
    def size(self) -> int:
        """How many codes there are."""
        return int(self.arrays["used"][0])

    @property
    def full(self) -> bool:
        """Whether a new table is due."""
        return self.size > FULL_ENTRIES or int(self.arrays["used"][1]) > FULL_BYTES
