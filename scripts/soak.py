"""Kill loop on real Kafka: workers are killed, paused, stopped and joined while events flow; then every table is counted again.

    python scripts/soak.py [--rounds N] [--seed S] [--kafka HOST:PORT]

Prints one line: rounds, kills, events, lost, counted twice, rows different. Ends with status 1 unless the last three are 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kafka_node
from clickhouse_gateway import Gateway
from confluent_kafka import Consumer, Producer, TopicPartition
from recount import Key, Recount, add, recount

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference, encode_entry, entry_key
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.transport import topics as administration

MODEL = Model(
    "soak", pane_ms=5_000, windows=(Window(20_000, 20_000),), horizon_ms=600_000, disorder_ms=2_000, grace_ms=20_000, max_wait_ms=2_000,
    segments=("region",), features={"x": "numeric", "c": "categorical"}, policy=Policy(min_samples=50),
)  # fmt: skip
CONFIGURATION = """
model = "soak"
segments = ["region"]
pane = "5s"
horizon = "10m"
disorder = "2s"
grace = "20s"
max_wait = "2s"
[[windows]]
length = "20s"
every = "20s"
[features]
x = "numeric"
c = "categorical"
[policy]
min_samples = 50
"""
REFERENCE = Reference(
    "soak", "1",
    {
        "x": NumericProfile([0.0, 0.25, 0.5, 0.75], [0, 250, 250, 250, 250], 1000, 0, 0.5, 83.0),
        "c": CategoricalProfile(["a", "b"], [500, 400], 100, 1000, 0),
    },
    rows=1000,
)  # fmt: skip
PARTITIONS = 4
HOT_ROWS = 500  # so few that most labels come when their predictions have left memory


@dataclass
class Flow:
    """Publishes until it is stopped: ids that come twice, labels that are early, late, corrected and taken back, and rubbish."""

    bootstrap: str
    topics: Topics
    rng: random.Random
    rate: int
    events: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})
        self._due: list[tuple[float, str, dict[str, Any]]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            for _ in range(self.rate // 50):
                self._publish()
            now = time.time()
            ready = [item for item in self._due if item[0] <= now]
            self._due = [item for item in self._due if item[0] > now]
            for _, identity, outcome in ready:
                self._send(self.topics.outcomes, identity, json.dumps(outcome).encode())
            self._producer.poll(0)
            self._stop.wait(0.02)

    def _publish(self) -> None:
        rng, now = self.rng, int(time.time() * 1000)
        identity = f"id-{self.events}"
        event = {
            "id": identity, "model": "soak", "version": "1", "ts": now - rng.choice([0, 0, 0, 1_500, 9_000, 60_000]),
            "prediction": rng.randrange(2), "score": rng.random(),
            "features": {"x": rng.choice([rng.random(), None]), "c": rng.choice("abz")},
            "segments": {"region": rng.choice(["eu", "us"])},
        }  # fmt: skip
        value = json.dumps(event).encode()
        for _ in range(rng.choice([1] * 9 + [2])):
            self._send(self.topics.predictions, identity, value)
        if rng.random() < 0.01:
            self._send(self.topics.predictions, identity, b"{broken")
        for kind in rng.choice([[], ["final"], ["final"], ["final", "correction"], ["final", "retraction"]]):
            delay = rng.choice([-0.5, 0, 1, 3, 8])
            outcome = {"id": identity, "model": "soak", "ts": now + int(1000 * max(delay, 0)), "kind": kind}
            if kind != "retraction":
                outcome["label"] = rng.randrange(2)
            self._due.append((time.time() + delay, identity, outcome))

    def _send(self, topic: str, key: str, value: bytes) -> None:
        self.events += 1
        while True:
            try:
                self._producer.produce(topic, key=key.encode(), value=value)
                return
            except BufferError:
                self._producer.poll(0.1)


class Workers:
    """Worker processes, and the ways they suffer."""

    def __init__(self, environment: dict[str, str], directory: Path, session_s: float) -> None:
        self._environment, self._directory, self._session_s = environment, directory, session_s
        self._running: list[subprocess.Popen[bytes]] = []
        self.started = self.kills = 0

    def start(self) -> None:
        self.started += 1
        with (self._directory / f"worker-{self.started}.log").open("wb") as log:
            command = [sys.executable, "-m", "driftline", "worker", "--session", str(self._session_s), "--hot-rows", str(HOT_ROWS)]
            self._running.append(subprocess.Popen(command, env=self._environment, stdout=log, stderr=log))

    def harm(self, rng: random.Random) -> str:
        """Do something bad to one worker, and have another take its place."""
        what = rng.choice(["kill", "kill", "pause", "terminate", "join"])
        if what == "join" and len(self._running) < 3:
            self.start()
            return what
        victim = self._running[rng.randrange(len(self._running))]
        if what == "pause":
            victim.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(1, 1.5 * self._session_s))
            victim.send_signal(signal.SIGCONT)
            return what
        (victim.terminate if what == "terminate" else victim.kill)()
        self.kills += what != "terminate"
        time.sleep(rng.uniform(0, 3))
        self._running.remove(victim)
        victim.wait(60)
        self.start()
        return what

    def revive(self) -> None:
        """Start again what crashed by itself, as an orchestrator would."""
        for worker in [w for w in self._running if w.poll() is not None]:
            self._running.remove(worker)
            self.start()

    def stop(self) -> None:
        for worker in self._running:
            worker.terminate()
        for worker in self._running:
            worker.wait(60)


def raw(bootstrap: str, topic: str, partition: int) -> list[bytes | None]:
    """All values of a partition, in offset order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "recount", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    where = TopicPartition(topic, partition, 0)
    _, end = consumer.get_watermark_offsets(where, timeout=10)
    consumer.assign([where])
    values: list[bytes | None] = []
    while len(values) < end:
        values += [message.value() for message in consumer.consume(min(end - len(values), 10_000), 1.0)]
    consumer.close()
    return values


