"""`make bench-quality`, part one: verdicts of drift, ours beside those of other libraries, on the streams of `shifts`.

First without any change: how many windows of a thousand features have a false alarm. Then with ten features changed: how many of the
changed ones are found in a window, where every other library gets the limit that it would have needed to raise no false alarm. Then how
long the evidence of lasting drift runs without an alarm where nothing drifts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import matplotlib
import msgspec
import numpy as np
import pandas as pd
import shifts
from numpy.typing import NDArray

from driftline.schemas.config import HOUR_MS, Model, Policy
from driftline.schemas.reference import NumericProfile
from driftline.schemas.results import DriftResult
from driftline.streams.drift import drift, level
from driftline.streams.judge import Judged, WindowKey
from driftline.streams.lasting import Lasting, allowance
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import reference_from_frame
from driftline.streams.quality import faults_of, quality
from driftline.streams.stats import DriftEvidence, SmoothTest, benjamini_hochberg, bin_counts, score_basis
from driftline.streams.stats.drift_evidence import BETS, gathered

sys.path.insert(0, str(Path(__file__).parents[1]))
from environments import PEERS, python_of

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[2]
#: What each library does when it comes as it is.
WHAT = {
    "SciPy": "SciPy: the Kolmogorov-Smirnov test for numbers and the chi-square test for categories, in three ways.",
    "Evidently": "Evidently: the test and the limit that it chooses by itself.",
    "NannyML": "NannyML: the Jensen-Shannon distance outside three standard deviations of the reference's chunks.",
    "whylogs": "whylogs: its category DRIFT.",
}
WANTED = 0.05  # share of windows with a false alarm
LIBRARIES = ("scipy", "evidently", "nannyml", "whylogs")
SEEDS = (1, 2, 3)
Flags = NDArray[np.bool_]  # (windows, features); of several seeds together (seeds, windows, features)
#: By cell and kind of change ("" for none): what was flagged.
Found = dict[tuple[str, str], Flags]
OURS, ANY, STAYS, FAULT = "driftline", "driftline, of any size", "driftline, lasting", "fault"


class Said(NamedTuple):
    """What a library says of a stream: figures, larger for more drift, and its own verdict."""

    scores: NDArray[np.float64]
    flags: Flags


def said_by(library: str, seed: int, keep: Path) -> dict[tuple[str, str], Said]:
    """By cell and kind of change; made the first time."""
    said = {}
    for cell in shifts.CELLS:
        target = keep / f"{library}-{seed}-{cell.rows}-{cell.memory:g}.npz"
        if not target.exists():
            python = python_of(library) if library in PEERS else Path(sys.executable)
            script = str(Path(__file__).with_name("drift_alarms.py"))
            quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}  # no benchmark tells anybody about itself
            subprocess.run([str(python), script, library, str(seed), cell.name, str(target)], check=True, env=quiet)
        with np.load(target) as file:
            for kind in [name.removeprefix("flags/") for name in file.files if name.startswith("flags/")]:
                scores = np.nan_to_num(file[f"scores/{kind}"], nan=-np.inf)
                said[cell.name, kind] = Said(scores, file[f"flags/{kind}"])
    return said


def model_of() -> Model:
    """Windows of an hour, and a budget by which one in twenty may have a false alarm."""
    features = {f"f{i}": "categorical" if shifts.is_category(i) else "numeric" for i in range(shifts.FEATURES)}
    policy = Policy(min_samples=100, false_alarms=WANTED * 7 * 24)
    return Model("bench", features=features, tests=("psi",), policy=policy)


class Stream:
    """What the stream would say of windows that follow one another."""

    def __init__(self, model: Model, layout: Layout) -> None:
        self._model, self._layout, self._lasting, self._at = model, layout, Lasting(), 0

    def judge(self, x: NDArray[np.float64]) -> tuple[Sequence[DriftResult], Sequence[DriftResult]]:
        """The rows of a window with these values, and those of lasting drift after it."""
        pane = counted(self._layout, x)
        start = self._at * HOUR_MS
        self._at += 1
        window = Judged(WindowKey("bench", "1", "", start, start + HOUR_MS), self._model, self._layout, pane, self._at, True, (pane,))
        rows = drift(window, faults_of(quality(window)))
        self._lasting.take([(window, rows)])
        return rows, self._lasting.rows(self._model, start)


def counted(layout: Layout, x: NDArray[np.float64]) -> Pane:
    """The pane of these rows, by whole columns at once; `Layout.encode` gives the same (the stream's events come as Python's values)."""
    pane, z = empty_pane(layout), (x - layout.centre) / layout.scale
    pane.n = len(x)
    for f, profile in enumerate(layout.profiles):
        column = x[:, f]
        stretch = pane.counts[layout.starts[f] : layout.starts[f] + layout.bins[f]]
        if isinstance(profile, NumericProfile):
            stretch[:] = bin_counts(column, profile.edges)
            pane.sums[f] = z[:, f].sum(), np.square(z[:, f]).sum()
            pane.extremes[f] = column.min(), column.max()
        else:
            place = {name: i for i, name in enumerate(profile.categories)}
            for name, rows in zip(shifts.CATEGORIES, np.bincount(column.astype(int), minlength=len(shifts.CATEGORIES)), strict=True):
                stretch[place.get(str(name), len(place))] += rows
    return pane


def of_any_size(rows: Sequence[DriftResult], model: Model) -> list[DriftResult]:
    """The verdicts by significance alone."""
    known = [row for row in rows if row.verdict in {"ok", "drift"} and row.significance is not None]
    believed = benjamini_hochberg([row.significance or 0.0 for row in known], level(model, ""))
    return [msgspec.structs.replace(row, verdict="drift") for row, found in zip(known, believed, strict=True) if found]


def driftline(seed: int, keep: Path) -> dict[str, Found]:
    """What each of our verdicts flags, by verdict; `FAULT` is among them."""
    found: dict[str, Found] = {OURS: {}, ANY: {}, STAYS: {}, FAULT: {}}
    for cell in shifts.CELLS:
        target = keep / f"driftline-{seed}-{cell.rows}-{cell.memory:g}.npz"
        if not target.exists():
            np.savez_compressed(target, **{f"{verdict}/{kind}": flags for (verdict, kind), flags in judged(cell, seed).items()})  # type: ignore[arg-type]
            print(f"· driftline {cell.name}", file=sys.stderr, flush=True)
        with np.load(target) as file:
            for name in file.files:
                verdict, _, kind = name.partition("/")
                found[verdict][cell.name, kind] = file[name]
    return found


def judged(cell: shifts.Cell, seed: int) -> dict[tuple[str, str], Flags]:
    """What each verdict flags in one stream, without a change ("") and with each kind of it."""
    model, everything = model_of(), range(shifts.FEATURES)
    first, *rest = shifts.latent(cell, seed)
    table = shifts.frame(shifts.values(first, everything), everything)
    table["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(table)) * 3600 / cell.rows, unit="s")
    layout = Layout(reference_from_frame(table, model, "1", time="time"))
    told: dict[tuple[str, str], list[list[bool]]] = {}
    for name in ("", *shifts.KINDS) if cell in shifts.CHANGED_CELLS else ("",):
        kind, stream = shifts.KINDS.get(name), Stream(model, layout)
        among = [f"f{feature}" for feature in (kind.features if kind else everything)]
        for z in rest[: shifts.windows_of(name)]:
            x = shifts.values(z, everything)
            if kind:
                x[:, list(kind.features)] = shifts.changed(z, kind)
            rows, stays = stream.judge(x)
            fault = {row.feature for row in rows if row.verdict == "fault"}
            for verdict, said in ((OURS, rows), (ANY, of_any_size(rows, model)), (STAYS, stays), (FAULT, [])):
                bad = {row.feature for row in said if row.verdict == "drift"} | (fault if verdict != STAYS else set())
                told.setdefault((verdict, name), []).append([feature in bad for feature in among])
    return {about: np.array(flags) for about, flags in told.items()}


def as_they_come(said: Mapping[str, dict[tuple[str, str], Said]]) -> dict[str, Found]:
    """The libraries' own verdicts, and SciPy's p-values corrected in two ways."""
    found = {library: {about: each.flags for about, each in told.items()} for library, told in said.items()}
    if "scipy" in found:
        found |= _corrected(said["scipy"])
        del found["scipy"]
    names = {"evidently": "Evidently", "nannyml": "NannyML", "whylogs": "whylogs"}
    return {names.get(name, name): each for name, each in found.items()}


def _corrected(told: Mapping[tuple[str, str], Said]) -> dict[str, Found]:
    """SciPy's p-values by themselves, and corrected for how many there are."""
    found = {"SciPy, p < 0.05": {about: each.flags for about, each in told.items()}}
    p_values = {about: -each.scores for about, each in told.items() if not about[1]}
    found["SciPy, Bonferroni"] = {about: p < WANTED / p.shape[1] for about, p in p_values.items()}
    found["SciPy, Benjamini-Hochberg"] = {
        about: np.array([benjamini_hochberg(window, WANTED) for window in p]) for about, p in p_values.items()
    }
    return found


