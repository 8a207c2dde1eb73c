"""ClickHouse, over HTTP or inside the process: one client, and the address alone decides which.

Writing the same thing twice changes nothing: a block carries a token that the server remembers, and rows replace each other by
revision. So whatever happens between sending a block and hearing of it, the answer is to send the same block again.

What to do about an error is decided in `sink`; here is said of which kind each of ClickHouse's errors is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import clickhouse_connect
import msgspec
import pyarrow as pa
from clickhouse_connect.driver.binding import quote_identifier
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import columns_of
from driftline.sinks.arrays import arrays_of
from driftline.sinks.sink import PATIENCE, Busy, OnRetry, Refused, Retrying
from driftline.sinks.tables import Migration, migrations

#: ClickHouse's codes of states that pass by themselves; 243 is a full disk.
RETRIABLE: Final = frozenset({3, 107, 159, 164, 202, 203, 209, 210, 236, 241, 242, 243, 252, 285, 319, 425, 439, 473, 999})
#: Codes that speak of a value in the block and not of the table or the server.
REFUSED: Final = frozenset({6, 27, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 407, 469})

CONNECTIONS: Final = 8  # at once; the client keeps as many open

_MIGRATE: Final = "run `driftline migrate` (in a query of your own: correct the name)"
_GRANT: Final = "give the user of DRIFTLINE_CLICKHOUSE the right to SELECT, INSERT and, to migrate, CREATE"
_LOGIN: Final = "correct the user and the password in DRIFTLINE_CLICKHOUSE"
_FIXES: Final[Mapping[int, tuple[str, str]]] = {
    62: ("store_query", "correct the query, and leave FORMAT out of it"),
    **dict.fromkeys((8, 10, 16, 20, 47, 60, 81), ("store_schema", _MIGRATE)),
    **dict.fromkeys((164, 291, 497), ("store_denied", _GRANT)),
    **dict.fromkeys((192, 193, 194, 516), ("store_login", _LOGIN)),
}

T = TypeVar("T")


def masked(dsn: str) -> str:
    """The address with its password and options left out, for people and logs.

    >>> masked("https://writer:s3cret@store:8443/drift?ca_cert=certifi")
    'https://writer:***@store:8443/drift'
    """
    parts = urlsplit(dsn)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{parts.scheme}://{user}{':***' if colon else ''}{at}{host}{parts.path}"


class ClickHouse(Retrying):
    """One database. Calls block; over HTTP several threads are served at once, the engine inside this process one after another.

    Parameters
    ----------
    dsn
        `http://user:password@host:8123/database`, `https://…`, or `chdb:///directory` for the engine inside this process.
    sleep
        What waiting between two attempts is; seconds. By default `close` ends it.
    on_retry
        Told before each wait: the error, how many attempts failed, the seconds until the next.

    Examples
    --------
    >>> store = ClickHouse.connect("chdb://memory")
    >>> store.query("SELECT 6 * {factor:UInt8} AS answer", {"factor": 7}).to_pylist()
    [{'answer': 42}]
    >>> store.close()
    """

    def __init__(
        self,
        client: Client,
        dsn: str,
        *,
        sleep: Callable[[float], object] | None = None,
        on_retry: OnRetry | None = None,
    ) -> None:
        super().__init__(sleep=sleep, on_retry=on_retry)
        self._client = client
        self._dsn = dsn
        self._calls = 1 if urlsplit(dsn).scheme == "chdb" else CONNECTIONS
        self._free = threading.Semaphore(self._calls)
        self._schemas: dict[str, pa.Schema] = {}
        self._process = os.getpid()

    @classmethod
    def connect(
        cls,
        dsn: str,
        *,
        create: bool = False,
        sleep: Callable[[float], object] | None = None,
        on_retry: OnRetry | None = None,
    ) -> Self:
        """Open the store at `dsn`, with `create` also where its database is still missing.

        Raises
        ------
        DriftlineError
            `store_address`, `store_unreachable`, `store_login`, `store_locked` (embedded: in use by another process, or this
            process holds another directory), `store_schema` (no such database).
        """
        try:
            client = _client(dsn)
        except ClickHouseError as error:
            if not (create and _code(error) == 81):
                raise _cannot_open(dsn, error) from None
            _create_database(dsn)
            client = _client(dsn)
        return cls(client, dsn, sleep=sleep, on_retry=on_retry)

    def __repr__(self) -> str:
        return f"ClickHouse({masked(self._dsn)!r})"

    def close(self) -> None:
        """Give up waiting attempts, wait for the calls that are under way, and let go of the store."""
        super().close()
        for _ in range(self._calls):
            self._free.acquire()
        self._client.close()
        self._free.release(self._calls)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The answer to `sql`, in which `{name:Type}` stands for a parameter that the server binds.

        Texts are Arrow strings; times carry UTC.
        """
        return self._ask("the query", lambda client: client.query_arrow(sql, dict(parameters or {}), use_strings=True))

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The same as `query` for what cannot go on without an answer: while the store is busy or away it is asked again, for ever.

        Raises `DriftlineError` like `insert`.
        """
        attempts = 0
        while True:
            try:
                return self._call(lambda client: client.query_arrow(sql, dict(parameters or {}), use_strings=True))
            except ClickHouseError as error:
                problem = self._verdict("the question", error)
            if not isinstance(problem, Busy):
                raise problem if isinstance(problem, DriftlineError) else _stopped(str(problem), None)
            attempts += 1
            if attempts > PATIENCE.get(problem.problem.code, attempts):
                raise problem.problem
            self._wait(problem.problem, attempts)

    def read(self, sql: str, form: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The answer to `sql`, written by the server in one of its output formats (`CSVWithNames`, `JSONEachRow` …)."""
        return self._ask("the query", lambda client: client.raw_query(sql, dict(parameters or {}), fmt=form))

    def migrate(self) -> list[str]:
        """Apply the migrations that are missing; returns their names.

        Raises
        ------
        DriftlineError
            `store_migration_changed`: a migration that was applied is not the one of this version.
            `store_newer`: the store has migrations that this version does not know.
        """
        self._command(_MIGRATIONS_TABLE)
        missing = self.pending()
        for migration in missing:
            self._apply(migration)
        return [migration.name for migration in missing]

    def pending(self) -> list[Migration]:
        """The migrations that the store is missing; raises like `migrate`, and changes nothing."""
        known = migrations()
        if not self.query("EXISTS TABLE schema_migrations").to_pylist()[0]["result"]:
            return list(known)
        applied = {row["version"]: row for row in self.query("SELECT * FROM schema_migrations FINAL").to_pylist()}
        _check_applied(applied, known)
        return [migration for migration in known if migration.number not in applied]

    def insert_table(self, table: str, block: pa.Table, token: str) -> None:
        """Like `insert`, for rows in columns of which none can be refused."""
        rows: Any = block  # what is sent needs a length and nothing else
        try:
            self._send_until_stored(table, rows, token)
        except Refused as error:
            raise _stopped(f"{table}: {error}", None) from None

    def _send(self, table: str, rows: Sequence[msgspec.Struct] | pa.Table, token: str) -> int:
        """One attempt; returns the number of rows that the server says it wrote."""
        settings = {
            "insert_deduplicate": 1,
            "insert_deduplication_token": token,
            "async_insert": 0,  # the answer must mean that the rows are on disk
            "wait_end_of_query": 1,  # or an error after the first bytes of the answer comes as a success
            "input_format_null_as_default": 0,  # or a missing value becomes 0
        }
        try:
            block = rows if isinstance(rows, pa.Table) else _block(self._schema(table), rows)
            return self._call(lambda client: client.insert_arrow(f"`{table}`", block, settings=settings).written_rows)
        except ClickHouseError as error:
            raise self._verdict(table, error) from None

    def _schema(self, table: str) -> pa.Schema:
        """The table's columns as Arrow types, asked for once."""
        if table not in self._schemas:
            empty = self._call(lambda client: client.query_arrow(f"SELECT * FROM `{table}` LIMIT 0", use_strings=False))
            self._schemas[table] = empty.schema
        return self._schemas[table]

    def _verdict(self, table: str, error: ClickHouseError) -> Exception:
        """What an error means for the block that met it."""
        code, said = _code(error), self._said(error)
        if code in REFUSED:
            return Refused(said)
        if code in RETRIABLE or (code is None and _is_transport_error(error)):
            busy = ("store_busy", "bring the store back; the same block is sent again until it is stored")
            name, fix = _FIXES.get(code or 0, busy)
            return Busy(DriftlineError(name, f"{table}: {said}", fix))
        return _stopped(f"{table}: {said}", code)

    def _apply(self, migration: Migration) -> None:
        for statement in migration.statements:
            self._command(statement)
        row = _Applied(migration.number, migration.name, migration.checksum, int(datetime.now(UTC).timestamp() * 1000))
        self.insert("schema_migrations", [row], f"schema_migrations:{migration.number}:{migration.checksum}")

    def _command(self, sql: str) -> None:
        self._ask(f"the statement {sql.strip().partition(chr(10))[0]!r}", lambda client: client.command(sql))

    def _ask(self, what: str, call: Callable[[Client], T]) -> T:
        try:
            return self._call(call)
        except ClickHouseError as error:
            raise _stopped(f"{what}: {self._said(error)}", _code(error)) from None

    def _call(self, call: Callable[[Client], T]) -> T:
        if os.getpid() != self._process:
            raise DriftlineError(
                "store_forked", "the store was opened before this process was forked", "open it in the new process, or spawn"
            )
        with self._free:
            self._require_open()
            return call(self._client)

    def _said(self, error: Exception) -> str:
        return _without_secrets(str(error), self._dsn)


