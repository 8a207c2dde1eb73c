-- Whatever leaves the models topic, what was done to the system, and, where a model's file asks for it, the events themselves.

ALTER TABLE models
    ADD COLUMN IF NOT EXISTS reference LowCardinality(String) COMMENT 'Hash of the reference that was put in force; else empty' AFTER effective_from,
    ADD COLUMN IF NOT EXISTS rows UInt64 COMMENT 'Size of the data the reference was built from (rows); else 0' AFTER reference,
    ADD COLUMN IF NOT EXISTS time DateTime64(3, 'UTC') COMMENT 'Time stamp of the record in Kafka (UTC, milliseconds)' AFTER rows;

ALTER TABLE models
    COMMENT COLUMN event 'reference.training, reference.learned, version.deployed, version.promoted or version.rolled-back';

CREATE TABLE IF NOT EXISTS audit_log
(
    id        String                   COMMENT 'Names the entry',
    time      DateTime64(3, 'UTC')     COMMENT 'When it was done, by the clock of who did it (UTC, milliseconds)',
    actor     String                   COMMENT 'Who did it: worker or command, host and process; or the topic that told of it',
    action    LowCardinality(String)   COMMENT 'worker.started, worker.stopped, breaker.tripped, migration.applied, reference.training, version.promoted …',
    subject   String                   COMMENT 'What it was done to: a prefix of topics, a partition, a migration, a model version',
    detail    String                   COMMENT 'More about it, in words',
    revision  UInt64                   COMMENT 'How much the row knows; the highest replaces the others',
    stored_at DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (time, id)
TTL stored_at + INTERVAL 5 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One thing that an operator or a worker did';

CREATE TABLE IF NOT EXISTS predictions
(
    model      LowCardinality(String)   COMMENT 'Name of the model',
    version    LowCardinality(String)   COMMENT 'Version of the model',
    id         String                   COMMENT 'Names the prediction; its outcomes have the same',
    ts         DateTime64(3, 'UTC')     COMMENT 'When the prediction was made, event time (UTC, milliseconds)',
    prediction String                   COMMENT 'Class or number, as text',
    score      Nullable(Float64)        COMMENT 'Probability of the positive class, in [0, 1]',
    features   String CODEC(ZSTD(3))    COMMENT 'The features as a JSON object, each in its own unit',
    segments   Map(String, String)      COMMENT 'Groups it belongs to, by name',
    role       LowCardinality(String)   COMMENT 'champion, challenger, shadow or canary',
    latency_ms Nullable(Float64)        COMMENT 'Time the answer took (milliseconds)',
    trace      String                   COMMENT 'W3C trace parent; else empty',
    partition  UInt32                   COMMENT 'Partition the event was read from',
    offset     UInt64                   COMMENT 'Offset the event was read at',
    revision   UInt64                   COMMENT 'Offset once more; the highest replaces the others',
    stored_at  DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, id, version, ts)
TTL stored_at + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One prediction event, of models whose file says `archive`';

CREATE TABLE IF NOT EXISTS outcomes
(
    model     LowCardinality(String)   COMMENT 'Name of the model',
    id        String                   COMMENT 'Of the prediction',
    ts        DateTime64(3, 'UTC')     COMMENT 'When the label became known, event time (UTC, milliseconds)',
    label     Nullable(String)         COMMENT 'Class or number that turned out true, as text; null in a retraction',
    kind      LowCardinality(String)   COMMENT 'final, provisional, correction or retraction',
    partition UInt32                   COMMENT 'Partition the event was read from',
    offset    UInt64                   COMMENT 'Offset the event was read at; of two labels of one time the higher counts',
    revision  UInt64                   COMMENT 'Offset once more; the highest replaces the others',
    stored_at DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, id, ts, partition, offset)
TTL stored_at + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One outcome event, of models whose file says `archive`';

CREATE OR REPLACE VIEW v_models AS
SELECT * FROM models FINAL
COMMENT 'Life of the model versions: references put in force, versions deployed, promoted, rolled back';

CREATE OR REPLACE VIEW v_audit AS
SELECT * FROM audit_log FINAL
COMMENT 'What operators and workers did';

CREATE OR REPLACE VIEW v_joined AS
WITH labels AS
(
    SELECT
        model,
        id,
        -- In a tuple, because argMax passes over a null, and a label that was taken back is one.
        argMax(tuple(o.label, o.kind), (o.ts, o.offset)) AS last,
        min(o.ts) AS first_labelled,
        max(o.ts) AS labelled,
        uniqExact(o.partition, o.offset) AS label_events,
        max(o.revision) AS known
    FROM outcomes AS o
    GROUP BY model, id
)
SELECT
    p.model AS model,
    p.version AS version,
    p.id AS id,
    p.ts AS ts,
    p.prediction AS prediction,
    p.score AS score,
    p.features AS features,
    p.segments AS segments,
    p.role AS role,
    l.last.1 AS label,
    l.last.2 AS label_kind,
    if(l.label_events = 0, NULL, l.first_labelled) AS first_labelled,
    if(l.label_events = 0, NULL, l.labelled) AS labelled,
    l.label_events AS label_events,
    toBool(label_kind IN ('final', 'correction')) AS is_final,
    toFloat64(label IS NOT NULL) AS coverage,
    p.revision + l.known AS revision
FROM predictions AS p FINAL
LEFT JOIN labels AS l ON l.model = p.model AND l.id = p.id
COMMENT 'Archived predictions, each with the label that counts now: the last by its time';

CREATE OR REPLACE VIEW lineage_of AS
SELECT
    p.model AS model,
    p.version AS version,
    p.id AS id,
    p.ts AS ts,
    p.prediction AS prediction,
    p.score AS score,
    p.label AS label,
    arraySort(x -> x.1, (
        SELECT groupArray(tuple(o.ts, o.kind, o.label))
        FROM outcomes AS o FINAL
        WHERE o.model = {model:String} AND o.id = {id:String}
    )) AS label_revisions,
    r.segment AS segment,
    r.window_start AS window_start,
    r.window_end AS window_end,
    r.kind AS kind,
    r.feature AS feature,
    r.test AS test,
    r.value AS value,
    r.verdict AS verdict,
    r.is_final AS is_final,
    r.coverage AS coverage,
    r.revision AS revision,
    r.incident AS incident,
    r.incident_state AS incident_state,
    r.retrain_case AS retrain_case,
    r.retrain_state AS retrain_state
FROM (SELECT * FROM v_joined WHERE model = {model:String} AND id = {id:String}) AS p
LEFT JOIN (SELECT * FROM v_lineage WHERE model = {model:String}) AS r
    ON r.model = p.model AND r.version = p.version AND r.window_start <= p.ts AND p.ts < r.window_end
    AND (r.segment = '' OR has(arrayMap((name, value) -> concat(name, '=', value), mapKeys(p.segments), mapValues(p.segments)), r.segment))
COMMENT 'One archived prediction: its labels, the windows that count it, their tests, and the incident and retrain case that followed';
