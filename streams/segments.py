"""Which cells a prediction belongs to beside the whole: the values of each watched name, and of each watched combination. Pure.

    segments = ["region", "region+plan"]        {"region": "eu", "plan": "pro"}  ──►  region=eu, region+plan=eu+pro

Where a model's file says which values of a name it knows, all others share the cell `(other)`: what a cell holds is a function of the
event and the file, never of who came first, so every worker that reads a part of the stream makes the same cells.

Where it does not, a name has `segment_values` places in each pane and window, and the cells of smallest hash get them: those of a union
are found among those of its parts, whatever order the parts came in (docs/decisions/0012-places-of-cells.md).
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from math import prod

from driftline.schemas.config import OTHER, Model
from driftline.streams.panes import PaneKey


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


def places(name: str, model: Model) -> int:
    """How many cells a watched name may have: those there can be where the file knows all values, else `segment_values`.

    >>> model = Model("m", segments=("region", "region+plan"), known_values={"region": ("eu",), "plan": ("pro", "free")})
    >>> places("region", model), places("region+plan", model), places("device", model)
    (2, 6, 50)
    """
    parts = name.split("+")
    return prod(len(model.known_values[part]) + 1 for part in parts) if model.known_values.keys() >= set(parts) else model.segment_values


def cells_expected(model: Model) -> int:
    """How many cells share the budget of false alarms: all that have a place.

    >>> cells_expected(Model("m", segments=("region", "region+plan"), known_values={"region": ("eu",), "plan": ("pro", "free")}))
    8
    """
    return sum(places(name, model) for name in model.segments)


def is_crowded(name: str, cells: Collection[str], model: Model) -> bool:
    """Whether the cells of a name have taken all its places, so that there may be values without one."""
    return not model.known_values.keys() >= set(name.split("+")) and len(cells) >= places(name, model)


@lru_cache(maxsize=65_536)
def rank(cell: str) -> tuple[bytes, str]:
    """The order in which cells get places: by hash, so by nothing that anybody could choose, or that a worker has seen."""
    return hashlib.blake2b(cell.encode(), digest_size=8).digest(), cell


def without_place(cells: Iterable[str], model: Model) -> set[str]:
    """Those of the cells of one window, or of one pane of all partitions, that have no place there.

    >>> few = Model("m", segments=("user",), segment_values=2)
    >>> cells = [f"user={i}" for i in range(5)]
    >>> len(without_place(cells, few)), without_place(cells, few) == without_place(cells[::-1], few)
    (3, True)
    """
    named: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        named[name_of(cell, model)].append(cell)
    named.pop("", None)  # of names that are not watched any more
    return {cell for name, mine in named.items() for cell in sorted(mine, key=rank)[places(name, model) :]}


class Places:
    """Which cells have a place in each pane of one partition, as they come.

    A cell that has one in the end had one from the beginning, so its pane is whole; one that lost its place does not get it back.
    """

    def __init__(self) -> None:
        self._taken: dict[PaneKey, list[tuple[bytes, str]]] = {}  # by pane, with the watched name as its segment; in order
        self._have: set[PaneKey] = set()

    def ask(self, key: PaneKey, model: Model) -> PaneKey | None:
        """Ask for a place for a cell; returns the cell that has none any more because of it: another, or this one."""
        if not key.segment or key in self._have or not (name := name_of(key.segment, model)):
            return None
        mine, of = rank(key.segment), self._taken.setdefault(key._replace(segment=name), [])
        full = len(of) >= places(name, model)
        if full and mine > of[-1]:
            return key
        insort(of, mine)
        self._have.add(key)
        if not full:
            return None
        lost = key._replace(segment=of.pop()[1])
        self._have.discard(lost)
        return lost

    def forget(self, key: PaneKey, model: Model) -> None:
        """A pane is final: nothing will ask for a place in it again."""
        self._have.discard(key)
        self._taken.pop(key._replace(segment=name_of(key.segment, model)), None)


def name_of(cell: str, model: Model) -> str:
    """The watched name that a cell is one of the values of; "" for the whole.

    >>> name_of("g=a=b", Model("m", segments=("g=a", "h"))), name_of("", Model("m"))
    ('g=a', '')
    """
    return next((name for name in sorted(model.segments, key=len, reverse=True) if cell.startswith(f"{name}=")), "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("+", "\\+")
