-- The smallest slices of event time that are kept, all source partitions merged. Panes of one reference add up to any range.

CREATE TABLE IF NOT EXISTS feature_panes
(
    model       LowCardinality(String)              COMMENT 'Name of the model',
    version     LowCardinality(String)              COMMENT 'Version of the model',
    segment     LowCardinality(String)              COMMENT 'Part of the predictions, as name=value; empty for the whole',
    pane_start  DateTime64(3, 'UTC')                COMMENT 'Begin of the pane, inclusive, event time (UTC, milliseconds)',
    pane_ms     UInt64                              COMMENT 'Length of the pane (milliseconds)',
    feature     LowCardinality(String)              COMMENT 'Name of the feature; (prediction) and (score) are the columns of the model itself',
    kind        LowCardinality(String)              COMMENT 'numeric (counts in bins) or categorical (counts in categories)',
    n           UInt64                              COMMENT 'Size of the pane, with or without a value (rows)',
    missing     UInt64                              COMMENT 'Rows without a value (rows)',
    type_errors UInt64                              COMMENT 'Rows whose value has a type that the feature does not allow (rows)',
    mean        Nullable(Float64)                   COMMENT 'Mean of the values present, in the unit of the feature',
    variance    Nullable(Float64)                   COMMENT 'Variance of the values present (of the population), in the squared unit of the feature',
    minimum     Nullable(Float64)                   COMMENT 'Smallest value present, in the unit of the feature',
    maximum     Nullable(Float64)                   COMMENT 'Largest value present, in the unit of the feature',
    bins        Array(UInt64) CODEC(ZSTD(1))        COMMENT 'Values below the first edge of the reference, between edges, from the last edge up (rows each)',
    categories  Map(String, UInt64) CODEC(ZSTD(1))  COMMENT 'Values by category (rows each)',
    reference   LowCardinality(String)              COMMENT 'Hash of the reference whose edges the bins have',
    revision    UInt64                              COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at   DateTime MATERIALIZED now()         COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT pane_has_length CHECK pane_ms > 0
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, segment, feature, pane_start)
TTL stored_at + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One feature in one pane';

CREATE TABLE IF NOT EXISTS performance_panes
(
    model           LowCardinality(String)              COMMENT 'Name of the model',
    version         LowCardinality(String)              COMMENT 'Version of the model',
    segment         LowCardinality(String)              COMMENT 'Part of the predictions, as name=value; empty for the whole',
    pane_start      DateTime64(3, 'UTC')                COMMENT 'Begin of the pane, inclusive, event time of the predictions (UTC, milliseconds)',
    pane_ms         UInt64                              COMMENT 'Length of the pane (milliseconds)',
    n               UInt64                              COMMENT 'Predictions in the pane (rows)',
    n_labelled      UInt64                              COMMENT 'Predictions in the pane whose label is known (rows)',
    confusion       Map(String, UInt64) CODEC(ZSTD(1))  COMMENT 'Predicted class, character 31, class of the label: how often (rows each)',
    scores_negative Array(UInt64) CODEC(ZSTD(1))        COMMENT 'Scores of labelled rows of another class, in 256 equal bins on [0, 1] (rows each)',
    scores_positive Array(UInt64) CODEC(ZSTD(1))        COMMENT 'Scores of labelled rows of the positive class, in 256 equal bins on [0, 1] (rows each)',
    error_sum       Float64                             COMMENT 'Sum of prediction less label, in the unit of the label',
    error_abs_sum   Float64                             COMMENT 'Sum of the absolute errors, in the unit of the label',
    error_sq_sum    Float64                             COMMENT 'Sum of the squared errors, in the squared unit of the label',
    delays          Array(UInt64) CODEC(ZSTD(1))        COMMENT 'Labels by delay: bin i counts delays in [2^i - 1, 2^(i+1) - 1) seconds (rows each)',
    reference       LowCardinality(String)              COMMENT 'Hash of the reference in force',
    revision        UInt64                              COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at       DateTime MATERIALIZED now()         COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT pane_has_length CHECK pane_ms > 0,
    CONSTRAINT labels_belong_to_predictions CHECK n_labelled <= n
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, segment, pane_start)
TTL stored_at + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Predictions and labels of one pane';
