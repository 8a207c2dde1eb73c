"""A worker's small HTTP endpoint: `/healthz`, `/readyz` and, for Prometheus, `/metrics`.

It answers one question after another, each within a bounded time, and listens on loopback unless it is given a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from driftline.schemas.errors import DriftlineError
from driftline.streams.status import Status

_PATIENCE_S: Final = 5.0  # for a client that connects and says nothing


class Endpoint:
    """Serves what `ask` tells, in a thread of its own, until `stop`.

    Parameters
    ----------
    ask
        Tells how the worker fares; raises when it has crashed or does not answer.
    host, port
        Where to listen; port 0 chooses a free one, `port` tells which.
    token
        Whoever asks must send it as `Authorization: Bearer …`; needed where `host` is not loopback.

    Raises
    ------
    DriftlineError
        `endpoint` where it would be open to anybody, or the address cannot be had.
    """

    def __init__(self, ask: Callable[[], Status], host: str, port: int, token: str = "") -> None:
        if not token and not _is_loopback(host):
            raise DriftlineError(
                "endpoint", f"the endpoint would answer anybody who reaches {host}", "set DRIFTLINE_TOKEN, or listen on 127.0.0.1"
            )
        metrics = CollectorRegistry(auto_describe=False)
        metrics.register(_Figures(ask))
        try:
            self._server = HTTPServer((host, port), _handler(ask, lambda: generate_latest(metrics), token))
        except OSError as error:
            raise DriftlineError("endpoint", f"{host}:{port} cannot be listened on: {error}", "choose another --port") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_PATIENCE_S)


class _Figures:
    """Prometheus asks this for every scrape."""

    def __init__(self, ask: Callable[[], Status]) -> None:
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        status = self._ask()
        yield GaugeMetricFamily("driftline_ready", "1 when the state is recovered", value=int(status.ready))
        lag = GaugeMetricFamily("driftline_lag_records", "Records of a partition that are not processed yet", labels=["topic", "partition"])
        for (topic, partition), behind in sorted(status.lag.items()):
            lag.add_metric([topic, str(partition)], behind)
        yield lag
        records = CounterMetricFamily("driftline_records", "Records of the source topics by what became of them", labels=["what"])
        for what, n in sorted(status.counters.items()):
            records.add_metric([what], n)
        yield records
        yield SummaryMetricFamily(
            "driftline_flush_seconds", "Time to make panes durable", count_value=status.flushes, sum_value=status.flush_seconds
        )


def _handler(ask: Callable[[], Status], metrics: Callable[[], bytes], token: str) -> type[BaseHTTPRequestHandler]:
    wanted = f"Bearer {token}".encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S

        def do_GET(self) -> None:
            if token and not hmac.compare_digest(self.headers.get("Authorization", "").encode("utf-8", "replace"), wanted):
                self._answer(401, "send the token as `Authorization: Bearer …`")
            elif self.path not in ("/healthz", "/readyz", "/metrics"):
                self._answer(404, "ask for /healthz, /readyz or /metrics")
            else:
                self._tell()

        def _tell(self) -> None:
            try:
                if self.path == "/metrics":
                    self._answer(200, metrics().decode())
                    return
                status = ask()
            except Exception as error:  # it has crashed, or its event loop does not answer: that is what is asked here
                self._answer(503, f"the worker does not answer: {error}")
                return
            self._answer(200 if status.ready or self.path == "/healthz" else 503, status.progress)

        def _answer(self, code: int, text: str) -> None:
            body = text.rstrip("\n").encode() + b"\n"
            self.send_response(code)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes are not worth a line each."""

    return Handler


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