def by_hindsight(told: dict[tuple[str, str], Said]) -> Found:
    """What is found at the lowest limits, one for numbers and one for categories, without a false alarm where nothing changes."""
    found = {}
    for (cell, name), each in told.items():
        if name:
            categories = np.array([shifts.is_category(feature) for feature in range(told[cell, ""].scores.shape[1])])
            same = categories if shifts.is_category(shifts.KINDS[name].features[0]) else ~categories
            found[cell, name] = each.scores > told[cell, ""].scores[:, same].max()
    return found


def stacked(by_seed: list[dict[str, Found]]) -> dict[str, Found]:
    """What several seeds say, in one array each."""
    return {name: {about: np.stack([each[name][about] for each in by_seed]) for about in told} for name, told in by_seed[0].items()}


def delay(flags: Flags) -> float | None:
    """Windows from the change until half of the changed features are found; None where they are not."""
    windows = flags.shape[-2]
    firsts = np.where(flags.any(-2), flags.argmax(-2) + 1, windows + 1)
    middle = median(firsts.ravel().tolist())
    return middle if middle <= windows else None


def alarms_table(found: Mapping[str, Found]) -> str:
    cells = [cell.name for cell in shifts.CELLS]
    lines = ["| | " + " | ".join(f"{c.rows}, {c.memory:g}" for c in shifts.CELLS) + " |", "| --- " + "| ---: " * len(cells) + "|"]
    for name, told in found.items():
        lines.append(f"| {name} | " + " | ".join(_alarms(told[cell, ""]) for cell in cells) + " |")
    return "\n".join([*lines, "| always | " + " | ".join(["100 % (100 %)"] * len(cells)) + " |"])


