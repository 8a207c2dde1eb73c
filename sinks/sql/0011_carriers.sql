-- Which segments carry a drift, in columns of their own.

ALTER TABLE drift_results
    ADD COLUMN IF NOT EXISTS split Map(String, Float64)
        COMMENT 'Of drift of the whole: part of effect (PSI) by segment; those of one name, with name=(rest), sum to effect. Else empty',
    ADD COLUMN IF NOT EXISTS carriers Map(String, Float64)
        COMMENT 'Those of split that carry more than chance explains (false discoveries controlled): share of effect by segment';

CREATE OR REPLACE VIEW v_drift AS
SELECT * FROM drift_results FINAL
COMMENT 'Drift tests: latest revision of each window, feature, test and baseline';
