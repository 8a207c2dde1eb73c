"""The report shows what the tables hold, and trusts no name in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from driftline.report import LETTER, _apart, _grid, render
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference, encode_entry
from driftline.schemas.results import DriftResult, FeaturePane, PerformancePane, PerformanceResult, QualityResult, References, Verdict
from driftline.sinks.clickhouse import ClickHouse

START_MS, WINDOW_MS, WINDOWS = 1_767_571_200_000, 3_600_000, 12
EVIL = "<script>alert(1)</script>&\"'"
EDGES = np.linspace(10, 70, 40).tolist()

RNG = np.random.default_rng(3)
AGES = np.bincount(np.searchsorted(EDGES, RNG.normal(40, 10, 5_000), "right"), minlength=41).tolist()
REFERENCE = Reference(
    "churn",
    "7",
    {
        "age": NumericProfile(EDGES, AGES, 5_000, 250, 40.0, 5e5, 4.0, 76.0),
        "calls": NumericProfile([1.0, 2.0, 3.0], [900, 500, 100, 20], 1_520, 0, 0.5, 1e3),
        EVIL: CategoricalProfile(["a", "<b>"], [4_000, 900], 100, 5_000, 0),
    },
    5_250,
)
JOINT = "(domain classifier)"
HASH, POLICY = REFERENCE.hash, "0123456789ab"


def drift(window: int, segment: str, feature: str, effect: float | None, verdict: Verdict, test: str = "psi") -> DriftResult:
    start = START_MS + window * WINDOW_MS
    return DriftResult(
        "churn", "7", segment, start, start + WINDOW_MS, feature, test, effect, 0.5, None, effect, 0.2, 5_250, 500, verdict, "",
        HASH, POLICY, True, 1.0, 10 + window,
    )  # fmt: skip


def performance(window: int, segment: str, metric: str, value: float | None, verdict: Verdict) -> PerformanceResult:
    start = START_MS + window * WINDOW_MS
    lower, upper = (None, None) if value is None else (value - 0.03, value + 0.03)
    return PerformanceResult(
        "churn", "7", segment, start, start + WINDOW_MS, metric, "realised", value, lower, upper, 0.8, 500, 400, 0.8, None, 0.75,
        verdict, "", HASH, POLICY, True, 10 + window,
    )  # fmt: skip


def pane(window: int, segment: str, feature: str, bins: list[int], categories: dict[str, int]) -> FeaturePane:
    kind: Literal["numeric", "categorical"] = "categorical" if categories else "numeric"
    n = sum(bins) + sum(categories.values())
    return FeaturePane(
        "churn", "7", segment, START_MS + window * WINDOW_MS, 60_000, feature, kind, n + 25, 25, 0,
        1.0, 1.0, 0.0, 1.0, bins, categories, HASH, 10,
    )  # fmt: skip


def results() -> dict[str, list[Any]]:
    """Twelve windows; from the seventh on the ages of region=us shift and the accuracy falls."""
    tables: dict[str, list[Any]] = {
        "drift_results": [],
        "performance_results": [],
        "feature_panes": [],
        "performance_panes": [],
        "quality_results": [],
    }
    for w in range(WINDOWS):
        late = w >= 7
        for segment in ("", "region=eu", f"region={EVIL}"):
            moved = late and segment == f"region={EVIL}"
            effect = 0.9 + w / 100 if moved else 0.02
            tables["drift_results"] += [
                drift(w, segment, "age", effect, "drift" if moved else "ok"),
                drift(w, segment, "age", effect, "drift" if moved else "ok", "ks"),
                drift(w, segment, "calls", 0.01, "ok"),
                drift(w, segment, EVIL, None, "insufficient"),
                *(
                    [msgspec.structs.replace(drift(w, "", JOINT, 126.0, "drift", "domain_classifier"), value=0.97)]
                    if late and not segment
                    else []
                ),
            ]
            ages = np.bincount(np.searchsorted(EDGES, RNG.normal(52 if moved else 40, 10, 500), "right"), minlength=41)
            tables["feature_panes"] += [
                pane(w, segment, "age", ages.tolist(), {}),
                pane(w, segment, "calls", [300, 150, 40, 10], {}),
                pane(w, segment, EVIL, [], {"a": 300, "<b>": 150, "new": 50}),
            ]
            value = (0.65 if late else 0.8) + RNG.normal(0, 0.01)
            tables["performance_results"] += [
                performance(w, segment, "accuracy", float(value), "worse" if late and not segment else "ok"),
                performance(w, segment, "auc", None, "undefined"),
            ]
        tables["drift_results"].append(drift(w, "region=few", "age", 0.4, "insufficient"))
        tables["performance_panes"].append(
            PerformancePane("churn", "7", "", START_MS + w * WINDOW_MS, 60_000, 500, 400, {}, [], [], 0.0, 0.0, 0.0, [], HASH, 10)
        )
    first = START_MS + 8 * WINDOW_MS
    tables["quality_results"].append(
        QualityResult(
            "churn",
            "7",
            "",
            first,
            first + WINDOW_MS,
            "income",
            "missing_rate",
            0.5,
            0.1,
            0.1,
            500,
            "fault",
            "",
            HASH,
            POLICY,
            True,
            1.0,
            1,
        )
    )
    tables["references"] = [References("churn", "7", HASH, "training", 0, 5_250, encode_entry(REFERENCE).decode(), 1)]
    return tables


@pytest.fixture(scope="module")
def store() -> Iterator[ClickHouse]:
    with ClickHouse.connect("chdb://memory") as store:
        store.migrate()
        for table, rows in results().items():
            store.insert(table, rows, f"test:{table}")
        yield store


@pytest.fixture(scope="module")
def page(store: ClickHouse) -> str:
    return render(store)


class Tags(HTMLParser):
    """Which elements a page has, and whether all that were opened are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_element_is_closed(page: str) -> None:
    assert Tags(page).open == []


