"""What numeric features do together, from sums that a pane keeps of them. Pure.

    z of a chunk's rows ──► q, whole numbers: 256 to a standard deviation, at most eight of those ──► one vector that adds up:

    │ rows │ Σ q │ Σ q qᵀ, its upper triangle │ Σ waves: 64 cosines of random directions │

Everything in it is a whole number below 2^53, so it is the same to the bit whatever the order, the chunks and the partitions. One
matrix product per pane and chunk; nothing per event.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, ndtr

from driftline.schemas.reference import JointProfile, NumericProfile, Profile, Reference
from driftline.streams.layout import Layout

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

MAX_FEATURES = 64  # the first so many numeric features of a reference; a pane's sums grow with their square
WAVES = 64
TESTS = ("pca_reconstruction", "correlation_change", "mmd", "domain_classifier")
NAMES = ("(pca)", "(correlation)", "(mmd)", "(domain classifier)")
LEAST_WINDOWS = 20  # that the later half of a reference is cut into
_STEPS, _FAR = 256, 8  # of a standard deviation; in standard deviations
_TURN_BITS, _TABLE_BITS, _HEIGHT = 22, 12, 4_096
_COSINE = np.rint(_HEIGHT * np.cos(2 * np.pi * np.arange(1 << _TABLE_BITS) / (1 << _TABLE_BITS))).astype(np.int64)
_SHARE = 0.65  # of the variance that the kept components explain, as NannyML's
_RIDGE = 1e-3  # of the mean variance, so that features that repeat each other do no harm


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How rows of one reference are summed: which of its features, and the directions of the waves, shape (k, WAVES), in whole numbers."""

    names: list[str]
    features: Int64
    directions: Float64
    phase: Int64

    @classmethod
    def of(cls, profiles: Mapping[str, Profile], without: Collection[str] = ()) -> Plan | None:
        """Of the numeric features that vary, but those named `without`; None where there are fewer than two."""
        varies = [
            (i, name)
            for i, (name, each) in enumerate(profiles.items())
            if isinstance(each, NumericProfile) and not name.startswith("(") and name not in without and each.n and 0 < each.m2 < math.inf
        ][:MAX_FEATURES]
        if len(varies) < 2:
            return None
        k = len(varies)
        random = np.random.RandomState(0)  # whose numbers no release of NumPy changes
        step = (1 << _TURN_BITS) / (2 * math.pi * _STEPS)
        directions = np.rint(np.clip(random.standard_normal((k, WAVES)), -6, 6) / math.sqrt(k) * step)
        return cls([name for _, name in varies], np.array([i for i, _ in varies]), directions, random.randint(0, 1 << _TURN_BITS, WAVES))

    @property
    def length(self) -> int:
        k = len(self.features)
        return 1 + k + k * (k + 1) // 2 + WAVES

    def sums(self, z: Float64) -> Int64:
        """The vector of rows, shape (n, k) with n below 2^31: values in the reference's standard deviations, 0 where one is absent.

        >>> plan = Plan.of({name: NumericProfile([0.0], [1, 1], 2, 0, 0.0, 2.0) for name in "ab"})
        >>> plan.sums(np.array([[1.0, -1.0], [0.5, 1e300]]))[:6].tolist()  # rows, Σq and Σqqᵀ
        [2, 384, 1792, 81920, 196608, 4259840]
        """
        q = np.rint(np.clip(z, -_FAR, _FAR) * _STEPS)
        turns = (q @ self.directions).astype(np.int64) + self.phase
        waves = _COSINE[(turns >> (_TURN_BITS - _TABLE_BITS)) & ((1 << _TABLE_BITS) - 1)].sum(0)
        products = (q.T @ q)[np.triu_indices(q.shape[1])]
        return np.concatenate([[len(q)], q.sum(0), products, waves]).astype(np.int64)


@lru_cache(maxsize=256)
def plan_of(layout: Layout) -> Plan | None:
    """The plan of a layout's reference, made once."""
    made = layout.reference
    # Half of the reference's rows do not tell the shares of unknown words, and what a clock does with others is no news.
    return Plan.of(made.features, [*(f"{name}.unknown_words" for name in made.vocabularies), *made.clocks])


