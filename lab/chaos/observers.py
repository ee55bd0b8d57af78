"""Chaos Toolkit action on the observability programs: they hang or are down for a while."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.timed import apply_for
from lab.chaos.probes import Configuration, NotObservedError, configured_lab

OBSERVERS = ("recorder", "jaeger", "prometheus", "alertmanager", "otel-collector", "fluentd")
RECORDER = "recorder"  # the run is recorded by it: it may hang, but not be down
SEEN_S = 4.0  # the recorder sees for so long that the others do not answer, before it hangs too


def blind(
    kind: str, for_s: float, configuration: Configuration | None = None
) -> list[dict[str, Any]]:
    """Apply `pause` (they accept connections and never answer) or `outage` (they refuse connections) to all
    observers of the lab, for `for_s` seconds. Returns the run's fault rows when all are ready again.

    `outage` leaves out the recorder. With `pause` it hangs 4 s after the others, because its probes are the
    evidence that those hang. Raises NotObservedError if the lab has no such observer.
    """
    if kind not in ("pause", "outage"):
        raise ValueError(f"kind: {kind!r}; expected pause or outage")
    client = FaultClient(configured_lab(configuration))
    running = {each.name for each in client.lab.servers}
    others = [name for name in OBSERVERS if name in running and name != RECORDER]
    recorder = [RECORDER] if RECORDER in running and kind == "pause" else []
    if not others and not recorder:
        raise NotObservedError(f"this lab has no observers for which {kind} is possible")
    if not others or not recorder:
        return apply_for(client, kind, others or recorder, for_s)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(apply_for, client, kind, others, for_s)
        time.sleep(min(SEEN_S, for_s / 2))
        rows = apply_for(client, kind, recorder, for_s - min(SEEN_S, for_s / 2))
        return [*hanging.result(), *rows]
