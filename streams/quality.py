"""Data quality of one window, and the faults that look like drift and are not, as rows for the store. Pure.

Faults come before drift: a feature whose data are wrong cannot tell whether the world has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.reference import CategoricalProfile, NumericProfile
from driftline.schemas.results import QualityResult, Verdict
from driftline.streams.derived import sources
from driftline.streams.drift import yardstick
from driftline.streams.judge import Judged
from driftline.streams.layout import PREDICTION, SCORE, Float64, Int64, KeptByLayout, Layout
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


#: Its name, the value, the reference's, the threshold, and what is wrong where it is above that. Not by name: a window has hundreds.
_Check = tuple[str, float, float | None, float, str]


def quality(window: Judged) -> list[QualityResult]:
    """Every check of every feature, and of the window as a whole.

    `removed` (1 where no row has a feature, and by the reference that is no accident), `missing_rate`, `type_error_rate`; of numbers
    `out_of_range_rate` (outside the reference's range), of categories `new_category_rate` (shares of the window's rows) and `categories`
    (how many occur); `range` and `domain` where the file has them; `fingerprint`, a fault with its parameter.
    `added`: of a feature that the reference does not know the share of rows that have it; at most 50 such, told and not judged.
    Of the whole, as the feature `(rows)`: `volume`, `freshness` (seconds without events at its end), `duplicated_traffic` (share of the
    rows that come twice or more). Rows in panes of another reference are not counted by this one, so they are no part of the whole either.
    """
    layout = window.layout
    if layout is None:
        return []
    checks = list[tuple[str, _Check, int]]()
    every = [_Seen(*each) for each in zip(*_seen(layout, window.pane), strict=True)]
    for f, (seen, strange) in enumerate(zip(every, _strange(window, layout, every), strict=True)):
        if n := seen.present + seen.missing + seen.errors:
            checks += [(layout.names[f], check, n) for check in _checks(window, layout, f, seen, strange=strange)]
    n = window.pane.n
    added = window.pane.novel.get(ADDED, {})
    checks += [(name, ("added", rows / n, 0.0, math.nan, ""), n) for name, rows in sorted(added.items())]
    return _rows(window, checks + [(ROWS, check, n) for check in _traffic(window) if n])


def without_cell(window: Judged, name: str, rows: int) -> QualityResult:
    """The share of a window's `rows` that are in none of its cells of a watched name, `window.groups`: told, not judged."""
    inside = sum(pane.n for pane in window.groups.values())
    [told] = _rows(window, [(ROWS, ("without_cell", 1 - inside / max(rows, 1), None, math.nan, ""), rows)])
    said = f"{len(window.groups)} values of {name} have cells, as many as may: name those that matter under known_values"
    return msgspec.structs.replace(told, reason=said, coverage=0.0)


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
    if pane.n < TWICE_ROWS or int((used < pane.n).sum()) < TWICE_BINS or int(np.gcd.reduce(used[:TWICE_BINS])) == 1:
        return False  # a few bins nearly always tell
    return int(np.gcd.reduce(used)) > 1


def faults_of(checks: Iterable[QualityResult]) -> dict[str, str]:
    """What is wrong with the data of each feature that has a fault; what is wrong with the rows as such says nothing of features."""
    found: dict[str, str] = {}
    for check in checks:
        if check.verdict == "fault" and check.feature != ROWS and (check.feature not in found or check.check == "fingerprint"):
            found[check.feature] = check.reason
    return found


def _rows(window: Judged, checks: Iterable[tuple[str, _Check, int]]) -> list[QualityResult]:
    """Checks of a feature over so many rows, as rows for the store: a hundred and more of a window."""
    key, by, coverage, revision, least = window.key, window.by, window.coverage, window.revision, window.model.policy.min_samples
    rows = list[QualityResult]()
    for feature, (name, value, before, threshold, reason), n in checks:
        without = f"{n} rows; {least} are needed" if n < least else window.unjudged
        fault = not without and value > threshold
        verdict: Verdict = "insufficient" if without else "fault" if fault else "ok"
        limit = threshold if math.isfinite(threshold) else None
        why = without or (reason if fault else "")
        rows.append(QualityResult(*key, feature, name, value, before, limit, n, verdict, why, *by, coverage, revision))
    return rows


class _Seen(NamedTuple):
    """Rows of one feature in a window: with a value, without one, with one of a wrong type; and those of the values in the outer bins."""

    present: int
    missing: int
    errors: int
    first: int
    last: int


def _seen(layout: Layout, pane: Pane) -> list[list[int]]:
    """The fields of `_Seen`, of all features."""
    if not layout.names:
        return [[]] * 5
    counts, starts, ends = pane.counts, layout.starts, layout.starts + layout.bins
    missing, errors = counts[ends], counts[ends + 1]
    present = np.add.reduceat(counts, starts) - missing - errors
    return [each.tolist() for each in (present, missing, errors, counts[starts], counts[ends - 1])]


class _Usual(NamedTuple):
    """What the checks of each feature are held against, from its reference; of categories the moments are those of no rows."""

    missing: list[float]  # share of the rows
    beyond: list[float]  # share of the values that lie in the outer bins, or are of none of the categories
    categories: list[float]  # how many occur
    is_hour: NDArray[np.bool_]
    numeric: NDArray[np.bool_]
    moments: Float64  # rows, mean and m2, shape (3, features)


