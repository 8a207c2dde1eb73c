"""`driftline reference`, as a person calls it: build to a file, publish, show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from driftline import cli, registry
from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, Lifecycle, NumericProfile, Reference, decode_entry
from driftline.schemas.results import References
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.judge import feature_rows
from driftline.streams.layout import Layout
from driftline.streams.panes import PaneKey, empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.transport.embedded import EmbeddedBroker

ROWS = pd.DataFrame({"id": [1, 2, 3], "age": [31, 45, 27], "plan": ["pro", "[bold]", "pro"], "says": [1, 0, 1], "truth": [1, 0, 0]})
BUILD = ("build", "--model", "churn", "--version", "7", "--prediction", "says", "--label", "truth", "--exclude", "id")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "training.csv"
    ROWS.to_csv(path, index=False)
    return path


@pytest.fixture
def topic(embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `models` topic of the environment that commands see."""
    monkeypatch.setenv("DRIFTLINE_KAFKA", embedded_broker.bootstrap)
    monkeypatch.delenv("DRIFTLINE_PREFIX", raising=False)
    embedded_broker.create_topic("driftline.models", 1)
    return "driftline.models"


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["reference", *map(str, arguments)])
    return int(caught.value.code or 0)


def test_a_dry_run_prints_the_profile_and_needs_no_kafka(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--dry-run") == 0
    made = decode_entry(capsys.readouterr().out.encode())
    assert isinstance(made, Reference)
    assert (made.model, made.version, made.rows, list(made.features)) == ("churn", "7", 3, ["age", "plan", "(prediction)"])


def test_the_probability_of_every_class_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "kind.toml").write_text('model = "kind"\ntask = "multiclass"\nclasses = ["a", "b"]\nmetrics = ["log_loss"]\n')
    monkeypatch.setenv("DRIFTLINE_MODELS", str(tmp_path / "models"))
    rows = pd.DataFrame({"p": [0.75, 0.25], "q": [0.25, 0.75], "says": ["a", "b"], "truth": ["a", "a"]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    build = ("build", "--model", "kind", "--version", "1", "--prediction", "says", "--label", "truth", tmp_path / "rows.csv", "--dry-run")
    assert call(*build, "--scores", "a=p", "--scores", "b=q") == 0
    made = decode_entry(capsys.readouterr().out.encode())
    assert isinstance(made, Reference)
    assert list(made.features) == ["(prediction)"]
    assert made.performance.metrics["log_loss"] == pytest.approx(-np.log([0.75, 0.25]).mean())
    assert call(*build, "--scores", "p") == 2
    assert "--scores 'p' does not name a class and a column" in capsys.readouterr().err


def test_a_profile_can_be_written_to_a_file(data: Path, tmp_path: Path) -> None:
    assert call(*BUILD, data, "--out", tmp_path / "made.json") == 0
    assert isinstance(decode_entry((tmp_path / "made.json").read_bytes()), Reference)


def test_the_model_s_own_file_decides_the_task_and_the_features(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "churn.toml").write_text('model = "churn"\ntask = "regression"\n[features]\nage = "categorical"\n')
    monkeypatch.setenv("DRIFTLINE_MODELS", str(tmp_path))
    assert call(*BUILD, data, "--dry-run") == 0
    made = json.loads(capsys.readouterr().out)
    assert {name: profile["type"] for name, profile in made["features"].items()} == {"age": "categorical", "(prediction)": "numeric"}
    assert made["performance"]["metrics"].keys() == {"mae", "rmse", "mape", "r2"}


def test_what_was_published_is_shown(data: Path, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--effective-from", "2026-01-05T00:00:00Z") == 0
    assert "on driftline.models" in capsys.readouterr().err
    assert call("show", "--model", "churn", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["effective_from"]) == ("7", 1_767_571_200_000)
    assert call("show", "--model", "churn", "--version", "7") == 0
    told = capsys.readouterr().out
    assert "[bold]" in told
    assert shown["features"].keys() <= set(told.split())
    assert "performance of 3 labelled rows: accuracy 0.6667" in " ".join(told.split())
    assert "too few rows to know how they waver" in told


def test_what_is_shown_names_ids_and_clocks_and_tells_hashes_whole(topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(1).normal(size=900)
    pd.DataFrame({"place": range(900), "x": rows}).to_parquet(tmp_path / "rows.parquet")
    about = ("--model", "walk", "--version", "1")
    assert call("build", tmp_path / "rows.parquet", *about, "--effective-from", "2026-01-05T00:00:00Z") == 0
    (name,) = re.findall(r"reference ([0-9a-f]{12}) of walk 1", capsys.readouterr().err)
    assert call("show", *about) == 0
    told = capsys.readouterr().out
    assert f" {name} " in told and " 2026-01-05T00:00:00Z " in told
    assert "ids or clocks, which have no verdict: place" in told
    assert call("build", tmp_path / "rows.parquet", *about, "--unordered", "--dry-run") == 0
    assert "blocks" in capsys.readouterr().out


def test_a_model_without_a_reference_is_told_how_to_make_one(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "--model", "churn") == 1
    assert "driftline reference build" in capsys.readouterr().err


def test_a_time_without_an_offset_is_refused_with_the_fix(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--effective-from", "2026-01-05") == 2
    assert "2026-01-05T00:00:00Z" in capsys.readouterr().err


def test_a_column_that_is_not_there_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--score", "chance") == 2
    assert "'chance'" in capsys.readouterr().err


def test_of_entries_with_one_key_the_last_is_read(embedded_broker: EmbeddedBroker) -> None:
    embedded_broker.create_topic("m", 1)
    client = {"bootstrap.servers": embedded_broker.bootstrap}
    deployed = Lifecycle("churn", "7", "version.deployed", 5)
    registry.publish(client, "m", [Reference("churn", "7", {}, 1), deployed, Reference("churn", "7", {}, 2)])
    assert registry.read(client, "m") == [deployed, Reference("churn", "7", {}, 2)]


def test_brokers_that_do_not_answer_are_told_once_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("driftline.registry.TIMEOUT_S", 1.0)
    nobody = {"bootstrap.servers": "127.0.0.1:1"}
    for ask in (
        lambda: registry.read(nobody, "models"),
        lambda: registry.publish(nobody, "models", [Lifecycle("m", "1", "version.deployed", 0)]),
    ):
        with pytest.raises(DriftlineError, match=r"no answer from Kafka at 127.0.0.1:1: .*refused"):
            ask()
    assert capfd.readouterr() == ("", "")


def test_a_topic_that_is_missing_names_the_command_that_makes_it(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(DriftlineError, match="driftline topics"):
        registry.read({"bootstrap.servers": embedded_broker.bootstrap}, "absent")


def test_a_reference_can_be_put_in_force_for_another_version(data: Path, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data) == 0
    assert call("promote", "--model", "churn", "--version", "8", "--from-version", "7", "--effective-from", "2026-01-05T00:00:00Z") == 0
    capsys.readouterr()
    assert call("show", "--model", "churn", "--json") == 0
    seven, eight = json.loads(capsys.readouterr().out)
    assert (eight["version"], eight["effective_from"]) == ("8", 1_767_571_200_000)
    assert eight["features"] == seven["features"]


def test_promoting_what_was_never_published_names_what_there_is(data: Path, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--effective-from", "2026-01-05T00:00:00Z") == 0
    assert call("promote", "--model", "churn", "--version", "7", "--reference", "zzz") == 2
    assert "no reference of churn 7 that begins with zzz" in capsys.readouterr().err


def test_a_table_and_the_store_at_once_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*BUILD, data, "--from-store") == 2
    assert call(*BUILD) == 2
    assert "--from-store --from" in capsys.readouterr().err


def test_what_a_version_did_in_a_range_of_time_becomes_its_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(40, 9, 1_000), "plan": rng.choice(["free", "pro"], 1_000)})
    model = Model("churn", features={"age": "numeric", "plan": "categorical"})
    known = reference_from_frame(table, model, "7")
    layout = Layout(known)
    minutes = [pd.DataFrame({"age": rng.normal(50, 5, 80), "plan": rng.choice(["free", "gold"], 80)}) for _ in range(6)]
    dsn = f"chdb://{tmp_path}/store"
    with ClickHouse.connect(dsn) as store:
        store.migrate()
        content = msgspec.json.encode(known).decode()
        store.insert("references", [References("churn", "7", known.hash, "training", 0, known.rows, content, 0)], "r")
        for minute, rows in enumerate(minutes):
            pane, key = empty_pane(layout), PaneKey("churn", "7", "", 1_767_571_200_000 + minute * 60_000)
            pane.add_encoded(layout, layout.encode({str(name): rows[name].tolist() for name in rows}, len(rows)), np.arange(len(rows)))
            store.insert("feature_panes", feature_rows(key, model, layout, pane, 1), f"p{minute}")
    monkeypatch.setenv("DRIFTLINE_CLICKHOUSE", dsn)
    arguments = ("--model", "churn", "--version", "7", "--from-store", "--from", "2026-01-05T00:01:00Z", "--to", "2026-01-05T00:06:00Z")
    assert call("build", *arguments, "--dry-run") == 0
    made = decode_entry(capsys.readouterr().out.encode())
    assert isinstance(made, Reference)
    seen = pd.concat(minutes[1:])
    age, plan = made.features["age"], made.features["plan"]
    assert isinstance(age, NumericProfile)
    assert isinstance(plan, CategoricalProfile)
    assert (made.origin, made.rows, age.edges) == ("stored", 400, known.features["age"].edges)  # type: ignore[union-attr]
    assert age.n == 400
    assert [age.mean, age.minimum] == pytest.approx([seen["age"].mean(), seen["age"].min()])
    assert age.m2 == pytest.approx(seen["age"].var(ddof=0) * 400)
    assert dict(zip(plan.categories, plan.counts, strict=True)) == seen["plan"].value_counts().to_dict()
    assert made.calibration.blocks > 0
