"""One model's configuration: what a TOML file in `DRIFTLINE_MODELS` says. Loading, with line numbers, is in `load`.

Durations are written as `"90s"`, `"15m"`, `"1h"`, `"7d"` and held as integer milliseconds (a name that ends in `_ms`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

Task = Literal["binary", "multiclass", "regression", "ranking"]
TestName = Literal[
    "psi", "kl", "jensen_shannon", "hellinger", "cramers_v", "chi_square", "g_test", "total_variation", "l_infinity", "ks",
    "cramer_von_mises", "anderson_darling", "wasserstein", "wasserstein_normalised", "energy", "mean_shift", "levene",
]  # fmt: skip
#: "numeric", "categorical", "text", or "embedding:DIM", a list of so many numbers.
FeatureType = Annotated[str, Meta(pattern=r"^(numeric|categorical|text|embedding:[1-9][0-9]{0,3})$")]
MissingLabel = Literal["unknown", "negative", "positive"]
DetectorName = Literal[
    "adwin", "bocpd", "cusum", "ddm", "ecdd", "e_detector", "eddm", "hddm_a", "hddm_w", "kswin", "page_hinkley", "rddm", "shewhart",
    "stepd",
]  # fmt: skip

#: The metrics that each task has. `by_class` stands for precision, recall and F1 of each class, `all` for every one.
METRICS: dict[Task, tuple[str, ...]] = {
    "binary": (
        "accuracy", "mcc", "kappa", "cost", "value", "ece", "precision", "recall", "f1", "specificity", "auc", "average_precision",
        "log_loss", "brier", "lift", "all",
    ),
    "multiclass": (
        "accuracy", "mcc", "kappa", "cost", "value", "ece", "precision_macro", "precision_weighted", "recall_macro", "recall_weighted",
        "f1_macro", "f1_weighted", "f1_micro", "specificity_macro", "auc_macro", "auc_weighted", "average_precision_macro",
        "average_precision_weighted", "log_loss", "brier", "by_class", "all",
    ),
    "regression": ("mae", "rmse", "mape", "r2", "quantile_loss", "all"),
    "ranking": ("ndcg", "map", "mrr", "hit_rate", "all"),
}  # fmt: skip

#: Those of several classes that need the probability of each of them, from `scores`; the file must declare these, 64 at most.
OF_CHANCES = ("auc_macro", "auc_weighted", "average_precision_macro", "average_precision_weighted", "log_loss", "brier")
MOST_CHANCES = 64

#: In cells of segments, the value of all values that `known_values` does not name.
OTHER = "(other)"

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Chance = Annotated[float, Meta(gt=0, lt=1)]
Amount = Annotated[float, Meta(gt=0, le=1_000_000)]
_NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
EdgeRule = Annotated[
    str, Meta(pattern=rf"^(quantile:([1-9][0-9]?|[1-4][0-9]{{2}}|50[0-9]|51[0-2])|doane|{_NUMBER}(, *{_NUMBER}){{0,63}})$")
]
Bounds = tuple[float, float]  # inclusive; infinite: no bound on that side
Factor = Annotated[float, Meta(ge=0, le=1_000_000)]
Price = Annotated[float, Meta(ge=-1e12, le=1e12)]
Moment = Annotated[datetime, Meta(tz=True)]
Baseline = Annotated[str, Meta(pattern=r"^(training|hour-of-week|trailing:[0-9]{1,6}[mhd]|version:.{1,200})$")]
Length = Annotated[int, Meta(ge=1, le=10_000 * DAY_MS)]  # milliseconds
Delay = Annotated[int, Meta(ge=0, le=10_000 * DAY_MS)]  # milliseconds


class Window(msgspec.Struct, frozen=True):
    """Windows of `length_ms`, one begun every `every_ms` (equal: tumbling; shorter: hopping). Both are multiples of the pane."""

    length_ms: Length = HOUR_MS
    every_ms: Length = HOUR_MS


class Exclusion(msgspec.Struct, frozen=True):
    """A range of event time that nobody should judge, or compare with: a holiday, an outage. Windows that touch it have no verdict."""

    begin: Moment
    end: Moment  # exclusive
    why: Name

    def touches(self, start: int, end: int) -> bool:
        """Whether a window of these milliseconds since the epoch reaches into it."""
        return start < self.end.timestamp() * 1000 and end > self.begin.timestamp() * 1000


class Policy(msgspec.Struct, frozen=True):
    """When a difference is worth waking somebody.

    A drift verdict needs both: evidence that survives the control of false alarms, whose budget for all features, segments and windows
    of the model is `false_alarms`, and an effect: a PSI above `psi`, numbers that move or widen by more than `shift` standard
    deviations, or a category whose share changes by more than `share`. A smaller one counts when it lasts. Nothing is judged on fewer
    than `min_samples` rows.
    """

    min_samples: Count = 200
    false_alarms: Amount = 0.1  # of drift, expected per week of event time where nothing drifts
    psi: Amount = 0.2
    shift: Amount = 0.2  # of a numeric feature's place or spread, in standard deviations; it may be far at a small PSI
    share: Share = 0.05  # change of the share of one category
    lasting_psi: Amount = 0.02  # a shift of this size that lasts over windows is drift too; one of a quarter of it never is
    significance: Chance = 0.001  # level of the verdicts on performance in one window
    missing_rise: Share = 0.1  # share of rows, absolute
    type_errors: Share = 0.01  # share of rows; the same of values outside the range or domain that the file declares
    performance_drop: Amount = 0.05  # accuracy and AUC: absolute; MAE and RMSE: relative to the reference
    min_coverage: Share = 0.8  # share of a window's predictions that have their label before its performance is judged
    cooldown_ms: Delay = DAY_MS  # event time during which one cause asks for one retrain only
    resolve_after: Count = 2  # clean windows in a row that end an incident
    retrain_after: Count = 1  # drifted windows in a row that ask for a retrain
    adwin_delta: Chance = 0.002
    min_maturity: Share = 0.8  # share of the labels that will ever come that must be there before performance is judged
    disparate_impact: Share = 0.8  # lowest over highest selection rate of protected groups; below it a model treats them unequally
    max_latency_ms: Delay = 0  # which 95 % of the answers must not exceed; 0: not judged
    max_silence_ms: Delay = 0  # without events at the end of a window; 0: not judged
    volume_change: Factor = 0.0  # times more, or fewer, rows than windows usually have; 1 or less: not judged
    max_failures: Share = 0.05  # share of answers that the service says failed


class Model(msgspec.Struct, frozen=True):
    """What driftline needs to know of one model; everything but the name has a default."""

    model: Name
    task: Task = "binary"
    positive: Name = "1"  # the class counted as positive in a binary task
    classes: tuple[Name, ...] = ()  # the classes there are; others are dead-lettered; empty: any
    features: dict[Name, FeatureType] = {}  # empty: taken from the reference, or seen in the events
    segments: tuple[Name, ...] = ()  # names in `segments` of the events, or several ("region+plan"), each watched beside the whole
    segment_values: Count = 50  # cells of each of those, at most, where `known_values` does not tell; all share the budget of false alarms
    known_values: dict[Name, tuple[Name, ...]] = {}  # by name in `segments`: values with a cell of their own; the others are "(other)"
    tests: tuple[TestName, ...] = ("psi", "ks", "chi_square")  # of every feature; PSI is always told
    baselines: tuple[Baseline, ...] = ("training",)  # what windows are compared with: also trailing:7d, hour-of-week, version:6
    exclude: tuple[Exclusion, ...] = ()  # event time that is not judged and is no baseline
    edges: dict[Name, EdgeRule] = {}  # of references, by feature, "*" for all: "quantile:20", "doane" or "6, 12, 24"
    ranges: dict[Name, Bounds] = {}  # least and largest value that a numeric feature may have; what lies outside is a fault
    domains: dict[Name, tuple[Name, ...]] = {}  # the categories that a feature may have; another is a fault
    windows: tuple[Window, ...] = (Window(),)
    pane_ms: Length = MINUTE_MS
    disorder_ms: Delay = 10_000  # the watermark stays this far behind the newest event
    grace_ms: Delay = HOUR_MS  # how late behind the watermark a prediction or label may still revise its window
    horizon_ms: Delay = 7 * DAY_MS  # how far apart in event time a prediction and its label may be
    skew_ms: Delay = 5 * MINUTE_MS  # how far an event may lie after its Kafka time stamp
    missing_label: MissingLabel = "unknown"  # what a prediction without a label counts as once its horizon has passed
    metrics: tuple[Name, ...] = ()  # those told; empty: the usual ones of the task
    judged: tuple[Name, ...] = ()  # those with a verdict; empty: the usual ones of the task
    costs: dict[Name, Price] = {}  # price of an answer by "predicted/actual" class; gives the metric `cost`
    values: dict[Name, Price] = {}  # worth of an answer by "predicted/actual" class; gives the metric `value`
    quantile: Chance = 0.5  # that a regression predicts, for `quantile_loss`
    top: Count = 10  # items of a ranking that count, from the first on
    protected: tuple[Name, ...] = ()  # names in `segments` whose groups must be treated alike
    champion: Annotated[str, Meta(max_length=200)] = ""  # version that others with the same ids are compared with; "": the first by name
    detectors: tuple[DetectorName, ...] = ("adwin",)  # over the losses in order of label time
    residual_detectors: tuple[DetectorName, ...] = ()  # over what came true, 0 or 1, less the score
    labels_per_week: Count = 10_000  # expected; the e-detector's run length is this over the budget of false alarms
    labels: bool = True  # false: no outcomes will come, so nothing waits for them, and those that do are dead letters
    max_wait_ms: Length = 10_000  # processing time without any event after which what was seen is judged provisionally
    multivariate: bool = False  # whether what numeric features do together is judged: correlations, PCA, MMD, a classifier
    archive: Literal["off", "all"] | Share = "off"  # which events the store keeps as they are; a share is taken by id
    learn_windows: Count = 3  # windows in a row that become the reference where none was published
    policy: Policy = Policy()


def policy_hash(model: Model) -> str:
    """Twelve hexadecimal digits that change with any setting of the model; it stands in every result.

    >>> policy_hash(Model("churn")) == policy_hash(Model("churn", task="regression"))
    False
    """
    import hashlib

    return hashlib.sha256(msgspec.json.encode(model, order="deterministic")).hexdigest()[:12]
