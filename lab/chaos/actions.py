"""Chaos Toolkit actions: faults inside the services, and killed instances.

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
    commanded_s = time.time()
    os.kill(victim.pid, number)
    effective_s = _gone(victim)
    removed_s = _back(victim, lab.port_base, back_within_s) if back_within_s else None
    return {
        "fault_id": f"kill-{victim.name}-{uuid.uuid4().hex[:8]}",
        "kind": "kill",
        "target": victim.name,
        "point": "process",
        "scope": {},
        "attributes": {"signal": signal, "when": when},
        "commanded_s": commanded_s,
        "effective_s": effective_s,
        "removed_s": removed_s,
        "hits": int(effective_s is not None),
        "evidence": {"pid": victim.pid, "sagas_under_way": sagas},
    }


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
