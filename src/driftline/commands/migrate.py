"""`driftline migrate`: bring the tables of the store up to date."""

from __future__ import annotations

import sys

from driftline.settings import Settings
from driftline.sinks.audit import Audit
from driftline.sinks.clickhouse import ClickHouse


def run() -> None:
    """Apply the migrations that the store at DRIFTLINE_CLICKHOUSE is missing; without any, nothing changes.

    The database is created where it does not exist. Prints the name of each migration that was applied.
    """
    with ClickHouse.connect(Settings.from_environment().store(), create=True) as store:
        applied = store.migrate()
        audit = Audit(store, "migrate")
        for name in applied:
            audit("migration.applied", name)
        audit.close()
    for name in applied:
        print(name)
    print(f"{store!r} is up to date", file=sys.stderr)
