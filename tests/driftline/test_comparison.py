"""Two tables compared: the stream's figures, readable anywhere, and wrong input refused with the fix."""

from __future__ import annotations

import datetime
import html.parser
import json
import math
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import driftline
from driftline import cli
from driftline.comparison import COLUMNS, MAX_LINES, Comparison, compare
from driftline.schemas.config import Model, Policy, TestName, Window
from driftline.schemas.errors import DriftlineError
from driftline.schemas.progress import encode_progress, progress_key
from driftline.schemas.results import Results
from driftline.streams.evaluation import Evaluation
from driftline.streams.panes import encode_key
from driftline.streams.partition import Partition
from driftline.streams.profile import reference_from_frame
from driftline.streams.registry import Registry
from driftline.streams.transport.chunk import chunk_of

T0 = 1_767_571_200_000
ROLES: Any = {"prediction": "says", "score": "score", "label": "truth"}


def rows(n: int, shift: float = 0.0, seed: int = 3) -> pd.DataFrame:
    """Customers of whom `age` and `plan` drift with `shift`; the model gets worse with it."""
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    says = (score > 0.5).astype(int)
    return pd.DataFrame(
        {
            "age": rng.normal(40 + 10 * shift, 9, n),
            "visits": rng.integers(0, 20, n),
            "plan": rng.choice(["free", "pro", "team"], n, p=[0.6 - 0.4 * shift, 0.3, 0.1 + 0.4 * shift]),
            "paid": rng.random(n) < 0.4,
            "score": score,
            "says": says,
            "truth": np.where(rng.random(n) < 0.85 - 0.3 * shift, says, 1 - says),
        }
    )


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(rows(4_000), rows(2_000, shift=0.8, seed=4), **ROLES)


# -- the figures


