"""What tests share: brokers, topics of their own, data, and how Hypothesis runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import kafka_node
import pytest
from hypothesis import HealthCheck, settings

from driftline.schemas.topics import Topic
from driftline.streams import kernels
from driftline.streams.transport import topics
from driftline.streams.transport.embedded import EmbeddedBroker

ROOT = Path(__file__).parents[1]
IN_CI = os.environ.get("CI") == "true"

# A deadline would measure the machine; under CI a failure must be the same on the next run.
settings.register_profile("driftline", deadline=None, derandomize=IN_CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("driftline")


@pytest.fixture(scope="module", params=["strict", "compiled"])
def either_reader(request: pytest.FixtureRequest) -> Iterator[str]:
    """A test runs twice: with events decoded by the strict decoder alone, and by compiled code before it."""
    if request.param == "compiled":
        kernels.load()
    yield request.param
    kernels.unload()


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """A new embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker


@dataclass(frozen=True, slots=True)
class Kafka:
    """Real Kafka. `java` runs the console tools in the jars of `libs`; both are None where only an address was given."""

    bootstrap: str
    libs: Path | None = None
    java: str | None = None

    def create_topics(self, table: Sequence[Topic]) -> None:
        """Make every topic of a table."""
        topics.create({"bootstrap.servers": self.bootstrap}, table, replication=1)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One node of Apache Kafka for the whole session, or the one that DRIFTLINE_TEST_KAFKA names."""
    if address := os.environ.get("DRIFTLINE_TEST_KAFKA"):
        yield Kafka(address)
        return
    try:
        node = kafka_node.start(tmp_path_factory.mktemp("kafka"))
    except kafka_node.Unavailable as missing:
        reason = f"real Kafka: {missing}; or set DRIFTLINE_TEST_KAFKA=host:port"
        pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
    try:
        yield Kafka(node.bootstrap, node.libs, node.java)
    finally:
        node.stop()


@pytest.fixture
def prefix() -> str:
    """A topic prefix that no other test has."""
    return f"t{uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data sets beside the checkout."""
    directory = ROOT.parent / "shared" / "data"
    if not directory.is_dir():
        pytest.skip(f"no data sets: put elec.csv and weather.csv in {directory}")
    return directory
