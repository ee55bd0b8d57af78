"""The metadata of a run for run.json: versions, host, topology, switches and resilience policies."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lab import __version__
from lab.chaos.resilience import PolicyClient, PolicyState
from lab.chaos.running_lab import RunningLab
from lab.runtimes.servers.binaries import SERVERS, ServerMissingError, resolve

OBSERVERS = ("grafana", "prometheus", "jaeger")
DEFAULTS = {"RESILIENCE": "full", "OUTBOX": "on", "IDEMPOTENCY": "on", "STOCK_GUARD": "on"}
TOOLS = {"chaostoolkit": "chaostoolkit-lib", "locust": "locust"}
MIXED = "mixed"


def run_metadata(running: RunningLab) -> dict[str, Any]:
    """What run.json has about the lab and its host; resilience and breakers as the instances have them."""
    lab = running.state
    states, _ = PolicyClient(running).read()
    policies = policies_in_force(states)
    config = {name.lower(): value for name, value in {**DEFAULTS, **lab.settings}.items()}
    if policies:  # `lab resilience set` may have changed the profile since the lab's start
        profiles = {edge["profile"] for edge in policies["resilience"].values()}
        config["resilience"] = profiles.pop() if len(profiles) == 1 else MIXED
    return {
        **policies,
        "topology_hash": hashlib.sha256(Path(lab.topology).read_bytes()).hexdigest()[:16],
        "port_base": lab.port_base,
        "settings": dict(lab.settings),
        "runtime": lab.runtime,
        "observers": {name: lab.addresses[name] for name in OBSERVERS if name in lab.addresses},
        "config": config,
        "versions": {
            "breakwater": __version__,
            "python": platform.python_version(),
            **{server: lab.images.get(server) or _server(server) for server in SERVERS},
            **{name: _package(package) for name, package in TOOLS.items()},
        },
        "host": {
            "os": platform.platform(),
            "cpus": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            # a busy machine makes the run slower: a reader of its figures must see that
            "load_average_before": os.getloadavg(),
        },
    }


def policies_in_force(states: Iterable[PolicyState]) -> dict[str, Any]:
    """`resilience` {edge: {profile, switched_off}}, `breakers` {edge: settings} of those in force.

    A profile that differs between the instances of an edge is "mixed". A policy that is off at one
    instance counts as off. Empty if no instance answered.
    """
    edges: dict[str, dict[str, Any]] = {}
    breakers: dict[str, dict[str, Any]] = {}
    for state in states:
        profile = state.view["profile"]
        edge = edges.setdefault(state.edge, {"profile": profile, "switched_off": []})
        if edge["profile"] != profile:
            edge["profile"] = MIXED
        edge["switched_off"] = sorted({*edge["switched_off"], *state.switched_off})
        breaker = state.policy("breaker")
        if breaker and breaker["enabled"] and "breaker" not in state.view["off"]:
            breakers[state.edge] = dict(breaker["settings"])
    return {"resilience": edges, "breakers": breakers} if edges else {}


def _server(server: str) -> str | None:
    try:
        return resolve(server).version()
    except ServerMissingError:
        return None


def _package(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
