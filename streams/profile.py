"""From a table of training data to the reference that a version's windows are compared with. Pure: no I/O.

Values are named as the stream names them (`text_of`), and binned by the stream's own function, so a window of the same rows has
the same counts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from driftline.schemas.config import Bounds, EdgeRule, FeatureType, Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.events import text_of
from driftline.schemas.reference import (
    CategoricalProfile,
    JointProfile,
    LossProfile,
    NumericProfile,
    PerformanceProfile,
    Profile,
    Reference,
)
from driftline.streams.answers import SCORE_BINS, AnswerRows, LabelRows
from driftline.streams.calibration import blocks_for, calibration, clocks
from driftline.streams.chances import kept, said
from driftline.streams.derived import WRONG, derive, expanded, sources, vocabulary
from driftline.streams.estimates import LEAST_ROWS, performance_profile
from driftline.streams.joint import Plan, joint_profile
from driftline.streams.layout import LABEL, PREDICTION, SCORE, Layout
from driftline.streams.learning import label_profile
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.stats import LossModel, bin_counts, edges_by, least_known, numeric_edges, with_bounds

MAX_CATEGORIES = 200
LOSS_FEATURES = 20  # a regression's loss is learned over so many of them
_ROWS_AT_ONCE = 50_000
SCORE_EDGES = np.arange(1, 20) / 20  # twenty equal bins on [0, 1]


def reference_from_frame(
    frame: pd.DataFrame | pa.Table,
    model: Model,
    version: str,
    *,
    prediction: str | None = None,
    score: str | None = None,
    label: str | None = None,
    scores: Mapping[str, str] = MappingProxyType({}),
    exclude: Collection[str] = (),
    effective_from: int = 0,
    time: str | None = None,
    ordered: bool = True,
) -> Reference:
    """The profile of a version's training (better: held-out) data.

    Parameters
    ----------
    frame
        One row a prediction. Null and NaN are missing values.
    model
        Names the features and their types; where it names none, every other column is a feature, numeric where its type is.
    prediction, score, label
        Columns of the model's answer, of its probability of the positive class in [0, 1], and of the truth. Prediction and score
        are profiled as the features `(prediction)` and `(score)`; with a label the profile also says how well the model did, and what
        the labels are.
    scores
        Of several classes: by class the column of its probability; kept where the model's metrics need it.
    exclude
        Columns that are no features (ids, times, segments).
    effective_from
        Milliseconds since the epoch, event time.
    time
        A column of times or numbers to order the rows by; it is no feature.
    ordered
        Whether the rows come in order of time (those of `time` do). Then neighbours that are alike show how much windows differ without
        drift. False: the order means nothing, and rows are taken as independent of each other.

    Raises
    ------
    DriftlineError
        `reference_column` where a column is absent, `reference_value` where its values do not fit, `reference_empty` without rows.

    Examples
    --------
    >>> frame = pd.DataFrame({"plan": ["pro", "free", "pro", None], "yes": [1, 0, 1, 0], "truth": [1, 0, 0, None]})
    >>> made = reference_from_frame(frame, Model("churn"), "7", prediction="yes", label="truth")
    >>> made.features["plan"]
    CategoricalProfile(categories=['pro', 'free'], counts=[2, 1], other=0, n=3, missing=1)
    >>> made.features["(prediction)"].categories, made.performance.n, made.performance.metrics  # doctest: +ELLIPSIS
    (['0', '1'], 3, {'accuracy': 0.666..., 'precision': 0.5, 'recall': 1.0, 'f1': 0.666...})
    """
    table = frame.to_pandas() if isinstance(frame, pa.Table) else frame
    if not len(table):
        raise DriftlineError("reference_empty", "the table has no rows", "give the rows the model was trained or validated on")
    own = [*(name for name in (prediction, score, label) if name is not None), *scores.values()]
    if time is not None:
        _require(table, [time])
        table = table.sort_values(time, kind="stable")
    types = feature_types(table, model, {*own, *exclude, *([time] if time else [])})
    _require(table, [*types, *own])
    _require_features(model, types)
    vocabularies: dict[str, bytes] = {}
    if sources(types):
        table, vocabularies = _with_derived(table, types, ordered or time is not None)
        types = expanded(types)
    rules, ranges = model.edges, model.ranges
    profiles = {name: _profile(table[name], kind, rules.get(name, rules.get("*")), ranges.get(name)) for name, kind in types.items()}
    if prediction is not None:
        profiles[PREDICTION] = _profile(_tops(table[prediction], model), "numeric" if model.task == "regression" else "categorical")
    if score is not None:
        profiles[SCORE] = _numeric(_probabilities(table[score]), SCORE_EDGES)
    performance, labels = PerformanceProfile(), None
    if prediction is not None and label is not None:
        losses = {}
        if model.task == "regression":
            losses = _losses(profiles, {**{name: table[name] for name in types}, PREDICTION: table[prediction]}, table[label])
        answers = _with_chances(table, prediction, scores) if scores and kept(model) else table[prediction]
        counted = empty_pane(None)  # so that a window of the same rows has the same figures
        # The feature `(score)` is what events carry as `score`; these carry `scores`.
        told = table[score] if score else _of_answers(table, prediction, scores) if scores else None
        fold_answers(counted, answers, told, table[label], model)
        performance, labels = performance_profile(model, counted.answers, losses), label_profile(model, counted.answers)
    columns = {**{name: table[name] for name in types}, PREDICTION: _tops(table[prediction], model) if prediction else None}
    columns[SCORE] = table[score] if score else None
    known = profiles if labels is None else {**profiles, LABEL: labels}
    columns[LABEL] = None if labels is None else table[label]
    blocks = _blocks(known, columns, len(table), ordered or time is not None)
    calibrated = calibration(known, blocks, len(table), _window_rows(table[time], model) if time else None)
    made = Reference(model.model, version, profiles, len(table), performance, "training", effective_from, calibrated, labels)
    timed = {*clocks(known, blocks), *(name for name, kind in types.items() if kind == "numeric" and _numbers_rows(table[name]))}
    made = msgspec.structs.replace(made, clocks=sorted(timed))
    joint = _joint(made, table, vocabularies, ordered or time is not None, _window_rows(table[time], model) if time else None)
    return msgspec.structs.replace(_with_vocabularies(made, vocabularies), joint=joint)


def _with_derived(table: pd.DataFrame, types: Mapping[str, FeatureType], ordered: bool) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """The table with columns derived from texts and vectors, and the vocabularies.

    A vocabulary is that of the earlier half of the rows: so the later half tells how many words are unknown without any drift. Of the
    earlier half that is not known.
    """
    half = len(table) // 2
    earlier = np.arange(len(table)) < half if ordered else np.random.default_rng(0).permutation(len(table)) < half
    columns = {name: listed(table[name]) for name in sources(types)}
    known = {
        name: vocabulary(text for text, first in zip(columns[name], earlier.tolist(), strict=True) if first)
        for name, kind in types.items() if kind == "text"
    }  # fmt: skip
    made = {name: pd.Series(column, table.index, dtype=object) for name, column in derive(columns, types, known).items()}
    for name, column in made.items():
        if (wrong := column.map(lambda value: value is WRONG)).any():
            row, source = int(wrong.to_numpy().argmax()), name.rpartition(".")[0]
            raise DriftlineError(
                "reference_value", f"column {source!r} holds {str(columns[source][row])[:60]!r} in row {row} and is to be {types[source]}",
                f"declare it as it is in the model: features.{source}, or clean the column",
            )  # fmt: skip
        if name.endswith(".unknown_words"):
            made[name] = column.mask(earlier)
    return table.drop(columns=list(columns)).assign(**made), known


def listed(column: pd.Series[Any]) -> list[Any]:
    """A column of texts or vectors as events would carry them.

    >>> listed(pd.Series(["a", None, np.array([1.0, 2.0])]))
    ['a', None, [1.0, 2.0]]
    """
    plain_values = [value.tolist() if isinstance(value, np.ndarray) else value for value in column.tolist()]
    return [None if value is pd.NA or value is None or value != value else value for value in plain_values]  # noqa: PLR0124


def _with_vocabularies(made: Reference, vocabularies: Mapping[str, bytes]) -> Reference:
    """The reference with its vocabularies. That the words of the earlier half of the rows are not told is no missing value of theirs."""
    features = dict(made.features)
    for name in vocabularies:
        profile = features[f"{name}.unknown_words"]
        features[f"{name}.unknown_words"] = msgspec.structs.replace(profile, missing=profile.missing - made.rows // 2)
    return msgspec.structs.replace(made, features=features, vocabularies=dict(vocabularies))


def _joint(
    made: Reference, table: pd.DataFrame, vocabularies: Collection[str], ordered: bool, window_rows: int | None
) -> JointProfile | None:
    """What the numeric features do together; None where there are fewer than two."""
    layout, plan = Layout(made), Plan.of(made.features, [f"{name}.unknown_words" for name in vocabularies] + made.clocks)
    if plan is None:
        return None
    block = _block_of(len(table), ordered)
    columns = [_numbers(table[name]) for name in plan.names]
    centre, scale = layout.centre[plan.features], layout.scale[plan.features]
    many = max(int(block.max(initial=0)) + 1, 1)
    sums = np.zeros((many, plan.length), np.int64)
    for begin in range(0, len(table), _ROWS_AT_ONCE):
        x = np.stack([column[begin : begin + _ROWS_AT_ONCE] for column in columns], axis=1)
        z = np.where(np.isfinite(x), (x - centre) / scale, 0.0)
        for b in np.unique(of := block[begin : begin + _ROWS_AT_ONCE]).tolist():
            sums[b] += plan.sums(z[of == b])
    blocks = [each for each in sums if each[0]] if blocks_for(len(table)) else []
    return joint_profile(plan, blocks, sums.sum(0), window_rows)


def _block_of(rows: int, ordered: bool) -> NDArray[np.int64]:
    """The block of each row: consecutive rows, or any where their order means nothing."""
    block = np.arange(rows) * max(blocks_for(rows), 1) // rows
    return block if ordered else np.random.default_rng(0).permutation(block)


def _blocks(
    profiles: Mapping[str, Profile], columns: Mapping[str, pd.Series[Any] | None], rows: int, ordered: bool
) -> dict[str, NDArray[np.int64]]:
    """Each feature's counts in consecutive blocks of rows."""
    many, block, counted = blocks_for(rows), _block_of(rows, ordered), {}
    for name, profile in profiles.items():
        column = columns[name]
        if column is None or not many:
            continue
        place, present, bins = _places(column, profile)
        flat = np.bincount(block[present] * bins + place, minlength=many * bins)
        counted[name] = flat.reshape(many, bins)
    return counted


