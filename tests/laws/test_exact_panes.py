"""The law the project stands on: panes equal a recount of the raw events, whatever came in which order, twice, late or after a crash."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recount import Key, Recount, orphans, recount
from shelf import Shelf, Store, begin, make_room, name_orphans, take_in

from driftline.schemas.config import Model
from driftline.schemas.progress import CODEC, Marker, decode_marker, encode_marker
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference
from driftline.schemas.results import Orphan
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.waiting import Waiting
from driftline.streams.agents.cold import Cold
from driftline.streams.answers import BETWEEN
from driftline.streams.evaluation import Evaluation
from driftline.streams.exact import to_float
from driftline.streams.panes import Fence, Pane, PaneKey, decode_key, decode_pane, encode_key, epoch_of, fence_of
from driftline.streams.partition import Partition
from driftline.streams.registry import Registry
from driftline.streams.segments import without_place
from driftline.streams.transport.chunk import Chunk, chunk_of

pytestmark = pytest.mark.usefixtures("either_reader")
T0 = 1_767_571_200_000
MODEL = Model(
    "m", pane_ms=1_000, horizon_ms=8_000, disorder_ms=1_000, grace_ms=2_000, segments=("region", "region+plan"),
    known_values={"region": ("eu",)}, segment_values=1,
)  # fmt: skip
REFERENCE = Reference(
    "m", "1",
    {
        "x": NumericProfile(edges=[0.0, 2.0, 5.0], counts=[1, 1, 1, 1], n=4, missing=0, mean=2.0, m2=8.0),
        "c": CategoricalProfile(categories=["a", "b"], counts=[2, 2], other=0, n=4, missing=0),
    },
    rows=4,
)  # fmt: skip

ROOM = st.sampled_from([0, 1, 3, 10, 30, 1_000])  # rows in memory: from none to all


def registry(learned: bool) -> Registry:
    known = Registry({"m": MODEL})
    if not learned:
        known.add(REFERENCE, 0)
    return known


def random_topics(rng: random.Random, n: int) -> tuple[list[bytes | None], list[bytes | None]]:
    """Two topics of raw messages: ids come twice, labels come early, late, corrected, taken back; some bytes are rubbish."""
    predictions: list[bytes | None] = []
    outcomes: list[bytes | None] = []
    now = T0
    for _ in range(n):
        now += rng.randrange(0, 1_200)
        identity = f"id{rng.randrange(max(2, n // 2))}"
        ts = now - rng.choice([0, 0, 0, 500, 1_500, 4_000, 9_000])
        event: dict[str, Any] = {
            "id": identity, "model": "m", "version": rng.choice(["1", "1", "2"]), "ts": ts, "prediction": rng.randrange(2),
            "score": rng.random(),
            "features": {"x": rng.choice([None, -1, 0, 2, 4.5, 99, "oops"]), "c": rng.choice(["a", "b", "new", None])},
            "segments": rng.choice([{}, {"region": "eu"}, {"region": "us", "plan": "a+b"}, {"region": "asia", "plan": "pro"}]),
            "latency_ms": rng.choice([None, 0, 1.5, 80]), "failed": rng.random() < 0.1,
        }  # fmt: skip
        predictions.append(rng.choice([json.dumps(event).encode()] * 20 + [b"{", None]))
        for _ in range(rng.choice([0, 1, 1, 2])):
            kind = rng.choice(["final", "final", "correction", "retraction"])
            label = None if kind == "retraction" else rng.randrange(2)
            late = now + rng.choice([-3_000, 0, 0, 800, 5_000, 20_000])
            outcome = {"id": f"id{rng.randrange(max(2, n // 2))}", "model": "m", "ts": late, "label": label, "kind": kind}
            outcomes.append(rng.choice([json.dumps(outcome).encode()] * 20 + [b"[]"]))
    return predictions, outcomes


def key_of(value: bytes | None) -> bytes:
    """What a service gives a message as its key: the id of its event."""
    found = re.search(rb'"id": "(.*?)"', value or b"")
    return found[1] if found else b"k"


def chunks(rng: random.Random, topic: str, values: list[bytes | None], start: int, end: int) -> list[Chunk]:
    """The records of `[start, end)` cut at random; their Kafka time is far ahead, so none is from the future."""
    out = []
    while start < end:
        stop = min(end, start + rng.choice([1, 2, 5, 50]))
        out.append(chunk_of(topic, 0, start, stop, [(i, T0 + 10**9, key_of(values[i]), values[i], ()) for i in range(start, stop)]))
        start = stop
    return out


def feed(
    rng: random.Random, partition: Partition, predictions: list[bytes | None], outcomes: list[bytes | None], until: Fence, store: Store
) -> None:
    """Read both topics up to `until`, interleaved at random; ids leave for the store when there are too many, or by chance."""
    queues = [
        chunks(rng, "p", predictions, partition.positions.predictions, until.predictions),
        chunks(rng, "o", outcomes, partition.positions.outcomes, until.outcomes),
    ]
    while any(queues):
        queue = rng.choice([q for q in queues if q])
        chunk = queue.pop(0)
        take_in(partition, chunk, "predictions" if chunk.topic == "p" else "outcomes", store)
        if partition.tiers.crowded or rng.random() < 0.1:
            make_room(partition, store)


def check(stored: dict[PaneKey, bytes], wanted: dict[Key, Recount], learned: bool) -> None:
    got = {key: decode_pane(snapshot)[0] for key, snapshot in stored.items()}
    met = got.keys() | {PaneKey(*key) for key in wanted}
    for key in met:
        if key.segment in without_place({each.segment for each in met if each[1::2] == key[1::2]}, MODEL):
            continue
        pane, want = got.get(key), wanted.get(key) or Recount()
        assert pane is not None, f"{key} is missing"
        confusion = Counter({BETWEEN.join(pair): n for pair, n in want.confusion.items()})
        answers = pane.answers
        assert (pane.n, Counter(answers.confusion), answers.losses.n) == (want.n, confusion, len(want.losses)), key
        assert to_float(answers.losses.total) == sum(want.losses)
        assert to_float(answers.losses.residual) == math.fsum(want.residuals)
        assert answers.scores.sum() == answers.n_labelled == confusion.total() == answers.delays.sum()
        assert {name: tally for name, tally in answers.rivals.items() if any(tally)} == dict(want.rivals)
        assert (Counter(answers.predicted), answers.failures) == (want.predicted, want.failures)
        assert binned(answers.said) == {name: Counter(bins) for name, bins in want.said.items()}
        assert binned(answers.scored) == {name: Counter(bins) for name, bins in want.scored.items()}
        assert Counter(dict(enumerate(answers.latencies.tolist()))) == Counter(want.latencies)
        check_features(key, pane, want, learned)


def binned(arrays: dict[str, Any]) -> dict[str, Counter[Any]]:
    """Arrays of counts as counters of their places."""
    return {
        name: Counter({place[0] if len(place) == 1 else place: int(n) for place, n in np.ndenumerate(a) if n}) for name, a in arrays.items()
    }


def check_features(key: PaneKey, pane: Pane, want: Recount, learned: bool) -> None:
    x, c = want.features["x"], want.features["c"]
    if key.version == "2" or learned:
        seen = {name for name, values in (("x", x), ("c", c)) if values.keys() - {None}}
        assert pane.sketches.keys() & {"x", "c"} == seen  # whatever else was in the chunks that brought the rows
        if "x" in seen:
            assert sum(pane.sketches["x"].counts) == sum(n for v, n in x.items() if isinstance(v, int | float))
        if "c" in seen:
            assert pane.sketches["c"].texts == {v: n for v, n in c.items() if v}
            assert pane.sketches["c"].missing == c[None]
        return
    numeric = [x[-1], x[0], x[2] + x[4.5], x[99], x[None], x["oops"]]
    assert pane.counts.tolist() == [*numeric, c["a"], c["b"], c["new"], c[None], 0]
    assert pane.novel.get("c", {}) == ({"new": c["new"]} if c["new"] else {})


@settings(max_examples=150)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 60), learned=st.booleans(), hot_rows=ROOM)
def test_any_order_and_chunking_gives_the_recount(seed: int, n: int, learned: bool, hot_rows: int) -> None:
    rng = random.Random(seed)
    predictions, outcomes = random_topics(rng, n)
    stored: dict[PaneKey, bytes] = {}
    store = Shelf()
    partition = Partition(0, registry(learned), stored, hot_rows=hot_rows, life=1)
    kept: dict[PaneKey, bytes] = {}
    for share in (0.3, 0.7, 1.0):
        feed(rng, partition, predictions, outcomes, Fence(int(len(predictions) * share), int(len(outcomes) * share)), store)
        kept |= dict(partition.flush().snapshots)  # readers keep a final pane; the partition itself forgets it
    check(kept, recount(MODEL, predictions, outcomes), learned)
    c = partition.counters
    assert c["consumed"] == len(predictions) + len(outcomes)
    told = ("accepted", "duplicate", "late", "outcomes", "late_outcomes", "dead_letters", "ignored")
    assert c["consumed"] == sum(c[name] for name in told)


@settings(max_examples=200)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 60), learned=st.booleans(), hot_rows=ROOM)
def test_crashes_and_flushes_that_are_cut_off_change_nothing(seed: int, n: int, learned: bool, hot_rows: int) -> None:
    check_lives(seed, n, learned, hot_rows, Shelf(), count(1))


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    """The real table, in the engine inside this process."""
    with ClickHouse.connect(f"chdb://{tmp_path_factory.mktemp('waiting')}/store") as store:
        store.migrate()
        yield Waiting(store)


LIVES = count(1)


@settings(max_examples=8)
@given(seed=st.integers(0, 10**9), n=st.integers(20, 60), hot_rows=st.sampled_from([0, 3, 10]))
def test_the_same_holds_with_the_real_store(waiting: Waiting, seed: int, n: int, hot_rows: int) -> None:
    check_lives(seed, n, False, hot_rows, Cold(waiting, registry(False)), LIVES)


def check_lives(seed: int, n: int, learned: bool, hot_rows: int, store: Store, lives: Iterator[int]) -> None:
    """Several workers live and die, one after another; each starts from what the earlier ones left, in part or whole."""
    rng = random.Random(seed)
    predictions, outcomes = random_topics(rng, n)
    table: dict[PaneKey, bytes] = {}
    marker = b""
    evaluate: dict[PaneKey, bytes] = {}
    named = set[Orphan]()

    def keep_highest(into: dict[PaneKey, bytes], key: PaneKey, snapshot: bytes) -> None:
        if key not in into or (epoch_of(snapshot), sum(fence_of(snapshot))) >= (epoch_of(into[key]), sum(fence_of(into[key]))):
            into[key] = snapshot

    def start(into: dict[PaneKey, bytes], epoch: int) -> Partition:
        known = decode_marker(marker) if marker else None
        started = Partition(0, registry(learned), into, known, epoch, hot_rows=hot_rows, life=next(lives))
        begin(started, store)
        return started

    end = Fence(len(predictions), len(outcomes))
    for life in range(rng.randrange(1, 6) + 1):
        partition = start(dict(table), life)
        last = life == 5
        for _ in range(rng.randrange(0, 4)):
            p, o = partition.needed
            until = Fence(rng.randint(min(p, end.predictions), end.predictions), rng.randint(min(o, end.outcomes), end.outcomes))
            feed(rng, partition, predictions, outcomes, Fence(*map(max, until, partition.positions)), store)
            if not partition.recovered:
                continue
            if rng.random() < 0.5:
                for shard in partition._shards.values():
                    shard.join.evict(force=True)
            name_orphans(partition, store)
            flush = partition.flush()
            named.update(flush.orphans)
            told = flush.snapshots[: rng.randrange(len(flush.snapshots) + 1)] if rng.random() < 0.3 and not last else flush.snapshots
            for key, snapshot in told:
                keep_highest(table, key, snapshot)
                keep_highest(evaluate, key, snapshot)
            if len(told) < len(flush.snapshots):
                store_without_leaving(partition, store)
                break  # killed between two snapshots: no marker
            for key in flush.removed:
                table.pop(key, None)
            marker = flush.marker
            if rng.random() < 0.2 and table:
                table.pop(rng.choice(sorted(table)))  # the table has lost it: its records are read again
    final = start(table, 6)
    feed(rng, final, predictions, outcomes, end, store)
    for shard in final._shards.values():
        shard.join.evict(force=True)
    name_orphans(final, store)
    flush = final.flush()
    named.update(flush.orphans)
    for key, snapshot in flush.snapshots:
        keep_highest(evaluate, key, snapshot)
    check(evaluate, recount(MODEL, predictions, outcomes), learned)
    check_orphans(named, orphans(MODEL, predictions, outcomes), final)


def store_without_leaving(partition: Partition, store: Store) -> None:
    """Rows are written, and then the worker dies: nobody may count them."""
    for departure in partition.tiers.leave():
        store.insert(partition.number, departure)


def check_orphans(named: set[Orphan], alone: dict[int, int], final: Partition) -> None:
    """Each that was named is one, and each that is long past was named once."""
    found = Counter(orphan.offset for orphan in named)
    assert set(found.values()) <= {1} and found.keys() <= alone.keys()
    assert all(orphan.label_ts == alone[orphan.offset] for orphan in named)
    for shard in final._shards.values():
        join = shard.join
        past = min(join.newest_prediction, join.newest_outcome) - 4 * (join.horizon_ms + join.lateness_ms)
        assert {offset for offset, ts in alone.items() if ts < past} <= found.keys()


class Tables:
    """What ingest's changelog, evaluate and a replacing store hold, whoever wrote it and when."""

    def __init__(self, learned: bool) -> None:
        self.learned = learned
        self.changelog: dict[tuple[PaneKey | None, int], bytes] = {}  # by pane (None: the marker) and epoch, as compaction leaves it
        self.topic: list[tuple[bytes, bytes]] = []  # records of `panes`
        self.rows: dict[PaneKey, tuple[int, bytes]] = {}  # revision and snapshot
        self.state: dict[bytes, bytes] = {}
        self.taken = 0
        self.evaluation = Evaluation(registry(learned), 1, {})

    def recovered(self) -> dict[PaneKey | None, tuple[int, bytes]]:
        """Of each key the highest epoch, as `State.of` gives it."""
        return {key: (epoch, self.changelog[key, epoch]) for key, epoch in sorted(self.changelog, key=lambda about: about[1])}

    def evaluate(self, rng: random.Random) -> None:
        """Take in some records of `panes` and store what they give; now and then crash before or after the state is written."""
        upto = rng.randint(self.taken, len(self.topic))
        for key, snapshot in self.topic[self.taken : upto]:
            self.evaluation.take(key, snapshot)
        for key, _ in self.topic[self.taken : upto]:
            pane = decode_key(key)[0]
            _, revision = self.evaluation._pane(pane)
            if revision >= self.rows.get(pane, (0, b""))[0]:
                self.rows[pane] = revision, self.evaluation._stored[key]
        if rng.random() < 0.7:
            self.state |= self.evaluation.evaluate().state
            self.taken = upto
        if rng.random() < 0.2:
            self.evaluation = Evaluation(registry(self.learned), 1, dict(self.state))