def streamed(model: Model, before: pd.DataFrame, after: pd.DataFrame, partitions: int = 2) -> Results:
    """What the stream tells of one window that holds the rows of `after`, over several panes and partitions, labels out of order."""
    known = Registry({model.model: model})
    known.add(reference_from_frame(before, model, "1", **ROLES), 0)
    evaluation = Evaluation(known, partitions, {})
    order = random.Random(5)
    for number in range(partitions):
        part = after.iloc[number::partitions].astype(object)
        mine: list[dict[Any, Any]] = part.where(part.notna(), None).to_dict("records")
        ids = [f"{number}-{i}" for i in range(len(mine))]
        events = []
        for i, row in enumerate(mine):
            event = {"id": ids[i], "model": model.model, "version": "1", "ts": T0 + i * 3_000_000 // len(mine), "prediction": row["says"]}
            event |= {"score": row["score"], "features": {name: row[name] for name in model.features if name in row}}
            events.append(msgspec.json.encode(event))
        labels = [
            msgspec.json.encode({"id": a, "model": model.model, "ts": T0, "label": row["truth"]}) for a, row in zip(ids, mine, strict=True)
        ]
        # One event of the next day closes the window.
        last = {"id": f"{number}-end", "model": model.model, "version": "1", "ts": T0 + 86_400_000, "prediction": 0, "features": {}}
        events, ids = [*events, msgspec.json.encode(last)], [*ids, f"{number}-end"]
        partition = Partition(number, known, {})
        predictions = [(i, T0 + 10**9, name.encode(), value, ()) for i, (name, value) in enumerate(zip(ids, events, strict=True))]
        late = list(zip(ids[:-1], labels, strict=True))
        order.shuffle(late)
        outcomes = [(i, T0 + 10**9, name.encode(), value, ()) for i, (name, value) in enumerate(late)]
        assert not partition.add_predictions(chunk_of("p", number, 0, len(predictions), predictions))
        assert not partition.add_outcomes(chunk_of("o", number, 0, len(outcomes), outcomes))
        for key, snapshot in partition.flush().snapshots:
            evaluation.take(encode_key(key, number), snapshot)
        evaluation.take(progress_key(number), encode_progress(partition.progress({}, False)))
    return evaluation.evaluate().results[model.model]


def is_of_the_window(row: Any) -> bool:
    """Not what only a stream has: evidence that lasts over windows, traffic, and the state of the service."""
    only = getattr(row, "test", "") == "lasting" or getattr(row, "feature", "") in {"(rows)", "(service)"}
    return row.window_start == T0 // 3_600_000 * 3_600_000 and not only


def test_the_same_rows_through_the_stream_give_the_same_figures() -> None:
    before, after = rows(3_000), rows(1_500, shift=0.5, seed=9)
    after.loc[::7, "age"] = np.nan
    after["visits"] = [str(v) if i % 3 == 0 else v for i, v in enumerate(after["visits"])]  # texts where numbers should be
    after.loc[::5, "plan"] = "gold"
    after = after.drop(columns="paid")
    model = Model(
        "m", windows=(Window(3_600_000, 3_600_000),), horizon_ms=3_600_000,
        features={"age": "numeric", "visits": "numeric", "plan": "categorical", "paid": "categorical"}, policy=Policy(psi=0.1),
        tests=get_args(TestName),
    )  # fmt: skip
    told, here = streamed(model, before, after), compare(before, after, model=model, **ROLES)
    for of_stream, ours, names in (
        (
            told.drift_results,
            here.drift,
            (
                "feature",
                "test",
                "value",
                "p_value",
                "null_quantile",
                "effect",
                "threshold",
                "n_reference",
                "n",
                "significance",
                "direction",
            ),
        ),
        (told.quality_results, here.quality, ("feature", "check", "value", "reference_value", "threshold", "n")),
        (told.performance_results, here.performance, ("metric", "value", "lower", "upper", "reference_value", "threshold", "n_labelled")),
    ):
        fields = (*names, "verdict", "reason", "coverage")
        first = [tuple(getattr(row, name) for name in fields) for row in of_stream if is_of_the_window(row)]
        assert first == [tuple(getattr(row, name) for name in fields) for row in ours]
        assert len(first) >= 5
    assert {row.test for row in here.drift} == {*get_args(TestName)}
    shown = ["feature", "test", "value", "p_value", "null_quantile", "effect", "threshold", "n_reference", "n", "verdict"]
    rows_told = pd.DataFrame([[getattr(row, name) for name in shown] for row in told.drift_results if is_of_the_window(row)], columns=shown)
    printed = here.table.drop(columns="cause").rename(columns={"n_current": "n"})
    order = ["feature", "test"]
    pd.testing.assert_frame_equal(rows_told.sort_values(order, ignore_index=True), printed.sort_values(order, ignore_index=True))


def test_a_table_against_itself_is_clean() -> None:
    same = compare(rows(1_000), rows(1_000), **ROLES)
    assert same.clean
    assert same.table.query("test == 'psi'")["value"].tolist() == [0.0] * 7


def test_drift_is_named_with_what_moved(found: Comparison) -> None:
    assert set(found.drifted) == {"age", "plan"}
    causes = found.table.drop_duplicates("feature").set_index("feature")["cause"]
    assert causes["age"].startswith("mean 4")
    assert causes["plan"].startswith("free 60")
    assert causes["visits"] == ""
    assert not found.clean


def test_the_table_has_the_columns_promised_and_the_most_drifted_first(found: Comparison) -> None:
    assert tuple(found.table.columns) == COLUMNS
    assert found.ranking[:2] == sorted(found.drifted, key=lambda name: -found.table.set_index("feature")["effect"][name].iloc[0])
    assert found.table["feature"].drop_duplicates().tolist() == found.ranking
    assert found.table["n_current"].eq(2_000).all()


def test_with_labels_the_performance_is_compared(found: Comparison) -> None:
    assert {row.metric for row in found.worse} >= {"accuracy", "auc"}
    assert compare(rows(500), rows(500), prediction="says").performance == []


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (ROLES, "performance: accuracy 0.8"),
        (
            {"prediction": "says", "exclude": ["truth"]},
            'performance: not compared; it takes the columns of answers and truth: label="truth"',
        ),
        ({}, 'performance: not compared; it takes the columns of answers and truth: prediction="…", label="truth"'),
    ],
)
def test_what_is_known_of_the_performance_is_said_or_what_it_takes(columns: Any, says: str) -> None:
    other = compare(rows(3_000), rows(1_000, seed=8), **columns)
    (line,) = [line for line in repr(other).splitlines() if line.startswith("performance")]
    assert line.startswith(says)
    assert "performance: " in other._repr_html_()
    assert other.clean


