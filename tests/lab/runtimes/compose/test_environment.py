"""The differences of a lab in containers from docker-compose.yml."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import topology as topologies
from lab.render import compose
from lab.runtimes.compose.environment import instances_of, override_file, write_override
from lab.state import Lab
from lab.topology import PROJECT, STORES


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


def test_the_engine_repeats_no_readiness_check_of_the_lab(overridden: dict[str, Any]) -> None:
    services = yaml.safe_load((PROJECT / compose.FILE).read_text())["services"]
    asked = {
        name
        for name, service in services.items()
        if "healthcheck" in service
        and not overridden.get(name, {}).get("healthcheck", {}).get("disable")
    }
    assert asked == set(), "each check is a program started every few seconds"


def test_no_container_waits_for_a_disabled_health_check(overridden: dict[str, Any]) -> None:
    services = yaml.safe_load((PROJECT / compose.FILE).read_text())["services"]
    waits = {
        name: service["depends_on"] | overridden.get(name, {}).get("depends_on", {})
        for name, service in services.items()
        if isinstance(service.get("depends_on"), dict)  # a list waits for a start only
    }
    assert waits
    assert {each for service in waits.values() for each in service} == set(STORES)
    for name, service in waits.items():
        assert {each["condition"] for each in service.values()} == {"service_started"}, name


def test_the_override_names_only_services_of_the_file(overridden: dict[str, Any]) -> None:
    services = yaml.safe_load((PROJECT / compose.FILE).read_text())["services"]
    assert set(overridden) <= set(services)
