"""How often the kind of a change is called what it is: seeded streams whose change is known, then Elec2 and weather.

    PYTHONPATH=scripts python benchmarks/causes.py [--seeds 40] [--data DIRECTORY]

Prints a confusion matrix for windows of two sizes, with all labels and with a third of them; then, for the data sets that are in the
directory (elec.csv, weather.csv), what each later part of the stream is called against the rows the model was not trained on.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import changes
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from driftline.streams.causes import typed

CASES = ((4_000, 0.0), (4_000, 0.66), (1_500, 0.0))
RECORDED = {"elec.csv": ("class", 12_000, 17_424, 3_000), "weather.csv": ("target", 5_000, 9_000, 1_500)}


def matrix(seeds: int, rows: int, unlabelled: float) -> float:
    """Prints a confusion matrix; returns the share that was right."""
    found: Counter[tuple[str, str]] = Counter()
    for kind in changes.KINDS:
        for seed in range(seeds):
            scenario = changes.scenario(kind, 1_000 + seed, n=rows)
            found[kind, changes.called(scenario, unlabelled=unlabelled)] += 1
    right = sum(count for (kind, called), count in found.items() if kind == called) / found.total()
    print(f"\n{rows:,} rows, {unlabelled:.0%} of them without a label: {right:.1%} right of {found.total()}\n{changes.table(found)}")
    return right


def recorded(file: Path, target: str, trained: int, held_out: int, step: int) -> None:
    """A model of the first rows; each later part against the held-out ones."""
    frame = pd.read_csv(file)
    x, y = frame.drop(columns=target), frame[target]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(x[:trained], y[:trained])

    def rows(part: slice) -> changes.Rows:
        return changes.Rows(x[part].to_numpy(float), model.predict_proba(x[part])[:, 1], y[part].to_numpy("int64"))

    before = rows(slice(trained, held_out))
    print(f"\n{file.stem}: trained on {trained:,} rows, held against the next {held_out - trained:,}")
    for begin in range(held_out, len(frame) - step + 1, step):
        now = rows(slice(begin, begin + step))
        said = typed(changes.histogram(before), changes.histogram(now))
        accuracy, expected = ((now.score > 0.5) == now.label).mean(), abs(now.score - 0.5).mean() + 0.5
        print(f"  rows {begin:>6,} on: {said.change:<16} ({said.margin:6.1f} nats surer); accuracy {accuracy:.3f}, expected {expected:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    asked = parser.parse_args()
    for rows, unlabelled in CASES:
        matrix(asked.seeds, rows, unlabelled)
    for name, settings in RECORDED.items():
        if (asked.data / name).exists():
            recorded(asked.data / name, *settings)