def _places(column: pd.Series[Any], profile: Profile) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """The bin of each present value, which values are present, and how many bins there are."""
    if isinstance(profile, NumericProfile):
        values = _numbers(column)
        present = np.isfinite(values)
        return np.searchsorted(np.array(profile.edges), values[present], side="right").astype(np.int64), present, len(profile.counts)
    codes = {name: i for i, name in enumerate(profile.categories)}
    named, other = class_names(column), len(profile.categories)
    present = named.notna().to_numpy()
    place: NDArray[np.int64] = np.array(named[present].map(codes).fillna(other), np.int64)
    return place, present, other + 1


def _window_rows(times: pd.Series[Any], model: Model) -> int | None:
    """Rows that a window has on average; None where the column does not tell how much time it spans."""
    if not pd.api.types.is_datetime64_any_dtype(times):
        return None
    span_ms = (times.max() - times.min()).total_seconds() * 1000
    return round(len(times) * model.windows[0].length_ms / span_ms) if span_ms > 0 else None


def feature_types(table: pd.DataFrame, model: Model, exclude: Collection[str] = ()) -> dict[str, FeatureType]:
    """Name and type of each feature: what the model says, else every column not in `exclude`, by its type.

    >>> feature_types(pd.DataFrame({"id": [7], "age": [31], "pro": [True]}), Model("churn"), {"id"})
    {'age': 'numeric', 'pro': 'categorical'}
    """
    if model.features:
        return dict(model.features)
    return {str(name): _type_of(table[name]) for name in table.columns if name not in exclude}


