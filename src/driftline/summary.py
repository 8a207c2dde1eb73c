"""What the store says of a finished run, as one JSON object: the answer of `driftline demo --json` and `driftline replay --json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from driftline.sinks.clickhouse import ClickHouse

_COUNTS = """
SELECT
    (SELECT sum(n) FROM performance_panes FINAL WHERE segment = '') AS events,
    (SELECT sum(n_labelled) FROM performance_panes FINAL WHERE segment = '') AS joined,
    (SELECT count() FROM dead_letters FINAL) AS dead_letters,
    (SELECT uniqExact(model, version, window_start, window_end) FROM v_drift) AS windows
"""
_FINDINGS = """
SELECT model, version, segment, feature, test, window_start, window_end, value, effect, threshold, n, verdict, is_final
FROM
(
    SELECT model, version, segment, feature, test, window_start, window_end, value, effect, threshold, n, verdict, is_final
    FROM v_drift
    UNION ALL
    SELECT model, version, segment, metric, basis, window_start, window_end, value, NULL, threshold, n_labelled, verdict, is_final
    FROM v_performance
    UNION ALL
    SELECT model, version, segment, feature, check, window_start, window_end, value, NULL, threshold, n, verdict, is_final
    FROM v_quality
)
WHERE verdict IN ('drift', 'fault', 'worse')
ORDER BY window_start, window_end, model, version, segment, feature, test
"""
_ALERTS = """
SELECT incident, model, version, cause, state, severity, window_start, window_end, opened
FROM v_alerts
WHERE state != 'retracted'
ORDER BY opened, model, version, cause, incident
"""
_RETRAIN = """
SELECT id, incident, model, version, cause, state, training_start, training_end, rows, labelled_rows, message
FROM v_retrain
WHERE state != 'withdrawn'
ORDER BY requested, model, version, cause, id
"""


def summarise(store: ClickHouse) -> dict[str, Any]:
    """Counts, findings, incidents and retrain cases, from the latest revision of every row; values that JSON can hold.

    Returns
    -------
    dict
        `events` (predictions accepted), `joined` (those with a label), `dead_letters`, `windows`: counts. `findings`: every
        verdict that is not fine, in order of event time, with `feature`, `test`, `window` ([start, end), RFC 3339), `value`, and what
        it was judged by. `alerts`: one an incident, in the state of its last event. `retrain_requests`: one a case.
        Alerts that were retracted and requests that were withdrawn are left out.
    """
    (counts,) = store.query(_COUNTS).to_pylist()
    return {
        **{name: int(count or 0) for name, count in counts.items()},
        "findings": [_with_window(row) for row in store.query(_FINDINGS).to_pylist()],
        "alerts": [_with_window(row) for row in store.query(_ALERTS).to_pylist()],
        "retrain_requests": [_plain(row) for row in store.query(_RETRAIN).to_pylist()],
    }


def _with_window(row: dict[str, Any]) -> dict[str, Any]:
    plain = _plain(row)
    window = [plain.pop("window_start"), plain.pop("window_end")]
    return {**plain, "window": window}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Times as RFC 3339 in UTC."""
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
