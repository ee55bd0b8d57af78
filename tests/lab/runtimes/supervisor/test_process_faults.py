"""Faults of whole processes on a real lab: their effect by the system's figures, and their end at the TTL."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lab.chaos import actions, probes
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.running_lab import RunningLab
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import PROJECT
from tests.fixtures.labs import family, process
from tests.fixtures.waiting import wait_until

ROOT = PROJECT
SERVERS = ("postgres", "valkey", "nats")


@pytest.fixture
def control(stub_lab: ProcessesRuntime, monkeypatch: pytest.MonkeyPatch) -> FaultClient:
    monkeypatch.setenv("LAB_DIR", str(stub_lab.home.parent))
    monkeypatch.setenv("LAB_PORT_BASE", str(stub_lab.port_base))
    return FaultClient(RunningLab(stub_lab.lab))


def states(pid: int) -> set[str]:
    group = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {each.status() for each in group}


def answers(lab: ProcessesRuntime, name: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", process(lab, name)["port"]), 0.2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", ["back-1", *SERVERS])
def test_a_pause_ends_at_its_ttl_by_itself(
    stub_lab: ProcessesRuntime, control: FaultClient, name: str
) -> None:
    pid = process(stub_lab, name)["pid"]
    (placed,) = control.add_fault(name, {"kind": "pause", "ttl_s": 0.8})
    assert states(pid) == {psutil.STATUS_STOPPED}
    wait_until(lambda: psutil.STATUS_STOPPED not in states(pid), f"{name} goes on")
    (view,) = [f for f in control.history(name) if f.fault_id == placed.fault_id]
    assert view.lasted_s >= 0.8
    assert view.evidence["stopped_until_the_end"] is True
    wait_until(lambda: process(stub_lab, name)["state"] == "ready", f"{name} is ready")
    assert process(stub_lab, name)["pid"] == pid


@pytest.mark.parametrize("name", ["back-1", *SERVERS])
def test_an_outage_lasts_until_its_ttl(
    stub_lab: ProcessesRuntime, control: FaultClient, name: str
) -> None:
    before = process(stub_lab, name)["pid"]
    control.add_fault(name, {"kind": "outage", "ttl_s": 1.0})
    assert not psutil.pid_exists(before)
    assert not answers(stub_lab, name)
    assert probes.fault_effective(name, "outage")
    probes.faults_end(name, within_s=5)
    wait_until(lambda: process(stub_lab, name)["state"] == "ready", f"{name} is ready")
    assert process(stub_lab, name)["pid"] != before
    assert answers(stub_lab, name)


@pytest.mark.parametrize("kind", ["kill", "terminate"])
def test_a_killed_process_ends_by_that_signal_and_restarts_as_after_a_crash(
    stub_lab: ProcessesRuntime, control: FaultClient, kind: str
) -> None:
    before = process(stub_lab, "back-1")
    control.add_fault("back-1", {"kind": kind})
    probes.faults_end("back-1", within_s=20)
    view = control.history("back-1")[-1]
    assert view.evidence["exit"] == (-signal.SIGKILL if kind == "kill" else 0)
    assert view.evidence["back_s"] > 0
    after = process(stub_lab, "back-1")
    assert (after["state"], after["restarts"]) == ("ready", before["restarts"] + 1)


def test_a_killed_database_leaves_no_backend_and_restarts(
    stub_lab: ProcessesRuntime, control: FaultClient
) -> None:
    pid = process(stub_lab, "postgres")["pid"]
    backends = [child.pid for child in psutil.Process(pid).children(recursive=True)]
    assert backends
    row = actions.kill_instance("postgres", back_within_s=20)
    assert (row["kind"], row["target"], row["hits"]) == ("kill", "postgres", 1)
    assert not any(psutil.pid_exists(each) for each in backends)
    assert process(stub_lab, "postgres")["state"] == "ready"


COMMAND_AND_DIE = """
import os, sys
from lab.chaos import actions
actions.add_fault(sys.argv[1], sys.argv[2], ttl_s=1.5)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("kind", ["pause", "outage"])
def test_kill_9_of_the_commander_leaves_nothing_past_the_ttl(
    stub_lab: ProcessesRuntime, control: FaultClient, kind: str
) -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'system'}"}
    commander = subprocess.run([sys.executable, "-c", COMMAND_AND_DIE, "valkey", kind], env=env)
    assert commander.returncode == -signal.SIGKILL
    (fault,) = control.faults("valkey")
    assert fault.effective_s is not None
    wait_until(lambda: control.faults("valkey") == [], "no fault is armed")
    wait_until(lambda: process(stub_lab, "valkey")["state"] == "ready", "valkey is ready")


