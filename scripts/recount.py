"""The oracle of the tests: what the panes must hold, counted again from the raw events of a source partition.

Written as plainly as can be, and apart from the product's code: loops over all events, no state but lists.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftline.schemas.config import Model

NEVER = -(2**62)
Key = tuple[str, str, str, int]  # model, version, segment, start of the pane


@dataclass
class Recount:
    """One pane: predictions by event time with the labels they have in the end; losses by label time."""

    n: int = 0
    features: dict[str, Counter[Any]] = field(default_factory=lambda: defaultdict(Counter))
    predicted: Counter[str] = field(default_factory=Counter)  # by class
    said: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))  # by predicted class, then score × 256
    scored: dict[str, Counter[tuple[int, int]]] = field(default_factory=lambda: defaultdict(Counter))  # labelled: (came true, score)
    latencies: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[float] = field(default_factory=list)  # of a regression: prediction − label
    losses: list[float] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)  # of the scored: 1 or 0 for what came true, less the middle of the score's bin
    rivals: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))  # by version that answered before
    given: list[dict[str, Any]] = field(default_factory=list)  # of a model that is judged by its features together: those of each row

    def joint(self, known: dict[str, tuple[float, float]]) -> list[int]:
        """Rows, sums, and sums of products (upper triangle) of features in whole 256ths of a standard deviation, eight of which are most;
        `known` tells their means and standard deviations. What is no number counts as the mean."""
        rows = []
        for values in self.given:
            row = []
            for name, (mean, deviation) in known.items():
                value = values.get(name)
                z = (value - mean) / deviation if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
                row.append(round(256 * min(max(z, -8.0), 8.0)))
            rows.append(row)
        k = range(len(known))
        return [
            len(rows),
            *(sum(row[i] for row in rows) for i in k),
            *(sum(row[i] * row[j] for row in rows) for i in k for j in k if j >= i),
        ]


def recount(model: Model, predictions: Sequence[bytes | None], outcomes: Sequence[bytes | None]) -> dict[Key, Recount]:
    """Panes of one model from the values of one partition of each source topic, in offset order."""
    panes: dict[Key, Recount] = defaultdict(Recount)
    labels: dict[str, list[tuple[int, int, Any]]] = defaultdict(list)
    for offset, event in _on_time(model, outcomes):
        labels[event["id"]].append((event["ts"], offset, None if event.get("kind") == "retraction" else event.get("label")))
    accepted: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in _firsts(model, _on_time(model, predictions)):
        before, near = accepted[event["id"]], max(model.horizon_ms - model.disorder_ms - model.grace_ms, 0)
        rivals = [each for each in before if each["version"] != event["version"] and abs(each["ts"] - event["ts"]) <= near]
        before.append(event)
        pairs = [label for label in labels[event["id"]] if abs(label[0] - event["ts"]) <= model.horizon_ms]
        label = max(pairs)[2] if pairs else None
        for key in _keys(model, event, event["ts"]):
            pane = panes[key]
            pane.n += 1
            if model.multivariate and not key[2]:
                pane.given.append(event.get("features", {}))
            for name, value in {**event.get("features", {}), "(prediction)": event["prediction"], "(score)": event.get("score")}.items():
                pane.features[name][value] += 1
            _count_answer(pane, model, event, label)
            if label is not None and model.task == "regression":
                pane.errors.append(event["prediction"] - label)
            elif label is not None:
                pane.confusion[text(event["prediction"]), text(label)] += 1
        if label is not None:
            loss = _loss(model, event, label)
            for rival in rivals:
                tally, other = panes[_keys(model, event, min(pairs)[0])[0]].rivals[rival["version"]], _loss(model, rival, label)
                tally[:] = [tally[0] + 1, tally[1] + (loss < other), tally[2] + (loss > other)]
            for key in _keys(model, event, min(pairs)[0]):
                panes[key].losses.append(loss)
                if model.task != "regression" and (score := score_of(model, event)) is not None:
                    panes[key].residuals.append(_came_true(model, event, label) - (min(int(score * 256), 255) + 0.5) / 256)
    return dict(panes)


def _loss(model: Model, event: dict[str, Any], label: Any) -> float:
    return abs(event["prediction"] - label) if model.task == "regression" else float(text(event["prediction"]) != text(label))


def _count_answer(pane: Recount, model: Model, event: dict[str, Any], label: Any) -> None:
    pane.failures += bool(event.get("failed"))
    latency = event.get("latency_ms")
    if latency is not None and latency >= 0:
        pane.latencies[next((i for i in range(255) if latency < 2 ** (i / 8 - 7)), 255)] += 1
    if model.task == "regression":
        return
    name, score = text(event["prediction"]), score_of(model, event)
    pane.predicted[name] += 1
    if score is not None:
        apart = (model.positive,) if model.task == "binary" else model.classes[:64]
        group, place = name if name in apart else "", min(int(score * 256), 255)
        pane.said[group][place] += 1
        if label is not None:
            pane.scored[group][_came_true(model, event, label), place] += 1


def _came_true(model: Model, event: dict[str, Any], label: Any) -> int:
    return int(text(label) == (text(event["prediction"]) if model.task == "multiclass" else model.positive))


def score_of(model: Model, event: dict[str, Any]) -> float | None:
    """The chance of the positive class, or, of several classes, of the predicted one."""
    told = (event.get("scores") or {}).get(text(event["prediction"]) if model.task == "multiclass" else model.positive)
    score: float | None = event.get("score") if told is None else told
    return score


def orphans(model: Model, predictions: Sequence[bytes | None], outcomes: Sequence[bytes | None]) -> dict[int, int]:
    """Outcomes that no prediction pairs with, offset → event time."""
    times: dict[str, list[int]] = defaultdict(list)
    for event in _firsts(model, _on_time(model, predictions)):
        times[event["id"]].append(event["ts"])
    found = {}
    for offset, event in _on_time(model, outcomes):
        if all(abs(ts - event["ts"]) > model.horizon_ms for ts in times[event["id"]]):
            found[offset] = event["ts"]
    return found


def add(into: dict[Key, Recount], more: dict[Key, Recount]) -> None:
    """Merge the panes of another partition."""
    for key, pane in more.items():
        mine = into.setdefault(key, Recount())
        mine.n += pane.n
        mine.given += pane.given
        for name, values in pane.features.items():
            mine.features[name].update(values)
        mine.failures += pane.failures
        mine.predicted.update(pane.predicted)
        mine.latencies.update(pane.latencies)
        for group, bins in pane.said.items():
            mine.said[group].update(bins)
        for group, places in pane.scored.items():
            mine.scored[group].update(places)
        mine.confusion.update(pane.confusion)
        mine.errors += pane.errors
        mine.losses += pane.losses
        mine.residuals += pane.residuals
        for version, tally in pane.rivals.items():
            mine.rivals[version] = [a + b for a, b in zip(mine.rivals[version], tally, strict=True)]


def text(value: Any) -> str:
    """A class as driftline writes it: JSON's word for it, with 1 and 1.0 alike."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, int | float) and value == int(value) else str(value)


