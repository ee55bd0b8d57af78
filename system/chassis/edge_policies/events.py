"""Where the decisions of resilience policies go: the log (and so a run's archive), metrics, spans."""

import asyncio
import time
from contextvars import Context
from typing import Any

from opentelemetry import trace

from chassis.resilience.events import Event
from chassis.telemetry import signals

_DETAILS = ("attempt", "priority", "duration_s", "wait_s", "limit", "host")  # if they say something
_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
GATHER_S = 0.5  # what a kill -9 may cost of the evaluations
GATHERED_MAX = 100  # Docker cuts lines at 16 KB
_counters: dict[tuple[str, str, str, str], Any] = {}
_gathered: list[tuple[float, str, str, str, int, int, int]] = []


def tell(event: Event) -> None:
    """Count, log and trace one decision. Every label comes from a small fixed set."""
    labels = (event.edge, event.policy, event.kind, event.reason)
    counter = _counters.get(labels)
    if counter is None:
        counter = _counters[labels] = signals.POLICY_EVENTS.labels(*labels)
    counter.inc()
    if event.kind == "evaluation":
        _gather(event)
        return
    flush()  # what led to this decision stands before it
    # always told, so that a row of the archive is whole
    fields: dict[str, Any] = {
        "edge": event.edge, "policy": event.policy, "kind": event.kind, "state": event.state,
        "previous": event.previous, "reason": event.reason, "n": event.n,
        "failures": event.failures, "slow": event.slow,
    }  # fmt: skip
    for name in _DETAILS:
        if value := getattr(event, name):
            fields[name] = value
    signals.record("breaker", **fields)
    if event.kind == "transition":
        signals.BREAKER_STATE.labels(event.edge).set(_STATES.get(event.state, 0))
    span = trace.get_current_span()
    if span.is_recording():
        name = f"{event.policy}.{event.kind}"
        span.set_attribute(f"breakwater.{name}", event.reason or event.state or event.kind)
        span.add_event(name, {key: value for key, value in fields.items() if value != ""})


def flush() -> None:
    """Tell the evaluations gathered so far. They are of many requests, so the line is of no trace."""
    if _gathered:
        rows = _gathered.copy()
        _gathered.clear()
        Context().run(lambda: signals.record("evaluations", rows=rows))


def _gather(event: Event) -> None:
    """There is one a call: a line each was half of what the shop logs, and containers pay 2 ms for a line."""
    now = time.time()
    _gathered.append(
        (now, event.edge, event.policy, event.state, event.n, event.failures, event.slow)
    )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # nobody would come back for it
        flush()
        return
    if len(_gathered) == 1:
        loop.call_later(GATHER_S, flush)
    # by age too: what an ended loop gathered has no timer any more
    elif len(_gathered) == GATHERED_MAX or now - _gathered[0][0] > GATHER_S:
        flush()
