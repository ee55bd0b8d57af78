"""Process faults that an action waits for: applied for a time, until the processes are ready again."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from chassis.fault_record import FaultRecord
from lab.chaos.faults.client import FaultClient
from lab.chaos.probes import NotObservedError
from lab.runtimes.supervisor.client import call_supervisor

LOOK_INTERVAL_S = 0.1
READY_S = 60.0


def apply_for(
    client: FaultClient, kind: str, targets: Sequence[str], for_s: float
) -> list[dict[str, Any]]:
    """Apply a fault to all targets for `for_s` seconds, wait until they are ready, return the fault rows.

    Raises UnknownTargetError, FaultRefusedError, NotObservedError.
    """
    added: list[FaultRecord] = []
    try:
        for target in targets:
            added += client.add_fault(target, {"kind": kind, "ttl_s": for_s})
        until_s = max((each.commanded_s or 0.0 for each in added), default=0.0) + for_s
        time.sleep(max(0.0, until_s - time.time()))
    finally:
        for target in targets:
            client.clear_process(target)
    await_ready(client, {each.target for each in added})
    return [row_of(client, each) for each in added]


def await_ready(client: FaultClient, names: Collection[str], within_s: float = READY_S) -> None:
    """Raises NotObservedError."""
    deadline = time.monotonic() + within_s
    while True:
        listed = call_supervisor(client.lab.state, "GET", "/status?live=1")["processes"]
        waiting = [p["name"] for p in listed if p["name"] in names and p["state"] != "ready"]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise NotObservedError(f"not ready again within {within_s:g} s: {', '.join(waiting)}")
        time.sleep(LOOK_INTERVAL_S)


def row_of(client: FaultClient, record: FaultRecord) -> dict[str, Any]:
    """The fault's row as it is now."""
    known = {each.fault_id: each for each in client.history(record.target)}
    return known[record.fault_id].to_row()
