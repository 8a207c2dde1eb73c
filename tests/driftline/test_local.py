"""The pipeline in one process: what is fed is found in the store, and what goes wrong is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from driftline.local import LocalStack, Record
from driftline.schemas.config import HOUR_MS, Model, Window
from driftline.schemas.errors import DriftlineError
from driftline.streams.profile import reference_from_frame
from driftline.summary import summarise

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z
MODEL = Model("m", windows=(Window(HOUR_MS, HOUR_MS),), max_wait_ms=300)
STEP_MS = 10_000


def records(n: int, padding: str = "") -> Iterator[Record]:
    """`n` predictions, each followed by its label, ten seconds apart."""
    for i in range(n):
        ts = START + i * STEP_MS
        said = {"id": str(i), "model": "m", "version": "1", "ts": ts, "features": {"x": i % 7, "note": padding}, "prediction": i % 2}
        yield Record("predictions", str(i).encode(), msgspec.json.encode(said))
        yield Record("outcomes", str(i).encode(), msgspec.json.encode({"id": str(i), "model": "m", "ts": ts + 1, "label": 1}))


@pytest.fixture(scope="module")
def reference() -> object:
    rows = pd.DataFrame({"x": [i % 7 for i in range(700)], "y": [i % 2 for i in range(700)]})
    return reference_from_frame(rows, MODEL, "1", prediction="y")


def test_what_is_fed_is_joined_judged_and_stored(tmp_path: Path, reference: object, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    told: list[int] = []
    with LocalStack({"m": MODEL}, [reference], store=tmp_path / "store", partitions=2) as stack:  # type: ignore[list-item]
        assert stack.feed(records(1_000), told.append) == 2_000
        stack.feed([Record("predictions", b"?", b"no JSON")])
        stack.drain()
        found = summarise(stack.sink)
    assert told[-1] == 2_000
    assert (found["events"], found["joined"], found["dead_letters"], found["windows"]) == (1_000, 1_000, 1, 3)
    assert found["findings"] == []
    assert json.loads(json.dumps(found)) == found
    assert (tmp_path / "store").is_dir()
    assert not list((tmp_path / "here").iterdir())  # nothing is left where the command was given


def test_more_than_the_embedded_broker_holds_goes_through_whole() -> None:
    padding = "x" * 4_000
    with LocalStack({"m": MODEL}, partitions=1) as stack:  # 12 MB for a partition that keeps 5
        stack.feed(records(3_000, padding))
        stack.drain()
        found = summarise(stack.sink)
    assert (found["events"], found["joined"]) == (3_000, 3_000)


def test_a_worker_that_fails_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    with LocalStack({"m": MODEL}, store=tmp_path / "store", partitions=1) as stack:
        stack.sink.close()
        with pytest.raises(DriftlineError, match="store_closed"):
            stack.feed([Record("predictions", b"?", b"no JSON")])
