"""Kill loop on real Kafka: workers are killed, paused, stopped and joined, the broker restarts and the store fails while events flow;
then every table is held against a recomputation from the raw events.

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
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import kafka_node
from clickhouse_gateway import Gateway
from confluent_kafka import Consumer, Producer, TopicPartition
from counted import PARTITIONS, REFERENCE
from msgspec import structs
from recompute import Raw, Recomputed, Table, differences, recompute, stored

from driftline.schemas.config import Model
from driftline.schemas.load import load_models
from driftline.schemas.reference import PerformanceProfile, decode_entry, encode_entry, entry_key
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.rows import TABLES
from driftline.sinks.tables import tables as declared
from driftline.streams.transport import topics as administration

CONFIGURATION = """
model = "{model}"
task = "{task}"
segments = ["region"]
pane = "5s"
horizon = "10m"
disorder = "2s"
grace = "20s"
max_wait = "2s"
{more}
[[windows]]
length = "20s"
every = "20s"
[[windows]]
length = "30s"
every = "10s"
[features]
x = "numeric"
c = "categorical"
[policy]
min_samples = 50
"""
FILES = {
    "soak": CONFIGURATION.format(model="soak", task="binary", more='archive = "all"'),
    "learning": CONFIGURATION.format(model="learning", task="regression", more="learn_windows = 1"),
}
KNOWN = structs.replace(REFERENCE, performance=PerformanceProfile(1000, {"accuracy": 0.9}))
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
        model, identity = rng.choice(["soak", "soak", "learning"]), f"id-{self.events}"
        number = model == "learning"
        event = {
            "id": identity, "model": model, "version": rng.choice("112"), "ts": now - rng.choice([0, 0, 0, 1_500, 9_000, 60_000]),
            "prediction": rng.random() if number else rng.randrange(2), "score": None if number else rng.random(),
            "features": {"x": rng.choice([rng.random(), None]), "c": rng.choice("abz")},
            "segments": rng.choice([{}, {"region": "eu"}, {"region": "us"}]),
        }  # fmt: skip
        value = json.dumps(event).encode()
        for _ in range(rng.choice([1] * 9 + [2])):
            self._send(self.topics.predictions, identity, value)
        if rng.random() < 0.03:
            self._send(self.topics.predictions, identity, rng.choice(self._rubbish(event)))
        for kind in rng.choice([[], ["final"], ["final"], ["provisional", "final"], ["final", "correction"], ["final", "retraction"]]):
            delay = rng.choice([-0.5, 0, 1, 3, 8])
            outcome: dict[str, Any] = {"id": identity, "model": model, "ts": now + int(1000 * max(delay, 0)), "kind": kind}
            if kind != "retraction":
                outcome["label"] = rng.random() if number else rng.randrange(2)
            self._due.append((time.time() + delay, identity, outcome))

    def _rubbish(self, event: dict[str, Any]) -> list[bytes]:
        """What cannot be used: broken, unknown, of another time, and another prediction of the same id."""
        wrong: list[dict[str, Any]] = [
            {"ts": event["ts"] + 3_600_000}, {"ts": event["ts"] // 1000}, {"ts": 10**18}, {"model": "nobody"}, {"id": 7},
            {"prediction": []}, {"prediction": 0.5}, {"features": {"x": 1e999}}, {"score": 2},
        ]  # fmt: skip
        return [b"{broken", b"", b"[]", b"\xff\x00", *(json.dumps({**event, **w}).encode() for w in wrong)]

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

    def harm(self, what: str, rng: random.Random) -> None:
        """Do something bad to one worker, and have another take its place."""
        if what == "join" and len(self._running) < 3:
            self.start()
            return
        victim = self._running[rng.randrange(len(self._running))]
        if what == "pause":
            victim.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(1, 1.5 * self._session_s))
            victim.send_signal(signal.SIGCONT)
            return
        (victim.terminate if what == "terminate" else victim.kill)()
        self.kills += what != "terminate"
        time.sleep(rng.uniform(0, 3))
        self._running.remove(victim)
        victim.wait(60)
        if what != "leave" or not self._running:
            self.start()

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


def raw(bootstrap: str, topic: str, partition: int) -> Raw:
    """All records of a partition, in offset order."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "recompute", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer(settings)
    where = TopicPartition(topic, partition, 0)
    _, end = consumer.get_watermark_offsets(where, timeout=10)
    consumer.assign([where])
    records: list[Any] = []
    while consumer.position([where])[0].offset < end:
        records += [(m.offset(), m.timestamp()[1], m.key(), m.value(), tuple(m.headers() or ())) for m in consumer.consume(10_000, 0.5)]
    consumer.close()
    return records


