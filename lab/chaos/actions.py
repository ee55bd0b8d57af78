"""Chaos Toolkit actions: faults inside the services; instances killed, taken away, paused.

Every fault has a TTL that the service itself enforces: whoever dies, it ends. A wait between activities
belongs into the *next* activity's `pauses.before`; an abort would sit out a `pauses.after`.
"""

from __future__ import annotations

import os
import signal as signals
import time
import uuid
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.probes import Configuration, NotObservedError, configured_lab, customer_of
from lab.chaos.running_lab import Instance, find_lab
from lab.runtimes.posix import pids
from lab.runtimes.supervisor.client import call_supervisor

LOOK_INTERVAL_S = 0.02
BACK_S = 60.0
WHEN = ("now", "in the middle of sagas")


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
    """Arm a fault on a service (all its instances), one instance or, of the kinds that hit whole
    processes, a server (postgres, valkey, nats); the faults as they hold them.

    It returns at once and the fault ends by itself. Without `point` it is the kind's usual place.
    """
    spec: dict[str, Any] = {
        "kind": kind,
        "attributes": attributes or {},
        "scope": scope or {},
        "ttl_s": ttl_s,
        "seed": seed,
        **({"point": point} if point else {}),
    }
    placed = FaultClient(configured_lab(configuration)).add_fault(target, spec)
    return [{"target": each.instance.name, **each.view} for each in placed]


def clear_faults(target: str | None = None, configuration: Configuration | None = None) -> int:
    """Disarm all faults (of the service or instance); how many there were."""
    return FaultClient(configured_lab(configuration)).clear(target)


def kill_instance(
    target: str,
    signal: str = "SIGKILL",
    when: str = "now",
    within_s: float = 30.0,
    back_within_s: float | None = None,
    configuration: Configuration | None = None,
) -> dict[str, Any]:
    """Send a signal to one instance: the named one, or the first of a service that fits `when`; or
    to a server (SIGKILL or SIGTERM), by the supervisor.

    `when: in the middle of sagas` waits (up to `within_s`) until an instance has sagas under way.
    With `back_within_s` it returns only when the instance is ready again. Answers with the run's
    fault row (docs/archive.md). Raises NotObservedError when the moment or the return does not come.
    """
    if when not in WHEN:
        raise ValueError(f"when: {when!r} is none of {', '.join(WHEN)}")
    number = signals.Signals[signal]
    lab = configured_lab(configuration)
    if target in {each.name for each in lab.servers}:
        return _kill_held(FaultClient(lab), target, number, back_within_s)
    victim, sagas = _victim(FaultClient(lab), target, when, within_s)
    if lab.state.runtime != "processes":  # its pid is the engine's business
        row = _kill_held(FaultClient(lab), victim.name, number, back_within_s)
        return {**row, "evidence": {**row["evidence"], "sagas_under_way": sagas}}
    if not pids.same(victim.pid, victim.identity):
        raise NotObservedError(
            f"{victim.name} is not running"
        )  # its number may be another's by now
    row = _row("kill", victim, {"signal": signal, "when": when})
    os.kill(victim.pid, number)
    effective_s = _gone(victim)
    removed_s = _back(victim, lab.port_base, back_within_s) if back_within_s else None
    return {
        **row,
        "effective_s": effective_s,
        "removed_s": removed_s,
        "hits": int(effective_s is not None),
        "evidence": {"pid": victim.pid, "sagas_under_way": sagas},
    }


def _kill_held(
    control: FaultClient, name: str, number: signals.Signals, back_within_s: float | None
) -> dict[str, Any]:
    kinds = {signals.SIGKILL: "kill", signals.SIGTERM: "terminate"}
    if number not in kinds:
        raise ValueError(f"signal: {number.name} to {name}: expected SIGKILL or SIGTERM")
    (placed,) = control.add_fault(name, {"kind": kinds[number]})
    if back_within_s:
        await_ready(control, {name}, back_within_s)
    now = next(each for each in control.history(name) if each.view["id"] == placed.view["id"])
    return {**now.view, "fault_id": now.view["id"]}


