"""The demo's story: customers of a telephone company, a model that says who will leave, and a world that changes under it.

Pure and seeded: the same arguments give the same events, byte for byte. Event time starts at a fixed instant for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.schemas.config import HOUR_MS, MINUTE_MS, Model, Policy, Window

Scenario = Literal["none", "covariate", "concept", "fault", "full"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)

START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z
LENGTH_MS = 10 * HOUR_MS
WINDOW_MS = 30 * MINUTE_MS
TRAINING_ROWS = 20_000
DISORDER_MS = 5_000
BLOCK = 4_096  # events made at a time

CHURN = Model(
    "churn",
    task="binary",
    features={
        "tenure": "numeric", "monthly_charge": "numeric", "support_calls": "numeric", "usage": "numeric", "income": "numeric",
        "plan": "categorical", "channel": "categorical",
    },
    segments=("region",),
    windows=(Window(WINDOW_MS, WINDOW_MS),),
    pane_ms=5 * MINUTE_MS,
    grace_ms=4 * HOUR_MS,
    max_wait_ms=1_000,
    # One in ten labels never comes. A window is judged again with every label, so it waits for nearly all, and is judged strictly.
    policy=Policy(significance=0.0005, min_coverage=0.85),
)  # fmt: skip
VERSION = "1"

PLANS, CHANNELS, REGIONS = np.array(["basic", "pro", "business"]), np.array(["web", "phone", "partner", "store"]), np.array(["eu", "us"])

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Phase(NamedTuple):
    """A part of the story, from `start_ms` of event time on."""

    name: Literal["calm", "covariate", "concept", "fault"]
    start_ms: int
    text: str


class Event(NamedTuple):
    """One event. `fields` are the arguments of `Publisher.predicted` or `Publisher.outcome`."""

    topic: Literal["predictions", "outcomes"]
    id: str
    ts: int
    fields: dict[str, Any]

    @property
    def key(self) -> bytes:
        return self.id.encode()

    @property
    def value(self) -> bytes:
        """The event as the JSON that services send."""
        version = {"version": VERSION} if self.topic == "predictions" else {}
        return msgspec.json.encode({"id": self.id, "model": CHURN.model, **version, "ts": self.ts, **self.fields})


@dataclass(frozen=True)
class Story:
    """A story ready to be told.

    Attributes
    ----------
    training
        What the model was trained on: its features, `prediction`, `score`, `label` (0 or 1); 20 000 rows.
    phases
        In order; the first begins at `START_MS`.
    predictions, outcomes
        How many events of each there will be. One prediction in ten never gets its label.
    """

    name: str
    training: pa.Table
    phases: tuple[Phase, ...]
    rows: Columns
    ts: NDArray[np.int64]
    label_ts: NDArray[np.int64]  # 0: never
    arrival: NDArray[np.int64]  # int64, shape (predictions + outcomes,): 2 × row, + 1 for its outcome, in the order of publication
    model: Model = CHURN
    version: str = VERSION

    @property
    def predictions(self) -> int:
        return len(self.ts)

    @property
    def outcomes(self) -> int:
        return len(self.arrival) - len(self.ts)

    def phase_at(self, ts: int) -> Phase:
        """The phase in force at event time `ts`."""
        return [phase for phase in self.phases if phase.start_ms <= ts or phase is self.phases[0]][-1]

    def events(self) -> Iterator[Event]:
        """Every event in the order of publication: by event time, with a disorder of at most 5 seconds."""
        for begin in range(0, len(self.arrival), BLOCK):
            codes = self.arrival[begin : begin + BLOCK]
            row = codes >> 1
            columns = {name: column[row].tolist() for name, column in self.rows.items()}
            columns["income"] = [None if isnan(value) else value for value in columns["income"]]
            is_outcome = (codes & 1).tolist()
            times = np.where(codes & 1, self.label_ts[row], self.ts[row]).tolist()
            for i, (number, outcome, ts) in enumerate(zip(row.tolist(), is_outcome, times, strict=True)):
                id = f"{self.name}-{number:07d}"
                yield _outcome(id, ts, columns, i) if outcome else _prediction(id, ts, columns, i)


def _prediction(id: str, ts: int, columns: dict[str, list[Any]], i: int) -> Event:
    features = {name: columns[name][i] for name in CHURN.features}
    fields = {"prediction": columns["prediction"][i], "score": columns["score"][i], "segments": {"region": columns["region"][i]}}
    return Event("predictions", id, ts, {"features": features, **fields})


def _outcome(id: str, ts: int, columns: dict[str, list[Any]], i: int) -> Event:
    return Event("outcomes", id, ts, {"label": columns["label"][i]})


def story(seed: int = 7, scenario: str = "full", events: int = 40_000) -> Story:
    """The story of `events` predictions over ten hours of event time, in windows of thirty minutes.

    >>> first = next(story(7, "none", 1_000).events())
    >>> first.topic, first.ts - START_MS < 60_000, sorted(first.fields)
    ('predictions', True, ['features', 'prediction', 'score', 'segments'])
    """
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    training = _customers(rng, TRAINING_ROWS)
    training["label"] = _labels(rng, training, np.zeros(TRAINING_ROWS, bool))
    weights = _fit(_design(training), training["label"])

    ts = np.sort(rng.integers(START_MS, START_MS + LENGTH_MS, events))
    rows = _customers(rng, events)
    phases = _phases(scenario)
    start = {phase.name: phase.start_ms for phase in phases}
    never = START_MS + LENGTH_MS
    _shift(rng, rows, (ts >= start.get("covariate", never)) & (rows["region"] == "us"))
    rows["label"] = _labels(rng, rows, ts >= start.get("concept", never))
    _break(rng, rows, ts >= start.get("fault", never))
    for table in (training, rows):
        _score(table, weights)
    label_ts = _label_times(rng, ts)
    return Story(f"{scenario}-{seed}", _table(training), phases, rows, ts, label_ts, _arrival(rng, ts, label_ts))


def _phases(scenario: str) -> tuple[Phase, ...]:
    def phase(name: Literal["calm", "covariate", "concept", "fault"], share: float, text: str) -> Phase:
        return Phase(name, START_MS + round(share * LENGTH_MS), text)

    full = scenario == "full"
    known = {
        "covariate": phase("covariate", 0.1 if full else 0.3, "customers in the US change: higher charges, more usage, more basic plans"),
        "concept": phase("concept", 0.5 if full else 0.3, "a competitor appears: the loyal leave now, and support calls mean little"),
        "fault": phase("fault", 0.3, "a release breaks the inputs: usage arrives in MB instead of GB, half of the incomes are gone"),
    }
    chosen = ("covariate", "concept") if full else () if scenario == "none" else (scenario,)
    return (phase("calm", 0.0, "the world is as it was in training"), *(known[name] for name in chosen))


def _customers(rng: np.random.Generator, n: int) -> Columns:
    income = rng.lognormal(10.4, 0.4, n).round()
    income[rng.random(n) < 0.12] = np.nan
    return {
        "tenure": np.ceil(rng.gamma(2.0, 14.0, n)).astype(np.int64),
        "monthly_charge": (20 + rng.gamma(4.0, 9.0, n)).round(2),
        "support_calls": rng.poisson(1.1, n),
        "usage": rng.lognormal(3.2, 0.5, n).round(1),
        "income": income,
        "plan": rng.choice(PLANS, n, p=(0.5, 0.35, 0.15)),
        "channel": rng.choice(CHANNELS, n, p=(0.55, 0.2, 0.15, 0.1)),
        "region": rng.choice(REGIONS, n, p=(0.6, 0.4)),
    }


def _shift(rng: np.random.Generator, rows: Columns, where: Mask) -> None:
    """Covariate drift: other customers, the same rule of who leaves."""
    n = int(where.sum())
    rows["monthly_charge"][where] = (rows["monthly_charge"][where] * 1.2 + rng.normal(4, 2, n)).round(2)
    rows["usage"][where] = (rows["usage"][where] * 1.45).round(1)
    rows["plan"][where] = rng.choice(PLANS, n, p=(0.75, 0.2, 0.05))


def _break(rng: np.random.Generator, rows: Columns, where: Mask) -> None:
    """A data fault: the customers are the same, what is sent about them is not."""
    rows["usage"][where] *= 1000
    rows["income"][where & (rng.random(len(where)) < 0.5)] = np.nan


def _logit(rows: Columns, changed: Mask) -> Floats:
    """The log-odds of leaving, in the old world and, where `changed`, in the new one."""
    tenure = np.minimum(rows["tenure"], 90) / 28 - 1
    charge, calls, usage = rows["monthly_charge"] / 18 - 3.1, rows["support_calls"] - 1.1, rows["usage"] / 14 - 2
    income = np.nan_to_num(rows["income"] / 13_000 - 2.7)
    choice = np.select([rows["plan"] == "basic", rows["plan"] == "business"], [0.3, -0.8], 0.0) + 0.5 * (rows["channel"] == "phone")
    steady = 0.9 * charge - 0.35 * income + choice
    return np.asarray(np.where(changed, steady + 0.7 * tenure + 0.3 * calls, steady - 1.3 * tenure + 1.1 * calls) - 0.3 * usage - 1.3)


def _labels(rng: np.random.Generator, rows: Columns, changed: Mask) -> NDArray[np.int64]:
    return (rng.random(len(changed)) < _sigmoid(_logit(rows, changed))).astype(np.int64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


def _design(rows: Columns) -> Floats:
    """The model's inputs, shape (n, 11), roughly of unit size."""
    missing = np.isnan(rows["income"])
    columns = [
        np.ones(len(missing)), np.minimum(rows["tenure"], 90) / 28, rows["monthly_charge"] / 18, rows["support_calls"],
        np.minimum(rows["usage"], 150) / 14, np.where(missing, 0, rows["income"] / 13_000), missing,
        rows["plan"] == "basic", rows["plan"] == "business", rows["channel"] == "phone", rows["channel"] == "partner",
    ]  # fmt: skip
    return np.column_stack(columns).astype(np.float64)


