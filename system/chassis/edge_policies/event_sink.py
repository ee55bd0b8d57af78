"""Receives each event of a resilience policy and writes it to metrics, the current span and the log.

The events themselves are defined in chassis/resilience/events.py. The log lines become rows of the
run's archive.
"""

import asyncio
import time
from contextvars import Context
from typing import Any

from opentelemetry import trace

from chassis.resilience.events import Event
from chassis.telemetry import signals

_DETAILS = ("attempt", "priority", "duration_s", "wait_s", "limit", "host")  # written if not zero
_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
EVALUATIONS_S_MAX = 0.5  # evaluations this old are written; a `kill -9` loses at most so many
EVALUATIONS_MAX = 100  # Docker splits log lines at 16 KB
_counters: dict[tuple[str, str, str, str], Any] = {}
_evaluations: list[tuple[float, str, str, str, int, int, int]] = []


def record(event: Event) -> None:
    """Count, log and trace one decision. Every label has a small fixed set of values."""
    labels = (event.edge, event.policy, event.kind, event.reason)
    counter = _counters.get(labels)
    if counter is None:
        counter = _counters[labels] = signals.POLICY_EVENTS.labels(*labels)
    counter.inc()
    if event.kind == "evaluation":
        _collect(event)
        return
    flush()  # the evaluations that led to this decision come before it
    # these fields are always written, so that a row of the archive is complete
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
    """Write the collected evaluations as one line. They belong to many requests, so it has no trace id."""
    if _evaluations:
        rows = _evaluations.copy()
        _evaluations.clear()
        Context().run(lambda: signals.record("evaluations", rows=rows))


def _collect(event: Event) -> None:
    """Keep an evaluation for the next line.

    Each call has one. A line each was half of the shop's log, and 2 ms of latency in containers.
    """
    now = time.time()
    _evaluations.append(
        (now, event.edge, event.policy, event.state, event.n, event.failures, event.slow)
    )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # no event loop, so no timer would write it
        flush()
        return
    if len(_evaluations) == 1:
        loop.call_later(EVALUATIONS_S_MAX, flush)
    # the age is checked too: the timer of a loop that has ended does not fire
    elif len(_evaluations) == EVALUATIONS_MAX or now - _evaluations[0][0] > EVALUATIONS_S_MAX:
        flush()
