"""Rows for the store, as they travel on the `results` topic: one class a table, one field a column, in the table's order.

Times are integer milliseconds since the epoch (UTC). `revision` is the sum of the source offsets a row was computed from:
the higher knows more and replaces the lower.

No row can be part of a cycle, so the collector of garbage need not know them (`gc=False`): they are made in half the time.

On the wire a table is columns, and so it stays until it is stored: most columns of a record have one value for all rows, and a
thousand rows are twenty-odd lists instead of a thousand objects. What has many rows to tell makes them as columns (`Table.extend`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, starmap
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args, get_type_hints, overload

import msgspec
from msgspec.structs import FieldInfo, astuple, fields

ROWS_LIMIT: Final = 2**20  # rows of one table in one record; how many there are need not show in the record's length

Verdict = Literal["ok", "drift", "fault", "worse", "insufficient", "undefined", "learning"]


class DriftResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One test of one feature in one window against the reference."""

    model: str
    version: str
    segment: str  # "" is the whole; else "name=value"
    window_start: int
    window_end: int
    feature: str  # "(prediction)", "(score)", "(label)" and "(error)" are the model's own columns
    test: str
    value: float | None
    p_value: float | None
    null_quantile: float | None
    effect: float | None  # PSI, the effect a verdict is judged by
    threshold: float | None
    n_reference: int
    n: int
    verdict: Verdict
    reason: str  # why there is no value or no verdict, else ""
    reference: str
    policy: str
    is_final: bool
    coverage: float
    revision: int
    significance: float | None = None  # of the feature, over all bins: what its verdict is judged by
    direction: str = ""
    severity: Literal["", "warning", "critical"] = ""  # of drift
    baseline: str = "training"  # what the window was compared with
    began: int | None = None  # of drift: when it began, milliseconds since the epoch
    split: dict[str, float] = {}  # of drift of the whole: what each cell adds to `effect`; those of one name sum to it
    carriers: dict[str, float] = {}  # of those, the cells that carry more than chance explains: their share of `effect`


class PerformanceResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One metric in one window of predictions, with the labels known so far."""

    model: str
    version: str
    segment: str
    window_start: int
    window_end: int
    metric: str
    basis: Literal["realised", "estimated", "weighted", "combined"]
    value: float | None
    lower: float | None  # 95 % interval
    upper: float | None
    reference_value: float | None
    n: int  # predictions in the window
    n_labelled: int  # rows whose label is known or assumed
    coverage: float  # n_labelled / n
    maturity: float | None  # share of the labels that will ever come that is expected by now
    threshold: float | None
    verdict: Verdict
    reason: str
    reference: str
    policy: str
    is_final: bool
    revision: int
    n_assumed: int = 0  # of n_labelled, those that never got a label and count as the model's `missing_label`
    began: int | None = None  # of a metric that is worse: when it began, milliseconds since the epoch
    change: str = ""  # kind of change of the window: none, data fault, covariate drift, prior shift, concept drift; else unknown


class QualityResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One data-quality check of one feature in one window."""

    model: str
    version: str
    segment: str
    window_start: int
    window_end: int
    feature: str
    check: str  # missing_rate, type_error_rate, new_category_rate, added, removed …
    value: float | None
    reference_value: float | None
    threshold: float | None
    n: int
    verdict: Verdict
    reason: str
    reference: str
    policy: str
    is_final: bool
    coverage: float
    revision: int


class ComparisonResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How two versions stand that answer the same ids, by all labels up to the end of one window of label time."""

    model: str
    champion: str
    challenger: str
    window_start: int
    window_end: int
    verdict: Literal["better", "worse", "undecided"]  # of the challenger
    value: float | None  # of ids that both answered: share that only the challenger got right less share that only the champion did
    lower: float | None  # 95 %, valid at every look
    upper: float | None
    n: int  # ids with a label that both answered
    challenger_alone: int  # got right; of a regression: was nearer
    champion_alone: int
    policy: str
    is_final: bool
    revision: int


class FeaturePane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One feature in one pane, all source partitions merged. Numeric features fill `bins`, categorical ones `categories`."""

    model: str
    version: str
    segment: str
    pane_start: int
    pane_ms: int
    feature: str
    kind: Literal["numeric", "categorical"]
    n: int  # rows in the pane, present or not
    missing: int
    type_errors: int
    mean: float | None
    variance: float | None  # of the population
    minimum: float | None
    maximum: float | None
    bins: list[int]  # counts between the reference's edges
    categories: dict[str, int]
    reference: str
    revision: int


