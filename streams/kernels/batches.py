"""Batches of one form read where they lie, in compiled code: their metadata, then their columns, copied and judged in one pass.

It takes what it fully understands and finds in order: every length and place is held against the message's size before anything is read,
and every offset and code against what it points into. The rest, and all that is bad, is for pyarrow, which is also its twin (`arrow.read`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from driftline.schemas.events import YEAR_2000_MS, YEAR_2100_MS
from driftline.streams.columns import stirred as stirred_words
from driftline.streams.forms import ABSENT, CODE, DOUBLE, END, ID, SINGLE, TIME, TRUTH, Form
from driftline.streams.kernels.machine import (
    address,
    as_bits,
    byte,
    compiled,
    entry,
    float32,
    float64,
    inlined,
    int32,
    int64,
    set_byte,
    set_float64,
    set_int64,
    set_uint64,
    uint16,
    uint64,
    word,
)
from driftline.streams.kernels.rooms import Tables
from driftline.streams.kernels.texts import stirred
from driftline.streams.layout import Coded

LONGEST_ID: Final = 256
END_SIZE: Final = len(END)
SHORT, KNOWN = 1 << 14, 100  # bytes of the dictionaries of a stream whose places are remembered, and of how many streams
TEXTS = 1_000  # of a form, of all columns: of more it begins anew, since they may be others each time
_MESSAGE, _FIELD = 8, 7  # numbers that tell of a message, and of a column
_HIGH, _ONES = np.uint64(0x8080808080808080), np.uint64(0x0101010101010101)


@compiled
def is_like(template: int, mask: int, at: int, n: int) -> bool:
    """Whether the `n` bytes at an address, a multiple of eight, are those of the template under its mask."""
    differ = np.uint64(0)
    for k in range(0, n, 8):
        differ |= (word(at, k) ^ word(template, k)) & word(mask, k)
    return bool(differ == np.uint64(0))


@compiled
def survey_one(template: int, mask: int, messages: int, n_messages: int, i: int, end: int, most: int, out: int) -> Any:
    """The numbers of one stream whose messages begin at address `i`; where the last one begins, 0 if they are no good."""
    to, records = 0, i
    for m in range(n_messages):
        told = messages + 8 * _MESSAGE * m
        place, size = int64(told, 0), int64(told, 1)
        if size > end - i or not is_like(template + place, mask + place, i, size):
            return 0
        records, body = i, int64(i + int64(told, 2), 0)
        rows = int64(i + int64(told, 3), 0)
        begin = i + size
        if body < 0 or body & 7 or body > end - begin or rows < 0 or (m == n_messages - 1 and not 0 < rows <= most):
            return 0
        set_int64(out, to, rows)
        to += 1
        for k in range(int64(told, 5)):
            node = i + int64(told, 4) + 16 * k
            if int64(node, 0) != rows or not 0 <= int64(node, 1) <= rows:
                return 0
            set_int64(out, to, int64(node, 0))
            set_int64(out, to + 1, int64(node, 1))
            to += 2
        for k in range(int64(told, 7)):
            buffer = i + int64(told, 6) + 16 * k
            start, length = int64(buffer, 0), int64(buffer, 1)
            if start < 0 or start & 7 or start > body or length < 0 or length > body - start:
                return 0
            set_int64(out, to, begin + start)
            set_int64(out, to + 1, length)
            to += 2
        i = begin + body
    return records if i == end or (end - i == END_SIZE and int64(i, 0) == 0xFFFFFFFF) else 0


@entry(types.void(*[types.int64] * 11))
def survey(
    template: int, mask: int, messages: int, n_messages: int, starts: int, ends: int, n: int, most: int, width: int, out: int, records: int
) -> None:
    """The numbers of `n` streams, a row each, and where the rows of each begin, see `survey_one`. A batch has at most `most` rows."""
    for s in range(n):
        found = survey_one(template, mask, messages, n_messages, int64(starts, s), int64(ends, s), most, out + 8 * width * s)
        set_int64(records, s, found)


@inlined
def is_there(bits: int, i: int) -> Any:
    """Bit `i` of a bitmap."""
    return byte(bits, i >> 3) >> (i & 7) & 1


@compiled
def whole(data: int, variant: int, i: int) -> Any:
    """Element `i` of whole numbers of so many bytes, of a negative number of bytes without a sign."""
    if variant == 4:
        return int32(data, i)
    if variant == 8:
        return int64(data, i)
    if variant == 2:
        return (uint16(data, i) ^ 0x8000) - 0x8000
    if variant == 1:
        return (byte(data, i) ^ 0x80) - 0x80
    if variant == -4:
        return int32(data, i) & 0xFFFFFFFF
    return uint16(data, i) if variant == -2 else byte(data, i)


@compiled
def bytes_of(variant: int) -> Any:
    """How many bytes an element has."""
    return 8 if variant == DOUBLE else 4 if variant == SINGLE else abs(variant)


@compiled
def double(data: int, variant: int, i: int) -> Any:
    """Element `i` of numbers of any kind."""
    if variant == SINGLE:
        return np.float64(float32(data, i))
    return np.float64(whole(data, variant, i))


@inlined
def add_print(totals: int, i: int, said: Any, own: Any) -> None:
    """See `lookup.add_prints`."""
    if said != np.uint64(0):
        set_uint64(totals, i, uint64(totals, i) + stirred(said + own))


@compiled
def read_doubles(data: int, n: int, out: int, own: Any, totals: int) -> bool:
    """Copy numbers, and add them to the fingerprints; False if one is infinite."""
    infinite = 0
    for i in range(n):
        x = float64(data, i)
        infinite += np.abs(x) == np.inf
        set_float64(out, i, x)
        said = np.uint64(0) if np.isnan(x) else as_bits(x + 0.0) + np.uint64(1)
        set_uint64(totals, i, uint64(totals, i) + (stirred(said + own) if said != np.uint64(0) else np.uint64(0)))
    return infinite == 0


@compiled
def read_numbers(data: int, variant: int, bits: int, nulls: int, n: int, out: int, own: Any, totals: int) -> bool:
    """The same of numbers of any kind; where there is a bitmap, False too if it does not say that so many of them are none."""
    infinite = 0
    for i in range(n):
        x = np.nan
        if bits == 0 or is_there(bits, i):
            x = float64(data, i) if variant == DOUBLE else double(data, variant, i)
        else:
            nulls -= 1
        infinite += np.abs(x) == np.inf
        set_float64(out, i, x)
        if not np.isnan(x):
            add_print(totals, i, as_bits(x + 0.0) + np.uint64(1), own)
    return infinite == 0 and nulls == 0


@compiled
def read_times(data: int, unit: int, n: int, out: int, own: Any, totals: int) -> bool:
    """Copy times as milliseconds; False if one is out of range."""
    outside = 0
    for i in range(n):
        x = int64(data, i) if unit == 1 else int64(data, i) // unit  # decided once: to divide costs more than all the rest
        outside += not YEAR_2000_MS <= x < YEAR_2100_MS
        set_int64(out, i, x)
        add_print(totals, i, np.uint64(x), own)
    return outside == 0


class Codes(NamedTuple):
    """Codes from 0 to below `size`. Addresses: of the place that each gets, if that is another, and of what each place adds to the
    fingerprints, that of -1 first."""

    size: int
    places: int
    prints: int


@compiled
def read_all_codes(data: int, n: int, codes: Codes, out: int, totals: int) -> bool:
    """Copy int32 codes none of which is null, and add them to the fingerprints; False if one is out of range."""
    least = most = 0
    for i in range(n):
        least, most = min(least, int32(data, i)), max(most, int32(data, i))
    if least < 0 or most >= codes.size:
        return False
    for i in range(n):
        code = int64(codes.places, int32(data, i)) if codes.places else int32(data, i)
        set_int64(out, i, code)
        set_uint64(totals, i, uint64(totals, i) + uint64(codes.prints, code + 1))
    return True


@compiled
def read_codes(data: int, variant: int, bits: int, nulls: int, n: int, codes: Codes, out: int, totals: int) -> bool:
    """The same of codes of any width, or bits; False too as `read_numbers`."""
    strange = 0
    for i in range(n):
        code = -1
        if bits == 0 or is_there(bits, i):
            code = whole(data, variant, i) if variant else is_there(data, i)
            if not 0 <= code < codes.size:
                strange += 1
                code = -1
            elif codes.places:
                code = int64(codes.places, code)
        else:
            nulls -= 1
        set_int64(out, i, code)
        set_uint64(totals, i, uint64(totals, i) + uint64(codes.prints, code + 1))
    return strange == 0 and nulls == 0


@compiled
def is_plain(i: int, end: int) -> bool:
    """Whether all bytes are ASCII and none is a control character."""
    odd = np.uint64(0)
    while i + 8 <= end:
        w = word(i, 0)
        deleted = w ^ (_ONES * np.uint64(127))
        odd |= w | ((w - _ONES * np.uint64(32)) & ~w) | ((deleted - _ONES) & ~deleted)
        i += 8
    wrong = 0
    while i < end:
        c = byte(i, 0)
        wrong += not 32 <= c < 127
        i += 1
    return wrong == 0 and odd & _HIGH == np.uint64(0)


@compiled
def read_ids(offsets: int, width: int, size: int, n: int, data: int, base: int, starts: int, ends: int) -> bool:
    """Where ids begin and end, from `base` on; False if one is empty, too long, out of bounds or not plain."""
    wrong = 0
    last = int32(offsets, 0) if width == 4 else int64(offsets, 0)
    first = last
    if not 0 <= first <= size:
        return False
    for i in range(n):
        begin = last
        last = int32(offsets, i + 1) if width == 4 else int64(offsets, i + 1)
        wrong += not 0 < last - begin <= LONGEST_ID
        set_int64(starts, i, begin + data - base)
        set_int64(ends, i, last + data - base)
    return wrong == 0 and last <= size and is_plain(data + first, data + last)


@compiled
def read_column(column: int, told: int, n: int, at: int, base: int, codes: int, totals: int) -> bool:
    """One column of one stream, to row `at` and those behind it; False if pyarrow must look at it."""
    kind, variant, own = int64(column, 0), int64(column, 1), uint64(column, 4)
    out, more = int64(column, 5) + 8 * at, int64(column, 6)
    nulls = int64(told, int64(column, 2) + 1)
    if kind == ABSENT:
        return nulls == n
    buffers = told + 8 * int64(column, 3)
    bits, data, size = int64(buffers, 0), int64(buffers, 2), int64(buffers, 3)
    if nulls == 0:
        bits = 0
    elif kind == TIME or kind == ID or 8 * int64(buffers, 1) < n:
        return False
    if kind == ID:
        width = variant
        if width * (n + 1) > size:
            return False
        return read_ids(data, width, int64(buffers, 5), n, int64(buffers, 4), base, out, more + 8 * at)
    if kind == TRUTH:
        return n <= 8 * size and read_codes(data, 0, bits, nulls, n, Codes(2, 0, more), out, totals)
    if kind == CODE:
        known = Codes(int64(codes, 0), int64(codes, 1), more)
        if bytes_of(variant) * n > size:
            return False
        if variant == 4 and bits == 0:
            return read_all_codes(data, n, known, out, totals)
        return read_codes(data, variant, bits, nulls, n, known, out, totals)
    if kind == TIME:
        return 8 * n <= size and read_times(data, variant, n, out, own, totals)
    if bytes_of(variant) * n > size:
        return False
    if variant == DOUBLE and bits == 0:
        return read_doubles(data, n, out, own, totals)
    return read_numbers(data, variant, bits, nulls, n, out, own, totals)


@entry(types.void(*[types.int64] * 10))
def gather(
    columns: int, n_columns: int, surveyed: int, width: int, streams: int, firsts: int, base: int, codes: int, totals: int, good: int
) -> None:
    """All columns of some streams, one behind the other, the fingerprints of their rows, and what each is worth."""
    for s in range(streams):
        told, at = surveyed + 8 * width * s, int64(firsts, s)
        n = int64(firsts, s + 1) - at
        for i in range(n):  # just before they are added to, so that they are near
            set_uint64(totals, at + i, np.uint64(0))
        for c in range(n_columns):
            own_codes = codes + 16 * (s * n_columns + c)
            if not read_column(columns + 8 * _FIELD * c, told, n, at, base, own_codes, totals + 8 * at):
                set_byte(good, s, 0)
                break


Prints = Callable[[tuple[str, ...]], NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Columns of several streams, one after another. Stream `kept[i]` has the rows from `first[i]` to `first[i + 1]`.

    Of ids it is told where they begin and end in what was read; `prints` has the fingerprints of the rows.
    """

    kept: NDArray[np.int64]
    first: NDArray[np.int64]
    columns: dict[str, Any]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    prints: NDArray[np.uint64]


