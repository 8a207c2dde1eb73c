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
)
from driftline.streams.kernels.numbers import number
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
    ENTRIES,
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
    is_entry,
)

NAME_BYTES, ID_BYTES, TEXT_BYTES, CLASSES = 200, 256, 4_096, 100


@compiled
def scalar(t: Table, i: int, end: int, owner: int) -> Any:
    """A number, text or boolean: its code, its number, and where it ends. Booleans are their texts."""
    c = byte(i, 0)
    if c == 34:
        begin = i + 1
        i = text_end(begin, end)
        if i < 0 or i - begin > TEXT_BYTES:
            return ABSENT, np.nan, FLAG
        code = intern(t, begin, i, owner)
        return code, np.nan, (i + 1 if code >= 0 else FLAG)
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


@compiled
def features(t: Table, i: int, end: int, p: Parsed, k: int, memory: Any, stamp: int) -> Any:
    """The values of the object at `i`, from place `k` on; where it ends, and the place after the last.

    `memory[c]` is the name that followed name `c` the last time, `memory[ENTRIES + c]` the stamp of the last record in which `c` came.
    """
    i = blank(i + 1, end)
    if i < end and byte(i, 0) == 125:
        return i + 1, k
    more, last, n = True, PREDICTED, 0
    while more:
        if i >= end or byte(i, 0) != 34 or n == MAX_FEATURES:
            return FLAG, k
        i += 1
        name = int64(memory, last)
        size = int64(t.end, name) - int64(t.start, name)
        if i + size < end and byte(i, size) == 34 and is_entry(t, name, i, size) and int32(t.owner, name) == FEATURE:
            i += size
        else:
            begin = i
            i = text_end(begin, end)
            if i <= begin or i - begin > NAME_BYTES:
                return FLAG, k
            name = intern(t, begin, i, FEATURE)
            if name < 0:
                return FLAG, k
            set_int64(memory, last, name)
        if int64(memory, ENTRIES + name) == stamp:
            return FLAG, k
        set_int64(memory, ENTRIES + name, stamp)
        last = name
        i = after_colon(i, end)
        if i < 0:
            return FLAG, k
        code, value, c = NUMBER, np.nan, byte(i, 0)
        if c == 45 or 48 <= c <= 57:
            value, i, _ = number(i, end)
        elif c == 91:
            code, i = LIST, vector_end(i, end)
        else:
            code, value, i = scalar(t, i, end, name)
        if i < 0:
            return FLAG, k
        if code != ABSENT:
            set_value(p, k, name, code, value)
            k += 1
        n += 1
        i, more = after_comma(i, end, 125)
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


@compiled
def field(t: Table, g: Grammar, i: int, end: int, p: Parsed, r: int, key: int, key_start: int, key_stop: int) -> int:
    """Take in the value at `i` of a key that is no object; where it ends."""
    if key == ID or key == MODEL_KEY or key == VERSION_KEY:
        if byte(i, 0) != 34:
            return FLAG
        begin = i + 1
        i = text_end(begin, end)
        if i <= begin or i - begin > (ID_BYTES if key == ID else NAME_BYTES):
            return FLAG
        if key == ID:
            set_uint64(p.id_hash, r, hash_id(begin, i))
            return i + 1 if key_stop - key_start == i - begin and same(key_start, begin, i - begin) else FLAG
        code = intern(t, begin, i, MODEL if key == MODEL_KEY else VERSION)
        set_int32(p.model if key == MODEL_KEY else p.version, r, code)
        return i + 1 if code >= 0 else FLAG
    if key == TS:
        _, i, whole = number(i, end)
        set_int64(p.ts, r, whole)
        return i if YEAR_2000_MS <= whole < YEAR_2100_MS else FLAG
    if key == ANSWER_KEY:
        code, value, i = scalar(t, i, end, ANSWER)
        set_int32(p.answer_code, r, code)
        set_float64(p.answer, r, value)
        return FLAG if abs(value) > 1e150 else i
    if key == FAILED:
        which = literal(i, end)
        set_int64(p.failed, r, which)
        return i + 5 - which if 0 <= which <= 1 else FLAG
    if is_null(i, end):
        return i + 4
    if key == SCORE or key == LATENCY:
        value, i, _ = number(i, end)
        set_float64(p.score if key == SCORE else p.latency, r, value)
        return i if key == LATENCY or 0.0 <= value <= 1.0 else FLAG
    begin = i + 1  # trace
    i = key_end(i, end)
    return i + 1 if i >= 0 and i - begin <= TEXT_BYTES else FLAG


@compiled
def event(t: Table, g: Grammar, i: int, end: int, p: Parsed, r: int, key_start: int, key_stop: int, memory: Any, stamp: int) -> bool:
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
        i = key_end(i, end)
        if i < 0:
            return False
        key_stops, place = i, find(g.keys, begin, i, at + 1)
        i = after_colon(i, end)
        if i < 0:
            return False
        if place < 0:
            if is_specversion(begin, key_stops):
                return False  # a CloudEvent, perhaps
            if int64(p.unknown, r) == 0:
                set_int64(p.unknown, r, begin)
                set_int64(p.unknown_end, r, key_stops)
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
                i, k = features(t, i, end, p, k, memory, stamp)
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
                i = field(t, g, i, end, p, r, key, key_start, key_stop)
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


@compiled
def record(t: Table, g: Grammar, i: int, end: int, p: Parsed, r: int, key_start: int, key_stop: int, memory: Any, stamp: int) -> bool:
    """Whether the record from `i` to `end` was understood, as an event or as a CloudEvent with one in its `data`."""
    if end - i > MAX_VALUE_BYTES:
        return False
    set_uint64(p.fingerprint, r, hash_bytes(i, end))
    if event(t, g, i, end, p, r, key_start, key_stop, memory, stamp):
        return True
    begin, stop = data_of(i, end)
    return begin >= 0 and event(t, g, begin, stop, p, r, key_start, key_stop, memory, stamp)


_SIGNATURE = types.void(
    TABLE, typeof(grammar("outcomes")), *[types.int64] * 6, typeof(Parsed(*[0] * len(Parsed._fields))), types.int64, types.int64
)


@entry(_SIGNATURE)
def parse(
    t: Table, g: Grammar, n: int, data: int, key_start: int, key_stop: int, start: int, stop: int, p: Parsed, memory: int, stamp: int
) -> None:
    """Fill `p` from the `n` records whose keys and values lie at these positions of `data`; -1 for what is null."""
    set_int64(p.first, 0, 0)
    set_int64(p.first_segment, 0, 0)
    set_int64(p.first_class, 0, 0)
    for r in range(n):
        set_int64(p.first, r + 1, int64(p.first, r))
        set_int64(p.first_segment, r + 1, int64(p.first_segment, r))
        set_int64(p.first_class, r + 1, int64(p.first_class, r))
        begin, key = int64(start, r), int64(key_start, r)
        good = begin >= 0 and key >= 0
        if good:
            key_end = data + int64(key_stop, r)
            good = record(t, g, data + begin, data + int64(stop, r), p, r, data + key, key_end, memory, stamp + r)
        set_byte(p.ok, r, good)
