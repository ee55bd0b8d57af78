"""The proof that faults have left nothing: what each instance says of itself, and what the system says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psutil

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.edge_faults import is_edge
from lab.chaos.running_lab import Instance
from lab.http_client import NoReplyError, exchange
from lab.runtimes.supervisor.client import call_supervisor

ANSWER_S = 2.0
UNPROVEN = "nothing proven"


@dataclass
class Audited:
    """One instance: `left` is what should not be there, or why nothing can be said; `seen` the figures."""

    name: str
    left: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


def audit(control: FaultClient, target: str | None = None) -> list[Audited]:
    """Faults, limits, child processes, clock, ballast of each instance; stopped processes and faults of servers;
    what is on the edges. Raises UnknownTarget, FaultRefused.
    """
    if is_edge(target):
        return [_edges(control, target)]
    lab = control.lab
    chosen = control.processes(target) if target else [*lab.instances, *lab.servers]
    audited = [_audit(control, each) if each.service else _server(control, each) for each in chosen]
    if target is None and lab.state.proxied:
        audited.append(_edges(control, "*->*"))
    return audited


def _edges(control: FaultClient, target: str) -> Audited:
    armed = control.faults(target)
    return Audited(target, [f"{each.view['id']} is in force" for each in armed])


def _server(control: FaultClient, server: Instance) -> Audited:
    held = [f"{each.view['id']} is in force" for each in control.faults(server.name)]
    return Audited(server.name, [*held, *_from_outside(control, server, {})])


def _audit(control: FaultClient, instance: Instance) -> Audited:
    audited = Audited(instance.name)
    try:
        reply = exchange(
            "GET", f"{instance.url}/_lab/residue", token=control.lab.token, timeout_s=ANSWER_S
        )
    except NoReplyError as error:
        audited.left.append(f"{UNPROVEN}: {error}")
    else:
        if reply.status == 200:
            audited.seen = {key: value for key, value in reply.body.items() if key != "left"}
            audited.left += reply.body["left"]
        else:
            audited.left.append(f"{UNPROVEN}: it answered {reply.status}")
    audited.left += [f"{each.view['id']} is in force" for each in control.held(instance.name)]
    for finding in _from_outside(control, instance, audited.seen):
        if finding not in audited.left:
            audited.left.append(finding)
    return audited


def _from_outside(control: FaultClient, instance: Instance, told: dict[str, Any]) -> list[str]:
    """What the system says, or of a container what its engine does: all else is the container's own."""
    if control.lab.state.runtime == "processes":
        return _of_process(instance.pid, told, children=bool(instance.service))
    listed = call_supervisor(control.lab.state, "GET", "/status")["processes"]
    states = [each["state"] for each in listed if each["name"] == instance.name]
    return ["paused"] if "paused" in states else []


def _of_process(pid: int, told: dict[str, Any], *, children: bool) -> list[str]:
    """A server may have workers of its own, a service has none. Nothing to see where there is no pid."""
    if not pid:
        return []
    try:
        process = psutil.Process(pid)
        found = process.children(recursive=True) if children else []
        left = [f"child process {child.pid}" for child in found]
        if process.status() == psutil.STATUS_STOPPED:
            left.append(f"stopped (pid {pid})")
        if "fd_limit_at_start" in told and hasattr(process, "rlimit"):
            limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
            if limit != told["fd_limit_at_start"]:
                left.append(f"fd limit {limit}, it was {told['fd_limit_at_start']}")
    except psutil.Error as error:
        return [f"{UNPROVEN}: {error}"]
    return left
