"""Whatever a row of any table holds comes back as it went in."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import Parquet, latest
from driftline.sinks.rows import TABLES

TIMES = st.integers(0, 7_258_118_400_000)  # 1970 to 2200
COUNTS = st.integers(0, 2**64 - 1)
TEXTS = st.text(max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: COUNTS,
    str: TEXTS,
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    list[int]: st.lists(COUNTS, max_size=4),
    dict[str, str]: st.dictionaries(TEXTS, TEXTS, max_size=3),
    dict[str, int]: st.dictionaries(TEXTS, COUNTS, max_size=3),
    dict[str, float]: st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=3),
    list[tuple[str, bytes]]: st.lists(st.tuples(TEXTS, st.binary(max_size=8)), max_size=3),
}
NAMED = {
    "ts": TIMES,
    "effective_from": TIMES,
    "time": TIMES,
    "began": st.none() | TIMES,
    "expires": TIMES,
    "label_ts": TIMES,
    "timed_out": TIMES,
    "partition": st.integers(0, 2**31),
    "coverage": st.floats(0, 1),
}
run_number = count()


def values(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    if name in NAMED or name.endswith(("_start", "_end")):
        return NAMED.get(name, TIMES)
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) in {Union, types.UnionType}:
        return st.none() | values(name, get_args(annotation)[0])
    return PLAIN[annotation]


def lawful(row: msgspec.Struct) -> msgspec.Struct:
    """The row with what its table demands: windows and panes have a length, labels belong to predictions."""
    fields = msgspec.structs.asdict(row)
    changes: dict[str, Any] = {}
    if "window_end" in fields:
        changes["window_end"] = fields["window_start"] + 1 + fields["window_end"] % 86_400_000
    if "pane_ms" in fields:
        changes["pane_ms"] = fields["pane_ms"] // 2 + 1
    if "n_labelled" in fields:
        changes["n_labelled"] = min(fields["n_labelled"], fields["n"])
    return msgspec.structs.replace(row, **changes)


def row_of(table: str) -> st.SearchStrategy[msgspec.Struct]:
    hints = get_type_hints(TABLES[table])
    return st.builds(TABLES[table], **{name: values(name, hints[name]) for name in TABLES[table].__struct_fields__}).map(lawful)


def wire(value: Any, annotation: Any) -> Any:
    """What the store answered, in the terms of the row."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, bytes) and annotation is not bytes:
        return value.decode()
    if get_origin(annotation) is dict:
        return {wire(name, str): wire(part, get_args(annotation)[1]) for name, part in value}
    return [(wire(name, str), text) for name, text in value] if annotation == list[tuple[str, bytes]] else value


def came_back(table: str, found: dict[str, Any]) -> msgspec.Struct:
    """The row that an answer holds."""
    hints = get_type_hints(TABLES[table])
    return TABLES[table](**{name: wire(value, hints[name]) for name, value in found.items()})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('round-trip')}/store") as opened:
        opened.migrate()
        yield opened


@pytest.mark.parametrize("table", TABLES)
@settings(max_examples=20)
@given(data=st.data())
def test_a_row_comes_back_as_it_went_in(store: ClickHouse, table: str, data: st.DataObject) -> None:
    row = data.draw(row_of(table))
    store._command(f"TRUNCATE TABLE `{table}`")
    store.insert(table, [row], f"{table}{next(run_number)}")
    (found,) = store._call(lambda client: client.query_arrow(f"SELECT * FROM `{table}`", use_strings=False)).to_pylist()
    assert came_back(table, found) == row


@pytest.mark.parametrize("table", TABLES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_row_comes_back_from_files_as_it_went_in(tmp_path: Path, table: str, data: st.DataObject) -> None:
    row = data.draw(row_of(table))
    directory = tmp_path / str(next(run_number))
    with Parquet(directory) as sink:
        sink.insert(table, [row], "t")
    (found,) = latest(directory, table).drop_columns(["day"]).to_pylist()
    assert came_back(table, found) == row
