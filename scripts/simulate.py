"""A seeded simulation of the whole pipeline without a broker: everything that can go wrong, in any order, and then the tables once more.

    python scripts/simulate.py [--steps N] [--seed S] [--harms …]

Each step is one draw: events are published, a chunk is fetched, an effect happens or is heard of, a worker dies, pauses, joins or
leaves, a table is compacted, a clock jumps. After every step the invariants must hold; at the end, when all is quiet, every table
must equal a recomputation from the raw events. A failure prints its seed, the step, and what happened last.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faust.types import TP
from msgspec import structs
from recompute import Recomputed, Table, differences, recompute, stored
from simulated_cluster import Broker, Loop, Record, Replacing, SimWorker, simulated_time

from driftline.schemas.alerts import deterministic_id
from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.errors import DriftlineError
from driftline.schemas.progress import decode_marker, decode_progress
from driftline.schemas.reference import (
    CategoricalProfile,
    Entry,
    JointProfile,
    NumericProfile,
    PerformanceProfile,
    Profile,
    Reference,
    decode_entry,
    encode_entry,
    entry_key,
)
from driftline.schemas.results import decode_results
from driftline.schemas.topics import Topics
from driftline.streams.agents.ingest import MARKER
from driftline.streams.joint import Plan
from driftline.streams.panes import decode_pane

T0 = 1_767_571_200_000  # event time of the first event
STEPS = 1_500  # of one run, of one seed
HARMS = ("kill", "pause", "clock", "transit", "compaction", "operator", "references", "idle", "forgetting")
SHOWN = 10  # differences told when something fails
LAST_STEPS = 40  # told when something fails
REST = 4_000  # rounds after which a cluster without any harm must have come to rest
COUNTED = ("accepted", "duplicate", "late", "outcomes", "late_outcomes", "dead_letters", "ignored")


def _model(name: str, **settings: Any) -> Model:
    given = {
        "pane_ms": 1_000, "windows": (Window(4_000, 4_000), Window(6_000, 2_000)), "horizon_ms": 6_000, "disorder_ms": 500,
        "grace_ms": 3_000, "max_wait_ms": 2_000, "segments": ("region",), "learn_windows": 2,
        "features": {"x": "numeric", "y": "numeric", "c": "categorical"},
        "policy": Policy(min_samples=6, significance=0.05, min_coverage=0.3, resolve_after=1, cooldown_ms=15_000),
    }  # fmt: skip
    return Model(name, **{**given, **settings})


MODELS = {
    model.model: model
    for model in (
        _model("known", archive="all", multivariate=True),
        _model("learning", segments=()),
        _model("number", task="regression", segments=()),
        _model("unlabelled", labels=False, segments=(), windows=(Window(4_000, 4_000),)),
    )
}


def reference(name: str, effective_from: int, rows: int = 400) -> Reference:
    """A reference of x spread evenly over [0, 1), y its square, c over a and b, and labels over the same."""
    quarter, half = rows // 4, rows // 2
    features: dict[str, Profile] = {
        "x": NumericProfile([0.0, 0.25, 0.5, 0.75], [0, quarter, quarter, quarter, quarter], rows, 0, 0.5, rows / 12),
        "y": NumericProfile([0.0, 0.0625, 0.25, 0.5625], [0, quarter, quarter, quarter, quarter], rows, 0, 1 / 3, rows * 4 / 45),
        "c": CategoricalProfile(["a", "b"], [half, half], 0, rows, 0),
    }
    even = (np.arange(rows) + 0.5) / rows
    plan = Plan.of(features)
    assert plan is not None
    sums = plan.sums(np.stack([(even - 1 / 2) * 12**0.5, (even**2 - 1 / 3) * (45 / 4) ** 0.5], axis=1))
    joint = JointProfile(plan.names, sums.tolist(), [1e3] * 4, [2.0] * 4, [1.5] * 4, 20)  # one that nothing passes
    regression = MODELS[name].task == "regression"
    labels = features["x"] if regression else CategoricalProfile(["0", "1"], [half, half], 0, rows, 0)
    performance = PerformanceProfile(rows, {"mae": 0.2} if regression else {"accuracy": 0.9})
    return Reference(name, "1", features, rows, performance, "training", effective_from, labels=labels, joint=joint)


class Violation(Exception):
    """An invariant does not hold."""


@dataclass
class Watch:
    """Invariants of single records, held against every record as the broker takes it."""

    topics: Topics
    newest: dict[tuple[int, str, int], dict[int, int]] = field(default_factory=dict)  # (partition, model, topic) → position → newest
    markers: dict[int, tuple[int, int]] = field(default_factory=dict)  # the furthest one of each partition
    told: set[tuple[bytes | None, bytes]] = field(default_factory=set)  # snapshots that `panes` has

    def __call__(self, tp: TP, record: Record) -> None:
        if record.value is None:
            return
        if tp.topic == self.topics.panes:
            self._progress(record) if (record.key or b"").startswith(b"progress/") else self._pane(record)
        elif tp.topic == self.topics.results:
            self._results(record)
        elif tp.topic in (self.topics.alerts, self.topics.retrain):
            self._event(record)
        elif tp.topic == self.topics.changelog("ingest"):
            key, value = (record.key or b"").split(b"|", 2)[2], record.value[8:]  # partition, epoch, key
            if key == MARKER:
                self._marker(tp.partition, value)
            elif key.startswith(b"["):
                _hold((key, value) in self.told, "the table has a snapshot that `panes` has not", record)

    def _pane(self, record: Record) -> None:
        assert record.value is not None
        self.told.add((record.key, record.value))
        pane, _ = decode_pane(record.value)
        answers = pane.answers
        _hold(0 <= answers.n_labelled <= pane.n, "more labels than predictions", record)
        _hold(not answers.confusion or sum(answers.confusion.values()) == answers.n_labelled, "confusion is not the labels", record)
        _hold(answers.delays.sum() == answers.n_labelled, "delays are not the labels", record)
        _hold(not len(pane.counts) or int(pane.counts.sum()) % max(pane.n, 1) == 0, "bins do not sum to n", record)
        _hold(bool((pane.counts >= 0).all()) and min(answers.confusion.values(), default=0) >= 0, "a count is negative", record)

    def _progress(self, record: Record) -> None:
        assert record.value is not None
        told = decode_progress(record.value)
        counters = told.counters
        _hold(counters.get("consumed", 0) == sum(counters.get(name, 0) for name in COUNTED), f"what was consumed: {counters}", record)
        for model, pair in told.newest.items():
            for topic, (position, newest) in enumerate(zip(told.positions, pair, strict=True)):
                seen = self.newest.setdefault((told.partition, model, topic), {})
                _hold(seen.setdefault(position, newest) == newest, f"two newest times at {position}: {seen[position]}, {newest}", record)
                before = max((n for p, n in seen.items() if p < position), default=newest)
                after = min((n for p, n in seen.items() if p > position), default=newest)
                _hold(before <= newest <= after, "the watermark went back", record)

    def _marker(self, partition: int, value: bytes) -> None:
        p, o = decode_marker(value).positions
        known = self.markers.get(partition, (0, 0))
        self.markers[partition] = (max(p, known[0]), max(o, known[1]))

    def _results(self, record: Record) -> None:
        assert record.value is not None
        results = decode_results(record.value)
        rows: list[Any] = [*results.drift_results, *results.performance_results, *results.quality_results]
        for row in rows:
            _hold(0 <= row.coverage <= 1, f"coverage {row.coverage}", record)
            _hold(row.window_start < row.window_end, "a window without length", record)

    def _event(self, record: Record) -> None:
        headers, event = dict(record.headers), json.loads(record.value or b"")
        kind = headers["ce_type"].decode()
        windows = {(event["window_start"], event["window_end"]), (event.get("training_start"), event.get("training_end"))}
        windows |= {(at, event["window_end"]) for at in range(event["window_end"] - 6_000, event["window_end"], 1_000)}
        generations: list[list[int]] = [[], *([n] for n in range(1, 30))]
        ids = {deterministic_id(event["incident"], kind, *window, *n) for window in windows for n in generations if None not in window}
        _hold(headers["ce_id"].decode() in ids, f"{kind}: the id is no function of what the event is about", record)


def _hold(what: bool, otherwise: str, record: Record) -> None:
    if not what:
        raise Violation(f"{otherwise} (record {record.offset}, key {record.key!r})")


class World:
    """The simulation of one seed."""

    def __init__(self, seed: int, steps: int, harms: Collection[str] = HARMS, trace: bool = False) -> None:
        self.seed, self.steps, self.rng, self.harms, self.trace = seed, steps, random.Random(seed), harms, trace
        rng = self.rng
        self.topics = Topics("sim")
        self.partitions = rng.choice([1, 2, 2, 3])
        horizon = 6_000 if "forgetting" in harms and rng.random() < 0.5 else 600_000  # short: panes are forgotten while events come
        chosen = rng.sample(sorted(MODELS), rng.choice([1, 1, 2]))
        self.models = {name: structs.replace(MODELS[name], horizon_ms=horizon) for name in chosen}
        self.watch = Watch(self.topics)
        self.broker = Broker(self.watch)
        self.broker.now_ms = T0
        self.store = Replacing()
        self.workers: list[SimWorker] = []
        self.harm = rng.choice([0.2, 1.0, 3.0])  # how much goes wrong
        self.lost_in_transit = rng.random() < 0.3 and "transit" in harms
        self.active = list(range(self.partitions))  # partitions that events go to
        self.shift = 0.0  # how far x has drifted
        self.failing = 0.1  # share of wrong predictions
        self.ids = 0
        self.counts: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=LAST_STEPS)
        self.step = 0
        self.started = 0
        if "known" in self.models:
            self._publish_reference("known", 0)
        self.publishing = steps * 2 // 3
        for k, name in itertools.product(range(self.partitions), sorted(self.models)):
            self._publish_one(k, name)  # a partition that meets a model after windows of it are forgotten is a known limit

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _publish(self) -> str:
        rng, n = self.rng, self.rng.randrange(1, 12)
        for _ in range(n):
            self.broker.now_ms += rng.randrange(250)
            self._publish_one(rng.choice(self.active), rng.choice(sorted(self.models)))
        return f"publish {n}"

    def _publish_one(self, k: int, name: str) -> None:
        rng, model, now = self.rng, self.models[name], self.broker.now_ms
        fresh = rng.random() < 0.85 or not self.ids
        identity = f"{k}-{self.ids}" if fresh else f"{k}-{max(0, self.ids - rng.randrange(1, 30))}"
        self.ids += fresh
        event: dict[str, Any] = {
            "id": identity, "model": name, "version": rng.choice(["1", "1", "1", "2"]),
            "ts": now - rng.choice([0, 0, 0, 0, 300, 1_500, 3_200, 9_000]),
            "prediction": rng.random() if model.task == "regression" else rng.randrange(2), "score": rng.choice([None, rng.random()]),
            "features": {"x": (x := rng.choice([rng.random() + self.shift] * 9 + [None])), "y": x and x * x, "c": rng.choice("aaabbbz")},
            "segments": rng.choice([{}, {"region": "eu"}, {"region": "us"}]),
        }  # fmt: skip
        value = json.dumps(event).encode()
        for _ in range(rng.choice([1] * 9 + [2])):
            self._append("predictions", k, identity, value)
        if rng.random() < 0.05:
            self._append("predictions", k, identity, self._rubbish(event))
        right = event["prediction"] if rng.random() > self.failing else 1 - event["prediction"]
        kinds: list[list[str]] = [[], ["final"], ["final"], ["provisional", "final"], ["final", "correction"], ["final", "retraction"]]
        for kind in rng.choice(kinds):
            ts = now + rng.choice([-2_000, -100, 0, 400, 1_500, 4_000, 7_000])
            label = right if kind == "final" or model.task == "regression" else rng.randrange(2)
            outcome = {
                "id": identity,
                "model": name,
                "ts": min(ts, now),
                "kind": kind,
                **({} if kind == "retraction" else {"label": label}),
            }
            sound = rng.random() < 0.97
            self._append("outcomes", k, identity, json.dumps(outcome).encode() if sound else self._rubbish(outcome))

    def _rubbish(self, event: dict[str, Any]) -> bytes | None:
        wrong: list[dict[str, Any]] = [{"ts": self.broker.now_ms + 10**7}, {"model": "nobody"}, {"id": "another"}, {"ts": 12}]
        return self.rng.choice([b"", None, b"{", b"[]", b"\xff", *(json.dumps({**event, **w}).encode() for w in wrong)])

    def _append(self, topic: str, k: int, identity: str, value: bytes | None) -> None:
        self.broker.append(TP(getattr(self.topics, topic), k), identity.encode(), value)
        self.counts["events"] += 1

    def _publish_reference(self, name: str, effective_from: int) -> None:
        entry = reference(name, effective_from)
        self.broker.append(TP(self.topics.models, 0), entry_key(entry), encode_entry(entry), timestamp=T0 - 1)

    # ── what can happen ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _actions(self) -> list[tuple[float, Callable[[], str]]]:
        """What can happen next, each with its weight."""
        rng, harm = self.rng, self.harm
        live = [w for w in self.workers if w.alive and not w.frozen]
        actions: list[tuple[float, Callable[[], str]]] = []
        if self.step < self.publishing:
            actions += [(1.0, self._publish), (0.05, self._drift), (0.1 if "idle" in self.harms else 0, self._idle)]
        if live:
            w = rng.choice(live)
            actions += [
                (8.0 if any(w.sends.values()) else 0, lambda: self._land(w)),
                (4.0 if w.calls else 0, lambda: self._call(w)),
                (8.0 if w.unconfirmed else 0, lambda: self._confirm(w)),
                (3.0 if w.fetchable() else 0, lambda: self._fetch(w)),
                (1.0 if w.flowing and _idle(w.ticking) else 0, lambda: self._tick(w)),
                (0.5 if w.flowing and w.assigned else 0, lambda: self._commit(w)),
                (0.05 * self._harm("references"), self._reference_changes),
                (0.05 * self._harm("clock"), lambda: self._jump(w)),
                (0.04 * self._harm("kill"), lambda: self._kill(w)),
                (0.02 * self._harm("pause") if w.member else 0, lambda: self._pause(w)),
            ]
            zombies = [z for z in self.workers if z.alive and z.zombie]
            if zombies:
                actions.append((0.15, lambda: self._wake(rng.choice(zombies))))
        members = [w for w in self.workers if w.alive and w.member]
        if len([w for w in self.workers if w.alive]) < 3:
            actions.append((0.03 if members else 1.0, self._join))
        if all(_idle(w.beginning) for w in members) and [w for w in self.workers if _ready(w)]:
            actions.append((0.02 * harm + (2.0 if self._rebalance_due() else 0), self._rebalance))
        actions += [(0.6, self._time), (0.05 * self._harm("compaction"), self._compact), (0.01 * self._harm("operator"), self._operator)]
        return [action for action in actions if action[0] > 0]

    def _harm(self, kind: str) -> float:
        return self.harm if kind in self.harms else 0.0

    def _rebalance_due(self) -> bool:
        owners = set(self.broker.owners.values())
        waiting = any(_ready(w) and not w.member for w in self.workers)
        return waiting or len(self.broker.owners) < self.partitions or any(not w.member for w in owners)

    def _drift(self) -> str:
        self.shift, self.failing = self.rng.choice([0.0, 0.0, 0.4]), self.rng.choice([0.1, 0.1, 0.6])
        return f"the data shift by {self.shift}, {self.failing:.0%} of the predictions fail"

    def _idle(self) -> str:
        self.active = self.rng.sample(range(self.partitions), self.rng.randint(1, self.partitions))
        return f"events go to partitions {self.active}"

    def _land(self, w: SimWorker) -> str:
        tp = self.rng.choice([tp for tp, queue in w.sends.items() if queue])
        n = w.land(tp, self.rng.choice([1, 1, 3, 50]))
        if self.rng.random() < 0.7:
            w.confirm(len(w.unconfirmed))
        return f"{w.name}: {n} records of {tp.topic}-{tp.partition} land, {len(w.unconfirmed)} unconfirmed"

    def _call(self, w: SimWorker) -> str:
        w.call()
        if self.rng.random() < 0.7:
            w.confirm(len(w.unconfirmed))
        return f"{w.name}: a call takes effect"

    def _confirm(self, w: SimWorker) -> str:
        w.confirm(self.rng.choice([1, 5, 1000]))
        return f"{w.name}: hears of effects"

    def _fetch(self, w: SimWorker) -> str:
        tp = self.rng.choice(w.fetchable())
        chunk = w.fetch(tp, self.rng.choice([1, 3, 20, 200]))
        if chunk is None:
            return f"{w.name}: nothing new of {tp.topic}-{tp.partition}"
        about = f"{w.name}: {tp.topic}-{tp.partition} [{chunk.first}, {chunk.end})"
        chance = self.rng.random() if self.lost_in_transit and tp.topic in (self.topics.predictions, self.topics.outcomes) else 1.0
        if chance < 0.05:
            w.harmed = True
            return f"{about} is lost on the way"
        if chance < 0.1:
            w.positions[tp] = chunk.first
        elif chance < 0.15 and tp not in w.held:
            w.held[tp] = chunk
            w.harmed = True
            return f"{about} is late"
        w.deliver(chunk)
        if tp in w.held:
            w.deliver(w.held.pop(tp))
        return f"{about} arrives"

    def _tick(self, w: SimWorker) -> str:
        w.ticking = w.run(w.tick())
        return f"{w.name}: tick"

    def _commit(self, w: SimWorker) -> str:
        tp = self.rng.choice(sorted(w.assigned))
        position = w.commit(tp)
        if position is not None and tp.topic in (self.topics.predictions, self.topics.outcomes) and not w.harmed:
            durable = self.watch.markers.get(tp.partition, (0, 0))[tp.topic == self.topics.outcomes]
            if position > durable:
                raise Violation(f"{tp.topic}-{tp.partition}: committed {position}, durable {durable}")
        return f"{w.name}: commits {tp.topic}-{tp.partition} at {position}"

    def _reference_changes(self) -> str:
        """A reference is published while events of its time are still to come."""
        name = self.rng.choice(sorted(self.models))
        self._publish_reference(name, self.broker.now_ms // 1_000 * 1_000 + self.rng.choice([30_000, 60_000]))
        return f"a reference of {name} is published"

    def _jump(self, w: SimWorker) -> str:
        by = self.rng.choice([-3_600.0, 3_600.0])
        w.clock_s += by
        return f"{w.name}: the clock jumps by {by:.0f} s"

    def _kill(self, w: SimWorker) -> str:
        self.counts["kills"] += 1
        w.die()
        return f"{w.name}: dies"

    def _pause(self, w: SimWorker) -> str:
        """The group gives it up, and it goes on, at once or later."""
        w.zombie, w.member, w.frozen = True, False, self.rng.random() < 0.5
        self.counts["pauses"] += 1
        return f"{w.name}: is given up, {'stands still' if w.frozen else 'goes on'}"

    def _wake(self, w: SimWorker) -> str:
        if w.frozen:
            w.frozen = False
            return f"{w.name}: goes on"
        w.zombie = False  # it hears that it was given up, and asks to join again
        w.revoke(commits=True)
        return f"{w.name}: hears that it was given up"

    def _join(self) -> str:
        self.started += 1
        w = SimWorker(self.broker, self.store, self.models, self.topics, self.partitions, self.rng.uniform(0, 1e6))
        w.name = f"worker {self.started}"
        self.workers.append(w)
        return f"{w.name}: starts"

    def _rebalance(self) -> str:
        """All members give up their partitions, then the group hands out all of them anew."""
        self.counts["rebalances"] += 1
        members = [w for w in self.workers if _ready(w)]
        for w in members:
            if w.flowing:
                w.revoke(commits=self.rng.random() < 0.8)
            w.member = True
        self.broker.generation += 1
        self.rng.shuffle(members)
        self.broker.owners = {k: members[k % len(members)] for k in range(self.partitions)}
        for w in members:
            numbers = [k for k, owner in self.broker.owners.items() if owner is w]
            w.assign(numbers, self.broker.generation, afresh=self.rng.random() < 0.5)
        shares = {w.name: [k for k, owner in self.broker.owners.items() if owner is w] for w in members}
        return f"rebalance: {shares}"

    def _time(self) -> str:
        passed = self.rng.choice([0.3, 0.6, 0.6, 3.0])
        self.broker.now_ms += int(passed * 100)
        for w in self.workers:
            w.clock_s += passed
            if w.flowing and not w.frozen:  # fetches are quicker than seconds, and tell where partitions end
                w.highwaters.update({tp: self.broker.logs[tp].end for tp in w.positions})
        return f"{passed} s pass"

    def _compact(self) -> str:
        logs = [tp for tp in self.broker.logs if tp.topic.endswith("-changelog")]
        if not logs:
            return "nothing to compact"
        tp = self.rng.choice(sorted(logs))
        gone = self.broker.logs[tp].compact(self.rng.randint(0, self.broker.logs[tp].end))
        return f"compaction takes {gone} records of {tp.topic}-{tp.partition}"

    def _operator(self) -> str:
        """With all workers down, somebody sets offsets, back or forward."""
        for w in self.workers:
            w.die()
        for tp in list(self.broker.committed):
            if self.rng.random() < 0.5:
                self.broker.committed[tp] = self.rng.randint(0, self.broker.logs[tp].end)
        return "all workers stop, and somebody sets offsets"

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """All steps, then rest, then the comparison; raises where something is wrong."""
        while self.step < self.steps:
            self.step += 1
            actions = self._actions()
            (_, action) = self.rng.choices(actions, [weight for weight, _ in actions])[0]
            await self._do(action)
        await self._rest()
        wrong = differences(self.stored(), self.recomputed())
        if wrong:
            raise Violation("\n".join([f"{len(wrong)} rows differ from the recomputation", *wrong[:SHOWN]]))

    async def _do(self, action: Callable[[], str]) -> None:
        self.last.append(f"{self.step}: {action()}")
        if self.trace:
            print(self.last[-1])
        await asyncio.sleep(0.01)  # returns when nothing else can go on
        for w in [w for w in self.workers if w.alive]:
            if failure := w.failure():
                self._fell(w, failure)
        self.workers = [w for w in self.workers if w.alive]

    def _fell(self, w: SimWorker, failure: BaseException) -> None:
        """A worker that crashed by itself; only a hole that the simulation made is a reason."""
        if not (isinstance(failure, DriftlineError) and failure.code == "data_loss_gap" and w.harmed):
            raise Violation(f"{w.name} fell: {failure!r}") from failure
        self.last.append(f"{self.step}: {w.name}: falls, {failure}")
        w.die()

    async def _rest(self) -> None:
        """No more harm and no more events: zombies go, one worker at least stays, and everything happens until nothing does."""
        for z in [w for w in self.workers if w.zombie]:
            z.frozen = False
            for tp in list(z.sends):
                if self.rng.random() < 0.7:
                    await self._do(lambda z=z, tp=tp: f"{z.name}: its last {z.land(tp, self.rng.randrange(100))} records land")  # type: ignore[misc]
            await self._do(lambda z=z: self._kill(z))  # type: ignore[misc]
        for w in [w for w in self.workers if w.harmed]:  # the last record of a partition may be what it never got
            await self._do(lambda w=w: self._kill(w))  # type: ignore[misc]
        self.harm, self.lost_in_transit, self.steps = 0.0, False, self.step
        for _ in range(REST):
            if await self._settle():
                return
        raise Violation("the cluster does not come to rest")

    async def _settle(self) -> bool:
        """One round of everything that can happen without harm; whether it was at rest."""
        live = [w for w in self.workers if w.alive]
        if not live:
            await self._do(self._join)
            return False
        if all(_idle(w.beginning) or not w.member for w in live) and self._rebalance_due() and any(_ready(w) for w in live):
            await self._do(self._rebalance)
            return False
        busy = False
        for w in live:
            while w.calls or w.unconfirmed or any(w.sends.values()):
                busy = True
                for tp in [tp for tp, queue in w.sends.items() if queue]:
                    w.land(tp, 10_000)
                if w.calls:
                    w.call()
                await self._do(lambda w=w: w.confirm(10_000) or f"{w.name}: all lands")  # type: ignore[misc]
            for tp in w.fetchable():
                busy |= w.positions[tp] < self.broker.logs[tp].end
                chunk = w.fetch(tp, 500)
                if chunk:
                    w.deliver(chunk)
            await self._do(lambda w=w: f"{w.name}: reads on")  # type: ignore[misc]
        if busy:
            return False
        for w in live:
            w.clock_s += 10_000.0
            if w.flowing and _idle(w.ticking):
                await self._do(lambda w=w: self._tick(w))  # type: ignore[misc]
        return all(self._at_rest(w) for w in live)

    def _at_rest(self, w: SimWorker) -> bool:
        ends = {tp: self.broker.logs[tp].end for tp in w.assigned}
        waits = w.calls or w.unconfirmed or any(w.sends.values()) or not w.flowing or not _idle(w.ticking)
        return not waits and w.ask(lambda: w.verbs.ingest.settled(ends)) and all(w.positions[tp] >= end for tp, end in ends.items())

    # ── what is compared ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def stored(self) -> dict[str, Table]:
        """The tables as the store has them; of an incident or a request the last event."""
        return stored({table: list(rows.values()) for table, rows in self.store.rows.items()})

    def recomputed(self) -> Recomputed:
        """The same from the raw events."""
        logs = self.broker.logs
        sources = {
            k: (logs[TP(self.topics.predictions, k)].records, logs[TP(self.topics.outcomes, k)].records) for k in range(self.partitions)
        }
        entries: list[tuple[int, Entry]] = [
            (r.timestamp, decode_entry(r.value)) for r in logs[TP(self.topics.models, 0)].records if r.value
        ]
        return recompute(self.models, entries, sources, self.topics)


def _idle(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()


def _ready(w: SimWorker) -> bool:
    """Whether it can be given partitions."""
    return w.alive and not w.zombie and w.booted.done()


def simulate(seed: int, steps: int = STEPS, harms: Collection[str] = HARMS, trace: bool = False) -> Counter[str]:
    """One run; raises `Violation` with the seed and the last steps in its text. The counter tells what happened."""
    loop = Loop()
    world = World(seed, steps, harms, trace)
    try:
        with simulated_time():
            loop.run_until_complete(world.run())
    except Exception as failure:
        again = f"python scripts/simulate.py --seed {seed} --steps {steps} --harms {' '.join(harms)}"
        text = "\n  ".join([f"seed {seed}, step {world.step}: {failure}", f"again: {again}", *world.last])
        raise Violation(text) from failure
    finally:
        for w in world.workers:
            w.die()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    return world.counts + Counter(steps=world.step)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first run; the next run has the next seed")
    parser.add_argument("--steps", type=int, default=20_000, help=f"of all runs together; one has {STEPS} at most")
    parser.add_argument("--harms", nargs="*", default=HARMS, choices=HARMS, help="what may go wrong besides rebalances; default: all")
    parser.add_argument("--trace", action="store_true", help="print every step")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # or sets would be walked through in another order each time
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    failed = 0
    runs = [min(STEPS, options.steps - done) for done in range(0, options.steps, STEPS)]
    for seed, steps in enumerate(runs, options.seed):
        try:
            total += simulate(seed, steps, options.harms, options.trace)
        except Violation as violation:
            failed += 1
            print(violation, file=sys.stderr)
            if len(runs) == 1 and not isinstance(violation.__cause__, Violation):
                traceback.print_exception(violation.__cause__)
    happened = ", ".join(f"{name} {n}" for name, n in sorted(total.items()))
    print(f"simulated: seeds {options.seed} to {options.seed + len(runs) - 1}, {happened}, failed {failed}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
