"""The faults of whole processes as data: what each does, for its injector and for the catalogue."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TTL_S_MAX = 3600.0


@dataclass(frozen=True)
class ProcessKind:
    """`lasts`: it is active until its TTL; else it ends when the process is ready again.

    A kind without a signal is applied by the container engine. `attributes` maps each required one to its minimum.
    """

    signal: signal.Signals | None
    lasts: bool
    doc: str
    attributes: Mapping[str, float] = field(default_factory=dict)


KINDS = {
    "kill": ProcessKind(
        signal.SIGKILL, False, "SIGKILL to it and its children; it starts again as after any crash"
    ),
    "terminate": ProcessKind(
        signal.SIGTERM, False, "SIGTERM: it ends gracefully, and starts again as after a crash"
    ),
    "outage": ProcessKind(
        signal.SIGKILL, True, "SIGKILL, and it is held down until the TTL; then it starts again"
    ),
    "pause": ProcessKind(
        signal.SIGSTOP, True, "SIGSTOP to it and its children until the TTL, then SIGCONT: its"
        " connections stay open and fill up"
    ),
    "disconnect": ProcessKind(
        None, True, "containers only: off its networks until the TTL, then on them again under the same names"
    ),
    "cpu_limit": ProcessKind(
        None, True, "containers only: at most `cpus` processors, by the kernel's quota", {"cpus": 0.01}
    ),
    "memory_limit": ProcessKind(
        None, True, "containers only: at most `limit_mb` (10^6 bytes); if it needs more, the kernel kills it and"
        " it starts again", {"limit_mb": 6.0}
    ),
}  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """As JSON, with each attribute's default: None, since all are required."""
    return [
        {"kind": kind, "doc": each.doc, "points": ["process"]}
        | {"attributes": dict.fromkeys(each.attributes)}
        | {"single": True, "survives": True}
        for kind, each in KINDS.items()
    ]
