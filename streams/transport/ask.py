"""Which partitions a fetch asks for, for how long it is held, and how little of that a broker is told.

Each fetch costs a worker of many partitions a millisecond, however little it brings, and what it brings too early costs memory: few
partitions have news, but aiokafka looks at each, names each, and reads of each that nothing came. Here leaders are looked up once, and
a broker remembers what it was asked for (a fetch session, KIP-227): it is told what has changed, and says what is new.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Container, Mapping
from typing import Any, Final

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest

from driftline.streams.transport.wire import writer

LONGEST_WAIT_MS: Final = 200
LITTLE_BYTES: Final = 64 << 10  # is not worth an answer of the broker while other records wait to be worked on
_FIRST_WITH_SESSIONS: Final = 7  # version of a fetch
_LAST_EPOCH: Final = (1 << 31) - 1

Told = dict[str, dict[int, int]]  # topic to partition to offset
Wanted = list[tuple[str, list[tuple[int, int, int]]]]  # topics of partitions with their offsets and most bytes


def fetch_seldom(fetcher: Fetcher) -> None:
    """From now on `fetcher` asks as said in this module. Its blocks must be those of `fetch.chunk_lanes`.

    A topic is not asked for while enough of it waits here (`ENOUGH_BYTES`); the others are. While nothing comes, the broker holds the fetch
    the longer, up to `LONGEST_WAIT_MS`; only while every partition is asked for, since one that is left out waits for the fetch to end.
    While records wait here to be worked on, it is held for no longer than else, but until there is more than a little.
    """
    aiokafka_fetcher.FetchRequest = Ask
    fetcher._get_actions_per_node = _Plan(fetcher)
    client = fetcher._client
    send = client.send

    async def answered(node_id: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, Ask) or request.session is None:
            return await send(node_id, request, **options)
        try:
            answer = await send(node_id, request, **options)
        except BaseException:
            request.session.forget()
            raise
        request.answered(answer)
        return answer

    client.send = answered


class Session:
    """What one broker remembers of a fetcher. One request is under way at a time."""

    def __init__(self) -> None:
        self._id = self._epoch = 0
        self.told: Told = {}

    def changes(self, topics: Wanted) -> tuple[int, int, Wanted, list[tuple[str, list[int]]]]:
        """The session, its epoch, and what the broker must be told to know that these are wanted: what to ask for, what no more.

        >>> session = Session()
        >>> session.changes([("a", [(0, 5, 9), (1, 5, 9)]), ("b", [(0, 5, 9)])])
        (0, 0, [('a', [(0, 5, 9), (1, 5, 9)]), ('b', [(0, 5, 9)])], [])
        >>> session.answered(0, 7)
        >>> session.changes([("a", [(0, 5, 9), (1, 6, 9)])])
        (7, 1, [('a', [(1, 6, 9)])], [('b', [0])])
        """
        told, self.told = self.told, {topic: {partition: offset for partition, offset, _ in parts} for topic, parts in topics}
        if not self._epoch:
            return self._id, 0, topics, []
        changed = [
            (topic, [part for part in parts if known.get(part[0]) != part[1]])
            for topic, parts in topics
            if (known := told.get(topic, {})) != self.told[topic]
        ]
        gone = [(topic, [*(known.keys() - self.told.get(topic, {}).keys())]) for topic, known in told.items()]
        return self._id, self._epoch, [each for each in changed if each[1]], [each for each in gone if each[1]]

    def answered(self, error_code: int, session_id: int) -> None:
        """What a broker said of the session. It has none where it has no room for it, and may drop one at any time."""
        if error_code or not session_id:
            self.forget()
        else:
            self._id, self._epoch = session_id, self._epoch % _LAST_EPOCH + 1

    def forget(self) -> None:
        """Tell the broker everything next time, which ends the session it may have."""
        self._epoch, self.told = 0, {}


def _quick(kind: Any) -> Any:
    """The same request, written by `wire`."""
    write, names = writer(kind.SCHEMA), kind.SCHEMA.names
    return type(kind.__name__, (kind,), {"encode": lambda self: write([getattr(self, name) for name in names])})


_KINDS: Final = {kind: _quick(kind) for kind in FetchRequest._CLASSES}


class Ask(FetchRequest):  # type: ignore[misc]
    """A fetch that is written quickly, and in a session says only what its broker does not know; it stands for aiokafka's."""

    session: Session | None = None

    def leave_out(self, topics: Container[str]) -> bool:
        """Do not ask for these; whether something is left to be asked for."""
        self._topics = [each for each in self.topics if each[0] not in topics]
        return bool(self._topics)

    def build(self, request_struct_class: type[Any]) -> Any:
        kind, wanted = _KINDS[request_struct_class], self._topics
        if self.session is None or kind.API_VERSION < _FIRST_WITH_SESSIONS:
            return super().build(kind)
        session_id, epoch, self._topics, gone = self.session.changes(wanted)
        request = super().build(kind)
        self._topics = wanted
        request.session_id, request.session_epoch, request.forgotten_topics_data = session_id, epoch, gone
        return request

    def answered(self, answer: Any) -> None:
        """Take in what the broker said, and hold only what that is about: aiokafka looks at each partition that was asked for."""
        if self.session is None or answer.API_VERSION < _FIRST_WITH_SESSIONS:
            return
        told = self.session.told
        self._topics = [(topic, [(part[0], told[topic][part[0]], 0) for part in parts]) for topic, parts in answer.topics]
        self.session.answered(answer.error_code, answer.session_id)


