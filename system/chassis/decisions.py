"""Where the decisions of resilience policies go: the log (and so a run's archive), metrics, spans."""

from typing import Any

from opentelemetry import trace

from chassis import telemetry
from chassis.resilience.events import Event

_DETAILS = ("attempt", "priority", "duration_s", "wait_s", "limit", "host")  # if they say something
_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
_counters: dict[tuple[str, str, str, str], Any] = {}


def tell(event: Event) -> None:
    """Count, log and trace one decision. Every label comes from a small fixed set."""
    labels = (event.edge, event.policy, event.kind, event.reason)
    counter = _counters.get(labels)
    if counter is None:
        counter = _counters[labels] = telemetry.POLICY_EVENTS.labels(*labels)
    counter.inc()
    # always told, so that a row of the archive is whole
    fields: dict[str, Any] = {
        "edge": event.edge, "policy": event.policy, "kind": event.kind, "state": event.state,
        "previous": event.previous, "reason": event.reason, "n": event.n,
        "failures": event.failures, "slow": event.slow,
    }  # fmt: skip
    if event.kind != "evaluation":
        for name in _DETAILS:
            if value := getattr(event, name):
                fields[name] = value
    telemetry.record("breaker", **fields)
    if event.kind == "transition":
        telemetry.BREAKER_STATE.labels(event.edge).set(_STATES.get(event.state, 0))
    if event.kind != "evaluation":  # one a call: the attempt's span has the state it met
        span = trace.get_current_span()
        if span.is_recording():
            name = f"{event.policy}.{event.kind}"
            span.set_attribute(f"breakwater.{name}", event.reason or event.state or event.kind)
            span.add_event(name, {key: value for key, value in fields.items() if value != ""})
