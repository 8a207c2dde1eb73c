"""How probable a model of several classes says each of them is: what panes know of it. Pure.

A class and the probabilities it was chosen by travel through the join as one text, as rankings do. Panes have them apart again, as
counts and exact sums, so they add up, and a label that is corrected goes out as it came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.config import MOST_CHANCES, OF_CHANCES, Model
from driftline.streams import exact

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

BINS: Final = 256  # equal ones, on [0, 1]
LEAST: Final = float(np.finfo(np.float64).eps)  # a probability counts as, in the log loss
MARK: Final = "\x1e"  # between the class and its probabilities; events have no control characters
ASKED: Final = frozenset({*OF_CHANCES, "all"})
SUMS: Final = ("log_loss", "log_loss_squares", "brier", "brier_squares")


def kept(model: Model) -> bool:
    """Whether panes are to know the probability of every class: the file declares 64 of them at most, and asks for a metric that needs it.

    >>> kept(Model("m", task="multiclass", classes=("a", "b", "c"), metrics=("log_loss",))), kept(Model("m", metrics=("log_loss",)))
    (True, False)
    """
    asked = not ASKED.isdisjoint((*model.metrics, *model.judged))
    return model.task == "multiclass" and 0 < len(model.classes) <= MOST_CHANCES and asked


def said(name: str, scores: Mapping[str, float] | None) -> str:
    """A class and the probabilities of all, as one text.

    >>> said("a", {"a": 0.75, "b": 0.25}).split(MARK)
    ['a', '{"a":0.75,"b":0.25}']
    """
    return f"{name}{MARK}{msgspec.json.encode(scores).decode()}" if scores else name


def plain(name: str) -> str:
    """The class alone.

    >>> plain(said("a", {"a": 1.0})), plain("a")
    ('a', 'a')
    """
    return name.partition(MARK)[0]


def apart(names: Sequence[str], *columns: Float64) -> tuple[list[Float64], list[str], list[str]]:
    """Columns of codes in codes of the classes alone, the names of those, and for each row of the first its probabilities, "" without.

    >>> apart(['a\\x1e{"a":1}', "a"], np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    ([array([0., 0.]), array([0., 0.])], ['a'], ['{"a":1}', ''])
    """
    classes: dict[str, int] = {}
    texts = [[names[code] for code in column.astype(np.int64).tolist()] for column in columns]
    recoded = [np.array([float(classes.setdefault(plain(text), len(classes))) for text in each]) for each in texts]
    return recoded, [*classes], [text.partition(MARK)[2] for text in texts[0]]


def _zeros() -> Int64:
    return np.zeros((2, BINS), np.int64)


@dataclass(slots=True)
class Chances:
    """See the module. By class, arrays of shape (2, 256), by the probability of that class:

    `predicted`: all predictions; row 0 of those that name another class, row 1 of those that name this one. `actual`: labelled rows of
    another class, and of this one. `n` labelled rows have probabilities, and `sums` are those that `SUMS` names, in units of 2^-1152.
    """

    predicted: dict[str, Int64] = field(default_factory=dict)
    actual: dict[str, Int64] = field(default_factory=dict)
    n: int = 0
    sums: list[int] = field(default_factory=lambda: [0] * len(SUMS))

    def add_predictions(self, told: Sequence[str], predicted: Sequence[str], model: Model) -> None:
        """Fold predictions in: their probabilities as `apart` tells them, and the class each names."""
        rows, chance = _table(told, model)
        _count(self.predicted, chance, [predicted[i] for i in rows], np.ones(len(rows), np.int64), model)

    def add_labels(self, told: Sequence[str], actual: Sequence[str], sign: Int64, model: Model) -> None:
        """Fold label effects in: the probabilities of what was predicted, and what it was."""
        rows, chance = _table(told, model)
        actual, sign = [actual[i] for i in rows], sign[rows]
        _count(self.actual, chance, actual, sign, model)
        self.n += int(sign.sum())
        true = _is_class(actual, model)
        loss = -np.log(np.maximum((chance * true).sum(1), LEAST))
        square = np.square(chance - true).sum(1)
        parts = exact.exact_sums([loss, np.square(loss), square, np.square(square)], sign)
        self.sums = [a + b for a, b in zip(self.sums, parts, strict=True)]

    def add(self, other: Chances) -> None:
        """Merge those of another pane."""
        for mine, theirs in ((self.predicted, other.predicted), (self.actual, other.actual)):
            for name, counts in theirs.items():
                add_counts(mine, name, counts)
        self.n += other.n
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]

    def sum_of(self, name: str) -> float:
        """One of `SUMS` as a float."""
        return exact.to_float(self.sums[SUMS.index(name)])


def _table(told: Sequence[str], model: Model) -> tuple[list[int], Float64]:
    """The rows that have probabilities, and these, shape (rows, classes)."""
    rows = [i for i, text in enumerate(told) if text]
    table = np.array([[each.get(name, 0.0) for name in model.classes] for each in (_decode(told[i]) for i in rows)], np.float64)
    return rows, np.minimum(table.reshape(len(rows), len(model.classes)), 1.0)


def _is_class(names: Sequence[str], model: Model) -> NDArray[np.bool_]:
    place = {name: i for i, name in enumerate(model.classes)}
    at = np.array([place.get(name, -1) for name in names], np.int64)
    same: NDArray[np.bool_] = at[:, None] == np.arange(len(place))
    return same


def _count(into: dict[str, Int64], chance: Float64, of: Sequence[str], sign: Int64, model: Model) -> None:
    """Count rows by the probability of each class, apart by whether they are `of` it."""
    bins, own = np.minimum((chance * BINS).astype(np.int64), BINS - 1), _is_class(of, model).astype(np.int64)
    for k, name in enumerate(model.classes):
        counts = _zeros()
        np.add.at(counts, (own[:, k], bins[:, k]), sign)
        if counts.any():
            add_counts(into, name, counts)


def add_counts(into: dict[str, Int64], name: str, counts: Int64) -> None:
    """Arrays of zeros are left out, so that a correction leaves nothing behind."""
    total = into[name] + counts if name in into else counts.copy()
    if np.count_nonzero(total):
        into[name] = total
    else:
        into.pop(name, None)


_decode = msgspec.json.Decoder(dict[str, float]).decode


class ChancesWire(msgspec.Struct, frozen=True, array_like=True):
    """As a snapshot holds them."""

    predicted: dict[str, bytes] = {}
    actual: dict[str, bytes] = {}
    n: int = 0
    sums: list[bytes] = []


NOTHING: Final = ChancesWire()


def to_wire(chances: Chances) -> ChancesWire:
    """For the codec of panes."""
    if not (chances.predicted or chances.actual or chances.n or any(chances.sums)):
        return NOTHING
    packed = [{name: counts.tobytes() for name, counts in each.items()} for each in (chances.predicted, chances.actual)]
    return ChancesWire(packed[0], packed[1], chances.n, [exact.to_bytes(each) for each in chances.sums] if any(chances.sums) else [])


def from_wire(wire: ChancesWire) -> Chances:
    """The inverse of `to_wire`."""
    predicted, actual = (
        {name: np.frombuffer(data, np.int64).reshape(2, -1).copy() for name, data in each.items()} for each in (wire.predicted, wire.actual)
    )
    return Chances(predicted, actual, wire.n, [exact.from_bytes(each) for each in wire.sums] or Chances().sums)
