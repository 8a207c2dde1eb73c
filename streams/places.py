"""How wrong a regression is by the size of what it predicts: what few labels and many predictions are put together by. Pure.

    prediction ──► place ──► all predictions, labelled rows, exact sums of |e| and e²

Places do not depend on any reference, so panes of all references add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams import exact

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

PER_DOUBLING: Final = 8
DOUBLINGS: Final = 32  # from 1, up and down; what is larger or smaller shares the last place
LARGEST_SQUARE: Final = 1e150  # of an error, as far as the spread of the squares goes

#: Of one place: all predictions, labelled rows, and of these the sums of |e| and of e² in units of 2^-1152.
Place = list[int]


def places_of(values: Float64) -> Int64:
    """The place of each value, eight to a doubling, negative for negative values and 0 for 0; shape (n,).

    >>> places_of(np.array([0.0, 1.0, 2.0, -2.0, 1e300])).tolist()
    [0, 257, 265, -265, 512]
    """
    most = PER_DOUBLING * DOUBLINGS
    with np.errstate(divide="ignore"):
        step = np.floor(PER_DOUBLING * np.log2(np.abs(values)))
    place: Int64 = (np.sign(values) * (np.clip(step, -most, most - 1) + most + 1)).astype(np.int64)
    return place


@dataclass(slots=True)
class Places:
    """See the module. `fourth` is the sum of e⁴ over all labelled rows, in the same units."""

    by_place: dict[int, Place] = field(default_factory=dict)
    fourth: int = 0

    def add_predictions(self, predicted: Float64) -> None:
        """Fold predictions in."""
        found, counts = np.unique(places_of(predicted), return_counts=True)
        for place, n in zip(found.tolist(), counts.tolist(), strict=True):
            self._add(place, [n, 0, 0, 0])

    def add_errors(self, predicted: Float64, error: Float64, sign: Int64) -> None:
        """Fold label effects in."""
        place, parts = places_of(predicted), np.stack([np.abs(error), np.square(error)])
        order = np.argsort(place, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
            if len(rows):
                self._add(int(place[rows[0]]), [0, int(sign[rows].sum()), *exact.exact_sums(parts[:, rows], sign[rows])])
        self.fourth += exact.exact_sums([np.square(np.minimum(parts[1], LARGEST_SQUARE))], sign)[0]

    def add(self, other: Places) -> None:
        """Merge those of another pane."""
        for place, counts in other.by_place.items():
            self._add(place, counts)
        self.fourth += other.fourth

    def _add(self, place: int, counts: Place) -> None:
        self.by_place[place] = [a + b for a, b in zip(self.by_place.get(place, [0] * 4), counts, strict=True)]
        if not any(self.by_place[place]):
            del self.by_place[place]

    def table(self) -> tuple[list[int], Float64]:
        """The places, and their counts and sums as floats, shape (places, 4)."""
        rows = [[float(n), float(labelled), exact.to_float(a), exact.to_float(s)] for n, labelled, a, s in self.by_place.values()]
        return [*self.by_place], np.array(rows).reshape(-1, 4)


def expected(profile: Mapping[str, tuple[int, float, float]], places: list[int]) -> tuple[Float64, Float64]:
    """The mean |e| and e² that a reference lets one expect at each place, each shape (places,).

    `profile` has by place its labelled rows and their means. A place is lent one row of the mean of all.

    >>> [each.round(2).tolist() for each in expected({"257": (9, 2.0, 4.0), "265": (1, 12.0, 144.0)}, [257, 0])]
    [[2.1, 3.0], [5.4, 18.0]]
    """
    known = np.array([[n, n * absolute, n * square] for n, absolute, square in profile.values()])
    mean = known[:, 1:].sum(0) / known[:, 0].sum()
    told = [profile.get(str(place), (0, 0.0, 0.0)) for place in places]
    rows = np.array([n for n, _, _ in told], np.float64)
    first, second = ((np.array([n * each[i] for n, *each in told]) + mean[i]) / (rows + 1) for i in range(2))
    return first, second


class PlacesWire(msgspec.Struct, frozen=True, array_like=True):
    """As a snapshot holds them."""

    by_place: dict[int, tuple[int, int, bytes, bytes]] = {}
    fourth: bytes = b""


NOTHING: Final = PlacesWire()


def to_wire(places: Places) -> PlacesWire:
    """For the codec of panes."""
    if not (places.by_place or places.fourth):
        return NOTHING
    packed = {place: (n, labelled, exact.to_bytes(a), exact.to_bytes(s)) for place, (n, labelled, a, s) in places.by_place.items()}
    return PlacesWire(packed, exact.to_bytes(places.fourth) if places.fourth else b"")


def from_wire(wire: PlacesWire) -> Places:
    """The inverse of `to_wire`."""
    read = {place: [n, labelled, exact.from_bytes(a), exact.from_bytes(s)] for place, (n, labelled, a, s) in wire.by_place.items()}
    return Places(read, exact.from_bytes(wire.fourth))
