"""The tables as the migrations declare them: the one description of what a row is, for every sink."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of SQL statements, each of which can be run again without harm."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """A statement ends where a line ends with a semicolon; comments before it are left out."""
        parts = re.split(r";\s*(?:\n|$)", self.sql)
        return [statement for part in parts if (statement := re.sub(r"\A(?:\s*--[^\n]*\n)*", "", part).strip())]


def migrations() -> tuple[Migration, ...]:
    """All migrations this version knows, in order.

    >>> [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))
    True
    """
    found = sorted((file for file in files("driftline.sinks.sql").iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in found)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: ClickHouse's type and the comment of each column that is written, in order, and the columns that name a row."""

    columns: Mapping[str, tuple[str, str]]
    key: tuple[str, ...]


_COLUMN = r"`?(\w+)`?\s+(.+?)\s+(?:CODEC\(\w+(?:\(\d+\))?\)\s+)?COMMENT '(.*?)'"
_CREATED = re.compile(r"CREATE TABLE IF NOT EXISTS `?(\w+)`?\n\((.*?)\n\)\nENGINE = \w+\(revision\).*?ORDER BY \(?([^)\n]+)", re.DOTALL)
_DECLARED = re.compile(rf"^    {_COLUMN}", re.MULTILINE)
_ALTERED = re.compile(r"ALTER TABLE `?(\w+)`?\n(.*)", re.DOTALL)
_ADDED = re.compile(rf"ADD COLUMN IF NOT EXISTS {_COLUMN}(?: AFTER `?(\w+)`?)?")
_COMMENTED = re.compile(r"COMMENT COLUMN `?(\w+)`? '(.*?)'")
_ORDERED = re.compile(r"MODIFY ORDER BY \(([^)]*)\)")


@cache
def tables() -> Mapping[str, Table]:
    """Every table whose rows replace each other by revision.

    >>> tables()["alerts"].key
    ('model', 'version', 'incident', 'type', 'id')
    >>> tables()["alerts"].columns["time"]
    ("DateTime64(3, 'UTC')", 'When the state changed, event time (UTC, milliseconds)')
    """
    found: dict[str, Table] = {}
    for statement in (statement for migration in migrations() for statement in migration.statements):
        if created := _CREATED.match(statement):
            columns = {name: (kind, comment) for name, kind, comment in _DECLARED.findall(created[2]) if "MATERIALIZED" not in kind}
            found[created[1]] = Table(columns, _names(created[3]))
        elif altered := _ALTERED.match(statement):
            columns = dict(found[altered[1]].columns)
            for name, kind, comment, after in _ADDED.findall(altered[2]):
                columns = _with(columns, name, (kind, comment), after)
            columns |= {name: (columns[name][0], comment) for name, comment in _COMMENTED.findall(altered[2])}
            key = _ORDERED.search(altered[2])
            found[altered[1]] = Table(columns, _names(key[1]) if key else found[altered[1]].key)
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip(" `") for name in text.split(","))


def _with(columns: Mapping[str, tuple[str, str]], name: str, declared: tuple[str, str], after: str) -> dict[str, tuple[str, str]]:
    """The columns with one more after the one named, or at the end."""
    at = list(columns).index(after) + 1 if after else len(columns)
    items = list(columns.items())
    return dict([*items[:at], (name, declared), *items[at:]])
