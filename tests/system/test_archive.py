"""Whatever else a worker keeps: events as they came, the life of the versions, and what was done to the system."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driftline.local import LocalStack, Record
from driftline.schemas.config import MINUTE_MS, Model
from driftline.schemas.reference import Entry, Lifecycle, Reference
from driftline.sinks.clickhouse import ClickHouse

T0 = 1_767_571_200_000


def prediction(i: int, model: str = "m") -> Record:
    value = (
        f'{{"id": "{i}", "model": "{model}", "version": "1", "ts": {T0 + i}, "prediction": {i % 2}, "score": 0.5, '
        f'"features": {{"x": {i}.5}}, "segments": {{"region": "eu"}}}}'
    )
    return Record("predictions", str(i).encode(), value.encode())


def outcome(i: int, label: str, after: int = 1_000, kind: str = "final") -> Record:
    value = f'{{"id": "{i}", "model": "m", "ts": {T0 + i + after}, "label": {label}, "kind": "{kind}"}}'
    return Record("outcomes", str(i).encode(), value.encode())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """After three hundred predictions, two hundred labels of which one was corrected and one taken back, and one bad record."""
    events = [*map(prediction, range(300)), *(outcome(i, str(i % 2)) for i in range(200))]
    events += [outcome(0, "1", 2_000, "correction"), outcome(1, "null", 2_000, "retraction"), prediction(7)]
    events += [Record("predictions", b"bad", b"{"), prediction(1_000, "other")]
    models = {
        "m": Model("m", archive="all", segments=("region",), pane_ms=MINUTE_MS, max_wait_ms=300),
        "other": Model("other", max_wait_ms=300),
    }
    entries: list[Entry] = [
        Reference("m", "1", {}, 40),
        Lifecycle("m", "2", "version.deployed", T0),
        Lifecycle("m", "2", "version.promoted", T0 + 1),
    ]
    place = tmp_path_factory.mktemp("archive") / "store"
    with LocalStack(models, entries, partitions=2, store=place) as stack:
        stack.feed(events)
        stack.drain()
    with ClickHouse.connect(f"chdb://{place}") as opened:
        yield opened


def test_accepted_events_are_kept_once(store: ClickHouse) -> None:
    (found,) = store.query("SELECT count() AS n, uniqExact(id) AS ids, uniqExact(model) AS models FROM predictions FINAL").to_pylist()
    assert found == {"n": 300, "ids": 300, "models": 1}
    (found,) = store.query("SELECT count() AS n FROM outcomes FINAL").to_pylist()
    assert found == {"n": 202}


def test_each_prediction_is_joined_to_the_label_that_counts(store: ClickHouse) -> None:
    asked = "SELECT id, label, label_kind, label_events, is_final FROM v_joined WHERE id IN ('0', '1', '2', '250') ORDER BY id"
    assert [tuple(row.values()) for row in store.query(asked).to_pylist()] == [
        ("0", "1", "correction", 2, True), ("1", None, "retraction", 2, False), ("2", "0", "final", 1, True), ("250", None, "", 0, False),
    ]  # fmt: skip


def test_the_archive_counts_what_the_panes_count(store: ClickHouse) -> None:
    panes = "SELECT sum(n) AS n, sum(n_labelled) AS labelled FROM performance_panes FINAL WHERE model = 'm' AND segment = ''"
    joined = "SELECT count() AS n, countIf(label IS NOT NULL) AS labelled FROM v_joined"
    assert store.query(panes).to_pylist() == store.query(joined).to_pylist() == [{"n": 300, "labelled": 199}]


def test_the_lineage_of_a_prediction_has_its_labels_and_every_result_that_counts_it(store: ClickHouse) -> None:
    found = store.query("SELECT * FROM lineage_of(model = 'm', id = '0')").to_pylist()
    assert {len(row["label_revisions"]) for row in found} == {2}
    assert {row["segment"] for row in found} == {"", "region=eu"}
    assert {"accuracy", "auc"} <= {row["feature"] for row in found if row["kind"] == "performance"}
    assert all(row["window_start"] <= row["ts"] < row["window_end"] for row in found)


def test_the_life_of_the_versions_is_told(store: ClickHouse) -> None:
    found = store.query("SELECT version, event, rows FROM v_models WHERE model = 'm' ORDER BY effective_from, version").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("1", "reference.training", 40), ("2", "version.deployed", 0), ("2", "version.promoted", 0),
    ]  # fmt: skip


def test_what_was_done_is_told(store: ClickHouse) -> None:
    actions = [row["action"] for row in store.query("SELECT action FROM v_audit").to_pylist()]
    assert sorted(actions) == ["reference.training", "version.deployed", "version.promoted", "worker.started", "worker.stopped"]
