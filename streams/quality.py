"""Data quality of one window, and the faults that look like drift and are not, as rows for the store. Pure.

Faults come before drift: a feature whose data are wrong cannot tell whether the world has changed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.packed import Coded
from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.schemas.results import Columns, QualityResult, end_to_end, in_runs, taken
from driftline.streams.derived import sources
from driftline.streams.drift import yardstick
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.layout import PREDICTION, SCORE, Bool, Float64, Int64, KeptByLayout, Layout, some_of
from driftline.streams.packing import Column, finite, floats, texts, times, wholes
from driftline.streams.panes import ADDED, Pane
from driftline.streams.stats import Fault, Moments, category_rename, clock_shift, psi, stuck_value, unit_change
from driftline.streams.stats.faults import CONVERSIONS, may_be_converted

PART_ROWS = 30  # rows of a pane from which a fault in a part of the window is looked for
UNLIKELY = 1e-6  # chance below which values that are all alike, all missing or in other units are no accident
COARSE = 0.03  # PSI that comes of taking the values of a bin to lie evenly in it
LARGE = 6.0  # a conversion by this factor or more, or of the sign, is recognised in single panes
HOURS = (0.0, 23.0)  # of a feature that may be the hour of the day

ROWS = "(rows)"
TWICE_ROWS, TWICE_BINS = 200, 30  # rows of a pane, and bins in use, whose being all even is no accident (2⁻³⁰)


#: Its name, the value, the reference's, the threshold, and what is wrong where it is above that.
_Check = tuple[str, float, float | None, float, str]
_REMOVED, _MISSING, _ERRORS, _BEYOND, _CATEGORIES, _DECLARED, _FINGERPRINT = range(7)  # checks that features have, in the order of rows
_NOTHING: Columns[QualityResult] = Columns(QualityResult, 0, tuple([] for _ in QualityResult.__struct_fields__))


def quality(window: Judged) -> Columns[QualityResult]:
    """Every check of every feature, and of the window as a whole.

    `removed` (1 where no row has a feature, and by the reference that is no accident), `missing_rate`, `type_error_rate`; of numbers
    `out_of_range_rate` (outside the reference's range), of categories `new_category_rate` (shares of the window's rows) and `categories`
    (how many occur); `range` and `domain` where the file has them; `fingerprint`, a fault with its parameter.
    `added`: of a feature that the reference does not know the share of rows that have it; at most 50 such, told and not judged.
    Of the whole, as the feature `(rows)`: `volume`, `freshness` (seconds without events at its end), `duplicated_traffic` (share of the
    rows that come twice or more). Rows in panes of another reference are not counted by this one, so they are no part of the whole either.
    """
    return next(iter(quality_each([window])), _NOTHING)


def quality_each(windows: Sequence[Judged], seen: Mapping[int, Look] = MappingProxyType({})) -> list[Columns[QualityResult]]:
    """`quality` of several windows of one model, those of one reference side by side, and those with the same rows as one part. `seen` is
    what `looks` found of their panes.
    """
    of: defaultdict[Layout, list[Judged]] = defaultdict(list)
    for window in windows:
        if window.layout is not None:
            of[window.layout].append(window)
    return [part for layout, mine in of.items() for some in some_of(mine, layout) for part in _side_by_side(layout, some, seen)]


def without_cell(window: Judged, name: str, rows: int) -> QualityResult:
    """The share of a window's `rows` that are in none of its cells of a watched name, `window.groups`: told, not judged."""
    inside, least = sum(pane.n for pane in window.groups.values()), window.model.policy.min_samples
    said = f"{len(window.groups)} values of {name} have cells, as many as may: name those that matter under known_values"
    return QualityResult(
        feature=ROWS, check="without_cell", value=1 - inside / max(rows, 1), reference_value=None, threshold=None, n=rows,
        verdict="insufficient" if rows < least or window.unjudged else "ok", reason=said, coverage=0.0, **window.common,
    )  # fmt: skip


def _of_whole(window: Judged) -> Iterator[tuple[str, _Check]]:
    """The checks of features that the reference does not know, and of a window as a whole."""
    for name, told in sorted(window.pane.novel.get(ADDED, {}).items()):
        yield name, ("added", told / window.pane.n, 0.0, math.nan, "")
    if window.pane.n:
        yield from ((ROWS, check) for check in _traffic(window))


