"""The faults of whole processes as data: what each does, for those who ask and those who read the catalogue."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TTL_S_MAX = 3600.0


@dataclass(frozen=True)
class ProcessKind:
    """`lasts`: it is in force until its TTL; else it is over when the process is ready again.

    One without a signal is held by the container engine; `attributes` name what it must be told, and the least.
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
        signal.SIGTERM, False, "SIGTERM: it ends in good order, and starts again as after a crash"
    ),
    "outage": ProcessKind(
        signal.SIGKILL, True, "SIGKILL, and it stays down until the TTL; then it starts again"
    ),
    "pause": ProcessKind(
        signal.SIGSTOP, True, "SIGSTOP to it and its children until the TTL, then SIGCONT: its"
        " connections stay open and fill up"
    ),
    "disconnect": ProcessKind(
        None, True, "containers only: off its networks until the TTL, then on again under the same names"
    ),
    "cpu_limit": ProcessKind(
        None, True, "containers only: at most `cpus` processors, by the kernel's own quota", {"cpus": 0.01}
    ),
    "memory_limit": ProcessKind(
        None, True, "containers only: at most `limit_mb` (10^6 bytes); who needs more is ended by the kernel,"
        " and starts again", {"limit_mb": 6.0}
    ),
}  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """In the form of the services' own catalogue."""
    return [
        {"kind": kind, "doc": each.doc, "points": ["process"]}
        | {"attributes": {name: {"required": True} for name in each.attributes}}
        | {"single": True, "survives": True}
        for kind, each in KINDS.items()
    ]


def page() -> Iterator[str]:
    """The lines of docs/faults.md on them."""
    yield "## Faults of whole processes"
    yield "Held by the lab's supervisor, on a service, an instance or a server (`postgres`, `valkey`, `nats`,"
    yield "`nginx`, `mail`). The TTL is the supervisor's own: `kill -9` of whoever asked changes nothing. One at a"
    yield "time on a process; no scope."
    yield ""
    yield "```"
    yield "lab faults add postgres pause --ttl 5"
    yield "lab faults add notifications outage --ttl 20"
    yield "lab faults add orders-1 kill"
    yield "lab faults add payments-1 cpu_limit cpus=0.1 --ttl 20"
    yield "```"
    yield ""
    yield "| kind | what it does | ends |"
    yield "|---|---|---|"
    for kind, each in KINDS.items():
        ends = "at its TTL" if each.lasts else "when it is ready again"
        yield f"| `{kind}` | {each.doc} | {ends} |"
