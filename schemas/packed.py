"""Columns of rows as bytes: numbers end to end, and texts by their places in a few words; or as what runs of rows have in common.

Whoever has numbers in arrays hands over what is in them, and nobody makes objects of it on the way to the store. Bytes are cut, joined and
compared as they are, so this takes no NumPy. Numbers are little-endian.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate, chain, compress, pairwise, repeat
from math import isnan
from struct import Struct, error, pack, unpack
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import msgspec

WORDS: Final = 256  # different texts that a column may have: each row's is one byte
_FORMS: Final = {4: "I", 8: "Q"}  # of whole numbers that are not negative, by how many bytes they take

Word = TypeVar("Word", bound=str)


class Unfit(ValueError):
    """A column holds values that cannot be packed; as a list it can."""


class Packed(msgspec.Struct, frozen=True, gc=False):
    """One column of some rows, each with a value of its own."""

    def holds(self, rows: int) -> bool:
        """Whether it is whole, and of so many rows; all else may be asked only of one that is."""
        raise NotImplementedError

    def tolist(self) -> list[Any]:
        """The value of each row."""
        raise NotImplementedError

    def cut(self, begin: int, end: int) -> Self:
        """The rows from `begin` to before `end`, both of which there are."""
        raise NotImplementedError

    def take(self, numbers: Sequence[int]) -> Self:
        """The rows of these numbers."""
        raise NotImplementedError

    @classmethod
    def joined(cls, columns: Sequence[Self | list[Any]], rows: Sequence[int]) -> Self:
        """Several columns of so many rows end to end, some of them lists of a value a row, or of the one that all rows have.

        Raises
        ------
        Unfit
            They cannot be packed.
        """
        raise NotImplementedError


class _Numbers(Packed, frozen=True, gc=False):
    """Numbers of one width."""

    data: bytes

    one: ClassVar[Struct]

    def holds(self, rows: int) -> bool:
        return len(self.data) == rows * self.one.size

    def tolist(self) -> list[Any]:
        form, size = self.one.format, self.one.size
        return [*unpack(f"<{len(self.data) // size}{form[1:]}", self.data)]

    def cut(self, begin: int, end: int) -> Self:
        size = self.one.size
        return type(self)(self.data[begin * size : end * size])

    def take(self, numbers: Sequence[int]) -> Self:
        size, data = self.one.size, self.data
        return type(self)(b"".join([data[i * size : (i + 1) * size] for i in numbers]))

    @classmethod
    def joined(cls, columns: Sequence[Self | list[Any]], rows: Sequence[int]) -> Self:
        try:
            each = zip(columns, rows, strict=True)
            return cls(b"".join([cls._bytes_of(one, many) if isinstance(one, list) else one.data for one, many in each]))
        except (error, TypeError, OverflowError) as problem:
            raise Unfit(str(problem)) from None

    @classmethod
    def _bytes_of(cls, column: list[Any], rows: int) -> bytes:
        if len(column) == 1:
            return cls.one.pack(cls._number(column[0])) * rows
        return pack(f"<{len(column)}{cls.one.format[1:]}", *map(cls._number, column))

    @staticmethod
    def _number(value: Any) -> Any:
        return value


class Floats(_Numbers, frozen=True, gc=False):
    """Floats, of which NaN stands for None.

    >>> Floats.joined([[0.5, None], [-0.0]], [2, 2]).tolist()
    [0.5, None, -0.0, -0.0]
    """

    one: ClassVar = Struct("<d")

    def tolist(self) -> list[Any]:
        return [None if isnan(value) else value for value in super().tolist()]

    @staticmethod
    def _number(value: Any) -> Any:
        if value is None:
            return _NAN
        if isnan(value):
            raise TypeError("NaN stands for None")
        return value


_NAN: Final = float("nan")


class Wholes(_Numbers, frozen=True, gc=False):
    """Whole numbers of 64 bits.

    >>> Wholes.joined([[7], [8, 9]], [2, 2]).take([3, 0]).tolist()
    [9, 7]
    """

    one: ClassVar = Struct("<q")


class Flags(_Numbers, frozen=True, gc=False):
    """Truths.

    >>> Flags.joined([[True], [False]], [2, 1]).tolist(), Flags(b"\\2").holds(1)
    ([True, True, False], False)
    """

    one: ClassVar = Struct("<?")

    def holds(self, rows: int) -> bool:
        return len(self.data) == rows and not self.data.translate(None, b"\0\1")

    @staticmethod
    def _number(value: Any) -> Any:
        if type(value) is not bool:
            raise TypeError(f"{value!r} is no truth")
        return value


class Coded(Packed, Generic[Word], frozen=True, gc=False):
    """Texts of which few are different.

    Attributes
    ----------
    words
        At most `WORDS`, none twice; not all need occur.
    codes
        Which of them each row has, a byte a row.

    Examples
    --------
    >>> one, two = Coded.of(["ok", "ok", "drift"]), Coded.of(["drift", "ok"])
    >>> both = Coded.joined([one, two, ["fault"]], [3, 2, 2])
    >>> both.words, both.cut(2, 6).tolist()
    (['ok', 'drift', 'fault'], ['drift', 'drift', 'ok', 'fault'])
    """

    words: list[Word]
    codes: bytes

    @classmethod
    def of(cls, texts: Sequence[Word]) -> Self:
        """These texts; raises `Unfit` where too many are different."""
        place: dict[Word, int] = {}
        codes = _places(place, texts)
        return cls([*place], codes)

    def holds(self, rows: int) -> bool:
        return len(self.codes) == rows and not self.codes.translate(None, _BYTES[: len(self.words)])

    def tolist(self) -> list[Any]:
        return [*map(self.words.__getitem__, self.codes)]

    def cut(self, begin: int, end: int) -> Self:
        return type(self)(self.words, self.codes[begin:end])

    def take(self, numbers: Sequence[int]) -> Self:
        return type(self)(self.words, bytes(map(self.codes.__getitem__, numbers)))

    def having(self, wanted: Collection[str]) -> list[int]:
        """The numbers of the rows that have one of these texts."""
        if not any(word in self.words for word in wanted):
            return []
        has = bytes(word in wanted for word in self.words[:WORDS]).ljust(256, b"\0")
        return [*compress(range(len(self.codes)), self.codes.translate(has))]

    @classmethod
    def joined(cls, columns: Sequence[Self | list[Any]], rows: Sequence[int]) -> Self:
        packed = [column for column in columns if not isinstance(column, list)]
        words = [column.words for column in packed]
        if len(packed) == len(columns) and words.count(words[0]) == len(words):
            return cls(words[0], b"".join([column.codes for column in packed]))
        place: dict[Word, int] = {}
        parts, tables = [], dict[int, bytes]()
        for column, many in zip(columns, rows, strict=True):
            if isinstance(column, list):
                codes = _places(place, column)
                parts.append(codes if len(codes) == many else codes * many)
            else:
                if (table := tables.get(id(column.words))) is None:  # many columns have the very same words
                    table = tables[id(column.words)] = _places(place, column.words).ljust(256, b"\0")
                parts.append(column.codes.translate(table))
        return cls([*place], b"".join(parts))


_BYTES: Final = bytes(range(256))


def _places(known: dict[Word, int], words: Sequence[Word]) -> bytes:
    """The place of each word among those that are known, to which it is added."""
    try:
        return bytes([known.setdefault(word, len(known)) for word in words])
    except (ValueError, TypeError):
        raise Unfit(f"more than {WORDS} words, or such as are no texts") from None


class Counts(Packed, frozen=True, gc=False):
    """Lists of counts, each of a length of its own.

    Attributes
    ----------
    lengths
        Of each list, in four bytes.
    counts
        End to end, all in four bytes each, or in eight.

    Examples
    --------
    >>> two = Counts.joined([[[1, 2], []], [[2**32]]], [2, 2])
    >>> two.tolist(), two.width, two.take([3, 0]).tolist()
    ([[1, 2], [], [4294967296], [4294967296]], 8, [[4294967296], [1, 2]])
    """

    lengths: bytes
    counts: bytes

    @property
    def width(self) -> int:
        """How many bytes a count takes."""
        return len(self.counts) // (sum(self.sizes()) or 1) or 4

    def sizes(self) -> tuple[int, ...]:
        """The length of each list."""
        return unpack(f"<{len(self.lengths) // 4}I", self.lengths)

    def holds(self, rows: int) -> bool:
        return len(self.lengths) == 4 * rows and self.width in _FORMS and len(self.counts) == sum(self.sizes()) * self.width

    def tolist(self) -> list[Any]:
        width = self.width
        counts = unpack(f"<{len(self.counts) // width}{_FORMS[width]}", self.counts)
        return [[*counts[begin:end]] for begin, end in pairwise(accumulate(self.sizes(), initial=0))]

    def cut(self, begin: int, end: int) -> Self:
        at, width = [*accumulate(self.sizes(), initial=0)], self.width
        return type(self)(self.lengths[4 * begin : 4 * end], self.counts[at[begin] * width : at[end] * width])

    def take(self, numbers: Sequence[int]) -> Self:
        told = [self.cut(i, i + 1) for i in numbers]
        return type(self)(b"".join([each.lengths for each in told]), b"".join([each.counts for each in told]))

    @classmethod
    def joined(cls, columns: Sequence[Self | list[Any]], rows: Sequence[int]) -> Self:
        packed = [column for column in columns if not isinstance(column, list)]
        if len(packed) < len(columns) or len({column.width for column in packed if column.counts}) > 1:
            told = zip([column if isinstance(column, list) else column.tolist() for column in columns], rows, strict=True)
            return cls._of([each for column, many in told for each in (column if len(column) == many else column * many)])
        return cls(b"".join([column.lengths for column in packed]), b"".join([column.counts for column in packed]))

    @classmethod
    def _of(cls, lists: Sequence[Sequence[int]]) -> Self:
        counts = [count for each in lists for count in each]
        try:
            form = _FORMS[4 if max(counts, default=0) < 2**32 else 8]
            return cls(pack(f"<{len(lists)}I", *map(len, lists)), pack(f"<{len(counts)}{form}", *counts))
        except (error, TypeError, OverflowError) as problem:
            raise Unfit(str(problem)) from None


class Runs(Packed, frozen=True, gc=False):
    """Values of any one type, each of several rows next to one another.

    Attributes
    ----------
    values
        Of each run.
    sizes
        How many rows each run has, at least one.

    Examples
    --------
    >>> three = Runs.joined([[60], Runs([90, 120], [1, 2])], [2, 3])
    >>> three.tolist(), three.cut(1, 4), three.take([4, 0]).tolist()
    ([60, 60, 90, 120, 120], Runs(values=[60, 90, 120], sizes=[1, 1, 1]), [120, 60])
    """

    values: list[Any]
    sizes: list[int]

    def holds(self, rows: int) -> bool:
        return len(self.values) == len(self.sizes) and sum(self.sizes) == rows

    def tolist(self) -> list[Any]:
        return [*chain.from_iterable(map(repeat, self.values, self.sizes))]

    def cut(self, begin: int, end: int) -> Self:
        if begin == end:
            return type(self)([], [])
        ends = [*accumulate(self.sizes)]
        first, last = bisect_right(ends, begin), bisect_left(ends, end)
        return type(self)(self.values[first : last + 1], [b - a for a, b in pairwise([begin, *ends[first:last], end])])

    def take(self, numbers: Sequence[int]) -> Self:
        ends = [*accumulate(self.sizes)]
        return type(self)([self.values[bisect_right(ends, i)] for i in numbers], [1] * len(numbers))

    @classmethod
    def joined(cls, columns: Sequence[Self | list[Any]], rows: Sequence[int]) -> Self:
        values, sizes = list[Any](), list[int]()
        for column, many in zip(columns, rows, strict=True):
            values += column if isinstance(column, list) else column.values
            sizes += [many // len(column)] * len(column) if isinstance(column, list) else column.sizes
        return cls(values, sizes)


#: As what columns of these types are packed.
PACKINGS: Final[dict[Any, type[Packed]]] = {
    float: Floats, float | None: Floats, int: Wholes, bool: Flags, str: Coded, list[int]: Counts,
}  # fmt: skip
