"""Checks that faults have left nothing behind: by each instance's own figures and by the system's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psutil

from chassis.fault_record import FaultRecord
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.edge_specs import is_edge
from lab.chaos.running_lab import Instance
from lab.http_client import NoReplyError, exchange
from lab.runtimes.supervisor.client import call_supervisor

ANSWER_S = 2.0
UNPROVEN = "nothing proven"


@dataclass
class Audited:
    """One instance: `left` lists what should not be there, or why that is unknown; `seen` has the figures."""

    name: str
    left: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


def audit(client: FaultClient, target: str | None = None) -> list[Audited]:
    """Faults, limits, child processes, clock and ballast of each instance; stopped processes; faults of servers
    and edges. Raises UnknownTargetError, FaultRefusedError.
    """
    if is_edge(target):
        return [Audited(target, _active(client.faults(target)))]
    lab = client.lab
    chosen = client.processes(target) if target else [*lab.instances, *lab.servers]
    audited = [_audit(client, each) if each.service else _server(client, each) for each in chosen]
    if target is None and lab.state.proxied:
        audited.append(Audited("*->*", _active(client.faults("*->*"))))
    return audited


def _active(records: list[FaultRecord]) -> list[str]:
    return [f"{each.fault_id} is active" for each in records]


def _server(client: FaultClient, server: Instance) -> Audited:
    faults = _active(client.faults(server.name))
    return Audited(server.name, [*faults, *_from_outside(client, server, {})])


def _audit(client: FaultClient, instance: Instance) -> Audited:
    audited = Audited(instance.name)
    try:
        reply = exchange(
            "GET", f"{instance.url}/_lab/residue", token=client.lab.token, timeout_s=ANSWER_S
        )
    except NoReplyError as error:
        audited.left.append(f"{UNPROVEN}: {error}")
    else:
        if reply.status == 200:
            audited.seen = {key: value for key, value in reply.body.items() if key != "left"}
            audited.left += reply.body["left"]
        else:
            audited.left.append(f"{UNPROVEN}: it answered {reply.status}")
    audited.left += _active(client.process_faults(instance.name))
    for finding in _from_outside(client, instance, audited.seen):
        if finding not in audited.left:
            audited.left.append(finding)
    return audited


def _from_outside(client: FaultClient, instance: Instance, reported: dict[str, Any]) -> list[str]:
    """What the system reports, or for a container its engine: only that it is paused."""
    if client.lab.state.runtime == "processes":
        return _of_process(instance.pid, reported, children=bool(instance.service))
    listed = call_supervisor(client.lab.state, "GET", "/status")["processes"]
    states = [each["state"] for each in listed if each["name"] == instance.name]
    return ["paused"] if "paused" in states else []


def _of_process(pid: int, reported: dict[str, Any], *, children: bool) -> list[str]:
    """Empty without a pid. A server may have worker processes, a service has none."""
    if not pid:
        return []
    try:
        process = psutil.Process(pid)
        found = process.children(recursive=True) if children else []
        left = [f"child process {child.pid}" for child in found]
        if process.status() == psutil.STATUS_STOPPED:
            left.append(f"stopped (pid {pid})")
        if "fd_limit_at_start" in reported and hasattr(process, "rlimit"):
            limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
            if limit != reported["fd_limit_at_start"]:
                left.append(f"fd limit {limit}, it was {reported['fd_limit_at_start']}")
    except psutil.Error as error:
        return [f"{UNPROVEN}: {error}"]
    return left
