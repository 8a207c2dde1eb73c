"""The endpoint tells how a worker fares, to whom it may."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from driftline.endpoint import Endpoint
from driftline.schemas.errors import DriftlineError
from driftline.streams.status import Status

READY = Status(True, "ready: 4 source partitions", {("p", 0): 3, ("p", 1): 0}, {"accepted": 7, "late": 2}, 5, 0.25)


@contextmanager
def serving(ask: Callable[[], Status], token: str = "") -> Iterator[Callable[..., tuple[int, str]]]:
    endpoint = Endpoint(ask, "127.0.0.1", 0, token)

    def get(path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    try:
        yield get
    finally:
        endpoint.stop()


def test_a_worker_that_recovers_lives_but_is_not_ready_and_says_how_far_it_is() -> None:
    with serving(lambda: replace(READY, ready=False, progress="reading back the tables: 3 of 9 records")) as get:
        assert get("/healthz") == (200, "reading back the tables: 3 of 9 records\n")
        assert get("/readyz") == (503, "reading back the tables: 3 of 9 records\n")
        assert "\ndriftline_ready 0.0\n" in get("/metrics")[1]


def test_a_worker_that_has_recovered_is_ready() -> None:
    with serving(lambda: READY) as get:
        assert get("/readyz") == get("/healthz") == (200, "ready: 4 source partitions\n")


def test_a_worker_that_does_not_answer_is_not_healthy() -> None:
    def ask() -> Status:
        raise RuntimeError("it has been busy for 5 s")

    with serving(ask) as get:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert get(path) == (503, "the worker does not answer: it has been busy for 5 s\n")


def test_prometheus_reads_lag_records_and_flushes() -> None:
    with serving(lambda: READY) as get:
        code, text = get("/metrics")
    assert code == 200
    told = {line for line in text.splitlines() if not line.startswith("#")}
    assert told == {
        "driftline_ready 1.0", 'driftline_lag_records{partition="0",topic="p"} 3.0', 'driftline_lag_records{partition="1",topic="p"} 0.0',
        'driftline_records_total{what="accepted"} 7.0', 'driftline_records_total{what="late"} 2.0',
        "driftline_flush_seconds_count 5.0", "driftline_flush_seconds_sum 0.25",
    }  # fmt: skip


def test_with_a_token_nobody_is_told_anything_without_it() -> None:
    with serving(lambda: READY, "s3cret") as get:
        assert get("/metrics")[0] == get("/readyz", Authorization="Bearer s3cre")[0] == get("/healthz", Authorization="s3cret")[0] == 401
        assert get("/readyz", Authorization="Bearer s3cret")[0] == 200


def test_another_path_is_not_found() -> None:
    with serving(lambda: READY) as get:
        assert get("/")[0] == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", ""])
def test_an_address_that_others_reach_is_refused_without_a_token(host: str) -> None:
    with pytest.raises(DriftlineError, match="set DRIFTLINE_TOKEN, or listen on"):
        Endpoint(lambda: READY, host, 0)


def test_a_port_that_is_taken_is_an_error_with_a_fix() -> None:
    first = Endpoint(lambda: READY, "127.0.0.1", 0)
    try:
        with pytest.raises(DriftlineError, match="choose another --port"):
            Endpoint(lambda: READY, "127.0.0.1", first.port)
    finally:
        first.stop()
