"""Streams in which one thing is known to change, by seed: what `benchmarks/causes.py` and the tests of the causes are measured on.

x ~ N(0, 1)^5, y ~ Bernoulli(logistic(w·x + b)); the model knows w and b, so it is calibrated until something changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftline.schemas.config import Model, Policy
from driftline.streams.appraisal import performance
from driftline.streams.drift import drift
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import PREDICTION, SCORE, Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import fold_answers, reference_from_frame
from driftline.streams.quality import faults_of, quality

Floats = NDArray[np.float64]
FEATURES = 5
NAMES = tuple(f"x{i}" for i in range(FEATURES))
MODEL = Model("m", policy=Policy(min_coverage=0.05))
KINDS = ("none", "data fault", "covariate drift", "prior shift", "concept drift")


class Rows(NamedTuple):
    """What the model was given, what it said, what came true."""

    x: Floats  # shape (n, 5); NaN where missing
    score: Floats
    label: NDArray[np.int64]


class Scenario(NamedTuple):
    """The reference, a window after the change, and what changed in words."""

    reference: Rows
    window: Rows
    what: str


def logistic(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def scenario(kind: str, seed: int, n: int = 4_000, n_reference: int = 20_000) -> Scenario:
    """One seeded scenario of a kind of change, of a size worth telling."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    w, b = rng.normal(0, 1, FEATURES), rng.normal(-0.5, 0.7)
    w *= rng.uniform(1.2, 2.5) / np.linalg.norm(w)

    def rows(count: int, shift: Floats | float = 0.0, truth: tuple[Floats, float] = (w, b)) -> Rows:
        x = rng.normal(0, 1, (count, FEATURES)) + shift
        return Rows(x, logistic(x @ w + b), (rng.random(count) < logistic(x @ truth[0] + truth[1])).astype(np.int64))

    reference = rows(n_reference)
    if kind == "none":
        return Scenario(reference, rows(n), "nothing")
    if kind == "data fault":
        return _faulty(rng, reference, rows(n), w, b)
    if kind == "covariate drift":
        shift = rng.normal(0, 1, FEATURES) * (rng.random(FEATURES) < 0.6)
        shift[int(np.argmax(np.abs(w)))] += rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
        return Scenario(reference, rows(n, shift), f"the features' means move by {np.round(shift, 1).tolist()}")
    if kind == "prior shift":
        odds = float(np.exp(rng.choice([-1, 1]) * rng.uniform(0.7, 1.5)))
        many = rows(20 * n)
        keep = rng.random(20 * n) < np.where(many.label == 1, odds, 1.0) / max(odds, 1.0)
        taken = np.flatnonzero(keep)[:n]
        return Scenario(reference, Rows(many.x[taken], many.score[taken], many.label[taken]), f"positives come {odds:.2f} times as often")
    turned = w.copy()
    strong = np.argsort(-np.abs(w))[: rng.integers(1, 3)]
    turned[strong] *= rng.uniform(-1.0, 0.3)
    return Scenario(reference, rows(n, truth=(turned, b + rng.normal(0, 0.3))), f"features {strong.tolist()} mean something else")


def _faulty(rng: np.random.Generator, reference: Rows, rows: Rows, w: Floats, b: float) -> Scenario:
    """The world is as it was; what the model is given is not."""
    x, f = rows.x.copy(), int(np.argmax(np.abs(w)))
    what = str(rng.choice(["scale", "missing", "stuck", "offset"]))
    x[:, f] = {"scale": x[:, f] * 100, "missing": 0.0, "stuck": x[0, f], "offset": 1.8 * x[:, f] + 32.0}[what]
    score = logistic(np.clip(x @ w + b, -500, 500))
    if what == "missing":
        x[:, f] = np.nan
    return Scenario(reference, Rows(x, score, rows.label), f"feature {f}: {what}")


def histogram(rows: Rows) -> NDArray[np.int64]:
    """Rows by outcome and score, shape (2, 256), as a pane keeps them."""
    bins = np.minimum((rows.score * 256).astype(np.int64), 255)
    return np.bincount(rows.label * 256 + bins, minlength=512).reshape(2, 256)


def called(it: Scenario, *, unlabelled: float = 0.0) -> str:
    """What the stream calls the change: its checks of the data, its drift verdicts and its labels together."""
    before, after = (frame_of(rows) for rows in it[:2])
    layout = Layout(reference_from_frame(before, MODEL, "1", prediction="said", score="score", label="truth"))
    if unlabelled:
        after["truth"] = after["truth"].where(np.random.default_rng(0).random(len(after)) >= unlabelled)
    pane = empty_pane(layout)
    columns = {name: [None if missing else value for value, missing in zip(after[name], after[name].isna(), strict=True)] for name in NAMES}
    columns |= {PREDICTION: after["said"].tolist(), SCORE: after["score"].tolist()}
    pane.add_encoded(layout, layout.encode(columns, len(after)), np.arange(len(after)))
    fold_answers(pane, after["said"], after["score"], after["truth"], MODEL)
    window = Judged(WindowKey("m", "1", "", 0, MODEL.windows[0].length_ms), MODEL, layout, pane, 1, is_final=True)
    checks = quality(window)
    rows = drift(window, faults_of(checks))
    told = performance(window, drifted=any(row.verdict == "drift" for row in rows), fault=any(row.verdict == "fault" for row in checks))
    return told[0].change


def frame_of(rows: Rows) -> pd.DataFrame:
    """The rows as a table: features, answer, score, truth."""
    frame = pd.DataFrame(rows.x, columns=[*NAMES])
    return frame.assign(said=(rows.score > 0.5).astype(int), score=rows.score, truth=rows.label)


def table(counts: Mapping[tuple[str, str], int]) -> str:
    """A confusion matrix in words: what it was, what it was called."""
    named = sorted({name for _, name in counts})
    lines = [f"{'':<16}" + "".join(f"{name or 'unknown':>17}" for name in named)]
    lines += [f"{kind:<16}" + "".join(f"{counts.get((kind, name), 0):>17}" for name in named) for kind in KINDS]
    return "\n".join(lines)
