"""Chaos Toolkit action on the observability programs: they hang or are down for a while."""

from __future__ import annotations

from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.timed import apply_for
from lab.chaos.probes import Configuration, NotObservedError, configured_lab

OBSERVERS = ("recorder", "jaeger", "prometheus", "alertmanager", "otel-collector", "fluentd")
NEVER_DOWN = ("recorder",)  # the run is recorded by it: it may be slow, not down


def blind(
    kind: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Apply `pause` (they accept connections and never answer) or `outage` (they refuse connections) to all
    observers of the lab at once, for `for_s` seconds.

    `outage` leaves out the recorder: in a lab without other observers it has no effect. Returns the run's fault
    rows when all are ready again.
    """
    if kind not in ("pause", "outage"):
        raise ValueError(f"kind: {kind!r}; expected pause or outage")
    client = FaultClient(configured_lab(configuration))
    running = {each.name for each in client.lab.servers}
    spared = NEVER_DOWN if kind == "outage" else ()
    targets = [name for name in OBSERVERS if name in running and name not in spared]
    if kind == "pause" and not targets:
        raise NotObservedError("this lab has no observers, not even a recorder")
    return apply_for(client, kind, targets, for_s)
