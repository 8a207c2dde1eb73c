"""Where everything is: addresses and credentials, from the environment, the same for every command.

Any `DRIFTLINE_X` may be given as `DRIFTLINE_X_FILE`, the path of a file with the value in it, as orchestrators hand out secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from driftline.schemas.errors import DriftlineError
from driftline.schemas.topics import Topics

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_STORES: Final = ("chdb", "http", "https")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """How to speak to the brokers; the default is plain text without a login."""

    protocol: str = "PLAINTEXT"
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. An empty address is an error only for the command that needs it.

    >>> Settings.from_environment({"DRIFTLINE_KAFKA": "localhost:9092"}).kafka_client()
    {'bootstrap.servers': 'localhost:9092', 'security.protocol': 'PLAINTEXT'}
    >>> Settings(clickhouse="http://reader:secret@store:8123/drift")
    Settings(kafka='', clickhouse='http://reader:***@store:8123/drift', parquet='', models='', prefix='driftline')
    """

    kafka: str = ""
    clickhouse: str = ""
    parquet: str = ""
    models: str = ""
    prefix: str = "driftline"
    security: KafkaSecurity = KafkaSecurity()
    token: str = field(default="", repr=False)  # that whoever asks a worker how it fares must send

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        store = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.clickhouse)
        places = f"clickhouse={store!r}, parquet={self.parquet!r}"
        return f"Settings(kafka={self.kafka!r}, {places}, models={self.models!r}, prefix={self.prefix!r})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the `DRIFTLINE_…` variables; raises `DriftlineError` that names the variable and what it may be."""

        def value(name: str, default: str = "") -> str:
            return _value(environment, f"DRIFTLINE_{name}") or default

        return cls(
            kafka=value("KAFKA"),
            clickhouse=value("CLICKHOUSE"),
            parquet=value("PARQUET"),
            models=value("MODELS"),
            prefix=value("PREFIX", "driftline"),
            security=KafkaSecurity(
                protocol=value("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT").upper(),
                mechanism=value("KAFKA_SASL_MECHANISM").upper(),
                username=value("KAFKA_USERNAME"),
                password=value("KAFKA_PASSWORD"),
                ca_file=value("KAFKA_CA"),
            ),
            token=value("TOKEN"),
        )

    def kafka_client(self) -> dict[str, Any]:
        """Properties of any librdkafka client: addresses and security."""
        security = self.security
        properties = {
            "bootstrap.servers": _needed(self.kafka, "KAFKA", "the address of a broker, for example localhost:9092"),
            "security.protocol": security.protocol,
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.username,
            "sasl.password": security.password,
            "ssl.ca.location": security.ca_file,
        }
        return {name: value for name, value in properties.items() if value}

    def store(self) -> str:
        """The address of ClickHouse, as clickhouse-connect reads it."""
        return _needed(self.clickhouse, "CLICKHOUSE", "http://user:password@host:8123/database, or chdb:///directory for the embedded one")

    def kept_store(self) -> str:
        """The same, for a command that only asks: an embedded one must be there already, and is not made by asking for it."""
        address = self.store()
        place = urlsplit(address)
        if place.scheme == "chdb" and place.path and not Path(unquote(place.path)).is_dir():
            fix = "correct the directory; `driftline migrate` makes a new store, `driftline replay --store` and `demo --store` fill one"
            raise _wrong(f"DRIFTLINE_CLICKHOUSE names {place.path}, and there is no such directory", fix)
        return address

    def models_directory(self) -> Path:
        """The directory of the model files."""
        return Path(_needed(self.models, "MODELS", "the directory with one TOML file per model"))

    def topics(self) -> Topics:
        """The names of the topics."""
        return Topics(self.prefix)


def _value(environment: Mapping[str, str], name: str) -> str:
    value, file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and file:
        raise _wrong(f"{name} and {name}_FILE are both set", "keep one of them")
    if not file:
        return value.strip()
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"{name}_FILE names a file that cannot be read: {error}", "mount the file, or correct the path") from error


def _check(settings: Settings) -> None:
    security = settings.security
    for address in filter(None, settings.kafka.split(",")):
        if not re.fullmatch(r"\s*([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}\s*", address):
            raise _wrong(f"DRIFTLINE_KAFKA has {address!r}, which is not host:port", "write host:port, several with commas between them")
    if settings.clickhouse and urlsplit(settings.clickhouse).scheme not in _STORES:
        raise _wrong("DRIFTLINE_CLICKHOUSE has an unknown scheme", f"begin it with one of {', '.join(s + '://' for s in _STORES)}")
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,200}", settings.prefix):
        raise _wrong(
            f"DRIFTLINE_PREFIX is {settings.prefix!r}", "use letters, digits, '.', '_' and '-' only, at most 200: Kafka allows no others"
        )
    if security.protocol not in _PROTOCOLS:
        raise _wrong(f"DRIFTLINE_KAFKA_SECURITY_PROTOCOL is {security.protocol!r}", f"use one of {', '.join(_PROTOCOLS)}")
    if security.protocol.startswith("SASL") and security.mechanism not in _MECHANISMS:
        raise _wrong(f"DRIFTLINE_KAFKA_SASL_MECHANISM is {security.mechanism!r}", f"use one of {', '.join(_MECHANISMS)}")
    if security.protocol.startswith("SASL") and not (security.username and security.password):
        raise _wrong("SASL needs a login", "set DRIFTLINE_KAFKA_USERNAME and DRIFTLINE_KAFKA_PASSWORD, or DRIFTLINE_KAFKA_PASSWORD_FILE")
    if security.ca_file and not Path(security.ca_file).is_file():
        raise _wrong(f"DRIFTLINE_KAFKA_CA names no file: {security.ca_file}", "give the path of the PEM file of the brokers' authority")


def _needed(value: str, name: str, what: str) -> str:
    if not value:
        raise _wrong(f"DRIFTLINE_{name} is not set", f"set it to {what}")
    return value


def _wrong(problem: str, fix: str) -> DriftlineError:
    return DriftlineError("settings", problem, fix)
