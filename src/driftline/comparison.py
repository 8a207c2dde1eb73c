"""Two tables compared in a notebook or a shell, by the code that judges the stream's windows: the same rows give the same figures.

reference ──► profile ──► layout ─┐
                                  ├──► pane ──► judge ──► table, text, page
current ──────────────────────────┘
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from driftline.frames import Source, check_answers, check_values, columns_of, fold, model_of, require, rows_of, types_of, with_derived
from driftline.report import BAR_HEIGHT, BAR_WIDTH, Bar, bars, template
from driftline.schemas.config import FeatureType, Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import NumericProfile, Profile, Reference
from driftline.schemas.results import DriftResult, FeaturePane, PerformanceResult, QualityResult
from driftline.streams.appraisal import GAP, performance
from driftline.streams.derived import expanded, sources
from driftline.streams.drift import drift
from driftline.streams.judge import Judged, WindowKey, feature_rows
from driftline.streams.labels import label_bins, label_drift
from driftline.streams.layout import LABEL, PREDICTION, SCORE, Layout
from driftline.streams.panes import PaneKey
from driftline.streams.performance import judged_metrics
from driftline.streams.profile import fold_answers, reference_from_frame
from driftline.streams.quality import ROWS, faults_of, quality
from driftline.streams.together import joint_drift

COLUMNS = (
    "feature", "test", "value", "p_value", "null_quantile", "effect", "threshold", "n_reference", "n_current", "verdict", "cause",
)  # fmt: skip
MAX_LINES = 30  # features in the terminal and in the ranking
MAX_PICTURES = 12
MAX_TABLE = 1_000  # rows of a page
_ABSENT = "the current table has no such column"
_TRUTHS = frozenset({"label", "labels", "target", "truth", "y", "y_true", "actual", "outcome", "class"})
_COLOURS = {"drift": "#e0522b", "fault": "#b97800", "ok": "#9fb0cc"}  # of the bars; grey without a verdict
_GREY = "#cfd5df"
_LEGEND = (("drift", _COLOURS["drift"]), ("fault", _COLOURS["fault"]), ("no verdict", _GREY))
_FULL = 5.0  # times the limit: where a bar of the ranking ends


class Svg(str):
    """A picture as text; a notebook shows it."""

    def _repr_svg_(self) -> str:
        return str(self)


class Rank(NamedTuple):
    """One feature in the ranking; lengths are shares of the full width, None where it was not judged."""

    feature: str
    value: float | None
    length: float | None
    null: float
    colour: str
    title: str


class Picture(NamedTuple):
    """One feature's histograms and what is said above them."""

    feature: str
    effect: float | None
    verdict: str
    cause: str
    bars: list[Bar]


