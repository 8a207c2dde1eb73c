"""Requests and answers of fetches, read and written as aiokafka does it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import Array, Bytes, Int8, Int16, Int32, Int64, Schema, String, TaggedFields
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.transport.ask import Ask
from driftline.streams.transport.wire import reader, writer

KINDS = FetchRequest._CLASSES
SCHEMAS = [kind.SCHEMA for kind in KINDS] + [kind.RESPONSE_TYPE.SCHEMA for kind in KINDS]
BITS = {Int8: 8, Int16: 16, Int32: 32, Int64: 64}


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """What a field may hold."""
    if isinstance(field, Schema):
        return st.tuples(*map(values_of, field.fields))
    if isinstance(field, Array):
        return st.none() | st.lists(values_of(field.array_of), max_size=3)
    if isinstance(field, String):
        return st.none() | st.text(max_size=5)
    if field is Bytes:
        return st.none() | st.binary(max_size=5)
    return st.integers(-(1 << BITS[field] - 1), (1 << BITS[field] - 1) - 1)


@given(data=st.data(), schema=st.sampled_from(SCHEMAS))
def test_every_version_is_read_and_written_as_aiokafka_does(data: st.DataObject, schema: Schema) -> None:
    values = data.draw(values_of(schema))
    encoded = schema.encode(values)
    assert writer(schema)(values) == encoded
    before = b"else"
    assert reader(schema)(memoryview(before + encoded + b"and more"), len(before), bytes) == (values, len(before) + len(encoded))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_fetch_is_the_one_that_aiokafka_would_send(kind: Any) -> None:
    args = 50, 1, 1 << 24, 0, [("predictions", [(0, 1 << 40, 4 << 20), (7, 0, 5)]), ("panes", [(3, -1, 0)])], "rack"
    versions = {FetchRequest.API_KEY: (kind.API_VERSION, kind.API_VERSION)}
    ours, theirs = Ask(*args).prepare(versions), FetchRequest(*args).prepare(versions)
    assert type(ours).encode is not type(theirs).encode
    assert isinstance(ours, type(theirs)) and ours.encode() == theirs.encode()


@given(data=st.data(), schema=st.sampled_from(SCHEMAS))
def test_bytes_that_end_too_early_are_refused(data: st.DataObject, schema: Schema) -> None:
    encoded = schema.encode(data.draw(values_of(schema)))
    end = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises((ValueError, struct.error)):
        reader(schema)(memoryview(encoded[:end]), 0, bytes)


@pytest.mark.parametrize("announced", [-(1 << 31), -2, 1 << 30, (1 << 31) - 1])
def test_an_array_is_never_longer_than_what_came(announced: int) -> None:
    schema = Schema(("rows", Array(("id", Int32), ("data", Bytes))))
    told = memoryview(struct.pack(">iii", announced, 7, -1))
    if announced < 0:
        assert reader(schema)(told, 0, bytes) == (([],), 4)
    else:
        with pytest.raises(struct.error):
            reader(schema)(told, 0, bytes)


def test_pieces_of_bytes_become_what_is_asked_for() -> None:
    data = memoryview(struct.pack(">i2s", 2, b"hi"))
    [piece], _ = reader(Schema(("data", Bytes)))(data, 0, lambda piece: piece)
    assert isinstance(piece, memoryview) and piece.obj is data.obj


def test_a_field_of_another_kind_is_refused() -> None:
    schema = Schema(("tags", TaggedFields))
    for make in (reader, writer):
        with pytest.raises(TypeError, match="is not known here"):
            make(schema)
