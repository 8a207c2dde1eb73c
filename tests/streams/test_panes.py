"""Panes: their codec, their sums, and labels that come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cramjam
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference
from driftline.streams.answers import (
    AnswerRows,
    Answers,
    LabelRows,
    Losses,
    RivalRows,
    arrays_of,
    fold_labels,
    fold_losses,
    fold_predictions,
    to_wire,
)
from driftline.streams.exact import exact_sums
from driftline.streams.layout import Layout
from driftline.streams.panes import (
    CODEC,
    Fence,
    Pane,
    PaneKey,
    decode_key,
    decode_pane,
    empty_pane,
    encode_key,
    encode_pane,
    fence_of,
    rebin,
    sum_of,
    sum_of_snapshots,
)

LAYOUT = Layout(
    Reference(
        "m", "1", {"x": NumericProfile([0.0, 1.0], [1, 1, 1], 3, 0, 0.0, 3.0), "c": CategoricalProfile(["a", "b"], [1, 1], 0, 2, 0)}, 3
    )
)  # fmt: skip
CLASSES = ["0", "1", ""]
MODEL, REGRESSION = Model("m"), Model("m", task="regression")
#: Quarters add up to the same bits in any order; other floats to within rounding only.
quarters = st.integers(-1_000, 1_000).map(lambda n: n / 4)
rows = st.tuples(st.one_of(st.none(), quarters, st.just("oops")), st.one_of(st.none(), st.sampled_from("abcdefgh"), st.text(max_size=2)))
labels = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(-1, 255), st.integers(-(10**9), 10**12))


def label_rows(of: list[tuple[int, int, int, int]], sign: int = 1) -> LabelRows:
    predicted, actual, bins, delay = np.array(of, np.int64).reshape(-1, 4).T
    return LabelRows(np.full(len(of), sign), predicted.astype(float), actual.astype(float), bins, delay)


@st.composite
def panes(draw: st.DrawFn, *, referenced: bool | None = None) -> Pane:
    """A pane of some rows and labels, with the reference or without."""
    layout = LAYOUT if (draw(st.booleans()) if referenced is None else referenced) else None
    pane, events = empty_pane(layout), draw(st.lists(rows, max_size=8))
    columns: dict[str, list[Any]] = {"x": [x for x, _ in events], "c": [c for _, c in events]}
    if layout and events:
        pane.add_encoded(layout, layout.encode(columns, len(events)), np.arange(len(events)))
    elif events:
        pane.add_raw(columns, np.arange(len(events)), {"x": "numeric", "c": "categorical"})
    told = label_rows(draw(st.lists(labels, max_size=5)))
    pane.answers.add_predictions(AnswerRows(told.predicted, told.bin, told.bin, told.label == 1), CLASSES, MODEL)
    pane.answers.add_labels(told, CLASSES, MODEL)
    pane.answers.losses.add_labels(told, CLASSES, MODEL)
    loss = draw(st.floats(-1e9, 1e9))
    pane.answers.losses.add(Losses.of([loss]))
    return pane


def content_of_answers(answers: Answers) -> Any:
    """All that can be compared; sums as texts, which have no limit."""
    content = msgspec.structs.asdict(to_wire(answers))
    content["arrays"] = [each.tolist() for each in arrays_of(answers)]
    return {**content, "sums": [repr(each) for each in answers.sums], "losses": repr(answers.losses)}


def content(pane: Pane) -> Any:
    """All of a pane that can be compared; texts and counts without their order."""
    return msgspec.to_builtins(
        [
            pane.reference, pane.n, pane.counts.tolist(), pane.sums.tolist(), [repr(v) for v in pane.extremes.ravel().tolist()], pane.novel,
            pane.sketches, content_of_answers(pane.answers),
        ]
    )  # fmt: skip


def copied(pane: Pane) -> Pane:
    return decode_pane(encode_pane(pane, Fence()))[0]


def added(*parts: Pane) -> Any:
    total = empty_pane(LAYOUT if parts[0].reference else None)
    for part in parts:
        total.add(copied(part))
    return content(total)


@given(panes(), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_snapshot_gives_back_the_pane_and_its_fence(pane: Pane, predictions: int, outcomes: int) -> None:
    snapshot = encode_pane(pane, Fence(predictions, outcomes))
    again, fence = decode_pane(snapshot)
    assert content(again) == content(pane)
    assert fence == fence_of(snapshot) == (predictions, outcomes)


def test_a_snapshot_of_a_newer_codec_is_refused_whatever_is_in_it() -> None:
    snapshot = bytes(16) + bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode([CODEC + 1, {"something": "else"}])))
    with pytest.raises(DriftlineError, match="state_too_new"):
        decode_pane(snapshot)


@given(st.booleans().flatmap(lambda referenced: st.tuples(panes(referenced=referenced), panes(referenced=referenced))))
def test_panes_add_up_in_either_order(pair: tuple[Pane, Pane]) -> None:
    one, other = pair
    assert added(one, other) == added(other, one)


@given(st.booleans().flatmap(lambda referenced: st.tuples(*[panes(referenced=referenced)] * 3)))
def test_panes_add_up_in_any_grouping(three: tuple[Pane, Pane, Pane]) -> None:
    a, b, c = three
    left, right = copied(a), copied(b)
    left.add(copied(b))
    left.add(copied(c))
    right.add(copied(c))
    whole = copied(a)
    whole.add(right)
    assert content(left) == content(whole)


@given(st.lists(panes(), max_size=4), st.lists(panes(referenced=True), max_size=9), st.floats(0.1, 0.9))
def test_snapshots_that_are_added_up_at_once_give_the_pane_to_the_bit(some: list[Pane], alike: list[Pane], share: float) -> None:
    for i, pane in enumerate([*some, *alike]):  # sums of floats, unlike those of whole rows, that come out another way in another order
        pane.sums += share ** (i + 1)
        pane.answers.add_rivals(RivalRows(*(np.array([each]) for each in (1, 0, float(i % 2), 0.5))), ["1"])
        pane.add_joint(np.array([i, -i]))
    for several in (alike, [*alike, *some]):
        snapshots = [encode_pane(pane, Fence()) for pane in several]
        at_once = sum_of_snapshots(snapshots, LAYOUT)
        assert encode_pane(at_once, Fence()) == encode_pane(sum_of((decode_pane(each)[0] for each in snapshots), LAYOUT), Fence())


def of_codec_7(pane: Pane) -> bytes:
    """A snapshot as it was written when every array stood by itself, in eight bytes a number."""
    wire = to_wire(pane.answers)
    wire.latencies, wire.delays = pane.answers.latencies.tobytes(), pane.answers.delays.tobytes()
    wire.said, wire.scored = (
        {name: counts.tobytes() for name, counts in each.items()} for each in (pane.answers.said, pane.answers.scored)
    )
    body = [7, (0, 0), pane.reference, pane.n, pane.counts.tobytes(), pane.sums.tobytes(), pane.extremes.tobytes(), pane.novel]
    more = [pane.sketches, wire, pane.joint.tobytes()]
    return (1 << 63).to_bytes(8) + bytes(16) + bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode(body + more)))


def of_codec_8(pane: Pane) -> bytes:
    """A snapshot as it was written when the bytes of each number stood together."""
    numbers = np.concatenate([pane.counts, *arrays_of(pane.answers)])
    kind = next(kind for kind in ("<u1", "<u2", "<u4", "<i8") if (numbers.astype(kind) == numbers).all())
    counts = numbers.astype(kind).tobytes() + bytes([np.dtype(kind).itemsize])
    body = [8, (0, 0), pane.reference, pane.n, counts, pane.sums.tobytes(), pane.extremes.tobytes(), pane.novel]
    more = [pane.sketches, to_wire(pane.answers), pane.joint.tobytes()]
    return (1 << 63).to_bytes(8) + bytes(16) + bytes(cramjam.lz4.compress_block(msgspec.msgpack.encode(body + more)))


@pytest.mark.parametrize("before", [of_codec_7, of_codec_8])
@given(panes(), panes(referenced=True), panes(referenced=True), st.sampled_from([1, 256, 2**40, -3]))
def test_snapshots_of_codecs_before_are_read_and_added_up_with_others(
    before: Callable[[Pane], bytes], pane: Pane, old: Pane, new: Pane, size: int
) -> None:
    for each in (pane, old):
        each.answers.delays[3] = size
    assert content(decode_pane(before(pane))[0]) == content(pane)
    assert content(sum_of_snapshots([before(old), encode_pane(new, Fence())], LAYOUT)) == added(old, new)


@given(st.lists(st.sampled_from([0, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**60, -1]), min_size=1, max_size=5))
def test_counts_of_any_size_are_kept_and_added_up(sizes: list[int]) -> None:
    several = [empty_pane(LAYOUT) for _ in sizes]
    for pane, size in zip(several, sizes, strict=True):
        pane.counts[1] = size
        pane.answers.delays[3] = size
    snapshots = [encode_pane(pane, Fence()) for pane in several]
    assert [(int(pane.counts[1]), int(pane.answers.delays[3])) for pane, _ in map(decode_pane, snapshots)] == [(n, n) for n in sizes]
    whole = sum_of_snapshots(snapshots, LAYOUT)
    assert (int(whole.counts[1]), int(whole.counts.sum()), int(whole.answers.delays[3])) == (sum(sizes),) * 3


@given(panes())
def test_the_empty_pane_adds_nothing(pane: Pane) -> None:
    assert added(pane) == content(pane)


def test_panes_of_two_references_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        empty_pane(LAYOUT).add(empty_pane(None))


@given(panes(), st.lists(labels, max_size=6))
def test_labels_that_are_taken_out_leave_no_trace(pane: Pane, some: list[tuple[int, int, int, int]]) -> None:
    before = content(copied(pane))
    pane.answers.add_labels(label_rows(some), CLASSES, MODEL)
    pane.answers.add_labels(label_rows(some, -1), CLASSES, MODEL)
    assert content(pane) == before


MULTICLASS = Model("m", task="multiclass", classes=("0", "1"))


@given(
    st.lists(st.tuples(st.integers(0, 150), labels, st.sampled_from([-1, 1])), max_size=12),
    st.sampled_from([MODEL, MULTICLASS, REGRESSION]),
)
def test_rows_that_go_to_several_panes_at_once_are_in_each_those_that_go_there_one_by_one(
    some: list[tuple[int, tuple[int, int, int, int], int]], model: Model
) -> None:
    at_once, one_by_one = ([Answers() for _ in range(151)] for _ in range(2))
    place, told = np.array([at for at, _, _ in some], np.int64), label_rows([row for _, row, _ in some])
    told = told._replace(sign=np.array([sign for _, _, sign in some], np.int64))
    answers = AnswerRows(told.predicted, told.bin, told.bin, (told.label == 1).astype(np.int64))
    fold_predictions(at_once, [(place, answers)], CLASSES, model)
    fold_labels(at_once, place, told, CLASSES, model)
    fold_losses([each.losses for each in at_once], place, told, CLASSES, model)
    for i, at in enumerate(place.tolist()):
        one_by_one[at].add_predictions(answers.take(np.array([i])), CLASSES, model)
        one_by_one[at].add_labels(told.take(np.array([i])), CLASSES, model)
        one_by_one[at].losses.add_labels(told.take(np.array([i])), CLASSES, model)
    assert [content_of_answers(each) for each in at_once] == [content_of_answers(each) for each in one_by_one]


@given(st.lists(labels, max_size=8), st.sampled_from([-1, 1]))
def test_losses_and_residuals_of_classes_are_summed_without_rounding(some: list[tuple[int, int, int, int]], sign: int) -> None:
    losses = Losses()
    losses.add_labels(label_rows(some, sign), CLASSES, MODEL)
    wrong = [float(predicted != actual) for predicted, actual, _, _ in some]
    residuals = [float(CLASSES[actual] == MODEL.positive) - (bin + 0.5) / 256 for _, actual, bin, _ in some if bin >= 0]
    total, first, second = ([each] for each in (wrong, residuals, [each * each for each in residuals]))
    wanted = [sign * exact_sums(each)[0] for each in (total, first, second)]
    assert [losses.total, losses.residual, losses.residual_squares] == wanted
    assert (losses.n, losses.scored, losses.squares) == (sign * len(some), sign * len(residuals), losses.total)


numbers = st.floats(-1e150, 1e150)


@given(st.lists(st.tuples(numbers, numbers), max_size=6), st.lists(st.tuples(numbers, numbers), max_size=6))
def test_errors_of_a_regression_that_are_taken_out_leave_no_trace(kept: list[tuple[float, float]], gone: list[tuple[float, float]]) -> None:
    def fold(answers: Answers, pairs: list[tuple[float, float]], sign: int) -> None:
        predicted, label = np.array(pairs).reshape(-1, 2).T
        none = np.zeros(len(pairs), np.int64)
        rows = LabelRows(none + sign, predicted, label, none - 1, none)
        answers.add_labels(rows, [], REGRESSION)
        answers.losses.add_labels(rows, [], REGRESSION)

    wanted, answers = Answers(), Answers()
    fold(wanted, kept, 1)
    for pairs, sign in ((gone, 1), (kept, 1), (gone, -1)):
        fold(answers, pairs, sign)
    assert content_of_answers(answers) == content_of_answers(wanted)


def test_a_label_of_a_million_millions_that_is_corrected_leaves_every_digit_of_the_others() -> None:
    answers = Answers()
    predicted, label, none = np.array([0.1, 1e12]), np.array([0.3, -1e12]), np.zeros(2, np.int64)
    rows = LabelRows(none + 1, predicted, label, none - 1, none)
    answers.add_labels(rows, [], REGRESSION)
    answers.add_labels(rows.take(np.array([1]))._replace(sign=np.array([-1])), [], REGRESSION)
    assert answers.sum_of("absolute") == 0.3 - 0.1
    assert answers.sum_of("squares") == (0.3 - 0.1) ** 2


def test_a_snapshot_of_the_first_codec_keeps_its_labels() -> None:
    scores = np.zeros((2, 256), np.int64)
    scores[:, 7] = [2, 3]
    old = [1, (5, 6), "", 9, b"", b"", b"", {}, {}, 5, {"1\x1f1": 5}, scores.tobytes(), np.array([1.5, 2.5, 4.25]).tobytes()]
    losses = {"n": 2, "total": 0.5, "squares": 0.25}
    body = msgspec.msgpack.encode([*old, np.arange(32).tobytes(), losses])
    pane, fence = decode_pane((5).to_bytes(8) + (6).to_bytes(8) + bytes(cramjam.lz4.compress_block(body)))
    answers = pane.answers
    assert (fence, pane.n, answers.n_labelled, answers.confusion) == (Fence(5, 6), 9, 5, {"1\x1f1": 5})
    assert (answers.scores.tolist(), answers.delays.tolist()) == (scores.tolist(), list(range(32)))
    assert [answers.sum_of(name) for name in ("error", "absolute", "squares")] == [1.5, 2.5, 4.25]
    assert answers.losses.batch() == (2, 0.5, 0.125)


@given(st.lists(rows, min_size=1, max_size=12), st.integers(0, 12))
def test_a_sketch_does_not_depend_on_how_rows_were_cut(events: list[tuple[Any, Any]], cut: int) -> None:
    def fold(*parts: list[tuple[Any, Any]]) -> Any:
        pane = empty_pane(None)
        for part in parts:
            pane.add_raw({"x": [x for x, _ in part], "c": [c for _, c in part]}, np.arange(len(part)), {})
        return content(pane)

    assert fold(events[:cut], events[cut:]) == fold(events)


def test_a_feature_that_only_rows_of_other_panes_have_is_not_in_the_pane() -> None:
    pane = empty_pane(None)
    pane.add_raw({"x": [1.0, 2.0], "elsewhere": [None, 3.0]}, np.array([0]), {})
    assert pane.sketches.keys() == {"x"}


def test_a_configured_feature_is_in_the_pane_though_it_is_always_missing() -> None:
    pane = empty_pane(None)
    pane.add_raw({"x": [None]}, np.array([0]), {"x": "numeric"})
    assert pane.sketches["x"].missing == 1


def test_a_feature_that_comes_late_was_missing_before() -> None:
    pane = empty_pane(None)
    pane.add_raw({"x": [1.0, 2.0]}, np.arange(2), {})
    pane.add_raw({"x": [1.0], "y": ["a"]}, np.arange(1), {})
    assert pane.sketches["y"].missing == 2


@given(panes(referenced=False))
def test_a_pane_without_a_reference_keeps_its_rows_and_labels_when_counted_by_one(pane: Pane) -> None:
    out = rebin(pane, LAYOUT)
    stretches = [LAYOUT.stretch(out.counts, f) for f in range(2)]
    assert [int(bins.sum()) + missing + errors for bins, missing, errors in stretches] == [pane.n, pane.n]
    assert content_of_answers(out.answers) == content_of_answers(pane.answers)


@pytest.mark.parametrize("segment", ["", "plan=a=b", "city=Zürich", 'q="x"', "a/b=[1, 2]"])
@pytest.mark.parametrize("version", ["1", "2024/05", 'a"b', "ä\\b", "[]"])
def test_a_record_key_names_its_pane(version: str, segment: str) -> None:
    key = PaneKey("m", version, segment, -60_000)
    assert decode_key(encode_key(key, 3)) == (key, 3)


def test_a_delay_is_counted_by_the_power_of_two_of_its_seconds() -> None:
    # seconds   [0, 1)  [1, 3)  [3, 7) …
    # bin         0       1       2
    pane = empty_pane(None)
    pane.answers.add_labels(label_rows([(0, 0, -1, ms) for ms in (-5, 0, 999, 1_000, 2_999, 3_000)]), CLASSES, MODEL)
    assert pane.answers.delays[:4].tolist() == [3, 2, 1, 0]


def test_a_delay_beyond_the_last_bin_is_in_the_last_bin() -> None:
    pane = empty_pane(None)
    pane.answers.add_labels(label_rows([(0, 0, -1, 2**52)]), CLASSES, MODEL)
    assert pane.answers.delays.tolist() == [*[0] * 31, 1]
