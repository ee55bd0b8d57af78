"""The files that compose reads for a lab: ports and secrets in an environment file, settings in an override."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab.edges import url_of, users_of
from lab.files import write_private
from lab.render import compose as rendered
from lab.render import nginx
from lab.render.compose import port_variable
from lab.render.nats import MONITORING_PATH, MONITORING_PORT
from lab.runtimes.compose import ENV_FILE
from lab.runtimes.compose.compose_cli import Compose
from lab.runtimes.compose.proxy_config import PROXY, ContainerProxyConfig
from lab.runtimes.compose.specs import HTTP_CHECKS, PROTOCOL_CHECKS, service_of
from lab.runtimes.supervisor.lab_dir import prepare
from lab.state import PORT_BASE, Entry, Lab, labs_folder, new_secret, stored_secret
from lab.topology import PROJECT, STORES, Topology

COMPOSE_FILE = PROJECT / rendered.FILE
PROFILES = ("full", "small")
# for the full stack: 90 connections and those of scaled instances; three times the series of the small one
FULL_MEMORY = {"POSTGRES_MEMORY": "448M", "PROMETHEUS_MEMORY": "224M"}
# of what the recorder probes, besides the stores
INSIDE_PORTS = {"nginx": PORT_BASE, "jaeger": 16686, "otel-collector": 4318, "prometheus": 9090}
INSIDE_PORTS |= {"alertmanager": 9093, "fluentd": 24224}
FOLDERS = ("inside", "inside/logs", "run/kept", "run/proxy")


def project_of(port_base: int) -> str:
    return f"breakwater-{port_base}"


def env_file(home: Path) -> Path:
    return home / ENV_FILE


def override_file(home: Path) -> Path:
    return home / "compose.override.yml"


def compose_of(home: Path, profile: str = "full", *, proxied: bool = False) -> Compose:
    """The project of the lab in `home`."""
    files = [COMPOSE_FILE]
    if override_file(home).is_file():
        files.append(override_file(home))
    profiles = [profile, *(["proxied"] if proxied else [])]
    return Compose(project_of(int(home.name)), files, env_file(home), profiles)


def everything_of(home: Path) -> Compose:
    """The same project with every profile: all containers that may exist."""
    return replace(compose_of(home), profiles=["*"])


class Environment:
    """One lab's variables. The databases' passwords are kept as long as the databases' volume."""

    def __init__(self, home: Path, topology: Topology, profile: str) -> None:
        self.home = home
        self.port_base = int(home.name)
        self.topology = topology
        self.profile = profile
        self.passwords = home / "data" / "compose"
        self.variables: dict[str, str] = {}

    def write(self, settings: Mapping[str, str], *, fresh: bool) -> None:
        """Create the folders, and write `compose.env`. Raises StateError."""
        prepare(self.home, fresh=fresh)
        for name in FOLDERS:
            (self.home / name).mkdir(parents=True, exist_ok=True)
        (labs_folder() / "runs").mkdir(exist_ok=True)
        self.variables = self._fixed() | self._secrets()
        self.variables |= {name: value for name, value in settings.items() if "." not in name}
        if self.profile == "small":
            self.variables["OTLP_ENDPOINT"] = "http://jaeger:4318"
        else:
            self.variables |= FULL_MEMORY
        lines = [f"{name}={value}\n" for name, value in self.variables.items()]
        write_private(env_file(self.home), "".join(lines))
        write_private(self.home / "inside" / "token", self.variables["LAB_TOKEN"])

    def _fixed(self) -> dict[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": project_of(self.port_base),
            "COMPOSE_PROFILES": self.profile,
            "COMPOSE_FILE": f"{COMPOSE_FILE}:{override_file(self.home)}",
            "LAB_HOME": str(self.home),
            "LAB_RUNS": str(labs_folder() / "runs"),
            "LAB_RUNS_PARENT": str(labs_folder()),
            "LAB_UID": str(os.getuid()),
            "LAB_GID": str(os.getgid()),
            **rendered.variables(self.topology, self.port_base),
        }

    def _secrets(self) -> dict[str, str]:
        users = {store: users_of(store, self.topology).values() for store in STORES}
        kept = {name: stored_secret(self.passwords / name) for name in users.pop("postgres")}
        names = [name for names in users.values() for name in names]
        names += [
            "SERVICE_SECRET",
            "LAB_TOKEN",
            "SIGNALS_TOKEN",
            "GRAFANA_PASSWORD",
            "JUPYTER_TOKEN",
        ]
        new = {name: new_secret() for name in names}
        return kept | new | {MONITORING_PATH: f"/{new_secret()}"}


