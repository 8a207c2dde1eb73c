"""What the parametrised views compute from stored panes, against NumPy, SciPy and the statistics of the stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from driftline.schemas.reference import CategoricalProfile, NumericProfile, Profile, Reference, encode_entry
from driftline.schemas.results import FeaturePane, References
from driftline.sinks.clickhouse import ClickHouse
from driftline.streams.stats import ks, psi
from driftline.streams.stats.edges import bin_counts, numeric_edges

MINUTE = 60_000
RANGES = {
    "a_from": "1970-01-01 00:00:00", "a_to": "1970-01-01 00:10:00",
    "b_from": "1970-01-01 00:10:00", "b_to": "1970-01-01 00:20:00",
}  # fmt: skip
LEVELS = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]


def pane(minute: int, kind: str = "numeric", **changes: Any) -> FeaturePane:
    plain: dict[str, Any] = {
        "model": "churn", "version": "7", "segment": "", "pane_start": minute * MINUTE, "pane_ms": MINUTE, "feature": "age", "kind": kind,
        "n": 0, "missing": 0, "type_errors": 0, "mean": None, "variance": None, "minimum": None, "maximum": None, "bins": [],
        "categories": {}, "reference": "ref", "revision": 1,
    }  # fmt: skip
    return FeaturePane(**plain | changes)


def panes_of(
    blocks: np.ndarray[Any, np.dtype[np.float64]], edges: np.ndarray[Any, np.dtype[np.float64]], **changes: Any
) -> list[FeaturePane]:
    """One pane a minute from the rows of `blocks`."""
    return [
        pane(i, n=len(x), bins=bin_counts(x, edges).tolist(), minimum=float(x.min()), maximum=float(x.max()), **changes)
        for i, x in enumerate(blocks)
    ]


def reference(profile: Profile, name: str = "ref", version: str = "7") -> References:
    content = encode_entry(Reference("churn", version, {"age": profile}, 10)).decode()
    return References("churn", version, name, "training", 0, 10, content, 1)


def numeric(edges: Any) -> NumericProfile:
    return NumericProfile([float(edge) for edge in edges], [0] * (len(edges) + 1), 0, 0, 0.0, 0.0)


def ask(store: ClickHouse, view: str, **changes: str) -> list[dict[str, Any]]:
    """The rows of one of the views for one segment of one version, in two ranges."""
    values = {"model": "churn", "version": "7", "segment": "", "feature": "age"} | RANGES | changes
    call = ", ".join(f"{name} = {{{name}:String}}" for name in values)
    found: list[dict[str, Any]] = store.query(f"SELECT * FROM {view}({call})", values).to_pylist()
    return found


@pytest.fixture
def blocks() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Twenty minutes of 200 values; from the tenth on they are higher and wider."""
    random = np.random.default_rng(7)
    shift = np.repeat([[0.0], [0.6]], 10, axis=0)
    spread = np.repeat([[1.0], [1.4]], 10, axis=0)
    return np.asarray(random.normal(40 + shift, spread, (20, 200)))


def test_distances_of_a_numeric_feature_are_those_of_the_stream(embedded: ClickHouse, blocks: Any) -> None:
    edges = numeric_edges(blocks[:10])
    embedded.insert("references", [reference(numeric(edges))], "r")
    embedded.insert("feature_panes", panes_of(blocks, edges), "p")
    a, b = bin_counts(blocks[:10], edges), bin_counts(blocks[10:], edges)
    (found,) = ask(embedded, "psi_between")
    assert found["psi"] == pytest.approx(psi(a, b), rel=1e-12)
    assert (found["a_n"], found["b_n"]) == (2000, 2000)
    assert ask(embedded, "js_between")[0]["js"] == pytest.approx(jensenshannon(a, b, base=2), rel=1e-12)
    assert ask(embedded, "ks_between")[0]["ks"] == pytest.approx(ks(a, b), rel=1e-12)


def test_distances_of_a_categorical_feature_are_those_of_the_stream(embedded: ClickHouse) -> None:
    a, b = np.array([700, 300, 0]), np.array([500, 380, 120])
    rows = [
        pane(minute, "categorical", n=1000, bins=side.tolist(), categories={"free": int(side[0]), "pro": int(side[1]), "new": int(side[2])})
        for minute, side in ((0, a), (10, b))
    ]
    embedded.insert("references", [reference(CategoricalProfile(["free", "pro"], [7, 3], 0, 10, 0))], "r")
    embedded.insert("feature_panes", rows, "p")
    assert ask(embedded, "psi_between")[0]["psi"] == pytest.approx(psi(a, b), rel=1e-12)
    assert ask(embedded, "js_between")[0]["js"] == pytest.approx(jensenshannon(a, b, base=2), rel=1e-12)
    assert ask(embedded, "ks_between")[0]["ks"] is None  # categories have no order


def test_categories_are_compared_while_there_is_no_reference_yet(embedded: ClickHouse) -> None:
    rows = [
        pane(0, "categorical", reference="", categories={"free": 7, "pro": 3}),
        pane(10, "categorical", reference="", categories={"pro": 4, "new": 6}),
    ]
    embedded.insert("feature_panes", rows, "p")
    assert ask(embedded, "psi_between")[0]["psi"] == pytest.approx(psi([7, 3, 0], [0, 4, 6]), rel=1e-12)


