"""Every test, distance, metric and sketch says its formula, range, behaviour at small n, source and an example, and its range is true."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams import sketch, stats
from driftline.streams.stats import DETECTORS, TESTS, DriftTest

#: What is public and measures nothing: records, states, tables, and steps on the way.
NO_FIGURES = {
    "Auc", "Batch", "Brier", "Carried", "ChangePoint", "ChiSquare", "Comparison", "Confusion", "CorrelationChange", "Detector",
    "DomainAuc", "DriftTest", "Estimate", "ExpectedConfusion", "Fairness", "Fault", "GroupRates", "Level", "Measured", "Share", "Shift",
    "Signal", "Sums", "accuracy_of", "batches_of", "bin_buckets", "bin_counts", "bin_positions", "category_basis", "correlations",
    "f1_of", "merge_all", "moments_of_bins", "null_draws", "null_quantile", "precision_of", "recall_of", "score_basis",
    "score_positions", "shared_between_blocks", "specificity_of", "weighted_edges", "with_bounds",
}  # fmt: skip
FIGURES: dict[str, Any] = {
    **{name: getattr(stats, name) for name in stats.__all__ if not (name in NO_FIGURES or name.isupper() or name.endswith("State"))},
    **{name: getattr(sketch, name) for name in ("Sketch", "add_texts", "bucket_of")},
}
TESTED = "\n".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py") if path.name != Path(__file__).name)


def documented(figure: Any) -> str:
    """A function's docstring; a class's with those of its methods."""
    parts = [figure] + (
        [each for name, each in vars(figure).items() if name[0] != "_" or name == "__call__"] if inspect.isclass(figure) else []
    )
    return "\n\n".join(inspect.getdoc(getattr(part, "__func__", part)) or "" for part in parts)


def stated_range(figure: Any) -> tuple[float, float]:
    """The interval that a docstring's range begins with."""
    found = re.search(r"^Range: [\[(]([^,]+), ([^\])]+)[\])]", documented(figure), re.M)
    assert found, "the range begins with an interval"
    low, high = (float(each) for each in found.groups())
    return low, high


@pytest.mark.parametrize("name", FIGURES)
def test_the_docstring_tells_formula_range_small_n_source_and_an_example(name: str) -> None:
    text = documented(FIGURES[name])
    assert re.search(r"^Formula: .*`[^`]{3,}", text, re.M | re.S)
    assert re.search(r"^Range: \S", text, re.M)
    assert re.search(r"^Small n: \S", text, re.M)
    assert re.search(r"^References\n-+\n\S", text, re.M)
    assert ">>> " in text


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_tested_by_name_or_by_a_suite_over_all_like_it(name: str) -> None:
    suites = [*TESTS, *(type(detector).__name__ for detector in DETECTORS.values())]
    assert name in suites or re.search(rf"\b{name}\b", TESTED)


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS.keys())
@settings(max_examples=30)
@given(counts=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=12))
def test_the_value_is_in_the_range_that_the_docstring_states(test: DriftTest, counts: list[tuple[int, int]]) -> None:
    low, high = stated_range(getattr(stats, test.name))
    before, now = np.array(counts, dtype=float).T
    if before.sum() and now.sum():
        value, _ = test.measure(before, now, np.arange(len(counts), dtype=float))
        assert math.isnan(value) or low <= value <= high * (1 + 1e-12)


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS.keys())
def test_a_window_of_one_row_proves_nothing(test: DriftTest) -> None:
    value, p_value = test.measure(np.array([40.0, 40.0, 20.0]), np.array([0.0, 0.0, 1.0]), np.arange(3.0))
    low, high = stated_range(getattr(stats, test.name))
    assert math.isnan(value) or low <= value <= high
    assert math.isnan(p_value) or p_value > 0.05
