"""From columns of rows to Arrow arrays, for the sinks that take these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from driftline.schemas.results import Columns
from driftline.sinks.sink import Refused


def arrays_of(rows: Columns[Any], kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    """The columns as arrays of these types; raises `Refused` where a value does not fit its own."""
    try:
        return [_array(values, len(rows), kind) for values, kind in zip(rows.values, kinds, strict=True)]
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise Refused(str(error)) from None


def _array(values: list[Any], rows: int, kind: pa.DataType) -> pa.Array[Any]:
    if pa.types.is_map(kind):
        values = [list(value.items()) if isinstance(value, dict) else value for value in values]
    if len(values) == rows:
        return pa.array(values, type=kind)
    if pa.types.is_nested(kind):  # to repeat such a value takes as long as to read it five times
        return pa.array(values * rows, type=kind)
    one: Any = pa.scalar(values[0], type=kind)
    repeated: pa.Array[Any] = pa.repeat(one, rows)
    return repeated
