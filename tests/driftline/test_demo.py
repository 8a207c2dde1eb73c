"""`driftline demo`, as a stranger would run it: a process of its own, no network, no settings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driftline import Publisher
from driftline.commands.demo import QUERIES, by_subject
from driftline.story import story

EVENTS = 20_000
README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Run:
    folder: Path
    stdout: str
    stderr: str

    @property
    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found


def demo(folder: Path, *arguments: str, events: int = EVENTS) -> Run:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
    command = [sys.executable, "-m", "driftline", "demo", "--events", str(events), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return Run(folder, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return demo(tmp_path_factory.mktemp("full"), "--json", "--store", "store")


@pytest.fixture(scope="module")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return demo(tmp_path_factory.mktemp("fault"), "--scenario", "fault", "--report", "page.html")


def test_standard_output_is_one_json_object(full: Run) -> None:
    assert set(full.found) == {"events", "joined", "dead_letters", "windows", "findings", "alerts", "retrain_requests"}


def test_every_event_and_every_label_is_counted_once(full: Run) -> None:
    told = story(7, "full", EVENTS)
    assert (full.found["events"], full.found["joined"], full.found["dead_letters"]) == (told.predictions, told.outcomes, 0)


def test_covariate_drift_is_found_where_and_when_it_begins(full: Run) -> None:
    drifted = [row for row in full.found["findings"] if row["test"] == "psi"]
    assert "region=eu" not in {row["segment"] for row in drifted}
    assert {row["feature"] for row in drifted if row["segment"] == "region=us"} >= {"monthly_charge", "usage"}
    assert min(row["window"] for row in drifted) == ["2026-01-05T01:00:00.000Z", "2026-01-05T01:30:00.000Z"]


def test_concept_drift_is_found_when_it_begins(full: Run) -> None:
    fell = [row["window"][0] for row in full.found["findings"] if row["feature"] == "accuracy" and not row["segment"]]
    assert fell[0] == "2026-01-05T05:00:00.000Z"


def test_both_drifts_raise_an_alert_and_ask_for_a_training(full: Run) -> None:
    assert {row["cause"] for row in full.found["alerts"] if row["state"] != "retracted"} >= {"data drift", "concept drift"}
    assert {row["cause"] for row in full.found["retrain_requests"] if row["state"] == "requested"} == {"data drift", "concept drift"}


def test_the_same_seed_gives_the_same_figures(full: Run, tmp_path: Path) -> None:
    assert demo(tmp_path, "--json").found == full.found


def test_the_readme_shows_what_it_finds(tmp_path: Path) -> None:
    found = demo(tmp_path, "--json", events=40_000).found
    shown = " ".join(README.read_text("utf-8").split())
    for row in by_subject(found["findings"]):
        psi = "" if row["PSI"] is None else f"{row['PSI']:.3g}"
        figures = (row["first window"][:16].replace("T", " "), row["windows"], psi)
        assert " ".join(map(str, (row["what"], row["where"], row["by"], *figures))).strip() in shown, row


def test_the_report_is_beside_it_and_shows_the_story(full: Run) -> None:
    page = (full.folder / "driftline-report.html").read_text("utf-8")
    assert "monthly_charge" in page
    assert "data drift" in page
    assert page.count("<svg") > 5


def ask(full: Run, sql: str) -> Any:
    """One row of an answer, as a stranger would get it."""
    command = [sys.executable, "-m", "driftline", "sql", "--json", sql]
    environment = {**os.environ, "DRIFTLINE_CLICKHOUSE": f"chdb://{full.folder / 'store'}"}
    (row,) = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout)
    return row


def test_the_store_is_kept_for_questions(full: Run) -> None:
    assert ask(full, "SELECT count() AS n FROM v_alerts WHERE state != 'retracted'") == {"n": len(full.found["alerts"])}


def test_the_hours_it_shows_are_those_of_the_labels_and_not_of_estimates(full: Run) -> None:
    shown = QUERIES["How good was the model, hour by hour?"]
    told = ask(full, f"SELECT min(accuracy) AS worst FROM ({shown})")["worst"]
    labels = "metric = 'accuracy' AND basis = 'realised' AND segment = ''"
    hours = f"SELECT avg(value) AS a FROM v_performance WHERE {labels} GROUP BY toHour(window_start)"
    assert told == pytest.approx(ask(full, f"SELECT min(a) AS worst FROM ({hours})")["worst"], abs=0.0006)
    assert told < 0.7  # an estimate knows nothing of concept drift, and would lift it


def test_labels_that_come_after_the_last_prediction_make_no_windows_of_predictions(full: Run) -> None:
    windows = "SELECT window_start FROM v_performance GROUP BY window_start HAVING max(n) = 0"
    assert ask(full, f"SELECT count() AS empty FROM ({windows})") == {"empty": 0}


def test_a_store_that_was_used_is_refused(full: Run) -> None:
    command = [sys.executable, "-m", "driftline", "demo", "--store", str(full.folder / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give --store a new directory" in done.stderr


def test_a_calm_story_raises_no_alert(tmp_path: Path) -> None:
    found = demo(tmp_path, "--scenario", "none", "--json").found
    assert (found["events"], found["findings"], found["alerts"], found["retrain_requests"]) == (EVENTS, [], [], [])


def test_without_a_terminal_there_are_plain_lines(fault: Run) -> None:
    assert "\x1b" not in fault.stdout
    assert "usage drifts in all predictions, window 03:00–03:30" in fault.stdout
    assert "income: missing_rate" in fault.stdout
    assert (fault.folder / "page.html").exists()


def test_a_data_fault_asks_for_no_training(fault: Run) -> None:
    assert "data fault" in fault.stdout
    assert "retrain requests: none" in fault.stdout


def test_three_queries_come_with_their_answers(fault: Run) -> None:
    assert fault.stdout.count("SELECT ") >= 3
    assert "05 Jan 09:00" in fault.stdout


def test_the_report_can_be_made_again_from_the_store(full: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "report", "--model", "churn", "--out", str(tmp_path / "again.html")]
    environment = {**os.environ, "DRIFTLINE_CLICKHOUSE": f"chdb://{full.folder / 'store'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == (full.folder / "driftline-report.html").read_text("utf-8")


def test_a_demo_that_serves_takes_events_of_others_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "driftline", "demo", "--events", "500", "--serve"]
    with ExitStack() as ends:
        # Tests that run in the background may have interrupts ignored, and what they start inherits that.
        ends.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        process = ends.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        ends.callback(process.kill)
        assert process.stdout is not None
        address = next(found[1] for shown in process.stdout if (found := re.search(r'still running.*Publisher\("([^"]+)"', shown)))
        with Publisher(address, model="churn", version="1") as publisher:
            publisher.predicted({"tenure": 12, "plan": "pro"}, prediction=1, score=0.8)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert (process.returncode, publisher.published) == (0, 1)
