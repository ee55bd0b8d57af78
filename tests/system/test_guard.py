"""Clearing all faults at once on the real shop: in services, of processes, and faults that survive restarts."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.chaos.faults.clear_all import clear_all
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError
from lab.chaos.running_lab import find_lab
from lab.run.evidence.fault_rows import left_behind
from lab.run.progress import SilentReporter
from lab.run.runner import RunRequest, lab_for_run
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.state import StateError
from tests.fixtures.labs import process
from tests.fixtures.waiting import wait_until

TTL_S = 60.0
FAULTS = (
    ("bank", {"kind": "latency", "attributes": {"latency_ms": 20}}),
    ("orders", {"kind": "burn_cpu", "attributes": {"duty_percent": 5}}),
    ("users", {"kind": "skew", "attributes": {"offset_ms": 5000}}),
    ("mail", {"kind": "pause"}),
    ("nats", {"kind": "pause"}),
)


def how_long(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def test_every_fault_on_the_shop_is_removed_within_a_second(lab: ProcessesRuntime) -> None:
    control = FaultClient(find_lab(lab.port_base))
    for target, spec in FAULTS:
        control.add_fault(target, spec | {"ttl_s": TTL_S})
    look_s = how_long(FaultClient(find_lab(lab.port_base)).faults)
    limit_s = max(1.0 + look_s, 10 * look_s)  # one second; more where a read takes long
    commanded_s = time.time()
    done = clear_all(find_lab(lab.port_base))
    assert done.problems == []
    wait_until(lambda: lab.status()["ready"], "all ready again")
    history = FaultClient(find_lab(lab.port_base)).history()
    removed = [
        each.removed_s for each in history if each.removed_s and each.removed_s >= commanded_s
    ]
    assert len(removed) == 6, "five faults, one of them on two instances"
    assert max(removed) - commanded_s <= limit_s
    assert left_behind(lambda: FaultClient(find_lab(lab.port_base))) == []


def test_a_crash_loop_is_cleared_even_while_its_instance_is_down(lab: ProcessesRuntime) -> None:
    """The next start would restore it from the file that stores it."""
    control = FaultClient(find_lab(lab.port_base))
    spec = {"kind": "crash_loop", "attributes": {"after_s": 0.1}, "ttl_s": TTL_S}
    control.add_fault("inventory", spec)
    wait_until(lambda: process(lab, "inventory-1")["state"] == "backoff", "its first crash")
    assert clear_all(find_lab(lab.port_base)).problems == []
    assert not (Path(lab.home) / "run" / "faults" / "inventory-1.json").exists()
    wait_until(lambda: process(lab, "inventory-1")["state"] == "ready", "ready")
    restarts = process(lab, "inventory-1")["restarts"]
    time.sleep(0.5)  # five times the time to a crash: it does not restart
    assert process(lab, "inventory-1")["restarts"] == restarts


def test_a_fault_on_a_stopped_service_is_refused_with_the_reason(lab: ProcessesRuntime) -> None:
    lab.kill("inventory", restart=False)
    wait_until(lambda: process(lab, "inventory-1")["state"] == "stopped", "stopped")
    control = FaultClient(find_lab(lab.port_base))
    for kind in ("noop", "pause"):
        with pytest.raises(FaultRefusedError, match=r"inventory-1 is not running.*lab status"):
            control.add_fault("inventory", {"kind": kind, "ttl_s": 5})


def test_an_experiment_on_edges_without_a_proxied_lab_is_refused_with_the_remedy(
    lab: ProcessesRuntime,
) -> None:
    request = RunRequest(port_base=lab.port_base)
    unproxied = pytest.raises(StateError, match="lab up --proxied")
    with unproxied, lab_for_run(request, SilentReporter(), proxied=True):
        pass
    assert lab.status()["ready"], "the lab was not changed"
