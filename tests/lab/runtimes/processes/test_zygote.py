"""The zygote: children share its imports, their exits are reported, and they end with it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.runtimes.posix import pids
from lab.topology import PROJECT
from tests.fixtures.running import Nursery
from tests.fixtures.waiting import wait_until

ROOT = PROJECT
PROGRAM = """
import os, signal, sys, time

def main():
    print(os.environ.get("WORD"), sys.argv[1:], os.getpid() == os.getpgid(0), flush=True)
    print(sorted(os.environ), flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)  # until the test ends it
    if sys.argv[1] == "raise":
        raise RuntimeError("as planned")
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    nursery = Nursery(tmp_path / "zygote.log", ["program", "not_there"])
    yield nursery
    nursery.close()


def test_a_childs_exit_code_is_reported(own: Nursery, tmp_path: Path) -> None:
    pid = own.start("a", "program", ["7"], {"WORD": "x"}, tmp_path / "a.log")
    wait_until(lambda: own.exited(pid), "its end")
    assert own.stop(pid, signal.SIGKILL) == 7
    assert (tmp_path / "a.log").read_text() == "x ['7'] True\n['WORD']\n"


def test_an_exception_is_in_the_childs_own_log(own: Nursery, tmp_path: Path) -> None:
    pid = own.start("a", "program", ["raise"], {}, tmp_path / "a.log")
    wait_until(lambda: own.exited(pid), "its end")
    assert "RuntimeError: as planned" in (tmp_path / "a.log").read_text()


def test_a_module_that_cannot_be_imported_fails_its_own_program_alone(
    own: Nursery, tmp_path: Path
) -> None:
    broken = own.start("b", "not_there", [], {}, tmp_path / "b.log")
    wait_until(lambda: own.exited(broken), "its end")
    assert "No module named 'not_there'" in (tmp_path / "b.log").read_text()
    pid = own.start("a", "program", ["0"], {}, tmp_path / "a.log")
    wait_until(lambda: own.exited(pid), "its end")
    assert own.stop(pid, signal.SIGKILL) == 0


def test_the_signal_that_ended_a_child_is_reported(own: Nursery, tmp_path: Path) -> None:
    pid = own.start("a", "program", ["wait"], {}, tmp_path / "a.log")
    assert own.stop(pid, signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_the_zygote(own: Nursery, tmp_path: Path, number: int) -> None:
    pid = own.start("a", "program", ["wait"], {}, tmp_path / "a.log")
    os.kill(own.pid, number)
    wait_until(lambda: not pids.identity(pid), "the child's end")


def test_a_thread_started_by_an_import_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), name='sneaky', daemon=True).start()\n"
    )
    command = [sys.executable, "-m", "lab.runtimes.processes.zygote", "0", "threaded"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            command, env=env, stdin=theirs.fileno(), capture_output=True, text=True
        )
    assert done.returncode != 0
    assert "an import started a thread, so fork is not safe: MainThread, sneaky" in done.stderr
