"""What the batches of one producer have in common: the bytes of their schema, and of their metadata all but a few numbers.

pyarrow reads a stream of a form first. Of the next one that is the same byte for byte, but for how many rows there are and where which
buffer lies, only these numbers must be looked at: `kernels.batches`. Of what is not understood here there is no form.

    schema │ metadata, texts of a dictionary │ … │ metadata, buffers of the columns │ end
    same     same, but numbers                     same, but numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as field_of
from struct import error, unpack_from
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.streams.ipc import DICTIONARY, RECORDS, Stream, field, table
from driftline.streams.transport.chunk import Chunk

NUMBER, TIME, ID, TRUTH, CODE, ABSENT = range(6)  # kinds of columns
DOUBLE, SINGLE = 10, 11  # kinds of numbers; whole ones have their width in bytes, and are negative without a sign
MARK = b"\xff\xff\xff\xff"  # before each message
END = MARK + bytes(4)
LONGEST = 1 << 16  # bytes of a schema that is remembered
KEPT_BYTES = 16 << 20  # of all forms that are remembered
_SCHEMA, _V5 = 1, 4
_BUFFERS = {NUMBER: 2, TIME: 2, ID: 3, TRUTH: 2, CODE: 2, ABSENT: 0}
_NUMBERS: dict[Any, int] = {
    pa.float64(): DOUBLE, pa.float32(): SINGLE, pa.int64(): 8, pa.int32(): 4, pa.int16(): 2, pa.int8(): 1, pa.uint32(): -4,
    pa.uint16(): -2, pa.uint8(): -1,
}  # fmt: skip
_OFFSETS = {pa.string(): 4, pa.large_string(): 8}  # bytes of each offset
_UNITS = {"ms": 1, "us": 1_000, "ns": 1_000_000}


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its kind, and of which one. `variant`: of numbers and codes the kind of number, of times the units in a millisecond.

    `node` and `buffer`: where in a row of what is surveyed its counts and its buffers are told; `texts`: where those of its dictionary
    are, whose offsets have `width` bytes, as those of ids have.
    """

    name: str
    kind: int
    variant: int = 0
    node: int = 0
    buffer: int = 0
    texts: int = 0
    width: int = 4


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Streams that differ in nothing else than numbers and buffers.

    Attributes
    ----------
    schema
        How many bytes the message of the schema has, which comes first.
    template, mask
        uint8: the metadata of the messages behind it, end to end, and which bits of them are the same in all.
    messages
        int64, shape (m, 8): of each its place in the template and its length; from its begin on, where the length of its body, the number
        of its rows and its nodes begin; how many nodes; where its buffers begin; how many.
    width
        How many numbers are surveyed: of each message how many rows, of each node its length and its nulls, of each buffer where it lies
        and how long it is.
    vocabulary
        What compiled code knows of the texts of its columns, if anything.
    names, columns, strange
        Of the fields: their names; what compiled code must know of each, int64, shape (n, 4); those that are no numbers.
    """

    model: str
    version: str
    schema: int
    template: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    messages: NDArray[np.int64]
    width: int
    fields: tuple[Field, ...]
    vocabulary: list[Any] = field_of(default_factory=list)
    names: tuple[str, ...] = field_of(init=False)
    columns: NDArray[np.int64] = field_of(init=False)
    strange: tuple[tuple[int, Field], ...] = field_of(init=False)

    def __post_init__(self) -> None:
        told = [(each.kind, each.width if each.kind == ID else each.variant, each.node, each.buffer) for each in self.fields]
        object.__setattr__(self, "names", tuple(each.name for each in self.fields))
        object.__setattr__(self, "columns", np.array(told, np.int64))
        object.__setattr__(self, "strange", tuple((c, each) for c, each in enumerate(self.fields) if each.kind != NUMBER))

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self.schema + 2 * len(self.template) + 500 * len(self.fields)


def schema_of(stream: Stream) -> bytes:
    """The bytes of the message that a stream begins with; none where it does not begin like one that has a form."""
    length = unpack_from("<i", stream, 4)[0] if stream[:4] == MARK and len(stream) > 8 else 0
    return bytes(stream[: 8 + length]) if 0 < length <= min(LONGEST, len(stream) - 8) else b""


def form_of(stream: Stream, schema: pa.Schema, model: str, version: str) -> Form | None:
    """The form of a stream that pyarrow has read, and in whose columns nothing was wrong with a type; None where it has none.

    >>> batch = pa.record_batch({"id": ["a"], "ts": [1_732_170_000_000], "label": [1]})
    >>> sink = pa.BufferOutputStream()
    >>> with pa.ipc.new_stream(sink, batch.schema) as writer:
    ...     writer.write_batch(batch)
    >>> form = form_of(sink.getvalue().to_pybytes(), batch.schema, "m", "")
    >>> [field.name for field in form.fields], form.width
    (['id', 'ts', 'label'], 21)
    """
    try:
        return _form(stream, schema, model, version)
    except (error, IndexError, ValueError):
        return None


def _form(stream: Stream, schema: pa.Schema, model: str, version: str) -> Form | None:
    dictionaries = _dictionaries(stream, len(schema))
    kinds = [known for each in schema if (known := _kind(each.name, each.type))]
    begin = len(schema_of(stream))
    if dictionaries is None or len(kinds) < len(schema) or not begin:
        return None
    told, parts, masks, starts, width, at = list[list[int]](), list[bytes](), list[bytes](), dict[int, int](), 0, begin
    nodes = buffers = 0
    while not nodes:
        part = bytes(stream[at : at + 8 + unpack_from("<i", stream, at + 4)[0]])
        if at + len(part) > begin + LONGEST:
            return None
        message = _numbers(part)
        mask = _mask(part, message)
        # What says where the numbers are must not be among what may differ.
        if part[:4] != MARK or len(part) % 8 or any(_numbers(_filled(part, mask, fill)) != message for fill in (0, 255)):
            return None
        if message.kind == RECORDS:
            nodes, buffers = width + 1, width + 1 + 2 * message.n_nodes
        elif message.id in starts or (message.n_nodes, message.n_buffers) != (1, _BUFFERS[ID]):
            return None
        else:
            starts[message.id] = width
        told.append([sum(map(len, parts)), len(part), *message.places])
        parts.append(part)
        masks.append(mask)
        width += 1 + 2 * message.n_nodes + 2 * message.n_buffers
        begin += (body := unpack_from("<q", part, message.body)[0])
        at += len(part) + body
    fields = list[Field]()
    for (name, kind, variant, size), id in zip(kinds, dictionaries, strict=True):
        fields.append(Field(name, kind, variant, nodes, buffers, -1 if id is None else starts.pop(id), size))
        nodes, buffers = nodes + 2, buffers + 2 * _BUFFERS[kind]
    if starts or buffers != width or nodes != fields[0].buffer:
        return None
    columns = np.frombuffer(b"".join(parts), np.uint8), np.frombuffer(b"".join(masks), np.uint8), np.array(told, np.int64)
    return Form(model, version, len(schema_of(stream)), *columns, width, tuple(fields))


@dataclass(frozen=True, slots=True)
class _Message:
    """Where the numbers are in a message's metadata; `id` is that of a dictionary."""

    kind: int
    id: int
    body: int
    rows: int
    nodes: int
    n_nodes: int
    buffers: int
    n_buffers: int

    @property
    def places(self) -> tuple[int, ...]:
        return self.body, self.rows, self.nodes, self.n_nodes, self.buffers, self.n_buffers


