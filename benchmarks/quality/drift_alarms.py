"""What one library says of every feature and window of one stream in `shifts`: run in the library's own environment.

    python drift_alarms.py scipy|evidently|nannyml|whylogs SEED CELL ALARMS.npz

Writes two arrays, `scores/` and `flags/`, shape (windows, features), and for each kind of change the same of its features alone,
`scores/KIND` and `flags/KIND`: the library's default test, its figure (larger: more drift) and its verdict.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shifts
from numpy.typing import NDArray

Said = tuple[NDArray[np.float64], NDArray[np.bool_]]
#: From the reference and the windows, as tables of the same columns, to scores and flags of shape (windows, columns).
Judge = Callable[[pd.DataFrame, Sequence[pd.DataFrame]], Said]


def scipy(reference: pd.DataFrame, windows: Sequence[pd.DataFrame]) -> Said:
    """Kolmogorov-Smirnov for numbers, chi-square of the table for categories; flagged at p < 0.05, each for itself."""
    from scipy.stats import chi2_contingency, ks_2samp

    p = np.empty((len(windows), reference.shape[1]))
    for column, name in enumerate(reference):
        before = reference[name].to_numpy()
        for w, window in enumerate(windows):
            now = window[name].to_numpy()
            if before.dtype == object:
                counts = [[(side == category).sum() for category in shifts.CATEGORIES] for side in (before, now)]
                p[w, column] = chi2_contingency(np.array(counts))[1]
            else:
                p[w, column] = ks_2samp(before, now, method="asymp").pvalue
    return -p, p < 0.05


def evidently(reference: pd.DataFrame, windows: Sequence[pd.DataFrame]) -> Said:
    """The test that Evidently chooses by itself, at its own threshold."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    scores, flags = np.empty((2, len(windows), reference.shape[1]))
    for column, name in enumerate(reference):
        before = reference[name]
        kind = ColumnType.Categorical if before.dtype == object else ColumnType.Numerical
        for w, window in enumerate(windows):
            test = get_stattest(before, window[name], kind, None)
            said = test(before, window[name], kind, None)
            # A p-value is small where there is drift, a distance is large.
            scores[w, column] = -said.drift_score if "p_value" in test.display_name else said.drift_score
            flags[w, column] = said.drifted
    return scores, flags.astype(bool)


def nannyml(reference: pd.DataFrame, windows: Sequence[pd.DataFrame]) -> Said:
    """Jensen-Shannon distance outside three standard deviations of the reference's own chunks, of the windows' size."""
    import nannyml

    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference), chunk_size=len(windows[0]))
    calculator.fit(reference)
    told = calculator.calculate(pd.concat(windows, ignore_index=True)).filter(period="analysis").to_df()
    scores, flags = np.empty((2, len(windows), reference.shape[1]))
    for column, name in enumerate(reference):
        scores[:, column] = told[name, "jensen_shannon", "value"].to_numpy()
        flags[:, column] = told[name, "jensen_shannon", "alert"].to_numpy()
    return scores, flags.astype(bool)


def whylogs(reference: pd.DataFrame, windows: Sequence[pd.DataFrame]) -> Said:
    """Its drift scores between profiles, in the category DRIFT."""
    import whylogs
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    before = whylogs.log(reference).view()
    scores, flags = np.full((2, len(windows), reference.shape[1]), np.nan)
    for w, window in enumerate(windows):
        told: dict[str, Any] = calculate_drift_scores(target_view=whylogs.log(window).view(), reference_view=before, with_thresholds=True)
        for column, name in enumerate(map(str, reference)):
            if told.get(name):
                scores[w, column] = -told[name]["pvalue"]
                flags[w, column] = told[name]["drift_category"] == "DRIFT"
    return scores, flags == 1


LIBRARIES: dict[str, Judge] = {"scipy": scipy, "evidently": evidently, "nannyml": nannyml, "whylogs": whylogs}


def main(library: str, seed: int, stream: str, target: str) -> None:
    warnings.simplefilter("ignore")
    judge, looked_at = LIBRARIES[library], range(shifts.LOOKED_AT.get(library, shifts.FEATURES))
    cell = next(cell for cell in shifts.CELLS if cell.name == stream)
    first, *rest = shifts.latent(cell, seed)
    reference = shifts.frame(shifts.values(first[:, : len(looked_at)], looked_at), looked_at)
    quiet = [shifts.frame(shifts.values(z[:, : len(looked_at)], looked_at), looked_at) for z in rest[: shifts.WINDOWS]]
    told = {"": judge(reference, quiet)}
    for name, kind in shifts.KINDS.items() if cell in shifts.CHANGED_CELLS else ():
        part = reference.iloc[:, list(kind.features)]
        told[name] = judge(part, [shifts.frame(shifts.changed(z, kind), kind.features) for z in rest[: shifts.windows_of(name)]])
    said: dict[str, Any] = {}
    for name, (scores, flags) in told.items():
        said[f"scores/{name}"], said[f"flags/{name}"] = scores, flags
    np.savez_compressed(target, **said)
    print(f"· {library} {cell.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
