"""What a lab in containers has otherwise than docker-compose.yml."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import topology as topologies
from lab.render import compose
from lab.runtimes.compose.environment import instances_of, override_file, write_override
from lab.state import Lab
from lab.topology import PROJECT


@pytest.fixture
def overridden(tmp_path: Path) -> dict[str, Any]:
    """The services of the override of a lab with nothing special."""
    home = tmp_path / "47080"
    home.mkdir()
    topology = topologies.load()
    lab = Lab(
        47080, str(home), str(topology.path), time.time(), "t", "s", {}, {}, {}, runtime="compose"
    )
    write_override(lab, topology, instances_of(topology))
    services: dict[str, Any] = yaml.safe_load(override_file(home).read_text())["services"]
    return services


def test_the_engine_checks_only_what_compose_waits_for_or_the_lab_cannot_ask(
    overridden: dict[str, Any],
) -> None:
    services = yaml.safe_load((PROJECT / compose.FILE).read_text())["services"]
    asked = {
        name
        for name, service in services.items()
        if "healthcheck" in service
        and not overridden.get(name, {}).get("healthcheck", {}).get("disable")
    }
    waited_for = {
        each
        for service in services.values()
        if isinstance(service.get("depends_on"), dict)  # a list waits for a start only
        for each in service["depends_on"]
    }
    assert waited_for == {"postgres", "valkey", "nats"}
    assert waited_for <= asked
    assert asked - waited_for == {"fluentd"}, "each check is a program started every few seconds"


def test_what_the_override_names_is_in_the_file(overridden: dict[str, Any]) -> None:
    services = yaml.safe_load((PROJECT / compose.FILE).read_text())["services"]
    assert set(overridden) <= set(services)
