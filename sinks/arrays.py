"""From columns of rows to Arrow arrays, for the sinks that take these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from driftline.schemas.packed import Coded, Counts, Flags, Floats, Packed, Runs, Wholes
from driftline.schemas.results import Columns
from driftline.sinks.sink import Refused


def arrays_of(rows: Columns[Any], kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    """The columns as arrays of these types; raises `Refused` where a value does not fit its own."""
    try:
        return [_array(values, len(rows), kind) for values, kind in zip(rows.values, kinds, strict=True)]
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise Refused(str(error)) from None


def _array(values: list[Any] | Packed, rows: int, kind: pa.DataType) -> pa.Array[Any]:
    if isinstance(values, Packed):
        return _unpacked(values, kind)
    if pa.types.is_map(kind):
        if not any(values):
            return _nothing(rows, kind)
        values = [list(value.items()) if isinstance(value, dict) else value for value in values]
    if len(values) == rows:
        return pa.array(values, type=kind)
    if pa.types.is_nested(kind):  # to repeat such a value takes as long as to read it five times
        return pa.array(values * rows, type=kind)
    one: Any = pa.scalar(values[0], type=kind)
    repeated: pa.Array[Any] = pa.repeat(one, rows)
    return repeated


def _nothing(rows: int, kind: Any) -> pa.Array[Any]:
    """So many empty maps."""
    maps: Any = pa.MapArray
    told: pa.Array[Any] = maps.from_arrays(np.zeros(rows + 1, np.int32), pa.array([], kind.key_type), pa.array([], kind.item_type), kind)
    return told


def _unpacked(values: Packed, kind: Any) -> pa.Array[Any]:
    """The same of bytes, of which nobody makes objects, and of runs."""
    told: Any
    match values:
        case Runs(each, sizes):
            numbers: Any = np.repeat(np.arange(len(sizes)), sizes)
            told = _array(each, len(each), kind).take(numbers)
        case Floats(data):
            told = pa.array(np.frombuffer(data, "<f8"), from_pandas=True)  # NaN is None
        case Wholes(data):
            told = pa.array(np.frombuffer(data, "<i8"))
        case Flags(data):
            told = pa.array(np.frombuffer(data, np.bool_))
        case Coded(words, codes):
            places: Any = np.frombuffer(codes, np.uint8)
            told = pa.array(words, type=kind).take(places)
        case Counts():
            lists: Any = pa.ListArray
            ends: Any = np.cumsum([0, *values.sizes()], dtype=np.int32)
            counts: Any = pa.array(np.frombuffer(values.counts, f"<u{values.width}"))
            told = lists.from_arrays(pa.array(ends), counts.cast(kind.value_type), kind)
    fits: pa.Array[Any] = told if told.type == kind else told.cast(kind)
    return fits