def _traffic(window: Judged) -> Iterator[_Check]:
    """The checks of a window as a whole."""
    n, usual, policy = window.pane.n, window.usual, window.model.policy
    factor = max(n / usual, usual / n) if usual and n else 0.0
    if 1 < policy.volume_change < factor:
        said = f"{n} rows, where windows of the last week have {usual:g}"
        yield "volume", float(n), usual, -math.inf, said
    else:
        yield "volume", float(n), usual, math.inf, ""
    if window.newest is not None:
        silence, limit = (window.key.end - window.newest) / 1000, policy.max_silence_ms / 1000
        yield "freshness", silence, None, limit or math.inf, f"no event in the last {silence:g} seconds of the window"
    twice = sum(pane.n for pane in window.panes if _comes_twice(pane))
    if window.panes:
        yield "duplicated_traffic", twice / n, 0.0, 0.01, f"{100 * twice / n:.0f} % of the rows come twice or more, in pairs alike"


def _comes_twice(pane: Pane) -> bool:
    """Whether every bin of every feature has an even number of rows (or a multiple of three, …): all rows come with a copy."""
    used = pane.counts[pane.counts > 0]
    if pane.n < TWICE_ROWS or int(np.gcd.reduce(used[:TWICE_BINS])) == 1 or int((used < pane.n).sum()) < TWICE_BINS:
        return False  # a few bins nearly always tell
    return int(np.gcd.reduce(used)) > 1


def faults_of(checks: Columns[QualityResult]) -> dict[str, str]:
    """What is wrong with the data of each feature that has a fault; what is wrong with the rows as such says nothing of features."""
    return next(iter(faults_each([checks]).values()), {})


def faults_each(checks: Iterable[Columns[QualityResult]]) -> dict[WindowKey, dict[str, str]]:
    """The same of each window that has a fault, of a feature or of the rows as such."""
    found: defaultdict[WindowKey, dict[str, str]] = defaultdict(dict)
    for part in checks:
        faults = part.having("verdict", "fault")
        for row in part.take(faults) if faults else ():
            mine = found[WindowKey(row.model, row.version, row.segment, row.window_start, row.window_end)]
            if row.feature != ROWS and (row.feature not in mine or row.check == "fingerprint"):
                mine[row.feature] = row.reason
    return found


def _side_by_side(layout: Layout, windows: Sequence[Judged], seen: Mapping[int, Look]) -> Iterator[Columns[QualityResult]]:
    """Of windows of one model and reference."""
    plan, looked = _plan(layout, windows[0].model), [seen.get(id(each.pane)) or _looks(layout, [each.pane])[0] for each in windows]
    values, n, known, wrong = _of_features(windows, layout, plan, looked)
    others = [[*_of_whole(window)] for window in windows]
    alike: defaultdict[tuple[bytes, tuple[tuple[str, str], ...]], list[int]] = defaultdict(list)  # those with the same rows
    for w, (there, more) in enumerate(zip(known, others, strict=True)):
        alike[there.tobytes(), tuple([(name, check[0]) for name, check in more])].append(w)
    for (_, names), mine in alike.items():
        left, told = np.flatnonzero(known[mine[0]]), [[check[1:4] for _, check in others[w]] for w in mine]
        many, size = len(mine), len(left) + len(names)
        if not size:
            continue
        before = np.broadcast_to(np.stack([plan.before, plan.limits])[:, None, left], (2, many, len(left)))
        of_others = np.array(told, np.float64).reshape(many, len(names), 3).transpose(2, 0, 1)  # None becomes NaN
        figures = finite(np.concatenate([np.concatenate([values[None, mine][..., left], before]), of_others], 2))
        rows = np.concatenate([n[mine][:, left], np.repeat([[windows[w].pane.n] for w in mine], len(names), 1)], 1)
        why = dict[int, str]()
        for i, w in enumerate(mine):
            why |= {i * size + int(np.searchsorted(left, f)): said for f, said in wrong[w].items()}
            above = ((k, said) for k, (_, (_, value, _, limit, said)) in enumerate(others[w], len(left)) if value > limit)
            why |= {i * size + k: said for k, said in above}
        yield _told([windows[w] for w in mine], _names(plan, left, names), figures, rows, why)