def test_a_hostile_name_is_text_and_nothing_else(page: str) -> None:
    assert "alert(1)" in page
    assert "<script" not in page
    assert "<b>" not in re.sub(r"<(b|/b)>(drift|line|age|calls|[\d, .%–\s]+)</b>", "", page).replace("<b>line</b>", "").replace(
        "<b>&lt;", ""
    )


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    tags = Tags(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.seen)
    assert not [name for name, _ in tags.attributes if name in {"src", "href"} or name.startswith("on")]
    assert "url(" not in page


def test_the_heat_map_marks_the_windows_with_drift(page: str) -> None:
    marked = re.findall(r"<title>age · 05 Jan (\d\d):00[^<]*</title><rect[^>]*/>\s*<circle", page)
    assert marked == ["07", "08", "09", "10", "11"]


def test_a_window_that_was_not_judged_has_no_colour(page: str) -> None:
    assert len(re.findall(r'fill="transparent" stroke="var\(--card\)"', page)) == 3 * WINDOWS


def test_performance_has_a_band_a_reference_a_limit_and_its_bad_windows(page: str) -> None:
    assert page.count('fill-opacity=".13"') == 1
    assert "reference 0.8" in page
    assert "limit 0.75" in page
    assert len(re.findall(r'fill="var\(--bad\)" stroke="var\(--card\)"><title>accuracy', page)) == 5


def test_a_metric_without_any_value_has_no_chart(page: str) -> None:
    assert "auc" not in page


def test_the_histogram_is_of_the_window_with_the_greatest_shift(page: str) -> None:
    captions = re.findall(r"<figcaption><b>(.*?)</b> <span>· (.*?) · (.*?) · PSI (.*?) ", page)
    assert captions[0] == ("age", "region=&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;", "05 Jan 11:00", "1.01")
    assert "525 rows, 4.8% missing (reference 5 250, 4.8%)" in page


def test_the_findings_name_the_first_window_and_the_check(page: str) -> None:
    assert re.search(r"<td>age</td><td>region=.*?</td><td>ks, psi</td><td class=\"t\">2026-01-05 07:00</td><td class=\"n\">5</td>", page)
    assert re.search(r"<td>income</td><td>all predictions</td><td>missing_rate</td><td class=\"t\">2026-01-05 08:00</td>", page)


def test_the_totals_are_those_of_the_panes(page: str) -> None:
    assert "<b>6 000</b><span>predictions" in page
    assert "<b>80.0 %</b><span>of them with label" in page


class Empty:
    """A store without results; the engine in the process is one for all tests."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return pa.table({})


@pytest.mark.parametrize("model", [None, "churn"])
def test_a_store_without_results_says_what_to_do(model: str | None) -> None:
    with pytest.raises(DriftlineError, match=r"(?s)nothing_to_report.*driftline demo"):
        render(Empty(), model)


def test_a_model_that_is_not_there_is_told_with_those_that_are(store: ClickHouse) -> None:
    with pytest.raises(DriftlineError, match=r"no results of model 'chrun'\n.*one of: churn"):
        render(store, "chrun")


def test_a_segment_that_was_never_judged_has_no_heat_map(page: str) -> None:
    assert "region=few" not in page
    assert "1 segment without any judged window is left out" in page


def test_the_strongest_figure_of_features_together_is_that_of_their_test(page: str) -> None:
    assert re.search(r"<td>\(domain classifier\)</td>.*<td class=\"n\">0.97</td></tr>", page)
    assert "126" not in page


@pytest.mark.parametrize("values", [(0.149, 0.142), (0.142, 0.149), (0.5, 0.9), (0.3, 0.3), (None, 0.3)])
def test_what_is_said_of_two_levels_never_overlaps(values: tuple[float | None, float]) -> None:
    _, lines, said = _apart(list(zip(("reference", "limit"), values, strict=True)), lambda value: 150 * (1 - value))
    assert all(below - above > LETTER - 1e-9 for above, below in pairwise(said))
    assert all(place >= line for place, line in zip(said, lines, strict=True))
    assert len(said) == 2 - (None in values)


def test_bins_keep_their_rows_when_they_become_bars() -> None:
    """Whatever the grid, every row of a profile is drawn exactly once."""

    def drawn(profile: NumericProfile) -> float:
        counts = np.array(profile.counts)
        return sum(float(w @ counts) for _, w in _grid(profile, counts))

    rng = np.random.default_rng(1)
    for k in (1, 2, 24, 25, 64, 256):
        edges = np.sort(rng.lognormal(0, 2, k)).tolist()
        counts = rng.integers(0, 100, k + 1).tolist()
        assert drawn(NumericProfile(edges, counts, sum(counts), 0, 0, 0)) == pytest.approx(sum(counts))
