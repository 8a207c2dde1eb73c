"""Events as the archive keeps them: one class a table, one field a column. Times are integer milliseconds since the epoch (UTC)."""

from __future__ import annotations

import msgspec


class ArchivedPrediction(msgspec.Struct, frozen=True, array_like=True):
    """One accepted prediction event."""

    model: str
    version: str
    id: str
    ts: int
    prediction: str
    score: float | None
    features: str  # a JSON object
    segments: dict[str, str]
    role: str
    latency_ms: float | None
    trace: str
    partition: int
    offset: int
    revision: int  # the offset


class ArchivedOutcome(msgspec.Struct, frozen=True, array_like=True):
    """One accepted outcome event."""

    model: str
    id: str
    ts: int
    label: str | None  # None in a retraction
    kind: str
    partition: int
    offset: int
    revision: int  # the offset