def _numbers(part: bytes) -> _Message:
    """Raises `ValueError` and others where a message is of another kind than those that forms have."""
    message = 8 + int(unpack_from("<I", part, 8)[0])
    kind, header = part[field(part, message, 1)], table(part, message, 2)
    records, id = header, -1
    if kind == DICTIONARY:
        records, id = table(part, header, 1), _long(part, field(part, header, 0))
        if (place := field(part, header, 2)) and part[place]:
            raise ValueError("a dictionary that adds to another")
    elif kind != RECORDS:
        raise ValueError("neither rows nor a dictionary")
    body, rows = field(part, message, 3), field(part, records, 0)
    nodes, buffers = table(part, records, 1), table(part, records, 2)
    if not all((header, records, body, rows, nodes, buffers)):
        raise ValueError("without numbers")
    if (
        field(part, message, 4)
        or field(part, records, 3)
        or field(part, records, 4)
        or unpack_from("<h", part, field(part, message, 0))[0] != _V5
    ):
        raise ValueError("more than numbers")
    n_nodes, n_buffers = unpack_from("<I", part, nodes)[0], unpack_from("<I", part, buffers)[0]
    if max(nodes + 4 + 16 * n_nodes, buffers + 4 + 16 * n_buffers) > len(part):
        raise ValueError("more nodes than there is room for")
    return _Message(kind, id, body, rows, nodes + 4, n_nodes, buffers + 4, n_buffers)