def test_labels_that_current_has_not_yet_leave_an_estimate() -> None:
    other = compare(rows(4_000), rows(1_000, seed=8).drop(columns="truth"), **ROLES)
    (line,) = [line for line in repr(other).splitlines() if line.startswith("performance")]
    assert line.startswith("performance, estimated (0 labels; 200 are needed): accuracy 0.844 → 0.8")
    assert other.clean


# -- ids and clocks


def served(n: int, begin: int, mean: float = 40.0) -> pd.DataFrame:
    """Rows in order of time, with columns that tell rows apart or when they came."""
    rng = np.random.default_rng(begin)
    place = np.arange(begin, begin + n)
    return pd.DataFrame(
        {
            "id": place, "at": 1.7e9 + 60.0 * place + rng.normal(0, 9, n), "day": (place // 90).astype(str),
            "uid": [f"u{7 * i}" for i in place], "age": rng.normal(mean, 9, n), "visits": rng.integers(0, 20, n),
        }
    )  # fmt: skip


CLOCKS = ["at", "day", "id", "uid"]


def test_ids_and_clocks_are_named_and_do_not_hide_what_drifts() -> None:
    before, after = served(1_800, 0), served(900, 1_800, mean=45)
    found, without = compare(before, after), compare(before, after, exclude=CLOCKS)
    assert found.reference.clocks == CLOCKS
    assert found.drifted == without.drifted == ["age"]
    told = found.table.query("test == 'psi'").set_index("feature")
    assert set(told.loc[CLOCKS, "verdict"]) == {"insufficient"}
    assert told.loc[CLOCKS, "cause"].str.startswith("an id or a clock").all()
    rest = found.table.query("feature in ['age', 'visits']").reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, without.table)
    pd.testing.assert_frame_equal(found.together, without.together)
    assert not found.faults  # an id that grows is measured in no other unit


def test_a_table_in_the_order_of_a_feature_can_be_taken_as_shuffled() -> None:
    before, after = (served(n, begin)[["age", "visits"]] for n, begin in ((1_800, 0), (900, 1_800)))
    ordered, unordered = (compare(before.sort_values("age"), after, ordered=ordered) for ordered in (True, False))
    assert ordered.reference.clocks == ["age"]
    assert unordered.reference.clocks == []
    assert set(unordered.table["verdict"]) == {"ok"}


def test_an_id_is_known_in_whatever_order_the_rows_come() -> None:
    before = served(1_800, 0).sample(frac=1, random_state=1)
    assert compare(before, served(900, 1_800)).reference.clocks == ["id", "uid"]
    assert compare(before[["age"]].assign(cents=before["id"] * 1_000 + 7), before).reference.clocks == []  # far apart: amounts, say


def test_what_changes_with_the_hour_or_in_steps_is_no_clock() -> None:
    hours = np.arange(4_800) // 20 % 24
    stepped = pd.DataFrame(
        {"hour": hours, "regime": np.arange(4_800) // 1_600, "walk": np.cumsum(np.random.default_rng(1).normal(size=4_800))}
    )
    assert compare(stepped, stepped[:500]).reference.clocks == []


def test_histograms_hold_every_present_value(found: Comparison) -> None:
    for feature in found.ranking:
        counted = found.histograms(feature)
        assert counted[["reference", "current"]].sum().tolist() == [4_000, 2_000]
    ages = found.histograms("age")
    assert (ages["low"].iloc[0], ages["high"].iloc[-1]) == (-math.inf, math.inf)
    assert ages["low"].iloc[1:].tolist() == ages["high"].iloc[:-1].tolist()


def test_categories_beyond_those_kept_by_name_are_counted_together() -> None:
    many = compare(pd.DataFrame({"c": ["a"] * 300}), pd.DataFrame({"c": [f"new{i}" for i in range(300)]}))
    counted = many.histograms("c").set_index("bin")["current"]
    assert counted.sum() == 300
    assert counted["(others)"] == 250


@pytest.mark.parametrize("kind", ["arrow", "parquet", "csv"])
def test_every_kind_of_table_gives_the_same_figures(kind: str, tmp_path: Path, found: Comparison) -> None:
    def given(table: pd.DataFrame, name: str) -> Any:
        if kind == "arrow":
            return pa.Table.from_pandas(table)
        path = tmp_path / f"{name}.{kind}"
        table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)
        return str(path)

    other = compare(given(rows(4_000), "a"), given(rows(2_000, shift=0.8, seed=4), "b"), **ROLES)
    pd.testing.assert_frame_equal(other.table, found.table)