def _type_of(column: pd.Series[Any]) -> FeatureType:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return "numeric" if numeric else "categorical"


def _numbers_rows(column: pd.Series[Any]) -> bool:
    """Whether whole numbers, each of one row, leave few gaps between them: an id, in whatever order the rows come.

    >>> _numbers_rows(pd.Series(range(1_000)).sample(frac=1)), _numbers_rows(pd.Series(range(0, 100_000, 100)))
    (True, False)
    """
    if not pd.api.types.is_integer_dtype(column) or len(column) < 300 or not column.is_unique:
        return False
    return int(column.max()) - int(column.min()) < 4 * len(column)


def _require(table: pd.DataFrame, names: list[str]) -> None:
    absent = [name for name in names if name not in table.columns]
    if absent:
        have = ", ".join(map(str, table.columns[:20]))
        raise DriftlineError("reference_column", f"no column {', '.join(map(repr, absent))} in the table", f"its columns are: {have}")


def _require_features(model: Model, types: Mapping[str, FeatureType]) -> None:
    """Refuse edges, ranges and domains of features that the table has not; a file that names the features was checked when it was read."""
    if model.features:
        return
    for key in ("edges", "ranges", "domains"):
        for name in getattr(model, key):
            if name not in types and not name.startswith("(") and (key, name) != ("edges", "*"):
                fix = f"correct the name in the model's file, or take it out: the features are {', '.join(list(types)[:20])}"
                raise DriftlineError("reference_column", f"[{key}] names {name!r}, which is no feature of the table", fix)


