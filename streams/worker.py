"""A worker: one process, or one thread of one, with its own event loop, that runs the whole pipeline for its share of partitions."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context
from faust.types import TP
from faust.types.auth import CredentialsT

from driftline.schemas.config import Model
from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import Topics
from driftline.sinks.audit import Audit
from driftline.sinks.clickhouse import ClickHouse
from driftline.sinks.sink import Sink
from driftline.sinks.waiting import Waiting
from driftline.streams import kernels
from driftline.streams.agents.cold import Cold
from driftline.streams.agents.wiring import Wiring
from driftline.streams.allocator import Allocator
from driftline.streams.registry import Registry
from driftline.streams.status import Status, status_of
from driftline.streams.tiers import HOT_ROWS
from driftline.streams.topology import Pipeline, build
from driftline.streams.transport.models import ModelsReader
from driftline.streams.transport.state import State
from driftline.streams.transport.topics import topic_ids

log = logging.getLogger(__name__)
PATIENCE_S = 5.0  # a probe's
TRIM_S = 10.0  # between two times that free memory is given back


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of processing time. A worker that is silent for `session_s` loses its partitions to the others."""

    session_s: float = 30.0
    heartbeat_s: float = 3.0
    flush_s: float = 0.2


def application(kafka: Mapping[str, Any], prefix: str, partitions: int, timing: Timing, folder: str = "{conf.name}-data") -> faust.App:
    """The Faust application. `kafka` holds librdkafka properties; the settings and their reasons stand in docs/decisions.

    When it starts it makes `folder` and directories in it that stay empty, as its tables are in memory.
    """
    brokers = ";".join(f"kafka://{address.strip()}" for address in kafka["bootstrap.servers"].split(","))
    return faust.App(
        prefix,
        broker=brokers,
        broker_credentials=_credentials(kafka),
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=1,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=8 * 2**20,
        broker_max_poll_records=50_000,
        agent_supervisor="mode.CrashingSupervisor",
        stream_wait_empty=False,
        stream_buffer_maxsize=65_536,
        broker_commit_interval=1.0,
        broker_session_timeout=timing.session_s,
        broker_heartbeat_interval=timing.heartbeat_s,
        broker_rebalance_timeout=timing.session_s,
        broker_request_timeout=max(60.0, 2 * timing.session_s),
        producer_linger=0.005,
        producer_max_batch_size=512 * 2**10,  # by default 16 KiB: a request takes one batch a partition, and snapshots go to few
        producer_compression_type=kafka.get("compression.type"),
        producer_acks=-1,
        producer_request_timeout=60,
        producer_max_request_size=8 * 2**20,
        store="memory://",
        datadir=folder,
        web_enabled=False,
        web_tables_enabled=False,
    )


def _credentials(kafka: Mapping[str, Any]) -> CredentialsT | None:
    protocol = kafka.get("security.protocol", "PLAINTEXT")
    context = create_ssl_context(cafile=kafka.get("ssl.ca.location")) if "SSL" in protocol else None
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=kafka["sasl.mechanism"], username=kafka["sasl.username"], password=kafka["sasl.password"], ssl_context=context
        )
    return faust.SSLCredentials(context) if context else None


