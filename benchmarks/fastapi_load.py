"""What publishing does to the latency of a web service: two FastAPI services side by side, one with the SDK and one without.

    python benchmarks/fastapi_load.py [ROUNDS] [REQUESTS]       needs the packages of the extra `bench`

Both answer the same request, 25 features in and a score out. A client asks at a steady rate, whether the answers come or not, the two
services in turn, round by round; what counts is the median over the rounds of each round's p99. The services share the worker's core,
the broker and the client are on the others. The broker's work delays the client there, whoever publishes; so the service with the SDK is
compared with the one without it while another process publishes the same events.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any

import aiohttp
import numpy as np

from driftline import Publisher
from driftline.schemas.topics import Topics
from driftline.streams.transport.embedded import EmbeddedBroker

FEATURES = {f"feature_{i}": 0.123456 * i for i in range(20)} | {f"category_{i}": "some" for i in range(5)}
RATE = 200  # requests a second
BROKER = "BENCH_BROKER"  # in the environment of a service that publishes
TOPICS = Topics("bench-service")
START_S = 30.0
TOGETHER = 4  # rounds with the same processes
PAUSE_S = 0.1  # of the process that publishes beside a service


def application() -> Any:
    """The service; uvicorn calls this in a process of its own."""
    from fastapi import FastAPI

    app, broker = FastAPI(), os.environ.get(BROKER)
    publisher = Publisher(broker, model="churn", version="7", topics=TOPICS) if broker else None

    @app.post("/predict")
    async def predict(features: dict[str, float | str]) -> dict[str, float]:
        numbers = [value for value in features.values() if isinstance(value, float)]
        score = 1 / (1 + math.exp(-sum(numbers) / 100))
        if publisher:
            publisher.predicted(features, int(score > 0.5), score=score)
        return {"score": score}

    return app


def load(bootstrap: str, rounds: int, requests: int) -> dict[str, float | int]:
    """The part `service` of the results, in milliseconds, on a broker that has the topics.

    Three rounds belong together: without the SDK, the same while another process publishes, and with the SDK. `broker_p99_ms` is the
    median of the differences between the first two, `added_p99_ms` between the last two. `noise_p99_ms` is how far neighbouring rounds
    without the SDK lie apart, the median too.
    """
    return asyncio.run(_load(bootstrap, rounds, requests))


async def _load(bootstrap: str, rounds: int, requests: int) -> dict[str, float | int]:
    found: dict[str, list[float]] = {"without": [], "beside": [], "with": []}
    with _publishing(bootstrap) as beside:
        for number in range(0, rounds, TOGETHER):
            with _service("") as plain, _service(bootstrap) as publishing:  # new ones: a process may be luckier than its like
                async with aiohttp.ClientSession(raise_for_status=True) as client:
                    for url in (plain, publishing):
                        await _answers(client, url)
                        await _round(client, url, RATE)  # warm-up
                    services = {"without": plain, "beside": plain, "with": publishing}
                    for each in range(min(TOGETHER, rounds - number)):
                        for name in list(found)[:: 1 if each % 2 else -1]:
                            if name == "beside":
                                beside.set()
                            found[name].append(float(np.quantile(await _round(client, services[name], requests), 0.99) * 1000))
                            beside.clear()
    without, near, published = (np.array(each) for each in found.values())
    return {
        "p99_without_ms": float(np.median(without)), "p99_with_ms": float(np.median(published)),
        "added_p99_ms": float(np.median(published - near)), "broker_p99_ms": float(np.median(near - without)),
        "noise_p99_ms": float(np.median(np.abs(np.diff(without)))),
        "rounds": rounds, "requests": requests, "requests_per_second": RATE,
    }  # fmt: skip


@contextmanager
def _publishing(bootstrap: str) -> Iterator[Event]:
    """A process that publishes what the service would, as long as the event is set. It wakes seldom, not to take the client's time."""
    spawn = get_context("spawn")
    go = spawn.Event()
    process = spawn.Process(target=_publish, args=(bootstrap, go), daemon=True)
    process.start()
    try:
        yield go
    finally:
        process.kill()
        process.join()


def _publish(bootstrap: str, go: Event) -> None:
    publisher = Publisher(bootstrap, model="churn", version="7", topics=TOPICS)
    while go.wait():
        for _ in range(round(RATE * PAUSE_S)):
            publisher.predicted(FEATURES, 1, score=0.5)
        time.sleep(PAUSE_S)


async def _round(client: aiohttp.ClientSession, url: str, requests: int) -> list[float]:
    """Seconds each answer took, from the moment its request was due."""

    async def ask(due: float) -> float:
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        await _ask(client, url)
        return time.perf_counter() - due

    begin = time.perf_counter() + 0.1
    return list(await asyncio.gather(*(ask(begin + k / RATE) for k in range(requests))))


async def _ask(client: aiohttp.ClientSession, url: str) -> None:
    async with client.post(url, json=FEATURES) as answer:
        await answer.read()


async def _answers(client: aiohttp.ClientSession, url: str) -> None:
    """Wait until the service is there."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            await _ask(client, url)
            return
        except aiohttp.ClientConnectionError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


@contextmanager
def _service(broker: str) -> Iterator[str]:
    """A running service; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "fastapi_load:application", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), BROKER: broker}
    process = subprocess.Popen(command, env=environment)
    os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(os.getppid()))})
    try:
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    rounds, requests = (int(text) for text in [*sys.argv[1:], "5", "1000"][:2])
    with EmbeddedBroker() as broker:
        broker.create_topics(TOPICS.table(4))
        for name, value in load(broker.bootstrap, rounds, requests).items():
            print(f"{value:10.2f} {name}")


if __name__ == "__main__":
    main()
