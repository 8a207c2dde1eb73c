"""Tables of a thousand features that stand still, and the same with ten features changed in one way: seeded, the same everywhere.

Needs NumPy, SciPy and pandas only: it runs in the environment of every library that is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

Floats = NDArray[np.float64]

FEATURES = 1_000
LOOKED_AT = {"evidently": 250, "nannyml": 250, "whylogs": 250}  # of the features, by libraries that take long; all by the others
REFERENCE_ROWS = 10_000
CHANGED = 10  # features of each kind
WINDOWS, LONG = 10, 20  # of each stream; and of a change that takes long to show
LASTING = "small, lasting"
SHARES = np.cumsum([0.4, 0.3, 0.15, 0.1, 0.04])  # of six categories
CATEGORIES = np.array(["a", "b", "c", "d", "e", "f"], dtype=object)


class Cell(NamedTuple):
    """A stream: rows in a window, and how much of a row's value is in the next one (an AR(1) process, 0: rows are independent)."""

    rows: int
    memory: float

    @property
    def name(self) -> str:
        return f"{self.rows}/{self.memory:g}"


#: Where false alarms are counted; and where changes are looked for.
CELLS = (Cell(500, 0.0), Cell(500, 0.5), Cell(2_000, 0.5))
CHANGED_CELLS = (Cell(500, 0.0),)


class Kind(NamedTuple):
    """A way to change: what it does to the standard normal value behind a feature, or to the feature itself, and to which features."""

    what: str
    latent: Callable[[Floats], Floats]
    value: Callable[[Floats], Floats]
    features: range


def _same(z: Floats) -> Floats:
    return z


def _two_humps(z: Floats) -> Floats:
    """Mean 0 and variance 1 as before, less often near 0."""
    return np.asarray((z + 0.5 * np.sign(z)) / np.sqrt(1.25 + np.sqrt(2 / np.pi)))


def _more_of_one(codes: Floats) -> Floats:
    """Every tenth row becomes the third category."""
    changed = codes.copy()
    changed[::10] = 2
    return changed


def _of(sort: int, turn: int) -> range:
    """Ten features of a sort: 0 normal, 1 lognormal, 2 whole numbers, 3 normal around 70, 4 categories."""
    first = sort + 5 * CHANGED * turn
    return range(first, first + 5 * CHANGED, 5)


KINDS = {
    "mean": Kind("mean moves by 0.3 standard deviations", lambda z: z + 0.3, _same, _of(0, 0)),
    "scale": Kind("standard deviation × 1.3", lambda z: 1.3 * z, _same, _of(0, 1)),
    "shape": Kind("two humps instead of one, mean and variance as before", _two_humps, _same, _of(0, 2)),
    "category": Kind("a tenth of the rows goes to one category", _same, _more_of_one, _of(4, 0)),
    "whole numbers": Kind("mean of whole numbers moves by 0.3 standard deviations", lambda z: z + 0.3, _same, _of(2, 0)),
    "unit": Kind("pounds for kilograms: × 2.205", _same, lambda x: x * 2.2046, _of(3, 0)),
    LASTING: Kind("mean moves by 0.2 standard deviations and stays", lambda z: z + 0.2, _same, _of(0, 3)),
}


def values(z: Floats, features: range) -> Floats:
    """The features' values, shape (rows, features), of standard normal ones; categories as numbers from 0."""
    x = z.copy()
    for column, feature in enumerate(features):
        sort = feature % 5
        if sort == 1:
            x[:, column] = np.exp(z[:, column])
        elif sort == 2:
            x[:, column] = np.floor(np.clip(2 * z[:, column], -6, 6))
        elif sort == 3:
            x[:, column] = 70 + 15 * z[:, column]
        elif sort == 4:
            x[:, column] = np.searchsorted(SHARES, ndtr(z[:, column]))
    return x


def windows_of(kind: str) -> int:
    """How many windows after a change of this kind are judged."""
    return LONG if kind == LASTING else WINDOWS


def is_category(feature: int) -> bool:
    return feature % 5 == 4


def frame(x: Floats, features: range) -> pd.DataFrame:
    """The values as a table: numbers, and letters for categories."""
    columns = {
        f"f{feature}": CATEGORIES[x[:, column].astype(int)] if is_category(feature) else x[:, column]
        for column, feature in enumerate(features)
    }
    return pd.DataFrame(columns)


def latent(cell: Cell, seed: int) -> Iterator[Floats]:
    """The reference's rows, then `LONG` windows, of one stationary process; standard normal, shape (rows, FEATURES)."""
    rng = np.random.default_rng([seed, cell.rows, round(100 * cell.memory)])
    a = cell.memory
    before = rng.standard_normal((1, FEATURES))
    for rows in (REFERENCE_ROWS, *[cell.rows] * LONG):
        noise = rng.standard_normal((rows, FEATURES)) * np.sqrt(1 - a * a)
        z, _ = lfilter([1.0], [1.0, -a], noise, axis=0, zi=a * before) if a else (noise, None)
        before = z[-1:]
        yield z


def changed(z: Floats, kind: Kind) -> Floats:
    """The values of a kind's features in a window, changed, shape (rows, CHANGED)."""
    part = z[:, kind.features.start : kind.features.stop : kind.features.step]
    return kind.value(values(kind.latent(part), kind.features))
