"""What features do together, of two tables: correlations, the directions they lie in, their joint distribution, and how well a model tells
the tables apart. None of it shows in any feature by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftline.streams.stats import CrossMoments, PcaReconstruction, RandomFeatures, correlation_change, domain_classifier, mmd

COLUMNS = ("test", "value", "p_value", "verdict", "most")
MAX_FEATURES = 64
MAX_ROWS = 20_000  # of a side, spread evenly over it, for the tests that need rows and not sums
BLOCKS = 20  # of the reference, for its own wavering
LEAST_ROWS = 500
TESTS = 4

Float64 = NDArray[np.float64]


def together(reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[str], level: float) -> pd.DataFrame:
    """The multivariate tests of two tables, a row a test.

    Parameters
    ----------
    reference, current
        Rows in order of time; missing values count as the reference's mean.
    features
        Numeric columns of both tables; the first 64 are looked at.
    level
        The chance of a false alarm that all tests together may take.

    Returns
    -------
    DataFrame
        `test`; `value`: the statistic of the correlation matrix's change, the relative rise of the PCA's reconstruction error, the MMD (0
        to root 2), the AUC of a classifier that is to tell the tables apart (0.5: it cannot); `p_value`; `verdict`: drift, ok or
        insufficient (fewer than two features, or 500 rows on a side); `most`: the pair, or the feature, that shows it most.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=2_000)
    >>> before = pd.DataFrame({"a": x, "b": x + rng.normal(size=2_000)})
    >>> after = pd.DataFrame({"a": x, "b": rng.permutation(before["b"])})  # each as it was, but no longer together
    >>> found = together(before, after, ["a", "b"], 0.01)
    >>> found["verdict"].tolist()
    ['drift', 'drift', 'drift', 'ok']
    >>> found["most"][0]
    'a, b'
    """
    names = list(features)[:MAX_FEATURES]
    before, after = (_numbers(table, names, reference) for table in (reference, current))
    if len(names) < 2 or min(len(before), len(after)) < LEAST_ROWS:
        tests = ("correlation_change", "pca_reconstruction", "mmd", "domain_classifier")
        return pd.DataFrame([(test, math.nan, math.nan, "insufficient", "") for test in tests], columns=list(COLUMNS))
    rows = [_correlations(before, after, names), _directions(before, after), _joint(before, after), _told_apart(before, after, names)]
    told = [(test, value, p, "drift" if p < level / TESTS else "ok", most) for test, value, p, most in rows]
    return pd.DataFrame(told, columns=list(COLUMNS))


def _numbers(table: pd.DataFrame, names: Sequence[str], reference: pd.DataFrame) -> Float64:
    """The features as floats, without gaps, in the reference's standard deviations."""
    columns = []
    for name in names:
        known = pd.to_numeric(reference[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        known = known[np.isfinite(known)]
        mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        columns.append((np.where(np.isfinite(values), values, mean) - mean) / (spread or 1.0))
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _sample(rows: Float64) -> Float64:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).astype(np.int64)]


def _correlations(before: Float64, after: Float64, names: Sequence[str]) -> tuple[str, float, float, str]:
    found = correlation_change(CrossMoments.of(before), CrossMoments.of(after))
    change = np.abs(np.triu(np.asarray(found.change), 1))
    first, second = np.unravel_index(int(np.nan_to_num(change).argmax()), change.shape)
    return "correlation_change", found.statistic, found.p_value, f"{names[int(first)]}, {names[int(second)]}"


def _directions(before: Float64, after: Float64) -> tuple[str, float, float, str]:
    known = PcaReconstruction.fit([CrossMoments.of(block) for block in np.array_split(before, BLOCKS)])
    found = known.test(CrossMoments.of(after))
    return "pca_reconstruction", found.effect, found.p_value, ""


def _joint(before: Float64, after: Float64) -> tuple[str, float, float, str]:
    features = RandomFeatures((0.0,) * before.shape[1], (1.0,) * before.shape[1])
    found = mmd(CrossMoments.of(features(_sample(before))), CrossMoments.of(features(_sample(after))))
    return "mmd", found.effect, found.p_value, ""


def _told_apart(before: Float64, after: Float64, names: Sequence[str]) -> tuple[str, float, float, str]:
    found = domain_classifier(_sample(before), _sample(after))
    return "domain_classifier", found.value, found.p_value, names[int(np.nan_to_num(found.importance).argmax())]
