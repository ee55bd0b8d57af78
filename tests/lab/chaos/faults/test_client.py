"""Faults are armed, listed, cleared and audited on the chassis' own injector, over real HTTP."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from chassis import lab_routes as lab_controls
from chassis.fault_record import FaultRecord
from chassis.faults import Injector
from chassis.faults.residue import Baseline
from chassis.http.problems import install
from lab.chaos import actions, probes
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.running_lab import NoLabError, RunningLab, find_lab
from lab.http_client import NoReplyError, exchange
from lab.run.evidence.fault_rows import fault_rows, left_behind
from lab.runtimes.posix import pids
from lab.state import Entry, Lab
from tests.fixtures.waiting import wait_until

TOKEN = "lab-token"
LATENCY = {"kind": "latency", "attributes": {"latency_ms": 1}, "point": "inbound", "scope": {}}


class Bank:
    """One instance: the chassis' real lab controls and a metrics page that a test can write."""

    def __init__(self) -> None:
        self.injector, self.metrics = Injector(), ""
        self.app = FastAPI()
        settings = SimpleNamespace(lab=True, lab_token=TOKEN)
        self.app.state.service = SimpleNamespace(
            settings=settings, injector=self.injector, clients={}, baseline=Baseline()
        )
        self.app.include_router(lab_controls.router)
        install(self.app, {})
        self.app.get("/metrics")(lambda: PlainTextResponse(self.metrics))
        self.app.get("/ready")(lambda: {})
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_level="warning"))
        serving = self.server.serve(sockets=[listener])
        self.thread = threading.Thread(target=asyncio.run, args=(serving,))
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def bank() -> Iterator[Bank]:
    bank = Bank()
    wait_until(lambda: bank.server.started, "the server")
    yield bank
    bank.stop()


