"""What the events of a topic look like, and the columns that they become."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams.kernels.machine import address

ID, MODEL_KEY, VERSION_KEY, TS, ANSWER_KEY, FEATURES, SCORE, SCORES, SEGMENTS, ROLE, LATENCY, TRACE, KIND, FAILED = range(14)
PREDICTION_KEYS = {
    "id": ID, "model": MODEL_KEY, "version": VERSION_KEY, "ts": TS, "features": FEATURES, "prediction": ANSWER_KEY, "score": SCORE,
    "segments": SEGMENTS, "role": ROLE, "latency_ms": LATENCY, "scores": SCORES, "trace": TRACE, "failed": FAILED,
}  # fmt: skip
OUTCOME_KEYS = {"id": ID, "model": MODEL_KEY, "ts": TS, "label": ANSWER_KEY, "kind": KIND}
_NEEDED = {"predictions": (ID, MODEL_KEY, VERSION_KEY, TS, ANSWER_KEY), "outcomes": (ID, MODEL_KEY, TS)}
ROLES = ("champion", "challenger", "shadow", "canary")
KINDS = ("final", "provisional", "correction", "retraction")
RETRACTION = KINDS.index("retraction")


class Words(NamedTuple):
    """`n` texts, each with a quote and a colon behind it, and what each one stands for: addresses.

    `next` has, for the text that came last and for none before the first, which came after it the last time.
    """

    n: int
    data: int
    start: int
    size: int
    meaning: int
    next: int


_kept: list[Any] = []  # the memory of all `Words`, for good


def words(meanings: dict[str, int]) -> Words:
    """A small dictionary."""
    data = np.frombuffer("".join(f'{text}":' for text in meanings).encode() + bytes(8), np.uint8)
    size = np.array([*map(len, meanings)])
    start, order = np.cumsum(size + 2) - size - 2, np.arange(len(meanings) + 1) % len(meanings)
    arrays: list[NDArray[Any]] = [data, start, size, np.array([*meanings.values()]), order]
    _kept.extend(arrays)
    return Words(len(meanings), *map(address, arrays))


class Grammar(NamedTuple):
    """What the events of one topic look like. `needed`: a bit for each required key; `outcomes`: whether of that topic."""

    keys: Words
    enum: Words  # values of `role` or `kind`
    needed: int
    outcomes: bool


def grammar(topic: str) -> Grammar:
    """The grammar of "predictions" or of "outcomes"."""
    keys, enum = (PREDICTION_KEYS, ROLES) if topic == "predictions" else (OUTCOME_KEYS, KINDS)
    return Grammar(
        words(keys), words({text: i for i, text in enumerate(enum)}), sum(1 << key for key in _NEEDED[topic]), topic == "outcomes"
    )


class Parsed(NamedTuple):
    """Columns of a chunk, one row a record; a row says nothing unless `ok`.

    `answer_code` is a code of the text table, or `NUMBER` with the number in `answer`, or `ABSENT`. `enum` is the place of the role or
    kind in its list. `latency` is NaN where it was not told. `unknown` is the address of the first key that is not known, and
    `unknown_end` where it ends; 0 without one. Values of record r are those from `first[r]` to `first[r + 1]`: `name`, `code` (of the
    table, `NUMBER` or `LIST`) and `value`; its segments lie likewise between `first_segment[r]` and the next, its class scores between
    `first_class[r]` and the next.
    """

    ok: Any
    ts: Any
    id_hash: Any
    fingerprint: Any
    model: Any
    version: Any
    answer_code: Any
    answer: Any
    score: Any
    latency: Any
    failed: Any
    enum: Any
    unknown: Any
    unknown_end: Any
    first: Any
    first_segment: Any
    first_class: Any
    name: Any
    code: Any
    value: Any
    segment: Any
    group: Any
    label: Any  # the code of a class, with its score
    share: Any

    def addresses(self) -> Parsed:
        """The same for compiled code."""
        return Parsed(*map(address, self))
