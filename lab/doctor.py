"""Checks whether this machine can run a lab. Each check tries the operation itself."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab import topology as topologies
from lab.runtimes.posix import pids, ports, spawn
from lab.runtimes.processes.runtime import NOT_OURS
from lab.runtimes.servers.binaries import SERVERS, ServerMissingError, resolve
from lab.runtimes.supervisor.lab_dir import FREE_BYTES_MIN
from lab.state import Lab, StateError, home_of
from lab.topology import IN_CONTAINERS, PROJECT, TopologyError

MEMORY_BYTES_MIN = 700_000_000
PYTHONS = ((3, 11), (3, 14))

# Starts a child as the lab does, prints its pid, and waits to be killed.
PARENT = """
import os, sys, time
from lab.runtimes.posix import spawn
child = spawn.start(["sleep", "60"], output=os.open(os.devnull, os.O_WRONLY))
print(child.pid, flush=True)
time.sleep(60)
"""


@dataclass(frozen=True)
class Check:
    """One result. A check that passes can have `advice` too."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def examine(port_base: int) -> list[Check]:
    """Run all checks for a lab at `port_base`; takes about 1 s."""
    return [
        _python(),
        *_servers(),
        _topology(),
        _ports(port_base),
        _disk(port_base),
        _memory(),
        _fork(),
        _orphans(),
    ]


def _python() -> Check:
    low, high = PYTHONS
    ok = low <= sys.version_info[:2] < high
    detail = f"{platform.python_version()} at {sys.executable}"
    advice = "" if ok else "use Python 3.11, 3.12 or 3.13: `make setup` looks for one"
    if ok and os.environ.get("PYTHONDONTWRITEBYTECODE"):
        advice = "PYTHONDONTWRITEBYTECODE is set, so each start compiles everything again: unset it"
    return Check("python", ok, detail, advice)


def _servers() -> Iterator[Check]:
    for name in SERVERS:
        try:
            binary = resolve(name)
            version = binary.version()
            if name == "postgres":
                binary.beside("initdb")
                _runs_unprivileged(binary.path)
            yield Check(name, True, f"{version} from {binary.source}: {binary.path}")
        except ServerMissingError as error:
            yield Check(name, False, str(error))


def _runs_unprivileged(path: Path) -> None:
    """As root, the lab runs PostgreSQL as another user: check that this user can run it."""
    uid = spawn.uid_for(True)
    command = spawn.unprivileged([path, "--version"])
    done = subprocess.run(command, capture_output=True, text=True, user=uid, group=uid)
    if done.returncode != 0:
        raise ServerMissingError(
            f"postgres: PostgreSQL refuses to run as root, and user {spawn.NOBODY} cannot run {path}: "
            f"{done.stderr.strip()[:200]}; install setpriv (util-linux), or do not run as root"
        )


def _topology() -> Check:
    try:
        topology = topologies.load()
    except TopologyError as error:
        return Check("topology", False, str(error))
    count = sum(service.replicas for service in topology.services.values())
    return Check("topology", True, f"{len(topology.services)} services, {count} instances")


def _ports(port_base: int) -> Check:
    try:
        numbers = topologies.load().ports(port_base)
    except TopologyError:
        return Check("ports", False, "unknown without a topology")
    numbers = {
        name: port for name, port in numbers.items() if name not in (NOT_OURS, *IN_CONTAINERS)
    }
    detail = f"{min(numbers.values())} to {max(numbers.values())}"
    try:
        lab = Lab.load(home_of(port_base))
        if any(e.name == "supervisor" and pids.same(e.pid, e.identity) for e in lab.servers):
            return Check("ports", True, f"{detail}: a lab is up there")
    except StateError:
        pass
    if busy := ports.taken(numbers):
        listed = "; ".join(map(str, busy))
        return Check(
            "ports", False, listed, "end that process, or choose other ports with --port-base"
        )
    return Check("ports", True, f"{detail} are free")


def _disk(port_base: int) -> Check:
    folder = home_of(port_base)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check(
            "disk", False, f"{folder} cannot be written", "set LAB_DIR to a writable folder"
        )
    enough = free >= FREE_BYTES_MIN
    advice = (
        ""
        if enough
        else f"a lab requires {FREE_BYTES_MIN >> 20} MB: free some space, or set LAB_DIR"
    )
    return Check("disk", enough, f"{free >> 20} MB free for {home_of(port_base)}", advice)


def _memory() -> Check:
    free = psutil.virtual_memory().available
    enough = free >= MEMORY_BYTES_MIN
    advice = "" if enough else f"a lab under load uses about {MEMORY_BYTES_MIN // 10**6} MB"
    return Check("memory", enough, f"{free // 10**6} MB available, {os.cpu_count()} cores", advice)


def _fork() -> Check:
    if spawn.can_fork():
        return Check("fork", True, "services are forked from one pre-imported parent")
    return Check("fork", True, "each service starts in its own interpreter: slower and larger")


def _orphans() -> Check:
    """Kill a parent and check that its child ends too."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=env, text=True
    ) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline().strip()
        parent.kill()
    if not line.isdigit():
        return Check("no orphans", False, "a child could not be started", "report this")
    pid, give_up = int(line), time.monotonic() + 2
    while pids.identity(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    if left := pids.identity(pid):
        pids.end([pid])
    return Check("no orphans", not left, "the processes of a killed lab end with it" if not left else
                 "a killed lab leaves processes behind until the next `lab up`")  # fmt: skip