@pytest.fixture
def state(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """lab.json of a lab with this one instance, found as an experiment finds it."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    monkeypatch.delenv("LAB_PORT_BASE", raising=False)
    home = tmp_path / "20000"
    home.mkdir()
    lab = Lab(
        port_base=20000, home=str(home), topology="", started_s=0.0, token=TOKEN, service_secret="",
        settings={}, addresses={"ingress": bank.address}, stores={},
        instances=[Entry("bank-1", 0, "", "bank", bank.address)],
    )  # fmt: skip
    lab.save()
    (tmp_path / "current").write_text("20000\n")
    return lab


@pytest.fixture
def control(state: Lab) -> FaultClient:
    return FaultClient(RunningLab(state))


def test_an_armed_fault_is_listed_cleared_and_remembered(control: FaultClient) -> None:
    control.add_fault("bank", LATENCY | {"ttl_s": 30})
    assert [fault.kind for fault in control.faults()] == ["latency"]
    armed = f"fault {control.faults()[0].fault_id} (latency) on bank-1"
    assert armed in left_behind(lambda: control)
    assert control.clear() == 1
    assert control.faults() == []
    assert armed not in left_behind(lambda: control)
    (remembered,) = control.history("bank-1")
    assert remembered.removed_s is not None


def test_an_instance_that_starts_during_a_call_is_called_again(
    control: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> Any:
    control.add_fault("bank", LATENCY | {"ttl_s": 30})
    down = iter([NoReplyError("refused")])

    def coming_up(*args: Any, **options: Any) -> Any:
        for error in down:
            raise error
        return exchange(*args, **options)

    monkeypatch.setattr("lab.chaos.faults.client.exchange", coming_up)
    assert [fault.kind for fault in control.faults("bank")] == ["latency"]


def test_a_ready_instance_without_an_answer_does_not_read_as_no_faults(
    control: FaultClient, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ready", lambda _instance: True)
    bank.stop()
    with pytest.raises(FaultRefusedError, match="bank-1"):
        control.faults("bank")


def test_the_rows_of_a_run_leave_out_faults_from_before_it(
    control: FaultClient, tmp_path: Path
) -> None:
    control.add_fault("bank", LATENCY | {"ttl_s": 30})
    journal = tmp_path / "journal.json"
    (row,) = fault_rows(control, journal, since_s=0.0)
    assert (row.target, row.effective_s, row.hits) == ("bank-1", None, 0)
    assert fault_rows(control, journal, since_s=time.time() + 1) == []


def test_a_kill_in_the_journal_is_a_fault_of_the_run(control: FaultClient, tmp_path: Path) -> None:
    journal = tmp_path / "journal.json"
    journal.write_text(
        '{"run": [{"output": 3.5}, {"output": {"fault_id": "kill-1", "target": "orders-1",'
        ' "effective_s": 5.0, "hits": 1, "evidence": {"pid": 7}}}]}'
    )
    (row,) = fault_rows(control, journal, since_s=0.0)
    assert (row.fault_id, row.target, row.effective_s) == ("kill-1", "orders-1", 5.0)
    assert (row.hits, row.evidence) == (1, {"pid": 7})


def test_a_fault_ends_by_itself_and_the_probe_waits_for_it(control: FaultClient) -> None:
    actions.add_fault("bank", "latency", ttl_s=0.3, attributes={"latency_ms": 1})
    assert not probes.no_faults()
    assert 0 < probes.faults_end("bank", within_s=5) < 5
    assert probes.no_faults()


def test_a_refusal_of_the_instance_has_its_reason(control: FaultClient) -> None:
    with pytest.raises(FaultRefusedError, match=r"bank-1 refused .* 400 .*latency_ms"):
        control.add_fault("bank", {**LATENCY, "attributes": {"latency_ms": -1}, "ttl_s": 1})
    assert control.faults() == []


def test_of_two_instances_both_are_armed_or_none(control: FaultClient, state: Lab) -> None:
    state.instances.append(Entry("bank-2", 0, "", "bank", "http://127.0.0.1:1"))
    with pytest.raises(FaultRefusedError, match="bank-2 does not answer"):
        control.add_fault("bank", LATENCY | {"ttl_s": 30})
    assert control.faults("bank-1") == []


def test_a_wrong_token_never_reads_as_no_faults(control: FaultClient, state: Lab) -> None:
    with pytest.raises(FaultRefusedError, match="401"):
        FaultClient(RunningLab(replace(state, token="wrong"))).faults()


def test_an_unknown_target_is_answered_with_the_nearest(control: FaultClient) -> None:
    with pytest.raises(UnknownTargetError, match=r"Did you mean bank\?"):
        control.targets("bnk")


def test_a_breaker_state_is_read_from_its_edge_alone(bank: Bank, state: Lab) -> None:
    bank.metrics = 'breaker_state{edge="bank->x"} 2.0\nbreaker_state{edge="bank->y"} 0.0\n'
    assert probes.breaker_state("bank->x") == "open"
    assert probes.breaker_state("bank->y") == "closed"
    with pytest.raises(probes.NotObservedError, match="no instance reports"):
        probes.breaker_state("bank->z")


def test_without_a_lab_the_error_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path / "nothing"))
    with pytest.raises(NoLabError, match="lab up"):
        find_lab()


Process = subprocess.Popen[bytes]


class FakeSupervisor:
    """Kills `process` as the supervisor would, and remembers the fault."""

    def __init__(self, process: Process) -> None:
        self.process, self.faults = process, list[FaultRecord]()

    def call(self, _lab: Lab, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "POST":
            now_s, evidence = time.time(), {"pid": self.process.pid, "signal": "SIGKILL"}
            self.process.kill()
            fault = FaultRecord("k", body["kind"], body["target"], "process", commanded_s=now_s)
            self.faults.append(replace(fault, effective_s=time.time(), hits=1, evidence=evidence))
        return {"items": [each.to_row() for each in self.faults]}


@pytest.fixture
def victim(state: Lab) -> Iterator[Process]:
    """A process in the place of the instance."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    entry = state.instances[0]
    state.instances = [replace(entry, pid=process.pid, identity=pids.identity(process.pid))]
    state.save()
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def supervisor(state: Lab, victim: Process, monkeypatch: pytest.MonkeyPatch) -> FakeSupervisor:
    state.addresses["control"] = "http://127.0.0.1:1"
    state.save()
    supervisor = FakeSupervisor(victim)
    monkeypatch.setattr("lab.chaos.faults.process_faults.call_supervisor", supervisor.call)
    return supervisor


def test_a_kill_waits_for_the_middle_of_sagas(
    bank: Bank, victim: Process, supervisor: FakeSupervisor
) -> None:
    bank.metrics = "saga_active 0.0\n"
    threading.Timer(0.3, lambda: setattr(bank, "metrics", "saga_active 2.0\n")).start()
    started = time.time()
    fault = actions.kill_instance("bank", when="in the middle of sagas", within_s=10)
    assert fault["commanded_s"] - started >= 0.3
    assert fault["effective_s"] >= fault["commanded_s"]
    evidence = {"pid": victim.pid, "signal": "SIGKILL", "sagas_under_way": 2.0}
    assert (fault["kind"], fault["evidence"]) == ("kill", evidence)
    assert victim.wait() == -9


def test_a_kill_whose_moment_does_not_come_kills_nothing(
    bank: Bank, victim: Process, supervisor: FakeSupervisor
) -> None:
    bank.metrics = "saga_active 0.0\n"
    with pytest.raises(probes.NotObservedError, match="no instance of bank had a saga under way"):
        actions.kill_instance("bank", when="in the middle of sagas", within_s=0.2)
    assert victim.poll() is None


def test_a_kill_goes_through_the_supervisor_and_never_to_a_pid_of_the_lab_file(
    state: Lab, victim: Process
) -> None:
    """A pid in lab.json may belong to another process by now."""
    state.instances = [replace(state.instances[0], identity="an earlier process")]
    state.save()
    with pytest.raises(FaultRefusedError, match="no supervisor: kill is not possible"):
        actions.kill_instance("bank")
    assert victim.poll() is None


@pytest.mark.parametrize(
    ("signal", "when", "complaint"),
    [
        ("SIGSTOP", "now", "signal: 'SIGSTOP' is none of SIGKILL, SIGTERM"),
        ("SIGKILL", "later", "when: 'later' is none of now, in the middle of sagas"),
    ],
)
def test_a_kill_that_is_not_possible_is_refused(
    victim: Process, signal: str, when: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        actions.kill_instance("bank", signal, when)
    assert victim.poll() is None


def test_the_lab_file_round_trips(state: Lab) -> None:
    assert asdict(find_lab().state) == asdict(state)
