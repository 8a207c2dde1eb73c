"""JSON events to columns in one pass, for records whose every byte is understood; anything else is flagged for the strict decoder.

Architecture invariant: what is taken here `schemas.events` accepts with the same content. A flag says nothing about a record.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numpy.typing import NDArray

from driftline.schemas.events import MAX_FEATURES, MAX_SEGMENTS, MAX_VALUE_BYTES, YEAR_2000_MS, YEAR_2100_MS
from driftline.streams.kernels.machine import (
    address,
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

FLAG = -1
NAME_BYTES, ID_BYTES, TEXT_BYTES, VECTOR, CLASSES, DEPTH = 200, 256, 4_096, 4_096, 100, 24

ID, MODEL_KEY, VERSION_KEY, TS, ANSWER_KEY, FEATURES, SCORE, SCORES, SEGMENTS, ROLE, LATENCY, TRACE, KIND, FAILED = range(14)
PREDICTION_KEYS = {
    "id": ID, "model": MODEL_KEY, "version": VERSION_KEY, "ts": TS, "features": FEATURES, "prediction": ANSWER_KEY, "score": SCORE,
    "segments": SEGMENTS, "role": ROLE, "latency_ms": LATENCY, "scores": SCORES, "trace": TRACE, "failed": FAILED,
}  # fmt: skip
OUTCOME_KEYS = {"id": ID, "model": MODEL_KEY, "ts": TS, "label": ANSWER_KEY, "kind": KIND}
_NEEDED = {"predictions": (ID, MODEL_KEY, VERSION_KEY, TS, ANSWER_KEY), "outcomes": (ID, MODEL_KEY, TS)}
ROLES = ("champion", "challenger", "shadow", "canary")
KINDS = ("final", "provisional", "correction", "retraction")
RETRACTION = KINDS.index("retraction")


class Words(NamedTuple):
    """`n` texts end to end, and what each one stands for: addresses."""

    n: int
    data: int
    start: int
    meaning: int


_kept: list[Any] = []  # the memory of all `Words`, for good


def words(meanings: dict[str, int]) -> Words:
    """A small dictionary."""
    data = np.frombuffer("".join(meanings).encode(), np.uint8)
    arrays: list[NDArray[Any]] = [data, np.cumsum([0, *map(len, meanings)]).astype(np.int64), np.array([*meanings.values()], np.int64)]
    _kept.extend(arrays)
    return Words(len(meanings), *map(address, arrays))


class Grammar(NamedTuple):
    """What the events of one topic look like. `needed`: a bit for each required key; `outcomes`: whether of that topic."""

    keys: Words
    enum: Words  # values of `role` or `kind`
    needed: int
    outcomes: bool


def grammar(topic: str) -> Grammar:
    """The grammar of "predictions" or of "outcomes"."""
    keys, enum = (PREDICTION_KEYS, ROLES) if topic == "predictions" else (OUTCOME_KEYS, KINDS)
    return Grammar(
        words(keys), words({text: i for i, text in enumerate(enum)}), sum(1 << key for key in _NEEDED[topic]), topic == "outcomes"
    )


class Parsed(NamedTuple):
    """Columns of a chunk, one row a record; a row says nothing unless `ok`.

    `answer_code` is a code of the text table, or `NUMBER` with the number in `answer`, or `ABSENT`. `enum` is the place of the role or
    kind in its list. `latency` is NaN where it was not told. `unknown` is the address of the first key that is not known, and
    `unknown_end` where it ends; 0 without one. Values of record r are those from `first[r]` to `first[r + 1]`: `name`, `code` (of the
    table, `NUMBER` or `LIST`) and `value`; its segments lie likewise between `first_segment[r]` and the next, its class scores between
    `first_class[r]` and the next.
    """

    ok: Any
    ts: Any
    id_hash: Any
    fingerprint: Any
    model: Any
    version: Any
    answer_code: Any
    answer: Any
    score: Any
    latency: Any
    failed: Any
    enum: Any
    unknown: Any
    unknown_end: Any
    first: Any
    first_segment: Any
    first_class: Any
    name: Any
    code: Any
    value: Any
    segment: Any
    group: Any
    label: Any  # the code of a class, with its score
    share: Any

    def addresses(self) -> Parsed:
        """The same for compiled code."""
        return Parsed(*map(address, self))


_RECORD = ("u1", "i8", "u8", "u8", "i4", "i4", "i4", "f8", "f8", "f8", "i8", "i8", "i8", "i8")  # one each a record
_VALUE, _SEGMENT, _CLASS = ("i4", "i4", "f8"), ("i4", "i4"), ("i4", "f8")


def room(n: int, size: int) -> Parsed:
    """Columns for `n` records of `size` bytes together."""
    # The shortest value is `"a":1`, the shortest segment `"a":""`.
    groups = ((_RECORD, n), (("i8",) * 3, n + 1), (_VALUE, size // 5 + 3 * n), (_SEGMENT, size // 6 + n), (_CLASS, size // 5 + n))
    return Parsed(*(np.empty(length, kind) for kinds, length in groups for kind in kinds))


@compiled
def blank(i: int, end: int) -> int:
    """Where white space ends."""
    while i < end and (byte(i, 0) == 32 or byte(i, 0) == 10 or byte(i, 0) == 13 or byte(i, 0) == 9):
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
def text_end(i: int, end: int) -> int:
    """Where the text that begins at `i` has its closing quote. Escapes and control characters are flagged."""
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
        if int64(w.start, at + 1) - start == end - i and same(w.data + start, i, end - i):
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
        code, value = LIST, np.nan
        if byte(i, 0) == 91:
            i = vector_end(i, end)
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
def record(t: Table, g: Grammar, i: int, end: int, p: Parsed, r: int, key_start: int, key_stop: int, memory: Any, stamp: int) -> bool:
    """Whether the record from `i` to `end` was understood; its columns are then in row `r`."""
    k, s, c = int64(p.first, r), int64(p.first_segment, r), int64(p.first_class, r)
    set_float64(p.score, r, np.nan)
    set_int32(p.answer_code, r, ABSENT)
    set_float64(p.answer, r, np.nan)
    set_float64(p.latency, r, np.nan)
    set_int64(p.failed, r, 0)
    set_int64(p.enum, r, 0)
    set_int64(p.unknown, r, 0)
    if end - i > MAX_VALUE_BYTES:
        return False
    set_uint64(p.fingerprint, r, hash_bytes(i, end))
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
