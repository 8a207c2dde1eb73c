"""Two small containers of the join: growing columns, and a hash index over 64-bit keys. NumPy only, no Python object per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftline.streams import kernels

UInt64 = NDArray[np.uint64]
Rows = NDArray[np.int64]

_STEP: Final = 65_536  # rows that are worked on at a time where a copy of all would double the memory
SEVERAL: Final = 500  # rows of one column, from which on compiled code gathers them faster
FEW: Final = 262_144  # rows
MANY: Final = 1_000_000
_PRIME = np.uint64(1099511628211)
_BASIS = np.uint64(14695981039346656037)


def hash_ids(ids: list[str]) -> UInt64:
    """FNV-1a of each id's UTF-8 bytes, finished by a mixing step; uint64, shape (n,).

    Two of ten million ids collide with a chance of 3 in a million; a collision joins a label to a stranger.

    >>> int(hash_ids(["a"])[0]) == int(hash_ids(["b", "a"])[1])
    True
    """
    data, starts, ends = joined(ids)
    return hash_stretches(data, starts, ends)


def joined(texts: Sequence[str]) -> tuple[bytes, Rows, Rows]:
    """Texts as UTF-8 end to end, and where each begins and ends."""
    parts = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    ends = np.cumsum(lengths)
    return b"".join(parts), ends - lengths, ends


def hash_stretches(buffer: Any, starts: Rows, ends: Rows) -> UInt64:
    """`hash_ids` of what lies at these places of a buffer."""
    reader = kernels.current()
    if reader:
        return reader.hash_stretches(buffer, starts, ends)
    if not len(starts):
        return np.empty(0, np.uint64)
    data, lengths = np.frombuffer(buffer or b"\0", np.uint8), ends - starts
    order = np.argsort(-lengths, kind="stable")
    begin, count = starts[order], len(starts)
    # Longest first: byte j exists for a prefix of the order, so each step works on a slice.
    alive = np.searchsorted(-lengths[order], -np.arange(lengths.max(initial=0)), side="left")
    state = np.full(count, _BASIS, np.uint64)
    for j, k in enumerate(alive.tolist()):
        state[:k] = (state[:k] ^ data[begin[:k] + j]) * _PRIME
    hashes = np.empty(count, np.uint64)
    hashes[order] = _mix(state)
    return hashes


def stirred(words: UInt64) -> UInt64:
    """Words of a sum that tells contents apart: every bit of one reaches many of its others."""
    words = (words ^ (words >> np.uint64(32))) * _STIR
    return words ^ (words >> np.uint64(29))


def partitions_of(buffer: Any, starts: Rows, ends: Rows) -> Rows:
    """Kafka's own hash, murmur2, positive, of the keys at these places; a key belongs to its remainder by the number of partitions.

    >>> (partitions_of(*joined(["req-8f3a", "a", ""])) % 4).tolist()
    [1, 0, 1]
    """
    reader = kernels.current()
    if reader:
        return reader.partitions_of(buffer, starts, ends)
    lengths = ends - starts
    view = np.ndarray(memoryview(buffer).nbytes + 1, "<u4", bytes(buffer) + b"\0" * 4, strides=(1,))  # four bytes from each position on
    m, h = np.uint32(0x5BD1E995), np.uint32(0x9747B28C) ^ lengths.astype(np.uint32)
    for j in range(int(lengths.max(initial=0)) // 4 + 1):
        left = lengths - 4 * j
        word = view[np.minimum(starts + 4 * j, len(view) - 1)]
        k = word * m
        k = (k ^ (k >> np.uint32(24))) * m
        rest = word & ((np.uint32(1) << (8 * np.clip(left, 0, 3)).astype(np.uint32)) - np.uint32(1))
        tail = np.where((left > 0) & (left < 4), (h ^ rest) * m, h)
        h = np.where(left >= 4, (h * m) ^ k, tail)
    h = (h ^ (h >> np.uint32(13))) * m
    return ((h ^ (h >> np.uint32(15))) & np.uint32(0x7FFFFFFF)).astype(np.int64)


def _mix(h: UInt64) -> UInt64:
    """The finaliser of MurmurHash3: every input bit reaches every output bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


_STIR, _ONE_WORD = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0x9E3779B97F4A7C15)


