"""Samples the machine once a second for the whole run: CPU by its user, run queue, memory, clocks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lab.load.row_file import RowFile
from lab.run.evidence.cpu_times import Times, all_processes, busiest, family, used_by
from lab.state import Lab, StateError

INTERVAL_S = 1.0
INTERVAL_MIN_S = 0.1  # CPU time is counted in ticks of 10 ms
CLOCK_READS = 5
# The engine's own processes work for the containers: they forward connections and logs. Names by their start.
ENGINE = ("dockerd", "containerd", "docker-proxy", "com.docker.")
KINDS = ("user", "system", "iowait", "irq", "steal", "idle")


@dataclass(frozen=True)
class Reading:
    """Counters at one moment. `cpu_s`: CPU seconds by kind; a kind that the system lacks is missing.

    `waiting_s`: seconds in which some task waited for a CPU. `roots`: processes that belong to the lab
    together with their descendants.
    """

    wall_s: float
    monotonic_s: float
    cpu_s: dict[str, float]
    processes: Times
    roots: Collection[int]
    runnable: int | None
    waiting_s: float | None
    memory_bytes: int


def read(roots: Callable[[Times], Collection[int]]) -> Reading:
    """The counters of now."""
    wall_s, monotonic_s = read_clocks()
    cpu_s = _cpu_s()
    processes = all_processes()
    memory_bytes = psutil.virtual_memory().available
    return Reading(
        *(wall_s, monotonic_s, cpu_s, processes, roots(processes)),
        *(_runnable(), _waiting_s(), memory_bytes),
    )


def row(before: Reading, after: Reading, late_s: float) -> dict[str, Any]:
    """One row of the table `machine` (docs/archive.md): shares are of all CPUs, between the two readings."""
    interval_s = after.monotonic_s - before.monotonic_s
    # the kernel sometimes corrects iowait downwards
    cpu_s = {kind: max(0.0, after.cpu_s[kind] - before.cpu_s[kind]) for kind in after.cpu_s}
    total_s = sum(cpu_s.values()) or 1.0
    own = family(after.processes, after.roots)
    waited_s = None
    if after.waiting_s is not None and before.waiting_s is not None:
        waited_s = (after.waiting_s - before.waiting_s) / interval_s
    return {
        "time_s": after.wall_s,
        "interval_s": interval_s,
        "late_s": late_s,
        "clock_step_s": after.wall_s - before.wall_s - interval_s,
        **{f"cpu_{kind}": cpu_s[kind] / total_s if kind in cpu_s else None for kind in KINDS},
        "cpu_lab": used_by(before.processes, after.processes, own) / total_s,
        "busiest_other": busiest(before.processes, after.processes, own),
        "runnable": after.runnable,
        "waiting": waited_s,
        "memory_available_bytes": after.memory_bytes,
    }


class MachineSampler:
    """A thread that appends one row a second to `machine.ndjson` until `stop`."""

    def __init__(self, run_dir: Path, roots: Callable[[Times], Collection[int]]) -> None:
        self._samples = 0
        self._columns: dict[str, None] = {}  # those with a value in some row
        self._roots = roots
        self._file = RowFile(run_dir / "machine.ndjson")
        self._stop = threading.Event()
        self._last = read(roots)
        self._thread = threading.Thread(target=self._follow, name="machine", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Adds a last row, so that all is covered until now; returns run.json's `machine`."""
        self._stop.set()
        self._thread.join()
        self._file.close()
        return {"samples": self._samples, "columns": list(self._columns)}

    def _follow(self) -> None:
        due_s = self._last.monotonic_s
        while not self._stop.is_set():
            due_s = max(due_s + INTERVAL_S, time.monotonic())
            self._stop.wait(due_s - time.monotonic())
            late_s = max(0.0, time.monotonic() - due_s)
            # the last row covers all until `stop`, also if that comes just after the row before
            time.sleep(max(0.0, self._last.monotonic_s + INTERVAL_MIN_S - time.monotonic()))
            self._sample(late_s)

    def _sample(self, late_s: float) -> None:
        now = read(self._roots)
        sample = row(self._last, now, late_s)
        self._file.append(sample)
        self._file.flush()
        self._last = now
        self._samples += 1
        self._columns |= {name: None for name, value in sample.items() if value is not None}


def roots_of(load_lab: Callable[[], Lab]) -> Callable[[Times], Collection[int]]:
    """Finds the lab's processes: this one, those of lab.json and, for containers, the engine's."""
    known: set[int] = set()

    def roots(processes: Times) -> Collection[int]:
        with suppress(StateError):  # it is being written; the processes of before still count
            lab = load_lab()
            known.clear()
            known.update(entry.pid for entry in lab.entries if entry.pid)
            if lab.runtime == "compose":
                engine = (pid for pid, each in processes.items() if each.name.startswith(ENGINE))
                known.update(engine)
        return known | {os.getpid()}

    return roots


def read_clocks() -> tuple[float, float]:
    """Wall time and monotonic time of one moment: the pair of several that was read in the shortest time."""
    pairs = []
    for _ in range(CLOCK_READS):
        before_s = time.monotonic()
        wall_s = time.time()
        after_s = time.monotonic()
        pairs.append((after_s - before_s, wall_s, (before_s + after_s) / 2))
    _, wall_s, monotonic_s = min(pairs)
    return wall_s, monotonic_s


def _cpu_s() -> dict[str, float]:
    times = psutil.cpu_times()._asdict()
    cpu_s = {kind: times[kind] for kind in KINDS if kind in times}
    cpu_s["user"] += times.get("nice", 0.0)
    if "softirq" in times:
        cpu_s["irq"] += times["softirq"]
    return cpu_s


def _runnable() -> int | None:
    """Tasks that run or wait for a CPU, this one included."""
    with suppress(OSError), open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"procs_running"):
                return int(line.split()[1])
    return None


def _waiting_s() -> float | None:
    """Pressure stall information (Linux 4.20): seconds in which some task waited for a CPU."""
    with suppress(OSError, ValueError, IndexError), open("/proc/pressure/cpu") as file:
        return int(file.readline().rpartition("total=")[2]) / 1e6
    return None
