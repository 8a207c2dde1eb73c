"""The pieces of JSON in compiled code: where white space, texts, lists and values that are passed over end."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftline.streams.kernels.grammar import Words
from driftline.streams.kernels.machine import byte, compiled, int64, same, trailing_zeros, word
from driftline.streams.kernels.numbers import ONES, TOPS, number

FLAG = -1
VECTOR, DEPTH = 4_096, 24


@compiled
def blank(i: int, end: int) -> int:
    """Where white space ends."""
    while i < end and byte(i, 0) <= 32 and (byte(i, 0) == 32 or byte(i, 0) == 10 or byte(i, 0) == 13 or byte(i, 0) == 9):
        i += 1
    return i


@compiled
def utf8(i: int, end: int) -> int:
    """Where the character beyond ASCII at `i` ends, if it is well formed."""
    c = byte(i, 0)
    size = 2 if 0xC2 <= c <= 0xDF else 3 if 0xE0 <= c <= 0xEF else 4 if 0xF0 <= c <= 0xF4 else 9
    if i + size > end:
        return FLAG
    second = byte(i + 1, 0)
    low = 0xA0 if c == 0xE0 else 0x90 if c == 0xF0 else 0x80
    high = 0x9F if c == 0xED else 0x8F if c == 0xF4 else 0xBF
    if not low <= second <= high:
        return FLAG
    for k in range(2, size):
        if byte(i + k, 0) & 0xC0 != 0x80:
            return FLAG
    return i + size


@compiled
def are(w: Any, c: Any) -> Any:
    """The top bit of each byte that is `c`, right up to the first of them."""
    w ^= c * ONES
    return (w - ONES) & ~w & TOPS


@compiled
def plain_end(i: int, end: int) -> int:
    """Where the next byte is, or may be, that does not stand for itself in a text: eight at a time."""
    while i + 8 <= end:
        w = word(i, 0)
        control = (w - np.uint64(32) * ONES) & ~w & TOPS
        met = control | are(w, np.uint64(34)) | are(w, np.uint64(92)) | are(w, np.uint64(127)) | (w & TOPS)
        if met != np.uint64(0):
            return int(i + (trailing_zeros(met) >> 3))
        i += 8
    return i


@compiled
def text_end(i: int, end: int) -> int:
    """Where the text that begins at `i` has its closing quote. Escapes and control characters are flagged."""
    i = plain_end(i, end)
    while i < end:
        c = byte(i, 0)
        if c == 34:
            return i
        if c < 32 or c == 92 or c == 127:
            return FLAG
        if c < 128:
            i += 1
        else:
            i = utf8(i, end)
            if i < 0:
                return FLAG
    return FLAG


@compiled
def literal(i: int, end: int) -> int:
    """0, 1 or 2 for `false`, `true` and `null` at `i`."""
    if i + 4 > end:
        return FLAG
    c = byte(i, 0)
    if c == 110 and byte(i + 1, 0) == 117 and byte(i + 2, 0) == 108 and byte(i + 3, 0) == 108:
        return 2
    if c == 116 and byte(i + 1, 0) == 114 and byte(i + 2, 0) == 117 and byte(i + 3, 0) == 101:
        return 1
    if i + 5 <= end and c == 102 and byte(i + 1, 0) == 97 and byte(i + 2, 0) == 108 and byte(i + 3, 0) == 115 and byte(i + 4, 0) == 101:
        return 0
    return FLAG


@compiled
def after_comma(i: int, end: int, closing: int) -> Any:
    """After a value: where the next one begins, and whether there is one; (FLAG, False) for anything but a comma or `closing`."""
    i = blank(i, end)
    if i < end and byte(i, 0) == 44:
        return blank(i + 1, end), True
    if i < end and byte(i, 0) == closing:
        return i + 1, False
    return FLAG, False


@compiled
def key_end(i: int, end: int) -> int:
    """Where the key that begins with the quote at `i` has its closing one."""
    if i >= end or byte(i, 0) != 34:
        return FLAG
    return text_end(i + 1, end)


@compiled
def after_colon(i: int, end: int) -> int:
    """Where the value begins, from the closing quote of its key."""
    i = blank(i + 1, end)
    if i >= end or byte(i, 0) != 58:
        return FLAG
    i = blank(i + 1, end)
    return i if i < end else FLAG


@compiled
def find(w: Words, i: int, end: int, guess: int) -> int:
    """The place of a text among the words; `guess` is tried first. FLAG if it is none of them."""
    for k in range(w.n):
        at = guess + k if guess + k < w.n else guess + k - w.n
        start = int64(w.start, at)
        if int64(w.size, at) == end - i and same(w.data + start, i, end - i):
            return at
    return FLAG


@compiled
def vector_end(i: int, end: int) -> int:
    """Where the list of numbers at `i` ends."""
    i = blank(i + 1, end)
    if i < end and byte(i, 0) == 93:
        return i + 1
    more, n = True, 0
    while more:
        _, i, _ = number(i, end)
        n += 1
        if i < 0 or n > VECTOR:
            return FLAG
        i, more = after_comma(i, end, 93)
    return i


@compiled
def skipped(i: int, end: int) -> int:
    """Where the value of an unknown key ends. Brackets are kept as bits, the innermost the lowest."""
    brackets, depth = 0, 0
    while True:
        if i >= end:
            return FLAG
        c = byte(i, 0)
        if c == 123 or c == 91:
            depth += 1
            if depth > DEPTH:
                return FLAG
            brackets = brackets << 1 | (c == 123)
            i = blank(i + 1, end)
            if i < end and byte(i, 0) == c + 2:
                i += 1
                brackets >>= 1
                depth -= 1
            elif c == 123:
                i = key_end(i, end)
                i = after_colon(i, end) if i >= 0 else FLAG
                if i < 0:
                    return FLAG
                continue
            else:
                continue
        elif c == 34:
            i = text_end(i + 1, end) + 1
            if i <= 0:
                return FLAG
        elif c == 45 or 48 <= c <= 57:
            _, i, _ = number(i, end)
        else:
            which = literal(i, end)
            i = FLAG if which < 0 else i + 5 if which == 0 else i + 4
        if i < 0:
            return FLAG
        more = False
        while depth and not more:
            i, more = after_comma(i, end, 125 if brackets & 1 else 93)
            if i < 0:
                return FLAG
            if not more:
                brackets >>= 1
                depth -= 1
        if not depth:
            return i
        if brackets & 1:
            i = key_end(i, end)
            i = after_colon(i, end) if i >= 0 else FLAG
            if i < 0:
                return FLAG


# Constants, not addresses: what is compiled outlives the process that it was compiled in.
SPECVERS = np.uint64(int.from_bytes(b"specvers", "little"))


@compiled
def is_specversion(i: int, end: int) -> bool:
    """Whether a key is the one that every CloudEvent has."""
    return end - i == 11 and word(i, 0) == SPECVERS and byte(i, 8) == 105 and byte(i, 9) == 111 and byte(i, 10) == 110


@compiled
def is_data(i: int, end: int) -> bool:
    """Whether a key is `data`."""
    return end - i == 4 and byte(i, 0) == 100 and byte(i, 1) == 97 and byte(i, 2) == 116 and byte(i, 3) == 97


@compiled
def is_version_1(i: int, end: int) -> bool:
    """Whether a value is `"1.0"`."""
    return end - i == 5 and byte(i, 0) == 34 and byte(i, 1) == 49 and byte(i, 2) == 46 and byte(i, 3) == 48 and byte(i, 4) == 34


@compiled
def data_of(i: int, end: int) -> Any:
    """Where the object in the `data` of a CloudEvent 1.0 from `i` to `end` begins and ends; (FLAG, FLAG) if it is none."""
    i, found, begin, stop = blank(i, end), 0, FLAG, FLAG
    if i >= end or byte(i, 0) != 123:
        return FLAG, FLAG
    i, more = blank(i + 1, end), True
    while more:
        first = i + 1
        i = key_end(i, end)
        if i < 0:
            return FLAG, FLAG
        is_version, is_event = is_specversion(first, i), is_data(first, i)
        first = i = after_colon(i, end)
        i = skipped(i, end) if i >= 0 else FLAG
        if i < 0:
            return FLAG, FLAG
        if is_version:
            if found & 1 or not is_version_1(first, i):
                return FLAG, FLAG
            found |= 1
        elif is_event:
            if found & 2 or byte(first, 0) != 123:
                return FLAG, FLAG
            found |= 2
            begin, stop = first, i
        i, more = after_comma(i, end, 125)
        if i < 0:
            return FLAG, FLAG
    return (begin, stop) if found == 3 and blank(i, end) == end else (FLAG, FLAG)