class _Plan:
    """Stands for `Fetcher._get_actions_per_node`, to which it leaves whatever is not usual."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher, self._plain = fetcher, fetcher._get_actions_per_node
        self._shortest_ms, self._seen = fetcher._fetch_max_wait_ms, 0
        self._sessions = defaultdict[int, Session](Session)
        self._led_by: dict[Any, dict[str, list[tuple[int, Any]]]] = {}  # node to topic to partitions and their states
        self._looked_up: tuple[Any, Any] = None, None

    def __call__(self, assignment: Any) -> Any:
        fetcher, records = self._fetcher, self._fetcher._records
        self._look_up(assignment)
        free = [node for node in self._led_by if node not in fetcher._in_flight]
        backoff = self._backoff(records)
        if not free and not fetcher._preferred_read_replica:
            return [], {}, min(backoff.values(), default=fetcher._fetcher_timeout), False, []
        states = [state for node in free for parts in self._led_by[node].values() for _, state in parts]
        paused = any([state._paused for state in states])
        self._say_how_long(records.waits(), paused)
        enough = records.enough()
        unusual = paused or fetcher._preferred_read_replica or not {None, -1}.isdisjoint(free)
        if unusual or None in [state._position for state in states]:
            requests, *others = self._plain(assignment)
            requests = [(node, request) for node, request in requests if request.leave_out(enough)]
            for node, request in requests:
                request.session = self._sessions[node]
            return requests, *others
        requests = [(node, request) for node in free if node not in backoff and (request := self._request(node, enough))]
        return requests, {}, min(backoff.values(), default=fetcher._fetcher_timeout), False, []

    def _look_up(self, assignment: Any) -> None:
        """Who leads what, unless it was looked up since the cluster's metadata came."""
        cluster = self._fetcher._client.cluster
        if self._looked_up[0] is assignment and self._looked_up[1] is cluster._partitions:
            return
        self._looked_up, self._led_by = (assignment, cluster._partitions), {}
        for tp in assignment.tps:
            topics = self._led_by.setdefault(cluster.leader_for_partition(tp), {})
            topics.setdefault(tp.topic, []).append((tp.partition, assignment.state_value(tp)))

    def _backoff(self, records: Mapping[Any, Any]) -> dict[Any, float]:
        """The nodes that are not asked before what came of them is consumed, and for how long at most."""
        backoff = dict[Any, float]()
        leader = self._fetcher._client.cluster.leader_for_partition
        for tp, block in records.items():
            if left_s := block.calculate_backoff():
                node = leader(tp)
                backoff[node] = max(left_s, backoff.get(node, 0.0))
        return backoff

    def _say_how_long(self, waiting: bool, paused: bool) -> None:
        fetcher = self._fetcher
        came, self._seen = fetcher._records.came > self._seen, fetcher._records.came
        at_once = came or waiting or paused
        fetcher._fetch_min_bytes = LITTLE_BYTES if waiting else 1
        fetcher._fetch_max_wait_ms = self._shortest_ms if at_once else min(2 * fetcher._fetch_max_wait_ms, LONGEST_WAIT_MS)

    def _request(self, node: int, enough: Container[str]) -> Ask | None:
        """What a node is asked for; the partitions in another order each time, for the first may fill the answer."""
        fetcher = self._fetcher
        waiting, most = defaultdict[str, set[int]](set), fetcher._max_partition_fetch_bytes
        for tp in fetcher._records:
            waiting[tp.topic].add(tp.partition)
        topics: Wanted = []
        for topic, parts in self._led_by[node].items():
            if topic not in enough:
                held, at = waiting.get(topic, ()), random.randrange(len(parts))
                wanted = [(partition, state._position, most) for partition, state in parts[at:] + parts[:at] if partition not in held]
                topics += [(topic, wanted)] if wanted else []
        random.shuffle(topics)
        if not topics:
            return None
        request = Ask(
            fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes, fetcher._fetch_max_bytes, fetcher._isolation_level, topics,
            fetcher._client_rack or "",
        )  # fmt: skip
        request.session = self._sessions[node]
        return request
