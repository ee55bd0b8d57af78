"""The CPU time of the living child processes of a service, by /proc; no sample where there is none."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

NAME = "process_children_cpu_seconds"


class ChildrenCpu(Collector):
    """A sum over living children, so it falls when one ends. It is computed at each scrape."""

    def collect(self) -> Iterable[Metric]:
        seconds = children_cpu_s()
        if seconds is not None:
            yield GaugeMetricFamily(NAME, "CPU time of living child processes", value=seconds)


def children_cpu_s() -> float | None:
    """User and system time in seconds; None where /proc does not list children."""
    try:
        tasks = list(Path("/proc/self/task").iterdir())
        pids = [pid for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return None
    return sum(map(_cpu_s, pids))


def _cpu_s(pid: str) -> float:
    """0 for a process that has just ended."""
    try:
        # after the name, which may contain spaces; utime and stime are fields 14 and 15 (proc(5))
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
