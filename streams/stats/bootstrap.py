"""What a measure is with no drift, by drawing histograms from the reference's own shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.counts import Floats

#: Draws of each null distribution: a 95 % quantile from it varies by about 2 % of itself between seeds.
DRAWS = 999
SEED = 20_240_229
_POWERS = 10 ** np.arange(1, 19)


def null_draws(each: Callable[..., Floats], reference: ArrayLike, n_current: int, *extra: ArrayLike, draws: int = DRAWS) -> Floats:
    """The measure in 999 pairs of samples from the reference's shape, ascending, shape (999,).

    Parameters
    ----------
    each
        The measure along the last axis (`Measure.each`).
    reference
        Counts, shape (bins,). Both sides are drawn: as many rows as the reference has, and `n_current`.
    extra
        Further arguments of the measure, such as positions.
    draws
        How many; fewer are quicker and vary more.

    Notes
    -----
    The reference's shape is taken for the true one: where it has fewer than some hundred rows, bins that it happens to leave empty are
    never drawn, and p-values come out too small. The seed is fixed and results are kept, so the same question has the same answer.
    `n_current` is rounded down to two digits
    (97 → 97, 1234 → 1200), which makes the answer at most 4 % too large (careful) and lets neighbouring windows share it.

    Examples
    --------
    >>> from driftline.streams.stats.total_variation import total_variation
    >>> draws = null_draws(total_variation.each, [500, 500], 100)
    >>> round(float(np.quantile(draws, 0.95)), 2)
    0.11
    """
    frozen = tuple(np.asarray(each_extra, dtype=np.float64).tobytes() for each_extra in extra)
    return kept_draws(each, np.asarray(reference, dtype=np.int64).tobytes(), int(two_digits(n_current)), frozen, draws)


def kept_draws(each: Callable[..., Floats], reference: bytes, n_current: int, extra: tuple[bytes, ...] = (), draws: int = DRAWS) -> Floats:
    """`null_draws` for who asks again and again, of a size of `two_digits`: counts as the bytes of int64, all else as those of float64."""
    return _draws(each, reference, n_current, extra, draws)


def quantile_of_draws(draws: Floats, quantile: float) -> float:
    """`np.quantile` of ascending draws.

    >>> quantile_of_draws(np.array([1.0, 2.0, 4.0]), 0.75)
    3.0
    """
    at = quantile * (draws.size - 1)
    low = int(at)
    below, above = draws[low : low + 2].tolist() if low + 1 < draws.size else (float(draws[-1]),) * 2
    part = at - low
    return float(below + (above - below) * part if part < 0.5 else above - (above - below) * (1 - part))


def tail_probability(draws: Floats, value: float) -> float:
    """Probability of a value this large or larger, from ascending draws of the null distribution.

    The share of draws as large; above the largest hundredth of them, an exponential tail with the mean of their excess, so that small
    p-values can be told apart. That is right for measures that grow like chi-square and too careful for distances like its root.

    Examples
    --------
    >>> draws = np.sort(np.random.default_rng(0).chisquare(2, 999))
    >>> [round(tail_probability(draws, value), 5) for value in (0.0, 5.99, 13.8)]  # in truth 1, 0.05 and 0.001
    [1.0, 0.05, 0.00215]
    """
    return _tail_of(draws).probability(value)


class Tail(NamedTuple):
    """Ascending draws, and what is asked of them for every window."""

    draws: Floats
    begin: float  # above it the tail is taken to fall off exponentially
    excess: float  # mean of the draws there, less the begin; 0: they are all alike

    def probability(self, value: float) -> float:
        """See `tail_probability`."""
        at, size = value * (1 - 1e-9), self.draws.size  # a little slack, or ties would turn on the last bit
        if self.excess and at > self.begin:
            return float((size // 100 + 1) / (1 + size) * np.exp(-(at - self.begin) / self.excess))
        return float(1 + size - self.draws.searchsorted(at)) / (1 + size)


def _tail_of(draws: Floats) -> Tail:
    many = draws.size // 100 + 1
    begin = draws.item(-many)
    return Tail(draws, begin, float((draws[1 - many :] - begin).mean()) if draws.item(-1) > begin else 0.0)


def tail_probabilities(tails: Sequence[Tail], of: NDArray[np.int64], values: Floats) -> Floats:
    """`Tail.probability` of many values, each with the number of its tail; shape (n,).

    >>> tail_probabilities([_tail_of(np.array([1.0, 2.0, 4.0]))], np.array([0, 0]), np.array([2.0, 9.0])).tolist()
    [0.75, 0.25]
    """
    order, size = np.argsort(of, kind="stable"), np.array([tail.draws.size for tail in tails], np.float64)[of]
    begin, excess = np.array([(tail.begin, tail.excess) for tail in tails], np.float64).reshape(-1, 2)[of].T
    at = values * (1 - 1e-9)
    below, ends = np.empty(len(values)), np.searchsorted(of[order], np.arange(len(tails) + 1)).tolist()
    for tail, since, until in zip(tails, ends[:-1], ends[1:], strict=True):
        mine = order[since:until]
        below[mine] = tail.draws.searchsorted(at[mine])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        beyond = (size // 100 + 1) / (1 + size) * np.exp(-(at - begin) / excess)
    return np.where((excess > 0) & (at > begin), beyond, (1 + size - below) / (1 + size))


@lru_cache(maxsize=4096)
def kept_tail(each: Callable[..., Floats], reference: bytes, n_current: int, extra: tuple[bytes, ...] = ()) -> Tail:
    """`kept_draws`, for who asks how likely values are."""
    return _tail_of(_draws(each, reference, n_current, extra, DRAWS))


@lru_cache(maxsize=4096)
def kept_quantile(
    each: Callable[..., Floats], reference: bytes, n_current: int, extra: tuple[bytes, ...] = (), quantile: float = 0.95
) -> float:
    """`quantile_of_draws` of `kept_draws`."""
    return quantile_of_draws(_draws(each, reference, n_current, extra, DRAWS), quantile)


@lru_cache(maxsize=4096)
def _draws(each: Callable[..., Floats], reference: bytes, n_current: int, extra: tuple[bytes, ...], many: int) -> Floats:
    draws = np.sort(each(*_samples(reference, n_current, many), *(np.frombuffer(part, dtype=np.float64) for part in extra)))
    draws.flags.writeable = False
    return draws


@lru_cache(maxsize=1)
def _samples(reference: bytes, n_current: int, many: int) -> tuple[Floats, Floats]:
    """Pairs of samples, each shape (many, bins). The last ones are kept: a feature's tests ask for them one after another."""
    counts = np.frombuffer(reference, dtype=np.int64)
    n, rng = int(counts.sum()), np.random.default_rng(SEED)
    shape = counts / n
    return rng.multinomial(n, shape, many).astype(np.float64), rng.multinomial(n_current, shape, many).astype(np.float64)


def two_digits(sizes: ArrayLike) -> NDArray[np.int64]:
    """Sizes of windows as they are drawn for.

    >>> two_digits([0, 7, 97, 1_234, 20_500]).tolist()
    [0, 7, 97, 1200, 20000]
    """
    whole = np.asarray(sizes).astype(np.int64)
    unit = 10 ** np.maximum(np.searchsorted(_POWERS, whole, side="right") - 1, 0)
    return np.asarray(whole // unit * unit)