class Owner:
    """One worker that has, or believes to have, the partition."""

    def __init__(self, tables: Tables, epoch: int, store: Store, hot_rows: int) -> None:
        found = tables.recovered()
        _, marker = found.pop(None, (0, encode_marker(Marker(CODEC, (0, 0), [], {}, {}))))
        self.epoch, self.tables = epoch, tables
        self.known = {(key, old) for key, old in tables.changelog if old < epoch}
        snapshots = {key: snapshot for key, (_, snapshot) in found.items() if key}
        self.final: list[PaneKey] = []
        self.store = store
        self.partition = Partition(0, registry(tables.learned), snapshots, decode_marker(marker), epoch, hot_rows=hot_rows, life=epoch)
        begin(self.partition, store)
        self.write(None, marker)  # the claim: whoever comes later begins after this owner

    def write(self, key: PaneKey | None, value: bytes | None) -> None:
        if value is None:
            self.tables.changelog.pop((key, self.epoch), None)
        else:
            self.tables.changelog[key, self.epoch] = value
        for old in [old for old in self.known if old[0] == key]:
            self.known.discard(old)
            self.tables.changelog.pop(old, None)

    def go_on(self, rng: random.Random, topics: tuple[list[bytes | None], list[bytes | None]], newest: bool, whole: bool = False) -> bool:
        """Read some more and flush. Of the last flush of a worker that is killed, which is what is returned, only a part arrives."""
        at, needed, ends = self.partition.positions, self.partition.needed, Fence(*map(len, topics))
        until = Fence(*(end if whole else rng.randint(min(max(a, n), end), end) for a, n, end in zip(at, needed, ends, strict=True)))
        feed(rng, self.partition, *topics, until, self.store)
        if rng.random() < 0.5:
            for shard in self.partition._shards.values():
                shard.join.evict(force=True)
        flush = self.partition.flush()
        cut = rng.random() < 0.3 and not whole
        for key, snapshot in flush.snapshots:
            if not cut or rng.random() < 0.7:
                self.write(key, snapshot)
        self.tables.topic += [(encode_key(key, 0), snapshot) for key, snapshot in flush.snapshots if not cut or rng.random() < 0.7]
        if not cut:
            self.write(None, flush.marker)
            self.final += flush.removed if newest else []
            while self.final and rng.random() < 0.8:  # or later: it may be paused again between the question and the deed
                self.write(self.final.pop(), None)
        return cut


