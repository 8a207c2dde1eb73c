-- Labels that never come, how soon the others do, and all predictions of a pane, labelled or not.

ALTER TABLE performance_results
    ADD COLUMN IF NOT EXISTS n_assumed UInt64
        COMMENT 'Of n_labelled, those that never got a label and count as the class the model names for that (rows)',
    ADD COLUMN IF NOT EXISTS began Nullable(DateTime64(3, 'UTC'))
        COMMENT 'Where the metric is worse: when that began, by the panes of this window and the one before (UTC, milliseconds)',
    ADD COLUMN IF NOT EXISTS change LowCardinality(String)
        COMMENT 'Kind of change of the window: none, data fault, covariate drift, prior shift or concept drift; empty where unknown',
    COMMENT COLUMN n_labelled 'Predictions in the window whose label is known or assumed (rows)',
    COMMENT COLUMN basis 'realised (from labels), estimated (without), weighted (without, by the reference rows of like score) or combined',
    COMMENT COLUMN coverage 'Share of the predictions whose label is known or assumed, in [0, 1]',
    COMMENT COLUMN maturity 'Share of the labels that will ever come that is expected by now, in [0, 1]; null where the delays are not known';

ALTER TABLE drift_results
    ADD COLUMN IF NOT EXISTS began Nullable(DateTime64(3, 'UTC'))
        COMMENT 'Where there is drift: when it began, by the panes before the finding (UTC, milliseconds)';

ALTER TABLE performance_panes
    ADD COLUMN IF NOT EXISTS predicted Map(String, UInt64)
        COMMENT 'Predictions by class, labelled or not (rows)',
    ADD COLUMN IF NOT EXISTS latencies Array(UInt64)
        COMMENT 'Answers by the time they took, 256 bins: the first below 2^-7 ms, then eight to each doubling (rows)',
    ADD COLUMN IF NOT EXISTS failures UInt64
        COMMENT 'Answers that the service says failed (rows)',
    ADD COLUMN IF NOT EXISTS label_sum Float64
        COMMENT 'Of a regression: sum of the labels, in the unit of the target',
    ADD COLUMN IF NOT EXISTS label_sq_sum Float64
        COMMENT 'Of a regression: sum of the squares of the labels, in the square of the unit of the target';

CREATE OR REPLACE VIEW v_performance AS
SELECT * FROM performance_results FINAL
COMMENT 'Performance: latest revision of each window, metric and basis';

CREATE OR REPLACE VIEW v_drift AS
SELECT * FROM drift_results FINAL
COMMENT 'Drift tests: latest revision of each window, feature, test and baseline';

CREATE OR REPLACE VIEW v_delays AS
SELECT
    model,
    version,
    segment,
    toStartOfHour(pane_start) AS hour,
    arrayJoin(range(32)) AS bin,
    pow(2, bin) - 1 AS from_s,
    pow(2, bin + 1) - 1 AS to_s,
    sum(p.delays[bin + 1]) AS labels,
    sum(p.n) AS predictions,
    sum(p.n_labelled) AS labelled,
    labelled / predictions AS coverage,
    max(p.revision) AS revision
FROM performance_panes AS p FINAL
GROUP BY model, version, segment, hour, bin
COMMENT 'How long labels took: rows by delay, for each hour of predictions; with the share that has a label so far';