class Summary(NamedTuple):
    """What a vector of sums says: rows, means and covariance in standard deviations, the waves' means, and which features vary."""

    n: int
    mean: Float64
    covariance: Float64
    waves: Float64
    varies: NDArray[np.bool_]  # told by whole numbers: of what does not, rounding leaves a variance

    @classmethod
    def of(cls, sums: Int64) -> Summary:
        """Of a vector with at least one row."""
        n, k = int(sums[0]), features_in(len(sums))
        mean = sums[1 : 1 + k] / (n * _STEPS)
        second = np.zeros((k, k))
        second[np.triu_indices(k)] = sums[1 + k : -WAVES] / (n * _STEPS**2)
        second += np.triu(second, 1).T
        waves = np.asarray(sums[-WAVES:] * (math.sqrt(2 / WAVES) / (n * _HEIGHT)), np.float64)
        total, own = sums[1 : 1 + k].tolist(), (sums[1 + k : -WAVES][_diagonal(k)]).tolist()
        varies = np.array([n * squares > each * each for each, squares in zip(total, own, strict=True)], bool)
        return cls(n, mean, (second - np.outer(mean, mean)) * np.outer(varies, varies), waves, varies)

    @property
    def correlations(self) -> Float64:
        """Shape (k, k); those of a constant feature with others are 0."""
        variance = np.diag(self.covariance)
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        matrix = self.covariance / np.outer(scale, scale)
        np.fill_diagonal(matrix, 1.0)
        return np.asarray(np.clip(matrix, -1.0, 1.0))


def _diagonal(k: int) -> Int64:
    """Where the diagonal lies in an upper triangle.

    >>> _diagonal(3).tolist()
    [0, 3, 5]
    """
    i = np.arange(k)
    return i * k - i * (i - 1) // 2


def features_in(length: int) -> int:
    """How many features a vector of this length is about.

    >>> features_in(1 + 5 + 15 + WAVES)
    5
    """
    return (math.isqrt(9 + 8 * (length - 1 - WAVES)) - 3) // 2


class Distances(NamedTuple):
    """How far a window is from the reference by each of `TESTS`, shape (4,), and what shows it most: features' names, or up and down.

    Each falls with the root of the rows where nothing drifts: the relative change of the reconstruction error, the root of the sum of
    squared changes of all pairs' correlations, the distance of the waves' means (MMD), and Mahalanobis' distance of the means.
    """

    each: Float64
    most: tuple[str, str, str, str]


class Together:
    """A reference's joint statistics, and how far windows are from them."""

    def __init__(self, sums: Int64, names: Sequence[str]) -> None:
        self.names, self.known = list(names), Summary.of(sums)
        k = len(self.names)
        variance = np.diag(self.known.covariance)
        self._scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        self.correlations = self.known.correlations
        ridge = _RIDGE * float(variance.mean()) * np.eye(k)
        self._inverse = np.linalg.inv(self.known.covariance + ridge + 1e-12 * np.eye(k))
        values, vectors = np.linalg.eigh(self.correlations)
        explained = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-300)
        kept = min(int(np.searchsorted(explained, _SHARE)) + 1, k - 1)
        self.components, self.explained = vectors.T[::-1][:kept], float(explained[kept - 1])
        self._left_out = k - kept
        self._expected = max(float(np.trace(self._residual(self.known))), 1e-9)

    def _residual(self, window: Summary) -> Float64:
        """Mean squares and products of what lies outside the components, in the reference's standard deviations."""
        apart = window.mean - self.known.mean
        second = (window.covariance + np.outer(apart, apart)) / np.outer(self._scale, self._scale)
        outside = np.eye(len(self.names)) - self.components.T @ self.components
        return np.asarray(outside @ second @ outside)

    def distances(self, window: Summary) -> Distances:
        """Of a window of this reference's features."""
        residual = self._residual(window)
        ratio = float(np.trace(residual)) / self._expected
        # Of a feature that does not vary, as one that few rows have, a window does not know what it goes with.
        change = np.triu(window.correlations - self.correlations, 1) * np.outer(window.varies, window.varies)
        first, second = np.unravel_index(int(np.abs(change).argmax()), change.shape)
        apart = window.mean - self.known.mean
        weighed = self._inverse @ apart
        each = np.array([
            abs(ratio - 1), np.sqrt(np.square(change).sum()), np.linalg.norm(window.waves - self.known.waves),
            math.sqrt(max(float(apart @ weighed), 0.0)),
        ])  # fmt: skip
        pair = f"{self.names[int(first)]}, {self.names[int(second)]}"
        return Distances(each, ("up" if ratio > 1 else "down", pair, "", self.names[int((apart * weighed).argmax())]))

    @property
    def _kernel(self) -> tuple[float, float]:
        """Of the waves' kernel: twice its squared width and one variance more, and twice what it is of two rows of the reference."""
        k = len(self.names)
        return 2.0 * (k + 2), 2 * (k / (k + 2)) ** (k / 2)

    def effects(self, each: Float64) -> Float64:
        """Distances on the scale of the PSI: what two normals have that lie so far apart (their symmetric Kullback-Leibler divergence).

        Of the reconstruction error, normals whose residuals' variance differs by that factor; of the MMD, normals whose means do.
        """
        width, most = self._kernel
        ratio = 1 + each[0]
        told = [
            self._left_out / 2 * (ratio + 1 / ratio - 2), each[1] ** 2, -width * math.log(max(1 - each[2] ** 2 / most, 1e-9)), each[3] ** 2,
        ]  # fmt: skip
        return np.array(told)

    def far(self, effect: float) -> Float64:
        """The inverse: distances whose effect is so large."""
        width, most = self._kernel
        more = effect / max(self._left_out, 1)
        ratio = 1 + more + math.sqrt(more * (2 + more))
        return np.array([ratio - 1, math.sqrt(effect), math.sqrt(most * -math.expm1(-effect / width)), math.sqrt(effect)])


