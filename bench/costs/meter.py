"""CPU time and memory of a lab by process, from /proc: all of its processes and servers, with their children."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lab.runtimes.posix.memory import pss_mb
from lab.state import Lab

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // 100  # /proc counts the CPU time of exited children in USER_HZ = 100


class Meter:
    """Reads the CPU time of one lab's processes. The instances of a service are one name, e.g. `orders`."""

    def __init__(self, lab: Lab) -> None:
        self._names = {entry.pid: entry.service or entry.name for entry in lab.entries}

    def cpu_ns(self) -> Counter[str]:
        """Nanoseconds of CPU so far by name.

        The time of an exited child is its parent's from then on, so that differences stay right while backends of
        PostgreSQL come and go.
        """
        used: Counter[str] = Counter()
        for pid, name, children_ns in self._family():
            try:
                used[name] += children_ns + _own_ns(pid)
            except OSError:
                continue  # it has exited: its parent has its time
        return used

    def pss_mb(self) -> float:
        """The proportional memory of all of the lab."""
        return round(sum(pss_mb(pid, with_children=False) for pid, _, _ in self._family()), 1)

    def _family(self) -> Iterator[tuple[int, str, int]]:
        """Every live process of the lab: pid, name (a child has its parent's), CPU time of its exited children."""
        stats = {}
        for folder in PROC.glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            stats[int(folder.name)] = int(fields[1]), (int(fields[13]) + int(fields[14])) * TICK_NS
        for pid in stats:
            ancestor = pid
            while ancestor in stats and ancestor not in self._names:
                ancestor = stats[ancestor][0]
            if ancestor in self._names:
                yield pid, self._names[ancestor], stats[pid][1]


def _own_ns(pid: int) -> int:
    """The CPU time of a process's live threads, exact to the scheduler's clock."""
    tasks = (PROC / str(pid) / "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
