"""After any end of a lab, at any time: no process, port or partial file remains, and the next lab starts."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import topology as topologies
from lab.runtimes.base import UpOptions
from lab.runtimes.logs import LogFilter
from lab.runtimes.posix import pids
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.supervisor import lab_dir
from lab.runtimes.supervisor.client import UsageError
from lab.runtimes.supervisor.launch import UpFailedError
from lab.state import Lab, StateError
from lab.topology import PROJECT
from tests.fixtures.labs import (
    TOPOLOGY,
    alive,
    assert_nothing_left,
    family,
    get,
    process,
    stub_runtime,
    who,
)
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.usefixtures("lab_dir")
ROOT = PROJECT


@contextmanager
def cli(runtime: ProcessesRuntime, *argv: str) -> Iterator["subprocess.Popen[str]"]:
    """`lab ...` on the stub topology, as a person would start it."""
    command = [sys.executable, "-m", "lab.cli", *argv, "--port-base", str(runtime.port_base)]
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def started(runtime: ProcessesRuntime, name: str) -> dict[int, str]:
    """The lab's processes, as soon as the one called `name` is among them."""

    def seen() -> dict[int, str]:
        try:
            lab = Lab.load(runtime.home)
            if any(entry.name == name and entry.pid for entry in lab.entries):
                return family(lab)
        except (StateError, psutil.Error, StopIteration):
            pass
        return {}

    found: dict[int, str] = wait_until(seen, f"a start of {name}")
    return found


def test_down_stops_everything_and_keeps_the_stored_data() -> None:
    runtime = stub_runtime()
    runtime.up(UpOptions({"ALL": "1", "back.ONLY": "2", "front-2.ARM": "treatment"}))
    processes = family(runtime.lab)
    answers = {
        name: json.loads(get(f"http://127.0.0.1:{runtime.port_base + offset}/api/settings")[2])
        for name, offset in (("front-1", 10), ("front-2", 11), ("back-1", 20))
    }
    assert runtime.down()
    assert_nothing_left(runtime, processes)
    assert [each.get("ALL") for each in answers.values()] == ["1", "1", "1"]
    assert [each.get("ONLY") for each in answers.values()] == [None, None, "2"]
    assert [each.get("ARM") for each in answers.values()] == [None, "treatment", None]
    assert (runtime.home / "data" / "postgres" / "PG_VERSION").exists()
    assert not runtime.down()


def test_kill_9_of_the_supervisor_ends_everything_and_the_next_up_reports_it() -> None:
    runtime = stub_runtime()
    runtime.up()
    processes = family(runtime.lab)
    os.kill(next(iter(processes)), signal.SIGKILL)
    wait_until(lambda: not alive(processes), "the end of every process")
    done = runtime.up()
    try:
        assert not done.already
        assert done.cleaned == ["the last lab was not shut down; nothing of it was left running"]
        assert runtime.status()["ready"]
    finally:
        runtime.down()


@pytest.mark.parametrize("name", ["zygote", "postgres", "back-1"])
def test_ctrl_c_during_up_leaves_nothing(name: str) -> None:
    runtime = stub_runtime()
    with cli(runtime, "up", "--topology", str(TOPOLOGY)) as child:
        processes = started(runtime, name)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=15)
    if child.returncode == 0:  # the signal came when everything was up: the lab stays up
        assert runtime.status()["ready"]
        assert runtime.down()
    else:
        assert child.returncode == 130, stderr
        assert "interrupted" in stderr
    assert_nothing_left(runtime, processes)
    assert not (runtime.home / "lab.json").exists()


def test_ctrl_c_while_the_cluster_is_created_leaves_no_part_of_it() -> None:
    runtime = stub_runtime()
    unfinished = runtime.home / "data" / "postgres.unfinished"
    with cli(runtime, "up", "--fresh", "--topology", str(TOPOLOGY)) as child:
        wait_until((unfinished / "base").exists, "initdb at work", poll_s=0.001)
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == 130
    assert_nothing_left(runtime, {})
    assert not (runtime.home / "data" / "postgres").exists()