def _profile(column: pd.Series[Any], kind: FeatureType, rule: EdgeRule | None = None, bounds: Bounds | None = None) -> Profile:
    if kind == "categorical":
        return _categorical(column)
    values = _numbers(column)
    present = values[np.isfinite(values)]
    edges = numeric_edges(present) if rule is None else edges_by(present, rule)
    return _numeric(values, edges if bounds is None else with_bounds(edges, bounds))


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """The column as floats, NaN where missing; text that is no number is refused with its row."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DriftlineError(
            "reference_value",
            f"column {column.name!r} holds {column.iloc[row]!r} in row {row} and is to be numeric",
            f'declare it in the model: features.{column.name} = "categorical", or clean the column',
        )
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _probabilities(column: pd.Series[Any]) -> NDArray[np.float64]:
    values = _numbers(column)
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DriftlineError(
            "reference_value",
            f"score {values[row]:g} in row {row} of column {column.name!r} is outside [0, 1]",
            "give the probability of the positive class, not a margin",
        )
    return values


def _numeric(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NumericProfile:
    """Infinite values count as missing: no event can carry one."""
    present = values[np.isfinite(values)]
    n = len(present)
    mean = _mean(present)
    return NumericProfile(
        edges=[float(edge) for edge in edges],
        counts=[int(count) for count in bin_counts(present, edges)],
        n=n,
        missing=len(values) - n,
        mean=mean,
        m2=_squares(present - mean),
        minimum=float(present.min()) if n else None,
        maximum=float(present.max()) if n else None,
    )


def _mean(values: NDArray[np.float64]) -> float:
    try:
        return math.fsum(values) / max(len(values), 1)
    except OverflowError:
        return math.fsum(values / len(values))


def _squares(values: NDArray[np.float64]) -> float:
    """The sum of squares, or the largest finite number: a profile travels as JSON, which has no infinity."""
    try:
        with np.errstate(over="ignore"):
            return min(math.fsum(np.square(values)), sys.float_info.max)
    except OverflowError:
        return sys.float_info.max


def _tops(column: pd.Series[Any], model: Model) -> pd.Series[Any]:
    """The answers as a feature: of rankings the first items."""
    if model.task != "ranking":
        return column
    return class_names(column).map(lambda text: msgspec.json.decode(text)[0] if text.startswith("[") else text, na_action="ignore")


def class_names(column: pd.Series[Any]) -> pd.Series[Any]:
    """Each value's name as the stream says it; missing stays missing.

    >>> class_names(pd.Series([1.0, 2.5, None])).tolist()
    ['1', '2.5', None]
    """
    named = [None if missing else text_of(plain(value)) for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]
    return pd.Series(named, column.index, dtype=object)


def plain(value: Any) -> Any:
    """A Python value of the JSON kind that an event would carry."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, dict):
        return value
    if isinstance(value, np.ndarray | list | tuple):
        return [str(each) for each in value]
    return value if isinstance(value, str | bool | int | float) else str(value)


def _categorical(column: pd.Series[Any]) -> CategoricalProfile:
    counts = class_names(column).dropna().value_counts()
    ranked = sorted(((str(name), int(count)) for name, count in counts.items()), key=lambda pair: (-pair[1], pair[0]))
    least = least_known([count for _, count in ranked])
    named = [pair for pair in ranked[:MAX_CATEGORIES] if pair[1] >= least]
    rest, n = ranked[len(named) :], sum(count for _, count in ranked)
    return CategoricalProfile(
        [name for name, _ in named], [count for _, count in named], sum(count for _, count in rest), n, len(column) - n
    )


