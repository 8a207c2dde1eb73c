"""One model's panes in a store against a recount of its raw events in Kafka: what the tests of workers wait for."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition
from recount import Key, Recount, add, recount

from driftline.schemas.config import Model, Policy, Window
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference
from driftline.schemas.topics import Topics
from driftline.sinks.clickhouse import ClickHouse

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
