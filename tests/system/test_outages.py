"""Kafka or the store away for a while: nothing is lost, nothing counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kafka_node
import pytest
from clickhouse_gateway import Gateway

pytestmark = pytest.mark.kafka


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


def test_a_store_that_is_away_loses_nothing_and_counts_nothing_twice(
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
        site.publish(300, seed=3)
        gateway.start()
        site.settle()
        assert worker.terminate() == 0
    finally:
        gateway.stop()
