"""Real Apache Kafka without Docker: KRaft nodes on loopback, from its Maven jars, on any Java from 17 on.

    python scripts/kafka_node.py fetch          the jars, once, into .cache/kafka/libs (54 MB)
    python scripts/kafka_node.py run [PORT]     a node that keeps its data in .cache/kafka/node; Ctrl-C ends it

Needs nothing but Python. The tests start a node of their own with `start`, or several that are one cluster with `start_cluster`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "kafka"
LIBS = CACHE / "libs"
START_S = 60
STOP_S = 15

_PROPERTIES = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={needed}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={needed}
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=200
"""


class Unavailable(Exception):
    """Kafka cannot run here; the message is one line that says what to install."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `libs` has the jars, with Kafka's own console tools in them."""

    bootstrap: str
    libs: Path
    java: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ask it to end, and end it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def java() -> str:
    """The command of a Java that can run Kafka: $DRIFTLINE_JAVA, $JAVA_HOME, or the first on the path."""
    home = os.environ.get("JAVA_HOME")
    command = os.environ.get("DRIFTLINE_JAVA") or shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    try:
        told = subprocess.run([command or "java", "-version"], capture_output=True, text=True, check=True, timeout=START_S).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)") from error
    version = re.search(r'version "(\d+)', told)
    if not version or int(version[1]) < 17:
        raise Unavailable(f"Java 17 or later is needed, and {command} is {told.splitlines()[0]}")
    return command or "java"


def fetch() -> Path:
    """The directory of the jars, filled through Maven when it is not there."""
    if not LIBS.is_dir():
        java()
        maven = shutil.which("mvn")
        if not maven:
            raise Unavailable("install Maven, to fetch Kafka's jars (Debian: apt-get install maven)")
        # Into another place first: a fetch that was cut off leaves no half-filled directory behind.
        partial = CACHE / f"partial-{os.getpid()}"
        arguments = ["-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        try:
            subprocess.run([maven, *arguments, f"-DoutputDirectory={partial}"], check=True, timeout=600, stdout=sys.stderr)
        except subprocess.SubprocessError as error:
            raise Unavailable("Maven could not fetch Kafka's jars: see its message above") from error
        partial.rename(LIBS)
    return LIBS


@dataclass(slots=True)
class Cluster:
    """Running nodes, each broker and controller; a partition has three copies and lives while two of them do."""

    directory: Path
    ports: list[tuple[int, int]]
    nodes: list[Node]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes)

    def restart(self, number: int) -> None:
        """Start a node that was stopped, with the data it had."""
        self.nodes[number] = _wait(_launch(self.directory, self.ports, number))

    def stop(self) -> None:
        """Ask all to end, and end them."""
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.stop()


def start_cluster(directory: Path, nodes: int = 3) -> Cluster:
    """Start nodes that are one cluster, whose data and logs are in `directory`; raises like `start`."""
    ports = [_free_ports() for _ in range(nodes)]
    launched = [_launch(directory, ports, number) for number in range(nodes)]
    return Cluster(directory, ports, [_wait(node) for node in launched])


def start(directory: Path, port: int | None = None, properties: str = "") -> Node:
    """Start a node whose data and log are in `directory`, and wait until it answers.

    Further `properties` win over those above; `{port}` and `{controller}` in them are the node's own.

    Raises
    ------
    Unavailable
        When Java or Maven is missing.
    RuntimeError
        When the node ends, or does not answer in a minute; with the end of its log.
    """
    free = _free_ports()
    return _wait(_launch(directory, [(port or free[0], free[1])], 0, properties))


def _launch(directory: Path, ports: list[tuple[int, int]], number: int, properties: str = "") -> tuple[Node, Path]:
    """A node that was told to start, and its log. `ports` are those of all nodes' brokers and controllers."""
    command, libs = java(), fetch()
    place = directory / f"node-{number}" if len(ports) > 1 else directory
    place.mkdir(parents=True, exist_ok=True)
    file, data, log = place / "server.properties", place / "data", place / "kafka.log"
    voters = ",".join(f"{i + 1}@127.0.0.1:{controller}" for i, (_, controller) in enumerate(ports))
    port, controller = ports[number]
    copies = min(len(ports), 3)
    file.write_text(
        (_PROPERTIES + properties).format(
            number=number + 1, voters=voters, port=port, controller=controller, data=data, copies=copies, needed=max(copies - 1, 1)
        )
    )
    jvm = [command, f"-Xmx{512 if len(ports) == 1 else 256}m", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*"]
    with log.open("ab") as out:
        if not data.is_dir():
            tool = [*jvm, "kafka.tools.StorageTool", "format", "-t", _cluster_id(directory), "-c", str(file)]
            subprocess.run(tool, stdout=out, stderr=out, check=True, timeout=START_S)
        process = subprocess.Popen([*jvm, "kafka.Kafka", str(file)], stdout=out, stderr=out)
    return Node(f"127.0.0.1:{port}", libs, command, process), log


def _wait(launched: tuple[Node, Path]) -> Node:
    node, log = launched
    port = int(node.bootstrap.rpartition(":")[2])
    for _ in range(START_S * 10):
        if node.process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return node
        time.sleep(0.1)
    node.stop()
    raise RuntimeError(f"Kafka did not start on port {port}; the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")


def _cluster_id(directory: Path) -> str:
    """The id that all nodes of a directory share."""
    file = directory / "cluster-id"
    if not file.exists():
        # Its first letter is ours: a leading "-" would be read as an option.
        file.write_text("K" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:])
    return file.read_text()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def main(arguments: list[str]) -> None:
    """The two commands of the module's docstring."""
    try:
        match arguments:
            case ["fetch"]:
                print(f"Kafka's jars are in {fetch()}")
            case ["run", *rest]:
                node = start(CACHE / "node", int(rest[0]) if rest else 9092)
                print(f"Kafka answers on {node.bootstrap}; Ctrl-C ends it.  export DRIFTLINE_KAFKA={node.bootstrap}", flush=True)
                try:
                    node.process.wait()
                except KeyboardInterrupt:
                    node.stop()
            case _:
                raise SystemExit(__doc__)
    except Unavailable as missing:
        raise SystemExit(f"Real Kafka cannot run here: {missing}") from missing


if __name__ == "__main__":
    main(sys.argv[1:])