def wanted(bootstrap: str, topics: Topics) -> dict[Key, Recount]:
    """The panes of all partitions, counted again."""
    panes: dict[Key, Recount] = {}
    for k in range(PARTITIONS):
        add(panes, recount(MODEL, raw(bootstrap, topics.predictions, k), raw(bootstrap, topics.outcomes, k)))
    return panes


def differences(store: ClickHouse, panes: dict[Key, Recount]) -> list[str]:
    """What the tables say otherwise than the recount, row by row."""
    sql = "SELECT model, version, segment, toUnixTimestamp64Milli({}) AS start, {} FROM {} FINAL"
    rows = store.query(sql.format("pane_start", "n, confusion", "performance_panes")).to_pylist()
    got = {(r["model"], r["version"], r["segment"], r["start"]): (r["n"], dict(r["confusion"])) for r in rows}
    want = {key: (pane.n, {"\x1f".join(pair): n for pair, n in pane.confusion.items() if n}) for key, pane in panes.items()}
    told = [
        f"{key}: {got.get(key)} instead of {want.get(key)}"
        for key in sorted(got.keys() | want.keys())
        if got.get(key, (0, {})) != want.get(key, (0, {}))
    ]
    rows = store.query(sql.format("pane_start", "feature, missing, bins", "feature_panes")).to_pylist()
    bins = {(r["model"], r["version"], r["segment"], r["start"], r["feature"]): (r["missing"], list(r["bins"])) for r in rows}
    for key, pane in panes.items():
        x, c = pane.features["x"], pane.features["c"]
        numbers = [sum(n for v, n in x.items() if v is not None and low <= v < low + 0.25) for low in (0, 0.25, 0.5, 0.75)]
        both = {"x": (x[None], [0, *numbers]), "c": (c[None], [c["a"], c["b"], c["z"]])}
        told += [
            f"{key} {name}: {bins.get((*key, name))} instead of {hist}"
            for name, hist in both.items()
            if pane.n and bins.get((*key, name)) != hist
        ]
    return told


