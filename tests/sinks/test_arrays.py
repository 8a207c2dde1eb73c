"""Packed columns become the arrays that lists become."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from driftline.schemas.packed import Coded, Counts, Flags, Floats, Packed, Runs, Wholes
from driftline.schemas.results import Columns, Orphan
from driftline.sinks.arrays import arrays_of
from driftline.sinks.sink import Refused

TIME = pa.timestamp("ms", "UTC")
SAME: list[tuple[type[Packed], list[Any], pa.DataType]] = [
    (Floats, [0.5, None, -0.0, float("inf")], pa.float64()),
    (Wholes, [0, 2**62], pa.uint64()),
    (Wholes, [0, 2**32 - 1], pa.uint32()),
    (Wholes, [-1, 1_700_000_000_000], TIME),
    (Flags, [True, False], pa.bool_()),
    (Coded, ["a", "", "ü", "a"], pa.string()),
    (Coded, ["a", "", "ü", "a"], pa.binary()),
    (Counts, [[1, 2], [], [2**64 - 1]], pa.list_(pa.uint64())),
    (Counts, [[1, 2], [3]], pa.list_(pa.field("item", pa.uint64(), nullable=False))),
]


@pytest.mark.parametrize(("packing", "values", "kind"), SAME)
def test_packed_columns_become_the_arrays_that_lists_become(packing: type[Packed], values: list[Any], kind: pa.DataType) -> None:
    [array] = arrays_of(Columns(Orphan, len(values), (packing.joined([values], [len(values)]),)), [kind])
    array.validate(full=True)
    assert array.equals(pa.array(values, type=kind)) and array.type == kind


def test_no_names_at_all_are_maps_of_nothing() -> None:
    kind = pa.map_(pa.binary(), pa.float64())
    told: list[list[Any]] = [[{}], [{}, {}, {}]]
    for values in told:
        [array] = arrays_of(Columns(Orphan, 3, (values,)), [kind])
        array.validate(full=True)
        assert array.equals(pa.array([[], [], []], type=kind))


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.5, None], pa.float64()), ([7, 2**62], TIME), (["a", "ü"], pa.binary()), ([{}, {"a": 0.5}], pa.map_(pa.binary(), pa.float64()))],
)
def test_runs_of_rows_become_the_arrays_that_their_rows_become(values: list[Any], kind: pa.DataType) -> None:
    runs = Runs(values, [2, 3])
    [array], [expected] = (arrays_of(Columns(Orphan, 5, (each,)), [kind]) for each in (runs, runs.tolist()))
    array.validate(full=True)
    assert array.equals(expected) and array.type == kind


@pytest.mark.parametrize(("values", "kind"), [([-1, 2], pa.uint64()), ([0, 2**32], pa.uint32())])
def test_numbers_that_do_not_fit_are_refused(values: list[int], kind: pa.DataType) -> None:
    with pytest.raises(Refused):
        arrays_of(Columns(Orphan, 2, (Wholes.joined([values], [2]),)), [kind])