def _names(plan: _Plan, left: Int64, others: tuple[tuple[str, str], ...]) -> tuple[Column, Column]:
    """The features and the checks of those rows of a plan that are left, and of others."""
    whole, sizes = len(left) == len(plan.f), (len(left), len(others))
    if not whole or others not in plan.ends:
        mine = [taken(each, left.tolist(), len(plan.f)) for each in (plan.features, plan.checks)]
        more = [texts(each) for each in zip(*others, strict=True)]
        names = [end_to_end(each, sizes, Coded) for each in zip(mine, more, strict=True)] if others else mine
        if not whole:
            return names[0], names[1]
        plan.ends.clear()
        plan.ends[others] = names[0], names[1]
    return plan.ends[others]


def _told(
    windows: Sequence[Judged], names: tuple[Column, Column], figures: Float64, n: Int64, wrong: Mapping[int, str]
) -> Columns[QualityResult]:
    """Checks as rows for the store, of windows that have the same. `figures` are values, the reference's values and limits, of shape
    (3, windows, rows); `wrong` says of those above their limits what it is, by place.
    """
    least, (many, size) = windows[0].model.policy.min_samples, n.shape
    few = dict[int, str]()
    for w in np.flatnonzero((n.min(1) < least) | [bool(window.unjudged) for window in windows]).tolist():
        without = ((i, f"{each} rows; {least} are needed" if each < least else windows[w].unjudged) for i, each in enumerate(n[w].tolist()))
        few |= {w * size + i: why for i, why in without if why}
    verdicts: Column = ["ok"]
    reasons: Column = [""]
    if few or wrong:
        verdicts = texts(["insufficient" if i in few else "fault" if i in wrong else "ok" for i in range(n.size)])
        reasons = texts([few.get(i) or wrong.get(i, "") for i in range(n.size)])
    runs = [size] * many
    about = [in_runs(each, runs) for each in zip(*((*w.key, *w.by, w.coverage, w.revision) for w in windows), strict=True)]
    return Columns(QualityResult, n.size, (
        *about[:5], *(times(each, many) for each in names), *map(floats, figures), wholes(n.ravel()), verdicts, reasons, *about[5:],
    ))  # fmt: skip


class _Plan(NamedTuple):
    """The rows of a layout's features: all that is the same in every window."""

    features: Column
    checks: Column
    before: Float64
    limits: Float64  # NaN where there is none
    f: Int64  # which feature
    kind: Int64  # which of the seven checks
    declared: list[int]  # rows of declared ranges and domains
    ends: dict[tuple[tuple[str, str], ...], tuple[Column, Column]]  # the names of these rows and others (`_names`)


def _plan(layout: Layout, model: Model) -> _Plan:
    """Made once for a layout and what of a model's file it depends on; of a file that has changed anew."""
    policy, kept = model.policy, _plans(layout)
    about = policy.missing_rise, policy.type_errors, *sorted(model.ranges), None, *sorted(model.domains)
    if about not in kept:
        kept.clear()
        kept[about] = _planned(layout, model)
    return kept[about]


@KeptByLayout
def _plans(_: Layout) -> dict[tuple[object, ...], _Plan]:
    return {}


def _planned(layout: Layout, model: Model) -> _Plan:
    policy, usual = model.policy, _usual(layout)
    rows: list[tuple[str, str, float | None, float, int, int]] = []
    for f, (name, profile) in enumerate(zip(layout.names, layout.profiles, strict=True)):
        before = usual.missing[f]
        checks: list[tuple[int, str, float, float]] = [
            (_REMOVED, "removed", 0.0, 0.5),
            (_MISSING, "missing_rate", before, before + policy.missing_rise),
            (_ERRORS, "type_error_rate", 0.0, policy.type_errors),
        ]
        if isinstance(profile, CategoricalProfile):
            checks.append((_BEYOND, "new_category_rate", usual.beyond[f], math.nan))
            checks.append((_CATEGORIES, "categories", usual.categories[f], math.nan))
            checks += [(_DECLARED, "domain", 0.0, policy.type_errors)] if name in model.domains else []
        else:
            checks.append((_BEYOND, "out_of_range_rate", usual.beyond[f], math.nan))
            checks += [(_DECLARED, "range", 0.0, policy.type_errors)] if name in model.ranges else []
        checks.append((_FINGERPRINT, "fingerprint", 0.0, 0.5))
        rows += [(name, check, known, limit, f, kind) for kind, check, known, limit in checks]
    features, names, known, limits, of, kinds = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [], [], [])
    return _Plan(
        texts(features), texts(names), np.array(known, np.float64), np.array(limits, np.float64),
        np.array(of, np.int64), np.array(kinds, np.int64), [i for i, kind in enumerate(kinds) if kind == _DECLARED], {},
    )  # fmt: skip


