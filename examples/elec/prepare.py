"""Train a classifier on the first weeks of the Elec2 data and write what it says about all the weeks after.

    python prepare.py elec.csv elec.parquet

The table has the features, the row's number in the CSV file, the model's answer and score, and the true class.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

TRAINING_ROWS = 20 * 7 * 48  # twenty weeks of half-hours
FEATURES = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]


def prepare(source: Path, target: Path) -> None:
    """Write the rows after the training rows, with predictions, as Parquet."""
    rows = pd.read_csv(source)
    training, rest = rows[:TRAINING_ROWS], rows[TRAINING_ROWS:].copy()
    model = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(training[FEATURES], training["class"])
    rest["score"] = model.predict_proba(rest[FEATURES])[:, 1]
    rest["prediction"] = (rest["score"] >= 0.5).astype(int)
    rest.insert(0, "row", rest.index)
    rest.to_parquet(target, index=False)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))
