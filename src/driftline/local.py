"""The whole pipeline in this process: placeholder while its parts appear."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Record(NamedTuple):
    """One event, ready to be published."""

    topic: Literal["predictions", "outcomes"]
    key: bytes
    value: bytes