@settings(max_examples=120)
@given(seed=st.integers(0, 10**9), n=st.integers(1, 60), learned=st.booleans(), hot_rows=ROOM)
def test_owners_that_go_on_after_their_successors_change_nothing(seed: int, n: int, learned: bool, hot_rows: int) -> None:
    """Paused workers wake up at any moment, read the two topics in an order of their own, and publish fences that cannot be compared."""
    rng = random.Random(seed)
    topics = random_topics(rng, n)
    tables, store = Tables(learned), Shelf()
    owners, killed = [Owner(tables, 1, store, hot_rows)], list[Owner]()
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.4:
            owners.append(Owner(tables, owners[-1].epoch + 1, store, hot_rows))
        alive = [owner for owner in owners if owner not in killed]
        owner = owners[-1] if owners[-1] in alive and rng.random() < 0.5 else rng.choice(alive)
        if owner.go_on(rng, topics, owner is owners[-1]):
            killed.append(owner)
            if len(alive) == 1:
                owners.append(Owner(tables, owners[-1].epoch + 1, store, hot_rows))
        tables.evaluate(rng)
    zombies = [owner for owner in owners if owner not in killed]
    Owner(tables, owners[-1].epoch + 1, store, hot_rows).go_on(rng, topics, newest=True, whole=True)
    rng.choice(zombies).go_on(rng, topics, newest=False)  # late
    while tables.taken < len(tables.topic):
        tables.evaluate(rng)
    check({key: snapshot for key, (_, snapshot) in tables.rows.items()}, recount(MODEL, *topics), learned)