def test_rows_in_blocks_are_counted_as_rows_at_once(monkeypatch: pytest.MonkeyPatch, found: Comparison) -> None:
    monkeypatch.setattr("driftline.frames._BLOCK_CELLS", 600)
    pd.testing.assert_frame_equal(compare(rows(4_000), rows(2_000, shift=0.8, seed=4), **ROLES).table, found.table)


@pytest.mark.parametrize(
    ("answers", "task"),
    [([0, 1] * 200, "binary"), ([True, False] * 200, "binary"), (["a", "b", "c", "d"] * 100, "multiclass"),
     (np.linspace(0, 1, 400), "regression"), (range(400), "regression")],
)  # fmt: skip
def test_the_task_is_what_the_predictions_look_like(answers: Any, task: str) -> None:
    table = pd.DataFrame({"x": range(400), "says": answers, "truth": answers})
    assert compare(table, table, prediction="says", label="truth").window.model.task == task


def test_decimals_are_numbers() -> None:
    table = pd.DataFrame({"price": [Decimal("1.5"), None, Decimal(3)] * 100})
    assert compare(table, table).window.model.features == {"price": "numeric"}


# -- what cannot be judged


def test_a_column_that_current_lacks_is_a_fault_that_says_so() -> None:
    other = compare(rows(500), rows(500).drop(columns="plan"))
    assert [(row.feature, row.check, row.value) for row in other.faults] == [("plan", "removed", 1.0), ("plan", "missing_rate", 1.0)]
    said = other.table.query("feature == 'plan'")[["verdict", "cause"]].to_numpy().tolist()
    assert said == [["undefined", "the current table has no such column"]]
    assert f"{other!r}\n".count("fault: plan: the current table has no such column\n") == 1  # though it fails two checks
    assert "features drifted, 1 fault\n" in repr(other)


def test_a_column_that_only_current_has_is_named_and_not_compared() -> None:
    other = compare(rows(500)[["age"]], rows(500)[["age", "plan"]])
    assert other.added == ("plan",)
    assert "only in current, not compared: plan" in repr(other)


def test_few_rows_get_no_verdict() -> None:
    assert set(compare(rows(500), rows(50)).table["verdict"]) == {"insufficient"}


@pytest.mark.parametrize("values", [[None] * 300, [np.nan] * 300, [np.inf] * 300])
def test_columns_of_nothing_are_undefined_on_either_side(values: list[Any]) -> None:
    full, empty = pd.DataFrame({"x": np.arange(300.0)}), pd.DataFrame({"x": values})
    for before, after in ((full, empty), (empty, full), (empty, empty)):
        other = compare(before, after)
        assert other.table["verdict"].tolist() == ["undefined"]
        assert other.histograms("x") is not None
        assert other._repr_html_()


def test_constant_columns_are_compared() -> None:
    seven, eight = pd.DataFrame({"x": [7] * 300, "c": ["a"] * 300}), pd.DataFrame({"x": [8] * 300, "c": ["b"] * 300})
    assert compare(seven, seven).clean
    found = compare(seven, eight)
    assert found.drifted == ["x"]
    assert {row.feature: row.reason for row in found.quality if row.verdict == "fault"}.keys() == {"c"}  # renamed
    assert "mean 7 → 8, sd 0 → 0" in repr(compare(seven, eight))