def test_stores_that_an_interrupted_start_was_deleting_are_gone_after_the_next() -> None:
    runtime = stub_runtime()
    for name in ("data.deleted", "mail.deleted"):
        (runtime.home / name / "postgres").mkdir(parents=True)
    lab_dir.prepare(runtime.home, fresh=False)
    assert sorted(each.name for each in runtime.home.iterdir()) == ["data", "logs", "mail", "run"]


def test_kill_9_of_the_command_during_up_leaves_nothing() -> None:
    runtime = stub_runtime()
    with cli(runtime, "up", "--topology", str(TOPOLOGY)) as child:
        processes = started(runtime, "nats")
        child.kill()
        child.wait()
    assert_nothing_left(runtime, processes)


def test_an_orphan_of_a_crashed_lab_is_ended_but_another_process_with_its_pid_is_not() -> None:
    runtime = stub_runtime()
    runtime.up()
    lab = runtime.lab
    runtime.down()
    command = ["sleep", "60"]
    orphan = subprocess.Popen(command, start_new_session=True)
    stranger = subprocess.Popen(command, start_new_session=True)
    try:
        lab.servers[0].pid = orphan.pid
        lab.servers[0].identity = pids.identity(orphan.pid)
        lab.servers[1].pid, lab.servers[1].identity = stranger.pid, "12345"
        lab.save()
        cleaned = runtime.up().cleaned
        assert orphan.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        assert cleaned == [f"ended supervisor (pid {orphan.pid}) that the last lab left"]
    finally:
        runtime.down()
        for each in (orphan, stranger):
            each.kill()
            each.wait()


def test_a_lock_file_of_postgres_with_another_processs_pid_does_not_prevent_its_start() -> None:
    runtime = stub_runtime()
    runtime.up()
    lab = runtime.lab
    os.kill(lab.servers[0].pid, signal.SIGKILL)
    processes = {e.pid: e.identity for e in lab.entries}
    wait_until(lambda: not alive(processes), "the end of every process")
    lock = runtime.home / "data" / "postgres" / "postmaster.pid"
    lines = lock.read_text().split("\n")
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    try:
        runtime.up()
        assert runtime.status()["ready"]
    finally:
        runtime.down()


def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started() -> None:
    runtime = stub_runtime()
    with socket.socket() as held:
        held.bind(("127.0.0.1", runtime.port_base + 91))
        held.listen()
        with pytest.raises(UpFailedError, match=f"valkey.*pid {os.getpid()}: .*python"):
            runtime.up()
    assert not (runtime.home / "lab.json").exists()


def test_a_service_that_crashes_at_its_start_fails_up_with_its_own_error() -> None:
    runtime = stub_runtime()
    with pytest.raises(UpFailedError, match=r"back-1: ended with 3 .*\n.*CRASH is set"):
        runtime.up(UpOptions({"back.CRASH": "1"}))
    assert_nothing_left(runtime, {})