class PerformancePane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Predictions and labels of one pane, all source partitions merged. Time is the prediction's."""

    model: str
    version: str
    segment: str
    pane_start: int
    pane_ms: int
    n: int
    n_labelled: int
    confusion: dict[str, int]  # "predicted\\x1factual" → rows
    scores_negative: list[int]  # 256 equal bins on [0, 1], labelled rows whose class is not the positive one; multiclass: wrong answers
    scores_positive: list[int]
    error_sum: float  # regression: prediction − label
    error_abs_sum: float
    error_sq_sum: float
    delays: list[int]  # labels by delay: bin i counts delays in [2^i − 1, 2^(i+1) − 1) seconds
    reference: str
    revision: int
    predicted: dict[str, int] = {}  # class → rows, labelled or not
    latencies: list[int] = []  # 256 bins, eight to each doubling, from 2^-7 ms up
    failures: int = 0  # answers that the service says failed
    label_sum: float = 0.0  # regression
    label_sq_sum: float = 0.0


class References(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reference in force, so that bins in the store can be read without Kafka."""

    model: str
    version: str
    reference: str
    origin: str
    effective_from: int
    rows: int
    content: str  # the whole profile as JSON
    revision: int


class Orphan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One outcome that no prediction came for within the label horizon. `ingest` names it, as soon as none can come any more."""

    model: str
    partition: int
    offset: int  # of the outcome, in its partition of the outcomes topic
    id_hash: str  # sixteen hexadecimal digits; the id itself is the key of the record
    label_ts: int
    timed_out: int  # event time until which its prediction was waited for
    revision: int


# ── rows as columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

Row = TypeVar("Row", bound=msgspec.Struct)
_REPEATED: Final = (str, int, bool, type(None))  # types whose equal values are the same; of floats 0 equals -0


@dataclass(frozen=True, slots=True)
class Columns(Sequence[Row]):
    """Rows of one class, column by column.

    Attributes
    ----------
    kind
        The class; its fields are the columns, in order.
    rows
        How many.
    values
        Of each column a value a row, or the one that all rows have.

    Examples
    --------
    >>> two = columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7) for at in (3, 5)])
    >>> two.values
    (['churn'], [0], [3, 5], ['5ca1ab1e'], [60], [90], [7])
    >>> two[1] == Orphan("churn", 0, 5, "5ca1ab1e", 60, 90, 7)
    True
    """

    kind: type[Row]
    rows: int
    values: tuple[list[Any], ...]

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        return starmap(self.kind, zip(*(_spread(values, self.rows) for values in self.values), strict=True))

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Columns[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | Columns[Row]:
        numbers = range(self.rows)[at]
        if isinstance(numbers, int):
            return self.kind(*(values[numbers if len(values) == self.rows else 0] for values in self.values))
        return Columns(self.kind, len(numbers), tuple(values[at] if len(values) == self.rows else values for values in self.values))

    def take(self, numbers: Sequence[int]) -> Columns[Row]:
        """The rows of these numbers.

        >>> three = columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7) for at in (3, 5, 8)])
        >>> three.take([2, 0]).column("offset")
        [8, 3]
        """
        told = ([*map(values.__getitem__, numbers)] if len(values) == self.rows else values for values in self.values)
        return Columns(self.kind, len(numbers), tuple(told))

    def with_columns(self, columns: Mapping[str, list[Any]]) -> Columns[Row]:
        """The same rows but for these columns, each of a value a row, or the one that all rows have."""
        about = zip(self.kind.__struct_fields__, self.values, strict=True)
        return Columns(self.kind, self.rows, tuple(columns.get(name, values) for name, values in about))

    def column(self, name: str) -> list[Any]:
        """The values of all rows."""
        return _spread(self._told(name), self.rows)

    def runs(self, *names: str) -> Iterator[tuple[tuple[Any, ...], Columns[Row]]]:
        """Rows next to one another that have the same values in these columns; the values and the rows.

        >>> three = columns_of([Orphan("churn", k, 5, "5ca1ab1e", 60, 90, 7) for k in (0, 0, 1)])
        >>> [(about, rows.rows) for about, rows in three.runs("model", "partition")]
        [(('churn', 0), 2), (('churn', 1), 1)]
        """
        columns = [*map(self._told, names)]
        if all(len(values) == 1 for values in columns):
            yield tuple(values[0] for values in columns), self
            return
        begin = 0
        for about, together in groupby(zip(*(_spread(values, self.rows) for values in columns), strict=True)):
            end = begin + sum(1 for _ in together)
            part = tuple(_once(values[begin:end]) if len(values) == self.rows else values for values in self.values)
            yield about, Columns(self.kind, end - begin, part)
            begin = end

    def _told(self, name: str) -> list[Any]:
        return self.values[self.kind.__struct_fields__.index(name)]


def columns_of(rows: Sequence[Row]) -> Columns[Row]:
    """The rows, at least one and all of one class, as columns."""
    if isinstance(rows, Columns):
        return rows
    return Columns(type(rows[0]), len(rows), tuple(map(_once, zip(*map(astuple, rows), strict=True))))


def joined(parts: Sequence[Columns[Row]]) -> Columns[Row]:
    """The rows of all parts, at least one and all of one class, in order.

    >>> one, two = (columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7)]) for at in (3, 5))
    >>> joined([one, two]) == columns_of([*one, *two])
    True
    """
    if len(parts) == 1:
        return parts[0]
    rows = [part.rows for part in parts]
    return Columns(parts[0].kind, sum(rows), tuple(_end_to_end(each, rows) for each in zip(*(part.values for part in parts), strict=True)))


def _end_to_end(columns: Sequence[list[Any]], rows: Sequence[int]) -> list[Any]:
    """One column of several, which have so many rows each."""
    if all(len(values) == 1 for values in columns) and len(once := _once([values[0] for values in columns])) == 1:
        return once
    return _once([*chain.from_iterable(map(_spread, columns, rows))])


def _once(values: Sequence[Any]) -> list[Any]:
    """The values, or the one that all are.

    >>> _once([1.5, 1.5]), _once([0.0, -0.0]), _once([None, None]), _once([{}, {}])
    ([1.5], [0.0, -0.0], [None], [{}])
    """
    first = values[0]
    can_be = type(first) in _REPEATED or (type(first) is float and first) or first == {}
    return [first] if can_be and values[-1] == first and values.count(first) == len(values) else list(values)


def _spread(values: list[Any], rows: int) -> list[Any]:
    return values if len(values) == rows else values * rows


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Table(Sequence[Row]):
    """Rows of one class as they are told, in order: those that came as columns stay so, and nobody makes objects of them.

    >>> table = Table([Orphan("churn", 0, 3, "5ca1ab1e", 60, 90, 7)])
    >>> table.extend(columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7) for at in (5, 8)]))
    >>> len(table), table[2].offset, [part.rows for part in table.parts()]
    (3, 8, [1, 2])
    """

    __slots__ = ("_parts",)

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._parts: list[Columns[Row] | list[Row]] = []
        self.extend(rows)

    def append(self, row: Row) -> None:
        """Add one row."""
        self.extend((row,))

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows; of columns and of another table they stay as they are."""
        if isinstance(rows, Columns):
            self._parts += [rows] if rows.rows else []
        elif isinstance(rows, Table):
            self._parts += rows.parts()
        elif self._parts and isinstance(last := self._parts[-1], list):
            last.extend(rows)
        elif new := [*rows]:
            self._parts.append(new)

    def parts(self) -> Iterator[Columns[Row]]:
        """The rows as columns, part by part."""
        return map(columns_of, self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        return [*self][at]

    def __eq__(self, other: object) -> bool:
        return [*self] == [*other] if isinstance(other, Table | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Table({[*self]!r})"


class Results:
    """One record on the `results` topic. What an evaluation wrote, table by table; and the orphans that ingest named."""

    def __init__(
        self,
        drift_results: Iterable[DriftResult] = (),
        performance_results: Iterable[PerformanceResult] = (),
        quality_results: Iterable[QualityResult] = (),
        feature_panes: Iterable[FeaturePane] = (),
        performance_panes: Iterable[PerformancePane] = (),
        references: Iterable[References] = (),
        comparisons: Iterable[ComparisonResult] = (),
        orphans: Iterable[Orphan] = (),
    ) -> None:
        self.drift_results = Table(drift_results)
        self.performance_results = Table(performance_results)
        self.quality_results = Table(quality_results)
        self.feature_panes = Table(feature_panes)
        self.performance_panes = Table(performance_panes)
        self.references = Table(references)
        self.comparisons = Table(comparisons)
        self.orphans = Table(orphans)

    def tables(self) -> dict[str, Table[Any]]:
        """By name, those that have rows."""
        return {name: table for name, table in vars(self).items() if table}

    def __eq__(self, other: object) -> bool:
        return self.tables() == other.tables() if isinstance(other, Results) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Results({self.tables()!r})"


#: The class of each table's rows.
RESULTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    name: get_args(rows)[0] for name, rows in get_type_hints(Results.__init__).items() if name != "return"
}


class Verdicts(NamedTuple):
    """The part of `Results` that decides something."""

    drift_results: Sequence[DriftResult] = ()
    performance_results: Sequence[PerformanceResult] = ()
    quality_results: Sequence[QualityResult] = ()


# ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode_results(results: Results) -> bytes:
    """The value of a record on the `results` topic: MessagePack, of each table that has rows how many, and their columns."""
    tables = {name: joined([*table.parts()]) for name, table in results.tables().items()}
    return msgspec.msgpack.encode({name: {"rows": each.rows, "values": each.values} for name, each in tables.items()})


def decode_results(value: bytes) -> Results:
    """The rows in a record's value."""
    return Results(**decode_columns(value))


def decode_columns(value: bytes) -> dict[str, Columns[Any]]:
    """The columns of each table that has rows, of a record's value.

    Raises
    ------
    msgspec.MsgspecError
        It is no such record.
    """
    return _columns(_results.decode(value))


def decode_verdicts(value: bytes) -> Verdicts:
    """The verdicts in a record's value, in columns; what else there is, is passed over. Raises like `decode_columns`."""
    return Verdicts(**_columns(_verdicts.decode(value)))


def _columns(record: msgspec.Struct) -> dict[str, Columns[Any]]:
    told = {name: part for name in record.__struct_fields__ if (part := getattr(record, name))}
    return {name: columns_of(part) if isinstance(part, list) else _checked(RESULTS[name], part) for name, part in told.items()}


def _checked(kind: type[msgspec.Struct], table: Any) -> Columns[Any]:
    values = astuple(table.values)
    if not {*map(len, values)} <= {1, table.rows}:
        raise msgspec.ValidationError(f"{kind.__name__}: a column has neither one value nor {table.rows}")
    return Columns(kind, table.rows, values)


def _record(tables: Iterable[str]) -> Any:
    """The class of a record with these tables, each of which is columns, or rows, as older releases wrote them."""
    rows: dict[str, Any] = {name: GenericAlias(list, (RESULTS[name],)) for name in tables}
    return msgspec.defstruct("Record", [(name, rows[name] | _table(RESULTS[name]), []) for name in tables])


def _table(kind: type[msgspec.Struct]) -> Any:
    """The class of a table in columns; a column that an older release did not know has its default in all rows."""
    columns: list[Any] = []
    for each in fields(kind):
        known = (msgspec.field(default_factory=partial(_default, each)),) if not each.required else ()
        columns.append((each.name, GenericAlias(list, (each.type,)), *known))
    rows = Annotated[int, msgspec.Meta(ge=1, le=ROWS_LIMIT)]
    return msgspec.defstruct("Table", [("rows", rows), ("values", msgspec.defstruct("Values", columns, array_like=True))])


def _default(column: FieldInfo) -> list[Any]:
    return [column.default if column.default_factory is msgspec.NODEFAULT else column.default_factory()]


_results, _verdicts = (msgspec.msgpack.Decoder(_record(names)) for names in (RESULTS, Verdicts._fields))
