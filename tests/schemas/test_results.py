"""Records of results: rows go in, columns travel, the same rows come out."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from itertools import groupby
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.packed import Coded, Packed, Runs, Unfit, Wholes
from driftline.schemas.results import (
    CODEC,
    ROWS_LIMIT,
    Columns,
    DriftResult,
    FeaturePane,
    Orphan,
    QualityResult,
    References,
    Results,
    Table,
    columns_of,
    decode_results,
    decode_verdicts,
    encode_results,
    joined,
    packings,
)

DRIFT = DriftResult(
    "churn", "7", "", 0, 3_600_000, "age", "psi", 0.5, 0.001, 0.1, 0.5, 0.2, 900, 400, "drift", "", "ref", "pol", True, 1.0, 5
)
ORPHAN = Orphan("churn", 0, 3, "5ca1ab1e5ca1ab1e", 60, 90, 7)

few = st.sampled_from(["", "a", "ü"])
figure = st.sampled_from([None, 0.0, -0.0, 1.0, 0.25, float("inf")])
shares = st.sampled_from([{}, {"a": 0.0}, {"a": -0.0}, {"a": 1.0, "b": 0.5}])
drifts = st.builds(
    DriftResult, *([few] * 3), st.integers(0, 2), st.integers(0, 2**62), few, few, *([figure] * 5), st.integers(0, 1),
    st.integers(0, 2**64 - 1), st.sampled_from(["ok", "drift"]), few, few, few, st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 1), began=st.sampled_from([None, 0, 7]), split=shares, carriers=shares,
)  # fmt: skip
tables = st.lists(drifts, min_size=1, max_size=6)


wholes = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**64 - 1))
panes = st.lists(
    st.builds(
        FeaturePane, few, few, few, wholes, st.just(60_000), few, st.sampled_from(["numeric", "categorical"]), *([wholes] * 3),
        *([figure] * 4), st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1)), max_size=3),
        st.dictionaries(few, st.integers(0, 9)), few, st.integers(0, 9),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def packed(columns: Columns[Any]) -> Columns[Any]:
    """The same rows, of which all columns are packed that can be."""
    told, kind = list[Any](), cast(Any, columns.kind)
    for values, packing in zip(columns.values, packings(kind), strict=True):
        try:
            told.append(packing.joined([values], [columns.rows]) if packing else values)
        except Unfit:
            told.append(values)
    return Columns(columns.kind, columns.rows, tuple(told))


def bits(rows: Any) -> bytes:
    """Tells -0.0 from 0.0."""
    return msgspec.msgpack.encode(list(rows))


@given(tables)
def test_the_same_rows_come_out_to_the_bit(rows: list[DriftResult]) -> None:
    value = encode_results(Results(drift_results=rows, orphans=[ORPHAN]))
    assert bits(decode_results(value).drift_results) == bits(rows)
    assert bits(decode_verdicts(value).drift_results) == bits(rows)
    assert decode_results(value).orphans == [ORPHAN]


@given(st.lists(tables, min_size=1, max_size=4), st.integers(-30, 30), st.integers(-30, 30), st.lists(st.booleans(), min_size=4))
def test_columns_are_the_rows_they_were_made_of(parts: list[list[DriftResult]], first: int, end: int, as_bytes: list[bool]) -> None:
    rows = [row for part in parts for row in part]
    columns = joined([packed(columns_of(part)) if pack else columns_of(part) for part, pack in zip(parts, as_bytes, strict=False)])
    assert bits(columns) == bits(rows)
    assert bits(columns[first:end]) == bits(rows[first:end])
    assert bits(columns[end:first:-2]) == bits(rows[end:first:-2])
    assert bits(columns[i] for i in range(len(columns))) == bits(rows)
    assert bits(columns.take([len(rows) - 1, 0])) == bits([rows[-1], rows[0]])
    assert columns.column("window_start") == [row.window_start for row in rows]
    assert [*columns.having("feature", "a", "ü")] == [i for i, row in enumerate(rows) if row.feature in {"a", "ü"}]
    same = len({(row.model, row.revision) for row in rows}) == 1
    assert columns.once("model", "revision") in ([(rows[0].model, rows[0].revision), None] if same else [None])


@given(st.lists(panes, min_size=1, max_size=3), st.data())
def test_packed_columns_say_on_the_wire_what_lists_say(parts: list[list[FeaturePane]], data: st.DataObject) -> None:
    rows = [row for part in parts for row in part]
    results = Results(feature_panes=[])
    for part in parts:
        results.feature_panes.extend(packed(columns_of(part)) if data.draw(st.booleans()) else columns_of(part))
    value, of_then = encode_results(results), columns_of(rows)
    assert bits(decode_results(value).feature_panes) == bits(rows)
    assert bits(joined([*decode_results(value).feature_panes.parts()])) == bits(rows)
    written = msgspec.msgpack.encode({"feature_panes": {"rows": len(rows), "values": of_then.values}})
    assert bits(decode_results(written).feature_panes) == bits(rows)


@settings(max_examples=300)
@given(panes, st.data())
def test_a_record_that_is_cut_or_changed_is_refused_or_has_rows(rows: list[FeaturePane], data: st.DataObject) -> None:
    results = Results()
    results.feature_panes.extend(packed(columns_of(rows)))
    value = bytearray(encode_results(results))
    with pytest.raises(msgspec.MsgspecError):
        decode_results(bytes(value[: data.draw(st.integers(0, len(value) - 1))]))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        told = decode_results(bytes(value)).feature_panes
    except msgspec.MsgspecError:
        return
    assert len([*told]) == len(told)


ORPHANS: dict[str, Packed] = {"offset": Wholes(bytes(16)), "model": Coded(["a", "b"], b"\0\1")}
UNWHOLE: dict[str, tuple[str, Packed]] = {
    "too few bytes": ("offset", Wholes(bytes(8))),
    "bytes that are no whole number": ("offset", Wholes(bytes(17))),
    "a text that is none of the words": ("model", Coded(["a"], b"\0\1")),
    "too many texts": ("model", Coded(["a"], bytes(3))),
    "another packing": ("model", Wholes(bytes(16))),
}


@pytest.mark.parametrize(("name", "column"), UNWHOLE.values(), ids=UNWHOLE)
def test_a_packed_column_that_is_not_whole_is_refused(name: str, column: Packed) -> None:
    results, two = Results(), columns_of([ORPHAN, msgspec.structs.replace(ORPHAN, offset=4)])
    results.orphans.extend(two.with_columns(ORPHANS))
    assert decode_results(encode_results(results)) == results
    results = Results()
    results.orphans.extend(two.with_columns(ORPHANS | {name: column}))
    with pytest.raises(msgspec.MsgspecError):
        decode_results(encode_results(results))


def test_what_a_newer_release_wrote_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_results(bytes([CODEC + 1]) + encode_results(Results(orphans=[ORPHAN]))[1:])


def test_what_is_the_same_in_all_rows_is_told_once() -> None:
    rows = [msgspec.structs.replace(DRIFT, feature=f"f{i}") for i in range(1_000)]
    assert len(encode_results(Results(drift_results=rows))) < 8_000


def test_a_row_beyond_the_end_is_none() -> None:
    with pytest.raises(IndexError):
        columns_of([DRIFT])[1]


def test_tables_without_rows_are_left_out() -> None:
    assert decode_results(encode_results(Results())).tables() == {}
    assert decode_results(encode_results(Results(orphans=[ORPHAN]))).tables() == {"orphans": [ORPHAN]}


def test_a_record_of_rows_as_they_were_once_written_is_read() -> None:
    written = b64decode(
        "gq1kcmlmdF9yZXN1bHRzkdwAHKVjaHVybqE3oADOADbugKNhZ2WjcHNpyz/gAAAAAAAAyz9QYk3S8an8yz+5mZmZmZmayz/gAAAAAAAAyz/JmZmZmZmazQOE"
        "zQGQpWRyaWZ0oKNyZWajcG9sw8s/8AAAAAAAAAXAoKCodHJhaW5pbmfAgICnb3JwaGFuc5GXpWNodXJuAAOwNWNhMWFiMWU1Y2ExYWIxZTxaBw=="
    )
    assert decode_results(written) == Results(drift_results=[DRIFT], orphans=[ORPHAN])
    assert list(decode_verdicts(written).drift_results) == [DRIFT]


def test_a_column_that_an_older_release_did_not_know_has_its_default() -> None:
    of_then = [[each] for each in msgspec.structs.astuple(DRIFT)[:21]]
    value = msgspec.msgpack.encode({"drift_results": {"rows": 2, "values": of_then}})
    assert decode_results(value).drift_results == [DRIFT, DRIFT]


def test_a_column_and_a_table_that_a_newer_release_knows_are_passed_over() -> None:
    of_then = [*([each] for each in msgspec.structs.astuple(ORPHAN)), ["new"]]
    value = msgspec.msgpack.encode({"orphans": {"rows": 1, "values": of_then}, "news": [1]})
    assert decode_results(value) == Results(orphans=[ORPHAN])


def told(rows: object = 2, runs: object = None, **changes: object) -> dict[str, Any]:
    columns = {name: [value] for name, value in msgspec.structs.asdict(ORPHAN).items()} | changes
    return {"orphans": {"rows": rows, "values": list(columns.values())} | ({} if runs is None else {"runs": runs})}


UNREADABLE: dict[str, object] = {
    "a column of another type": told(model=[7]),
    "a column that is too short": told(rows=3, offset=[1, 2]),
    "a column that is too long": told(offset=[1, 2, 3]),
    "a column of nothing": told(offset=[]),
    "no rows": told(rows=0),
    "runs of fewer rows": told(rows=4, runs=[1, 2], offset=[3, 4]),
    "runs of more rows than there can be": told(rows=4, runs=[2**62, 2**62], offset=[3, 4]),
    "a run without rows": told(rows=3, runs=[3, 0], offset=[3, 4]),
    "a run of less than no rows": told(rows=3, runs=[4, -1], offset=[3, 4]),
    "values of more runs": told(rows=4, runs=[2, 2], offset=[3, 4, 5]),
    "more rows than there can be": told(rows=ROWS_LIMIT + 1),
    "columns that are missing": {"orphans": {"rows": 1, "values": [["churn"]]}},
    "rows that are too short": {"orphans": [["churn"]]},
    "no table": {"orphans": 7},
}


def in_parts(record: Any) -> bytes:
    """As it is written today: each table a list of parts."""
    return bytes([CODEC]) + msgspec.msgpack.encode({name: [part] for name, part in record.items()})


@pytest.mark.parametrize("write", [msgspec.msgpack.encode, in_parts], ids=["of then", "of now"])
@pytest.mark.parametrize("record", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_of_another_shape_is_refused(record: object, write: Callable[[object], bytes]) -> None:
    assert decode_results(write(told())) == Results(orphans=[ORPHAN, ORPHAN])
    with pytest.raises(msgspec.MsgspecError):
        decode_results(write(record))


@pytest.mark.parametrize("codec", [2, CODEC])
def test_records_with_several_parts_of_a_table_are_read_as_an_older_release_wrote_them(codec: int) -> None:
    written = msgspec.msgpack.encode({"orphans": [told()["orphans"], told(offset=Wholes(bytes(16)))["orphans"]]})
    known = [msgspec.structs.replace(ORPHAN, offset=offset) for offset in (3, 3, 0, 0)]
    assert decode_results(bytes([codec]) + written) == Results(orphans=known)


def test_a_record_of_many_parts_has_no_more_rows_than_one_of_one() -> None:
    part = told(rows=ROWS_LIMIT // 2)["orphans"]
    written = [bytes([CODEC]) + msgspec.msgpack.encode({"orphans": [part] * parts}) for parts in (2, 3)]
    assert len(decode_results(written[0]).orphans) == ROWS_LIMIT
    with pytest.raises(msgspec.ValidationError, match=f"at most {ROWS_LIMIT} "):
        decode_results(written[1])


def test_verdicts_are_read_without_the_rest() -> None:
    check = QualityResult("churn", "7", "", 0, 60, "age", "missing_rate", 0.0, 0.0, 0.1, 9, "ok", "", "ref", "pol", True, 1.0, 1)
    known = References("churn", "7", "ref", "training", 0, 900, "{}", 1)
    verdicts = decode_verdicts(encode_results(Results(quality_results=[check], references=[known])))
    assert (list(verdicts.drift_results), list(verdicts.quality_results)) == ([], [check])


@given(st.lists(st.tuples(tables, st.booleans()), max_size=5))
def test_a_table_holds_rows_in_order_however_they_came(told: list[tuple[list[DriftResult], bool]]) -> None:
    table, rows = Table[DriftResult](), list[DriftResult]()
    for part, as_columns in told:
        table.extend(columns_of(part) if as_columns else part)
        table.append(part[0])
        rows += [*part, part[0]]
    assert bits(table) == bits(row for part in table.parts() for row in part) == bits(rows)
    assert len(table) == len(rows) and table == rows == Table(table)


def test_a_table_is_its_own_and_not_the_list_it_was_made_of() -> None:
    rows, table = [DRIFT], Table([DRIFT])
    Table(table).append(DRIFT)
    table.extend(rows)
    table.append(DRIFT)
    assert (len(rows), len(table)) == (1, 3)


@given(tables)
def test_rows_that_belong_together_are_cut_from_columns_as_from_rows(rows: list[DriftResult]) -> None:
    columns = columns_of(rows)
    cut = [(about, bits(columns[begin:end])) for about, begin, end in columns.spans("version", "revision")]
    assert cut == [(about, bits(part)) for about, part in groupby(rows, key=lambda row: (row.version, row.revision))]


@given(st.lists(tables, min_size=2, max_size=4), st.data())
def test_what_runs_of_rows_share_is_told_once_of_each_and_the_rows_are_the_same(
    parts: list[list[DriftResult]], data: st.DataObject
) -> None:
    alike = [[part[0]] * len(part) if data.draw(st.booleans()) else part for part in parts]
    results, rows = Results(), [row for part in alike for row in part]
    for part in alike:
        results.drift_results.extend(columns_of(part))
    [told] = decode_results(value := encode_results(results)).drift_results.parts()
    again = Results()
    again.drift_results.extend(told)
    assert (
        bits(told) == bits(decode_verdicts(value).drift_results) == bits(decode_results(encode_results(again)).drift_results) == bits(rows)
    )
    for more in (columns_of(rows), told, columns_of(rows[:1])):
        again.drift_results.extend(more)
    assert bits(decode_results(encode_results(again)).drift_results) == bits([*rows, *rows, *rows, *rows[:1]])
    spans = [*told.spans("window_start", "revision")]
    ends = [end for *_, end in spans]
    assert [begin for _, begin, _ in spans] == [0, *ends[:-1]] and ends[-1] == len(rows)
    assert all({(row.window_start, row.revision) for row in rows[begin:end]} == {about} for about, begin, end in spans)
    spread = [
        [*(each if len(each) == end - begin else [*each] * (end - begin))]
        for each, (_, begin, end) in zip(told.told_in("value", ends), spans, strict=True)
    ]
    assert bits(spread) == bits([[row.value for row in rows[begin:end]] for _, begin, end in spans])


def test_columns_of_windows_are_told_once_a_window() -> None:
    results = Results()
    for start in (0, 60):
        results.drift_results.extend([msgspec.structs.replace(DRIFT, window_start=start, feature=name) for name in ("age", "plan")])
    [part] = decode_results(encode_results(results)).drift_results.parts()
    assert (part.values[3], part.values[0]) == (Runs([0, 60], [2, 2]), ["churn"])