@pytest.mark.parametrize("server", ["nats", "postgres", "nginx"])
def test_a_missing_server_fails_up_at_once(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LAB_{server.upper()}", "/no/such/program")
    runtime = stub_runtime()
    with pytest.raises(
        UpFailedError, match=f"LAB_{server.upper()}=/no/such/program is not a program"
    ):
        runtime.up()
    assert_nothing_left(runtime, {})


def test_a_crash_loop_waits_longer_each_time() -> None:
    runtime = stub_runtime()
    runtime.up(UpOptions(restart_delay_s=0.05))
    try:
        shell = process(runtime, "mail")  # its port is taken while it is away
        runtime.kill("mail", restart=False)
        wait_until(lambda: process(runtime, "mail")["state"] == "stopped", "stopped")
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", shell["port"]))
            held.listen()
            with pytest.raises(UpFailedError, match="mail"):
                runtime.up()
            looping = wait_until(
                lambda: (m := process(runtime, "mail"))["restarts"] >= 4 and m, "four crashes"
            )
            assert looping["last_exit"] == 1
        wait_until(lambda: process(runtime, "mail")["state"] == "ready", "ready again")
        said = [line.message for line in runtime.logs("supervisor", only=LogFilter("warning"))]
        waits = [text.rpartition(" in ")[2] for text in said if text.startswith("mail ended")]
        assert waits[-1] > waits[1], waits
    finally:
        runtime.down()


@pytest.mark.parametrize(
    ("setting", "message"),
    [("bakc.X", "did you mean 'back'"), ("lower", "expected NAME=value"), ("back.", "expected")],
)
def test_an_impossible_setting_is_refused_before_anything_starts(
    setting: str, message: str
) -> None:
    runtime = stub_runtime()
    with pytest.raises(UsageError, match=message):
        runtime.up(UpOptions({setting: "1"}))
    assert not runtime.home.exists()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAB_DIR", str(tmp_path / "file"))
    with pytest.raises(StateError, match=r"cannot be written.*LAB_DIR"):
        stub_runtime().up()


def test_a_full_disk_is_reported_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = stub_runtime()
    monkeypatch.setattr("lab.runtimes.supervisor.lab_dir.FREE_BYTES_MIN", 1 << 60)
    with pytest.raises(StateError, match="MB left on its disk"):
        runtime.up()


def test_a_cluster_of_another_postgres_version_is_refused_with_advice() -> None:
    runtime = stub_runtime()
    cluster = runtime.home / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(UpFailedError, match=r"made by PostgreSQL 9.*--fresh"):
        runtime.up()
    assert_nothing_left(runtime, {})
    assert runtime.up(UpOptions(fresh=True)).took_s > 0
    runtime.down()


def test_up_waits_for_a_lab_that_another_command_is_starting() -> None:
    runtime = stub_runtime()
    with cli(runtime, "up", "--topology", str(TOPOLOGY), "--json") as child:
        started(runtime, "zygote")
        second = ProcessesRuntime(runtime.port_base, TOPOLOGY).up()
        answers: dict[str, Any] = json.loads(child.communicate(timeout=20)[0])
    try:
        assert (answers["already"], second.already) == (False, True)
        assert runtime.status()["ready"]
    finally:
        runtime.down()


def test_where_forking_is_not_safe_each_program_has_its_own_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_FORK", "off")
    runtime = stub_runtime()
    runtime.up(UpOptions(restart_delay_s=0.1))
    processes = family(runtime.lab)
    try:
        status = runtime.status()
        assert status["ready"]
        assert "zygote" not in {each["name"] for each in status["processes"]}
        old = process(runtime, "back-1")["pid"]
        runtime.kill("back-1")
        wait_until(lambda: process(runtime, "back-1")["pid"] not in (None, old), "restarted")
    finally:
        runtime.down()
    assert_nothing_left(runtime, processes)


def test_other_settings_for_a_lab_that_is_up_are_refused_not_ignored() -> None:
    runtime = stub_runtime()
    runtime.up(UpOptions({"ARM": "control"}))
    try:
        assert runtime.up(UpOptions({"ARM": "control"})).already
        with pytest.raises(StateError, match=r"up with .*control.*lab down"):
            runtime.up(UpOptions({"ARM": "treatment"}))
    finally:
        runtime.down()


def test_every_port_comes_from_the_topology() -> None:
    numbers = topologies.load(TOPOLOGY).ports(20000)
    assert (numbers["front-2"], numbers["back-1"], numbers["control"]) == (20011, 20020, 20097)


def test_a_checkout_and_a_lab_may_be_in_folders_with_spaces_and_other_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "Ann's läb, v2" / "breakwater"
    for name in ("system", "lab", "dashboards", "tests/fixtures"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / ".venv").symlink_to(sys.prefix)  # the servers' programs, by a path with a space
    monkeypatch.setenv("LAB_DIR", str(checkout / ".lab"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (checkout / "system", checkout))))
    runtime = stub_runtime()
    command: list[str | Path] = [
        checkout / ".venv/bin/python",
        "-m",
        "lab.cli",
        "up",
        "--json",
        "--proxied",
    ]
    command += ["--topology", checkout / "tests/fixtures" / TOPOLOGY.name]
    command += ["--port-base", str(runtime.port_base)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    try:
        assert done.returncode == 0, done.stderr
        assert runtime.status()["ready"]
        assert who(runtime)["instance"].startswith("front-")
    finally:
        runtime.down()
