-- The analysts' interface. Each view shows the latest revision only; tables behind it may change, these columns stay.

CREATE OR REPLACE VIEW v_drift AS
SELECT * FROM drift_results FINAL
COMMENT 'Drift tests: latest revision of each window, feature and test';

CREATE OR REPLACE VIEW v_performance AS
SELECT * FROM performance_results FINAL
COMMENT 'Performance: latest revision of each window, metric and basis';

CREATE OR REPLACE VIEW v_quality AS
SELECT * FROM quality_results FINAL
COMMENT 'Data quality: latest revision of each window, feature and check';

CREATE OR REPLACE VIEW v_alerts AS
SELECT
    model,
    version,
    incident,
    argMax(e.cause, e.revision) AS cause,
    argMax(splitByChar('.', e.type)[3], e.revision) AS state,
    argMax(e.severity, e.revision) AS severity,
    min(e.window_start) AS window_start,
    argMax(e.window_end, e.revision) AS window_end,
    min(e.time) AS opened,
    max(e.time) AS changed,
    argMax(e.findings, e.revision) AS findings,
    argMax(e.message, e.revision) AS message,
    argMax(e.sql, e.revision) AS sql,
    argMax(e.reference, e.revision) AS reference,
    argMax(e.policy, e.revision) AS policy,
    uniqExact(e.id) AS events,
    max(e.revision) AS revision
FROM alerts AS e
GROUP BY model, version, incident
COMMENT 'Incidents: one row each, in the state of its last event (opened, resolved, retracted …)';

CREATE OR REPLACE VIEW v_retrain AS
SELECT
    model,
    version,
    id,
    argMax(splitByChar('.', e.type)[3], e.revision) AS state,
    argMax(e.incident, e.revision) AS incident,
    argMax(e.cause, e.revision) AS cause,
    argMax(e.window_start, e.revision) AS window_start,
    argMax(e.window_end, e.revision) AS window_end,
    argMax(e.training_start, e.revision) AS training_start,
    argMax(e.training_end, e.revision) AS training_end,
    argMax(e.rows, e.revision) AS rows,
    argMax(e.labelled_rows, e.revision) AS labelled_rows,
    argMax(e.evidence, e.revision) AS evidence,
    argMax(e.reference, e.revision) AS reference,
    argMax(e.policy, e.revision) AS policy,
    argMax(e.expires, e.revision) AS expires,
    argMax(e.message, e.revision) AS message,
    argMax(e.sql, e.revision) AS sql,
    min(e.time) AS requested,
    max(e.time) AS changed,
    max(e.revision) AS revision
FROM retrain_cases AS e
GROUP BY model, version, id
COMMENT 'Retrain cases: one row each, in the state of its last event (requested, withdrawn …)';

CREATE OR REPLACE VIEW v_lineage AS
WITH
    results AS
    (
        SELECT model, version, segment, window_start, window_end, 'drift' AS kind, feature, test,
            value, n, verdict, reference, policy, is_final, coverage, revision
        FROM drift_results FINAL
        UNION ALL
        SELECT model, version, segment, window_start, window_end, 'performance', metric, basis,
            value, n, verdict, reference, policy, is_final, coverage, revision
        FROM performance_results FINAL
        UNION ALL
        SELECT model, version, segment, window_start, window_end, 'quality', feature, check,
            value, n, verdict, reference, policy, is_final, coverage, revision
        FROM quality_results FINAL
    ),
    evidence AS
    (
        SELECT DISTINCT
            model,
            version,
            incident,
            finding.1 AS feature,
            finding.2 AS test,
            finding.3 AS segment,
            fromUnixTimestamp64Milli(finding.4, 'UTC') AS window_start,
            fromUnixTimestamp64Milli(finding.5, 'UTC') AS window_end
        FROM alerts
        ARRAY JOIN JSONExtract(findings,
            'Array(Tuple(feature String, test String, segment String, window_start Int64, window_end Int64))') AS finding
    )
SELECT
    r.model AS model,
    r.version AS version,
    r.segment AS segment,
    r.window_start AS window_start,
    r.window_end AS window_end,
    r.kind AS kind,
    r.feature AS feature,
    r.test AS test,
    r.value AS value,
    r.n AS n,
    r.verdict AS verdict,
    r.reference AS reference,
    r.policy AS policy,
    r.is_final AS is_final,
    r.coverage AS coverage,
    r.revision AS revision,
    e.incident AS incident,
    a.state AS incident_state,
    a.cause AS cause,
    a.severity AS severity,
    c.id AS retrain_case,
    c.state AS retrain_state
FROM results AS r
LEFT JOIN evidence AS e
    ON e.model = r.model AND e.version = r.version AND e.segment = r.segment AND e.feature = r.feature AND e.test = r.test
    AND e.window_start = r.window_start AND e.window_end = r.window_end
LEFT JOIN v_alerts AS a ON a.model = e.model AND a.version = e.version AND a.incident = e.incident
LEFT JOIN v_retrain AS c ON c.model = a.model AND c.version = a.version AND c.incident = a.incident
COMMENT 'From each result to the incident it was evidence of and the retrain case that followed; empty where there is none';
