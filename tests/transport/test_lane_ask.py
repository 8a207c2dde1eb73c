"""What a fetch asks for, and what a broker is told of it: the same as aiokafka asks for, in fewer words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.transport.ask import Ask, Session, Told, Wanted, fetch_seldom
from driftline.streams.transport.fetch import chunk_lanes

SESSIONS = [kind for kind in FetchRequest._CLASSES if kind.API_VERSION >= 7]
NODES = [0, 1, 2]
TPS = [TopicPartition(topic, partition) for topic in ("predictions", "labels", "panes") for partition in range(3)]

offsets = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(st.integers(0, 4), st.integers(0, 2), min_size=1), min_size=1)


class Broker:
    """As much of a broker as its fetch sessions are."""

    def __init__(self) -> None:
        self.session_id = self._epoch = 0
        self.asked: Told = {}

    def take(self, request: Any) -> tuple[int, int]:
        """The error code and the session of its answer."""
        if request.session_epoch:
            if request.session_id != self.session_id or request.session_epoch != self._epoch:
                return 71, 0
        else:
            self.session_id, self._epoch, self.asked = self.session_id + 1, 0, {}
        self._epoch += 1
        for topic, gone in request.forgotten_topics_data:
            for partition in gone:
                del self.asked[topic][partition]
        for topic, parts in request.topics:
            self.asked.setdefault(topic, {}).update({partition: offset for partition, *_, offset, _, _ in parts})
        return 0, self.session_id


def ask(session: Session, told: Told) -> Ask:
    topics = [(topic, [(partition, offset, 9) for partition, offset in parts.items()]) for topic, parts in told.items()]
    request = Ask(50, 1, 1 << 20, 0, topics)
    request.session = session
    return request


def parts_of(topics: Wanted) -> set[tuple[str, int, int]]:
    return {(topic, partition, offset) for topic, parts in topics for partition, offset, _ in parts}


@given(
    rounds=st.lists(st.tuples(offsets, st.sampled_from(["answered", "answered", "lost", "lost on its way", "no room", "forgotten"]))),
    kind=st.sampled_from(SESSIONS),
)
def test_a_broker_knows_what_is_wanted_whatever_became_of_the_requests_before(rounds: list[tuple[Told, str]], kind: Any) -> None:
    session, broker = Session(), Broker()
    for told, fate in rounds:
        request = ask(session, told)
        built = request.build(kind)
        if fate == "lost on its way":
            session.forget()
            continue
        error, session_id = broker.take(built)
        if not error:
            assert {topic: parts for topic, parts in broker.asked.items() if parts} == told
        if fate == "lost":
            session.forget()
        elif fate == "no room":
            request.answered(kind.RESPONSE_TYPE(0, 0, 0, []))
        else:
            request.answered(kind.RESPONSE_TYPE(0, error, session_id, []))
        if fate == "forgotten":
            broker = Broker()


def test_only_what_has_changed_is_told_once_a_broker_remembers() -> None:
    session, kind = Session(), SESSIONS[-1]
    told = {"a": {0: 5, 1: 5}, "b": {0: 5}}
    first = ask(session, told)
    assert first.build(kind).encode() == _full(first, kind, 0, 0).encode()
    first.answered(kind.RESPONSE_TYPE(0, 0, 77, []))
    again = ask(session, told).build(kind)
    assert (again.session_id, again.session_epoch, again.topics, again.forgotten_topics_data) == (77, 1, [], [])


def _full(request: Ask, kind: Any, session_id: int, epoch: int) -> Any:
    plain = FetchRequest(50, 1, 1 << 20, 0, request.topics).build(kind)
    plain.session_id, plain.session_epoch = session_id, epoch
    return plain


@pytest.mark.parametrize("kind", SESSIONS, ids=lambda kind: kind.__name__)
def test_a_fetch_holds_the_positions_of_what_its_answer_is_about(kind: Any) -> None:
    request = ask(Session(), {"a": {0: 5, 1: 6}, "b": {0: 7}})
    request.build(kind)
    request.answered(kind.RESPONSE_TYPE(0, 0, 1, [("a", [(1, 0, 9)])]))
    assert parts_of(request.topics) == {("a", 1, 6)}


def test_a_request_that_fails_ends_the_session_and_other_requests_have_none() -> None:
    async def run() -> None:
        client = AIOKafkaClient()
        sent: list[Any] = []

        async def send(node_id: int, request: Any, **options: Any) -> Any:
            sent.append(request.build(SESSIONS[-1]))
            if len(sent) == 3:
                raise KafkaConnectionError()
            return SESSIONS[-1].RESPONSE_TYPE(0, 0, 77, [])

        client.send = send
        fetcher = Fetcher(client, SubscriptionState())
        fetch_seldom(fetcher)
        session, told = Session(), {"a": {0: 5}}
        await client.send(0, ask(session, told))
        await client.send(0, ask(session, told))
        with pytest.raises(KafkaConnectionError):
            await client.send(0, ask(session, told))
        await client.send(0, ask(session, told))
        without = ask(session, told)
        without.session = None
        await client.send(0, without)
        assert [(request.session_id, request.session_epoch) for request in sent] == [(0, 0), (77, 1), (77, 2), (77, 0), (0, -1)]
        await fetcher.close()

    asyncio.run(run())


@asynccontextmanager
async def fetching(leaders: dict[TopicPartition, int | None]) -> AsyncIterator[tuple[Fetcher, Assignment, Any]]:
    """A fetcher that asks so, what is assigned to it, and aiokafka's plan of it."""
    client = AIOKafkaClient()
    client.cluster.leader_for_partition = leaders.get
    fetcher = Fetcher(client, SubscriptionState(), prefetch_backoff=60)
    chunk_lanes(fetcher, frozenset(), 100)
    plain = fetcher._get_actions_per_node
    fetch_seldom(fetcher)
    try:
        yield fetcher, Assignment(set(leaders)), plain
    finally:
        await fetcher.close()


