"""What a run was made with: versions, host, topology and switches, for run.json."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lab import __version__
from lab.chaos.resilience import PolicyClient
from lab.chaos.running_lab import RunningLab
from lab.run.evidence.protections import profile_of, protections
from lab.runtimes.servers.binaries import SERVERS, ServerMissingError, resolve

OBSERVERS = ("grafana", "prometheus", "jaeger")
SWITCHES = ("RESILIENCE", "OUTBOX", "IDEMPOTENCY", "STOCK_GUARD")
DEFAULTS = {"RESILIENCE": "full", "OUTBOX": "on", "IDEMPOTENCY": "on", "STOCK_GUARD": "on"}
TOOLS = {"chaostoolkit": "chaostoolkit-lib", "locust": "locust"}


def facts(running: RunningLab) -> dict[str, Any]:
    """topology_hash, observers, config, versions, host; resilience and breakers as the instances hold them."""
    lab = running.state
    held, _ = PolicyClient(running).read()
    found = protections(held)
    config = {name.lower(): lab.settings.get(name, DEFAULTS[name]) for name in SWITCHES}
    if found:  # a profile can have been moved since the lab began
        config["resilience"] = profile_of(found["resilience"])
    return {
        **found,
        "topology_hash": hashlib.sha256(Path(lab.topology).read_bytes()).hexdigest()[:16],
        "port_base": lab.port_base,
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
            # who else was at work: figures of a busy machine are a busy machine's figures
            "load_average_before": os.getloadavg(),
        },
    }


def _server(server: str) -> str | None:
    try:
        return resolve(server).version()
    except ServerMissingError:
        return None


def _package(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # run from a checkout that is not installed
