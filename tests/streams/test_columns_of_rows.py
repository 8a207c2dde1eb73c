"""The rows of a window's data quality and of a pane's features are made as columns, of all at once: the same as one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.config import HOUR_MS, Exclusion, Model, Policy
from driftline.schemas.reference import CategoricalProfile, NumericProfile, Reference
from driftline.schemas.results import FeaturePane, QualityResult, Verdict
from driftline.streams import layout as layout_of
from driftline.streams.drift import yardstick
from driftline.streams.judge import Judged, WindowKey, _moments, _number, feature_rows, feature_rows_each
from driftline.streams.layout import Layout
from driftline.streams.panes import ADDED, Pane, PaneKey, empty_pane
from driftline.streams.quality import (
    ROWS,
    UNLIKELY,
    _comes_twice,
    _declared,
    faults_each,
    faults_of,
    fingerprint,
    looks,
    quality,
    quality_each,
)

Check = tuple[str, float, float | None, float, str]
NAMES = ["age", "hour", "plan", "size", ""]


def one_by_one(window: Judged) -> list[QualityResult]:
    layout = window.layout
    assert layout is not None
    checks = list[tuple[str, Check, int]]()
    for f, name in enumerate(layout.names):
        bins, missing, errors = layout.stretch(window.pane.counts, f)
        if n := int(bins.sum()) + missing + errors:
            checks += [(name, check, n) for check in checks_of(window, layout, f, [*map(int, bins)], missing, errors)]
    n = window.pane.n
    added = window.pane.novel.get(ADDED, {})
    checks += [(name, ("added", rows / n, 0.0, math.nan, ""), n) for name, rows in sorted(added.items())]
    checks += [(ROWS, check, n) for check in of_the_whole(window) if n]
    return [row_of(window, *each) for each in checks]


def checks_of(window: Judged, layout: Layout, f: int, bins: list[int], missing: int, errors: int) -> Iterator[Check]:
    name, profile, policy = layout.names[f], layout.profiles[f], window.model.policy
    present, before = sum(bins), profile.missing / max(profile.n + profile.missing, 1)
    n = present + missing + errors
    removed = missing == n and before ** (n / yardstick(layout).test(name).dispersion) < UNLIKELY
    yield "removed", float(removed), 0.0, 0.5, f"no event of the window has it; {100 * (1 - before):.1f} % of the reference's rows do"
    said = f"{100 * (missing / n):.1f} % missing, {100 * before:.1f} % in the reference"
    yield "missing_rate", missing / n, before, before + policy.missing_rise, said
    said = f"{100 * (errors / n):.1f} % of the values are of a wrong type"
    yield "type_error_rate", errors / n, 0.0, policy.type_errors, said
    if isinstance(profile, CategoricalProfile):
        yield "new_category_rate", bins[-1] / n, profile.other / max(profile.n, 1), math.nan, ""
        occurring = sum(count != 0 for count in bins[:-1]) + len(window.pane.novel.get(name, {}))
        yield "categories", float(occurring), float(sum(count != 0 for count in profile.counts)), math.nan, ""
    else:
        yield "out_of_range_rate", (bins[0] + bins[-1]) / n, (profile.counts[0] + profile.counts[-1]) / max(profile.n, 1), math.nan, ""
    declared = window.model.domains if isinstance(profile, CategoricalProfile) else window.model.ranges
    if present and name in declared:
        share, said = _declared(window, layout, f, np.array(bins), n)
        yield ("domain" if isinstance(profile, CategoricalProfile) else "range"), share, 0.0, policy.type_errors, said
    fault = fingerprint(window, layout, f) if present else None
    yield "fingerprint", float(fault is not None), 0.0, 0.5, fault.message if fault else ""


def of_the_whole(window: Judged) -> Iterator[Check]:
    n, usual, policy = window.pane.n, window.usual, window.model.policy
    much = bool(usual) and n > 0 and 1 < policy.volume_change < max(n / (usual or 1), (usual or 1) / n)
    yield "volume", float(n), usual, -math.inf if much else math.inf, f"{n} rows, where windows of the last week have {usual or 0:g}"
    if window.newest is not None:
        silence = (window.key.end - window.newest) / 1000
        said = f"no event in the last {silence:g} seconds of the window"
        yield "freshness", silence, None, policy.max_silence_ms / 1000 or math.inf, said
    if window.panes and n:
        twice = sum(pane.n for pane in window.panes if _comes_twice(pane))
        yield "duplicated_traffic", twice / n, 0.0, 0.01, f"{100 * twice / n:.0f} % of the rows come twice or more, in pairs alike"


def row_of(window: Judged, feature: str, check: Check, n: int) -> QualityResult:
    name, value, before, limit, said = check
    least = window.model.policy.min_samples
    without = f"{n} rows; {least} are needed" if n < least else window.unjudged
    verdict: Verdict = "insufficient" if without else "fault" if value > limit else "ok"
    return QualityResult(
        *window.key, feature, name, value, before, limit if math.isfinite(limit) else None, n, verdict,
        without or (said if verdict == "fault" else ""), *window.by, window.coverage, window.revision,
    )  # fmt: skip


def numeric(draw: Any, name: str) -> NumericProfile:
    edges = [5.5, 11.5, 17.5] if name == "hour" else sorted(draw(st.sets(st.integers(-3, 3), min_size=1, max_size=4)))
    counts = draw(st.lists(st.integers(0, 400), min_size=len(edges) + 1, max_size=len(edges) + 1))
    low, high = (0.0, 23.0) if name == "hour" else (-4.0, 4.0)
    n = sum(counts)
    return NumericProfile([*map(float, edges)], counts, n, draw(st.sampled_from([0, 3, 4_000])), 1.0, 2.0 * n, minimum=low, maximum=high)


def categorical(draw: Any) -> CategoricalProfile:
    names = draw(st.sampled_from([[], ["a"], ["a", "b", "c"]]))
    counts = draw(st.lists(st.integers(0, 400), min_size=len(names), max_size=len(names)))
    other = draw(st.sampled_from([0, 7]))
    return CategoricalProfile(names, counts, other, sum(counts) + other, draw(st.sampled_from([0, 2])))


@st.composite
def layouts(draw: Any) -> Layout:
    kinds = draw(st.dictionaries(st.sampled_from(NAMES), st.booleans(), max_size=5))
    return Layout(Reference("m", "1", {name: numeric(draw, name) if kind else categorical(draw) for name, kind in kinds.items()}, 400))


@st.composite
def panes(draw: Any, layout: Layout) -> Pane:
    """Any counts; most often each feature has all rows, as it should."""
    pane, times = empty_pane(layout), draw(st.sampled_from([1, 2, 100]))
    pane.n = draw(st.sampled_from([0, 1, 9, 40, 300])) * times
    figure = st.sampled_from([0.0, 1.0, -40.0, 1e3, 1e200, math.inf, math.nan])
    for f in range(len(layout.names)):
        start, bins = int(layout.starts[f]), int(layout.bins[f])
        places = draw(st.lists(st.sampled_from([*range(bins + 2), bins, bins]), min_size=1, max_size=4))
        for place, share in zip(places, np.diff(np.linspace(0, pane.n, len(places) + 1).astype(int)), strict=True):
            pane.counts[start + place] += share
        if draw(st.integers(0, 9)) == 0:
            pane.counts[start + bins] += 5
        total = draw(figure) if draw(st.booleans()) else 0.0
        pane.sums[f] = total * pane.n, total * total * pane.n * draw(st.sampled_from([1.0, 1.5, 1e4]))
        pane.extremes[f] = draw(st.sampled_from([(math.nan, math.nan), (2.0, 2.0), (-4.0, 4.0), (-1e6, 7.0), (0.0, 23.0)]))
    names = st.sampled_from([*layout.names, ADDED])
    pane.novel = draw(st.dictionaries(names, st.dictionaries(st.sampled_from(["x", "a", "yy"]), st.integers(1, 9), max_size=3), max_size=2))
    return pane


@st.composite
def models(draw: Any) -> Model:
    return Model(
        "m",
        policy=Policy(
            min_samples=draw(st.sampled_from([1, 10, 100])), missing_rise=draw(st.sampled_from([0.0, 0.2])),
            type_errors=draw(st.sampled_from([0.0, 0.3])), volume_change=draw(st.sampled_from([0.0, 3.0])),
            max_silence_ms=draw(st.sampled_from([0, 1_000])),
        ),
        ranges=draw(st.sampled_from([{}, {"age": (0.0, 2.0)}, {"age": (-math.inf, 1.0), "size": (-9.0, math.inf), "plan": (0.0, 1.0)}])),
        domains=draw(st.sampled_from([{}, {"plan": ("a", "b")}, {"plan": ("a", "x"), "": ("c",), "age": ("a",)}])),
        exclude=draw(st.sampled_from([(), (Exclusion(datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), "New Year"),)])),
    )  # fmt: skip


@st.composite
def windows(draw: Any, layout: Layout, model: Model, start: int) -> Judged:
    parts = draw(st.lists(panes(layout), min_size=1, max_size=3))
    whole = empty_pane(layout)
    for part in parts:
        whole.add(part)
    if draw(st.booleans()):
        parts[0].reference = "another"
    if not whole.n:  # such a window is not told
        whole.novel.clear()
    newest = draw(st.sampled_from([None, start, start + HOUR_MS - 60_000]))
    return Judged(
        WindowKey("m", "1", draw(st.sampled_from(["", "plan=a"])), start, start + HOUR_MS), model, layout, whole, 7, draw(st.booleans()),
        tuple(parts) if draw(st.booleans()) else (), draw(st.booleans()), newest=newest, usual=draw(st.sampled_from([None, 0.0, 50.0])),
    )  # fmt: skip


@st.composite
def several_windows(draw: Any) -> list[Judged]:
    """Of one model, most of them of one reference."""
    model, known = draw(models()), draw(st.lists(layouts(), min_size=1, max_size=2))
    return [draw(windows(draw(st.sampled_from(known)), model, hour * HOUR_MS)) for hour in range(draw(st.integers(1, 5)))]


def bits(rows: Any) -> list[bytes]:
    return [msgspec.msgpack.encode(row) for row in rows]


@given(several_windows(), st.booleans(), st.sampled_from([1, layout_of.AT_A_TIME]))
def test_rows_of_all_features_at_once_are_those_of_one_after_another(several: list[Judged], looked: bool, at_a_time: int) -> None:
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout_of, "AT_A_TIME", at_a_time)
        seen = looks([(window.layout, window.pane) for window in several if window.layout]) if looked else {}
        parts = quality_each(several, seen)
        found = [row for part in parts for row in part]
        for window in several:
            rows, columns = one_by_one(window), quality(window)
            assert bits(columns) == bits(rows) == bits(row for row in found if row.window_start == window.key.start)
            assert (window.key in faults_each(parts)) == any(row.verdict == "fault" for row in rows)
            faults = [row for row in rows if row.verdict == "fault" and row.feature != ROWS]
            wrong = {row.feature: row.reason for row in reversed(faults)} | {
                row.feature: row.reason for row in faults if row.check == "fingerprint"
            }
            assert faults_of(columns) == faults_each(parts).get(window.key, {}) == wrong


def test_what_a_file_no_longer_declares_is_no_longer_checked() -> None:
    layout = Layout(Reference("m", "1", {"age": NumericProfile([0.0], [200, 200], 400, 0, 0.0, 400.0, minimum=-1.0, maximum=1.0)}, 400))
    pane = empty_pane(layout)
    pane.n, pane.counts[0], pane.extremes[0] = 300, 300, (-1.0, -0.5)
    key = WindowKey("m", "1", "", 0, HOUR_MS)
    for ranges in ({}, {"age": (0.0, 1.0)}, {}):
        told = quality(Judged(key, Model("m", ranges=ranges), layout, pane, 1, is_final=True))
        assert ("range" in told.column("check")) == bool(ranges)


def pane_rows(key: PaneKey, model: Model, layout: Layout, pane: Pane, revision: int) -> list[FeaturePane]:
    rows, about, by = [], (*key, model.pane_ms), (pane.reference, revision)
    for f, (name, profile) in enumerate(zip(layout.names, layout.profiles, strict=True)):
        bins, missing, errors = layout.stretch(pane.counts, f)
        counts, (low, high) = bins.tolist(), map(_number, pane.extremes[f].tolist())
        if isinstance(profile, NumericProfile):
            total, squares = pane.sums[f].tolist()
            mean, variance = _moments(sum(counts), total, squares, float(layout.centre[f]), float(layout.scale[f]))
            rows.append(FeaturePane(*about, name, "numeric", pane.n, missing, errors, mean, variance, low, high, counts, {}, *by))
        else:
            named = {text: c for text, c in zip(profile.categories, counts, strict=False) if c} | pane.novel.get(name, {})
            figures = (None, None, None, None)
            rows.append(FeaturePane(*about, name, "categorical", pane.n, missing, errors, *figures, counts, named, *by))
    return rows


@given(several_windows(), st.sampled_from([1, layout_of.AT_A_TIME]))
def test_rows_of_the_features_of_panes_are_those_of_one_after_another(judged: list[Judged], at_a_time: int) -> None:
    model, told = judged[0].model, list[tuple[PaneKey, Layout, Pane, int]]()
    for at, each in enumerate(judged):
        assert each.layout is not None
        told.append((PaneKey("m", "1", "plan=a", at * 60_000), each.layout, each.pane, at))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout_of, "AT_A_TIME", at_a_time)
        found = feature_rows_each(model, told)
    expected = [pane_rows(key, model, layout, pane, revision) for key, layout, pane, revision in told]
    assert [bits(rows) for rows in found] == [bits(rows) for rows in expected]
    alone = [feature_rows(key, model, layout, pane, revision) for key, layout, pane, revision in told]
    assert [bits(rows) for rows in alone] == [bits(rows) for rows in expected]