def block(tp: TopicPartition, assignment: Assignment, created: float) -> FetchResult:
    came = FetchResult(tp, assignment=assignment, partition_records=None, backoff=60)
    came._created -= created
    return came


states = st.fixed_dictionaries(
    {
        "leader": st.sampled_from([0, 0, 0, 1, 2, -1, None]),
        "position": st.sampled_from([3, 4, 5, 6, 7, 8, 9, None]),
        "paused": st.integers(0, 9).map(lambda n: n == 0),
        "waits": st.sampled_from([None, None, None, 0.0, 30.0, 61.0]),
    }
)


@given(told=st.lists(states, min_size=len(TPS), max_size=len(TPS)), usual=st.booleans(), in_flight=st.sets(st.sampled_from(NODES)))
def test_the_partitions_are_those_that_aiokafka_would_ask_for(told: list[dict[str, Any]], usual: bool, in_flight: set[int]) -> None:
    if usual:
        told = [{**each, "paused": False, "leader": each["leader"] or 0, "position": each["position"] or 0} for each in told]

    async def run() -> None:
        async with fetching({tp: each["leader"] for tp, each in zip(TPS, told, strict=True)}) as (fetcher, assignment, plain):
            fetcher._in_flight = in_flight
            for tp, each in zip(TPS, told, strict=True):
                if each["position"] is not None:
                    assignment.state_value(tp).seek(each["position"])
                if each["paused"]:
                    assignment.state_value(tp).pause()
                if each["waits"] is not None:
                    fetcher._records[tp] = block(tp, assignment, each["waits"])
            requests, resets, timeout, unknown, resumes = fetcher._get_actions_per_node(assignment)
            requests_, resets_, timeout_, unknown_, resumes_ = plain(assignment)
            asked = {node: parts_of(request.topics) for node, request in requests}
            assert asked == {node: parts_of(request.topics) for node, request in requests_}
            assert {node: set(tps) for node, tps in resets.items()} == {node: set(tps) for node, tps in resets_.items()}
            assert (unknown, set(resumes), timeout) == (unknown_, set(resumes_), pytest.approx(timeout_, abs=1))
            sessions = {node: request.session for node, request in requests}
            assert None not in sessions.values() and len({*map(id, sessions.values())}) == len(sessions)

    asyncio.run(run())


def test_a_leader_is_looked_up_anew_when_the_metadata_or_the_assignment_changed() -> None:
    async def run() -> None:
        leaders: dict[TopicPartition, int | None] = dict.fromkeys(TPS, 0)
        async with fetching(leaders) as (fetcher, assignment, _):

            def nodes(assignment: Assignment) -> set[int]:
                for tp in assignment.tps:
                    assignment.state_value(tp).seek(0)
                return {node for node, _ in fetcher._get_actions_per_node(assignment)[0]}

            assert nodes(assignment) == {0}
            leaders |= dict.fromkeys(TPS[:2], 1)
            fetcher._client.cluster._partitions = {}
            assert nodes(assignment) == {0, 1}
            assert nodes(Assignment(set(TPS[:2]))) == {1}

    asyncio.run(run())


def test_each_partition_is_the_first_at_times() -> None:
    async def run() -> None:
        async with fetching(dict.fromkeys(TPS, 0)) as (fetcher, assignment, _):
            for tp in TPS:
                assignment.state_value(tp).seek(0)
            first = set()
            for _ in range(400):
                [(_, request)] = fetcher._get_actions_per_node(assignment)[0]
                [(topic, [(partition, _, _), *_]), *_] = request.topics
                first.add((topic, partition))
            assert first == {(tp.topic, tp.partition) for tp in TPS}

    asyncio.run(run())
