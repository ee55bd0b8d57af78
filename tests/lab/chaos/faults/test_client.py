"""Faults are armed, listed, cleared and proven gone on the chassis' own injector, over real HTTP."""

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
from chassis.faults import Injector
from chassis.faults.residue import Baseline
from chassis.http.problems import install
from lab.chaos import actions, probes
from lab.chaos.faults.client import FaultClient, FaultRefused, UnknownTarget
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
        settings={}, addresses={"ingress": bank.address}, databases={},
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
    assert [placed.view["kind"] for placed in control.faults()] == ["latency"]
    armed = f"fault {control.faults()[0].view['id']} (latency) on bank-1"
    assert armed in left_behind(lambda: control)
    assert control.clear() == 1
    assert control.faults() == []
    assert armed not in left_behind(lambda: control)
    (remembered,) = control.history("bank-1")
    assert remembered.view["removed_s"] is not None


def test_an_instance_that_comes_up_while_it_is_asked_is_asked_again(
    control: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> Any:
    control.add_fault("bank", LATENCY | {"ttl_s": 30})
    down = iter([NoReplyError("refused")])

    def coming_up(*args: Any, **options: Any) -> Any:
        for error in down:
            raise error
        return exchange(*args, **options)

    monkeypatch.setattr("lab.chaos.faults.client.exchange", coming_up)
    assert [placed.view["kind"] for placed in control.faults("bank")] == ["latency"]


def test_an_instance_that_is_ready_and_does_not_say_has_not_no_faults(
    control: FaultClient, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ready", lambda _instance: True)
    bank.stop()
    with pytest.raises(FaultRefused, match="bank-1"):
        control.faults("bank")


def test_the_rows_of_a_run_leave_out_faults_from_before_it(
    control: FaultClient, tmp_path: Path
) -> None:
    control.add_fault("bank", LATENCY | {"ttl_s": 30})
    journal = tmp_path / "journal.json"
    (row,) = fault_rows(control, journal, since_s=0.0)
    assert (row["target"], row["status"], row["hits"]) == ("bank-1", "inconclusive", 0)
    assert fault_rows(control, journal, since_s=time.time() + 1) == []


def test_a_kill_in_the_journal_is_a_fault_of_the_run(control: FaultClient, tmp_path: Path) -> None:
    journal = tmp_path / "journal.json"
    journal.write_text(
        '{"run": [{"output": 3.5}, {"output": {"fault_id": "kill-1", "target": "orders-1",'
        ' "effective_s": 5.0, "hits": 1, "evidence": {"pid": 7}}}]}'
    )
    (row,) = fault_rows(control, journal, since_s=0.0)
    assert (row["fault_id"], row["status"]) == ("kill-1", "confirmed")


def test_a_fault_ends_by_itself_and_the_probe_waits_for_it(control: FaultClient) -> None:
    actions.add_fault("bank", "latency", ttl_s=0.3, attributes={"latency_ms": 1})
    assert not probes.no_faults()
    assert 0 < probes.faults_end("bank", within_s=5) < 5
    assert probes.no_faults()


def test_what_the_instance_refuses_is_told_with_its_reason(control: FaultClient) -> None:
    with pytest.raises(FaultRefused, match=r"bank-1 refused .* 400 .*latency_ms"):
        control.add_fault("bank", {**LATENCY, "attributes": {"latency_ms": -1}, "ttl_s": 1})
    assert control.faults() == []


def test_of_two_instances_both_are_armed_or_none(control: FaultClient, state: Lab) -> None:
    state.instances.append(Entry("bank-2", 0, "", "bank", "http://127.0.0.1:1"))
    with pytest.raises(FaultRefused, match="bank-2 does not answer"):
        control.add_fault("bank", LATENCY | {"ttl_s": 30})
    assert control.faults("bank-1") == []


def test_a_wrong_token_never_reads_as_no_faults(control: FaultClient, state: Lab) -> None:
    with pytest.raises(FaultRefused, match="401"):
        FaultClient(RunningLab(replace(state, token="wrong"))).faults()


def test_an_unknown_target_is_answered_with_the_nearest(control: FaultClient) -> None:
    with pytest.raises(UnknownTarget, match=r"Did you mean bank\?"):
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


@pytest.fixture
def victim(state: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for the instance."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    entry = state.instances[0]
    state.instances = [replace(entry, pid=process.pid, identity=pids.identity(process.pid))]
    state.save()
    yield process
    process.kill()
    process.wait()


def test_a_kill_waits_for_the_middle_of_sagas(bank: Bank, victim: subprocess.Popen[bytes]) -> None:
    bank.metrics = "saga_active 0.0\n"
    threading.Timer(0.3, lambda: setattr(bank, "metrics", "saga_active 2.0\n")).start()
    started = time.time()
    fault = actions.kill_instance("bank", when="in the middle of sagas", within_s=10)
    assert fault["commanded_s"] - started >= 0.3
    assert fault["effective_s"] >= fault["commanded_s"]
    assert fault["evidence"] == {"pid": victim.pid, "sagas_under_way": 2.0}
    assert victim.wait() == -9


def test_a_kill_whose_moment_does_not_come_kills_nobody(
    bank: Bank, victim: subprocess.Popen[bytes]
) -> None:
    bank.metrics = "saga_active 0.0\n"
    with pytest.raises(probes.NotObservedError, match="no instance of bank had a saga under way"):
        actions.kill_instance("bank", when="in the middle of sagas", within_s=0.2)
    assert victim.poll() is None


def test_a_pid_that_became_another_process_is_not_killed(
    state: Lab, victim: subprocess.Popen[bytes]
) -> None:
    state.instances = [replace(state.instances[0], identity="an earlier process")]
    state.save()
    with pytest.raises(probes.NotObservedError, match="bank-1 is not running"):
        actions.kill_instance("bank")
    assert victim.poll() is None


def test_the_lab_file_round_trips(state: Lab) -> None:
    assert asdict(find_lab().state) == asdict(state)
