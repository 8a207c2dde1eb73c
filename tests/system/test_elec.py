"""The Elec2 example, as its README runs it: every figure in the store equals a pandas recomputation over the file.

row of elec.csv   6 720 ─────── 10 752 ───────────────── 17 424 ──────────────────────── 45 312
                    │ reference    │ replayed: vic… constant │ the Victorian market is open │
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score, roc_auc_score

from driftline.sinks.clickhouse import ClickHouse

EXAMPLE = Path(__file__).parents[2] / "examples" / "elec"
OPENED = ("vicprice", "vicdemand", "transfer")
NUMERIC = ("period", "nswprice", "nswdemand", *OPENED, "(score)")
MARKET_OPENS = pd.Timestamp("2014-05-05", tz="UTC")  # row 17 424, 17 years later than it was
DAY, WEEK = pd.Timedelta("1D"), pd.Timedelta("7D")
EPOCH = pd.Timestamp(0, tz="UTC")

Frame = Any  # a pandas data frame; what comes out of groupby and itertuples is not worth typing here


def close(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True)


class Run(NamedTuple):
    """One finished replay: what it printed, and its tables, latest revisions only."""

    summary: dict[str, Any]
    drift: Frame
    performance: Frame
    quality: Frame
    feature_panes: Frame
    performance_panes: Frame
    reference: dict[str, Any]


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's table, made by the example's own program."""
    target = tmp_path_factory.mktemp("elec") / "elec.parquet"
    subprocess.run([sys.executable, EXAMPLE / "prepare.py", shared_data / "elec.csv", target], check=True, timeout=300)
    return target


@pytest.fixture(scope="module")
def file(prepared: Path, shared_data: Path) -> Frame:
    """Rows of elec.csv itself from the reference on, with the model's answers and each row's time, day and week."""
    raw = pd.read_csv(shared_data / "elec.csv")
    said = pd.read_parquet(prepared).set_index("row")
    rows = raw.loc[said.index].assign(prediction=said["prediction"], score=said["score"])
    rows["(score)"], rows["(prediction)"] = rows["score"], rows["prediction"].astype(str)
    rows["time"] = pd.Timestamp("2013-05-07", tz="UTC") + pd.to_timedelta(30 * rows.index, "min")
    rows["day"] = rows["time"].dt.floor(DAY)
    rows["week"] = EPOCH + (rows["time"] - EPOCH) // WEEK * WEEK
    return rows


@pytest.fixture(scope="module")
def reference_rows(file: Frame) -> Frame:
    return file.iloc[:4032]


@pytest.fixture(scope="module")
def replayed(file: Frame) -> Frame:
    return file.iloc[4032:]