def _of_features(
    windows: Sequence[Judged], layout: Layout, plan: _Plan, seen: Sequence[Look]
) -> tuple[Float64, Int64, Bool, list[dict[int, str]]]:
    """Of the rows of all features the values, of how many rows of each window, and which there are, of shape (windows, rows); and what is
    wrong by row. Only what seems wrong is looked at feature by feature.
    """
    usual, (n, present, figures, gone, strange) = _usual(layout), map(np.stack, zip(*seen, strict=True))
    said = dict[tuple[int, int, int], str]()
    for w, f in zip(*map(np.ndarray.tolist, gone.nonzero()), strict=True):
        if usual.missing[f] ** (int(n[w, f]) / _alike(layout, f)) < UNLIKELY:
            figures[w, _REMOVED, f] = 1.0
            said[w, _REMOVED, f] = f"no event of the window has it; {100 * (1 - usual.missing[f]):.1f} % of the reference's rows do"
    declared = plan.f[plan.declared]
    for w, d in zip(*map(np.ndarray.tolist, present[:, declared].nonzero()), strict=True):
        f = int(declared[d])
        bins = layout.stretch(windows[w].pane.counts, f)[0]
        figures[w, _DECLARED, f], said[w, _DECLARED, f] = _declared(windows[w], layout, f, bins, int(n[w, f]))
    for w, window in enumerate(windows):
        parts = [part for part in window.panes if part.reference == layout.hash] if len(window.panes) > 1 else []
        if parts:
            strange[w] |= usual.numeric & _moved(layout, parts, np.stack([part.counts for part in parts])).any(0)
    for w, f in zip(*map(np.ndarray.tolist, (strange & (present > 0)).nonzero()), strict=True):
        if fault := fingerprint(windows[w], layout, f):
            figures[w, _FINGERPRINT, f], said[w, _FINGERPRINT, f] = 1.0, fault.message
    values, rows_of = figures[:, plan.kind, plan.f], n[:, plan.f]
    known = rows_of > 0
    known[:, plan.declared] = present[:, declared] > 0
    wrong: list[dict[int, str]] = [{} for _ in windows]
    for w, i in zip(*map(np.ndarray.tolist, ((values > plan.limits) & known).nonzero()), strict=True):
        wrong[w][i] = said.get((w, int(plan.kind[i]), int(plan.f[i]))) or _why(plan, i, values.item(w, i))
    return values, rows_of, known, wrong


def _why(plan: _Plan, i: int, share: float) -> str:
    """What is wrong with a share of missing values, or of such of a wrong type, that is above its limit."""
    if plan.kind[i] == _MISSING:
        return f"{100 * share:.1f} % missing, {100 * plan.before.item(i):.1f} % in the reference"
    return f"{100 * share:.1f} % of the values are of a wrong type"


class Look(NamedTuple):
    """What `quality` asks of all features of a window at once."""

    n: Int64  # rows
    present: Int64  # those with a value
    figures: Float64  # of each of the seven checks; shape (7, features)
    gone: Bool  # no row has it
    strange: Bool  # it may have a fingerprint, by the part of its questions that is cheap to ask; most windows have none