def _with_chances(table: pd.DataFrame, prediction: str, scores: Mapping[str, str]) -> pd.Series[Any]:
    """Each answer with the probability of every class, as the stream has it (see `chances`)."""
    rows = zip(*(_probabilities(table[column]).tolist() for column in scores.values()), strict=True)
    told = [{name: chance for name, chance in zip(scores, row, strict=True) if not math.isnan(chance)} for row in rows]
    named = zip(class_names(table[prediction]), told, strict=True)
    return pd.Series([said(name, each) if isinstance(name, str) else None for name, each in named], table.index, dtype=object)


def _of_answers(table: pd.DataFrame, prediction: str, scores: Mapping[str, str]) -> pd.Series[Any]:
    """The probability of the class that is predicted; NaN where it has no column."""
    named, out = class_names(table[prediction]), np.full(len(table), np.nan)
    for name, column in scores.items():
        out = np.where(named == name, _probabilities(table[column]), out)
    return pd.Series(out, table.index)


def _losses(profiles: Mapping[str, Profile], columns: Mapping[str, pd.Series[Any]], label: pd.Series[Any]) -> dict[str, LossProfile]:
    """How a regression's loss depends on where a row lies, learned from the labelled rows; features that tell most come first."""
    prediction = columns[PREDICTION]
    known = (prediction.notna() & label.notna()).to_numpy()
    if known.sum() < LEAST_ROWS:
        return {}
    error = np.abs(_numbers(prediction)[known] - _numbers(label)[known])
    bins, sizes = {}, {}
    for name in profiles.keys() & columns.keys():
        place, present, many = _places(columns[name], profiles[name])
        at = np.full(len(known), many)  # the bin of missing values
        at[present] = place
        bins[name], sizes[name] = at[known], many + 2
    told = sorted(bins, key=lambda name: (-_between(bins[name], error), name))[:LOSS_FEATURES]
    fitted = {
        of: LossModel.fit({name: bins[name] for name in told}, {name: sizes[name] for name in told}, loss)
        for of, loss in (("absolute", error), ("squares", np.square(error)))
    }
    return {
        of: LossProfile(fit.base, {name: effect.tolist() for name, effect in fit.effects.items()}, fit.residual_variance)
        for of, fit in fitted.items()
    }


def _between(bins: NDArray[np.int64], loss: NDArray[np.float64]) -> float:
    """How much of the loss a feature's bins tell apart."""
    rows, totals = np.bincount(bins), np.bincount(bins, loss)
    return float((totals[rows > 0] ** 2 / rows[rows > 0]).sum())


def fold_answers(pane: Pane, prediction: pd.Series[Any], score: pd.Series[Any] | None, label: pd.Series[Any] | None, model: Model) -> None:
    """Fold the answers into a pane, and the labels of those that have one, as the stream does."""
    told = prediction.notna().to_numpy()
    labelled = np.zeros(int(told.sum()), bool) if label is None else label[told].notna().to_numpy()
    truth = prediction[told][labelled] if label is None else label[told][labelled]
    if model.task == "regression":
        names: list[str] = []
        predicted, actual = _numbers(prediction[told]), _numbers(truth)
    else:
        codes, found = pd.factorize(pd.concat([class_names(column) for column in (prediction[told], truth)]), sort=True)
        names, predicted, actual = found.tolist(), *np.split(codes.astype(np.float64), [len(labelled)])
    none = np.zeros(len(labelled), np.int64)
    bins = none - 1 if score is None else _score_bins(_probabilities(score[told]))
    pane.answers.add_predictions(AnswerRows(predicted, bins, none - 1, none), names, model)
    rows = LabelRows(none[labelled] + 1, predicted[labelled], actual, bins[labelled], none[labelled])
    pane.answers.add_labels(rows, names, model)


def _score_bins(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The histogram bin of each score; -1 where it is missing."""
    bins = np.minimum(np.nan_to_num(scores) * SCORE_BINS, SCORE_BINS - 1).astype(np.int64)
    return np.where(np.isfinite(scores), bins, -1)
