"""Where a verb goes on reading: positions kept in its own table, beside the state that they belong to.

Committed offsets are advice. An operator may set them back or forward; what a verb reads next follows from its state alone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator

import msgspec
from faust.types import TP

from driftline.schemas.errors import DriftlineError, refuse_newer
from driftline.streams.agents.wiring import Wiring
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.contiguity import Succession
from driftline.streams.transport.state import Owned, Pairs, State

log = logging.getLogger(__name__)
PREFIX = b"position/"
CODEC = 1


class Position(msgspec.Struct, array_like=True, frozen=True):
    """What was read of a partition: all below `end`. `topic_id` is the topic's, "" where the broker tells none."""

    end: int
    topic_id: str


_decoder = msgspec.msgpack.Decoder(Position)


def encode_position(position: Position) -> bytes:
    """A byte that says the codec, then MessagePack."""
    return bytes([CODEC]) + msgspec.msgpack.encode(position)


def decode_position(value: bytes) -> Position:
    """The inverse; refuses what a newer version wrote.

    >>> decode_position(encode_position(Position(7, "a")))
    Position(end=7, topic_id='a')
    """
    refuse_newer("a position", value[0], CODEC)
    return _decoder.decode(value[1:])


class Positions:
    """The partitions of some topics, as one verb reads them.

    Parameters
    ----------
    topics
        Those whose positions are kept in the verb's table.
    anew
        Those that are read from their beginning after every assignment; a topic of another partition count has no place in the table.

    Attributes
    ----------
    starts
        (topic, partition) → where to begin after the last assignment.
    done
        (topic, partition) → the position after the last chunk that is processed and durable.
    """

    def __init__(self, wiring: Wiring, state: State, topics: Collection[str], anew: Collection[str] = ()) -> None:
        self._w, self._state, self._topics, self._anew = wiring, state, topics, anew
        self.starts: dict[TP, int] = {}
        self.done: dict[TP, int] = {}
        self._owned: dict[TP, Owned] = {}
        self._ids: dict[TP, str] = {}
        self._succession = Succession()

    async def start(self, assigned: Iterable[TP]) -> dict[int, Owned]:
        """Begin anew with the partitions of an assignment; returns the verb's part of its table, by partition."""
        assigned = sorted(tp for tp in assigned if tp.topic in self._topics or tp.topic in self._anew)
        mine = [tp for tp in assigned if tp.topic in self._topics]
        owned = {tp.partition: self._state.own(tp.partition, self._w.generation) for tp in mine}
        known = {(k, key): decode_position(value) for k, own in owned.items() for key, value in own.items() if key.startswith(PREFIX)}
        ids = await self._w.topic_ids()
        told = {tp: known.get((tp.partition, _key(tp.topic)), Position(0, "")) for tp in mine}
        ends = await self._w.consumer.highwaters(*mine) if mine else {}
        earliest = await self._w.consumer.earliest_offsets(*assigned) if assigned else {}
        for tp, position in told.items():
            refuse_recreated(tp, position.end, ends[tp], (position.topic_id, ids.get(tp.topic, "")))
            if 0 < position.end < earliest[tp]:
                log.error(
                    "data_loss_gap: %s-%s: offsets %s to %s are gone from the broker before they were read; going on from %s",
                    tp.topic, tp.partition, position.end, earliest[tp] - 1, earliest[tp],
                )  # fmt: skip
        self._ids = {tp: ids.get(tp.topic) or position.topic_id for tp, position in told.items()}
        self.starts = {tp: max(position.end, earliest[tp]) for tp, position in told.items()}
        for k, own in owned.items():
            ours = [self.pair(tp, end) for tp, end in self.starts.items() if tp.partition == k]
            await own.write(0, {key: value for pair in ours for key, value in pair.items()})
        self.starts |= {tp: earliest[tp] for tp in assigned if tp.topic in self._anew}
        self.done = dict(self.starts)
        self._succession.start({(tp.topic, tp.partition): start for tp, start in self.starts.items()})
        self._owned = {tp: owned[tp.partition] for tp in mine}
        return owned

    def follow(self, chunk: Chunk) -> None:
        """Note a chunk; raises `DriftlineError` where records before it are missing."""
        self._succession.follow(chunk)

    def pair(self, tp: TP, end: int) -> Pairs:
        """What to write when all below `end` is processed, after everything else that it brought about."""
        return {_key(tp.topic): encode_position(Position(end, self._ids.get(tp, "")))}

    def finish(self, owned: Owned | None, tp: TP, end: int) -> None:
        """Note that all below `end` is durable; what was begun under an earlier assignment says nothing about this one."""
        if self._owned.get(tp) is owned:
            self.done[tp] = end


def state_items(owned: Owned) -> Iterator[tuple[bytes, bytes]]:
    """What else is in a part of a table."""
    return ((key, value) for key, value in owned.items() if not key.startswith(PREFIX))


def refuse_recreated(tp: TP, position: int, end: int, ids: tuple[str, str]) -> None:
    """Raise `DriftlineError` when what was read of a partition, up to `position` and under the first of two topic ids, is not what
    the topic holds now, under the second and up to `end`."""
    then, now = ids
    if then and now and then != now:
        why = f"has another topic id, {now} instead of {then}"
    elif end < position:
        why = f"ends at {end}, but {position} records of it were processed"
    else:
        return
    raise DriftlineError(
        "topic_recreated",
        f"{tp.topic}-{tp.partition} {why}: it was made anew",
        "begin anew under another DRIFTLINE_PREFIX, or delete this one's topics and consumer group",
    )


def _key(topic: str) -> bytes:
    return PREFIX + topic.rpartition(".")[2].encode()
