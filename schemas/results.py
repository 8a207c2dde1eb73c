"""Rows for the store, as they travel on the `results` topic: one class a table, one field a column, in the table's order.

Times are integer milliseconds since the epoch (UTC). `revision` is the sum of the source offsets a row was computed from:
the higher knows more and replaces the lower.

No row can be part of a cycle, so the collector of garbage need not know them (`gc=False`): they are made in half the time.

On the wire a table is parts, each in columns, and so it stays until it is stored: most columns of a part have one value for all rows, and
those of numbers and texts are bytes (`packed`), which nobody makes objects of. What has many rows to tell makes them as columns
(`Table.extend`); who has few makes rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, chain, groupby, pairwise, starmap
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints, overload

import msgspec
from msgspec.structs import FieldInfo, astuple, fields

from driftline.schemas.packed import PACKINGS, Coded, Packed, Runs, Unfit

CODEC: Final = 3  # of a record; a later one is refused
_NOW: Final = (bytes([2]), bytes([CODEC]))  # 2: no runs, and often several parts of a table
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


@dataclass(frozen=True, slots=True, eq=False)
class Columns(Sequence[Row]):
    """Rows of one class, column by column.

    Attributes
    ----------
    kind
        The class; its fields are the columns, in order.
    rows
        How many.
    values
        Of each column a value a row, as a list or packed, or a list of the one value that all rows have.

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
    values: tuple[list[Any] | Packed, ...]

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        return starmap(self.kind, zip(*(_spread(values, self.rows) for values in self.values), strict=True))

    def __eq__(self, other: object) -> bool:
        return [*self] == [*other] if isinstance(other, Columns) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Columns[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | Columns[Row]:
        numbers = range(self.rows)[at]
        if isinstance(numbers, int):
            [row] = self._cut(numbers, numbers + 1)
            return row
        return self._cut(numbers.start, numbers.stop) if numbers.step == 1 else self.take(numbers)

    def _cut(self, begin: int, end: int) -> Columns[Row]:
        if (begin, end) == (0, self.rows):
            return self
        if begin >= end:
            return Columns(self.kind, 0, tuple([] for _ in self.values))
        return Columns(self.kind, end - begin, tuple(_stretch(values, begin, end, self.rows) for values in self.values))

    def take(self, numbers: Sequence[int]) -> Columns[Row]:
        """The rows of these numbers.

        >>> three = columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7) for at in (3, 5, 8)])
        >>> three.take([2, 0]).column("offset")
        [8, 3]
        """
        return Columns(self.kind, len(numbers), tuple(taken(values, numbers, self.rows) for values in self.values))

    def with_columns(self, columns: Mapping[str, list[Any] | Packed]) -> Columns[Row]:
        """The same rows but for these columns, each of a value a row, or the one that all rows have."""
        about = zip(self.kind.__struct_fields__, self.values, strict=True)
        return Columns(self.kind, self.rows, tuple(columns.get(name, values) for name, values in about))

    def column(self, name: str) -> list[Any]:
        """The values of all rows."""
        return _spread(self._told(name), self.rows)

    def told(self, name: str) -> Sequence[Any]:
        """The values that are told of a column: of each row, or the one of all."""
        told = self._told(name)
        return told.tolist() if isinstance(told, Packed) else told

    def told_in(self, name: str, ends: Sequence[int]) -> list[Sequence[Any]]:
        """The same of the rows up to each of these numbers, from the one before on; the last is how many there are.

        >>> three = columns_of([Orphan("churn", k, 5, "5ca1ab1e", 60, 90, 7) for k in (0, 0, 1)])
        >>> three.told_in("model", [2, 3]), three.told_in("partition", [2, 3])
        ([['churn'], ['churn']], [[0, 0], [1]])
        """
        told = self._told(name)
        if isinstance(told, Runs) and [*accumulate(told.sizes)] == [*ends]:
            return [[value] for value in told.values]
        if isinstance(told, list) and len(told) < self.rows:
            return [told] * len(ends)
        values = _spread(told, self.rows)
        return [values[begin:end] for begin, end in pairwise((0, *ends))]

    def having(self, name: str, *wanted: str) -> Sequence[int]:
        """The numbers of the rows that have one of these texts in a column.

        >>> three = columns_of([Orphan("churn", 0, 5, id, 60, 90, 7) for id in ("5ca1", "ab1e", "5ca1")])
        >>> three.having("id_hash", "5ca1"), [*three.having("model", "churn")], three.having("model", "fraud")
        ([0, 2], [0, 1, 2], [])
        """
        told = self._told(name)
        if isinstance(told, Coded):
            return told.having(wanted)
        values = told.tolist() if isinstance(told, Packed) else told
        if len(values) < self.rows:
            return range(self.rows) if values[0] in wanted else []
        return [i for i, value in enumerate(values) if value in wanted]

    def once(self, *names: str) -> tuple[Any, ...] | None:
        """The values that all rows have in these columns; None where one of them has several, or may."""
        found = []
        for values in map(self._told, names):
            if not isinstance(values, list) or len(values) != 1:
                return None
            found.append(values[0])
        return tuple(found)

    def spans(self, *names: str) -> Iterator[tuple[tuple[Any, ...], int, int]]:
        """Where rows next to one another have the same values in these columns; the values, and from where to before where.

        Runs that the columns came in stay apart.

        >>> three = columns_of([Orphan("churn", k, 5, "5ca1ab1e", 60, 90, 7) for k in (0, 0, 1)])
        >>> [*three.spans("model", "partition")]
        [(('churn', 0), 0, 2), (('churn', 1), 2, 3)]
        """
        if (once := self.once(*names)) is not None:
            yield once, 0, self.rows
            return
        told = [*map(self._told, names)]
        sizes = next((each.sizes for each in told if isinstance(each, Runs)), [self.rows])
        if all(len(each) == 1 if isinstance(each, list) else isinstance(each, Runs) and each.sizes == sizes for each in told):
            runs = [each.values if isinstance(each, Runs) else each * len(sizes) for each in told]  # type: ignore[operator]
            yield from zip(zip(*runs, strict=True), accumulate(sizes, initial=0), accumulate(sizes), strict=False)
            return
        begin = 0
        for about, together in groupby(zip(*(_spread(each, self.rows) for each in told), strict=True)):
            end = begin + len([*together])
            yield about, begin, end
            begin = end

    def _told(self, name: str) -> list[Any] | Packed:
        return self.values[self.kind.__struct_fields__.index(name)]


def columns_of(rows: Sequence[Row]) -> Columns[Row]:
    """The rows, at least one and all of one class, as columns."""
    if isinstance(rows, Columns):
        return rows
    columns = zip(*map(astuple, rows), strict=True)
    return Columns(type(rows[0]), len(rows), tuple(map(_once if len(rows) > 1 else list, columns)))


def joined(parts: Sequence[Columns[Row]]) -> Columns[Row]:
    """The rows of all parts, at least one and all of one class, in order.

    >>> one, two = (columns_of([Orphan("churn", 0, at, "5ca1ab1e", 60, 90, 7)]) for at in (3, 5))
    >>> joined([one, two]) == columns_of([*one, *two])
    True
    """
    if len(parts) == 1:
        return parts[0]
    kind, rows = parts[0].kind, [part.rows for part in parts]
    runs = [_runs_of(part) for part in parts] if any(Runs in map(type, part.values) for part in parts) else None
    columns = zip(*(part.values for part in parts), packings(kind), strict=True)
    return Columns(kind, sum(rows), tuple(end_to_end(each, rows, packing, runs) for *each, packing in columns))


def _runs_of(part: Columns[Any]) -> list[int]:
    """Into which runs the rows of a part fall: those that it came in, or each row by itself where it has lists of a value a row."""
    for each in part.values:
        if isinstance(each, Runs):
            return each.sizes
    apart = any(isinstance(each, list) and len(each) == part.rows for each in part.values)
    return [1] * part.rows if apart else [part.rows]


@lru_cache(maxsize=64)
def packings(kind: Any) -> tuple[type[Packed] | None, ...]:
    """As what each column of a class is packed."""
    return tuple(PACKINGS.get(str if get_origin(each.type) is Literal else each.type) for each in fields(kind))


def _stretch(values: list[Any] | Packed, begin: int, end: int, rows: int) -> list[Any] | Packed:
    """Of a column of so many rows those from `begin` to before `end`."""
    if isinstance(values, Runs):
        runs = values.cut(begin, end)
        return in_runs(runs.values, runs.sizes)
    return values.cut(begin, end) if isinstance(values, Packed) else _once(values[begin:end]) if len(values) == rows else values


def taken(values: list[Any] | Packed, numbers: Sequence[int], rows: int) -> list[Any] | Packed:
    """Of a column of so many rows, of each a value, or the one that all have, those of these numbers."""
    if isinstance(values, Packed):
        return values.take(numbers)
    return [*map(values.__getitem__, numbers)] if len(values) == rows else values


def end_to_end(
    columns: Sequence[list[Any] | Packed], rows: Sequence[int], packing: Any, runs: Sequence[list[int]] | None = None
) -> list[Any] | Packed:
    """One column of several, which have so many rows each: of each row a value, or of each run of rows, or one that all have. `runs`
    says into which runs the rows of each fall, where not into one.

    Lists of a value a row that nobody has packed stay lists: to pack them takes longer than it saves.
    """
    kinds = {*map(type, columns)}
    lists: Any = columns if kinds == {list} else [each for each in columns if isinstance(each, list)]
    if kinds <= {list, Runs} and runs is None and {*map(len, lists)} <= {1}:
        told = Runs.joined(columns, rows) if Runs in kinds else Runs([*chain.from_iterable(lists)], [*rows])  # type: ignore[arg-type]
        return in_runs(told.values, told.sizes)
    if kinds <= {list, Runs} and runs is not None and all(map(_fits, columns, runs)):
        return in_runs([*chain.from_iterable(map(_of_runs, columns, runs))], [*chain.from_iterable(runs)])
    if Runs in kinds:
        columns = [each.tolist() if isinstance(each, Runs) else each for each in columns]
    if packing and (kinds != {list} or [*map(len, lists)] != [*rows]):
        with suppress(Unfit):
            packed: Packed = packing.joined(columns, rows)
            return packed
    return _once([*chain.from_iterable(map(_spread, columns, rows))])


def _fits(column: list[Any] | Packed, sizes: list[int]) -> bool:
    return len(column) in (1, len(sizes)) if isinstance(column, list) else isinstance(column, Runs) and column.sizes == sizes


def _of_runs(column: Any, sizes: list[int]) -> list[Any]:
    """The values of these runs, which a column fits."""
    values: list[Any] = column.values if isinstance(column, Runs) else column
    return values if len(values) == len(sizes) else values * len(sizes)


def in_runs(values: Sequence[Any], sizes: list[int]) -> list[Any] | Packed:
    """A column that has one value in each of some runs of rows, of which there is one at least.

    >>> in_runs([60, 90], [2, 1]), in_runs(["ok", "ok"], [2, 1]), in_runs([60, 90], [1, 1])
    (Runs(values=[60, 90], sizes=[2, 1]), ['ok'], [60, 90])
    """
    once = _once(values)
    return once if len(once) in (1, sum(sizes)) else Runs(once, sizes)


def _once(values: Sequence[Any]) -> list[Any]:
    """The values, or the one that all are.

    >>> _once([1.5, 1.5]), _once([0.0, -0.0]), _once([None, None]), _once([{}, {}])
    ([1.5], [0.0, -0.0], [None], [{}])
    """
    first = values[0]
    can_be = type(first) in _REPEATED or (type(first) is float and first) or first == {}
    return [first] if can_be and values[-1] == first and values.count(first) == len(values) else list(values)


def _spread(values: list[Any] | Packed, rows: int) -> list[Any]:
    return values.tolist() if isinstance(values, Packed) else values if len(values) == rows else values * rows


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
        if self._parts and isinstance(last := self._parts[-1], list):
            last.append(row)
        else:
            self._parts.append([row])

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows, which are a part; of columns and of another table they stay as they are."""
        if isinstance(rows, Columns):
            self._parts += [rows] if rows.rows else []
        elif isinstance(rows, Table):
            self._parts += rows.parts()
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

    drift_results: Table[DriftResult] = Table()
    performance_results: Table[PerformanceResult] = Table()
    quality_results: Table[QualityResult] = Table()


# ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode_results(results: Results) -> bytes:
    """The value of a record on the `results` topic: the codec's number, then MessagePack, of each table that has rows its parts: one."""
    told = {name: [_written(joined([*table.parts()]))] for name, table in results.tables().items()}
    return bytes([CODEC]) + msgspec.msgpack.encode(told)


def _written(part: Columns[Any]) -> dict[str, Any]:
    """A part with its runs of rows: a list of as many values tells one of each."""
    sizes = next((each.sizes for each in part.values if isinstance(each, Runs)), [])
    kind: Any = part.kind
    told = zip(part.values, packings(kind), strict=True)
    values = [_written_as(each, packing, sizes) if isinstance(each, Runs) else each for each, packing in told]
    return {"rows": part.rows, "runs": sizes, "values": values}


def _written_as(runs: Runs, packing: type[Packed] | None, sizes: list[int]) -> list[Any] | Packed:
    """Of each run its value, where these are the runs of the part; else of each row."""
    if runs.sizes == sizes:
        return runs.values
    values = runs.tolist()
    with suppress(Unfit):
        return packing.joined([values], [len(values)]) if packing else values
    return values


def decode_results(value: bytes) -> Results:
    """The rows in a record's value.

    Raises
    ------
    msgspec.MsgspecError
        It is no such record.
    """
    return Results(**_tables(value, _results))


def decode_verdicts(value: bytes) -> Verdicts:
    """The verdicts in a record's value; what else there is, is passed over. Raises like `decode_results`."""
    return Verdicts(**_tables(value, _verdicts))


class _Decoders(NamedTuple):
    now: Any
    of_then: Any  # of records that begin with no number: of each table one part, none of it packed, or rows


def _tables(value: bytes, decoders: _Decoders) -> dict[str, Table[Any]]:
    try:
        record = decoders.now.decode(memoryview(value)[1:]) if value[:1] in _NOW else decoders.of_then.decode(value)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None
    return {name: _table_of(RESULTS[name], told) for name in record.__struct_fields__ if (told := getattr(record, name))}


def _table_of(kind: type[msgspec.Struct], told: Any) -> Table[Any]:
    table = Table[Any]()
    if isinstance(told, list) and isinstance(told[0], kind):
        table.extend(told)
    else:
        for part in told if isinstance(told, list) else [told]:
            table.extend(_checked(kind, part))
    if len(table) > ROWS_LIMIT:
        raise msgspec.ValidationError(f"{kind.__name__}: {len(table)} rows, and at most {ROWS_LIMIT} can be in a record")
    return table


def _checked(kind: type[msgspec.Struct], part: Any) -> Columns[Any]:
    rows, runs = part.rows, part.runs
    told: list[list[Any] | Packed] = [
        Runs(each, runs) if type(each) is list and len(each) == len(runs) else each for each in astuple(part.values)
    ]
    for each in told:
        if not (len(each) == 1 or len(each) == rows if isinstance(each, list) else each.holds(rows)):
            raise msgspec.ValidationError(f"{kind.__name__}: a column has neither one value nor {rows}")
    return Columns(kind, rows, tuple(told))


def _decoders(tables: Iterable[str]) -> _Decoders:
    """Of records with these tables."""
    kinds = {name: RESULTS[name] for name in tables}
    now: list[Any] = [(name, GenericAlias(list, (_part(kind, packed=True),)), []) for name, kind in kinds.items()]
    of_then: list[Any] = [(name, GenericAlias(list, (kind,)) | _part(kind, packed=False), []) for name, kind in kinds.items()]
    return _Decoders(*(msgspec.msgpack.Decoder(msgspec.defstruct("Record", fields)) for fields in (now, of_then)))


def _part(kind: type[msgspec.Struct], *, packed: bool) -> Any:
    """The class of a table's part; a column that an older release did not know has its default in all rows."""
    columns: list[Any] = []
    for each, packing in zip(fields(kind), packings(kind), strict=True):
        known = (msgspec.field(default_factory=partial(_default, each)),) if not each.required else ()
        told: Any = GenericAlias(list, (each.type,))
        if packed and packing:
            told |= GenericAlias(Coded, (each.type,)) if packing is Coded else packing
        columns.append((each.name, told, *known))
    many: Any = Annotated[int, msgspec.Meta(ge=1, le=ROWS_LIMIT)]
    values = msgspec.defstruct("Values", columns, array_like=True)
    return msgspec.defstruct("Part", [("rows", many), ("values", values), ("runs", GenericAlias(list, (many,)), [])])


def _default(column: FieldInfo) -> list[Any]:
    return [column.default if column.default_factory is msgspec.NODEFAULT else column.default_factory()]


_results, _verdicts = map(_decoders, (RESULTS, Verdicts._fields))