class _Applied(msgspec.Struct, frozen=True):
    """A row of `schema_migrations`."""

    version: int
    name: str
    checksum: str
    applied_at: int


_MIGRATIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32                COMMENT 'Number of the migration',
    name       String                COMMENT 'Name of its file',
    checksum   String                COMMENT 'SHA-256 of its text, hexadecimal',
    applied_at DateTime64(3, 'UTC')  COMMENT 'When it was applied (UTC, milliseconds)'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
SETTINGS non_replicated_deduplication_window = 100
COMMENT 'Migrations that were applied'
"""


def _check_applied(applied: Mapping[int, Mapping[str, Any]], known: Sequence[Migration]) -> None:
    newest = known[-1].number
    if newer := [row["name"] for version, row in applied.items() if version > newest]:
        raise DriftlineError(
            "store_newer",
            f"the store has migrations that this version does not know: {', '.join(sorted(newer))}",
            "use the version of driftline that applied them, or a later one",
        )
    for migration in known:
        row = applied.get(migration.number)
        if row and row["checksum"] != migration.checksum:
            raise DriftlineError(
                "store_migration_changed",
                f"migration {migration.name} was applied with another text (as {row['name']})",
                "put its text back as it was and write the change as a new migration",
            )


def _block(schema: pa.Schema, rows: Sequence[msgspec.Struct]) -> pa.Table:
    """The rows as the table's types; raises `Refused` where a value does not fit its column."""
    columns = columns_of(rows)
    names = columns.kind.__struct_fields__
    try:
        kinds = [schema.field(name).type for name in names]
        arrays = arrays_of(columns, kinds)
    except KeyError as error:
        raise _stopped(f"{columns.kind.__name__}: the table has no such column: {error}", 16) from None
    return pa.table(arrays, names=list(names))


