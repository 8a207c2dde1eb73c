"""The reference: the profile that a model version's windows are compared with, as it travels on the `models` topic.

Bins are half-open, `[edge, next edge)`, with one bin below the first edge and one from the last edge up.
"""

from __future__ import annotations

import hashlib
from typing import Literal
from urllib.parse import quote

import msgspec


class NumericProfile(msgspec.Struct, frozen=True, tag="numeric"):
    """One numeric feature: `len(edges) + 1` counts; `mean` and `m2` (sum of squared deviations) over the `n` present values."""

    edges: list[float]
    counts: list[int]
    n: int
    missing: int
    mean: float
    m2: float
    minimum: float | None = None
    maximum: float | None = None


class CategoricalProfile(msgspec.Struct, frozen=True, tag="categorical"):
    """One categorical feature: a count for each category named; `other` counts rows of categories left out of the list."""

    categories: list[str]
    counts: list[int]
    other: int
    n: int
    missing: int


Profile = NumericProfile | CategoricalProfile


class LossProfile(msgspec.Struct, frozen=True):
    """A regression's mean loss by place: `base`, and what a row in each bin of a feature adds to it (bins, missing, type errors)."""

    base: float
    effects: dict[str, list[float]]
    residual_variance: float


class PerformanceProfile(msgspec.Struct, frozen=True, omit_defaults=True):
    """How well the model did on the reference's labelled rows: metric name → value.

    `confusion` counts them by predicted and actual class, `scored` by the predicted group, whether it came true, and the score (256
    equal bins): what is expected of rows without a label is learned from them. `losses` holds a regression's "absolute" and "squares".
    """

    n: int = 0
    metrics: dict[str, float] = {}
    confusion: dict[str, int] = {}  # "predicted\\x1factual" → rows
    scored: dict[str, tuple[list[int], list[int]]] = {}
    losses: dict[str, LossProfile] = {}
    label_mean: float | None = None  # of a regression
    label_variance: float | None = None
    places: dict[str, tuple[int, float, float]] = {}  # of a regression, by size of the prediction: rows, mean |e|, mean e²
    chances: dict[str, tuple[list[int], list[int]]] = {}  # by class: rows of other classes and of this one, by its probability


class Calibration(msgspec.Struct, frozen=True):
    """How much the reference wavers by itself, from its rows cut into blocks in order of time; none: rows are independent of each other.

    `covariances` holds the upper triangle, row by row, of each feature's covariance of scores; the p-values that the reference's later
    half has against its earlier half are kept in part: `null_values[i]` is the one of rank `null_ranks[i]` among `null_size`.
    """

    blocks: int = 0
    lengths: dict[str, int] = {}  # blocks of the features that have fewer
    covariances: dict[str, list[float]] = {}
    null_values: list[float] = []
    null_ranks: list[int] = []
    null_size: int = 0


class JointProfile(msgspec.Struct, frozen=True):
    """What numeric features do together: sums of all rows as panes keep them (`streams.joint`), and how the reference wavers by itself.

    `null_mean`, `null_freedom` and `null_quantile` are of squared and plain distances times the root of rows, one each for
    `streams.joint.TESTS`, over `windows` windows of its later half; none where it has too few rows.
    """

    features: list[str]
    sums: list[int]
    null_mean: list[float] = []
    null_freedom: list[float] = []
    null_quantile: list[float] = []
    windows: int = 0


class Reference(msgspec.Struct, frozen=True, tag="reference", tag_field="kind"):
    """One entry on the `models` topic: the profile of (model, version), in force for panes that start at `effective_from` or later.

    `features` holds the model's features and, where present, the columns `(prediction)`, `(score)`; `labels` those of the truth, as the
    feature `(label)` of the calibration.
    """

    model: str
    version: str
    features: dict[str, Profile]
    rows: int
    performance: PerformanceProfile = PerformanceProfile()
    origin: Literal["training", "learned", "stored"] = "training"
    effective_from: int = 0  # milliseconds since the epoch, event time
    calibration: Calibration = Calibration()
    labels: Profile | None = None  # of its labelled rows; None where there were none
    vocabularies: dict[str, bytes] = {}  # of its texts, where it was made of a table (`streams.derived`)
    joint: JointProfile | None = None  # of its numeric features, where it was made of a table and has two
    clocks: list[str] = []  # features that say which row it is, or when it came: they tell nothing of how they waver, and have no verdict

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the content that results depend on; `effective_from` is not part of it."""
        content: tuple[object, ...] = (self.model, self.version, self.features, self.rows, self.performance, self.origin)
        if self.calibration.blocks:  # one without has the hash it always had
            content = (*content, self.calibration)
        if self.labels is not None:
            content = (*content, self.labels)
        if self.joint is not None:
            content = (*content, self.joint)
        if self.vocabularies:
            content = (*content, self.vocabularies)
        if self.clocks:
            content = (*content, self.clocks)
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]


class Lifecycle(msgspec.Struct, frozen=True, tag="lifecycle", tag_field="kind"):
    """One entry on the `models` topic: something happened to a version (deployed, promoted, rolled back)."""

    model: str
    version: str
    event: Literal["version.deployed", "version.promoted", "version.rolled-back"]
    effective_from: int


Entry = Reference | Lifecycle
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """The value of a record on the `models` topic."""
    return msgspec.json.encode(entry)


def decode_entry(value: bytes) -> Entry:
    """The entry in a record's value; raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return _decoder.decode(value)


def entry_key(entry: Entry) -> bytes:
    """The record's key. It differs for every entry, so compaction keeps the history that a replay needs.

    >>> entry_key(Lifecycle("churn", "7/b", "version.deployed", 5))
    b'churn/7%2Fb/version.deployed/5'
    """
    kind = "reference" if isinstance(entry, Reference) else entry.event
    return f"{quote(entry.model, safe='')}/{quote(entry.version, safe='')}/{kind}/{entry.effective_from}".encode()
