"""The action that blinds the lab: whoever watches the shop hangs or is gone, for a while."""

from __future__ import annotations

import time
from typing import Any

from lab.chaos.actions import await_ready
from lab.chaos.faults.client import FaultClient
from lab.chaos.probes import Configuration, NotObservedError, configured_lab

# Who watches, in any runtime. The recorder can be slow, but not gone: the run is recorded by it.
WATCHERS = ("recorder", "jaeger", "prometheus", "alertmanager", "otel-collector", "fluentd")
KEPT_ALIVE = ("recorder",)


def blind(
    kind: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """`pause` (they accept connections and never answer) or `outage` (nobody listens) all at once.

    Hits whoever of `WATCHERS` is in the lab; `outage` spares the recorder, so that in a lab with
    nobody else it hits nobody. Answers with the run's fault rows, when all are ready again.
    """
    if kind not in ("pause", "outage"):
        raise ValueError(f"kind: {kind!r}; expected pause or away")
    control = FaultClient(configured_lab(configuration))
    there = {each.name for each in control.lab.servers}
    targets = [
        name for name in WATCHERS if name in there and (kind == "pause" or name not in KEPT_ALIVE)
    ]
    if kind == "pause" and not targets:
        raise NotObservedError("nobody watches this lab: not even a recorder is there")
    ids = set()
    try:
        for name in targets:
            placed = control.add_fault(name, {"kind": kind, "ttl_s": for_s})
            ids |= {each.view["id"] for each in placed}
        if targets:
            time.sleep(for_s)
    finally:
        for name in targets:
            control.clear(name)
    await_ready(control, set(targets))
    return [
        {**each.view, "fault_id": each.view["id"]}
        for name in targets
        for each in control.history(name)
        if each.view["id"] in ids
    ]
