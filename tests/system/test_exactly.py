"""Workers on real Kafka, killed, paused and joined while events flow: the tables equal a recount of the raw events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from soak import soak


@pytest.mark.kafka
def test_nothing_is_lost_and_nothing_counted_twice_whatever_happens_to_the_workers(kafka: Any, tmp_path: Path) -> None:
    # Seed 13: one worker is paused beyond its session, the store fails, one worker is killed.
    found = soak(kafka.bootstrap, rounds=3, seed=13, directory=tmp_path, rate=600, pause_s=2.0)
    assert found["events"] > 1_000
    assert found["kills"] == 1
    assert (found["lost"], found["twice"], found["different"], found["doubled"]) == (0, 0, 0, 0)
