"""Addresses and credentials from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.schemas.errors import DriftlineError
from driftline.settings import Settings

LOGIN = {
    "DRIFTLINE_KAFKA": "broker-1:9093,broker-2:9093",
    "DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "DRIFTLINE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "DRIFTLINE_KAFKA_USERNAME": "worker",
    "DRIFTLINE_KAFKA_PASSWORD": "hidden",
}


def test_nothing_is_needed_until_it_is_used() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.topics().predictions == "driftline.predictions"


@pytest.mark.parametrize(
    ("use", "name"), [("kafka_client", "DRIFTLINE_KAFKA"), ("store", "DRIFTLINE_CLICKHOUSE"), ("models_directory", "DRIFTLINE_MODELS")]
)
def test_an_address_that_is_used_and_missing_is_named(use: str, name: str) -> None:
    with pytest.raises(DriftlineError, match=f"{name} is not set"):
        getattr(Settings(), use)()


def test_every_address_comes_from_its_variable() -> None:
    environment = {
        "DRIFTLINE_CLICKHOUSE": "chdb:///data",
        "DRIFTLINE_PARQUET": "files",
        "DRIFTLINE_MODELS": "models",
        "DRIFTLINE_PREFIX": "team",
    }
    settings = Settings.from_environment(environment)
    assert (settings.store(), settings.models_directory(), settings.topics().panes) == ("chdb:///data", Path("models"), "team.panes")


def test_a_login_reaches_the_client() -> None:
    assert Settings.from_environment(LOGIN).kafka_client() == {
        "bootstrap.servers": "broker-1:9093,broker-2:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "worker",
        "sasl.password": "hidden",
    }


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n")
    environment = {**LOGIN, "DRIFTLINE_KAFKA_PASSWORD": "", "DRIFTLINE_KAFKA_PASSWORD_FILE": str(tmp_path / "password")}
    assert Settings.from_environment(environment).kafka_client()["sasl.password"] == "from a file"


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_environment({**LOGIN, "DRIFTLINE_CLICKHOUSE": "http://writer:hid:/den@store:8123/drift"})
    assert "hid" not in repr(settings) + repr(settings.security)
    assert "http://writer:***@store:8123/drift" in repr(settings)


@pytest.mark.parametrize(
    ("change", "problem", "fix"),
    [
        ({"DRIFTLINE_KAFKA": "broker"}, "'broker', which is not host:port", "write host:port"),
        ({"DRIFTLINE_KAFKA": "kafka://broker:9092"}, "which is not host:port", "write host:port"),
        ({"DRIFTLINE_CLICKHOUSE": "store:8123"}, "unknown scheme", "chdb://, http://, https://"),
        ({"DRIFTLINE_PREFIX": "a/b"}, "DRIFTLINE_PREFIX is 'a/b'", "letters, digits"),
        ({"DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "TLS"}, "SECURITY_PROTOCOL is 'TLS'", "SASL_SSL"),
        ({"DRIFTLINE_KAFKA_SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM is 'GSSAPI'", "SCRAM-SHA-512"),
        ({"DRIFTLINE_KAFKA_PASSWORD": ""}, "SASL needs a login", "DRIFTLINE_KAFKA_PASSWORD_FILE"),
        ({"DRIFTLINE_KAFKA_PASSWORD_FILE": "/x"}, "are both set", "keep one"),
        ({"DRIFTLINE_MODELS_FILE": "/nowhere/x"}, "cannot be read", "mount the file"),
        ({"DRIFTLINE_KAFKA_CA": "/nowhere/ca.pem"}, "names no file", "PEM"),
    ],
)
def test_a_mistake_names_its_variable_and_its_fix(change: dict[str, str], problem: str, fix: str) -> None:
    with pytest.raises(DriftlineError) as caught:
        Settings.from_environment({**LOGIN, **change})
    assert problem in caught.value.message
    assert fix in caught.value.fix


def test_asking_an_embedded_store_that_is_not_there_says_so_and_makes_none(tmp_path: Path) -> None:
    nowhere = Settings(clickhouse=f"chdb://{tmp_path}/nowhere")
    with pytest.raises(DriftlineError, match=r"nowhere, and there is no such directory"):
        nowhere.kept_store()
    assert not (tmp_path / "nowhere").exists()
    for address in (f"chdb://{tmp_path}?database=drift", "chdb://memory", "http://store:8123/drift"):
        assert Settings(clickhouse=address).kept_store() == address
