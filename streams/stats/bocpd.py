"""Bayesian online change point detection: how probable each possible age of the present level is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from driftline.streams.stats.detector import NOTHING, Batch, Level, Signal, StoredState, signal_between


@dataclass(frozen=True, slots=True)
class BocpdState(StoredState):
    """All values so far; for each possible age of the present level, youngest first: its values, their sum, its log probability."""

    whole: Level = NOTHING
    ages: tuple[int, ...] = (0,)
    totals: tuple[float, ...] = (0.0,)
    log_weights: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, slots=True)
class Bocpd:
    """Bayesian online change point detection, for normal values of known variance and unknown mean; finds rises and falls.

    A change when the most probable age of the present level is no longer "since the start".

    Parameters
    ----------
    prior_mean, prior_var
        What is believed of a level's mean before it is seen.
    data_var
        Variance of the values around their level: about `p (1 - p)` for errors.
    hazard
        Probability of a change at each value.
    min_num_instances
        Values before which nothing is judged.
    max_ages
        Possible ages kept; beyond it the least probable is forgotten.

    Notes
    -----
    Formula: `p(age = 0) ∝ hazard * sum(p(age) * likelihood(x | age))`, `p(age + 1) ∝ (1 - hazard) * p(age) * likelihood(x | age)`.
    Range: (-inf, inf): any values.
    Small n: nothing is judged before `min_num_instances` values.

    Values one by one give the indices of `frouros` 0.9's BOCD with its default model (reset after each drift). Batches are exact but
    for one thing: a level can begin only with a batch, with the probability that it began at any of the batch's values. Time and memory
    per update grow with the number of ages.

    References
    ----------
    Adams and MacKay, Bayesian online changepoint detection, arXiv:0710.3742 (2007).

    Examples
    --------
    >>> bocpd, rng = Bocpd(), np.random.default_rng(0)
    >>> state = bocpd.start()
    >>> for i in range(200):
    ...     state, signal = bocpd.update(state, Batch.one(rng.normal(0 if i < 100 else 3)))
    ...     if signal:
    ...         print(i, signal.direction, signal.n_after)
    101 up 2
    """

    prior_mean: float = 0.0
    prior_var: float = 1.0
    data_var: float = 1.0
    hazard: float = 0.01
    min_num_instances: int = 30
    max_ages: int = 2000

    def start(self) -> BocpdState:
        """The state before any value."""
        return BocpdState()

    def update(self, state: BocpdState, batch: tuple[int, float, float]) -> tuple[BocpdState, Signal | None]:
        """The state after a batch `(n, total, m2)`, and the change if one shows now. A batch without values changes nothing."""
        element = Batch(*batch)
        if element.n <= 0:
            return state, None
        ages, totals, weights = np.array(state.ages), np.array(state.totals), np.array(state.log_weights)
        precision = 1 / self.prior_var + ages / self.data_var
        expected = (self.prior_mean / self.prior_var + totals / self.data_var) / precision
        # How well each age foresaw the batch's mean; what its other moments say is the same for all ages.
        variance = 1 / precision + self.data_var / element.n
        foresaw = weights - (element.total / element.n - expected) ** 2 / (2 * variance) - np.log(variance) / 2
        stays = element.n * np.log1p(-self.hazard)
        weights = np.concatenate(([logsumexp(foresaw) + np.log(-np.expm1(stays))], foresaw + stays))
        weights -= logsumexp(weights)
        ages, totals = np.concatenate(([0], ages + element.n)), np.concatenate(([0.0], totals + element.total))
        whole, likely = state.whole.add(element), int(weights.argmax())
        if whole.n >= self.min_num_instances and ages[likely] != whole.n:
            after = Level(int(ages[likely]), float(totals[likely] / ages[likely])) if likely else Level().add(element)
            return self.start(), signal_between(whole.since(after), after)
        if ages.size > self.max_ages:
            # The age "since the start" is the last; it stays, to be compared with.
            kept = np.delete(np.arange(ages.size), weights[:-1].argmin())
            ages, totals, weights = ages[kept], totals[kept], weights[kept]
        return BocpdState(whole, tuple(ages.tolist()), tuple(totals.tolist()), tuple(weights.tolist())), None
