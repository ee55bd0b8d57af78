"""The guard on a real lab: from the request that passes its limit to every fault off, within a second."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.chaos.experiment.plan import RequestLimit
from lab.chaos.faults.audit import audit
from lab.chaos.faults.clear_all import clear_all
from lab.chaos.faults.client import FaultClient
from lab.chaos.running_lab import find_lab
from lab.proxy.client import ProxyClient
from lab.run.evidence.fault_rows import left_behind
from lab.run.guard.guard import Guard
from lab.run.guard.limits import RequestRows, RequestWatch
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.alone

TOOLKIT = """
import signal
from lab.chaos import edges
from lab.chaos.experiment.plan import RequestLimit
from lab.chaos.faults.client import FaultClient
from lab.chaos.running_lab import find_lab
edges.add_toxic('a->b', 'latency', 60, {'latency_ms': 9})
edges.add_toxic('c->d', 'down', 60)
edges.partition([['a'], ['c', 'nats']], 60)
FaultClient(find_lab()).add_fault('d-1', {'kind': 'pause', 'ttl_s': 60})
FaultClient(find_lab()).add_fault('b-1', {'kind': 'outage', 'ttl_s': 60})
print('armed', flush=True)
signal.pause()
"""


def failing(path: Path) -> float:
    """Write failed orders as the load does; when they were written (epoch s)."""
    with path.open("a") as file:
        for _ in range(20):
            now = time.time()
            row = {"route": "", "intended_start_s": now - 0.1, "end_s": now, "outcome": "fail"}
            file.write(json.dumps(row) + "\n")
    return time.time()


@pytest.mark.slow
def test_a_passed_limit_removes_every_fault_within_a_second_even_if_the_toolkit_is_dead(
    mesh: ProcessesRuntime, fault_client: FaultClient, tmp_path: Path
) -> None:
    requests = tmp_path / "requests.ndjson"
    requests.touch()
    started_s = time.time()
    toolkit = subprocess.Popen([sys.executable, "-c", TOOLKIT], stdout=subprocess.PIPE)
    try:
        assert toolkit.stdout is not None
        assert toolkit.stdout.readline() == b"armed\n"
        assert len(fault_client.faults()) == 7
        assert left_behind(lambda: FaultClient(find_lab())), "an audit sees them"
    finally:
        toolkit.kill()
        toolkit.communicate()
    began = time.perf_counter()
    fault_client.faults()
    look_s = time.perf_counter() - began
    limit_s = max(1.0 + look_s, 10 * look_s)  # a second, more on a machine where a look takes long
    limit = RequestLimit(name="orders fail", measure="error_ratio", for_s=0.2, limit=0.5)
    watch = RequestWatch(limit, RequestRows(requests), 0.0, time.time() - 1)
    guard = Guard([("orders fail", watch)], lambda: None, lambda: clear_all(find_lab()))
    try:
        passed_s = failing(requests)
        wait_until(lambda: guard.violation, "the guard")
    finally:
        guard.stop()
    violation = guard.violation
    assert violation is not None
    assert violation.problems == []
    assert violation.faults_off_s is not None
    assert violation.faults_off_s - passed_s <= limit_s
    gone = [each for each in fault_client.history() if (each.commanded_s or 0) >= started_s]
    assert len(gone) == 7
    for view in gone:  # by the clocks of the processes that had the faults
        assert view.removed_s is not None, view
        assert view.removed_s - passed_s <= limit_s, view
    wait_until(lambda: mesh.status()["ready"], "all ready again")
    assert left_behind(lambda: FaultClient(find_lab())) == []


def test_an_audit_of_a_whole_lab_covers_edges_and_servers(
    mesh: ProcessesRuntime, fault_client: FaultClient, proxy_client: ProxyClient
) -> None:
    assert {each.name for each in audit(fault_client)} >= {
        "a-1",
        "d-1",
        "postgres",
        "nginx",
        "*->*",
    }
    assert not any(each.left for each in audit(fault_client))
    proxy_client.add("a->b-1", "noop", name="by another client")
    proxy_client.enable("c->d-1", False)
    pid = next(each.pid for each in mesh.lab.servers if each.name == "valkey")
    os.kill(pid, signal.SIGSTOP)
    try:
        left = {each.name: each.left for each in audit(fault_client) if each.left}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert left["valkey"] == [f"stopped (pid {pid})"]
    assert len(left["*->*"]) == 2
    assert set(left) == {"valkey", "*->*"}
