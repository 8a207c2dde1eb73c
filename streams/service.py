"""How the service is that gives the answers: how long they take, how many fail, how many there are, as rows for the store. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from driftline.schemas.results import Columns, QualityResult, Verdict, columns_of, in_runs
from driftline.streams.answers import Int64, latency_at
from driftline.streams.judge import Judged
from driftline.streams.stats import wilson

SERVICE = "(service)"
OF_WINDOW = ("model", "version", "segment", "window_start", "window_end", "reference", "policy", "is_final", "coverage", "revision")
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}


def service(window: Judged) -> list[QualityResult]:
    """The window's latency quantiles in milliseconds, its share of failed answers, and its volume in rows.

    The 95 % quantile of the latency is judged by the policy's `max_latency` where it names one, the failures by `max_failures`, both when
    they are beyond it by more than chance. Without latencies there are no rows of them.
    """
    pane, policy = window.pane, window.model.policy
    answers, told = pane.answers, int(pane.answers.latencies.sum())
    rows = [] if not told else [_latency(window, name, quantile, told) for name, quantile in QUANTILES.items()]
    if pane.n:
        share = answers.failures / pane.n
        ill = wilson(answers.failures, pane.n)[0] > policy.max_failures
        rows += [
            _row(window, "failure_rate", share, policy.max_failures, pane.n, ill),
            _row(window, "volume", float(pane.n), None, pane.n, None),
        ]
    return rows


def service_each(windows: Iterable[Judged]) -> Iterator[Columns[QualityResult]]:
    """The same of several windows, of those with the same checks as one part."""
    alike: defaultdict[tuple[str, ...], list[list[QualityResult]]] = defaultdict(list)
    for window in windows:
        rows = service(window)
        alike[tuple([row.check for row in rows])].append(rows)
    for checks, mine in alike.items():
        if checks:
            runs, every = [len(checks)] * len(mine), columns_of([row for rows in mine for row in rows])
            yield every.with_columns({name: in_runs([getattr(rows[0], name) for rows in mine], runs) for name in OF_WINDOW})


def _latency(window: Judged, check: str, quantile: float, n: int) -> QualityResult:
    limit = float(window.model.policy.max_latency_ms)
    value = latency_quantile(window.pane.answers.latencies, quantile)
    if check != "latency_p95" or not limit:
        return _row(window, check, value, None, n, None)
    slow = sum(count for bin, count in enumerate(window.pane.answers.latencies.tolist()) if latency_at(bin) >= limit)
    return _row(window, check, value, limit, n, wilson(slow, n)[0] > 1 - quantile)


def latency_quantile(latencies: Int64, quantile: float) -> float:
    """The quantile of a histogram of latencies, in milliseconds; within a bin, which is 9 % wide, it is where its share of the rows is.

    >>> counts = np.zeros(256, np.int64)
    >>> counts[[57, 65]] = [90, 10]  # from 1 ms and from 2 ms up
    >>> round(latency_quantile(counts, 0.5), 2), round(latency_quantile(counts, 0.95), 2)
    (1.05, 2.09)
    """
    below = np.cumsum(latencies)
    wanted = quantile * below[-1]
    bin = int(np.searchsorted(below, wanted))
    inside = (wanted - (below[bin] - latencies[bin])) / latencies[bin]
    low, high = latency_at(bin), latency_at(bin + 1)
    return low + (high - low) * inside if bin == 0 else math.exp(math.log(low) + (math.log(high) - math.log(low)) * inside)


def _row(window: Judged, check: str, value: float, threshold: float | None, n: int, ill: bool | None) -> QualityResult:
    """`ill`: whether the value is beyond the threshold; None where nothing is judged."""
    least = window.model.policy.min_samples
    reason = "" if ill is None else f"{n} rows; {least} are needed" if n < least else window.unjudged
    verdict: Verdict = "undefined" if ill is None else "insufficient" if reason else "fault" if ill else "ok"
    return QualityResult(
        feature=SERVICE, check=check, value=value, reference_value=None, threshold=threshold, n=n, verdict=verdict,
        reason=reason or ("told, not judged: the policy names no limit" if ill is None else ""), coverage=window.coverage, **window.common,
    )  # fmt: skip
