"""Two tables as the core wants them: read, checked for what no event carries, and folded into a pane. For `comparison`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from driftline.replay import read_table
from driftline.schemas.config import FeatureType, Model, Task
from driftline.schemas.errors import DriftlineError
from driftline.schemas.reference import Reference
from driftline.streams.derived import derive, sources
from driftline.streams.joint import plan_of
from driftline.streams.layout import Layout
from driftline.streams.panes import Pane, empty_pane
from driftline.streams.profile import class_names, feature_types, listed, plain

Source = pd.DataFrame | pa.Table | str | Path

_BLOCK_CELLS = 2_000_000  # values encoded at once; bounds the memory beside the tables
_MANY_CLASSES = 50
_PLAIN = frozenset({str, bool, int, float, type(None)})


def rows_of(source: Source, side: str) -> pd.DataFrame:
    """The rows in pandas, with texts for names and floats for decimals."""
    if isinstance(source, str | Path):
        table = read_table(Path(source))
    elif isinstance(source, pd.DataFrame):
        table = source.reset_index(drop=True)
    elif hasattr(source, "__arrow_c_stream__"):
        table = pa.table(source).to_pandas()
    else:
        fix = "give a pandas DataFrame, an Arrow table, or the path of a CSV or Parquet file"
        raise DriftlineError("comparison_input", f"{side} is a {type(source).__name__}", fix)
    table = table.rename(columns=str)
    if not len(table):
        raise DriftlineError("comparison_empty", f"{side} has no rows", "compare tables that have some")
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise DriftlineError("comparison_column", f"{side} has more than one column {doubled[0]!r}", "rename one of them")
    decimals = [name for name in table.columns if table[name].dtype == object and _kinds(table[name]) == {Decimal}]
    return table.astype(dict.fromkeys(decimals, np.float64))


def _kinds(column: pd.Series[Any]) -> set[type]:
    return set(map(type, column.dropna().tolist()))


def require(table: pd.DataFrame, side: str, names: Iterable[str]) -> None:
    """Refuse a column that a side lacks, by name."""
    for name in names:
        if name not in table.columns:
            near = difflib.get_close_matches(name, list(table.columns), 1)
            fix = f"did you mean {near[0]!r}?" if near else f"its columns are: {columns_of(table)}"
            raise DriftlineError("comparison_column", f"{side} has no column {name!r}", fix)


def columns_of(table: pd.DataFrame) -> str:
    """The names of its columns, the first twenty."""
    return ", ".join(table.columns[:20])


def types_of(
    table: pd.DataFrame, model: Model, features: Sequence[str] | Mapping[str, FeatureType] | None, others: set[str]
) -> dict[str, FeatureType]:
    """Name and type of each feature."""
    if features is None:
        named = feature_types(table, model, others)
        require(table, "reference", named)
        return named
    if isinstance(features, Mapping):
        return dict(features)
    guessed = feature_types(table[list(dict.fromkeys(features))], Model(model.model))
    return {name: model.features.get(name, kind) for name, kind in guessed.items()}


def check_values(table: pd.DataFrame, side: str, names: list[str]) -> None:
    """Refuse what no event can carry as a feature: vectors, dates, complex numbers."""
    for name in names:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column) and column.dtype.kind != "c":
            continue
        for kind in sorted(_kinds(column), key=str):
            if issubclass(kind, str | bool | int | float | np.bool_ | np.integer | np.floating):
                continue
            vector = issubclass(kind, list | tuple | dict | set | np.ndarray)
            what = f"{'vectors or records' if vector else 'values'} ({kind.__name__})"
            instead = "compare its norm or its components as columns of their own" if vector else "make numbers or texts of them"
            instead = f'order the reference by it, time="{name}"' if issubclass(kind, date) else instead
            raise DriftlineError(
                "comparison_value", f"column {name!r} of {side} holds {what}, which are neither numbers, texts nor booleans",
                f'leave it out with exclude=["{name}"], or {instead}',
            )  # fmt: skip


def check_answers(table: pd.DataFrame, side: str, model: Model, prediction: str | None) -> None:
    """Refuse the mistake that is made most: a probability where the class is wanted."""
    if model.task == "binary" and prediction is not None and _has_fractions(table[prediction]):
        fix = 'name it as the score, score="…", and the column of the decision as the prediction; or give a Model of another task'
        raise DriftlineError("comparison_value", f"column {prediction!r} of {side} has fractions, and the task is binary", fix)


def _has_fractions(column: pd.Series[Any]) -> bool:
    if not pd.api.types.is_float_dtype(column):
        return False
    values = column.dropna().to_numpy(np.float64)
    return bool((values != np.floor(values)).any())


def model_of(table: pd.DataFrame, prediction: str | None) -> Model:
    """The defaults, with the task that a prediction column looks like."""
    if prediction is None:
        return Model("comparison")
    column = table[prediction]
    many = pd.api.types.is_numeric_dtype(column) and column.nunique() > _MANY_CLASSES
    if many or _has_fractions(column):
        return Model("comparison", task="regression")
    classes = class_names(column).dropna().unique().tolist()
    task: Task = "multiclass" if len(classes) > 2 else "binary"
    return Model("comparison", task=task, positive="true" if set(classes) <= {"true", "false"} and classes else "1")


def fold(layout: Layout, table: pd.DataFrame, columns: Mapping[str, str | None]) -> Pane:
    """The rows as one pane; `columns` tells which column of the table is which of the layout's."""
    pane = empty_pane(layout)
    step = max(_BLOCK_CELLS // max(len(layout.names), 1), 1)
    taken = {name: columns[name] for name in layout.names}
    for begin in range(0, len(table), step):
        block = table.iloc[begin : begin + step]
        values = {name: _values(block[column]) for name, column in taken.items() if column is not None and column in table.columns}
        encoded = layout.encode(values, len(block))
        pane.add_encoded(layout, encoded, np.arange(len(block)))
        if plan := plan_of(layout):
            pane.add_joint(plan.sums(encoded.z[:, plan.features]))
    return pane


def with_derived(table: pd.DataFrame, types: Mapping[str, FeatureType], made: Reference) -> pd.DataFrame:
    """The table with the columns derived from texts and vectors, by the vocabularies of the reference."""
    columns = {name: listed(table[name]) for name in sources(types) if name in table.columns}
    told = derive(columns, types, made.vocabularies)
    return table.assign(**{name: pd.Series(column, table.index, dtype=object) for name, column in told.items()}) if told else table


def _values(column: pd.Series[Any]) -> list[Any]:
    """A column's values as events would carry them; None where there is none, or one that no event can carry."""
    missing = column.isna().to_numpy()
    if pd.api.types.is_float_dtype(column):
        missing = missing | ~np.isfinite(column.to_numpy(np.float64, na_value=np.nan))
    values = column.tolist()
    for row in np.flatnonzero(missing).tolist():
        values[row] = None
    if _PLAIN.issuperset(map(type, values)):
        return values
    return [None if value is None else plain(value) for value in values]
