"""The Docker stack, as far as it can be judged without Docker; `make check` holds it against the specification's schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from driftline.cli import COMMANDS
from driftline.schemas.load import load_models
from driftline.settings import Settings

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:\d+(\.\d+)+", SERVICES[name]["image"])


def test_the_base_image_is_pinned() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert images
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image) for image in images)


def test_ports_are_open_on_this_machine_only() -> None:
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


def test_every_service_of_ours_runs_a_command_there_is_with_settings_that_hold() -> None:
    ours = [service for service in SERVICES.values() if service["image"].startswith("driftline:")]
    assert {service["command"][0] for service in ours} == {"topics", "migrate", "worker", "generate"} <= COMMANDS.keys()
    for service in ours:
        environment = {name: re.sub(r"\$\{.*?\}", "secret", value) for name, value in service["environment"].items()}
        assert Settings.from_environment(environment).models_directory() == Path("/etc/driftline/models")


def test_no_secret_is_written_down() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert set(re.findall(r"PASSWORD: (.*)", text)) == {"${CLICKHOUSE_PASSWORD:?set CLICKHOUSE_PASSWORD}"}


def test_every_service_waits_for_what_it_needs() -> None:
    for service in SERVICES.values():
        for needed, when in service.get("depends_on", {}).items():
            if when["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed]


def test_the_models_that_it_mounts_are_in_order() -> None:
    assert "churn" in load_models(ROOT / "examples/models")