def test_a_pause_can_be_ended_by_hand(stub_lab: ProcessesRuntime, control: FaultClient) -> None:
    pid = process(stub_lab, "nats")["pid"]
    control.add_fault("nats", {"kind": "pause", "ttl_s": 60})
    assert control.clear("nats") == 1
    assert psutil.STATUS_STOPPED not in states(pid)
    assert control.faults("nats") == []


def test_lab_up_ends_an_outage(stub_lab: ProcessesRuntime, control: FaultClient) -> None:
    control.add_fault("valkey", {"kind": "outage", "ttl_s": 60})
    stub_lab.up()
    assert control.faults() == []
    assert stub_lab.status()["ready"]


@pytest.mark.parametrize(
    ("target", "spec", "complaint"),
    [
        ("postgres", {"kind": "latency", "ttl_s": 1}, "postgres is none; a server can have kill"),
        ("postgres", {"kind": "pause"}, "ttl_s: expected seconds above 0"),
        ("postgres", {"kind": "pause", "ttl_s": -1}, "ttl_s: expected seconds above 0"),
        ("back", {"kind": "outage", "ttl_s": float("inf")}, "ttl_s: expected seconds above 0"),
        ("back", {"kind": "kill", "scope": {"share": 0.5}}, "takes no attributes and no scope"),
        ("back", {"kind": "cpu_limit", "ttl_s": 1}, "takes the attributes cpus and no scope"),
        (
            "back",
            {"kind": "cpu_limit", "ttl_s": 1, "attributes": {"cpus": "all"}},
            "cpus: expected a number from 0.01, got 'all'",
        ),
        ("back", {"kind": "disconnect", "ttl_s": 1}, "is no container: disconnect needs `lab up"),
    ],
)
def test_an_impossible_fault_of_a_process_is_refused_and_changes_nothing(
    stub_lab: ProcessesRuntime,
    control: FaultClient,
    target: str,
    spec: dict[str, object],
    complaint: str,
) -> None:
    before = control.history()
    with pytest.raises(FaultRefusedError, match=complaint):
        control.add_fault(target, spec)
    assert [each.fault_id for each in control.history()] == [f.fault_id for f in before]
    assert stub_lab.status()["ready"]


def test_two_faults_of_one_process_do_not_overlap(
    stub_lab: ProcessesRuntime, control: FaultClient
) -> None:
    control.add_fault("valkey", {"kind": "pause", "ttl_s": 30})
    try:
        with pytest.raises(FaultRefusedError, match="valkey is paused"):
            control.add_fault("valkey", {"kind": "outage", "ttl_s": 1})
    finally:
        control.clear("valkey")
    control.add_fault("valkey", {"kind": "outage", "ttl_s": 30})
    try:
        with pytest.raises(FaultRefusedError, match="valkey is not running"):
            control.add_fault("valkey", {"kind": "kill"})
    finally:
        control.clear("valkey")
    wait_until(lambda: stub_lab.status()["ready"], "all is ready")


def test_an_unknown_process_is_answered_with_the_nearest(control: FaultClient) -> None:
    with pytest.raises(UnknownTargetError, match=r"did you mean 'postgres'|postgres"):
        control.add_fault("postgrs", {"kind": "kill"})


def test_the_end_of_the_lab_ends_paused_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fixtures.labs import assert_nothing_left, stub_runtime

    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    runtime = stub_runtime()
    runtime.up()
    processes = family(runtime.lab)
    try:
        own = FaultClient(RunningLab(runtime.lab))
        for name in ("postgres", "nginx", "back-1"):
            own.add_fault(name, {"kind": "pause", "ttl_s": 60})
    finally:
        runtime.down()
    assert_nothing_left(runtime, processes)
