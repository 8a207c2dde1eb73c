"""What a window says of its answers: all metrics, with labels, with few and with none; and labels that never come."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from driftline.schemas.config import METRICS as NAMES
from driftline.schemas.config import Model, Policy
from driftline.schemas.results import PerformanceResult
from driftline.streams.answers import SCORE_BINS, AnswerRows, Answers, LabelRows, timed_out
from driftline.streams.appraisal import performance, performances, treatment
from driftline.streams.estimates import Expectation, _lately, combination, estimates, without_labels
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.performance import METRICS, metrics
from driftline.streams.profile import fold_answers, reference_from_frame

Floats = NDArray[np.float64]
POLICY = Policy(min_samples=100, min_coverage=0.05, min_maturity=0.0)
MODEL = Model("m", metrics=("all",), policy=POLICY)
PRICE = Model("price", task="regression", metrics=("all",), quantile=0.9, policy=POLICY)


def scored(rng: np.random.Generator, n: int, a: float = 1.5, b: float = 1.5, flip: float = 0.0) -> pd.DataFrame:
    """Answers of a calibrated model: a feature that is the score, the prediction, the truth; `flip` of the truths are turned round."""
    score = rng.beta(a, b, n)
    truth = (rng.random(n) < score) ^ (rng.random(n) < flip)
    return pd.DataFrame({"x": score, "said": (score > 0.5).astype(int), "score": score, "truth": truth.astype(int)})


def binary_reference(n: int = 50_000) -> Layout:
    frame = scored(np.random.default_rng(0), n)
    return Layout(reference_from_frame(frame, MODEL, "1", prediction="said", score="score", label="truth"))


REFERENCE = binary_reference()


def window(frame: pd.DataFrame, layout: Layout = REFERENCE, model: Model = MODEL, **more: Any) -> Judged:
    pane = empty_pane(layout)
    names = [name for name in layout.names if name in frame]
    pane.add_encoded(
        layout,
        layout.encode({**{n: frame[n].tolist() for n in names}, "(prediction)": frame["said"].tolist()}, len(frame)),
        np.arange(len(frame)),
    )
    fold_answers(pane, frame["said"], frame.get("score"), frame["truth"], model)
    return Judged(WindowKey("m", "1", "", 0, 60), model, layout, pane, 1, False, **more)


def width(row: PerformanceResult) -> float:
    assert row.lower is not None
    assert row.upper is not None
    return row.upper - row.lower


def rows_of(of: Judged) -> dict[tuple[str, str], PerformanceResult]:
    return {(row.basis, row.metric): row for row in performance(of)}


# Parity


def test_every_metric_can_be_named_in_a_models_file() -> None:
    assert {task: {*names, "all", *(["by_class"] if task == "multiclass" else [])} for task, names in METRICS.items()} == {
        task: set(names) for task, names in NAMES.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_are_those_of_scikit_learn(seed: int) -> None:
    frame = scored(np.random.default_rng(seed), 3_000, 1.5, 2.5)
    frame["score"] = (np.floor(frame["score"] * SCORE_BINS) + 0.5) / SCORE_BINS  # what the histogram knows
    y, said, score = frame["truth"], frame["said"], frame["score"]
    found = {name: estimate.value for name, estimate in metrics(MODEL, window(frame).pane.answers).items()}
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, said), "precision": sk.precision_score(y, said), "recall": sk.recall_score(y, said),
            "f1": sk.f1_score(y, said), "specificity": sk.recall_score(y, said, pos_label=0), "mcc": sk.matthews_corrcoef(y, said),
            "kappa": sk.cohen_kappa_score(y, said), "auc": sk.roc_auc_score(y, score), "log_loss": sk.log_loss(y, score),
            "average_precision": sk.average_precision_score(y, score), "brier": sk.brier_score_loss(y, score),
            "ece": found["ece"], "lift": found["lift"], "cost": 0.0, "value": 0.0,
        }
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_regression_metrics_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.lognormal(3, 1, 500)
    said = y + rng.normal(1, 5, 500)
    pane = empty_pane(None)
    fold_answers(pane, pd.Series(said), None, pd.Series(y), PRICE)
    assert {name: estimate.value for name, estimate in metrics(PRICE, pane.answers).items()} == pytest.approx(
        {
            "mae": sk.mean_absolute_error(y, said), "rmse": sk.root_mean_squared_error(y, said), "r2": sk.r2_score(y, said),
            "mape": sk.mean_absolute_percentage_error(y, said), "quantile_loss": sk.mean_pinball_loss(y, said, alpha=0.9),
        }
    )  # fmt: skip


def test_metrics_of_several_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y, said = rng.choice(list("abc"), 600), rng.choice(list("abc"), 600)
    pane = empty_pane(None)
    fold_answers(pane, pd.Series(said), None, pd.Series(y), model := Model("m", task="multiclass"))
    found = {name: estimate.value for name, estimate in metrics(model, pane.answers).items()}
    report = sk.classification_report(y, said, output_dict=True)
    assert {name: found[f"{metric}_macro"] for metric, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score"))} == (
        pytest.approx({name: report["macro avg"][name] for name in ("precision", "recall", "f1-score")})
    )
    assert found["recall:b"] == pytest.approx(report["b"]["recall"])


def test_prices_give_the_cost_and_the_value_of_an_answer() -> None:
    model = Model("m", costs={"0/1": 50.0, "1/0": 1.0}, values={"1/1": 20.0}, policy=POLICY)
    frame = pd.DataFrame({"said": [1, 0, 1, 0] * 50, "truth": [1, 1, 0, 0] * 50})
    found = rows_of(window(frame, model=model))
    assert (found["realised", "cost"].value, found["realised", "value"].value) == (51 / 4, 5.0)


# Labels that never come


def test_predictions_without_a_label_count_as_negative_once_their_horizon_has_passed() -> None:
    frame = scored(np.random.default_rng(1), 2_000)
    frame["truth"] = frame["truth"].where(frame["truth"] == 1)  # only positives are ever told
    model = Model("m", missing_label="negative", policy=POLICY)
    early, late = (rows_of(window(frame, model=model, timed_out=past)) for past in (False, True))
    assert early["realised", "accuracy"].reason == "a prediction without a label counts as negative once its horizon has passed"
    truth = frame["truth"].fillna(0)
    row = late["realised", "accuracy"]
    assert (row.n_labelled, row.n_assumed, row.coverage) == (2_000, int((truth == 0).sum()), 1.0)
    assert row.value == pytest.approx(sk.accuracy_score(truth, frame["said"]))
    assert late["realised", "auc"].value == pytest.approx(sk.roc_auc_score(truth, np.floor(frame["score"] * 256)))
    assert row.verdict == "ok"


answers = st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 255), st.sampled_from([None, 0, 1])), max_size=30)


@given(answers, st.sampled_from(["negative", "positive"]))
def test_a_time_out_is_as_if_the_labels_had_come(rows: list[tuple[int, int, int | None]], missing: Any) -> None:
    model = Model("m", missing_label=missing)

    def fold(kept: list[tuple[int, int, int | None]]) -> Answers:
        out = Answers()
        predicted, bins = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
        none = np.zeros(len(rows), np.int64)
        out.add_predictions(AnswerRows(predicted.astype(float), bins, none - 1, none), ["0", "1"], model)
        said, at, label = np.array([row for row in kept if row[2] is not None], np.int64).reshape(-1, 3).T
        zero = np.zeros(len(said), np.int64)
        out.add_labels(LabelRows(zero + 1, said.astype(float), label.astype(float), at, zero), ["0", "1"], model)
        return out

    got, assumed = timed_out(fold(rows), model)
    other = int(missing == "positive")
    wanted = fold([(said, at, other if label is None else label) for said, at, label in rows])
    assert (Counter(got.confusion), got.n_labelled) == (Counter(wanted.confusion), wanted.n_labelled)
    assert {k: v.tolist() for k, v in got.scored.items()} == {k: v.tolist() for k, v in wanted.scored.items()}
    assert assumed == sum(label is None for *_, label in rows)


# Without labels, or with few


@pytest.mark.parametrize(("a", "b"), [(1.5, 1.5), (3.0, 1.5), (1.5, 4.0)])
def test_estimates_without_labels_are_right_under_covariate_shift(a: float, b: float) -> None:
    frame = scored(np.random.default_rng(2), 20_000, a, b)
    told = rows_of(window(frame.assign(truth=None)))
    y, said = frame["truth"], frame["said"]
    for basis in ("estimated", "weighted"):
        for name, value in (
            ("accuracy", sk.accuracy_score(y, said)),
            ("precision", sk.precision_score(y, said)),
            ("recall", sk.recall_score(y, said)),
            ("f1", sk.f1_score(y, said)),
        ):
            assert told[basis, name].value == pytest.approx(value, abs=0.015), (basis, name)
    assert told["estimated", "auc"].value == pytest.approx(sk.roc_auc_score(y, frame["score"]), abs=0.015)


def test_estimates_without_labels_carry_their_sampling_error() -> None:
    hits = 0
    for seed in range(200):
        frame = scored(np.random.default_rng(seed), 400, 2.0, 2.5)
        row = rows_of(window(frame.assign(truth=None)))["estimated", "accuracy"]
        assert row.lower is not None
        assert row.upper is not None
        hits += row.lower <= sk.accuracy_score(frame["truth"], frame["said"]) <= row.upper
    assert hits >= 180  # of 200, for an interval of 95 %


def test_several_classes_are_estimated_by_the_confidence() -> None:
    model = Model("m", task="multiclass", classes=("a", "b", "c"), policy=POLICY)
    rng = np.random.default_rng(3)

    def answers(n: int, sure: float) -> pd.DataFrame:
        score = 1 / 3 + 2 / 3 * rng.beta(sure, 2, n)
        said = rng.integers(0, 3, n)
        right = rng.random(n) < score
        truth = np.where(right, said, (said + rng.integers(1, 3, n)) % 3)
        return pd.DataFrame({"said": np.array(list("abc"))[said], "score": score, "truth": np.array(list("abc"))[truth]})

    layout = Layout(reference_from_frame(answers(20_000, 2), model, "1", prediction="said", score="score", label="truth"))
    frame = answers(20_000, 5)
    told = rows_of(window(frame.assign(truth=None), layout, model))
    y, said = frame["truth"], frame["said"]
    assert told["estimated", "accuracy"].value == pytest.approx(sk.accuracy_score(y, said), abs=0.01)
    assert told["estimated", "f1_macro"].value == pytest.approx(sk.f1_score(y, said, average="macro"), abs=0.01)


def test_several_classes_of_which_none_became_more_frequent_are_no_prior_shift() -> None:
    model = Model("m", task="multiclass", classes=("a", "b", "c"), metrics=("accuracy",), policy=POLICY)
    rng, names = np.random.default_rng(11), np.array(list("abc"))

    def answers(n: int, wrong: float, shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)) -> pd.DataFrame:
        score, said = 1 / 3 + 2 / 3 * rng.beta(2, 2, n), rng.choice(3, n, p=shares)
        truth = np.where(rng.random(n) < np.where(rng.random(n) < wrong, 0.3, score), said, (said + rng.integers(1, 3, n)) % 3)
        return pd.DataFrame({"said": names[said], "score": score, "truth": names[truth]})

    layout = Layout(reference_from_frame(answers(20_000, 0.0), model, "1", prediction="said", score="score", label="truth"))
    changes = {row.change for row in performance(window(answers(1_500, 0.4), layout, model))}
    assert changes == {"concept drift"}
    assert "concept drift" not in {row.change for row in performance(window(answers(1_500, 0.0), layout, model))}


def prices(rng: np.random.Generator, n: int, spread: float, wrong: float = 1.0) -> pd.DataFrame:
    """A regression whose error grows with x."""
    x = rng.uniform(0, spread, n)
    truth = 10 * x + rng.normal(0, 1 + x, n) * wrong
    return pd.DataFrame({"x": x, "said": 10 * x, "truth": truth})


def test_the_error_of_a_regression_is_estimated_by_where_its_rows_lie() -> None:
    rng = np.random.default_rng(4)
    layout = Layout(reference_from_frame(prices(rng, 20_000, 5), PRICE, "1", prediction="said", label="truth"))
    frame = prices(rng, 5_000, 2)
    told = rows_of(window(frame.assign(truth=None), layout, PRICE))
    assert told["estimated", "mae"].value == pytest.approx(sk.mean_absolute_error(frame["truth"], frame["said"]), rel=0.05)
    assert told["estimated", "rmse"].value == pytest.approx(sk.root_mean_squared_error(frame["truth"], frame["said"]), rel=0.08)
    assert told["estimated", "mae"].reference_value == pytest.approx(2.8, rel=0.05)  # which it is far from


def test_few_labels_and_the_estimate_together_tell_more_than_either() -> None:
    covered, shorter = 0, 0
    few = Model("m", metrics=("accuracy",), policy=POLICY)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        frame = scored(rng, 2_000, 3.0, 1.5, flip=0.1)  # concept drift: the estimate alone is wrong
        truth = sk.accuracy_score(frame["truth"], frame["said"])
        told = rows_of(window(frame.assign(truth=frame["truth"].where(rng.random(2_000) < 0.15)), model=few))
        both, alone = told["combined", "accuracy"], told["realised", "accuracy"]
        covered += (both.lower or 0) <= truth <= (both.upper or 0)
        shorter += width(both) < width(alone)
        assert abs((told["estimated", "accuracy"].value or 0) - truth) > 0.01
    assert covered >= 88
    assert shorter >= 90


def test_every_figure_of_few_labels_and_the_estimate_holds_the_truth() -> None:
    asked = ("precision", "recall", "f1", "specificity", "brier", "log_loss")
    model = Model("m", metrics=asked, values={"1/1": 10.0, "1/0": -4.0}, policy=POLICY)
    held, shorter, names = Counter[str](), Counter[str](), set[str]()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        frame = scored(rng, 3_000, 2.0, 2.0, flip=0.1)  # concept drift: the estimate alone is wrong
        y, said, at = frame["truth"], frame["said"], (np.floor(frame["score"] * SCORE_BINS) + 0.5) / SCORE_BINS
        truth = {
            "precision": sk.precision_score(y, said), "recall": sk.recall_score(y, said), "f1": sk.f1_score(y, said),
            "specificity": sk.recall_score(y, said, pos_label=0), "brier": sk.brier_score_loss(y, at), "log_loss": sk.log_loss(y, at),
            "value": (10.0 * ((said == 1) & (y == 1)) - 4.0 * ((said == 1) & (y == 0))).mean(),
        }  # fmt: skip
        told = rows_of(window(frame.assign(truth=y.where(rng.random(3_000) < 0.15)), model=model))
        for name, value in truth.items():
            both, alone = told["combined", name], told["realised", name]
            assert both.lower is not None
            assert both.upper is not None
            held[name] += both.lower <= value <= both.upper
            shorter[name] += width(both) < width(alone) * 1.05
        names |= truth.keys()
    # Of 40 windows an interval of 95 % misses more than 6 once in three hundred.
    assert {name: held[name] >= 34 for name in names} == dict.fromkeys(names, True), held
    assert all(shorter[name] >= 27 for name in names), shorter


def test_the_error_of_a_regression_is_told_of_all_rows_by_the_labels_of_some() -> None:
    layout = Layout(reference_from_frame(prices(np.random.default_rng(4), 20_000, 5), PRICE, "1", prediction="said", label="truth"))
    held, shorter = Counter[str](), Counter[str]()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        frame = prices(rng, 3_000, 5, wrong=1.3)  # concept drift
        truth = {"mae": (frame["truth"] - frame["said"]).abs().mean(), "rmse": sk.root_mean_squared_error(frame["truth"], frame["said"])}
        told = rows_of(window(frame.assign(truth=frame["truth"].where(rng.random(3_000) < 0.15)), layout, PRICE))
        for name, value in truth.items():
            both = told["combined", name]
            assert both.lower is not None
            assert both.upper is not None
            held[name] += both.lower <= value <= both.upper
            shorter[name] += width(both) < width(told["realised", name])
    assert min(held.values()) >= 52, held
    assert shorter["mae"] >= 55, shorter


def test_a_window_has_the_same_rows_whatever_of_its_labels_and_predictions_is_left() -> None:
    # Else a row that rested on labels which were taken back would stay in the store.
    rng = np.random.default_rng(8)
    layout = Layout(reference_from_frame(prices(rng, 2_000, 5), PRICE, "1", prediction="said", label="truth"))
    for frame, of, model in ((scored(rng, 400), REFERENCE, MODEL), (prices(rng, 400, 5), layout, PRICE)):
        expectation = Expectation(model, of.reference.performance)
        full = window(frame, of, model)
        assert full.layout is not None
        (estimated, weighted), *_ = without_labels([(expectation, full.pane, of)])
        assert list(estimates(expectation, full.pane, of)) == list(estimated) == expectation.told("estimated")
        assert list(combination([(expectation, [(1.0, full.pane.answers)])])[0]) == expectation.told("combined")
        assert list(weighted) == expectation.told("weighted")
        told = rows_of(full).keys()
        assert ("gap", "realised") in {(name, basis) for basis, name in told}
        for left in (frame.assign(truth=frame["truth"].where(frame.index < 1)), frame.assign(truth=np.nan)):
            assert rows_of(window(left, of, model)).keys() == told
        left_over = empty_pane(of)  # as of groups that all have labels enough by themselves
        left_over.answers.said |= {group: np.zeros_like(said) for group, said in full.pane.answers.said.items()}
        assert rows_of(replace(full, pane=left_over, panes=())).keys() == told


def test_what_is_said_of_windows_of_several_models_together_is_what_is_said_of_each_alone() -> None:
    rng = np.random.default_rng(9)
    other = Layout(reference_from_frame(scored(rng, 3_000, 3, 1, flip=0.2), MODEL, "2", prediction="said", score="score", label="truth"))
    regression = Layout(reference_from_frame(prices(rng, 2_000, 5), PRICE, "1", prediction="said", label="truth"))
    dear = Model("dear", metrics=("all",), costs={"1/0": 3.0, "0/1": 1.0}, policy=POLICY)
    windows = [
        window(frame.assign(truth=frame["truth"].where(rng.random(len(frame)) < 0.6)), layout, model)
        for frame, layout, model in (
            (scored(rng, 500), REFERENCE, MODEL), (scored(rng, 300), other, MODEL), (prices(rng, 400, 5), regression, PRICE),
            (scored(rng, 200), other, dear), (scored(rng, 700, 2, 1), REFERENCE, MODEL),
        )
    ]  # fmt: skip
    together = performances([(each, False, False) for each in windows])
    _lately.clear()  # what was worked out for all is not to be what each alone remembers
    for each, told in zip(windows, together, strict=True):
        assert told == performance(each)
        _lately.clear()


def test_labels_that_come_early_are_weighed_against_their_lead() -> None:
    # Of the first pane, which is easy, all labels are there; of the second, which is hard, one in four.
    rng = np.random.default_rng(5)
    easy, hard = scored(rng, 4_000, 8, 1, flip=0.0), scored(rng, 4_000, 1.5, 1.5, flip=0.3)
    hard["truth"] = hard["truth"].where(rng.random(4_000) < 0.25)
    parts = [window(frame).pane for frame in (easy, hard)]
    total = empty_pane(REFERENCE)
    for part in parts:
        total.add(part)
    of = Judged(WindowKey("m", "1", "", 0, 60), MODEL, REFERENCE, total, 1, False, panes=tuple(parts), maturities=(1.0, 0.25))
    accuracies = [metrics(MODEL, part.answers)["accuracy"].value for part in parts]
    told = rows_of(of)
    assert told["combined", "accuracy"].value == pytest.approx(np.mean(accuracies), abs=0.02)
    assert told["realised", "accuracy"].value == pytest.approx(np.average(accuracies, weights=[4, 1]), abs=0.02)  # what it would be without
    assert told["realised", "accuracy"].maturity == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("a", "b", "flip", "worse"), [(1.5, 1.5, 0, "ok"), (3.0, 1.5, 0, "ok"), (1.5, 4.0, 0, "ok"), (1.5, 1.5, 0.2, "worse")]
)
def test_realised_less_expected_is_nought_until_the_concept_changes(a: float, b: float, flip: float, worse: str) -> None:
    row = rows_of(window(scored(np.random.default_rng(6), 4_000, a, b, flip)))["realised", "gap"]
    assert row.verdict == worse
    assert row.value == pytest.approx(0.0 if worse == "ok" else 0.1, abs=0.05)


def test_answers_that_are_worth_less_are_a_change_of_concept_though_their_rows_are_few() -> None:
    # Too few rows to tell the kind of change by score and outcome.
    changes = {flip: [row.change for row in performance(window(scored(np.random.default_rng(7), 400, flip=flip)))] for flip in (0.0, 0.25)}
    assert {flip: set(each) for flip, each in changes.items()} == {0.0: {"none"}, 0.25: {"concept drift"}}


def test_the_gap_of_a_regression_shows_a_change_of_concept_only() -> None:
    rng = np.random.default_rng(7)
    layout = Layout(reference_from_frame(prices(rng, 20_000, 5), PRICE, "1", prediction="said", label="truth"))
    verdicts = [
        rows_of(window(frame, layout, PRICE))["realised", "gap"].verdict for frame in (prices(rng, 4_000, 2), prices(rng, 4_000, 5, 1.5))
    ]
    assert verdicts == ["ok", "worse"]


def test_immature_windows_have_no_verdict() -> None:
    model = Model("m", policy=Policy(min_samples=100, min_coverage=0.05, min_maturity=0.8))
    frame = scored(np.random.default_rng(8), 1_000)
    frame["truth"] = frame["truth"].where(frame.index % 4 == 0)
    of = window(frame, model=model, maturities=(0.5,))
    of = Judged(of.key, model, of.layout, of.pane, 1, False, panes=(of.pane,), maturities=(0.5,))
    row = rows_of(of)["realised", "accuracy"]
    assert (row.verdict, row.reason, row.maturity) == ("insufficient", "50% of the labels to come are expected by now; 80% are needed", 0.5)


def test_a_window_is_as_mature_as_it_is_labelled_at_least() -> None:
    of = window(scored(np.random.default_rng(8), 1_000))
    assert Judged(of.key, MODEL, of.layout, of.pane, 1, False, panes=(of.pane,), maturities=(0.5,)).maturity == 1.0


# Fairness


def grouped(rates: dict[str, float]) -> dict[str, Pane]:
    groups = {}
    for name, rate in rates.items():
        said = pd.Series((np.arange(1_000) < 1_000 * rate).astype(int))
        pane = empty_pane(None)
        fold_answers(pane, said, None, said, MODEL)
        pane.n = len(said)
        groups[f"gender={name}"] = pane
    return groups


@pytest.mark.parametrize(("second", "verdict"), [(0.48, "ok"), (0.2, "worse")])
def test_groups_that_are_selected_at_different_rates_are_treated_unequally(second: float, verdict: str) -> None:
    model = Model("m", segments=("gender",), protected=("gender",), policy=POLICY)
    of = window(scored(np.random.default_rng(9), 1_000), model=model, groups=grouped({"a": 0.5, "b": second}))
    told = {row.metric: row for row in treatment(of, "gender")}
    impact, parity = told["disparate_impact:gender"], told["demographic_parity:gender"]
    assert (impact.verdict, impact.threshold) == (verdict, 0.8)
    assert impact.value == pytest.approx(second / 0.5)
    assert parity.value == pytest.approx(0.5 - second)
    assert parity.lower is not None


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 255), st.sampled_from([None, 0, 1])), min_size=1, max_size=40), st.just(MODEL))
def test_whatever_a_window_holds_every_number_is_finite_or_absent(rows: list[tuple[int, int, int | None]], model: Model) -> None:
    frame = pd.DataFrame(rows, columns=["said", "bin", "truth"], dtype=object)
    of = window(frame.assign(score=frame["bin"].astype(float) / 256, x=0.5))
    for row in performance(of):
        told = [value for value in (row.value, row.lower, row.upper) if value is not None]
        assert all(math.isfinite(value) for value in told), row
        if len(told) == 3:
            assert told[1] <= told[0] + 1e-12
            assert told[0] <= told[2] + 1e-12
