"""What the tests of the runtime share: labs of stub services on free ports, and a look at what lives."""

import json
import random
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from lab import topology as topologies
from lab.runtimes.posix import pids, ports
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.state import Lab
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until

TOPOLOGY = PROJECT / "tests/fixtures" / "stub_topology.toml"
MESH = TOPOLOGY.with_name("mesh_topology.toml")


def free_port_base(path: Path = TOPOLOGY) -> int:
    """A port base where nobody listens on any port of the topology."""
    topology = topologies.load(path)
    for base in random.sample(range(21000, 29000, 200), 40):
        if not ports.taken(topology.ports(base)):
            return base
    raise AssertionError("no free port base between 21000 and 29000")


def stub_runtime() -> ProcessesRuntime:
    return ProcessesRuntime(free_port_base(), TOPOLOGY)


def family(lab: Lab) -> dict[int, str]:
    """Every process of the lab, the servers' workers included, with its identity."""
    supervisor = next(entry.pid for entry in lab.servers if entry.name == "supervisor")
    tree = psutil.Process(supervisor).children(recursive=True)
    return {pid: pids.identity(pid) for pid in [supervisor, *(each.pid for each in tree)]}


def alive(processes: dict[int, str]) -> list[int]:
    return [pid for pid, identity in processes.items() if pids.same(pid, identity)]


def assert_nothing_left(runtime: ProcessesRuntime, processes: dict[int, str]) -> None:
    """No process, no port, no half-written file."""
    wait_until(lambda: not alive(processes), f"the end of {alive(processes)}", 5.0)
    numbers = topologies.load(TOPOLOGY).ports(runtime.port_base)
    wait_until(lambda: not ports.taken(numbers), "free ports", 5.0)
    half_written = [*runtime.home.rglob(".*.tmp"), *runtime.home.glob(".lab.json*")]
    assert half_written == []


def process(runtime: ProcessesRuntime, name: str) -> dict[str, Any]:
    """One line of `lab status`."""
    listed = runtime.status()["processes"]
    found: dict[str, Any] = next(each for each in listed if each["name"] == name)
    return found


def get(url: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body."""
    request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def who(runtime: ProcessesRuntime) -> dict[str, Any]:
    """Which front answers through nginx."""
    answer: dict[str, Any] = json.loads(get(runtime.address("ingress") + "/api/who")[2])
    return answer
