"""Evidence for a small but lasting drift, gathered over windows: an e-process with a stated average run length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.detector import StoredState
from driftline.streams.stats.smooth_test import SmoothTest

#: Sizes of a lasting shift, in standard errors of one window, that are bet on.
BETS = np.array([0.3, 0.8, 2.0])


@dataclass(frozen=True, slots=True)
class EvidenceState(StoredState):
    """One sum of evidence per bet, from 0 up."""

    sums: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, slots=True)
class DriftEvidence:
    """A Shiryaev–Roberts sum of bets that a feature's scores have moved and stay moved.

    After each window, `sum = (sum + 1) * e`, where e is the likelihood ratio of "moved by this much" against "not moved", one for each
    score, direction and size. Their mean is the evidence. With no drift it grows by 1 a window on average, so an alarm at a threshold of
    A comes no more often than once in A windows on average, whenever it is looked at. So does the mean over features.

    Parameters
    ----------
    allowance
        The reference is a sample too, and its own error would look like a lasting shift. Shifts up to this many standard errors of the
        reference are given away.

    Notes
    -----
    Holds for windows whose mean scores are near to normal (100 effective rows) and for a covariance known from 30 blocks or more; the
    stated run length is then met by simulation (tested). A shift is found when windows can show it in their sum: 0.2 standard errors
    of one window take of the order of 200 windows.

    References
    ----------
    Shin, Ramdas and Rinaldo, E-detectors, New England J. Stat. Data Sci. 2 (2023); Roberts, Technometrics 8 (1966).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> test = SmoothTest.fit(rng.multinomial(500, [0.25] * 4, 60))
    >>> evidence = DriftEvidence()
    >>> state = evidence.start()
    >>> for window in rng.multinomial(500, [0.22, 0.24, 0.26, 0.28], 60):
    ...     state, value = evidence.update(state, test, window)
    >>> value > 10_000
    True
    """

    allowance: float = 2.0

    def start(self) -> EvidenceState:
        """The state before any window."""
        return EvidenceState()

    def update(self, state: EvidenceState, test: SmoothTest, window: ArrayLike) -> tuple[EvidenceState, float]:
        """The state after a window's counts, shape (bins,), and the evidence so far; an empty window changes nothing."""
        counts = np.asarray(window, dtype=np.float64)
        n = float(counts.sum())
        sums = np.asarray(state.sums)
        if n == 0 or not len(test.basis):
            return state, float(sums.mean())
        z = _standard_scores(test, counts)
        given_away = self.allowance * math.sqrt(n / float(test.reference.sum()))
        signed = np.concatenate([z, -z])[:, None] - given_away
        ratio = np.exp(BETS * signed - BETS**2 / 2).ravel()
        sums = np.minimum((sums + 1) * ratio, 1e300)
        return EvidenceState(tuple(sums.tolist())), float(sums.mean())


def _standard_scores(test: SmoothTest, counts: Floats) -> Floats:
    """The window's mean scores in their own standard errors, shape (J,)."""
    return np.asarray(test.basis @ counts / math.sqrt(counts.sum()) / np.sqrt(np.diag(test.covariance)))
