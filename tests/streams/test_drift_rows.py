"""Windows as columns say what they say feature by feature: the same rows in the same order, with the same figures and texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.config import HOUR_MS, Exclusion, Model, Policy, Task
from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.schemas.results import Columns, DriftResult, Verdict
from driftline.streams import labels as of_labels
from driftline.streams.appraisal import why_labels_wait
from driftline.streams.battery import Battery, Measured, told_of
from driftline.streams.drift import (
    AT_ONCE,
    CLOCK,
    LABELS,
    TRAINING,
    Baseline,
    _blamed,
    _measured,
    battery,
    drift,
    drifts,
    level,
    measure,
    share_of_window,
    yardstick,
)
from driftline.streams.evaluation import _drifted
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.labels import label_counts, label_drift
from driftline.streams.lasting import BY_ITSELF, TEST, Lasting, needed
from driftline.streams.layout import LABEL, Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import fold_answers, reference_from_frame
from driftline.streams.stats import TESTS, benjamini_hochberg
from driftline.streams.stats.drift_evidence import BETS

QUIET = 1e-9


# ── feature by feature ──────────────────────────────────────────────────────────────────────────────────────────────────────


class One(NamedTuple):
    """What is measured of one feature."""

    name: str
    numeric: bool
    direction: str
    figures: list[tuple[str, float, float, float]]
    n: int
    n_reference: int
    p_value: float
    effect: float
    null: float
    moved: float
    worth: float
    lone: bool


def number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def direction_of(tests: Battery, f: int, now: Any, before: Any) -> str:
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (now / now.sum(-1, keepdims=True) - before / before.sum(-1, keepdims=True))[f]
    profile = tests.profiles[f]
    if isinstance(profile, CategoricalProfile):
        place = int(np.abs(shift).argmax())
        name = profile.categories[place] if place < len(profile.categories) else "others"
        return f"{'more' if shift[place] > 0 else 'less'} {name}" if abs(shift[place]) > QUIET else ""
    if not tests.smooth.degree[f]:
        below = np.cumsum(-shift[: tests.bins[f]])[:-1]
        return "" if not len(below) or not np.abs(below).max() > QUIET else "up" if below.sum() > 0 else "down"
    place_of, spread = (*(tests.smooth.basis[f] @ shift)[: min(2, int(tests.smooth.degree[f]))].tolist(), 0.0)[:2]
    if not max(abs(place_of), abs(spread)) > QUIET:
        return ""
    return ("up" if place_of > 0 else "down") if abs(place_of) >= abs(spread) else "wider" if spread > 0 else "narrower"


def ones(tests: Battery, found: Measured, wanted: Sequence[str], now: Any, before: Any) -> list[One]:
    """A window's features one by one."""
    told = []
    for f, name in enumerate(tests.names):
        n, n_reference = found.n.item(f), found.n_reference.item(f)
        numeric = isinstance(tests.profiles[f], NumericProfile)
        figures = [
            (test, *found.figures[0, f, t].tolist()) for t, test in enumerate(told_of(wanted)) if numeric or TESTS[test].needs == "bins"
        ]
        told.append(
            One(
                name, numeric, direction_of(tests, f, now, before) if n and n_reference else "", figures if n and n_reference else [],
                n, n_reference, found.p_value.item(f), found.effect.item(f), found.null.item(f), found.moved.item(f), found.worth.item(f),
                not tests.smooth.degree[f] and tests.smooth.blocks[f] > 0,
            )
        )  # fmt: skip
    return told


def why_unjudged(feature: One, window: Judged) -> str:
    least = window.model.policy.min_samples
    if not feature.n_reference:
        return "the reference is empty"
    if not feature.n:
        return "the window is empty: every value is missing or of a wrong type"
    if min(feature.n, feature.n_reference) < least:
        return f"{min(feature.n, feature.n_reference)} values; {least} are needed"
    if window.unjudged:
        return window.unjudged
    if window.layout is not None and feature.name in window.layout.reference.clocks:
        return CLOCK
    return "" if math.isfinite(feature.effect) else "the distance is not defined: the histograms are empty"


def few(feature: One, chance: float, smallest: float) -> str:
    what = f"{feature.n} values against {feature.n_reference}, worth {feature.worth:.0f} independent ones"
    return "" if chance <= smallest or feature.lone else f"not enough data for a verdict at this budget: {what}"


