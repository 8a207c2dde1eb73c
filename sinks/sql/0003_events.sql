-- What left the pipeline, one state change a row. The revision is the offset on the topic that the row was read from.

CREATE TABLE IF NOT EXISTS alerts
(
    id           String                   COMMENT 'Names the event; the same after every replay',
    type         LowCardinality(String)   COMMENT 'CloudEvents type: driftline.alert.opened.v1, .resolved, .retracted …',
    incident     String                   COMMENT 'Names the incident; the same in every event about it',
    model        LowCardinality(String)   COMMENT 'Name of the model',
    version      LowCardinality(String)   COMMENT 'Version of the model',
    cause        LowCardinality(String)   COMMENT 'Class of the cause: data drift, prior shift, concept drift, data fault, performance',
    severity     LowCardinality(String)   COMMENT 'warning or critical',
    window_start DateTime64(3, 'UTC')     COMMENT 'Begin of the window, inclusive, event time (UTC, milliseconds)',
    window_end   DateTime64(3, 'UTC')     COMMENT 'End of the window, exclusive, event time (UTC, milliseconds)',
    findings     String CODEC(ZSTD(1))    COMMENT 'The verdicts behind it, a JSON list; times in milliseconds since the epoch',
    message      String                   COMMENT 'One sentence for people',
    sql          String                   COMMENT 'The query that shows the evidence',
    reference    LowCardinality(String)   COMMENT 'Hash of the reference',
    policy       LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    time         DateTime64(3, 'UTC')     COMMENT 'When the state changed, event time (UTC, milliseconds)',
    revision     UInt64                   COMMENT 'Offset of the record on the alerts topic; the highest replaces the others',
    stored_at    DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, incident, type, id)
TTL stored_at + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One state change of one incident';

CREATE TABLE IF NOT EXISTS retrain_cases
(
    id             String                   COMMENT 'Names the case: the idempotency key for whoever trains',
    type           LowCardinality(String)   COMMENT 'CloudEvents type: driftline.retrain.requested.v1, .withdrawn …',
    incident       String                   COMMENT 'The incident that asked for it',
    model          LowCardinality(String)   COMMENT 'Name of the model',
    version        LowCardinality(String)   COMMENT 'Version to be replaced',
    cause          LowCardinality(String)   COMMENT 'Class of the cause: data drift, prior shift, concept drift, performance',
    window_start   DateTime64(3, 'UTC')     COMMENT 'Begin of the window, inclusive, event time (UTC, milliseconds)',
    window_end     DateTime64(3, 'UTC')     COMMENT 'End of the window, exclusive, event time (UTC, milliseconds)',
    training_start DateTime64(3, 'UTC')     COMMENT 'Begin of the recommended training range, inclusive, event time (UTC, milliseconds)',
    training_end   DateTime64(3, 'UTC')     COMMENT 'End of the recommended training range, exclusive, event time (UTC, milliseconds)',
    rows           UInt64                   COMMENT 'Predictions in the training range (rows)',
    labelled_rows  UInt64                   COMMENT 'Predictions in the training range whose label is known (rows)',
    evidence       String CODEC(ZSTD(1))    COMMENT 'The verdicts behind it, a JSON list; times in milliseconds since the epoch',
    reference      LowCardinality(String)   COMMENT 'Hash of the reference',
    policy         LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    expires        DateTime64(3, 'UTC')     COMMENT 'From here on nobody should act on it, event time (UTC, milliseconds)',
    message        String                   COMMENT 'One sentence for people',
    sql            String                   COMMENT 'The query that shows the evidence',
    time           DateTime64(3, 'UTC')     COMMENT 'When the state changed, event time (UTC, milliseconds)',
    revision       UInt64                   COMMENT 'Offset of the record on the retrain topic; the highest replaces the others',
    stored_at      DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, id, type)
TTL stored_at + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One state change of one request to train a model anew';

CREATE TABLE IF NOT EXISTS models
(
    model          LowCardinality(String)   COMMENT 'Name of the model',
    version        LowCardinality(String)   COMMENT 'Version of the model',
    event          LowCardinality(String)   COMMENT 'version.deployed, version.promoted or version.rolled-back',
    effective_from DateTime64(3, 'UTC')     COMMENT 'When it took effect, event time (UTC, milliseconds)',
    revision       UInt64                   COMMENT 'Offset of the record on the models topic; the highest replaces the others',
    stored_at      DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, version, effective_from, event)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One step in the life of a model version';

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic       LowCardinality(String)              COMMENT 'Topic the record was read from',
    partition   UInt32                              COMMENT 'Partition the record was read from',
    offset      UInt64                              COMMENT 'Offset the record was read at',
    code        LowCardinality(String)              COMMENT 'Stable code of the fault',
    message     String                              COMMENT 'What was wrong, in one sentence',
    key         String CODEC(ZSTD(1))               COMMENT 'Key of the record, its first 65536 bytes',
    value       String CODEC(ZSTD(1))               COMMENT 'Value of the record, its first 65536 bytes',
    value_bytes UInt64                              COMMENT 'Length of the whole value (bytes)',
    headers     Map(String, String) CODEC(ZSTD(1))  COMMENT 'Headers the record came with, values cut after 65536 bytes',
    time        DateTime64(3, 'UTC')                COMMENT 'Time stamp of the record in Kafka (UTC, milliseconds)',
    revision    UInt64                              COMMENT 'Offset of the record on the dead-letters topic; the highest replaces the others',
    stored_at   DateTime MATERIALIZED now()         COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (topic, partition, offset)
TTL stored_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One record that could not be used';
