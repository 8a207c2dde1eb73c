"""Hashes of many ids, in compiled code: the one they are joined by, and Kafka's own. Their twins are in `columns`.

A hash takes byte by byte and waits for each product. Ids of one length, as most are, take theirs side by side instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address, byte, compiled, entry, int64, room, set_int64, set_uint64, uint64, word
from driftline.streams.kernels.texts import BASIS, PRIME, hash_id, mixed

SIDE = 64  # ids that are taken side by side
M, SEED, LOW = np.uint64(0x5BD1E995), np.uint64(0x9747B28C), np.uint64(0xFFFFFFFF)
_words, _hashes, _murmurs = room(8 * SIDE), room(8 * SIDE), room(8 * SIDE)


def over(kernel: Any, buffer: Any, starts: NDArray[np.int64], ends: NDArray[np.int64], out: NDArray[Any], *about: int) -> Any:
    """What compiled code says that writes to `out` for each stretch of `buffer`."""
    data = np.frombuffer(buffer if len(buffer) else b"\0", np.uint8)
    starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
    return kernel(address(data), len(starts), address(starts), address(ends), *about, address(out))


@entry(types.void(*[types.int64] * 5))
def hash_all(data: int, n: int, starts: int, ends: int, hashes: int) -> None:
    """`hash_id` of each stretch of `data`."""
    for k in range(n):
        set_uint64(hashes, k, hash_id(data + int64(starts, k), data + int64(ends, k)))


def hash_stretches(buffer: Any, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """See `columns.hash_stretches`."""
    hashes = np.empty(len(starts), np.uint64)
    over(hash_all, buffer, starts, ends, hashes)
    return hashes


@compiled
def with_word(h: Any, part: Any) -> Any:
    """Murmur2 with four more bytes."""
    part = (part * M) & LOW
    return ((h * M) & LOW) ^ (((part ^ (part >> np.uint64(24))) * M) & LOW)


@compiled
def with_rest(h: Any, rest: Any) -> Any:
    """Murmur2 with the last one to three bytes."""
    return ((h ^ rest) * M) & LOW


@compiled
def finished(h: Any) -> Any:
    """Murmur2 at its end, without its highest bit."""
    h = ((h ^ (h >> np.uint64(13))) * M) & LOW
    return (h ^ (h >> np.uint64(15))) & np.uint64(0x7FFFFFFF)


@compiled
def murmur(i: int, end: int) -> Any:
    """Murmur2 of what lies from `i` to `end`, without its highest bit."""
    h = SEED ^ np.uint64(end - i)
    while i + 4 <= end:
        h = with_word(h, np.uint64(byte(i, 0) | byte(i, 1) << 8 | byte(i, 2) << 16 | byte(i, 3) << 24))
        i += 4
    if i < end:
        rest = np.uint64(0)
        for j in range(end - i):
            rest |= np.uint64(byte(i, j) << 8 * j)
        h = with_rest(h, rest)
    return np.int64(finished(h))


@entry(types.void(*[types.int64] * 5))
def murmur_all(data: int, n: int, starts: int, ends: int, found: int) -> None:
    """Murmur2 of each stretch of `data`."""
    for k in range(n):
        set_int64(found, k, murmur(data + int64(starts, k), data + int64(ends, k)))


def partitions_of(buffer: Any, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """See `columns.partitions_of`."""
    found = np.empty(len(starts), np.int64)
    over(murmur_all, buffer, starts, ends, found)
    return found


@compiled
def length_of(starts: int, ends: int, n: int) -> int:
    """The length of these stretches; 0 where they are of several."""
    length, differ = int64(ends, 0) - int64(starts, 0), 0
    for k in range(1, n):
        differ |= (int64(ends, k) - int64(starts, k)) ^ length
    return 0 if differ else length


@compiled
def hash_words(words: int, size: int, n: int, hashes: int, murmurs: int) -> None:
    """Go on with both hashes of `n` ids by the next `size` bytes, at most eight, of each."""
    for b in range(0, 8 * size, 8):
        for k in range(n):
            set_uint64(hashes, k, (uint64(hashes, k) ^ ((uint64(words, k) >> np.uint64(b)) & np.uint64(255))) * PRIME)
    whole = 32 * (size >> 2)
    for b in range(0, whole, 32):
        for k in range(n):
            set_uint64(murmurs, k, with_word(uint64(murmurs, k), (uint64(words, k) >> np.uint64(b)) & LOW))
    if size & 3:
        for k in range(n):
            set_uint64(murmurs, k, with_rest(uint64(murmurs, k), uint64(words, k) >> np.uint64(whole)))


@compiled
def hash_alike(data: int, starts: int, length: int, n: int, hashes: int, murmurs: int) -> None:
    """Both hashes of `n` ids of one length, at least eight."""
    words = _words()
    for k in range(n):
        set_uint64(hashes, k, BASIS)
        set_uint64(murmurs, k, SEED ^ np.uint64(length))
    for j in range(0, length - 7, 8):
        for k in range(n):
            set_uint64(words, k, word(data + int64(starts, k), j))
        hash_words(words, 8, n, hashes, murmurs)
    rest = length & 7
    if rest:
        for k in range(n):
            set_uint64(words, k, word(data + int64(starts, k), length - 8) >> np.uint64(64 - 8 * rest))
        hash_words(words, rest, n, hashes, murmurs)
    for k in range(n):
        set_uint64(hashes, k, mixed(uint64(hashes, k)))
        set_uint64(murmurs, k, finished(uint64(murmurs, k)))


@entry(types.int64(*[types.int64] * 7))
def hash_own(data: int, n: int, starts: int, ends: int, partitions: int, own: int, out: int) -> int:
    """`hash_id` of each stretch of `data`; how many of them belong to another of the partitions than their own."""
    hashes, murmurs, strays = _hashes(), _murmurs(), 0
    for done in range(0, n, SIDE):
        m, at, to = min(n - done, SIDE), starts + 8 * done, ends + 8 * done
        length = length_of(at, to, m)
        if length >= 8:
            hash_alike(data, at, length, m, hashes, murmurs)
        else:
            for k in range(m):
                i, end = data + int64(at, k), data + int64(to, k)
                set_uint64(hashes, k, hash_id(i, end))
                set_int64(murmurs, k, murmur(i, end))
        for k in range(m):
            set_uint64(out, done + k, uint64(hashes, k))
            # Exact for what has 31 bits, and eight at a time, as the rest of a division by whole numbers is not.
            strays += int64(murmurs, k) - partitions * int(int64(murmurs, k) / partitions) != own
    return strays


def hashes_of_own(buffer: Any, starts: NDArray[np.int64], ends: NDArray[np.int64], partitions: int, own: int) -> NDArray[np.uint64] | None:
    """See `columns.hash_stretches`; None if not all of these ids belong to this partition."""
    hashes = np.empty(len(starts), np.uint64)
    return None if over(hash_own, buffer, starts, ends, hashes, partitions, own) else hashes
