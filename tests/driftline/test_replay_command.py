"""`driftline replay`, as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftline import cli
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import latest
from driftline.sinks.rows import TABLES
from driftline.sinks.tables import tables

MAPPING = """
prediction = "says"
label = "truth"
label_delay = "10m"
time = { start = "2026-01-05T00:00:00Z", step = "10s" }
reference_rows = 1_000

[model]
model = "churn"
max_wait = "300ms"
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three thousand rows of which the last thousand have moved, and their mapping."""
    random = np.random.default_rng(3)
    moved = np.arange(3_000) >= 2_000
    rows = pd.DataFrame({"[age]": random.normal(40 + 30 * moved, 5), "says": random.integers(0, 2, 3_000)})
    rows["truth"] = rows["says"]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "map.toml").write_text(MAPPING)
    return [str(tmp_path / "rows.csv"), "--map", str(tmp_path / "map.toml")]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", *arguments])
    return int(caught.value.code or 0)


def test_it_prints_what_was_found_and_keeps_the_store(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--store", str(tmp_path / "store")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2000 predictions, 2000 with a label, 0 dead letters, ")
    assert "[age]" in out
    assert "…" not in out  # what goes into a file is not cut short
    assert "opened): churn 1: data drift in 2026-01-05 05:00 to " in out
    assert f"DRIFTLINE_CLICKHOUSE=chdb://{tmp_path / 'store'} driftline sql" in err


def test_parquet_files_hold_what_the_store_holds(files: list[str], tmp_path: Path) -> None:
    assert call(*files, "--store", str(tmp_path / "store"), "--parquet", str(tmp_path / "parquet"), "--quiet") == 0
    with ClickHouse.connect(f"chdb://{tmp_path}/store") as store:
        for table in TABLES:
            order = list(tables()[table].key)
            ours = latest(tmp_path / "parquet", table).drop_columns(["day"]).to_pandas().sort_values(order).astype(str)
            theirs = store.query(f"SELECT * FROM `{table}` FINAL").to_pandas().sort_values(order).astype(str)
            assert ours.to_numpy().tolist() == theirs.to_numpy().tolist(), table
    assert latest(tmp_path / "parquet", "drift_results").num_rows > 0


def test_json_is_all_that_standard_output_gets(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["events"], found["joined"], found["dead_letters"]) == (2_000, 2_000, 0)
    assert {f["feature"] for f in found["findings"]} == {"[age]"}
    assert [alert["cause"] for alert in found["alerts"]] == ["data drift"]
    assert "replaying" not in err


def test_a_mistake_in_the_mapping_ends_it_with_its_line(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "map.toml").write_text(MAPPING.replace('"says"', '"say"'))
    assert call(*files) == 2
    assert "map.toml:2: prediction: rows.csv has no column 'say'. Fix: did you mean 'says'?" in capsys.readouterr().err
