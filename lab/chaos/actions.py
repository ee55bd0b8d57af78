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

from lab.chaos.control import Control
from lab.chaos.probes import Configuration, NotObserved, the_lab
from lab.chaos.target import Instance, find_lab
from lab.runtimes import pids
from lab.runtimes.client import ask

LOOK_INTERVAL_S = 0.02
WHEN = ("now", "in the middle of sagas")


def add_fault(
    target: str,
    kind: str,
    ttl_s: float,
    attributes: dict[str, Any] | None = None,
    scope: dict[str, Any] | None = None,
    point: str = "inbound",
    seed: int = 0,
    configuration: Configuration | None = None,
) -> list[dict[str, Any]]:
    """Arm a fault on a service (all its instances) or one instance; the faults as they hold them."""
    spec: dict[str, Any] = {
        "kind": kind,
        "attributes": attributes or {},
        "point": point,
        "scope": scope or {},
        "ttl_s": ttl_s,
        "seed": seed,
    }
    placed = Control(the_lab(configuration)).add_fault(target, spec)
    return [{"target": each.instance.name, **each.view} for each in placed]


def clear_faults(target: str | None = None, configuration: Configuration | None = None) -> int:
    """Disarm all faults (of the service or instance); how many there were."""
    return Control(the_lab(configuration)).clear(target)


def kill_instance(
    target: str,
    signal: str = "SIGKILL",
    when: str = "now",
    within_s: float = 30.0,
    back_within_s: float | None = None,
    configuration: Configuration | None = None,
) -> dict[str, Any]:
    """Send a signal to one instance: the named one, or the first of a service that fits `when`.

    `when: in the middle of sagas` waits (up to `within_s`) until an instance has sagas under way.
    With `back_within_s` it returns only when the instance is ready again. Answers with the run's
    fault row (docs/archive.md). Raises NotObserved when the moment or the return does not come.
    """
    if when not in WHEN:
        raise ValueError(f"when: {when!r} is none of {', '.join(WHEN)}")
    number = signals.Signals[signal]
    lab = the_lab(configuration)
    victim, sagas = _victim(Control(lab), target, when, within_s)
    if not pids.same(victim.pid, victim.identity):
        raise NotObserved(f"{victim.name} is not running")  # its number may be another's by now
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


def take_away(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Kill a service (or one instance) and keep it down for `for_s` seconds; back when it is ready.

    Answers with the run's fault rows. It is started again whatever interrupts the wait.
    """
    lab = the_lab(configuration)
    victims = Control(lab).targets(target)
    rows = [_row("kill", victim, {"signal": "SIGKILL", "for_s": for_s}) for victim in victims]
    try:
        ask(lab.state, "POST", "/kill", {"target": target, "signal": "KILL", "restart": False})
        for victim, row in zip(victims, rows, strict=True):
            row["effective_s"] = _gone(victim)
            row["hits"] = int(row["effective_s"] is not None)
        time.sleep(max(0.0, rows[0]["commanded_s"] + for_s - time.time()))
    finally:
        ask(lab.state, "POST", "/restart", {"target": target})
    return _removed(rows)


def pause(
    target: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Stop a service (or one instance) in its tracks for `for_s` seconds: SIGSTOP, then SIGCONT.

    Its connections stay open and fill up. Answers with the run's fault rows. It goes on whatever
    interrupts the wait.
    """
    lab = the_lab(configuration)
    rows = [_row("stop", victim, {"for_s": for_s}) for victim in Control(lab).targets(target)]
    try:
        ask(lab.state, "POST", "/signal", {"target": target, "signal": "STOP"})
        for row in rows:
            row |= {"effective_s": time.time(), "hits": 1}
        time.sleep(for_s)
    finally:
        ask(lab.state, "POST", "/signal", {"target": target, "signal": "CONT"})
    return _removed(rows)


def heal(configuration: Configuration | None = None) -> bool:
    """Start what is stopped and let go on what is paused; whether all is ready then."""
    return bool(ask(the_lab(configuration).state, "POST", "/heal", {})["ready"])


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


def _removed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    now = time.time()
    return [{**row, "removed_s": now} for row in rows]


def _victim(
    control: Control, target: str, when: str, within_s: float
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
    raise NotObserved(f"no instance of {target} had a saga under way within {within_s:g} s")


def _gone(victim: Instance, within_s: float = 5.0) -> float | None:
    """When the process was seen gone; None if it still lives after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not pids.same(victim.pid, victim.identity):
            return time.time()
        time.sleep(LOOK_INTERVAL_S / 4)
    return None


def _back(victim: Instance, port_base: int, within_s: float) -> float:
    """When another process of the instance was ready. Raises NotObserved."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        lab = find_lab(port_base)
        for instance in lab.instances:
            again = instance.name == victim.name and instance.identity != victim.identity
            if again and Control(lab).ready(instance):
                return time.time()
        time.sleep(0.1)
    raise NotObserved(f"{victim.name} was not ready again within {within_s:g} s")
