"""docker-compose.yml as data: requirements that do not depend on the engine."""

import re
from typing import Any

import pytest
import yaml

from lab import topology as topologies
from lab.render import compose
from lab.runtimes.compose.environment import FULL_MEMORY, instances_of
from lab.topology import PROJECT

SECRETS = re.compile(r"SECRET|TOKEN|PASSWORD")
STATED_TOTAL = "lower a limit, or raise the total here and in README.md and docs/compose.md"
UNITS = {"M": 1, "G": 1024}


@pytest.fixture(scope="module")
def text() -> str:
    return (PROJECT / compose.FILE).read_text()


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_every_instance_of_the_topology_is_a_service_with_its_port(
    services: dict[str, Any],
) -> None:
    topology = topologies.load()
    numbers = topology.ports(8080)
    for service in topology.services.values():
        for number in range(1, service.replicas + 1):
            name = f"{service.name}-{number}"
            (port,) = services[name]["ports"]
            assert f":-{numbers[name]}}}:" in port, name
            assert services[name]["environment"]["INSTANCE"] == name


def test_the_rendered_block_matches_the_topology(text: str) -> None:
    assert compose.replaced(text, topologies.load()) == text


def test_a_file_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no rendered block"):
        compose.replaced("services: {}", topologies.load())


def test_only_postgres_and_its_own_service_get_a_database_password(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        own = str(service.get("environment", {}))
        found = set(re.findall(r"\$\{DB_PASSWORD_([A-Z]+)", own))
        if name == "postgres":
            with_database = [
                s for s in topologies.load().services.values() if "postgres" in s.stores
            ]
            assert len(found) == len(with_database) >= 7
        else:
            assert found <= {name.partition("-")[0].upper()}, name


def test_only_the_collector_gets_the_token_for_signals(services: dict[str, Any]) -> None:
    given = {name for name, each in services.items() if "SIGNALS_TOKEN" in str(each)}
    assert given == {"otel-collector"}


def test_no_secret_has_a_default(text: str) -> None:
    secrets = [v for v in re.findall(r"\$\{([A-Z0-9_]+:[^}]*)\}", text) if SECRETS.search(v)]
    assert len(secrets) > 20
    # without a token there are no lab controls, and JupyterLab makes one for itself
    optional = {"LAB_TOKEN:-", "JUPYTER_TOKEN:-"}
    missing = {each for each in secrets if ":?" not in each}
    assert missing == optional, "a container must not start without its secret"


def test_everything_is_published_on_loopback(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) > 15
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


def test_images_are_pinned_to_a_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert service["image"].startswith("breakwater/") or re.search(r"\d+\.\d+", tag), name


def test_every_container_has_limits_and_restarts(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert _limit(service), name
        assert service["restart"] == "unless-stopped", name


def test_the_full_stack_is_limited_to_3_gb_and_the_small_one_to_1_2_gb(
    services: dict[str, Any],
) -> None:
    always = [each for each in services.values() if not each.get("profiles")]
    full = [each for each in services.values() if each.get("profiles") == ["full"]]
    assert sum(map(_limit, always)) <= 1.2 * 1024, STATED_TOTAL
    more = 0
    for variable, memory in FULL_MEMORY.items():
        service = services[variable.removesuffix("_MEMORY").lower()]
        assert f"${{{variable}:-" in service["deploy"]["resources"]["limits"]["memory"]
        assert _megabytes(memory) > _limit(service)
        more += _megabytes(memory) - _limit(service)
    assert sum(map(_limit, always + full)) + more <= 3 * 1024, STATED_TOTAL


def test_observers_get_fewer_cpu_shares_than_the_shop(services: dict[str, Any]) -> None:
    small = {name for name, service in services.items() if service.get("cpu_shares", 1024) < 1024}
    watching = {"otel-collector", "jaeger", "prometheus", "watch", "alertmanager", "grafana"}
    assert small == {*watching, "fluentd"}


def test_no_container_has_privileges_and_the_shops_own_cannot_write(
    services: dict[str, Any],
) -> None:
    ours = [each for each in services.values() if each["image"].startswith("breakwater/shop")]
    assert len(ours) > 10
    assert all(service["read_only"] for service in ours)
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("store", ["nats", "valkey"])
def test_a_store_gets_the_password_of_each_of_its_users(
    services: dict[str, Any], store: str
) -> None:
    (mounted,) = [v for v in services[store]["volumes"] if v.startswith("./")]
    file = (PROJECT / mounted.partition(":")[0]).read_text()
    used = set(re.findall(r"\$([A-Z_]+)", file.replace("$KV", "").replace("$JS", "")))
    assert used >= {f"{store.upper()}_PASSWORD_LAB", f"{store.upper()}_PASSWORD_PRODUCTS"}
    assert used <= set(services[store]["environment"])


def test_a_service_gets_its_own_passwords_only(services: dict[str, Any]) -> None:
    for name in instances_of(topologies.load()):
        own = name.partition("-")[0].upper()
        found = set(re.findall(r"\$\{(\w+_PASSWORD_\w+)", str(services[name]["environment"])))
        assert f"NATS_PASSWORD_{own}" in found
        assert {each.rpartition("_")[2] for each in found} == {own}, name


@pytest.mark.parametrize("name", ["shop", "notebooks"])
def test_an_images_packages_are_those_of_the_projects_lock(name: str) -> None:
    known = set(_pins((PROJECT / "requirements.lock").read_text()))
    used = set(_pins((PROJECT / f"system/deploy/{name}.lock").read_text()))
    assert len(used) > 40
    assert used <= known, f"make system/deploy/{name}.lock again (see shop.in): {used - known}"


def _pins(lock: str) -> list[str]:
    return re.findall(r"^([a-z0-9._-]+(?:\[[a-z,]+\])?==[^ ;\\]+)", lock, re.MULTILINE)


def _limit(service: dict[str, Any]) -> int:
    """The memory limit in MB, by default."""
    return _megabytes(
        service["deploy"]["resources"]["limits"]["memory"].rpartition(":-")[2].strip("}")
    )


def _megabytes(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]