def instances_of(topology: Topology) -> list[str]:
    """The instances in docker-compose.yml."""
    return [
        f"{each.name}-{number + 1}"
        for each in topology.services.values()
        for number in range(each.replicas)
    ]


def write_override(lab: Lab, topology: Topology, instances: Collection[str]) -> None:
    """Write the differences of this lab from docker-compose.yml: settings, further instances, edges.

    It also disables the engine's health checks where the lab has a readiness check. `instances` are all instances
    to run. In a proxied lab it also writes the configuration of the fault proxy and nginx.
    """
    home = Path(lab.home)
    proxy_config = ContainerProxyConfig(lab, topology)
    services: dict[str, Any] = {}
    for name in instances:
        service = topology.services[service_of(name, topology)]
        environment = proxy_config.environment(service) | _settings_of(
            name, service.name, lab.settings
        )
        beyond = int(name.rpartition("-")[2]) > service.replicas
        services[name] = another_instance(topology, name) if beyond else {"environment": {}}
        services[name]["environment"] |= environment
        # the engine's health checks are off: `lab up` starts the stores first and checks them
        services[name]["depends_on"] = {
            each: {"condition": "service_started"} for each in service.stores
        }
    if lab.proxied:
        proxy_config.write(instances)
        gateways = sorted(
            n for n in instances if service_of(n, topology) == topology.ingress.balances
        )
        conf = home / "run" / "proxy" / "nginx.conf"
        # in place, because the container mounts this file; nginx reads it at its start and on SIGHUP
        conf.write_text(nginx.in_containers(topology, proxy_config.gateways(gateways)))
        services["nginx"] = {"volumes": [f"{conf}:/lab/nginx.conf:ro"]}
        if not lab.proxy_token:
            services[PROXY] = {"command": _without_token()}
    # The lab checks all of these over a port of the host. A check by the engine starts a program in the container
    # (0.1 s of CPU); two dozen at the same time stalled two cores for a second or two.
    for name in {*instances, *HTTP_CHECKS, *PROTOCOL_CHECKS}:
        services.setdefault(name, {})["healthcheck"] = {"disable": True}
    text = json.dumps({"services": services}, indent=1)  # JSON is YAML
    write_private(override_file(home), text + "\n")


def _settings_of(instance: str, service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of `--set` for all, for the service or for this instance."""
    found = {}
    for name, value in settings.items():
        target, _, own = name.rpartition(".")
        if target in ("", service, instance):
            found[own] = value
    return found


def _without_token() -> list[str]:
    """The proxy's command where its API requires no token."""
    command: list[str] = yaml.safe_load(COMPOSE_FILE.read_text())["services"][PROXY]["command"]
    return [each for each in command if each not in ("--token-file", "/proxy/token")]


def another_instance(topology: Topology, name: str) -> dict[str, Any]:
    """The compose service of an instance that docker-compose.yml lacks: `orders-3`, a copy of `orders-1`."""
    service = topology.services[service_of(name, topology)]
    first = f"{service.name}-1"
    made: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())["services"][first]
    inner = rendered.inner_port(service)
    made["hostname"] = name
    made["ports"] = [f"127.0.0.1:${{{port_variable(name)}}}:{inner}"]
    made["environment"] |= {"INSTANCE": name, "ADVERTISE": f"{name}:{inner}"}
    return made


def write_inside(lab: Lab, topology: Topology) -> None:
    """Write the lab.json that the lab's own containers read: the same lab, with addresses in its network."""
    instances = [
        replace(
            each,
            address=f"http://{each.name}:{rendered.inner_port(topology.services[each.service])}",
        )
        for each in lab.instances
    ]
    servers = rendered.server_addresses(topology)
    admin = {store: urlsplit(lab.addresses[store]) for store in ("postgres", "valkey")}
    addresses = {
        store: url_of(store, servers[store], url.username or "", url.password or "")
        for store, url in admin.items()
    }
    monitoring = urlsplit(lab.addresses["nats_monitoring"]).path
    addresses |= {
        "nats_monitoring": f"http://nats:{MONITORING_PORT}{monitoring}",
        "jaeger": lab.addresses.get("jaeger", ""),  # for a browser, which is on the host
    }
    ports = {"mail": rendered.inner_port(topology.lab["mail_page"]), **INSIDE_PORTS}
    at = {name: servers[name] for name in STORES} | {n: f"{n}:{port}" for n, port in ports.items()}
    probed = [Entry(name, 0, "", "", address) for name, address in at.items()]
    inside = replace(lab, instances=instances, servers=probed, addresses=addresses, stores={})
    path = Path(lab.home) / "inside" / "lab.json"
    write_private(path, json.dumps(asdict(inside), indent=1) + "\n")
