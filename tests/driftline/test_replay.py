"""A mapping file turns rows into the events that a service would have published, in order of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.local import Record
from driftline.replay import NO_TIME, Mapping, Replay, Time, open_replay
from driftline.schemas.config import Model, Window
from driftline.schemas.errors import ConfigurationError, DriftlineError
from driftline.schemas.events import Outcome, Prediction, decode_outcome, decode_prediction

ROWS = pd.DataFrame(
    {
        "no": ["a", "b", "c"],
        "at": ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"],
        "age": [31, None, 47],
        "plan": ["pro", "free", None],
        "eu": [True, False, True],
        "says": [1, 0, 1],
        "chance": [0.9, 0.2, None],
        "truth": [1.0, None, 0.0],
    }
)
DAY = 86_400_000
NEW_YEAR = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MAPPING = """
model = "churn"
prediction = "says"
time = { column = "at" }
"""


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Writes a mapping and a data file and opens them: opened(mapping, rows, suffix)."""

    def open_(mapping: str = MAPPING, rows: pd.DataFrame = ROWS, suffix: str = ".csv") -> Replay:
        (tmp_path / "map.toml").write_text(mapping)
        data = tmp_path / f"rows{suffix}"
        rows.to_csv(data, index=False) if suffix == ".csv" else rows.to_parquet(data)
        return open_replay(data, tmp_path / "map.toml")

    return open_


def predictions(replay: Replay) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in replay.records() if record.topic == "predictions"]


def outcomes(replay: Replay) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in replay.records() if record.topic == "outcomes"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_becomes_the_prediction_that_a_service_would_have_published(opened: Any, suffix: str) -> None:
    mapping = MAPPING + 'version = "7"\nid = "no"\nscore = "chance"\nsegments = ["eu"]\nlabel = "truth"\n'
    first, second, third = predictions(opened(mapping, suffix=suffix))
    assert first == {
        "id": "a", "model": "churn", "version": "7", "ts": NEW_YEAR, "features": {"age": 31.0, "plan": "pro"},
        "prediction": 1, "score": 0.9, "segments": {"eu": "true"},
    }  # fmt: skip
    assert (second["features"], third["features"]) == ({"age": None, "plan": "free"}, {"age": 47.0, "plan": None})
    assert "score" not in third


def test_only_rows_with_a_label_have_an_outcome(opened: Any) -> None:
    replay = opened(MAPPING + 'label = "truth"\n')
    assert [(event["id"], event["label"]) for event in outcomes(replay)] == [("0", 1.0), ("2", 0.0)]
    assert replay.events == len(list(replay.records())) == 5


def test_the_key_of_an_event_is_its_id(opened: Any) -> None:
    assert [record.key for record in opened(MAPPING + 'id = "no"\n').records()] == [b"a", b"b", b"c"]


def test_every_event_passes_the_stream_s_own_decoder(opened: Any) -> None:
    for record in opened(MAPPING + 'label = "truth"\nscore = "chance"\nsegments = ["plan"]\n').records():
        decoded = decode_prediction(record.value) if record.topic == "predictions" else decode_outcome(record.value)
        assert isinstance(decoded, Prediction | Outcome)


@pytest.mark.parametrize(
    ("delay", "ts"),
    [
        ('label_delay = "1d"', [NEW_YEAR + DAY, NEW_YEAR + 3 * DAY]),
        ('label_delay_column = { column = "age", unit = "h" }', [NEW_YEAR + 31 * DAY // 24, NEW_YEAR + 2 * DAY + 47 * DAY // 24]),
        ('label_time = { column = "at" }', [NEW_YEAR, NEW_YEAR + 2 * DAY]),
    ],
)
def test_a_label_comes_after_a_fixed_lag_or_by_a_column(opened: Any, delay: str, ts: list[int]) -> None:
    assert [event["ts"] for event in outcomes(opened(f'{MAPPING}label = "truth"\n{delay}\n'))] == ts


@pytest.mark.parametrize(
    ("values", "time"),
    [
        ([1704067200, 1704153600], '{ column = "t", unit = "s" }'),
        ([1704067200000, 1704153600000], '{ column = "t", unit = "ms" }'),
        ([1704067200000000123, 1704153600000000456], '{ column = "t", unit = "ns" }'),
        ([1704067200.0, 1704153600.0], '{ column = "t", unit = "s" }'),
        ([19723, 19724], '{ column = "t", unit = "d" }'),
        (["2024-01-01T01:00:00+01:00", "2024-01-02T00:00:00+00:00"], '{ column = "t" }'),
        (["2024-01-01", "2024-01-02"], '{ column = "t" }'),
        (["01.01.2024 01:00", "02.01.2024 01:00"], '{ column = "t", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }'),
        (["01-01-2024", "02-01-2024"], '{ column = "t", format = "%d-%m-%Y" }'),
        (["01/01/2024 01:00 +0100", "02/01/2024 00:00 +0000"], '{ column = "t", format = "%d/%m/%Y %H:%M %z" }'),
        ([7, 7], '{ start = "2024-01-01T00:00:00Z", step = "1d" }'),
    ],
)
def test_time_is_a_column_of_any_form_or_a_fixed_step(opened: Any, values: list[Any], time: str) -> None:
    replay = opened(f'model = "m"\nprediction = "y"\ntime = {time}\n', pd.DataFrame({"t": values, "y": 1}))
    assert replay.predicted.tolist() == [NEW_YEAR, NEW_YEAR + DAY]


def test_a_column_of_time_stamps_in_parquet_needs_no_unit(opened: Any) -> None:
    rows = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", "2024-01-02"]), "y": 1})
    replay = opened('model = "m"\nprediction = "y"\ntime = { column = "t" }\n', rows, ".parquet")
    assert replay.predicted.tolist() == [NEW_YEAR, NEW_YEAR + DAY]


def test_the_first_rows_become_the_reference_and_are_not_replayed(opened: Any) -> None:
    replay = opened(MAPPING + 'reference_rows = 2\nlabel = "truth"\nexclude = ["no"]\n')
    (reference,) = replay.references
    assert (reference.rows, list(reference.features)) == (2, ["age", "plan", "eu", "chance", "(prediction)"])
    assert [event["id"] for event in predictions(replay)] == ["2"]


def test_the_reference_may_be_a_file_of_its_own_beside_the_mapping(opened: Any, tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "training.parquet")
    replay = opened(MAPPING + 'reference = "training.parquet"\nfeatures = ["age"]\n')
    assert (replay.references[0].rows, len(replay.rows)) == (3, 3)


def test_a_column_of_versions_gives_each_of_them_the_reference(opened: Any) -> None:
    replay = opened(MAPPING + 'version_column = "plan"\nreference = "rows.csv"\nfeatures = ["age"]\n', ROWS.dropna(subset=["plan"]))
    assert [reference.version for reference in replay.references] == ["pro", "free"]
    assert [event["version"] for event in predictions(replay)] == ["pro", "free"]


def test_the_model_may_be_described_in_the_mapping(opened: Any) -> None:
    described = (
        MAPPING.replace('model = "churn"', "") + '[model]\nmodel = "churn"\npane = "1d"\n[[model.windows]]\nlength = "7d"\nevery = "7d"\n'
    )
    assert opened(described).model == Model("churn", pane_ms=DAY, windows=(Window(7 * DAY, 7 * DAY),))


TIMES = st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), min_size=1, max_size=60)