def _mask(part: bytes, message: _Message) -> bytes:
    mask = bytearray(b"\xff" * len(part))
    lengths = {message.body: 8, message.rows: 8, message.nodes: 16 * message.n_nodes, message.buffers: 16 * message.n_buffers}
    for place, length in lengths.items():
        mask[place : place + length] = bytes(length)
    if mask.count(0) != 16 + 16 * message.n_nodes + 16 * message.n_buffers:
        raise ValueError("numbers that lie over one another")
    return bytes(mask)


def _filled(part: bytes, mask: bytes, fill: int) -> bytes:
    same = np.frombuffer(mask, np.uint8)
    return (np.frombuffer(part, np.uint8) & same | np.uint8(fill) & ~same).tobytes()


def _long(part: Stream, place: int) -> int:
    return int(unpack_from("<q", part, place)[0]) if place else 0


def _dictionaries(stream: Stream, n: int) -> list[int | None] | None:
    """The id of each column's dictionary; None where it has none. None for all where the order of bytes is another."""
    message = 8 + int(unpack_from("<I", stream, 8)[0])
    schema = table(stream, message, 2)
    if stream[field(stream, message, 1)] != _SCHEMA or ((place := field(stream, schema, 0)) and stream[place]):
        return None
    fields, out = table(stream, schema, 1), list[int | None]()
    for i in range(n):
        place = fields + 4 + 4 * i
        told = table(stream, place + unpack_from("<I", stream, place)[0], 4)
        out.append(_long(stream, field(stream, told, 0)) if told else None)
    return out


def _kind(name: str, kind: Any) -> tuple[str, int, int, int] | None:
    """Name, kind, variant and width of a column; None where it is of none that is understood."""
    found: tuple[int, int | None, int | None] | None = None
    if name == "id":
        found = ID, 0, _OFFSETS.get(kind)
    elif name == "ts":
        found = TIME, _UNITS.get(kind.unit) if pa.types.is_timestamp(kind) else 1 if pa.types.is_int64(kind) else None, 4
    elif pa.types.is_dictionary(kind):
        found = CODE, _NUMBERS.get(kind.index_type), _OFFSETS.get(kind.value_type)
    elif kind in _NUMBERS:
        found = NUMBER, _NUMBERS[kind], 4
    elif pa.types.is_null(kind) or pa.types.is_boolean(kind):
        found = ABSENT if pa.types.is_null(kind) else TRUTH, 0, 4
    if found is None or found[1] is None or found[2] is None:
        return None
    return name, found[0], found[1], found[2]


class Forms:
    """Forms of streams that were met, of one kind of events."""

    def __init__(self) -> None:
        self._of: dict[bytes, Form] = {}  # by the message of their schema; the one that was asked for last is the last
        self._size = 0

    def parted(self, chunk: Chunk, numbers: Sequence[int]) -> tuple[list[tuple[Form, list[int]]], list[int]]:
        """The records that may have a form that is known, by form, and the others."""
        data, parts, others = memoryview(chunk.data), dict[bytes, list[int]](), list[int]()
        starts, ends = chunk.value_start.tolist(), chunk.value_end.tolist()
        schema = b""
        for number in numbers:
            begin = starts[number]
            if not schema or data[begin : min(begin + len(schema), ends[number])].tobytes() != schema:  # mostly that of the one before
                schema = schema_of(data[begin : ends[number]])
            (parts.setdefault(schema, []) if schema in self._of else others).append(number)
        for schema in parts:
            self._of[schema] = self._of.pop(schema)
        return [(self._of[schema], own) for schema, own in parts.items()], others

    def learn(self, stream: Stream, schema: pa.Schema, model: str, version: str) -> None:
        """Remember the form of a stream that has none that is known, if it has one; see `form_of`."""
        key, form = schema_of(stream), form_of(stream, schema, model, version)
        if form is None:
            return
        if key in self._of:
            self._size -= self._of.pop(key).size
        self._of[key] = form
        self._size += form.size
        while self._size > KEPT_BYTES:
            self._size -= self._of.pop(next(iter(self._of))).size
