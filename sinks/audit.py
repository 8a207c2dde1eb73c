"""The audit log: what operators and workers did. Told on the side: nothing waits for it while it runs."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from uuid import uuid4

from driftline.schemas.errors import DriftlineError
from driftline.sinks.rows import AuditRow
from driftline.sinks.sink import Sink

log = logging.getLogger(__name__)


class Audit:
    """Writes entries in the name of one actor.

    >>> from driftline.sinks.clickhouse import ClickHouse
    >>> with ClickHouse.connect("chdb://memory") as store:
    ...     done = store.migrate()
    ...     audit = Audit(store, "example")
    ...     audit("migration.applied", done[0])
    ...     audit.close(10)
    ...     store.query("SELECT action, subject FROM v_audit").to_pylist()
    [{'action': 'migration.applied', 'subject': '0001_results'}]
    """

    def __init__(self, sink: Sink, actor: str) -> None:
        self._sink = sink
        self._actor = f"{actor} {socket.gethostname()}:{os.getpid()}"
        self._writing: list[threading.Thread] = []

    def __call__(self, action: str, subject: str, detail: str = "") -> None:
        """Tell what was done to what. Does not wait for the store, and does not fail."""
        row = AuditRow(uuid4().hex, time.time_ns() // 1_000_000, self._actor, action, subject, detail, 1)
        thread = threading.Thread(target=self._write, args=(row,), name="driftline-audit", daemon=True)
        self._writing = [*(other for other in self._writing if other.is_alive()), thread]
        thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait until everything told is stored, but no longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for thread in self._writing:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _write(self, row: AuditRow) -> None:
        try:
            self._sink.insert("audit_log", [row], f"audit_log:{row.id}")
        except DriftlineError as error:
            log.warning("%s of %s is not in the audit log: %s", row.action, row.subject, error)
