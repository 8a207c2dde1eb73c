"""Evidence for a small but lasting drift, gathered over windows: an e-process with a stated average run length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.detector import StoredState
from driftline.streams.stats.smooth_test import SmoothTest
from driftline.streams.stats.smooth_tests import SmoothTests

#: Sizes of a lasting shift, in standard errors of one window, that are bet on.
BETS = np.array([0.3, 0.8, 2.0])


@dataclass(frozen=True, slots=True)
class EvidenceState(StoredState):
    """One sum of evidence per bet, from 0 up."""

    sums: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, slots=True)
class DriftEvidence:
    """A Shiryaev–Roberts sum of bets that a feature's scores have moved and stay moved.

    There is a bet for each score, direction and size. Their mean is the evidence. With no drift it grows by 1 a window on average, so an
    alarm at a threshold of A comes no more often than once in A windows on average, whenever it is looked at. So does the mean over
    features.

    Parameters
    ----------
    allowance
        The reference is a sample too, and its own error would look like a lasting shift. Shifts up to this many standard errors of the
        reference are given away.
    least
        Shifts of a score up to this many standard deviations of a row are given away too: too small to matter, however long they last.

    Notes
    -----
    Formula: `sum = (sum + 1) * e` after each window, where e is the likelihood ratio of "moved by this much" against "not moved".
    Range: [0, inf); the number of windows on average with no drift.
    Small n: holds for windows whose mean scores are near to normal (100 effective rows) and for a covariance known from 30 blocks or more.

    The stated run length is met by simulation (tested). A shift is found when windows can show it in their sum: 0.2 standard errors
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
    least: float = 0.0

    def start(self) -> EvidenceState:
        """The state before any window."""
        return EvidenceState()

    def update(self, state: EvidenceState, test: SmoothTest, window: ArrayLike) -> tuple[EvidenceState, float]:
        """The state after a window's counts, shape (bins,), and the evidence so far; an empty window changes nothing."""
        counts = np.asarray(window, dtype=np.float64)
        sums = np.asarray(state.sums)
        if not counts.sum() or not len(test.basis):
            return state, float(sums.mean())
        z, given_away = self.scores(test, counts)
        sums = gathered(sums if sums.size > 1 else np.zeros(2 * z.size * BETS.size), z, given_away)
        return EvidenceState(tuple(sums.tolist())), float(sums.mean())

    def scores(self, test: SmoothTest, counts: Floats) -> tuple[Floats, Floats]:
        """A window's mean scores in their own standard errors, and how much of each is given away; shapes (J,)."""
        n, spread = float(counts.sum()), np.sqrt(np.diag(test.covariance))
        known = np.where(spread > 0, spread, np.inf)
        away = np.maximum(self.allowance * math.sqrt(n / float(test.reference.sum())), self.least * math.sqrt(n) / known)
        return np.asarray(test.basis @ counts / math.sqrt(n) / known), np.asarray(away)

    def scores_of_all(self, tests: SmoothTests, counts: Floats) -> tuple[Floats, Floats]:
        """`scores` of many features at once, shapes (..., features, scores); NaN where a feature has no such score, or no rows."""
        n, n_reference = counts.sum(-1, keepdims=True), tests.reference.sum(-1, keepdims=True)
        known = (np.arange(tests.spread.shape[1]) < tests.degree[:, None]) & (n > 0) & (n_reference > 0)
        spread = np.where(tests.spread > 0, tests.spread, np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            away = np.maximum(self.allowance * np.sqrt(n / n_reference), self.least * np.sqrt(n) / spread)
            return np.where(known, tests.sums(counts) / np.sqrt(n) / spread, np.nan), np.where(known, away, np.nan)


def gathered(sums: Floats, z: Floats, given_away: Floats, most: float = 1e300) -> Floats:
    """Sums of evidence after one more window, along the last axis: shapes (..., 2 J × bets), (..., J) and (..., J).

    `most` bounds them, so that evidence of long ago does not outlast its cause. NaN scores leave theirs as they were.

    >>> gathered(np.zeros(6), np.array([0.0]), np.array([0.0])).round(3).tolist()
    [0.956, 0.726, 0.135, 0.956, 0.726, 0.135]
    """
    signed = (np.concatenate([z, -z], axis=-1) - np.concatenate([given_away] * 2, axis=-1))[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        more = ((sums.reshape(signed.shape[:-1] + BETS.shape) + 1) * np.exp(BETS * signed - BETS**2 / 2)).reshape(sums.shape)
    return np.where(np.isnan(more), sums, np.minimum(more, most))
