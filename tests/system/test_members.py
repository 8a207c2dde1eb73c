"""Workers that join, leave, die and are paused while events flow: the tables equal a recount of the raw events."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from typing import Any

import pytest
from counted import PARTITIONS

pytestmark = pytest.mark.kafka


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, str]:
    """What a worker's endpoint answers; (0, "") while it does not listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_one_worker_then_three_then_one_again_while_events_flow(site: Any, until: Any) -> None:
    port = free_port()
    site.prepare()
    first = site.worker("--port", str(port))
    answers: list[tuple[int, str]] = []
    with site.flowing(1):

        def is_ready() -> bool:
            answers.append(ask(port, "/readyz"))
            return answers[-1][0] == 200

        until(is_ready)
        others = [site.worker(), site.worker()]
        until(lambda: all("ready:" in other.said for other in others) and first.owns + sum(other.owns for other in others) == PARTITIONS)
        assert first.owns < PARTITIONS
        for other in others:
            assert other.terminate() == 0
        until(lambda: first.owns == PARTITIONS and ask(port, "/readyz")[0] == 200)
    site.settle()
    assert {code for code, _ in answers} <= {0, 200, 503}
    assert answers[-1][1].startswith("ready: 4 source partitions")
    counted = re.search(r'^driftline_records_total\{what="consumed"\} (\S+)$', ask(port, "/metrics")[1], re.MULTILINE)
    assert counted and float(counted[1]) == site.written(".predictions") + site.written(".outcomes")
    assert first.terminate() == 0


def test_a_worker_that_stood_by_takes_over_without_reading_everything_back(site: Any, until: Any) -> None:
    first = site.prepare().worker().ready()
    for seed in range(5):
        site.publish(500, seed)
        site.settle()
    second = site.worker()
    until(lambda: first.owns == second.owns == 2)
    site.publish(50, seed=5)
    site.settle()
    whole = site.written("-changelog")
    first.popen.kill()
    site.publish(500, seed=6)
    until(lambda: second.owns == 4)
    site.settle()
    took = int(re.findall(r"took (\d+) records to read back", second.said)[-1])
    assert took < whole / 3


def test_a_worker_that_wakes_up_after_its_session_has_ended_spoils_nothing(site: Any, until: Any) -> None:
    site.prepare()
    with site.flowing(3):
        paused = site.worker().ready()
        other = site.worker()
        until(lambda: paused.owns == other.owns == 2)
        paused.popen.send_signal(signal.SIGSTOP)
        until(lambda: other.owns == 4)
        paused.popen.send_signal(signal.SIGCONT)
        until(lambda: other.owns == 2 and paused.owns == 2)
    site.settle()
