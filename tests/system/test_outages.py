"""Kafka or the store away for a while: nothing is lost, nothing counted twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kafka_node
import pytest
from clickhouse_gateway import Gateway

pytestmark = pytest.mark.kafka


def resident_bytes(worker: Any) -> int:
    """What the worker holds in memory now."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker.popen.pid}/status").read_text("ascii"))[0]) * 1024


def test_a_broker_that_stops_and_starts_loses_nothing(kafka: Any, make_site: Callable[..., Any], until: Any, tmp_path: Path) -> None:
    if kafka.libs is None:
        pytest.skip("only a broker of the fixture's own may be stopped")
    node = kafka_node.start(tmp_path / "node")
    try:
        site = make_site(node.bootstrap).prepare()
        worker = site.worker()
        site.publish(300, seed=1)
        worker.ready()
        site.publish(300, seed=2)  # some of it is under way when the broker goes
        node.stop()
        time.sleep(3)
        node = kafka_node.start(tmp_path / "node", int(node.bootstrap.rpartition(":")[2]))
        site.publish(300, seed=3)
        site.settle()
        assert worker.popen.poll() is None, worker.said[-3000:]
    finally:
        node.stop()


def test_a_store_that_is_away_loses_nothing_counts_nothing_twice_and_fills_no_memory(
    kafka: Any, make_site: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path / "store", "away").start()
    try:
        site = make_site(kafka.bootstrap, dsn=gateway.dsn("away")).prepare()
        worker = site.worker()
        site.publish(300, seed=1)
        site.settle()
        gateway.stop()
        site.publish(300, seed=2)
        until(lambda: "the store is away" in worker.said)
        before = resident_bytes(worker)
        for seed in range(3, 9):
            site.publish(3_000, seed=seed)
        until(lambda: "records are behind" in worker.said)
        assert resident_bytes(worker) - before < 2**26, "what waits for the store belongs into Kafka, not into memory"
        gateway.start()
        site.settle()
        assert worker.terminate() == 0
    finally:
        gateway.stop()
