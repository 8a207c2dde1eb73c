"""Markers: their size, and what they refuse."""

from __future__ import annotations

from driftline.schemas.progress import CODEC, Marker, decode_marker, encode_marker
from driftline.schemas.topics import Topics

MINUTE_MS = 60_000


def test_a_marker_of_a_thousand_models_with_an_hour_of_open_panes_each_is_far_below_a_record_s_limit() -> None:
    panes = [
        (f"model-{model}", "2026-11-01", "", 1_767_571_200_000 + minute * MINUTE_MS, 10**9 + 7919 * model * minute, 10**8 + 104_729 * model)
        for model in range(1_000)
        for minute in range(60)
    ]
    marker = Marker(CODEC, (2 * 10**9, 10**9), panes, {f"model-{model}": (1, 2, 3, 4) for model in range(1_000)}, {})
    value = encode_marker(marker)
    limit = next(topic.max_message_bytes for topic in Topics("x").table(1) if topic.name == Topics("x").changelog("ingest"))
    assert len(value) < limit / 4
    assert decode_marker(value) == marker
