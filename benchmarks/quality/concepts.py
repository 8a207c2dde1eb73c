"""Labelled streams whose concept changes at a known place, and the errors that a model trained before it makes on them.

The generators are our own, after the papers they are named by; NumPy's PCG64 makes them the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

Floats = NDArray[np.float64]
Errors = NDArray[np.int8]
TRAINED_ON = 5_000
NOISE = 0.1


class Concept(NamedTuple):
    """A generator of rows, and two concepts by which they are labelled: before the change and after it."""

    rows: Callable[[np.random.Generator, int], Floats]
    before: Callable[[Floats], NDArray[np.bool_]]
    after: Callable[[Floats], NDArray[np.bool_]]


def _sea(threshold: float) -> Callable[[Floats], NDArray[np.bool_]]:
    return lambda x: x[:, 0] + x[:, 1] <= threshold


def _people(rng: np.random.Generator, n: int) -> Floats:
    """salary, commission, age, education, car, zip code, house value, years owned, loan."""
    salary = rng.uniform(20_000, 150_000, n)
    commission = np.where(salary >= 75_000, 0, rng.uniform(10_000, 75_000, n))
    zip_code = rng.integers(0, 9, n)
    house = (9 - zip_code) * 100_000 * rng.uniform(0.5, 1.5, n)
    columns = [salary, commission, rng.integers(20, 81, n), rng.integers(0, 5, n), rng.integers(1, 21, n), zip_code, house]
    return np.stack([*columns, rng.integers(1, 31, n), rng.uniform(0, 500_000, n)], 1).astype(np.float64)


def _by_age(x: Floats) -> NDArray[np.bool_]:
    return (x[:, 2] < 40) | (x[:, 2] >= 60)


def _by_age_and_salary(x: Floats) -> NDArray[np.bool_]:
    salary, age = x[:, 0], x[:, 2]
    young = (age < 40) & (salary >= 50_000) & (salary <= 100_000)
    middle = (age >= 40) & (age < 60) & (salary >= 75_000) & (salary <= 125_000)
    return young | middle | ((age >= 60) & (salary >= 25_000) & (salary <= 75_000))


def _plane(weights: Floats) -> Callable[[Floats], NDArray[np.bool_]]:
    return lambda x: x @ weights > weights.sum() / 2


_TILTED = np.array([0.9, 0.1, 0.8, 0.3, 0.5, 0.7, 0.2, 0.6, 0.4, 0.5])

CONCEPTS = {
    # Street and Kim, A streaming ensemble algorithm (SEA), KDD 2001.
    "SEA": Concept(lambda rng, n: rng.uniform(0, 10, (n, 3)), _sea(8.0), _sea(9.5)),
    # Agrawal, Imielinski and Swami, Database mining: a performance perspective, IEEE TKDE 5 (1993): functions 1 and 2.
    "Agrawal": Concept(_people, _by_age, _by_age_and_salary),
    # Hulten, Spencer and Domingos, Mining time-changing data streams, KDD 2001: two of ten weights change places.
    "hyperplane": Concept(lambda rng, n: rng.uniform(0, 1, (n, 10)), _plane(_TILTED), _plane(_TILTED[[1, 0, *range(2, 10)]])),
}


def errors(name: str, seed: int, n: int, change: int | None) -> Errors:
    """0 or 1 for `n` labels in order: where a model that was trained before errs. The concept changes at label `change`, if at all."""
    concept = CONCEPTS[name]
    rng = np.random.default_rng([seed, *name.encode()])

    def labelled(count: int, changed_from: int) -> tuple[Floats, NDArray[np.bool_]]:
        x = concept.rows(rng, count)
        y = np.where(np.arange(count) < changed_from, concept.before(x), concept.after(x))
        return x, y ^ (rng.random(count) < NOISE)

    model = DecisionTreeClassifier(max_depth=8, min_samples_leaf=20, random_state=0).fit(*labelled(TRAINED_ON, TRAINED_ON))
    x, y = labelled(n, n if change is None else change)
    return np.asarray(model.predict(x) != y, np.int8)


def recorded_errors(path: Path, target: str) -> Errors:
    """The same on a recorded stream: the model learns from the first 5 000 rows and is left alone."""
    table = pd.read_csv(path)
    x, y = table.drop(columns=target).to_numpy(np.float64), pd.factorize(table[target], sort=True)[0]
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(x[:TRAINED_ON], y[:TRAINED_ON])
    return np.asarray(model.predict(x[TRAINED_ON:]) != y[TRAINED_ON:], np.int8)
