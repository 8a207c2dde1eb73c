"""A window that has closed in what was read does not wait for the next flush."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from driftline.schemas.config import Model, Window
from driftline.schemas.topics import Topics
from driftline.streams.agents.ingest import Ingest
from driftline.streams.agents.pace import Closings
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import Chunk, Headers, chunk_of

BEGIN = 1_767_571_200_000
MODEL = Model("m", disorder_ms=1_000, windows=(Window(60_000, 60_000),))
TOPICS = Topics("t")


def prediction(after_ms: int, model: str = "m", **fields: object) -> bytes:
    return json.dumps({"id": "a", "model": model, "version": "1", "ts": BEGIN + after_ms, "prediction": 1, **fields}).encode()


def read(partition: int, *values: bytes | None, topic: str = TOPICS.predictions, headers: Headers = ()) -> Chunk:
    return chunk_of(topic, partition, 0, len(values), [(i, 0, None, value, headers) for i, value in enumerate(values)])


def due(*chunks: Chunk) -> bool:
    """Whether a flush is due when these chunks are read one after another, long before the clock would have one."""
    wiring: Any = SimpleNamespace(topics=TOPICS, registry=Registry({"m": MODEL}), flush_s=1e9)
    ingest = Ingest(wiring, cold=SimpleNamespace())  # type: ignore[arg-type]
    for chunk in chunks:
        ingest._note_closing(chunk)
    return ingest._flush_is_due()


OPEN, CLOSED = prediction(60_999), prediction(61_000)


def test_a_flush_is_due_when_every_partition_has_passed_the_window_and_the_disorder() -> None:
    assert not due(read(0, OPEN), read(1, OPEN))
    assert not due(read(0, OPEN), read(1, OPEN), read(0, CLOSED))
    assert due(read(0, OPEN), read(1, OPEN), read(0, CLOSED), read(1, CLOSED))


def test_the_last_record_of_a_chunk_counts() -> None:
    assert due(read(0, OPEN), read(0, OPEN, CLOSED))
    assert not due(read(0, OPEN), read(0, CLOSED, OPEN))


def test_times_may_be_texts() -> None:
    assert due(read(0, OPEN), read(0, prediction(0, ts="2026-01-05T00:01:01Z")))


@pytest.mark.parametrize(
    "chunk",
    [
        read(0), read(0, None), read(0, b"{"), read(0, prediction(61_000, model="other")), read(0, prediction(0, ts="soon")),
        read(0, CLOSED, topic=TOPICS.outcomes), read(0, CLOSED, headers=(("content-type", b"application/vnd.apache.arrow.stream"),)),
    ],
    ids=["nothing", "a tombstone", "no JSON", "a model without a file", "no time", "an outcome", "a batch"],
)  # fmt: skip
def test_what_tells_of_no_window_is_passed_over(chunk: Chunk) -> None:
    assert not due(read(0, OPEN), chunk)


def test_hopping_windows_and_several_of_them_are_all_seen() -> None:
    model = Model("m", disorder_ms=0, windows=(Window(100, 40), Window(70, 70)))
    rng = np.random.default_rng(7)
    closings, before, flushed = Closings(), 0, False
    for ts in np.cumsum(rng.integers(0, 60, 200)).tolist():
        closings.read(model, 0, ts, now_s=0.0)
        ends = {k * w.every_ms + w.length_ms for w in model.windows for k in range(-10, 400)}
        new = any(before < end <= ts for end in ends)
        assert closings.due(0.0) == (new and not flushed) or before == 0
        flushed = closings.due(0.0)
        closings.flushed()
        before = ts


def test_two_flushes_in_a_row_are_not_early() -> None:
    closings = Closings()
    closings.read(MODEL, 0, BEGIN, 0.0)
    found = []
    for minute in range(1, 5):
        closings.read(MODEL, 0, BEGIN + minute * 60_000 + 1_000, 0.0)
        found.append(closings.due(0.0))
        closings.flushed()
    assert found == [True, False, True, False]


def test_a_prediction_that_comes_late_closes_nothing() -> None:
    model, closings = Model("m", disorder_ms=5, windows=(Window(100, 100),)), Closings()
    for ts in (90, 260, 120):
        closings.read(model, 0, ts, now_s=1.0)
        if ts == 260:
            assert closings.due(1.0)
            closings.flushed()
            closings.flushed()  # the next one may be early again
    assert not closings.due(2.0)
