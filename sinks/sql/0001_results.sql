-- What evaluations found: one row a window, feature and test (or metric, or check). A row that is written again with a higher
-- revision replaces the earlier one. `stored_at` decides when a row goes, not event time: a replay of old events keeps its results.

CREATE TABLE IF NOT EXISTS drift_results
(
    model         LowCardinality(String)   COMMENT 'Name of the model',
    version       LowCardinality(String)   COMMENT 'Version of the model',
    segment       LowCardinality(String)   COMMENT 'Part of the predictions, as name=value; empty for the whole',
    window_start  DateTime64(3, 'UTC')     COMMENT 'Begin of the window, inclusive, event time (UTC, milliseconds)',
    window_end    DateTime64(3, 'UTC')     COMMENT 'End of the window, exclusive, event time (UTC, milliseconds)',
    feature       LowCardinality(String)   COMMENT 'Name of the feature; (prediction), (score) and (error) are the columns of the model itself',
    test          LowCardinality(String)   COMMENT 'Name of the drift test or detector',
    value         Nullable(Float64)        COMMENT 'Statistic of the test, in the unit of the test; null where undefined, see reason',
    p_value       Nullable(Float64)        COMMENT 'Probability of such a value without drift, in [0, 1]',
    null_quantile Nullable(Float64)        COMMENT 'Value the test stays below without drift at these sample sizes, in the unit of the test',
    effect        Nullable(Float64)        COMMENT 'Population stability index, from 0 up (no unit), by which the verdict is judged',
    threshold     Nullable(Float64)        COMMENT 'Limit the verdict was judged by',
    n_reference   UInt64                   COMMENT 'Size of the reference (rows)',
    n             UInt64                   COMMENT 'Size of the window (rows)',
    verdict       LowCardinality(String)   COMMENT 'ok, drift, fault, worse, insufficient, undefined or learning',
    reason        String                   COMMENT 'Why there is no value or no verdict; else empty',
    reference     LowCardinality(String)   COMMENT 'Hash of the reference the window was compared with',
    policy        LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    is_final      Bool                     COMMENT 'Whether the watermark has passed the window and its grace: true when only corrections can change the row',
    coverage      Float64                  COMMENT 'Share of the expected input that is in the row, in [0, 1]',
    revision      UInt64                   COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at     DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT window_has_length CHECK window_start < window_end,
    CONSTRAINT coverage_is_a_share CHECK coverage BETWEEN 0 AND 1
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, window_start, window_end, segment, feature, test)
TTL stored_at + INTERVAL 2 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One test of one feature in one window against the reference';

CREATE TABLE IF NOT EXISTS performance_results
(
    model           LowCardinality(String)   COMMENT 'Name of the model',
    version         LowCardinality(String)   COMMENT 'Version of the model',
    segment         LowCardinality(String)   COMMENT 'Part of the predictions, as name=value; empty for the whole',
    window_start    DateTime64(3, 'UTC')     COMMENT 'Begin of the window of predictions, inclusive, event time (UTC, milliseconds)',
    window_end      DateTime64(3, 'UTC')     COMMENT 'End of the window of predictions, exclusive, event time (UTC, milliseconds)',
    metric          LowCardinality(String)   COMMENT 'Name of the metric: accuracy, auc, mae, rmse …',
    basis           LowCardinality(String)   COMMENT 'realised (from labels), estimated (without) or combined',
    value           Nullable(Float64)        COMMENT 'The metric, in its own unit; null where undefined, see reason',
    lower           Nullable(Float64)        COMMENT 'Lower end of the 95 % interval, in the unit of the metric',
    upper           Nullable(Float64)        COMMENT 'Upper end of the 95 % interval, in the unit of the metric',
    reference_value Nullable(Float64)        COMMENT 'The metric on the reference, in its own unit',
    n               UInt64                   COMMENT 'Predictions in the window (rows)',
    n_labelled      UInt64                   COMMENT 'Predictions in the window whose label is known (rows)',
    coverage        Float64                  COMMENT 'Share of the predictions whose label is known, in [0, 1]',
    maturity        Nullable(Float64)        COMMENT 'Share of the labels expected by now that is there, in [0, 1]',
    threshold       Nullable(Float64)        COMMENT 'Limit the verdict was judged by, in the unit of the metric',
    verdict         LowCardinality(String)   COMMENT 'ok, drift, fault, worse, insufficient, undefined or learning',
    reason          String                   COMMENT 'Why there is no value or no verdict; else empty',
    reference       LowCardinality(String)   COMMENT 'Hash of the reference the window was compared with',
    policy          LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    is_final        Bool                     COMMENT 'Whether the watermark has passed the window and its grace: true when only corrections can change the row',
    revision        UInt64                   COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at       DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT window_has_length CHECK window_start < window_end,
    CONSTRAINT coverage_is_a_share CHECK coverage BETWEEN 0 AND 1,
    CONSTRAINT labels_belong_to_predictions CHECK n_labelled <= n
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, window_start, window_end, segment, metric, basis)
TTL stored_at + INTERVAL 2 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One metric of performance in one window of predictions, with the labels known so far';

