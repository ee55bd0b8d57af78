"""What faults have left in this process: nothing, once they are over, and this says so item by item."""

import os
import resource
import threading
from pathlib import Path
from typing import Any

from chassis.faults.injector import Injector
from chassis.faults.memory import resident_bytes


class Baseline:
    """How the process was before any fault; taken at its start."""

    def __init__(self) -> None:
        self.fd_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def residue(injector: Injector, baseline: Baseline) -> dict[str, Any]:
    """`left` names what should not be there; the rest are the figures behind it."""
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
    """The process' children as the kernel counts them; empty where it does not tell (see `lab faults audit`)."""
    found: list[int] = []
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:  # a thread that has just ended
            continue
    return sorted(found)
