"""What tests share: brokers, topics of their own, data, and how Hypothesis runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from driftline.streams.transport.embedded import EmbeddedBroker

ROOT = Path(__file__).parents[1]
IN_CI = os.environ.get("CI") == "true"

# A deadline would measure the machine; under CI a failure must be the same on the next run.
settings.register_profile("driftline", deadline=None, derandomize=IN_CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("driftline")


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """A new embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker


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