def values(each: Float64) -> Float64:
    """Distances as they are told: that of the classifier as the AUC of a linear discriminant, in [0.5, 1]; the others as they are.

    The discriminant knows the means and the reference's covariance, not the rows: it finds rows that moved, not rows that spread. A
    logistic model would need the rows themselves, which panes do not hold.

    >>> values(np.array([0.1, 0.2, 0.3, 0.0])).tolist()
    [0.1, 0.2, 0.3, 0.5]
    """
    return np.append(each[:3], ndtr(each[3] / math.sqrt(2)))


class Null(NamedTuple):
    """Squared distances times rows without drift: mean and degrees of freedom (as of a scaled chi-square), and the root's 95 % quantile.

    Learned from the later half of a reference against its earlier half, as the features' own null is, so rows that are like their
    neighbours, and values that are not normal, are inside. `windows`: how many.
    """

    mean: Float64
    freedom: Float64
    quantile: Float64
    windows: int

    @classmethod
    def fit(cls, blocks: Sequence[Int64], names: Sequence[str], blocks_per_window: int) -> Null:
        """From the sums of consecutive blocks of the reference."""
        half = len(blocks) // 2
        earlier, later = np.sum(blocks[:half], axis=0), blocks[half:]
        known, rows = Together(earlier, names), int(earlier[0])
        found = []
        for i in range(0, len(later) - blocks_per_window + 1, blocks_per_window):
            window = Summary.of(np.sum(later[i : i + blocks_per_window], axis=0))
            found.append(known.distances(window).each * math.sqrt(worth(window.n, rows)))
        squares = np.square(found)
        mean, variance = squares.mean(0), squares.var(0, ddof=1)
        freedom = np.clip(2 * mean**2 / np.maximum(variance, 1e-300), 1.0, 1e6)
        return cls(mean, freedom, np.quantile(found, 0.95, axis=0), len(found))

    def tail(self, scaled: Float64) -> Float64:
        """The chance of distances times the root of rows as large, without drift. F, not chi-square: the mean itself is an estimate."""
        return np.asarray(fdtrc(self.freedom, float(self.windows), np.square(scaled) / np.maximum(self.mean, 1e-300)))


def worth(n: int, n_reference: int) -> float:
    """Rows that a window and its reference are worth together.

    >>> worth(100, 100)
    50.0
    """
    return n * n_reference / (n + n_reference)


def joint_profile(plan: Plan, blocks: Sequence[Int64], whole: Int64, window_rows: int | None) -> JointProfile:
    """What a reference keeps: the sums of all its rows, and how its blocks, in order of time, waver. Too few blocks: no null."""
    if len(blocks) < 2 * LEAST_WINDOWS:
        return JointProfile(plan.names, whole.tolist())
    wanted = len(blocks) // 40 if window_rows is None else round(window_rows * len(blocks) / max(int(whole[0]), 1))
    null = Null.fit(blocks, plan.names, max(1, min(wanted, len(blocks) // 2 // LEAST_WINDOWS)))
    mean, freedom, quantile = ([float(f"{value:.6g}") for value in each.tolist()] for each in (null.mean, null.freedom, null.quantile))
    return JointProfile(plan.names, whole.tolist(), mean, freedom, quantile, null.windows)


@lru_cache(maxsize=256)
def _known(sums: tuple[int, ...], names: tuple[str, ...]) -> Together:
    return Together(np.array(sums, np.int64), names)


def together_of(profile: JointProfile) -> Together:
    """The statistics of a profile, made once."""
    return _known(tuple(profile.sums), tuple(profile.features))


def null_of(profile: JointProfile) -> Null:
    """How the reference wavers."""
    return Null(np.array(profile.null_mean), np.array(profile.null_freedom), np.array(profile.null_quantile), profile.windows)


def told_by(reference: Reference) -> list[str]:
    """The joint statistics in a few lines: the strongest correlations, and what the components explain."""
    profile = reference.joint
    if profile is None:
        return []
    known = together_of(profile)
    first, second = np.triu_indices(len(known.names), 1)
    strength = known.correlations[first, second]
    order = np.argsort(-np.abs(strength), kind="stable")[:5].tolist()
    pairs = [f"{known.names[first[i]]} and {known.names[second[i]]} {strength[i]:+.2f}" for i in order]
    said = f"{len(known.components)} principal components of {len(known.names)} features explain {known.explained:.0%} of their variance"
    null = f"{profile.windows} windows without drift" if profile.windows else "too few rows for a verdict"
    return [f"correlations: {', '.join(pairs)}", f"{said}; {null}"]
