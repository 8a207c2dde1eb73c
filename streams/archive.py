"""Which events of a chunk are kept as they came, for models whose file says `archive`. Pure.

A share is taken by the hash of the id, so a prediction is kept with all of its outcomes or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Literal

import msgspec

from driftline.schemas.archive import ArchivedOutcome, ArchivedPrediction
from driftline.schemas.config import Model
from driftline.schemas.errors import Rejected
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction, parse_time, text_of
from driftline.streams.columns import hash_ids
from driftline.streams.transport.chunk import Chunk


def archived(
    chunk: Chunk, topic: Literal["predictions", "outcomes"], dead: Collection[int], model_of: Callable[[str], Model]
) -> Iterator[tuple[int, ArchivedPrediction | ArchivedOutcome]]:
    """The rows of the events to keep, each with the number of its record; `dead` are the numbers of the dead letters."""
    decode: Callable[[bytes], Prediction | Outcome | Rejected] = decode_prediction if topic == "predictions" else decode_outcome
    for i, value in enumerate(chunk.values()):
        if value is None or i in dead:
            continue
        event = decode(value)
        if isinstance(event, Rejected) or not _kept(event.id, model_of(event.model).archive):
            continue
        ts = parse_time(event.ts)
        if not isinstance(ts, Rejected):
            yield i, _row(event, ts, chunk.partition, int(chunk.offset[i]))


def _kept(id: str, archive: Literal["off", "all"] | float) -> bool:
    """
    >>> _kept("a", "all"), _kept("a", "off"), sum(_kept(str(i), 0.25) for i in range(4_000))
    (True, False, 1038)
    """
    return archive == "all" if isinstance(archive, str) else int(hash_ids([id])[0]) < archive * 2**64


def _row(event: Prediction | Outcome, ts: int, partition: int, offset: int) -> ArchivedPrediction | ArchivedOutcome:
    if isinstance(event, Outcome):
        label = None if event.label is None or event.kind == "retraction" else text_of(event.label)
        return ArchivedOutcome(event.model, event.id, ts, label, event.kind, partition, offset, offset)
    return ArchivedPrediction(
        event.model, event.version, event.id, ts, text_of(event.prediction), event.score, msgspec.json.encode(event.features).decode(),
        dict(event.segments), event.role, event.latency_ms, event.trace or "", partition, offset, offset,
    )  # fmt: skip