def doubled_alerts(store: ClickHouse) -> int:
    """Alerts and requests that have two ids, or two meanings."""
    sql = "SELECT uniqExact(id) AS ids, uniqExact(incident, type, window_start, window_end) AS events FROM alerts"
    row = store.query(sql).to_pylist()[0]
    return abs(int(row["ids"]) - int(row["events"]))


def soak(
    bootstrap: str, rounds: int, seed: int, directory: Path, *, rate: int = 1_000, session_s: float = 6.0, pause_s: float = 4.0
) -> Counter[str]:
    """Run the loop and compare; the counter has events, kills, lost, twice, different, and the reasons are printed."""
    rng = random.Random(seed)
    topics = Topics(f"soak{seed}x{int(time.time())}")
    administration.create({"bootstrap.servers": bootstrap}, topics.table(PARTITIONS), replication=1)
    models = directory / "models"
    models.mkdir(parents=True)
    (models / "soak.toml").write_text(CONFIGURATION)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topics.models, key=entry_key(REFERENCE), value=encode_entry(REFERENCE))
    producer.flush()
    with ExitStack() as stack:
        gateway = Gateway(directory / "store", "soak").start()
        stack.callback(gateway.stop)
        dsn = gateway.dsn("soak")
        store = stack.enter_context(ClickHouse.connect(dsn, create=True))
        store.migrate()
        environment = {
            **os.environ, "DRIFTLINE_KAFKA": bootstrap, "DRIFTLINE_CLICKHOUSE": dsn, "DRIFTLINE_MODELS": str(models),
            "DRIFTLINE_PREFIX": topics.prefix,
        }  # fmt: skip
        workers = Workers(environment, directory, session_s)
        stack.callback(workers.stop)
        workers.start()
        workers.start()
        flow = Flow(bootstrap, topics, random.Random(f"events of {seed}"), rate)  # of its own: the flow is a thread
        time.sleep(2 * pause_s)
        for n in range(rounds):
            print(f"round {n + 1}: {workers.harm(rng)}", file=sys.stderr, flush=True)
            time.sleep(rng.uniform(0.5, 2 * pause_s))
            workers.revive()
        flow.stop()
        panes = wanted(bootstrap, topics)
        told = _settled(store, panes, workers)
        found = Counter(rounds=rounds, kills=workers.kills, events=flow.events, different=len(told), doubled=doubled_alerts(store))
        got = int(store.query("SELECT sum(n) AS n FROM performance_panes FINAL WHERE segment = ''").to_pylist()[0]["n"])
        expected = sum(pane.n for key, pane in panes.items() if key[2] == "")
        found["lost"], found["twice"] = max(expected - got, 0), max(got - expected, 0)
        for line in told[:20]:
            print(line, file=sys.stderr)
        return found


def _settled(store: ClickHouse, panes: dict[Key, Recount], workers: Workers) -> list[str]:
    """Wait until the tables say what the recount says, or have said something else for long enough."""
    deadline = time.monotonic() + 120
    while (told := differences(store, panes)) and time.monotonic() < deadline:
        workers.revive()
        time.sleep(1)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kafka", default="", help="a running Kafka; without it one is started")
    parser.add_argument("--directory", type=Path, default=None, help="where logs and the store are kept")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="driftline-soak-"))
    with ExitStack() as stack:
        if not options.kafka:
            node = kafka_node.start(directory / "kafka")
            stack.callback(node.stop)
        found = soak(options.kafka or node.bootstrap, options.rounds, options.seed, directory)
    print(
        f"seed {options.seed}: rounds {found['rounds']}, kills {found['kills']}, events {found['events']}, lost {found['lost']}, "
        f"counted twice {found['twice']}, rows different {found['different']}, alerts with two ids {found['doubled']}"
    )
    return int(bool(found["lost"] or found["twice"] or found["different"] or found["doubled"]))


if __name__ == "__main__":
    sys.exit(main())
