"""Other libraries' figures by our functions and their options; recorded by `benchmarks/parity/distances.py`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parity.distances import CATEGORIES, sample

from driftline.streams import stats
from driftline.streams.stats import Moments

SAID = json.loads(Path(__file__).with_name("conventions.json").read_text("utf-8"))
RECORDED = [(library, row["figure"], row["case"], row["value"]) for library, told in SAID.items() for row in told["said"]]

Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
Raw = NDArray[Any]


def closed(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges between which `np.histogram` counts: it takes the last one in."""
    return np.append(edges[:-1], np.nextafter(edges[-1], np.inf))


def own(before: Raw, now: Raw) -> tuple[NDArray[np.int64], NDArray[np.int64], Raw]:
    """A bin for every value."""
    values, place = np.unique(np.concatenate([before, now]), return_inverse=True)
    return np.bincount(place[: before.size], minlength=values.size), np.bincount(place[before.size :], minlength=values.size), values


def counted(library: str, before: Raw, now: Raw) -> Counts:
    """The counts over the library's bins."""
    if before.dtype.kind == "U":
        return own(before, now)[:2]
    both = np.concatenate([before, now])
    if library == "nannyml":
        edges = stats.edges_by(before, "doane")
    elif library == "whylogs":
        edges = np.linspace(both.min(), both.max() + abs(both.max()) * 1e-7, 31)
    else:
        edges = closed(np.histogram_bin_edges(both, "sturges" if library == "evidently" else 10))
    return stats.bin_counts(before, edges), stats.bin_counts(now, edges)


def moments(values: Raw) -> Moments:
    return Moments(values.size, float(values.mean()), float(values.var() * values.size))


#: By library and figure: ours, from the counts over its bins.
BINNED: dict[tuple[str, str], Callable[..., float]] = {
    ("evidently", "psi"): lambda f, g: stats.psi(f, g, floor=0.0001),
    ("evidently", "kl_div"): lambda f, g: stats.kl(g, f, floor=0.0001),
    ("evidently", "jensenshannon"): lambda f, g: stats.jensen_shannon(f, g, base=math.e),
    ("evidently", "hellinger"): stats.hellinger,
    # The reference is taken as exact: as if it had any number of rows.
    ("evidently", "chisquare"): lambda f, g: stats.chi_square(f * 1e9, g, min_expected=0).p_value,
    ("nannyml", "jensen_shannon"): stats.jensen_shannon,
    ("nannyml", "hellinger"): stats.hellinger,
    ("nannyml", "chi2"): lambda f, g: stats.chi_square(f, g, min_expected=0).statistic,
    ("nannyml", "l_infinity"): stats.l_infinity,
    ("frouros", "PSI"): lambda f, g: stats.psi(f, g, floor=sys.float_info.min),
    ("frouros", "HellingerDistance"): stats.hellinger,
    ("frouros", "ChiSquareTest"): lambda f, g: stats.chi_square(f, g, min_expected=0).statistic,
    ("whylogs", "hellinger"): stats.hellinger,
    ("whylogs", "chi_square"): lambda f, g: stats.chi_square(f * 1e9, g, min_expected=0).statistic,
}
#: The same from the values themselves, each with its own bin.
EXACT: dict[tuple[str, str], Callable[[Raw, Raw], float]] = {
    ("evidently", "wasserstein"): lambda a, b: stats.wasserstein_normalised(*own(a, b)),
    ("evidently", "energy_distance"): lambda a, b: stats.energy(*own(a, b)),
    ("evidently", "ks"): lambda a, b: stats.ks_pvalue(stats.ks(*own(a, b)[:2]), a.size, b.size),
    ("nannyml", "kolmogorov_smirnov"): lambda a, b: stats.ks(*own(a, b)[:2]),
    ("nannyml", "wasserstein"): lambda a, b: stats.wasserstein(*own(a, b)),
    ("frouros", "EMD"): lambda a, b: stats.wasserstein(*own(a, b)),
    ("frouros", "EnergyDistance"): lambda a, b: stats.energy(*own(a, b)),
    ("frouros", "KSTest"): lambda a, b: stats.ks(*own(a, b)[:2]),
    ("frouros", "CVMTest"): lambda a, b: stats.cramer_von_mises(*own(a, b)[:2]),
    ("frouros", "WelchTTest"): lambda a, b: -stats.mean_shift(moments(a), moments(b)).statistic,  # reference less current
}
#: Where a library rounds on its way, how far that may lead: relative, absolute.
NEAR = {
    ("evidently", "kl_div"): (3e-3, 0.0),  # SciPy's entropy makes the floored shares sum to 1 again
    ("evidently", "chisquare"): (1e-4, 0.0),
    ("evidently", "ks"): (0.0, 0.01),  # exact for few rows; ours is Kolmogorov's limit
    ("whylogs", "hellinger"): (0.0, 0.02),  # a sketch of quantiles
    ("whylogs", "chi_square"): (0.05, 0.0),  # expected rows rounded down to whole ones
}


@pytest.mark.parametrize(("library", "figure", "case", "value"), RECORDED, ids=["-".join(row[:3]) for row in RECORDED])
def test_the_figure_of_the_library_comes_out_under_its_convention(library: str, figure: str, case: str, value: float) -> None:
    before, now = sample(case)
    name = (library, figure)
    ours = BINNED[name](*counted(library, before, now)) if name in BINNED else EXACT[name](before, now)
    relative, absolute = NEAR.get(name, (1e-7, 0.0))
    assert ours == pytest.approx(value, rel=relative, abs=absolute)


def test_every_library_was_asked_about_every_kind_of_case() -> None:
    for told in SAID.values():
        assert {row["case"] for row in told["said"]} == {"moved", "apart", "skewed", *CATEGORIES}
