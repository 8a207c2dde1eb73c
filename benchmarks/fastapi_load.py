"""What publishing does to the latency of a web service: two FastAPI services side by side, one with the SDK and one without.

    python benchmarks/fastapi_load.py [ROUNDS] [REQUESTS]       needs the packages of the extra `bench`

Both answer the same request, 25 features in and a score out. A client asks at a steady rate, whether the answers come or not, the two
services in turn, round by round; what counts is the median over the rounds of each round's p99. The services share the worker's core,
the broker and the client are on the others.
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

    A round without the SDK and the one beside it make a pair: `added_p99_ms` is the median of their differences, and `noise_p99_ms` how
    far neighbouring rounds without it lie apart, the median too.
    """
    return asyncio.run(_load(bootstrap, rounds, requests))


async def _load(bootstrap: str, rounds: int, requests: int) -> dict[str, float | int]:
    found: dict[str, list[float]] = {"without": [], "with": []}
    with _service("") as plain, _service(bootstrap) as publishing:
        async with aiohttp.ClientSession(raise_for_status=True) as client:
            services = {"without": plain, "with": publishing}
            for url in services.values():
                await _answers(client, url)
                await _round(client, url, RATE)  # warm-up
            for number in range(rounds):
                order = ["without", "with"] if number % 2 else ["with", "without"]
                for name in order:
                    found[name].append(float(np.quantile(await _round(client, services[name], requests), 0.99) * 1000))
    without, published = np.array(found["without"]), np.array(found["with"])
    return {
        "p99_without_ms": float(np.median(without)), "p99_with_ms": float(np.median(published)),
        "added_p99_ms": float(np.median(published - without)), "noise_p99_ms": float(np.median(np.abs(np.diff(without)))),
        "rounds": rounds, "requests": requests, "requests_per_second": RATE,
    }  # fmt: skip


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
