"""Reports what faults have left in this process, item by item: nothing once they are over."""

import os
import resource
import threading
from pathlib import Path
from typing import Any

from chassis.faults.injector import Injector
from chassis.faults.memory import resident_bytes


class Baseline:
    """The process' limits before any fault, read at its start."""

    def __init__(self) -> None:
        self.fd_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def residue(injector: Injector, baseline: Baseline) -> dict[str, Any]:
    """`left` lists what should not be there; the other keys are the figures behind it."""
    host, armed = injector.host, injector.armed
    fd_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    children = child_pids()
    skew_s = host.clock.skew_s
    left = [f"fault {each.id} ({each.fault.kind})" for each in armed]
    if fd_limit != baseline.fd_limit:
        left.append(f"fd limit {fd_limit}, it was {baseline.fd_limit}")
    left += [f"child process {pid}" for pid in children]
    if host.clock.skews:
        left.append(f"clock off by {skew_s:g} s")
    if host.ballast_bytes:
        left.append(f"{host.ballast_bytes} bytes of ballast")
    return {
        "left": left,
        "faults": len(armed),
        "fd_limit": fd_limit,
        "fd_limit_at_start": baseline.fd_limit,
        "children": children,
        "skew_s": skew_s,
        "ballast_bytes": host.ballast_bytes,
        "resident_bytes": resident_bytes(),
        "threads": threading.active_count(),
        "pid": os.getpid(),
    }


def child_pids() -> list[int]:
    """The process' children; empty where the kernel has no such list (`lab faults audit` looks from outside)."""
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:  # the thread has just ended
            continue
    return sorted(found)