class Truth:
    """What the tables must hold. Events are read once, what the topic `models` says each time: a reference may yet be learned."""

    def __init__(self, bootstrap: str, topics: Topics, models: Mapping[str, Model]) -> None:
        self._bootstrap, self._topics, self._models = bootstrap, topics, models
        self._sources = {k: (raw(bootstrap, topics.predictions, k), raw(bootstrap, topics.outcomes, k)) for k in range(PARTITIONS)}

    def tables(self) -> Recomputed:
        entries = [(time, decode_entry(value)) for _, time, _, value, _ in raw(self._bootstrap, self._topics.models, 0) if value]
        return recompute(self._models, entries, self._sources, self._topics)


def rows_of(store: ClickHouse) -> dict[str, list[Any]]:
    """All rows of all tables, the latest of each."""
    found: dict[str, list[Any]] = {}
    for table, row in TABLES.items():
        kinds, types = declared()[table].columns, get_type_hints(row)
        shown = ", ".join(_shown(name, kinds[name][0], types[name]) for name in types)
        rows = store.query(f"SELECT {shown} FROM `{table}` FINAL").to_pylist()
        found[table] = [row(**{name: _value(value, kinds[name][0], types[name]) for name, value in each.items()}) for each in rows]
    return found


def _shown(name: str, kind: str, of: Any) -> str:
    if "DateTime64" in kind:
        return f"toUnixTimestamp64Milli(`{name}`) AS `{name}`"
    if name == "headers":
        return "[] AS headers"  # of dead letters: any bytes, and not compared
    return f"hex(`{name}`) AS `{name}`" if of is bytes else f"`{name}`"


def _value(value: Any, kind: str, of: Any) -> Any:
    if of is bytes:
        return bytes.fromhex(value)
    return dict(value) if kind.startswith("Map") else value


def doubled(store: ClickHouse) -> int:
    """Alerts and requests that have two ids, or two meanings."""
    sql = "SELECT uniqExact(id) AS ids, uniqExact(incident, type, window_start, window_end) AS events FROM {}"
    rows = [store.query(sql.format(table)).to_pylist()[0] for table in ("alerts", "retrain_cases")]
    return sum(abs(int(row["ids"]) - int(row["events"])) for row in rows)


class Cluster:
    """Kafka, the store and the workers of one soak, and what is done to them."""

    def __init__(self, workers: Workers, gateway: Gateway, node: kafka_node.Node | None, directory: Path, rng: random.Random) -> None:
        self._workers, self._gateway, self._directory, self._rng = workers, gateway, directory, rng
        self.node = node
        self._kinds = ["kill", "kill", "pause", "terminate", "join", "leave", "store"] + ["broker"] * (node is not None)

    def harm(self) -> str:
        """One bad thing; returns which."""
        what = self._rng.choice(self._kinds)
        if what == "broker":
            self._restart()
        elif what == "store":
            faults: list[dict[str, object]] = [{"code": code} for code in (241, 252, 202)]
            faults += [{"status": 503}, {"drop": "before"}, {"drop": "after"}, {"slow_s": 1.5}]
            self._gateway.fail(*self._rng.choices(faults, k=8))
        else:
            self._workers.harm(what, self._rng)
        return what

    def stop(self) -> None:
        if self.node:
            self.node.stop()

    def _restart(self) -> None:
        assert self.node is not None
        self.node.stop()
        time.sleep(self._rng.uniform(0, 4))
        self.node = kafka_node.start(self._directory / "kafka", int(self.node.bootstrap.rpartition(":")[2]))