def fingerprints(data: bytes | memoryview, start: Rows, end: Rows) -> UInt64:
    """64 bits of each stretch of `data`, by which its copies are known; shape (n,).

    The sum of its words of eight bytes, each stirred with its place, finished by the mixing step of `hash_ids`.

    >>> a, b, c = fingerprints(b"prediction predictiom prediction", np.array([0, 11, 22]), np.array([10, 21, 32])).tolist()
    >>> a == c, a == b
    (True, False)
    """
    lengths = end - start
    words = (lengths + 7) // 8
    first = np.cumsum(words) - words
    place = np.arange(int(words.sum())) - np.repeat(first, words)
    view = np.ndarray(len(data) + 1, "<u8", b"".join((data, bytes(8))), strides=(1,))  # the eight bytes from each position on
    word = view[np.repeat(start, words) + 8 * place]
    beyond = np.maximum(8 * (place + 1) - np.repeat(lengths, words), 0).astype(np.uint64) * np.uint64(8)
    word = word << beyond >> beyond
    word += (place + 1).astype(np.uint64) * _ONE_WORD
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(stirred(word), dtype=np.uint64)])
    return _mix(lengths.astype(np.uint64) + total[first + words] - total[first])


def all_differ(keys: UInt64) -> bool:
    """Whether no key comes twice.

    >>> all_differ(np.array([7, 9], np.uint64)), all_differ(np.array([7, 9, 7], np.uint64))
    (True, False)
    """
    reader = kernels.current()
    if reader:
        return reader.all_differ(keys)
    ascending = np.sort(keys)
    return bool((ascending[1:] != ascending[:-1]).all())


def constant(value: int, n: int) -> NDArray[np.int64]:
    """A column of one number, which takes no memory and cannot be written.

    >>> constant(-1, 3).tolist(), is_constant(constant(-1, 3)), is_constant(np.full(3, -1))
    ([-1, -1, -1], True, False)
    """
    return np.ndarray(n, np.int64, np.int64(value), strides=(0,))


def is_constant(column: NDArray[Any]) -> bool:
    """Whether a column is known to be of one number."""
    return column.strides == (0,)


def distinct(codes: Rows) -> tuple[Rows, Rows]:
    """The numbers that are there, ascending, and the place of each row's among them.

    >>> distinct(np.array([7, 3, 7]))
    (array([3, 7]), array([1, 0, 1]))
    """
    low = int(codes.min(initial=2**62))
    if not len(codes) or int(codes.max()) - low > 4 * len(codes) + 1_000:
        return np.unique(codes, return_inverse=True)
    near = codes - low
    values = np.flatnonzero(np.bincount(near))
    place = np.zeros(int(values[-1]) + 1, np.int64)
    place[values] = np.arange(len(values))
    return values + low, place[near]


def spans_of(numbers: Rows, length: int) -> tuple[Rows, Rows]:
    """`distinct` of numbers divided by a length and rounded down.

    >>> spans_of(np.array([71, 39, 70]), 10)
    (array([3, 7]), array([1, 0, 1]))
    """
    reader = kernels.current()
    return (reader and reader.spans_of(numbers, length)) or distinct(numbers // length)


def parts(place: Rows, n: int) -> list[Rows]:
    """The numbers of the rows at each of `n` places, ascending.

    >>> parts(np.array([1, 0, 1]), 3)
    [array([1]), array([0, 2]), array([], dtype=int64)]
    """
    ascending = bool((place[1:] >= place[:-1]).all())
    rows = np.arange(len(place)) if ascending else np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=n)).tolist()
    return [rows[begin:end] for begin, end in pairwise([0, *ends])]


