"""The lane touches private names of aiokafka and Faust. This says which, and fails with a sentence when one changes its shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, Subscription, SubscriptionState, TopicPartitionState
from aiokafka.producer import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.protocol.fetch import FetchRequest
from faust.serializers.schemas import Schema
from faust.streams import Stream
from faust.transport.consumer import Consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Transport
from faust.types.tuples import ConsumerMessage

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}

#: What is called or overridden, and its parameters.
SIGNATURES: dict[Callable[..., Any], list[str]] = {
    AIOKafkaClient._get_conn: ["self", "node_id", "group", "no_hint"],
    AIOKafkaClient.send: ["self", "node_id", "request", "group"],
    AIOKafkaConnection._handle_frame: ["self", "resp"],
    BatchBuilder.append: ["self", "timestamp", "key", "value", "headers"],
    fetcher.PartitionRecords._unpack_records: ["self"],
    fetcher.PartitionRecords._consume_aborted_up_to: ["self", "batch_offset"],
    fetcher.PartitionRecords._contains_abort_marker: ["self", "next_batch"],
    fetcher.Fetcher.fetched_records: ["self", "partitions", "timeout", "max_records"],
    fetcher.Fetcher.seek_to: ["self", "tp", "offset"],
    fetcher.Fetcher._get_actions_per_node: ["self", "assignment"],
    Assignment.state_value: ["self", "tp"],
    AIOKafkaConsumerThread._create_worker_consumer: ["self", "transport"],
    AIOKafkaConsumerThread._fetch_records: ["self", "consumer", "active_partitions", "timeout", "max_records"],
    AIOKafkaConsumerThread._seek_wait: ["self", "consumer", "partitions"],
    AIOKafkaConsumerThread.on_start: ["self"],
    Consumer._wait_next_records: ["self", "timeout"],
    Consumer._getmany: ["self", "active_partitions", "timeout"],
    Consumer._get_active_partitions: ["self"],
    Consumer._to_message: ["self", "tp", "record"],
    Consumer._new_offset: ["self", "tp"],
    Consumer._add_gap: ["self", "tp", "offset_from", "offset_to"],
    Consumer.commit: ["self", "topics", "start_new_transaction"],
    Consumer.getmany: ["self", "timeout"],
    Consumer.on_partitions_revoked: ["self", "revoked"],
    Consumer.perform_seek: ["self"],
    GroupCoordinator._do_heartbeat: ["self"],
    Schema.compile: ["self", "app", "on_key_decode_error", "on_value_decode_error", "default_propagate"],
    Transport.create_consumer: ["self", "callback", "kwargs"],
}

#: What is read or written inside others' functions: (where, the words that must stand there, why the lane depends on them).
WORDS: list[tuple[Any, list[str], str]] = [
    (AIOKafkaProducer.__init__, ["self._message_accumulator = MessageAccumulator("], "batches that are open are looked for there"),
    (
        MessageAccumulator.__init__,
        ["self._batches = collections.defaultdict(collections.deque)"],
        "batches that are open are looked for there",
    ),
    (
        MessageAccumulator.add_message,
        ["batch = pending_batches[-1]", "batch.append("],
        "the lane repeats it without a future for each record",
    ),
    (MessageAccumulator._pop_batch, ["self._batches[tp].popleft()"], "what is on its way is not found there"),
    (MessageBatch.__init__, ["self._builder = builder", "self.future = create_future()"], "records are put there, and awaited by it"),
    (BatchBuilder._build, ["self.close()"], "nothing can be put into a batch that was sent once"),
    (AIOKafkaClient.ready, ["await self._get_conn(node_id, group=group)"], "connections are changed as they are asked for"),
    (
        AIOKafkaConnection.connect,
        ["self._reader, self._writer, self._protocol = reader, writer, protocol", "await self._do_sasl_handshake()"],
        "another protocol takes its place, after the login",
    ),
    (
        AIOKafkaConnection._handle_frame,
        [
            "correlation_id, request, fut = self._requests[0]",
            "request.parse_response_header(resp)",
            "resp_type.decode(resp)",
            "self._last_action = time.monotonic()",
            "self._requests.popleft()",
        ],
        "the lane repeats it for large answers",
    ),
    (
        fetcher.Fetcher._get_actions_per_node,
        [
            "FetchRequest(\n                self._fetch_max_wait_ms,",
            "elif node_id in self._in_flight:",
            "elif not tp_state.has_valid_position:",
            "elif tp_state.paused:",
            "if node_id in backoff_by_nodes:",
            "backoff = min(map(max, backoff_by_nodes.values()))",
            "backoff = self._fetcher_timeout",
        ],
        "the lane says for how long, writes it, and repeats what is usual",
    ),
    (fetcher.Fetcher._select_read_replica, ["self._preferred_read_replica.get(tp)"], "where there is none, the leader is asked"),
    (
        fetcher.Fetcher._proc_fetch_request,
        ["await self._client.send(node_id, request)", "for partition, offset, _ in partitions:"],
        "the lane tells it only the partitions that an answer is about",
    ),
    (FetchRequest.build, ["0,  # session_id", "-1,  # session_epoch", "args.append([])  # forgotten"], "the lane has sessions"),
    (ClusterMetadata.update_metadata, ["self._partitions = _new_partitions"], "leaders are looked up again when it is another"),
    (fetcher.Fetcher.__init__, ["self._records = collections.OrderedDict()"], "the lane puts its own mapping in this place"),
    (fetcher.Fetcher._proc_fetch_request, ["self._records[tp] = FetchResult("], "blocks are switched to chunks as they are stored"),
    (
        AIOKafkaConnection.send,
        ["request_struct = request.prepare(self._versions)", "header.encode() + request_struct.encode()"],
        "a fetch is written by the lane",
    ),
    (
        fetcher.Fetcher._proc_fetch_request,
        ["records = MemoryRecords(part_data[-1])", "records.size_in_bytes()"],
        "the lane puts its own in this place",
    ),
    (fetcher.FetchResult, ["self._partition_records", "consumed_to(self._partition_records.next_fetch_offset)"], "positions come from it"),
    (
        fetcher.PartitionRecords,
        ["self._records_iterator", "self._aborted_producers", "self._check_crcs", "self._isolation_level", "next(self._records_iterator"],
        "a block is read through this iterator",
    ),
    (
        fetcher.PartitionRecords._unpack_records,
        ["records.has_next()", "records.next_batch()", "is_control_batch", "is_transactional", "next_batch.next_offset"],
        "the lane repeats its rules",
    ),
    (AIOKafkaConsumer.start, ["self._fetch_max_wait_ms", "self._isolation_level"], "both are set before the consumer starts"),
    (AIOKafkaConsumer.__init__, ["self._subscription =", "self._client = AIOKafkaClient("], "positions are read from it; it connects"),
    (SubscriptionState, ["def subscription("], "positions are read from it"),
    (Subscription, ["def assignment("], "positions are read from it"),
    (TopicPartitionState, ["self._position = position"], "a seek is told from a fetch by it"),
    (TopicPartitionState.pause, ["if not self._paused:"], "what is paused is not asked for"),
    (
        Consumer.__init__,
        ["self._unacked_messages = WeakSet()", "self._read_offset = defaultdict("],
        "the lane puts its own in these places",
    ),
    (
        Consumer._drain_messages,
        ["get_read_offset = self._read_offset.__getitem__", "await self._add_gap("],
        "chunks must not be taken for gaps",
    ),
    (Stream._c_aiter, ["it.after(event"], "this acknowledges, also when the stream is closed"),
    (Stream._py_aiter, ["event.ack()", "message.tracked = True"], "this starts a message and acknowledges it"),
    (ConsumerMessage.ack, ["if not self.acked:"], "an acknowledgement must look at `acked` first"),
    (Consumer.ack, ["if not message.acked:"], "an acknowledgement must look at `acked` first"),
]


@pytest.mark.parametrize("package", PINNED)
def test_the_versions_are_those_the_lane_was_written_for(package: str) -> None:
    assert version(package) == PINNED[package], f"{package} changed: read the lane against the new one, then change the pin here too"


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_a_private_function_still_takes_what_the_lane_gives_it(function: Callable[..., Any]) -> None:
    takes = list(inspect.signature(function).parameters)
    assert takes == SIGNATURES[function], (
        f"{function.__qualname__} takes {takes} now; streams/transport (consumer, ask, fetch, receive, producer) relies on it"
    )


@pytest.mark.parametrize(("where", "words", "why"), WORDS, ids=[where.__qualname__ for where, _, _ in WORDS])
def test_the_lines_the_lane_relies_on_are_still_there(where: Any, words: list[str], why: str) -> None:
    missing = [word for word in words if word not in inspect.getsource(where)]
    assert not missing, f"{where.__qualname__} no longer has {missing}, but {why}"
