"""Contiguity: whatever happens on the way, each record is applied once, in order."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.transport.chunk import Chunk, chunk_of
from driftline.streams.transport.contiguity import Apply, Contiguity, NotOurs, SeekBack, Skip

HERE = ("t", 0)


def chunk(first: int, end: int, holes: frozenset[int] = frozenset()) -> Chunk:
    return chunk_of("t", 0, first, end, [(i, 0, None, b"%d" % i, ()) for i in range(first, end) if i not in holes])


def reading(position: int) -> Contiguity:
    contiguity = Contiguity(patience_s=1.0)
    contiguity.start({HERE: position})
    return contiguity


def test_a_chunk_that_starts_at_the_position_is_applied_whole() -> None:
    verdict = reading(3).judge(chunk(3, 6), 0.0)
    assert isinstance(verdict, Apply) and verdict.chunk.offset.tolist() == [3, 4, 5]


def test_a_chunk_that_starts_earlier_is_cut_to_its_new_part() -> None:
    verdict = reading(4).judge(chunk(2, 6), 0.0)
    assert isinstance(verdict, Apply) and (verdict.chunk.first, verdict.chunk.offset.tolist()) == (4, [4, 5])


def test_a_chunk_seen_before_is_skipped() -> None:
    assert reading(6).judge(chunk(2, 6), 0.0) == Skip()


def test_a_chunk_behind_a_hole_asks_for_a_seek_back() -> None:
    assert reading(3).judge(chunk(5, 6), 0.0) == SeekBack(3)


def test_a_seek_is_asked_for_once_and_again_when_it_was_not_answered_in_time() -> None:
    contiguity = reading(3)
    assert [contiguity.judge(chunk(5, 6), now_s) for now_s in (0.0, 0.9, 1.1)] == [SeekBack(3), Skip(), SeekBack(3)]


def test_a_second_hole_after_an_answered_seek_is_asked_for_at_once() -> None:
    contiguity = reading(3)
    assert contiguity.judge(chunk(5, 6), 0.0) == SeekBack(3)
    assert isinstance(contiguity.judge(chunk(3, 5), 0.1), Apply)
    assert contiguity.judge(chunk(7, 8), 0.2) == SeekBack(5)


def test_a_chunk_without_records_moves_the_position() -> None:
    contiguity = reading(3)
    assert isinstance(contiguity.judge(chunk(3, 6, frozenset(range(3, 6))), 0.0), Apply)
    assert contiguity.positions == {HERE: 6}


def test_a_chunk_of_a_partition_that_was_given_up_is_not_ours() -> None:
    contiguity = reading(3)
    contiguity.start({("t", 1): 0})
    assert contiguity.judge(chunk(3, 4), 0.0) == NotOurs()


def test_after_a_move_reading_goes_on_from_there() -> None:
    contiguity = reading(3)
    assert contiguity.judge(chunk(9, 12), 0.0) == SeekBack(3)
    contiguity.move(HERE, 9)  # retention deleted 3 to 8
    assert isinstance(contiguity.judge(chunk(9, 12), 0.1), Apply)


@given(
    start=st.integers(0, 20),
    length=st.integers(1, 40),
    holes=st.frozensets(st.integers(0, 60)),
    # What the transport does next: deliver the chunk fetched, lose it, deliver it again later, or fetch from somewhere else.
    noise=st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["deliver", "lose", "repeat", "delay", "jump"]), st.integers(0, 60)), max_size=60
    ),
)
def test_each_record_is_applied_once_and_in_order_under_loss_repetition_and_reordering(
    start: int, length: int, holes: frozenset[int], noise: list[tuple[int, str, int]]
) -> None:
    end = start + length
    contiguity, applied, under_way, position = reading(start), [], deque[Chunk](), start
    now_s = 0.0

    def deliver(arriving: Chunk) -> None:
        nonlocal position, now_s
        now_s += 0.4
        match contiguity.judge(arriving, now_s):
            case Apply(new):
                applied.extend(new.offset.tolist())
            case SeekBack(wanted):
                position = wanted

    for size, what, where in noise:
        if what == "jump":
            position = min(where, end)
        fetched = chunk(position, min(position + size, end), holes)
        if fetched.first == fetched.end:
            continue
        position = fetched.end
        if what != "lose":
            under_way.append(fetched)
        if what == "repeat":
            under_way.append(fetched)
        if what != "delay" and under_way:
            deliver(under_way.pop())  # the last one first: reordered
    while under_way:
        deliver(under_way.popleft())
    while contiguity.positions[HERE] < end:  # the noise is over: every fetch arrives
        position = min(position, end - 1)
        fetched = chunk(position, min(position + 3, end), holes)
        position = fetched.end
        deliver(fetched)
    assert applied == [i for i in range(start, end) if i not in holes]
