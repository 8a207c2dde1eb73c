"""Stores of their own for each test: the embedded one, and the same engine behind ClickHouse's HTTP protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_gateway import Gateway

from driftline.sinks.clickhouse import ClickHouse

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


@pytest.fixture
def over_http(gateway: Gateway, database: str) -> Iterator[Open]:
    """Opens a store behind the gateway with the options given; options of the address come as `options`."""
    with ExitStack() as stack:

        def opened(options: str = "", **more: Any) -> ClickHouse:
            store = stack.enter_context(ClickHouse.connect(gateway.dsn(database, options), create=True, **more))
            store.migrate()
            return store

        yield opened
