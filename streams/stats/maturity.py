"""How many of a window's labels are there by now, of those that will ever come: the Kaplan–Meier curve of label delays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from driftline.streams.stats.counts import Floats


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """`arrived[i]` is the share of predictions whose label has come by the end of delay bin i, ascending, in [0, 1]."""

    ends: tuple[float, ...]
    arrived: tuple[float, ...]

    @classmethod
    def fit(cls, ends: ArrayLike, labelled: ArrayLike, waiting: ArrayLike) -> DelayCurve:
        """Learn from labelled and from waiting predictions, so that recent ones do not make labels look fast or missing.

        Parameters
        ----------
        ends
            Upper ends of the delay bins, ascending, in one unit of time, shape (bins,).
        labelled
            Predictions by the delay of their label, shape (bins,).
        waiting
            Predictions without label by their age now, shape (bins,); one older than the last end belongs to the last bin. Within a
            bin, labels come before ages end.

        Notes
        -----
        Formula: `arrived = 1 - prod(1 - labelled / at risk)` over the bins up to each.
        Range: [0, 1], ascending.
        Small n: bins in which nothing is at risk leave the curve as it is; without any label it is 0, and `maturity` says 1.

        References
        ----------
        Kaplan and Meier, Nonparametric estimation from incomplete observations, J. Amer. Statist. Assoc. 53 (1958).

        Examples
        --------
        >>> curve = DelayCurve.fit([1, 2, 4], labelled=[50, 20, 10], waiting=[0, 20, 0])
        >>> [round(share, 3) for share in curve.arrived]
        [0.5, 0.7, 1.0]
        """
        came, gone = np.asarray(labelled, dtype=np.float64), np.asarray(waiting, dtype=np.float64)
        at_risk = (came + gone)[::-1].cumsum()[::-1]
        stays = np.where(at_risk > 0, 1 - came / np.maximum(at_risk, 1), 1.0)
        arrived = 1 - np.cumprod(stays)
        return cls(tuple(np.asarray(ends, dtype=np.float64).tolist()), tuple(arrived.tolist()))

    def share_by(self, age: ArrayLike) -> Floats:
        """Share of predictions of this age whose label has come, linear inside a bin; the last share beyond the last end.

        >>> DelayCurve((10.0, 20.0), (0.5, 0.9)).share_by([0, 5, 20, 99]).tolist()
        [0.0, 0.25, 0.9, 0.9]
        """
        return np.asarray(np.interp(np.asarray(age, dtype=np.float64), (0.0, *self.ends), (0.0, *self.arrived)))

    def maturity(self, age: ArrayLike) -> Floats:
        """Share of the labels that will ever come that is there at this age; 1 where none ever comes.

        Its inverse is the weight that takes the lead from early labels (`combined`).

        >>> DelayCurve((10.0, 20.0), (0.4, 0.8)).maturity([10, 20]).tolist()
        [0.5, 1.0]
        """
        ever = self.arrived[-1] if self.arrived else 0.0
        return self.share_by(age) / ever if ever > 0 else np.ones_like(np.asarray(age, dtype=np.float64))