def _client(dsn: str) -> Client:
    parts = urlsplit(dsn)
    if parts.scheme not in {"chdb", "http", "https"} or (parts.scheme == "chdb" and parts.netloc not in {"", "memory"}):
        raise DriftlineError(
            "store_address",
            f"{masked(dsn)!r} is no address of a store",
            "write http://user:password@host:8123/database, or chdb:///directory (three slashes) for the embedded one",
        )
    # In a session a block that is sent again finds the session locked by the attempt before it.
    options: dict[str, Any] = {} if parts.scheme == "chdb" else {"autogenerate_session_id": False}
    try:
        client = clickhouse_connect.get_client(dsn=dsn, interface=parts.scheme, **options)
    except ImportError as error:
        raise DriftlineError("store_extra", f"{masked(dsn)!r}: {error}", "pip install 'driftline[embedded]'") from None
    client.write_compression = None  # it took most of what a block takes to be made; answers stay compressed
    return client


def _create_database(dsn: str) -> None:
    parts = urlsplit(dsn)
    options = dict(parse_qsl(parts.query))
    embedded = parts.scheme == "chdb"
    name = options.pop("database", "") or unquote("" if embedded else parts.path.strip("/"))
    client = _client(f"{parts.scheme}://{parts.netloc}{parts.path if embedded else ''}?{urlencode(options)}")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {quote_identifier(name)}")
    except ClickHouseError as error:
        raise _stopped(f"database {name!r}: {_without_secrets(str(error), dsn)}", _code(error)) from None
    finally:
        client.close()


def _cannot_open(dsn: str, error: ClickHouseError) -> DriftlineError:
    message = f"{masked(dsn)}: {_without_secrets(str(error), dsn)}"
    if urlsplit(dsn).scheme == "chdb" and _code(error) is None:
        fix = "one process may use a directory, and one directory a process: end the other one, or choose another directory"
        return DriftlineError("store_locked", message, fix)
    if _code(error) is None:
        return DriftlineError("store_unreachable", message, "start ClickHouse, or correct the host and the port in DRIFTLINE_CLICKHOUSE")
    return _stopped(message, _code(error))


def _stopped(message: str, code: int | None) -> DriftlineError:
    name, fix = _FIXES.get(code or 0, ("store_failed", "correct what the message says, or the settings of the server"))
    return DriftlineError(name, message, fix)


def _code(error: Exception) -> int | None:
    """ClickHouse's number of the error; None where the server was not heard."""
    code: int | None = getattr(error, "code", None)
    return code


def _is_transport_error(error: Exception) -> bool:
    """A socket that failed, or a proxy that did not reach the server."""
    return isinstance(error, OperationalError) or "HTTP status 50" in str(error)


def _without_secrets(text: str, dsn: str) -> str:
    parts = urlsplit(dsn)
    for secret in filter(None, (parts.password, unquote(parts.password or ""), dict(parse_qsl(parts.query)).get("access_token"))):
        text = text.replace(secret, "***")
    return text
