"""Every sequential detector by name, at its defaults. To add one: write its file, add its line; the contract suite then tests it."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from driftline.streams.stats.adwin import Adwin
from driftline.streams.stats.bocpd import Bocpd
from driftline.streams.stats.cusum import Cusum
from driftline.streams.stats.ddm import Ddm
from driftline.streams.stats.detector import Signal
from driftline.streams.stats.e_detector import EDetector
from driftline.streams.stats.ecdd import Ecdd
from driftline.streams.stats.eddm import Eddm
from driftline.streams.stats.hddm_a import HddmA
from driftline.streams.stats.hddm_w import HddmW
from driftline.streams.stats.kswin import Kswin
from driftline.streams.stats.page_hinkley import PageHinkley
from driftline.streams.stats.rddm import Rddm
from driftline.streams.stats.shewhart import Shewhart
from driftline.streams.stats.stepd import Stepd


class State(Protocol):
    """What a detector remembers: a value with a versioned codec."""

    def to_bytes(self) -> bytes:
        """The state, to be stored."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that was stored."""


S = TypeVar("S", bound=State)


class Detector(Protocol[S]):
    """A frozen configuration and two functions."""

    def start(self) -> S:
        """The state before any value."""

    def update(self, state: S, batch: tuple[int, float, float]) -> tuple[S, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now."""


#: For errors in [0, 1]. Those that must know something of the values say so here: a baseline, a variance.
DETECTORS: dict[str, Detector[Any]] = {
    "adwin": Adwin(),
    "bocpd": Bocpd(prior_mean=0.25, prior_var=0.1, data_var=0.25, hazard=0.0001),
    "cusum": Cusum(),
    "ddm": Ddm(),
    "ecdd": Ecdd(),
    "e_detector": EDetector(baseline=0.15),
    "eddm": Eddm(),
    "hddm_a": HddmA(),
    "hddm_w": HddmW(),
    "kswin": Kswin(),
    "page_hinkley": PageHinkley(),
    "rddm": Rddm(),
    "shewhart": Shewhart(),
    "stepd": Stepd(),
}
