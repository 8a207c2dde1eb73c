"""Records what other libraries say of the same two samples, as the oracle of `tests/stats/test_conventions.py`.

    PYTHONPATH=benchmarks python benchmarks/parity/distances.py

runs each library in an environment of its own (made the first time) and writes `tests/stats/conventions.json`: by library its version, and
by figure and case its value. The cases are made by `sample`, which the test repeats. NumPy's PCG64 streams are the same in every NumPy
since 1.17.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sample = tuple[NDArray[Any], NDArray[Any]]
Figures = dict[str, Callable[[NDArray[Any], NDArray[Any]], float]]

#: Numbers that moved a little, so far that bins are empty, and with a long tail; shares that changed, and a category that vanished.
NUMBERS, CATEGORIES = ("moved", "apart", "skewed"), ("shares", "vanished")
CATEGORY_NAMES = np.array(["annual", "free", "monthly", "pro", "trial"])


def sample(case: str) -> Sample:
    """Reference and current rows of a case."""
    rng = np.random.default_rng([*map(ord, case)])
    if case == "moved":
        return rng.normal(0, 1, 400), rng.normal(0.3, 1.2, 250)
    if case == "apart":
        return rng.normal(0, 1, 400), rng.normal(3, 0.5, 250)
    if case == "skewed":
        return rng.lognormal(0, 1, 400), rng.lognormal(0.2, 1, 250)
    share = np.array([0.1, 0.3, 0.25, 0.2, 0.15])
    now = np.array([0.15, 0.2, 0.3, 0.2, 0.15]) if case == "shares" else np.array([0.2, 0.3, 0.3, 0.2, 0.0])
    return rng.choice(CATEGORY_NAMES, 400, p=share), rng.choice(CATEGORY_NAMES, 250, p=now)


def evidently(kind: str) -> Figures:
    import pandas as pd
    from evidently.legacy.calculations import stattests
    from evidently.legacy.core import ColumnType

    column = ColumnType.Numerical if kind == "numbers" else ColumnType.Categorical

    def figure(test: Any) -> Callable[[NDArray[Any], NDArray[Any]], float]:
        return lambda before, now: float(test(pd.Series(before), pd.Series(now), column, None).drift_score)

    both = {
        "psi": stattests.psi_stat_test,
        "kl_div": stattests.kl_div_stat_test,
        "jensenshannon": stattests.jensenshannon_stat_test,
        "hellinger": stattests.hellinger_stat_test,
    }
    own = (
        {"wasserstein": stattests.wasserstein_stat_test, "energy_distance": stattests.energy_dist_test, "ks": stattests.ks_stat_test}
        if kind == "numbers"
        else {"chisquare": stattests.chi_stat_test}
    )
    return {name: figure(test) for name, test in {**both, **own}.items()}


def nannyml(kind: str) -> Figures:
    import pandas as pd
    from nannyml.chunk import DefaultChunker
    from nannyml.drift.univariate.methods import FeatureType, MethodFactory
    from nannyml.thresholds import ConstantThreshold

    feature = FeatureType.CONTINUOUS if kind == "numbers" else FeatureType.CATEGORICAL
    own = ("kolmogorov_smirnov", "wasserstein") if kind == "numbers" else ("chi2", "l_infinity")

    def figure(name: str) -> Callable[[NDArray[Any], NDArray[Any]], float]:
        def run(before: NDArray[Any], now: NDArray[Any]) -> float:
            method = MethodFactory.create(name, feature, chunker=DefaultChunker(), threshold=ConstantThreshold(0, 1))
            dtype = None if kind == "numbers" else "category"
            return float(method.fit(pd.Series(before, dtype=dtype, name="x")).calculate(pd.Series(now, dtype=dtype, name="x")))

        return run

    return {name: figure(name) for name in ("jensen_shannon", "hellinger", *own)}


def frouros(kind: str) -> Figures:
    from frouros.detectors.data_drift import batch

    def figure(name: str) -> Callable[[NDArray[Any], NDArray[Any]], float]:
        def run(before: NDArray[Any], now: NDArray[Any]) -> float:
            detector = getattr(batch, name)()
            detector.fit(X=before)
            found = detector.compare(X=now)[0]
            return float(found.distance if hasattr(found, "distance") else found.statistic)

        return run

    numbers = ("PSI", "HellingerDistance", "EMD", "EnergyDistance", "KSTest", "CVMTest", "WelchTTest")
    return {name: figure(name) for name in (numbers if kind == "numbers" else ("ChiSquareTest",))}


def whylogs(kind: str) -> Figures:
    import pandas as pd
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import ChiSquare, Hellinger

    algorithm = Hellinger() if kind == "numbers" else ChiSquare()

    def run(before: NDArray[Any], now: NDArray[Any]) -> float:
        views = [why.log(pd.DataFrame({"x": side})).view().get_column("x") for side in (now, before)]
        return float(algorithm.calculate(*views, with_thresholds=False).statistic)

    return {"hellinger" if kind == "numbers" else "chi_square": run}


LIBRARIES: dict[str, Callable[[str], Figures]] = {each.__name__: each for each in (evidently, nannyml, frouros, whylogs)}


def said(library: str) -> Iterator[dict[str, Any]]:
    """What the library says of every case, in this environment."""
    for kind, cases in (("numbers", NUMBERS), ("categories", CATEGORIES)):
        for name, figure in LIBRARIES[library](kind).items():
            for case in cases:
                yield {"figure": name, "case": case, "value": figure(*sample(case))}


def record() -> None:
    """Ask every library and write the file."""
    from environments import ROOT, python_of

    told = {}
    for library in LIBRARIES:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "said.json"
            subprocess.run([str(python_of(library)), __file__, library, str(target)], check=True)
            told[library] = json.loads(target.read_text("utf-8"))
    (ROOT / "tests" / "stats" / "conventions.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        record()
    else:
        warnings.simplefilter("ignore")
        rows = list(said(sys.argv[1]))
        Path(sys.argv[2]).write_text(json.dumps({"version": version(sys.argv[1]), "said": rows}), "utf-8")
