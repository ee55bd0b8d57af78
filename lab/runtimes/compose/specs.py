"""What a container is to the lab: a service's instance, a server, a tool or an observer, and when it is ready."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lab.runtimes.base import OnExit
from lab.runtimes.supervisor import readiness
from lab.runtimes.supervisor.managed_process import ProcessSpec
from lab.runtimes.supervisor.readiness import ReadinessCheck
from lab.topology import STORES, Topology

SERVERS = (*STORES, "nginx")
TOOLS = ("mail", "recorder", "proxy", "watch")
# name: the port it answers on and the path that says so; of the others the engine's health check is asked
HEALTH = {
    "nginx": ("nginx", "/health"),
    "nats": ("nats monitoring", "/healthz"),
    "mail": ("mail_page", "/health"),
    "recorder": ("recorder", "/health"),
    "watch": ("watch", "/health"),
    "proxy": ("proxy", "/version"),
    "jaeger": ("jaeger", "/"),
    "prometheus": ("prometheus", "/-/ready"),
    "alertmanager": ("alertmanager", "/-/ready"),
    "grafana": ("grafana", "/api/health"),
}
PROBES = {"postgres": readiness.postgres, "valkey": readiness.valkey, "fluentd": readiness.fluentd}


def spec_of(
    name: str, topology: Topology, ports: Mapping[str, int], logs: Path, healthy: ReadinessCheck
) -> ProcessSpec:
    """The spec of the compose service `name`; the engine starts it, so it says nothing of that.

    `healthy` is the engine's opinion, for what does not answer on a port of the host.
    """
    service = service_of(name, topology)
    if service:
        kind, port = "service", ports[name]
        ready = readiness.http(port, "/ready")
    else:
        kind = "server" if name in SERVERS else "tool" if name in TOOLS else "observer"
        port, ready = _asked(name, ports) or (ports.get(name, 0), healthy)
    ending = "jsonl" if kind in ("service", "tool") or name == "nginx" else "log"
    return ProcessSpec(
        name, kind, port, logs / f"{name}.{ending}", _engine_starts_it, ready, service
    )


def service_of(name: str, topology: Topology) -> str:
    """`orders` for `orders-2`, "" for what is no service's instance."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and number.isdigit() and stem in topology.services else ""


async def silent_stores(ports: Mapping[str, int], within_s: float) -> list[str]:
    """The stores that do not answer within `within_s`."""
    asked = {name: there[1] for name in STORES if (there := _asked(name, ports))}
    answered = await asyncio.gather(*(readiness.wait(each, within_s) for each in asked.values()))
    return [name for name, yes in zip(asked, answered, strict=True) if not yes]


def _asked(name: str, ports: Mapping[str, int]) -> tuple[int, ReadinessCheck] | None:
    """The port of the host on which it is asked, and how."""
    if name in PROBES and name in ports:
        return ports[name], PROBES[name](ports[name])
    if name in HEALTH and HEALTH[name][0] in ports:
        listener, path = HEALTH[name]
        return ports[listener], readiness.http(ports[listener], path)
    return None


async def _engine_starts_it(_on_exit: OnExit) -> int:
    raise NotImplementedError("lab.runtimes.compose.container starts containers")
