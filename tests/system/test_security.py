"""TLS, a login and access lists, end to end: the worker's user may do what the worker does, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kafka_node
import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from driftline.schemas.topics import Topics

pytestmark = pytest.mark.kafka

USERS = {"admin": "adm1n-s3cret", "worker": "w0rker-s3cret", "service": "serv1ce-s3cret"}
LOGINS = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
PROPERTIES = f"""
listeners=SASL_SSL://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=SASL_SSL://127.0.0.1:{{port}}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="admin" password="{USERS["admin"]}" {LOGINS};
ssl.keystore.type=PKCS12
ssl.truststore.type=PEM
ssl.keystore.password=keystore
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
"""


@pytest.fixture(scope="module")
def keystore(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The broker's key, and the certificate that clients trust."""
    if kafka.java is None:
        pytest.skip("only a broker of the fixture's own may be given a key")
    directory = tmp_path_factory.mktemp("keys")
    store, certificate = directory / "broker.p12", directory / "broker.pem"
    beside = Path(shutil.which(kafka.java) or kafka.java).resolve().with_name("keytool")
    keytool = [
        str(beside) if beside.exists() else "keytool",
        "-noprompt",
        "-alias",
        "kafka",
        "-keystore",
        str(store),
        "-storepass",
        "keystore",
    ]
    names = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true"]
    subprocess.run([*keytool, "-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", *names], check=True, capture_output=True, timeout=60)
    subprocess.run([*keytool, "-exportcert", "-rfc", "-file", str(certificate)], check=True, capture_output=True, timeout=60)
    return store, certificate


@pytest.fixture(scope="module")
def secured(keystore: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_node.Node]:
    """A broker that lets nobody in without a login."""
    places = f"ssl.keystore.location={keystore[0]}\nssl.truststore.location={keystore[1]}\n"
    node = kafka_node.start(tmp_path_factory.mktemp("secured"), properties=PROPERTIES + places)
    yield node
    node.stop()


def properties(user: str, certificate: Path) -> dict[str, str]:
    return {
        "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": USERS[user],
        "ssl.ca.location": str(certificate),
    }  # fmt: skip


def variables(user: str, password: str, certificate: Path) -> dict[str, str]:
    return {
        "DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "DRIFTLINE_KAFKA_SASL_MECHANISM": "PLAIN",
        "DRIFTLINE_KAFKA_USERNAME": user, "DRIFTLINE_KAFKA_PASSWORD": password, "DRIFTLINE_KAFKA_CA": str(certificate),
    }  # fmt: skip


def grant(client: dict[str, Any], user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    admin = AdminClient(client)
    about = (ResourcePatternType.LITERAL, f"User:{user}", "*")
    wanted = [AclBinding(kind, name, *about, operation, AclPermissionType.ALLOW) for operation in operations]
    for future in admin.create_acls(wanted).values():
        future.result(30)


def let_work(client: dict[str, Any], topics: Topics) -> None:
    """What a worker needs, and a service."""
    read, write, look = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS
    sources = {topics.predictions, topics.outcomes}
    for topic in topics.table(1):
        grant(client, "worker", ResourceType.TOPIC, topic.name, read, look, *([] if topic.name in sources else [write]))
    grant(client, "worker", ResourceType.GROUP, topics.prefix, read)
    for name in sources:
        grant(client, "service", ResourceType.TOPIC, name, write)


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any], secured: kafka_node.Node, keystore: tuple[Path, Path]) -> Any:
    certificate = keystore[1]
    login = variables("worker", USERS["worker"], certificate)
    made = make_site(secured.bootstrap, client=properties("admin", certificate), login=login).prepare()
    let_work(made.client, made.topics)
    made.client |= properties("service", certificate)
    return made


def test_a_worker_counts_what_a_service_publishes_each_with_its_own_login(site: Any, until: Any) -> None:
    worker = site.worker()
    site.publish(200)
    until(lambda: site.query("SELECT sum(n) AS n FROM performance_panes FINAL WHERE segment = ''")[0]["n"] == 200)
    assert site.query("SELECT count() AS n FROM v_drift WHERE n_reference > 0")[0]["n"] > 0
    assert worker.terminate() == 0


def test_the_worker_s_login_cannot_publish_events(site: Any, keystore: tuple[Path, Path]) -> None:
    producer = Producer({**site.client, **properties("worker", keystore[1])})
    told: list[KafkaError | None] = []
    producer.produce(site.topics.predictions, b"{}", on_delivery=lambda error, _: told.append(error))
    producer.flush(20)
    assert [error.code() for error in told if error] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_a_wrong_password_is_refused_and_not_told(site: Any, keystore: tuple[Path, Path]) -> None:
    site.environment |= variables("worker", "wr0ng-s3cret", keystore[1])
    refused = site.worker()
    assert refused.end() == 2
    assert "[kafka_login]" in refused.said
    assert "DRIFTLINE_KAFKA_PASSWORD" in refused.said
    assert not any(secret in process.said for process in site.processes for secret in ("wr0ng-s3cret", *USERS.values()))


def test_a_certificate_that_is_not_trusted_is_refused(site: Any, keystore: tuple[Path, Path]) -> None:
    trusting = variables("worker", USERS["worker"], keystore[1])
    site.environment |= {name: value for name, value in trusting.items() if name != "DRIFTLINE_KAFKA_CA"} | {"DRIFTLINE_KAFKA_CA": ""}
    refused = site.worker()
    assert refused.end() == 2
    assert "[kafka_login]" in refused.said
    assert "DRIFTLINE_KAFKA_CA" in refused.said
