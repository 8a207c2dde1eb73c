"""Regression error without labels: a model of the loss, additive over features' bins, so that panes are enough to apply it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftline.streams.stats.counts import Floats, shares
from driftline.streams.stats.estimate import UNKNOWN, Estimate, normal_score


@dataclass(frozen=True, slots=True, eq=False)
class LossModel:
    """`base` is the mean loss of the reference; `effects[f][i]` what a row in bin i of feature f adds to it.

    `residual_variance` is that of a row's loss around the model.
    """

    base: float
    effects: Mapping[str, Floats]
    residual_variance: float

    @classmethod
    def fit(
        cls, bins: Mapping[str, Sequence[int] | NDArray[np.int64]], sizes: Mapping[str, int], loss: ArrayLike, ridge: float = 10.0
    ) -> LossModel:
        """Least squares of the loss on all features' bins at once.

        Parameters
        ----------
        bins
            For each feature (the prediction is a good one) the bin of every labelled row of the reference.
        sizes
            How many bins each feature has.
        loss
            Loss of each row: |e| for MAE, e² for the mean squared error.
        ridge
            Rows of no effect that each bin is lent.

        Notes
        -----
        Formula: `loss = base + sum(effect[feature][bin])`, by ridge regression on indicators of the bins.
        Range: (-inf, inf) for effects; estimates of a mean are cut to [0, inf).
        Small n: bins of few rows are pulled to no effect by `ridge` rows.

        References
        ----------
        Direct loss estimation (DLE) as in NannyML, with an additive model in place of boosted trees. It is right as long as the loss in
        a place is what it was: under covariate shift, not under concept drift.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> at = rng.integers(0, 2, 1000)  # the second bin has three times the loss
        >>> model = LossModel.fit({"x": at}, {"x": 2}, np.where(at == 1, 3.0, 1.0))
        >>> round(model.estimate({"x": [100, 900]}).value, 1)
        2.8
        """
        losses = np.asarray(loss, dtype=np.float64)
        base = float(losses.mean())
        places = {name: np.asarray(place, dtype=np.intp) for name, place in bins.items()}
        offsets = dict(zip(places, np.cumsum([0, *(sizes[name] for name in places)]).tolist(), strict=False))
        width = sum(sizes[name] for name in places)
        gram, target = ridge * np.eye(width), np.zeros(width)
        for name, place in places.items():
            target += np.bincount(place + offsets[name], losses - base, width)
            for other, at in places.items():
                pairs = np.bincount(place * sizes[other] + at, minlength=sizes[name] * sizes[other]).reshape(sizes[name], sizes[other])
                gram[offsets[name] : offsets[name] + sizes[name], offsets[other] : offsets[other] + sizes[other]] += pairs
        weights = np.asarray(np.linalg.solve(gram, target), dtype=np.float64)
        effects = {name: weights[offsets[name] : offsets[name] + sizes[name]] for name in places}
        fitted = base + sum(effects[name][place] for name, place in places.items())
        return cls(base, effects, float(np.mean((losses - fitted) ** 2)))

    def estimate(self, counts: Mapping[str, ArrayLike], confidence: float = 0.95) -> Estimate:
        """Mean loss of a window from its features' counts, shape (bins,) each; features it lacks count as in the reference.

        The interval is what the rows' own chance leaves, not the model's error; not below 0.
        """
        rows = max((float(np.asarray(each).sum()) for each in counts.values()), default=0.0)
        if rows == 0:
            return UNKNOWN
        present = {name: shares(each) for name, each in counts.items() if name in self.effects and np.asarray(each).sum() > 0}
        value = self.base + sum(float(share @ self.effects[name]) for name, share in present.items())
        half = normal_score(confidence) * math.sqrt(self.residual_variance / rows)
        return Estimate(max(0.0, value), max(0.0, value - half), max(0.0, value) + half)
