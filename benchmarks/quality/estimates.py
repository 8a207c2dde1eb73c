"""`make bench-quality`, part three: performance estimated without labels, ours beside NannyML's, and both beside what came true.

On the data sets that NannyML ships and, where they are there, on two recorded streams. Each is cut into ten chunks. Writes the table in
`docs/quality/estimates.md`, and with `--record` what `tests/streams/test_cbpe.py` is held to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics as sk
from cbpe import CHUNKS, METRICS
from detectors import RECORDED, ROOT
from environments import PEERS, python_of
from sklearn.ensemble import HistGradientBoostingClassifier

from driftline.schemas.config import Model
from driftline.streams.chances import said
from driftline.streams.estimates import Expectation, estimates
from driftline.streams.layout import Layout
from driftline.streams.panes import empty_pane
from driftline.streams.profile import fold_answers, reference_from_frame

OURS = {"roc_auc": "auc"}
Figures = dict[str, list[float]]


def recorded(folder: Path, data: Path) -> None:
    """A model of the first third of each recorded stream, held against the next third and the last."""
    for name, (file, target) in RECORDED.items():
        if not (data / file).exists():
            continue
        table = pd.read_csv(data / file)
        x, y = table.drop(columns=target).to_numpy(np.float64), pd.factorize(table[target], sort=True)[0]
        third = len(y) // 3
        model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(x[:third], y[:third])
        score = model.predict_proba(x)[:, 1]
        told = pd.DataFrame({"said": (score >= 0.5).astype(int), "label": y, "score": score})
        told[third : 2 * third].reset_index(drop=True).to_parquet(folder / f"{name}-reference.parquet")
        told[2 * third :].reset_index(drop=True).to_parquet(folder / f"{name}-analysis.parquet")


def columns_of(table: pd.DataFrame) -> dict[str, str]:
    return {column.partition(" ")[2]: column for column in map(str, table) if column.startswith("score ")}


def model_of(table: pd.DataFrame) -> Model:
    classes = tuple(columns_of(table))
    return Model("bench", task="multiclass", classes=classes, metrics=("all",)) if classes else Model("bench", metrics=("accuracy",))


def realised(chunk: pd.DataFrame) -> dict[str, float]:
    y, said, scores = chunk["label"], chunk["said"], columns_of(chunk)
    average: dict[str, Any] = {"average": "macro"} if scores else {}
    if scores:
        classes = sorted(scores)
        area = sk.roc_auc_score(y, chunk[[scores[name] for name in classes]], multi_class="ovr", labels=classes)
        specificity = np.mean([sk.recall_score(y != name, said != name) for name in classes])
    else:
        area, specificity = sk.roc_auc_score(y, chunk["score"]), sk.recall_score(y, said, pos_label=0)
    return {
        "roc_auc": area, "accuracy": sk.accuracy_score(y, said), "f1": sk.f1_score(y, said, **average),
        "precision": sk.precision_score(y, said, **average), "recall": sk.recall_score(y, said, **average), "specificity": specificity,
    }  # fmt: skip


def ours(reference: pd.DataFrame, chunks: list[pd.DataFrame]) -> tuple[Figures, dict[str, Any]]:
    """Our estimates by chunk; and, of two classes, what they are made of, for the record."""
    model, scores = model_of(reference), columns_of(reference)
    score = None if scores else "score"
    made = reference_from_frame(
        reference[["said", "label", *(scores.values() or ["score"])]], model, "1", prediction="said", score=score, scores=scores,
        label="label", ordered=False,
    )  # fmt: skip
    layout, found, counted = Layout(made), {name: list[float]() for name in METRICS}, list[dict[str, list[int]]]()
    for chunk in chunks:
        pane = empty_pane(layout)
        pane.n = len(chunk)
        answer, score_of = answered(chunk)
        fold_answers(pane, answer, score_of, pd.Series(np.nan, chunk.index), model)
        told = estimates(Expectation(model, made.performance), pane, layout)
        for name in METRICS:
            own = OURS.get(name, name)
            found[name].append(told[f"{own}_macro" if scores and name != "accuracy" else own].value)
        counted.append({group: counts.tolist() for group, counts in pane.answers.said.items()})
    return found, {"scored": made.performance.scored, "said": counted}


def answered(table: pd.DataFrame) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """What the stream has of each row: the answer, of several classes with the probability of each, and the score of the answer."""
    scores = columns_of(table)
    if not scores:
        return table["said"], table["score"]
    rows = table[[*scores.values()]].to_numpy()
    told = [dict(zip(scores, row, strict=True)) for row in rows.tolist()]
    answer = [said(name, each) for name, each in zip(table["said"], told, strict=True)]
    return pd.Series(answer, table.index), pd.Series([each[name] for name, each in zip(table["said"], told, strict=True)], table.index)


def compared(name: str, folder: Path, theirs: Figures) -> tuple[list[str], dict[str, Any] | None]:
    """Lines of the table, and what the test is held to, of two classes."""
    reference, analysis = (pd.read_parquet(folder / f"{name}-{period}.parquet") for period in ("reference", "analysis"))
    edges = np.arange(CHUNKS + 1) * (len(analysis) // CHUNKS)
    chunks = [analysis[first:last] for first, last in pairwise(edges.tolist())]
    mine, made_of = ours(reference, chunks)
    truth = [realised(chunk) for chunk in chunks]
    lines, record = [], {}
    for metric in METRICS:
        true, nannyml, driftline = (np.array(each) for each in ([each[metric] for each in truth], theirs[metric], mine[metric]))
        record[metric] = {"realised": true.round(6).tolist(), "nannyml": nannyml.round(6).tolist()}
        apart = [np.abs(driftline - true).mean(), np.abs(nannyml - true).mean(), np.abs(driftline - nannyml).max()]
        cells = [f"{true.min():.3f} to {true.max():.3f}", *(f"{each:.4f}" for each in apart)]
        lines.append(f"| {name} | {metric} | {' | '.join(cells)} |")
    return lines, None if columns_of(reference) else {"metrics": record, **made_of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT / ".cache" / "data", help="where elec.csv and weather.csv are, if anywhere")
    parser.add_argument("--keep", type=Path, default=ROOT / ".cache" / "quality" / "cbpe", help="where the data sets and answers are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality" / "estimates.md")
    parser.add_argument("--record", type=Path, help="where to write what the test is held to")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    recorded(options.keep, options.data)
    if not (options.keep / "cbpe.json").exists():
        subprocess.run([str(python_of("nannyml")), str(Path(__file__).with_name("cbpe.py")), str(options.keep)], check=True)
    theirs: dict[str, Figures] = json.loads((options.keep / "cbpe.json").read_text())
    lines, record = [], {}
    for name, figures in theirs.items():
        rows, made_of = compared(name, options.keep, figures)
        lines += rows
        if made_of and name not in RECORDED:
            record[name] = made_of
    if options.record:
        options.record.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    text = TEXT.format(library=PEERS["nannyml"][0], chunks=CHUNKS, table="\n".join(lines))
    options.output.write_text(text)
    print(text)


TEXT = """# Performance without labels, beside NannyML's and what came true

Written by `make bench-quality`: our CBPE, from the score histograms of panes, beside that of {library}, from the rows
themselves, on the data sets that it ships and on two recorded streams (a model of the first third, the second third as the
reference, the last one without labels). {chunks} chunks each. *Realised*: the metric by the labels, lowest and highest chunk; the
next two columns say how far the estimates are from it, on average over the chunks; the last how far the two are from each other
at most. Of several classes (credit cards) the metrics are macro averages. Where both are off alike (Elec2, weather, credit cards)
the concept has changed: no estimate without labels can be right there, and the `gap`
of [metrics](../metrics.md) is for that. NannyML leaves scores uncalibrated where calibration does not help on a part of the reference.

| data set | metric | realised | ours off by | NannyML off by | apart at most |
| --- | --- | ---: | ---: | ---: | ---: |
{table}
"""


if __name__ == "__main__":
    main()