def read_batches(
    tables: Tables, form: Form, data: Any, starts: NDArray[np.int64], ends: NDArray[np.int64], most: int, prints: Prints
) -> Gathered | None:
    """The streams at these places of `data` that are of a form, and of which pyarrow would say nothing else; None if none is.

    They begin with the schema of the form. `prints` gives words for texts, `tables` the memory of the columns.
    """
    base, n = address(np.frombuffer(data, np.uint8)), len(starts)
    begins, ends = starts + (base + form.schema), ends + base
    surveyed, records = np.empty((n, form.width), np.int64), np.empty(n, np.int64)
    survey(
        address(form.template), address(form.mask), address(form.messages), len(form.messages), address(begins), address(ends), n, most,
        form.width, address(surveyed), address(records),
    )  # fmt: skip
    if not form.vocabulary or form.vocabulary[0].size > TEXTS:
        form.vocabulary[:] = [Vocabulary(form, prints)]
    vocabulary: Vocabulary = form.vocabulary[0]
    left, codes, last, told = list[int](), list[_Places](), b"", None
    for s, (begin, end) in enumerate(zip((begins - base).tolist(), (records - base).tolist(), strict=True)):
        if end < begin:
            continue
        part = bytes(data[begin:end])
        if told is None or part != last:  # mostly what the one before has
            last, told = part, vocabulary.places(part, surveyed[s], begin + base)
        if told is not None:
            left.append(s)
            codes.append(told)
    while left:
        good = np.ones(len(left), np.uint8)
        made = _gathered(tables, form, base, np.array(left), surveyed[left], vocabulary, codes, good)
        if good.all():
            return made
        codes = [each for each, fits in zip(codes, good.tolist(), strict=True) if fits]
        left = [each for each, fits in zip(left, good.tolist(), strict=True) if fits]
    return None


