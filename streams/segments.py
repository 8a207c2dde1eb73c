"""Which cells a prediction belongs to beside the whole: the values of each watched name, and of each watched combination. Pure.

    segments = ["region", "region+plan"]        {"region": "eu", "plan": "pro"}  ──►  region=eu, region+plan=eu+pro

Where a model's file says which values of a name it knows, all others share the cell `(other)`: what a cell holds is a function of the
event and the file, never of who came first, so every worker that reads a part of the stream makes the same cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from driftline.schemas.config import OTHER, Model


class Cells:
    """The cells of one model's predictions.

    >>> cells = Cells(Model("m", segments=("region", "region+plan"), known_values={"plan": ("pro", "free")}))
    >>> cells.of({"region": "eu", "plan": "pro", "device": "phone"})
    ('region=eu', 'region+plan=eu+pro')
    >>> cells.of({"region": "eu", "plan": "trial"}), cells.of({"plan": "pro"})
    (('region=eu', 'region+plan=eu+(other)'), ())
    """

    def __init__(self, model: Model) -> None:
        self._named = [(name, name.split("+")) for name in model.segments]
        self._known = {name: frozenset(values) for name, values in model.known_values.items()}
        self.names: list[str] = list(dict.fromkeys(part for _, parts in self._named for part in parts))  # that events are asked for

    def of(self, groups: Mapping[str, str]) -> tuple[str, ...]:
        """The cells of one event's `segments`, each once: with "g" and "g=a" declared, two of its groups may have one name.

        An event is in the cell of a combination if it tells each of its names. There a `+` in a value is written `\\+`.
        """
        told = {part: self._value(part, groups[part]) for part in self.names if part in groups}
        return tuple(
            dict.fromkeys(
                f"{name}={told[name] if len(parts) == 1 else '+'.join(_escaped(told[part]) for part in parts)}"
                for name, parts in self._named
                if told.keys() >= set(parts)
            )
        )

    def _value(self, name: str, value: str) -> str:
        known = self._known.get(name)
        return value if known is None or value in known else OTHER


def cells_expected(model: Model) -> int:
    """How many cells share the budget of false alarms: those there can be where the file knows all values, else `segment_values` a name.

    >>> cells_expected(Model("m", segments=("region", "region+plan"), known_values={"region": ("eu",), "plan": ("pro", "free")}))
    8
    """
    known = {name: len(values) + 1 for name, values in model.known_values.items()}
    named = (name.split("+") for name in model.segments)
    return sum(prod(map(known.__getitem__, parts)) if known.keys() >= set(parts) else model.segment_values for parts in named)


def name_of(cell: str, model: Model) -> str:
    """The watched name that a cell is one of the values of; "" for the whole.

    >>> name_of("g=a=b", Model("m", segments=("g=a", "h"))), name_of("", Model("m"))
    ('g=a', '')
    """
    return next((name for name in sorted(model.segments, key=len, reverse=True) if cell.startswith(f"{name}=")), "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("+", "\\+")
