"""Where a change comes from: a mean's change split exactly over groups, and PSI over bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, rel_entr

from driftline.streams.stats.counts import Floats, shares
from driftline.streams.stats.smoothing import own_weight, smoothed


class Share(NamedTuple):
    """What one group adds to a change: by behaving otherwise, and by being more or less of the whole."""

    within: float
    mix: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.within + self.mix


def mean_change(before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> dict[str, Share]:
    """A mean's change, split over groups that do not overlap; the shares sum to it exactly.

    Parameters
    ----------
    before, after
        For each group its rows and the sum of the figure (errors, losses) over them, `(n, total)`.

    Returns
    -------
    dict of Share
        The groups of either side, largest share first. `within`: the group's own mean changed, weighted with its average weight.
        `mix`: its weight changed, times how far its average mean lies from the overall one. A group on one side only is all mix.

    Notes
    -----
    Formula: `within = (w + w') / 2 * (mean' - mean)`, `mix = (w' - w) * ((mean + mean') / 2 - overall)`, w being a group's share of the
    rows.
    Range: (-inf, inf), in the units of the figure; all shares sum to the change.
    Small n: exact at any size; the mean of a group of few rows is as uncertain as ever. Empty when a side has no rows.

    References
    ----------
    Kitagawa, Components of a difference between two rates, J. Amer. Statist. Assoc. 50 (1955).

    Examples
    --------
    >>> shares = mean_change({"eu": (500, 50), "us": (500, 50)}, {"eu": (500, 150), "us": (500, 50)})
    >>> {group: round(share.total, 3) for group, share in shares.items()}
    {'eu': 0.1, 'us': 0.0}
    """
    n, m = sum(rows for rows, _ in before.values()), sum(rows for rows, _ in after.values())
    if n == 0 or m == 0:
        return {}
    overall = (sum(total for _, total in before.values()) / n + sum(total for _, total in after.values()) / m) / 2
    shares = {}
    for group in {**before, **after}:
        (rows, total), (rows_now, total_now) = before.get(group, (0.0, 0.0)), after.get(group, (0.0, 0.0))
        if rows == 0 and rows_now == 0:
            continue
        old = total / rows if rows else total_now / rows_now
        new = total_now / rows_now if rows_now else old
        weight, weight_now = rows / n, rows_now / m
        shares[group] = Share((weight + weight_now) / 2 * (new - old), (weight_now - weight) * ((old + new) / 2 - overall))
    return dict(sorted(shares.items(), key=lambda item: -abs(item[1].total)))


def psi_by_bin(reference: ArrayLike, current: ArrayLike) -> Floats:
    """What each bin adds to `psi`, shape (bins,): never negative, and their sum is the PSI exactly.

    Notes
    -----
    Formula: `(p - q) * log(p / q)` of each bin.
    Range: [0, inf).
    Small n: smoothed as `psi` is; NaN where a side has no rows.

    References
    ----------
    As `psi`.

    Examples
    --------
    >>> psi_by_bin([500, 300, 200], [500, 200, 300]).round(3).tolist()
    [0.0, 0.04, 0.04]
    """
    p, q = smoothed(reference, current)
    return np.asarray(rel_entr(p, q) + rel_entr(q, p))


class Carried(NamedTuple):
    """What one group adds to a PSI, its share of the rows, and the chance of its rows being so far off by chance alone."""

    psi: float
    rows: float
    p_value: float


def psi_by_group(reference: ArrayLike, groups: Mapping[str, ArrayLike], dispersion: float = 1.0) -> dict[str, Carried]:
    """The PSI of all rows against the reference, split over groups that do not overlap; the parts sum to it exactly.

    With L the logarithm of how much more frequent each bin has become in all rows, a group adds its share of the rows times the
    difference of the mean of L between its own rows and the reference's.

    Parameters
    ----------
    reference
        Counts, shape (bins,).
    groups
        Counts of each group, shape (bins,); together they are the window.
    dispersion
        How many rows are worth one independent row.

    Returns
    -------
    dict of Carried
        Largest part first. `p_value` is that of a mean of L as high as the group's, were its rows drawn from all rows of the window:
        small for a group that drifted more than the others.

    Notes
    -----
    Formula: `w_s * sum((q_s - p) * L)` with the group's share of the rows `w_s` and L the logarithm of how much more frequent each bin has
    become in all rows.
    Range: (-inf, inf); a group that moved against all others adds a negative part, and the parts sum to the PSI.
    Small n: empty where a side has no rows; the p-value is a normal approximation, for groups of 30 rows or more.

    References
    ----------
    A linear split of `psi`: Jeffreys' divergence of a mixture, Proc. R. Soc. A 186 (1946).

    Examples
    --------
    >>> parts = psi_by_group([500, 500], {"eu": [250, 250], "us": [100, 400]})
    >>> [(name, round(part.psi, 3), part.rows, part.p_value < 1e-6) for name, part in parts.items()]
    [('us', 0.093, 0.5, True), ('eu', 0.0, 0.5, False)]
    """
    counts = {name: np.asarray(each, dtype=np.float64) for name, each in groups.items()}
    whole = np.sum(list(counts.values()), axis=0) if counts else np.zeros(1)
    before = np.asarray(reference, dtype=np.float64)
    if not before.sum() or not whole.sum():
        return {}
    p, q = smoothed(before, whole)
    lift = np.log(np.divide(q, p, out=np.ones_like(p), where=p > 0))
    weight = float(np.mean(own_weight(before, whole)))
    share = shares(whole)
    usual, expected = float(share @ lift), float(shares(before) @ lift)
    spread = math.sqrt(max(float(share @ (lift - usual) ** 2), 0.0))
    parts = {}
    for name, each in counts.items():
        n = float(each.sum())
        if not n:
            continue
        mean, of_rows = float(each @ lift) / n, n / float(whole.sum())
        error = spread * math.sqrt(max(1 - of_rows, 0.0) * dispersion / n)
        p_value = float(ndtr(-(mean - usual) / error)) if error > 0 else 1.0
        parts[name] = Carried(weight * of_rows * (mean - expected), of_rows, p_value)
    return dict(sorted(parts.items(), key=lambda item: -item[1].psi))
