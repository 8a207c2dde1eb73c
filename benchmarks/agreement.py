"""Whether the figures in the store are those that SciPy finds on the raw values, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import workload
from rig import Failed, Site, rows
from scipy import stats
from workload import START_MS, STEP_MS, Shape

LEVEL = 0.001  # at which two p-values are held against each other: do both reject, or neither?


class Pair(NamedTuple):
    """One figure of the store, and SciPy's."""

    test: str
    ours: float
    scipy: float
    our_p: float | None
    scipy_p: float | None
    deviation: float  # the reference's standard deviation, of numbers


def agreement(site: Site, shape: Shape, windows: int) -> dict[str, Any]:
    """Compare KS, chi-square and Wasserstein of evenly spread windows; by test the differences and how often the verdicts differ."""
    training = workload.training(shape)
    sql = "SELECT toUnixTimestamp64Milli(window_start) AS start, feature, test, value, p_value FROM drift_results FINAL"
    found = rows(site, f"{sql} WHERE segment = '' AND n > 0 AND value IS NOT NULL ORDER BY start, feature, test")
    by_window = {start: list(group) for start, group in groupby(found, key=lambda row: row["start"])}
    if len(by_window) < windows:
        raise Failed(f"the store has {len(by_window)} final windows, {windows} are to be compared")
    chosen = sorted(by_window)[:: len(by_window) // windows][:windows]
    pairs = [pair for start in chosen for pair in _pairs(shape, training, start, by_window[start])]
    return {
        "windows": windows,
        "level": LEVEL,
        **{name: _summary([p for p in pairs if p.test == name]) for name in {p.test for p in pairs}},
    }


def _pairs(shape: Shape, training: pd.DataFrame, start: int, found: list[dict[str, Any]]) -> Iterator[Pair]:
    block = (start - START_MS) // STEP_MS // shape.block
    window = pd.concat([workload.block(shape, block + k).frame() for k in range(shape.window // shape.block)])
    for row in found:
        name, test = row["feature"], row["test"]
        if name not in shape.names:
            continue
        if (told := _scipy(test, name, training[name].dropna(), window[name].dropna())) is not None:
            yield Pair(test, row["value"], *told[:1], row["p_value"], told[1], training[name].std() if name.startswith("num") else 1.0)


def _scipy(test: str, name: str, reference: pd.Series[Any], current: pd.Series[Any]) -> tuple[float, float | None] | None:
    """The statistic and p-value on raw values; None for a test that has no counterpart."""
    numeric = name.startswith("num")
    if test == "ks" and numeric:
        found = stats.ks_2samp(current, reference, method="asymp")
        return float(found.statistic), float(found.pvalue)
    if test == "wasserstein" and numeric:
        return float(stats.wasserstein_distance(current, reference)), None
    if test == "chi_square" and not numeric:
        table = pd.concat([reference.value_counts(), current.value_counts()], axis=1).fillna(0).to_numpy().T
        tested = stats.chi2_contingency(table, correction=False)
        return float(tested.statistic), float(tested.pvalue)
    return None


def _summary(pairs: list[Pair]) -> dict[str, float | int]:
    ours, scipy = np.array([p.ours for p in pairs]), np.array([p.scipy for p in pairs])
    tested = [p for p in pairs if p.our_p is not None and p.scipy_p is not None]
    differ = sum((p.our_p < LEVEL) != (p.scipy_p < LEVEL) for p in tested)  # type: ignore[operator]
    return {
        "compared": len(pairs),
        "largest_difference": float(np.abs(ours - scipy).max()),
        "largest_difference_in_deviations": float((np.abs(ours - scipy) / np.array([p.deviation for p in pairs])).max()),
        "largest_relative_difference": float((np.abs(ours - scipy) / np.maximum(np.abs(scipy), 1e-12)).max()),
        "verdicts_that_differ": differ,
    }