def soak(
    bootstrap: str, rounds: int, seed: int, directory: Path, *, rate: int = 1_000, session_s: float = 6.0, pause_s: float = 4.0,
    own: kafka_node.Node | None = None,
) -> Counter[str]:  # fmt: skip
    """Run the loop and compare; the counter has events, kills, lost, twice, different, and the reasons are printed.

    `own` is the broker where it may be stopped; its data are in `directory` / "kafka".
    """
    rng = random.Random(seed)
    topics = Topics(f"soak{seed}x{int(time.time())}")
    administration.create({"bootstrap.servers": bootstrap}, topics.table(PARTITIONS), replication=1)
    models = directory / "models"
    models.mkdir(parents=True)
    for name, text in FILES.items():
        (models / f"{name}.toml").write_text(text)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topics.models, key=entry_key(KNOWN), value=encode_entry(KNOWN))
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
        cluster = Cluster(workers, gateway, own, directory, rng)
        stack.callback(cluster.stop)
        stack.callback(workers.stop)
        workers.start()
        workers.start()
        flow = Flow(bootstrap, topics, random.Random(f"events of {seed}"), rate)  # of its own: the flow is a thread
        time.sleep(2 * pause_s)
        for n in range(rounds):
            print(f"round {n + 1}: {cluster.harm()}", file=sys.stderr, flush=True)
            time.sleep(rng.uniform(0.5, 2 * pause_s))
            workers.revive()
        flow.stop()
        got, want, told = _settled(store, Truth(bootstrap, topics, load_models(models)), workers)
        found = Counter(rounds=rounds, kills=workers.kills, events=flow.events, different=len(told), doubled=doubled(store))
        for key in got["performance_panes"].keys() | want.tables["performance_panes"].keys():
            counted = [of.get(key, {"n": 0})["n"] for of in (got["performance_panes"], want.tables["performance_panes"])]
            found["lost"] += max(counted[1] - counted[0], 0) * (key[2] == "")
            found["twice"] += max(counted[0] - counted[1], 0) * (key[2] == "")
        found.update({f"rows of {table}": len(rows) for table, rows in want.tables.items()})
        for line in told[:20]:
            print(line[:1_000], file=sys.stderr)
        return found


def _settled(store: ClickHouse, truth: Truth, workers: Workers) -> tuple[Mapping[str, Table], Recomputed, list[str]]:
    """Wait until the tables say what they must, or have said something else for long enough."""
    deadline = time.monotonic() + 150
    while True:
        got, want = stored(rows_of(store)), truth.tables()
        told = differences(got, want)
        if not told or time.monotonic() > deadline:
            return got, want, told
        workers.revive()
        time.sleep(3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kafka", default="", help="a running Kafka; without it one is started")
    parser.add_argument("--directory", type=Path, default=None, help="where logs and the store are kept")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="driftline-soak-"))
    with ExitStack() as stack:
        bootstrap, own = options.kafka, None
        if not bootstrap:
            own = kafka_node.start(directory / "kafka")
            stack.callback(own.stop)
            bootstrap = own.bootstrap
        found = soak(bootstrap, options.rounds, options.seed, directory, own=own)
    print(
        f"seed {options.seed}: rounds {found['rounds']}, kills {found['kills']}, events {found['events']}, lost {found['lost']}, "
        f"counted twice {found['twice']}, rows different {found['different']}, alerts with two ids {found['doubled']}"
    )
    print("held against: " + ", ".join(f"{n} {what}" for what, n in sorted(found.items()) if what.startswith("rows of ")))
    return int(bool(found["lost"] or found["twice"] or found["different"] or found["doubled"]))


if __name__ == "__main__":
    sys.exit(main())
