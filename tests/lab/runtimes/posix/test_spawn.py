"""A child ends with its parent: by the kernel on Linux, by leash.py on every platform."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.runtimes.posix import pids, spawn
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until

ROOT = PROJECT
PARENT = """
import os, sys, subprocess, time
from lab.runtimes.posix import spawn
if "leash" in sys.argv:
    command, pipe = spawn.on_leash(["sleep", "60"])
    child = subprocess.Popen(command, pass_fds=[pipe], process_group=0)
else:
    child = spawn.start(["sleep", "60"], output=os.open(os.devnull, os.O_WRONLY))
print(child.pid, flush=True)
time.sleep(60)
"""


def parent(kind: str) -> "tuple[subprocess.Popen[str], int]":
    """A process that started a sleeper, and the sleeper's (or its leash's) pid."""
    command = [sys.executable, "-c", PARENT, kind]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("kind", ["kernel", "leash"])
def test_kill_9_of_the_parent_ends_the_child(kind: str) -> None:
    if kind == "kernel" and not spawn.LINUX:
        pytest.skip("the parent-death signal is Linux'")
    process, group = parent(kind)
    processes = 2 if kind == "leash" else 1
    wait_until(lambda: len(pids.members({group})) == processes, "the child is there")
    with process:
        process.kill()
    wait_until(lambda: not pids.members({group}), "the child's end")


def test_the_leash_passes_signals_on_and_ends_with_its_child() -> None:
    process, leash = parent("leash")
    with process:
        wait_until(lambda: len(pids.members({leash})) == 2, "the child is there")
        os.kill(leash, signal.SIGTERM)
        try:
            wait_until(lambda: not pids.members({leash}), "the end of both")
        finally:
            process.kill()


def test_a_missing_program_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        spawn.start(["/no/such/program"], output=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop what root has")
def test_root_is_dropped_and_a_private_folder_is_still_readable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("read")
    # `test -r` calls access(2), which respects capabilities only with a secure bit
    script = f"id -u; test -r {closed}/file && cat {closed}/file; grep CapEff /proc/self/status"
    with (tmp_path / "out").open("wb") as out:
        spawn.start(["sh", "-c", script], output=out.fileno(), drop_root=True).wait()
    dac_override = f"CapEff:\t{1 << 1:016x}\n"
    assert (tmp_path / "out").read_text() == f"{spawn.NOBODY}\nread{dac_override}"
