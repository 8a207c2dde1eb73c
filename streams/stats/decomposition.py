"""Where a change comes from: a mean's change split exactly over groups, and PSI over bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.smoothing import smoothed


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
        Empty when a side has no rows.

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

    >>> psi_by_bin([500, 300, 200], [500, 200, 300]).round(3).tolist()
    [0.0, 0.04, 0.04]
    """
    p, q = smoothed(reference, current)
    return np.asarray(rel_entr(p, q) + rel_entr(q, p))
