"""Identifies processes by pid and start time, because the system reuses pids; sends signals."""

import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path


def identity(pid: int) -> str:
    """A text that no other process with this pid, earlier or later, has; "" if there is no such process."""
    proc = Path("/proc/self/stat")
    if proc.exists():
        fields = _stat(pid)
        return f"{fields[19]}" if fields and fields[0] != "Z" else ""
    import psutil  # not on Linux: it costs memory

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


def same(pid: int, known: str) -> bool:
    """Whether the process with this pid is alive and has the identity `known`."""
    return bool(known) and identity(pid) == known


def members(groups: Collection[int]) -> dict[int, int]:
    """The live processes of these process groups, as {pid: group}."""
    import psutil

    found = {}
    for pid in psutil.pids():
        with suppress(OSError):
            if (group := os.getpgid(pid)) in groups and identity(pid):
                found[pid] = group
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that leads its group; no error if it has exited.

    SIGKILL, SIGSTOP and SIGCONT go to its children too: PostgreSQL's and nginx's would continue, or stay paused.
    """
    with suppress(ProcessLookupError):
        if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
            if number is signal.SIGSTOP:
                os.kill(pid, number)  # first, or it could start another child
            _send_children(pid, number)
        if number is signal.SIGKILL:
            os.killpg(pid, number)
        elif number is not signal.SIGSTOP:
            os.kill(pid, number)


def _send_children(pid: int, number: signal.Signals) -> None:
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                child.send_signal(number)


def stopped(pid: int) -> bool:
    """Whether the kernel reports the process and all its children as stopped."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return all(each.status() == psutil.STATUS_STOPPED for each in family)
    except psutil.Error:
        return False


def end(pids: Iterable[int], timeout_s: float = 2.0) -> list[int]:
    """SIGKILL these and wait until they have exited; returns those that have not."""
    left = list(pids)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    give_up = time.monotonic() + timeout_s
    while left and time.monotonic() < give_up:
        left = [pid for pid in left if identity(pid)]
        time.sleep(0.01)
    return left


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the command's name: 0 is the state, 19 the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