def verdict_of(feature: One, reason: str, found: bool, policy: Policy, fault: str = "") -> tuple[Verdict, str]:
    if fault and feature.n and feature.n_reference:
        return "fault", fault
    if found and feature.effect > max(policy.psi, feature.null):
        return "drift", ""
    if found and feature.numeric and feature.moved > policy.shift:
        return "drift", f"its place or spread moved by {feature.moved:.2f} standard deviations"
    if found and not feature.numeric and feature.moved > policy.share:
        return "drift", f"a share changed by {100 * feature.moved:.1f} points"
    if "empty" in reason:
        return "undefined", reason
    return ("insufficient", reason) if reason else ("ok", "")


def rows_of(
    window: Judged, feature: One, baseline: str, significance: float, verdict: Verdict, reason: str, coverage: float
) -> list[DriftResult]:
    policy, every = window.model.policy, ["psi"]
    if feature.name == LABEL:
        every = [name for name in told_of(window.model.tests) if feature.numeric or TESTS[name].needs == "bins"]
    return [
        DriftResult(
            *window.key, feature.name, name, number(value), number(p_value), number(null), number(feature.effect), policy.psi,
            feature.n_reference, feature.n, verdict, reason, *window.by, coverage, window.revision, number(significance),
            feature.direction, "" if verdict != "drift" else "critical" if feature.effect >= 2 * policy.psi else "warning", baseline,
        )
        for name, value, p_value, null in feature.figures or [(name, math.nan, math.nan, math.nan) for name in every]
    ]  # fmt: skip


def one_by_one(window: Judged, faults: Mapping[str, str], against: Baseline) -> list[DriftResult]:
    """`drift` of a window that has a reference."""
    layout = window.layout
    assert layout is not None
    known, tests, policy = yardstick(layout), battery(layout), window.model.policy
    before = tests.smooth.reference if against.counts is None else tests.matrix(against.counts, layout.starts)
    features = ones(tests, _measured(window, layout, against), window.model.tests, tests.matrix(window.pane.counts, layout.starts), before)
    reasons = [against.missing or against.missing_of.get(feature.name) or why_unjudged(feature, window) for feature in features]
    wrong = {**_blamed(faults), **faults}
    usable = [not reason and feature.name not in wrong for feature, reason in zip(features, reasons, strict=True)]
    worth = known.null.calibrate([feature.p_value if fine else math.nan for feature, fine in zip(features, usable, strict=True)])
    tails = known.null.calibrate(tests.tails(np.array([feature.worth for feature in features]), policy.psi))
    allowed = level(window.model, window.key.segment)
    rows: list[DriftResult] = []
    for feature, reason, tail, chance, found in zip(features, reasons, tails, worth, benjamini_hochberg(worth, allowed), strict=True):
        why = reason or few(feature, tail, allowed / max(sum(usable), 1))
        verdict, said = verdict_of(feature, why, found, policy, wrong.get(feature.name, ""))
        rows += rows_of(window, feature, against.name, float(chance), verdict, said, window.coverage)
    return rows


def lasting_one_by_one(rows: Sequence[DriftResult], layout: Layout, sums: Any, model: Model, revision: int) -> list[DriftResult]:
    """What is told of the evidence after a window."""
    known, limit, told = yardstick(layout), needed(model, len(layout.names)), []
    for row in rows:
        used = 2 * len(known.test(row.feature).basis) * BETS.size
        value = float(sums[layout.names.index(row.feature)].sum()) / used if used else 0.0
        drifted, by_itself = row.verdict == "ok" and value >= limit, row.verdict == "drift"
        reason = f"small but lasting: evidence of {value:.3g} over the windows, where no drift gives {limit:.3g}" if drifted else row.reason
        told.append(
            msgspec.structs.replace(
                row, test=TEST, value=value, p_value=None, null_quantile=limit, threshold=model.policy.lasting_psi, significance=None,
                verdict="drift" if drifted else "undefined" if by_itself else row.verdict, reason=BY_ITSELF if by_itself else reason,
                severity="warning" if drifted else "", revision=revision,
            )
        )  # fmt: skip
    return told


# ── what is judged ──────────────────────────────────────────────────────────────────────────────────────────────────────────

