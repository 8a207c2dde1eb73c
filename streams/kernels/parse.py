"""JSON events to columns in one pass, for records whose every byte is understood; anything else is flagged for the strict decoder.

Architecture invariant: what is taken here `schemas.events` accepts with the same content. A flag says nothing about a record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import typeof, types

from driftline.schemas.events import MAX_FEATURES, MAX_SEGMENTS, MAX_VALUE_BYTES, YEAR_2000_MS, YEAR_2100_MS
from driftline.streams.kernels.grammar import (
    ANSWER_KEY,
    FAILED,
    FEATURES,
    ID,
    KIND,
    LATENCY,
    MODEL_KEY,
    RETRACTION,
    ROLE,
    SCORE,
    SCORES,
    SEGMENTS,
    TS,
    VERSION_KEY,
    Grammar,
    Parsed,
    grammar,
)
from driftline.streams.kernels.machine import (
    begins,
    byte,
    compiled,
    entry,
    float64,
    inlined,
    int32,
    int64,
    same,
    set_byte,
    set_float64,
    set_int32,
    set_int64,
    set_uint64,
    trailing_zeros,
    value_ends,
)
from driftline.streams.kernels.numbers import decimal, long_decimal, milliseconds, number
from driftline.streams.kernels.scan import (
    FLAG,
    after_colon,
    after_comma,
    blank,
    data_of,
    find,
    is_specversion,
    key_end,
    literal,
    skipped,
    text_end,
    vector_end,
)
from driftline.streams.kernels.texts import (
    ABSENT,
    ANSWER,
    FEATURE,
    LIST,
    MODEL,
    NUMBER,
    PREDICTED,
    SCORED,
    SEGMENT,
    TABLE,
    VERSION,
    Table,
    hash_bytes,
    hash_id,
    intern,
    recall,
    remember,
)
from driftline.streams.kernels.times import moment

NEXT, STAMP, TEXT, SIZE = range(4)  # columns of `Table.names`
NAME = 32  # bytes a row
NAME_BYTES, ID_BYTES, TEXT_BYTES, CLASSES = 200, 256, 4_096, 100
MOMENT = 40  # bytes in which a moment ends, and what follows it
AHEAD = 256  # bytes behind a place that may be looked at where it is below the limit: a name, and a value's first 32


@inlined
def quick(t: Table, i: int, end: int, limit: int, owner: int) -> Any:
    """The same as `scalar` for a short number, or a short text that came lately; whether it was one of these before all."""
    ends = value_ends(i) if i <= limit else np.uint64(0)
    stop = i + trailing_zeros(ends)
    if ends == np.uint64(0) or stop >= end:
        return False, ABSENT, np.nan, FLAG
    if byte(i, 0) != 34:
        good, value = decimal(i, stop) if stop - i <= 8 + (byte(i, 0) == 45) else long_decimal(i, stop)
        return good, NUMBER, value, stop
    n = stop - i - 2
    if n < 1 or n > 16 or byte(stop - 1, 0) != 34:
        return False, ABSENT, np.nan, FLAG
    code = recall(t, i + 1, n, owner)
    return code >= 0, code, np.nan, stop


@compiled
def quickly(t: Table, i: int, end: int, limit: int, owner: int) -> Any:
    """`quick` where it is called, and not put in the place of the call."""
    return quick(t, i, end, limit, owner)


@compiled
def text(t: Table, begin: int, end: int, limit: int, owner: int, most: int) -> Any:
    """The code of the text that begins behind a quote, of at most so many bytes, and where its closing quote is."""
    i = text_end(begin, end)
    if i < 0 or i - begin > most:
        return ABSENT, FLAG
    code = intern(t, begin, i, owner)
    if 0 < i - begin <= 16 and i <= limit and code >= 0:
        remember(t, begin, i - begin, owner, code)
    return code, (i if code >= 0 else FLAG)


@compiled
def scalar(t: Table, i: int, end: int, limit: int, owner: int) -> Any:
    """A number, text or boolean: its code, its number, and where it ends. Booleans are their texts."""
    c = byte(i, 0)
    if c == 34:
        code, i = text(t, i + 1, end, limit, owner, TEXT_BYTES)
        return code, np.nan, (i + 1 if i >= 0 else FLAG)
    if c == 45 or 48 <= c <= 57:
        value, i, _ = number(i, end)
        return NUMBER, value, i
    which = literal(i, end)
    if which < 0 or which == 2:
        return ABSENT, np.nan, (i + 4 if which == 2 else FLAG)
    size = 4 if which else 5
    code = intern(t, i, i + size, owner)
    return code, np.nan, (i + size if code >= 0 else FLAG)


@compiled
def set_value(p: Parsed, k: int, name: int, code: int, value: float) -> None:
    set_int32(p.name, k, name)
    set_int32(p.code, k, code)
    set_float64(p.value, k, value)


@inlined
def features(t: Table, i: int, end: int, limit: int, p: Parsed, k: int, stamp: int) -> Any:
    """The values of the object at `i`, from place `k` on; where it ends, and the place after the last.

    `t.names` has four numbers of each name: the one that came next the last time, the stamp of the last record in which it came, and
    where its text is and its size.
    """
    i = blank(i + 1, end)
    if i < end and byte(i, 0) == 125:
        return i + 1, k
    more, row, n = True, t.names, 0
    while more:
        if i >= end or byte(i, 0) != 34 or n == MAX_FEATURES:
            return FLAG, k
        name = int64(row, NEXT)
        expected = t.names + name * NAME
        size = int64(expected, SIZE)
        if name > 0 and i <= limit and begins(i + 1, int64(expected, TEXT), size + 2):
            i, row = i + size + 3, expected
            if byte(i, 0) <= 32:
                i = blank(i, end)
        else:
            begin = i + 1
            i = text_end(begin, end)
            if i <= begin or i - begin > NAME_BYTES:
                return FLAG, k
            name = intern(t, begin, i, FEATURE)
            if name < 0:
                return FLAG, k
            set_int64(row, NEXT, name)
            row = t.names + name * NAME
            set_int64(row, TEXT, t.buffer + int64(t.start, name))
            set_int64(row, SIZE, i - begin)
            i = after_colon(i, end)
            if i < 0:
                return FLAG, k
        if int64(row, STAMP) == stamp:
            return FLAG, k
        set_int64(row, STAMP, stamp)
        good, code, value, stop = quick(t, i, end, limit, name)
        if not good:
            if i < end and byte(i, 0) == 91:
                code, stop = LIST, vector_end(i, end)
            elif i < end:
                code, value, stop = scalar(t, i, end, limit, name)
            if stop < 0:
                return FLAG, k
        if code != ABSENT:
            set_value(p, k, name, code, value)
            k += 1
        n += 1
        i, more = after_comma(stop, end, 125)
    return i, k


@compiled
def segments(t: Table, i: int, end: int, p: Parsed, k: int) -> Any:
    """The groups in the object at `i`, from place `k` on; where it ends, and the place after the last."""
    first = k
    i = blank(i + 1, end)
    if i < end and byte(i, 0) == 125:
        return i + 1, k
    more = True
    while more:
        begin = i + 1
        i = key_end(i, end)
        if i <= begin or i - begin > NAME_BYTES or k - first == MAX_SEGMENTS:
            return FLAG, k
        name = intern(t, begin, i, SEGMENT)
        for other in range(first, k):
            if int32(p.segment, other) == name:
                return FLAG, k
        i = after_colon(i, end)
        if name < 0 or i < 0 or byte(i, 0) != 34:
            return FLAG, k
        begin = i + 1
        i = text_end(begin, end)
        if i < 0 or i - begin > TEXT_BYTES:
            return FLAG, k
        group = intern(t, begin, i, name)
        if group < 0:
            return FLAG, k
        set_int32(p.segment, k, name)
        set_int32(p.group, k, group)
        k += 1
        i, more = after_comma(i + 1, end, 125)
    return i, k


@compiled
def class_scores(t: Table, i: int, end: int, p: Parsed, k: int) -> Any:
    """The probabilities in the object at `i`, from place `k` on; where it ends, and the place after the last. They sum to 1 well within
    what is allowed, so that the order of addition does not matter."""
    first, total, more = k, 0.0, True
    i = blank(i + 1, end)
    while more:
        begin = i + 1
        i = key_end(i, end)
        if i < 0 or k - first == CLASSES or i - begin > TEXT_BYTES:
            return FLAG, k
        label = intern(t, begin, i, ANSWER)
        if label < 0:
            return FLAG, k
        for other in range(first, k):
            if int32(p.label, other) == label:
                return FLAG, k
        i = after_colon(i, end)
        if i < 0:
            return FLAG, k
        value, i, _ = number(i, end)
        if i < 0 or value < 0:
            return FLAG, k
        set_int32(p.label, k, label)
        set_float64(p.share, k, value)
        k += 1
        total += value
        i, more = after_comma(i, end, 125)
    return (i if abs(total - 1.0) < 0.9e-6 else FLAG), k


@compiled
def is_null(i: int, end: int) -> bool:
    return byte(i, 0) == 110 and literal(i, end) == 2


@inlined
def field(t: Table, i: int, end: int, limit: int, p: Parsed, r: int, key: int, key_start: int, key_stop: int) -> int:
    """Take in the value at `i` of a key that is no object; where it ends."""
    if key == ID:
        begin = i + 1
        i = key_end(i, end)
        if i <= begin or i - begin > ID_BYTES:
            return FLAG
        set_uint64(p.id_hash, r, hash_id(begin, i))
        return i + 1 if key_stop - key_start == i - begin and same(key_start, begin, i - begin) else FLAG
    if key == TS:
        if byte(i, 0) == 34:
            if i > limit and i + MOMENT > end:
                return FLAG
            whole, stop = moment(i + 1)
            set_int64(p.ts, r, whole)
            return stop + 1 if YEAR_2000_MS <= whole < YEAR_2100_MS and byte(stop, 0) == 34 and stop < end else FLAG
        whole = milliseconds(i) if i <= limit else -1
        stop = i + 13
        if whole < 0 or not (byte(stop, 0) == 44 or byte(stop, 0) == 125):
            _, stop, whole = number(i, end)
        set_int64(p.ts, r, whole)
        return stop if YEAR_2000_MS <= whole < YEAR_2100_MS and stop <= end else FLAG
    if key == FAILED:
        which = literal(i, end)
        set_int64(p.failed, r, which)
        return i + 5 - which if 0 <= which <= 1 else FLAG
    owner = MODEL if key == MODEL_KEY else VERSION if key == VERSION_KEY else ANSWER
    good, code, value, stop = quickly(t, i, end, limit, owner)
    if key == MODEL_KEY or key == VERSION_KEY:
        if code < 0 and byte(i, 0) == 34:
            code, stop = text(t, i + 1, end, limit, owner, NAME_BYTES)
            stop = stop + 1 if stop > i + 1 else FLAG
        set_int32(p.model if key == MODEL_KEY else p.version, r, code)
        return stop if code >= 0 else FLAG
    if key == ANSWER_KEY:
        if not good:
            code, value, stop = scalar(t, i, end, limit, ANSWER)
        set_int32(p.answer_code, r, code)
        set_float64(p.answer, r, value)
        return FLAG if abs(value) > 1e150 else stop
    if is_null(i, end):
        return i + 4
    if key == SCORE or key == LATENCY:
        if not good or code != NUMBER:
            value, stop, _ = number(i, end)
        set_float64(p.score if key == SCORE else p.latency, r, value)
        return stop if key == LATENCY or 0.0 <= value <= 1.0 else FLAG
    begin = i + 1  # trace
    i = key_end(i, end)
    return i + 1 if i >= 0 and i - begin <= TEXT_BYTES else FLAG


@inlined
def event(t: Table, g: Grammar, i: int, end: int, limit: int, p: Parsed, r: int, key_start: int, key_stop: int, stamp: int) -> bool:
    """Whether the event from `i` to `end` was understood; its columns are then in row `r`."""
    k, s, c = int64(p.first, r), int64(p.first_segment, r), int64(p.first_class, r)
    set_float64(p.score, r, np.nan)
    set_int32(p.answer_code, r, ABSENT)
    set_float64(p.answer, r, np.nan)
    set_float64(p.latency, r, np.nan)
    set_int64(p.failed, r, 0)
    set_int64(p.enum, r, 0)
    set_int64(p.unknown, r, 0)
    i = blank(i, end)
    if i >= end or byte(i, 0) != 123:
        return False
    i = blank(i + 1, end)
    more, met, at = True, 0, -1
    while more:
        begin = i + 1
        place = int64(g.keys.next, at + 1)
        size = int64(g.keys.size, place)
        if i <= limit and byte(i, 0) == 34 and begins(begin, g.keys.data + int64(g.keys.start, place), size + 2):
            i = blank(begin + size + 2, end)
        else:
            key_stops = key_end(i, end)
            if key_stops < 0:
                return False
            place = find(g.keys, begin, key_stops, at + 1)
            i = after_colon(key_stops, end)
            if place >= 0:
                set_int64(g.keys.next, at + 1, place)
            elif is_specversion(begin, key_stops):
                return False  # a CloudEvent, perhaps
            elif int64(p.unknown, r) == 0:
                set_int64(p.unknown, r, begin)
                set_int64(p.unknown_end, r, key_stops)
        if i < 0 or i >= end:
            return False
        if place < 0:
            i = skipped(i, end)
        else:
            at = place
            key = int64(g.keys.meaning, at)
            if met >> key & 1:
                return False
            met |= 1 << key
            if key == FEATURES:
                if byte(i, 0) != 123:
                    return False
                i, k = features(t, i, end, limit, p, k, stamp)
            elif key == SEGMENTS:
                if byte(i, 0) != 123:
                    return False
                i, s = segments(t, i, end, p, s)
            elif key == SCORES and not is_null(i, end):
                if byte(i, 0) != 123:
                    return False
                i, c = class_scores(t, i, end, p, c)
            elif key == ROLE or key == KIND:
                begin = i + 1
                i = key_end(i, end)
                which = find(g.enum, begin, i, 0) if i >= 0 else FLAG
                set_int64(p.enum, r, which)
                i = i + 1 if which >= 0 else FLAG
            else:
                i = field(t, i, end, limit, p, r, key, key_start, key_stop)
        if i < 0:
            return False
        i, more = after_comma(i, end, 125)
        if i < 0:
            return False
    if blank(i, end) != end or met & g.needed != g.needed:
        return False
    if int32(p.answer_code, r) == ABSENT and not (g.outcomes and int64(p.enum, r) == RETRACTION):
        return False
    if not g.outcomes:
        set_value(p, k, PREDICTED, int32(p.answer_code, r), float64(p.answer, r))
        k += 1
        if float64(p.score, r) >= 0.0:
            set_value(p, k, SCORED, NUMBER, float64(p.score, r))
            k += 1
    set_int64(p.first, r + 1, k)
    set_int64(p.first_segment, r + 1, s)
    set_int64(p.first_class, r + 1, c)
    return True


@inlined
def record(t: Table, g: Grammar, i: int, end: int, limit: int, p: Parsed, r: int, key_start: int, key_stop: int, stamp: int) -> bool:
    """Whether the record from `i` to `end` was understood, as an event or as a CloudEvent with one in its `data`."""
    if end - i > MAX_VALUE_BYTES:
        return False
    if not g.outcomes:
        set_uint64(p.fingerprint, r, hash_bytes(i, end))
    begin, stop = i, end
    for around in range(2):
        if around:
            begin, stop = data_of(i, end)
            if begin < 0:
                return False
        if event(t, g, begin, stop, limit, p, r, key_start, key_stop, 2 * stamp + around):
            return True
    return False


_SIGNATURE = types.void(TABLE, typeof(grammar("outcomes")), *[types.int64] * 7, typeof(Parsed(*[0] * len(Parsed._fields))), types.int64)


@entry(_SIGNATURE)
def parse(
    t: Table, g: Grammar, n: int, data: int, size: int, key_start: int, key_stop: int, start: int, stop: int, p: Parsed, stamp: int
) -> None:
    """Fill `p` from the `n` records whose keys and values lie at these positions of the `size` bytes of `data`; -1 for what is null."""
    set_int64(p.first, 0, 0)
    set_int64(p.first_segment, 0, 0)
    set_int64(p.first_class, 0, 0)
    limit = data + size - AHEAD
    for r in range(n):
        set_int64(p.first, r + 1, int64(p.first, r))
        set_int64(p.first_segment, r + 1, int64(p.first_segment, r))
        set_int64(p.first_class, r + 1, int64(p.first_class, r))
        begin, key = int64(start, r), int64(key_start, r)
        good = begin >= 0 and key >= 0
        if good:
            key_end = data + int64(key_stop, r)
            good = record(t, g, data + begin, data + int64(stop, r), limit, p, r, data + key, key_end, stamp + r)
        set_byte(p.ok, r, good)