def looks(windows: Iterable[tuple[Layout, Pane]]) -> dict[int, Look]:
    """Work out beforehand what `quality` asks of several windows, by the identity of their panes; those of one reference side by side."""
    panes: defaultdict[Layout, list[Pane]] = defaultdict(list)
    for layout, pane in windows:
        panes[layout].append(pane)
    found = dict[int, Look]()
    for layout, mine in panes.items():
        for some in some_of(mine, layout):
            found |= zip(map(id, some), _looks(layout, some), strict=True)
    return found


def _looks(layout: Layout, panes: Sequence[Pane]) -> list[Look]:
    if not layout.names:
        nothing, no = np.zeros(0, np.int64), np.zeros(0, bool)
        return [Look(nothing, nothing, np.zeros((7, 0)), no, no) for _ in panes]
    usual, counts = _usual(layout), np.stack([pane.counts for pane in panes])
    extremes, n = np.stack([pane.extremes for pane in panes]), np.add.reduceat(counts, layout.starts, axis=1)
    missing, errors, last, first = counts[:, usual.places].swapaxes(0, 1)
    present, figures = n - missing - errors, np.zeros((len(panes), 7, len(layout.names)))
    with np.errstate(all="ignore"):
        figures[:, _MISSING], figures[:, _ERRORS] = missing / n, errors / n
        figures[:, _BEYOND] = (last + first * usual.numeric) / n
    others = (missing != 0) + 0 + (errors != 0) + (last != 0)
    figures[:, _CATEGORIES] = np.add.reduceat(counts != 0, layout.starts, axis=1, dtype=np.int64) - others
    for pane, mine in zip(panes, figures, strict=True):
        if pane.novel:
            mine[_CATEGORIES] += [len(pane.novel.get(name, ())) for name in layout.names]
    found = usual.is_hour | (extremes[..., 0] == extremes[..., 1]) | _moved(layout, panes, counts)
    strange = np.where(usual.numeric, found, last > 0)
    return [Look(*each) for each in zip(n, present, figures, (missing == n) & (n > 0), strange, strict=True)]


def _moved(layout: Layout, panes: Sequence[Pane], counts: Int64) -> Bool:
    """Which features of each pane lie so far from their reference that their unit may be another one; shape (panes, features)."""
    ends, sums = layout.starts + layout.bins, np.stack([pane.sums for pane in panes])
    n = (np.add.reduceat(counts, layout.starts, axis=1) - counts[:, ends] - counts[:, ends + 1]).astype(np.float64)
    total, squares = sums[..., 0], sums[..., 1]
    with np.errstate(all="ignore"):
        m2 = np.maximum(squares - total * total / n, 0.0) * layout.scale * layout.scale
        return may_be_converted(_usual(layout).moments, np.stack([n, layout.centre + layout.scale * total / n, m2]))


class _Usual(NamedTuple):
    """What the checks of each feature are held against, from its reference; of categories the moments are those of no rows."""

    missing: list[float]  # share of the rows
    beyond: list[float]  # share of the values that lie in the outer bins, or are of none of the categories
    categories: list[float]  # how many occur
    is_hour: Bool
    numeric: Bool
    moments: Float64  # rows, mean and m2, shape (3, features)
    places: Int64  # in a vector of counts: of missing values, errors, the last bin and the first; shape (4, features)


@KeptByLayout
def _usual(layout: Layout) -> _Usual:
    profiles, ends = layout.profiles, layout.starts + layout.bins
    numeric = [profile if isinstance(profile, NumericProfile) else None for profile in profiles]
    return _Usual(
        [profile.missing / max(profile.n + profile.missing, 1) for profile in profiles],
        [
            (profile.other if isinstance(profile, CategoricalProfile) else profile.counts[0] + profile.counts[-1]) / max(profile.n, 1)
            for profile in profiles
        ],
        [float(np.count_nonzero(profile.counts)) for profile in profiles],
        np.array([profile is not None and (profile.minimum, profile.maximum) == HOURS for profile in numeric], bool),
        np.array([profile is not None for profile in numeric], bool),
        np.array([(profile.n, profile.mean, profile.m2) if profile else (0.0, 0.0, 0.0) for profile in numeric]).reshape(-1, 3).T,
        np.stack([ends, ends + 1, ends - 1, layout.starts]),
    )


