"""ClickHouse's HTTP protocol in front of the embedded engine, in a process of its own, with faults to order.

    python scripts/clickhouse_gateway.py DIRECTORY PORT PASSWORD        prints the port, then serves until it is ended

The real client speaks to the real engine through it. Tests hold a `Gateway`. `POST /faults` takes a JSON list: the next inserts
meet one each, and one with {"token": "…"} only an insert whose token begins so; `GET /faults` lists those that nothing has met yet.
`GET /inserts` lists every insert that reached the engine, as (token, rows written, when the engine had them: seconds, monotonic).

    {"code": 241}          answer with this error instead of inserting
    {"status": 503}        answer as a proxy that has lost the server
    {"drop": "before"}     hang up without inserting
    {"drop": "after"}      insert, then hang up
    {"half": true}         insert half of the rows and report success
    {"slow_s": 0.2}        take so long to insert
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit
from urllib.request import Request, urlopen

import chdb
import pyarrow as pa

#: What is in the address and no setting of the engine.
TRANSPORT = {
    *("query", "query_id", "database", "default_format", "compress", "decompress", "wait_end_of_query", "buffer_size"),
    *("client_protocol_version", "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
}
connect: Any = chdb.connect  # chdb's own annotations come and go with its versions
INSERT = re.compile(rb"\s*INSERT\s+INTO\s+(?P<target>.+?)\s+FORMAT\s+Arrow\s*\n", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)
STATUS = {60: 404, 81: 404, 164: 403, 497: 403, 516: 401}


@dataclass
class Gateway:
    """The process, as seen by a test: it can be ended, started again on its port, and told to fail."""

    directory: Path
    password: str
    port: int = 0
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self) -> Self:
        command = [sys.executable, __file__, str(self.directory), str(self.port), self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.communicate(timeout=20)

    def dsn(self, database: str, options: str = "", password: str | None = None) -> str:
        return f"http://writer:{quote(password or self.password, safe='')}@127.0.0.1:{self.port}/{database}{options}"

    def fail(self, *faults: Mapping[str, object]) -> None:
        """What the next inserts meet, one each."""
        with urlopen(Request(f"http://127.0.0.1:{self.port}/faults", json.dumps(faults).encode()), timeout=10):
            pass

    def faults(self) -> list[dict[str, object]]:
        """What was ordered and nothing has met yet."""
        with urlopen(f"http://127.0.0.1:{self.port}/faults", timeout=10) as answer:
            return list(json.load(answer))

    def inserts(self, about: str) -> list[tuple[str, int]]:
        """Token and rows written of every insert that reached the engine and whose token begins with `about`."""
        return [(token, rows) for token, rows, _ in self._inserts() if token.startswith(about)]

    def stored(self, about: str) -> list[tuple[str, float]]:
        """Their tokens and the moments from which on whoever asks sees their rows; seconds on the monotonic clock of this machine."""
        return [(token, at_s) for token, _, at_s in self._inserts() if token.startswith(about)]

    def _inserts(self) -> list[tuple[str, int, float]]:
        with urlopen(f"http://127.0.0.1:{self.port}/inserts", timeout=10) as answer:
            return [(token, rows, at_s) for token, rows, at_s in json.load(answer)]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory: str, port: int, password: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory
        self.login = "Basic " + base64.b64encode(f"writer:{password}".encode()).decode()
        self.engine = connect(directory)  # stays open, so that the engine does
        self.order = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.inserts: list[tuple[str, int, float]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path in {"/inserts", "/faults"}:
            self.reply(200, json.dumps(getattr(self.server, self.path[1:])).encode())
        else:
            self.serve(b"")

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/faults":
            self.server.faults = json.loads(body)
            self.reply(200, b"")
        else:
            self.serve(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def serve(self, body: bytes) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), self.server.login):
            self.fail("Code: 516. DB::Exception: writer: Authentication failed. (AUTHENTICATION_FAILED)")
            return
        handle = connect(self.server.directory)  # its database and settings are its own, so that inserts can run side by side
        try:
            self.run(handle, parameters, b"\n".join(filter(None, (parameters.get("query", "").encode(), body))))
        except ConnectionError:  # whoever asked is gone
            self.close_connection = True
        except Exception as error:  # the engine has one class for all of its errors, and it is no public one
            self.fail(str(error))
        finally:
            handle.close()

    def run(self, handle: Any, parameters: dict[str, str], statement: bytes) -> None:
        if "database" in parameters:
            handle.query(f"USE `{parameters['database']}`")
        for name, value in parameters.items():
            if name not in TRANSPORT and not name.startswith("param_"):
                handle.query(f"SET {name} = {quoted(value)}")
        if insert := INSERT.match(statement):
            self.insert(handle, insert["target"].decode(), statement[insert.end() :], parameters.get("insert_deduplication_token", ""))
            return
        text = statement.decode()
        form = FORMAT.search(text)
        name = form[1] if form else parameters.get("default_format", "TabSeparated")
        bound = {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")}
        self.reply(200, handle.query(text, name, params=bound).bytes() or b"", {"X-ClickHouse-Format": name})

    def insert(self, handle: Any, target: str, block: bytes, token: str) -> None:
        with self.server.order:
            fault: dict[str, Any] = next((fault for fault in self.server.faults if token.startswith(fault.get("token", ""))), {})
            if fault:
                self.server.faults.remove(fault)
        time.sleep(fault.get("slow_s", 0))
        if fault.get("half"):
            block = half(block)
        if "code" in fault:
            self.fail(f"Code: {fault['code']}. DB::Exception: this was ordered. (ORDERED)")
        elif "status" in fault:
            self.reply(fault["status"], b"the proxy has lost the server")
        elif fault.get("drop") == "before":
            self.close_connection = True
        else:
            written = write(handle, target, block)
            self.server.inserts.append((token, written, time.monotonic()))
            if fault.get("drop") == "after":
                self.close_connection = True
            else:
                self.reply(200, b"", {"X-ClickHouse-Summary": json.dumps({"written_rows": str(written)})})

    def fail(self, message: str) -> None:
        message = message[max(message.find("Code: "), 0) :]
        found = re.match(r"Code: (\d+)", message)
        code = int(found[1]) if found else 1000
        self.reply(STATUS.get(code, 500), message.encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"X-ClickHouse-Timezone": "UTC", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def write(handle: Any, target: str, block: bytes) -> int:
    """Rows written; the engine inside a process takes data from files only."""
    with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
        file.write(block)
        file.flush()
        return int(handle.query(f"INSERT INTO {target} FROM INFILE {quoted(file.name)} FORMAT Arrow").rows_read())


def half(block: bytes) -> bytes:
    table = pa.ipc.open_file(block).read_all()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.slice(0, table.num_rows // 2))
    return sink.getvalue().to_pybytes()


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


if __name__ == "__main__":
    server = Server(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    print(server.server_port, flush=True)
    server.serve_forever()
