"""What `intake` makes of a chunk: usable events of each model in columns, and dead letters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from driftline.schemas.errors import Rejected
from driftline.streams.join import Float64, Int64, OutcomeRows, PredictionRows
from driftline.streams.transport.chunk import Chunk
from driftline.streams.values import MixedValues, Values

Topic = Literal["predictions", "outcomes"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Record `index` of the chunk cannot be used."""

    index: int
    why: Rejected


class Codes:
    """Texts (or tuples of them) ↔ small integers, in order of appearance.

    >>> codes = Codes()
    >>> codes["a"], codes["b"], codes["a"], codes.names
    (0, 1, 0, ['a', 'b'])
    """

    def __init__(self) -> None:
        self.names: list[Any] = []
        self._codes: dict[Any, int] = {}
        self._free: list[int] = []

    def __getitem__(self, name: Any) -> int:
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = self._free.pop() if self._free else len(self.names)
            self.names[code : code + 1] = [name]
        return code

    def keep(self, used: Iterable[int]) -> None:
        """Forget all names but those of these codes; the others' codes will be given to other names."""
        kept = set(used)
        for name, code in [item for item in self._codes.items() if item[1] not in kept]:
            del self._codes[name]
            self.names[code] = ""
            self._free.append(code)

    def __len__(self) -> int:
        return len(self._codes)

    def of(self, names: Iterable[Any]) -> Int64:
        """The codes of names, as an array."""
        return np.array([self[name] for name in names], np.int64)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Usable predictions of one model out of a chunk, in offset order.

    `rows` has codes of its own for `version`, `segments` and, but for a regression, `predicted`: places in `versions`, `segments` and
    `classes`. `index` is the number of each in its chunk; `latency` and `failed` are as in `AnswerRows`.
    """

    model: str
    index: Int64
    rows: PredictionRows
    versions: list[str]
    classes: list[str]
    segments: list[tuple[str, ...]]
    latency: Int64
    failed: Int64
    values: Values

    def since(self, offset: int) -> Predictions:
        """Those from `offset` on."""
        n = int(np.searchsorted(self.rows.offset, offset))
        rows = PredictionRows(*(getattr(self.rows, name)[n:] for name in PredictionRows.__slots__))
        latency, failed, values = self.latency[n:], self.failed[n:], self.values.take(np.arange(n, len(self.index)))
        return Predictions(self.model, self.index[n:], rows, self.versions, self.classes, self.segments, latency, failed, values)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Usable outcomes of one model out of a chunk, in offset order; `rows.label` has codes like those of `Predictions`."""

    model: str
    index: Int64
    rows: OutcomeRows
    classes: list[str]

    def since(self, offset: int) -> Outcomes:
        """Those from `offset` on."""
        n = int(np.searchsorted(self.rows.offset, offset))
        rows = OutcomeRows(*(getattr(self.rows, name)[n:] for name in OutcomeRows.__slots__))
        return Outcomes(self.model, self.index[n:], rows, self.classes)


Rows = TypeVar("Rows", Predictions, Outcomes)


def merged(a: Rows, b: Rows) -> Rows:
    """Two batches of one model as one, in offset order."""
    index = np.concatenate([a.index, b.index])
    order = np.argsort(index)
    if isinstance(a, Predictions):
        assert isinstance(b, Predictions)
        return _merged_predictions(a, b, index, order)
    assert isinstance(b, Outcomes)
    classes = Codes()
    labels = [_answers(each.rows.label, each.classes, classes) for each in (a, b)]
    rows = _columns(a.rows, b.rows, order, label=np.concatenate(labels))
    return Outcomes(a.model, index[order], OutcomeRows(**rows), classes.names)


def _merged_predictions(a: Predictions, b: Predictions, index: Int64, order: Int64) -> Predictions:
    classes, versions, segments, both = Codes(), Codes(), Codes(), (a, b)
    rows = _columns(
        a.rows, b.rows, order,
        predicted=np.concatenate([_answers(each.rows.predicted, each.classes, classes) for each in both]),
        version=np.concatenate([versions.of(each.versions)[each.rows.version] for each in both]),
        segments=np.concatenate([segments.of(each.segments)[each.rows.segments] for each in both]),
    )  # fmt: skip
    part = np.repeat([0, 1], [len(a.index), len(b.index)])
    at = np.concatenate([np.arange(len(each.index)) for each in both])
    latency, failed = np.concatenate([a.latency, b.latency]), np.concatenate([a.failed, b.failed])
    values = MixedValues((a.values, b.values), part[order], at[order])
    return Predictions(
        a.model, index[order], PredictionRows(**rows), versions.names, classes.names, segments.names, latency[order], failed[order], values
    )


def _columns(a: PredictionRows | OutcomeRows, b: PredictionRows | OutcomeRows, order: Int64, **recoded: Any) -> dict[str, Any]:
    both = {name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in type(a).__slots__}
    return {name: column[order] for name, column in (both | recoded).items()}


def _answers(codes: Float64, names: list[str], classes: Codes) -> Float64:
    """Class codes of a batch as others; numbers of a regression, which has no names, and NaN as they are."""
    if not names:
        return codes
    told = ~np.isnan(codes)
    out = codes.copy()
    out[told] = classes.of(names)[codes[told].astype(np.int64)]
    return out


@dataclass(frozen=True, slots=True)
class Batch(Generic[Rows]):
    """What a chunk holds. `ignored`: offsets of tombstones, which mean nothing here; `unknown`: by the number of its record, the first
    field of an event that is not known."""

    topic: Topic
    chunk: Chunk
    by_model: list[Rows]
    dead: list[DeadLetter]
    ignored: Int64
    unknown: dict[int, str]
