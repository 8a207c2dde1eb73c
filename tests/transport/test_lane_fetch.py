"""From fetched record batches to chunks: the same records that aiokafka would hand out one by one, in spans without a hole."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams import kernels
from driftline.streams.transport import fetch
from driftline.streams.transport.ask import LITTLE_BYTES, LONGEST_WAIT_MS, fetch_seldom
from driftline.streams.transport.chunk import Chunk
from driftline.streams.transport.fetch import ENOUGH_BYTES, _Kept, chunk_lanes, chunks
from driftline.streams.transport.raw import _SPARE, Room

pytestmark = pytest.mark.usefixtures("either_reader")
TP, PANES = TopicPartition("predictions", 3), TopicPartition("panes", 0)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ABORT, COMMIT = 0, 1
CONTROL = 0x20

Record = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]  # offset within the batch, key, value, headers


@dataclass(frozen=True)
class Batch:
    """One record batch of a log, and how many offsets it takes."""

    records: tuple[Record, ...]
    length: int  # may be more than the records need: compaction took the last ones
    codec: int = 0
    producer: int = -1
    control: int | None = None

    def encode(self, base: int) -> bytes:
        builder = DefaultRecordBatchBuilder(2, self.codec, int(self.producer >= 0), self.producer, 0, 0, 1 << 24)
        key = struct.pack(">hh", 0, self.control) if self.control is not None else None
        for offset, k, value, headers in self.records:
            assert builder.append(offset, 1_700_000_000_000 + offset, key or k, value, headers)
        buffer = bytearray(builder.build())
        struct.pack_into(">q", buffer, 0, base)
        if self.control is not None:
            struct.pack_into(">h", buffer, 21, struct.unpack_from(">h", buffer, 21)[0] | CONTROL)
        struct.pack_into(">i", buffer, 23, self.length - 1)
        struct.pack_into(">I", buffer, 17, calc_crc32c(bytes(buffer[21:])))
        return bytes(buffer)


def plain(*values: bytes | None, codec: int = 0, producer: int = -1) -> Batch:
    return Batch(tuple((i, b"k", value, []) for i, value in enumerate(values)), len(values), codec, producer)


def marker(producer: int, what: int) -> Batch:
    return Batch(((0, None, None, []),), 1, 0, producer, what)


def fetched(log: list[Batch], position: int = 0, level: int = READ_COMMITTED, *, corrupt: bool = False) -> PartitionRecords:
    """What a fetch at `position` brings: the batch that holds the position, and all after it."""
    base, data, aborted, began = 0, b"", list[tuple[int, int]](), dict[int, int]()
    for batch in log:
        if base + batch.length > position:
            data += batch.encode(base)
        if batch.control is None and batch.producer >= 0:
            began.setdefault(batch.producer, base)
        if batch.control is not None:
            first = began.pop(batch.producer, None)
            if batch.control == ABORT and first is not None:
                aborted.append((batch.producer, first))
        base += batch.length
    if corrupt:
        data = data[:-1] + bytes([data[-1] ^ 1])
    return PartitionRecords(TP, _Kept(data), aborted, position, None, None, True, level)


def rows(chunk: Chunk) -> list[tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
    return [
        (int(offset), int(timestamp), chunk.key(i), chunk.value(i), chunk.headers[i])
        for i, (offset, timestamp) in enumerate(zip(chunk.offset, chunk.timestamp, strict=True))
    ]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_codec_is_read(codec: int) -> None:
    values = [b"value %d " % i * 20 for i in range(50)]
    [chunk] = chunks(fetched([plain(*values, codec=codec)]), 100)
    assert chunk.values() == values


@pytest.mark.parametrize("codec", [0, 1, 3, 4])
def test_compiled_code_reads_the_usual_codecs_and_leaves_what_it_cannot_read(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_reader", kernels.current())  # as it was, afterwards
    data = plain(b"a" * 100, None, codec=codec).encode(7)
    kernels.load()
    room = Room()
    assert room.add_batch(data, 0, len(data))
    for end in range(len(data)):
        assert not room.add_batch(data, 0, end)
    assert room.add_batch(data, 0, len(data))
    chunk = room.take(4, TP, 7)
    assert (chunk.offset.tolist(), chunk.values()) == ([7, 8, 7, 8], [b"a" * 100, None] * 2)
    kernels.unload()
    assert not room.add_batch(data, 0, len(data))


def test_a_batch_that_unpacks_to_more_than_the_room_holds_is_read_all_the_same() -> None:
    values = [bytes([i]) * 1_000_000 for i in range(12)]
    got = list(chunks(fetched([plain(*values, codec=4), plain(b"last", codec=3)]), 100))
    assert [value for chunk in got for value in chunk.values()] == [*values, b"last"]


def test_batches_of_a_block_become_one_chunk() -> None:
    [chunk] = chunks(fetched([plain(b"a"), plain(b"b", b"c", codec=3), plain(b"d")]), 100)
    assert (chunk.first, chunk.end, chunk.values()) == (0, 4, [b"a", b"b", b"c", b"d"])


def test_a_batch_larger_than_a_chunk_is_cut() -> None:
    got = list(chunks(fetched([plain(*[b"v"] * 10)]), 4))
    assert [(chunk.first, chunk.end, len(chunk)) for chunk in got] == [(0, 4, 4), (4, 8, 4), (8, 10, 2)]


def test_a_chunk_is_closed_when_it_is_large_in_bytes() -> None:
    got = list(chunks(fetched([plain(b"x" * 100), plain(b"x" * 100), plain(b"x" * 100)]), 100, chunk_bytes=150))
    assert [len(chunk) for chunk in got] == [2, 1]


def test_what_a_batch_has_beyond_a_chunk_goes_along_if_it_is_little() -> None:
    batch = plain(*[b"x" * 60] * 4)
    assert [len(chunk) for chunk in chunks(fetched([batch] * 3), 100, chunk_bytes=200)] == [4, 4, 4]
    assert [len(chunk) for chunk in chunks(fetched([batch] * 3), 3, chunk_bytes=200)] == [3, 3, 3, 3]


def test_what_little_is_left_of_a_block_goes_into_its_last_chunk() -> None:
    got = list(chunks(fetched([plain(b"x" * 100) for _ in range(6)] + [plain(b"x")]), 100, chunk_bytes=300))
    assert [len(chunk) for chunk in got] == [3, 4]


def test_a_fetch_from_inside_a_batch_begins_at_its_position() -> None:
    [chunk] = chunks(fetched([plain(b"a", b"b", b"c", b"d", codec=4)], position=2), 100)
    assert (chunk.first, chunk.offset.tolist(), chunk.values()) == (2, [2, 3], [b"c", b"d"])


def test_null_keys_values_and_headers_are_told_from_empty_ones() -> None:
    batch = Batch(((0, None, b"", []), (1, b"", None, [("h", b"1"), ("g", None)])), 2)
    [chunk] = chunks(fetched([batch]), 100)
    assert [row[2:] for row in rows(chunk)] == [(None, b"", ()), (b"", None, (("h", b"1"), ("g", b"")))]


def test_offsets_taken_by_compaction_lie_inside_the_span() -> None:
    got = list(chunks(fetched([Batch(((1, b"k", b"a", []), (4, b"k", b"b", [])), 9), plain(b"c")]), 100))
    assert [(chunk.first, chunk.end, chunk.offset.tolist()) for chunk in got] == [(0, 10, [1, 4, 9])]


def test_control_and_aborted_batches_leave_their_offsets_in_the_span_of_the_chunk() -> None:
    log = [plain(b"a", producer=7), marker(7, COMMIT), plain(b"lost", producer=7), plain(b"b"), marker(7, ABORT)]
    [chunk] = chunks(fetched(log), 100)
    assert (chunk.first, chunk.end, chunk.offset.tolist(), chunk.values()) == (0, 5, [0, 3], [b"a", b"b"])


def test_a_block_without_a_record_gives_one_empty_chunk() -> None:
    [chunk] = chunks(fetched([plain(b"lost", producer=7), marker(7, ABORT)]), 100)
    assert (chunk.first, chunk.end, len(chunk), chunk.values()) == (0, 2, 0, [])


def test_uncommitted_records_are_read_only_when_asked_for() -> None:
    log = [plain(b"lost", producer=7), marker(7, ABORT)]
    [chunk] = chunks(fetched(log, level=READ_UNCOMMITTED), 100)
    assert chunk.values() == [b"lost"]


def test_a_corrupt_batch_is_refused() -> None:
    with pytest.raises(CorruptRecordException, match="offset 0 does not match its CRC"):
        list(chunks(fetched([plain(b"a")], corrupt=True), 100))


def test_memory_that_chunks_gave_back_is_used_again_and_never_while_one_refers_to_it() -> None:
    def log(round: int) -> list[Batch]:
        return [plain(bytes([round, i]) * 300_000) for i in range(48)]

    kept: list[tuple[int, list[Chunk]]] = []
    for round in range(12):
        came = list(chunks(fetched(log(round)), 1_000))
        assert len(came) > 1 and all(isinstance(chunk.data, memoryview) for chunk in came[:-1])
        kept.append((round, came[:1] if round % 3 else came))
        del came
    assert _SPARE
    for round, those in kept:
        for chunk in those:
            assert chunk.values() == [bytes([round, i]) * 300_000 for i in chunk.offset.tolist()]


def test_a_room_holds_memory_only_while_something_is_here_and_gives_it_back() -> None:
    room, empty = Room(), Room().nbytes
    _SPARE.clear()
    for _ in range(3):
        room.add_rows([(0, 0, None, b"x" * 5_000_000, []), (1, 0, None, b"y", [])])
        large = room.take(1, TP, 0)
        assert room.nbytes > empty
        small = room.take(1, TP, 1)
        assert (room.nbytes, len(_SPARE)) == (empty, 1)
        room.add_rows([(2, 0, None, b"z" * 5_000_000, [])])
        whole = room.take(1, TP, 2)
        assert room.nbytes == empty
        assert large.values() + small.values() + whole.values() == [b"x" * 5_000_000, b"y", b"z" * 5_000_000]
        del large, small, whole
        assert len(_SPARE) == len({id(memory) for memory in _SPARE}) == 2


@asynccontextmanager
async def fetching(*partitions: TopicPartition, **options: int) -> AsyncIterator[tuple[Fetcher, Assignment]]:
    """A fetcher with the lane that has no broker, and what it is to read from the beginning."""
    client = AIOKafkaClient()
    client.cluster.leader_for_partition = lambda tp: 0
    fetcher = Fetcher(client, SubscriptionState(), **options)
    try:
        chunk_lanes(fetcher, frozenset({TP.topic}), 100)
        fetch_seldom(fetcher)
        assignment = Assignment(set(partitions))
        for tp in assignment.tps:
            assignment.state_value(tp).seek(0)
        yield fetcher, assignment
    finally:
        await fetcher.close()


def test_a_fetch_is_held_longer_while_nothing_comes_and_every_partition_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with fetching(TP, PANES, fetch_max_wait_ms=50) as (fetcher, assignment):

            def asked() -> int:
                [(_, request)] = fetcher._get_actions_per_node(assignment)[0]
                assert request._min_bytes == (LITTLE_BYTES if fetcher._records and fetch.PATIENCE_S else 1)
                return int(request._max_wait_ms)

            assert [asked() for _ in range(4)] == [100, 200, LONGEST_WAIT_MS, LONGEST_WAIT_MS]
            fetcher._records[TP] = FetchResult(TP, assignment=assignment, partition_records=fetched([plain(b"a")]), backoff=0)
            waiting = fetcher._records.pop(TP)
            assert [asked(), asked()] == [50, 100]
            fetcher._records[TP] = waiting
            assert [asked(), asked()] == [50, 50]  # for the other partition
            monkeypatch.setattr(fetch, "PATIENCE_S", 0.0)  # as if the block had stood still for that long
            assert [asked(), asked()] == [100, 200]
            del fetcher._records[TP]
            assignment.state_value(TP).pause()
            assert [asked(), asked()] == [50, 50]

    asyncio.run(run())


def test_a_topic_of_which_enough_waits_is_not_asked_for_but_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with fetching(TP, TopicPartition(TP.topic, 0), PANES, prefetch_backoff=0) as (fetcher, assignment):

            def asked() -> set[str]:
                return {topic for _, request in fetcher._get_actions_per_node(assignment)[0] for topic, _ in request.topics}

            def come(tp: TopicPartition, size: int) -> None:
                records = fetched([plain(bytes(size))])
                fetcher._records[tp] = FetchResult(tp, assignment=assignment, partition_records=records, backoff=0)

            come(TP, ENOUGH_BYTES // 2)
            assert asked() == {TP.topic, "panes"}
            come(TP, ENOUGH_BYTES)
            assert asked() == {"panes"}
            assignment.state_value(PANES).pause()
            assert asked() == set()
            monkeypatch.setattr(fetch, "PATIENCE_S", 0.0)  # as if the block's partition had stood still for that long
            assert asked() == {TP.topic}

    asyncio.run(run())


maybe_bytes = st.none() | st.binary(max_size=6)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    producer = draw(st.sampled_from([-1, 7, 8]))
    if producer >= 0 and draw(st.booleans()):
        return marker(producer, draw(st.sampled_from([ABORT, COMMIT])))
    offsets = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=8)))
    header: st.SearchStrategy[tuple[str, bytes | None]] = st.tuples(st.text(max_size=2), st.binary(max_size=2))
    records = tuple((offset, draw(maybe_bytes), draw(maybe_bytes), draw(st.lists(header, max_size=2))) for offset in offsets)
    return Batch(records, offsets[-1] + 1 + draw(st.integers(0, 3)), draw(st.sampled_from([0, 0, 1, 3])), producer)


logs = st.lists(batches(), min_size=1, max_size=8)


@given(log=logs, data=st.data(), level=st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]), size=st.integers(1, 10))
def test_chunks_hold_what_aiokafka_hands_out_one_by_one(log: list[Batch], data: st.DataObject, level: int, size: int) -> None:
    position = data.draw(st.integers(0, sum(batch.length for batch in log) - 1), label="position")
    one_by_one = fetched(log, position, level)
    expected = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in one_by_one]
    got = list(chunks(fetched(log, position, level), size))
    assert [row for chunk in got for row in rows(chunk)] == expected
    assert [got[0].first, *(chunk.end for chunk in got)] == [*(chunk.first for chunk in got), one_by_one.next_fetch_offset]
    assert all(chunk.first <= offset < chunk.end for chunk in got for offset in chunk.offset.tolist())


@given(log=logs, most=st.lists(st.integers(1, 3), max_size=30), seek_after=st.integers(0, 30))
def test_aiokafka_takes_the_position_from_chunks_and_drops_the_rest_after_a_seek(
    log: list[Batch], most: list[int], seek_after: int
) -> None:
    async def run() -> None:
        assignment = Assignment({TP})
        state = assignment.state_value(TP)
        state.seek(0)
        records = fetched(log)
        records._records_iterator = chunks(records, 2)
        block = FetchResult(TP, partition_records=records, assignment=assignment, backoff=0)
        for i, max_records in enumerate([*most, None]):
            if i == seek_after:
                state.seek(1_000)
            got = block.getall(max_records)
            if i >= seek_after:
                assert got == [] and state.position == 1_000 and not block.has_more()
                return
            assert len(got) <= (max_records or len(got))
            assert not got or state.position == got[-1].end
            if not block.has_more():
                assert state.position == sum(batch.length for batch in log)
                return

    asyncio.run(run())