def compare(
    reference: Source,
    current: Source,
    *,
    model: Model | None = None,
    features: Sequence[str] | Mapping[str, FeatureType] | None = None,
    prediction: str | None = None,
    score: str | None = None,
    label: str | None = None,
    exclude: Collection[str] = (),
    time: str | None = None,
    ordered: bool = True,
) -> Comparison:
    """Compare two tables as the stream compares a window with its reference.

    Parameters
    ----------
    reference, current
        DataFrames, Arrow tables (anything with Arrow's C stream, as Polars'), or paths of Parquet or CSV files. One row a prediction;
        null, NaN and infinite values are missing values.
    model
        Task, types and policy. Left out: the defaults, and the task that the prediction column looks like: numbers with fractions,
        or more than 50 of them, are a regression; more than two values are classes.
    features
        Names, or names and types. Left out: what the model names, else every column of the reference that is nothing else,
        numeric where its type is.
    prediction, score, label
        Columns of the model's answer, of its probability of the positive class in [0, 1], and of the truth. With prediction and label
        the performance is compared too; where `current` has no labels yet, it is estimated from what the reference's say of the scores.
    exclude
        Columns that are no features (ids, times, embeddings).
    time
        A column of the reference that puts its rows in order of time; without it they come in the order of the table. Rows that are like
        their neighbours count for less, as in the stream. A feature that the rows are in order of (an id, a clock) has no verdict.
    ordered
        False where the order of the reference's rows means nothing, as in a table that was sorted by a feature: rows count as independent.

    Raises
    ------
    DriftlineError
        `comparison_input`, `comparison_empty`, `comparison_column`, `comparison_value`; those of `reference_from_frame`.

    Notes
    -----
    The rows count as one closed window that has all its labels. A column of the reference that `current` lacks is missing in every
    row, which is a fault; as everywhere, a verdict of drift needs both a p-value that survives the false-discovery control and a PSI
    above the limit.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(7)
    >>> before = pd.DataFrame({"age": rng.normal(40, 9, 5_000), "plan": rng.choice(["free", "pro"], 5_000)})
    >>> after = pd.DataFrame({"age": rng.normal(46, 9, 2_000), "plan": rng.choice(["free", "pro"], 2_000)})
    >>> found = compare(before, after)
    >>> found
    2,000 rows against 5,000 of the reference: 1 of 2 features drifted
    feature       PSI  limit  if no drift  verdict  by                   cause
    age         0.541    0.2       0.0533  drift    psi, ks, chi_square  mean 39.8 → 46.1 (+0.7 sd), sd 8.94 → 8.91
    plan     0.000739    0.2      0.00304  ok
    >>> found.table.loc[0, ["feature", "test", "verdict"]].tolist()
    ['age', 'psi', 'drift']
    """
    before, after = rows_of(reference, "reference"), rows_of(current, "current")
    if label is not None and prediction is None:
        raise DriftlineError("comparison_input", "a label without a prediction tells no performance", 'add prediction="…", its column')
    own = [name for name in (prediction, score, label) if name is not None]
    require(before, "reference", [time] if time else [])
    for side, table in (("reference", before), ("current", after)):
        wanted = own if side == "reference" else [name for name in own if name != label]  # the truth may not be known yet
        require(table, side, [*wanted, *(features or ())])
    require(before, "reference", exclude)
    model = model or model_of(before, prediction)
    types = types_of(before, model, features, {*own, *exclude, *([time] if time else [])})
    if not types and not own:
        raise DriftlineError("comparison_column", "there is no feature to compare", "name some: features=[…]")
    if not any(name in after.columns for name in [*types, *own]):
        raise DriftlineError("comparison_column", "the tables have no column in common", f"current has: {columns_of(after)}")
    for side, table in (("reference", before), ("current", after)):
        check_values(table, side, [name for name in [*types, *own] if name in table.columns and name not in sources(types)])
        check_answers(table, side, model, prediction)
    model = msgspec.structs.replace(model, features=types)
    made = reference_from_frame(
        before[[*dict.fromkeys([*types, *own, *([time] if time else [])])]],
        model,
        "reference",
        prediction=prediction,
        score=score,
        label=label,
        time=time,
        ordered=ordered,
    )
    layout = Layout(made)
    folded = with_derived(after, types, made)
    pane = fold(layout, folded, {**{name: name for name in expanded(types)}, PREDICTION: prediction, SCORE: score})
    if prediction is not None:
        truth = after[label] if label and label in after.columns else pd.Series(None, after.index, dtype=object)
        fold_answers(pane, after[prediction], after[score] if score else None, truth, model)
    judged = Judged(WindowKey(model.model, made.version, "", 0, 1), model, layout, pane, revision=pane.n, is_final=True)
    absent = tuple(name for name in types if name not in after.columns)
    added = tuple(name for name in after.columns if name not in before.columns and name not in exclude)
    faults = faults_of(found := quality(judged))
    checks = [row for row in found if row.feature != ROWS]  # a table has no traffic
    told = [*performance(judged)] if label else []
    joint = joint_drift(replace(judged, model=msgspec.structs.replace(model, multivariate=True)), faults)
    drifted = [*drift(judged, faults), *(row for part in label_drift([judged] if label else []) for row in part)]
    untold = tuple(name for name in before.columns if label is None and name.lower() in _TRUTHS)
    return Comparison(judged, made, drifted, checks, told, absent, added, joint, untold)


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found. In a terminal it prints as text, in a notebook as a page with pictures.

    Attributes
    ----------
    window
        The current rows as one window.
    reference
        The profile they were compared with; `driftline reference` publishes such a one.
    drift, quality, performance
        Rows as the store would hold them.
    absent, added
        Features that the current table lacks, and columns that only it has.
    truths
        Columns that may hold the truth, where none was named as the label.
    """

    window: Judged
    reference: Reference
    drift: list[DriftResult]
    quality: list[QualityResult]
    performance: list[PerformanceResult]
    absent: tuple[str, ...]
    added: tuple[str, ...]
    joint: list[DriftResult]
    truths: tuple[str, ...] = ()

    @cached_property
    def together(self) -> pd.DataFrame:
        """What the numeric features do together, a row a test; empty where there are fewer than two.

        `most` is the pair, or the feature, that shows it most.
        """
        fields = ("test", "value", "p_value", "null_quantile", "effect", "verdict", "most", "reason")
        told = [[getattr(row, "direction" if name == "most" else name) for name in fields] for row in self.joint]
        return pd.DataFrame(told, columns=list(fields))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a feature and test: drifted features first, then by effect.

        `null_quantile` is what the value stays below in 95 % of samples of this size when nothing drifted; `effect` is the feature's
        PSI, which is held against `threshold`; `n_reference` and `n_current` count present values.
        """
        return pd.DataFrame(self._records, columns=list(COLUMNS))

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        by_feature = _grouped(self.drift)
        return [
            {**{name: getattr(row, name, None) for name in COLUMNS}, "n_current": row.n, "cause": self._cause(row)}
            for feature in self.ranking
            for row in by_feature[feature]
        ]

    @cached_property
    def ranking(self) -> list[str]:
        """Features from the most drifted to those not judged."""
        first = {row.feature: row for row in reversed(self.drift)}

        def key(feature: str) -> tuple[bool, bool, float]:
            effect = first[feature].effect
            return feature not in self.drifted, effect is None, -(effect or 0.0)

        return sorted(_grouped(self.drift), key=key)

    @cached_property
    def drifted(self) -> list[str]:
        """Features that some test says have drifted, in the tables' order."""
        return list(dict.fromkeys(row.feature for row in self.drift if row.verdict == "drift"))

    @property
    def faults(self) -> list[QualityResult]:
        """Quality checks that are past their limit."""
        return [row for row in self.quality if row.verdict == "fault"]

    @property
    def worse(self) -> list[PerformanceResult]:
        """Metrics that are worse than the reference's."""
        return [row for row in self.performance if row.verdict == "worse"]

    @property
    def clean(self) -> bool:
        """Whether there is no drift, no fault, and no metric that is worse. What could not be judged does not count."""
        return not (self.drifted or self.faults or self.worse)

    def histograms(self, feature: str) -> pd.DataFrame:
        """Both histograms of a feature, a row a bin: `bin`, `low`, `high`, `reference`, `current` (counts of present values).

        A numeric bin holds `low` ≤ value < `high`; both are NaN for a category. Categories that the reference does not have come last.

        Examples
        --------
        >>> counted = compare(pd.DataFrame({"plan": ["free"] * 3}), pd.DataFrame({"plan": ["free", "pro", "pro"]}))
        >>> counted.histograms("plan")[["bin", "reference", "current"]].values.tolist()
        [['free', 3, 1], ['pro', 0, 2]]
        """
        profile, pane = self._profile(feature), self._panes[feature]
        if isinstance(profile, NumericProfile):
            sides = np.array([-math.inf, *profile.edges, math.inf])
            low, high = sides[:-1], sides[1:]
            names = [f"[{a:.6g}, {b:.6g})" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
            return pd.DataFrame({"bin": names, "low": low, "high": high, "reference": profile.counts, "current": pane.bins})
        known = dict(zip(profile.categories, profile.counts, strict=True))
        rows = [(name, known.get(name, 0), pane.categories.get(name, 0)) for name in {**known, **pane.categories}]
        others = sum(pane.bins) - sum(current for _, _, current in rows)
        rows += [("(others)", profile.other, others)] if profile.other or others else []
        counted = pd.DataFrame(rows, columns=["bin", "reference", "current"])
        counted.insert(1, "low", math.nan)
        counted.insert(2, "high", math.nan)
        return counted

    def plot(self, feature: str | None = None) -> Svg:
        """A feature's two histograms, or without one the features ranked by their shift; to keep it, write it to a file named *.svg."""
        pictures: Any = template("pictures.html.j2").module
        if feature is None:
            return Svg(pictures.ranked(self._ranks, 1 / _FULL, 190, 480))
        bars = self._bars(feature)
        row = next((row for row in _grouped(self.drift)[feature] if row.verdict == "drift"), _grouped(self.drift)[feature][0])
        title = f"{_shown(feature)} · PSI {_number(row.effect)} · {row.verdict}"
        return Svg(pictures.bars(feature, bars, "current", BAR_WIDTH, BAR_HEIGHT, title, self._cause(row)))

    def to_html(self, path: str | Path) -> Path:
        """Write a page that opens offline: pictures inside, no script. Returns the path."""
        Path(path).write_text(self._render(page=True), "utf-8")
        return Path(path)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; what `driftline compare --json` prints."""
        fields: dict[str, tuple[str, ...]] = {
            "quality": ("feature", "check", "value", "reference_value", "threshold", "n", "verdict", "reason"),
            "performance": (
                "metric", "basis", "value", "lower", "upper", "reference_value", "threshold", "n", "n_labelled", "verdict", "reason",
            ),
        }  # fmt: skip
        rows = {name: [{field: getattr(row, field) for field in wanted} for row in getattr(self, name)] for name, wanted in fields.items()}
        counts = {"rows": {"reference": self.reference.rows, "current": self.window.pane.n}, "drifted": self.drifted, "clean": self.clean}
        lists = {"absent": list(self.absent), "added": list(self.added), "table": self._records, "together": _records_of(self.together)}
        return {**counts, **lists, **rows}

    def __repr__(self) -> str:
        parts = [self.headline, *_lines(self._text_rows)]
        left_out = len(self.ranking) - MAX_LINES
        parts += [f"… and {left_out} features more: see .table"] if left_out > 0 else []
        parts += [f"fault: {each}" for each in self._fault_lines]
        parts += [f"together: {_joint(row)}" for row in _records_of(self.together) if row["verdict"] == "drift"]
        parts += [f"worse: {_change(row)}" for row in self.worse]
        parts += [self.performance_line] if self.performance_line else []
        parts += [f"only in current, not compared: {', '.join(map(_shown, self.added))}"] if self.added else []
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return self._render(page=False)

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        judged = f"{len(self.drifted)} of {len(self.ranking)} features drifted"
        told = (("fault", self._fault_lines), ("worse metric", self.worse))
        others = [f"{len(rows)} {name}{'s' * (len(rows) > 1)}" for name, rows in told if rows]
        return f"{self.window.pane.n:,} rows against {self.reference.rows:,} of the reference: {', '.join([judged, *others])}"

    @property
    def performance_line(self) -> str:
        """How the model did but for what is worse, which is told apart; without labels what is estimated; else what it takes to tell."""
        judged = [row for row in self.performance if row.verdict in ("ok", "worse") and row.metric != GAP]
        if judged:
            return _figures("performance", [row for row in judged if row.verdict == "ok"])
        usual = judged_metrics(self.window.model)
        likely = [row for row in self.performance if row.basis == "estimated" and row.metric in usual and row.value is not None]
        why = next((row.reason for row in self.performance if row.verdict == "insufficient"), "")
        if self.performance:
            return _figures(f"performance, estimated ({why})", likely) or f"performance: {why}"
        if PREDICTION in self.reference.features or self.truths:
            told = "" if PREDICTION in self.reference.features else 'prediction="…", '
            return f'performance: not compared; it takes the columns of answers and truth: {told}label="{next(iter(self.truths), "…")}"'
        return ""

    @cached_property
    def _panes(self) -> dict[str, FeaturePane]:
        key, layout = self.window.key, self.window.layout
        rows = feature_rows(PaneKey(key.model, key.version, key.segment, key.start), self.window.model, layout, self.window.pane, 0)
        labels = [label_bins(self.window, self.reference.labels)] if self.reference.labels else []
        return {row.feature: row for row in [*rows, *labels]}

    def _profile(self, feature: str) -> Profile:
        profile = self.reference.labels if feature == LABEL else self.reference.features.get(feature)
        if profile is None:
            raise DriftlineError("comparison_column", f"{feature!r} was not compared", f"one of: {', '.join(self.ranking[:30])}")
        return profile

    def _bars(self, feature: str) -> list[Bar]:
        profile, pane = self._profile(feature), self._panes[feature]
        return bars(profile, pane.bins, pane.categories)

    def _cause(self, row: DriftResult) -> str:
        """Why there is no verdict; of a drift the fault that comes with it, else what moved."""
        if row.feature in self.absent:
            return _ABSENT
        faults = dict.fromkeys(_fault(fault) for fault in self.faults if fault.feature == row.feature)
        if faults and row.verdict != "ok":
            return "; ".join(faults)
        return row.reason or (self._moved(row.feature) if row.verdict == "drift" else "")

    @property
    def _fault_lines(self) -> list[str]:
        """What is wrong, each once: an absent column fails more than one check."""
        told = (f"{_shown(row.feature)}: {_ABSENT if row.feature in self.absent else _fault(row)}" for row in self.faults)
        return list(dict.fromkeys(told))

    def _moved(self, feature: str) -> str:
        profile, pane = self._profile(feature), self._panes[feature]
        if isinstance(profile, NumericProfile):
            before, after = math.sqrt(profile.m2 / profile.n), math.sqrt(pane.variance or 0.0)
            mean = pane.mean or 0.0
            shift = f" ({(mean - profile.mean) / before:+.2g} sd)" if before else ""
            return f"mean {profile.mean:.3g} → {mean:.3g}{shift}, sd {before:.3g} → {after:.3g}"
        counted = self.histograms(feature)
        shares = counted[["reference", "current"]] / counted[["reference", "current"]].sum()
        most = int((shares["current"] - shares["reference"]).abs().to_numpy().argmax())
        was, now = shares.iloc[most]
        return f"{_shown(str(counted['bin'].iloc[most]))} {was:.1%} → {now:.1%}"

    @property
    def _text_rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("feature", "PSI", "limit", "if no drift", "verdict", "by", "cause")]
        by_feature = _grouped(self.drift)
        for feature in self.ranking[:MAX_LINES]:
            tests = by_feature[feature]
            by = ", ".join(row.test for row in tests if row.verdict == "drift")
            strongest = next((row for row in tests if row.verdict == "drift"), tests[0])
            figures = (_number(tests[0].effect), _number(tests[0].threshold), _number(tests[0].null_quantile))
            rows.append((_shown(feature), *figures, strongest.verdict, by, self._cause(strongest)))
        return rows

    @property
    def _ranks(self) -> list[Rank]:
        by_feature = _grouped(self.drift)
        ranks = []
        for feature in self.ranking[:MAX_LINES]:
            row = by_feature[feature][0]
            full = _FULL * (row.threshold or self.window.model.policy.psi)
            length = None if row.effect is None else min(row.effect / full, 1.0)
            colour = _COLOURS.get("drift" if feature in self.drifted else row.verdict, _GREY)
            title = f"{feature}: {row.verdict}, PSI {_number(row.effect)}, below {_number(row.null_quantile)} if nothing drifted"
            ranks.append(Rank(feature, row.effect, length, min((row.null_quantile or 0.0) / full, 1.0), colour, title))
        return ranks

    def _render(self, page: bool) -> str:
        by_feature = _grouped(self.drift)
        chosen = [feature for feature in self.ranking if feature in self.drifted]
        chosen = (chosen if len(chosen) >= 4 else self.ranking[:4])[:MAX_PICTURES]
        drawn = []
        for feature in chosen:
            row = next((row for row in by_feature[feature] if row.verdict == "drift"), by_feature[feature][0])
            drawn.append(Picture(feature, row.effect, row.verdict, self._cause(row), self._bars(feature)))
        return template("comparison.html.j2").render(
            page=page, found=self, ranks=self._ranks, limit=1 / _FULL, drawn=[picture for picture in drawn if picture.bars],
            columns=COLUMNS, records=self._records[:MAX_TABLE], left_out=max(len(self._records) - MAX_TABLE, 0),
            faults=self._fault_lines, colours=_LEGEND, board=(BAR_WIDTH, BAR_HEIGHT),
        )  # fmt: skip


# -- the words


def _grouped(rows: Iterable[DriftResult]) -> dict[str, list[DriftResult]]:
    groups: dict[str, list[DriftResult]] = {}
    for row in rows:
        groups.setdefault(row.feature, []).append(row)
    return groups


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns side by side; those of figures to the right.

    >>> _lines([("a", "PSI", "cause"), ("long", "1", "")])
    ['a     PSI  cause', 'long    1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    adjust = [str.rjust if name in {"PSI", "limit", "if no drift"} else str.ljust for name in rows[0]]
    return ["  ".join(place(text, width) for place, text, width in zip(adjust, row, widths, strict=True)).rstrip() for row in rows]


def _shown(name: str) -> str:
    """A name as one short line of a terminal: it comes from whoever made the table.

    >>> _shown("plan"), _shown("a" + chr(27) + "[2J")
    ('plan', "'a\\\\x1b[2J'")
    """
    short = name if len(name) <= 40 else name[:39] + "…"
    return short if short.isprintable() else repr(short)


def _records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as JSON can hold them."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _joint(row: Mapping[str, Any]) -> str:
    most = f", most {_shown(row['most'])}" if row["most"] else ""
    return f"{row['test'].replace('_', ' ')} {_number(row['value'])}, p {_number(row['p_value'])}{most}"


def _fault(row: QualityResult) -> str:
    """What is wrong with a feature's data, without its name."""
    if row.check == "removed" or (row.check == "missing_rate" and row.value == 1):
        return "every value is missing"
    if row.check == "fingerprint":
        return row.reason
    return f"{row.check.replace('_', ' ')} {_number(row.reference_value)} → {_number(row.value)}, limit {_number(row.threshold)}"


def _figures(what: str, rows: Sequence[PerformanceResult]) -> str:
    """Metrics of the reference and of the current rows in a line; "" without any."""
    said = ", ".join(f"{row.metric} {_number(row.reference_value)} → {_number(row.value)}" for row in rows)
    return said and f"{what}: {said}"


def _change(row: PerformanceResult) -> str:
    interval = f" [{_number(row.lower)}, {_number(row.upper)}]" if row.lower is not None else ""
    return f"{row.metric} {_number(row.reference_value)} → {_number(row.value)}{interval}, limit {_number(row.threshold)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