def outage(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Kill a service, an instance or a server and keep it down for `for_s` seconds; back when ready.

    The supervisor starts it again whatever becomes of us. Answers with the run's fault rows.
    """
    return _held("outage", target, for_s, configuration)


def pause(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Stop a service, an instance or a server in its tracks for `for_s` seconds: SIGSTOP, then SIGCONT.

    Its connections stay open and fill up. The supervisor lets it go on whatever becomes of us.
    Answers with the run's fault rows.
    """
    return _held("pause", target, for_s, configuration)


def heal(configuration: Configuration | None = None) -> bool:
    """Start what is stopped and let go on what is paused; whether all is ready then."""
    return bool(call_supervisor(configured_lab(configuration).state, "POST", "/heal", {})["ready"])


def cancel_orders(count: int, configuration: Configuration | None = None) -> list[str]:
    """Have the probes' customer place and cancel so many orders, one after the other; their ids.

    Raises UnservedError, NoReplyError.
    """
    customer = customer_of(configured_lab(configuration).ingress_url)
    placed = [str(customer.order().body["id"]) for _ in range(count)]
    for order_id in placed:
        customer.cancel(order_id)
    return placed


def _row(kind: str, victim: Instance, attributes: dict[str, Any]) -> dict[str, Any]:
    """A fault row of docs/archive.md, commanded now."""
    return {
        "fault_id": f"{kind}-{victim.name}-{uuid.uuid4().hex[:8]}",
        "kind": kind,
        "target": victim.name,
        "point": "process",
        "scope": {},
        "attributes": attributes,
        "commanded_s": time.time(),
        "hits": 0,
        "evidence": {"pid": victim.pid},
    }


def _held(
    kind: str, target: str, for_s: float, configuration: Configuration | None
) -> list[dict[str, Any]]:
    """A supervisor's fault, waited for until it is over and the processes are ready again."""
    control = FaultClient(configured_lab(configuration))
    placed = control.add_fault(target, {"kind": kind, "ttl_s": for_s})
    ids = {each.view["id"] for each in placed}
    commanded_s = min(each.view["commanded_s"] for each in placed)
    try:
        time.sleep(max(0.0, commanded_s + for_s - time.time()))
    finally:
        control.let_go(target)
    await_ready(control, {each.instance.name for each in placed})
    return [
        {**each.view, "fault_id": each.view["id"]}
        for each in control.history(target)
        if each.view["id"] in ids
    ]


def await_ready(control: FaultClient, names: set[str], within_s: float = BACK_S) -> None:
    """Raises NotObservedError."""
    deadline = time.monotonic() + within_s
    while True:
        listed = call_supervisor(control.lab.state, "GET", "/status?live=1")["processes"]
        waited = [p["name"] for p in listed if p["name"] in names and p["state"] != "ready"]
        if not waited:
            return
        if time.monotonic() > deadline:
            raise NotObservedError(f"not ready again within {within_s:g} s: {', '.join(waited)}")
        time.sleep(LOOK_INTERVAL_S * 5)


def _victim(
    control: FaultClient, target: str, when: str, within_s: float
) -> tuple[Instance, float | None]:
    candidates = control.targets(target)
    if when == "now":
        return candidates[0], control.metric(candidates[0], "saga_active")
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for instance in candidates:
            if sagas := control.metric(instance, "saga_active"):
                return instance, sagas
        time.sleep(LOOK_INTERVAL_S)
    raise NotObservedError(f"no instance of {target} had a saga under way within {within_s:g} s")


def _gone(victim: Instance, within_s: float = 5.0) -> float | None:
    """When the process was seen gone; None if it still lives after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not pids.same(victim.pid, victim.identity):
            return time.time()
        time.sleep(LOOK_INTERVAL_S / 4)
    return None


def _back(victim: Instance, port_base: int, within_s: float) -> float:
    """When another process of the instance was ready. Raises NotObservedError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        lab = find_lab(port_base)
        for instance in lab.instances:
            again = instance.name == victim.name and instance.identity != victim.identity
            if again and FaultClient(lab).ready(instance):
                return time.time()
        time.sleep(0.1)
    raise NotObservedError(f"{victim.name} was not ready again within {within_s:g} s")