def connection(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """The same properties as arguments of an aiokafka client."""
    protocol = kafka.get("security.protocol", "PLAINTEXT")
    context: ssl.SSLContext | None = create_ssl_context(cafile=kafka.get("ssl.ca.location")) if "SSL" in protocol else None
    return {
        "bootstrap_servers": kafka["bootstrap.servers"],
        "security_protocol": protocol,
        "ssl_context": context,
        "sasl_mechanism": kafka.get("sasl.mechanism", "PLAIN"),
        "sasl_plain_username": kafka.get("sasl.username"),
        "sasl_plain_password": kafka.get("sasl.password"),
    }


class Worker:
    """Runs the pipeline in a thread; `driftline worker` and the local stack both use it.

    Parameters
    ----------
    kafka
        librdkafka properties: `bootstrap.servers`, security where the brokers want it, and `compression.type` of what it sends.
    sink
        The store; it must be migrated.
    models
        Configuration by model.
    store
        Where predictions and outcomes wait for each other that memory has no room for.
    partitions
        Partition count of the source topics; `topics.require` tells it.
    breaker
        Whether a partition of a source topic waits when more than 5 % of its last 1 000 records were dead letters.
    hot_rows
        How many predictions and outcomes of a source partition may wait for each other in memory.
    allocator
        Whose free memory is given back now and then.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any],
        sink: Sink,
        models: Mapping[str, Model],
        *,
        store: ClickHouse,
        prefix: str,
        partitions: int,
        timing: Timing | None = None,
        breaker: bool = True,
        hot_rows: int = HOT_ROWS,
        allocator: Allocator | None = None,
    ) -> None:
        self._kafka, self._sink, self._models = kafka, sink, models
        self._store, self._hot_rows = store, hot_rows
        self._topics, self._partitions, self._timing = Topics(prefix), partitions, timing or Timing()
        self._breaker, self._allocator = breaker, allocator or Allocator()
        self._thread = threading.Thread(target=self._run, name="driftline-worker", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: faust.App | None = None
        self._verbs: Pipeline | None = None
        self.crashed: BaseException | None = None

    def launch(self) -> None:
        """Start, and do not wait."""
        self._thread.start()

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and wait until partitions are assigned, their state is recovered, and every verb has begun with it."""
        self.launch()
        if not self._ready.wait(timeout_s) and not self.crashed:
            raise DriftlineError(
                "not_ready", f"the worker had no partitions after {timeout_s:.0f} s", "see the log; is the broker reachable?"
            )
        if self.crashed:
            raise self.crashed

    def stop(self, timeout_s: float = 30.0) -> None:
        """Flush, commit, leave the group. Returns when the thread has ended."""
        if self._loop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def idle(self) -> bool:
        """Whether everything published so far is joined, evaluated, decided and stored."""
        return bool(self._ask(self._idle()))

    def caught_up(self) -> bool:
        """The same, without waiting for the last windows to be judged: the topics between the agents hold nothing unread."""
        return bool(self._ask(self._idle(quiet=False)))

    def status(self) -> Status:
        """How it fares; raises why it crashed, or when it does not answer."""
        app, verbs = self._app, self._verbs
        if app is None or verbs is None:
            if self.crashed:
                raise self.crashed
            return Status(False, f"reading {self._topics.models}")

        async def tell() -> Status:
            return status_of(app, verbs, self._topics)

        told: Status = self._ask(tell(), PATIENCE_S)
        return told

    def progress(self) -> dict[tuple[str, int], int]:
        """(topic, partition) → the next position of the source topics."""
        verbs = self._verbs
        return {(tp.topic, tp.partition): position for tp, position in verbs.ingest.start_positions().items()} if verbs else {}

    def _ask(self, question: Coroutine[Any, Any, Any], patience_s: float = 30.0) -> Any:
        if self.crashed:
            raise self.crashed
        assert self._loop is not None
        try:
            return asyncio.run_coroutine_threadsafe(question, self._loop).result(patience_s)
        except TimeoutError:
            raise RuntimeError(f"it has been busy for {patience_s:.0f} s") from None
        except (CancelledError, RuntimeError) as error:  # its loop, or its consumer's, ended while it was asked
            if isinstance(error, RuntimeError) and not (self._app and self._app.crashed):
                raise
            self._thread.join(30)
            raise self.crashed or RuntimeError("the worker was stopped") from None

    async def _idle(self, quiet: bool = True) -> bool:
        """Upstream first: what is settled there can bring nothing new downstream, so the order of asking makes the answer hold."""
        assert self._app is not None and self._verbs is not None
        consumer: Any = self._app.consumer
        ours = [tp for tp in consumer.assignment() if not tp.topic.endswith("-changelog")]
        topics, verbs = self._topics, self._verbs

        async def ends(*names: str) -> dict[TP, int]:
            chosen = [tp for tp in ours if tp.topic in names]
            return {TP(*tp): end or 0 for tp, end in (await consumer.highwaters(*chosen)).items()} if chosen else {}

        if not verbs.ingest.settled(await ends(topics.predictions, topics.outcomes), quiet):
            return False
        stages: list[tuple[Mapping[TP, int], tuple[str, ...]]] = [
            (verbs.evaluate.positions.done, (topics.panes,)),
            (verbs.decide.positions.done, (topics.results,)),
            (verbs.store.positions.done, (topics.results, topics.alerts, topics.retrain, topics.dead_letters, topics.models)),
        ]
        for done, names in stages:
            for tp, end in (await ends(*names)).items():
                if done.get(tp, 0) < end:  # a fetch position says nothing: it may wait in a queue
                    return False
        return True

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # told to whoever waits; a thread has nobody to raise to
            self.crashed = self.crashed or error
            log.critical("the worker ended: %s", error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        registry = Registry(self._models)
        reader = ModelsReader(self._topics.models, registry, connection(self._kafka))
        await reader.start()
        try:
            with TemporaryDirectory(prefix="driftline-") as folder:
                await self._run_app(registry, reader, folder)
        finally:
            await reader.stop()

    async def _run_app(self, registry: Registry, reader: ModelsReader, folder: str) -> None:
        app = self._app = application(self._kafka, self._topics.prefix, self._partitions, self._timing, folder)
        ingest, evaluate, decide, store = (State(app, name, self._partitions) for name in ("ingest", "evaluate", "decide", "store"))
        states = (ingest, evaluate, decide, store)
        identities = partial(topic_ids, self._kafka, self._topics)
        audit = Audit(self._sink, "worker")
        wiring = Wiring(
            app, self._topics, self._partitions, registry, reader, *states, self._timing.flush_s, self._breaker, audit, identities,
            self._hot_rows,
        )  # fmt: skip
        self._verbs = build(app, wiring, self._sink, Cold(Waiting(self._store), registry), self._ready.set)

        @app.timer(TRIM_S, name="trim")  # type: ignore[untyped-decorator]
        async def give_back() -> None:
            await asyncio.to_thread(self._allocator.trim)

        await app.start()
        kernels.prepare()
        audit("worker.started", self._topics.prefix, f"driftline {version('driftline')}, breaker {'on' if self._breaker else 'off'}")
        while not self._stop.is_set() and not app.crashed and not reader.failure:
            await asyncio.sleep(0.1)
        if app.crashed:
            self.crashed = app.crash_reason or RuntimeError("the worker crashed; see the log")
        elif reader.failure:
            self.crashed = RuntimeError(f"{self._topics.models} can no longer be followed: {reader.failure!r}")
        else:
            await self._verbs.ingest.flush(everything=True)
            await self._verbs.evaluate.rest()
        await app.stop()
        audit("worker.crashed" if self.crashed else "worker.stopped", self._topics.prefix, str(self.crashed or ""))
        await asyncio.to_thread(audit.close)
