"""How much memory a stream will take is known from its metadata, and no metadata misleads the reader."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.ipc import inflated_bytes

Codec = Literal["lz4", "zstd"] | None
COLUMNS: dict[str, Any] = {
    "number": np.arange(500.0), "text": [f"row {i}" for i in range(500)], "code": pa.array(["a", "b"] * 250).dictionary_encode(),
    "vector": [[0.0, 1.0]] * 500, "truth": [True, None] * 250, "view": pa.array(["a view of a text"] * 500, pa.string_view()),
}  # fmt: skip


def stream(codec: Codec) -> bytes:
    batch = pa.record_batch({name: pa.array(column) for name, column in COLUMNS.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(100))
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_it_is_the_size_of_the_columns_whatever_they_weigh_on_the_wire(codec: Codec) -> None:
    with pa.ipc.open_stream(stream(codec)) as reader:
        size = sum(buffer.size for batch in reader for column in batch.columns for buffer in column.buffers() if buffer)
    assert 0.9 * size < inflated_bytes(stream(codec)) < 1.2 * size


CHANGES = st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=8)


@given(st.sampled_from([None, "lz4", "zstd"]), CHANGES, st.integers(0, 9))
def test_broken_metadata_is_refused_or_read_to_an_end(codec: Codec, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(stream(codec))
    for place, byte in changes:
        data[place] = byte
    with suppress(ValueError):
        assert inflated_bytes(bytes(data[: len(data) - 500 * cut])) >= 0
