"""Labels of some rows and estimates for all, in one figure with an honest interval: prediction-powered inference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from driftline.streams.stats.counts import Floats
from driftline.streams.stats.estimate import UNKNOWN, Estimate, normal_score


class Sums(NamedTuple):
    """Rows, and the sum and sum of squares of a figure over them."""

    n: float
    total: float
    total_sq: float


def combined(realised: Sums, estimated_labelled: Sums, product: float, estimated_rest: Sums, confidence: float = 0.95) -> Estimate:
    """Mean of a loss over a window some of whose rows are labelled.

    Whatever the estimate is worth, the interval holds: a bad estimate gets a weight near 0.

    Parameters
    ----------
    realised
        The loss over the labelled rows: 1 for a wrong prediction, |e|, …
    estimated_labelled
        What the label-free estimate says of the same rows, one by one (CBPE: the chance of being wrong).
    product
        Sum of realised times estimated over the labelled rows.
    estimated_rest
        The estimate over the rows without label.

    Returns
    -------
    Estimate
        Labels must be missing at random; weight the sums by 1 / (chance that the label is there by now) where early labels differ from
        late ones.

    Notes
    -----
    Formula: `mean(realised) + w * (mean(estimated, all) - mean(estimated, labelled))`, with the weight w that makes the interval shortest.
    Range: (-inf, inf), in the units of the loss.
    Small n: UNKNOWN below two labelled rows; the normal interval is meant for 30 labelled rows and more.

    References
    ----------
    Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference, Science 382 (2023); Angelopoulos, Duchi and Zrnic,
    PPI++ (2023), for the weight.

    Examples
    --------
    >>> realised, told = Sums(100, 20.0, 20.0), Sums(100, 20.0, 12.0)
    >>> alone, both = combined(realised, told, 12.0, Sums(0, 0.0, 0.0)), combined(realised, told, 12.0, Sums(900, 225.0, 130.0))
    >>> round(alone.value, 3), round(both.value, 3), both.upper - both.lower < alone.upper - alone.lower
    (0.2, 0.245, True)
    """
    if realised.n < 2:
        return UNKNOWN
    sums = (*realised, *estimated_labelled[1:], product, *estimated_rest)
    value, half = map(float, combined_each(*np.array(sums, np.float64), confidence=confidence))
    return Estimate(value, value - half, value + half)


def combined_each(
    labelled: Floats, realised: Floats, realised_sq: Floats, expected: Floats, expected_sq: Floats, product: Floats,
    rest: Floats, expected_rest: Floats, expected_rest_sq: Floats, *, confidence: float = 0.95,
) -> tuple[Floats, Floats]:  # fmt: skip
    """`combined` of many windows at once: values, and the halves of their intervals; NaN below two labelled rows.

    Parameters
    ----------
    labelled, realised, realised_sq, expected, expected_sq, product
        Of the labelled rows: how many, the loss and its square, what is estimated of it and its square, and loss times estimate, summed up.
    rest, expected_rest, expected_rest_sq
        Of the others: how many, the estimate and its square, summed up. All arrays broadcast to one shape.

    >>> sums = np.array([[100.0], [20.0], [20.0], [20.0], [12.0], [12.0], [900.0], [225.0], [130.0]])
    >>> [each.round(3).tolist() for each in combined_each(*sums)]
    [[0.245], [0.058]]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        n, unlabelled = np.where(labelled < 2, np.nan, labelled), rest > 0
        mean, mean_expected = realised / n, expected / n
        variance, spread = np.maximum(realised_sq / n - mean**2, 0.0), np.maximum(expected_sq / n - mean_expected**2, 0.0)
        mean_rest = np.where(unlabelled, expected_rest / rest, 0.0)
        variance_rest = np.where(unlabelled, np.maximum(expected_rest_sq / rest - mean_rest**2, 0.0) / rest, 0.0)
        together = product / n - mean * mean_expected
        weight = np.where((spread > 0) & unlabelled, np.clip(together / (spread * (1 + n / rest)), 0.0, 1.0), 0.0)
        value = mean + weight * (mean_rest - mean_expected)
        of_difference = np.maximum(variance - 2 * weight * together + weight**2 * spread, 0.0)
        half = normal_score(confidence) * np.sqrt(of_difference / (n - 1) + weight**2 * variance_rest)
    return np.asarray(value), np.asarray(half)
