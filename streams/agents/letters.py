"""Dead letters: a record that cannot be used, as it came, with why in its headers."""

from __future__ import annotations

from driftline.schemas.errors import Rejected
from driftline.streams.agents.wiring import Wiring
from driftline.streams.transport.chunk import Chunk

LETTER_BYTES = 4 * 2**20  # what compressed well on its way here might fit into no message now
KEPT_BYTES = 65_536  # of the key and the value of a longer one


async def bury(wiring: Wiring, chunk: Chunk, i: int, why: Rejected) -> None:
    """Send record `i` of a chunk to the dead letters; returns when the broker has it."""
    about = {
        "code": why.code, "message": why.message, "topic": chunk.topic, "partition": chunk.partition,
        "offset": int(chunk.offset[i]), "time": int(chunk.timestamp[i]),
    }  # fmt: skip
    key, value, given = chunk.key(i), chunk.value(i), chunk.headers[i]
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in given)
    if size > LETTER_BYTES:
        key, value, given = key and key[:KEPT_BYTES], value and value[:KEPT_BYTES], ()
        about["cut"] = size
    headers = [*given, *((f"driftline.error.{name}", str(text).encode()) for name, text in about.items())]
    await (await wiring.send(wiring.topics.dead_letters, chunk.partition, key, value, headers))
