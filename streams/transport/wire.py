"""aiokafka's schemas of requests and answers, read and written many numbers at a time.

aiokafka calls several functions for every number. A fetch names each partition of a worker, and so does its answer, though most of them
have nothing: of sixty partitions that takes more than half a millisecond, however little comes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import chain, groupby
from typing import Any, Final

from aiokafka.protocol.types import Array, Bytes, Int8, Int16, Int32, Int64, Schema, String

Keep = Callable[[memoryview], bytes | memoryview]  # what becomes of a piece of bytes
Values = tuple[Any, ...]
Read = Callable[[memoryview, int, Keep], tuple[Values, int]]  # from a place on; and where they end
Write = Callable[[Sequence[Any]], bytes]

_CODES: Final = {Int8: "b", Int16: "h", Int32: "i", Int64: "q"}
_SHORT, _LONG = struct.Struct(">h"), struct.Struct(">i")


@cache
def reader(schema: Schema) -> Read:
    """Reads the fields of a schema; raises `ValueError` or `struct.error` where bytes end too early.

    >>> read = reader(Schema(("id", Int32), ("offset", Int64), ("data", Bytes)))
    >>> read(memoryview(bytes.fromhex("00000007 0000000000000009 00000002 6869")), 0, bytes)
    ((7, 9, b'hi'), 18)
    """
    parts = [_read_numbers(fields) if numbers else _read_one(fields[0]) for numbers, fields in _runs(schema)]

    def read(data: memoryview, at: int, keep: Keep) -> tuple[Values, int]:
        values: Values = ()
        for part in parts:
            more, at = part(data, at, keep)
            values += more
        return values, at

    return read


@cache
def writer(schema: Schema) -> Write:
    """Writes the fields of a schema.

    >>> writer(Schema(("id", Int16), ("names", Array(String()))))((7, ["a"])).hex()
    '000700000001000161'
    """
    parts, n = list[tuple[Write, int, int]](), 0
    for numbers, fields in _runs(schema):
        parts.append((_write_numbers(fields) if numbers else _write_one(fields[0]), n, n + len(fields)))
        n += len(fields)
    return lambda values: b"".join([write(values[begin:end]) for write, begin, end in parts])


def _runs(schema: Schema) -> list[tuple[bool, list[Any]]]:
    """Numbers that follow one another together, every other field alone."""
    runs = list[tuple[bool, list[Any]]]()
    for numbers, run in groupby(schema.fields, key=lambda field: field in _CODES):
        fields = [*run]
        runs += [(True, fields)] if numbers else [(False, [field]) for field in fields]
    return runs


@lru_cache(1_000)
def _struct(codes: str, times: int = 1) -> struct.Struct:
    return struct.Struct(">" + codes * times)


def _codes(fields: Sequence[Any]) -> str:
    return "".join(_CODES[field] for field in fields)


def _read_numbers(fields: Sequence[Any]) -> Read:
    numbers = _struct(_codes(fields))
    unpack, size = numbers.unpack_from, numbers.size
    return lambda data, at, keep: (unpack(data, at), at + size)


def _write_numbers(fields: Sequence[Any]) -> Write:
    pack = _struct(_codes(fields)).pack
    return lambda values: pack(*values)


def _read_one(field: Any) -> Read:
    if isinstance(field, Array):
        return _read_array(field)
    if isinstance(field, String):
        return lambda data, at, keep: _read_piece(data, at, _SHORT, lambda piece: str(piece, field.encoding))
    if field is Bytes:
        return lambda data, at, keep: _read_piece(data, at, _LONG, keep)
    raise TypeError(f"{field} is not known here")


def _write_one(field: Any) -> Write:
    if isinstance(field, Array):
        return _write_array(field)
    if isinstance(field, String) or field is Bytes:
        encode = field.encode
        return lambda values: bytes(encode(values[0]))
    raise TypeError(f"{field} is not known here")


def _read_piece(data: memoryview, at: int, length: struct.Struct, keep: Callable[[memoryview], Any]) -> tuple[Values, int]:
    n, at = length.unpack_from(data, at)[0], at + length.size
    if n < 0:
        return (None,), at
    if at + n > len(data):
        raise ValueError(f"{n} bytes are announced, {len(data) - at} are left")
    return (keep(data[at : at + n]),), at + n


def _read_array(array: Array) -> Read:
    of = array.array_of
    read = reader(of) if isinstance(of, Schema) else _read_numbers([of]) if of in _CODES else _read_one(of)
    whole = isinstance(of, Schema)

    def items(data: memoryview, at: int, keep: Keep) -> tuple[Values, int]:
        n, at = _LONG.unpack_from(data, at)[0], at + _LONG.size
        if n == 0:
            return ([],), at
        if n == -1:
            return (None,), at
        out = []
        for _ in range(n):
            item, at = read(data, at, keep)
            out.append(item if whole else item[0])
        return (out,), at

    return items


def _write_array(array: Array) -> Write:
    of = array.array_of
    fields = of.fields if isinstance(of, Schema) else [of]
    if all(field in _CODES for field in fields):
        codes, rows = _codes(fields), isinstance(of, Schema)

        def body(items: Sequence[Any]) -> bytes:
            return _struct(codes, len(items)).pack(*(chain.from_iterable(items) if rows else items))

    else:
        write = writer(of) if isinstance(of, Schema) else _write_alone(of)

        def body(items: Sequence[Any]) -> bytes:
            return b"".join([write(item) for item in items])

    return lambda values: _LONG.pack(-1) if values[0] is None else _LONG.pack(len(values[0])) + body(values[0])


def _write_alone(field: Any) -> Write:
    write = _write_one(field)
    return lambda value: write([value])