def _fit(x: Floats, y: NDArray[Any]) -> Floats:
    """Logistic regression by Newton's method: the maximum of the likelihood, so its scores are calibrated."""
    weights = np.zeros(x.shape[1])
    for _ in range(8):
        p = _sigmoid(x @ weights)
        weights += np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, x.T @ (y - p))
    return weights


def _score(rows: Columns, weights: Floats) -> None:
    rows["score"] = _sigmoid(_design(rows) @ weights).round(4)
    rows["prediction"] = (rows["score"] >= 0.5).astype(np.int64)


def _label_times(rng: np.random.Generator, ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A label comes after minutes to hours, half of them within fifteen minutes; one in ten never comes."""
    delay = np.clip(rng.lognormal(np.log(15 * MINUTE_MS), 0.8, len(ts)), MINUTE_MS, 3 * HOUR_MS)
    return np.where(rng.random(len(ts)) < 0.1, 0, ts + delay.astype(np.int64))


def _arrival(rng: np.random.Generator, ts: NDArray[np.int64], label_ts: NDArray[np.int64]) -> NDArray[np.int64]:
    codes = np.concatenate([2 * np.arange(len(ts)), 2 * np.flatnonzero(label_ts) + 1])
    seen = np.concatenate([ts, label_ts[label_ts > 0]]) + rng.integers(0, DISORDER_MS, len(codes))
    return np.asarray(codes[np.argsort(seen, kind="stable")])


def _table(rows: Columns) -> pa.Table:
    names = [*CHURN.features, "prediction", "score", "label"]
    return pa.table({name: pa.array(rows[name], from_pandas=True) for name in names})