def _alarms(flags: Flags) -> str:
    return f"{100 * flags.any(-1).mean():.0f} % ({100 * flags.mean():.3g} %)"


def power_table(found: Mapping[str, Found], cell: shifts.Cell) -> str:
    names = list(shifts.KINDS)
    lines = ["| | " + " | ".join(names) + " |", "| --- " + "| ---: " * len(names) + "|"]
    for library, told in found.items():
        lines.append(f"| {library} | " + " | ".join(_power(told[cell.name, name]) for name in names) + " |")
    return "\n".join(lines)


def _power(flags: Flags) -> str:
    late = delay(flags)
    return f"{100 * flags.mean():.0f} %, " + ("–" if late is None else f"{late:g}")


def plot_alarms(found: Mapping[str, Found], target: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    width = 0.8 / len(found)
    for i, (name, told) in enumerate(found.items()):
        shares = [100 * told[cell.name, ""].any(-1).mean() for cell in shifts.CELLS]
        axes.bar(np.arange(len(shares)) + i * width, np.maximum(shares, 0.6), width, label=name)
    axes.axhline(100 * WANTED, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(np.arange(len(shifts.CELLS)) + 0.4, [f"{c.rows} rows,\nmemory {c.memory:g}" for c in shifts.CELLS])
    axes.set_ylabel("windows with a false alarm, %")
    figure.legend(fontsize=7, ncols=4, loc="outside upper center")
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def plot_power(found: Mapping[str, Found], target: Path) -> None:
    figure, panels = plt.subplots(len(shifts.CHANGED_CELLS), 1, figsize=(9, 4), layout="constrained", sharex=True, squeeze=False)
    width = 0.8 / len(found)
    for axes, cell in zip(panels.flat, shifts.CHANGED_CELLS, strict=True):
        for i, (name, told) in enumerate(found.items()):
            shares = [100 * told[cell.name, kind].mean() for kind in shifts.KINDS]
            axes.bar(np.arange(len(shares)) + i * width, np.maximum(shares, 0.6), width, label=name)
        axes.set_title(f"windows of {cell.rows} rows, memory {cell.memory:g}", fontsize=9)
        axes.set_ylabel("found in a window, %")
        axes.set_xticks(np.arange(len(shifts.KINDS)) + 0.4, list(shifts.KINDS))
    figure.legend(*panels.flat[0].get_legend_handles_labels(), fontsize=7, ncols=4, loc="outside upper center")
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


class RunLength(NamedTuple):
    """Windows until evidence of lasting drift alarms though nothing drifts, on average over features."""

    bound: int  # what is promised: the evidence that an alarm needs
    exact: float  # nothing given away, and the reference known as if by a million rows
    used: float  # as the stream judges, by a reference of `shifts.REFERENCE_ROWS` rows
    longest: int  # windows after which the others were not waited for any more


def run_lengths(seed: int, features: int = 200, rows: int = 500) -> list[RunLength]:
    """Measured on normal values in ten bins; runs without an alarm count as the longest, so the figures can only be too small."""
    told = []
    for bound in (50, 200, 1_000):
        longest = 5 * bound
        exact = _run_length(DriftEvidence(allowance=0.0), seed, bound, longest, features, rows, 1_000_000)
        used = DriftEvidence(allowance(features), np.sqrt(Policy().lasting_psi) / 2)
        told.append(RunLength(bound, exact, _run_length(used, seed, bound, longest, features, rows, shifts.REFERENCE_ROWS), longest))
    return told


def _run_length(evidence: DriftEvidence, seed: int, bound: int, longest: int, features: int, rows: int, reference_rows: int) -> float:
    rng, share = np.random.default_rng([seed, bound]), np.full(10, 0.1)
    references = rng.multinomial(reference_rows, share, features).astype(np.float64)
    tests = [SmoothTest(each, score_basis(each), np.eye(4), 1_000_000) for each in references]
    basis, away = np.array([test.basis for test in tests]), np.array([evidence.scores(test, rows * share)[1] for test in tests])
    sums, alarmed = np.zeros((features, 8 * BETS.size)), np.full(features, longest)
    for at in range(1, longest + 1):
        windows = rng.multinomial(rows, share, features).astype(np.float64)
        sums = gathered(sums, np.einsum("fjb,fb->fj", basis, windows) / np.sqrt(rows), away)
        alarmed = np.where((sums.mean(1) >= bound) & (alarmed == longest), at, alarmed)
    return float(alarmed.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality")
    parser.add_argument("--keep", type=Path, default=ROOT / ".cache" / "quality", help="where the libraries' answers are kept")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    ours = stacked([driftline(seed, options.keep) for seed in options.seeds])
    faults = float(np.mean([flags.mean() for (_, kind), flags in ours.pop(FAULT).items() if kind == "unit"]))
    # The two parts share one budget, and a user hears of both.
    at_once = ours.pop(OURS)
    ours = {OURS: {about: flags | ours[STAYS][about] for about, flags in at_once.items()}, "driftline, at once": at_once, **ours}
    said = [{library: said_by(library, seed, options.keep) for library in options.libraries} for seed in options.seeds]
    quiet = {**ours, **stacked([as_they_come(each) for each in said])}
    names = {"scipy": "SciPy", "evidently": "Evidently", "nannyml": "NannyML", "whylogs": "whylogs"}
    changed = {**ours, **stacked([{names[library]: by_hindsight(told) for library, told in each.items()} for each in said])}
    plot_alarms(quiet, options.output / "drift-alarms.svg")
    plot_power(changed, options.output / "drift-power.svg")
    text = document(quiet, changed, faults, options.seeds)
    (options.output / "drift.md").write_text(text)
    print(text)


def document(quiet: Mapping[str, Found], changed: Mapping[str, Found], faults: float, seeds: Sequence[int]) -> str:
    runs = "\n".join(f"| {run.bound:,} | {_length(run.exact, run)} | {_length(run.used, run)} |" for run in run_lengths(seeds[0]))
    limit = Policy()
    kinds = "\n".join(f"- *{name}*: {kind.what}." for name, kind in shifts.KINDS.items())
    tables = "\n\n".join(f"Windows of {c.rows} rows, memory {c.memory:g}:\n\n{power_table(changed, c)}" for c in shifts.CHANGED_CELLS)
    others = " ".join(text for library, text in WHAT.items() if any(name.startswith(library) for name in quiet))
    peers = [needs[0] for name, needs in PEERS.items() if any(library.lower() == name for library in quiet)]
    environments = f", each library in an environment of its own ({', '.join(peers)})" if peers else ""
    return f"""# Verdicts of drift, beside other libraries

Written by `make bench-quality`: figures of our own runs on {len(seeds)} seeded streams of each kind
(`benchmarks/quality/shifts.py`){environments}.
{shifts.FEATURES} features: normal, lognormal, whole numbers, categories. {shifts.REFERENCE_ROWS} rows of reference. *Memory* is how much of
a row's value is in the next row (AR(1)); 0: rows are independent of each other, which those of a service seldom are.

## False alarms where nothing changes

Share of windows in which any feature is flagged, and in brackets the share of the features that are, on average; by rows in a window and
memory. {len(seeds)} × {shifts.WINDOWS} windows; all features for driftline and SciPy, the first
{shifts.LOOKED_AT["evidently"]} for the others. driftline's budget is set to {WANTED:.0%} of the windows; the others
come as they are, at their own limits.

{alarms_table(quiet)}

![false alarms](drift-alarms.svg)

*driftline* is what the stream says: drift at once or drift that lasts.
*At once* asks for an effect too (PSI above {limit.psi:g}, a move by {limit.shift:g} standard deviations, or {limit.share:.0%} of the rows
in another category); *of any size* asks for none; *lasting* gathers evidence over windows. *always* fires for everything. {others}

## Changes found at an equal budget

Ten of the {shifts.FEATURES} features change, in one of these ways:

{kinds}

Of the changed features the share that is flagged in a window, and after how many windows half of them have been flagged at least once (–:
not within {shifts.WINDOWS}, {shifts.LONG} where it lasts). driftline at its budget of {WANTED:.0%}, without any adjustment. Every other
library at the lowest limits, one for numbers and one for categories, with which it raises no false alarm in the {shifts.WINDOWS} windows
without change of the same stream: chosen with hindsight, which nobody has in service, and easier to keep where fewer features were
looked at.

{tables}

![changes found](drift-power.svg)

The changed unit is told as a fault of the data, with its factor, in {faults:.0%} of the cases, and not as drift.

## How long evidence of lasting drift runs without an alarm

Where nothing drifts, evidence of A comes no more often than once in A windows on average. Measured on 200 features in windows of 500 rows,
runs cut off at five times A: with a reference that is known exactly and nothing given away, and as the stream judges, by
{shifts.REFERENCE_ROWS} rows of reference and with the allowances for its error and for shifts too small to matter.

| A, promised | exact reference | as used |
| ---: | ---: | ---: |
{runs}
"""


def _length(windows: float, run: RunLength) -> str:
    return f"{windows:,.0f}" if windows < 0.99 * run.longest else f"over {0.99 * run.longest:,.0f}"


if __name__ == "__main__":
    main()
