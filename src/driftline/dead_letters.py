"""Dead letters, and how they are put back where they came from: key, value and headers as they were.

A letter is put back once. How far each partition has been put back is remembered as the offsets of the consumer group
`PREFIX-dead-letters`, which are committed in the transaction that puts the letters back.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from driftline.registry import Complaints
from driftline.schemas.errors import DEAD_LETTER_CODES, DriftlineError
from driftline.schemas.events import MAX_VALUE_BYTES
from driftline.schemas.topics import Topics

LONGEST: Final = MAX_VALUE_BYTES - 1_024  # bytes of a record that the source topics take, with what Kafka adds to it
BLOCK: Final = 1_000  # letters put back in one transaction
WAIT_S: Final = 30.0
_ERROR: Final = "driftline.error."


class Count(NamedTuple):
    """Dead letters of one code from one topic. `put_back` of them were, or in a dry run would be, put back."""

    code: str
    topic: str
    letters: int
    put_back: int


@dataclass(frozen=True)
class Letter:
    """A dead letter, read."""

    code: str
    topic: str
    partition: int
    cut: bool  # the whole record was too long for the dead letters
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]  # the record's own

    @classmethod
    def of(cls, message: Message) -> Letter:
        """The letter in a message; without driftline's headers it has no code, and comes from nowhere."""
        headers = cast(list[tuple[str, Any]], message.headers() or [])
        about = {name.removeprefix(_ERROR): (text or b"").decode("utf-8", "replace") for name, text in headers if name.startswith(_ERROR)}
        partition = about.get("partition", "")
        return cls(
            about.get("code", ""), about.get("topic", ""), int(partition) if partition.isdecimal() else -1, "cut" in about,
            message.key(), message.value(), [header for header in headers if not header[0].startswith(_ERROR)],
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(name.encode()) + len(text or b"") for name, text in self.headers)


COORDINATOR_MOVES = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


@dataclass
class Place:
    """What has been put back of one partition: everything below `offset`, and of some codes more.

    >>> place = Place(5); place.move("future", 9); place.done("future", 8), place.done("malformed", 8)
    (True, False)
    >>> Place.of(place.commit("dead-letters", 0)) == place
    True
    >>> place.move(None, 20); place
    Place(offset=20, codes={})
    """

    offset: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, committed: TopicPartition) -> Self:
        """From what the group committed; nothing is a beginning."""
        return cls(max(committed.offset, 0), json.loads(committed.metadata or "{}"))

    def done(self, code: str, offset: int) -> bool:
        """Whether the letter at `offset` was put back, or passed over, before."""
        return offset < max(self.offset, self.codes.get(code, 0))

    def move(self, code: str | None, offset: int) -> None:
        """All letters below `offset`, or those of one code, are done."""
        if code is None:
            self.offset = offset
        else:
            self.codes[code] = offset
        self.codes = {name: at for name, at in self.codes.items() if at > self.offset}

    def commit(self, topic: str, partition: int) -> TopicPartition:
        """What the group is to commit."""
        return TopicPartition(topic, partition, self.offset, json.dumps(self.codes) if self.codes else "")


def put_back(client: Mapping[str, Any], topics: Topics, code: str | None = None, *, dry_run: bool = False) -> list[Count]:
    """Put dead letters back on the partitions they came from, and count them by code and topic.

    Parameters
    ----------
    client
        librdkafka properties: `bootstrap.servers`, and security where the brokers want it.
    code
        Only letters of this code; None: all.
    dry_run
        Count, and change nothing.

    Returns
    -------
    Counts of the letters that were not put back before, ordered by code and topic. A letter stays where it is when it comes from
    none of the source topics, or is longer than an event may be.

    Raises
    ------
    DriftlineError
        `unknown_code`, `no_dead_letters`, `kafka_refused`
    """
    if code is not None and code not in DEAD_LETTER_CODES:
        raise DriftlineError("unknown_code", f"there is no code {code!r}", f"use one of {', '.join(DEAD_LETTER_CODES)}")
    group = f"{topics.prefix}-dead-letters"
    complaints = Complaints()
    settings = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True}
    consumer = Consumer({**complaints.heard_by(client), **settings})
    try:
        return _put_back(client, consumer, topics, code, None if dry_run else group)
    except KafkaException as error:
        reason = error.args[0].str()
        fix = "look at the broker and at the rights of this user, and run it again: nothing is put back twice"
        raise DriftlineError("kafka_refused", f"{client['bootstrap.servers']}: {reason}{complaints}", fix) from error
    finally:
        consumer.close()


