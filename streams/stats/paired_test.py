"""Champion against challenger on the same rows: a test that may be looked at any time, and the interval that goes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from driftline.streams.stats.detector import StoredState

#: Riemann's zeta at 1.4.
ZETA = 3.1055472779775806


@dataclass(frozen=True, slots=True)
class PairedState(StoredState):
    """Pairs so far, the sum of their differences, and the sum of squares around the mean known before each batch."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who is better, the mean difference of the losses (champion less challenger: above 0 the challenger is better), its interval, n."""

    verdict: Literal["better", "worse", "undecided"]
    value: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """An always-valid paired comparison of two models' losses on the same predictions.

    Empirical-Bernstein confidence sequence: for losses in [0, 1] the interval holds the running mean of the true differences at every
    time at once with probability `1 - alpha`, whatever their distribution and however often one looks.

    Parameters
    ----------
    alpha
        Probability of ever being wrong, in (0, 1).
    margin
        Difference that is not worth a switch: "better" and "worse" mean by more than this.
    scale
        Size of the differences in units of loss: the difference is divided by it and must then be in [-1, 1].

    Notes
    -----
    Formula: `mean ± 2 * scale * boundary(squares / (2 * scale)**2) / n`, the empirical-Bernstein boundary stitched over epochs of the
    running sum of squares.
    Range: [-scale, scale] for the mean difference; the interval may reach beyond.
    Small n: without pairs it is undecided, with an interval without bounds; some hundred pairs are needed for any verdict.

    Batches `(n, sum of differences, sum of squared deviations from the batch's own mean)` in the order in which they became known; the
    interval is the same for one by one and in batches up to the running mean inside a batch. It is about 1.5 to 2 times as long as one
    that may be looked at once.

    References
    ----------
    Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Ann. Statist. 49 (2021),
    theorem 4 with the polynomial stitched boundary.

    Examples
    --------
    >>> test, state = PairedTest(), PairedTest().start()
    >>> for _ in range(30):  # of 100 rows the challenger alone is right in 12, the champion alone in 5
    ...     state = test.update(state, (100, 7.0, 17 - 0.49))
    >>> result = test.compare(state)
    >>> result.verdict, round(result.value, 2), round(result.lower, 3)
    ('better', 0.07, 0.034)
    """

    alpha: float = 0.05
    margin: float = 0.0
    scale: float = 1.0

    def start(self) -> PairedState:
        """The state before any pair."""
        return PairedState()

    def update(self, state: PairedState, batch: tuple[int, float, float]) -> PairedState:
        """The state after a batch of differences `(n, total, m2)`, champion's loss less challenger's. No pairs change nothing."""
        n, total, m2 = batch
        if n <= 0:
            return state
        known = state.total / state.n if state.n else 0.0
        return PairedState(state.n + n, state.total + total, state.squares + m2 + n * (total / n - known) ** 2)

    def compare(self, state: PairedState) -> Comparison:
        """The verdict at this moment."""
        if state.n == 0:
            return Comparison("undecided", math.nan, -math.inf, math.inf, 0)
        # The boundary is for values of a range of 1; differences have one of 2 scales.
        width = 2 * self.scale
        half = width * _boundary(state.squares / width**2, self.alpha) / state.n
        mean = state.total / state.n
        lower, upper = mean - half, mean + half
        verdict: Literal["better", "worse", "undecided"] = "undecided"
        if lower > self.margin:
            verdict = "better"
        elif upper < -self.margin:
            verdict = "worse"
        return Comparison(verdict, mean, lower, upper, state.n)


def _boundary(variance: float, alpha: float) -> float:
    """The stitched boundary at intrinsic time `variance`, two-sided: deviations of [0, 1] values stay within it for ever."""
    eta, s, m = 2.0, 1.4, 1.0
    time = max(variance, m)
    # Epoch k may spend its share of alpha: one over (k + 1)^s zeta(s).
    spent = s * math.log(math.log(eta * time / m) / math.log(eta)) + math.log(2 * ZETA / alpha)
    k1, k2 = (eta**0.25 + eta**-0.25) / math.sqrt(2), (math.sqrt(eta) + 1) / 2
    return math.sqrt(k1**2 * time * spent + (k2 * spent) ** 2) + k2 * spent