@KeptByLayout
def _usual(layout: Layout) -> _Usual:
    profiles = layout.profiles
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
    )


def _strange(window: Judged, layout: Layout, seen: list[_Seen]) -> list[bool]:
    """Which features may have a `fingerprint`: the part of its questions that is cheap to ask of all at once. Most windows have none."""
    pane, usual = window.pane, _usual(layout)
    found = usual.is_hour | (pane.extremes[:, 0] == pane.extremes[:, 1])
    for part in (pane, *(part for part in window.panes if len(window.panes) > 1 and part.reference == layout.hash)):
        found |= _moved(layout, part, usual)
    return [
        strange if numeric else each.last > 0 for strange, numeric, each in zip(found.tolist(), usual.numeric.tolist(), seen, strict=True)
    ]


def _moved(layout: Layout, pane: Pane, usual: _Usual) -> NDArray[np.bool_]:
    """Which features lie so far from their reference that their unit may be another one."""
    n, (total, squares) = np.array(_seen(layout, pane)[0], np.float64), pane.sums.T
    with np.errstate(all="ignore"):
        m2 = np.maximum(squares - total * total / n, 0.0) * layout.scale * layout.scale
        return may_be_converted(usual.moments, np.stack([n, layout.centre + layout.scale * total / n, m2]))


def _checks(window: Judged, layout: Layout, f: int, seen: _Seen, *, strange: bool) -> Iterator[_Check]:
    profile, policy, usual, (present, missing, errors, first, last) = layout.profiles[f], window.model.policy, _usual(layout), seen
    n, before = present + missing + errors, usual.missing[f]
    removed = missing == n and before ** (n / _alike(layout, f)) < UNLIKELY
    gone = f"no event of the window has it; {100 * (1 - before):.1f} % of the reference's rows do" if removed else ""
    yield "removed", float(removed), 0.0, 0.5, gone
    limit, share = before + policy.missing_rise, missing / n
    said = f"{100 * share:.1f} % missing, {100 * before:.1f} % in the reference" if share > limit else ""
    yield "missing_rate", share, before, limit, said
    share = errors / n
    said = f"{100 * share:.1f} % of the values are of a wrong type" if share > policy.type_errors else ""
    yield "type_error_rate", share, 0.0, policy.type_errors, said
    if isinstance(profile, CategoricalProfile):
        yield "new_category_rate", last / n, usual.beyond[f], math.nan, ""
        known, unseen = np.count_nonzero(layout.stretch(window.pane.counts, f)[0][:-1]), len(window.pane.novel.get(layout.names[f], {}))
        yield "categories", float(known) + unseen, usual.categories[f], math.nan, ""
    else:
        yield "out_of_range_rate", (first + last) / n, usual.beyond[f], math.nan, ""
    if present and (layout.names[f] in window.model.ranges or layout.names[f] in window.model.domains):
        yield from _declared(window, layout, f, layout.stretch(window.pane.counts, f)[0], n)
    fault = fingerprint(window, layout, f) if present and strange else None
    yield "fingerprint", float(fault is not None), 0.0, 0.5, fault.message if fault else ""


def _declared(window: Judged, layout: Layout, f: int, bins: Int64, n: int) -> Iterator[_Check]:
    """The range or domain that the model's file declares: the share of the rows outside.

    Exact where the reference was made under the same range, for then its bounds are edges; else of bins that lie outside as a whole, and
    one row at least where the extremes do. Of categories beyond those that reference and panes keep by name as many are taken to be outside
    as of the unseen that panes do keep: they are picked by their hash alone. All, where the reference has the whole domain by name.
    """
    name, profile, model = layout.names[f], layout.profiles[f], window.model
    if isinstance(profile, NumericProfile) and name in model.ranges:
        least, most = model.ranges[name]
        edges, (low, high) = np.array(profile.edges), window.pane.extremes[f].tolist()
        outside = int(bins[: int(np.searchsorted(edges, least, side="right"))].sum()) if least > -math.inf else 0
        outside += int(bins[int(np.searchsorted(edges, most, side="right")) + 1 :].sum()) if most < math.inf else 0
        outside = max(outside, int(low < least) + int(high > most))
        said = f"{100 * outside / n:.1f} % of the values lie outside {least:g} to {most:g}: {low:g} to {high:g}"
        yield "range", outside / n, 0.0, model.policy.type_errors, said
    if isinstance(profile, CategoricalProfile) and name in model.domains:
        domain, unseen = set(model.domains[name]), window.pane.novel.get(name, {})
        strange = {text: int(count) for text, count in zip(profile.categories, bins, strict=False) if count and text not in domain}
        named = sum(unseen.values())
        novel = {text: count for text, count in unseen.items() if text not in domain}
        share = 1.0 if domain <= set(profile.categories) else sum(novel.values()) / max(named, 1)
        beyond = sum(strange.values()) + sum(novel.values()) + (int(bins[-1]) - named) * share
        strange |= novel
        listed = ", ".join(sorted(strange, key=lambda text: (-strange[text], text))[:3])
        said = f"{100 * beyond / n:.1f} % of the values are not in the domain: {listed}"
        yield "domain", beyond / n, 0.0, model.policy.type_errors, said


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
