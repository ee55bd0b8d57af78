"""The proof that faults have left nothing: what each instance says of itself, and what the system says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psutil

from lab.chaos.control import Control
from lab.chaos.target import Instance
from lab.chaos.wire import NoReply, exchange

ANSWER_S = 2.0


@dataclass
class Audited:
    """One instance: `left` is what should not be there, or why nothing can be said; `seen` the figures."""

    name: str
    left: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


def audit(control: Control, target: str | None = None) -> list[Audited]:
    """Faults, limits, child processes, clock, ballast, stopped processes. Raises UnknownTarget."""
    return [_audit(control, instance) for instance in control.targets(target)]


def _audit(control: Control, instance: Instance) -> Audited:
    audited = Audited(instance.name)
    try:
        reply = exchange(
            "GET", f"{instance.url}/_lab/residue", token=control.lab.token, timeout_s=ANSWER_S
        )
    except NoReply as error:
        audited.left.append(f"nothing proven: {error}")
    else:
        if reply.status == 200:
            audited.seen = {key: value for key, value in reply.body.items() if key != "left"}
            audited.left += reply.body["left"]
        else:
            audited.left.append(f"nothing proven: it answered {reply.status}")
    for finding in _from_outside(instance.pid, audited.seen):
        if finding not in audited.left:
            audited.left.append(finding)
    return audited


def _from_outside(pid: int, told: dict[str, Any]) -> list[str]:
    try:
        process = psutil.Process(pid)
        left = [f"child process {child.pid}" for child in process.children(recursive=True)]
        if process.status() == psutil.STATUS_STOPPED:
            left.append(f"stopped (pid {pid})")
        if "fd_limit_at_start" in told and hasattr(process, "rlimit"):
            limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
            if limit != told["fd_limit_at_start"]:
                left.append(f"fd limit {limit}, it was {told['fd_limit_at_start']}")
    except psutil.Error as error:
        return [f"nothing proven: {error}"]
    return left
