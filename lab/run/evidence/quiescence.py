"""Waits for quiescence: all sagas ended, all events published and handled, all mails sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.chaos.faults.client import FaultClient

# Gauges of pending work, by service. A missing gauge counts as pending work: no data is not zero.
GAUGES = {
    "orders": ("saga_pending", "saga_active", "outbox_pending"),
    "users": ("outbox_pending",),
    "notifications": ("inbox_lag", "mails_pending"),
}
DEADLINE_S = 30.0
LOOK_INTERVAL_S = 0.5
STILL_S = 2.0  # the gauges are up to a second old


@dataclass
class Quiescence:
    """`left`: pending work at the end, as "instance gauge" -> value (None: no data).

    `at_most_s`: the bound of the wait.
    """

    reached: bool
    waited_s: float
    left: dict[str, float | None] = field(default_factory=dict)
    at_most_s: float = DEADLINE_S


def pending_work(control: FaultClient) -> dict[str, float | None]:
    """The pending work now, as `Quiescence.left`."""
    busy: dict[str, float | None] = {}
    for instance in control.lab.instances:
        for gauge in GAUGES.get(instance.service, ()):
            value = control.metric(instance, gauge)
            if value != 0:
                busy[f"{instance.name} {gauge}"] = value
    return busy


def drain(
    look: Callable[[], dict[str, float | None]],
    *,
    deadline_s: float = DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    tick: Callable[[], None] = lambda: None,
) -> Quiescence:
    """Waits until no work has been pending for STILL_S, at most `deadline_s`."""
    started = clock()
    still_since: float | None = None
    while True:
        left = look()
        now = clock()
        still_since = None if left else (now if still_since is None else still_since)
        if still_since is not None and now - still_since >= STILL_S:
            return Quiescence(True, round(now - started, 3), at_most_s=deadline_s)
        if now - started >= deadline_s:
            return Quiescence(False, round(now - started, 3), left, deadline_s)
        tick()
        sleep(LOOK_INTERVAL_S)