def test_texts_in_a_numeric_column_are_a_fault() -> None:
    other = compare(pd.DataFrame({"x": range(300)}), pd.DataFrame({"x": ["7"] * 300}))
    assert [(row.check, row.value) for row in other.faults] == [("type_error_rate", 1.0)]
    assert other.table["cause"].tolist() == ["type error rate 0 → 1, limit 0.01"]


def test_whole_numbers_and_fractions_of_one_column_agree() -> None:
    assert (
        compare(pd.DataFrame({"x": [1, 2] * 200}), pd.DataFrame({"x": [1.0, 2.0, None] * 200}), features={"x": "categorical"}).drifted == []
    )


# -- wrong input


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (lambda: compare(rows(9), rows(0)), "comparison_empty", "current has no rows"),
        (lambda: compare(rows(0), rows(9)), "comparison_empty", "reference has no rows"),
        (lambda: compare([1, 2], rows(9)), "comparison_input", "reference is a list"),  # type: ignore[arg-type]
        (lambda: compare(rows(9), rows(9), features=["agee"]), "comparison_column", "did you mean 'age'"),
        (lambda: compare(rows(9), rows(9), exclude=["user"]), "comparison_column", "its columns are: age"),
        (lambda: compare(rows(9), rows(9).drop(columns="plan"), features=["plan"]), "comparison_column", "current has no column 'plan'"),
        (lambda: compare(rows(9), rows(9).drop(columns="truth"), **(ROLES | {"score": "scor"})), "comparison_column", "no column 'scor'"),
        (lambda: compare(rows(9), rows(9).drop(columns="says"), prediction="says"), "comparison_column", "current has no column 'says'"),
        (lambda: compare(rows(9), rows(9), model=Model("m", features={"income": "numeric"})), "comparison_column", "'income'"),
        (lambda: compare(rows(9), pd.DataFrame({"z": [1]})), "comparison_column", "no column in common"),
        (lambda: compare(rows(9)[["age"]], rows(9), exclude=["age"]), "comparison_column", "no feature"),
        (lambda: compare(rows(9), rows(9), label="truth"), "comparison_input", "a label without a prediction"),
        (lambda: compare(pd.DataFrame([[1, 2]], columns=["a", "a"]), rows(9)), "comparison_column", "more than one column 'a'"),
        (lambda: compare(rows(9), rows(9), prediction="score", model=Model("m")), "comparison_value", "the task is binary"),
        (lambda: compare(rows(9), rows(9), prediction="says", score="age"), "reference_value", "outside [0, 1]"),
        (lambda: compare("absent.csv", rows(9)), "no_file", "absent.csv"),
        (lambda: compare(rows(9), rows(9)).histograms("agee"), "comparison_column", "'agee' was not compared"),
        (lambda: compare(rows(9), rows(9)).plot("agee"), "comparison_column", "'agee' was not compared"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_with_the_fix(call: Any, code: str, says: str) -> None:
    with pytest.raises(DriftlineError) as caught:
        call()
    assert caught.value.code == code
    assert says in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    "value", [[0.1, 0.2], np.array([0.1, 0.2]), {"a": 1}, (1, 2), datetime.date(2026, 1, 5), pd.Timestamp("2026-01-05"), b"x", 1j]
)
def test_what_no_event_can_carry_is_refused_in_either_table_and_can_be_left_out(value: object) -> None:
    plain, odd = rows(9), rows(9).assign(odd=pd.Series([None] + [value] * 8))
    for pair in ((odd, odd), (odd, plain), (plain.assign(odd=1.5), odd)):
        with pytest.raises(DriftlineError, match=r"'odd'.*\n.*exclude=\[\"odd\"\]"):
            compare(*pair)
        if "odd" in pair[0]:
            assert "odd" not in compare(*pair, exclude=["odd"]).ranking


# -- how it looks


