"""What `intake` makes of a chunk: usable events of each model in columns, and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from driftline.schemas.config import Model
from driftline.schemas.errors import Rejected
from driftline.schemas.events import text_of
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

    def recoded(self, codes: Int64, names: Sequence[Any]) -> Int64:
        """Codes that are places in `names` as those of here; mostly they are the same.

        >>> codes = Codes()
        >>> codes.recoded(np.array([1, 0, 1]), ["a", "b"]), codes.recoded(np.array([1, 0, 1]), ["b", "c"])
        (array([1, 0, 1]), array([2, 1, 2]))
        """
        own = self.of(names)
        return codes if np.array_equal(own, np.arange(len(own))) else own[codes]


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
        if not n:
            return self
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
        if not n:
            return self
        rows = OutcomeRows(*(getattr(self.rows, name)[n:] for name in OutcomeRows.__slots__))
        return Outcomes(self.model, self.index[n:], rows, self.classes)


Rows = TypeVar("Rows", Predictions, Outcomes)


def merged(parts: Sequence[Rows]) -> Rows:
    """Batches of one model as one, in offset order."""
    order = np.argsort(np.concatenate([part.index for part in parts]), kind="stable")
    first = parts[0]
    made: Any = _merged_predictions(parts, order) if isinstance(first, Predictions) else _merged_outcomes(parts, order)
    return made  # type: ignore[no-any-return]


def _merged_outcomes(parts: Sequence[Any], order: Int64) -> Outcomes:
    classes = Codes()
    rows = _columns(parts, order, label=[_answers(each.rows.label, each.classes, classes) for each in parts])
    return Outcomes(parts[0].model, _joined([each.index for each in parts], order), OutcomeRows(**rows), classes.names)


def _merged_predictions(parts: Sequence[Any], order: Int64) -> Predictions:
    classes, versions, segments = Codes(), Codes(), Codes()
    rows = _columns(
        parts, order,
        predicted=[_answers(each.rows.predicted, each.classes, classes) for each in parts],
        version=[versions.of(each.versions)[each.rows.version] for each in parts],
        segments=[segments.of(each.segments)[each.rows.segments] for each in parts],
    )  # fmt: skip
    index, latency, failed = (_joined([getattr(each, name) for each in parts], order) for name in ("index", "latency", "failed"))
    part = np.repeat(np.arange(len(parts)), [len(each.index) for each in parts])
    at = np.concatenate([np.arange(len(each.index)) for each in parts])
    values = MixedValues([each.values for each in parts], part[order], at[order])
    return Predictions(
        parts[0].model, index, PredictionRows(**rows), versions.names, classes.names, segments.names, latency, failed, values
    )


def _joined(columns: Sequence[Any], order: Int64) -> Any:
    return np.concatenate(columns)[order]


def _columns(parts: Sequence[Any], order: Int64, **recoded: list[Any]) -> dict[str, Any]:
    names = type(parts[0].rows).__slots__
    return {name: _joined(recoded.get(name) or [getattr(each.rows, name) for each in parts], order) for name in names}


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


def misfit(answer: Any, model: Model) -> Rejected | None:
    """What is wrong with a prediction or label for the model's task; None stands for a label taken back."""
    if answer is None:
        return None
    if isinstance(answer, list | dict) or model.task == "ranking":
        return _misfit_ranking(answer, model)
    shown, number = f"{str(answer)[:60]!r}", isinstance(answer, float)
    if model.task == "regression":
        return None if number else Rejected("task_mismatch", f"model {model.model!r} is a regression; {shown} is not a number")
    if model.classes:
        known = text_of(answer) in model.classes
        return None if known else Rejected("unknown_class", f"{shown} is none of the classes in the file of model {model.model!r}")
    if model.task == "binary" and number and not float(answer).is_integer():
        return Rejected(
            "task_mismatch", f"model {model.model!r} is binary; {shown} is no class: put a probability into `score`, or set `task`"
        )
    return None


def _misfit_ranking(answer: Any, model: Model) -> Rejected | None:
    if model.task != "ranking":
        return Rejected("task_mismatch", f"model {model.model!r} is {model.task}; a list or an object is no answer of it")
    if not isinstance(answer, list | dict | str):
        return Rejected("task_mismatch", f"model {model.model!r} is a ranking; {str(answer)[:60]!r} is no list of items")
    if isinstance(answer, list) and len(set(answer)) < len(answer):
        return Rejected("task_mismatch", f"an item comes twice in a ranking of model {model.model!r}")
    if isinstance(answer, dict) and min(answer.values(), default=0.0) < 0:
        return Rejected("task_mismatch", f"model {model.model!r}: a relevance must not be negative")
    return None
