"""Three Kafka nodes, three copies of everything, and brokers that go one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kafka_node
import pytest
from confluent_kafka.admin import AdminClient

pytestmark = pytest.mark.kafka


def whole(client: dict[str, Any]) -> bool:
    """Whether every copy of every partition is in sync, as one waits for before the next broker goes."""
    try:
        topics = AdminClient(client).list_topics(timeout=10).topics.values()
    except Exception:  # the broker that was asked is the one that is away
        return False
    return all(len(partition.isrs) == 3 for topic in topics for partition in topic.partitions.values())


def test_brokers_that_are_restarted_one_after_another_while_events_flow_lose_nothing(
    kafka: Any, make_site: Callable[..., Any], until: Any, tmp_path: Path
) -> None:
    if kafka.libs is None:
        pytest.skip("only brokers of the fixture's own may be stopped")
    cluster = kafka_node.start_cluster(tmp_path / "cluster")
    try:
        site = make_site(cluster.bootstrap).prepare(replication=3)
        workers = [site.worker().ready(), site.worker()]
        until(lambda: workers[1].owns == 2)
        with site.flowing(4):
            for number in range(3):
                cluster.nodes[number].stop()
                cluster.restart(number)
                until(lambda: whole(site.client))
        site.settle()
        assert [worker.popen.poll() for worker in workers] == [None, None], "\n".join(worker.said[-3000:] for worker in workers)
    finally:
        cluster.stop()
