"""What predictions that wait for their label cost: memory while they wait, time to bring them back after a restart."""

from __future__ import annotations

import time

import numpy as np
import workload
from rig import Broker, Process, Site
from workload import START_MS, STEP_MS, Shape, Source

from driftline.streams.join import Join, PredictionRows
from driftline.streams.worker import TRIM_S

BASE = 0.2  # share that waits already when memory is first looked at: queues and buffers were full once by then


def waiting(broker: Broker, predictions: int) -> dict[str, dict[str, float | int]]:
    """Bytes per waiting prediction and the seconds of a restart; the parts `memory` and `recovery` of the results.

    None of the predictions has a label yet. Windows are a tenth of the whole, so that panes take next to nothing. A restart is over when
    the worker has read everything back and has worked off ten thousand events that came while it was away.
    """
    shape = Shape(events=predictions, labelled=0.0, window=max(predictions // 10, 10_000), horizon="7d")
    with Site(broker, shape, ("--reserve", "0")) as site:  # what was taken at the start would hide what is needed
        source = Source(shape)
        worker = site.start_worker()
        base = max(int(BASE * predictions) // shape.block, 4) * shape.block
        site.publish(source, base)
        before = _held(site, worker)
        site.publish(source, predictions - base)
        after = _held(site, worker)
        site.stop_workers()
        site.publish(source, shape.block)
        begin = time.monotonic()
        again = site.start_worker()
        ready_s = time.monotonic() - begin
        end = site.catch_up()
        cpu_s = again.cpu_s
        _require_all_back(site)
    return {
        "memory": {
            "bytes_per_waiting_prediction": (after - before) / (predictions - base),
            "join_bytes_per_waiting_prediction": join_bytes(predictions // shape.partitions), "waiting": predictions, "rss_bytes": after,
        },
        "recovery": {"seconds": end.at - begin, "ready_s": ready_s, "cpu_s": cpu_s, "waiting": predictions},
    }  # fmt: skip


def _held(site: Site, worker: Process) -> int:
    """Bytes of the worker once it rests and has given back what it freed."""
    site.come_to_rest()
    time.sleep(TRIM_S + 1)
    return worker.memory("VmRSS")


def _require_all_back(site: Site) -> None:
    """Labels for the oldest predictions must all find them, or the restart has not brought them back."""
    labels = list(workload.labels_of(site.shape, 0))
    workload.publish(site.broker.bootstrap, site.topics, iter(labels))
    sql = "SELECT sum(n_labelled) AS n FROM performance_panes FINAL WHERE segment = ''"
    site.wait(
        lambda: site.store.query(sql).to_pylist()[0]["n"] == len(labels), "labels did not find predictions from before the restart", 300
    )


def join_bytes(predictions: int) -> float:
    """The most bytes of arrays a waiting prediction takes in the join of one partition at any time while `predictions` come in.

    >>> 0 < join_bytes(100_000) < 200
    True
    """
    join, step = Join(7 * 86_400_000, 3_600_000), 10_000
    most = 0.0
    for first in range(0, predictions, step):
        offset = np.arange(first, first + step)
        zeros = np.zeros(step, np.int64)
        hashes = np.random.default_rng(first).integers(0, 2**63, step).astype(np.uint64)
        ts = START_MS + 8 * STEP_MS * offset
        join.add_predictions(PredictionRows(offset, ts, hashes, zeros, np.ones(step), zeros + 99, zeros, hashes))
        if first + step >= predictions // 2:  # what few rows take says nothing about many
            most = max(most, join.nbytes / (first + step))
    return most