def _put_back(client: Mapping[str, Any], consumer: Consumer, topics: Topics, code: str | None, group: str | None) -> list[Count]:
    places = _places(consumer, topics.dead_letters)
    sender = _Sender(client, consumer, group, len(places)) if group else None
    seen: Counter[tuple[str, str]] = Counter()
    back: Counter[tuple[str, str]] = Counter()
    for number, place in places.items():
        for messages in _blocks(consumer, TopicPartition(topics.dead_letters, number, place.offset)):
            letters = [(int(message.offset() or 0), Letter.of(message)) for message in messages]
            new = [letter for offset, letter in letters if code in {None, letter.code} and not place.done(letter.code, offset)]
            chosen = [letter for letter in new if _can_go_back(letter, topics)]
            seen.update((letter.code, letter.topic) for letter in new)
            back.update((letter.code, letter.topic) for letter in chosen)
            if sender:
                place.move(code, letters[-1][0] + 1)
                sender.send(chosen, place.commit(topics.dead_letters, number))
    return [Count(*about, n, back[about]) for about, n in sorted(seen.items())]


def _places(consumer: Consumer, topic: str) -> dict[int, Place]:
    """What has been put back of each partition of the dead letters."""
    found = consumer.list_topics(topic, timeout=WAIT_S).topics[topic]
    if found.error or not found.partitions:
        raise DriftlineError(
            "no_dead_letters", f"there is no topic {topic}", "check DRIFTLINE_KAFKA and DRIFTLINE_PREFIX: `driftline topics`"
        )
    committed = _committed(consumer, [TopicPartition(topic, number) for number in sorted(found.partitions)])
    return {item.partition: Place.of(item) for item in committed}


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What the group committed; a coordinator that is still being found, as on a broker just started, is waited for."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return list(consumer.committed(partitions, timeout=WAIT_S))
        except KafkaException as error:
            if error.args[0].code() not in COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _blocks(consumer: Consumer, start: TopicPartition) -> Iterator[list[Message]]:
    """The messages of a partition from `start` to where it ends now, in blocks."""
    first, end = consumer.get_watermark_offsets(start, timeout=WAIT_S)
    position = max(start.offset, first)
    if position >= end:
        return
    consumer.assign([TopicPartition(start.topic, start.partition, position)])
    block: list[Message] = []
    while position < end:
        message = consumer.poll(WAIT_S)
        error = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
        if message is None or (error and error.code() != KafkaError._PARTITION_EOF):
            raise KafkaException(error)
        if error:
            break  # retention or an aborted transaction took what stood at the end
        position = int(message.offset() or 0) + 1
        block.append(message)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _can_go_back(letter: Letter, topics: Topics) -> bool:
    return letter.topic in {topics.predictions, topics.outcomes} and not letter.cut and letter.size <= LONGEST


class _Sender:
    """Puts letters back and remembers it, both or neither."""

    def __init__(self, client: Mapping[str, Any], consumer: Consumer, group: str, partitions: int) -> None:
        self._consumer, self._partitions = consumer, partitions
        self._producer = Producer(
            {**client, "transactional.id": group, "partitioner": "murmur2_random", "message.max.bytes": 2 * MAX_VALUE_BYTES, "log_level": 0}
        )
        self._producer.init_transactions(WAIT_S)

    def send(self, letters: list[Letter], place: TopicPartition) -> None:
        self._producer.begin_transaction()
        try:
            for letter in letters:
                partition = letter.partition if letter.partition < self._partitions else -1  # the topics may have been made anew
                self._producer.produce(letter.topic, letter.value, letter.key, partition, headers=letter.headers)
            self._producer.send_offsets_to_transaction([place], self._consumer.consumer_group_metadata(), WAIT_S)
            self._producer.commit_transaction(WAIT_S)
            self._consumer.commit(offsets=[place], asynchronous=False)  # the embedded broker forgets offsets that came in a transaction
        except KafkaException:
            self._producer.abort_transaction(WAIT_S)
            raise