def _gathered(
    tables: Tables, form: Form, base: int, kept: NDArray[np.int64], surveyed: NDArray[np.int64], vocabulary: Vocabulary,
    places: Sequence[_Places], good: NDArray[np.uint8],
) -> Gathered:  # fmt: skip
    first = np.concatenate([[0], np.cumsum(surveyed[:, form.fields[0].node])])
    n, width = int(first[-1]), len(form.fields)
    numbers, codes = tables.take(width + 1, n), np.array([each.told for each in places])
    whole_numbers, columns, told = numbers.view(np.int64), dict(zip(form.names, numbers, strict=False)), vocabulary.told()
    told[:, 5] = address(numbers) + 8 * n * np.arange(width)
    for c, field in form.strange:
        if field.kind == ID:
            told[c, 6], ids = address(whole_numbers[width]), c
        elif field.kind == TIME:
            columns[field.name] = whole_numbers[c]
        elif field.kind == ABSENT:
            numbers[c] = np.nan
        else:
            columns[field.name] = Coded(vocabulary.texts[c], whole_numbers[c], bools=field.kind == TRUTH)
    totals = np.empty(n, np.uint64)
    gather(
        address(told), width, address(surveyed), form.width, len(kept), address(first), base, address(codes), address(totals),
        address(good),
    )  # fmt: skip
    return Gathered(kept, first, columns, whole_numbers[ids], whole_numbers[width], totals)


