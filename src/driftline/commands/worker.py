"""`driftline worker`: run the pipeline against any Kafka and any ClickHouse."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from contextlib import ExitStack, closing
from typing import Annotated

import typer

from driftline.endpoint import Endpoint
from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.load import load_models
from driftline.settings import Settings
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.parquet import Parquet
from driftline.sinks.sink import Sinks
from driftline.streams.allocator import MIB, Allocator
from driftline.streams.tiers import HOT_ROWS
from driftline.streams.transport import topics as administration
from driftline.streams.worker import Timing, Worker

log = logging.getLogger("driftline.worker")
GARBAGE = 50_000  # objects between two looks for cycles: with Python's 700 these took 3 % of a busy worker
RESERVE_MIB = 384  # what a worker of one model grows by when it works off a backlog of a million predictions
LOOK_S = 0.2  # between two looks whether it has ended
REMIND_S = 5.0  # between two lines that differ in their figures alone


def run(
    session: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Silent for longer, the worker loses its partitions.")] = 30.0,
    flush: Annotated[float, typer.Option(min=0.05, metavar="SECONDS", help="How often panes become durable.")] = 0.2,
    breaker: Annotated[
        bool, typer.Option(help="Wait where more than 5 % of the last 1 000 records of a partition are dead letters.")
    ] = True,
    hot_rows: Annotated[
        int, typer.Option(min=0, metavar="N", help="Predictions and labels of a partition that wait in memory; more wait in ClickHouse.")
    ] = HOT_ROWS,
    reserve: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="Memory that is taken at the start and kept, so that no backlog has to wait for it.")
    ] = RESERVE_MIB,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Serve /healthz, /readyz and /metrics there; 0: nowhere.")] = 0,
    host: Annotated[str, typer.Option(help="The address to serve them at; any but loopback needs DRIFTLINE_TOKEN.")] = "127.0.0.1",
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what Faust and the clients say too.")] = False,
) -> None:
    """Run one worker until SIGTERM or SIGINT; start as many as there are partitions and cores.

    Addresses come from DRIFTLINE_KAFKA and DRIFTLINE_CLICKHOUSE, model files from the directory DRIFTLINE_MODELS. With DRIFTLINE_PARQUET,
    a directory, every row is also written to Parquet files. The worker refuses to go on with wrong topics, tables or state, says what
    to do about them, and ends with status 2. It ends with status 1 when it crashed; start it again, nothing is lost.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    logging.getLogger().handlers[0].addFilter(_tells_something)
    logging.getLogger("mode.timers").setLevel(logging.ERROR)  # it warns of every flush that takes longer than a look whether one is due
    log.setLevel(logging.INFO)
    allocator = Allocator()
    allocator.reserve(reserve * MIB)
    settings = Settings.from_environment()
    models = load_models(settings.models_directory()) if settings.models else {}
    kafka = settings.kafka_client()
    partitions = administration.require(kafka, settings.topics(), _needed_retention(models))
    files = [Parquet(settings.parquet, on_retry=_waiting)] if settings.parquet else []
    with ClickHouse.connect(settings.store(), on_retry=_waiting) as store, closing(Sinks(store, *files)) as sink:
        if pending := store.pending():
            names = ", ".join(migration.name for migration in pending)
            raise DriftlineError("store_schema", f"the store misses the migrations {names}", "run `driftline migrate`")
        worker = Worker(
            kafka,
            sink,
            models,
            store=store,
            prefix=settings.prefix,
            partitions=partitions,
            timing=Timing(session, min(3.0, session / 3), flush),
            breaker=breaker,
            hot_rows=hot_rows,
            allocator=allocator,
        )
        with ExitStack() as stack:
            if port:
                stack.callback(Endpoint(worker.status, host, port, settings.token).stop)
            _serve(worker)


def _tells_something(record: logging.LogRecord) -> bool:
    """Whether a traceback helps. What a worker refuses is told once at the end, with its fix, and Faust's traceback of it would hide
    that; so would that of its consumer's thread, which may have ended when Faust comes to end it."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, DriftlineError) or (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"))


def _serve(worker: Worker) -> None:
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    log.info("starting: waiting for partitions, then recovering their state")
    gc.collect()
    gc.freeze()  # what is imported stays
    gc.set_threshold(GARBAGE, 20, 50)
    worker.launch()
    telling = _Progress(worker)
    while worker.alive and not stopping.wait(LOOK_S):
        telling.look()
    worker.stop()
    if isinstance(worker.crashed, DriftlineError):  # told by the command line, with its fix, as one met at the start is
        raise worker.crashed
    if worker.crashed:
        log.critical("crashed: %s", worker.crashed)
        raise typer.Exit(1)
    log.info("stopped")


class _Progress:
    """Logs how far the recovery is: what it waits for as soon as that changes, and figures now and then."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._told, self._told_s = worker, "", 0.0

    def look(self) -> None:
        try:
            now = self._worker.status().progress
        except Exception:  # it has ended, or is busy: the loop around this finds out which
            return
        is_new = now.partition(":")[0] != self._told.partition(":")[0] or now.startswith("ready")
        if now != self._told and (is_new or time.monotonic() - self._told_s > REMIND_S):
            log.info("%s", now)
            self._told, self._told_s = now, time.monotonic()


def _needed_retention(models: dict[str, Model]) -> int:
    """The source topics must keep what the join may still need after a restart."""
    return max([model.horizon_ms + model.grace_ms for model in models.values()], default=0)


def _waiting(error: Exception, attempts: int, seconds: float) -> None:
    log.warning("the store is away (%s); attempt %d, again in %.1f s; partitions wait meanwhile", error, attempts, seconds)