CREATE TABLE IF NOT EXISTS quality_results
(
    model           LowCardinality(String)   COMMENT 'Name of the model',
    version         LowCardinality(String)   COMMENT 'Version of the model',
    segment         LowCardinality(String)   COMMENT 'Part of the predictions, as name=value; empty for the whole',
    window_start    DateTime64(3, 'UTC')     COMMENT 'Begin of the window, inclusive, event time (UTC, milliseconds)',
    window_end      DateTime64(3, 'UTC')     COMMENT 'End of the window, exclusive, event time (UTC, milliseconds)',
    feature         LowCardinality(String)   COMMENT 'Name of the feature',
    check           LowCardinality(String)   COMMENT 'Name of the check: missing_rate, type_error_rate, new_category_rate …',
    value           Nullable(Float64)        COMMENT 'What was measured (share of rows, in [0, 1]); null where undefined, see reason',
    reference_value Nullable(Float64)        COMMENT 'The same on the reference (share of rows, in [0, 1])',
    threshold       Nullable(Float64)        COMMENT 'Limit the verdict was judged by (share of rows)',
    n               UInt64                   COMMENT 'Size of the window (rows)',
    verdict         LowCardinality(String)   COMMENT 'ok, drift, fault, worse, insufficient, undefined or learning',
    reason          String                   COMMENT 'Why there is no value or no verdict; else empty',
    reference       LowCardinality(String)   COMMENT 'Hash of the reference the window was compared with',
    policy          LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    is_final        Bool                     COMMENT 'Whether the watermark has passed the window and its grace: true when only corrections can change the row',
    coverage        Float64                  COMMENT 'Share of the expected input that is in the row, in [0, 1]',
    revision        UInt64                   COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at       DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT window_has_length CHECK window_start < window_end,
    CONSTRAINT coverage_is_a_share CHECK coverage BETWEEN 0 AND 1
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, window_start, window_end, segment, feature, check)
TTL stored_at + INTERVAL 2 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One data-quality check of one feature in one window';

CREATE TABLE IF NOT EXISTS `references`
(
    model          LowCardinality(String)   COMMENT 'Name of the model',
    version        LowCardinality(String)   COMMENT 'Version of the model',
    reference      LowCardinality(String)   COMMENT 'Hash of the content, as it stands in results and panes',
    origin         LowCardinality(String)   COMMENT 'training (built from data that was given) or learned (from the first windows)',
    effective_from DateTime64(3, 'UTC')     COMMENT 'Panes that start here or later use it, event time (UTC, milliseconds)',
    rows           UInt64                   COMMENT 'Size of the data it was built from (rows)',
    content        String CODEC(ZSTD(3))    COMMENT 'The whole profile as JSON: edges in the unit of each feature, counts in rows',
    revision       UInt64                   COMMENT 'How much the row knows; the highest replaces the others',
    stored_at      DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, effective_from, reference)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One reference that was or is in force';