@given(TIMES)
def test_events_come_in_order_of_time_and_a_label_never_before_its_prediction(rows: list[tuple[int, int | None]]) -> None:
    predicted = np.array([ts for ts, _ in rows])
    labelled = np.array([NO_TIME if delay is None else ts + delay for ts, delay in rows])
    frame = pd.DataFrame({"y": 1, "truth": [None if delay is None else 1.0 for _, delay in rows]})
    replay = Replay(Mapping("m", "y", Time(), label="truth"), Model("m"), [], frame, [], predicted, labelled)
    seen: list[Record] = list(replay.records())
    stamps = [json.loads(record.value)["ts"] for record in seen]
    assert stamps == sorted(stamps)
    first = {record.key: record.topic for record in reversed(seen)}
    assert set(first.values()) == {"predictions"}
    assert len(seen) == replay.events == len(rows) + sum(delay is not None for _, delay in rows)


@pytest.mark.parametrize(
    ("mapping", "line", "says"),
    [
        (MAPPING + 'scores = "chance"\n', 5, "did you mean 'score'?"),
        (MAPPING + 'score = "chanse"\n', 5, "did you mean 'chance'?"),
        (MAPPING.replace('{ column = "at" }', '{ start = "2024-01-01T00:00:00Z" }'), 4, "a start and a step"),
        (MAPPING.replace('{ column = "at" }', '{ column = "age" }'), 4, "say their unit"),
        (MAPPING.replace('{ column = "at" }', '{ column = "plan" }'), 4, "RFC 3339"),
        (MAPPING.replace('{ column = "at" }', '{ column = "chance", unit = "d" }'), 4, "row 2 of rows.csv has no time"),
        (MAPPING.replace('{ column = "at" }', '{ start = "2024-01-01T00:00:00Z", step = "1 day" }'), 4, "not a duration"),
        (MAPPING.replace('prediction = "says"\n', ""), None, "add prediction = …: give a text in quotes"),
        (MAPPING + 'label_delay = "1d"\n', 5, "no label"),
        (MAPPING + 'label = "truth"\nlabel_delay = "1d"\nlabel_time = { column = "at" }\n', 7, "keep one of them"),
        (MAPPING + "reference_rows = 3\n", 5, "leave rows to replay"),
        (MAPPING + 'reference_rows = 1\nreference = "rows.csv"\n', 6, "keep one of them"),
        (MAPPING + 'features = ["age", "plam"]\n', 5, "did you mean 'plan'?"),
        (MAPPING.replace('model = "churn"', "") + '[model]\nmodel = "churn"\ntask = "binray"\n', 7, "did you mean 'binary'?"),
        ("model = churn", 1, "not TOML"),
    ],
)
def test_a_mistake_in_the_mapping_names_its_line_and_the_fix(opened: Any, mapping: str, line: int | None, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        opened(mapping)
    assert caught.value.line == line
    assert says in str(caught.value)


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAPPING)
    with pytest.raises(DriftlineError, match="no_file"):
        open_replay(tmp_path / "rows.csv", tmp_path / "map.toml")


def test_data_that_are_no_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(MAPPING)
    (tmp_path / "rows.parquet").write_text("no Parquet")
    with pytest.raises(DriftlineError, match="unreadable_file"):
        open_replay(tmp_path / "rows.parquet", tmp_path / "map.toml")