class _Places(NamedTuple):
    """Of the dictionaries of a stream: by column how many texts it has and where the places of these are told, and the places."""

    told: NDArray[np.int64]
    places: list[NDArray[np.int64]]


class Vocabulary:
    """The texts of a form's columns of codes, each with a place that it keeps.

    Streams that have them in another order, as each has that begins to write with another row, get the same codes; so what is made of
    texts is made once. `texts`: by number of the column; lists that never change, but for longer ones.
    """

    def __init__(self, form: Form, prints: Prints) -> None:
        self._prints, self._own = prints, prints(form.names)
        self._coded = [(c, field) for c, field in form.strange if field.kind == CODE]
        self.texts = {c: ["false", "true"] if field.kind == TRUTH else [] for c, field in form.strange if field.kind in {CODE, TRUTH}}
        self._place = [dict[str, int]() for _ in self._coded]
        self._known = dict[bytes, _Places]()
        self._told = np.zeros((len(form.fields), _FIELD), np.int64)
        self._told[:, :4], self._told[:, 4] = form.columns, self._own.view(np.int64)
        self._words = dict[int, NDArray[np.uint64]]()  # what each text of a column adds to the fingerprints
        self._stale = {*self.texts}

    @property
    def size(self) -> int:
        """How many texts there are."""
        return sum(map(len, self._place))

    def told(self) -> NDArray[np.int64]:
        """What `gather` must know of the columns, without where they go: to be filled in."""
        for c in self._stale:
            words = np.concatenate([np.zeros(1, np.uint64), self._prints(tuple(self.texts[c]))])
            self._words[c] = stirred_words(words + self._own[c]) * (words != 0)
            self._told[c, 6] = address(self._words[c])
        self._stale.clear()
        return self._told.copy()

    def places(self, part: bytes, told: NDArray[np.int64], base: int) -> _Places | None:
        """Those of the dictionaries in the part of a stream before its rows, which lies at `base`; None if they are not right."""
        found = self._known.get(part)
        if found is None:
            numbers = told.tolist()
            each = [_texts(part, numbers[field.texts :], base, field.width) for _, field in self._coded]
            if None in each:
                return None
            found = self._placed([own for own in each if own is not None])
            if len(part) <= SHORT:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[part] = found
        return found

    def _placed(self, each: Sequence[list[str]]) -> _Places:
        told, places = np.zeros((len(self._told), 2), np.int64), list[NDArray[np.int64]]()
        for (c, _), place, own in zip(self._coded, self._place, each, strict=True):
            before = len(place)
            places.append(np.array([place.setdefault(text, len(place)) for text in own], np.int64))
            told[c] = len(own), address(places[-1])
            if len(place) > before:
                self.texts[c] = [*place]
                self._stale.add(c)
        return _Places(told, places)


def _texts(part: bytes, told: list[int], base: int, width: int) -> list[str] | None:
    """The texts of one dictionary, which differ; None if pyarrow must look at them."""
    n, _, nulls, _, _, places, places_size, data, size = told[:9]
    if nulls or width * (n + 1) > places_size:
        return None
    edges: NDArray[Any] = np.frombuffer(part, np.int32 if width == 4 else np.int64, n + 1, places - base)
    if edges[0] < 0 or edges[-1] > size or (edges[1:] < edges[:-1]).any():
        return None
    try:
        texts = [part[begin:end].decode() for begin, end in pairwise((edges + (data - base)).tolist())]
    except UnicodeDecodeError:
        return None
    return texts if len(set(texts)) == n else None