NUMBERS, TEXTS = ("a", "b", "few", "same", "rare"), ("plan", "one")
ANSWERS = {"(prediction)": "prediction", "(score)": "score"}
KINDS: dict[str, Any] = {**dict.fromkeys(NUMBERS, "numeric"), **dict.fromkeys(TEXTS, "categorical")}


def table(seed: int, n: int) -> pd.DataFrame:
    """Two numbers, few values, a constant, one that is hardly ever there; two texts, of which one is always the same."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.lognormal(size=n), "few": rng.integers(0, 3, n) * 1.0, "same": np.full(n, 7.0)})
    frame["rare"] = np.where(np.arange(n) % 50 == 0, frame["a"], np.nan)
    frame["plan"], frame["one"] = rng.choice(["free", "pro", "team"], n, p=[0.6, 0.3, 0.1]), "x"
    frame["score"] = rng.random(n)
    frame["prediction"] = np.where(frame["score"] > 0.5, "1", "0")
    return frame


MODEL = Model("m", features=KINDS)
KNOWN = Layout(reference_from_frame(table(1, 4_000), MODEL, "1", prediction="prediction", score="score"))
SHORT = Layout(reference_from_frame(table(2, 60), MODEL, "1", prediction="prediction", score="score"))  # with no blocks
NEVER = Layout(reference_from_frame(table(3, 2_000).assign(b=np.nan, plan=None), MODEL, "1", prediction="prediction", score="score"))
CLOCKS = Layout(msgspec.structs.replace(KNOWN.reference, clocks=["a", "plan"]))
LAYOUTS = (KNOWN, KNOWN, KNOWN, SHORT, NEVER, CLOCKS)
MOVES: dict[str, Any] = {
    "nothing": lambda frame: frame,
    "a little": lambda frame: frame.assign(a=frame["a"] + 0.2),
    "hardly": lambda frame: frame.assign(a=frame["a"] + 0.12),
    "far": lambda frame: frame.assign(a=frame["a"] + 3, few=2.0, plan="team"),
    "a share": lambda frame: frame.assign(plan=np.where(np.arange(len(frame)) % 4 == 0, "pro", frame["plan"])),
    "wider": lambda frame: frame.assign(a=2.5 * frame["a"], b=1e9),
    "constant": lambda frame: frame.assign(same=8.0, one="y"),
    "gone": lambda frame: frame.assign(a=np.nan, plan=None, score=np.nan),
    "all gone": lambda frame: frame.assign(**dict.fromkeys(NUMBERS, np.nan), **dict.fromkeys(TEXTS)),
}
HOLIDAY = Exclusion(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), "New Year")
TOLD: st.SearchStrategy[Any] = st.one_of(
    st.just(("psi", "ks", "chi_square")), st.lists(st.sampled_from([*TESTS]), max_size=4, unique=True).map(tuple)
)  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return Policy(
        min_samples=draw(st.sampled_from([1, 100, 5_000])), psi=draw(st.sampled_from([1e-6, 0.1, 5.0])),
        shift=draw(st.sampled_from([0.1, 0.5])), share=draw(st.sampled_from([0.02, 0.1])),
        false_alarms=draw(st.sampled_from([0.001, 1.0, 80.0])), lasting_psi=draw(st.sampled_from([0.02, 0.05])),
    )  # fmt: skip


def pane_of(layout: Layout, frame: pd.DataFrame) -> Pane:
    pane, n = empty_pane(layout), len(frame)
    values = {name: frame[column].tolist() for name, column in {**{name: name for name in KINDS}, **ANSWERS}.items()}
    if n:
        told = {name: [None if pd.isna(each) else each for each in column] for name, column in values.items()}
        pane.add_encoded(layout, layout.encode(told, n), np.arange(n))
    return pane


@st.composite
def windows(draw: st.DrawFn, model: Model | None = None, at: int = 0, layout: Layout | None = None) -> Judged:
    """One window; `model` and `layout` are drawn where they are not given."""
    known = layout or draw(st.sampled_from(LAYOUTS))
    judged_by = model or Model(
        "m", features=KINDS, tests=draw(TOLD), policy=draw(policies()), labels=draw(st.booleans()), segments=("plan",),
        exclude=draw(st.sampled_from([(), (), (HOLIDAY,)])),
    )  # fmt: skip
    n, move = draw(st.sampled_from([0, 1, 30, 400, 2_000])), draw(st.sampled_from([*MOVES]))
    pane = pane_of(known, MOVES[move](table(draw(st.integers(0, 5)), n)))
    key = WindowKey("m", "1", draw(st.sampled_from(["", "", "plan=pro"])) if model is None else "", at * HOUR_MS, (at + 1) * HOUR_MS)
    return Judged(key, judged_by, known, pane, draw(st.integers(1, 9)), draw(st.booleans()), (pane,), model is None and draw(st.booleans()))


@st.composite
def baselines(draw: st.DrawFn, layout: Layout) -> Baseline:
    kind = draw(st.sampled_from(["training", "training", "other", "empty", "missing", "missing of some"]))
    if kind == "training":
        return Baseline()
    if kind == "missing":
        return Baseline("trailing:7d", missing="no window of the last 7 days is there")
    pane = pane_of(layout, table(draw(st.integers(6, 8)), 0 if kind == "empty" else 700))
    return Baseline("trailing:7d", pane.counts, missing_of={"few": "not there"} if kind == "missing of some" else {})


FAULTS = st.dictionaries(
    st.sampled_from([*KINDS, "(prediction)", "(score)"]), st.sampled_from(["too many are missing", "empty texts"]), max_size=3
)


@settings(max_examples=300, deadline=None)
@given(window=windows(), faults=st.one_of(st.just({}), FAULTS), data=st.data())
def test_a_window_says_as_columns_what_it_says_feature_by_feature(window: Judged, faults: dict[str, str], data: st.DataObject) -> None:
    assert window.layout is not None
    against = data.draw(baselines(window.layout))
    beforehand = data.draw(st.booleans())
    measured = measure([(window.layout, window.pane)], window.model.tests) if beforehand else {}
    [found] = drifts([(window, faults, against)], measured)
    assert isinstance(found, Columns)
    assert all(len(each) in {1, found.rows} if isinstance(each, list) else each.holds(found.rows) for each in found.values)
    expected = one_by_one(window, faults, against)
    assert [repr(row) for row in found] == [repr(row) for row in expected]
    assert _drifted(found) == any(row.verdict == "drift" for row in expected)


@settings(max_examples=100, deadline=None)
@given(model=st.builds(lambda policy: msgspec.structs.replace(MODEL, policy=policy, segments=("plan",)), policies()), data=st.data())
def test_several_windows_say_side_by_side_what_each_says_by_itself(model: Model, data: st.DataObject) -> None:
    asked = []
    for at in range(data.draw(st.integers(1, 4))):
        window = data.draw(windows(model, at))
        key = window.key._replace(segment=data.draw(st.sampled_from(["", "plan=pro"])))
        window = replace(window, key=key, provisional=data.draw(st.booleans()))
        assert window.layout is not None
        asked.append((window, data.draw(st.one_of(st.just({}), FAULTS)), data.draw(baselines(window.layout))))
    found: dict[int, list[str]] = {window.key.start: [] for window, _, _ in asked}
    for row in chain.from_iterable(drifts(asked)):
        found[row.window_start].append(repr(row))
    assert found == {each[0].key.start: [*map(repr, one_by_one(*each))] for each in asked}


@pytest.mark.parametrize("move", MOVES)
def test_what_is_significant_but_no_further_than_without_drift_is_none(move: str) -> None:
    policy = Policy(psi=1e-6, shift=1.0, share=0.3, false_alarms=80.0)
    pane, model = pane_of(KNOWN, MOVES[move](table(4, 2_000))), msgspec.structs.replace(MODEL, policy=policy)
    window = Judged(WindowKey("m", "1", "", 0, HOUR_MS), model, KNOWN, pane, 1, True, (pane,))
    expected = one_by_one(window, {}, Baseline())
    assert [repr(row) for row in drift(window)] == [repr(row) for row in expected]
    if move == "hardly":  # significant, and yet no drift
        [row] = [row for row in expected if row.test == "psi" and row.feature == "a"]
        assert row.significance is not None and row.significance < level(model, "") / len(KNOWN.names) and row.verdict != "drift"


@settings(max_examples=80, deadline=None)
@given(model=st.builds(lambda policy: msgspec.structs.replace(MODEL, policy=policy), policies()), data=st.data())
def test_lasting_drift_says_as_columns_what_it_says_feature_by_feature(model: Model, data: st.DataObject) -> None:
    known, lasting, alone, rows, taken = data.draw(st.sampled_from([KNOWN, NEVER])), Lasting(), Lasting(), {}, []
    for at in range(data.draw(st.integers(1, 4))):
        window = data.draw(windows(model, at, known))
        told = [*drift(window)]
        taken.append((window, [*told, *one_by_one(window, {}, Baseline("version:0", window.pane.counts))]))
        assert alone.take(taken[-1:]) == at * HOUR_MS
        rows[at] = [row for row in told if row.test == "psi"]
    assert lasting.take(taken) == 0
    assert [repr(row) for row in alone.rows(model, 0)] == [repr(row) for row in lasting.rows(model, 0)]
    found = [*lasting.rows(model, 0)]
    revision, one, sums = 0, Lasting(), {}
    for at in rows:
        one.steps[at * HOUR_MS] = lasting.steps[at * HOUR_MS]
        one.settle((at + 1) * HOUR_MS, model)
        sums[at] = one.sums
    expected = []
    for at, of_psi in rows.items():
        revision += of_psi[0].revision
        expected += lasting_one_by_one(of_psi, known, sums[at], model, revision)
    assert [repr(row) for row in found] == [repr(row) for row in expected]


@settings(max_examples=80, deadline=None)
@given(policy=policies(), tests=TOLD, task=st.sampled_from(["binary", "regression"]), data=st.data())
def test_labels_say_as_columns_what_they_say_window_by_window(policy: Policy, tests: Any, task: Any, data: st.DataObject) -> None:
    model = Model("m", task=task, tests=tests, policy=policy)
    known, judged = OF_LABELS[task], []
    for at in range(data.draw(st.integers(1, 4))):
        n, share = data.draw(st.sampled_from([1, 50, 500])), data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        frame, pane = labelled(task, n, at, data.draw(st.sampled_from([0.0, 0.4]))), empty_pane(known)
        pane.n = n
        fold_answers(pane, frame["said"], None, frame["true"].where(np.arange(n) < share * n), model)
        segment = data.draw(st.sampled_from(["", "plan=pro"]))
        judged.append(Judged(WindowKey("m", "1", segment, at * HOUR_MS, (at + 1) * HOUR_MS), model, known, pane, at, at % 2 == 0, (pane,)))
    found = [*chain.from_iterable(label_drift(judged))]
    alike = [
        each for segment in dict.fromkeys(w.key.segment != "" for w in judged) for each in judged if (each.key.segment != "") == segment
    ]
    assert [*map(repr, found)] == [repr(row) for each in alike for row in label_one_by_one(each)]


def labelled(task: str, n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    if task == "regression":
        return pd.DataFrame({"said": rng.normal(100, 20, n), "true": rng.lognormal(3 + shift, 0.5, n)})
    return pd.DataFrame({"said": rng.integers(0, 2, n), "true": (rng.random(n) < 0.3 + shift).astype(int)})


TASKS: tuple[Task, ...] = ("binary", "regression")
OF_LABELS = {
    task: Layout(reference_from_frame(labelled(task, 3_000, 9), Model("m", task=task), "1", prediction="said", label="true"))
    for task in TASKS
}


def label_one_by_one(window: Judged) -> list[DriftResult]:
    layout, model, answers = window.layout, window.model, window.pane.answers
    assert layout is not None
    assert layout.reference.labels is not None
    tests, allowed = of_labels._battery(layout), share_of_window(model, window.key.segment, AT_ONCE * LABELS)
    counts = label_counts(layout.reference.labels, answers)[None]
    found = tests.measured(counts[None], np.full((1, 1, 2), np.nan), model.tests)
    [label], null = ones(tests, found, model.tests, counts, tests.smooth.reference), yardstick(layout).null
    chance = float(null.calibrate(label.p_value))
    reason = why_labels_wait(window, answers) or why_unjudged(label, window)
    too = few(label, float(null.calibrate(tests.tails(found.worth, model.policy.psi)).item()), allowed)
    verdict, why = verdict_of(label, reason or too, not reason and chance <= allowed, model.policy)
    coverage = min(answers.n_labelled / window.pane.n, 1.0) if window.pane.n else 0.0
    return rows_of(window, label, TRAINING, chance, verdict, why, coverage)