def replay(prepared: Path, store: Path, *options: str) -> Run:
    places = [str(prepared), "--map", str(EXAMPLE / "elec.toml"), "--store", str(store)]
    command = [sys.executable, "-m", "driftline", "replay", *places, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    with ClickHouse.connect(f"chdb://{store}") as opened:
        names = ["v_drift", "v_performance", "v_quality", "feature_panes FINAL", "performance_panes FINAL"]
        drift, performance, quality, features, labels = (opened.query(f"SELECT * FROM {name}").to_pandas() for name in names)
        (reference,) = opened.query("SELECT content FROM `references` FINAL").to_pylist()
    performance = performance[(performance["basis"] == "realised") & (performance["metric"] != "gap")]
    return Run(json.loads(done.stdout), drift, performance, quality, features, labels, json.loads(reference["content"]))


@pytest.fixture(scope="module")
def embedded(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return replay(prepared, tmp_path_factory.mktemp("embedded") / "store")


@pytest.fixture(scope="module")
def through_kafka(prepared: Path, kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    prefix = f"t{uuid4().hex[:10]}"
    return replay(prepared, tmp_path_factory.mktemp("kafka") / "store", "--kafka", kafka.bootstrap, "--prefix", prefix)


@pytest.fixture(params=["embedded", pytest.param("through_kafka", marks=pytest.mark.kafka)])
def run(request: pytest.FixtureRequest) -> Run:
    """The same replay through the embedded broker and through real Kafka."""
    found: Run = request.getfixturevalue(request.param)
    return found


def bins_by(key: Frame, values: Frame, edges: list[float]) -> dict[Any, list[int]]:
    """Counts between half-open edges, for each value of `key`, by pandas."""
    table = pd.crosstab(key, pd.cut(values, [-np.inf, *edges, np.inf], right=False), dropna=False)
    return {at: list(row) for at, row in zip(table.index, table.to_numpy().tolist(), strict=True)}


def categories_by(key: Frame, values: Frame, names: list[str]) -> dict[Any, list[int]]:
    """The same for categories; the last count is of those not named."""
    table = pd.crosstab(key, values).reindex(columns=names, fill_value=0)
    rest = values.groupby(key).size() - table.sum(axis=1)
    return {at: [*row, rest[at]] for at, row in zip(table.index, table.to_numpy().tolist(), strict=True)}


def psi(reference: list[int], current: list[int]) -> float:
    """By its formula: half a row for each bin in use, spread as the mean of both shapes."""
    r, c = np.array(reference, float), np.array(current, float)
    lent = ((r + c) > 0).sum() / 2
    p, q = r / r.sum(), c / c.sum()
    mean = (p + q) / 2
    p, q = (p * r.sum() + mean * lent) / (r.sum() + lent), (q * c.sum() + mean * lent) / (c.sum() + lent)
    used = mean > 0
    return float(((p - q)[used] * np.log(p[used] / q[used])).sum())


def rows_of(table: Frame, start: str, name: str) -> dict[tuple[pd.Timestamp, str], Any]:
    return {(getattr(row, start), getattr(row, name)): row for row in table.itertuples()}


def test_every_prediction_is_accepted_and_gets_its_label(run: Run, replayed: Frame) -> None:
    assert (run.summary["events"], run.summary["joined"], run.summary["dead_letters"]) == (len(replayed), len(replayed), 0)
    assert run.summary["windows"] == replayed["week"].nunique()


def test_the_reference_is_a_count_of_the_file_s_rows(run: Run, reference_rows: Frame) -> None:
    for name in NUMERIC:
        profile = run.reference["features"][name]
        values = reference_rows[name]
        assert [profile["counts"]] == list(bins_by(values * 0, values, profile["edges"]).values())
        assert profile["mean"] == close(values.mean())
        assert profile["m2"] == close(values.var(ddof=0) * len(values))
    said = run.reference["features"]["(prediction)"]
    assert dict(zip(said["categories"], said["counts"], strict=True)) == reference_rows["(prediction)"].value_counts().to_dict()


def test_every_feature_pane_equals_pandas(run: Run, replayed: Frame) -> None:
    panes = rows_of(run.feature_panes, "pane_start", "feature")
    assert panes.keys() == {(day, name) for day in replayed["day"].unique() for name in (*NUMERIC, "(prediction)")}
    n = replayed.groupby("day").size()
    for (day, _), pane in panes.items():
        assert (pane.n, pane.missing, pane.type_errors, pane.pane_ms) == (n[day], 0, 0, 86_400_000)
    for name in NUMERIC:
        values = replayed.groupby("day")[name]
        moments = pd.DataFrame({"mean": values.mean(), "variance": values.var(ddof=0), "minimum": values.min(), "maximum": values.max()})
        for day, counts in bins_by(replayed["day"], replayed[name], run.reference["features"][name]["edges"]).items():
            pane, expected = panes[day, name], moments.loc[day]
            assert list(pane.bins) == counts
            assert (pane.minimum, pane.maximum) == (expected["minimum"], expected["maximum"])
            assert (pane.mean, pane.variance) == (close(expected["mean"]), close(expected["variance"]))
    for day, rows in replayed.groupby("day"):
        assert dict(panes[day, "(prediction)"].categories) == rows["(prediction)"].value_counts().to_dict()


def test_every_performance_pane_equals_pandas(run: Run, replayed: Frame) -> None:
    panes = {row.pane_start: row for row in run.performance_panes.itertuples() if row.n}
    days = dict(list(replayed.groupby("day")))
    assert panes.keys() == days.keys()
    for day, pane in panes.items():
        rows = days[day]
        pairs = (rows["prediction"].astype(str) + "\x1f" + rows["class"].astype(str)).value_counts().to_dict()
        assert (pane.n, pane.n_labelled, dict(pane.confusion)) == (len(rows), len(rows), pairs)
        for truth, scores in ((0, pane.scores_negative), (1, pane.scores_positive)):
            binned = (rows.loc[rows["class"] == truth, "score"] * 256).astype(int).clip(upper=255)
            assert list(scores) == np.bincount(binned, minlength=256).tolist()
        assert pane.delays[16] == sum(pane.delays) == len(rows)  # one day: 2^16 − 1 to 2^17 − 1 seconds


def test_every_drift_row_equals_pandas(run: Run, replayed: Frame) -> None:
    n = replayed.groupby("week").size()
    rows = run.drift[run.drift["feature"] != "(error)"]
    tests = {name: {"psi", "ks", "chi_square"} for name in NUMERIC} | {name: {"psi", "chi_square"} for name in ("(prediction)", "(label)")}
    told = rows[rows["test"] != "lasting"].groupby(["window_start", "feature"])["test"].agg(set).to_dict()
    assert told == {(week, name): names for week in n.index for name, names in tests.items()}
    assert (rows["n"].to_numpy() == n[rows["window_start"]].to_numpy()).all()
    assert set(rows["n_reference"]) == {4032}
    value = rows.set_index(["window_start", "feature", "test"])["value"]
    for name in NUMERIC:
        profile = run.reference["features"][name]
        for week, now in bins_by(replayed["week"], replayed[name], profile["edges"]).items():
            gap = np.cumsum(np.array(profile["counts"]) / 4032 - np.array(now) / n[week])
            assert value[week, name, "psi"] == close(psi(profile["counts"], now))
            assert value[week, name, "ks"] == close(np.abs(gap).max())
    profile = run.reference["features"]["(prediction)"]
    before = [*profile["counts"], profile["other"]]
    for week, now in categories_by(replayed["week"], replayed["(prediction)"], profile["categories"]).items():
        used = np.array([before, now])[:, np.add(before, now) > 0]
        assert value[week, "(prediction)", "psi"] == close(psi(before, now))
        assert value[week, "(prediction)", "chi_square"] == close(chi2_contingency(used, correction=False).statistic)


def test_every_performance_row_equals_scikit_learn(run: Run, replayed: Frame) -> None:
    told = rows_of(run.performance, "window_start", "metric")
    weeks = dict(list(replayed.groupby("week")))
    for week, rows in weeks.items():
        truth, said = rows["class"], rows["prediction"]
        score = ((rows["score"] * 256).astype(int).clip(upper=255) + 0.5) / 256  # what a pane keeps of it
        expected = {
            "accuracy": (truth == said).mean(),
            "precision": precision_score(truth, said, zero_division=np.nan),
            "recall": recall_score(truth, said),
            "f1": f1_score(truth, said),
            "auc": roc_auc_score(truth, score),
            "log_loss": log_loss(truth, score),
            "brier": brier_score_loss(truth, score),
        }
        assert {metric for at, metric in told if at == week} == expected.keys()
        for metric, value in expected.items():
            row = told[week, metric]
            assert (row.n, row.n_labelled, row.coverage, row.value) == (len(rows), len(rows), 1.0, close(value))


def test_drift_of_what_the_new_market_moves_is_found_in_the_window_in_which_it_opens(run: Run) -> None:
    for name in OPENED:
        of_name = run.drift[(run.drift["feature"] == name) & (run.drift["test"] == "psi")].sort_values("window_start")
        first = of_name[of_name["verdict"] == "drift"].iloc[0]
        assert first["window_start"] <= MARKET_OPENS < first["window_end"]
        assert set(of_name[of_name["window_end"] <= MARKET_OPENS]["verdict"]) <= {"ok", "insufficient"}
        found = [f for f in run.summary["findings"] if f["feature"] == name and f["test"] == "psi"]
        assert found[0]["window"] == ["2014-05-01T00:00:00.000Z", "2014-05-08T00:00:00.000Z"]


def test_performance_is_called_worse_where_it_is(run: Run, replayed: Frame, reference_rows: Frame) -> None:
    before = (reference_rows["prediction"] == reference_rows["class"]).mean()
    accuracy = (replayed["prediction"] == replayed["class"]).groupby(replayed["week"]).mean()
    verdicts = run.performance[run.performance["metric"] == "accuracy"].set_index("window_start")["verdict"].reindex(accuracy.index)
    judged = verdicts != "insufficient"
    assert (judged == (replayed.groupby("week").size() >= 200)).all()
    assert (verdicts[judged & (accuracy < before - 0.15)] == "worse").all()  # five standard errors of 336 rows
    assert (verdicts[judged & (accuracy >= before - 0.05)] == "ok").all()
    opened = accuracy.index >= MARKET_OPENS
    assert (verdicts[opened] == "worse").mean() > (verdicts[~opened] == "worse").mean()


def test_the_drift_raises_an_alert_and_asks_for_a_retrain(run: Run) -> None:
    causes = {alert["cause"] for alert in run.summary["alerts"]}
    assert {"data drift", "concept drift"} <= causes
    assert {case["cause"] for case in run.summary["retrain_requests"]} <= causes


def test_real_data_have_no_missing_values_and_hardly_look_faulty(run: Run) -> None:
    wrong = run.quality[run.quality["check"].isin(["missing_rate", "type_error_rate", "new_category_rate", "failure_rate"])]
    assert wrong["value"].max() == 0.0
    prints = run.quality[run.quality["check"] == "fingerprint"]
    assert (prints["verdict"] == "fault").mean() < 0.005  # drift that has the size and the shape of a conversion of units


@pytest.mark.kafka
def test_real_kafka_and_the_embedded_broker_give_the_same_answer(embedded: Run, through_kafka: Run) -> None:
    def verdicts(run: Run) -> set[tuple[Any, ...]]:
        return {tuple(row) for row in run.drift[["window_start", "feature", "test", "n", "verdict"]].itertuples(index=False)}

    assert verdicts(embedded) == verdicts(through_kafka)
    assert embedded.reference == through_kafka.reference
    assert embedded.summary["alerts"] == through_kafka.summary["alerts"]
