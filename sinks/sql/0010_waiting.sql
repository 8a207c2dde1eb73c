-- The cold tier of the join, and the labels that never met a prediction.

CREATE TABLE IF NOT EXISTS waiting
(
    partition   UInt32                     COMMENT 'Source partition',
    model       LowCardinality(String)     COMMENT 'Name of the model',
    id_hash     UInt64                     COMMENT '64-bit hash of the prediction id',
    is_outcome  Bool                       COMMENT 'Whether the record is an outcome; else it is a prediction',
    offset      UInt64                     COMMENT 'Offset of the record in its source topic',
    ts          Int64                      COMMENT 'Event time (milliseconds since the epoch, UTC)',
    remembered  Int64                      COMMENT 'Event time of its latest duplicate (milliseconds since the epoch, UTC)',
    version     LowCardinality(String)     COMMENT 'Version of the model; empty for an outcome',
    segments    LowCardinality(String)     COMMENT 'Watched segments of a prediction, a JSON list of name=value',
    class       LowCardinality(String)     COMMENT 'Class predicted, or of the label; empty for a regression',
    number      Float64                    COMMENT 'Number predicted, or of the label, in its unit; NaN for a label taken back',
    bin         Int16                      COMMENT 'Bin of a score, 0 to 255 in equal bins on [0, 1]; -1 without one; of an outcome 1 when it was told whether it is an orphan',
    fingerprint UInt32                     COMMENT 'Hash of the content, which tells a duplicate from a conflict',
    life        UInt64                     COMMENT 'Names one start of the partition in one worker',
    slice       UInt32                     COMMENT 'Number of the slice of rows that the life put here in one go',
    keep_s      UInt32                     COMMENT 'How long the row is kept after it was stored (seconds)',
    stored_at   DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree
PARTITION BY partition
ORDER BY (model, id_hash, is_outcome, offset, version, ts, life, slice)
TTL stored_at + toIntervalSecond(keep_s)
SETTINGS index_granularity = 256, min_compress_block_size = 4096, non_replicated_deduplication_window = 1000
COMMENT 'One prediction or outcome that waits for its other half longer than memory holds it; for the workers';

CREATE TABLE IF NOT EXISTS orphans
(
    model     LowCardinality(String)     COMMENT 'Name of the model',
    partition UInt32                     COMMENT 'Partition of the outcomes topic',
    offset    UInt64                     COMMENT 'Offset of the outcome in that partition',
    id_hash   String                     COMMENT '64-bit hash of the prediction id, hexadecimal; the id itself is the key of the record',
    label_ts  DateTime64(3, 'UTC')       COMMENT 'Event time of the outcome (UTC, milliseconds)',
    timed_out DateTime64(3, 'UTC')       COMMENT 'Event time until which its prediction was waited for (UTC, milliseconds)',
    revision  UInt64                     COMMENT 'Offset of the outcome; the same after every replay',
    stored_at DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, partition, offset, id_hash)
TTL stored_at + INTERVAL 1 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One outcome that no prediction came for within the label horizon';