class Columns:
    """Named columns that grow together, each as narrow as its values allow.

    `int`, `bool` and `float` columns are read as int64, bool and float64; they are held in fewer bytes where nothing is lost by it: whole
    numbers relative to a base in one, two or four bytes, or none where all are the same; floats in four, or in one where all are codes.
    NumPy types are held as they are.

    >>> c = Columns(ts=int, label=float, kind=int)
    >>> c.append(2, ts=np.array([1_767_571_200_000, 1_767_571_200_250]), label=1.5, kind=7)
    array([0, 1])
    >>> c.take("ts", np.array([1])).tolist(), c.bytes_per_row
    ([1767571200250], 5)
    """

    def __init__(self, **kinds: Any) -> None:
        self._told = np.zeros((len(kinds), 7), np.int64)  # for compiled code, see `kernels.table`
        made = (_column(kind)(told) for kind, told in zip(kinds.values(), self._told, strict=True))
        self._columns: dict[str, _Column] = dict(zip(kinds, made, strict=True))
        self._numbers: dict[tuple[str, ...], Rows] = {}  # of columns that are taken together
        self.size = 0

    def take(self, name: str, rows: Rows | slice) -> NDArray[Any]:
        """The values of a column in these rows."""
        if isinstance(rows, slice) or len(rows) < SEVERAL:
            return self._columns[name].take(rows)
        return self.take_all((name,), rows)[0]

    def take_all(self, names: tuple[str, ...], rows: Rows) -> list[NDArray[Any]]:
        """The values of several columns in these rows."""
        reader, columns = kernels.current(), [self._columns[name] for name in names]
        if reader is None:
            return [column.take(rows) for column in columns]
        found = reader.take_rows(*self.told(names), rows, self.size)
        return [column.of(bits) for column, bits in zip(columns, found, strict=True)]

    def told(self, names: tuple[str, ...]) -> tuple[Rows, Rows]:
        """What compiled code must know of all columns, and the numbers of these."""
        if (numbers := self._numbers.get(names)) is None:
            numbers = self._numbers[names] = np.array([[*self._columns].index(name) for name in names])
        return self._told, numbers

    def all(self, name: str) -> NDArray[Any]:
        """The values of a column in all rows, which costs as many bytes for as long as they are kept."""
        return self._columns[name].take(slice(self.size))

    def least(self, name: str) -> int:
        """A number that no value of a column of whole numbers is below: the least that it has held since rows were last dropped."""
        return self._ints(name).held[0]

    def _ints(self, name: str) -> _Ints:
        column = self._columns[name]
        if not isinstance(column, _Ints):
            raise TypeError(f"{name!r} is no column of whole numbers")
        return column

    def put(self, name: str, rows: Rows, values: NDArray[Any]) -> None:
        """Replace the values of a column in these rows."""
        if len(rows):
            self._columns[name].put(rows, values, self.size)

    def reserve(self, n: int) -> None:
        """Room for `n` more rows."""
        for column in self._columns.values():
            if self.size + n > column.capacity:
                column.reserve(self.size + n, self.size)

    def hold(self, name: str, least: int, most: int) -> None:
        """Let a column of whole numbers be able to hold all from one to another, which compiled code may then put there."""
        self._ints(name).hold(least, most, self.size)

    def append(self, n: int, **values: Any) -> Rows:
        """Add `n` rows and return their numbers; every column must be given, an array or one value for all."""
        rows = np.arange(self.size, self.size + n)
        self.reserve(n)
        if n and not self._append_at_once(n, values):
            for name, column in self._columns.items():
                column.put(slice(self.size, self.size + n), np.asarray(values[name]), self.size)
        self.size += n
        return rows

    def _append_at_once(self, n: int, values: Mapping[str, Any]) -> bool:
        """By compiled code, where every column can hold its values as it is."""
        reader = kernels.current()
        if reader is None:
            return False
        own = [np.ascontiguousarray(values[name], column.KIND) for name, column in self._columns.items()]
        return reader.append_rows(self._told, own, self.size, n)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the rows outside `mask`; the rest move up in order."""
        if len(mask) != self.size:
            raise IndexError(f"a mask of {len(mask)} for {self.size} rows")
        left, reader = int(np.count_nonzero(mask)), kernels.current()
        if reader:
            reader.keep_rows(self._told, mask)
        for column in self._columns.values():
            if not reader:
                column.move_up(mask, left)
            column.shrink(left)
        self.size = left

    @property
    def nbytes(self) -> int:
        """Bytes taken, filled or not."""
        return sum(column.capacity * column.width for column in self._columns.values())

    @property
    def bytes_per_row(self) -> int:
        """Bytes that one more row takes."""
        return sum(column.width for column in self._columns.values())


#: By the type of their values, how compiled code calls columns that are not `_Ints` (see `kernels.table`).
_FORMS: Final = {np.dtype(kind): form for kind, form in (("u8", 8), ("u4", 24), ("u1", 11), ("f4", 14), ("f8", 18))}


class _Column:
    """Values of one NumPy type of unsigned numbers, as they are. What compiled code must know of it stands in `told`."""

    KIND: Any = np.uint64  # that values come in

    def __init__(self, told: Rows, kind: Any = np.uint64) -> None:
        self.data: NDArray[Any] = np.empty(0, kind)
        self.capacity = 0  # rows there is room for
        self._told = told
        self._tell(_FORMS[self.data.dtype])

    def _tell(self, form: int, base: int = 0, least: int = -(2**63), most: int = 2**63 - 1) -> None:
        """To be called when the data has moved, or holds other values than before."""
        self._told[:5] = self.data.ctypes.data, form, base, least, most

    def of(self, bits: Rows) -> NDArray[Any]:
        """Values as compiled code gives them."""
        return bits.astype(self.data.dtype)

    @property
    def width(self) -> int:
        """Bytes a row."""
        return self.data.itemsize

    def take(self, rows: Rows | slice) -> NDArray[Any]:
        return self.data[rows]

    def put(self, rows: Rows | slice, values: NDArray[Any], size: int) -> None:
        self.data[rows] = values

    def reserve(self, end: int, size: int) -> None:
        """Room for `end` rows. It grows by a half while there are few, by a quarter, or a sixteenth of many, so little is ever empty."""
        if end > self.capacity:
            part = 16 if self.capacity > MANY else 4 if self.capacity > FEW else 2
            self.capacity = max(end, self.capacity + self.capacity // part + 16)
            self._move(size)

    def _move(self, size: int) -> None:
        try:
            self.data.resize(self.capacity)  # of much memory the system moves the pages, and nothing is copied
        except ValueError:  # somebody has a view of it
            data = np.empty(self.capacity, self.data.dtype)
            data[:size] = self.data[:size]
            self.data = data
        self._become(self.data)

    def _become(self, data: NDArray[Any]) -> None:
        """Have the same values in another place."""
        self.data = data
        self._told[0] = data.ctypes.data

    def move_up(self, mask: NDArray[np.bool_], left: int) -> None:
        """Bring the `left` values under the mask to the beginning."""
        self.data[:left] = self.data[: len(mask)][mask]

    def shrink(self, left: int) -> None:
        """Hold the first `left` values and nothing else."""
        if 2 * left < self.capacity:  # otherwise it will soon be as full as before
            self._become(self.data[:left].copy())
            self.capacity = left


class _Floats(_Column):
    """Floats, in one byte each while all of them are small whole numbers (as codes of classes are) or NaN, in four while those do."""

    _WIDTHS: Final = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))
    _NAN: Final = 255  # among codes
    KIND = np.float64

    def __init__(self, told: Rows) -> None:
        super().__init__(told, np.uint8)

    def of(self, bits: Rows) -> NDArray[Any]:
        return bits.view(np.float64)

    def take(self, rows: Rows | slice) -> NDArray[Any]:
        values = self.data[rows].astype(np.float64)
        if self.data.dtype == np.uint8:
            values[values == self._NAN] = np.nan
        return values

    def put(self, rows: Rows | slice, values: NDArray[Any], size: int) -> None:
        kind = self.data.dtype
        narrow = self._as(kind, values)
        while not self._holds(narrow, values):
            kind = self._WIDTHS[self._WIDTHS.index(kind) + 1]
            narrow = self._as(kind, values)
        if kind != self.data.dtype:
            self._widen(kind, size)
        self.data[rows] = narrow

    def _as(self, kind: np.dtype[Any], values: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # a signalling NaN is invalid
            narrow: NDArray[Any] = np.asarray(np.where(np.isnan(values), self._NAN, values) if kind == np.uint8 else values).astype(kind)
        return narrow

    def _holds(self, narrow: NDArray[Any], values: NDArray[Any]) -> bool:
        """Whether nothing is lost by it."""
        if narrow.dtype != np.uint8:
            return narrow.dtype == np.float64 or np.array_equal(narrow.astype(np.float64), values, equal_nan=True)
        code = (narrow == values) & (narrow != self._NAN) & ~np.signbit(values)  # minus zero is no code
        return bool((code | np.isnan(values)).all())

    def _widen(self, kind: np.dtype[Any], size: int) -> None:
        data = np.empty(self.capacity, kind)
        for begin in range(0, size, _STEP):
            part = slice(begin, min(begin + _STEP, size))
            data[part] = self.take(part)
        self.data = data
        self._tell(_FORMS[data.dtype])


_NOTHING: Final = (2**63 - 1, -(2**63))  # the least and the greatest of no numbers
#: The data of a column whose values are all the same: as many zeros as anybody may ask for, in one byte.
_SAME: Final = np.broadcast_to(np.zeros((), np.uint8), 2**62)


class _Ints(_Column):
    """Whole numbers, less a base, in as few bytes as hold all of them; in none while they are all the same."""

    _WIDTHS: Final = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32))

    KIND = np.int64

    def __init__(self, told: Rows) -> None:
        super().__init__(told, np.uint8)
        self.data, self._base = _SAME, 0
        self._hold(0, 1, 0)  # at first nothing
        self.held = _NOTHING

    def _hold(self, width: int, least: int, most: int) -> None:
        """Say what it can hold."""
        self._least, self._most = least, most
        self._tell(width, self._base, least, most)

    @property
    def held(self) -> tuple[int, int]:
        """The least and the greatest that it has held since rows were last dropped."""
        return int(self._told[5]), int(self._told[6])

    @held.setter
    def held(self, values: tuple[int, int]) -> None:
        self._told[5:7] = values

    def of(self, bits: Rows) -> NDArray[Any]:
        return bits

    @property
    def width(self) -> int:
        return 0 if self.data is _SAME else self.data.itemsize

    def take(self, rows: Rows | slice) -> NDArray[Any]:
        values = self.data[rows].astype(np.int64)
        values += self._base
        return values

    def put(self, rows: Rows | slice, values: NDArray[Any], size: int) -> None:
        alike = not values.ndim
        low = int(values if alike else np.minimum.reduce(values))
        high = low if alike else int(np.maximum.reduce(values))
        self.hold(low, high, size)
        if self.data is not _SAME:
            self.data[rows] = values - self._base

    def hold(self, low: int, high: int, size: int) -> None:
        """Be able to hold all numbers from one to another, as if both were there."""
        least, most = self.held
        self.held = min(least, low), max(most, high)
        if low < self._least or high > self._most:
            self._fit(size)

    def _move(self, size: int) -> None:
        if self.width:
            super()._move(size)

    def move_up(self, mask: NDArray[np.bool_], left: int) -> None:
        if self.width:
            super().move_up(mask, left)

    def shrink(self, left: int) -> None:
        if not self.width:
            self.capacity = left
            return
        super().shrink(left)
        base = self._base
        self.held = _NOTHING
        if left:
            self.held = int(self.data[:left].min()) + base, int(self.data[:left].max()) + base
        if self._narrowest() < self.width:
            self._fit(left)

    def _narrowest(self) -> int:
        """The fewest bytes for what it holds; eight where four are not enough."""
        low, high = self.held
        span = high - low
        return 0 if span <= 0 else next((kind.itemsize for kind in self._WIDTHS if span <= np.iinfo(kind).max), 8)

    def _fit(self, size: int) -> None:
        """Change width and base. Times and offsets mostly rise, so most of the room is left above."""
        width, old, values = self._narrowest(), self._base, self.data
        low, high = self.held
        if not width:
            self.data, self._base = _SAME, low
            self._hold(0, low, low)
            return
        kind = np.dtype(np.int64) if width == 8 else np.dtype(f"u{width}")
        bounds = np.iinfo(kind)
        room = int(bounds.max) - (high - low)
        self._base = 0 if width == 8 else low - (room // 4 if width == 4 else 0)
        data = np.empty(self.capacity, kind)
        for begin in range(0, size, _STEP):  # in steps, or all of it would be there in eight bytes for a moment
            part = slice(begin, min(begin + _STEP, size))
            data[part] = values[part].astype(np.int64) + (old - self._base)
        self.data = data
        self._hold(width, self._base + int(bounds.min), self._base + int(bounds.max))


class _Bools(_Ints):
    """Truth values, in none or one byte each."""

    def take(self, rows: Rows | slice) -> NDArray[Any]:
        return super().take(rows).astype(np.bool_)

    def of(self, bits: Rows) -> NDArray[Any]:
        return bits.astype(np.bool_)


def _column(kind: Any) -> Callable[[Rows], _Column]:
    return {int: _Ints, bool: _Bools, float: _Floats}.get(kind) or partial(_Column, kind=kind)


class HashIndex:
    """uint64 key → row number, open addressing, whole arrays at a time. The keys themselves stay in the column that is indexed.

    Four bytes a slot, at most three slots in four taken; the way on from a taken slot depends on the key, so there are no clusters.

    >>> keys = np.array([7, 9], np.uint64)
    >>> index = HashIndex()
    >>> index.insert(keys, np.array([0, 1]), keys)
    >>> index.find(np.array([9, 8], np.uint64), keys)
    array([ 1, -1])
    """

    def __init__(self) -> None:
        self._rows = np.full(64, -1, np.int32)
        self.size = 0

    def find(self, keys: UInt64, column: UInt64) -> Rows:
        """The row of each key, -1 where it is absent; row r has the key `column[r]`."""
        found: Rows = self._rows[self._slots_of(keys, column)].astype(np.int64)
        return found

    def insert(self, keys: UInt64, rows: Rows, column: UInt64) -> None:
        """Add keys that are absent and differ from each other; `column` has them in these rows already."""
        if 4 * (self.size + len(keys)) > 3 * len(self._rows):
            self._grow(self.size + len(keys), column)
        self._place(rows, column)
        self.size += len(keys)

    def slots(self, more: int, column: UInt64) -> tuple[NDArray[np.int32], int]:
        """For compiled code: the row in each slot, negative where it is free, and how many there is room for; for `more`, if any."""
        if more and 4 * (self.size + more) > 3 * len(self._rows):
            self._grow(self.size + more, column)
        return self._rows, 3 * len(self._rows) // 4 - self.size

    def replace(self, keys: UInt64, rows: Rows, column: UInt64) -> None:
        """Let keys that are there, and differ from each other, lead to other rows."""
        self._rows[self._slots_of(keys, column)] = rows

    def rebuild(self, rows: Rows, column: UInt64) -> None:
        """Hold these rows and nothing else."""
        slots = _slots_for(len(rows))
        if slots <= len(self._rows) <= 2 * slots:  # it will soon be as full as before
            self._rows.fill(-1)
        else:
            self._rows = np.full(slots, -1, np.int32)
        self._put(rows, column)
        self.size = len(rows)

    def _slots_of(self, keys: UInt64, column: UInt64) -> Rows:
        """The slot of each key, or the free one at the end of its way."""
        reader = kernels.current()
        if reader:
            return reader.find_slots(self._rows, keys, column)
        slots, steps = self._first(keys), self._steps(keys)
        todo = np.arange(len(keys))
        at = slots
        while len(todo):
            rows = self._rows[at]
            taken = rows >= 0
            taken[taken] = column[rows[taken]] != keys[todo[taken]]
            todo = todo[taken]
            at = (at[taken] + steps[todo]) & (len(self._rows) - 1)
            slots[todo] = at
        return slots

    def _place(self, rows: NDArray[Any], column: UInt64) -> None:
        """Let the keys of these rows, which are absent and differ from each other, lead to them."""
        reader = kernels.current()
        if reader:
            reader.place(self._rows, rows, column)
            return
        keys = column[rows]
        slots, steps = self._first(keys), self._steps(keys)
        rows = rows.astype(np.int32)
        while len(rows):
            free = self._rows[slots] < 0
            self._rows[slots[free]] = rows[free]  # of several that want one slot the last stays
            lost = self._rows[slots] != rows
            rows, steps = rows[lost], steps[lost]
            slots = (slots[lost] + steps) & (len(self._rows) - 1)

    def _grow(self, needed: int, column: UInt64) -> None:
        rows = self._rows[self._rows >= 0]
        self._rows = np.empty(0, np.int32)  # the old slots and the new are never there together
        self._rows = np.full(_slots_for(needed), -1, np.int32)
        self._put(rows, column)

    def _put(self, rows: NDArray[Any], column: UInt64) -> None:
        for begin in range(0, len(rows), _STEP):
            self._place(rows[begin : begin + _STEP], column)

    def _first(self, keys: UInt64) -> Rows:
        return (keys & np.uint64(len(self._rows) - 1)).astype(np.int64)

    @staticmethod
    def _steps(keys: UInt64) -> Rows:
        """Odd, so that every slot is passed before one is passed twice."""
        return (keys >> np.uint64(40)).astype(np.int64) | 1

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes


def _slots_for(rows: int) -> int:
    """A power of two of which the rows take three quarters at most."""
    slots = 64
    while 4 * rows > 3 * slots:
        slots *= 2
    return slots
