"""The CPU time of every process of the machine, and what of it a family of processes used."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class ProcessTimes:
    """`used_s`: CPU time of the process; `waited_s`: of its children that ended and were waited for.

    `started` distinguishes it from a later process with the same pid.
    """

    parent: int
    name: str
    started: float
    used_s: float
    waited_s: float


Times = Mapping[int, ProcessTimes]


def all_processes() -> dict[int, ProcessTimes]:
    """The times of all processes that this one may see, by pid."""
    return _from_proc() if LINUX else _from_psutil()


def family(processes: Times, roots: Collection[int]) -> set[int]:
    """The roots and all their descendants."""
    children: dict[int, list[int]] = {}
    for pid, each in processes.items():
        children.setdefault(each.parent, []).append(pid)
    found: set[int] = set()
    left = [pid for pid in roots if pid in processes]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def used_by(before: Times, after: Times, pids: Collection[int]) -> float:
    """The CPU seconds that `pids`, the family at the later time, used between the two times.

    A process that ended in between counts through the one that waited for it.
    """
    used_s = waited_s = 0.0
    for pid in pids:
        then = _same(before, pid, after[pid])
        used_s += after[pid].used_s - (then.used_s if then else 0.0)
        waited_s += after[pid].waited_s - (then.waited_s if then else 0.0)
    for pid in family(before, pids):
        if pid not in after or not _same(before, pid, after[pid]):
            # it ended: what it used before the earlier time was counted then
            waited_s -= before[pid].used_s + before[pid].waited_s
    return used_s + max(0.0, waited_s)


def busiest(before: Times, after: Times, except_for: Collection[int]) -> str | None:
    """The name of the process outside the family that used the most; None if none used any."""
    most_s, name = 0.0, None
    for pid, each in after.items():
        then = _same(before, pid, each)
        used_s = each.used_s - (then.used_s if then else 0.0)
        if used_s > most_s and pid not in except_for:
            most_s, name = used_s, each.name
    return name


def _same(before: Times, pid: int, now: ProcessTimes) -> ProcessTimes | None:
    then = before.get(pid)
    return then if then is not None and then.started == now.started else None


def _from_proc() -> dict[int, ProcessTimes]:
    """/proc/<pid>/stat of all: several times cheaper than psutil (proc(5) has the fields)."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):  # it ended just now
            descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
            try:
                text = os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
            head, _, tail = text.rpartition(b")")
            fields = tail.split(None, 21)
            user, system, waited_user, waited_system = map(int, fields[11:15])
            found[int(name)] = ProcessTimes(
                int(fields[1]),
                head.partition(b"(")[2].decode(errors="replace"),
                float(fields[19]),
                (user + system) * TICK_S,
                (waited_user + waited_system) * TICK_S,
            )
    return found


def _from_psutil() -> dict[int, ProcessTimes]:
    found = {}
    for process in psutil.process_iter(["ppid", "name", "create_time", "cpu_times"]):
        facts = process.info
        if times := facts["cpu_times"]:  # None: of another user, without permission
            found[process.pid] = ProcessTimes(
                facts["ppid"],
                facts["name"] or "",
                facts["create_time"],
                times.user + times.system,
                times.children_user + times.children_system,
            )
    return found
