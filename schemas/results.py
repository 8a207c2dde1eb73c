"""Rows for the store, as they travel on the `results` topic: one class a table, one field a column, in the table's order.

Times are integer milliseconds since the epoch (UTC). `revision` is the sum of the source offsets a row was computed from:
the higher knows more and replaces the lower.

No row can be part of a cycle, so the collector of garbage need not know them (`gc=False`): they are made in half the time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["ok", "drift", "fault", "worse", "insufficient", "undefined", "learning"]


class DriftResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One test of one feature in one window against the reference."""

    model: str
    version: str
    segment: str  # "" is the whole; else "name=value"
    window_start: int
    window_end: int
    feature: str  # "(prediction)", "(score)", "(label)" and "(error)" are the model's own columns
    test: str
    value: float | None
    p_value: float | None
    null_quantile: float | None
    effect: float | None  # PSI, the effect a verdict is judged by
    threshold: float | None
    n_reference: int
    n: int
    verdict: Verdict
    reason: str  # why there is no value or no verdict, else ""
    reference: str
    policy: str
    is_final: bool
    coverage: float
    revision: int
    significance: float | None = None  # of the feature, over all bins: what its verdict is judged by
    direction: str = ""
    severity: Literal["", "warning", "critical"] = ""  # of drift
    baseline: str = "training"  # what the window was compared with
    began: int | None = None  # of drift: when it began, milliseconds since the epoch
    split: dict[str, float] = {}  # of drift of the whole: what each cell adds to `effect`; those of one name sum to it
    carriers: dict[str, float] = {}  # of those, the cells that carry more than chance explains: their share of `effect`


class PerformanceResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One metric in one window of predictions, with the labels known so far."""

    model: str
    version: str
    segment: str
    window_start: int
    window_end: int
    metric: str
    basis: Literal["realised", "estimated", "weighted", "combined"]
    value: float | None
    lower: float | None  # 95 % interval
    upper: float | None
    reference_value: float | None
    n: int  # predictions in the window
    n_labelled: int  # rows whose label is known or assumed
    coverage: float  # n_labelled / n
    maturity: float | None  # share of the labels that will ever come that is expected by now
    threshold: float | None
    verdict: Verdict
    reason: str
    reference: str
    policy: str
    is_final: bool
    revision: int
    n_assumed: int = 0  # of n_labelled, those that never got a label and count as the model's `missing_label`
    began: int | None = None  # of a metric that is worse: when it began, milliseconds since the epoch
    change: str = ""  # kind of change of the window: none, data fault, covariate drift, prior shift, concept drift; else unknown


class QualityResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One data-quality check of one feature in one window."""

    model: str
    version: str
    segment: str
    window_start: int
    window_end: int
    feature: str
    check: str  # missing_rate, type_error_rate, new_category_rate, added, removed …
    value: float | None
    reference_value: float | None
    threshold: float | None
    n: int
    verdict: Verdict
    reason: str
    reference: str
    policy: str
    is_final: bool
    coverage: float
    revision: int


class ComparisonResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How two versions stand that answer the same ids, by all labels up to the end of one window of label time."""

    model: str
    champion: str
    challenger: str
    window_start: int
    window_end: int
    verdict: Literal["better", "worse", "undecided"]  # of the challenger
    value: float | None  # of ids that both answered: share that only the challenger got right less share that only the champion did
    lower: float | None  # 95 %, valid at every look
    upper: float | None
    n: int  # ids with a label that both answered
    challenger_alone: int  # got right; of a regression: was nearer
    champion_alone: int
    policy: str
    is_final: bool
    revision: int


class FeaturePane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One feature in one pane, all source partitions merged. Numeric features fill `bins`, categorical ones `categories`."""

    model: str
    version: str
    segment: str
    pane_start: int
    pane_ms: int
    feature: str
    kind: Literal["numeric", "categorical"]
    n: int  # rows in the pane, present or not
    missing: int
    type_errors: int
    mean: float | None
    variance: float | None  # of the population
    minimum: float | None
    maximum: float | None
    bins: list[int]  # counts between the reference's edges
    categories: dict[str, int]
    reference: str
    revision: int


class PerformancePane(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Predictions and labels of one pane, all source partitions merged. Time is the prediction's."""

    model: str
    version: str
    segment: str
    pane_start: int
    pane_ms: int
    n: int
    n_labelled: int
    confusion: dict[str, int]  # "predicted\\x1factual" → rows
    scores_negative: list[int]  # 256 equal bins on [0, 1], labelled rows whose class is not the positive one; multiclass: wrong answers
    scores_positive: list[int]
    error_sum: float  # regression: prediction − label
    error_abs_sum: float
    error_sq_sum: float
    delays: list[int]  # labels by delay: bin i counts delays in [2^i − 1, 2^(i+1) − 1) seconds
    reference: str
    revision: int
    predicted: dict[str, int] = {}  # class → rows, labelled or not
    latencies: list[int] = []  # 256 bins, eight to each doubling, from 2^-7 ms up
    failures: int = 0  # answers that the service says failed
    label_sum: float = 0.0  # regression
    label_sq_sum: float = 0.0


class References(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reference in force, so that bins in the store can be read without Kafka."""

    model: str
    version: str
    reference: str
    origin: str
    effective_from: int
    rows: int
    content: str  # the whole profile as JSON
    revision: int


class Orphan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One outcome that no prediction came for within the label horizon. `ingest` names it, as soon as none can come any more."""

    model: str
    partition: int
    offset: int  # of the outcome, in its partition of the outcomes topic
    id_hash: str  # sixteen hexadecimal digits; the id itself is the key of the record
    label_ts: int
    timed_out: int  # event time until which its prediction was waited for
    revision: int


class Results(msgspec.Struct, omit_defaults=True):
    """One record on the `results` topic. What an evaluation wrote, table by table; and the orphans that ingest named."""

    drift_results: list[DriftResult] = []
    performance_results: list[PerformanceResult] = []
    quality_results: list[QualityResult] = []
    feature_panes: list[FeaturePane] = []
    performance_panes: list[PerformancePane] = []
    references: list[References] = []
    comparisons: list[ComparisonResult] = []
    orphans: list[Orphan] = []


_decoder = msgspec.msgpack.Decoder(Results)


def encode_results(results: Results) -> bytes:
    """The value of a record on the `results` topic (MessagePack)."""
    return msgspec.msgpack.encode(results)


def decode_results(value: bytes) -> Results:
    """The rows in a record's value."""
    return _decoder.decode(value)