class Page(html.parser.HTMLParser):
    """Tags and the addresses that a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.loads += [str(named[name]) for name in ("src", "href") if name in named]
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(named["content"])


def test_the_page_opens_offline_and_forbids_whatever_else(found: Comparison, tmp_path: Path) -> None:
    page = Page(found.to_html(tmp_path / "page.html").read_text("utf-8"))
    assert page.policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert (page.loads, page.tags.count("script")) == ([], 0)
    assert page.tags.count("svg") == 1 + 4  # the ranking and four features


def test_a_notebook_gets_a_fragment_and_a_terminal_lines(found: Comparison) -> None:
    fragment = Page(found._repr_html_())
    assert not {"html", "body", "script"} & set(fragment.tags)
    lines = repr(found).splitlines()
    assert lines[0] == "2,000 rows against 4,000 of the reference: 2 of 7 features drifted, 6 worse metrics"
    assert lines[1].split()[:3] == ["feature", "PSI", "limit"]
    assert len(lines) == 2 + 7 + 6 + sum(found.together["verdict"] == "drift")


def test_names_are_escaped_wherever_they_are_shown() -> None:
    name, evil = "<script>alert(1)</script>", "\x1b[2J"
    before = pd.DataFrame({name: ["a", "<em>"] * 200, evil: ["a"] * 400})
    after = pd.DataFrame({name: ["<s>"] * 400, evil: [evil] * 400, "<u>": [1] * 400})
    other = compare(before, after)
    for shown in (other._repr_html_(), other.plot(), other.plot(name)):
        assert not {"script", "em", "s", "u"} & set(Page(shown).tags)
    assert evil not in repr(other)


def test_pictures_are_well_formed_svg_of_their_own(found: Comparison) -> None:
    for picture in (found.plot(), found.plot("age"), found.plot("plan")):
        assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert picture._repr_svg_() == picture


def test_many_features_are_cut_with_a_word() -> None:
    wide = pd.DataFrame(np.zeros((300, MAX_LINES + 3))).rename(columns=lambda i: f"x{i}")
    assert "… and 3 features more" in repr(compare(wide, wide))
    assert "3 less drifted features are left out" in compare(wide, wide)._repr_html_()


# -- the command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "before.csv", tmp_path / "after.parquet"]
    rows(1_000).to_csv(paths[0], index=False)
    rows(1_000, shift=0.8, seed=4).to_parquet(paths[1])
    return [str(path) for path in paths]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["compare", *arguments])
    return int(caught.value.code or 0)


def test_the_command_prints_what_python_prints(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--prediction", "says", "--label", "truth", "--exclude", "score") == 0
    expected = compare(rows(1_000), rows(1_000, shift=0.8, seed=4), prediction="says", label="truth", exclude=["score"])
    assert capsys.readouterr().out == f"{expected!r}\n"


def test_the_command_fails_on_drift_only_if_asked_to(files: list[str]) -> None:
    assert call(*files, "--feature", "age") == 0
    assert call(*files, "--feature", "age", "--fail-on-drift") == 1
    assert call(*files, "--feature", "visits", "--fail-on-drift") == 0


def test_the_command_writes_json_and_a_page(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--json", "--html", str(tmp_path / "page.html")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rows"], answer["clean"]) == ({"reference": 1_000, "current": 1_000}, False)
    assert set(answer["table"][0]) == set(COLUMNS)
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")


def test_the_command_reads_the_model_s_limits(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.toml").write_text('model = "m"\n[features]\nage = "numeric"\n[policy]\npsi = 50.0\nshift = 50.0\nshare = 1.0\n')
    assert call(*files, "--model", str(tmp_path / "m.toml"), "--fail-on-drift") == 0
    assert "of 1 features drifted" in capsys.readouterr().out


def test_the_command_can_take_the_rows_as_shuffled(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--feature", "age", "--unordered") == 0
    expected = compare(rows(1_000), rows(1_000, shift=0.8, seed=4), features=["age"], ordered=False)
    assert capsys.readouterr().out == f"{expected!r}\n"


def test_the_command_tells_a_mistake_and_its_fix(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*files, "--label", "truth") == 2
    assert "fix: add prediction=" in capsys.readouterr().err


def test_compare_is_at_the_front_door_and_loads_nothing_until_it_is_asked_for() -> None:
    assert driftline.compare is compare
    code = (
        "import sys, driftline; print('pandas' in sys.modules); driftline.compare; print('pandas' in sys.modules, 'faust' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == [
        "False",
        "True",
        "False",
    ]


def test_without_pandas_compare_names_the_extra() -> None:
    code = "import sys; sys.modules['pandas'] = None\nimport driftline\ntry: driftline.compare\nexcept ImportError as e: print(e)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'driftline[worker]'" in said


def test_a_fault_is_told_with_its_parameter_as_the_cause() -> None:
    rng = np.random.default_rng(4)
    before, after = (pd.DataFrame({"weight": rng.normal(70, 15, n)}) for n in (3_000, 800))
    found = compare(before, after / 0.45359237)
    assert found.drifted == []
    assert set(found.table["verdict"]) == {"fault"}
    assert found.table["cause"][0] == "× 2.205 fits: pounds for kilograms?"
    assert "fault: weight: × 2.205 fits: pounds for kilograms?" in repr(found)


def test_a_column_of_times_brings_the_reference_in_order() -> None:
    rng = np.random.default_rng(5)
    walk = np.repeat(rng.normal(0, 1, 100), 40) + rng.normal(0, 0.3, 4_000)  # forty rows of a kind follow one another
    before = pd.DataFrame({"x": walk, "at": np.arange(4_000)}).sample(frac=1, random_state=0)
    after = pd.DataFrame({"x": rng.normal(0.3, 1.04, 400)})
    stirred, ordered = compare(before[["x"]], after), compare(before, after, time="at")
    assert (stirred.drift[0].significance or 1) < 1e-3
    assert (ordered.drift[0].significance or 0) > 0.01
    assert [row.value for row in stirred.drift] == [row.value for row in ordered.drift]


def test_features_that_no_longer_go_together_are_told_though_each_is_as_it_was() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=3_000)
    before = pd.DataFrame({"a": x, "b": x + rng.normal(0, 0.5, 3_000), "c": rng.normal(size=3_000)})
    after = before[:1_000].assign(b=rng.permutation(before["b"][:1_000]))
    found = compare(before, after)
    assert found.drifted == []
    told = found.together.set_index("test")
    assert (told.loc["correlation_change", "verdict"], told.loc["correlation_change", "most"]) == ("drift", "a, b")
    assert "together: correlation change" in repr(found)
    assert set(compare(before, before[1_000:2_000]).together["verdict"]) == {"ok"}


def test_features_together_have_the_figures_of_the_stream() -> None:
    before, after = rows(4_000), rows(1_500, shift=0.5, seed=9)
    features = {"age": "numeric", "visits": "numeric", "plan": "categorical", "paid": "categorical"}
    model = Model("m", windows=(Window(3_600_000, 3_600_000),), horizon_ms=3_600_000, features=features, multivariate=True)
    told, here = streamed(model, before, after), compare(before, after, model=model, **ROLES)
    fields = ("feature", "test", "value", "p_value", "null_quantile", "effect", "n_reference", "n", "verdict", "reason", "direction")
    of_stream = [row for row in told.drift_results if is_of_the_window(row) and row.feature in {each.feature for each in here.joint}]
    assert len(here.joint) == 4 and {row.verdict for row in here.joint} <= {"ok", "drift"}
    assert [[getattr(row, name) for name in fields] for row in of_stream] == [[getattr(row, name) for name in fields] for row in here.joint]


def test_one_numeric_feature_or_few_rows_tell_nothing_of_the_whole() -> None:
    found = compare(pd.DataFrame({"a": range(900)}), pd.DataFrame({"a": range(900)}))
    assert found.together.empty
    few = pd.DataFrame({"a": np.arange(90.0), "b": np.arange(90.0) % 7})
    found = compare(few, few)
    assert set(found.together["verdict"]) == {"insufficient"}
    assert found.to_dict()["together"][0]["p_value"] is None
