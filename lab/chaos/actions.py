"""Chaos Toolkit actions: faults in services, killed, stopped and paused processes, cancelled orders.

Every fault has a TTL which its injector enforces: it ends even if this process dies. A wait between two activities
belongs in the *next* activity's `pauses.before`, because an aborted experiment still waits for a `pauses.after`.
"""

from __future__ import annotations

import time
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.timed import apply_for, await_ready, row_of
from lab.chaos.probes import Configuration, NotObservedError, configured_lab, customer_of
from lab.chaos.running_lab import Instance
from lab.runtimes.supervisor.client import call_supervisor

LOOK_INTERVAL_S = 0.02
IN_SAGAS = "in the middle of sagas"
WHEN = ("now", IN_SAGAS)
KILLS = {"SIGKILL": "kill", "SIGTERM": "terminate"}


def add_fault(
    target: str,
    kind: str,
    ttl_s: float,
    attributes: dict[str, Any] | None = None,
    scope: dict[str, Any] | None = None,
    point: str | None = None,
    seed: int = 0,
    configuration: Configuration | None = None,
) -> list[dict[str, Any]]:
    """Arm a fault on a service (all its instances) or an instance; process faults also on a server (`postgres`,
    `valkey`, `nats`).

    Returns the run's fault rows at once; the fault ends by itself. Without `point` it is the kind's default point.
    """
    spec: dict[str, Any] = {
        "kind": kind,
        "attributes": attributes or {},
        "scope": scope or {},
        "ttl_s": ttl_s,
        "seed": seed,
        **({"point": point} if point else {}),
    }
    added = FaultClient(configured_lab(configuration)).add_fault(target, spec)
    return [record.to_row() for record in added]


def clear_faults(target: str | None = None, configuration: Configuration | None = None) -> int:
    """Remove all faults, or those of a service or instance; returns their number."""
    return FaultClient(configured_lab(configuration)).clear(target)


def kill_instance(
    target: str,
    signal: str = "SIGKILL",
    when: str = "now",
    within_s: float = 30.0,
    back_within_s: float | None = None,
    configuration: Configuration | None = None,
) -> dict[str, Any]:
    """Kill one instance or server (SIGKILL or SIGTERM): the named one, or the first of a service that fits `when`.

    `when: in the middle of sagas` waits up to `within_s` until an instance has active sagas. With `back_within_s`
    it returns only when the process is ready again. Returns the run's fault row. Raises NotObservedError.
    """
    if when not in WHEN:
        raise ValueError(f"when: {when!r} is none of {', '.join(WHEN)}")
    if signal not in KILLS:
        raise ValueError(f"signal: {signal!r} is none of {', '.join(KILLS)}")
    client = FaultClient(configured_lab(configuration))
    victim, sagas = _victim(client, target, when, within_s)
    (record,) = client.add_fault(victim.name, {"kind": KILLS[signal]})
    if back_within_s:
        await_ready(client, {victim.name}, back_within_s)
    row = row_of(client, record)
    return {**row, "evidence": {**row["evidence"], "sagas_under_way": sagas}}


def outage(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Kill a service, an instance or a server and hold it down for `for_s` seconds; waits until it is ready again.

    The supervisor starts it again even if this process dies. Returns the run's fault rows.
    """
    return apply_for(FaultClient(configured_lab(configuration)), "outage", [target], for_s)


def pause(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Stop a service, an instance or a server by SIGSTOP for `for_s` seconds; waits until it is ready again.

    Its connections stay open and fill up. The supervisor resumes it even if this process dies. Returns the run's
    fault rows.
    """
    return apply_for(FaultClient(configured_lab(configuration)), "pause", [target], for_s)


def heal(configuration: Configuration | None = None) -> bool:
    """Start what is stopped and resume what is paused; returns whether all is ready then."""
    return bool(call_supervisor(configured_lab(configuration).state, "POST", "/heal", {})["ready"])


def cancel_orders(count: int, configuration: Configuration | None = None) -> list[str]:
    """Place and cancel `count` orders as the probes' customer, one after the other; returns their ids.

    Raises UnservedError, NoReplyError.
    """
    customer = customer_of(configured_lab(configuration).ingress_url)
    placed = [str(customer.order().body["id"]) for _ in range(count)]
    for order_id in placed:
        customer.cancel(order_id)
    return placed


def _victim(
    client: FaultClient, target: str, when: str, within_s: float
) -> tuple[Instance, float | None]:
    """The process to kill and its number of active sagas; None where it has no such metric."""
    candidates = client.processes(target)
    if when == "now":
        first = candidates[0]
        return first, client.metric(first, "saga_active") if first.service else None
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for instance in candidates:
            if sagas := client.metric(instance, "saga_active"):
                return instance, sagas
        time.sleep(LOOK_INTERVAL_S)
    raise NotObservedError(f"no instance of {target} had a saga under way within {within_s:g} s")