def _on_time(model: Model, values: Sequence[bytes | None]) -> list[tuple[int, dict[str, Any]]]:
    """Readable events of the model that are not too late, with their offsets; `newest` is the newest event time before each."""
    newest, rows = NEVER, []
    for offset, value in enumerate(values):
        try:
            event = json.loads(value or b"")
        except ValueError:
            continue
        if not isinstance(event, dict) or event.get("model") != model.model:
            continue
        if event["ts"] >= newest - model.disorder_ms - model.grace_ms:
            rows.append((offset, {**event, "newest": newest}))
        newest = max(newest, event["ts"])
    return rows


def _firsts(model: Model, events: Iterable[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The predictions that count: of one id and version the first, until it is a horizon behind."""
    firsts: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
    accepted = []
    for _, event in events:
        about = (event["id"], event["version"])
        known = firsts.get(about)
        if known and known[1] >= event["newest"] - model.horizon_ms:
            firsts[about] = (known[0], max(known[1], event["ts"]))
        else:
            firsts[about] = (event, event["ts"])
            accepted.append(event)
    return accepted


def _keys(model: Model, event: dict[str, Any], ts: int) -> list[Key]:
    told = {
        name: value if value in model.known_values.get(name, (value,)) else "(other)" for name, value in event.get("segments", {}).items()
    }
    names = [""]
    for name in model.segments:
        parts = name.split("+")
        if all(part in told for part in parts):
            written = [told[part].replace("\\", r"\\").replace("+", r"\+") for part in parts]
            names.append(f"{name}={'+'.join(written) if len(parts) > 1 else told[name]}")
    return [(model.model, event["version"], name, ts // model.pane_ms * model.pane_ms) for name in names]
