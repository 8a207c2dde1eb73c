-- What a verdict of drift was judged by, which way the feature moved and how far, and what the window was compared with.

ALTER TABLE drift_results
    ADD COLUMN IF NOT EXISTS significance Nullable(Float64)
        COMMENT 'Chance of the feature being this far off without drift, in [0, 1], neighbouring rows taken as alike as in the reference',
    ADD COLUMN IF NOT EXISTS direction LowCardinality(String)
        COMMENT 'up, down, wider or narrower; of categories the one that moved most, as more … or less …; empty where nothing is known',
    ADD COLUMN IF NOT EXISTS severity LowCardinality(String)
        COMMENT 'Of drift: warning, or critical from twice the threshold on; else empty',
    ADD COLUMN IF NOT EXISTS baseline LowCardinality(String)
        COMMENT 'What the window was compared with: training (in old rows empty), trailing:7d, hour-of-week or version:…',
    MODIFY ORDER BY (model, version, window_start, window_end, segment, feature, test, baseline);

CREATE OR REPLACE VIEW v_drift AS
SELECT * FROM drift_results FINAL
COMMENT 'Drift tests: latest revision of each window, feature, test and baseline';
