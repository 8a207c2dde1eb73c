-- Versions that answer the same ids, compared: champion and challenger. And how far scores come true.

CREATE TABLE IF NOT EXISTS comparisons
(
    model            LowCardinality(String)   COMMENT 'Name of the model',
    champion         LowCardinality(String)   COMMENT 'Version that is compared with: the one the model names, else the first by name',
    challenger       LowCardinality(String)   COMMENT 'Version that answers the same ids',
    window_start     DateTime64(3, 'UTC')     COMMENT 'Begin of the window of label time, inclusive, event time (UTC, milliseconds)',
    window_end       DateTime64(3, 'UTC')     COMMENT 'End of the window of label time, exclusive: labels up to it count, from the first on (UTC, milliseconds)',
    verdict          LowCardinality(String)   COMMENT 'Of the challenger: better, worse or undecided',
    value            Nullable(Float64)        COMMENT 'Share of the ids that only the challenger got right less that of the champion, in [-1, 1]; of a regression: was nearer to',
    lower            Nullable(Float64)        COMMENT 'Lower end of the 95 % interval, in [-1, 1]; valid at all times at once, however often one looks',
    upper            Nullable(Float64)        COMMENT 'Upper end of the 95 % interval, in [-1, 1]; valid at all times at once, however often one looks',
    n                UInt64                   COMMENT 'Ids with a label that both versions answered (rows)',
    challenger_alone UInt64                   COMMENT 'Of them, those that only the challenger got right (rows)',
    champion_alone   UInt64                   COMMENT 'Of them, those that only the champion got right (rows)',
    policy           LowCardinality(String)   COMMENT 'Hash of the configuration in force',
    is_final         Bool                     COMMENT 'Whether the labels up to the window can be corrected no more',
    revision         UInt64                   COMMENT 'How much the row knows (sum of source offsets); the highest replaces the others',
    stored_at        DateTime MATERIALIZED now() COMMENT 'When the row was stored (UTC, seconds)',
    CONSTRAINT window_has_length CHECK window_start < window_end
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (model, champion, challenger, window_start, window_end)
TTL stored_at + INTERVAL 2 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Two versions that answer the same ids: how they stand after each window of label time';

CREATE OR REPLACE VIEW v_comparisons AS
SELECT * FROM comparisons FINAL
COMMENT 'Champion and challenger: latest revision of each window of label time';

CREATE OR REPLACE VIEW v_reliability AS
SELECT
    model,
    version,
    segment,
    toStartOfHour(pane_start) AS hour,
    intDiv(bin * 10, 256) AS tenth,
    sum(p.scores_negative[bin + 1] + p.scores_positive[bin + 1]) AS labelled,
    sum((p.scores_negative[bin + 1] + p.scores_positive[bin + 1]) * (bin + 0.5) / 256) / labelled AS mean_score,
    sum(p.scores_positive[bin + 1]) / labelled AS came_true,
    max(p.revision) AS revision
FROM performance_panes AS p FINAL
ARRAY JOIN range(256) AS bin
GROUP BY model, version, segment, hour, tenth
HAVING labelled > 0
COMMENT 'Reliability: what was said and what came true, for each hour of predictions and tenth of the score';
