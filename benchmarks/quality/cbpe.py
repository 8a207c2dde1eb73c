"""What NannyML estimates without labels, chunk by chunk (CBPE): run in its own environment.

    python cbpe.py FOLDER

Writes the data sets that NannyML ships into FOLDER as Parquet, `NAME-reference` and `NAME-analysis`, with the columns said, label and score
(of several classes: `score CLASS`), then reads all pairs that lie there and writes `cbpe.json`: {data set: {metric: [by chunk]}}.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

CHUNKS = 10
METRICS = ["roc_auc", "accuracy", "f1", "precision", "recall", "specificity"]
#: Columns of the answer, the probability (of several classes: by class) and the label in the analysis.
SHIPPED: dict[str, tuple[str, str, Any, str]] = {
    "synthetic": ("load_synthetic_binary_classification_dataset", "y_pred", "y_pred_proba", "work_home_actual"),
    "car loan": ("load_synthetic_car_loan_dataset", "y_pred", "y_pred_proba", "repaid"),
    "US census MA": ("load_us_census_ma_employment_data", "prediction", "predicted_probability", "employed"),
    "credit cards": (
        "load_synthetic_multiclass_classification_dataset", "y_pred",
        {name: f"y_pred_proba_{name}" for name in ("prepaid_card", "highstreet_card", "upmarket_card")}, "y_true",
    ),
}  # fmt: skip


def answers(table: pd.DataFrame, said: str, score: Any, label: str) -> pd.DataFrame:
    scores = {f"score {name}": table[column] for name, column in score.items()} if isinstance(score, dict) else {"score": table[score]}
    return pd.DataFrame({"said": table[said], "label": table[label], **scores}).reset_index(drop=True)


def shipped(folder: Path) -> None:
    import nannyml

    for name, (load, said, score, label) in SHIPPED.items():
        reference, analysis, target = getattr(nannyml, load)()
        analysis = analysis.join(target.set_index("id")[label], on="id") if "id" in analysis else analysis.join(target[label])
        answers(reference, said, score, label).to_parquet(folder / f"{name}-reference.parquet")
        answers(analysis, said, score, label).to_parquet(folder / f"{name}-analysis.parquet")


def estimated(reference: pd.DataFrame, analysis: pd.DataFrame) -> dict[str, list[float]]:
    import nannyml

    classes = {column.partition(" ")[2]: column for column in map(str, reference) if column.startswith("score ")}
    cbpe = nannyml.CBPE(
        y_pred_proba=classes or "score", y_pred="said", y_true="label", metrics=METRICS, chunk_number=CHUNKS,
        problem_type="classification_multiclass" if classes else "classification_binary",
    )  # fmt: skip
    told = cbpe.fit(reference).estimate(analysis.drop(columns="label")).filter(period="analysis").to_df()
    # Rows that are left over make one chunk more.
    return {metric: told[metric, "value"].tolist()[:CHUNKS] for metric in METRICS}


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    shipped(folder)
    found = {}
    for path in sorted(folder.glob("*-reference.parquet")):
        name = path.stem.removesuffix("-reference")
        found[name] = estimated(pd.read_parquet(path), pd.read_parquet(folder / f"{name}-analysis.parquet"))
        print(f"· nannyml {name}", file=sys.stderr, flush=True)
    (folder / "cbpe.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
