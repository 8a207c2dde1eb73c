"""What one window costs at evaluate: a thousand features against their reference, 2 000 rows.

    python benchmarks/judge.py [FEATURES]

Prints the median of CPU milliseconds per window over nine windows, with the reference new and known.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
import pandas as pd

from driftline.schemas.config import Model
from driftline.streams.drift import drift
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import faults_of, quality

ROWS = 2_000


def windows(layout: Layout, features: int) -> list[Pane]:
    """Nine windows like the reference."""
    rng, found = np.random.default_rng(1), []
    for _ in range(9):
        pane = empty_pane(layout)
        columns = {f"x{i}": rng.normal(size=ROWS).tolist() for i in range(features)}
        pane.add_encoded(layout, layout.encode(columns, ROWS), np.arange(ROWS))
        found.append(pane)
    return found


def main() -> None:
    features = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    rng, model = np.random.default_rng(0), Model("bench")
    frame = pd.DataFrame({f"x{i}": rng.normal(size=20_000) for i in range(features)})
    layout = Layout(reference_from_frame(frame, model, "1"))
    spent = []
    for pane in windows(layout, features):
        judged = Judged(WindowKey("bench", "1", "", 0, 3_600_000), model, layout, pane, revision=1, is_final=True)
        begin = time.process_time()
        checks = quality(judged)
        drift(judged, faults_of(checks))
        spent.append((time.process_time() - begin) * 1e3)
    print(f"{spent[0]:8.1f} ms the first window of a reference\n{median(spent[1:]):8.1f} ms a window of {features} features")


if __name__ == "__main__":
    main()
