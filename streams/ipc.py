"""How much memory an Arrow IPC stream will take, from its metadata alone. A kilobyte of compressed buffers can ask for gigabytes.

pyarrow reads these sizes only while it decompresses, so the few fields that tell them are looked up in the metadata here. Layout:
https://arrow.apache.org/docs/format/Columnar.html (encapsulated messages, buffer compression) and flatbuffers' internals.
"""

from __future__ import annotations

from struct import error, unpack_from

Stream = bytes | memoryview
DICTIONARY, RECORDS = 2, 3  # of the union MessageHeader


def inflated_bytes(stream: Stream) -> int:
    """Bytes of all buffers of a stream when they are decompressed, never less than what its metadata says.

    Raises `ValueError` where the metadata points outside the stream.

    >>> import pyarrow as pa
    >>> batch = pa.record_batch({"x": [0.0] * 100_000})
    >>> sink = pa.BufferOutputStream()
    >>> with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
    ...     writer.write_batch(batch)
    >>> stream = sink.getvalue().to_pybytes()
    >>> len(stream) < 2_000, inflated_bytes(stream)
    (True, 800000)
    """
    total = at = 0
    try:
        while at + 4 <= len(stream):
            (length,) = unpack_from("<i", stream, at)
            at += 4
            if length == -1:  # the mark that newer writers put before the length
                (length,) = unpack_from("<i", stream, at)
                at += 4
            if length == 0:
                break
            size, body_length = _body(stream, at, at + length)
            if length < 0 or body_length < 0:
                raise ValueError("a message of negative length")
            total += size
            at += length + body_length
    except (error, IndexError) as why:
        raise ValueError(f"the metadata points outside the stream: {why}") from why
    return total


def _body(stream: Stream, at: int, body: int) -> tuple[int, int]:
    """Decompressed and present size of one message's buffers; its metadata begins at `at`, its buffers at `body`."""
    message = at + int(unpack_from("<I", stream, at)[0])
    length = int(unpack_from("<q", stream, place)[0]) if (place := field(stream, message, 3)) else 0
    kind = stream[place] if (place := field(stream, message, 1)) else 0
    records = table(stream, message, 2)
    if kind == DICTIONARY and records:
        records = table(stream, records, 1)
    if kind not in {DICTIONARY, RECORDS} or not records or not table(stream, records, 3):
        return length, length
    size, vector = 0, table(stream, records, 2)
    for i in range(unpack_from("<I", stream, vector)[0] if vector else 0):
        start, present = unpack_from("<qq", stream, vector + 4 + 16 * i)
        if present > 0:
            if start < 0:
                raise ValueError("a buffer before its message")
            told = int(unpack_from("<q", stream, body + start)[0])  # -1: this buffer is not compressed
            size += told if told >= 0 else present
    return size, length


def field(stream: Stream, parent: int, number: int) -> int:
    """Where a field of a flatbuffers table lies; 0 where it is absent."""
    vtable = parent - unpack_from("<i", stream, parent)[0]
    if vtable < 0:
        raise ValueError("a table outside the stream")
    if 4 + 2 * number >= unpack_from("<H", stream, vtable)[0]:
        return 0
    offset = int(unpack_from("<H", stream, vtable + 4 + 2 * number)[0])
    return parent + offset if offset else 0


def table(stream: Stream, parent: int, number: int) -> int:
    """Where the table or vector begins that a field points to; 0 where it is absent."""
    place = field(stream, parent, number)
    return place + int(unpack_from("<I", stream, place)[0]) if place else 0