def _declared(window: Judged, layout: Layout, f: int, bins: Int64, n: int) -> tuple[float, str]:
    """The share of the rows outside the range or domain that the model's file declares, and which those are.

    Exact where the reference was made under the same range, for then its bounds are edges; else of bins that lie outside as a whole, and
    one row at least where the extremes do. Of categories beyond those that reference and panes keep by name as many are taken to be outside
    as of the unseen that panes do keep: they are picked by their hash alone. All, where the reference has the whole domain by name.
    """
    name, profile, model = layout.names[f], layout.profiles[f], window.model
    if isinstance(profile, NumericProfile):
        least, most = model.ranges[name]
        edges, (low, high) = np.array(profile.edges), window.pane.extremes[f].tolist()
        outside = int(bins[: int(np.searchsorted(edges, least, side="right"))].sum()) if least > -math.inf else 0
        outside += int(bins[int(np.searchsorted(edges, most, side="right")) + 1 :].sum()) if most < math.inf else 0
        outside = max(outside, int(low < least) + int(high > most))
        return outside / n, f"{100 * outside / n:.1f} % of the values lie outside {least:g} to {most:g}: {low:g} to {high:g}"
    domain, unseen = set(model.domains[name]), window.pane.novel.get(name, {})
    strange = {text: int(count) for text, count in zip(profile.categories, bins, strict=False) if count and text not in domain}
    named = sum(unseen.values())
    novel = {text: count for text, count in unseen.items() if text not in domain}
    share = 1.0 if domain <= set(profile.categories) else sum(novel.values()) / max(named, 1)
    beyond = sum(strange.values()) + sum(novel.values()) + (int(bins[-1]) - named) * share
    strange |= novel
    listed = ", ".join(sorted(strange, key=lambda text: (-strange[text], text))[:3])
    said = f"{100 * beyond / n:.1f} % of the values are not in the domain: {listed}"
    return beyond / n, said


def fingerprint(window: Judged, layout: Layout, f: int) -> Fault | None:
    """The fault of the data that explains how a feature changed, if there is one that does."""
    pane, profile = window.pane, layout.profiles[f]
    if isinstance(profile, CategoricalProfile):
        return _renamed(layout, pane, f, profile)
    now = moments(layout, pane, f)
    if not math.isfinite(now.mean) or not math.isfinite(now.m2):
        return None
    stuck = _stuck(layout, pane, f, profile, now)
    name = layout.names[f]
    unmeasured = {PREDICTION, SCORE, *layout.reference.clocks}
    if stuck or name in unmeasured or sources(window.model.features).get(name.rpartition(".")[0]):
        # Nobody measures an answer, an id, or what is derived from a text or vector, in other units.
        return stuck
    return _converted(layout, pane, f, profile, now) or _clock(layout, pane, f, profile) or _in_parts(window, layout, f)


def _converted(layout: Layout, pane: Pane, f: int, profile: NumericProfile, now: Moments, looks: int = 1) -> Fault | None:
    """Other units: mean and spread fit a conversion, and so does the shape. Real drift often fits the former by chance.

    So do the moments of a long tail, which waver by as much as a conversion changes them. The counts tell that there was none: without one
    they are so much likelier under a conversion once in as many windows, whatever the tail (a likelihood ratio is 1 on average).
    """
    fault = unit_change(Moments(profile.n, profile.mean, profile.m2), now)
    if fault is None:
        return None
    counts = layout.stretch(pane.counts, f)[0]
    scale, offset = float(fault.parameters["scale"]), float(fault.parameters["offset"])
    # Rows that are like their neighbours say the same thing several times; half a row is lent to each bin.
    before, after = np.array(profile.counts) + 0.5, _shares_of(profile, scale, offset) * profile.n + 0.5
    likelier = float(counts @ np.log(after / before)) / _alike(layout, f)
    if likelier < math.log(len(CONVERSIONS) * looks / UNLIKELY):
        return None
    chance = len(counts) * (1 / now.n + 1 / max(profile.n, 1))  # the PSI of two samples of one distribution, on average
    return fault if psi(after - 0.5, counts) < 1.5 * chance + COARSE else None


def _alike(layout: Layout, f: int) -> float:
    """How many rows of a feature say no more than one, as its reference knows: neighbours that are alike are not so many accidents."""
    return yardstick(layout).test(layout.names[f]).dispersion


