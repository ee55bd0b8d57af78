"""The specification and readiness check of each container: a service's instance, server, tool or observer."""

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
# name: listener and path of its readiness check; for other containers the engine's health check counts
HTTP_CHECKS = {
    "nginx": ("nginx", "/health"),
    "mail": ("mail_page", "/health"),
    "recorder": ("recorder", "/health"),
    "watch": ("watch", "/health"),
    "proxy": ("proxy", "/version"),
    "jaeger": ("jaeger", "/"),
    "prometheus": ("prometheus", "/-/ready"),
    "alertmanager": ("alertmanager", "/-/ready"),
    "grafana": ("grafana", "/api/health"),
}
PROTOCOL_CHECKS = {
    "postgres": readiness.postgres,
    "valkey": readiness.valkey,
    "nats": readiness.nats,
    "fluentd": readiness.fluentd,
}


def spec_of(
    name: str, topology: Topology, ports: Mapping[str, int], logs: Path, healthy: ReadinessCheck
) -> ProcessSpec:
    """The specification of the compose service `name`, which the engine starts.

    `healthy` is the engine's health check, for a container without a port on the host.
    """
    service = service_of(name, topology)
    if service:
        kind, port = "service", ports[name]
        ready = readiness.http(port, "/ready")
    else:
        kind = "server" if name in SERVERS else "tool" if name in TOOLS else "observer"
        port, ready = _check_of(name, ports) or (ports.get(name, 0), healthy)
    ending = "jsonl" if kind in ("service", "tool") or name == "nginx" else "log"
    return ProcessSpec(
        name, kind, port, logs / f"{name}.{ending}", _engine_starts_it, ready, service
    )


def service_of(name: str, topology: Topology) -> str:
    """`orders` for `orders-2`, "" for a container that is no service's instance."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and number.isdigit() and stem in topology.services else ""


async def silent_stores(ports: Mapping[str, int], within_s: float) -> list[str]:
    """The stores that do not answer within `within_s`."""
    checks = {name: found[1] for name in STORES if (found := _check_of(name, ports))}
    ready = await asyncio.gather(*(readiness.wait(each, within_s) for each in checks.values()))
    return [name for name, yes in zip(checks, ready, strict=True) if not yes]


def _check_of(name: str, ports: Mapping[str, int]) -> tuple[int, ReadinessCheck] | None:
    """Its port on the host and its readiness check there."""
    if name in PROTOCOL_CHECKS and name in ports:
        return ports[name], PROTOCOL_CHECKS[name](ports[name])
    if name in HTTP_CHECKS and HTTP_CHECKS[name][0] in ports:
        listener, path = HTTP_CHECKS[name]
        return ports[listener], readiness.http(ports[listener], path)
    return None


async def _engine_starts_it(_on_exit: OnExit) -> int:
    raise NotImplementedError("lab.runtimes.compose.container starts containers")
