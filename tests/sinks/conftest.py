"""Stores of their own for each test: the embedded one, and the same engine behind ClickHouse's HTTP protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from clickhouse_gateway import Gateway

from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import Parquet, latest
from driftline.sinks.sink import Retrying

PASSWORD = "s3cr:t/p@ss"
Open = Callable[..., ClickHouse]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    server = Gateway(tmp_path_factory.mktemp("gateway") / "store", PASSWORD).start()
    yield server
    server.stop()


@pytest.fixture
def database() -> str:
    """The name of a database that does not exist yet."""
    return f"d{uuid4().hex[:10]}"


@pytest.fixture(params=["chdb", "http"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> str:
    """The address of an empty store, embedded and over HTTP. A process may have one embedded directory open at a time."""
    if request.param == "chdb":
        return f"chdb://{tmp_path}/store?database={database}"
    server: Gateway = request.getfixturevalue("gateway")
    return server.dsn(database)


@pytest.fixture
def connect(dsn: str) -> Iterator[Open]:
    """Opens the store with the options given and its tables in place; whatever was opened is closed at the end."""
    with ExitStack() as stack:

        def opened(migrated: bool = True, **options: Any) -> ClickHouse:
            store = stack.enter_context(ClickHouse.connect(dsn, create=True, **options))
            if migrated:
                store.migrate()
            return store

        yield opened


@pytest.fixture
def store(connect: Open) -> ClickHouse:
    """An empty store with all tables."""
    return connect()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ClickHouse]:
    """An empty embedded store with all tables, for what does not depend on the way there."""
    with ClickHouse.connect(f"chdb://{tmp_path}/store") as opened:
        opened.migrate()
        yield opened


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """An embedded store with all tables, for tests that only ask."""
    with ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('migrated')}/store") as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def over_http(gateway: Gateway, database: str) -> Iterator[Open]:
    """Opens a store behind the gateway with the options given; options of the address come as `options`."""
    with ExitStack() as stack:

        def opened(options: str = "", **more: Any) -> ClickHouse:
            store = stack.enter_context(ClickHouse.connect(gateway.dsn(database, options), create=True, **more))
            store.migrate()
            return store

        yield opened


@dataclass
class Place:
    """One kind of sink, as the contract sees it.

    Attributes
    ----------
    open
        Opens the sink on the same store each time, with the options that every sink takes.
    stored
        Every row of a table that is there, replaced ones included.
    seen
        The rows that a reader is told to take: of each key the one of the highest revision.
    disturb
        The next attempts to write `quality_results` fail in a way that passes; returns how many will, 0 where nothing can be ordered.
    mend
        What disturbs them is gone.
    """

    open: Callable[..., Retrying]
    stored: Callable[[str], list[dict[str, Any]]]
    seen: Callable[[str], list[dict[str, Any]]]
    disturb: Callable[[], int]
    mend: Callable[[], object]


@pytest.fixture(params=["chdb", "http", "parquet"])
def place(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Place]:
    """Every kind of sink in turn, empty."""
    with ExitStack() as stack:
        yield _parquet(stack, tmp_path) if request.param == "parquet" else _clickhouse(stack, request, tmp_path, database)


def _clickhouse(stack: ExitStack, request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Place:
    gateway: Gateway | None = request.getfixturevalue("gateway") if request.param == "http" else None
    dsn = gateway.dsn(database) if gateway else f"chdb://{tmp_path}/store"

    def opened(**options: Any) -> ClickHouse:
        store = stack.enter_context(ClickHouse.connect(dsn, create=True, **options))
        store.migrate()
        return store

    reader = opened()
    faults: list[dict[str, object]] = (
        [{"code": 241}, {"drop": "before"}, {"drop": "after"}, {"status": 503}, {"half": True}] if gateway else []
    )

    def disturb() -> int:
        if gateway:
            gateway.fail(*faults)
        return len(faults)

    def mend() -> None:
        if gateway:
            gateway.fail()

    return Place(
        opened,
        lambda table: list(reader.query(f"SELECT * FROM `{table}`").to_pylist()),
        lambda table: list(reader.query(f"SELECT * FROM `{table}` FINAL").to_pylist()),
        disturb,
        mend,
    )


def _parquet(stack: ExitStack, tmp_path: Path) -> Place:
    directory = tmp_path / "files"
    in_the_way = directory / "quality_results"

    def stored(table: str) -> list[dict[str, Any]]:
        files = sorted((directory / table).glob("day=*/*.parquet"))
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]

    def disturb() -> int:
        directory.mkdir(exist_ok=True)
        in_the_way.write_bytes(b"no folder")
        return 3

    def mend() -> None:
        if in_the_way.is_file():
            in_the_way.unlink()

    return Place(
        lambda **options: stack.enter_context(Parquet(directory, **options)),
        stored,
        lambda table: list(latest(directory, table).to_pylist()),
        disturb,
        mend,
    )