def test_only_the_latest_revision_of_a_pane_counts(embedded: ClickHouse) -> None:
    rows = [pane(0, bins=[5, 5]), pane(10, bins=[999, 1]), pane(10, bins=[1, 9], revision=2)]
    for i, each in enumerate(rows):
        embedded.insert("feature_panes", [each], f"p{i}")
    assert ask(embedded, "psi_between")[0]["psi"] == pytest.approx(psi([5, 5], [1, 9]), rel=1e-12)


def test_a_range_holds_the_panes_from_its_begin_to_before_its_end(embedded: ClickHouse) -> None:
    embedded.insert("feature_panes", [pane(minute, bins=[1, 1]) for minute in range(30)], "p")
    (found,) = ask(embedded, "psi_between", a_from="1970-01-01 00:03:00", a_to="1970-01-01 00:05:00")
    assert (found["a_n"], found["b_n"]) == (4, 20)


def test_segments_versions_and_features_are_kept_apart(embedded: ClickHouse) -> None:
    others = [pane(0, bins=[50, 0], **{field: "other"}) for field in ("model", "version", "segment", "feature")]
    embedded.insert("feature_panes", [pane(0, bins=[3, 3]), pane(10, bins=[3, 3]), *others], "p")
    (found,) = ask(embedded, "psi_between")
    assert (found["a_n"], found["b_n"], found["psi"]) == (6, 6, 0.0)


def test_a_side_without_rows_has_no_distance(embedded: ClickHouse) -> None:
    embedded.insert("feature_panes", [pane(0, bins=[3, 3])], "p")
    (found,) = ask(embedded, "psi_between")
    assert (found["psi"], found["a_n"], found["b_n"]) == (None, 6, 0)
    assert ask(embedded, "ks_between")[0]["ks"] is None
    assert ask(embedded, "js_between")[0]["js"] is None


def test_bins_over_different_edges_are_never_added_up(embedded: ClickHouse) -> None:
    embedded.insert("references", [reference(numeric([1]), "old"), reference(numeric([1, 2]), "new")], "r")
    embedded.insert("feature_panes", [pane(0, bins=[3, 3], reference="old"), pane(10, bins=[1, 1, 1], reference="new")], "p")
    assert sorted((row["grid"], row["psi"]) for row in ask(embedded, "psi_between")) == [("[1,2]", None), ("[1]", None)]


def test_versions_and_segments_compare_over_equal_edges(embedded: ClickHouse) -> None:
    embedded.insert("references", [reference(numeric([1])), reference(numeric([1]), "ref8", "8")], "r")
    embedded.insert("feature_panes", [pane(0, bins=[6, 4]), pane(0, bins=[2, 8], version="8", segment="region=eu", reference="ref8")], "p")
    sides = {f"{side}_{name}": value for side in "ab" for name, value in (("from", "1970-01-01"), ("to", "1970-01-02"))}
    values = {"model": "churn", "feature": "age", "a_version": "7", "a_segment": "", "b_version": "8", "b_segment": "region=eu"} | sides
    call = ", ".join(f"{name} = {{{name}:String}}" for name in values)
    (found,) = embedded.query(f"SELECT psi, ks FROM distances_between({call})", values).to_pylist()
    assert found["psi"] == pytest.approx(psi([6, 4], [2, 8]), rel=1e-12)
    assert found["ks"] == pytest.approx(0.4)


def test_quantiles_lie_where_the_values_do(embedded: ClickHouse, blocks: Any) -> None:
    edges = np.linspace(36, 45, 46)  # bins of 0.2
    embedded.insert("references", [reference(numeric(edges))], "r")
    embedded.insert("feature_panes", panes_of(blocks, edges), "p")
    found = sorted(ask(embedded, "quantiles_between"), key=lambda row: row["level"])
    assert [row["level"] for row in found] == LEVELS
    for side, values in (("a", blocks[:10]), ("b", blocks[10:])):
        got = np.array([row[f"{side}_quantile"] for row in found])
        counts = bin_counts(values, edges)
        bounds = np.clip(np.concatenate(([values.min()], edges, [values.max()])), values.min(), values.max())
        assert got == pytest.approx(np.interp(np.array(LEVELS) * counts.sum(), np.concatenate(([0], np.cumsum(counts))), bounds), rel=1e-9)
        inner = slice(1, -1)  # in the outer bins the values are rare
        assert np.abs(got - np.quantile(values, LEVELS))[inner].max() < 0.2


def test_quantiles_of_a_side_without_rows_are_null(embedded: ClickHouse) -> None:
    embedded.insert("references", [reference(numeric([1, 2]))], "r")
    embedded.insert("feature_panes", [pane(0, bins=[0, 4, 0], minimum=1.0, maximum=1.5)], "p")
    median = next(row for row in ask(embedded, "quantiles_between") if row["level"] == 0.5)
    assert (median["a_quantile"], median["b_quantile"]) == (1.25, None)


def test_names_from_outside_are_values_and_never_sql(embedded: ClickHouse) -> None:
    name = "a'g\"e`; DROP TABLE feature_panes; --"
    embedded.insert("feature_panes", [pane(0, bins=[1, 3], feature=name), pane(10, bins=[3, 1], feature=name)], "p")
    assert ask(embedded, "psi_between", feature=name)[0]["psi"] == pytest.approx(psi([1, 3], [3, 1]), rel=1e-12)