def _shares_of(profile: NumericProfile, scale: float, offset: float) -> Float64:
    """The reference's shares by bin if its values were converted, those of one bin taken to lie evenly in it."""
    edges = np.array(profile.edges)
    low = edges[0] if profile.minimum is None else min(profile.minimum, edges[0])
    high = edges[-1] if profile.maximum is None else max(profile.maximum, edges[-1])
    below = np.concatenate([[0.0], np.cumsum(profile.counts)]) / max(profile.n, 1)
    share = np.interp((edges - offset) / scale, [low, *edges, high], below)
    return np.diff([0.0, *(share if scale > 0 else 1 - share), 1.0])


def moments(layout: Layout, pane: Pane, f: int) -> Moments:
    """A numeric feature's exact moments in a pane of this layout."""
    n = int(layout.stretch(pane.counts, f)[0].sum())
    total, squares = pane.sums[f].tolist()
    centre, scale = float(layout.centre[f]), float(layout.scale[f])
    if not n or not math.isfinite(squares):
        return Moments(n, math.nan, math.nan)
    return Moments(n, centre + scale * total / n, max(squares - total * total / n, 0.0) * scale * scale)


def _stuck(layout: Layout, pane: Pane, f: int, profile: NumericProfile, now: Moments) -> Fault | None:
    found = stuck_value(Moments(profile.n, profile.mean, profile.m2), now, *pane.extremes[f].tolist())
    if found is None:
        return None
    often = profile.counts[int(layout.stretch(pane.counts, f)[0].argmax())] / max(profile.n, 1)
    return None if often and now.n / _alike(layout, f) * math.log(often) > math.log(UNLIKELY) else found


def _renamed(layout: Layout, pane: Pane, f: int, profile: CategoricalProfile) -> Fault | None:
    bins = layout.stretch(pane.counts, f)[0]
    if bins[-1] < 0.01 * bins.sum():
        return None
    known = {text: int(count) for text, count in zip(profile.categories, bins, strict=False)}
    unseen = pane.novel.get(layout.names[f], {})
    left = int(bins[-1]) - sum(unseen.values())
    before = {**dict(zip(profile.categories, profile.counts, strict=True)), **({"": profile.other} if profile.other else {})}
    # The rest of the reference is no category that could be gone: its names are among the unseen.
    now = {**known, **unseen, **({"": max(left, 1)} if left > 0 or profile.other else {})}
    alike = _alike(layout, f)
    found = category_rename({name: rows / alike for name, rows in before.items()}, {name: rows / alike for name, rows in now.items()})
    return found[0]._replace(message="; ".join(fault.message for fault in found[:4])) if found else None


def _clock(layout: Layout, pane: Pane, f: int, profile: NumericProfile) -> Fault | None:
    """A shifted clock, of a feature that is the hour of the day."""
    if (profile.minimum, profile.maximum) != HOURS:
        return None
    place = np.searchsorted(np.array(profile.edges), np.arange(24.0), side="right")
    if len(set(place.tolist())) < 24:
        return None
    counts, before = layout.stretch(pane.counts, f)[0], np.array(profile.counts)
    return clock_shift(before[place], counts[place]) if counts[place].sum() == counts.sum() else None


def _in_parts(window: Judged, layout: Layout, f: int) -> Fault | None:
    """A conversion by a large factor that begins or ends in the middle of the window: some of its panes have it, the others do not."""
    profile = layout.profiles[f]
    assert isinstance(profile, NumericProfile)
    if len(window.panes) < 2:
        return None
    found, looked_at = list[Fault](), 0
    for pane in window.panes:
        now = moments(layout, pane, f) if pane.reference == layout.hash else Moments(0, 0.0, 0.0)
        if now.n < PART_ROWS or not math.isfinite(now.m2):
            continue
        looked_at += 1
        fault = _converted(layout, pane, f, profile, now, len(window.panes))
        if fault and (fault.kind == "sign_flip" or abs(math.log(float(fault.parameters["scale"]))) >= math.log(LARGE)):
            found.append(fault)
    return found[0]._replace(message=f"{found[0].message} (in {len(found)} of {looked_at} panes)") if found else None
